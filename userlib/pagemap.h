/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * From an address to the span that it lies in: a table of two levels over 48 bits
 * of address, whose entries are heap pages.  A leaf covers 2 GiB, is reserved when the
 * first span there is made, never goes away, and takes memory only where there are spans.
 * The leaves from the first one that was made on, as far as they lie one behind the other, are
 * in a row, and most programs have no others: to look there first saves free() a quarter of
 * what it does.  The root leads to all others; it is in .bss, and not even touched where there
 * are none.
 *
 * Every page of a span of small objects is in the table.  Of a span that holds one
 * large object only the first page is, so that a block of many gigabytes costs one
 * store: an address further inside is no valid pointer anyway.
 *
 * An entry is the address of the span's record, and below that what free() must know to
 * find the object: so it need not look at the record, which is another cache line.
 *
 * Readers take no lock, and need no ordering of their own: whoever has a pointer has been
 * told all that came before it.  An entry is written before any pointer into the span is
 * handed out, and cleared when no object of it is left, so whoever may look a pointer up
 * finds the entry that belongs to it.
 */
#ifndef GHU_PAGEMAP_H
#define GHU_PAGEMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "backend.h"
#include "sizeclass.h"
#include "sys.h"

struct ghu_mspan;

#define GHU_ADDR_BITS		48u
#define GHU_LEAF_BITS		18u
#define GHU_LEAF_PAGES		((size_t)1 << GHU_LEAF_BITS)
#define GHU_LEAF_SHIFT		(GHU_PAGE_SHIFT + GHU_LEAF_BITS)
#define GHU_ROOT_ENTRIES	((size_t)1 << (GHU_ADDR_BITS - GHU_LEAF_SHIFT))

#pragma GCC visibility push(hidden)

/*
 * What an entry says, from the lowest bit on: in 8 bits the class, if free() may go the
 * short way, else 0; in 8 bits which page of the span it is; and the record's address.
 */
typedef uint64_t ghu_pagemap_t;

#define GHU_ENTRY_PAGE_SHIFT	8u
#define GHU_ENTRY_SPAN_SHIFT	16u

_Static_assert(GHU_ENTRY_SPAN_SHIFT + GHU_ADDR_BITS == 8 * sizeof(ghu_pagemap_t), "no bit is left");

/*
 * Of each leaf that is not in the row, where it would begin if it had entries for all
 * addresses; 0: there is none.
 */
extern uintptr_t ghu_pagemap_root[GHU_ROOT_ENTRIES];
extern size_t ghu_pagemap_nr_rooted;	/* leaves that it leads to */

/* Others may be making one.  0: none, whatever i is. */
static inline uintptr_t ghu_pagemap_leaf(size_t i)
{
	if (!__atomic_load_n(&ghu_pagemap_nr_rooted, __ATOMIC_RELAXED) || i >= GHU_ROOT_ENTRIES)
		return 0;
	return __atomic_load_n(&ghu_pagemap_root[i], __ATOMIC_RELAXED);
}

static inline ghu_pagemap_t *ghu_pagemap_at(uintptr_t root, size_t page)
{
	return (ghu_pagemap_t *)(root + page * sizeof(ghu_pagemap_t));
}

static inline ghu_pagemap_t ghu_pagemap_load(const ghu_pagemap_t *e)
{
	return __atomic_load_n(e, __ATOMIC_RELAXED);
}

/* The row. */
struct ghu_pagemap_flat {
	uintptr_t addr;		/* of the first page */
	size_t npages;		/* only rises, after the others were written once */
	ghu_pagemap_t *entries;
};

extern struct ghu_pagemap_flat ghu_pagemap_flat;

/*
 * Where the page's entry is, or NULL: not in the row.  While others make that its address may
 * be anything: there are no pages in it then.
 */
static inline ghu_pagemap_t *ghu_pagemap_flat_at(uintptr_t addr)
{
	size_t npages = __atomic_load_n(&ghu_pagemap_flat.npages, __ATOMIC_ACQUIRE);
	uintptr_t first = __atomic_load_n(&ghu_pagemap_flat.addr, __ATOMIC_RELAXED);
	size_t page = (addr - first) >> GHU_PAGE_SHIFT;

	return page < npages ? &ghu_pagemap_flat.entries[page] : NULL;
}

/*
 * False: it is not there, but may be in another leaf.  Else *e is as below.  For who has a
 * pointer, and so was told of the row: an atomic load would be an instruction more.
 */
static inline bool ghu_pagemap_flat_entry(uintptr_t addr, ghu_pagemap_t *e)
{
	size_t npages = __atomic_load_n(&ghu_pagemap_flat.npages, __ATOMIC_ACQUIRE);
	size_t page = (addr - ghu_pagemap_flat.addr) >> GHU_PAGE_SHIFT;

	if (ghu_unlikely(page >= npages))
		return false;
	*e = ghu_pagemap_load(&ghu_pagemap_flat.entries[page]);
	return true;
}

/* The entry of the page that holds addr, whatever addr is.  0: no span ever had that page. */
static inline ghu_pagemap_t ghu_pagemap_entry(uintptr_t addr)
{
	const ghu_pagemap_t *e = ghu_pagemap_flat_at(addr);
	uintptr_t root;

	if (ghu_likely(e))
		return ghu_pagemap_load(e);
	root = ghu_pagemap_leaf(addr >> GHU_LEAF_SHIFT);
	if (ghu_unlikely(!root))
		return 0;
	return ghu_pagemap_load(ghu_pagemap_at(root, addr >> GHU_PAGE_SHIFT));
}

static inline struct ghu_mspan *ghu_entry_span(ghu_pagemap_t e)
{
	return (struct ghu_mspan *)(e >> GHU_ENTRY_SPAN_SHIFT);
}

static inline size_t ghu_entry_class(ghu_pagemap_t e)
{
	return (uint8_t)e;
}

/* How far into its span addr is. */
static inline uint32_t ghu_entry_offset(ghu_pagemap_t e, uintptr_t addr)
{
	uint32_t page = (uint8_t)(e >> GHU_ENTRY_PAGE_SHIFT);

	return page << GHU_PAGE_SHIFT | ((uint32_t)addr & (GHU_PAGE_SIZE - 1));
}

/*
 * The span whose page holds addr, whatever addr is.  NULL: no span ever had that
 * page.  &ghu_mspan_gone: the span that had it went back to the page heap.
 */
static inline struct ghu_mspan *ghu_pagemap_get(uintptr_t addr)
{
	return ghu_entry_span(ghu_pagemap_entry(addr));
}

/* Whether there is a leaf that has an entry for addr, whatever addr is. */
static inline bool ghu_pagemap_has(uintptr_t addr)
{
	return ghu_pagemap_flat_at(addr) || ghu_pagemap_leaf(addr >> GHU_LEAF_SHIFT);
}

/* Makes the leaves for [addr, addr + npages pages).  0 or -ENOMEM. */
int ghu_pagemap_prepare(uintptr_t addr, size_t npages);
/*
 * Writes npages entries from addr's page on, which is the span's first, and for which leaves
 * were prepared.  fast: free() may go the short way to the class; 0: it may not.
 */
void ghu_pagemap_set(uintptr_t addr, size_t npages, struct ghu_mspan *s, unsigned int fast);
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
