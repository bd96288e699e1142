/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * A span: a run of heap pages, cut into objects of one size class, or holding one
 * large object.  Its record lies outside the heap, followed at once by its state
 * bytes, one for each object.
 *
 * A state byte is all that free() writes: FREE over LIVE, with a plain store, from
 * any thread.  malloc() takes objects whose byte a sweep saw FREE, and stores LIVE.
 * Bytes behind the last object are TAIL.  WATCH is LIVE too, but sends the free of
 * that object the slow way; see mcentral.c for what it is good for.  HELD is freed, but
 * not to be handed out yet; see checked.c.  KEPT, too, is freed: a thread keeps it, to
 * hand it out again; see recent.h.  SAMPLED is LIVE, and remembered by profile.c; it
 * counts as watched, since its free goes the slow way.
 *
 * Where a span is, which changes under the class's lock, or before anybody else
 * knows the span:
 *
 *   OWNED    in a thread's cache, which alone allocates from it.
 *   SHARED   in the class's ring of spans that no thread owns.
 *   LARGE    one object, and no list; of class 0, or of a class with one object in a span.
 *   DEAD     no span: the record is free, or being made; or it is empty and kept (empty.c).
 */
#ifndef GHU_MSPAN_H
#define GHU_MSPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "backend.h"
#include "bits.h"
#include "pagemap.h"
#include "sizeclass.h"
#include "sys.h"

#if defined(__SSE2__) && !defined(GHU_TSAN)
#include <emmintrin.h>
#endif

struct ghu_mcache;

enum {
	GHU_OBJ_FREE,
	GHU_OBJ_LIVE,
	GHU_OBJ_TAIL,
	GHU_OBJ_WATCH,
	GHU_OBJ_HELD,
	GHU_OBJ_SAMPLED,
	GHU_OBJ_KEPT_BIT = 0x80,	/* of one that was LIVE, and will be what it was again */
	GHU_OBJ_KEPT = GHU_OBJ_KEPT_BIT | GHU_OBJ_LIVE,
	GHU_OBJ_KEPT_WATCH = GHU_OBJ_KEPT_BIT | GHU_OBJ_WATCH,
};

enum {
	GHU_SPAN_IS_DEAD,
	GHU_SPAN_IS_OWNED,
	GHU_SPAN_IS_SHARED,
	GHU_SPAN_IS_LARGE,
};

/* Its second half and the first 32 state bytes make one cache line. */
struct ghu_mspan {
	struct ghu_mspan *next;	/* in the ring of its owner or class; free records */
	struct ghu_mspan *prev;	/* in the ring of its class */
	struct ghu_mcache *owner;	/* read by others under ghu_spans.lock, which its writer may not have */
	size_t npages;

	uintptr_t base;
	uint32_t sweepgen;	/* of the cycle that looked at it last */
	uint32_t elemsize;	/* of a large object: 0, see npages */
	uint16_t nelems;	/* see ghu_mspan_extend() */
	uint8_t spanclass;
	uint8_t where;		/* GHU_SPAN_IS_* */
	uint8_t window;		/* the 64 objects that the owner swept last */
	uint8_t fresh;		/* windows from here on were never handed out */
	bool needzero;		/* else those read as zeros */
	bool guarded;		/* LARGE: the last page traps, and is not the object's */
	size_t large_key;	/* of one that may be freed the short way; else 0; see large.h */
} __attribute__((aligned(32)));

_Static_assert(sizeof(struct ghu_mspan) == 64, "state bytes begin in the middle of a cache line");

/* The owner of an empty span that is kept; see empty.c.  It is DEAD. */
#define GHU_OWNER_IS_EMPTY	((struct ghu_mcache *)1)

#pragma GCC visibility push(hidden)

/* What the page map says of pages that went back to the page heap. */
extern struct ghu_mspan ghu_mspan_gone;
/*
 * What is written each time that a span comes or goes: a cache line, which CPUs that do so at the
 * same time have to fetch from each other.  All of it is written under the lock.
 */
