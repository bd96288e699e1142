/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * One step against the oracle: a call of the page heap, chosen and furnished by
 * t_below(), whose result the oracle predicts; and the comparison of the whole
 * map with the oracle's afterwards.
 */
#ifndef ORACLE_STEPS_H
#define ORACLE_STEPS_H

#include "oracle.h"

/* Comparison of the whole map */

struct cursor {
	unsigned int i;
	int bad;
};

static int same_run(const struct gh_span_view *v, void *arg)
{
	struct cursor *c = arg;
	const struct orun *r = &o.run[c->i];

	c->bad = c->i >= o.nr || v->addr != r->start << GH_PAGE_SHIFT ||
		 v->npages != r->npages || v->state != r->state || v->tag != r->tag ||
		 v->released != r->released || v->unusedsince_ns != r->since;
	c->i++;
	return c->bad;
}

static u64 o_pages(u8 state, int released)
{
	u64 sum = 0;
	unsigned int i;

	for (i = 0; i < o.nr; i++)
		if (o.run[i].state == state && (released < 0 || o.run[i].released == released))
			sum += o.run[i].npages;
	return sum;
}

static int same_stats(const struct gh_mheap_stats *st)
{
	T_EQ(o.heap.used_pages, o.used);
	T_EQ(st->inuse_pages, o_pages(GH_SPAN_INUSE, -1));
	T_EQ(st->released_pages, o_pages(GH_SPAN_FREE, true));
	T_EQ(st->idle_pages, o_pages(GH_SPAN_FREE, -1) + o_pages(GH_SPAN_SCAVENGING, -1));
	T_EQ(gh_idle_resident_pages(&o.heap), o_pages(GH_SPAN_FREE, false));
	T_EQ(st->nr_allocs, o.allocs);
	T_EQ(st->nr_frees, o.frees);
	T_EQ(st->nr_grows, o.grows);
	return 0;
}

static int same_map(void)
{
	struct cursor c = {};
	u64 cursor = 0;

	mutex_lock(&o.heap.lock);
	T_EQ(gh_mheap_check_locked(&o.heap), 0);
	T_EQ(gh_mheap_walk_locked(&o.heap, &cursor, MAX_RUNS, same_run, &c), 0);
	mutex_unlock(&o.heap.lock);
	T_EQ(c.bad, 0);
	T_EQ(c.i, o.nr);
	return same_stats(&o.heap.stats);
}

/* Steps */

static struct orun *random_run(void)
{
	return o.nr ? &o.run[t_below(o.nr)] : NULL;
}

static struct orun *random_inuse(void)
{
	unsigned int i;

	for (i = 0; i < 64 && o.nr; i++) {
		struct orun *r = random_run();

		if (r->state == GH_SPAN_INUSE)
			return r;
	}
	return NULL;
}

static u64 random_length(void)
{
	switch (t_below(8)) {
	case 0: return 1 + t_below(o.npages / 4);
	case 1: return 100 + t_below(300);
	case 2: return 1 + t_below(127);
	default: return 1 + t_below(16);
	}
}

static bool any_dirty(u64 start, u64 npages)
{
	while (npages--)
		if (o.dirty[start - o.first + npages])
			return true;
	return false;
}

static int check_zero(u64 start, u64 npages, bool needzero)
{
	T(needzero || !any_dirty(start, npages));
	return 0;
}

static int step_alloc(u64 now)
{
	u64 npages = random_length();
	u64 align = t_below(3) ? 1 : 1ULL << t_below(11);
	unsigned int flags = t_below(3) ? 0 : GH_ALLOC_LARGE;
	u8 tag = t_below(256);
	struct gh_run run;
	long want;
	int err;

	want = o_alloc(npages, align, flags & GH_ALLOC_LARGE, tag, now);
	T_RETRY(&o.heap, err, gh_mheap_alloc_locked(&o.heap, npages, align, flags, tag,
						    now, &run));
	if (want < 0) {
		T_EQ(err, want);
		return 0;
	}
	T_EQ(err, 0);
	T_EQ(run.addr >> GH_PAGE_SHIFT, want);
	T_EQ(run.npages, npages);
	T_EQ(run.needzero, at(want)->needzero);
	return check_zero(want, npages, run.needzero);
}

static int step_free(u64 now)
{
	struct orun *r = random_inuse();
	u64 start, npages;

	if (!r)
		return 0;
	start = r->start;
	npages = r->npages;
	o_idle(r, now);
	o.frees++;
	T_EQ(t_free(&o.heap, start, t_below(2) ? npages : 0, now), 0);
	return 0;
}

/* An address that is no span's, a length that is not the span's. */
static int step_bad_free(u64 now)
{
	u64 page = o.first - 2 + t_below(o.npages + 4);
	struct orun *r = at(page);
	u64 npages = 0;
	int err;

	if (r && r->state == GH_SPAN_INUSE && r->start == page)
		npages = r->npages + 1 + t_below(3);
	T_EQ(t_free(&o.heap, page, npages, now), -EINVAL);
	if (!r)
		return 0;
	mutex_lock(&o.heap.lock);
	err = gh_mheap_free_locked(&o.heap, (r->start << GH_PAGE_SHIFT) + 1 + t_below(8191),
				   0, now);
	mutex_unlock(&o.heap.lock);
	T_EQ(err, -EINVAL);
	return 0;
}

