/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The oracle of oracle_test.c: what the page heap should do, by brute force, on
 * an array of runs in address order.  Each o_ function carries out one call, and
 * returns what the call should return.  Nothing here is shared with the core but
 * the names of states and the number of candidates that an aligned request tries.
 */
#ifndef ORACLE_H
#define ORACLE_H

#include "testlib.h"

#define MAX_RUNS	4096
#define MAX_PAGES	16384

struct orun {
	u64 start, npages;
	u64 since;
	u64 seq;		/* when it was put into the free structures */
	u8 state, tag;
	bool large, needzero, released;
};

static struct {
	struct gh_mheap heap;
	struct orun run[MAX_RUNS];
	unsigned int nr;
	u64 first, npages, used;	/* arena: first page, length, used part */
	u64 seq, clock;
	u64 allocs, frees, grows;
	bool dirty[MAX_PAGES];
	struct gh_idle_run taken[4];
	unsigned int nr_taken;
} o;

static u64 oend(const struct orun *r)
{
	return r->start + r->npages;
}

static u64 used_to(void)
{
	return o.first + o.used;
}

static struct orun *insert_at(unsigned int i, struct orun r)
{
	if (o.nr == MAX_RUNS)
		abort();
	memmove(&o.run[i + 1], &o.run[i], (o.nr - i) * sizeof(r));
	o.nr++;
	o.run[i] = r;
	return &o.run[i];
}

static void delete_at(unsigned int i)
{
	o.nr--;
	memmove(&o.run[i], &o.run[i + 1], (o.nr - i) * sizeof(o.run[0]));
}

/* The run that holds the page, or NULL. */
static struct orun *at(u64 page)
{
	unsigned int i;

	for (i = 0; i < o.nr; i++)
		if (o.run[i].start <= page && page < oend(&o.run[i]))
			return &o.run[i];
	return NULL;
}

static bool is_free(const struct orun *r, bool released)
{
	return r->state == GH_SPAN_FREE && r->released == released;
}

/* Makes run i - 1 and run i one, if both are free and of one kind. */
static void o_join(unsigned int i)
{
	struct orun *a, *b;

	if (!i || i >= o.nr)
		return;
	a = &o.run[i - 1];
	b = &o.run[i];
	if (!is_free(a, b->released) || !is_free(b, a->released))
		return;
	a->npages += b->npages;
	a->since = max(a->since, b->since);
	a->needzero |= b->needzero;
	delete_at(i);
}

static void o_put_free(u64 page)
{
	struct orun *r = at(page);
	unsigned int i = r - o.run;

	r->state = GH_SPAN_FREE;
	o_join(i + 1);
	o_join(i);
	at(page)->seq = ++o.seq;
}

/* Makes [start, start + npages) a run of its own, out of a free run.  It is not put in. */
static struct orun *o_cut(u64 start, u64 npages)
{
	struct orun *r = at(start);
	unsigned int i = r - o.run;
	struct orun part = *r;

	if (r->start < start) {
		part.npages = start - r->start;
		part.seq = ++o.seq;
		insert_at(i++, part);
	}
	part = o.run[i];
	if (oend(&part) > start + npages) {
		struct orun tail = part;

		tail.npages = oend(&part) - start - npages;
		tail.start = start + npages;
		tail.seq = ++o.seq;
		insert_at(i + 1, tail);
	}
	o.run[i].start = start;
	o.run[i].npages = npages;
	return &o.run[i];
}

/* How far to grow if the arena's used part must reach @end; 0 if it cannot. */
static u64 o_growth(u64 end)
{
	u64 left = o.npages - o.used;
	u64 need = end - used_to();
	u64 ask = (need + 7) / 8 * 8;

	if (need > left)
		return 0;
	if (ask < 128 && left >= 128)
		ask = 128;
	return ask > left ? left : ask;
}

static void o_grow(u64 end, u64 now)
{
	struct orun r = {
		.start = used_to(), .npages = o_growth(end), .since = max(o.clock, now),
		.released = true, .state = GH_SPAN_FREE,
	};

	o.clock = r.since;
	o.used += r.npages;
	o.grows++;
	insert_at(o.nr, r);
	o_put_free(r.start);
}

static u64 align_up(u64 page, u64 align)
{
	return (page + align - 1) / align * align;
}

