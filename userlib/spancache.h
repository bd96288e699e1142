/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * The cache of empty spans: short runs that the backend gave and nobody uses.
 * It calls nobody: what must go back to the backend is returned to the caller.
 * Thread safe.
 */
#ifndef GHU_SPANCACHE_H
#define GHU_SPANCACHE_H

#include "backend.h"
#include "sys.h"

/* Longer runs are not kept. */
#define GHU_SPANCACHE_PAGES	32u
/* Pages that are fetched at once, ahead of need, and the most runs at once for any purpose. */
#define GHU_SPANCACHE_AHEAD	16u
#define GHU_SPANCACHE_BATCH	32u
/* Runs of one length. */
#define GHU_SPANCACHE_SLOTS	64u
/* Runs that may have pages behind them, of all lengths together, but the last one. */
#define GHU_SPANCACHE_BYTES	((size_t)128 << 10)

/* Whether runs of this kind are kept. */
static inline bool ghu_spancache_keeps(size_t npages, size_t align)
{
	return npages <= GHU_SPANCACHE_PAGES && align <= GHU_PAGE_SIZE;
}

/* The run used last, of just that length. */
bool ghu_spancache_get(size_t npages, struct ghu_run *run);
/* How many runs to fetch after ghu_spancache_get() found none: 1 .. GHU_SPANCACHE_BATCH. */
unsigned int ghu_spancache_want(size_t npages);
/* Runs fetched ahead, all of one length.  Returns how many were kept, the first ones. */
unsigned int ghu_spancache_add(const struct ghu_run *runs, unsigned int nr);
/*
 * A run that was in use.  Writes up to GHU_SPANCACHE_BATCH runs, which the caller
 * gives back to the backend, to out, and returns their number.
 */
unsigned int ghu_spancache_put(uintptr_t addr, size_t npages, struct ghu_run *out);
/* Takes up to GHU_SPANCACHE_BATCH runs out, any; 0 when it was empty. */
unsigned int ghu_spancache_drain(struct ghu_run *out);
/* Forgets everything, and who held the locks: in a forked child. */
void ghu_spancache_forget(void);
/* Bytes in runs that were in use before: what the bound is about. */
size_t ghu_spancache_used_bytes(void);
/* Bytes in all runs. */
size_t ghu_spancache_bytes(void);

/* Holds everything still around fork(). */
void ghu_spancache_lock_all(void);
void ghu_spancache_unlock_all(void);

#endif
