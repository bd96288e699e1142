// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What the scavenger is given: which run, in which order, which part of it, and
 * what becomes of it.
 */
#include "testlib.h"

#define BASE	(0xc000000000ULL >> GH_PAGE_SHIFT)
#define MIB	(1ULL << (20 - GH_PAGE_SHIFT))

static struct gh_mheap h;

static int finish(void)
{
	T_EQ(t_check(&h), 0);
	gh_mheap_destroy(&h);
	T_EQ(t_meta_bytes, 0);
	return 0;
}

static int take(u64 now, u64 min_age, u64 max_pages, struct gh_idle_run *run)
{
	const struct gh_idle_req req = {
		.now_ns = now, .min_age_ns = min_age, .max_pages = max_pages,
	};
	int err;

	mutex_lock(&h.lock);
	err = gh_idle_take_locked(&h, &req, run);
	mutex_unlock(&h.lock);
	run->addr = (run->addr >> GH_PAGE_SHIFT) - BASE;	/* for the tests: a page of the arena */
	return err;
}

static void put(const struct gh_idle_run *run, bool released)
{
	mutex_lock(&h.lock);
	gh_idle_put_locked(&h, run, released);
	mutex_unlock(&h.lock);
}

static const struct gh_mspan *span(u64 page)
{
	return gh_spans_find(&h.spans, BASE + page);
}

/* The tests of idle runs want no others. */
static void forget_touched(void)
{
	h.idle.nr_looked = h.idle.nr_touched;
}

/* Spans of these lengths, each followed by one of one page that stays in use. */
static int fill(const u64 *len, unsigned int nr, long *page)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		page[i] = t_alloc(&h, len[i], 1, 0) - BASE;
		T(page[i] >= 0);
		T(t_alloc(&h, 1, 1, 0) > 0);
	}
	forget_touched();
	return 0;
}

static int huge_first(void)
{
	static const u64 len[] = { 10, 600, 20, 700, 200 };
	struct gh_idle_run run;
	long page[5];
	unsigned int i;

	t_heap_init(&h, BASE, 1024 * MIB);
	T_EQ(fill(len, 5, page), 0);
	T_EQ(take(9, 0, 256, &run), -ENOENT);
	for (i = 0; i < 5; i++)
		T_EQ(t_free(&h, BASE + page[i], 0, 10 + i), 0);
	T_EQ(gh_idle_resident_pages(&h), 1530);
	/* Blocks of the older huge run, then of the younger. */
	T_EQ(take(20, 0, 256, &run), 0);
	T_EQ(run.npages, 256);
	T_EQ(run.addr, ALIGN(page[1], 256));
	T_EQ(gh_idle_resident_pages(&h), 1530 - 256);
	put(&run, true);
	T_EQ(take(20, 0, 1000, &run), 0);
	T_EQ(run.addr, ALIGN(page[3], 256));
	T_EQ(run.npages, 256);
	put(&run, true);
	T_EQ(take(20, 0, 1000, &run), 0);
	T_EQ(run.addr, ALIGN(page[3], 256) + 256);
	put(&run, true);
	/* Only small ones are left: by age, with the rests of the huge ones in their places. */
	T_EQ(take(20, 0, 256, &run), 0);
	T_EQ(run.addr, page[0]);
	T_EQ(run.npages, 10);
	put(&run, true);
	T_EQ(take(20, 0, 256, &run), 0);
	T_EQ(run.span->unusedsince_ns, 11);
	put(&run, true);
	T_EQ(take(20, 0, 256, &run), 0);
	T_EQ(run.span->unusedsince_ns, 11);
	put(&run, true);
	T_EQ(take(20, 0, 256, &run), 0);
	T_EQ(run.addr, page[2]);
	put(&run, true);
	while (!take(20, 0, 256, &run)) {
		put(&run, true);
		T_EQ(t_check(&h), 0);
	}
	T_EQ(gh_idle_resident_pages(&h), 0);
	T_EQ(h.stats.released_pages, h.stats.idle_pages);
	return finish();
}

