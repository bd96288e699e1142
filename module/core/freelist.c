// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Where free runs are kept and found.
 *
 * There are two kinds of free runs: resident ones, which may have pages, and
 * released ones, which have none and read as zeros.  They never merge with each
 * other, so that it is known of every run what it costs and whether it must be
 * cleared.  Each kind has its own set: lists of runs of equal length for each length
 * below 1 MiB, with a bitmap of those not empty, and a treap for longer runs.
 *
 * The rule of allocation, within one kind: best fit, that is, the shortest run
 * that is long enough.  Among runs of equal length the one freed last if they
 * are on a list, the one at the lowest address if they are in the treap.  Where
 * an alignment is asked for, the candidates are tried in that order, but at most
 * GH_ALIGN_TRIES of them; then a run is looked for that is so long that it
 * cannot but hold an aligned one.  So an unlucky heap costs a little address
 * space, never time.
 */
#include <gh_port.h>
#include "mheap.h"

#define GH_ALIGN_TRIES	64

void gh_list_insert_after(struct gh_span_list *list, struct gh_mspan *s,
			  struct gh_mspan *at)
{
	if (WARN_ON_ONCE(s->list))
		return;
	s->list = list;
	s->prev = at;
	s->next = at ? at->next : list->first;
	if (s->prev)
		s->prev->next = s;
	else
		list->first = s;
	if (s->next)
		s->next->prev = s;
	else
		list->last = s;
}

void gh_list_insert(struct gh_span_list *list, struct gh_mspan *s)
{
	gh_list_insert_after(list, s, NULL);
}

void gh_list_insert_back(struct gh_span_list *list, struct gh_mspan *s)
{
	gh_list_insert_after(list, s, list->last);
}

void gh_list_remove(struct gh_span_list *list, struct gh_mspan *s)
{
	if (WARN_ON_ONCE(s->list != list))
		return;
	if (s->prev)
		s->prev->next = s->next;
	else
		list->first = s->next;
	if (s->next)
		s->next->prev = s->prev;
	else
		list->last = s->prev;
	s->next = NULL;
	s->prev = NULL;
	s->list = NULL;
}

void gh_freeset_init(struct gh_freeset *set)
{
	memset(set, 0, sizeof(*set));
	gh_treap_init(&set->freelarge);
}

void gh_freeset_insert(struct gh_freeset *set, struct gh_mspan *s)
{
	if (s->npages >= GH_MAX_LIST) {
		gh_treap_insert(&set->freelarge, s);
		return;
	}
	gh_list_insert(&set->free[s->npages], s);
	__set_bit(s->npages, set->nonempty);
}

void gh_freeset_remove(struct gh_freeset *set, struct gh_mspan *s)
{
	if (s->npages >= GH_MAX_LIST) {
		gh_treap_remove(&set->freelarge, s);
		return;
	}
	gh_list_remove(&set->free[s->npages], s);
	if (!set->free[s->npages].first)
		__clear_bit(s->npages, set->nonempty);
}

static struct gh_mspan *first_fit(const struct gh_freeset *set, u64 npages)
{
	if (npages < GH_MAX_LIST) {
		unsigned long i = find_next_bit(set->nonempty, GH_MAX_LIST, npages);

		if (i < GH_MAX_LIST)
			return set->free[i].first;
	}
	return gh_treap_find(&set->freelarge, npages);
}

static struct gh_mspan *next_fit(const struct gh_freeset *set, const struct gh_mspan *s)
{
	if (s->npages >= GH_MAX_LIST)
		return gh_treap_next(s);
	return s->next ? s->next : first_fit(set, s->npages + 1);
}

static bool fits(const struct gh_mspan *s, u64 npages, u64 align_pages)
{
	return ALIGN(s->start, align_pages) + npages <= gh_mspan_end(s);
}

struct gh_mspan *gh_freeset_find(const struct gh_freeset *set, u64 npages, u64 align_pages)
{
	struct gh_mspan *s = first_fit(set, npages);
	unsigned int tries;

