// SPDX-License-Identifier: GPL-2.0
/*
 * Bounds on what a heap holds in memory: spans in use, and idle spans that have
 * pages.
 *
 * Hard: nothing is allocated that would exceed it.  The core decides, with the
 * heap mutex held, when it knows where the span will be: a run that has pages is
 * held already, and costs nothing; one that has none, or growth, does.  So what
 * is held is never above the bound, whatever other threads do, and a program that
 * reuses its spans at the bound has none of them released under it.  Where the
 * core refuses, as much as is missing is released here, with the mutex dropped,
 * and the core is asked again; it is -ENOMEM only if too much is in use, or if
 * nothing can be released because a forked child shares the arena.
 *
 * Soft: when more is held, and some of it is idle, a worker releases down to an
 * eighth below it.  It is a worker, and a little later, so that a program pays
 * nothing for it in SPAN_FREE: one that goes on freeing and allocating above its
 * bound is not slowed down by a release in each call, but loses what is idle at
 * that moment a few times in a second.  The eighth keeps one that is just at its
 * bound from being visited each time.  The worker only tries locks: a process
 * that keeps its own mmap lock must not keep a worker too.  It looks after the hard
 * bound as well, which was set too low if more is held: what is freed then goes.
 */
#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <linux/sched/signal.h>
#include <linux/workqueue.h>

#include "heap.h"

/* Between the moment when too much is held, and the release. */
#define GOHEAP_SOFT_DELAY	(HZ / 20)

static u64 goheap_limit_pages(u64 bytes)
{
	return bytes == U64_MAX ? GH_NO_BOUND : bytes >> GH_PAGE_SHIFT;
}

static u64 goheap_limit_bytes(u64 pages)
{
	return pages == GH_NO_BOUND ? U64_MAX : pages << GH_PAGE_SHIFT;
}

/* How much is held above @limit pages, in bytes. */
static u64 goheap_excess_locked(struct goheap *heap, u64 limit)
{
	u64 held = gh_mheap_held_pages(&heap->core);

	lockdep_assert_held(&heap->core.lock);
	return held > limit ? (held - limit) << GH_PAGE_SHIFT : 0;
}

/* ---- soft ------------------------------------------------------------------- */

/* To be called when spans were allocated or freed, before the heap mutex is dropped. */
void goheap_check_soft_locked(struct goheap *heap)
{
	if (likely(!goheap_excess_locked(heap, min(heap->soft_pages, heap->core.max_held_pages))))
		return;
	if (gh_idle_resident_pages(&heap->core) && !delayed_work_pending(&heap->soft_work))
		goheap_queue_delayed_work(&heap->soft_work, GOHEAP_SOFT_DELAY);
}

/* What the worker is to release.  A pass that did not come to its end goes on. */
static u64 goheap_soft_excess_locked(struct goheap *heap)
{
	u64 soft = heap->soft_pages, hard = heap->core.max_held_pages;

	if (heap->soft_unfinished || goheap_excess_locked(heap, soft))
		return goheap_excess_locked(heap, min(soft - soft / 8, hard));
	return goheap_excess_locked(heap, hard);
}

static void goheap_soft_pass(struct work_struct *work)
{
	struct goheap *heap = container_of(to_delayed_work(work), struct goheap, soft_work);
	struct goheap_scav scav = { .only_try = true };
	bool again;

	goheap_lock(heap);
	scav.max_bytes = goheap_soft_excess_locked(heap);
	goheap_unlock(heap);
	/* A lock was taken, or time is up. */
	again = goheap_scavenge(heap, &scav) == -EAGAIN;
	goheap_lock(heap);
	heap->soft_unfinished = again;
	if (again)
		goheap_queue_delayed_work(&heap->soft_work, GOHEAP_SOFT_DELAY);
	goheap_unlock(heap);
}

/* ---- hard ------------------------------------------------------------------- */

/*
 * For a span of @npages that the core refused with -EDQUOT: makes room if it can be
 * made.  0: ask again; -ENOMEM; -EINTR: a fatal signal.  Needs the heap mutex dropped.
 */
int goheap_make_room(struct goheap *heap, u64 npages)
{
	struct gh_mheap *core = &heap->core;
	struct goheap_scav scav;
	bool never;
	int err;

	while (!fatal_signal_pending(current)) {
		scav = (struct goheap_scav) {};
		goheap_lock(heap);
		never = core->stats.inuse_pages + npages > core->max_held_pages;
		if (!never)
			scav.max_bytes = goheap_excess_locked(heap, core->max_held_pages - npages);
		goheap_unlock(heap);
		if (never)
			return -ENOMEM;
		if (!scav.max_bytes)
			return 0;
		err = goheap_scavenge(heap, &scav);
		if (err)
			return err == -EINTR ? err : -ENOMEM;
		/* Nothing left for us: another is at it, and counts when it is done. */
		if (!scav.released_bytes && goheap_wait_release(heap))
			break;
	}
	return -EINTR;
}

/* ---- setting them ------------------------------------------------------------- */

void goheap_limit_init(struct goheap *heap)
{
	heap->soft_pages = GH_NO_BOUND;
	INIT_DELAYED_WORK(&heap->soft_work, goheap_soft_pass);
}

void goheap_limit_get(struct goheap *heap, u64 *soft_bytes, u64 *hard_bytes)
{
	goheap_lock(heap);
	*soft_bytes = goheap_limit_bytes(heap->soft_pages);
	*hard_bytes = goheap_limit_bytes(heap->core.max_held_pages);
	goheap_unlock(heap);
}

/* NULL: leaves that one as it is. */
static int goheap_limit_store(struct goheap *heap, const u64 *soft_bytes, const u64 *hard_bytes,
			      u64 *excess)
{
	u64 soft, hard;
	int err = -EINVAL;

	goheap_lock(heap);
	soft = soft_bytes ? goheap_limit_pages(*soft_bytes) : heap->soft_pages;
	hard = hard_bytes ? goheap_limit_pages(*hard_bytes) : heap->core.max_held_pages;
	if (soft != GH_NO_BOUND && hard < soft)
		goto out_unlock;
	heap->soft_pages = soft;
	heap->core.max_held_pages = hard;
	*excess = goheap_excess_locked(heap, min(soft, hard));
	err = 0;
out_unlock:
	goheap_unlock(heap);
	return err;
}

/*
 * What is too much by the new bounds is released at once, as far as it is idle.  That
 * it could not be, because of a forked child, is no error: the bounds are in force.
 */
int goheap_limit_set(struct goheap *heap, const u64 *soft_bytes, const u64 *hard_bytes)
{
	struct goheap_scav scav = {};
	int err;

	err = goheap_limit_store(heap, soft_bytes, hard_bytes, &scav.max_bytes);
	if (err)
		return err;
	goheap_scavenge(heap, &scav);
	return 0;
}
