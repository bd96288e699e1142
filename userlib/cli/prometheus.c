// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * For the textfile collector of Prometheus' node exporter, which reads a file whenever it is
 * asked: it is written under another name in the same folder first, and renamed.
 *
 * Each number of a heap is a metric with the heap as labels; the module's own sums, which
 * have heaps in them that are hidden or gone, are others: goheap_all_...
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli.h"
#include "prometheus.h"

/* Names with base units, and _total for what only rises, as Prometheus wants them. */
struct metric {
	const char *name;
	const char *cause;	/* a label, of several values with one name; those follow each other */
};

static const struct metric metrics[HV_NR] = {
	[HV_SYS] = { "sys_bytes", NULL },
	[HV_INUSE] = { "inuse_bytes", NULL },
	[HV_IDLE] = { "idle_bytes", NULL },
	[HV_RELEASED] = { "released_bytes", NULL },
	[HV_SPANS] = { "spans", NULL },
	[HV_ALLOCS] = { "span_allocs_total", NULL },
	[HV_FREES] = { "span_frees_total", NULL },
	[HV_GROWS] = { "grows_total", NULL },
	[HV_SCAV_AGE] = { "scavenged_bytes_total", "age" },
	[HV_SCAV_PRESSURE] = { "scavenged_bytes_total", "pressure" },
	[HV_SCAV_DEMAND] = { "scavenged_bytes_total", "demand" },
	[HV_SCAV_SKIPPED] = { "scavenge_skipped_total", NULL },
	[HV_PRESSURE_EVENTS] = { "pressure_events_total", NULL },
	[HV_META] = { "meta_bytes", NULL },
	[HV_LIMIT_SOFT] = { "limit_soft_bytes", NULL },
	[HV_LIMIT_HARD] = { "limit_hard_bytes", NULL },
};

/* Before the first sample of a metric. */
static void put_head(FILE *out, const char *group, int i)
{
	const char *help = metrics[i].cause ? "Bytes ever released, by cause" : heap_values[i].help;

	if (i && !strcmp(metrics[i].name, metrics[i - 1].name))
		return;
	fprintf(out, "# HELP goheap_%s%s %s.\n# TYPE goheap_%s%s %s\n", group, metrics[i].name,
		help, group, metrics[i].name, heap_values[i].counter ? "counter" : "gauge");
}

/* In quotes, with what must be escaped there; bytes above 127 may be no UTF-8. */
static void put_label(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fprintf(out, "\\%c", *text);
		else if (*text == '\n')
			fputs("\\n", out);
		else
			fputc(*text & 0x80 ? '?' : *text, out);
	}
}

static void put_value(FILE *out, uint64_t value)
{
	if (value == HEAP_NO_LIMIT)
		fputs(" +Inf\n", out);
	else
		fprintf(out, " %llu\n", (unsigned long long)value);
}

static void put_of_heap(FILE *out, const struct heap *heap, int i)
{
	fprintf(out, "goheap_%s{id=\"%u\",pid=\"%d\",comm=\"", metrics[i].name, heap->id,
		heap->pid);
	put_label(out, heap->comm);
	if (metrics[i].cause)
		fprintf(out, "\",cause=\"%s", metrics[i].cause);
	fputs("\"}", out);
	put_value(out, heap->value[i]);
}

/*
 * Samples of one metric must stand together, also where its causes are several values
 * here: [i, end) are of one name.
 */
static int put_heaps(FILE *out, const struct heaps *all, int i)
{
	int end = i + 1;

	while (end < HV_NR && !strcmp(metrics[end].name, metrics[i].name))
		end++;
	put_head(out, "", i);
	for (size_t k = 0; k < all->nr; k++)
		for (int n = i; n < end; n++)
			put_of_heap(out, &all->heap[k], n);
	return end;
}

static void put_all(FILE *out, const struct heaps *all)
{
	uint64_t total[HV_NR_TOTALS], nr;

	heaps_totals(total, &nr);
	fprintf(out, "# HELP goheap_heaps Heaps that exist now.\n# TYPE goheap_heaps gauge\n"
		"goheap_heaps %llu\n"
		"# HELP goheap_heaps_hidden Heaps of which no more than that can be read.\n"
		"# TYPE goheap_heaps_hidden gauge\ngoheap_heaps_hidden %zu\n",
		(unsigned long long)nr, all->hidden);
	for (int i = 0; i < HV_NR_TOTALS; i++) {
		put_head(out, "all_", i);
		fprintf(out, "goheap_all_%s", metrics[i].name);
		if (metrics[i].cause)
			fprintf(out, "{cause=\"%s\"}", metrics[i].cause);
		put_value(out, total[i]);
	}
	for (int i = 0; all->nr && i < HV_NR; )
		i = put_heaps(out, all, i);
}

void prometheus_write(const struct heaps *all, const char *path)
{
	char *tmp;
	FILE *out;
	int fd;

	if (!path) {
		put_all(stdout, all);
		return;
	}
	/* The collector reads what ends in .prom only. */
	if (asprintf(&tmp, "%s.XXXXXX", path) < 0)
		cli_die("out of memory");
	fd = mkstemp(tmp);
	out = fd < 0 ? NULL : fdopen(fd, "w");
	if (!out)
		cli_die("%s: %s: %s", path, strerror(errno), errno == ENOENT ? "make the folder" :
			"run it as a user who may write there");
	put_all(out, all);
	if (fflush(out) || fchmod(fd, 0644) || fclose(out) || rename(tmp, path)) {
		int err = errno;

		unlink(tmp);
		cli_die("%s: %s", path, strerror(err));
	}
	free(tmp);
}