/* A part of a block is not taken, whatever its age, nor what was touched. */
static int whole_only(void)
{
	static const u64 len[] = { 10, 600, 200 };
	struct gh_idle_req req = { .now_ns = 20, .max_pages = 256, .whole_only = true };
	struct gh_idle_run run;
	unsigned int i, nr = 0;
	long page[3];

	t_heap_init(&h, BASE, 1024 * MIB);
	T_EQ(fill(len, 3, page), 0);
	T(!gh_idle_any_whole(&h));
	for (i = 0; i < 3; i++)
		T_EQ(t_free(&h, BASE + page[i], 0, 10 + i), 0);
	T(gh_idle_any_whole(&h));
	mutex_lock(&h.lock);
	while (!gh_idle_take_locked(&h, &req, &run)) {
		T_EQ(run.npages, 256);
		T_EQ(run.addr >> GH_PAGE_SHIFT, BASE + ALIGN(page[1], 256) + 256 * nr++);
		gh_idle_put_locked(&h, &run, true);
	}
	mutex_unlock(&h.lock);
	T(nr >= 1);
	T(!gh_idle_any_whole(&h));
	T_EQ(gh_idle_resident_pages(&h), 810 - 256 * nr);
	/* A block that was touched, by what is too long for an idle run: its rest is no whole one. */
	T(t_alloc(&h, 250, 1, 0) >= 0);
	T(h.idle.nr_touched != h.idle.nr_looked);
	mutex_lock(&h.lock);
	T_EQ(gh_idle_take_locked(&h, &req, &run), -ENOENT);
	mutex_unlock(&h.lock);
	while (!take(20, 0, 256, &run))
		put(&run, true);
	T_EQ(gh_idle_resident_pages(&h), 0);
	return finish();
}

static int minimum_age(void)
{
	static const u64 len[] = { 10, 600 };
	struct gh_idle_run run;
	long page[2];

	t_heap_init(&h, BASE, 1024 * MIB);
	T_EQ(fill(len, 2, page), 0);
	T_EQ(t_free(&h, BASE + page[0], 0, 100), 0);
	T_EQ(t_free(&h, BASE + page[1], 0, 200), 0);
	T_EQ(take(150, 50, 256, &run), -ENOENT);	/* longer than, not as long as */
	T_EQ(take(151, 50, 256, &run), 0);
	T_EQ(run.addr, page[0]);
	put(&run, true);
	T_EQ(take(250, 50, 256, &run), -ENOENT);
	T_EQ(take(0, 50, 256, &run), -ENOENT);		/* time before the free */
	T_EQ(take(199, 1, 256, &run), -ENOENT);
	T_EQ(take(251, 50, 0, &run), -ENOENT);
	T_EQ(take(251, 50, 256, &run), 0);
	put(&run, true);
	T_EQ(take(0, 0, 256, &run), 0);			/* no age asked: any time will do */
	put(&run, true);
	return finish();
}

static int time_goes_back(void)
{
	static const u64 len[] = { 10, 20, 30 };
	struct gh_idle_run run;
	long page[3];

	t_heap_init(&h, BASE, 1024 * MIB);
	T_EQ(fill(len, 3, page), 0);
	T_EQ(t_free(&h, BASE + page[0], 0, 100), 0);
	T_EQ(t_free(&h, BASE + page[1], 0, 90), 0);
	T_EQ(t_free(&h, BASE + page[2], 0, 0), 0);
	T_EQ(t_check(&h), 0);
	T_EQ(span(page[2])->unusedsince_ns, 100);
	T_EQ(take(110, 5, 256, &run), 0);
	T_EQ(run.addr, page[0]);
	put(&run, true);
	return finish();
}

static int parts(void)
{
	static const u64 len[] = { 100, 1000 };
	struct gh_idle_run run;
	long page[2];

	t_heap_init(&h, BASE, 1024 * MIB);
	T_EQ(fill(len, 2, page), 0);
	T_EQ(t_free(&h, BASE + page[0], 0, 1), 0);
	T_EQ(take(2, 0, 30, &run), 0);
	T_EQ(run.addr, page[0]);
	T_EQ(run.npages, 30);
	put(&run, true);
	T_EQ(span(page[0] + 30)->npages, 70);
	T_EQ(span(page[0] + 30)->unusedsince_ns, 1);
	T_EQ(t_free(&h, BASE + page[1], 0, 1), 0);
	T_EQ(take(2, 0, 30, &run), 0);
	T_EQ(run.addr, ALIGN(page[1], 256));
	T_EQ(run.npages, 30);
	T_EQ(t_check(&h), 0);
	put(&run, false);
	T_EQ(span(page[1])->npages, 1000);
	return finish();
}

