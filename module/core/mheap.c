// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The façade of the page heap: allocate, free, resize and carve runs of pages,
 * grow the used part of the arena, and walk over it.
 *
 * Each call works in two steps.  The first decides which pages the span will
 * have, how far the arena must grow, and whether there are records and tables
 * enough; it changes nothing, and may end in -ENOMEM, -EDQUOT or -EAGAIN.  The
 * second cannot fail.  What is decided is a struct place.
 *
 * An allocation takes a resident run if there is one that fits, since its pages
 * are there already; else a released one; else the used part grows, by 1 MiB at
 * least, so that growth is rare, in steps of 64 KiB.  Memory of fresh growth is
 * a released run like any other: it has no pages, and reads as zeros.
 *
 * Nothing here throws: a span handed in by a program is checked against the
 * table, and refused if it is not one.
 */
#include <gh_port.h>
#include "mheap.h"

/* Growth is a multiple of 64 KiB, and 1 MiB at least. */
#define GH_GROW_STEP_PAGES	8
#define GH_GROW_MIN_PAGES	128

/* A span may grow over at most this many free runs, then over unused arena. */
#define GH_RESIZE_RUNS		2

/* Where a span will be, in page numbers. */
struct place {
	struct gh_mspan *run;	/* the free run that it is part of; NULL: the one made by growing */
	u64 start;
	u64 npages;
	u64 grow_to;		/* new end of the used part, or 0 */
};

static u64 arena_page(const struct gh_mheap *h)
{
	return h->arena_start >> GH_PAGE_SHIFT;
}

static u64 used_end(const struct gh_mheap *h)
{
	return arena_page(h) + h->used_pages;
}

static u64 arena_end(const struct gh_mheap *h)
{
	return arena_page(h) + h->arena_pages;
}

/* Time does not go back here, so that ages are in the order of the calls. */
static u64 advance_clock(struct gh_mheap *h, u64 now_ns)
{
	h->clock_ns = max(h->clock_ns, now_ns);
	return h->clock_ns;
}

void gh_mheap_init(struct gh_mheap *h)
{
	memset(h, 0, sizeof(*h));
	mutex_init(&h->lock);
	h->max_held_pages = GH_NO_BOUND;
	gh_freeset_init(&h->free[false]);
	gh_freeset_init(&h->free[true]);
}

void gh_mheap_destroy(struct gh_mheap *h)
{
	gh_spans_destroy(h);
	gh_records_destroy(h);
}

void gh_mheap_bind_locked(struct gh_mheap *h, u64 arena_start, u64 arena_bytes)
{
	lockdep_assert_held(&h->lock);
	if (WARN_ON_ONCE(h->arena_pages))
		return;
	h->arena_start = arena_start;
	h->arena_pages = arena_bytes >> GH_PAGE_SHIFT;
	h->spans.first_leaf = arena_page(h) >> GH_LEAF_SHIFT;
}

/* Tables first: at the end of the library's memory lies so what is touched bit by bit. */
int gh_mheap_refill(struct gh_mheap *h)
{
	int err = gh_spans_refill(h);

	return err ? err : gh_records_refill(h);
}

/*
 * How much to grow if @need pages are needed: rounded up, and a big chunk; else
 * just rounded up; else what is left, if it is enough.  0 if it is not.
 */
static u64 growth(const struct gh_mheap *h, u64 need)
{
	u64 left = arena_end(h) - used_end(h);
	u64 ask = ALIGN(need, GH_GROW_STEP_PAGES);

	if (need > left)
		return 0;
	if (max(ask, (u64)GH_GROW_MIN_PAGES) <= left)
		return max(ask, (u64)GH_GROW_MIN_PAGES);
	return min(ask, left);
}

/* The released run that growth would extend, or NULL. */
static struct gh_mspan *growing_run(const struct gh_mheap *h)
{
	struct gh_mspan *s;

	if (!h->used_pages)
		return NULL;
	s = gh_spans_get(&h->spans, used_end(h) - 1);
	return s->state == GH_SPAN_FREE && s->released ? s : NULL;
}

static void grow(struct gh_mheap *h, u64 end, u64 now_ns)
{
	gh_free_grow(h, end, advance_clock(h, now_ns));
	h->stats.nr_grows++;
}

