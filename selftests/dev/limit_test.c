// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * LIMIT: what a heap holds in memory is bounded, by the command and by its files
 * in sysfs; what is refused at the hard limit, what is released for it, and when
 * the soft one releases.
 */
#include "sysfs.h"
#include <kselftest_harness.h>
#include <stdatomic.h>

#define ARENA	GIB
#define MIB_PAGES	(MIB / PAGE)

FIXTURE(heap) {
	int fd;
	char *arena;
	char dir[64];
};

FIXTURE_SETUP(heap)
{
	self->fd = dev_open();
	self->arena = arena_map(self->fd, ARENA);
	ASSERT_NE(MAP_FAILED, self->arena);
	ASSERT_EQ(0, heap_dir(self->fd, self->dir));
}

FIXTURE_TEARDOWN(heap)
{
	close(self->fd);
	munmap(self->arena, ARENA);
	EXPECT_EQ(-1, access(self->dir, F_OK));
}

static uint64_t held(int fd)
{
	struct goheap_stats st;

	return stats(fd, &st) ? ALL : st.heap_sys - st.heap_released;
}

static uint64_t demanded(int fd)
{
	struct goheap_stats st;

	return stats(fd, &st) ? ALL : st.scav_demand_bytes;
}

/* A span that is touched, or NULL. */
static char *touched(int fd, size_t bytes)
{
	char *p = span_new(fd, bytes / PAGE);

	return p ? memset(p, 1, bytes) : NULL;
}

static pid_t sharer(void)
{
	pid_t pid = fork();

	if (!pid)
		for (;;)
			pause();
	return pid;
}

/* Waits until no more is held than that; what is held then. */
static uint64_t falls_to(int fd, uint64_t bytes)
{
	uint64_t end = now_ms() + 5000;

	while (held(fd) > bytes && now_ms() < end)
		sleep_ms(10);
	return held(fd);
}

#define EXPECT_LIMITS(soft_, hard_) do {				\
	uint64_t soft, hard;						\
	EXPECT_EQ(0, limit_get(self->fd, &soft, &hard));		\
	EXPECT_EQ(soft_, soft);						\
	EXPECT_EQ(hard_, hard);						\
} while (0)

/* ---- setting them ----------------------------------------------------------------- */

TEST_F(heap, there_is_none_to_begin_with)
{
	EXPECT_LIMITS(ALL, ALL);
}

TEST_F(heap, values_are_rounded_down_and_told)
{
	struct goheap_limit l = {
		.size = sizeof(l), .flags = GOHEAP_LIMIT_SET,
		.soft_bytes = 10 * MIB + 1, .hard_bytes = 20 * MIB + PAGE - 1,
	};

	EXPECT_EQ(0, cmd(self->fd, GOHEAP_LIMIT, &l));
	EXPECT_EQ(10 * MIB, l.soft_bytes);
	EXPECT_EQ(20 * MIB, l.hard_bytes);
	EXPECT_LIMITS(10 * MIB, 20 * MIB);
	EXPECT_EQ(0, limit_set(self->fd, 0, ALL - 1));
	EXPECT_LIMITS(0, ALL - PAGE + 1);
	EXPECT_EQ(0, limit_set(self->fd, ALL, ALL));
	EXPECT_LIMITS(ALL, ALL);
}

TEST_F(heap, reading_sets_nothing)
{
	struct goheap_limit l = { .size = sizeof(l), .soft_bytes = 1, .hard_bytes = 2 };

	EXPECT_EQ(0, cmd(self->fd, GOHEAP_LIMIT, &l));
	EXPECT_EQ(ALL, l.soft_bytes);
	EXPECT_EQ(ALL, l.hard_bytes);
	EXPECT_LIMITS(ALL, ALL);
}

TEST_F(heap, a_hard_limit_below_the_soft_one_is_refused)
{
	ASSERT_EQ(0, limit_set(self->fd, 10 * MIB, 20 * MIB));
	EXPECT_EQ(-EINVAL, limit_set(self->fd, 10 * MIB, 10 * MIB - PAGE));
	EXPECT_EQ(-EINVAL, limit_set(self->fd, PAGE, 0));
	EXPECT_EQ(-EINVAL, limit_set(self->fd, ALL - 1, 20 * MIB));
	EXPECT_LIMITS(10 * MIB, 20 * MIB);
	EXPECT_EQ(0, limit_set(self->fd, 10 * MIB, 10 * MIB));
	/* No soft limit is below any hard one. */
	EXPECT_EQ(0, limit_set(self->fd, ALL, 20 * MIB));
	EXPECT_LIMITS(ALL, 20 * MIB);
}

