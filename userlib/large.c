// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * A large object is a span of the page heap of its own, mostly of class 0, with one state
 * byte.  A thread keeps the last few that it freed, if they are short, as they are, and
 * takes several at a time from among the empty spans (empty.c), where it puts several when
 * there are too many: the lock there is met by one in so many.
 *
 * Freeing exchanges the state byte, so that of two frees of the same object one
 * finds it FREE, however close they are; but for the short way, which looks and then
 * stores, as of a small object, and takes no locked instruction.
 */
#include <sys/mman.h>
#include "empty.h"
#include "large.h"
#include "mcache.h"
#include "options.h"
#include "pagemap.h"
#include "profile.h"
#include "sweep.h"

static uintptr_t guard_of(const struct ghu_mspan *s)
{
	return s->base + ((s->npages - 1) << GHU_PAGE_SHIFT);
}

/* Where there may be no more mappings the page does not trap. */
static void set_guard(struct ghu_mspan *s)
{
	ghu_mprotect(guard_of(s), GHU_PAGE_SIZE, PROT_NONE);
	s->guarded = true;
}

/* ---- what a thread keeps ---- */

/* Pages that one thread may keep, and all together. */
#define KEEP_PAGES	32u
#define KEEP_PAGES_ALL	128u

/*
 * The only thread there is may keep so many more, after it was seen to take as many longer
 * ones that lay among the empty spans: what it freed once and never wants again goes there.
 */
#define KEEP_PAGES_LONG	512u
#define LONG_TAKEN	32u

static size_t granted_pages;	/* to all threads */

static void put_back(struct ghu_mspan *s)
{
	__atomic_store_n(ghu_states(s), GHU_OBJ_FREE, __ATOMIC_RELAXED);
	__atomic_store_n(&s->where, GHU_SPAN_IS_DEAD, __ATOMIC_RELAXED);
}

/* All go where other threads find them, the last one first. */
static void unkeep_all(struct ghu_mcache *mc)
{
	struct ghu_mspan *spans[GHU_MAX_KEPT];
	unsigned int nr = ghu_large_nr_kept(mc), n;

	for (n = 0; n < nr; n++) {
		spans[n] = mc->kept[n + 1].span;
		mc->keep_room += spans[n]->npages;
		put_back(spans[n]);
	}
	mc->kept_last = 0;
	for (n = ghu_empty_put_some(spans, nr); n < nr; n++)
		ghu_mspan_destroy(spans[n]);
}

void ghu_large_flush(struct ghu_mcache *mc)
{
	unkeep_all(mc);
	if (mc->keep_pages)
		ghu_count(&granted_pages, -mc->keep_pages);
	mc->keep_pages = mc->keep_room = 0;
	mc->nr_long = 0;
}

/* Whether the thread may keep some, from now on. */
static bool grant(struct ghu_mcache *mc)
{
	if (mc->keep_pages)
		return true;
	if (__atomic_load_n(&granted_pages, __ATOMIC_RELAXED) + KEEP_PAGES > KEEP_PAGES_ALL)
		return false;
	ghu_count(&granted_pages, KEEP_PAGES);
	mc->keep_pages = mc->keep_room = KEEP_PAGES;
	return true;
}

static void grant_long(struct ghu_mcache *mc)
{
	if (ghu_is_alone() && ++mc->nr_long == LONG_TAKEN && grant(mc)) {
		mc->keep_pages += KEEP_PAGES_LONG;
		mc->keep_room += KEEP_PAGES_LONG;
		ghu_count(&granted_pages, KEEP_PAGES_LONG);
	}
}

static bool has_cache(void)
{
	return ghu_mcache_is_own(ghu_mcache) || ghu_mcache_attach();
}

