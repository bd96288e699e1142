/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Records of spans, and the table that finds them by page number.  Private to
 * the core.  All functions but the two that refill need the heap's lock.
 */
#ifndef GH_SPANS_H
#define GH_SPANS_H

#include <gh_port.h>

struct gh_mheap;

enum gh_span_state {
	GH_SPAN_DEAD,		/* a spare record; 0, as in one that reads as zeros */
	GH_SPAN_FREE,
	GH_SPAN_INUSE,
	GH_SPAN_SCAVENGING,	/* idle, its pages being released: cannot be allocated or merged */
};

struct gh_mspan;

struct gh_span_list {
	struct gh_mspan *first;
	struct gh_mspan *last;
};

/*
 * One run of pages, in use or free.  A record is for ever a record: it is reused
 * but never given back before the heap ends, so that a stale pointer in the
 * table can be followed and found stale.
 */
struct gh_mspan {
	/*
	 * The list that it is on: spare, free[n] or busy; for a free run in
	 * the treap, the list of runs with a huge page.
	 */
	struct gh_mspan *next;
	struct gh_mspan *prev;
	struct gh_span_list *list;
	/* The treap of free runs of GH_MAX_LIST pages and more. */
	struct gh_mspan *left;
	struct gh_mspan *right;
	struct gh_mspan *parent;
	/* All idle runs that are resident, by age. */
	struct gh_mspan *older;
	struct gh_mspan *younger;
	u64 start;		/* page number: address >> GH_PAGE_SHIFT */
	u64 npages;
	u64 unusedsince_ns;	/* 0 while in use */
	u32 priority;		/* in the treap */
	u16 index;		/* in its chunk, for ever */
	u8 state;		/* enum gh_span_state */
	u8 tag;			/* the caller's, while in use */
	bool large;		/* one large object: on the busy lists */
	bool needzero;		/* may hold old data; of idle runs, those not released */
	bool released;		/* idle, and has no pages: npreleased is npages, else 0 */
};

static inline u64 gh_mspan_end(const struct gh_mspan *s)
{
	return s->start + s->npages;
}

/* A leaf of the table covers as much as a huge page, and begins where one can. */
#define GH_LEAF_SHIFT	8
#define GH_LEAF_PAGES	(1UL << GH_LEAF_SHIFT)
#define GH_LEAF_MASK	(GH_LEAF_PAGES - 1)

struct gh_leaf {
	struct gh_mspan *owner;		/* the run that covers the whole leaf, or NULL: see table */
	struct gh_mspan **table;	/* GH_LEAF_PAGES entries, or NULL */
};

/* Tables that gh_spans_refill() keeps ready: one for each end that one call can make. */
#define GH_SPARE_TABLES	4
/* Those that are kept: more where several refill at once. */
#define GH_MAX_TABLES	16

struct gh_spans {
	struct gh_leaf *root;
	u64 nr_root;
	u64 want_root;		/* what gh_spans_refill() makes of nr_root */
	u64 first_leaf;		/* page number >> GH_LEAF_SHIFT of root[0] */
	struct gh_mspan **spare[GH_MAX_TABLES];	/* not touched before they are used */
	unsigned int nr_spare;
};

struct gh_mspan_chunk {
	struct gh_mspan_chunk *next;
	struct gh_mspan_chunk *next_fresh;
	u16 nr_carved;		/* records that were used since the chunk was fresh */
	u16 nr_used;		/* that are not spare */
	struct gh_mspan spans[];
};

/* GH_CHUNK_BYTES is the home's. */
#define GH_CHUNK_SPANS \
	((GH_CHUNK_BYTES - sizeof(struct gh_mspan_chunk)) / sizeof(struct gh_mspan))

struct gh_records {
	struct gh_span_list spare;	/* those that were used before */
	struct gh_mspan_chunk *fresh;	/* chunks with others, linked */
	u64 nr_spare;			/* of both kinds */
	struct gh_mspan_chunk *chunks;	/* every record there is */
	struct gh_mspan_chunk *seen;	/* by gh_records_drop_locked() */
};

/* The most records that one call takes: growth, head, and tail. */
#define GH_CALL_RECORDS	3

/* The entry of a page below the end of the used part; what it is worth, spans.c says. */
struct gh_mspan *gh_spans_get(const struct gh_spans *sp, u64 page);
/* The run, of whatever state, that holds the page. */
struct gh_mspan *gh_spans_find(const struct gh_spans *sp, u64 page);
/* The same if it is released, and not for long; else also NULL. */
struct gh_mspan *gh_spans_find_released(const struct gh_spans *sp, u64 page);
/* Whether the table reaches up to page @end; if not, the next refill sees to it. */
bool gh_spans_room(struct gh_spans *sp, u64 end);
/* How many tables (0 or 1) must be added for a run to begin or end at @page. */
unsigned int gh_spans_missing(const struct gh_spans *sp, u64 page);
/* Lets runs begin or end at @page; both sides are then to be filled in. */
void gh_spans_cut(struct gh_spans *sp, u64 page);
/* Makes all of [from, to), which is part of @s, point to @s; and the rest of @s in these leaves. */
void gh_spans_fill(struct gh_spans *sp, struct gh_mspan *s, u64 from, u64 to);
/* Makes @s the owner of @page's leaf, if it covers that. */
void gh_spans_own(struct gh_spans *sp, struct gh_mspan *s, u64 page);
/* Whether all leaves that @s covers have an owner, or no table. */
bool gh_spans_are_owned(const struct gh_spans *sp, const struct gh_mspan *s);
/* Makes both ends of @s point to it. */
void gh_spans_set_ends(struct gh_spans *sp, struct gh_mspan *s);

/* A record out of the spare ones, which the caller has counted. */
struct gh_mspan *gh_mspan_new(struct gh_mheap *h, u64 start, u64 npages);
void gh_mspan_release(struct gh_mheap *h, struct gh_mspan *s);

/* Take the lock, and sleep.  0, -ENOMEM, -ENOSPC. */
int gh_spans_refill(struct gh_mheap *h);
int gh_records_refill(struct gh_mheap *h);
void gh_spans_destroy(struct gh_mheap *h);
void gh_records_destroy(struct gh_mheap *h);

#endif /* GH_SPANS_H */
