/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Classes of which the program has few objects.
 *
 * The page in which the first object of a class lies is that class's alone, and a small
 * program has an object or two of each of many sizes.  So the first few objects of a class are
 * objects of the next class that is a power of two, where those of all sizes between meet: less
 * than twice as long, as realloc() may leave one too.
 *
 * delete with a size compares the class with that of just this size.  So there are no such
 * objects any more once new was called.
 */
#ifndef GHU_FEW_H
#define GHU_FEW_H

#include <stdbool.h>
#include <stddef.h>
#include "sys.h"

#pragma GCC visibility push(hidden)

extern bool ghu_few_is_over;

/* One of the first few.  NULL: there were so many, or it is no such class, or no memory. */
void *ghu_few_alloc(size_t sizeclass);

#pragma GCC visibility pop

static inline void ghu_few_end(void)
{
	if (ghu_unlikely(!__atomic_load_n(&ghu_few_is_over, __ATOMIC_RELAXED)))
		__atomic_store_n(&ghu_few_is_over, true, __ATOMIC_RELAXED);
}

#endif