static int step_resize(u64 now)
{
	struct orun *r = random_inuse();
	struct gh_run old, added;
	bool needzero = false;
	u64 start, npages, before;
	int want = 0, err;

	if (!r)
		return 0;
	start = r->start;
	before = r->npages;
	npages = t_below(2) ? 1 + t_below(before) : before + t_below(200);
	if (npages < before)
		o_shrink(r, npages, now);
	else if (npages > before)
		want = o_extend(start, npages, now, &needzero);
	T_RETRY(&o.heap, err, gh_mheap_resize_locked(&o.heap, start << GH_PAGE_SHIFT,
						     npages, now, &old, &added));
	T_EQ(err, want);
	if (err)
		return 0;
	T_EQ(old.addr, start << GH_PAGE_SHIFT);
	T_EQ(old.npages, before);
	T_EQ(added.addr, (start + before) << GH_PAGE_SHIFT);
	T_EQ(added.npages, npages > before ? npages - before : 0);
	T_EQ(added.needzero, needzero);
	return check_zero(start + before, added.npages, needzero);
}

static int step_carve(u64 now)
{
	u64 start = o.first - 2 + t_below(o.npages + 4);
	u64 npages = t_below(4) ? t_below(40) : t_below(o.npages / 8);
	u8 tag = t_below(256);
	int want, err;

	/* Do not let one carve use up the arena. */
	if (start > used_to() + 600)
		start = used_to() + t_below(600);
	want = o_carve(start, npages, false, tag, now);
	T_RETRY(&o.heap, err, gh_mheap_carve_locked(&o.heap, start << GH_PAGE_SHIFT,
						    npages, 0, tag, now));
	T_EQ(err, want);
	return 0;
}

static int step_lookup(void)
{
	u64 addr = ((o.first - 1) << GH_PAGE_SHIFT) + t_below((o.npages + 2) << GH_PAGE_SHIFT);
	struct orun *r = at(addr >> GH_PAGE_SHIFT);
	struct gh_run run;
	int err;

	mutex_lock(&o.heap.lock);
	err = gh_mheap_lookup_locked(&o.heap, addr, &run);
	mutex_unlock(&o.heap.lock);
	if (!r || r->state != GH_SPAN_INUSE) {
		T_EQ(err, -EINVAL);
		return 0;
	}
	T_EQ(err, 0);
	T_EQ(run.addr, r->start << GH_PAGE_SHIFT);
	T_EQ(run.npages, r->npages);
	T_EQ(run.needzero, r->needzero);
	return 0;
}

static bool o_huge(const struct orun *r)
{
	return o_fits(r, 256, 256);
}

static bool o_old(const struct orun *r, const struct gh_idle_req *req)
{
	return !req->min_age_ns || (req->now_ns > r->since &&
				    req->now_ns - r->since > req->min_age_ns);
}

/* The least since of the runs that may be taken, huge or any. */
static const struct orun *o_oldest(const struct gh_idle_req *req, bool huge)
{
	const struct orun *best = NULL;
	unsigned int i;

	for (i = 0; i < o.nr; i++) {
		const struct orun *r = &o.run[i];

		if (!is_free(r, false) || !o_old(r, req) || (huge && !o_huge(r)))
			continue;
		if (!best || r->since < best->since)
			best = r;
	}
	return best;
}

/* The first page of it that was not released before. */
static u64 o_taken_from(const struct gh_idle_run *run)
{
	const struct orun *r = at(run->addr >> GH_PAGE_SHIFT);

	return is_free(r, true) ? oend(r) : run->addr >> GH_PAGE_SHIFT;
}

static int check_taken(u64 start, const struct gh_idle_run *run,
		       const struct gh_idle_req *req, const struct orun *oldest, bool huge)
{
	const struct orun *r = at(start);
	u64 most = min(req->max_pages, (u64)256);

	T(is_free(r, false) && r->since == oldest->since && o_huge(r) == huge);
	T_EQ(start, huge ? align_up(r->start, 256) : r->start);
	T_EQ(run->idle_pages, huge ? most : min(most, r->npages));
	return 0;
}

/* Unused arena up to the end of a block that is used in part becomes a released run. */
static void o_use_block(u64 end)
{
	struct orun r = { .start = used_to(), .released = true, .state = GH_SPAN_FREE };

	end = min(end, o.first + o.npages);
	if (end <= r.start)
		return;
	r.npages = end - r.start;
	o.used += r.npages;
	insert_at(o.nr, r);
	o_put_free(r.start);
}

