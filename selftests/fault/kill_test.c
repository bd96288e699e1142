// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A process with three threads that do all commands at random is killed at random
 * times, again and again, in the middle of whatever it does; with a forked child of
 * its own that lives a little longer, sometimes.  Each time all that it had goes.
 */
#include <module.h>
#include <kselftest_harness.h>
#include <poll.h>
#include <sys/prctl.h>

#define ARENA	(256 * MIB)
#define ROUNDS	40
#define THREADS	3

static int fd;
static char *arena;
static volatile unsigned int *nr_ops;	/* shared with the one who kills */

static void spans(uint64_t *state)
{
	static const unsigned int sizes[] = { 1, 7, 64, 300 };
	struct goheap_span s[64];
	unsigned int nr = 1 + rnd(state) % 64, done;
	uint64_t align = rnd(state) % 4 ? 0 : MIB;
	struct goheap_resize r;

	for (unsigned int i = 0; i < nr; i++)
		s[i] = (struct goheap_span){ .npages = sizes[rnd(state) % 4] };
	vec(fd, GOHEAP_SPAN_ALLOC, s, nr, align, &done);
	for (unsigned int i = 0; i < done; i++) {
		fill((char *)s[i].addr, s[i].npages * PAGE, i);
		s[i].flags = 0;
	}
	if (done)
		span_resize(fd, (char *)s[0].addr, 1 + rnd(state) % 100, &r);
	for (unsigned int i = 0; i < done; i++)
		s[i].npages = 0;
	if (done && rnd(state) % 8)
		vec(fd, GOHEAP_SPAN_FREE, s, done, 0, NULL);
}

static void others(uint64_t *state)
{
	struct pollfd p = { .fd = fd, .events = POLLPRI };
	struct goheap_scavenge sc;
	struct goheap_stats st;
	struct goheap_info i;
	int fd2;

	switch (rnd(state) % 8) {
	case 0:
		limit_set(fd, (rnd(state) % 64) * MIB, ALL);
		break;
	case 1:
		limit_set(fd, ALL, (64 + rnd(state) % 64) * MIB);
		break;
	case 2:
		fd2 = dev_open();
		attach(fd2, arena);
		stats(fd2, &st);
		close(fd2);
		break;
	case 3:
		poll(&p, 1, 3);
		break;
	case 4:
		info(fd, &i);
		ctl_map(fd);
		break;
	case 5:
		madvise(arena + rnd(state) % 32 * 2 * MIB, 2 * MIB, MADV_DONTNEED);
		break;
	default:
		scavenge(fd, rnd(state) % 2 ? ALL : 3 * MIB, &sc);
	}
}

static void *at_random(void *arg)
{
	uint64_t state = (uintptr_t)arg;

	for (;; ++*nr_ops)
		rnd(&state) % 3 ? spans(&state) : others(&state);
	return NULL;
}

/* Until it is killed.  Children die with it, or a little later. */
static void victim(unsigned int round)
{
	pthread_t t;

	fd = dev_open();
	arena = arena_map(fd, ARENA);
	if (arena == MAP_FAILED)
		_exit(1);
	for (uintptr_t i = 1; i < THREADS; i++)
		if (pthread_create(&t, NULL, at_random, (void *)(round * THREADS + i)))
			_exit(2);
	if (round % 4 == 0 && !fork()) {
		prctl(PR_SET_PDEATHSIG, SIGALRM);
		sleep_ms(round);
		_exit(0);
	}
	at_random((void *)(uintptr_t)(round * THREADS));
}

FIXTURE(killed) {
	long long allocs;
};

FIXTURE_SETUP(killed)
{
	self->allocs = file_number(SYSFS "/nr_allocs");
	nr_ops = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)nr_ops);
}

FIXTURE_TEARDOWN(killed)
{
	long long allocs = file_number(SYSFS "/nr_allocs");

	EXPECT_TRUE(no_heap_soon());
	/* They were at work when they were killed. */
	TH_LOG("%lld spans", allocs - self->allocs);
	EXPECT_LT(self->allocs + ROUNDS, allocs);
}

TEST_F_TIMEOUT(killed, anywhere, 200)
{
	uint64_t state = now_ms();

	for (unsigned int round = 0; round < ROUNDS; round++) {
		unsigned int ms = rnd(&state) % 40;
		pid_t pid = fork();

		ASSERT_LE(0, pid);
		if (!pid)
			victim(round);
		/* At work, most of the time. */
		for (int i = 0; round % 8 && !*nr_ops && i < 1000; i++)
			sleep_ms(5);
		*nr_ops = 0;
		sleep_ms(ms);
		kill(pid, SIGKILL);
		ASSERT_EQ(128 + SIGKILL, reap(pid)) {
			TH_LOG("round %u, %u ms", round, ms);
		}
	}
}

TEST_HARNESS_MAIN
