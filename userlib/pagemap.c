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
size_t ghu_pagemap_nr_rooted;
struct ghu_lock ghu_pagemap_lock;

#define LEAF_BYTES	(GHU_LEAF_PAGES * sizeof(ghu_pagemap_t))

/* Leaves that are reserved in a row, with the first one; as many as the longest arena needs. */
#define FLAT_LEAVES	((size_t)256)

struct ghu_pagemap_flat ghu_pagemap_flat;

static size_t nr_in_row(void)
{
	return __atomic_load_n(&ghu_pagemap_flat.npages, __ATOMIC_RELAXED) >> GHU_LEAF_BITS;
}

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
	__atomic_store_n(&ghu_pagemap_flat.addr, i << GHU_LEAF_SHIFT, __ATOMIC_RELAXED);
	ghu_pagemap_flat.entries = (ghu_pagemap_t *)ret;
}

/* False: leaf i is not the next one of the row, or there is no memory. */
static bool extend_flat(size_t i)
{
	size_t npages = ghu_pagemap_flat.npages;
	ghu_pagemap_t *leaf = ghu_pagemap_flat.entries + npages;

	if (!ghu_pagemap_flat.entries || npages == FLAT_LEAVES * GHU_LEAF_PAGES ||
	    i << GHU_LEAF_SHIFT != ghu_pagemap_flat.addr + (npages << GHU_PAGE_SHIFT) ||
	    ghu_mprotect((uintptr_t)leaf, LEAF_BYTES, PROT_READ | PROT_WRITE))
		return false;
	__atomic_store_n(&ghu_pagemap_flat.npages, npages + GHU_LEAF_PAGES, __ATOMIC_RELEASE);
	return true;
}

static int add_to_root(size_t i)
{
	uintptr_t root, leaf = (uintptr_t)ghu_sys_reserve(LEAF_BYTES);

	if (!leaf)
		return -ENOMEM;
	root = leaf - i * LEAF_BYTES;
	/* That says there is none: another address. */
	if (!root)
		return add_to_root(i);
	__atomic_fetch_add(&ghu_pagemap_nr_rooted, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&ghu_pagemap_root[i], root, __ATOMIC_RELAXED);
	return 0;
}

static int make_leaf_locked(size_t i)
{
	if (ghu_pagemap_has(i << GHU_LEAF_SHIFT))
		return 0;
	if (!ghu_pagemap_flat.entries && !ghu_pagemap_nr_rooted)
		reserve_flat(i);
	return extend_flat(i) ? 0 : add_to_root(i);
}

static ghu_noinline int make_leaf(size_t i)
{
	int ret;

	ghu_lock(&ghu_pagemap_lock);
	ret = make_leaf_locked(i);
	ghu_unlock(&ghu_pagemap_lock);
	return ret;
}

int ghu_pagemap_prepare(uintptr_t addr, size_t npages)
{
	uintptr_t last = addr + (npages << GHU_PAGE_SHIFT) - 1;

	if (last >> GHU_ADDR_BITS)
		return -ENOMEM;
	for (size_t i = addr >> GHU_LEAF_SHIFT; i <= last >> GHU_LEAF_SHIFT; i++)
		if (!ghu_pagemap_has(i << GHU_LEAF_SHIFT) && make_leaf(i))
			return -ENOMEM;
	return 0;
}

static ghu_pagemap_t *entry_at(uintptr_t addr)
{
	ghu_pagemap_t *e = ghu_pagemap_flat_at(addr);

	return e ? e : ghu_pagemap_at(ghu_pagemap_leaf(addr >> GHU_LEAF_SHIFT),
				      addr >> GHU_PAGE_SHIFT);
}

void ghu_pagemap_set(uintptr_t addr, size_t npages, struct ghu_mspan *s, unsigned int fast)
{
	ghu_pagemap_t e = (ghu_pagemap_t)(uintptr_t)s << GHU_ENTRY_SPAN_SHIFT | fast;

	for (size_t i = 0; i < npages; i++)
		__atomic_store_n(entry_at(addr + (i << GHU_PAGE_SHIFT)),
				 e | i << GHU_ENTRY_PAGE_SHIFT, __ATOMIC_RELAXED);
}

struct ghu_mspan *ghu_pagemap_lookup(uintptr_t addr)
{
	struct ghu_mspan *s = ghu_pagemap_get(addr);

	return !s || s == &ghu_mspan_gone || ghu_mspan_is_kept(s) ? NULL : s;
}

size_t ghu_pagemap_bytes(void)
{
	size_t nr_rooted = __atomic_load_n(&ghu_pagemap_nr_rooted, __ATOMIC_RELAXED);

	return (nr_in_row() + nr_rooted) * LEAF_BYTES;
}
