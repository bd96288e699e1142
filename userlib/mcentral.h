/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* For each size class: the spans that no thread owns.  mcentral.c says how it works. */
#ifndef GHU_MCENTRAL_H
#define GHU_MCENTRAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "mspan.h"

struct ghu_mcache;

#pragma GCC visibility push(hidden)

/*
 * A span with free objects that others let go of, OWNED by owner from now on.  NULL: none is
 * quickly found.
 */
struct ghu_mspan *ghu_mcentral_cache_span(size_t sizeclass, struct ghu_mcache *owner);
/* A new one.  NULL: no memory. */
struct ghu_mspan *ghu_mcentral_grow(size_t sizeclass, struct ghu_mcache *owner);
/* Takes an OWNED span from its owner; an empty one goes to the page heap. */
void ghu_mcentral_uncache_span(struct ghu_mspan *s);
/* free() of an object that is on WATCH, or HELD, as state says.  False: it is not, any more. */
bool ghu_mcentral_free_watched(struct ghu_mspan *s, unsigned int index, uint8_t state);
/*
 * The sweeper's visit to a SHARED span; ghu_spans.lock must be held.  Makes good what
 * racing frees did to its watch.  The span, now DEAD, if it is empty: the caller
 * must destroy it; else NULL.
 */
struct ghu_mspan *ghu_mcentral_sweep_span(struct ghu_mspan *s);
/* As ghu_mcentral_uncache_span(), but an empty span is returned, DEAD, to be destroyed. */
struct ghu_mspan *ghu_mcentral_take_back(struct ghu_mspan *s);

/* pthread_atfork() halves of everything in front of the backend; called by fork.c. */
void ghu_front_fork_prepare(void);
void ghu_front_fork_parent(void);
void ghu_front_fork_child(void);

/* Of these, mcentral's part. */
void ghu_mcentral_lock_all(void);
void ghu_mcentral_unlock_all(void);

#pragma GCC visibility pop

#endif
