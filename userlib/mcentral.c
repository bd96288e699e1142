// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The spans of a class that no thread owns, in a ring.  free() tells nobody that it
 * freed an object in one of them: it keeps it for its own thread, or stores FREE.  Who
 * needs a span sweeps a few, on from where the last one stopped, and takes the first of
 * which an eighth is free, or else the first with a free object; if there is none the
 * heap grows by a span, and the next one sweeps one less.  So the ring is swept once while the
 * heap grows by a quarter of it, or, where little is freed, by as much as it has; objects are
 * found in handfuls and not one at a time, and what is not found at once is bounded, as
 * by a collector that sweeps in step with allocation.  Only a span of
 * which an eighth is free when it is let go is swept next: it would wait behind full ones, and
 * the heap grow.
 *
 * Only that a span became empty must be known at once, or its pages could not go back
 * to the page heap when nobody allocates any more.  Therefore one live object of each
 * span in the ring is on WATCH.  Its free goes the slow way and hands the watch on to
 * another live object.  If there is none, the span is empty and is given back.  For
 * objects freed in random order the watch moves about log(n) times, for objects freed
 * in order once.
 *
 * Who keeps a span alive.  An object that is LIVE or on WATCH does, and a thread that
 * frees it may use the record until it stores FREE; after that, only under the class's
 * lock, under which alone a span leaves its owner or the ring.  So a record can be
 * reused at once, and a span cannot be given back twice: only who makes it DEAD, under
 * the lock, gives it back.  Objects of a span in the ring are in use, kept by a thread, or
 * FREE, and those that are FREE stay so: a look that finds all of them FREE is true.
 *
 * What can be missed.  The fast path of free() tests for LIVE and then stores FREE.  An
 * object that is put on WATCH between the two is freed without anybody's noticing, and
 * the watch is lost.  A locked instruction in every free would close the gap; it is left
 * open.  The span serves on like any other, only its becoming empty may go
 * unnoticed, until somebody takes it from the ring or the sweep cycle (sweep.c)
 * comes by.  A miss costs memory for a bounded time, and nothing else.
 *
 * Lock order: ghu_spans.lock, the locks of the classes by rising class.  The page
 * heap is not called under any of them.
 */
#include "mcache.h"
#include "mcentral.h"
#include "spare.h"

/* Spans of the ring that are swept before the heap grows. */
#define LOOKS	4u
/* Of the objects of a span, the part that should be free for it to be taken. */
#define WORTH	8u

struct mcentral {
	struct ghu_lock lock;
	struct ghu_mspan *first;	/* the ring, from where it is to be swept next */
	unsigned int looks;		/* that the next one may take, less one */
} __attribute__((aligned(64)));

static ghu_placed_table("centrals") struct mcentral centrals[GHU_NUM_CLASSES];

static struct mcentral *central_of(const struct ghu_mspan *s)
{
	return &centrals[ghu_mspan_class(s)];
}

/* ---- the ring; the class's lock must be held ---- */

static void set_first(struct mcentral *mc, struct ghu_mspan *s)
{
	__atomic_store_n(&mc->first, s, __ATOMIC_RELAXED);
}

/* To be swept next, or after all others. */
static void insert(struct mcentral *mc, struct ghu_mspan *s, bool is_next)
{
	struct ghu_mspan *first = mc->first;

	if (first) {
		s->next = first;
		s->prev = first->prev;
		s->prev->next = s;
		first->prev = s;
	} else {
		s->next = s->prev = s;
	}
	if (is_next || !first)
		set_first(mc, s);
	ghu_mspan_set_where(s, GHU_SPAN_IS_SHARED);
}

static void unlink_span(struct mcentral *mc, struct ghu_mspan *s)
{
	if (mc->first == s)
		set_first(mc, s->next == s ? NULL : s->next);
	s->prev->next = s->next;
	s->next->prev = s->prev;
}

/* If it is in the ring and empty, it is taken out and is DEAD; else NULL, and it is watched. */
static struct ghu_mspan *bury_empty(struct mcentral *mc, struct ghu_mspan *s, unsigned int index)
{
	if (ghu_mspan_where(s) != GHU_SPAN_IS_SHARED || ghu_mspan_watch(s, index) < s->nelems)
		return NULL;
	unlink_span(mc, s);
	ghu_mspan_set_where(s, GHU_SPAN_IS_DEAD);
	return s;
}

/* ---- spans to and from caches ---- */

static bool is_worth(const struct ghu_mspan *s, unsigned int nfree)
{
	return nfree * WORTH >= s->nelems;
}

/* The first one worth it, else the first one with a free object, of those looked at. */
static struct ghu_mspan *find_shared(struct mcentral *mc)
{
	struct ghu_mspan *s = mc->first, *found = NULL;

	for (unsigned int i = 0; i <= mc->looks && s; i++) {
		unsigned int nfree = ghu_mspan_count_free(s);

		if (is_worth(s, nfree))
			return s;
		if (nfree && !found)
			found = s;
		s = s->next;
		__builtin_prefetch(s->next);
		set_first(mc, s);
	}
	return found;
}

/* Where nothing was found it is not worth to look at so many; there is a cache miss for each. */
static void hope(struct mcentral *mc, bool found)
{
	if (found && mc->looks < LOOKS - 1)
		mc->looks++;
	else if (!found && mc->looks)
		mc->looks--;
}

struct ghu_mspan *ghu_mcentral_cache_span(size_t sizeclass, struct ghu_mcache *owner)
{
	struct mcentral *mc = &centrals[sizeclass];
	struct ghu_mspan *s;

