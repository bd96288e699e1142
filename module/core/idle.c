// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Idle runs that have pages, in the order in which the scavenger takes them.
 *
 * All of them are on one list by age, the oldest first.  A run becomes idle now,
 * so appending is sorting; a part split off goes beside the rest; and a run that
 * is being released stays where it is, so that it finds its place again if it
 * could not be.  Those that hold a whole aligned 2 MiB block are also on the
 * list of huge ones, in the same order.  These are taken first: a huge page is
 * released in one step and gives the most memory for the least work.
 *
 * From a huge one the first aligned block is taken, so that the released blocks
 * of a long run merge one after the other: a run of any length costs three
 * records while it is being released, and each step costs O(log n).
 *
 * Taking a part needs spare records, and cannot fetch any, because the shrinker
 * runs when there is no memory.  The calls that allocate therefore leave enough
 * for two splits of every huge run (gh_records_floor()).  Splitting at the ends
 * of 2 MiB blocks needs no tables, since leaves of the table have the same
 * bounds, and a neighbour that is taken along is cut at one.
 */
#include <gh_port.h>
#include "mheap.h"

_Static_assert(GH_LEAF_PAGES == GH_HUGE_PAGES, "blocks must begin where leaves do");

static bool is_huge(const struct gh_mspan *s)
{
	return ALIGN(s->start, GH_HUGE_PAGES) + GH_HUGE_PAGES <= gh_mspan_end(s);
}

static void insert_after(struct gh_idle *idle, struct gh_mspan *s, struct gh_mspan *at)
{
	s->older = at;
	s->younger = at ? at->younger : idle->oldest;
	if (s->older)
		s->older->younger = s;
	else
		idle->oldest = s;
	if (s->younger)
		s->younger->older = s;
	else
		idle->youngest = s;
}

static void unlink_age(struct gh_idle *idle, struct gh_mspan *s)
{
	if (s->older)
		s->older->younger = s->younger;
	else
		idle->oldest = s->younger;
	if (s->younger)
		s->younger->older = s->older;
	else
		idle->youngest = s->older;
	s->older = NULL;
	s->younger = NULL;
}

static void huge_insert(struct gh_idle *idle, struct gh_mspan *s, struct gh_mspan *at)
{
	gh_list_insert_after(&idle->huge, s, at);
	WRITE_ONCE(idle->nr_huge, idle->nr_huge + 1);
}

static void huge_remove(struct gh_idle *idle, struct gh_mspan *s)
{
	if (s->list != &idle->huge)
		return;
	gh_list_remove(&idle->huge, s);
	WRITE_ONCE(idle->nr_huge, idle->nr_huge - 1);
}

void gh_idle_add(struct gh_mheap *h, struct gh_mspan *s)
{
	insert_after(&h->idle, s, h->idle.youngest);
}

void gh_idle_add_beside(struct gh_mheap *h, struct gh_mspan *t, struct gh_mspan *s)
{
	insert_after(&h->idle, t, s);
	if (is_huge(t))
		huge_insert(&h->idle, t, s);
}

void gh_idle_remove(struct gh_mheap *h, struct gh_mspan *s)
{
	unlink_age(&h->idle, s);
	huge_remove(&h->idle, s);
}

void gh_idle_absorb(struct gh_mheap *h, struct gh_mspan *s, struct gh_mspan *nb)
{
	if (nb->unusedsince_ns > s->unusedsince_ns) {
		gh_idle_remove(h, s);
		insert_after(&h->idle, s, nb);
	}
	gh_idle_remove(h, nb);
}

/*
 * A run becomes huge by merging, and then it is as young as its youngest part;
 * so its place is at or near the end.
 */
void gh_idle_resized(struct gh_mheap *h, struct gh_mspan *s)
{
	struct gh_idle *idle = &h->idle;
	struct gh_mspan *at = idle->huge.last;

	if (!is_huge(s)) {
		huge_remove(idle, s);
		return;
	}
	if (s->list)
		return;
	while (at && at->unusedsince_ns > s->unusedsince_ns)
		at = at->prev;
	huge_insert(idle, s, at);
}

void gh_idle_count(struct gh_mheap *h, u64 npages)
{
	WRITE_ONCE(h->idle.resident_pages, h->idle.resident_pages + npages);
}

u64 gh_idle_resident_pages(const struct gh_mheap *h)
{
	return READ_ONCE(h->idle.resident_pages);
}

bool gh_idle_any(const struct gh_mheap *h)
{
	return gh_idle_resident_pages(h) ||
	       READ_ONCE(h->idle.nr_looked) != READ_ONCE(h->idle.nr_touched);
}

