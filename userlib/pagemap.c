// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The page map; see pagemap.h.  The lock is held only while a leaf is made, once
 * for every 2 GiB of addresses that ever held a span.
 */
#include <errno.h>
#include <sys/mman.h>
#include "mspan.h"
#include "pagemap.h"

ghu_table uintptr_t ghu_pagemap_root[GHU_ROOT_ENTRIES];
struct ghu_lock ghu_pagemap_lock;

static size_t nr_leaves;

#define LEAF_BYTES	(GHU_LEAF_PAGES * sizeof(ghu_pagemap_t))

/* Leaves that are reserved in a row, with the first one; as many as the longest arena needs. */
#define FLAT_LEAVES	((size_t)256)

struct ghu_pagemap_flat ghu_pagemap_flat;

/*
 * Where addresses are scarce there is none.  A page more than is needed: what is mapped next
 * comes to lie below, and a thread's stack that ends where a huge page does gets one.
 */
static void reserve_flat(size_t i)
{
	size_t bytes = FLAT_LEAVES * LEAF_BYTES + ghu_phys_page_size();
	long ret;

	if (ghu_address_limit() != SIZE_MAX)
		return;
	ret = ghu_mmap(0, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (ghu_is_err(ret))
		return;
	ghu_madvise((uintptr_t)ret, bytes, MADV_NOHUGEPAGE);
	ghu_pagemap_flat.addr = i << GHU_LEAF_SHIFT;
	ghu_pagemap_flat.entries = (ghu_pagemap_t *)ret;
}

/* The next one of those in a row, if it is leaf i.  NULL: it is not, or there is no memory. */
static ghu_pagemap_t *next_flat(size_t i)
{
	size_t npages = ghu_pagemap_flat.npages;
	ghu_pagemap_t *leaf = ghu_pagemap_flat.entries + npages;

	if (!ghu_pagemap_flat.entries || npages == FLAT_LEAVES * GHU_LEAF_PAGES ||
	    i << GHU_LEAF_SHIFT != ghu_pagemap_flat.addr + (npages << GHU_PAGE_SHIFT) ||
	    ghu_mprotect((uintptr_t)leaf, LEAF_BYTES, PROT_READ | PROT_WRITE))
		return NULL;
	__atomic_store_n(&ghu_pagemap_flat.npages, npages + GHU_LEAF_PAGES, __ATOMIC_RELEASE);
	return leaf;
}

/* What the root says of a new leaf.  0: no memory. */
static uintptr_t new_leaf(size_t i)
{
	uintptr_t leaf, root;

	if (!nr_leaves)
		reserve_flat(i);
	leaf = (uintptr_t)next_flat(i);
	if (!leaf)
		leaf = (uintptr_t)ghu_sys_reserve(LEAF_BYTES);
	if (!leaf)
		return 0;
	root = leaf - i * LEAF_BYTES;
	/* That says there is none: another address. */
	return root ? root : new_leaf(i);
}

static ghu_noinline int make_leaf(size_t i)
{
	uintptr_t root;
	int ret = 0;

	ghu_lock(&ghu_pagemap_lock);
	if (!ghu_pagemap_leaf(i)) {
		root = new_leaf(i);
		if (root) {
			__atomic_store_n(&ghu_pagemap_root[i], root, __ATOMIC_RELAXED);
			__atomic_fetch_add(&nr_leaves, 1, __ATOMIC_RELAXED);
		} else {
			ret = -ENOMEM;
		}
	}
	ghu_unlock(&ghu_pagemap_lock);
	return ret;
}

int ghu_pagemap_prepare(uintptr_t addr, size_t npages)
{
	uintptr_t last = addr + (npages << GHU_PAGE_SHIFT) - 1;

	if (last >> GHU_ADDR_BITS)
		return -ENOMEM;
	for (size_t i = addr >> GHU_LEAF_SHIFT; i <= last >> GHU_LEAF_SHIFT; i++) {
		if (ghu_pagemap_leaf(i))
			continue;
		if (make_leaf(i))
			return -ENOMEM;
	}
	return 0;
}

void ghu_pagemap_set(uintptr_t addr, size_t npages, struct ghu_mspan *s, unsigned int fast)
{
	ghu_pagemap_t e = (ghu_pagemap_t)(uintptr_t)s << GHU_ENTRY_SPAN_SHIFT | fast;
	size_t page = addr >> GHU_PAGE_SHIFT;

	for (size_t i = 0; i < npages; i++, page++) {
		uintptr_t root = ghu_pagemap_leaf(page >> GHU_LEAF_BITS);

		__atomic_store_n(ghu_pagemap_at(root, page),
				 e | i << GHU_ENTRY_PAGE_SHIFT, __ATOMIC_RELAXED);
	}
}

struct ghu_mspan *ghu_pagemap_lookup(uintptr_t addr)
{
	struct ghu_mspan *s = ghu_pagemap_get(addr);

	return !s || s == &ghu_mspan_gone || ghu_mspan_is_kept(s) ? NULL : s;
}

size_t ghu_pagemap_bytes(void)
{
	return __atomic_load_n(&nr_leaves, __ATOMIC_RELAXED) * LEAF_BYTES;
}