TEST_F(heap, not_before_the_arena_is_mapped)
{
	uint64_t soft, hard;
	int fd = dev_open();

	EXPECT_EQ(-ENXIO, limit_get(fd, &soft, &hard));
	EXPECT_EQ(-ENXIO, limit_set(fd, ALL, 0));
	close(fd);
}

/* ---- hard ---------------------------------------------------------------------------- */

TEST_F(heap, no_page_more_than_the_hard_limit)
{
	struct goheap_stats before, after;
	struct goheap_span s;
	char *p[8];

	ASSERT_EQ(0, limit_set(self->fd, ALL, 8 * MIB));
	for (int i = 0; i < 8; i++) {
		p[i] = touched(self->fd, MIB);
		ASSERT_NE(NULL, p[i]);
	}
	ASSERT_EQ(0, stats(self->fd, &before));
	EXPECT_EQ(8 * MIB, before.heap_inuse);
	EXPECT_EQ(-ENOMEM, span_alloc(self->fd, 1, 0, &s));
	EXPECT_EQ(-ENOMEM, span_alloc(self->fd, 1000, 2 * MIB, &s));
	EXPECT_EQ(-ENOMEM, span_alloc(self->fd, ALL, 0, &s));
	ASSERT_EQ(0, stats(self->fd, &after));
	EXPECT_EQ(0, memcmp(&before, &after, sizeof(before)));
	/* One out, one in. */
	ASSERT_EQ(0, span_free(self->fd, p[3], 0));
	EXPECT_EQ(-ENOMEM, span_alloc(self->fd, MIB_PAGES + 1, 0, &s));
	EXPECT_EQ(p[3], span_new(self->fd, MIB_PAGES));
	EXPECT_EQ(-ENOMEM, span_alloc(self->fd, 1, 0, &s));
	EXPECT_EQ(0, demanded(self->fd));
	ASSERT_EQ(0, limit_set(self->fd, ALL, ALL));
	EXPECT_EQ(0, span_alloc(self->fd, 1, 0, &s));
}

TEST_F(heap, nothing_at_all_with_a_hard_limit_of_0)
{
	struct goheap_span s;

	ASSERT_EQ(0, limit_set(self->fd, ALL, 0));
	EXPECT_EQ(-ENOMEM, span_alloc(self->fd, 1, 0, &s));
	EXPECT_EQ(0, held(self->fd));
	ASSERT_EQ(0, limit_set(self->fd, ALL, PAGE));
	EXPECT_EQ(0, span_alloc(self->fd, 1, 0, &s));
}

/* More than are copied at a time: the first that does not fit is the 71st. */
TEST_F(heap, those_before_in_a_vector_stand)
{
	struct goheap_span s[100];
	struct goheap_stats st;
	unsigned int done;

	for (int i = 0; i < 100; i++)
		s[i] = (struct goheap_span){ .npages = 16, .tag = i };
	ASSERT_EQ(0, limit_set(self->fd, ALL, (70 * 16 + 15) * PAGE));
	EXPECT_EQ(-ENOMEM, vec(self->fd, GOHEAP_SPAN_ALLOC, s, 100, 0, &done));
	EXPECT_EQ(70, done);
	for (int i = 0; i < 100; i++)
		EXPECT_EQ(i < 70, s[i].addr != 0);
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(70, st.nr_spans);
	EXPECT_EQ(70 * 16 * PAGE, st.heap_inuse);
}

/* 16 spans of 1 MiB, each second of which is idle and has pages. */
static bool comb(int fd, char **p)
{
	for (int i = 0; i < 16; i++) {
		p[i] = touched(fd, MIB);
		if (!p[i])
			return false;
	}
	for (int i = 0; i < 16; i += 2)
		if (span_free(fd, p[i], 0))
			return false;
	return true;
}

