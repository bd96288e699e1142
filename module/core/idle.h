/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What may be released, in which order.  Needs the heap's lock; the three
 * functions at the end are for the heap's homes, the rest is private to the core.
 */
#ifndef GH_IDLE_H
#define GH_IDLE_H

#include <gh_port.h>
#include "spans.h"

/*
 * Where a part of a released run was allocated: what else is released in that 2 MiB
 * block may have pages since, if the first touch brought in a huge page.
 */
struct gh_touched {
	u64 page;		/* where to look next */
	u64 end;		/* of the block */
	u64 since_ns;
};

#define GH_TOUCHED_MAX	32

struct gh_idle {
	struct gh_mspan *oldest;	/* resident idle runs, also those being released */
	struct gh_mspan *youngest;
	struct gh_span_list huge;	/* those that hold a whole aligned 2 MiB block, by age */
	u64 nr_huge;
	u64 resident_pages;		/* that gh_idle_take_locked() could take */
	u64 along_pages;		/* released before, and now part of runs that are taken */
	struct gh_touched touched[GH_TOUCHED_MAX];	/* the latest, from nr_looked to nr_touched */
	u64 nr_touched;			/* ever; modulo GH_TOUCHED_MAX: the next one */
	u64 nr_looked;
};

/* Appends a run that became idle just now. */
void gh_idle_add(struct gh_mheap *h, struct gh_mspan *s);
/* Adds @t, split from @s, with the age of @s. */
void gh_idle_add_beside(struct gh_mheap *h, struct gh_mspan *t, struct gh_mspan *s);
void gh_idle_remove(struct gh_mheap *h, struct gh_mspan *s);
/* Removes @nb, about to be merged into @s, leaving @s the younger of both places. */
void gh_idle_absorb(struct gh_mheap *h, struct gh_mspan *s, struct gh_mspan *nb);
/* To be called when a part of a released run was allocated that begins or ends at @page. */
void gh_idle_touch(struct gh_mheap *h, u64 page, u64 now_ns);
/* To be called when the range of @s has changed. */
void gh_idle_resized(struct gh_mheap *h, struct gh_mspan *s);
/* Adds to resident_pages; modulo 2^64, so that a negated number subtracts. */
void gh_idle_count(struct gh_mheap *h, u64 npages);

struct gh_idle_req {
	u64 now_ns;
	u64 min_age_ns;		/* only runs unused for longer than this; 0: all */
	u64 max_pages;
	bool whole_only;	/* only what holds a whole 2 MiB block: no huge page is split */
};

struct gh_idle_run {
	u64 addr;
	u64 npages;
	u64 idle_pages;		/* of them, those that counted as resident; may be 0 */
	struct gh_mspan *span;	/* for gh_idle_put_locked() */
};

/*
 * Takes one resident idle run of at most max_pages (and at most GH_HUGE_PAGES)
 * off the free structures, so that it cannot be allocated: aligned 2 MiB blocks
 * first, oldest first, unused for longer than min_age_ns; and with it what is
 * beside it, in its own 2 MiB blocks, and released or never used yet.  When there is no
 * such run, released runs in blocks that were touched longer than min_age_ns ago.  Never allocates: splits only
 * with spare records, else takes a run whole.  0; -ENOENT: none such.
 */
int gh_idle_take_locked(struct gh_mheap *h, const struct gh_idle_req *req,
			struct gh_idle_run *run);
/* Puts it back, released (needzero clear) or as it was, with its age. */
void gh_idle_put_locked(struct gh_mheap *h, const struct gh_idle_run *run, bool released);
/* Pages that are idle and resident; may be read without the lock, as an estimate. */
u64 gh_idle_resident_pages(const struct gh_mheap *h);
/* Whether there may be anything to take, or anything with whole_only; the same. */
bool gh_idle_any(const struct gh_mheap *h);
bool gh_idle_any_whole(const struct gh_mheap *h);

#endif /* GH_IDLE_H */
