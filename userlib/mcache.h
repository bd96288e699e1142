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
#include "recent.h"

/* Up to 64 successive objects of a span. */
struct ghu_window {
	uint64_t free;		/* bit i: object i may be taken */
	uintptr_t base;		/* of object 0 */
	uint8_t *states;	/* of object 0 */
	uint32_t elemsize;
	bool zero;		/* its objects read as zeros: none was handed out */
	/* The class's, and here because there is room. */
	uint8_t due;		/* what the next object is; enum ghu_sample */
	uint8_t seen;		/* what it looked like; see mcache.c */
	uint8_t given_up : 1;	/* its last span was, to make room */
	uint8_t watches : 7;	/* kept since the stacks changed places last */
};

/*
 * How many free objects all windows of the class had that were opened, and in the lowest
 * bits how many of them the last one had.  What is certainly taken is the difference.
 */
#define GHU_OPENED_LAST_BITS	7u

/* What a cache has of a class: a cache line. */
struct ghu_mcache_class {
	struct ghu_window window;
	/* Ends of the stacks of objects freed of late: those to allocate, and those freed since. */
	struct ghu_recent_object *recent, *freed;	/* see recent.h */
	/*
	 * The window's; others of the owner's follow in a ring, the oldest first.  Where
	 * allocations are sampled, GHU_NO_REOPEN is added.
	 */
	struct ghu_mspan *span;
	uint64_t opened;		/* see above */
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct ghu_mcache_class) == 64, "as ghu_size_to_cached8 says");

/* What was allocated, for statistics. */
struct ghu_taken {
	uint64_t objects[GHU_NUM_CLASSES];	/* of class 0: large ones */
	uint64_t large_bytes;
};

#define GHU_MAX_KEPT	8u

/* What malloc() must know of a large object, so that it need not look at its record. */
struct ghu_large_kept {
	struct ghu_mspan *span;
	uintptr_t addr;		/* the span's */
	size_t key;		/* the record's large_key */
};

struct ghu_mcache {
	struct ghu_mcache_class classes[GHU_NUM_CLASSES];
	struct ghu_recent_stacks *stacks;	/* what stacks are in; NULL: none yet */
	/*
	 * Large objects that the thread freed, the last one last; see large.c.  The first place
	 * is none's, and looks like no object.  kept_last: bytes from it to the last one.
	 */
	struct ghu_large_kept kept[GHU_MAX_KEPT + 1];
	size_t kept_last;
	size_t keep_room;	/* pages more that it may keep; 0 also if there was never any */
	size_t keep_pages;	/* that it may keep in all */
	unsigned int nr_long;	/* taken that were too long to be kept */
	size_t owned_pages;
	uint64_t have_spans[GHU_BIT_WORDS(GHU_NUM_CLASSES)];	/* which classes do */
	unsigned int nr_have_spans;	/* how many */
	unsigned int missed;	/* times that a class was given up, and needed again */
	struct ghu_mspan *spare;	/* empty ones for any class, linked; see spare.c */
	unsigned int nr_spare;
	unsigned int nr_sparse;	/* windows that were, while threads were many */
	size_t taken_pages;	/* of spans got from mcentral and not told to the sweeper yet */
	unsigned int victim;	/* the class that was asked last to give up a span */
	uint64_t pressure;	/* generation that was seen last */
	bool dead;		/* of a thread that fork() left behind */
	struct ghu_mcache *next, *prev;	/* all caches */
	uint64_t large, large_bytes;	/* allocated */
	unsigned int rate;	/* at which it samples */
	uint64_t next_sample;	/* bytes until one is sampled */
	uint64_t random;	/* for drawing that */
	unsigned int guarded;	/* one of so many is guarded */
	uint64_t next_guarded;	/* objects until one is */
};

/* What is special about an object; bits. */
enum ghu_sample {
	GHU_SAMPLE_PROFILE = 1,	/* profile.c is to remember it */
	GHU_SAMPLE_GUARDED = 2,	/* guarded.c is to allocate it */
};

/* No address is negative: so that ghu_mcache_may_reopen() looks for both with one test. */
#define GHU_NO_REOPEN	((uintptr_t)1 << (8 * sizeof(uintptr_t) - 1))

#pragma GCC visibility push(hidden)

extern __thread struct ghu_mcache *ghu_mcache __attribute__((tls_model("initial-exec")));

/* Not the one of threads that have none. */
bool ghu_mcache_is_own(const struct ghu_mcache *mc);
/* Whether there are so many that each should own little. */
bool ghu_mcache_are_many(void);
/* Gives the calling thread, which has none, a cache.  False: it can have none. */
bool ghu_mcache_attach(void);
/*
 * When ghu_mcache_reopen_window() found nothing: an object from another window.  NULL: no memory.
 * size: what was asked for; 0: it is not to be guarded.  frame: as ghu_stack_walk() takes it.
 */
