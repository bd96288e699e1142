/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Private to the backend: one heap is one arena and the page heap that manages
 * it, in the kernel (backend_device.c) or here (backend_embedded.c).
 */
#ifndef GHU_HEAP_H
#define GHU_HEAP_H

#include "arena.h"
#include "backend.h"

struct ghu_heap;

/* What to allocate; align in bytes, 0 for a page. */
struct ghu_request {
	size_t npages;
	size_t align;
	unsigned int flags;	/* GHU_SPAN_* */
	uint8_t tag;
};

/*
 * Errors: -ENOSPC: the heap has no such run; -ENOMEM: the system has no memory;
 * -EINVAL: no such span; -ENOENT: a run that the heap does not know and will not
 * use again; -ESTALE: this is a forked child, and the heap its parent's; -ENOLINK:
 * the heap cannot be reached any more.
 */
struct ghu_heap_ops {
	/* Up to nr runs of one kind; how many, at least 1, or an error. */
	int (*alloc)(struct ghu_heap *h, const struct ghu_request *req,
		     struct ghu_run *runs, unsigned int nr);
	/* 0 or an error; *done runs were freed, the first ones. */
	int (*free)(struct ghu_heap *h, const struct ghu_run *runs, unsigned int nr,
		    unsigned int *done);
	int (*resize)(struct ghu_heap *h, uintptr_t addr, size_t old_npages, size_t npages,
		      bool *needzero);
	/* Bytes released. */
	size_t (*scavenge)(struct ghu_heap *h, size_t max_bytes);
	/* Releases some of what is old.  True: there is more.  May be NULL. */
	bool (*age)(struct ghu_heap *h);
	/* 0 or an error. */
	int (*stats)(struct ghu_heap *h, struct ghu_heap_stats *st);
	/* Take and drop the heap's locks around fork(), in the child too; may be NULL. */
	void (*fork_prepare)(struct ghu_heap *h);
	void (*fork_done)(struct ghu_heap *h, bool is_child);
};

struct ghu_heap {
	const struct ghu_heap_ops *ops;
	struct ghu_arena arena;
	const uint64_t *pressure;	/* rises under memory pressure */
	bool kernel;			/* the page heap is the kernel's, and not inherited */
	bool tail_free;			/* what is not opened may become another arena */
};

/* A new heap with an arena of at least min_bytes.  NULL: cannot be had; *why says why. */
struct ghu_heap *ghu_device_create(size_t min_bytes, const char **why);
struct ghu_heap *ghu_embedded_create(size_t min_bytes);

/* Takes up to GHU_SPANCACHE_BATCH runs that were fetched ahead; 0: none are here. */
unsigned int ghu_ahead_drain(struct ghu_run *runs);
/* Forgets them, and who held the lock: in a forked child. */
void ghu_ahead_forget(void);
void ghu_ahead_fork_prepare(void);
void ghu_ahead_fork_done(void);
/* Moves a descriptor that was just opened to where the device's is.  The new one, or an error. */
int ghu_move_fd_high(int fd);

/* The same over addresses that are reserved already.  NULL: no memory. */
struct ghu_heap *ghu_embedded_create_over(const struct ghu_arena *arena);

/*
 * In a forked child: whether what the kernel was releasing for the parent is released, in the
 * child's copy of the heap's arena too.  False: it cannot be told.
 */
bool ghu_device_is_settled(struct ghu_heap *h);

/* What may be done with the parts of an adopted arena that lie between spans. */
enum ghu_gaps {
	GHU_GAPS_KEEP,		/* leave them alone: somebody may hold a run there */
	GHU_GAPS_DROP,		/* release the pages; the addresses may be on their way to be freed */
	GHU_GAPS_REUSE,		/* nobody can know them */
};

/*
 * A page heap of the library's own over the opened part of an arena that the
 * kernel managed.  Spans in use are those of the page map, and the run [addr,
 * addr + npages).  NULL: no memory.
 */
struct ghu_heap *ghu_embedded_adopt(const struct ghu_arena *arena, uintptr_t addr,
				    size_t npages, enum ghu_gaps gaps);

/* ---- heaps.c: all heaps of the process ---- */

/* How many runs, at least 1, readable and writable; or -ENOMEM. */
int ghu_heaps_alloc(const struct ghu_request *req, struct ghu_run *runs, unsigned int nr);
/* Runs of any heaps.  Fatal if one is none. */
void ghu_heaps_free(const struct ghu_run *runs, unsigned int nr);
/* As ghu_span_resize() and ghu_backend_scavenge(), without the cache. */
int ghu_heaps_resize(uintptr_t addr, size_t old_npages, size_t npages, bool *needzero);
size_t ghu_heaps_scavenge(size_t max_bytes);
/* As ghu_backend_age(). */
void ghu_heaps_age(void);
/* Sums of all heaps; of one that does not answer, all that was opened counts as resident. */
void ghu_heaps_stats(struct ghu_heap_stats *sum);
/* Rises as ghu_backend_pressure() does.  In a forked child it sets the heaps up first. */
uint64_t ghu_heaps_pressure(void);
/* New spans come from the device. */
bool ghu_heaps_device(void);
/* The address is in an arena of the parent's that was not adopted yet. */
bool ghu_heaps_inherited(uintptr_t addr);
void ghu_heaps_fork_prepare(void);
void ghu_heaps_fork_done(bool is_child);

#endif
