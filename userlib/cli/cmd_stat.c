// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * goheap stat: the numbers of all heaps in a table, of one heap in full, or again and
 * again what has changed.
 */
#include <stdio.h>
#include <string.h>
#include "cli.h"
#include "heaps.h"
#include "json.h"
#include "prometheus.h"

#define INTERVAL_MIN	0.1
#define INTERVAL_MAX	86400

/* What the table of all shows, and what is said of one. */
#define WANT_TABLE	(HEAP_COMM | 1u << HV_SYS | 1u << HV_INUSE | 1u << HV_IDLE | \
			 1u << HV_RELEASED | 1u << HV_SCAV_AGE | 1u << HV_SCAV_PRESSURE | \
			 1u << HV_SCAV_DEMAND | 1u << HV_LIMIT_SOFT)

static const char *interval, *count, *output;
static bool prometheus;

static const struct cli_option options[] = {
	{ 'i', "interval", "SECONDS", NULL, &interval, "again and again: what changes" },
	{ 'n', "count", "N", NULL, &count, "with -i: N times" },
	{ 'p', "prometheus", NULL, &prometheus, NULL, "for the node exporter's textfile collector" },
	{ 'o', "output", "FILE", NULL, &output, "with -p: into FILE, replaced at once" },
	{ 0 }
};

/* ---- all heaps ---- */

static void print_row(const struct heap *h)
{
	static const int columns[] = { HV_SYS, HV_INUSE, HV_IDLE, HV_RELEASED, HV_SCAV_AGE,
				       HV_SCAV_PRESSURE, HV_SCAV_DEMAND };
	char buf[CLI_SIZE_MAX];

	for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
		uint64_t v = columns[i] == HV_IDLE ? heap_resident_idle(h) : h->value[columns[i]];

		printf(" %8s", cli_size(buf, v));
	}
}

static void print_table(const struct heaps *all)
{
	struct heap sum = { 0 };
	char buf[CLI_SIZE_MAX];
	uint64_t nr;

	printf("%s%6s %8s %-16s %8s %8s %8s %8s %8s %8s %8s %8s%s\n", cli_bold(), "ID", "PID",
	       "COMMAND", "SYS", "INUSE", "IDLE", "RELEASED", "BY-AGE", "PRESSURE", "DEMAND",
	       "LIMIT", cli_plain());
	for (size_t i = 0; i < all->nr; i++) {
		const struct heap *h = &all->heap[i];

		printf("%6u %8d %-16s", h->id, h->pid, heap_name(h));
		print_row(h);
		printf(" %8s\n", heap_limit_text(buf, h->value[HV_LIMIT_SOFT]));
	}
	heaps_totals(sum.value, &nr);
	printf("%6s %8llu %-16s", "", (unsigned long long)nr, "heaps in all");
	print_row(&sum);
	putchar('\n');
}

static void json_totals(void)
{
	uint64_t total[HV_NR_TOTALS], nr;

	heaps_totals(total, &nr);
	json_open("totals", '{');
	json_u64("heaps", nr);
	for (int i = 0; i < HV_NR_TOTALS; i++)
		json_u64(heap_values[i].name, total[i]);
	json_close();
}

static void print_json(const struct heaps *all, unsigned int want)
{
	json_open(NULL, '{');
	json_totals();
	json_open("heaps", '[');
	for (size_t i = 0; i < all->nr; i++)
		heap_json(&all->heap[i], want);
	json_close();
	json_u64("hidden", all->hidden);
	json_close();
}

/* ---- one heap ---- */

/* Counts of bytes have "bytes" in their names or are those of struct goheap_stats. */
static bool is_bytes(int i)
{
	return i <= HV_RELEASED || (i >= HV_SCAV_AGE && i <= HV_SCAV_DEMAND) || i == HV_META ||
	       i >= HV_LIMIT_SOFT;
}

static void print_heap(const struct heap *h)
{
	char buf[CLI_SIZE_MAX];

	printf("%sheap %u of process %d (%s)%s, arena 0x%llx-0x%llx\n", cli_bold(), h->id, h->pid,
	       heap_name(h), cli_plain(), (unsigned long long)h->arena_start,
	       (unsigned long long)h->arena_end);
	for (int i = 0; i < HV_NR; i++) {
		uint64_t v = h->value[i];

		if (v == HEAP_NO_LIMIT)
			printf("  %-20s %16s %8s", heap_values[i].name, "max", "");
		else
			printf("  %-20s %16llu %8s", heap_values[i].name, (unsigned long long)v,
			       is_bytes(i) && v >= 1024 ? cli_size(buf, v) : "");
		printf("  %s\n", heap_values[i].help);
	}
}

/* ---- what changes ---- */

static const char *const rate_columns[] = {
	"INUSE", "IDLE", "RELEASED", "ALLOC/s", "FREE/s", "BY-AGE/s", "PRESS/s", "DEMAND/s"
};