/* Whether the records and tables suffice; if not, what is missing is noted for the refill. */
static bool prepared(struct gh_mheap *h, const struct place *p)
{
	struct gh_spans *sp = &h->spans;
	unsigned int tables;

	if (!gh_spans_room(sp, p->grow_to ? p->grow_to : used_end(h)))
		return false;
	tables = gh_spans_missing(sp, p->start) +
		 gh_spans_missing(sp, p->start + p->npages);
	if (p->grow_to)
		tables += gh_spans_missing(sp, used_end(h)) +
			  gh_spans_missing(sp, p->grow_to);
	return tables <= sp->nr_spare && h->records.nr_spare >= gh_records_floor(h);
}

/* Lets @p begin at the first aligned page of the growing run, or of the unused part. */
static int find_growth(struct gh_mheap *h, u64 align_pages, struct place *p)
{
	struct gh_mspan *s = growing_run(h);
	u64 end, more;

	p->start = ALIGN(s ? s->start : used_end(h), align_pages);
	end = p->start + p->npages;
	if (end <= used_end(h)) {
		p->run = s;
		return 0;
	}
	more = growth(h, end - used_end(h));
	if (!more)
		return -ENOMEM;
	p->grow_to = used_end(h) + more;
	return 0;
}

/*
 * Whether @npages more, @fresh of which have no pages yet, may be in use.  Those that
 * have some are held already; with a bound that came later, more may be held than that.
 */
static bool may_hold(const struct gh_mheap *h, u64 npages, u64 fresh)
{
	if (h->max_held_pages == GH_NO_BOUND)
		return true;
	if (h->stats.inuse_pages + npages > h->max_held_pages)
		return false;
	return !fresh || gh_mheap_held_pages(h) + fresh <= h->max_held_pages;
}

static int find_place(struct gh_mheap *h, u64 align_pages, struct place *p)
{
	/* Sums with it might overflow. */
	if (p->npages > h->arena_pages)
		return -ENOMEM;
	p->run = gh_freeset_find(&h->free[false], p->npages, align_pages);
	if (!p->run)
		p->run = gh_freeset_find(&h->free[true], p->npages, align_pages);
	if (!p->run)
		return find_growth(h, align_pages, p);
	p->start = ALIGN(p->run->start, align_pages);
	return 0;
}

static void account_use(struct gh_mheap *h, const struct gh_mspan *s)
{
	h->stats.idle_pages -= s->npages;
	h->stats.inuse_pages += s->npages;
	if (s->released)
		h->stats.released_pages -= s->npages;
}

/* Pages of a released run, now to be used, share blocks with what is beside them. */
static void touch(struct gh_mheap *h, const struct gh_mspan *s, u64 now_ns)
{
	now_ns = max(h->clock_ns, now_ns);
	gh_idle_touch(h, s->start, now_ns);
	gh_idle_touch(h, gh_mspan_end(s), now_ns);
}

static struct gh_mspan *take_place(struct gh_mheap *h, const struct place *p,
				   unsigned int flags, u8 tag, u64 now_ns)
{
	struct gh_mspan *s = p->run;

	if (p->grow_to) {
		grow(h, p->grow_to, now_ns);
		s = growing_run(h);
	}
	gh_free_isolate(h, s, p->start, p->npages);
	account_use(h, s);
	if (s->released)
		touch(h, s, now_ns);
	else
		gh_idle_remove(h, s);
	s->state = GH_SPAN_INUSE;
	s->released = false;
	s->unusedsince_ns = 0;
	s->tag = tag;
	s->large = flags & GH_ALLOC_LARGE;
	if (s->large)
		gh_busy_insert(&h->busy, s);
	gh_spans_fill(&h->spans, s, s->start, gh_mspan_end(s));
	h->stats.nr_spans++;
	h->stats.nr_allocs++;
	return s;
}

static struct gh_run run_of(const struct gh_mspan *s)
{
	return (struct gh_run) {
		.addr = s->start << GH_PAGE_SHIFT,
		.npages = s->npages,
		.needzero = s->needzero,
	};
}

int gh_mheap_alloc_locked(struct gh_mheap *h, u64 npages, u64 align_pages,
			  unsigned int flags, u8 tag, u64 now_ns, struct gh_run *run)
{
	struct place p = { .npages = npages };
	int err;

	lockdep_assert_held(&h->lock);
	if (!npages || !is_power_of_2(align_pages))
		return -EINVAL;
	err = find_place(h, align_pages, &p);
	if (err)
		return err;
	if (!may_hold(h, npages, p.run && !p.run->released ? 0 : npages))
		return -EDQUOT;
	if (!prepared(h, &p))
		return -EAGAIN;
	*run = run_of(take_place(h, &p, flags, tag, now_ns));
	return 0;
}

