/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* Objects on pages of their own, with pages that trap around them; guarded.c. */
#ifndef GHU_GUARDED_H
#define GHU_GUARDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "mspan.h"

#pragma GCC visibility push(hidden)

/*
 * An object of exactly size bytes, not 0.  NULL: it is too large, or there is no room.
 * frame: as ghu_stack_walk() takes it.
 */
void *ghu_guarded_alloc(size_t size, const uintptr_t *frame);
/* addr begins a guarded object.  No return if it was freed before, or overrun. */
void ghu_guarded_free(struct ghu_mspan *s);
/* The program begins: from now on faults are looked at. */
void ghu_guarded_begin(void);
/* Held around fork(). */
extern struct ghu_lock ghu_guarded_lock;

#pragma GCC visibility pop

/*
 * A guarded object is, to whoever looks its address up, a large one that has a size of
 * an object nevertheless.
 */
static inline bool ghu_is_guarded(const struct ghu_mspan *s)
{
	return !ghu_mspan_class(s) && s->elemsize;
}

#endif