TEST_F(heap, what_is_idle_goes_when_it_is_in_the_way)
{
	struct goheap_span s;
	char *p[16];

	ASSERT_EQ(0, limit_set(self->fd, ALL, 16 * MIB));
	ASSERT_TRUE(comb(self->fd, p));
	for (int i = 1; i < 16; i += 2)
		fill(p[i], MIB, i);
	EXPECT_EQ(16 * MIB, held(self->fd));
	/* No idle run has 2 MiB. */
	EXPECT_EQ(0, span_alloc(self->fd, 2 * MIB_PAGES, 0, &s));
	EXPECT_LE(held(self->fd), 16 * MIB);
	EXPECT_GE(demanded(self->fd), 2 * MIB);
	EXPECT_LE(demanded(self->fd), 6 * MIB);
	/* To the last byte, and not beyond. */
	EXPECT_EQ(-ENOMEM, span_alloc(self->fd, 6 * MIB_PAGES + 1, 0, &s));
	EXPECT_EQ(0, span_alloc(self->fd, 6 * MIB_PAGES, 0, &s));
	EXPECT_EQ(16 * MIB, held(self->fd));
	for (int i = 1; i < 16; i += 2)
		EXPECT_TRUE(filled(p[i], MIB, i));
}

/* Elements are read again from the one that room is made for: here they end before so many. */
TEST_F(heap, a_vector_goes_on_where_room_was_made)
{
	char *end = mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct goheap_span *s;
	struct goheap_stats st;
	unsigned int done;
	char *p[16];

	ASSERT_NE(MAP_FAILED, end);
	end += 4096;
	ASSERT_EQ(0, mprotect(end, 4096, PROT_NONE));
	s = (struct goheap_span *)end - 40;
	for (int i = 0; i < 40; i++)
		s[i] = (struct goheap_span){ .npages = i == 10 ? 2 * MIB_PAGES : 1 };
	ASSERT_EQ(0, limit_set(self->fd, ALL, 16 * MIB));
	ASSERT_TRUE(comb(self->fd, p));
	EXPECT_EQ(-EFAULT, vec(self->fd, GOHEAP_SPAN_ALLOC, s, 64, 0, &done));
	EXPECT_EQ(10, done);
	EXPECT_EQ(0, s[10].addr);
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(8 * MIB + 10 * PAGE, st.heap_inuse);
	EXPECT_EQ(0, vec(self->fd, GOHEAP_SPAN_ALLOC, s + 10, 30, 0, &done));
	EXPECT_EQ(30, done);
	EXPECT_LE(held(self->fd), 16 * MIB);
	munmap(end - 4096, 2 * 4096);
}

TEST_F(heap, what_is_idle_stays_when_it_is_not)
{
	struct goheap_span s;
	char *p[16];

	ASSERT_EQ(0, limit_set(self->fd, ALL, 16 * MIB));
	ASSERT_TRUE(comb(self->fd, p));
	/* Too much for the limit, idle or not. */
	EXPECT_EQ(-ENOMEM, span_alloc(self->fd, 8 * MIB_PAGES + 1, 0, &s));
	/* And for what the arena has left, though not with what is idle. */
	EXPECT_EQ(-ENOMEM, span_alloc(self->fd, (ARENA - 12 * MIB) / PAGE, 0, &s));
	for (int n = 0; n < 1000; n++) {
		char *q = span_new(self->fd, MIB_PAGES);

		ASSERT_NE(NULL, q);
		ASSERT_EQ(0, span_free(self->fd, q, 0));
	}
	EXPECT_EQ(0, demanded(self->fd));
	EXPECT_EQ(16 * MIB, held(self->fd));
}

TEST_F(heap, growing_in_place)
{
	struct goheap_stats before, after;
	struct goheap_resize r;
	char *idle = touched(self->fd, 2 * MIB), *p = touched(self->fd, MIB);

	ASSERT_EQ(0, limit_set(self->fd, ALL, 4 * MIB));
	ASSERT_EQ(0, stats(self->fd, &before));
	EXPECT_EQ(-ENOMEM, span_resize(self->fd, p, 2 * MIB_PAGES + 1, &r));
	ASSERT_EQ(0, stats(self->fd, &after));
	EXPECT_EQ(0, memcmp(&before, &after, sizeof(before)));
	EXPECT_EQ(0, span_resize(self->fd, p, 2 * MIB_PAGES, &r));
	EXPECT_EQ(0, span_resize(self->fd, p, MIB_PAGES, &r));
	/* Room is made for the rest. */
	ASSERT_EQ(0, span_free(self->fd, idle, 0));
	EXPECT_EQ(-ENOMEM, span_resize(self->fd, p, 4 * MIB_PAGES + 1, &r));
	EXPECT_EQ(0, demanded(self->fd));
	EXPECT_EQ(0, span_resize(self->fd, p, 4 * MIB_PAGES, &r));
	EXPECT_EQ(4 * MIB, held(self->fd));
	EXPECT_GE(demanded(self->fd), 2 * MIB);
	EXPECT_EQ(-EINVAL, span_resize(self->fd, p + PAGE, 8 * MIB_PAGES, &r));
}