static bool o_fits(const struct orun *r, u64 npages, u64 align)
{
	return align_up(r->start, align) + npages <= oend(r);
}

/* Best fit; then freed last, if short, else lowest. */
static bool better(const struct orun *a, const struct orun *b)
{
	if (a->npages != b->npages)
		return a->npages < b->npages;
	return a->npages < 128 ? a->seq > b->seq : a->start < b->start;
}

static int compare_runs(const void *a, const void *b)
{
	const struct orun *x = *(struct orun *const *)a, *y = *(struct orun *const *)b;

	return better(x, y) ? -1 : 1;
}

static struct orun *o_find(bool released, u64 npages, u64 align)
{
	static struct orun *cand[MAX_RUNS];
	unsigned int i, nr = 0;

	for (i = 0; i < o.nr; i++)
		if (is_free(&o.run[i], released) && o.run[i].npages >= npages)
			cand[nr++] = &o.run[i];
	qsort(cand, nr, sizeof(cand[0]), compare_runs);
	for (i = 0; i < nr; i++)
		if (i < GH_ALIGN_TRIES ? o_fits(cand[i], npages, align) :
					 cand[i]->npages >= npages + align - 1)
			return cand[i];
	return NULL;
}

/* The start of what growth would extend. */
static u64 o_grow_base(void)
{
	struct orun *last = o.nr ? &o.run[o.nr - 1] : NULL;

	return last && is_free(last, true) ? last->start : used_to();
}

static struct orun *o_use(u64 start, u64 npages, bool large, u8 tag)
{
	struct orun *r = o_cut(start, npages);

	r->state = GH_SPAN_INUSE;
	r->released = false;
	r->since = 0;
	r->large = large;
	r->tag = tag;
	o.allocs++;
	return r;
}

static long o_alloc(u64 npages, u64 align, bool large, u8 tag, u64 now)
{
	struct orun *r = o_find(false, npages, align);
	u64 start;

	if (!r)
		r = o_find(true, npages, align);
	if (r) {
		start = align_up(r->start, align);
	} else {
		start = align_up(o_grow_base(), align);
		if (start + npages > used_to()) {
			if (!o_growth(start + npages))
				return -ENOMEM;
			o_grow(start + npages, now);
		}
	}
	o_use(start, npages, large, tag);
	return start;
}

static int o_carve(u64 start, u64 npages, bool large, u8 tag, u64 now)
{
	struct orun *r;

	if (!npages || start < o.first || start >= o.first + o.npages ||
	    npages > o.first + o.npages - start)
		return -EINVAL;
	if (start + npages > used_to()) {
		if (start < o_grow_base())
			return -ENOMEM;
		o_grow(start + npages, now);
	}
	r = at(start);
	if (r->state != GH_SPAN_FREE || start + npages > oend(r))
		return -ENOMEM;
	o_use(start, npages, large, tag);
	return 0;
}

static void o_idle(struct orun *r, u64 now)
{
	o.clock = max(o.clock, now);
	r->since = o.clock;
	r->needzero = true;
	r->large = false;
	r->tag = 0;
	memset(&o.dirty[r->start - o.first], true, r->npages);
	o_put_free(r->start);
}

static void o_shrink(struct orun *r, u64 npages, u64 now)
{
	struct orun tail = *r;

	tail.start += npages;
	tail.npages -= npages;
	r->npages = npages;
	o_idle(insert_at(r - o.run + 1, tail), now);
}

static int o_extend(u64 start, u64 npages, u64 now, bool *needzero)
{
	unsigned int i = at(start) - o.run, k;
	u64 reach = oend(&o.run[i]);
	u64 end = start + npages;

	for (k = i + 1; k < o.nr && k <= i + 2 && reach < end; k++) {
		if (o.run[k].state != GH_SPAN_FREE)
			return -ENOMEM;
		reach = oend(&o.run[k]);
	}
	if (reach < end) {
		if (reach != used_to() || npages > o.npages || !o_growth(end))
			return -ENOMEM;
		o_grow(end, now);
	}
	while (oend(&o.run[i]) < end) {
		struct orun *r = &o.run[i + 1];

		r = o_cut(r->start, min(r->npages, end - r->start));
		*needzero |= r->needzero;
		o.run[i].needzero |= r->needzero;
		o.run[i].npages += r->npages;
		delete_at(i + 1);
	}
	return 0;
}

#endif
