// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The rules of the page heap, one by one, with the numbers written out.
 */
#include "testlib.h"

#define BASE	(0xc000000000ULL >> GH_PAGE_SHIFT)
#define GIB	(1ULL << (30 - GH_PAGE_SHIFT))

static struct gh_mheap h;

/* Ends a case: the invariants hold, and nothing leaks. */
static int finish(void)
{
	T_EQ(t_check(&h), 0);
	gh_mheap_destroy(&h);
	T_EQ(t_meta_bytes, 0);
	return 0;
}

static const struct gh_mspan *span(u64 page)
{
	return gh_spans_find(&h.spans, BASE + page);
}

static int resize(u64 page, u64 npages, u64 now, struct gh_run *old, struct gh_run *added)
{
	int err;

	T_RETRY(&h, err, gh_mheap_resize_locked(&h, (BASE + page) << GH_PAGE_SHIFT, npages,
						now, old, added));
	return err;
}

static int carve(u64 page, u64 npages)
{
	int err;

	T_RETRY(&h, err, gh_mheap_carve_locked(&h, (BASE + page) << GH_PAGE_SHIFT, npages,
					       0, 7, 1));
	return err;
}

/* Releases all that is idle. */
static void release_all(void)
{
	const struct gh_idle_req req = { .max_pages = GH_HUGE_PAGES };
	struct gh_idle_run run;

	mutex_lock(&h.lock);
	while (!gh_idle_take_locked(&h, &req, &run))
		gh_idle_put_locked(&h, &run, true);
	mutex_unlock(&h.lock);
}

static int constants(void)
{
	T_EQ(GH_PAGE_SIZE, 8192);
	T_EQ(GH_MAX_LIST, (1 << 20) / 8192);
	T_EQ(GH_GROW_MIN_PAGES * GH_PAGE_SIZE, 1 << 20);
	T_EQ(GH_GROW_STEP_PAGES * GH_PAGE_SIZE, 64 << 10);
	T_EQ(GH_HUGE_PAGES * GH_PAGE_SIZE, 2 << 20);
	return 0;
}

static int lists(void)
{
	struct gh_span_list list = {}, other = {};
	struct gh_mspan s[3] = {};

	gh_list_insert(&list, &s[1]);
	gh_list_insert(&list, &s[0]);
	gh_list_insert_back(&list, &s[2]);
	T(list.first == &s[0] && s[0].next == &s[1] && s[1].next == &s[2] && !s[2].next);
	T(list.last == &s[2] && s[2].prev == &s[1] && s[1].prev == &s[0] && !s[0].prev);
	gh_list_remove(&list, &s[1]);
	T(s[0].next == &s[2] && s[2].prev == &s[0] && !s[1].list && !s[1].next && !s[1].prev);
	gh_list_insert_after(&list, &s[1], &s[2]);
	T(list.last == &s[1] && s[1].prev == &s[2]);
	gh_list_remove(&list, &s[0]);
	gh_list_remove(&list, &s[1]);
	gh_list_remove(&list, &s[2]);
	T(!list.first && !list.last && !other.first);
	return 0;
}

static int refuses(void)
{
	struct gh_run run;
	int err;

	t_heap_init(&h, BASE, GIB);
	T_RETRY(&h, err, gh_mheap_alloc_locked(&h, 0, 1, 0, 0, 0, &run));
	T_EQ(err, -EINVAL);
	T_RETRY(&h, err, gh_mheap_alloc_locked(&h, 1, 0, 0, 0, 0, &run));
	T_EQ(err, -EINVAL);
	T_RETRY(&h, err, gh_mheap_alloc_locked(&h, 1, 3, 0, 0, 0, &run));
	T_EQ(err, -EINVAL);
	T_EQ(t_alloc(&h, ~0ULL, 1, 0), -ENOMEM);
	T_EQ(t_alloc(&h, ~0ULL, 1ULL << 63, 0), -ENOMEM);
	T_EQ(t_alloc(&h, 1, 1ULL << 63, 0), -ENOMEM);
	T_EQ(t_alloc(&h, 1ULL << 51, 1, 0), -ENOMEM);
	T_EQ(t_free(&h, BASE, 0, 0), -EINVAL);
	T_EQ(t_free(&h, 0, 0, 0), -EINVAL);
	T_EQ(t_free(&h, ~0ULL, 0, 0), -EINVAL);
	T_EQ(h.used_pages, 0);
	return finish();
}

