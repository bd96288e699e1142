/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* Objects of more than 32 KiB, or of alignment above 8 KiB: a span each. */
#ifndef GHU_LARGE_H
#define GHU_LARGE_H

#include <stdbool.h>
#include <stddef.h>
#include "mspan.h"

#pragma GCC visibility push(hidden)

/* align: a power of two.  *needzero: it may hold old data.  NULL: no memory. */
void *ghu_large_alloc(size_t size, size_t align, bool *needzero);
/* Of a LARGE span, whose object is LIVE, or HELD, as state says.  False: it is not. */
bool ghu_large_free(struct ghu_mspan *s, uint8_t state);
/* Grows or shrinks the object where it is.  False: it cannot be. */
bool ghu_large_resize(struct ghu_mspan *s, size_t size);

/* Gives back what the cache's thread kept. */
void ghu_large_flush(struct ghu_mcache *mc);

#pragma GCC visibility pop

#endif
