// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * What is freed is soon wanted again, by the same program in the same lengths.  So a
 * span that became empty is not taken apart at once: it is kept as it is, and who
 * needs one of that class, or for a large object of that length, gets it for the price
 * of two list operations.  The page heap takes ten times as long to merge a run with its
 * neighbours and to cut it out again, and as long again goes into the record.
 *
 * To the page heap such a span is in use: it is not merged, and not released.  So that
 * this is not seen from outside,
 *
 *   before the heap gives a run of another kind, eight times as many pages go back to it,
 *   from any lists, as long as more is kept than the 128th part of what is in use: a heap
 *   grows by no more than an eighth of what was kept;
 *
 *   what nobody needed for a sixteenth of the time after which idle memory is released
 *   goes back.  Of each list that is as many as the fewest that it held in that time,
 *   those that lay longest;
 *
 *   all goes back when memory runs out, and when the program trims.
 *
 * Of the kernel's heaps nothing is kept here: the kernel could not take it under pressure.
 *
 * A list begins with the one that was put in last; the first one's prev is the last one,
 * whose next means nothing: so to put one in, or to take the first or the last one out, writes to
 * one record beside its own.  Those for large objects of more than MAX_EXACT pages are for
 * several lengths each, and only their first few spans are looked at.
 *
 * All is under ghu_spans.lock, which is dropped while spans are given back.
 */
#include "backend.h"
#include "empty.h"
#include "heap.h"
#include "options.h"
#include "pagemap.h"
#include "sweep.h"

/* Longer ones are not kept. */
#define MAX_PAGES	4096u
/* Lists: one for each class, one for each length up to here, and the others. */
#define MAX_EXACT	128u
#define FIRST_LENGTH	GHU_NUM_CLASSES
#define FIRST_OTHER	(FIRST_LENGTH + MAX_EXACT)
#define NR_OTHER	16u
#define NR_LISTS	(FIRST_OTHER + NR_OTHER)
#define LOOKS		8u
#define CLASS_WORDS	GHU_BIT_WORDS(GHU_NUM_CLASSES)
/* May be kept whatever is asked for: so many pages, and the part of those in use. */
#define KEEP_PAGES	16u
#define KEEP_PART	128u
/* Pages that go back for each page that the heap gives. */
#define PAGES_PER_PAGE	8u
/* Spans that are taken out at a time. */
#define BATCH		32u
/* Spans that come or go between looks at the clock. */
#define TICK		64u

static ghu_placed_table("lists") struct list {
	struct ghu_mspan *first;
	unsigned int nr;
	unsigned int least;	/* since the last look */
} lists[NR_LISTS];

_Static_assert(NR_LISTS <= 8 * sizeof(ghu_spans.filled), "a bit for each");
_Static_assert(NR_LISTS <= UINT8_MAX, "as next_list counts");

/* For each class those of the same shape, and those of the same length. */
static ghu_table uint64_t shapes[GHU_NUM_CLASSES][CLASS_WORDS];
static ghu_table uint64_t lengths[GHU_NUM_CLASSES][CLASS_WORDS];
static uint64_t looked_ns;

static struct list *list_of(unsigned int sizeclass, size_t npages)
{
	if (sizeclass)
		return &lists[sizeclass];
	if (npages <= MAX_EXACT)
		return &lists[FIRST_LENGTH + npages - 1];
	return &lists[FIRST_OTHER + npages % NR_OTHER];
}

size_t ghu_empty_bytes(void)
{
	return __atomic_load_n(&ghu_spans.pages_kept, __ATOMIC_RELAXED) << GHU_PAGE_SHIFT;
}

/* Adds to one of the counters, or subtracts. */
static void count(size_t *n, size_t npages)
{
	__atomic_store_n(n, *n + npages, __ATOMIC_RELAXED);
}

/* Before the lock is taken: others wait as long as who has it waits for a cache line. */
static struct ghu_mspan *prefetch_first(const struct list *l)
{
	struct ghu_mspan *s = __atomic_load_n(&l->first, __ATOMIC_RELAXED);

	__builtin_prefetch(s, 1);
	return s;
}

/* Read without the lock. */
static inline void set_first(struct list *l, struct ghu_mspan *s)
{
	ghu_set_bit(ghu_spans.filled, (size_t)(l - lists), s);
	__atomic_store_n(&l->first, s, __ATOMIC_RELAXED);
}

/* The first list from i on, around, that holds something; something must be kept. */
static unsigned int next_filled(unsigned int i)
{
	return ghu_next_bit(ghu_spans.filled, GHU_BIT_WORDS(NR_LISTS), i);
}

static inline void insert_first(struct list *l, struct ghu_mspan *s)
{
	struct ghu_mspan *first = l->first;

	s->next = first;
	s->prev = s;
	if (first) {
		s->prev = first->prev;
		first->prev = s;
	}
	__atomic_store_n(&s->owner, GHU_OWNER_IS_EMPTY, __ATOMIC_RELAXED);
	set_first(l, s);
	l->nr++;
	count(&ghu_spans.pages_kept, s->npages);
}