bool gh_idle_any_whole(const struct gh_mheap *h)
{
	return READ_ONCE(h->idle.nr_huge);
}

static struct gh_touched *touched_at(struct gh_idle *idle, u64 nr)
{
	return &idle->touched[nr % GH_TOUCHED_MAX];
}

void gh_idle_touch(struct gh_mheap *h, u64 page, u64 now_ns)
{
	struct gh_idle *idle = &h->idle;
	u64 end = ALIGN(page, GH_HUGE_PAGES);
	struct gh_touched *last = touched_at(idle, idle->nr_touched - 1);

	if (end == page)
		return;
	if (idle->nr_looked == idle->nr_touched || last->end != end) {
		last = touched_at(idle, idle->nr_touched);
		WRITE_ONCE(idle->nr_touched, idle->nr_touched + 1);
		if (idle->nr_touched - idle->nr_looked > GH_TOUCHED_MAX)
			WRITE_ONCE(idle->nr_looked, idle->nr_looked + 1);
	}
	last->page = max(end - GH_HUGE_PAGES, h->arena_start >> GH_PAGE_SHIFT);
	last->end = end;
	last->since_ns = now_ns;
}

static bool old_enough(u64 since_ns, const struct gh_idle_req *req)
{
	if (!req->min_age_ns)
		return true;
	return req->now_ns > since_ns && req->now_ns - since_ns > req->min_age_ns;
}

/* The oldest huge run, if old enough.  Steps only over those being released at this moment. */
static struct gh_mspan *oldest_huge(const struct gh_idle *idle, const struct gh_idle_req *req)
{
	struct gh_mspan *s = idle->huge.first;

	while (s && s->state != GH_SPAN_FREE)
		s = s->next;
	return s && old_enough(s->unusedsince_ns, req) ? s : NULL;
}

static struct gh_mspan *oldest(const struct gh_idle *idle, const struct gh_idle_req *req)
{
	struct gh_mspan *s = idle->oldest;

	while (s && s->state != GH_SPAN_FREE)
		s = s->younger;
	return s && old_enough(s->unusedsince_ns, req) ? s : NULL;
}

static bool can_split(const struct gh_mheap *h, const struct gh_mspan *s, u64 start, u64 end)
{
	unsigned int records = (start > s->start) + (end < gh_mspan_end(s));
	unsigned int tables = gh_spans_missing(&h->spans, start) +
			      gh_spans_missing(&h->spans, end);

	return records <= h->records.nr_spare && tables <= h->spans.nr_spare;
}

/* Adds the released run that ends or begins at @s, as far as @lo or @hi, to @s. */
static void take_along(struct gh_mheap *h, struct gh_mspan *s, struct gh_mspan *nb,
		       u64 lo, u64 hi)
{
	u64 start = max(lo, nb->start);
	u64 end = min(hi, gh_mspan_end(nb));

	if (start >= end || !can_split(h, nb, start, end))
		return;
	gh_free_isolate(h, nb, start, end - start);
	h->stats.released_pages -= nb->npages;
	s->start = min(s->start, nb->start);
	s->npages += nb->npages;
	gh_mspan_release(h, nb);
}

static bool is_released(const struct gh_mspan *s)
{
	return s->state == GH_SPAN_FREE && s->released;
}

/*
 * Makes unused arena up to @end, the end of a 2 MiB block that is used in part, a
 * released run, if there is a record for it.  Needs no table: the last run ends there too.
 */
static void use_block(struct gh_mheap *h, u64 end)
{
	u64 first = h->arena_start >> GH_PAGE_SHIFT;

	end = min(end, first + h->arena_pages);
	if (end > first + h->used_pages && h->records.nr_spare)
		gh_free_grow(h, end, 0);
}

/*
 * A released run may have pages after all, and so may unused arena: a touch of what
 * was beside it may have brought in a huge page.  So what is released of a 2 MiB block
 * takes along its neighbours there.  Where there is nothing it costs next to nothing,
 * and a huge page goes as a whole, instead of being split.
 */
static void take_neighbours(struct gh_mheap *h, struct gh_mspan *s)
{
	u64 lo = ALIGN_DOWN(s->start, GH_HUGE_PAGES);
	u64 hi = ALIGN(gh_mspan_end(s), GH_HUGE_PAGES);
	u64 first = h->arena_start >> GH_PAGE_SHIFT;
	struct gh_mspan *nb;

	if (lo < s->start && s->start > first) {
		nb = gh_spans_get(&h->spans, s->start - 1);
		if (is_released(nb))
			take_along(h, s, nb, lo, s->start);
	}
	use_block(h, hi);
	if (gh_mspan_end(s) < min(hi, first + h->used_pages)) {
		nb = gh_spans_get(&h->spans, gh_mspan_end(s));
		if (is_released(nb))
			take_along(h, s, nb, gh_mspan_end(s), hi);
	}
	gh_idle_resized(h, s);
}