/* Before an arena is bound there is no memory. */
static int unbound(void)
{
	gh_mheap_init(&h);
	T_EQ(t_alloc(&h, 1, 1, 0), -ENOMEM);
	T_EQ(t_free(&h, 0, 0, 0), -EINVAL);
	return finish();
}

static int grows(void)
{
	t_heap_init(&h, BASE, GIB);
	T_EQ(t_alloc(&h, 1, 1, 5), BASE);
	T_EQ(h.used_pages, 128);
	T_EQ(span(1)->unusedsince_ns, 5);
	T_EQ(h.stats.released_pages, 127);
	T_EQ(t_alloc(&h, 127, 1, 5), BASE + 1);
	T_EQ(h.used_pages, 128);
	T_EQ(t_alloc(&h, 129, 1, 5), BASE + 128);
	T_EQ(h.used_pages, 128 + 136);
	/* The 7 pages left over count: only what is missing is added. */
	T_EQ(t_alloc(&h, 207, 1, 5), BASE + 257);
	T_EQ(h.used_pages, 128 + 136 + 200);
	T_EQ(h.stats.nr_grows, 3);
	return finish();
}

static int grows_to_the_end(void)
{
	t_heap_init(&h, BASE, 128 + 100);
	T_EQ(t_alloc(&h, 128, 1, 0), BASE);
	/* 1 MiB is not left: 64 KiB steps. */
	T_EQ(t_alloc(&h, 9, 1, 0), BASE + 128);
	T_EQ(h.used_pages, 128 + 16);
	T_EQ(t_alloc(&h, 92, 1, 0), -ENOMEM);
	/* The last step is not whole: what there is. */
	T_EQ(t_alloc(&h, 91, 1, 0), BASE + 137);
	T_EQ(h.used_pages, 228);
	T_EQ(t_alloc(&h, 1, 1, 0), -ENOMEM);
	T_EQ(h.stats.nr_spans, 3);
	return finish();
}

static int half_a_tebibyte(void)
{
	t_heap_init(&h, BASE, 512 * GIB);
	T_EQ(t_alloc(&h, 1, 1, 0), BASE);
	T_EQ(t_alloc(&h, 512 * GIB, 1, 0), -ENOMEM);
	T_EQ(h.used_pages, 128);
	T_EQ(t_check(&h), 0);
	/* A span of 100 GiB is possible, and does not cost a table entry per page. */
	T_EQ(t_alloc(&h, 100 * GIB, 1, 0), BASE + 1);
	T(h.stats.meta_bytes < 2 << 20);
	T(gh_spans_get(&h.spans, BASE + 1) == gh_spans_get(&h.spans, BASE + 100 * GIB));
	T_EQ(t_free(&h, BASE + 1, 100 * GIB, 0), 0);
	/* It has pages, what follows has none: they are one run only when it was released. */
	T_EQ(t_alloc(&h, 512 * GIB - 1, 1, 0), -ENOMEM);
	release_all();
	T_EQ(t_alloc(&h, 512 * GIB - 1, 1, 0), BASE + 1);
	T_EQ(t_alloc(&h, 1, 1, 0), -ENOMEM);
	gh_mheap_destroy(&h);
	T_EQ(t_meta_bytes, 0);
	return 0;
}

