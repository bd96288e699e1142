// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The page heap as it is in the kernel: the same calls as in selftests/core, on
 * kernel memory, mutexes and kthreads, where lockdep, KASAN and kmemleak watch.
 *
 * A KUnit suite, which becomes a part of the module when GOHEAP_KUNIT=1 is given
 * to make, and runs when it is loaded.  Heaps here manage addresses that nobody
 * ever touches.  After each case the invariant walker must be content, and after
 * all of them kmemleak.
 */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/random.h>

#include "module/core/check.h"
#include "module/core/mheap.h"

#define START	0xc000000000ULL
#define PAGES	(1ULL << 16)		/* 512 MiB */
#define THREADS	4
#define NO_AGE	0

/* ---- calls with their lock and refills ------------------------------------------ */

/* Whether a call that ended with *@err is to be made again. */
static bool refilled(struct gh_mheap *h, int *err)
{
	if (*err != -EAGAIN)
		return false;
	*err = gh_mheap_refill(h);
	return !*err;
}

static int alloc(struct gh_mheap *h, u64 npages, u64 align, u64 now, struct gh_run *run)
{
	int err;

	do {
		mutex_lock(&h->lock);
		err = gh_mheap_alloc_locked(h, npages, align, 0, 0, now, run);
		mutex_unlock(&h->lock);
	} while (refilled(h, &err));
	return err;
}

/* The run's address, or 0. */
static u64 alloc_at(struct gh_mheap *h, u64 npages, u64 now)
{
	struct gh_run run;

	return alloc(h, npages, 1, now, &run) ? 0 : run.addr;
}

static int release(struct gh_mheap *h, u64 addr, u64 npages, u64 now)
{
	int err;

	mutex_lock(&h->lock);
	err = gh_mheap_free_locked(h, addr, npages, now);
	mutex_unlock(&h->lock);
	return err;
}

static int resize(struct gh_mheap *h, u64 addr, u64 npages, struct gh_run *added)
{
	struct gh_run old;
	int err;

	do {
		mutex_lock(&h->lock);
		err = gh_mheap_resize_locked(h, addr, npages, 1, &old, added);
		mutex_unlock(&h->lock);
	} while (refilled(h, &err));
	return err;
}

static int take(struct gh_mheap *h, u64 now, u64 age, struct gh_idle_run *run)
{
	const struct gh_idle_req req = {
		.now_ns = now, .min_age_ns = age, .max_pages = GH_HUGE_PAGES,
	};
	int err;

	mutex_lock(&h->lock);
	err = gh_idle_take_locked(h, &req, run);
	mutex_unlock(&h->lock);
	return err;
}

static void put(struct gh_mheap *h, const struct gh_idle_run *run, bool released)
{
	mutex_lock(&h->lock);
	gh_idle_put_locked(h, run, released);
	mutex_unlock(&h->lock);
}

static int checked(struct gh_mheap *h)
{
	int err;

	mutex_lock(&h->lock);
	err = gh_mheap_check_locked(h);
	mutex_unlock(&h->lock);
	return err;
}

static int new_heap(struct kunit *test)
{
	struct gh_mheap *h = kvzalloc(sizeof(*h), GFP_KERNEL);

	if (!h)
		return -ENOMEM;
	gh_mheap_init(h);
	mutex_lock(&h->lock);
	gh_mheap_bind_locked(h, START, PAGES << GH_PAGE_SHIFT);
	mutex_unlock(&h->lock);
	test->priv = h;
	return 0;
}

static void end_heap(struct kunit *test)
{
	struct gh_mheap *h = test->priv;

	if (!h)
		return;
	KUNIT_EXPECT_EQ(test, 0, checked(h));
	gh_mheap_destroy(h);
	kvfree(h);
}

/* ---- allocation ------------------------------------------------------------------- */

