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
	uint64_t elemsize;
};

/*
 * How many free objects all windows of the class had that were opened, and in the lowest
 * bits how many of them the last one had.  What is certainly taken is the difference.
 */
#define GHU_OPENED_LAST_BITS	7u

/* What a cache has of a class: a cache line. */
struct ghu_mcache_class {
	struct ghu_window window;
	struct ghu_recent_object *recent;	/* stack of objects freed of late; see recent.h */
	uint16_t nr_recent, max_recent;
	bool zero;			/* the window's objects read as zeros: none was handed out */
	uint8_t due;			/* what the next object is; enum ghu_sample */
	uint8_t seen;			/* what it looked like; see mcache.c */
	bool given_up;			/* its last span was, to make room */
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

struct ghu_mcache {
	struct ghu_mcache_class classes[GHU_NUM_CLASSES];
	struct ghu_recent_stacks *stacks;	/* what stacks are in; NULL: none yet */
	/* Large objects that the thread freed, the last one last; see large.c. */
	struct ghu_mspan *kept[GHU_MAX_KEPT];
	unsigned int nr_kept;
	size_t keep_room;	/* pages more that it may keep; 0 also if there was never any */
	size_t keep_pages;	/* that it may keep in all */
	unsigned int nr_long;	/* taken that were too long to be kept */
	size_t owned_pages;
	unsigned int missed;	/* times that a class was given up, and needed again */
	size_t taken_pages;	/* of spans got from mcentral and not told to the sweeper yet */
	unsigned int turns;	/* times that a full span met that there were too many */
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

/* No address is negative: so that ghu_mcache_reopen() looks for both with one test. */
#define GHU_NO_REOPEN	((uintptr_t)1 << (8 * sizeof(uintptr_t) - 1))

#pragma GCC visibility push(hidden)

extern __thread struct ghu_mcache *ghu_mcache __attribute__((tls_model("initial-exec")));

/* Not the one of threads that have none. */
bool ghu_mcache_is_own(const struct ghu_mcache *mc);
/* Gives the calling thread, which has none, a cache.  False: it can have none. */
bool ghu_mcache_attach(void);
/*
 * When ghu_mcache_reopen() found nothing: an object from another window.  NULL: no memory.
 * size: what was asked for; 0: it is not to be guarded.  frame: as ghu_stack_walk() takes it.
 */
void *ghu_mcache_refill(size_t sizeclass, size_t size, const uintptr_t *frame);
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
 * flag: what is added to span.  NULL: nothing there.
 */
static inline __attribute__((always_inline)) void *
ghu_mcache_reopen_span(struct ghu_mcache_class *c, size_t sizeclass, struct ghu_mspan *s,
		       uintptr_t flag)
{
	struct ghu_window *w = &c->window;

	if (ghu_classes[sizeclass].nelems > GHU_FEW_OBJECTS) {
		w->free = ghu_match64(w->states, GHU_OBJ_FREE);
	} else if (s->next->next == s) {
		s = s->next;
		c->span = (struct ghu_mspan *)((uintptr_t)s | flag);
		w->states = ghu_states(s);
		w->base = s->base;
		w->free = ghu_match16(w->states, GHU_OBJ_FREE);
	} else {
		w->free = ghu_match8(w->states, GHU_OBJ_FREE);
	}
	c->zero = false;
	return w->free ? ghu_window_take(w) : NULL;
}

/* Where nothing is sampled.  NULL: nothing there. */
static inline void *ghu_mcache_reopen(size_t sizeclass)
{
	struct ghu_mcache_class *c = &ghu_mcache->classes[sizeclass];
	struct ghu_mspan *s = c->span;

	if (ghu_unlikely((intptr_t)s <= 0 || ghu_mcache_wants_second(sizeclass, s)))
		return NULL;
	return ghu_mcache_reopen_span(c, sizeclass, s, 0);
}

/* What a window may hand out, or more. */
static inline uint64_t ghu_window_bytes(const struct ghu_window *w, size_t sizeclass)
{
	uint64_t span = (uint64_t)ghu_classes[sizeclass].npages << GHU_PAGE_SHIFT;

	return w->elemsize * 64 < span ? w->elemsize * 64 : span;
}

/* The same where allocations are sampled, as long as none is due. */
static inline void *ghu_mcache_reopen_sampled(size_t sizeclass)
{
	struct ghu_mcache *mc = ghu_mcache;
	struct ghu_mcache_class *c = &mc->classes[sizeclass];
	uintptr_t word = (uintptr_t)c->span;
	struct ghu_mspan *s = (struct ghu_mspan *)(word & ~GHU_NO_REOPEN);
	uint64_t bytes;

	if (!(word & GHU_NO_REOPEN) || c->due || ghu_mcache_wants_second(sizeclass, s))
		return NULL;
	bytes = ghu_window_bytes(&c->window, sizeclass);
	if (ghu_unlikely(mc->next_sample <= bytes || mc->next_guarded <= 64))
		return NULL;
	mc->next_sample -= bytes;
	mc->next_guarded -= 64;
	return ghu_mcache_reopen_span(c, sizeclass, s, GHU_NO_REOPEN);
}

static inline bool ghu_recent_has_room(const struct ghu_mcache_class *c)
{
	return c->nr_recent != c->max_recent;
}

/* Keeps a freed object that is KEPT, or will be at once; there must be room. */
static inline void ghu_recent_add(struct ghu_mcache_class *c, uintptr_t addr, uint8_t *state)
{
	unsigned int nr = c->nr_recent;

	c->recent[nr] = (struct ghu_recent_object){ addr, state };
	c->nr_recent = (uint16_t)(nr + 1);
}

/* Keeps a live object that is freed.  False: no room. */
static inline bool ghu_recent_push(struct ghu_mcache_class *c, uintptr_t addr, uint8_t *state)
{
	if (ghu_unlikely(!ghu_recent_has_room(c)))
		return false;
	ghu_recent_add(c, addr, state);
	__atomic_store_n(state, GHU_OBJ_KEPT, __ATOMIC_RELAXED);
	return true;
}

/* Allocates what was kept last; there must be something. */
static inline void *ghu_recent_pop(struct ghu_mcache_class *c)
{
	unsigned int nr = c->nr_recent - 1u;
	const struct ghu_recent_object *o = &c->recent[nr];

	c->nr_recent = (uint16_t)nr;
	c->zero = false;
	__atomic_store_n(&c->opened, c->opened + (1u << GHU_OPENED_LAST_BITS), __ATOMIC_RELAXED);
	/* A watch that was put on it meanwhile stays. */
	__atomic_store_n(o->state, ghu_state(o->state) & ~GHU_OBJ_KEPT_BIT, __ATOMIC_RELAXED);
	return (void *)o->addr;
}

/*
 * The fast path of free(), the same for objects of any thread.  False: the object is none,
 * or not LIVE, or its span is nobody's own, or of another kind.
 */
static inline bool ghu_mcache_free(struct ghu_mspan *s, uintptr_t addr)
{
	uint32_t divmul = __atomic_load_n(&s->owned_divmul, __ATOMIC_RELAXED);
	uint8_t *state = ghu_mspan_live(s, divmul, addr);

	if (ghu_unlikely(!state))
		return false;
	__atomic_store_n(state, GHU_OBJ_FREE, __ATOMIC_RELEASE);
	return true;
}

/* The same in a span that is nobody's own: perhaps the object is allocated again soon. */
static inline bool ghu_mcache_free_shared(struct ghu_mspan *s, uintptr_t addr)
{
	uint8_t *state = ghu_mspan_live(s, s->divmul, addr);

	if (ghu_unlikely(!state))
		return false;
	if (!ghu_recent_push(&ghu_mcache->classes[ghu_mspan_class(s)], addr, state))
		__atomic_store_n(state, GHU_OBJ_FREE, __ATOMIC_RELEASE);
	return true;
}

/* When the window is empty.  NULL: no memory. */
static inline void *ghu_mcache_next(size_t sizeclass)
{
	struct ghu_mcache_class *c = &ghu_mcache->classes[sizeclass];
	void *p;

	if (c->nr_recent)
		return ghu_recent_pop(c);
	p = ghu_mcache_reopen(sizeclass);
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
	return ghu_mcache->classes[sizeclass].zero;
}

#endif