/* What is being released can neither be allocated nor merged with. */
static int held_while_released(void)
{
	static const u64 len[] = { 300 };
	struct gh_idle_run run;
	long page;

	t_heap_init(&h, BASE, 1024 * MIB);
	T_EQ(fill(len, 1, &page), 0);
	T_EQ(t_free(&h, BASE, 300, 1), 0);
	T_EQ(take(2, 0, 256, &run), 0);
	T_EQ(run.addr, 0);
	T_EQ(t_free(&h, BASE + 300, 1, 5), 0);
	T_EQ(span(256)->npages, 45);
	T_EQ(t_alloc(&h, 46, 1, 6) - BASE, 304 - 3);
	T_EQ(t_free(&h, BASE, 0, 6), -EINVAL);
	T_EQ(t_check(&h), 0);
	put(&run, true);
	T_EQ(span(0)->npages, 256);
	T_EQ(span(0)->released, true);
	T_EQ(span(0)->needzero, false);
	return finish();
}

/* A run that could not be released is as it was, in its place by age. */
static int put_back_unreleased(void)
{
	static const u64 len[] = { 10, 20, 30 };
	struct gh_idle_run first, second;
	long page[3];

	t_heap_init(&h, BASE, 1024 * MIB);
	T_EQ(fill(len, 3, page), 0);
	T_EQ(t_free(&h, BASE + page[0], 0, 100), 0);
	T_EQ(t_free(&h, BASE + page[1], 0, 200), 0);
	T_EQ(t_free(&h, BASE + page[2], 0, 300), 0);
	T_EQ(take(400, 0, 256, &first), 0);
	T_EQ(first.addr, page[0]);
	/* A second scavenger gets the next one meanwhile. */
	T_EQ(take(400, 0, 256, &second), 0);
	T_EQ(second.addr, page[1]);
	put(&second, false);
	put(&first, false);
	T_EQ(span(page[0])->unusedsince_ns, 100);
	T_EQ(span(page[0])->needzero, true);
	T_EQ(h.stats.released_pages, h.used_pages - 60 - 3);
	T_EQ(t_check(&h), 0);
	T_EQ(take(400, 0, 256, &first), 0);
	T_EQ(first.addr, page[0]);
	/* A neighbour freed meanwhile joins it, and makes it as young as itself. */
	T_EQ(t_free(&h, BASE + page[0] + 10, 1, 350), 0);
	put(&first, false);
	T_EQ(span(page[0])->npages, 31);
	T_EQ(span(page[0])->unusedsince_ns, 350);
	T_EQ(t_check(&h), 0);
	T_EQ(take(400, 0, 256, &first), 0);
	T_EQ(first.addr, page[2]);
	put(&first, true);
	return finish();
}

/* Neither run is huge; what they become is, and takes its place by age. */
static int becomes_huge(void)
{
	static const u64 len[] = { 255, 255, 600, 600 };
	struct gh_idle_run run;
	long page[4];

	t_heap_init(&h, BASE, 1024 * MIB);
	T_EQ(t_alloc(&h, 128, 1, 0), BASE);
	T_EQ(fill(len, 4, page), 0);
	T_EQ(t_free(&h, BASE + page[0], 0, 100), 0);
	T_EQ(take(100, 0, 256, &run), 0);
	T_EQ(run.addr, page[0]);
	T_EQ(t_free(&h, BASE + page[1], 0, 150), 0);
	T_EQ(t_free(&h, BASE + page[0] + 255, 1, 150), 0);
	T_EQ(t_free(&h, BASE + page[2], 0, 200), 0);
	T_EQ(h.idle.nr_huge, 1);
	put(&run, false);
	T_EQ(t_check(&h), 0);
	T_EQ(h.idle.nr_huge, 2);
	T_EQ(h.idle.huge.first->start, BASE + page[0]);
	T_EQ(h.idle.huge.first->unusedsince_ns, 150);
	return finish();
}