/* One that is shrunk leaves idle pages behind it, which it may have again. */
TEST_F(heap, growing_over_what_has_pages)
{
	struct goheap_resize r;
	char *p = touched(self->fd, 4 * MIB);

	ASSERT_EQ(0, limit_set(self->fd, ALL, 4 * MIB));
	ASSERT_EQ(0, span_resize(self->fd, p, 1, &r));
	EXPECT_EQ(4 * MIB, held(self->fd));
	EXPECT_EQ(0, span_resize(self->fd, p, 4 * MIB_PAGES, &r));
	EXPECT_EQ(0, demanded(self->fd));
	EXPECT_EQ(-ENOMEM, span_resize(self->fd, p, 4 * MIB_PAGES + 1, &r));
}

TEST_F(heap, lowered_below_what_is_in_use)
{
	struct goheap_span s;
	char *p[16];

	ASSERT_TRUE(comb(self->fd, p));
	EXPECT_EQ(16 * MIB, held(self->fd));
	ASSERT_EQ(0, limit_set(self->fd, ALL, 4 * MIB));
	/* What is idle went at once, and nothing else. */
	EXPECT_EQ(8 * MIB, held(self->fd));
	EXPECT_TRUE(is_zero(p[0], MIB));
	EXPECT_EQ(1, p[1][MIB - 1]);
	EXPECT_EQ(-ENOMEM, span_alloc(self->fd, 1, 0, &s));
	for (int i = 1; i < 11; i += 2)
		ASSERT_EQ(0, span_free(self->fd, p[i], 0));
	/* So does what becomes idle later, until the limit is kept. */
	EXPECT_LE(falls_to(self->fd, 4 * MIB), 4 * MIB);
	EXPECT_EQ(0, span_alloc(self->fd, MIB_PAGES, 0, &s));
	EXPECT_EQ(-ENOMEM, span_alloc(self->fd, 1, 0, &s));
}

/* ---- soft ---------------------------------------------------------------------------- */

/* One free, or the worker might come between two, with less that is idle. */
TEST_F(heap, the_soft_limit_releases_down_to_an_eighth_below_it)
{
	char *idle, *live, *last = NULL;
	uint64_t was;

	ASSERT_EQ(0, limit_set(self->fd, 16 * MIB, ALL));
	idle = touched(self->fd, 30 * MIB);
	live = touched(self->fd, 2 * MIB);
	ASSERT_NE(NULL, idle);
	ASSERT_NE(NULL, live);
	sleep_ms(200);
	EXPECT_EQ(32 * MIB, held(self->fd));
	ASSERT_EQ(0, span_free(self->fd, idle, 0));
	EXPECT_LE(falls_to(self->fd, 14 * MIB), 14 * MIB);
	sleep_ms(200);
	EXPECT_GT(held(self->fd), 10 * MIB);
	EXPECT_EQ(1, live[2 * MIB - 1]);
	/* Then up to the limit, nothing. */
	while (held(self->fd) < 16 * MIB) {
		last = span_new(self->fd, MIB_PAGES);
		ASSERT_NE(NULL, last);
	}
	was = demanded(self->fd);
	ASSERT_EQ(0, span_free(self->fd, last, 0));
	sleep_ms(300);
	EXPECT_EQ(was, demanded(self->fd));
	EXPECT_EQ(16 * MIB, held(self->fd));
}

TEST_F(heap, up_to_the_soft_limit_nothing_is_released)
{
	char *p = touched(self->fd, 16 * MIB);

	ASSERT_EQ(0, limit_set(self->fd, 16 * MIB, ALL));
	ASSERT_EQ(0, span_free(self->fd, p, 0));
	sleep_ms(300);
	EXPECT_EQ(0, demanded(self->fd));
	EXPECT_EQ(16 * MIB, held(self->fd));
}

