/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Objects of more than 32 KiB, or of alignment above 8 KiB: a span each.  Of a class whose
 * spans hold one object of several pages, so are those that malloc() returns; they are LARGE
 * then, and have the class nevertheless.
 */
#ifndef GHU_LARGE_H
#define GHU_LARGE_H

#include <stdbool.h>
#include <stddef.h>
#include "guarded.h"
#include "mcache.h"
#include "options.h"
#include "profile.h"

#pragma GCC visibility push(hidden)

/* align: a power of two.  *needzero: it may hold old data.  NULL: no memory. */
void *ghu_large_alloc(size_t size, size_t align, bool *needzero);
/* One that this thread kept, or that is empty; it may hold old data.  Where ghu_large_may_keep().  NULL: none. */
void *ghu_large_find(size_t sizeclass, size_t npages);
/* The same of a class that ghu_large_has_class(); *needzero as above. */
void *ghu_large_alloc_class(size_t sizeclass, bool *needzero);
/* Of a LARGE span, whose object is LIVE, or HELD, as state says.  False: it is not. */
bool ghu_large_free(struct ghu_mspan *s, uint8_t state);
/* Grows or shrinks the object where it is.  False: it cannot be. */
bool ghu_large_resize(struct ghu_mspan *s, size_t size);

/* For ghu_large_free_short() if the thread has no room for it. */
bool ghu_large_put(struct ghu_mspan *s);
/* Gives back what the cache's thread kept. */
void ghu_large_flush(struct ghu_mcache *mc);

#pragma GCC visibility pop

/* Not while allocations are sampled. */
static inline bool ghu_large_may_keep(void)
{
	return ghu_likely(!(ghu_profile_rate() | ghu_options.sample));
}

/* Sizes up to here are of classes that have other objects. */
#define GHU_LARGE_MORE_THAN	14336u

/* Whether objects of the class may be LARGE ones. */
static inline bool ghu_large_has_class(size_t sizeclass)
{
	return ghu_classes[sizeclass].nelems == 1 && ghu_classes[sizeclass].npages > 1;
}

/* There is room for it. */
static inline void ghu_large_push(struct ghu_mcache *mc, struct ghu_mspan *s, uintptr_t addr)
{
	mc->kept[mc->nr_kept++] = (struct ghu_large_kept){ s, addr };
	mc->keep_room -= s->npages;
}

static inline void ghu_large_count(struct ghu_mcache *mc, const struct ghu_mspan *s)
{
	uint64_t *opened = &mc->classes[ghu_mspan_class(s)].opened;

	if (ghu_mspan_class(s)) {
		__atomic_store_n(opened, *opened + (1u << GHU_OPENED_LAST_BITS), __ATOMIC_RELAXED);
	} else {
		__atomic_store_n(&mc->large, mc->large + 1, __ATOMIC_RELAXED);
		__atomic_store_n(&mc->large_bytes, mc->large_bytes + (s->npages << GHU_PAGE_SHIFT),
				 __ATOMIC_RELAXED);
	}
}

/* What was kept, and is no more, is allocated by the cache's thread. */
static inline void ghu_large_use(struct ghu_mcache *mc, struct ghu_mspan *s)
{
	ghu_large_count(mc, s);
	__atomic_store_n(ghu_states(s), GHU_OBJ_LIVE, __ATOMIC_RELAXED);
}

static inline bool ghu_large_is(const struct ghu_mspan *s, size_t sizeclass, size_t npages)
{
	return s->npages == npages && ghu_mspan_class(s) == sizeclass;
}

/* What the thread freed last, if it is such a one; it may hold old data.  NULL: it is not. */
static inline void *ghu_large_pop(size_t sizeclass, size_t npages)
{
	struct ghu_mcache *mc = ghu_mcache;
	unsigned int nr = mc->nr_kept;
	const struct ghu_large_kept *k;

	if (ghu_unlikely(!nr || !ghu_large_may_keep()))
		return NULL;
	k = &mc->kept[nr - 1];
	if (ghu_unlikely(!ghu_large_is(k->span, sizeclass, npages)))
		return NULL;
	mc->nr_kept = nr - 1;
	mc->keep_room += npages;
	ghu_large_use(mc, k->span);
	return (void *)k->addr;
}

/*
 * Frees a large object the short way; of a span that may be none, and not large.  False: it
 * has to be the long one, and nothing is done.  Guarded ones, of one page, go that way.
 */
static inline bool ghu_large_free_short(struct ghu_mspan *s, uintptr_t addr)
{
	struct ghu_mcache *mc = ghu_mcache;

	if (ghu_unlikely(ghu_mspan_where(s) != GHU_SPAN_IS_LARGE || addr != s->base))
		return false;
	if (ghu_unlikely(s->npages > mc->keep_room || s->npages == 1 ||
			 mc->nr_kept == GHU_MAX_KEPT))
		return ghu_large_put(s);
	if (ghu_unlikely(!ghu_replace8(ghu_states(s), GHU_OBJ_LIVE, GHU_OBJ_KEPT)))
		return false;
	ghu_large_push(mc, s, addr);
	return true;
}

#endif
