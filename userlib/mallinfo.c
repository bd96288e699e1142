// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The reports of glibc's <malloc.h>, and mallopt().
 *
 * Programs read these to learn how much they use, so the sums are right for who
 * knows glibc's: large objects stand for its mapped regions (hblks, hblkhd), all
 * others live in its arena, whose bytes are those in use and those free
 * (arena = uordblks + fordblks); uordblks + hblkhd is everything in use.  Memory
 * that was given back to the system is in none of the numbers.
 *
 * mallopt(): most of glibc's parameters tune what does not exist here.  They are
 * hints, whose program goes on whatever they do, so they succeed.  One that promises
 * something that is not done fails.
 */
#include <features.h>

#ifdef __GLIBC__
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include "checked.h"
#include "stats.h"
#include "sys.h"

/* What the reports have in common. */
struct summary {
	size_t arena, free, used;	/* arena = free + used */
	size_t free_objects;
	size_t large, large_bytes;
	size_t trimmable;		/* idle pages that have memory */
	size_t most;			/* bytes that the arena ever had */
};

static size_t above(size_t a, size_t b)
{
	return a > b ? a - b : 0;
}

static void summarize(struct summary *m, const struct ghu_stats *st)
{
	size_t held = above(st->heap.sys, st->heap.released), spans = 0;

	*m = (struct summary){
		.large = st->class[0].live,
		.large_bytes = st->class[0].bytes,
		.most = st->heap.sys,
	};
	for (size_t i = 1; i < GHU_NUM_CLASSES; i++) {
		const struct ghu_class_stats *c = &st->class[i];

		spans += c->bytes;
		m->used += ghu_stats_live_bytes(st, i);
		m->free_objects += c->spans * ghu_classes[i].nelems - c->live;
	}
	/* While others allocate the heap may say less than was found in the walk. */
	m->trimmable = above(held, spans + m->large_bytes);
	m->arena = spans + m->trimmable;
	m->free = m->arena - m->used;
}

static void collect_summary(struct summary *m)
{
	struct ghu_stats st;

	ghu_stats_collect(&st);
	summarize(m, &st);
}

/* ---- mallinfo ---- */

static int to_int(size_t n)
{
	return n > INT_MAX ? INT_MAX : (int)n;
}

ghu_export struct mallinfo mallinfo(void)
{
	struct summary m;

	collect_summary(&m);
	return (struct mallinfo){
		.arena = to_int(m.arena),
		.ordblks = to_int(m.free_objects),
		.hblks = to_int(m.large),
		.hblkhd = to_int(m.large_bytes),
		.uordblks = to_int(m.used),
		.fordblks = to_int(m.free),
		.keepcost = to_int(m.trimmable),
	};
}

#if __GLIBC_PREREQ(2, 33)
ghu_export struct mallinfo2 mallinfo2(void)
{
	struct summary m;

	collect_summary(&m);
	return (struct mallinfo2){
		.arena = m.arena,
		.ordblks = m.free_objects,
		.hblks = m.large,
		.hblkhd = m.large_bytes,
		.uordblks = m.used,
		.fordblks = m.free,
		.keepcost = m.trimmable,
	};
}
#endif

/* ---- malloc_stats ---- */

ghu_export void malloc_stats(void)
{
	struct summary m;
	char text[500];

	collect_summary(&m);
	snprintf(text, sizeof(text),
		 "Arena 0:\n"
		 "system bytes     = %10zu\n"
		 "in use bytes     = %10zu\n"
		 "Total (incl. mmap):\n"
		 "system bytes     = %10zu\n"
		 "in use bytes     = %10zu\n"
		 "mmap regions     = %10zu\n"
		 "mmap bytes       = %10zu\n",
		 m.arena, m.used, m.arena + m.large_bytes, m.used + m.large_bytes,
		 m.large, m.large_bytes);
	ghu_print("%s", text);
}

/* ---- malloc_info ---- */

/* As in glibc's, a line for each size of which there are free objects. */
static void print_sizes(FILE *fp, const struct ghu_stats *st)
{
	fputs("<sizes>\n", fp);
	for (size_t i = 1; i < GHU_ZERO_CLASS; i++) {
		const struct ghu_class *class = &ghu_classes[i];
		size_t nfree = st->class[i].spans * class->nelems - st->class[i].live;

		if (nfree)
			fprintf(fp, "  <size from=\"%u\" to=\"%u\" total=\"%zu\" count=\"%zu\"/>\n",
				ghu_classes[i - 1].size + 1, class->size, nfree * class->size,
				nfree);
	}
	fputs("</sizes>\n", fp);
}

static void print_free(FILE *fp, const struct summary *m)
{
	fprintf(fp, "<total type=\"fast\" count=\"0\" size=\"0\"/>\n"
		"<total type=\"rest\" count=\"%zu\" size=\"%zu\"/>\n", m->free_objects, m->free);
}

static void print_system(FILE *fp, size_t now, size_t most)
{
	fprintf(fp, "<system type=\"current\" size=\"%zu\"/>\n"
		"<system type=\"max\" size=\"%zu\"/>\n"
		"<aspace type=\"total\" size=\"%zu\"/>\n"
		"<aspace type=\"mprotect\" size=\"%zu\"/>\n", now, most, most, most);
}

static void print_info(FILE *fp, const struct ghu_stats *st, const struct summary *m)
{
	fputs("<malloc version=\"1\">\n<heap nr=\"0\">\n", fp);
	print_sizes(fp, st);
	print_free(fp, m);
	print_system(fp, m->arena, m->most);
	fputs("</heap>\n", fp);
	print_free(fp, m);
	fprintf(fp, "<total type=\"mmap\" count=\"%zu\" size=\"%zu\"/>\n", m->large,
		m->large_bytes);
	print_system(fp, m->arena + m->large_bytes, m->most);
	fputs("</malloc>\n", fp);
}

/* Writing may call malloc(): everything is collected before, and no lock is held. */
ghu_export int malloc_info(int options, FILE *fp)
{
	struct ghu_stats st;
	struct summary m;
	int err;

	if (options) {
		errno = EINVAL;
		return EINVAL;
	}
	ghu_stats_collect(&st);
	summarize(&m, &st);
	flockfile(fp);
	print_info(fp, &st, &m);
	err = ferror(fp);
	funlockfile(fp);
	return err ? -1 : 0;
}

/* ---- mallopt ---- */

ghu_export int mallopt(int param, int value)
{
	switch (param) {
	case M_PERTURB:
		return ghu_checked_perturb(value) || !value;
	case M_MXFAST:
	case M_NLBLKS:
	case M_GRAIN:
	case M_KEEP:
	case M_TRIM_THRESHOLD:
	case M_TOP_PAD:
	case M_MMAP_THRESHOLD:
	case M_MMAP_MAX:
	case M_CHECK_ACTION:
	case M_ARENA_TEST:
	case M_ARENA_MAX:
		return 1;
	default:
		return 0;
	}
}
#endif
