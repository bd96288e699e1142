// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Pages of an arena made into huge pages, by khugepaged at full speed and by
 * MADV_COLLAPSE, in the owner and in forked children, while they are released as
 * fast as can be, by age, under pressure and on demand: what holds the mmap lock
 * for this, or not, is what corrupts page tables or not.  That it does not is for
 * the kernel's log to say; here only the contents are checked.
 *
 * Arenas are hidden from both unless the module's parameter khugepaged says
 * otherwise, or the device's node is not in tmpfs; so the parameter is set.
 *
 *	collapse_test [SECONDS]		(default: GOHEAP_SECONDS, else 60; more if need be)
 *
 * Needs root.  The module's parameters are put back.
 */
#include <dev.h>
#include <kselftest_harness.h>

#define DEFAULT_SECONDS	60
#include "seconds.h"

#define ARENA		(64 * MIB)
#define BLOCK		(2 * MIB)
#define BLOCKS		4
#define GAP_PAGES	(BLOCK / PAGE - 1)	/* and one that is kept */
#define KHUGEPAGED	"/sys/kernel/mm/transparent_hugepage/khugepaged"
#define DROP		"/proc/sys/vm/drop_caches"
#define RELEASERS	3

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

static volatile bool stop;
static int heap;
static char *arena;
static uint64_t nr_collapsed, nr_looked;

NEED(is_root, "needs root");

/* ---- what runs against each other ---------------------------------------------- */

static void collapse_all(void)
{
	for (int i = 0; i < BLOCKS; i++)
		nr_collapsed += !madvise(arena + i * BLOCK, BLOCK, MADV_COLLAPSE);
}

/* A quarter of the time is left to khugepaged. */
static void *collapser(void *arg)
{
	while (!stop) {
		uint64_t end = now_ms() + 900;

		while (!stop && now_ms() < end)
			collapse_all();
		sleep_ms(300);
	}
	return NULL;
}

/*
 * Also touches every third page of spans that are about to be freed, or were: a
 * block is worth collapsing again and again, and is full of holes.
 */
static void *careless_collapser(void *arg)
{
	while (!stop) {
		for (size_t at = 0; at < BLOCKS * BLOCK; at += 3 * 4096)
			((volatile char *)arena)[at] = 1;
		collapse_all();
	}
	return NULL;
}

/* Half of the time, by turns, nobody asks for it: the rest is for age and pressure. */
static bool on_demand(void)
{
	return now_ms() / 256 % 2;
}

/*
 * Allocates the blocks in pieces and frees them.  The first releases what is idle each
 * time, the others one time in four.
 */
static void *releaser(void *arg)
{
	struct goheap_scavenge sc;
	uint64_t seed = (uintptr_t)arg;

	while (!stop) {
		uint64_t npages = 1 + rnd(&seed) % GAP_PAGES;
		char *p = span_new(heap, npages);

		if (!p)
			continue;
		for (size_t at = 0; at < npages * PAGE; at += BLOCK / 4)
			((volatile char *)p)[at] = 1;
		span_free(heap, p, npages);
		if (on_demand() && ((uintptr_t)arg == 1 || rnd(&seed) % 4 == 0))
			scavenge(heap, ALL, &sc);
	}
	return NULL;
}

/* Calls the shrinkers; 4 is not to tell the kernel's log of it each time. */
static void *presser(void *arg)
{
	file_write(DROP, "4");
	while (!stop) {
		file_write(DROP, "2");
		sleep_ms(5);
	}
	return NULL;
}

static pthread_t threads[2 + RELEASERS];

static bool start_all(void *(*collapse)(void *))
{
	int err = pthread_create(&threads[0], NULL, collapse, NULL) ||
		  pthread_create(&threads[1], NULL, presser, NULL);

	for (uintptr_t i = 0; i < RELEASERS; i++)
		err = err || pthread_create(&threads[2 + i], NULL, releaser, (void *)(i + 1));
	return !err;
}

static void stop_all(void)
{
	stop = true;
	for (int i = 0; i < 2 + RELEASERS; i++)
		pthread_join(threads[i], NULL);
}

/* ---- the machine ------------------------------------------------------------------ */

static void khugepaged_at_full_speed(void)
{
	file_write("/sys/kernel/mm/transparent_hugepage/enabled", "always");
	file_write(KHUGEPAGED "/scan_sleep_millisecs", "0");
	file_write(KHUGEPAGED "/alloc_sleep_millisecs", "0");
	file_write(KHUGEPAGED "/pages_to_scan", "4096");
	file_write(KHUGEPAGED "/max_ptes_none", "511");
}

static const struct {
	const char *file, *value;
} params[] = {
	{ PARAMS "/khugepaged", "1" },
	{ PARAMS "/scavenge_limit_ms", "5" },
	{ PARAMS "/scavenge_cpu_percent", "100" },
};
#define NR_PARAMS	(sizeof(params) / sizeof(params[0]))

FIXTURE(thp) {
	char *kept[BLOCKS];
	char *old[NR_PARAMS];
	uint64_t id;
	long long by_khugepaged;
};

