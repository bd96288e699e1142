/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Where spans come from: the kernel's heap (backend_device.c) or the page heap
 * compiled into the library (backend_embedded.c), chosen at first use, with a
 * bounded cache of empty spans in front of both (backend.c).
 *
 * Everything here is thread safe and may be called before libc is initialised.
 * No lock of the callers' own may be one that ghu_backend_fork_prepare() is
 * called under.
 */
#ifndef GHU_BACKEND_H
#define GHU_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GHU_PAGE_SHIFT	13
#define GHU_PAGE_SIZE	((size_t)1 << GHU_PAGE_SHIFT)

/* A run of heap pages, readable and writable when ghu_span_alloc() returns it. */
struct ghu_run {
	uintptr_t addr;
	size_t npages;
	bool needzero;		/* may hold old data; else reads as zeros */
};

#define GHU_SPAN_LARGE	1u	/* will hold one large object */

/* align in bytes, a power of two of at least GHU_PAGE_SIZE, or 0.  tag: the span class.  0 or -ENOMEM. */
int ghu_span_alloc(size_t npages, size_t align, unsigned int flags, uint8_t tag,
		   struct ghu_run *run);
/* The run as it was allocated (or last resized). */
void ghu_span_free(uintptr_t addr, size_t npages);
/* In place.  0: *needzero tells of the pages added; -ENOMEM: cannot be. */
int ghu_span_resize(uintptr_t addr, size_t old_npages, size_t npages, bool *needzero);

/* Gives the cache of empty spans back to the backend; then releases idle pages, up to max_bytes. Bytes released. */
size_t ghu_backend_scavenge(size_t max_bytes);
/* After so long idle memory is old. */
uint64_t ghu_backend_age_ns(void);
/* Has the embedded heaps release what is old, if it is time to. */
void ghu_backend_age(void);
/*
 * Rises each time that memory pressure reached the heap, or the embedded heap
 * released memory by age, or a forked child was cut off from its parent's heap.
 * A few loads; for the slow path of malloc, which then gives back what
 * it keeps empty.
 */
uint64_t ghu_backend_pressure(void);
/* Bytes of all heaps. */
struct ghu_heap_stats {
	size_t sys;		/* of the arenas, ever used */
	size_t released;	/* of those, free and without pages */
	size_t meta_bytes;	/* of the page heap's records, here */
	size_t kernel_bytes;	/* and in the kernel */
};
/* Returns the bytes of free spans that the cache keeps: to a heap they are in use. */
size_t ghu_backend_stats(struct ghu_heap_stats *st);
/* "device" or "embedded"; chooses if none was chosen yet. */
const char *ghu_backend_name(void);

/* pthread_atfork() halves; called by fork.c, in the order of the lock hierarchy. */
void ghu_backend_fork_prepare(void);
void ghu_backend_fork_parent(void);
void ghu_backend_fork_child(void);

#endif