void *ghu_mcache_refill(size_t sizeclass, size_t size, const uintptr_t *frame);
/*
 * A sample is due among so many objects that were freed: those before it are to be allocated
 * now, and the next one is the sample.  False: it is the first one.
 */
bool ghu_mcache_turn_cut(struct ghu_mcache_class *c, size_t sizeclass, size_t nr);
/* Whether a large object that was just allocated is to be sampled. */
bool ghu_mcache_is_sampled(size_t bytes);
/* The rate of sampling has changed: the calling thread heeds it at once. */
void ghu_mcache_resample(void);
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

/* The calling thread's, of a size of at most GHU_SMALL_SIZE_MAX. */
static inline struct ghu_mcache_class *ghu_mcache_of_small(size_t size)
{
	size_t i = (size + GHU_SMALL_SIZE_DIV - 1) / GHU_SMALL_SIZE_DIV;

	return (struct ghu_mcache_class *)((char *)ghu_mcache->classes + ghu_size_to_cached8[i]);
}

static inline size_t ghu_mcache_class_number(const struct ghu_mcache_class *c)
{
	return (size_t)(c - ghu_mcache->classes);
}

/* Whether some of what the thread allocates is sampled, as far as it knows. */
static inline bool ghu_mcache_is_sampling(const struct ghu_mcache *mc)
{
	return mc->rate || mc->guarded;
}

/* The first free object of a window that is not empty. */
static inline void *ghu_window_take(struct ghu_window *w)
{
	uint64_t free = w->free;
	uint64_t i = ghu_lowest_bit(free);

	w->free = free & (free - 1);
	__atomic_store_n(&w->states[i], GHU_OBJ_LIVE, __ATOMIC_RELAXED);
	return (void *)(w->base + (uint32_t)i * w->elemsize);
}

/* From this size on a window has 16 objects at most, or they are long. */
#define GHU_REOPEN_FEW	512u

/*
 * When the window is empty, first the same one once more: who frees what he just allocated
 * finds it there, in the cache of the processor.  Of long objects, or where there are few, only
 * the first few, if all of them are free: more would not stay in the cache, and to look at all
 * takes as long as it takes the last free() to reach it.  NULL: nothing there.
 */
static inline __attribute__((always_inline)) void *
ghu_mcache_reopen_window(struct ghu_mcache_class *c)
{
	struct ghu_window *w = &c->window;

	if (w->elemsize >= GHU_REOPEN_FEW && ghu_are_8_free(w->states))
		w->free = 0xff;
	else
		w->free = ghu_match64(w->states, GHU_OBJ_FREE);
	w->zero = false;
	return w->free ? ghu_window_take(w) : NULL;
}

/* What a window may hand out, or more. */
static inline uint64_t ghu_window_bytes(size_t sizeclass)
{
	const struct ghu_class *k = &ghu_classes[sizeclass];
	uint64_t bytes = (uint64_t)k->size * 64, span = (uint64_t)k->npages << GHU_PAGE_SHIFT;

	return bytes < span ? bytes : span;
}

/* The same where allocations are sampled, as long as none is due. */
static inline void *ghu_mcache_reopen_sampled(size_t sizeclass)
{
	struct ghu_mcache *mc = ghu_mcache;
	struct ghu_mcache_class *c = &mc->classes[sizeclass];
	uint64_t bytes = ghu_window_bytes(sizeclass);

	if (!((uintptr_t)c->span & GHU_NO_REOPEN) || c->window.due)
		return NULL;
	if (ghu_unlikely(mc->next_sample <= bytes || mc->next_guarded <= 64))
		return NULL;
	mc->next_sample -= bytes;
	mc->next_guarded -= 64;
	return ghu_mcache_reopen_window(c);
}

static inline bool ghu_recent_has_room(const struct ghu_mcache_class *c)
{
	return (uintptr_t)c->freed % GHU_RECENT_BYTES;
}

/* Keeps a freed object that is KEPT, or will be at once; there must be room. */
static inline void ghu_recent_add(struct ghu_mcache_class *c, uintptr_t addr, uint8_t *state)
{
	struct ghu_recent_object *o = c->freed;

	*o = (struct ghu_recent_object){ addr, state };
	c->freed = o + 1;
}

/* Whether a stack, which may be none, has an object. */
static inline bool ghu_recent_any(const struct ghu_recent_object *end)
{
	return end && end[-1].addr;
}

static inline bool ghu_recent_has(const struct ghu_mcache_class *c)
{
	return ghu_recent_any(c->recent) || ghu_recent_any(c->freed);
}

/*
 * Allocates what was kept last; there must be something to allocate.  The next one's state
 * lies among those of other objects, which other threads may have written since.
 */
static inline void *ghu_recent_pop(struct ghu_mcache_class *c)
{
	const struct ghu_recent_object *o = --c->recent;

	__builtin_prefetch(o[-1].state, 1);
	ghu_add_own(&c->opened, 1u << GHU_OPENED_LAST_BITS);
	/* A watch that was put on it meanwhile stays. */
	__atomic_store_n(o->state, ghu_state(o->state) & ~GHU_OBJ_KEPT_BIT, __ATOMIC_RELAXED);
	return (void *)o->addr;
}

