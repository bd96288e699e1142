/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Empty spans, kept whole: with their records, their state bytes, and their entries in
 * the page map.  See empty.c.
 */
#ifndef GHU_EMPTY_H
#define GHU_EMPTY_H

#include <stdbool.h>
#include <stddef.h>
#include "mspan.h"

#pragma GCC visibility push(hidden)

/* An empty span of that kind, DEAD, all its objects FREE; NULL: none is kept. */
struct ghu_mspan *ghu_empty_get(unsigned int sizeclass, size_t npages);
/* One of another class, from which one of this can be made. */
struct ghu_mspan *ghu_empty_get_other(unsigned int sizeclass);
/* Up to nr of them.  How many. */
unsigned int ghu_empty_get_some(unsigned int sizeclass, size_t npages,
				struct ghu_mspan **spans, unsigned int nr);
/* Whether such a span is one to be kept. */
bool ghu_empty_may_keep(const struct ghu_mspan *s);
/* Keeps such a span.  False: not this one. */
bool ghu_empty_put(struct ghu_mspan *s);
/* Several.  How many, the first ones; the next one is none to be kept. */
unsigned int ghu_empty_put_some(struct ghu_mspan **spans, unsigned int nr);
/* The heap is about to get so many pages: gives some of what is kept back before. */
void ghu_empty_give_back(size_t npages);
/* Gives back the one that begins at addr.  False: none does. */
bool ghu_empty_drop(uintptr_t addr);
/* Gives all back; true if there were any. */
bool ghu_empty_flush(void);
/* Gives back what nobody needed for a while; has old memory released, if it is time to. */
void ghu_empty_age(void);
/* Bytes in spans that are kept. */
size_t ghu_empty_bytes(void);

#pragma GCC visibility pop

#endif
