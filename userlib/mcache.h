/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * A thread's cache: for each size class an open window of objects to take from,
 * and the spans that the thread owns.  The window is all that malloc() touches as
 * long as it has an object left: no lock, no locked instruction, no call.
 *
 * A thread without a cache points to a constant one whose windows are empty, so the
 * fast path needs no test for it.
 */
#ifndef GHU_MCACHE_H
#define GHU_MCACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "mspan.h"

/* Up to 64 successive objects of a span. */
struct ghu_window {
	uint64_t free;		/* bit i: object i may be taken */
	uintptr_t base;		/* of object 0 */
	uint8_t *states;	/* of object 0 */
	uint64_t elemsize;
};

/* What was allocated, for statistics. */
struct ghu_taken {
	uint64_t objects[GHU_NUM_CLASSES];	/* of class 0: large ones */
	uint64_t large_bytes;
};

struct ghu_mcache {
	struct ghu_window windows[GHU_NUM_CLASSES];
	/* The window's span; others that are owned follow in a ring, the oldest first. */
	struct ghu_mspan *spans[GHU_NUM_CLASSES];
	/* Whether the window's objects read as zeros: none was ever handed out. */
	bool zero[GHU_NUM_CLASSES];
	size_t owned_pages;
	size_t taken_pages;	/* of spans got from mcentral and not told to the sweeper yet */
	unsigned int turns;	/* times that a full span met that there were too many */
	unsigned int victim;	/* the class that was asked last to give up a span */
	uint64_t pressure;	/* generation that was seen last */
	bool dead;		/* of a thread that fork() left behind */
	struct ghu_mcache *next, *prev;	/* all caches */
	uint64_t opened[GHU_NUM_CLASSES];	/* objects of windows; see mcache.c */
	uint64_t large, large_bytes;	/* allocated */
};

#pragma GCC visibility push(hidden)

extern __thread struct ghu_mcache *ghu_mcache __attribute__((tls_model("initial-exec")));

/* When ghu_mcache_reopen() found nothing: an object from another window.  NULL: no memory. */
void *ghu_mcache_refill(size_t sizeclass);
/* Gives back all spans of the calling thread's cache, which stays. */
void ghu_mcache_flush(void);
/* After a free that may have emptied a span: gives back a little, if the thread owns too much. */
void ghu_mcache_trim(void);
/* The thread allocated a large object, or made one larger: then nr is 0. */
void ghu_mcache_count_large(unsigned int nr, size_t npages);
/* Of all threads there are and were, but for what they took from the windows open now. */
void ghu_mcache_sum_taken(struct ghu_taken *sum);
/* Bytes of caches in use, and those got from the system for them. */
void ghu_mcache_bytes(size_t *inuse, size_t *sys);

#pragma GCC visibility pop

/* The first free object of a window that is not empty. */
static inline void *ghu_window_take(struct ghu_window *w)
{
	uint64_t free = w->free;
	uint64_t i = (uint64_t)__builtin_ctzll(free);

	w->free = free & (free - 1);
	__atomic_store_n(&w->states[i], GHU_OBJ_LIVE, __ATOMIC_RELAXED);
	return (void *)(w->base + i * w->elemsize);
}

/* Spans of at most so many objects are refilled often, and soon after the last frees. */
#define GHU_FEW_OBJECTS	8u

/* Of those a thread owns two, if they are short. */
static inline bool ghu_mcache_wants_second(size_t sizeclass, const struct ghu_mspan *s)
{
	return s->next == s && s->npages == 1 && ghu_classes[sizeclass].nelems <= GHU_FEW_OBJECTS;
}

/*
 * When the window is empty, first the same one once more: who frees what he just
 * allocated finds it there, in the cache of the processor.  Of two spans with few
 * objects the other one, so that what the last frees stored need not be read at once.
 * NULL: nothing there.
 */
static inline void *ghu_mcache_reopen(size_t sizeclass)
{
	struct ghu_mcache *mc = ghu_mcache;
	struct ghu_window *w = &mc->windows[sizeclass];
	struct ghu_mspan *s = mc->spans[sizeclass];

	if (ghu_unlikely(!s || ghu_mcache_wants_second(sizeclass, s)))
		return NULL;
	if (ghu_classes[sizeclass].nelems > GHU_FEW_OBJECTS) {
		w->free = ghu_match64(w->states, GHU_OBJ_FREE);
	} else if (s->next->next == s) {
		mc->spans[sizeclass] = s = s->next;
		w->states = ghu_states(s);
		w->base = s->base;
		w->free = ghu_match16(w->states, GHU_OBJ_FREE);
	} else {
		w->free = ghu_match8(w->states, GHU_OBJ_FREE);
	}
	mc->zero[sizeclass] = false;
	return w->free ? ghu_window_take(w) : NULL;
}

/* NULL: no memory. */
static inline void *ghu_mcache_alloc(size_t sizeclass)
{
	struct ghu_window *w = &ghu_mcache->windows[sizeclass];
	void *p;

	if (ghu_likely(w->free))
		return ghu_window_take(w);
	p = ghu_mcache_reopen(sizeclass);
	return ghu_likely(p) ? p : ghu_mcache_refill(sizeclass);
}

/* After ghu_mcache_alloc(): whether what it returned reads as zeros. */
static inline bool ghu_mcache_last_zero(size_t sizeclass)
{
	return ghu_mcache->zero[sizeclass];
}

#endif
