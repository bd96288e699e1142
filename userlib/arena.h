/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Arenas: long reservations of address space, anonymous or of the device, opened
 * for use from their start on.
 */
#ifndef GHU_ARENA_H
#define GHU_ARENA_H

#include "sys.h"

/* The longest arena, and the one that is asked for first. */
#define GHU_ARENA_MAX	((size_t)512 << 30)
/* Lengths are multiples of this. */
#define GHU_ARENA_STEP	((size_t)64 << 20)
/* Arenas begin at a multiple of this. */
#define GHU_ARENA_ALIGN	((size_t)2 << 20)

struct ghu_arena {
	uintptr_t start;
	size_t bytes;		/* may shrink, to what is open */
	uintptr_t opened;	/* [start, opened) can be read and written; only rises */
	struct ghu_lock lock;	/* held to raise it, and across fork() */
};

static inline bool ghu_arena_has(const struct ghu_arena *a, uintptr_t addr)
{
	return addr - a->start < __atomic_load_n(&a->bytes, __ATOMIC_RELAXED);
}

/*
 * Reserves addresses of fd, or anonymous ones if it is -1: at least min_bytes,
 * at most max_bytes, which is a multiple of GHU_ARENA_STEP.  0 or -ENOMEM.
 */
int ghu_arena_reserve(struct ghu_arena *a, int fd, size_t min_bytes, size_t max_bytes);

/* Makes [start, end) readable and writable.  0 or -ENOMEM. */
int ghu_arena_open(struct ghu_arena *a, uintptr_t end);

#endif