/* 500 MiB, step by step: three records, and no more steps than blocks. */
static int long_run(void)
{
	static const u64 len[] = { 500 * MIB };
	struct gh_idle_run run;
	unsigned int steps = 0;
	long page;

	t_heap_init(&h, BASE + 77, 1024 * MIB);
	T_EQ(fill(len, 1, &page), 0);
	T_EQ(t_free(&h, BASE + page, 0, 1), 0);
	T_EQ(h.stats.nr_records - h.records.nr_spare, 3);
	while (!take(2, 0, 256, &run)) {
		T(run.npages <= 256);
		T(h.stats.nr_records - h.records.nr_spare <= 6);
		put(&run, true);
		steps++;
	}
	T(steps <= 252);
	T_EQ(h.stats.nr_records - h.records.nr_spare, 3);
	T_EQ(span(page)->npages, 500 * MIB);
	return finish();
}

/*
 * Many runs of one block and some more, as a stopped process may leave them: the
 * reserve must last for all of them, since nobody refills it.
 */
static int reserve_lasts(void)
{
	enum { NR = 400 };
	struct gh_idle_run run;
	long page[NR];
	u64 len[NR];
	unsigned int i;

	t_heap_init(&h, BASE, 4096 * MIB);
	for (i = 0; i < NR; i++)
		len[i] = 700;
	T_EQ(fill(len, NR, page), 0);
	for (i = 0; i < NR; i++)
		T_EQ(t_free(&h, BASE + page[i], 0, i), 0);
	T_EQ(t_alloc(&h, 1, 1, NR), BASE);
	while (!take(NR + 1, 0, 256, &run)) {
		T(run.npages <= 256);
		put(&run, true);
	}
	T_EQ(gh_idle_resident_pages(&h), 0);
	return finish();
}

static struct gh_records hidden;

static void hide_spare_records(void)
{
	hidden = h.records;
	h.records = (struct gh_records) {};
}

/* A record that became spare meanwhile is kept: its chunk knows of it. */
static void show_spare_records(void)
{
	struct gh_mspan *s = h.records.spare.first;

	if (s)
		gh_list_remove(&h.records.spare, s);
	h.records = hidden;
	if (s) {
		gh_list_insert(&h.records.spare, s);
		h.records.nr_spare++;
	}
}

/* Without a spare record a run is taken whole, however long, a neighbour whole or not at all. */
static int no_spare_record(void)
{
	static const u64 len[] = { 100 * MIB + 10 };
	struct gh_idle_run run;
	long page;

	t_heap_init(&h, BASE, 1024 * MIB);
	T_EQ(fill(len, 1, &page), 0);
	T_EQ(t_free(&h, BASE, 0, 1), 0);
	hide_spare_records();
	T_EQ(take(2, 0, 256, &run), 0);
	T_EQ(run.npages, 100 * MIB + 10);
	show_spare_records();
	put(&run, true);
	T_EQ(t_free(&h, BASE + 100 * MIB + 10, 0, 3), 0);
	hide_spare_records();
	T_EQ(take(4, 0, 256, &run), 0);
	T_EQ(run.addr, 100 * MIB + 10);
	show_spare_records();
	put(&run, false);
	T_EQ(take(4, 0, 256, &run), 0);
	T_EQ(run.addr, 100 * MIB);
	put(&run, true);
	return finish();
}

/* The same without a spare table, where a split would need one. */
static int no_spare_table(void)
{
	static const u64 len[] = { 1024 };
	struct gh_idle_run run;
	unsigned int nr;
	long page;

	t_heap_init(&h, BASE, 1024 * MIB);
	T_EQ(fill(len, 1, &page), 0);
	T_EQ(t_free(&h, BASE, 0, 1), 0);
	nr = h.spans.nr_spare;
	h.spans.nr_spare = 0;
	T_EQ(take(2, 0, 100, &run), 0);
	T_EQ(run.npages, 1024);
	put(&run, false);
	T_EQ(take(2, 0, 256, &run), 0);
	T_EQ(run.npages, 256);
	put(&run, true);
	h.spans.nr_spare = nr;
	return finish();
}

