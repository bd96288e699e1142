// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The page map; see pagemap.h.  The lock is held only while a leaf is made, once
 * for each GiB of addresses that ever held a span.
 */
#include <errno.h>
#include "mspan.h"
#include "pagemap.h"

ghu_table struct ghu_mspan **ghu_pagemap_root[GHU_ROOT_ENTRIES];
struct ghu_lock ghu_pagemap_lock;

static size_t nr_leaves;

static ghu_noinline int make_leaf(size_t i)
{
	struct ghu_mspan **leaf;
	int ret = 0;

	ghu_lock(&ghu_pagemap_lock);
	if (!ghu_pagemap_root[i]) {
		leaf = ghu_sys_reserve(GHU_LEAF_PAGES * sizeof(*leaf));
		if (leaf) {
			__atomic_store_n(&ghu_pagemap_root[i], leaf, __ATOMIC_RELAXED);
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
		if (__atomic_load_n(&ghu_pagemap_root[i], __ATOMIC_RELAXED))
			continue;
		if (make_leaf(i))
			return -ENOMEM;
	}
	return 0;
}

void ghu_pagemap_set(uintptr_t addr, size_t npages, struct ghu_mspan *s)
{
	size_t page = addr >> GHU_PAGE_SHIFT;

	for (size_t end = page + npages; page < end; page++) {
		struct ghu_mspan **leaf = ghu_pagemap_root[page >> GHU_LEAF_BITS];

		__atomic_store_n(&leaf[page & (GHU_LEAF_PAGES - 1)], s, __ATOMIC_RELEASE);
	}
}

struct ghu_mspan *ghu_pagemap_lookup(uintptr_t addr)
{
	struct ghu_mspan *s = ghu_pagemap_get(addr);

	return !s || s == &ghu_mspan_gone || ghu_mspan_is_kept(s) ? NULL : s;
}

size_t ghu_pagemap_bytes(void)
{
	return __atomic_load_n(&nr_leaves, __ATOMIC_RELAXED) * GHU_LEAF_PAGES *
	       sizeof(struct ghu_mspan *);
}
