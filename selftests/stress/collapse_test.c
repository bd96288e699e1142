// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Pages of an arena made into huge pages, by khugepaged at full speed and by
 * MADV_COLLAPSE, while they are released as fast as can be: what holds the mmap
 * lock for this, or not, is what corrupts page tables or not.  That it does not
 * is for the kernel's log to say; here only the contents are checked.
 *
 *	collapse_test [SECONDS]		(default: GOHEAP_SECONDS, else 60)
 */
#include <dev.h>
#include <kselftest_harness.h>

#define ARENA		(64 * MIB)
#define BLOCK		(2 * MIB)
#define BLOCKS		4
#define KHUGEPAGED	"/sys/kernel/mm/transparent_hugepage/khugepaged"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

static int seconds = 60;
static volatile bool stop;
static int heap;
static char *arena;
static uint64_t nr_collapsed, nr_released, nr_looked;

/*
 * Touches every third page of spans that are about to be freed, or were: a block
 * is worth collapsing again and again, and is full of holes.
 */
static void *collapser(void *arg)
{
	while (!stop) {
		for (size_t at = 0; at < BLOCKS * BLOCK; at += 3 * 4096)
			((volatile char *)arena)[at] = 1;
		for (int i = 0; i < BLOCKS; i++)
			nr_collapsed += !madvise(arena + i * BLOCK, BLOCK, MADV_COLLAPSE);
	}
	return NULL;
}

/* Allocates the blocks in pieces, frees them, and releases what is idle. */
static void *releaser(void *arg)
{
	struct goheap_scavenge sc;
	uint64_t seed = (uintptr_t)arg;

	while (!stop) {
		uint64_t npages = 1 + rnd(&seed) % 300;
		char *p = span_new(heap, npages);

		if (!p)
			continue;
		((volatile char *)p)[0] = 1;
		span_free(heap, p, npages);
		if (!scavenge(heap, ALL, &sc))
			nr_released += sc.released_bytes;
	}
	return NULL;
}

/* Spans that stay in use, in the same blocks, must keep what they hold. */
static bool keep_looking(char **kept, int n)
{
	uint64_t end = now_ms() + seconds * 1000ULL;

	while (now_ms() < end) {
		for (int i = 0; i < n; i++)
			if (!filled(kept[i], PAGE, i))
				return false;
		nr_looked++;
		sleep_ms(1);
	}
	return true;
}

static void khugepaged_at_full_speed(void)
{
	file_write("/sys/kernel/mm/transparent_hugepage/enabled", "always");
	file_write(KHUGEPAGED "/scan_sleep_millisecs", "0");
	file_write(KHUGEPAGED "/alloc_sleep_millisecs", "0");
	file_write(KHUGEPAGED "/pages_to_scan", "4096");
	file_write(KHUGEPAGED "/max_ptes_none", "511");
}

FIXTURE(thp) {
	char *kept[BLOCKS];
};

FIXTURE_SETUP(thp)
{
	heap = dev_open();
	arena = arena_map(heap, ARENA);
	ASSERT_NE(MAP_FAILED, arena);
	madvise(arena, ARENA, MADV_HUGEPAGE);
	khugepaged_at_full_speed();
	for (int i = 0; i < BLOCKS; i++) {
		char *gap = span_new(heap, 100);

		self->kept[i] = span_new(heap, 1);
		fill(self->kept[i], PAGE, i);
		ASSERT_EQ(0, span_free(heap, gap, 100));
	}
}

FIXTURE_TEARDOWN(thp)
{
	close(heap);
}

/* The kept spans lie within reach of the collapser, who writes a byte here and there. */
static void *collapser_only(void *arg)
{
	while (!stop)
		for (int i = 0; i < BLOCKS; i++)
			nr_collapsed += !madvise(arena + i * BLOCK, BLOCK, MADV_COLLAPSE);
	return NULL;
}

TEST_F_TIMEOUT(thp, collapse_against_release, 280)
{
	pthread_t t[4];

	ASSERT_EQ(0, pthread_create(&t[0], NULL, collapser_only, NULL));
	for (uintptr_t i = 1; i < 4; i++)
		ASSERT_EQ(0, pthread_create(&t[i], NULL, releaser, (void *)i));
	EXPECT_TRUE(keep_looking(self->kept, BLOCKS));
	stop = true;
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	TH_LOG("%llu collapses, %llu MiB released, %llu looks", (unsigned long long)nr_collapsed,
	       (unsigned long long)nr_released >> 20, (unsigned long long)nr_looked);
	EXPECT_GT(nr_collapsed, 0);
	EXPECT_GT(nr_released, 0);
}

/* For a quarter of the time, with writes after free, and children that collapse their copies. */
TEST_F_TIMEOUT(thp, collapse_against_release_and_fork, 280)
{
	uint64_t end = now_ms() + seconds * 250ULL;
	pthread_t t[3];
	unsigned int n = 0;

	ASSERT_EQ(0, pthread_create(&t[0], NULL, collapser, NULL));
	for (uintptr_t i = 1; i < 3; i++)
		ASSERT_EQ(0, pthread_create(&t[i], NULL, releaser, (void *)i));
	while (now_ms() < end) {
		pid_t pid = fork();

		if (!pid) {
			for (int k = 0; k < 20; k++)
				for (int i = 0; i < BLOCKS; i++)
					madvise(arena + i * BLOCK, BLOCK, MADV_COLLAPSE);
			_exit(0);
		}
		ASSERT_EQ(0, reap(pid));
		n++;
		sleep_ms(3);
	}
	stop = true;
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	TH_LOG("%u children, %llu collapses, %llu MiB released", n,
	       (unsigned long long)nr_collapsed, (unsigned long long)nr_released >> 20);
	EXPECT_GT(nr_released, 0);
}

static __attribute__((constructor)) void how_long(int argc, char **argv)
{
	const char *s = getenv("GOHEAP_SECONDS");

	if (argc > 1)
		seconds = atoi(argv[1]);
	else if (s)
		seconds = atoi(s);
}

TEST_HARNESS_MAIN