/* Makes [start, end) of the free run @s one that is being released. */
static void take_part(struct gh_mheap *h, struct gh_mspan *s, u64 start, u64 end)
{
	gh_free_isolate(h, s, start, end - start);
	s->state = GH_SPAN_SCAVENGING;
}

/* An idle run, or part of it, with its neighbours; NULL: there is none that qualifies. */
static struct gh_mspan *take_idle(struct gh_mheap *h, const struct gh_idle_req *req,
				  u64 *idle_pages)
{
	u64 start, end;
	struct gh_mspan *s;

	s = oldest_huge(&h->idle, req);
	if (s) {
		start = ALIGN(s->start, GH_HUGE_PAGES);
	} else {
		s = req->whole_only ? NULL : oldest(&h->idle, req);
		if (!s)
			return NULL;
		start = s->start;
	}
	end = min(start + min(req->max_pages, (u64)GH_HUGE_PAGES), gh_mspan_end(s));
	if (!can_split(h, s, start, end)) {
		start = s->start;
		end = gh_mspan_end(s);
	}
	take_part(h, s, start, end);
	*idle_pages = s->npages;
	take_neighbours(h, s);
	return s;
}

/* The part of the released run @s from @start to @end; as if it had been idle for longest. */
static void take_released(struct gh_mheap *h, struct gh_mspan *s, u64 start, u64 end)
{
	const struct gh_mspan *first = h->idle.oldest;

	take_part(h, s, start, end);
	h->stats.released_pages -= s->npages;
	s->released = false;
	s->needzero = true;
	if (first)
		s->unusedsince_ns = min(s->unusedsince_ns, first->unusedsince_ns);
	insert_after(&h->idle, s, NULL);
	gh_idle_resized(h, s);
}

/*
 * The next released run in a block that was touched; NULL: there is none that qualifies.  An
 * idle run need not be found: it takes the rest of the block along when it is released.
 */
static struct gh_mspan *take_touched(struct gh_mheap *h, const struct gh_idle_req *req)
{
	u64 first = h->arena_start >> GH_PAGE_SHIFT;
	struct gh_idle *idle = &h->idle;

	while (idle->nr_looked != idle->nr_touched) {
		struct gh_touched *t = touched_at(idle, idle->nr_looked);
		u64 end;

		if (!old_enough(t->since_ns, req))
			return NULL;
		use_block(h, t->end);
		end = min(t->end, first + h->used_pages);
		while (t->page < end) {
			struct gh_mspan *s = gh_spans_find_released(&h->spans, t->page);
			u64 start = t->page;

			t->page = s ? min(gh_mspan_end(s), end) : end;
			if (s && is_released(s) && can_split(h, s, start, t->page)) {
				take_released(h, s, start, t->page);
				return s;
			}
		}
		WRITE_ONCE(idle->nr_looked, idle->nr_looked + 1);
	}
	return NULL;
}

int gh_idle_take_locked(struct gh_mheap *h, const struct gh_idle_req *req,
			struct gh_idle_run *run)
{
	struct gh_mspan *s;

	lockdep_assert_held(&h->lock);
	if (!req->max_pages)
		return -ENOENT;
	run->idle_pages = 0;
	s = take_idle(h, req, &run->idle_pages);
	if (!s && !req->whole_only)
		s = take_touched(h, req);
	if (!s)
		return -ENOENT;
	gh_spans_set_ends(&h->spans, s);
	run->addr = s->start << GH_PAGE_SHIFT;
	run->npages = s->npages;
	run->span = s;
	h->idle.along_pages += run->npages - run->idle_pages;
	return 0;
}

void gh_idle_put_locked(struct gh_mheap *h, const struct gh_idle_run *run, bool released)
{
	struct gh_mspan *s = run->span;
	u64 from = s->start, to = gh_mspan_end(s);

	lockdep_assert_held(&h->lock);
	if (WARN_ON_ONCE(s->state != GH_SPAN_SCAVENGING))
		return;
	h->idle.along_pages -= run->npages - run->idle_pages;
	if (released) {
		gh_idle_remove(h, s);
		s->released = true;
		s->needzero = false;
		h->stats.released_pages += s->npages;
	}
	gh_free_add(h, s);
	/* What was there until now, perhaps many spans, must not be in the way of finding it. */
	gh_spans_fill(&h->spans, s, from, to);
}
