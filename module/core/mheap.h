/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The page heap: what its two homes, the kernel module and the library's
 * embedded backend, may call.  Everything else under core/ is private to it.
 *
 * One struct gh_mheap manages one arena, a range of addresses that the caller
 * has mapped.  The core deals in addresses and page counts and never touches
 * the memory itself, never sleeps, reads no clock and makes no call to the
 * operating system: time is an argument, and the pages of a run are released by
 * the caller between gh_idle_take_locked() and gh_idle_put_locked(), with the
 * lock dropped.
 *
 * Locking: functions that end in _locked need h->lock held, and say so.  None
 * takes it but gh_mheap_refill().
 *
 * Metadata: records are allocated before the lock is taken.  A function that
 * finds too few of them changes nothing and returns -EAGAIN; the caller drops
 * the lock, calls gh_mheap_refill(), takes the lock and calls again.
 */
#ifndef GH_MHEAP_H
#define GH_MHEAP_H

#include <gh_port.h>
#include "spans.h"
#include "freelist.h"
#include "treap.h"
#include "idle.h"

#define GH_PAGE_SHIFT	13
#define GH_PAGE_SIZE	(1UL << GH_PAGE_SHIFT)

/* Heap pages in a block that the hardware can map as one huge page (2 MiB). */
#define GH_HUGE_PAGES	256
#define GH_HUGE_SIZE	(GH_HUGE_PAGES * GH_PAGE_SIZE)

/* gh_mheap_alloc_locked() flags */
#define GH_ALLOC_LARGE	(1U << 0)	/* one large object: keep on the busy lists */

/* A run as the caller sees it. */
struct gh_run {
	u64 addr;
	u64 npages;
	bool needzero;		/* may hold old data */
};

/* All in pages or events, since init.  heap_sys = inuse + idle; released is part of idle. */
struct gh_mheap_stats {
	u64 inuse_pages;
	u64 idle_pages;
	u64 released_pages;
	u64 nr_spans;
	u64 nr_allocs;
	u64 nr_frees;
	u64 nr_grows;
	u64 nr_records;		/* records that exist, in use or spare */
	u64 meta_bytes;
};

/* Of max_held_pages: no bound. */
#define GH_NO_BOUND	(~(u64)0)

/*
 * The homes may read arena_start, arena_pages, used_pages and stats, with the
 * lock held, and set max_records after init, and max_held_pages with the lock held.
 * The rest is the core's.
 */
struct gh_mheap {
	struct mutex lock;		/* protects all of this */
	u64 arena_start;		/* address */
	u64 arena_pages;		/* 0 before gh_mheap_bind_locked() */
	u64 used_pages;			/* the part that was ever used, from the start */
	u64 max_records;		/* bound on stats.nr_records, 0 = none */
	u64 max_held_pages;		/* bound on gh_mheap_held_pages(), or GH_NO_BOUND */
	u64 clock_ns;			/* the latest time that was told */
	struct gh_mheap_stats stats;
	struct gh_spans spans;
	struct gh_records records;
	struct gh_freeset free[2];	/* indexed by gh_mspan.released */
	struct gh_busy busy;
	struct gh_idle idle;
};

/*
 * Below this many spare records a call that may take some asks for a refill
 * instead: what it may take itself, and what the scavenger may need, within reason.
 */
#define GH_RESERVE_MIN	24
#define GH_RESERVE_MAX	1024

static inline u64 gh_records_floor(const struct gh_mheap *h)
{
	u64 reserve = GH_RESERVE_MIN + 2 * h->idle.nr_huge;

	return GH_CALL_RECORDS + min(reserve, (u64)GH_RESERVE_MAX);
}

/*
 * Pages that may be in memory: of spans in use, and of idle runs that are not
 * released.  What the scavenger has taken along counts as released all the time.
 * Needs the lock.
 */
static inline u64 gh_mheap_held_pages(const struct gh_mheap *h)
{
	return h->stats.inuse_pages + h->stats.idle_pages - h->stats.released_pages -
	       h->idle.along_pages;
}

void gh_mheap_init(struct gh_mheap *h);
/* Frees every record.  No other user may be left. */
void gh_mheap_destroy(struct gh_mheap *h);
/* Sets the arena, once.  Both are multiples of the page size. */
void gh_mheap_bind_locked(struct gh_mheap *h, u64 arena_start, u64 arena_bytes);
/*
 * Fetches what the last -EAGAIN missed, and the reserve.  May sleep.
 * 0, -ENOMEM, -ENOSPC (max_records).
 */
int gh_mheap_refill(struct gh_mheap *h);
/*
 * Gives back the pages of some records, if there are such that nobody uses: drop() must
 * leave memory that reads as it did, or as zeros.  False: there are no more; the next call
 * looks at all of them again.
 */
bool gh_records_drop_locked(struct gh_mheap *h, void (*drop)(void *p, size_t bytes));

/*
 * 0; -EINVAL: npages 0 or align_pages no power of two; -ENOMEM: no run left; -EAGAIN.
 * Idle runs that have pages and such that have none do not merge: a home that
 * gets -ENOMEM may release what is idle, which joins them, and try again.
 * -EDQUOT: there would be more than max_held_pages; the same helps, if not too
 * much is in use.
 */
int gh_mheap_alloc_locked(struct gh_mheap *h, u64 npages, u64 align_pages,
			  unsigned int flags, u8 tag, u64 now_ns, struct gh_run *run);
/*
 * Takes exactly [addr, addr + npages), growing the used part if it must; for a
 * heap built after fork, whose memory is there: max_held_pages is not looked at.
 * 0; -EINVAL: not pages of the arena; -ENOMEM: not all of it is part of one free
 * run; -EAGAIN.
 */
int gh_mheap_carve_locked(struct gh_mheap *h, u64 addr, u64 npages,
			  unsigned int flags, u8 tag, u64 now_ns);
/*
 * 0; -EINVAL: addr is not the base of a span in use, or npages (if not 0) not
 * its length.  Never -EAGAIN.
 */
int gh_mheap_free_locked(struct gh_mheap *h, u64 addr, u64 npages, u64 now_ns);
/*
 * In place.  *old is the span before; added->needzero tells of the pages added.
 * 0; -EINVAL: addr is not the base of a span in use, or npages is 0; -ENOMEM:
 * what follows is not free; -EAGAIN; -EDQUOT, as above.
 */
int gh_mheap_resize_locked(struct gh_mheap *h, u64 addr, u64 npages, u64 now_ns,
			   struct gh_run *old, struct gh_run *added);
/* The span in use that holds addr, which may be an inner address.  0, -EINVAL. */
int gh_mheap_lookup_locked(struct gh_mheap *h, u64 addr, struct gh_run *run);

/*
 * Calls fn for each run, in use or not, in address order from *cursor (0 to
 * begin); stops when fn returns non-zero or after max runs.  0 when the end was
 * reached, else 1 with *cursor set to go on: with the run that fn refused, or
 * with the next one.  The lock may be dropped in between.  For debugfs and maps.
 */
struct gh_span_view {
	u64 addr;
	u64 npages;
	u8 state;		/* enum gh_span_state */
	u8 tag;
	bool released;
	u64 unusedsince_ns;
};
int gh_mheap_walk_locked(struct gh_mheap *h, u64 *cursor, unsigned int max,
			 int (*fn)(const struct gh_span_view *v, void *arg), void *arg);

/* gh_idle_take_locked(), gh_idle_put_locked() and gh_idle_resident_pages() are in idle.h. */

#endif /* GH_MHEAP_H */