/* What is released, or was never used, beside a run goes with it, as far as its 2 MiB block reaches. */
static int takes_along(void)
{
	struct gh_idle_run run;

	t_heap_init(&h, BASE, 1024 * MIB);
	T_EQ(t_alloc(&h, 1100, 1, 0) - BASE, 0);
	T_EQ(t_alloc(&h, 2, 1, 0) - BASE, 1100);
	T_EQ(t_free(&h, BASE, 0, 1), 0);
	while (!take(2, 0, 256, &run))
		put(&run, true);
	T_EQ(t_free(&h, BASE + 1100, 0, 1), 0);
	T_EQ(h.used_pages, 1280);
	T_EQ(h.stats.released_pages, 1278);
	T_EQ(take(3, 0, 256, &run), 0);
	T_EQ(run.idle_pages, 2);
	T_EQ(run.addr, 1024);
	T_EQ(run.npages, 256);
	T_EQ(h.used_pages, 1280);
	T_EQ(h.stats.released_pages, 1024);
	T_EQ(span(1023)->npages, 1024);
	T_EQ(t_check(&h), 0);
	put(&run, false);
	/* It is back, and all of it may have pages. */
	T_EQ(span(1024)->npages, 256);
	T_EQ(span(1024)->needzero, true);
	T_EQ(gh_idle_resident_pages(&h), 256);
	T_EQ(t_check(&h), 0);
	T_EQ(take(3, 0, 256, &run), 0);
	T_EQ(run.npages, 256);
	put(&run, true);
	T_EQ(span(0)->npages, 1280);
	T_EQ(h.stats.released_pages, 1280);
	return finish();
}

/* A touch may bring in a huge page: what is released in that block is released again, once. */
static int touched(void)
{
	struct gh_idle_run run;

	t_heap_init(&h, BASE, 1024 * MIB);
	T(!gh_idle_any(&h));
	T_EQ(t_alloc(&h, 300, 1, 100) - BASE, 0);
	T_EQ(t_alloc(&h, 1, 1, 200) - BASE, 300);
	T_EQ(h.used_pages, 304);
	T(gh_idle_any(&h) && !gh_idle_resident_pages(&h));
	T_EQ(take(250, 50, 256, &run), -ENOENT);
	T_EQ(take(251, 50, 256, &run), 0);
	T_EQ(run.addr, 301);
	T_EQ(run.npages, 512 - 301);
	T_EQ(run.idle_pages, 0);
	T_EQ(h.used_pages, 512);
	T_EQ(h.stats.released_pages, 0);
	T_EQ(t_check(&h), 0);
	put(&run, true);
	T_EQ(span(301)->released, true);
	T_EQ(span(301)->needzero, false);
	T_EQ(take(900, 0, 256, &run), -ENOENT);
	T(!gh_idle_any(&h));
	/* Put back as it was, it may have pages. */
	T_EQ(t_alloc(&h, 1, 1, 900) - BASE, 301);
	T_EQ(take(901, 0, 256, &run), 0);
	T_EQ(run.addr, 302);
	put(&run, false);
	T_EQ(span(302)->released, false);
	T_EQ(span(302)->needzero, true);
	T_EQ(gh_idle_resident_pages(&h), 210);
	return finish();
}

/* One page at that place is used, and touches its block. */
static int use_page(u64 page, u64 now)
{
	int err;

	T_RETRY(&h, err, gh_mheap_carve_locked(&h, (BASE + page) << GH_PAGE_SHIFT, 1, 0, 0, now));
	return err;
}

/*
 * With @page the rest of its block is taken, of which [first, end) is free.  The records that
 * were spare are used elsewhere: one that was here might be the run's by chance.
 */
static int rest_of_block(u64 page, u64 first, u64 end)
{
	struct gh_idle_run run;
	u64 i;

	for (i = 0; i < 1000; i++)
		T_EQ(use_page(5000 + 2 * i, 20), 0);
	forget_touched();
	T_EQ(use_page(page, 1500), 0);
	T_EQ(take(2000, 0, 256, &run), 0);
	T_EQ(run.addr, first);
	T_EQ(run.npages, page - first);
	put(&run, true);
	T_EQ(take(2000, 0, 256, &run), 0);
	T_EQ(run.addr, page + 1);
	T_EQ(run.npages, end - page - 1);
	put(&run, true);
	T_EQ(take(2000, 0, 256, &run), -ENOENT);
	return t_check(&h);
}