static inline void unlink_span(struct list *l, struct ghu_mspan *s)
{
	struct ghu_mspan *first = l->first;

	if (s == first && s->prev == s) {
		set_first(l, NULL);
	} else if (s == first) {
		s->next->prev = s->prev;
		set_first(l, s->next);
	} else if (s == first->prev) {
		first->prev = s->prev;
	} else {
		s->prev->next = s->next;
		s->next->prev = s->prev;
	}
}

static inline __attribute__((always_inline)) void take_out(struct list *l, struct ghu_mspan *s)
{
	unlink_span(l, s);
	if (--l->nr < l->least)
		l->least = l->nr;
	__atomic_store_n(&s->owner, NULL, __ATOMIC_RELAXED);
	count(&ghu_spans.pages_kept, -s->npages);
}

/* ---- one for another ---- */

/* What is kept beyond what may be. */
static size_t too_many(void)
{
	size_t may = KEEP_PAGES + __atomic_load_n(&ghu_spans.pages_inuse, __ATOMIC_RELAXED) / KEEP_PART;
	size_t kept = __atomic_load_n(&ghu_spans.pages_kept, __ATOMIC_RELAXED);

	return kept > may ? kept - may : 0;
}

/* True: now and then. */
static bool tick(void)
{
	return !(++ghu_spans.ticks % TICK);
}

static struct ghu_mspan *find(const struct list *l, size_t npages)
{
	struct ghu_mspan *s = l->first;

	for (unsigned int i = 0; i < l->nr && i < LOOKS; i++, s = s->next)
		if (s->npages == npages)
			return s;
	return NULL;
}

/* One of those on the list; NULL: there is none. */
static inline struct ghu_mspan *get_locked(struct list *l, size_t npages)
{
	struct ghu_mspan *s = find(l, npages);

	if (ghu_unlikely(!s))
		return NULL;
	take_out(l, s);
	count(&ghu_spans.pages_inuse, npages);
	s->sweepgen = ghu_sweepgen();
	return s;
}

static inline void unlock(bool due)
{
	ghu_unlock(&ghu_spans.lock);
	if (ghu_unlikely(due))
		ghu_empty_age();
}

/* Whether an empty span of one class can become one of the other where it is, with its record. */
static bool is_same_shape(unsigned int a, unsigned int b)
{
	return ghu_classes[a].npages == ghu_classes[b].npages &&
	       ghu_classes[a].nwindows == ghu_classes[b].nwindows;
}

/* All but the class of objects of size 0, which lie elsewhere. */
static void look_at_classes(unsigned int sizeclass)
{
	for (unsigned int i = 1; i < GHU_ZERO_CLASS; i++) {
		ghu_set_bit(shapes[sizeclass], i, is_same_shape(i, sizeclass));
		ghu_set_bit(lengths[sizeclass], i,
			    ghu_classes[i].npages == ghu_classes[sizeclass].npages);
	}
}

/* Of those classes the one that gives next; NULL: none holds anything. */
static struct list *find_of(const uint64_t *classes)
{
	uint64_t have[CLASS_WORDS], any = 0;

	for (size_t w = 0; w < CLASS_WORDS; w++)
		any |= have[w] = ghu_spans.filled[w] & classes[w];
	if (!any)
		return NULL;
	ghu_spans.next_class = ghu_next_bit(have, CLASS_WORDS,
					    (ghu_spans.next_class + 1u) % GHU_NUM_CLASSES);
	return &lists[ghu_spans.next_class];
}

struct ghu_mspan *ghu_empty_get_other(unsigned int sizeclass)
{
	struct ghu_mspan *s = NULL;
	struct list *l;

	if (sizeclass == GHU_ZERO_CLASS || !__atomic_load_n(&ghu_spans.pages_kept, __ATOMIC_RELAXED))
		return NULL;
	ghu_lock(&ghu_spans.lock);
	if (ghu_unlikely(!shapes[sizeclass][sizeclass / 64]))
		look_at_classes(sizeclass);
	l = find_of(shapes[sizeclass]);
	if (!l)
		l = find_of(lengths[sizeclass]);
	if (l) {
		s = l->first->prev;
		take_out(l, s);
		count(&ghu_spans.pages_inuse, s->npages);
		s->sweepgen = ghu_sweepgen();
	}
	ghu_unlock(&ghu_spans.lock);
	return s;
}

struct ghu_mspan *ghu_empty_get(unsigned int sizeclass, size_t npages)
{
	struct list *l = list_of(sizeclass, npages);
	struct ghu_mspan *s;
	bool due;

	if (!prefetch_first(l))
		return NULL;
	ghu_lock(&ghu_spans.lock);
	due = tick();
	s = get_locked(l, npages);
	unlock(due);
	return s;
}

unsigned int ghu_empty_get_some(unsigned int sizeclass, size_t npages,
				struct ghu_mspan **spans, unsigned int nr)
{
	struct list *l = list_of(sizeclass, npages);
	unsigned int n = 0;
	bool due;

	if (!prefetch_first(l))
		return 0;
	ghu_lock(&ghu_spans.lock);
	due = tick();
	while (n < nr && (spans[n] = get_locked(l, npages)))
		n++;
	unlock(due);
	return n;
}