struct ghu_spans {
	/* Records, the list of all of them, and what empty.c keeps.  Taken before a class's lock. */
	struct ghu_lock lock;
	size_t pages_inuse;	/* of all spans in use */

	/* empty.c's: */
	size_t pages_kept;
	uint8_t ticks;		/* calls */
	uint8_t next_list;	/* the one that gives back next */
	uint8_t next_class;	/* that gave one to another class last */
	uint64_t filled[4];	/* bit i: list i holds something */
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct ghu_spans) == 64, "a cache line");

extern struct ghu_spans ghu_spans;

/*
 * A span from the page heap, in the page map; sizeclass 0: for one large object.
 * The caller makes it OWNED, or LARGE with state LIVE.  NULL: no memory.
 */
struct ghu_mspan *ghu_mspan_create(unsigned int sizeclass, size_t npages, size_t align);
/* An empty span becomes one of that class, of the same shape, as if it had just been created. */
void ghu_mspan_renew(struct ghu_mspan *s, unsigned int sizeclass);
/*
 * Gives it back, or keeps it for the next one of its kind (empty.c).  The caller made it
 * DEAD, all its objects are FREE, and nobody else knows it.
 */
void ghu_mspan_destroy(struct ghu_mspan *s);
/*
 * A span of memory that was never used has but a page of objects at first, or 8, and TAIL behind
 * them; its owner makes it twice as many when they are all in use.  So who needs one at a time,
 * but another one each time, does not go through all of the span's pages.  Who gives it
 * up makes them all.  False: it has all that its class has.
 */
bool ghu_mspan_extend(struct ghu_mspan *s);
/* The first of these, for empty.c; that it is not in use was counted. */
void ghu_mspan_release(struct ghu_mspan *s);
/* So many more pages are in use, or fewer. */
void ghu_mspan_count_pages(size_t npages);
/*
 * All records in turn, from { 0 } on; NULL after the last.  ghu_spans.lock must be held.
 * A round may be interrupted: records that come or go meanwhile may be missed.
 */
struct ghu_mspan_iter {
	struct ghu_mspan_slab *slab;
	uint32_t record;
};
struct ghu_mspan *ghu_mspan_iterate(struct ghu_mspan_iter *it);

/* Bytes of records and state bytes in use, and of the slabs that they are cut from. */
void ghu_mspan_bytes(size_t *inuse, size_t *sys);

unsigned int ghu_mspan_count_free(const struct ghu_mspan *s);
/* Those in use. */
unsigned int ghu_mspan_count_live(const struct ghu_mspan *s);
/*
 * Sees to it that freeing the last object will be noticed: one of the objects in
 * use, or KEPT, is on WATCH afterwards, if possible one far from index.  Returns how many
 * objects were FREE; if all are, the span is empty.
 */
unsigned int ghu_mspan_watch(struct ghu_mspan *s, unsigned int index);
/* Puts another object on WATCH, far from index, if there is one in that state, LIVE or KEPT. */
bool ghu_mspan_pass_watch(struct ghu_mspan *s, unsigned int index, uint8_t state);

#pragma GCC visibility pop

static inline uint8_t *ghu_states(const struct ghu_mspan *s)
{
	return (uint8_t *)(s + 1);
}

static inline uint8_t ghu_state(const uint8_t *state)
{
	return __atomic_load_n(state, __ATOMIC_RELAXED);
}

/* The same, for one comparison: an instruction less, as GCC does not merge atomic loads into it. */
static inline uint8_t ghu_peek_state(const uint8_t *state)
{
#ifdef GHU_TSAN
	return ghu_state(state);
#else
	return *state;
#endif
}

/* Allocated, and not freed. */
static inline bool ghu_is_live(uint8_t state)
{
	return state == GHU_OBJ_LIVE || state == GHU_OBJ_WATCH || state == GHU_OBJ_SAMPLED;
}