/* Beside what is idle, growth takes more than the limit. */
TEST_F(heap, an_allocation_above_the_soft_limit_releases_what_is_idle)
{
	char *p = touched(self->fd, 8 * MIB);

	ASSERT_EQ(0, limit_set(self->fd, 16 * MIB, ALL));
	ASSERT_EQ(0, span_free(self->fd, p, 0));
	ASSERT_NE(NULL, span_new(self->fd, 12 * MIB_PAGES));
	EXPECT_LE(falls_to(self->fd, 14 * MIB), 14 * MIB);
}

TEST_F(heap, a_shrunk_span_too)
{
	struct goheap_resize r;
	char *p = touched(self->fd, 32 * MIB);

	ASSERT_EQ(0, limit_set(self->fd, 16 * MIB, ALL));
	ASSERT_EQ(0, span_resize(self->fd, p, 1, &r));
	EXPECT_LE(falls_to(self->fd, 14 * MIB), 14 * MIB);
}

TEST_F(heap, setting_the_soft_limit_releases_at_once)
{
	char *p = touched(self->fd, 32 * MIB);

	ASSERT_EQ(0, span_free(self->fd, p, 0));
	ASSERT_EQ(0, limit_set(self->fd, 16 * MIB, ALL));
	EXPECT_LE(held(self->fd), 16 * MIB);
	EXPECT_GT(held(self->fd), 12 * MIB);
}

/* A program that needs more than its soft limit is left alone most of the time. */
TEST_F(heap, a_busy_program_above_its_soft_limit_keeps_its_pages)
{
	uint64_t frees = 0, began;

	ASSERT_EQ(0, limit_set(self->fd, 4 * MIB, ALL));
	ASSERT_NE(NULL, touched(self->fd, 8 * MIB));
	began = now_ms();
	/* On a slow kernel the worker, which only tries, may find nothing idle for long. */
	for (; now_ms() < began + 2000 || frees < 1000 ||
	       (!demanded(self->fd) && now_ms() < began + 30000); frees++) {
		char *q = span_new(self->fd, 64);

		ASSERT_NE(NULL, q);
		*q = 1;
		ASSERT_EQ(0, span_free(self->fd, q, 0));
	}
	TH_LOG("%llu frees, %llu releases", (unsigned long long)frees,
	       (unsigned long long)(demanded(self->fd) / (64 * PAGE)));
	EXPECT_GE(demanded(self->fd), 64 * PAGE);
	EXPECT_LE(demanded(self->fd), 64 * PAGE * ((now_ms() - began) / 50 + 2));
}

/* ---- when the worker cannot release ----------------------------------------------------- */

#define LOCKED	(64 * MIB)

static atomic_bool lock_over;

/* Holds the mmap lock for writing nearly all the time: each call looks at every page. */
static void *hold_mmap_lock(void *arg)
{
	while (!lock_over) {
		mprotect(arg, LOCKED, PROT_READ);
		mprotect(arg, LOCKED, PROT_READ | PROT_WRITE);
	}
	return NULL;
}

/*
 * Only a heap that khugepaged may have is released under the mmap lock.  The worker
 * finds it taken when it comes, but for an unlikely moment: so twice.
 */