	if (!__atomic_load_n(&mc->first, __ATOMIC_RELAXED))
		return NULL;
	ghu_lock(&mc->lock);
	s = find_shared(mc);
	hope(mc, s);
	if (s) {
		unlink_span(mc, s);
		ghu_mspan_set_owner(s, owner);
	}
	/* Who comes next looks there. */
	if (mc->first) {
		__builtin_prefetch(mc->first);
		__builtin_prefetch(ghu_states(mc->first));
	}
	ghu_unlock(&mc->lock);
	return s;
}

struct ghu_mspan *ghu_mcentral_grow(size_t sizeclass, struct ghu_mcache *owner)
{
	struct ghu_mspan *s = ghu_mspan_create(sizeclass, ghu_classes[sizeclass].npages, 0);

	if (s)
		ghu_mspan_set_owner(s, owner);
	return s;
}

struct ghu_mspan *ghu_mcentral_take_back(struct ghu_mspan *s)
{
	struct mcentral *mc = central_of(s);
	struct ghu_mspan *dead = NULL;
	unsigned int nfree;

	while (ghu_mspan_extend(s))
		;
	ghu_lock(&mc->lock);
	nfree = ghu_mspan_watch(s, 0);
	if (nfree == s->nelems) {
		ghu_mspan_set_where(s, GHU_SPAN_IS_DEAD);
		dead = s;
	} else {
		insert(mc, s, is_worth(s, nfree));
	}
	/* From here on who frees its last object makes another span of it. */
	ghu_unlock(&mc->lock);
	return dead;
}

void ghu_mcentral_uncache_span(struct ghu_mspan *s)
{
	struct ghu_mspan *dead = ghu_mcentral_take_back(s);

	if (dead)
		ghu_mspan_destroy(dead);
}

/* ---- free ---- */

/*
 * It may be the last object.  If the span has an owner then, that may make another span of it at
 * once, though the class is locked: spare.c does not lock it.
 */
static bool free_last(struct ghu_mspan *s, unsigned int index, uint8_t state)
{
	struct mcentral *mc = central_of(s);
	struct ghu_mspan *dead = NULL;
	bool is_shared;
	uint8_t old;

	ghu_lock(&mc->lock);
	is_shared = ghu_mspan_where(s) == GHU_SPAN_IS_SHARED;
	old = ghu_exchange8(&ghu_states(s)[index], GHU_OBJ_FREE);
	if (is_shared)
		dead = bury_empty(mc, s, index);
	ghu_unlock(&mc->lock);
	if (dead && !ghu_spare_keep(ghu_mcache, dead))
		ghu_mspan_destroy(dead);
	/* A thread that gives up what it kept may be about to change its cache already. */
	if (dead && state != GHU_OBJ_KEPT_WATCH)
		ghu_mcache_trim();
	return old == state;
}

/* The watch goes to another object; to one that a thread keeps only if there is none in use. */
static bool pass_watch(struct ghu_mspan *s, unsigned int index, uint8_t state)
{
	if (ghu_mspan_pass_watch(s, index, GHU_OBJ_LIVE))
		return true;
	/* Perhaps it is this one that keeps them. */
	if ((state == GHU_OBJ_WATCH || state == GHU_OBJ_SAMPLED) &&
	    ghu_recent_has(&ghu_mcache->classes[ghu_mspan_class(s)]))
		ghu_recent_drop(ghu_mcache, ghu_mspan_class(s));
	return ghu_mspan_pass_watch(s, index, GHU_OBJ_KEPT);
}

/*
 * As long as the object is not FREE, the span stays.  A sampled one whose span has an owner
 * needs no watch; if the span loses its owner just now, the watch may be lost.  The exchange
 * tells two frees at the same instant apart, as the fast path of free() does not.
 */
bool ghu_mcentral_free_watched(struct ghu_mspan *s, unsigned int index, uint8_t state)
{
	struct ghu_mcache_class *c = &ghu_mcache->classes[ghu_mspan_class(s)];
	uint8_t *at = &ghu_states(s)[index], next = GHU_OBJ_FREE;

	if (state == GHU_OBJ_SAMPLED && ghu_mspan_where(s) == GHU_SPAN_IS_OWNED)
		return __atomic_exchange_n(at, GHU_OBJ_FREE, __ATOMIC_RELEASE) == state;
	if (!pass_watch(s, index, state))
		return free_last(s, index, state);
	if (state == GHU_OBJ_WATCH && ghu_recent_has_room(c))
		next = GHU_OBJ_KEPT;
	if (ghu_exchange8(at, next) != state)
		return false;
	if (next != GHU_OBJ_FREE)
		ghu_recent_add(c, s->base + (uintptr_t)index * s->elemsize, at);
	return true;
}

/* ---- sweeping ---- */

struct ghu_mspan *ghu_mcentral_sweep_span(struct ghu_mspan *s)
{
	struct mcentral *mc = central_of(s);
	struct ghu_mspan *dead;

	ghu_lock(&mc->lock);
	dead = bury_empty(mc, s, 0);
	ghu_unlock(&mc->lock);
	return dead;
}

/* ---- fork ---- */

/* Under all of them. */
static bool all_locked;

/* Who is alone need not touch them. */
void ghu_mcentral_lock_all(void)
{
	if (ghu_is_alone())
		return;
	for (unsigned int i = 1; i < GHU_NUM_CLASSES; i++)
		ghu_lock(&centrals[i].lock);
	all_locked = true;
}

void ghu_mcentral_unlock_all(void)
{
	if (!all_locked)
		return;
	all_locked = false;
	for (unsigned int i = GHU_NUM_CLASSES - 1; i > 0; i--)
		ghu_unlock(&centrals[i].lock);
}