/* In a run that begins some blocks before, and was many spans, which went at once. */
static int touched_in_a_long_run(void)
{
	struct gh_idle_run run;
	u64 i;

	t_heap_init(&h, BASE, 1024 * MIB);
	for (i = 0; i < 1024; i++)
		T_EQ(t_alloc(&h, 1, 1, 0) - BASE, i);
	/* So that no run ends where a block does that it covers. */
	for (i = 100; i < 1000; i++)
		if (i % 256 != 128)
			T_EQ(t_free(&h, BASE + i, 1, 10), 0);
	for (i = 128; i < 1000; i += 256)
		T_EQ(t_free(&h, BASE + i, 1, 10), 0);
	hide_spare_records();
	T_EQ(take(1000, 0, 256, &run), 0);
	show_spare_records();
	T_EQ(run.npages, 900);
	put(&run, true);
	T_EQ(rest_of_block(900, 768, 1000), 0);
	return finish();
}

/* In one that the used part grew by, from the middle of a block. */
static int touched_in_a_run_that_grew(void)
{
	t_heap_init(&h, BASE, 1024 * MIB);
	T_EQ(t_alloc(&h, 248, 1, 0) - BASE, 0);
	T_EQ(t_alloc(&h, 1, 1, 0) - BASE, 248);
	T_EQ(h.used_pages, 376);
	T_EQ(use_page(1300, 10), 0);
	T_EQ(rest_of_block(900, 768, 1024), 0);
	return finish();
}

/* Of more blocks than are remembered the ones touched last count. */
static int touched_often(void)
{
	struct gh_idle_run run;
	unsigned int i;

	t_heap_init(&h, BASE, 1024 * MIB);
	for (i = 0; i < GH_TOUCHED_MAX + 8; i++)
		T_EQ(t_alloc(&h, 1, 256, 100 + i) - BASE, 256 * i);
	for (i = 8; i < GH_TOUCHED_MAX + 8; i++) {
		T_EQ(take(1000, 0, 256, &run), 0);
		T_EQ(run.addr, 256 * i + 1);
		T_EQ(run.npages, 255);
		put(&run, true);
		T_EQ(t_check(&h), 0);
	}
	T_EQ(take(1000, 0, 256, &run), -ENOENT);
	return finish();
}

/* Neither what is in use, nor idle, nor being released already. */
static int takes_no_other_along(void)
{
	static const u64 len[] = { 3, 5, 7 };
	struct gh_idle_run run, second;
	long page[3];

	t_heap_init(&h, BASE, 1024 * MIB);
	T_EQ(fill(len, 3, page), 0);
	T_EQ(t_free(&h, BASE + page[0], 0, 1), 0);
	T_EQ(take(2, 0, 256, &run), 0);
	T_EQ(run.npages, 3);
	T_EQ(t_free(&h, BASE + page[0] + 3, 0, 3), 0);
	T_EQ(take(4, 0, 256, &second), 0);
	T_EQ(second.npages, 1);
	put(&second, true);
	T_EQ(t_check(&h), 0);
	put(&run, true);
	T_EQ(span(0)->npages, 4);
	return finish();
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		{ "idle: huge blocks first, then by age", huge_first },
		{ "idle: whole blocks only", whole_only },
		{ "idle: minimum age", minimum_age },
		{ "idle: time goes back", time_goes_back },
		{ "idle: part of a run", parts },
		{ "idle: not allocated or merged while being released", held_while_released },
		{ "idle: put back unreleased", put_back_unreleased },
		{ "idle: becomes huge by merging", becomes_huge },
		{ "idle: 500 MiB in bounded steps", long_run },
		{ "idle: the reserve lasts", reserve_lasts },
		{ "idle: takes released neighbours along", takes_along },
		{ "idle: takes no other neighbours along", takes_no_other_along },
		{ "idle: blocks that were touched", touched },
		{ "idle: a block that was touched in a long run", touched_in_a_long_run },
		{ "idle: a block that was touched in a run that grew", touched_in_a_run_that_grew },
		{ "idle: many blocks that were touched", touched_often },
		{ "idle: no spare record", no_spare_record },
		{ "idle: no spare table", no_spare_table },
	};

	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
