// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Release by age: with a limit of a second, memory that a process freed is gone
 * three seconds later, whether the process runs, sleeps in all threads, or was
 * stopped; what it uses stays.  Needs root, for the module's parameter.
 */
#include "dev.h"
#include <kselftest_harness.h>

NEED(is_root, "needs root");

#define ARENA	(256 * MIB)
#define LIMIT	PARAMS "/scavenge_limit_ms"
#define PERCENT	PARAMS "/scavenge_cpu_percent"
#define LIVE	(4 * MIB)
#define IDLE	(64 * MIB)
/* What the library promises: within 2 MiB of the live data, here in KiB. */
#define NEAR	2048

struct report {
	long before_kib;	/* before anything was freed */
	long empty_kib;		/* before anything was allocated */
};

static void *sleeper(void *arg)
{
	for (;;)
		pause();
	return NULL;
}

/* A process with idle memory, all of whose threads sleep until it is told to end. */
static int victim(int up, int down)
{
	struct report r;
	char *live, *idle, c;
	pthread_t t;
	int heap = dev_open();

	if (arena_map(heap, ARENA) == MAP_FAILED)
		return 1;
	r.empty_kib = rss_kib(getpid());
	live = span_new(heap, LIVE / PAGE);
	idle = span_new(heap, IDLE / PAGE);
	fill(live, LIVE, 1);
	memset(idle, 1, IDLE);
	r.before_kib = rss_kib(getpid());
	span_free(heap, idle, IDLE / PAGE);
	for (int i = 0; i < 3; i++)
		pthread_create(&t, NULL, sleeper, NULL);
	if (write(up, &r, sizeof(r)) != sizeof(r) || read(down, &c, 1) != 1)
		return 2;
	return filled(live, LIVE, 1) ? 0 : 3;
}

FIXTURE(age) {
	char limit[32], percent[32];
	struct report r;
	pid_t pid;
	int down[2];
};

FIXTURE_SETUP(age)
{
	char *was = file_read(LIMIT);
	int up[2];

	ASSERT_NE(NULL, was);
	strcpy(self->limit, was);
	was = file_read(PERCENT);
	ASSERT_NE(NULL, was);
	strcpy(self->percent, was);
	/* An emulated CPU is slow, and its clock is not. */
	ASSERT_EQ(0, file_write(PERCENT, "100"));
	ASSERT_EQ(0, pipe(up) | pipe(self->down));
	ASSERT_EQ(0, file_write(LIMIT, "1000"));
	self->pid = fork();
	if (!self->pid)
		_exit(victim(up[1], self->down[0]));
	ASSERT_EQ(sizeof(self->r), read(up[0], &self->r, sizeof(self->r)));
	/* Each thread counts up to 64 pages before it tells of them. */
	ASSERT_GE(self->r.before_kib - self->r.empty_kib, (long)(IDLE + LIVE) / 1024 - 256);
}

FIXTURE_TEARDOWN(age)
{
	kill(self->pid, SIGCONT);
	ASSERT_EQ(1, write(self->down[1], "x", 1));
	EXPECT_EQ(0, reap(self->pid));
	EXPECT_EQ(0, file_write(LIMIT, self->limit));
	EXPECT_EQ(0, file_write(PERCENT, self->percent));
}

static bool falls_within_3_s(pid_t pid, const struct report *r)
{
	uint64_t end = now_ms() + 3000;
	long goal = r->empty_kib + LIVE / 1024 + NEAR;

	while (rss_kib(pid) > goal && now_ms() < end)
		sleep_ms(50);
	return rss_kib(pid) <= goal;
}

TEST_F(age, asleep_in_all_threads)
{
	EXPECT_TRUE(falls_within_3_s(self->pid, &self->r));
}

TEST_F(age, stopped)
{
	ASSERT_EQ(0, kill(self->pid, SIGSTOP));
	EXPECT_TRUE(falls_within_3_s(self->pid, &self->r));
}

TEST_F(age, off)
{
	ASSERT_EQ(0, file_write(LIMIT, "0"));
	EXPECT_FALSE(falls_within_3_s(self->pid, &self->r));
	EXPECT_GE(rss_kib(self->pid), self->r.before_kib - NEAR);
	/* And on again, which takes effect at once. */
	ASSERT_EQ(0, file_write(LIMIT, "1000"));
	EXPECT_TRUE(falls_within_3_s(self->pid, &self->r));
}