/* Three spans side by side, freed in each order, become one run. */
static int coalesces(void)
{
	static const u8 order[6][3] = {
		{ 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 },
	};
	unsigned int i, k;

	t_heap_init(&h, BASE, GIB);
	for (i = 0; i < 6; i++) {
		T_EQ(t_alloc(&h, 10, 1, 100), BASE);
		T_EQ(t_alloc(&h, 20, 1, 100), BASE + 10);
		T_EQ(t_alloc(&h, 30, 1, 100), BASE + 30);
		for (k = 0; k < 3; k++) {
			static const u64 at[] = { 0, 10, 30 };

			T_EQ(t_free(&h, BASE + at[order[i][k]], 0, 200 + k), 0);
			T_EQ(t_check(&h), 0);
		}
		T_EQ(span(0)->npages, 60);
		/* The age of the one freed last. */
		T_EQ(span(0)->unusedsince_ns, 202);
		T(span(0)->needzero && !span(0)->released);
		/* The released rest of the arena did not merge. */
		T_EQ(span(60)->start, BASE + 60);
		release_all();
		T_EQ(span(0)->npages, 256);
	}
	return finish();
}

static int splits_keep_age(void)
{
	t_heap_init(&h, BASE, GIB);
	T_EQ(t_alloc(&h, 100, 1, 10), BASE);
	T_EQ(t_alloc(&h, 1, 1, 10), BASE + 100);
	T_EQ(t_free(&h, BASE, 0, 50), 0);
	T_EQ(t_alloc(&h, 40, 16, 90), BASE);
	T_EQ(span(40)->npages, 60);
	T_EQ(span(40)->unusedsince_ns, 50);
	T_EQ(span(40)->needzero, true);
	/* A head and a tail. */
	T_EQ(t_alloc(&h, 16, 32, 90), BASE + 64);
	T_EQ(span(40)->unusedsince_ns, 50);
	T_EQ(span(80)->unusedsince_ns, 50);
	T_EQ(span(80)->npages, 20);
	return finish();
}

static int exact_then_larger(void)
{
	long a[6];
	unsigned int i;
	static const u64 len[6] = { 5, 7, 7, 130, 150, 130 };

	t_heap_init(&h, BASE, GIB);
	for (i = 0; i < 6; i++) {
		a[i] = t_alloc(&h, len[i], 1, 0);
		T(t_alloc(&h, 1, 1, 0) > 0);
	}
	for (i = 0; i < 6; i++)
		T_EQ(t_free(&h, a[i], len[i], 1), 0);
	T_EQ(t_alloc(&h, 6, 1, 2), a[2]);	/* 7, the one freed last */
	T_EQ(t_alloc(&h, 7, 1, 2), a[1]);
	T_EQ(t_alloc(&h, 4, 1, 2), a[0]);
	T_EQ(t_alloc(&h, 130, 1, 2), a[3]);	/* 130, the lower one */
	T_EQ(t_alloc(&h, 128, 1, 2), a[5]);
	T_EQ(t_alloc(&h, 100, 1, 2), a[4]);
	return finish();
}

static int resident_before_released(void)
{
	long a, b;

	t_heap_init(&h, BASE, GIB);
	a = t_alloc(&h, 10, 1, 0);
	T(t_alloc(&h, 1, 1, 0) > 0);
	b = t_alloc(&h, 300, 1, 0);
	T(t_alloc(&h, 1, 1, 0) > 0);
	T_EQ(t_free(&h, a, 10, 1), 0);
	release_all();
	T_EQ(t_free(&h, b, 300, 2), 0);
	/* The released run would fit exactly. */
	T_EQ(t_alloc(&h, 10, 1, 3), b);
	T_EQ(span(b - BASE)->needzero, true);
	T_EQ(t_alloc(&h, 290, 1, 3), b + 10);
	T_EQ(t_alloc(&h, 10, 1, 3), a);
	T_EQ(span(a - BASE)->needzero, false);
	return finish();
}