static void the_whole_arena_and_not_a_page_more(struct kunit *test)
{
	struct gh_mheap *h = test->priv;
	u64 addr, next = START;

	while ((addr = alloc_at(h, 64, 1))) {
		KUNIT_ASSERT_EQ(test, next, addr);
		next += 64 * GH_PAGE_SIZE;
	}
	KUNIT_EXPECT_EQ(test, START + (PAGES << GH_PAGE_SHIFT), next);
	KUNIT_EXPECT_EQ(test, PAGES, h->stats.inuse_pages);
	KUNIT_EXPECT_EQ(test, (u64)0, h->stats.idle_pages);
	KUNIT_EXPECT_EQ(test, (u64)0, alloc_at(h, 1, 1));
}

static void alignments(struct kunit *test)
{
	struct gh_mheap *h = test->priv;
	struct gh_run run;
	u64 align;

	KUNIT_ASSERT_NE(test, (u64)0, alloc_at(h, 3, 1));
	for (align = 1; align <= 4096; align *= 2) {
		KUNIT_ASSERT_EQ(test, 0, alloc(h, 5, align, 1, &run));
		KUNIT_EXPECT_EQ(test, (u64)0, run.addr & ((align << GH_PAGE_SHIFT) - 1));
	}
	KUNIT_EXPECT_EQ(test, -EINVAL, alloc(h, 5, 3, 1, &run));
	KUNIT_EXPECT_EQ(test, -EINVAL, alloc(h, 0, 1, 1, &run));
}

/* Three neighbours, freed in each order, are one run afterwards. */
static void what_is_free_joins(struct kunit *test)
{
	static const u8 order[6][3] = {
		{ 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 },
	};
	struct gh_mheap *h = test->priv;
	u64 base, guard;
	int i, k;

	base = alloc_at(h, 24, 1);
	guard = alloc_at(h, 1, 1);
	KUNIT_ASSERT_EQ(test, base + 24 * GH_PAGE_SIZE, guard);
	KUNIT_ASSERT_EQ(test, 0, release(h, base, 24, 1));
	for (i = 0; i < 6; i++) {
		for (k = 0; k < 3; k++)
			KUNIT_ASSERT_EQ(test, base + k * 8 * GH_PAGE_SIZE, alloc_at(h, 8, 1));
		for (k = 0; k < 3; k++)
			KUNIT_ASSERT_EQ(test, 0, release(h, base + order[i][k] * 8 * GH_PAGE_SIZE,
							 8, 1));
		KUNIT_ASSERT_EQ(test, base, alloc_at(h, 24, 1));
		KUNIT_ASSERT_EQ(test, 0, release(h, base, 0, 1));
	}
}

static void the_shortest_run_that_is_long_enough(struct kunit *test)
{
	static const u16 len[] = { 200, 40, 130, 20, 300, 33 };
	struct gh_mheap *h = test->priv;
	u64 at[ARRAY_SIZE(len)];
	int i;

	for (i = 0; i < ARRAY_SIZE(len); i++) {
		at[i] = alloc_at(h, len[i], 1);
		KUNIT_ASSERT_NE(test, (u64)0, at[i]);
		KUNIT_ASSERT_NE(test, (u64)0, alloc_at(h, 1, 1));	/* keeps them apart */
	}
	for (i = 0; i < ARRAY_SIZE(len); i++)
		KUNIT_ASSERT_EQ(test, 0, release(h, at[i], len[i], 1));
	KUNIT_EXPECT_EQ(test, at[3], alloc_at(h, 17, 1));
	KUNIT_EXPECT_EQ(test, at[5], alloc_at(h, 21, 1));
	KUNIT_EXPECT_EQ(test, at[1], alloc_at(h, 34, 1));
	KUNIT_EXPECT_EQ(test, at[2], alloc_at(h, 129, 1));
	KUNIT_EXPECT_EQ(test, at[0], alloc_at(h, 131, 1));
	KUNIT_EXPECT_EQ(test, at[4], alloc_at(h, 201, 1));
}