/* The free run that [start, start + npages) is part of, or growth that makes one. */
static int find_exact(struct gh_mheap *h, struct place *p)
{
	u64 end = p->start + p->npages;
	struct gh_mspan *s;

	if (end > used_end(h)) {
		s = growing_run(h);
		if (p->start < (s ? s->start : used_end(h)))
			return -ENOMEM;
		p->grow_to = used_end(h) + growth(h, end - used_end(h));
		return 0;
	}
	s = gh_spans_find(&h->spans, p->start);
	if (!s || s->state != GH_SPAN_FREE || end > gh_mspan_end(s))
		return -ENOMEM;
	p->run = s;
	return 0;
}

int gh_mheap_carve_locked(struct gh_mheap *h, u64 addr, u64 npages,
			  unsigned int flags, u8 tag, u64 now_ns)
{
	struct place p = { .start = addr >> GH_PAGE_SHIFT, .npages = npages };
	int err;

	lockdep_assert_held(&h->lock);
	if (!npages || !IS_ALIGNED(addr, GH_PAGE_SIZE) || p.start < arena_page(h) ||
	    p.start >= arena_end(h) || npages > arena_end(h) - p.start)
		return -EINVAL;
	err = find_exact(h, &p);
	if (err)
		return err;
	if (!prepared(h, &p))
		return -EAGAIN;
	take_place(h, &p, flags, tag, now_ns);
	return 0;
}

/* The record of the span in use that holds @addr, or NULL. */
static struct gh_mspan *span_at(const struct gh_mheap *h, u64 addr)
{
	u64 page = addr >> GH_PAGE_SHIFT;
	struct gh_mspan *s;

	if (page < arena_page(h) || page >= used_end(h))
		return NULL;
	s = gh_spans_get(&h->spans, page);
	if (!s || s->state != GH_SPAN_INUSE || page < s->start || page >= gh_mspan_end(s))
		return NULL;
	return s;
}

/* The record of the span in use that begins at @addr, or NULL. */
static struct gh_mspan *span_of(const struct gh_mheap *h, u64 addr)
{
	struct gh_mspan *s = span_at(h, addr);

	return s && addr == s->start << GH_PAGE_SHIFT ? s : NULL;
}

/* Makes @s, which no span in use has a part in any more, idle memory that has pages. */
static void make_idle(struct gh_mheap *h, struct gh_mspan *s, u64 now_ns)
{
	s->needzero = true;
	s->unusedsince_ns = advance_clock(h, now_ns);
	h->stats.inuse_pages -= s->npages;
	h->stats.idle_pages += s->npages;
	gh_idle_add(h, s);
	gh_free_add(h, s);
}

int gh_mheap_free_locked(struct gh_mheap *h, u64 addr, u64 npages, u64 now_ns)
{
	struct gh_mspan *s;

	lockdep_assert_held(&h->lock);
	s = span_of(h, addr);
	if (!s || (npages && npages != s->npages))
		return -EINVAL;
	if (s->large)
		gh_busy_remove(&h->busy, s);
	s->large = false;
	s->tag = 0;
	make_idle(h, s, now_ns);
	h->stats.nr_spans--;
	h->stats.nr_frees++;
	return 0;
}

/* Sets the length of a span in use; the entries of [from, to) are to be set anew. */
static void set_length(struct gh_mheap *h, struct gh_mspan *s, u64 npages, u64 from, u64 to)
{
	if (s->large)
		gh_busy_remove(&h->busy, s);
	s->npages = npages;
	if (s->large)
		gh_busy_insert(&h->busy, s);
	gh_spans_fill(&h->spans, s, from, to);
}

static int shrink(struct gh_mheap *h, struct gh_mspan *s, u64 npages, u64 now_ns)
{
	struct place p = { .start = s->start, .npages = npages };
	u64 end = s->start + npages;
	struct gh_mspan *t;

	if (!prepared(h, &p))
		return -EAGAIN;
	gh_spans_cut(&h->spans, end);
	t = gh_mspan_new(h, end, s->npages - npages);
	set_length(h, s, npages, end - 1, end);
	make_idle(h, t, now_ns);
	return 0;
}

/*
 * Whether [end of s, p's end) is free, or would be if the used part grew to p->grow_to;
 * and how much of it has no pages.
 */
