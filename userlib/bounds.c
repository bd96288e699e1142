// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Whether a range of memory stays within the object that it begins in.  Takes no
 * lock and allocates nothing, for it is asked by memcpy(), which this library calls too.
 *
 * Whether the object is in use is not asked: the library itself writes to those
 * that it frees and those that it is about to hand out.
 */
#include <goheap.h>
#include "mspan.h"
#include "pagemap.h"

/* Where the object of a span that has this address ends. */
static uintptr_t small_end(const struct ghu_mspan *s, uintptr_t addr)
{
	uintptr_t index = (addr - s->base) / s->elemsize;

	return index < ghu_classes[ghu_mspan_class(s)].nelems ? s->base + (index + 1) * s->elemsize : addr;
}

static uintptr_t large_end(const struct ghu_mspan *s)
{
	size_t npages = __atomic_load_n(&s->npages, __ATOMIC_RELAXED) - s->guarded;

	return s->base + (npages << GHU_PAGE_SHIFT);
}

/* Of a large object only the first page is in the table: the last span that is before. */
static const struct ghu_mspan *span_before(uintptr_t addr)
{
	const struct ghu_mspan *s = NULL;

	while (ghu_pagemap_has(addr)) {
		s = ghu_pagemap_get(addr);
		if (s && s != &ghu_mspan_gone)
			return s;
		addr -= GHU_PAGE_SIZE;
	}
	return NULL;
}

/* 0: it is in no object. */
static uintptr_t object_end(uintptr_t addr)
{
	const struct ghu_mspan *s;

	s = span_before(addr);
	if (!s)
		return 0;
	if (ghu_mspan_class(s))
		return addr - s->base < s->npages << GHU_PAGE_SHIFT ? small_end(s, addr) : 0;
	if (ghu_mspan_where(s) != GHU_SPAN_IS_LARGE || addr >= large_end(s))
		return 0;
	return large_end(s);
}

ghu_export void goheap_check_range(const char *what, const void *p, size_t size)
{
	uintptr_t addr = (uintptr_t)p;
	uintptr_t end = size ? object_end(addr) : 0;

	if (ghu_likely(!end || size <= end - addr))
		return;
	ghu_print("runtime: %s: %zu bytes at %p, where the object ends after %zu\n",
		  what, size, p, (size_t)(end - addr));
	ghu_fatal_addr("out of bounds of an object", addr);
}
