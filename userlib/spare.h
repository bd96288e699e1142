/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Empty spans that a thread has at hand, for any class.  See spare.c.
 */
#ifndef GHU_SPARE_H
#define GHU_SPARE_H

#include <stdbool.h>
#include <stddef.h>

struct ghu_mcache;
struct ghu_mspan;

#pragma GCC visibility push(hidden)

/*
 * Whether the thread keeps the span, which nobody else knows, or which it owns and has taken
 * out of its ring.  Not if it has objects, or is of another kind, or if there are enough.
 */
bool ghu_spare_keep(struct ghu_mcache *mc, struct ghu_mspan *s);
/* One of them, OWNED, for the class; NULL: there is none for it. */
struct ghu_mspan *ghu_spare_take(struct ghu_mcache *mc, unsigned int sizeclass);
/* Gives all of them up. */
void ghu_spare_release(struct ghu_mcache *mc);

#pragma GCC visibility pop

#endif
