/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Size classes: a request of at most 32 KiB gets an object of the smallest class
 * that holds it, and a span is cut into objects of one class.  Class 0 is that of
 * objects with a span of their own, and the last one that of objects of size 0 (zerosize.c).
 *
 * A span class is a size class and whether the objects may hold pointers that
 * somebody scans: class << 1 | noscan.  Nothing scans the objects of malloc(), so
 * all of them are noscan; caches and lists are therefore indexed by size class,
 * and the span class is the tag that a span carries.
 *
 * mksizeclasses.c computes the tables, and says by which rule.
 */
#ifndef GHU_SIZECLASS_H
#define GHU_SIZECLASS_H

#include <stddef.h>
#include <stdint.h>
#include "backend.h"

#define GHU_MAX_SMALL_SIZE	((size_t)32768)
#define GHU_SMALL_SIZE_MAX	((size_t)1024)
#define GHU_SMALL_SIZE_DIV	8u
#define GHU_LARGE_SIZE_DIV	128u
#define GHU_ZERO_CLASS		67u
#define GHU_NUM_CLASSES		68u
#define GHU_NUM_SPAN_CLASSES	(GHU_NUM_CLASSES << 1)
/* How far apart objects of the last class are, which have no bytes. */
#define GHU_ZERO_STRIDE		16u
/* Objects in the span that has most: one page of the smallest class. */
#define GHU_MAX_OBJECTS		1024u

#pragma GCC visibility push(hidden)

struct ghu_class {
	uint32_t size;		/* bytes of an object */
	uint32_t divmul;	/* to divide by it: see ghu_object_index() */
	uint16_t nelems;	/* objects in a span */
	uint8_t npages;		/* pages of a span */
	uint8_t nwindows;	/* nelems / 64, rounded up */
	uint32_t large_npages;	/* npages, if the span has one object, of several pages; else 0 */
};

extern const struct ghu_class ghu_classes[GHU_NUM_CLASSES];
/* As above, of each class, for free(); of class 0 it is 0, of which nothing is a multiple. */
extern const uint64_t ghu_divmul[GHU_NUM_CLASSES];
extern const uint8_t ghu_size_to_class8[GHU_SMALL_SIZE_MAX / GHU_SMALL_SIZE_DIV + 1];
/* 64 times as much: where the class is in a thread's cache, which is all malloc() asks for. */
extern const uint16_t ghu_size_to_cached8[GHU_SMALL_SIZE_MAX / GHU_SMALL_SIZE_DIV + 1];
extern const uint8_t ghu_size_to_class128[(GHU_MAX_SMALL_SIZE - GHU_SMALL_SIZE_MAX) /
					  GHU_LARGE_SIZE_DIV + 1];

#pragma GCC visibility pop

/* Of a size of more than GHU_SMALL_SIZE_MAX, and at most GHU_MAX_SMALL_SIZE. */
static inline size_t ghu_medium_size_to_class(size_t size)
{
	return ghu_size_to_class128[(size - GHU_SMALL_SIZE_MAX + GHU_LARGE_SIZE_DIV - 1) /
				    GHU_LARGE_SIZE_DIV];
}

/* Of a size of at most GHU_MAX_SMALL_SIZE.  */
static inline size_t ghu_size_to_class(size_t size)
{
	if (size <= GHU_SMALL_SIZE_MAX)
		return ghu_size_to_class8[(size + GHU_SMALL_SIZE_DIV - 1) / GHU_SMALL_SIZE_DIV];
	return ghu_medium_size_to_class(size);
}

static inline uint8_t ghu_make_spanclass(unsigned int sizeclass, unsigned int noscan)
{
	return (uint8_t)(sizeclass << 1 | noscan);
}

static inline unsigned int ghu_spanclass_sizeclass(uint8_t spanclass)
{
	return spanclass >> 1;
}

/* Pages that hold so many bytes. */
static inline size_t ghu_pages_for(size_t bytes)
{
	return (bytes >> GHU_PAGE_SHIFT) + !!(bytes & (GHU_PAGE_SIZE - 1));
}

#endif