static int find_extension(struct gh_mheap *h, const struct gh_mspan *s, struct place *p,
			  u64 *fresh)
{
	u64 end = p->start + p->npages;
	u64 page = gh_mspan_end(s);
	unsigned int i;

	*fresh = 0;
	for (i = 0; i < GH_RESIZE_RUNS && page < end && page < used_end(h); i++) {
		s = gh_spans_get(&h->spans, page);
		if (s->state != GH_SPAN_FREE)
			return -ENOMEM;
		page = gh_mspan_end(s);
		if (s->released)
			*fresh += min(page, end) - s->start;
	}
	if (page >= end)
		return 0;
	if (page < used_end(h) || !growth(h, end - page))
		return -ENOMEM;
	*fresh += end - page;
	p->grow_to = page + growth(h, end - page);
	return 0;
}

/* Adds up to @npages of the free run that follows @s to it.  True if they may hold old data. */
static bool take_next(struct gh_mheap *h, struct gh_mspan *s, u64 npages)
{
	struct gh_mspan *next = gh_spans_get(&h->spans, gh_mspan_end(s));
	bool needzero = next->needzero;

	gh_free_isolate(h, next, next->start, min(npages, next->npages));
	account_use(h, next);
	if (next->released)
		touch(h, next, h->clock_ns);
	else
		gh_idle_remove(h, next);
	s->npages += next->npages;
	gh_mspan_release(h, next);
	return needzero;
}

static int extend(struct gh_mheap *h, struct gh_mspan *s, u64 npages, u64 now_ns,
		  struct gh_run *added)
{
	struct place p = { .start = s->start, .npages = npages };
	u64 old_end = gh_mspan_end(s);
	u64 old_npages = s->npages;
	u64 fresh;
	int err;

	if (npages > h->arena_pages)
		return -ENOMEM;
	err = find_extension(h, s, &p, &fresh);
	if (err)
		return err;
	if (!may_hold(h, npages - s->npages, fresh))
		return -EDQUOT;
	if (!prepared(h, &p))
		return -EAGAIN;
	if (p.grow_to)
		grow(h, p.grow_to, now_ns);
	while (s->npages < npages)
		added->needzero |= take_next(h, s, npages - s->npages);
	added->npages = npages - old_npages;
	s->needzero |= added->needzero;
	s->npages = old_npages;
	set_length(h, s, npages, old_end, old_end + added->npages);
	return 0;
}

int gh_mheap_resize_locked(struct gh_mheap *h, u64 addr, u64 npages, u64 now_ns,
			   struct gh_run *old, struct gh_run *added)
{
	struct gh_mspan *s;

	lockdep_assert_held(&h->lock);
	s = span_of(h, addr);
	if (!s || !npages)
		return -EINVAL;
	*old = run_of(s);
	*added = (struct gh_run) { .addr = gh_mspan_end(s) << GH_PAGE_SHIFT };
	if (npages < s->npages)
		return shrink(h, s, npages, now_ns);
	if (npages > s->npages)
		return extend(h, s, npages, now_ns, added);
	return 0;
}

int gh_mheap_lookup_locked(struct gh_mheap *h, u64 addr, struct gh_run *run)
{
	struct gh_mspan *s;

	lockdep_assert_held(&h->lock);
	s = span_at(h, addr);
	if (!s)
		return -EINVAL;
	*run = run_of(s);
	return 0;
}

static struct gh_span_view view_of(const struct gh_mspan *s)
{
	return (struct gh_span_view) {
		.addr = s->start << GH_PAGE_SHIFT,
		.npages = s->npages,
		.state = s->state,
		.tag = s->tag,
		.released = s->released,
		.unusedsince_ns = s->unusedsince_ns,
	};
}

int gh_mheap_walk_locked(struct gh_mheap *h, u64 *cursor, unsigned int max,
			 int (*fn)(const struct gh_span_view *v, void *arg), void *arg)
{
	u64 page = *cursor >> GH_PAGE_SHIFT;

	lockdep_assert_held(&h->lock);
	if (page < arena_page(h))
		page = arena_page(h);
	while (page < used_end(h)) {
		const struct gh_mspan *s = gh_spans_find(&h->spans, page);
		struct gh_span_view v;

		*cursor = page << GH_PAGE_SHIFT;
		if (!s || !max--)
			return 1;
		v = view_of(s);
		if (fn(&v, arg))
			return 1;
		page = gh_mspan_end(s);
	}
	return 0;
}