/* One that is KEPT.  False: it is too long, or there is no cache, or too many have one. */
static bool keep(struct ghu_mspan *s)
{
	struct ghu_mcache *mc;

	if (!has_cache())
		return false;
	mc = ghu_mcache;
	if (ghu_unlikely(mc->keep_pages > KEEP_PAGES && !ghu_is_alone()))
		ghu_large_flush(mc);
	if (!grant(mc) || s->npages > mc->keep_pages)
		return false;
	if (mc->kept_last == GHU_KEPT_FULL || mc->keep_room < s->npages)
		unkeep_all(mc);
	ghu_large_push(mc, s, s->base, s->large_key);
	return true;
}

static void set_last(struct ghu_mcache *mc, const struct ghu_large_kept *k)
{
	/* In the order in which it is written. */
	__asm__ volatile("" ::: "memory");
	__atomic_store_n(&mc->kept_last, (size_t)((const char *)k - (const char *)mc->kept),
			 __ATOMIC_RELAXED);
	__asm__ volatile("" ::: "memory");
}

/*
 * At any instant another thread may fork.  Its child may lose those that move down, but must
 * not find one twice.
 */
static void take_out(struct ghu_mcache *mc, struct ghu_large_kept *k)
{
	struct ghu_large_kept *last = ghu_large_last(mc);

	set_last(mc, k - 1);
	for (; k < last; k++)
		k[0] = k[1];
	set_last(mc, last - 1);
}

/* The one that was freed last of those. */
static struct ghu_mspan *find_kept(struct ghu_mcache *mc, size_t sizeclass, size_t npages)
{
	size_t key = ghu_large_key(sizeclass, npages);
	struct ghu_large_kept *k = ghu_large_last(mc);
	struct ghu_mspan *s;

	while (k > mc->kept && k->key != key)
		k--;
	if (k == mc->kept)
		return NULL;
	s = k->span;
	take_out(mc, k);
	mc->keep_room += npages;
	return s;
}

/* ---- allocating and freeing ---- */

/* Whether it is freed the short way, by its length as it is now. */
static void set_key(struct ghu_mspan *s)
{
	bool is_short = s->npages <= KEEP_PAGES_LONG && !s->guarded && !ghu_checked;

	__atomic_store_n(&s->large_key,
			 is_short ? ghu_large_key(ghu_mspan_class(s), s->npages) : 0,
			 __ATOMIC_RELAXED);
}

/*
 * An empty span, that it found or made, becomes one; the object is not LIVE yet.  If it was one
 * before, its key is what it was, and its entry in the page map.
 */
static inline void make_large(struct ghu_mspan *s)
{
	if (!s->large_key) {
		if (ghu_mspan_class(s))
			ghu_pagemap_set(s->base, 1, s, 0);
		set_key(s);
	}
	__atomic_store_n(&s->where, GHU_SPAN_IS_LARGE, __ATOMIC_RELAXED);
}

/* Some are kept, as many as there is room for; the first one is not. */
static struct ghu_mspan *get_some(struct ghu_mcache *mc, size_t sizeclass, size_t npages)
{
	struct ghu_mspan *spans[GHU_MAX_KEPT];
	unsigned int nr = (unsigned int)(mc->keep_room / npages);

	nr = nr < GHU_MAX_KEPT ? nr : GHU_MAX_KEPT;
	nr = ghu_empty_get_some((unsigned int)sizeclass, npages, spans, nr);
	for (unsigned int i = nr; i-- > 1; ) {
		make_large(spans[i]);
		__atomic_store_n(ghu_states(spans[i]), GHU_OBJ_KEPT, __ATOMIC_RELAXED);
		ghu_large_push(mc, spans[i], spans[i]->base, spans[i]->large_key);
	}
	return nr ? spans[0] : NULL;
}

void *ghu_large_find(size_t sizeclass, size_t npages)
{
	struct ghu_mcache *mc = ghu_mcache;
	struct ghu_mspan *s = NULL;

	if (mc->kept_last)
		s = find_kept(mc, sizeclass, npages);
	if (s) {
		ghu_large_use(mc, s, sizeclass, npages);
		return (void *)s->base;
	}
	if (ghu_unlikely(!ghu_mcache_is_own(mc)))
		return NULL;
	if (!mc->kept_last && npages <= KEEP_PAGES / 4 && grant(mc))
		s = get_some(mc, sizeclass, npages);
	else
		s = ghu_empty_get((unsigned int)sizeclass, npages);
	if (!s)
		return NULL;
	if (npages > KEEP_PAGES)
		grant_long(mc);
	make_large(s);
	ghu_large_use(mc, s, sizeclass, npages);
	return (void *)s->base;
}

