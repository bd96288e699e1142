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
/* One that this thread kept, or that is empty; it may hold old data.  NULL: none. */
void *ghu_large_find(size_t sizeclass, size_t npages);
/* The same of a class that ghu_large_has_class(); *needzero as above. */
void *ghu_large_alloc_class(size_t sizeclass, bool *needzero);
/* Of a LARGE span, whose object is LIVE, or HELD, as state says.  False: it is not. */
bool ghu_large_free(struct ghu_mspan *s, uint8_t state);
/* Grows or shrinks the object where it is.  False: it cannot be. */
bool ghu_large_resize(struct ghu_mspan *s, size_t size);

/* The same as ghu_large_free_short(), and makes room if there is none. */
bool ghu_large_free_some(struct ghu_mspan *s, uintptr_t addr);
/* Gives back what the cache's thread kept. */
void ghu_large_flush(struct ghu_mcache *mc);

#pragma GCC visibility pop

/* kept_last when there is no place left. */
#define GHU_KEPT_FULL	(GHU_MAX_KEPT * sizeof(struct ghu_large_kept))

/* Else each large object is counted, and may be sampled. */
static inline bool ghu_large_unsampled(void)
{
	return ghu_likely(!__atomic_load_n(&ghu_options.sampling, __ATOMIC_RELAXED));
}

/* Sizes up to here are of classes that have other objects. */
#define GHU_LARGE_MORE_THAN	14336u

/* Whether objects of the class may be LARGE ones. */
static inline bool ghu_large_has_class(size_t sizeclass)
{
	return ghu_classes[sizeclass].large_npages;
}

/* What those have in common that can stand for each other.  Never 0, as npages is not. */
static inline size_t ghu_large_key(size_t sizeclass, size_t npages)
{
	return npages << 8 | sizeclass;
}

static inline struct ghu_large_kept *ghu_large_last(struct ghu_mcache *mc)
{
	return (struct ghu_large_kept *)((char *)mc->kept + mc->kept_last);
}

static inline unsigned int ghu_large_nr_kept(const struct ghu_mcache *mc)
{
	return (unsigned int)(mc->kept_last / sizeof(mc->kept[0]));
}

/* There is room for it. */
static inline void ghu_large_push(struct ghu_mcache *mc, struct ghu_mspan *s, uintptr_t addr,
				  size_t key)
{
	struct ghu_large_kept *k = ghu_large_last(mc) + 1;

	mc->keep_room -= s->npages;
	*k = (struct ghu_large_kept){ s, addr, key };
	/* Then: at any instant another thread may fork, and its child take over what is kept. */
	__atomic_store_n(&mc->kept_last, (size_t)((char *)k - (char *)mc->kept), __ATOMIC_RELAXED);
}

static inline void ghu_large_count(struct ghu_mcache *mc, size_t sizeclass, size_t npages)
{
	if (sizeclass) {
		ghu_add_own(&mc->classes[sizeclass].opened, 1u << GHU_OPENED_LAST_BITS);
	} else {
		ghu_add_own(&mc->large, 1);
		ghu_add_own(&mc->large_bytes, npages << GHU_PAGE_SHIFT);
	}
}

/* What was kept, and is no more, is allocated by the cache's thread. */
static inline void ghu_large_use(struct ghu_mcache *mc, struct ghu_mspan *s, size_t sizeclass,
				 size_t npages)
{
	ghu_large_count(mc, sizeclass, npages);
	__atomic_store_n(ghu_states(s), GHU_OBJ_LIVE, __ATOMIC_RELAXED);
}

/* What the thread freed last, if it is such a one; it may hold old data.  NULL: it is not. */
static inline const struct ghu_large_kept *ghu_large_pop(size_t sizeclass, size_t npages)
{
	struct ghu_mcache *mc = ghu_mcache;
	const struct ghu_large_kept *k = ghu_large_last(mc);

	if (ghu_unlikely(k->key != ghu_large_key(sizeclass, npages) || !ghu_large_unsampled()))
		return NULL;
	mc->kept_last -= sizeof(*k);
	mc->keep_room += npages;
	ghu_large_use(mc, k->span, sizeclass, npages);
	return k;
}

/*
 * Frees a large object the short way; of a span that may not be large.  False: it has to be
 * a longer one, and nothing is done.
 */
static inline bool ghu_large_free_short(struct ghu_mspan *s, uintptr_t addr)
{
	struct ghu_mcache *mc = ghu_mcache;
	size_t key = __atomic_load_n(&s->large_key, __ATOMIC_RELAXED);

	if (ghu_unlikely(!key || addr != s->base))
		return false;
	if (ghu_unlikely(s->npages > mc->keep_room || mc->kept_last == GHU_KEPT_FULL))
		return false;
	if (ghu_unlikely(ghu_peek_state(ghu_states(s)) != GHU_OBJ_LIVE))
		return false;
	ghu_large_push(mc, s, addr, key);
	__atomic_store_n(ghu_states(s), GHU_OBJ_KEPT, __ATOMIC_RELAXED);
	return true;
}

#endif