static int busy_lists(void)
{
	const struct gh_mspan *s;
	struct gh_run run;
	u64 addr[3];
	unsigned int i;
	int err;

	t_heap_init(&h, BASE, GIB);
	for (i = 0; i < 3; i++) {
		T_RETRY(&h, err, gh_mheap_alloc_locked(&h, i ? 5 : 127, 1, GH_ALLOC_LARGE,
						       9, 0, &run));
		T_EQ(err, 0);
		addr[i] = run.addr;
	}
	s = h.busy.busy[5].first;
	T(s->start == addr[1] >> GH_PAGE_SHIFT && s->next->start == addr[2] >> GH_PAGE_SHIFT);
	T(h.busy.busy[127].first && !h.busy.busylarge.first);
	T_EQ(resize(0, 126, 1, &run, &run), 0);
	T(!h.busy.busy[127].first && h.busy.busy[126].first);
	T_RETRY(&h, err, gh_mheap_alloc_locked(&h, 128, 1, GH_ALLOC_LARGE, 9, 0, &run));
	T(h.busy.busylarge.first && h.busy.busylarge.first->tag == 9);
	T_EQ(t_free(&h, run.addr >> GH_PAGE_SHIFT, 0, 1), 0);
	T(!h.busy.busylarge.first);
	T_EQ(t_free(&h, addr[1] >> GH_PAGE_SHIFT, 0, 1), 0);
	T(s->next == NULL || h.busy.busy[5].first == h.busy.busy[5].last);
	return finish();
}

static int aligned(void)
{
	u64 align;
	long page;

	t_heap_init(&h, BASE + 3, 64 * GIB);
	T_EQ(t_alloc(&h, 1, 1, 0), BASE + 3);
	for (align = 1; align <= 32 * GIB; align *= 2) {
		page = t_alloc(&h, 3, align, 0);
		T(page > 0 && IS_ALIGNED((u64)page, align));
		T_EQ(t_check(&h), 0);
	}
	return finish();
}

/* More unaligned runs than are tried do not make an aligned request fail or grow. */
static int aligned_among_many(void)
{
	long first, last = 0;
	u64 used;
	unsigned int i;

	t_heap_init(&h, BASE, GIB);
	first = t_alloc(&h, 1, 1, 0);
	T_EQ(first, BASE);
	for (i = 0; i < 4 * GH_ALIGN_TRIES; i++) {
		/* Holes of 8 pages that begin one page after a multiple of 16. */
		T_EQ(t_alloc(&h, 8, 1, 0), BASE + 16 * i + 1);
		T_EQ(t_alloc(&h, 8, 1, 0), BASE + 16 * i + 9);
	}
	for (i = 0; i < 4 * GH_ALIGN_TRIES; i++)
		T_EQ(t_free(&h, BASE + 16 * i + 1, 8, 1), 0);
	last = t_alloc(&h, 40, 1, 1);
	T(t_alloc(&h, 1, 1, 1) > 0);
	T_EQ(t_free(&h, last, 40, 1), 0);
	used = h.used_pages;
	T_EQ(t_alloc(&h, 8, 16, 2), ALIGN(last, 16));
	T_EQ(h.used_pages, used);
	return finish();
}

/* Nor does it grow if the run at the end would do, which is not long enough to be sure. */
static int aligned_at_the_end(void)
{
	unsigned int i;
	u64 used;

	t_heap_init(&h, BASE, 33 * 128);
	T_EQ(t_alloc(&h, 1, 1, 0), BASE);
	for (i = 0; i < 4 * GH_ALIGN_TRIES; i++) {
		T_EQ(t_alloc(&h, 8, 1, 0), BASE + 16 * i + 1);
		T_EQ(t_alloc(&h, 8, 1, 0), BASE + 16 * i + 9);
	}
	used = h.used_pages;
	T_EQ(used, 33 * 128);
	T_EQ(t_alloc(&h, used - 16 - 16 * i - 1, 1, 0), BASE + 16 * i + 1);
	for (i = 0; i < 4 * GH_ALIGN_TRIES; i++)
		T_EQ(t_free(&h, BASE + 16 * i + 1, 8, 1), 0);
	release_all();
	T_EQ(t_alloc(&h, 8, 16, 2), BASE + used - 16);
	T_EQ(h.used_pages, used);
	return finish();
}