static void resized_in_place(struct kunit *test)
{
	struct gh_mheap *h = test->priv;
	struct gh_run added;
	u64 a = alloc_at(h, 8, 1), b = alloc_at(h, 8, 1);

	KUNIT_ASSERT_EQ(test, a + 8 * GH_PAGE_SIZE, b);
	KUNIT_EXPECT_EQ(test, -ENOMEM, resize(h, a, 9, &added));
	KUNIT_ASSERT_EQ(test, 0, release(h, b, 8, 1));
	KUNIT_EXPECT_EQ(test, 0, resize(h, a, 16, &added));
	KUNIT_EXPECT_EQ(test, (u64)8, added.npages);
	KUNIT_EXPECT_EQ(test, b, added.addr);
	KUNIT_EXPECT_EQ(test, 0, resize(h, a, 4, &added));
	KUNIT_EXPECT_EQ(test, (u64)4, h->stats.inuse_pages);
	KUNIT_EXPECT_EQ(test, -EINVAL, resize(h, a, 0, &added));
	KUNIT_EXPECT_EQ(test, -EINVAL, resize(h, b, 4, &added));
}

static void what_is_no_span_is_refused(struct kunit *test)
{
	struct gh_mheap *h = test->priv;
	u64 a = alloc_at(h, 8, 1);
	const u64 bad[] = {
		0, a + 1, a + GH_PAGE_SIZE, a - GH_PAGE_SIZE, a + 8 * GH_PAGE_SIZE,
		START + (PAGES << GH_PAGE_SHIFT), ~0ULL, 1ULL << 63,
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		KUNIT_EXPECT_EQ_MSG(test, -EINVAL, release(h, bad[i], 0, 1), "%llx", bad[i]);
	KUNIT_EXPECT_EQ(test, -EINVAL, release(h, a, 7, 1));
	KUNIT_EXPECT_EQ(test, 0, release(h, a, 8, 1));
	KUNIT_EXPECT_EQ(test, -EINVAL, release(h, a, 8, 1));
}

/* ---- bounds ------------------------------------------------------------------------ */

static void pages_are_bounded(struct kunit *test)
{
	struct gh_mheap *h = test->priv;
	struct gh_idle_run run;
	u64 a;

	h->max_held_pages = 100;
	a = alloc_at(h, 60, 1);
	KUNIT_ASSERT_NE(test, (u64)0, a);
	KUNIT_EXPECT_EQ(test, (u64)0, alloc_at(h, 41, 1));
	KUNIT_EXPECT_NE(test, (u64)0, alloc_at(h, 40, 1));
	KUNIT_ASSERT_EQ(test, 0, release(h, a, 60, 1));
	/* What is idle counts until it is released. */
	KUNIT_EXPECT_EQ(test, (u64)0, alloc_at(h, 61, 1));
	KUNIT_ASSERT_EQ(test, 0, take(h, 2, NO_AGE, &run));
	put(h, &run, true);
	KUNIT_EXPECT_NE(test, (u64)0, alloc_at(h, 60, 2));
}

static void records_are_bounded(struct kunit *test)
{
	struct gh_mheap *h = test->priv;
	unsigned int n = 0;

	h->max_records = 200;
	while (n < 10000 && alloc_at(h, 1, 1))
		n++;
	KUNIT_EXPECT_GT(test, n, 50);
	KUNIT_EXPECT_LE(test, n, 200);
	KUNIT_EXPECT_LE(test, h->stats.nr_records, (u64)200);
}

/* ---- idle memory ------------------------------------------------------------------- */

static void released_runs_read_as_zeros_and_used_ones_say_so(struct kunit *test)
{
	struct gh_mheap *h = test->priv;
	struct gh_idle_run idle;
	struct gh_run run;

	KUNIT_ASSERT_EQ(test, 0, alloc(h, 16, 1, 1, &run));
	KUNIT_EXPECT_FALSE(test, run.needzero);
	KUNIT_ASSERT_EQ(test, 0, release(h, run.addr, 16, 1));
	KUNIT_ASSERT_EQ(test, 0, alloc(h, 16, 1, 1, &run));
	KUNIT_EXPECT_TRUE(test, run.needzero);
	KUNIT_ASSERT_EQ(test, 0, release(h, run.addr, 16, 1));
	KUNIT_ASSERT_EQ(test, 0, take(h, 2, NO_AGE, &idle));
	put(h, &idle, true);
	KUNIT_ASSERT_EQ(test, 0, alloc(h, 16, 1, 2, &run));
	KUNIT_EXPECT_FALSE(test, run.needzero);
}

static void what_is_taken_cannot_be_allocated(struct kunit *test)
{
	struct gh_mheap *h = test->priv;
	struct gh_idle_run idle;
	u64 a = alloc_at(h, 16, 1), b;

	KUNIT_ASSERT_NE(test, (u64)0, alloc_at(h, 1, 1));
	KUNIT_ASSERT_EQ(test, 0, release(h, a, 16, 5));
	KUNIT_EXPECT_EQ(test, -ENOENT, take(h, 90, 95, &idle));
	KUNIT_ASSERT_EQ(test, 0, take(h, 101, 95, &idle));
	KUNIT_EXPECT_EQ(test, a, idle.addr);
	b = alloc_at(h, 16, 101);
	KUNIT_EXPECT_NE(test, a, b);
	KUNIT_EXPECT_EQ(test, -EINVAL, release(h, a, 0, 101));
	/* Back as it was, with its age. */
	put(h, &idle, false);
	KUNIT_EXPECT_EQ(test, 0, take(h, 101, 95, &idle));
	put(h, &idle, true);
	KUNIT_EXPECT_EQ(test, (u64)0, gh_idle_resident_pages(h));
}

static void whole_blocks_first_then_the_oldest(struct kunit *test)
{
	struct gh_mheap *h = test->priv;
	struct gh_idle_run idle;
	struct gh_run block;
	u64 a = alloc_at(h, 8, 1), b;

	KUNIT_ASSERT_NE(test, (u64)0, alloc_at(h, 1, 1));
	b = alloc_at(h, 8, 1);
	KUNIT_ASSERT_NE(test, (u64)0, alloc_at(h, 1, 1));
	KUNIT_ASSERT_EQ(test, 0, alloc(h, GH_HUGE_PAGES, GH_HUGE_PAGES, 1, &block));
	KUNIT_ASSERT_EQ(test, 0, release(h, b, 8, 10));
	KUNIT_ASSERT_EQ(test, 0, release(h, a, 8, 20));
	KUNIT_ASSERT_EQ(test, 0, release(h, block.addr, 0, 30));
	KUNIT_ASSERT_EQ(test, 0, take(h, 100, NO_AGE, &idle));
	KUNIT_EXPECT_EQ(test, block.addr, idle.addr);
	put(h, &idle, true);
	KUNIT_ASSERT_EQ(test, 0, take(h, 100, NO_AGE, &idle));
	KUNIT_EXPECT_EQ(test, b, idle.addr);
	put(h, &idle, true);
	KUNIT_ASSERT_EQ(test, 0, take(h, 100, NO_AGE, &idle));
	KUNIT_EXPECT_EQ(test, a, idle.addr);
	put(h, &idle, true);
	KUNIT_EXPECT_EQ(test, h->stats.idle_pages, h->stats.released_pages);
}

/* ---- at random ------------------------------------------------------------------------ */

#define SLOTS	128

struct worker {
	struct gh_mheap *heap;
	struct rnd_state rnd;
	struct completion done;
	unsigned int steps;
	bool walk;		/* after each step */
	int bad;
	u64 addr[SLOTS];	/* spans in use, 0: none */
	u32 npages[SLOTS];
};

static int step_idle(struct worker *w, u64 now)
{
	struct gh_idle_run run;
	int err = take(w->heap, now, NO_AGE, &run);

	if (!err)
		put(w->heap, &run, prandom_u32_state(&w->rnd) & 3);
	return err == -ENOENT ? 0 : err;
}

static int step_resize(struct worker *w, unsigned int i)
{
	u32 npages = 1 + prandom_u32_state(&w->rnd) % 300;
	struct gh_run added;
	int err = resize(w->heap, w->addr[i], npages, &added);

	if (!err)
		w->npages[i] = npages;
	return err == -ENOMEM ? 0 : err;
}

static int step_alloc(struct worker *w, unsigned int i, u64 now)
{
	u32 r = prandom_u32_state(&w->rnd);
	struct gh_run run;
	int err;

	w->npages[i] = r % 8 ? 1 + r / 8 % 32 : 1 + r / 8 % 600;
	err = alloc(w->heap, w->npages[i], r & 64 ? 1 : 16, now, &run);
	if (!err)
		w->addr[i] = run.addr;
	return err == -ENOMEM ? 0 : err;
}

static int step(struct worker *w, u64 now)
{
	unsigned int what = prandom_u32_state(&w->rnd) % 8, i = prandom_u32_state(&w->rnd) % SLOTS;
	u64 addr = w->addr[i];

	if (what == 0)
		return step_idle(w, now);
	if (!addr)
		return step_alloc(w, i, now);
	if (what == 1)
		return step_resize(w, i);
	w->addr[i] = 0;
	return release(w->heap, addr, w->npages[i], now);
}

static void run_steps(struct worker *w)
{
	unsigned int i;

	for (i = 0; i < w->steps && !w->bad; i++) {
		w->bad = step(w, i);
		if (w->walk && !w->bad)
			w->bad = checked(w->heap);
		cond_resched();
	}
	for (i = 0; i < SLOTS; i++)
		if (w->addr[i] && !w->bad)
			w->bad = release(w->heap, w->addr[i], 0, w->steps);
}

static struct worker *new_worker(struct kunit *test, unsigned int seed, unsigned int steps)
{
	struct worker *w = kunit_kzalloc(test, sizeof(*w), GFP_KERNEL);

	if (!w)
		return NULL;
	w->heap = test->priv;
	w->steps = steps;
	prandom_seed_state(&w->rnd, seed);
	init_completion(&w->done);
	return w;
}

static void at_random(struct kunit *test)
{
	struct gh_mheap *h = test->priv;
	struct worker *w = new_worker(test, 1, 4000);

	KUNIT_ASSERT_NOT_NULL(test, w);
	w->walk = true;
	run_steps(w);
	KUNIT_EXPECT_EQ(test, 0, w->bad);
	KUNIT_EXPECT_EQ(test, (u64)0, h->stats.inuse_pages);
	KUNIT_EXPECT_EQ(test, h->stats.nr_allocs, h->stats.nr_frees);
}

static int thread(void *arg)
{
	struct worker *w = arg;

	run_steps(w);
	complete(&w->done);
	return 0;
}

static void by_threads(struct kunit *test)
{
	struct gh_mheap *h = test->priv;
	struct worker *w[THREADS];
	int i;

	for (i = 0; i < THREADS; i++) {
		w[i] = new_worker(test, i + 2, 8000);
		KUNIT_ASSERT_NOT_NULL(test, w[i]);
	}
	for (i = 0; i < THREADS; i++)
		if (IS_ERR(kthread_run(thread, w[i], "goheap-kunit/%d", i))) {
			w[i]->bad = -ENOMEM;
			complete(&w[i]->done);
		}
	for (i = 0; i < THREADS; i++) {
		wait_for_completion(&w[i]->done);
		KUNIT_EXPECT_EQ(test, 0, w[i]->bad);
	}
	KUNIT_EXPECT_EQ(test, (u64)0, h->stats.inuse_pages);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(the_whole_arena_and_not_a_page_more),
	KUNIT_CASE(alignments),
	KUNIT_CASE(what_is_free_joins),
	KUNIT_CASE(the_shortest_run_that_is_long_enough),
	KUNIT_CASE(resized_in_place),
	KUNIT_CASE(what_is_no_span_is_refused),
	KUNIT_CASE(pages_are_bounded),
	KUNIT_CASE(records_are_bounded),
	KUNIT_CASE(released_runs_read_as_zeros_and_used_ones_say_so),
	KUNIT_CASE(what_is_taken_cannot_be_allocated),
	KUNIT_CASE(whole_blocks_first_then_the_oldest),
	KUNIT_CASE(at_random),
	KUNIT_CASE(by_threads),
	{}
};

static struct kunit_suite goheap_core = {
	.name = "goheap_core",
	.init = new_heap,
	.exit = end_heap,
	.test_cases = cases,
};
kunit_test_suite(goheap_core);
