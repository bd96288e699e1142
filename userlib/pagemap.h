/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * From an address to the span that it lies in: a table of two levels over 48 bits
 * of address, whose entries are heap pages.  The root is in .bss and only the
 * page of it that covers an arena is ever touched; a leaf covers 1 GiB, is
 * reserved when the first span there is made, never goes away, and takes memory
 * only where there are spans.
 *
 * Every page of a span of small objects is in the table.  Of a span that holds one
 * large object only the first page is, so that a block of many gigabytes costs one
 * store: an address further inside is no valid pointer anyway.
 *
 * Readers take no lock.  An entry is written before any pointer into the span is
 * handed out, and cleared when no object of it is left, so whoever may look a
 * pointer up finds the entry that belongs to it.
 */
#ifndef GHU_PAGEMAP_H
#define GHU_PAGEMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "backend.h"
#include "sys.h"

struct ghu_mspan;

#define GHU_ADDR_BITS		48u
#define GHU_LEAF_BITS		17u
#define GHU_LEAF_PAGES		((size_t)1 << GHU_LEAF_BITS)
#define GHU_LEAF_SHIFT		(GHU_PAGE_SHIFT + GHU_LEAF_BITS)
#define GHU_ROOT_ENTRIES	((size_t)1 << (GHU_ADDR_BITS - GHU_LEAF_SHIFT))

#pragma GCC visibility push(hidden)

extern struct ghu_mspan **ghu_pagemap_root[GHU_ROOT_ENTRIES];

/*
 * The span whose page holds addr, whatever addr is.  NULL: no span ever had that
 * page.  &ghu_mspan_gone: the span that had it went back to the page heap.
 */
static inline struct ghu_mspan *ghu_pagemap_get(uintptr_t addr)
{
	size_t i = addr >> GHU_LEAF_SHIFT;
	struct ghu_mspan **leaf;

	if (ghu_unlikely(i >= GHU_ROOT_ENTRIES))
		return NULL;
	leaf = __atomic_load_n(&ghu_pagemap_root[i], __ATOMIC_RELAXED);
	if (ghu_unlikely(!leaf))
		return NULL;
	return __atomic_load_n(&leaf[addr >> GHU_PAGE_SHIFT & (GHU_LEAF_PAGES - 1)],
			       __ATOMIC_ACQUIRE);
}

/* Makes the leaves for [addr, addr + npages pages).  0 or -ENOMEM. */
int ghu_pagemap_prepare(uintptr_t addr, size_t npages);
/* Writes npages entries from addr's page on, for which leaves were prepared. */
void ghu_pagemap_set(uintptr_t addr, size_t npages, struct ghu_mspan *s);
/*
 * The span in use that holds addr (of a large one: its first page), or NULL.
 */
struct ghu_mspan *ghu_pagemap_lookup(uintptr_t addr);

/* Bytes of addresses that leaves take. */
size_t ghu_pagemap_bytes(void);

/* The lock that makes leaves, held around fork(). */
extern struct ghu_lock ghu_pagemap_lock;

#pragma GCC visibility pop

#endif
