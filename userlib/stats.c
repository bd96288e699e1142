// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Statistics, made when somebody asks: malloc() and free() count nothing.
 *
 * What is in use is found by a walk over all spans that counts their state bytes, a
 * few spans at a time under the lock.  It is exact if nobody allocates or frees
 * meanwhile; else each span is counted as it was at some moment of the walk, and one
 * that came or went may be missing.
 *
 * How many objects were ever allocated nobody knows exactly.  What is told is the
 * largest number that is certainly not too large, as of one of these it is:
 *
 *   - what was told before;
 *   - what the threads counted when they left their windows (mcache.c), which lacks
 *     the windows open now, and objects that were freed and allocated again while the
 *     thread stood on the same 64, or of classes with few objects on the same two spans;
 *   - the frees that were told before, and what is in use now.
 *
 * The number of frees is that less what is in use.  So neither number ever falls, and
 * their difference is what is in use.  Large objects are all counted, by number and by
 * bytes; in bytes, one that realloc() makes longer counts as allocated with what
 * it grew by.
 */
#include "empty.h"
#include "mcache.h"
#include "mspan.h"
#include "pagemap.h"
#include "persistentalloc.h"
#include "profile.h"
#include "stats.h"
#include "sweep.h"

/* Records looked at while the lock is held. */
#define BATCH	64u

/* What was told; under ghu_spans.lock. */
struct tally {
	uint64_t in, out;
};

static ghu_table struct tally told[GHU_NUM_CLASSES];
static struct tally told_large_bytes;

static uint64_t max64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void update_locked(struct tally *t, uint64_t counted, uint64_t live)
{
	t->in = max64(max64(counted, t->in), t->out + live);
	t->out = t->in - live;
}

static void update_tallies(struct ghu_stats *st, const struct ghu_taken *taken)
{
	ghu_lock(&ghu_spans.lock);
	for (size_t i = 0; i < GHU_NUM_CLASSES; i++) {
		update_locked(&told[i], taken->objects[i], st->class[i].live);
		st->class[i].mallocs = told[i].in;
		st->class[i].frees = told[i].out;
	}
	update_locked(&told_large_bytes, taken->large_bytes, st->class[0].bytes);
	st->large_allocated = told_large_bytes.in;
	st->large_freed = told_large_bytes.out;
	ghu_unlock(&ghu_spans.lock);
}

static uint64_t count_live(const struct ghu_mspan *s)
{
	if (!ghu_mspan_class(s))
		return ghu_is_live(ghu_state(ghu_states(s)));
	return ghu_mspan_count_live(s);
}

static void count_span(struct ghu_stats *st, const struct ghu_mspan *s)
{
	struct ghu_class_stats *c = &st->class[ghu_mspan_class(s)];
	uint64_t live = count_live(s);

	/* A large one that is being freed. */
	if (!live && !ghu_mspan_class(s))
		return;
	c->spans++;
	if (ghu_mspan_class(s) != GHU_ZERO_CLASS)
		c->bytes += __atomic_load_n(&s->npages, __ATOMIC_RELAXED) << GHU_PAGE_SHIFT;
	c->live += live;
}

/* False: these were the last. */
static bool count_some(struct ghu_stats *st, struct ghu_mspan_iter *it)
{
	const struct ghu_mspan *s = NULL;

	ghu_lock(&ghu_spans.lock);
	for (unsigned int n = 0; n < BATCH; n++) {
		s = ghu_mspan_iterate(it);
		if (!s)
			break;
		if (ghu_mspan_where(s) != GHU_SPAN_IS_DEAD)
			count_span(st, s);
	}
	ghu_unlock(&ghu_spans.lock);
	return s;
}

/* What threads counted is read first, so that it is not more than what is found or gone. */
void ghu_stats_collect(struct ghu_stats *st)
{
	struct ghu_mspan_iter it = { 0 };
	struct ghu_taken taken;

	*st = (struct ghu_stats){ .large_allocated = 0 };
	st->cached_bytes = ghu_empty_bytes() + ghu_backend_stats(&st->heap);
	ghu_mcache_sum_taken(&taken);
	while (count_some(st, &it))
		;
	update_tallies(st, &taken);
	ghu_mspan_bytes(&st->mspan_inuse, &st->mspan_sys);
	ghu_mcache_bytes(&st->mcache_inuse, &st->mcache_sys);
	st->profile_sys = __atomic_load_n(&ghu_profile_sys, __ATOMIC_RELAXED);
	st->profile_lost = __atomic_load_n(&ghu_profile_lost, __ATOMIC_RELAXED);
	st->other_sys = __atomic_load_n(&ghu_other_sys, __ATOMIC_RELAXED) +
			st->heap.meta_bytes + ghu_pagemap_bytes();
	st->sweeps = ghu_sweepgen() / 2;
}
