// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * What it finds are spans whose watch was lost (see mcentral.c): it gives them a new
 * one, or, if they are empty, back to the page heap.
 *
 * A cycle begins when the heap would grow and as much as a quarter of it was allocated
 * since the last one began, be it new or used again; under memory pressure; and
 * when somebody asks for a flush.  It is worked off by those who make the heap grow:
 * for each page that they are about to get they sweep eight.  So it is over before the
 * heap has grown by an eighth, and costs an allocated page a constant.
 *
 * sweepgen rises by 2 with each cycle.  A span whose sweepgen is not that is yet to
 * be looked at; new ones are born with the current one.  All of it is under
 * ghu_spans.lock: the cursor, and the walk over the records, so a span is looked at
 * once.  Spans that a thread owns are skipped: the owner sweeps them itself.
 */
#include "mcentral.h"
#include "mspan.h"
#include "sweep.h"

/* Pages swept for each page that the heap grows by. */
#define PAGES_PER_PAGE		8u
/* A request for more does not sweep for longer. */
#define MAX_CREDIT_PAGES	1024u
/* Allocated between cycles: a quarter of the heap, and this. */
#define MIN_CYCLE_PAGES		128u
/* Records looked at while the lock is held. */
#define BATCH			32u

static uint32_t sweepgen;
static bool active;
static size_t allocated_pages;		/* since the last cycle began */
static struct ghu_mspan_iter cursor;	/* under ghu_spans.lock, like all changes of the rest */

static bool is_active(void)
{
	return __atomic_load_n(&active, __ATOMIC_RELAXED);
}

uint32_t ghu_sweepgen(void)
{
	return __atomic_load_n(&sweepgen, __ATOMIC_RELAXED);
}

void ghu_sweep_start(void)
{
	ghu_lock(&ghu_spans.lock);
	__atomic_store_n(&sweepgen, sweepgen + 2, __ATOMIC_RELAXED);
	__atomic_store_n(&active, true, __ATOMIC_RELAXED);
	__atomic_store_n(&allocated_pages, 0, __ATOMIC_RELAXED);
	cursor = (struct ghu_mspan_iter){ 0 };
	ghu_unlock(&ghu_spans.lock);
}

/* It can become DEAD meanwhile, but no other span. */
static bool needs_sweep(const struct ghu_mspan *s)
{
	return ghu_mspan_where(s) == GHU_SPAN_IS_SHARED && s->sweepgen != sweepgen;
}

/* Pages of the spans looked at, those not in use counting as one.  0: the cycle is over. */
static size_t sweep_some(void)
{
	struct ghu_mspan *s, *dead = NULL, *next;
	size_t pages = 0;

	ghu_lock(&ghu_spans.lock);
	for (unsigned int n = 0; n < BATCH && active; n++) {
		s = ghu_mspan_iterate(&cursor);
		if (!s) {
			__atomic_store_n(&active, false, __ATOMIC_RELAXED);
			break;
		}
		pages++;
		if (!needs_sweep(s))
			continue;
		s->sweepgen = sweepgen;
		pages += s->npages - 1;
		s = ghu_mcentral_sweep_span(s);
		if (s) {
			s->next = dead;
			dead = s;
		}
	}
	ghu_unlock(&ghu_spans.lock);
	for (; dead; dead = next) {
		next = dead->next;
		ghu_mspan_destroy(dead);
	}
	return pages;
}

void ghu_sweep_finish(void)
{
	while (is_active())
		sweep_some();
}

void ghu_sweep_allocated(size_t npages)
{
	ghu_count(&allocated_pages, npages);
}

static bool is_due(void)
{
	size_t inuse = __atomic_load_n(&ghu_spans.pages_inuse, __ATOMIC_RELAXED);

	return __atomic_load_n(&allocated_pages, __ATOMIC_RELAXED) >= inuse / 4 + MIN_CYCLE_PAGES;
}

void ghu_sweep_deduct_credit(size_t npages)
{
	size_t credit = npages * PAGES_PER_PAGE;

	if (!is_active()) {
		if (!is_due())
			return;
		ghu_sweep_start();
	}
	if (credit > MAX_CREDIT_PAGES)
		credit = MAX_CREDIT_PAGES;
	for (size_t done = 0; done < credit && is_active(); )
		done += sweep_some();
}
