// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * malloc(0) returns an address that is its own, and that traps when it is used.  Such
 * objects are a class like any other, 16 bytes apart, but their spans are not from the
 * page heap: they are pages of regions that were mapped without any access, take
 * no memory, and stay.  A region has room for a million objects, and is made when the
 * first is needed; where addresses are scarce it is smaller.
 */
#include <sys/mman.h>
#include "backend.h"
#include "persistentalloc.h"
#include "zerosize.h"

#define REGION_PAGES	2048u
#define REGION_PAGES_MIN 64u
#define REGION_WORDS	(REGION_PAGES / 64)

struct region {
	struct region *next;
	uintptr_t base;
	unsigned int npages;
	unsigned int nr_free;
	uint64_t free[REGION_WORDS];	/* a bit for each page */
};

struct ghu_lock ghu_zerosize_lock;
static struct region *regions;

/* Its own address range, aligned to a heap page. */
static uintptr_t map_region(size_t bytes)
{
	long p = ghu_mmap(0, bytes + GHU_PAGE_SIZE, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return ghu_is_err(p) ? 0 : ((uintptr_t)p + GHU_PAGE_SIZE - 1) & ~(GHU_PAGE_SIZE - 1);
}

static struct region *make_region(void)
{
	unsigned int npages = REGION_PAGES;
	struct region *r;
	uintptr_t base;

	while (!(base = map_region((size_t)npages << GHU_PAGE_SHIFT)) && npages > REGION_PAGES_MIN)
		npages /= 2;
	if (!base)
		return NULL;
	r = ghu_persistentalloc_try(sizeof(*r), 0, NULL);
	if (!r) {
		ghu_munmap(base, (size_t)npages << GHU_PAGE_SHIFT);
		return NULL;
	}
	r->base = base;
	r->npages = r->nr_free = npages;
	for (unsigned int i = 0; i < npages / 64; i++)
		r->free[i] = ~0ull;
	r->next = regions;
	regions = r;
	return r;
}

static uintptr_t take_page(struct region *r)
{
	unsigned int i = 0, bit;

	while (!r->free[i])
		i++;
	bit = (unsigned int)__builtin_ctzll(r->free[i]);
	r->free[i] &= r->free[i] - 1;
	r->nr_free--;
	return r->base + ((uintptr_t)(64 * i + bit) << GHU_PAGE_SHIFT);
}

static struct region *find_region(void)
{
	struct region *r = regions;

	while (r && !r->nr_free)
		r = r->next;
	return r ? r : make_region();
}

uintptr_t ghu_zerosize_alloc(void)
{
	uintptr_t addr = 0;
	struct region *r;

	ghu_lock(&ghu_zerosize_lock);
	r = find_region();
	if (r)
		addr = take_page(r);
	ghu_unlock(&ghu_zerosize_lock);
	return addr;
}

void ghu_zerosize_free(uintptr_t addr)
{
	struct region *r;
	size_t page;

	ghu_lock(&ghu_zerosize_lock);
	r = regions;
	while (addr - r->base >= (uintptr_t)r->npages << GHU_PAGE_SHIFT)
		r = r->next;
	page = (addr - r->base) >> GHU_PAGE_SHIFT;
	r->free[page / 64] |= 1ull << page % 64;
	r->nr_free++;
	ghu_unlock(&ghu_zerosize_lock);
}
