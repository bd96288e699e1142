// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The invariant walker: everything that must hold whenever the lock is free.
 *
 * It goes over the arena by address and sums up what it sees; then over every
 * structure that a run can be in, and compares.  A run is found to be in the
 * right place because each structure holds only runs that belong there, and as
 * many as the walk by address has counted.
 */
#include <gh_port.h>
#include "check.h"

struct seen {
	u64 inuse_pages, nr_inuse, nr_large;
	u64 resident_pages, nr_resident, nr_huge;	/* FREE or SCAVENGING */
	u64 released_pages;
	u64 scavenging_pages, nr_scavenging;
	u64 nr_free[2];
};

#define CHECK(cond) do {		\
	if (WARN_ON_ONCE(!(cond)))	\
		return -EUCLEAN;	\
} while (0)

static bool holds_huge(const struct gh_mspan *s)
{
	return ALIGN(s->start, GH_HUGE_PAGES) + GH_HUGE_PAGES <= gh_mspan_end(s);
}

static int check_inuse(struct gh_mheap *h, const struct gh_mspan *s, struct seen *seen)
{
	u64 page;

	for (page = s->start; page < gh_mspan_end(s); page++)
		CHECK(gh_spans_get(&h->spans, page) == s);
	CHECK(!s->released && !s->unusedsince_ns);
	CHECK(s->large == !!s->list);
	seen->inuse_pages += s->npages;
	seen->nr_inuse++;
	seen->nr_large += s->large;
	return 0;
}

static int check_idle(const struct gh_mspan *s, struct seen *seen)
{
	CHECK(!s->large && s->needzero == !s->released);
	if (s->state == GH_SPAN_FREE) {
		seen->nr_free[s->released]++;
	} else {
		CHECK(!s->released);
		seen->scavenging_pages += s->npages;
		seen->nr_scavenging++;
	}
	if (s->released) {
		seen->released_pages += s->npages;
		return 0;
	}
	seen->resident_pages += s->npages;
	seen->nr_resident++;
	seen->nr_huge += holds_huge(s);
	return 0;
}

/* @prev is the run before @s, or NULL. */
static int check_run(struct gh_mheap *h, const struct gh_mspan *prev,
		     const struct gh_mspan *s, struct seen *seen)
{
	CHECK(s->npages);
	CHECK(gh_spans_get(&h->spans, gh_mspan_end(s) - 1) == s);
	CHECK(gh_spans_are_owned(&h->spans, s));
	switch (s->state) {
	case GH_SPAN_INUSE:
		return check_inuse(h, s, seen);
	case GH_SPAN_FREE:
		CHECK(!prev || prev->state != GH_SPAN_FREE ||
		      prev->released != s->released);
		return check_idle(s, seen);
	case GH_SPAN_SCAVENGING:
		return check_idle(s, seen);
	default:
		CHECK(false);
	}
	return 0;
}

static int check_arena(struct gh_mheap *h, struct seen *seen)
{
	u64 page = h->arena_start >> GH_PAGE_SHIFT;
	u64 end = page + h->used_pages;
	const struct gh_mspan *prev = NULL;

	CHECK(h->used_pages <= h->arena_pages);
	while (page < end) {
		const struct gh_mspan *s = gh_spans_get(&h->spans, page);
		int err;

		CHECK(s && s->start == page && gh_mspan_end(s) <= end);
		err = check_run(h, prev, s, seen);
		if (err)
			return err;
		prev = s;
		page = gh_mspan_end(s);
	}
	return 0;
}

static int check_stats(const struct gh_mheap *h, const struct seen *seen)
{
	const struct gh_mheap_stats *st = &h->stats;
	u64 nr_runs = seen->nr_inuse + seen->nr_free[0] + seen->nr_free[1] +
		      seen->nr_scavenging;

	CHECK(st->inuse_pages == seen->inuse_pages);
	CHECK(st->idle_pages == seen->resident_pages + seen->released_pages);
	CHECK(st->released_pages == seen->released_pages);
	CHECK(st->inuse_pages + st->idle_pages == h->used_pages);
	CHECK(st->nr_spans == seen->nr_inuse);
	CHECK(st->nr_allocs - st->nr_frees == st->nr_spans);
	CHECK(st->nr_records == nr_runs + h->records.nr_spare);
	CHECK(!h->max_records || st->nr_records <= h->max_records);
	CHECK(h->idle.resident_pages == seen->resident_pages - seen->scavenging_pages);
	CHECK(h->idle.along_pages <= seen->scavenging_pages);
	return 0;
}

/* Counts the list into *nr; every member is in @state and knows its list. */
static int check_list(const struct gh_span_list *list, u8 state, u64 *nr)
{
	const struct gh_mspan *prev = NULL;
	const struct gh_mspan *s;

	for (s = list->first; s; s = s->next) {
		CHECK(s->list == list && s->prev == prev && s->state == state);
		prev = s;
		(*nr)++;
	}
	CHECK(list->last == prev);
	return 0;
}