bool ghu_empty_may_keep(const struct ghu_mspan *s)
{
	return ghu_likely(ghu_mspan_class(s) != GHU_ZERO_CLASS && s->npages <= MAX_PAGES &&
			  !ghu_checked && !ghu_heaps_device());
}

static inline void put_locked(struct ghu_mspan *s, struct list *l)
{
	count(&ghu_spans.pages_inuse, -s->npages);
	insert_first(l, s);
}

bool ghu_empty_put(struct ghu_mspan *s)
{
	struct list *l = list_of(ghu_mspan_class(s), s->npages);
	bool due;

	if (!ghu_empty_may_keep(s))
		return false;
	prefetch_first(l);
	ghu_lock(&ghu_spans.lock);
	due = tick();
	put_locked(s, l);
	unlock(due);
	return true;
}

unsigned int ghu_empty_put_some(struct ghu_mspan **spans, unsigned int nr)
{
	unsigned int n;
	bool due;

	ghu_lock(&ghu_spans.lock);
	due = tick();
	for (n = 0; n < nr && ghu_empty_may_keep(spans[n]); n++)
		put_locked(spans[n], list_of(ghu_mspan_class(spans[n]), spans[n]->npages));
	unlock(due);
	return n;
}

/* ---- back to the heap ---- */

static void add_last(struct ghu_mspan **chain, struct list *l)
{
	struct ghu_mspan *s = l->first->prev;

	take_out(l, s);
	s->next = *chain;
	*chain = s;
}

/* Spans of any lists, those that lay longest, linked: a batch, or as many pages. */
static struct ghu_mspan *take_some(size_t npages)
{
	struct ghu_mspan *chain = NULL;
	size_t least = ghu_spans.pages_kept > npages ? ghu_spans.pages_kept - npages : 0;

	for (unsigned int i = 0; i < BATCH && ghu_spans.pages_kept > least; i++) {
		ghu_spans.next_list = next_filled(ghu_spans.next_list);
		add_last(&chain, &lists[ghu_spans.next_list]);
	}
	ghu_spans.next_list = (ghu_spans.next_list + 1) % NR_LISTS;
	return chain;
}

/* How many pages that were. */
static size_t give_back(struct ghu_mspan *s)
{
	struct ghu_mspan *next;
	size_t npages = 0;

	for (; s; s = next) {
		next = s->next;
		npages += s->npages;
		ghu_mspan_release(s);
	}
	return npages;
}

static size_t give_back_some(size_t npages)
{
	struct ghu_mspan *s;

	ghu_lock(&ghu_spans.lock);
	s = take_some(npages);
	ghu_unlock(&ghu_spans.lock);
	return give_back(s);
}

void ghu_empty_give_back(size_t npages)
{
	size_t left = npages * PAGES_PER_PAGE, extra, done;

	while (left && (extra = too_many())) {
		done = give_back_some(left < extra ? left : extra);
		left -= done < left ? done : left;
	}
}

bool ghu_empty_flush(void)
{
	bool any = false;

	while (give_back_some(SIZE_MAX))
		any = true;
	return any;
}

bool ghu_empty_drop(uintptr_t addr)
{
	struct ghu_mspan *s;

	if (!__atomic_load_n(&ghu_spans.pages_kept, __ATOMIC_RELAXED))
		return false;
	ghu_lock(&ghu_spans.lock);
	s = ghu_pagemap_get(addr);
	if (s && (!ghu_mspan_is_kept(s) || s->base != addr))
		s = NULL;
	if (s) {
		take_out(list_of(ghu_mspan_class(s), s->npages), s);
		s->next = NULL;
	}
	ghu_unlock(&ghu_spans.lock);
	return give_back(s);
}

/* ---- age ---- */

/* True: it is time to look, and the caller does. */
static bool is_time(void)
{
	uint64_t was = __atomic_load_n(&looked_ns, __ATOMIC_RELAXED), now = ghu_now_ns();

	return now - was > ghu_backend_age_ns() / 16 &&
	       __atomic_compare_exchange_n(&looked_ns, &was, now, false, __ATOMIC_RELAXED,
					   __ATOMIC_RELAXED);
}

/* Some of those that no one needed since the last look; it may be too few. */
static struct ghu_mspan *take_unneeded(struct list *l)
{
	struct ghu_mspan *chain = NULL;
	unsigned int nr = l->least < BATCH ? l->least : BATCH, left = l->least - nr;

	while (nr--)
		add_last(&chain, l);
	l->least = left;
	return chain;
}

static void age_list(struct list *l)
{
	struct ghu_mspan *s;

	do {
		ghu_lock(&ghu_spans.lock);
		s = take_unneeded(l);
		if (!s)
			l->least = l->nr;
		ghu_unlock(&ghu_spans.lock);
	} while (give_back(s));
}

void ghu_empty_age(void)
{
	if (is_time())
		for (struct list *l = lists; l < lists + NR_LISTS; l++)
			if (__atomic_load_n(&l->first, __ATOMIC_RELAXED))
				age_list(l);
	ghu_backend_age();
}