/* Released memory in one 2 MiB block; which one is for idle_test.c to say. */
static int check_touched(const struct gh_idle_run *run)
{
	u64 start = run->addr >> GH_PAGE_SHIFT, since = ~0ULL;
	struct orun *r;
	unsigned int i;

	o_use_block(align_up(start + run->npages, 256));
	r = at(start);
	T_EQ(run->idle_pages, 0);
	T(is_free(r, true) && start + run->npages <= oend(r));
	T_EQ(start / 256, (start + run->npages - 1) / 256);
	for (i = 0; i < o.nr; i++)
		if (o.run[i].state != GH_SPAN_INUSE && !o.run[i].released)
			since = min(since, o.run[i].since);
	r = o_cut(start, run->npages);
	r->state = GH_SPAN_SCAVENGING;
	r->released = false;
	r->needzero = true;
	r->since = min(r->since, since);
	o.taken[o.nr_taken++] = *run;
	return 0;
}

/* What is released, or was never used, beside run i, in its own 2 MiB blocks, goes with it. */
static void o_take_along(unsigned int i)
{
	u64 lo = o.run[i].start / 256 * 256, hi = align_up(oend(&o.run[i]), 256), from, to;

	if (i && lo < o.run[i].start && is_free(&o.run[i - 1], true)) {
		from = max(lo, o.run[i - 1].start);
		i = o_cut(from, o.run[i].start - from) - o.run;
		o.run[i + 1].start = from;
		o.run[i + 1].npages += o.run[i].npages;
		delete_at(i);
	}
	o_use_block(hi);
	if (i + 1 < o.nr && oend(&o.run[i]) < hi && is_free(&o.run[i + 1], true)) {
		to = min(hi, oend(&o.run[i + 1]));
		o_cut(o.run[i + 1].start, to - o.run[i + 1].start);
		o.run[i].npages += o.run[i + 1].npages;
		delete_at(i + 1);
	}
}

/* Parts of one age have no order among them, so the core chooses and the oracle judges. */
static int step_take(u64 now)
{
	struct gh_idle_req req = {
		.now_ns = now, .min_age_ns = t_below(3) ? 0 : t_below(2000),
		.max_pages = t_below(4) ? 256 + t_below(300) : t_below(200),
	};
	const struct orun *oldest = o_oldest(&req, true);
	bool huge = oldest;
	struct gh_idle_run run;
	struct orun *r;
	u64 start;
	int err;

	if (o.nr_taken == ARRAY_SIZE(o.taken))
		return 0;
	if (!oldest)
		oldest = o_oldest(&req, false);
	T_EQ(gh_mheap_refill(&o.heap), 0);
	mutex_lock(&o.heap.lock);
	err = gh_idle_take_locked(&o.heap, &req, &run);
	mutex_unlock(&o.heap.lock);
	if (err && (!oldest || !req.max_pages)) {
		T_EQ(err, -ENOENT);
		return 0;
	}
	T_EQ(err, 0);
	if (!oldest)
		return check_touched(&run);
	start = o_taken_from(&run);
	if (check_taken(start, &run, &req, oldest, huge))
		return 1;
	r = o_cut(start, run.idle_pages);
	r->state = GH_SPAN_SCAVENGING;
	o_take_along(r - o.run);
	r = at(start);
	T_EQ(run.addr, r->start << GH_PAGE_SHIFT);
	T_EQ(run.npages, r->npages);
	o.taken[o.nr_taken++] = run;
	return 0;
}

static int step_put(void)
{
	bool released = t_below(4);
	struct gh_idle_run run;
	struct orun *r;
	u64 i;

	if (!o.nr_taken)
		return 0;
	i = t_below(o.nr_taken);
	run = o.taken[i];
	o.taken[i] = o.taken[--o.nr_taken];
	r = at(run.addr >> GH_PAGE_SHIFT);
	if (released) {
		r->released = true;
		r->needzero = false;
		memset(&o.dirty[r->start - o.first], false, r->npages);
	}
	o_put_free(r->start);
	mutex_lock(&o.heap.lock);
	gh_idle_put_locked(&o.heap, &run, released);
	mutex_unlock(&o.heap.lock);
	return 0;
}

static int step(unsigned int bias)
{
	/* Time stands still now and then, and goes back a little. */
	u64 now = o.clock + t_below(20) - (o.clock ? min(t_below(8), o.clock) : 0);
	u64 what = t_below(100);

	if (what < 25 + bias)
		return step_alloc(now);
	if (what < 60)
		return step_free(now);
	if (what < 63)
		return step_bad_free(now);
	if (what < 75)
		return step_resize(now);
	if (what < 78)
		return step_carve(now);
	if (what < 82)
		return step_lookup();
	if (what < 92)
		return step_take(now);
	return step_put();
}

/* An empty heap, and the oracle's. */
static void begin(u64 first, u64 npages)
{
	memset(&o, 0, sizeof(o));
	o.first = first;
	o.npages = npages;
	t_heap_init(&o.heap, first, npages);
}

static int end(void)
{
	gh_mheap_destroy(&o.heap);
	T_EQ(t_meta_bytes, 0);
	return 0;
}

#endif
