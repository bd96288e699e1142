/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Private to mcache.c and mcache_sample.c: a class's spans and what is counted of its
 * windows, and how an object is come by when the window is empty.
 */
#ifndef GHU_MCACHE_REFILL_H
#define GHU_MCACHE_REFILL_H

#include "mcache.h"

#pragma GCC visibility push(hidden)

/* An object from another window, where nothing is sampled; NULL: no memory. */
void *ghu_mcache_refill_plain(struct ghu_mcache *mc, size_t sizeclass);
/* The same, sampled or not; *due: what the object is to be, enum ghu_sample. */
void *ghu_mcache_refill_any(struct ghu_mcache *mc, size_t sizeclass, uint8_t *due);
/* Gives up what the thread freed and keeps. */
void ghu_mcache_drop_kept(struct ghu_mcache *mc);

#pragma GCC visibility pop

/* ---- spans ---- */

static inline struct ghu_mspan *ghu_mcache_ring(const struct ghu_mcache *mc, size_t sizeclass)
{
	return (struct ghu_mspan *)((uintptr_t)mc->classes[sizeclass].span & ~GHU_NO_REOPEN);
}

static inline void ghu_mcache_set_ring(struct ghu_mcache *mc, size_t sizeclass, struct ghu_mspan *s)
{
	uintptr_t no_reopen = s && ghu_mcache_is_sampling(mc) ? GHU_NO_REOPEN : 0;

	mc->classes[sizeclass].span = (struct ghu_mspan *)((uintptr_t)s | no_reopen);
}

/* ---- counting ---- */

#define GHU_OPENED_LAST_MASK	((1u << GHU_OPENED_LAST_BITS) - 1)

static inline void ghu_mcache_count_opened(struct ghu_mcache *mc, size_t sizeclass, uint64_t free)
{
	uint64_t *n = &mc->classes[sizeclass].opened;
	uint64_t nr = ghu_count_bits(free), before = *n & ~(uint64_t)GHU_OPENED_LAST_MASK;

	__atomic_store_n(n, before + (nr << GHU_OPENED_LAST_BITS) + nr, __ATOMIC_RELAXED);
}

/* The window is about to be left, and may not be empty. */
static inline void ghu_mcache_count_closed(struct ghu_mcache *mc, size_t sizeclass)
{
	uint64_t *n = &mc->classes[sizeclass].opened, last = *n & GHU_OPENED_LAST_MASK;
	uint64_t left = ghu_count_bits(mc->classes[sizeclass].window.free);

	/* It was reopened, and what it had first was all taken before. */
	if (left > last)
		left = last;
	__atomic_store_n(n, *n - last - (left << GHU_OPENED_LAST_BITS), __ATOMIC_RELAXED);
}

/* Some objects of the window that was opened last will not be taken from it. */
static inline void ghu_mcache_count_cut(struct ghu_mcache *mc, size_t sizeclass, uint64_t cut)
{
	uint64_t *n = &mc->classes[sizeclass].opened, nr = ghu_count_bits(cut);

	__atomic_store_n(n, *n - (nr << GHU_OPENED_LAST_BITS) - nr, __ATOMIC_RELAXED);
}

#endif