static int check_treap_node(const struct gh_treap *t, const struct gh_mspan *s, bool released)
{
	CHECK(s->state == GH_SPAN_FREE && s->released == released);
	CHECK(s->npages >= GH_MAX_LIST);
	CHECK(s->parent ? s->parent->left == s || s->parent->right == s : t->root == s);
	CHECK(!s->parent || s->parent->priority <= s->priority);
	return 0;
}

static int check_treap(const struct gh_treap *t, bool released, u64 *nr)
{
	const struct gh_mspan *s = gh_treap_find(t, 0);
	const struct gh_mspan *prev = NULL;

	for (; s; s = gh_treap_next(s)) {
		int err = check_treap_node(t, s, released);

		if (err)
			return err;
		CHECK(!prev || prev->npages < s->npages ||
		      (prev->npages == s->npages && prev->start < s->start));
		prev = s;
		(*nr)++;
	}
	return 0;
}

static int check_free_list(const struct gh_freeset *set, unsigned int i, bool released, u64 *nr)
{
	const struct gh_mspan *s;

	CHECK(test_bit(i, set->nonempty) == !!set->free[i].first);
	for (s = set->free[i].first; s; s = s->next)
		CHECK(s->npages == i && s->released == released);
	return check_list(&set->free[i], GH_SPAN_FREE, nr);
}

static int check_freeset(const struct gh_freeset *set, bool released, u64 expected)
{
	u64 nr = 0;
	unsigned int i;
	int err;

	CHECK(!set->free[0].first);
	for (i = 0; i < GH_MAX_LIST; i++) {
		err = check_free_list(set, i, released, &nr);
		if (err)
			return err;
	}
	err = check_treap(&set->freelarge, released, &nr);
	if (err)
		return err;
	CHECK(nr == expected);
	return 0;
}

static int check_busy(const struct gh_busy *b, u64 expected)
{
	const struct gh_mspan *s;
	u64 nr = 0;
	unsigned int i;
	int err;

	for (i = 0; i < GH_MAX_LIST; i++) {
		for (s = b->busy[i].first; s; s = s->next)
			CHECK(s->npages == i && s->large);
		err = check_list(&b->busy[i], GH_SPAN_INUSE, &nr);
		if (err)
			return err;
	}
	for (s = b->busylarge.first; s; s = s->next)
		CHECK(s->npages >= GH_MAX_LIST && s->large);
	err = check_list(&b->busylarge, GH_SPAN_INUSE, &nr);
	if (err)
		return err;
	CHECK(nr == expected);
	return 0;
}

static int check_ages(const struct gh_idle *idle, const struct seen *seen)
{
	const struct gh_mspan *prev = NULL;
	const struct gh_mspan *s;
	u64 nr = 0;

	for (s = idle->oldest; s; s = s->younger) {
		CHECK(s->state == GH_SPAN_FREE || s->state == GH_SPAN_SCAVENGING);
		CHECK(!s->released && s->older == prev);
		CHECK(!prev || prev->unusedsince_ns <= s->unusedsince_ns);
		prev = s;
		nr++;
	}
	CHECK(idle->youngest == prev && nr == seen->nr_resident);
	return 0;
}

static int check_huge(const struct gh_idle *idle, const struct seen *seen)
{
	const struct gh_mspan *prev = NULL;
	const struct gh_mspan *s;
	u64 nr = 0;

	for (s = idle->huge.first; s; s = s->next) {
		CHECK(s->list == &idle->huge && s->prev == prev);
		CHECK(holds_huge(s) && !s->released);
		CHECK(!prev || prev->unusedsince_ns <= s->unusedsince_ns);
		prev = s;
		nr++;
	}
	CHECK(idle->huge.last == prev);
	CHECK(nr == seen->nr_huge && nr == idle->nr_huge);
	return 0;
}

static int check_records(const struct gh_records *r, u64 nr_records)
{
	const struct gh_mspan_chunk *chunk;
	u64 nr = 0, used = 0;
	int err = check_list(&r->spare, GH_SPAN_DEAD, &nr);

	if (err)
		return err;
	for (chunk = r->fresh; chunk; chunk = chunk->next_fresh)
		nr += GH_CHUNK_SPANS - chunk->nr_carved;
	for (chunk = r->chunks; chunk; chunk = chunk->next) {
		CHECK(chunk->nr_used <= chunk->nr_carved);
		used += chunk->nr_used;
	}
	CHECK(nr == r->nr_spare);
	CHECK(used + nr == nr_records);
	return 0;
}

int gh_mheap_check_locked(struct gh_mheap *h)
{
	struct seen seen = {};
	int err;

	lockdep_assert_held(&h->lock);
	err = check_arena(h, &seen);
	if (!err)
		err = check_stats(h, &seen);
	if (!err)
		err = check_freeset(&h->free[false], false, seen.nr_free[false]);
	if (!err)
		err = check_freeset(&h->free[true], true, seen.nr_free[true]);
	if (!err)
		err = check_busy(&h->busy, seen.nr_large);
	if (!err)
		err = check_ages(&h->idle, &seen);
	if (!err)
		err = check_huge(&h->idle, &seen);
	if (!err)
		err = check_records(&h->records, h->stats.nr_records);
	return err;
}