/* One number of all that is looked at; of all heaps the module's own sums. */
static bool sum_up(const char *who, struct heap *sum)
{
	struct heaps all;
	uint64_t nr;

	*sum = (struct heap){ 0 };
	if (!who) {
		heaps_totals(sum->value, &nr);
		return true;
	}
	if (!heaps_try_select(&all, who, HEAP_TOTALS))
		return false;
	for (size_t i = 0; i < all.nr; i++)
		for (int k = 0; k < HV_NR_TOTALS; k++)
			sum->value[k] += all.heap[i].value[k];
	heaps_free(&all);
	return true;
}

static uint64_t rate(const struct heap *now, const struct heap *before, int i, double seconds)
{
	/* A heap of several may have gone. */
	if (now->value[i] < before->value[i])
		return 0;
	return (uint64_t)((double)(now->value[i] - before->value[i]) / seconds + 0.5);
}

static void print_change(const struct heap *now, const struct heap *before, double seconds)
{
	char buf[CLI_SIZE_MAX];

	printf("%9s", cli_size(buf, now->value[HV_INUSE]));
	printf(" %9s", cli_size(buf, heap_resident_idle(now)));
	printf(" %9s", cli_size(buf, now->value[HV_RELEASED]));
	printf(" %9llu", (unsigned long long)rate(now, before, HV_ALLOCS, seconds));
	printf(" %9llu", (unsigned long long)rate(now, before, HV_FREES, seconds));
	for (int i = HV_SCAV_AGE; i <= HV_SCAV_DEMAND; i++)
		printf(" %9s", cli_size(buf, rate(now, before, i, seconds)));
	putchar('\n');
}

static void json_change(const struct heap *now, const struct heap *before, double seconds)
{
	json_open(NULL, '{');
	json_double("seconds", seconds);
	for (int i = 0; i < HV_NR_TOTALS; i++)
		json_u64(heap_values[i].name, now->value[i]);
	json_u64("allocs_per_second", rate(now, before, HV_ALLOCS, seconds));
	json_u64("frees_per_second", rate(now, before, HV_FREES, seconds));
	json_u64("released_by_age_per_second", rate(now, before, HV_SCAV_AGE, seconds));
	json_u64("released_by_pressure_per_second", rate(now, before, HV_SCAV_PRESSURE, seconds));
	json_u64("released_on_demand_per_second", rate(now, before, HV_SCAV_DEMAND, seconds));
	json_close();
}

/* As vmstat(8) does; it ends when the process does. */
static int watch(const char *who, double seconds, uint64_t times)
{
	struct heap before, now;
	double then = cli_now();

	if (!sum_up(who, &before))
		heaps_complain(who);
	for (uint64_t n = 0; !times || n < times; n++) {
		double took;

		if (!cli.json && n % 20 == 0) {
			for (size_t i = 0; i < sizeof(rate_columns) / sizeof(rate_columns[0]); i++)
				printf("%s%s%9s", i ? " " : "", cli_bold(), rate_columns[i]);
			printf("%s\n", cli_plain());
		}
		fflush(stdout);
		cli_sleep(seconds);
		if (!sum_up(who, &now))
			break;
		took = cli_now() - then;
		then += took;
		(cli.json ? json_change : print_change)(&now, &before, took);
		before = now;
	}
	return EXIT_OK;
}

/* ---- the command ---- */

static void check_options(const char *who)
{
	if (output && !prometheus)
		cli_usage("--output goes with --prometheus");
	if (count && !interval)
		cli_usage("--count goes with --interval");
	if (prometheus && (cli.json || interval || who))
		cli_usage("--prometheus is of all heaps, once, and no JSON");
}

static int show(const char *who)
{
	unsigned int want = who || cli.json ? HEAP_ALL : prometheus ? PROMETHEUS_WANT : WANT_TABLE;
	struct heaps all;

	if (who)
		heaps_select(&all, who, want);
	else
		heaps_read(&all, want);
	if (prometheus)
		prometheus_write(&all, output);
	else if (cli.json)
		print_json(&all, want);
	else if (!who)
		print_table(&all);
	else
		for (size_t i = 0; i < all.nr; i++)
			print_heap(&all.heap[i]);
	if (!who && !cli.json && !prometheus)
		heaps_warn_hidden(&all);
	heaps_free(&all);
	return EXIT_OK;
}

static int run(int argc, char **argv)
{
	const char *who = argc ? argv[0] : NULL;
	uint64_t times = 0;

	check_options(who);
	if (!interval)
		return show(who);
	if (count && (!cli_parse_u64(count, &times) || !times))
		cli_usage("'%s' is no number of times: give one from 1 on", count);
	return watch(who, cli_parse_seconds(interval, INTERVAL_MIN, INTERVAL_MAX), times);
}

const struct cli_command cmd_stat = {
	.name = "stat",
	.operands = "[PID|ID]",
	.does = "Shows the numbers of all heaps, or of those of a process",
	.about = "SYS is INUSE, IDLE and RELEASED in all: memory of spans in use, of free ones that still\n"
		 "have pages, and addresses of free ones that have none.  BY-AGE, PRESSURE and DEMAND are\n"
		 "what was ever released, by cause; LIMIT is the soft one.",
	.options = options,
	.has_json = true,
	.max = 1,
	.run = run,
};