TEST(a_release_that_found_a_lock_taken_is_tried_again)
{
	char *busy = mmap(NULL, LOCKED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *arena;
	int fd;

	ASSERT_NE(MAP_FAILED, busy);
	madvise(busy, LOCKED, MADV_NOHUGEPAGE);
	memset(busy, 1, LOCKED);
	if (file_write(ALLOWED, "1"))
		SKIP(return, "needs root");
	fd = dev_open();
	EXPECT_EQ(0, file_write(ALLOWED, "0"));
	arena = arena_map(fd, ARENA);
	ASSERT_NE(MAP_FAILED, arena);
	ASSERT_EQ(0, limit_set(fd, 16 * MIB, ALL));
	for (int n = 0; n < 2; n++) {
		char *idle = touched(fd, 32 * MIB);
		pthread_t t;

		ASSERT_NE(NULL, idle);
		lock_over = false;
		ASSERT_EQ(0, pthread_create(&t, NULL, hold_mmap_lock, busy));
		ASSERT_EQ(0, span_free(fd, idle, 0));
		sleep_ms(200);
		lock_over = true;
		pthread_join(t, NULL);
		/* No call comes that would have it look again. */
		EXPECT_LE(falls_to(fd, 14 * MIB), 14 * MIB);
	}
	munmap(busy, LOCKED);
	close(fd);
	munmap(arena, ARENA);
}

/* While a child shares the arena it would be in vain: not before the next call. */
TEST_F(heap, a_release_that_a_forked_child_forbids_is_not_tried_again)
{
	char *idle = touched(self->fd, 32 * MIB), *next = span_new(self->fd, 1);
	struct goheap_stats st;
	pid_t pid;

	ASSERT_EQ(0, limit_set(self->fd, 16 * MIB, ALL));
	pid = sharer();
	ASSERT_EQ(0, span_free(self->fd, idle, 0));
	sleep_ms(1000);
	kill(pid, SIGKILL);
	reap(pid);
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_GE(st.scav_skipped, 1);
	/* Not 20 times in this second. */
	EXPECT_LE(st.scav_skipped, 4);
	EXPECT_EQ(32 * MIB + PAGE, held(self->fd));
	ASSERT_EQ(0, span_free(self->fd, next, 0));
	EXPECT_LE(falls_to(self->fd, 14 * MIB), 14 * MIB);
}

/* Heaps that end between the moment when too much is held, and the release. */
TEST(heaps_that_go_before_the_worker_comes)
{
	long long heaps = file_number(SYSFS "/heaps");

	for (int n = 0; n < 200; n++) {
		int fd = dev_open();
		char *arena = arena_map(fd, 64 * MIB), *p = touched(fd, MIB);

		ASSERT_NE(NULL, p);
		ASSERT_EQ(0, limit_set(fd, 0, ALL));
		ASSERT_EQ(0, span_free(fd, p, 0));
		/* Some are released meanwhile. */
		if (n % 8 == 0)
			sleep_ms(n % 100);
		munmap(arena, 64 * MIB);
		close(fd);
	}
	for (int n = 0; n < 100 && file_number(SYSFS "/heaps") != heaps; n++)
		sleep_ms(100);
	EXPECT_EQ(heaps, file_number(SYSFS "/heaps"));
}

/* ---- threads ---------------------------------------------------------------------------- */

#define THREADS		4
#define RACE_HARD	(64 * MIB)
#define RACE_SPANS	64

struct racer {
	int fd;
	uint64_t seed;
	uint64_t budget;	/* no more than this is asked for */
	volatile uint64_t allocs;
	uint64_t refused, wrong;
};

static atomic_bool race_over;

static void race_step(struct racer *r, struct goheap_span *s, uint64_t *mine)
{
	int err;

	if (s->addr) {
		if (!filled((void *)s->addr, PAGE, s->addr) || span_free(r->fd, (void *)s->addr, 0))
			r->wrong++;
		*mine -= s->npages * PAGE;
		s->addr = 0;
		return;
	}
	s->npages = 1 + rnd(&r->seed) % (rnd(&r->seed) % 4 ? 32 : 512);
	if (*mine + s->npages * PAGE > r->budget)
		return;
	err = span_alloc(r->fd, s->npages, 0, s);
	if (err == -ENOMEM) {
		r->refused++;
		s->addr = 0;
		return;
	}
	r->wrong += err != 0;
	r->allocs++;
	*mine += s->npages * PAGE;
	fill((void *)s->addr, PAGE, s->addr);
}

static void *race(void *arg)
{
	struct goheap_span spans[RACE_SPANS] = {};
	struct racer *r = arg;
	uint64_t mine = 0;

	while (!race_over)
		race_step(r, &spans[rnd(&r->seed) % RACE_SPANS], &mine);
	for (int i = 0; i < RACE_SPANS; i++)
		if (spans[i].addr)
			span_free(r->fd, (void *)spans[i].addr, 0);
	return NULL;
}

/* On a slow machine, they need longer for that. */
static bool busy_enough(const struct racer *r)
{
	for (int i = 0; i < THREADS; i++)
		if (r[i].allocs < 300)
			return false;
	return true;
}

/* The most that was ever seen to be held while they ran. */
static uint64_t run_race(int fd, struct racer *r, uint64_t budget)
{
	uint64_t began = now_ms(), most = 0, now;
	struct goheap_scavenge sc;
	pthread_t t[THREADS];

	race_over = false;
	for (int i = 0; i < THREADS; i++) {
		r[i] = (struct racer){ .fd = fd, .seed = i, .budget = budget };
		pthread_create(&t[i], NULL, race, &r[i]);
	}
	for (int n = 0; now_ms() < began + 3000 ||
			(now_ms() < began + 30000 && !busy_enough(r)); n++) {
		now = held(fd);
		most = now > most ? now : most;
		if (n % 64 == 0)
			scavenge(fd, MIB, &sc);
	}
	race_over = true;
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	return most;
}

/* Together they want half as much again. */
TEST_F_TIMEOUT(heap, four_threads_never_exceed_the_hard_limit, 60)
{
	struct racer r[THREADS];
	uint64_t most, allocs = 0, refused = 0;
	struct goheap_span s;

	ASSERT_EQ(0, limit_set(self->fd, ALL, RACE_HARD));
	most = run_race(self->fd, r, RACE_HARD / THREADS * 3 / 2);
	for (int i = 0; i < THREADS; i++) {
		EXPECT_EQ(0, r[i].wrong);
		allocs += r[i].allocs;
		refused += r[i].refused;
	}
	TH_LOG("%llu allocated, %llu refused, at most %llu KiB held", (unsigned long long)allocs,
	       (unsigned long long)refused, (unsigned long long)most >> 10);
	EXPECT_LE(most, RACE_HARD);
	EXPECT_GT(most, RACE_HARD / 4 * 3);
	EXPECT_GT(refused, 0);
	/* All of it can be had afterwards. */
	EXPECT_EQ(0, span_alloc(self->fd, RACE_HARD / PAGE, 0, &s));
	EXPECT_EQ(-ENOMEM, span_alloc(self->fd, 1, 0, &s));
}

/* Together they want no more than there is, so that whoever is refused was wronged. */
TEST_F_TIMEOUT(heap, nobody_is_refused_what_is_there, 60)
{
	struct racer r[THREADS];
	uint64_t most, released;

	ASSERT_EQ(0, limit_set(self->fd, ALL, RACE_HARD));
	most = run_race(self->fd, r, RACE_HARD / THREADS);
	for (int i = 0; i < THREADS; i++) {
		EXPECT_EQ(0, r[i].wrong);
		EXPECT_EQ(0, r[i].refused);
		EXPECT_GT(r[i].allocs, 10);
	}
	released = demanded(self->fd);
	TH_LOG("at most %llu KiB held, %llu MiB released", (unsigned long long)most >> 10,
	       (unsigned long long)released >> 20);
	EXPECT_LE(most, RACE_HARD);
	EXPECT_GT(released, 0);
}

/* Limits that change, and the worker, under them. */
TEST_F_TIMEOUT(heap, limits_that_change_under_allocations, 60)
{
	uint64_t end = now_ms() + 4000, seed = 1;
	struct racer r[THREADS];
	pthread_t t[THREADS];

	race_over = false;
	for (int i = 0; i < THREADS; i++) {
		r[i] = (struct racer){ .fd = self->fd, .seed = i, .budget = RACE_HARD };
		pthread_create(&t[i], NULL, race, &r[i]);
	}
	while (now_ms() < end) {
		uint64_t soft = rnd(&seed) % RACE_HARD;

		ASSERT_EQ(0, limit_set(self->fd, soft, soft + rnd(&seed) % RACE_HARD));
		sleep_ms(rnd(&seed) % 60);
	}
	ASSERT_EQ(0, limit_set(self->fd, ALL, ALL));
	race_over = true;
	for (int i = 0; i < THREADS; i++) {
		pthread_join(t[i], NULL);
		EXPECT_EQ(0, r[i].wrong);
	}
}

/* ---- fork ------------------------------------------------------------------------------- */

TEST_F(heap, while_a_forked_child_shares_the_arena)
{
	uint64_t began = now_ms();
	struct goheap_span s;
	char *p[16];
	pid_t pid;

	ASSERT_EQ(0, limit_set(self->fd, ALL, 16 * MIB));
	ASSERT_TRUE(comb(self->fd, p));
	pid = sharer();
	/* Nothing can be released, but what has pages can be reused. */
	EXPECT_EQ(-ENOMEM, span_alloc(self->fd, 2 * MIB_PAGES, 0, &s));
	EXPECT_EQ(0, span_alloc(self->fd, MIB_PAGES, 0, &s));
	EXPECT_EQ(0, limit_set(self->fd, MIB, 12 * MIB));
	EXPECT_LIMITS(MIB, 12 * MIB);
	EXPECT_EQ(16 * MIB, held(self->fd));
	/* 9 MiB are in use. */
	EXPECT_EQ(-ENOMEM, span_alloc(self->fd, 3 * MIB_PAGES + 1, 0, &s));
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(0, span_alloc(self->fd, MIB_PAGES, 0, &s));
	EXPECT_EQ(-ENOMEM, span_alloc(self->fd, 1, 0, &s));
	EXPECT_LT(now_ms() - began, 5000);
	EXPECT_EQ(0, demanded(self->fd));
	EXPECT_EQ(1, p[0][0]);
	kill(pid, SIGKILL);
	reap(pid);
	EXPECT_EQ(0, limit_set(self->fd, ALL, 16 * MIB));
	EXPECT_EQ(0, span_alloc(self->fd, 4 * MIB_PAGES, 0, &s));
	EXPECT_EQ(16 * MIB, held(self->fd));
}

/* ---- in sysfs ----------------------------------------------------------------------------- */

TEST_F(heap, files_show_and_set)
{
	EXPECT_STREQ("max", read_in(self->dir, "limit_soft"));
	EXPECT_STREQ("max", read_in(self->dir, "limit_hard"));
	EXPECT_EQ(0, write_in(self->dir, "limit_hard", "20000000\n"));
	EXPECT_EQ(0, write_in(self->dir, "limit_soft", "0x1000000"));
	EXPECT_LIMITS(16 * MIB, 20000000 / PAGE * PAGE);
	EXPECT_STREQ("16777216", read_in(self->dir, "limit_soft"));
	EXPECT_STREQ("19996672", read_in(self->dir, "limit_hard"));
	EXPECT_EQ(0, write_in(self->dir, "limit_soft", "max\n"));
	EXPECT_LIMITS(ALL, 20000000 / PAGE * PAGE);
	EXPECT_EQ(0, write_in(self->dir, "limit_hard", "max"));
	EXPECT_LIMITS(ALL, ALL);
	ASSERT_EQ(0, limit_set(self->fd, 0, MIB));
	EXPECT_STREQ("0", read_in(self->dir, "limit_soft"));
	EXPECT_STREQ("1048576", read_in(self->dir, "limit_hard"));
}

TEST_F(heap, files_refuse)
{
	static const char *const bad[] = {
		"some", "all", "-1", "1 2", "1M", "\n", "maximum", "18446744073709551616",
	};

	ASSERT_EQ(0, limit_set(self->fd, 10 * MIB, 20 * MIB));
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		EXPECT_EQ(-EINVAL, write_in(self->dir, "limit_soft", bad[i])) TH_LOG("%s", bad[i]);
		EXPECT_EQ(-EINVAL, write_in(self->dir, "limit_hard", bad[i])) TH_LOG("%s", bad[i]);
	}
	EXPECT_EQ(-EINVAL, write_in(self->dir, "limit_hard", "10485759"));
	EXPECT_EQ(-EINVAL, write_in(self->dir, "limit_soft", "20979712"));
	EXPECT_LIMITS(10 * MIB, 20 * MIB);
	EXPECT_EQ(0, write_in(self->dir, "limit_hard", "10485760"));
	EXPECT_LIMITS(10 * MIB, 10 * MIB);
}

TEST_F(heap, files_release_at_once)
{
	struct goheap_span s;
	char *p[16];

	ASSERT_TRUE(comb(self->fd, p));
	EXPECT_EQ(0, write_in(self->dir, "limit_soft", "14680064"));
	EXPECT_LE(held(self->fd), 14 * MIB);
	EXPECT_EQ(0, write_in(self->dir, "limit_soft", "0"));
	EXPECT_EQ(0, write_in(self->dir, "limit_hard", "1"));
	EXPECT_EQ(8 * MIB, held(self->fd));
	EXPECT_EQ(-ENOMEM, span_alloc(self->fd, 1, 0, &s));
}

static int set_by_file(int fd, const char *dir)
{
	uint64_t soft, hard;

	if (write_in(dir, "limit_hard", "1048576") || strcmp(read_in(dir, "limit_hard"), "1048576"))
		return 1;
	return limit_get(fd, &soft, &hard) || hard != MIB ? 2 : 0;
}

TEST_F(heap, a_users_own_files_are_writable_by_it)
{
	if (!is_root())
		SKIP(return, "needs root");
	EXPECT_EQ(0, as_user(set_by_file));
}

TEST_HARNESS_MAIN
