// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Spans ahead of need, with the option uring.  Who fetches short runs, and as many at
 * once as are ever fetched, also asks for the next ones, by a ring, and to have their
 * pages faulted in.  A worker of the kernel's does that while the program uses up what
 * it has.  Next time the runs are there; or else, and whenever anything goes wrong,
 * they are fetched as ever, and nobody waits.
 *
 * Each of a few slots holds one batch of runs, for the length that asked first.  Runs
 * that are here go back when the cache of empty spans is emptied.  Those on their way
 * cannot; they are found by who comes next.  A request always ends, with its spans or
 * without, even if its thread has ended or the ring was given up, so none is lost.
 *
 * Locks: ahead_lock owns the slots and the ring.  The lock of a heap's descriptor may
 * be taken inside it, and nothing else.
 */
#include <string.h>
#include "device.h"
#include "options.h"
#include "ring.h"
#include "spancache.h"

enum ahead_state { AHEAD_NONE, AHEAD_COMING, AHEAD_HERE };

struct ahead {
	enum ahead_state state;
	unsigned int taken;		/* spans that were handed out, the first ones */
	struct device_heap *d;
	int fd;				/* that was asked; d may have another since */
	size_t npages;
	struct goheap_span_vec v;	/* the kernel's while it is COMING, as are the spans */
	struct goheap_span spans[GHU_SPANCACHE_AHEAD];
};

static ghu_table struct ahead aheads[GHU_RING_SLOTS];
static struct ghu_lock ahead_lock;

/* Spans of another heap, whose descriptor was at our number, go back to it. */
static void finish_locked(struct ahead *a)
{
	a->state = a->v.done ? AHEAD_HERE : AHEAD_NONE;
	a->taken = 0;
	if (a->v.done && !ghu_arena_has(&a->d->heap.arena, a->spans[0].addr)) {
		ghu_device_wrong_heap(a->d, a->fd, &a->v);
		a->state = AHEAD_NONE;
	}
}

static void finish_all_locked(void)
{
	int slot;

	while ((slot = ghu_ring_finished()) >= 0)
		finish_locked(&aheads[slot]);
}

static unsigned int take_locked(struct ahead *a, struct ghu_run *runs, unsigned int nr)
{
	unsigned int left = a->v.done - a->taken;

	if (nr > left)
		nr = left;
	ghu_device_runs(a->spans + a->taken, nr, runs);
	a->taken += nr;
	if (a->taken == a->v.done)
		a->state = AHEAD_NONE;
	return nr;
}

/* The slot of a length, or else one that is free, or NULL. */
static struct ahead *find_locked(const struct device_heap *d, size_t npages)
{
	struct ahead *found = NULL;

	for (unsigned int i = 0; i < GHU_RING_SLOTS; i++) {
		struct ahead *a = &aheads[i];

		if (a->state == AHEAD_NONE)
			found = a;
		else if (a->d == d && a->npages == npages)
			return a;
	}
	return found;
}

static void ask_locked(struct ahead *a, struct device_heap *d, const struct ghu_request *req,
		       unsigned int nr)
{
	const struct goheap_uring u = { .arg = (uintptr_t)&a->v };
	uint64_t payload[2];

	memcpy(payload, &u, sizeof(payload));
	a->d = d;
	a->fd = __atomic_load_n(&d->fd, __ATOMIC_RELAXED);
	a->npages = req->npages;
	a->v = ghu_device_vec(req, a->spans, nr);
	a->v.flags = GOHEAP_VEC_POPULATE;
	if (ghu_ring_submit(a->fd, GOHEAP_SPAN_ALLOC, payload, (unsigned int)(a - aheads)))
		a->state = AHEAD_COMING;
}

static bool is_busy(const struct ghu_request *req, unsigned int nr)
{
	return nr > 1 && nr == GHU_SPANCACHE_AHEAD / req->npages;
}

unsigned int ghu_ahead_get(struct device_heap *d, const struct ghu_request *req,
			   struct ghu_run *runs, unsigned int nr)
{
	unsigned int got = 0;
	struct ahead *a;

	ghu_lock(&ahead_lock);
	finish_all_locked();
	a = find_locked(d, req->npages);
	if (a && a->state == AHEAD_HERE)
		got = take_locked(a, runs, nr);
	if (a && a->state == AHEAD_NONE && is_busy(req, nr))
		ask_locked(a, d, req, nr);
	ghu_unlock(&ahead_lock);
	return got;
}

unsigned int ghu_ahead_drain(struct ghu_run *runs)
{
	unsigned int nr = 0;

	if (!ghu_options.uring)
		return 0;
	ghu_lock(&ahead_lock);
	finish_all_locked();
	for (unsigned int i = 0; i < GHU_RING_SLOTS && !nr; i++)
		if (aheads[i].state == AHEAD_HERE)
			nr = take_locked(&aheads[i], runs, GHU_SPANCACHE_BATCH);
	ghu_unlock(&ahead_lock);
	return nr;
}

void ghu_ahead_forget(void)
{
	memset(aheads, 0, sizeof(aheads));
	ahead_lock.word = 0;
	ghu_ring_forget();
}

void ghu_ahead_fork_prepare(void)
{
	ghu_lock(&ahead_lock);
}

void ghu_ahead_fork_done(void)
{
	ghu_unlock(&ahead_lock);
}