static inline unsigned int ghu_mspan_class(const struct ghu_mspan *s)
{
	return ghu_spanclass_sizeclass(s->spanclass);
}

static inline uint8_t ghu_mspan_where(const struct ghu_mspan *s)
{
	return __atomic_load_n(&s->where, __ATOMIC_ACQUIRE);
}

static inline void ghu_mspan_set_where(struct ghu_mspan *s, uint8_t where)
{
	__atomic_store_n(&s->where, where, __ATOMIC_RELEASE);
}

static inline void ghu_mspan_set_owner(struct ghu_mspan *s, struct ghu_mcache *owner)
{
	__atomic_store_n(&s->owner, owner, __ATOMIC_RELAXED);
	ghu_mspan_set_where(s, GHU_SPAN_IS_OWNED);
}

static inline bool ghu_mspan_is_kept(const struct ghu_mspan *s)
{
	return ghu_mspan_where(s) == GHU_SPAN_IS_DEAD &&
	       __atomic_load_n(&s->owner, __ATOMIC_RELAXED) == GHU_OWNER_IS_EMPTY;
}

/*
 * The object that begins offset bytes into a span, if divmul is that of its class;
 * false: none does.  One multiplication by 2^32 / size, rounded up, gives the
 * quotient above and, below 2^32, the remainder in such units: it is less than
 * divmul only if the remainder is 0.
 */
static inline bool ghu_object_index(uint64_t divmul, uint32_t offset, uint32_t *index)
{
	uint64_t m = offset * divmul;

	*index = (uint32_t)(m >> 32);
	return (uint32_t)m < (uint32_t)divmul;
}

/* The object of the span, of any kind, that begins at addr; false: none does. */
static inline bool ghu_find_object(const struct ghu_mspan *s, uintptr_t addr, uint32_t *index)
{
	*index = 0;
	if (!ghu_mspan_class(s))
		return addr == s->base;
	return ghu_object_index(ghu_classes[ghu_mspan_class(s)].divmul,
				(uint32_t)(addr - s->base), index);
}

/* The state of the object that begins at addr, whatever it is; NULL: none does, of a class. */
static inline uint8_t *ghu_entry_state(ghu_pagemap_t e, uintptr_t addr)
{
	uint32_t index;

	if (ghu_unlikely(!ghu_object_index(ghu_divmul[ghu_entry_class(e)], ghu_entry_offset(e, addr), &index)))
		return NULL;
	return &ghu_states(ghu_entry_span(e))[index];
}

/* The state of the LIVE object at addr.  NULL: it is none, or not LIVE, or is no fast one's. */
static inline uint8_t *ghu_entry_live(ghu_pagemap_t e, uintptr_t addr)
{
#ifdef GHU_UNCHECKED
	/* Only for measuring what the checks cost: whatever it is, it is freed. */
	uint64_t divmul = ghu_divmul[ghu_entry_class(e)];
	uint32_t index;
	uint8_t *state;

	ghu_object_index(divmul, ghu_entry_offset(e, addr), &index);
	if (ghu_unlikely(!divmul))
		return NULL;
	state = &ghu_states(ghu_entry_span(e))[index];
	return ghu_likely(ghu_state(state) != GHU_OBJ_WATCH) ? state : NULL;
#else
	uint8_t *state = ghu_entry_state(e, addr);

	if (ghu_unlikely(!state))
		return NULL;
	return ghu_likely(ghu_peek_state(state) == GHU_OBJ_LIVE) ? state : NULL;
#endif
}

/*
 * Which of 16 state bytes, aligned to 16, are the one asked for, as bits.  Seeing FREE
 * comes after everything that the thread which stored it did with the object.
 */