void *ghu_large_alloc(size_t size, size_t align, bool *needzero)
{
	size_t npages = ghu_pages_for(size) + !!ghu_options.guard;
	struct ghu_mspan *s;
	void *p = NULL;

	if (align <= GHU_PAGE_SIZE && has_cache())
		p = ghu_large_find(0, npages);
	*needzero = true;
	if (p)
		return p;
	s = ghu_mspan_create(0, npages, align > GHU_PAGE_SIZE ? align : 0);
	if (!s)
		return NULL;
	ghu_mcache_count_large(1, npages);
	*needzero = s->needzero;
	if (ghu_options.guard)
		set_guard(s);
	make_large(s);
	__atomic_store_n(ghu_states(s), GHU_OBJ_LIVE, __ATOMIC_RELAXED);
	return (void *)s->base;
}

void *ghu_large_alloc_class(size_t sizeclass, bool *needzero)
{
	size_t npages = ghu_classes[sizeclass].npages;
	struct ghu_mspan *s;
	void *p;

	*needzero = true;
	if (!has_cache())
		return NULL;
	p = ghu_large_find(sizeclass, npages);
	if (p)
		return p;
	s = ghu_mspan_create((unsigned int)sizeclass, npages, 0);
	if (!s)
		return NULL;
	ghu_sweep_allocated(npages);
	*needzero = s->needzero;
	make_large(s);
	ghu_large_use(ghu_mcache, s, sizeclass, npages);
	return (void *)s->base;
}

/* One that is KEPT. */
static void free_span(struct ghu_mspan *s)
{
	if (s->npages > KEEP_PAGES_LONG || !keep(s)) {
		put_back(s);
		ghu_mspan_destroy(s);
	}
}

bool ghu_large_free_some(struct ghu_mspan *s, uintptr_t addr)
{
	if (ghu_mspan_where(s) != GHU_SPAN_IS_LARGE || !s->large_key || addr != s->base ||
	    !ghu_replace8(ghu_states(s), GHU_OBJ_LIVE, GHU_OBJ_KEPT))
		return false;
	free_span(s);
	return true;
}

bool ghu_large_free(struct ghu_mspan *s, uint8_t state)
{
	if (ghu_exchange8(ghu_states(s), GHU_OBJ_KEPT) != state)
		return false;
	/* For the same reason the object may be lost. */
	if (s->guarded && ghu_mprotect(guard_of(s), GHU_PAGE_SIZE, PROT_READ | PROT_WRITE))
		return true;
	if (state == GHU_OBJ_LIVE && !ghu_checked) {
		free_span(s);
	} else {
		put_back(s);
		ghu_mspan_destroy(s);
	}
	return true;
}

/* Objects from here on: copying one takes longer than to give back what is kept. */
#define WORTH_PAGES	32u

/* Whether more is free behind the object now. */
static bool make_way(const struct ghu_mspan *s)
{
	return ghu_empty_drop(s->base + (s->npages << GHU_PAGE_SHIFT)) ||
	       (s->npages >= WORTH_PAGES && ghu_empty_flush());
}

bool ghu_large_resize(struct ghu_mspan *s, size_t size)
{
	size_t npages = ghu_pages_for(size);
	bool needzero;

	if (npages == s->npages)
		return true;
	while (ghu_span_resize(s->base, s->npages, npages, &needzero))
		if (!make_way(s))
			return false;
	ghu_mspan_count_pages(npages - s->npages);
	if (npages > s->npages)
		ghu_mcache_count_large(0, npages - s->npages);
	__atomic_store_n(&s->npages, npages, __ATOMIC_RELAXED);
	set_key(s);
	return true;
}
