// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Permanent metadata is carved from chunks of 256 KiB by advancing an offset;
 * when a request does not fit the rest of the chunk, the rest is lost, and a new
 * chunk begins.  The first one is in .bss: most programs need no other.  A request
 * of 64 KiB or more gets a mapping of its own, so that at most a quarter of a chunk
 * can be lost.
 *
 * There is one bump pointer for the process, under one lock: the callers are
 * fixalloc, which asks for 16 KiB at a time, and set-up code, so that a pointer
 * per thread would cost more memory than it saves time.
 */
#include "persistentalloc.h"
#include "sys.h"

uint64_t ghu_other_sys;

static struct {
	struct ghu_lock lock;
	char *base;
	size_t off;
} persistent;

static ghu_placed_table("chunk") char first_chunk[GHU_PERSISTENT_CHUNK]
	__attribute__((aligned(64)));

static void stat_add(uint64_t *stat, uint64_t bytes)
{
	__atomic_fetch_add(stat, bytes, __ATOMIC_RELAXED);
}

static void check_args(size_t size, size_t align)
{
	if (!size)
		ghu_fatal("persistentalloc: size == 0");
	if (align & (align - 1))
		ghu_fatal("persistentalloc: align is not a power of 2");
	if (align > GHU_PERSISTENT_MAX_ALIGN)
		ghu_fatal("persistentalloc: align is too large");
}

/* A mapping is aligned to the hardware's page, which may be less than was asked for. */
static void *alloc_direct(size_t size, size_t align, uint64_t *stat)
{
	size_t extra = align > ghu_phys_page_size() ? align : 0;
	uintptr_t p;

	if (size + extra < size)
		return NULL;
	p = (uintptr_t)ghu_sys_alloc(size + extra);
	if (!p)
		return NULL;
	stat_add(stat, size + extra);
	return (void *)((p + align - 1) & ~(align - 1));
}

/* A chunk counts as other_sys until its bytes are given to somebody. */
static bool new_chunk(void)
{
	char *base = persistent.base ? ghu_sys_alloc(GHU_PERSISTENT_CHUNK) : first_chunk;

	if (!base)
		return false;
	persistent.base = base;
	persistent.off = 0;
	stat_add(&ghu_other_sys, GHU_PERSISTENT_CHUNK);
	return true;
}

/* Offset in the current chunk at which an aligned address is found. */
static size_t aligned_off(size_t align)
{
	uintptr_t base = (uintptr_t)persistent.base;

	return ((base + persistent.off + align - 1) & ~(align - 1)) - base;
}

static void *carve_locked(size_t size, size_t align)
{
	size_t off = aligned_off(align);

	if (!persistent.base || off + size > GHU_PERSISTENT_CHUNK) {
		if (!new_chunk())
			return NULL;
		off = aligned_off(align);
	}
	persistent.off = off + size;
	return persistent.base + off;
}

void *ghu_persistentalloc_try(size_t size, size_t align, uint64_t *stat)
{
	void *p;

	check_args(size, align);
	if (!align)
		align = 8;
	if (!stat)
		stat = &ghu_other_sys;
	if (size >= GHU_PERSISTENT_MAX_BLOCK)
		return alloc_direct(size, align, stat);

	ghu_lock(&persistent.lock);
	p = carve_locked(size, align);
	ghu_unlock(&persistent.lock);
	if (p && stat != &ghu_other_sys) {
		stat_add(stat, size);
		stat_add(&ghu_other_sys, -(uint64_t)size);
	}
	return p;
}

void *ghu_persistentalloc(size_t size, size_t align, uint64_t *stat)
{
	void *p = ghu_persistentalloc_try(size, align, stat);

	if (!p)
		ghu_fatal("runtime: cannot allocate memory");
	return p;
}

void ghu_persistentalloc_fork_prepare(void)
{
	ghu_lock(&persistent.lock);
}

void ghu_persistentalloc_fork_done(void)
{
	ghu_unlock(&persistent.lock);
}