static int shrinks(void)
{
	struct gh_run old, added;

	t_heap_init(&h, BASE, GIB);
	T_EQ(t_alloc(&h, 1000, 1, 0), BASE);
	T_EQ(resize(0, 0, 1, &old, &added), -EINVAL);
	T_EQ(resize(1, 1, 1, &old, &added), -EINVAL);
	T_EQ(resize(0, 1000, 1, &old, &added), 0);
	T_EQ(resize(0, 10, 7, &old, &added), 0);
	T_EQ(old.npages, 1000);
	T_EQ(added.npages, 0);
	T_EQ(span(10)->npages, 990);
	T_EQ(span(10)->unusedsince_ns, 7);
	T(span(10)->needzero);
	T_EQ(h.stats.inuse_pages, 10);
	T_EQ(h.stats.nr_frees, 0);
	/* The next tail joins it. */
	T_EQ(resize(0, 1, 9, &old, &added), 0);
	T_EQ(span(1)->npages, 999);
	T_EQ(span(1)->unusedsince_ns, 9);
	return finish();
}

static int extends(void)
{
	struct gh_run old, added;

	t_heap_init(&h, BASE, 1000);
	T_EQ(t_alloc(&h, 20, 1, 0), BASE);
	T_EQ(t_alloc(&h, 20, 1, 0), BASE + 20);
	T_EQ(resize(0, 21, 1, &old, &added), -ENOMEM);
	T_EQ(t_free(&h, BASE + 20, 20, 1), 0);
	T_EQ(resize(0, 30, 1, &old, &added), 0);	/* resident, in part */
	T(added.needzero && added.npages == 10);
	T_EQ(resize(0, 50, 1, &old, &added), 0);	/* resident, then released */
	T(added.needzero && added.npages == 20 && old.npages == 30);
	T_EQ(resize(0, 60, 1, &old, &added), 0);	/* released */
	T(!added.needzero && added.npages == 10);
	T_EQ(h.stats.nr_grows, 1);
	T_EQ(resize(0, 300, 1, &old, &added), 0);	/* released, then unused */
	T_EQ(h.stats.nr_grows, 2);
	T_EQ(h.used_pages, 304);
	T_EQ(resize(0, 1001, 1, &old, &added), -ENOMEM);
	T_EQ(resize(0, ~0ULL, 1, &old, &added), -ENOMEM);
	T_EQ(resize(0, 1000, 1, &old, &added), 0);	/* to the end of the arena */
	T_EQ(added.npages, 700);
	T_EQ(h.stats.idle_pages, 0);
	return finish();
}

static int carves(void)
{
	t_heap_init(&h, BASE, 4096);
	T_EQ(carve(1000, 10), 0);
	T_EQ(h.used_pages, 1016);
	T_EQ(span(1000)->tag, 7);
	/* The new table knows nothing of the rest of its leaf. */
	T(!gh_spans_get(&h.spans, BASE + 768));
	T_EQ(carve(1000, 1), -ENOMEM);
	T_EQ(carve(1005, 10), -ENOMEM);
	T_EQ(carve(995, 6), -ENOMEM);
	T_EQ(carve(500, 20), 0);
	T_EQ(carve(0, 500), 0);
	T_EQ(carve(2000, 2096), 0);
	T_EQ(h.used_pages, 4096);
	T_EQ(carve(4096, 1), -EINVAL);
	T_EQ(carve(4000, 97), -EINVAL);
	T_EQ(carve(0, ~0ULL), -EINVAL);
	T_EQ(carve(-1, 1), -EINVAL);
	T_EQ(carve(600, 0), -EINVAL);
	mutex_lock(&h.lock);
	T_EQ(gh_mheap_carve_locked(&h, (BASE << GH_PAGE_SHIFT) + 4096, 1, 0, 0, 0), -EINVAL);
	mutex_unlock(&h.lock);
	T_EQ(h.stats.nr_spans, 4);
	return finish();
}

