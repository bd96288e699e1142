// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Whose heap it is, and the fork rule: commands answer nobody but the process
 * that mapped the arena, and nothing is released while a forked child shares it.
 */
#include "stranger.h"
#include <kselftest_harness.h>

#define ARENA	(256 * MIB)

/* In the image that exec() started. */
static __attribute__((constructor)) void executed(void)
{
	const char *fd = getenv("GOHEAP_TEST_EXEC_FD");

	if (fd)
		_exit(all_stale(atoi(fd)));
}

FIXTURE(heap) {
	int fd;
	char *arena;
	int up[2], down[2];	/* pipes to and from a child */
};

FIXTURE_SETUP(heap)
{
	self->fd = dev_open();
	self->arena = arena_map(self->fd, ARENA);
	ASSERT_NE(MAP_FAILED, self->arena);
	ASSERT_EQ(0, pipe(self->up));
	ASSERT_EQ(0, pipe(self->down));
}

FIXTURE_TEARDOWN(heap)
{
	struct goheap_stats st;

	EXPECT_EQ(0, stats(self->fd, &st));
}

static bool tell(int *p)
{
	return write(p[1], "x", 1) == 1;
}

static bool hear(int *p)
{
	char c;

	return read(p[0], &c, 1) == 1;
}

TEST_F(heap, a_forked_child)
{
	pid_t pid = fork();

	if (!pid)
		_exit(all_stale(self->fd));
	EXPECT_EQ(0, reap(pid));
}

TEST_F(heap, a_program_after_exec)
{
	char fd[16];
	pid_t pid;

	snprintf(fd, sizeof(fd), "%d", dup(self->fd));	/* without close-on-exec */
	pid = fork();
	if (!pid) {
		setenv("GOHEAP_TEST_EXEC_FD", fd, 1);
		execl("/proc/self/exe", "fork_test", NULL);
		_exit(99);
	}
	EXPECT_EQ(0, reap(pid));
}

TEST(a_process_that_was_sent_the_descriptor)
{
	int pair[2], fd;
	pid_t pid;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pid = fork();
	if (!pid)
		_exit(all_stale(recv_fd(pair[1])));
	fd = dev_open();
	ASSERT_NE(MAP_FAILED, arena_map(fd, ARENA));
	ASSERT_EQ(0, send_fd(pair[0], fd));
	EXPECT_EQ(0, reap(pid));
}

/* Of two that share an open without a heap, the one that maps first has it. */
TEST(who_maps_first_owns)
{
	struct goheap_info i;
	int fd = dev_open();
	pid_t pid = fork();

	if (!pid)
		_exit(arena_map(fd, ARENA) == MAP_FAILED || info(fd, &i));
	EXPECT_EQ(0, reap(pid));
	EXPECT_EQ(0, all_stale(fd));
}

static void *thread_alloc(void *arg)
{
	return span_new(*(int *)arg, 8);
}

TEST_F(heap, threads_and_vfork_share_it)
{
	struct goheap_stats st = { .size = sizeof(st) };
	pthread_t t;
	void *p;
	pid_t pid;

	ASSERT_EQ(0, pthread_create(&t, NULL, thread_alloc, &self->fd));
	pthread_join(t, &p);
	EXPECT_NE(NULL, p);
	EXPECT_EQ(0, span_free(self->fd, p, 8));
	pid = vfork();
	if (!pid)
		_exit(!!ioctl(self->fd, GOHEAP_STATS, &st));
	EXPECT_EQ(0, reap(pid));
}

TEST_F(heap, nothing_is_released_while_a_child_lives)
{
	char *p = span_new(self->fd, 512);
	struct goheap_scavenge sc;
	struct goheap_stats st;
	pid_t pid;

	fill(p, 512 * PAGE, 1);
	pid = fork();
	if (!pid)
		_exit(!(tell(self->up) && hear(self->down) && filled(p, 512 * PAGE, 1)));
	ASSERT_TRUE(hear(self->up));
	ASSERT_EQ(0, span_free(self->fd, p, 512));
	ASSERT_EQ(0, scavenge(self->fd, ALL, &sc));
	EXPECT_EQ(0, sc.released_bytes);
	EXPECT_EQ(512 * PAGE, sc.waiting_bytes);
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(1, st.scav_skipped);
	EXPECT_EQ(0, st.scav_demand_bytes);
	EXPECT_TRUE(filled(p, 512 * PAGE, 1));
	ASSERT_TRUE(tell(self->down));
	EXPECT_EQ(0, reap(pid));

	/* The child is gone: now it is. */
	ASSERT_EQ(0, scavenge(self->fd, ALL, &sc));
	EXPECT_EQ(512 * PAGE, sc.released_bytes);
	EXPECT_EQ(0, sc.waiting_bytes);
	EXPECT_TRUE(is_zero(p, 512 * PAGE));
}

TEST_F(heap, nor_while_a_grandchild_lives)
{
	char *p = span_new(self->fd, 64);
	struct goheap_scavenge sc;
	pid_t pid;

	fill(p, 64 * PAGE, 1);
	pid = fork();
	if (!pid) {
		if (!fork())
			_exit(!(tell(self->up) && hear(self->down) &&
				filled(p, 64 * PAGE, 1) && tell(self->up)));
		_exit(0);
	}
	ASSERT_EQ(0, reap(pid));
	ASSERT_TRUE(hear(self->up));
	ASSERT_EQ(0, span_free(self->fd, p, 64));
	ASSERT_EQ(0, scavenge(self->fd, ALL, &sc));
	EXPECT_EQ(0, sc.released_bytes);
	ASSERT_TRUE(tell(self->down));
	EXPECT_TRUE(hear(self->up));
}