#if defined(GHU_TSAN)
/* The sanitizer knows neither fences nor vectors. */
static inline uint64_t ghu_match16(const uint8_t *states, uint8_t state)
{
	uint64_t m = 0;

	for (int i = 0; i < 16; i++)
		m |= (uint64_t)(__atomic_load_n(states + i, __ATOMIC_ACQUIRE) == state) << i;
	return m;
}
#elif defined(__SSE2__)
static inline uint64_t ghu_match16(const uint8_t *states, uint8_t state)
{
	__m128i v = _mm_load_si128((const __m128i *)states);
	int m = _mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8((char)state)));

	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return (unsigned int)m;
}
#else
/* Eight bytes at a time: a byte of x that is zero leaves only its top bit in t. */
static inline uint64_t ghu_match16(const uint8_t *states, uint8_t state)
{
	const uint64_t low7 = 0x7f7f7f7f7f7f7f7full;
	uint64_t m = 0;

	for (int i = 0; i < 2; i++) {
		uint64_t x = __atomic_load_n((const uint64_t *)states + i, __ATOMIC_RELAXED), t;

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
		x = __builtin_bswap64(x);
#endif
		x ^= 0x0101010101010101ull * state;
		t = ~(((x & low7) + low7) | x | low7);
		m |= ((t >> 7) * 0x0102040810204080ull >> 56) << (8 * i);
	}
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return m;
}
#endif

/* The same for 64. */
static inline uint64_t ghu_match64(const uint8_t *states, uint8_t state)
{
	return ghu_match16(states, state) | ghu_match16(states + 16, state) << 16 |
	       ghu_match16(states + 32, state) << 32 | ghu_match16(states + 48, state) << 48;
}

/*
 * Of nr times 64 states, nr at least 1: how many are FREE; and whether one is WATCH, or KEPT_WATCH.
 * Spans are let go, and looked at, more often than anything else is done with them.
 */
static inline unsigned int ghu_count64_free(const uint8_t *states, unsigned int nr, bool *watched)
{
#if defined(__SSE2__) && !defined(GHU_TSAN)
	const __m128i zero = _mm_setzero_si128(), kept = _mm_set1_epi8((char)GHU_OBJ_KEPT_BIT);
	const __m128i watch = _mm_set1_epi8(GHU_OBJ_WATCH), *p = (const __m128i *)states;
	__m128i nfree = zero, any = zero;

	_Static_assert(!GHU_OBJ_FREE, "what states are compared with");
	_Static_assert(GHU_MAX_OBJECTS / 16 < 256, "as a byte counts");
	do {
		for (int i = 0; i < 4; i++) {
			__m128i v = _mm_load_si128(p++);

			nfree = _mm_sub_epi8(nfree, _mm_cmpeq_epi8(v, zero));
			any = _mm_or_si128(any, _mm_cmpeq_epi8(_mm_andnot_si128(kept, v), watch));
		}
	} while (--nr);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	*watched = _mm_movemask_epi8(any);
	nfree = _mm_sad_epu8(nfree, zero);
	return (unsigned int)(_mm_cvtsi128_si32(nfree) + _mm_extract_epi16(nfree, 4));
#else
	uint64_t n = 0, any = 0;

	for (; nr--; states += 64) {
		n += ghu_count_bits(ghu_match64(states, GHU_OBJ_FREE));
		any |= ghu_match64(states, GHU_OBJ_WATCH) | ghu_match64(states, GHU_OBJ_KEPT_WATCH);
	}
	*watched = any;
	return (unsigned int)n;
#endif
}

/*
 * Whether those 8 are FREE.  A load of several bytes that were stored one by one waits until
 * the last of these stores has reached the cache; so those that were freed last, if objects
 * are allocated in order and freed at once, are read byte by byte.
 */
static inline bool ghu_are_8_free(const uint8_t *states)
{
#ifdef GHU_TSAN
	return (ghu_match16(states, GHU_OBJ_FREE) & 0xff) == 0xff;
#else
	uint32_t any = __atomic_load_n((const uint32_t *)states, __ATOMIC_RELAXED);

	_Static_assert(!GHU_OBJ_FREE, "what any is compared with");
	for (int i = 4; i < 8; i++)
		any |= __atomic_load_n(states + i, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return !any;
#endif
}

#endif