static int seen_pages(const struct gh_span_view *v, void *arg)
{
	*(u64 *)arg += v->npages;
	return 0;
}

static int stop_at_tag(const struct gh_span_view *v, void *arg)
{
	*(u64 *)arg = v->addr;
	return v->tag == 7;
}

/* The cursor survives that the runs around it merge. */
static int walks(void)
{
	u64 cursor = 0, pages = 0;

	t_heap_init(&h, BASE, 4096);
	mutex_lock(&h.lock);
	T_EQ(gh_mheap_walk_locked(&h, &cursor, 10, seen_pages, &pages), 0);
	mutex_unlock(&h.lock);
	T_EQ(pages, 0);
	T_EQ(t_alloc(&h, 1000, 1, 0), BASE);
	T_EQ(t_alloc(&h, 1000, 1, 0), BASE + 1000);
	T_EQ(carve(2000, 5), 0);
	mutex_lock(&h.lock);
	T_EQ(gh_mheap_walk_locked(&h, &cursor, 1, seen_pages, &pages), 1);
	T_EQ(cursor, (BASE + 1000) << GH_PAGE_SHIFT);
	T_EQ(pages, 1000);
	mutex_unlock(&h.lock);
	T_EQ(t_free(&h, BASE + 1000, 0, 1), 0);
	T_EQ(t_free(&h, BASE, 0, 1), 0);
	pages = 0;
	mutex_lock(&h.lock);
	T_EQ(gh_mheap_walk_locked(&h, &cursor, 100, seen_pages, &pages), 0);
	T_EQ(pages, h.used_pages);
	cursor = 0;
	T_EQ(gh_mheap_walk_locked(&h, &cursor, 100, stop_at_tag, &pages), 1);
	T_EQ(cursor, (BASE + 2000) << GH_PAGE_SHIFT);
	T_EQ(pages, cursor);
	mutex_unlock(&h.lock);
	return finish();
}

/* A page inside a free run may lead to a record that was reused: it must not be believed. */
static int stale_entries(void)
{
	struct gh_run run;

	t_heap_init(&h, BASE, 4096);
	T_EQ(t_alloc(&h, 10, 1, 0), BASE);
	T_EQ(t_alloc(&h, 10, 1, 0), BASE + 10);
	T_EQ(t_free(&h, BASE + 10, 0, 1), 0);
	T_EQ(t_free(&h, BASE, 0, 1), 0);	/* its record is spare now */
	T_EQ(t_alloc(&h, 1, 1, 2), BASE);
	mutex_lock(&h.lock);
	T_EQ(gh_mheap_lookup_locked(&h, (BASE + 12) << GH_PAGE_SHIFT, &run), -EINVAL);
	mutex_unlock(&h.lock);
	T_EQ(t_free(&h, BASE + 10, 0, 2), -EINVAL);
	T_EQ(t_free(&h, BASE + 5, 0, 2), -EINVAL);
	T_EQ(span(12)->start, BASE + 1);
	return finish();
}

static int double_free(void)
{
	t_heap_init(&h, BASE, 4096);
	T_EQ(t_alloc(&h, 10, 1, 0), BASE);
	T_EQ(t_free(&h, BASE, 11, 0), -EINVAL);
	T_EQ(t_free(&h, BASE + 1, 0, 0), -EINVAL);
	T_EQ(t_free(&h, BASE, 10, 0), 0);
	T_EQ(t_free(&h, BASE, 10, 0), -EINVAL);
	T_EQ(t_free(&h, BASE, 0, 0), -EINVAL);
	T_EQ(h.stats.nr_frees, 1);
	return finish();
}