TEST_F(heap, a_child_that_called_exec_does_not_count)
{
	char *p = span_new(self->fd, 64);
	struct goheap_scavenge sc;
	int ready[2];
	pid_t pid;
	char c;

	ASSERT_EQ(0, pipe2(ready, O_CLOEXEC));
	memset(p, 1, 64 * PAGE);
	ASSERT_EQ(0, span_free(self->fd, p, 64));
	pid = fork();
	if (!pid) {
		execl("/bin/sleep", "sleep", "60", NULL);
		_exit(1);
	}
	close(ready[1]);
	EXPECT_EQ(0, read(ready[0], &c, 1));	/* closed by exec() */
	sleep_ms(50);
	ASSERT_EQ(0, scavenge(self->fd, ALL, &sc));
	EXPECT_EQ(64 * PAGE, sc.released_bytes);
	kill(pid, SIGKILL);
	reap(pid);
}

static volatile bool stop;

static void *scavenger(void *arg)
{
	struct goheap_scavenge sc;

	while (!stop)
		scavenge(*(int *)arg, ALL, &sc);
	return NULL;
}

/* Once it was told that the heap is not its own. */
static int write_to_idle(int fd, char *p)
{
	struct goheap_info i;

	if (info(fd, &i) != -ESTALE)
		return 1;
	memset(p, 7, 64 * PAGE);
	sleep_ms(50);
	for (unsigned int k = 0; k < 64 * PAGE; k++)
		if (p[k] != 7)
			return 2;
	return 0;
}

static bool is_all_released(int fd)
{
	struct goheap_stats st;

	return !stats(fd, &st) && st.heap_idle == st.heap_released;
}

TEST_F_TIMEOUT(heap, what_a_child_writes_to_idle_memory_stays, 60)
{
	pthread_t t;
	pid_t pid;
	char *p;

	ASSERT_EQ(0, pthread_create(&t, NULL, scavenger, &self->fd));
	for (int n = 0; n < 20; n++) {
		while (!is_all_released(self->fd))
			sleep_ms(1);
		p = span_new(self->fd, 64);
		ASSERT_NE(NULL, p);
		memset(p, 1, 64 * PAGE);
		ASSERT_EQ(0, span_free(self->fd, p, 64));
		/* Until it is being released. */
		usleep(n * 100);
		pid = fork();
		if (!pid)
			_exit(write_to_idle(self->fd, p));
		ASSERT_EQ(0, reap(pid)) TH_LOG("child %d", n);
	}
	stop = true;
	pthread_join(t, NULL);
}

/*
 * A parent scavenges in a loop, and frees and reuses the spans that its children
 * inherited, while 200 of them check again and again that nothing is missing.
 */
#define CHILDREN	200
#define SPANS		16

static int check_inherited(char **span, uint64_t seed, int *up, int *down)
{
	tell(up);
	for (int look = 0; look < 3; look++) {
		for (int i = 0; i < SPANS; i++)
			if (!filled(span[i], 8 * PAGE, seed + i))
				return 1;
		if (look == 1 && !hear(down))
			return 2;
	}
	return 0;
}

TEST_F_TIMEOUT(heap, not_one_byte_is_lost_to_200_children, 120)
{
	char *span[SPANS];
	pthread_t t;

	ASSERT_EQ(0, pthread_create(&t, NULL, scavenger, &self->fd));
	for (int n = 0; n < CHILDREN; n++) {
		uint64_t seed = n * SPANS;
		pid_t pid;

		for (int i = 0; i < SPANS; i++) {
			span[i] = span_new(self->fd, 8);
			ASSERT_NE(NULL, span[i]);
			fill(span[i], 8 * PAGE, seed + i);
		}
		pid = fork();
		if (!pid)
			_exit(check_inherited(span, seed, self->up, self->down));
		ASSERT_TRUE(hear(self->up));
		for (int i = 0; i < SPANS; i++)
			ASSERT_EQ(0, span_free(self->fd, span[i], 8));
		sched_yield();
		ASSERT_TRUE(tell(self->down));
		ASSERT_EQ(0, reap(pid)) TH_LOG("child %d", n);
	}
	stop = true;
	pthread_join(t, NULL);
}

/* The same, with children that live side by side and die as they like. */
TEST_F_TIMEOUT(heap, nor_when_children_overlap, 120)
{
	char *span[SPANS];
	pid_t pid[8] = {};
	pthread_t t;

	for (int i = 0; i < SPANS; i++) {
		span[i] = span_new(self->fd, 8);
		fill(span[i], 8 * PAGE, i);
	}
	ASSERT_EQ(0, pthread_create(&t, NULL, scavenger, &self->fd));
	for (int n = 0; n < 80; n++) {
		pid_t *p = &pid[n % 8];

		if (*p)
			ASSERT_EQ(0, reap(*p));
		*p = fork();
		if (!*p) {
			for (int look = 0; look < 1 + n % 8; look++) {
				for (int i = 0; i < SPANS; i++)
					if (!filled(span[i], 8 * PAGE, i))
						_exit(1);
				sleep_ms(2);
			}
			_exit(0);
		}
		/* Frees one, and has it back, filled as before. */
		ASSERT_EQ(0, span_free(self->fd, span[n % SPANS], 8));
		span[n % SPANS] = span_new(self->fd, 8);
		ASSERT_NE(NULL, span[n % SPANS]);
		fill(span[n % SPANS], 8 * PAGE, n % SPANS);
	}
	for (int i = 0; i < 8; i++)
		EXPECT_EQ(0, reap(pid[i]));
	stop = true;
	pthread_join(t, NULL);
}

TEST_HARNESS_MAIN
