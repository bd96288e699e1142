/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Lists of spans, the two sets of free runs, and what turns one run into several
 * and several into one.  Private to the core; needs the heap's lock.
 */
#ifndef GH_FREELIST_H
#define GH_FREELIST_H

#include <gh_port.h>
#include "spans.h"
#include "treap.h"

/* Runs below this many pages (1 MiB) are kept in lists by length. */
#define GH_MAX_LIST	128

void gh_list_insert(struct gh_span_list *list, struct gh_mspan *s);
void gh_list_insert_back(struct gh_span_list *list, struct gh_mspan *s);
/* @at may be NULL: then in front. */
void gh_list_insert_after(struct gh_span_list *list, struct gh_mspan *s,
			  struct gh_mspan *at);
void gh_list_remove(struct gh_span_list *list, struct gh_mspan *s);

/* Free runs of one kind: resident, or released. */
struct gh_freeset {
	struct gh_span_list free[GH_MAX_LIST];
	DECLARE_BITMAP(nonempty, GH_MAX_LIST);
	struct gh_treap freelarge;
};

void gh_freeset_init(struct gh_freeset *set);
void gh_freeset_insert(struct gh_freeset *set, struct gh_mspan *s);
void gh_freeset_remove(struct gh_freeset *set, struct gh_mspan *s);
/* The run to take @npages from, beginning at a multiple of @align_pages; or NULL. */
struct gh_mspan *gh_freeset_find(const struct gh_freeset *set, u64 npages, u64 align_pages);

/* Spans in use that hold one large object. */
struct gh_busy {
	struct gh_span_list busy[GH_MAX_LIST];
	struct gh_span_list busylarge;
};

void gh_busy_insert(struct gh_busy *b, struct gh_mspan *s);
void gh_busy_remove(struct gh_busy *b, struct gh_mspan *s);

/*
 * Makes @s, which is in none of the sets, free, and merges it with its free
 * neighbours of the same kind.  If it is resident it is in the idle order already.
 */
void gh_free_add(struct gh_mheap *h, struct gh_mspan *s);
/* Makes unused arena up to page @end a released run.  Needs a record, and tables for both ends. */
void gh_free_grow(struct gh_mheap *h, u64 end, u64 since_ns);
/*
 * Takes [start, start + npages) out of the free run @s.  Afterwards @s is this
 * part, in none of the sets, but in the idle order still if it is resident; its
 * entries in the table are for the caller to set.  What is left before and
 * after it stays free and keeps its age.
 */
void gh_free_isolate(struct gh_mheap *h, struct gh_mspan *s, u64 start, u64 npages);

#endif /* GH_FREELIST_H */