/* The window is empty, and what comes from it next was used, unless it is another one. */
static inline void ghu_recent_turn(struct ghu_mcache_class *c)
{
	struct ghu_recent_object *empty = c->recent;

	c->recent = c->freed;
	c->freed = empty;
	c->window.zero = false;
	c->window.watches = 0;
}

/* Objects that were freed, in a stack, where there are stacks and nothing is left to allocate. */
static inline size_t ghu_recent_nr_freed(const struct ghu_mcache_class *c)
{
	/* As recent is empty, both stacks begin as far behind a multiple of their size. */
	return ((uintptr_t)c->freed - (uintptr_t)c->recent) % GHU_RECENT_BYTES / sizeof(*c->freed);
}

/* There is nothing to allocate: what was freed is, from now on, if it is enough to be worth it. */
static inline bool ghu_recent_turn_worth(struct ghu_mcache_class *c)
{
	if (ghu_recent_nr_freed(c) < GHU_RECENT_WORTH)
		return false;
	ghu_recent_turn(c);
	return true;
}

/* The same where allocations are sampled: the objects are counted.  False also if a sample is due. */
static inline bool ghu_recent_turn_sampled(struct ghu_mcache_class *c, size_t sizeclass)
{
	struct ghu_mcache *mc = ghu_mcache;
	size_t nr = ghu_recent_nr_freed(c), bytes = nr * ghu_classes[sizeclass].size;

	if (nr < GHU_RECENT_WORTH || c->window.due)
		return false;
	if (ghu_unlikely(mc->next_sample <= bytes || mc->next_guarded <= nr))
		return ghu_mcache_turn_cut(c, sizeclass, nr);
	mc->next_sample -= bytes;
	mc->next_guarded -= nr;
	ghu_recent_turn(c);
	return true;
}

/*
 * The fast path of free(), the same for objects of any thread.  False: the object is none,
 * or not LIVE, or its span is of another kind.
 */
static inline bool ghu_mcache_free(ghu_pagemap_t e, uintptr_t addr)
{
	uint8_t *state = ghu_entry_live(e, addr);
	struct ghu_mcache_class *c;

	if (ghu_unlikely(!state))
		return false;
	if (ghu_unlikely(ghu_recent_used)) {
		c = &ghu_mcache->classes[ghu_entry_class(e)];
		if (ghu_recent_has_room(c)) {
			ghu_recent_add(c, addr, state);
			__atomic_store_n(state, GHU_OBJ_KEPT, __ATOMIC_RELAXED);
			return true;
		}
	}
	__atomic_store_n(state, GHU_OBJ_FREE, __ATOMIC_RELEASE);
	return true;
}

/*
 * Whether an object on WATCH is kept with its watch: that costs less than to pass it on, and the
 * object will soon be in use again.  Not if nothing beside it is in use, nor more than a
 * few at a time; for if all else is freed meanwhile, the span stays.
 */
static inline bool ghu_recent_add_watched(struct ghu_mcache_class *c, uintptr_t addr, uint8_t *state)
{
	if (!ghu_recent_has_room(c) || c->window.watches == GHU_RECENT_WATCHES ||
	    !ghu_match16((uint8_t *)((uintptr_t)state & ~(uintptr_t)15), GHU_OBJ_LIVE))
		return false;
	c->window.watches++;
	ghu_recent_add(c, addr, state);
	__atomic_store_n(state, GHU_OBJ_KEPT_WATCH, __ATOMIC_RELAXED);
	return true;
}

/* Whether the class has a span, and allocations are not sampled. */
static inline bool ghu_mcache_may_reopen(const struct ghu_mcache_class *c)
{
	return (intptr_t)c->span > 0;
}

/* When the window is empty.  NULL: no memory. */
static inline void *ghu_mcache_next(size_t sizeclass)
{
	struct ghu_mcache_class *c = &ghu_mcache->classes[sizeclass];
	void *p = NULL;

	if (ghu_recent_any(c->recent))
		return ghu_recent_pop(c);
	if (ghu_likely(ghu_mcache_may_reopen(c))) {
		if (ghu_recent_turn_worth(c))
			return ghu_recent_pop(c);
		p = ghu_mcache_reopen_window(c);
	}
	return ghu_likely(p) ? p : ghu_mcache_refill(sizeclass, 0, NULL);
}

/* NULL: no memory. */
static inline void *ghu_mcache_alloc(size_t sizeclass)
{
	struct ghu_window *w = &ghu_mcache->classes[sizeclass].window;

	return ghu_likely(w->free) ? ghu_window_take(w) : ghu_mcache_next(sizeclass);
}

/* After ghu_mcache_alloc(): whether what it returned reads as zeros. */
static inline bool ghu_mcache_last_zero(size_t sizeclass)
{
	return ghu_mcache->classes[sizeclass].window.zero;
}

#endif