static int bounded_records(void)
{
	unsigned int i;
	long page = 0;

	t_heap_init(&h, BASE, GIB);
	h.max_records = 10 * GH_CHUNK_SPANS;
	for (i = 0; i < 1000 && page >= 0; i++)
		page = t_alloc(&h, 1, 1, 0);
	T_EQ(page, -ENOSPC);
	T(i > 300);
	T_EQ(h.stats.nr_records, h.max_records);
	T_EQ(t_check(&h), 0);
	/* Freeing needs none, and makes room. */
	T_EQ(t_free(&h, BASE, 1, 0), 0);
	T_EQ(t_free(&h, BASE + 1, 1, 0), 0);
	T_EQ(t_free(&h, BASE + 2, 1, 0), 0);
	T_EQ(t_alloc(&h, 1, 1, 0), BASE);
	return finish();
}

/* The reserve grows with the huge runs, but not for ever. */
static int bounded_reserve(void)
{
	gh_mheap_init(&h);
	T_EQ(gh_records_floor(&h), 27);
	h.idle.nr_huge = 10;
	T_EQ(gh_records_floor(&h), 47);
	h.idle.nr_huge = 1 << 20;
	T_EQ(gh_records_floor(&h), 3 + 1024);
	return 0;
}

static int records_are_reused(void)
{
	u64 records;
	unsigned int i;

	t_heap_init(&h, BASE, GIB);
	for (i = 0; i < 100; i++)
		T_EQ(t_alloc(&h, 1, 1, 0), BASE + i);
	records = h.stats.nr_records;
	for (i = 0; i < 100000; i++) {
		u64 page = BASE + t_below(100);

		T_EQ(t_free(&h, page, 1, i), 0);
		T_EQ(t_alloc(&h, 1, 1, i), page);
	}
	T_EQ(h.stats.nr_records, records);
	return finish();
}

/* How much was dropped. */
static unsigned int nr_dropped;

static void drop(void *p, size_t bytes)
{
	memset(p, 0, bytes);
	nr_dropped++;
}

static void drop_records(void)
{
	bool more;

	nr_dropped = 0;
	do {
		mutex_lock(&h.lock);
		more = gh_records_drop_locked(&h, drop);
		mutex_unlock(&h.lock);
	} while (more);
}

/* Pages of records that are all spare are dropped, once; the records can be used again. */
static int records_are_dropped(void)
{
	const unsigned int n = 20 * GH_CHUNK_SPANS;
	struct gh_run run;
	u64 records;
	unsigned int i;

	t_heap_init(&h, BASE, GIB);
	for (i = 0; i < n; i++)
		T_EQ(t_alloc(&h, 1, 1, 0), BASE + i);
	drop_records();
	T_EQ(nr_dropped, 0);
	for (i = 0; i < n; i++)
		if (i != n / 2)
			T_EQ(t_free(&h, BASE + i, 1, 1), 0);
	records = h.stats.nr_records;
	drop_records();
	T(nr_dropped >= 16 && nr_dropped < 20);
	T_EQ(h.stats.nr_records, records);
	T_EQ(t_check(&h), 0);
	drop_records();
	T_EQ(nr_dropped, 0);
	/* Entries of the table still name what was dropped. */
	mutex_lock(&h.lock);
	for (i = 0; i < n; i++)
		T_EQ(gh_mheap_lookup_locked(&h, (BASE + i) << GH_PAGE_SHIFT, &run),
		     i == n / 2 ? 0 : -EINVAL);
	mutex_unlock(&h.lock);
	for (i = 0; i < n - 1; i++)
		T(t_alloc(&h, 1, 1, 2) >= (long)BASE);
	T_EQ(h.stats.nr_records, records);
	return finish();
}