FIXTURE_SETUP(thp)
{
	struct goheap_info in;
	char *gap[BLOCKS];

	for (int i = 0; i < NR_PARAMS; i++) {
		self->old[i] = strdup(file_read(params[i].file) ?: "");
		ASSERT_EQ(0, file_write(params[i].file, params[i].value));
	}
	heap = dev_open();
	arena = arena_map(heap, ARENA);
	ASSERT_NE(MAP_FAILED, arena);
	ASSERT_EQ(0, info(heap, &in));
	self->id = in.heap_id;
	madvise(arena, ARENA, MADV_HUGEPAGE);
	khugepaged_at_full_speed();
	self->by_khugepaged = file_number(KHUGEPAGED "/pages_collapsed");
	for (int i = 0; i < BLOCKS; i++) {
		gap[i] = span_new(heap, GAP_PAGES);
		self->kept[i] = span_new(heap, 1);
		fill(self->kept[i], PAGE, i);
	}
	for (int i = 0; i < BLOCKS; i++)
		ASSERT_EQ(0, span_free(heap, gap[i], GAP_PAGES));
}

FIXTURE_TEARDOWN(thp)
{
	for (int i = 0; i < NR_PARAMS; i++)
		file_write(params[i].file, self->old[i]);
	close(heap);
}

/* Spans that stay in use, in the same blocks, must keep what they hold. */
static bool kept_is_kept(char **kept)
{
	for (int i = 0; i < BLOCKS; i++)
		if (!filled(kept[i], PAGE, i))
			return false;
	nr_looked++;
	return true;
}

static long long kib(FIXTURE_DATA(thp) *self, const char *file)
{
	return heap_file_number(self->id, file) >> 10;
}

static bool all_took_part(FIXTURE_DATA(thp) *self)
{
	return nr_collapsed && kib(self, "scav_age_bytes") && kib(self, "scav_pressure_bytes") &&
	       kib(self, "scav_demand_bytes");
}

/* Half of the time, and as much again if an emulated CPU did not come round to all. */
static bool goes_on(FIXTURE_DATA(thp) *self, uint64_t begun)
{
	uint64_t ms = now_ms() - begun;

	return ms < seconds * 500ULL || (ms < seconds * 1000ULL + 60000 && !all_took_part(self));
}

static void expect_all(struct __test_metadata *_metadata, FIXTURE_DATA(thp) *self)
{
	TH_LOG("%llu collapses asked for, %lld by khugepaged; released: %lld KiB by age, %lld under pressure, %lld on demand; %lld skipped; %llu looks",
	       (unsigned long long)nr_collapsed,
	       file_number(KHUGEPAGED "/pages_collapsed") - self->by_khugepaged,
	       kib(self, "scav_age_bytes"), kib(self, "scav_pressure_bytes"),
	       kib(self, "scav_demand_bytes"), heap_file_number(self->id, "scav_skipped"),
	       (unsigned long long)nr_looked);
	EXPECT_TRUE(all_took_part(self));
}

/* ---- the tests, half of the time each ------------------------------------------------ */

TEST_F_TIMEOUT(thp, collapse_against_release, 3600)
{
	uint64_t begun = now_ms();
	bool kept = true;

	ASSERT_TRUE(start_all(collapser));
	while (kept && goes_on(self, begun)) {
		kept = kept_is_kept(self->kept);
		sleep_ms(1);
	}
	stop_all();
	EXPECT_TRUE(kept);
	EXPECT_LT(self->by_khugepaged, file_number(KHUGEPAGED "/pages_collapsed"));
	expect_all(_metadata, self);
}

/* Too large for the gaps, and so out of the way of careless_collapser(). */
#define INHERITED	(2 * BLOCK)
#define CHILD_MS	200

/*
 * What was in use at the fork is the child's, whatever the parent frees and releases
 * of it.  What is a huge page already would be left alone: holes in the gaps split it.
 */
static void be_child(const char *inherited, uint64_t seed)
{
	uint64_t end = now_ms() + CHILD_MS;
	int k = 0;

	do {
		for (int i = 0; i < BLOCKS; i++)
			madvise(arena + i * BLOCK + k % 50 * 4096, 4096, MADV_DONTNEED);
		collapse_all();
		if (!filled(inherited, INHERITED, seed))
			_exit(1);
		k++;
	} while (now_ms() < end);
	_exit(0);
}

/* With writes after free, and children that collapse their copies. */
TEST_F_TIMEOUT(thp, collapse_against_release_and_fork, 3600)
{
	uint64_t begun = now_ms();
	unsigned int n = 0;

	ASSERT_TRUE(start_all(careless_collapser));
	while (goes_on(self, begun)) {
		char *inherited = span_new(heap, INHERITED / PAGE);
		pid_t pid;

		ASSERT_NE(NULL, inherited);
		fill(inherited, INHERITED, n);
		pid = fork();
		if (!pid)
			be_child(inherited, n);
		ASSERT_EQ(0, span_free(heap, inherited, INHERITED / PAGE));
		ASSERT_EQ(0, reap(pid));
		n++;
		sleep_ms(CHILD_MS);
	}
	stop_all();
	TH_LOG("%u children", n);
	expect_all(_metadata, self);
}

TEST_HARNESS_MAIN