TEST_F(age, a_long_limit_is_not_waited_for_when_it_gets_short)
{
	ASSERT_EQ(0, file_write(LIMIT, "3600000"));
	ASSERT_EQ(0, file_write(LIMIT, "1000"));
	EXPECT_TRUE(falls_within_3_s(self->pid, &self->r));
}

/* What is allocated and freed again and again is never old. */
TEST_F(age, what_is_used_is_not_released)
{
	struct goheap_stats st;
	int fd = dev_open();
	uint64_t end = now_ms() + 2500;
	char *p;

	ASSERT_NE(MAP_FAILED, arena_map(fd, ARENA));
	while (now_ms() < end) {
		p = span_new(fd, 64);
		ASSERT_NE(NULL, p);
		memset(p, 1, 64 * PAGE);
		ASSERT_EQ(0, span_free(fd, p, 64));
		sleep_ms(10);
	}
	ASSERT_EQ(0, stats(fd, &st));
	EXPECT_EQ(0, st.scav_age_bytes);
	close(fd);
}

TEST_F(age, counted_by_its_cause)
{
	struct goheap_stats st;
	uint64_t end = now_ms() + 3000;
	int fd = dev_open();
	char *p;

	ASSERT_NE(MAP_FAILED, arena_map(fd, ARENA));
	p = span_new(fd, 1000);
	memset(p, 1, 1000 * PAGE);
	ASSERT_EQ(0, span_free(fd, p, 1000));
	do {
		sleep_ms(50);
		ASSERT_EQ(0, stats(fd, &st));
	} while (st.scav_age_bytes < 1000 * PAGE && now_ms() < end);
	EXPECT_EQ(1000 * PAGE, st.scav_age_bytes);
	EXPECT_EQ(0, st.scav_pressure_bytes + st.scav_demand_bytes);
	EXPECT_EQ(st.heap_idle, st.heap_released);
	close(fd);
}

/* Milliseconds from when the first of IDLE bytes of small pages were released to the last. */
static uint64_t release_ms(int fd, const char *percent)
{
	uint64_t before, begin, bytes = 0;
	struct goheap_stats st;
	char *p = span_new(fd, IDLE / PAGE);

	if (!p || (has_huge_pages() && madvise(p, IDLE, MADV_NOHUGEPAGE)) ||
	    file_write(PERCENT, percent))
		return 0;
	memset(p, 1, IDLE);
	stats(fd, &st);
	before = st.scav_age_bytes;
	span_free(fd, p, IDLE / PAGE);
	for (begin = now_ms(); bytes < IDLE; bytes = st.scav_age_bytes - before) {
		if (!bytes)
			begin = now_ms();
		sleep_ms(1);
		stats(fd, &st);
	}
	return now_ms() - begin;
}

TEST_F_TIMEOUT(age, takes_a_part_of_one_cpu, 120)
{
	uint64_t all = ALL, part, ms;
	int fd = dev_open();

	ASSERT_NE(MAP_FAILED, arena_map(fd, ARENA));
	/* What else the machine does can only make it longer. */
	for (int i = 0; i < 5; i++) {
		ms = release_ms(fd, "100");
		all = ms < all ? ms : all;
	}
	part = release_ms(fd, "2");
	TH_LOG("%llu ms, and %llu ms with 2 %% of a CPU", (unsigned long long)all,
	       (unsigned long long)part);
	ASSERT_GT(all, 0);
	/* Fifty times as long; less by what is not the worker's time. */
	EXPECT_GE(part, 10 * all);
	close(fd);
}

TEST_F(age, refuses_other_percentages)
{
	EXPECT_EQ(-EINVAL, file_write(PERCENT, "0"));
	EXPECT_EQ(-EINVAL, file_write(PERCENT, "101"));
	EXPECT_EQ(-EINVAL, file_write(PERCENT, "-1"));
	EXPECT_EQ(-EINVAL, file_write(PERCENT, "x"));
	EXPECT_STREQ("100", file_read(PERCENT));
}

TEST_HARNESS_MAIN