/* What would be held is bounded; a run that has pages is held already. */
static int bounded_held(void)
{
	struct gh_run old, added;

	t_heap_init(&h, BASE, GIB);
	T_EQ(h.max_held_pages, GH_NO_BOUND);
	h.max_held_pages = 300;
	T_EQ(t_alloc(&h, 100, 1, 0), BASE);
	T_EQ(t_alloc(&h, 100, 1, 0), BASE + 100);
	T_EQ(t_alloc(&h, 101, 1, 0), -EDQUOT);
	T_EQ(gh_mheap_held_pages(&h), 200);
	T_EQ(t_free(&h, BASE, 100, 1), 0);
	T_EQ(gh_mheap_held_pages(&h), 200);
	/* Does not fit into what is idle; and does. */
	T_EQ(t_alloc(&h, 101, 1, 2), -EDQUOT);
	T_EQ(t_alloc(&h, 60, 1, 2), BASE);
	T_EQ(gh_mheap_held_pages(&h), 200);
	/* 40 with pages are not what follows; 100 without are. */
	T_EQ(resize(100, 201, 3, &old, &added), -EDQUOT);
	T_EQ(old.npages, 100);
	T_EQ(resize(100, 200, 3, &old, &added), 0);
	T_EQ(gh_mheap_held_pages(&h), 300);
	T_EQ(resize(0, 100, 3, &old, &added), 0);
	T_EQ(gh_mheap_held_pages(&h), 300);
	/* With a bound that came later, also what is held already cannot be had. */
	T_EQ(resize(0, 60, 3, &old, &added), 0);
	h.max_held_pages = 270;
	T_EQ(t_alloc(&h, 11, 1, 4), -EDQUOT);
	T_EQ(resize(0, 71, 4, &old, &added), -EDQUOT);
	T_EQ(t_alloc(&h, 10, 1, 4), BASE + 60);
	return finish();
}

/* What is taken along while it is released does not count meanwhile. */
static int held_while_released(void)
{
	const struct gh_idle_req req = { .max_pages = GH_HUGE_PAGES };
	struct gh_idle_run run;

	t_heap_init(&h, BASE, GIB);
	T_EQ(t_alloc(&h, 10, 1, 0), BASE);
	T_EQ(t_free(&h, BASE, 10, 1), 0);
	mutex_lock(&h.lock);
	T_EQ(gh_idle_take_locked(&h, &req, &run), 0);
	T_EQ(run.npages, GH_HUGE_PAGES);
	T_EQ(run.idle_pages, 10);
	T_EQ(gh_mheap_held_pages(&h), 10);
	gh_idle_put_locked(&h, &run, true);
	T_EQ(gh_mheap_held_pages(&h), 0);
	mutex_unlock(&h.lock);
	return finish();
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		{ "constants", constants },
		{ "lists", lists },
		{ "alloc: what is refused", refuses },
		{ "alloc: no arena", unbound },
		{ "grow: 1 MiB at least, in 64 KiB steps, from the released end", grows },
		{ "grow: to the end of the arena", grows_to_the_end },
		{ "grow: 512 GiB, and a span of 100 GiB", half_a_tebibyte },
		{ "free: coalesces in every order", coalesces },
		{ "alloc: what is split off keeps its age", splits_keep_age },
		{ "alloc: best fit, last freed or lowest", exact_then_larger },
		{ "alloc: resident runs before released ones", resident_before_released },
		{ "busy lists", busy_lists },
		{ "alloc: aligned", aligned },
		{ "alloc: aligned among many unaligned", aligned_among_many },
		{ "alloc: aligned at the end", aligned_at_the_end },
		{ "resize: shrinks", shrinks },
		{ "resize: extends", extends },
		{ "carve", carves },
		{ "walk", walks },
		{ "lookup: stale entries", stale_entries },
		{ "free: twice, inside, wrong length", double_free },
		{ "held: bound", bounded_held },
		{ "held: while it is released", held_while_released },
		{ "records: bound", bounded_records },
		{ "records: bounded reserve", bounded_reserve },
		{ "records: reused", records_are_reused },
		{ "records: dropped", records_are_dropped },
	};

	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
