// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Many processes: fork storms out of busy threads, and processes killed in the
 * middle of whatever they do.  In the end no heap is left, and the neighbours
 * have lost nothing.  GOHEAP_SECONDS says for how long (10).
 */
#include <dev.h>
#include <kselftest_harness.h>

#define DEFAULT_SECONDS	10
#include "seconds.h"

#define ARENA	(256 * MIB)
#define SPANS	64

static volatile bool stop;

/* Works on spans of its own in a heap that it may share; 0, or what was wrong. */
static int churn(int fd, uint64_t seed, uint64_t end)
{
	struct goheap_scavenge sc;
	char *span[SPANS] = {};
	uint64_t n[SPANS];

	while (!stop && now_ms() < end) {
		int i = rnd(&seed) % SPANS;

		if (rnd(&seed) % 100 == 0 && scavenge(fd, ALL, &sc))
			return 1;
		if (!span[i]) {
			n[i] = 1 + rnd(&seed) % 32;
			span[i] = span_new(fd, n[i]);
			if (!span[i])
				return 2;
			fill(span[i], n[i] * PAGE, i);
			continue;
		}
		if (!filled(span[i], n[i] * PAGE, i))
			return 3;
		if (span_free(fd, span[i], n[i]))
			return 4;
		span[i] = NULL;
	}
	for (int i = 0; i < SPANS; i++)
		if (span[i] && (!filled(span[i], n[i] * PAGE, i) || span_free(fd, span[i], 0)))
			return 5;
	return 0;
}

struct churner {
	pthread_t thread;
	int fd;
	int ret;
};

static void *churn_thread(void *arg)
{
	struct churner *c = arg;

	c->ret = churn(c->fd, (uintptr_t)c, ~0ULL);
	return NULL;
}

FIXTURE(procs) {
	long long heaps;	/* before */
};

FIXTURE_SETUP(procs)
{
	self->heaps = file_number(SYSFS "/heaps");
}

/* The last references are dropped by the scavenger, it may be. */
FIXTURE_TEARDOWN(procs)
{
	for (int i = 0; i < 100 && file_number(SYSFS "/heaps") != self->heaps; i++)
		sleep_ms(50);
	EXPECT_EQ(self->heaps, file_number(SYSFS "/heaps"));
}

/* A child of a busy parent: looks at what it inherited, and has a heap of its own. */
static int storm_child(const char *kept, uint64_t seed)
{
	int fd, err;

	if (!filled(kept, MIB, 7))
		return 10;
	fd = dev_open();
	if (arena_map(fd, 64 * MIB) == MAP_FAILED)
		return 11;
	err = churn(fd, seed, now_ms() + 20);
	return err ? err : filled(kept, MIB, 7) ? 0 : 12;
}

TEST_F_TIMEOUT(procs, fork_storm, 250)
{
	struct churner c[2];
	uint64_t end = now_ms() + seconds * 1000ULL;
	int fd = dev_open();
	char *arena = arena_map(fd, ARENA), *kept;
	pid_t pid[4] = {};
	unsigned int n = 0;

	ASSERT_NE(MAP_FAILED, arena);
	kept = span_new(fd, MIB / PAGE);
	fill(kept, MIB, 7);
	for (int i = 0; i < 2; i++) {
		c[i].fd = fd;
		ASSERT_EQ(0, pthread_create(&c[i].thread, NULL, churn_thread, &c[i]));
	}
	while (now_ms() < end) {
		pid_t *p = &pid[n++ % 4];

		if (*p)
			ASSERT_EQ(0, reap(*p));
		*p = fork();
		if (!*p)
			_exit(storm_child(kept, n));
	}
	for (int i = 0; i < 4; i++)
		if (pid[i])
			EXPECT_EQ(0, reap(pid[i]));
	stop = true;
	for (int i = 0; i < 2; i++) {
		pthread_join(c[i].thread, NULL);
		EXPECT_EQ(0, c[i].ret);
	}
	TH_LOG("%u children", n);
	EXPECT_TRUE(filled(kept, MIB, 7));
	munmap(arena, ARENA);
	close(fd);
}

/* Two threads at work, until it is killed. */
static void doomed(uint64_t seed)
{
	struct churner c = { .fd = dev_open() };

	if (arena_map(c.fd, ARENA) == MAP_FAILED)
		_exit(1);
	pthread_create(&c.thread, NULL, churn_thread, &c);
	_exit(churn(c.fd, seed, ~0ULL) ? 2 : 3);
}

TEST_F_TIMEOUT(procs, killed_in_the_middle, 250)
{
	uint64_t end = now_ms() + seconds * 1000ULL, seed = 1;
	pid_t pid[6] = {};
	unsigned int n = 0;

	while (now_ms() < end) {
		pid_t *p = &pid[n++ % 6];

		if (*p) {
			kill(*p, SIGKILL);
			ASSERT_EQ(128 + SIGKILL, reap(*p));
		}
		*p = fork();
		if (!*p)
			doomed(n);
		sleep_ms(rnd(&seed) % 40);
		if (n % 8 == 0)
			file_write("/proc/sys/vm/drop_caches", "2");
	}
	for (int i = 0; i < 6; i++)
		if (pid[i]) {
			kill(pid[i], SIGKILL);
			EXPECT_EQ(128 + SIGKILL, reap(pid[i]));
		}
	TH_LOG("%u processes", n);
}

/* Killed while a thread waits in SCAVENGE and others allocate, with a child about. */
TEST_F_TIMEOUT(procs, killed_with_children, 250)
{
	uint64_t end = now_ms() + seconds * 500ULL;
	unsigned int n = 0;

	while (now_ms() < end) {
		pid_t pid = fork();

		if (!pid) {
			struct churner c = { .fd = dev_open() };

			if (arena_map(c.fd, ARENA) == MAP_FAILED)
				_exit(1);
			pthread_create(&c.thread, NULL, churn_thread, &c);
			if (!fork()) {
				sleep_ms(30);
				_exit(0);
			}
			churn(c.fd, n, ~0ULL);
		}
		sleep_ms(10 + n++ % 20);
		kill(pid, SIGKILL);
		ASSERT_EQ(128 + SIGKILL, reap(pid));
	}
	sleep_ms(100);
}

TEST_HARNESS_MAIN