	for (tries = 0; s && tries < GH_ALIGN_TRIES; tries++) {
		if (fits(s, npages, align_pages))
			return s;
		s = next_fit(set, s);
	}
	return s ? first_fit(set, npages + align_pages - 1) : NULL;
}

static struct gh_span_list *busy_list(struct gh_busy *b, u64 npages)
{
	return npages < GH_MAX_LIST ? &b->busy[npages] : &b->busylarge;
}

void gh_busy_insert(struct gh_busy *b, struct gh_mspan *s)
{
	gh_list_insert_back(busy_list(b, s->npages), s);
}

void gh_busy_remove(struct gh_busy *b, struct gh_mspan *s)
{
	gh_list_remove(busy_list(b, s->npages), s);
}

static void absorb(struct gh_mheap *h, struct gh_mspan *s, struct gh_mspan *nb)
{
	if (nb->state != GH_SPAN_FREE || nb->released != s->released)
		return;
	gh_freeset_remove(&h->free[nb->released], nb);
	if (!nb->released)
		gh_idle_absorb(h, s, nb);
	s->unusedsince_ns = max(s->unusedsince_ns, nb->unusedsince_ns);
	s->start = min(s->start, nb->start);
	s->npages += nb->npages;
	gh_mspan_release(h, nb);
}

void gh_free_add(struct gh_mheap *h, struct gh_mspan *s)
{
	u64 arena = h->arena_start >> GH_PAGE_SHIFT;
	u64 start = s->start, end = gh_mspan_end(s);

	s->state = GH_SPAN_FREE;
	if (!s->released)
		gh_idle_count(h, s->npages);
	if (s->start > arena)
		absorb(h, s, gh_spans_get(&h->spans, s->start - 1));
	if (gh_mspan_end(s) < arena + h->used_pages)
		absorb(h, s, gh_spans_get(&h->spans, gh_mspan_end(s)));
	/* The leaves where it met its neighbours. */
	gh_spans_own(&h->spans, s, start);
	gh_spans_own(&h->spans, s, end - 1);
	gh_spans_set_ends(&h->spans, s);
	if (!s->released)
		gh_idle_resized(h, s);
	gh_freeset_insert(&h->free[s->released], s);
}

void gh_free_grow(struct gh_mheap *h, u64 end, u64 since_ns)
{
	u64 start = (h->arena_start >> GH_PAGE_SHIFT) + h->used_pages;
	u64 npages = end - start;
	struct gh_mspan *s = gh_mspan_new(h, start, npages);

	s->released = true;
	s->unusedsince_ns = since_ns;
	h->used_pages += npages;
	h->stats.idle_pages += npages;
	h->stats.released_pages += npages;
	/* The start is no end yet if this is the first growth. */
	gh_spans_cut(&h->spans, start);
	gh_spans_cut(&h->spans, end);
	gh_free_add(h, s);
}

/* Makes [start, start + npages) of the run @s, which is being taken apart, a free run. */
static void split_off(struct gh_mheap *h, struct gh_mspan *s, u64 start, u64 npages)
{
	struct gh_mspan *t;

	if (!npages)
		return;
	t = gh_mspan_new(h, start, npages);
	t->state = GH_SPAN_FREE;
	t->released = s->released;
	t->needzero = s->needzero;
	t->unusedsince_ns = s->unusedsince_ns;
	gh_spans_set_ends(&h->spans, t);
	if (!t->released)
		gh_idle_add_beside(h, t, s);
	gh_freeset_insert(&h->free[t->released], t);
}

void gh_free_isolate(struct gh_mheap *h, struct gh_mspan *s, u64 start, u64 npages)
{
	u64 end = start + npages;

	gh_freeset_remove(&h->free[s->released], s);
	gh_spans_cut(&h->spans, start);
	gh_spans_cut(&h->spans, end);
	split_off(h, s, s->start, start - s->start);
	split_off(h, s, end, gh_mspan_end(s) - end);
	s->start = start;
	s->npages = npages;
	if (!s->released) {
		gh_idle_resized(h, s);
		gh_idle_count(h, -npages);
	}
}
