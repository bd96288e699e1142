// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * poll() on a heap: memory pressure wakes whoever waits, and each rise of the
 * pressure generation is told once to each open.  The shrinkers are called by way
 * of /proc/sys/vm/drop_caches, and by a memory cgroup.  Needs root.
 */
#include "sysfs.h"
#include <kselftest_harness.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/select.h>

NEED(is_root, "needs root");

#define ARENA	(64 * MIB)
#define DROP	"/proc/sys/vm/drop_caches"
#define CGROUP	"/sys/fs/cgroup/goheap_poll_test"

FIXTURE(heap) {
	int fd;
	char *arena;
	char dir[64];
	volatile struct goheap_ctl *ctl;
};

FIXTURE_SETUP(heap)
{
	self->fd = dev_open();
	self->arena = arena_map(self->fd, ARENA);
	ASSERT_NE(MAP_FAILED, self->arena);
	self->ctl = ctl_map(self->fd);
	ASSERT_NE(MAP_FAILED, self->ctl);
	ASSERT_EQ(0, heap_dir(self->fd, self->dir));
}

FIXTURE_TEARDOWN(heap)
{
	close(self->fd);
	munmap(self->arena, ARENA);
	munmap((void *)self->ctl, 4096);
	/*
	 * A forked child's memory holds the heap too, and may outlive the child: reclaim
	 * keeps the mm that it looks at, and puts it later.
	 */
	for (int i = 0; i < 500 && !access(self->dir, F_OK); i++)
		sleep_ms(10);
	EXPECT_EQ(-1, access(self->dir, F_OK));
}

/* What poll() says within so many ms, 0 for nothing, or a negative errno. */
static int polled(int fd, short events, int ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	int n = poll(&p, 1, ms);

	return n < 0 ? -errno : n ? p.revents : 0;
}

/* Where next to nothing is idle, the first call is only remembered. */
static int pressure(void)
{
	return file_write(DROP, "2") || file_write(DROP, "2");
}

TEST_F(heap, nothing_without_pressure)
{
	EXPECT_EQ(0, polled(self->fd, POLLPRI, 0));
	EXPECT_EQ(0, polled(self->fd, POLLPRI | POLLIN | POLLOUT, 50));
}

TEST_F(heap, pressure_is_told_once)
{
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, pressure());
		EXPECT_EQ(POLLPRI, polled(self->fd, POLLPRI | POLLIN | POLLOUT, 0));
		EXPECT_EQ(0, polled(self->fd, POLLPRI | POLLIN | POLLOUT, 0));
	}
}

TEST_F(heap, who_does_not_ask_uses_nothing_up)
{
	ASSERT_EQ(0, pressure());
	EXPECT_EQ(0, polled(self->fd, POLLIN | POLLOUT, 0));
	EXPECT_EQ(0, polled(self->fd, 0, 0));
	EXPECT_EQ(POLLPRI, polled(self->fd, POLLPRI, 0));
}

/* ---- waiting ---------------------------------------------------------------------- */

struct waiter {
	int fd, ms;
	int said;
	uint64_t woken_ms;
};

static void *wait_for(void *arg)
{
	struct waiter *w = arg;

	w->said = polled(w->fd, POLLPRI, w->ms);
	w->woken_ms = now_ms();
	return NULL;
}

/* What who waits is told, if it is pressure now that wakes it, and soon; an error. */
static int woken_by_pressure(struct waiter *w, pthread_t t)
{
	uint64_t began = now_ms();
	int err = pressure();

	pthread_join(t, NULL);
	if (err)
		return err;
	if (w->woken_ms < began)
		return -EALREADY;
	return w->woken_ms - began < 5000 ? w->said : -ETIME;
}

TEST_F(heap, pressure_wakes_who_waits)
{
	struct waiter w = { .fd = self->fd, .ms = 20000 };
	pthread_t t;

	ASSERT_EQ(0, pthread_create(&t, NULL, wait_for, &w));
	sleep_ms(300);
	EXPECT_EQ(POLLPRI, woken_by_pressure(&w, t));
}

TEST_F(heap, a_signal_ends_the_wait)
{
	pid_t pid = fork();
	int fd;

	if (!pid) {
		fd = dev_open();
		if (arena_map(fd, ARENA) == MAP_FAILED)
			_exit(1);
		alarm(1);
		_exit(polled(fd, POLLPRI, 20000) == 0);
	}
	EXPECT_EQ(128 + SIGALRM, reap(pid));
}

/*
 * The file that is polled keeps the heap, whatever becomes of the rest.  Whoever is
 * woken looks for the descriptor again, which poll() does for any file.
 */
TEST(closed_and_unmapped_while_someone_waits)
{
	int low = dev_open(), fd = fcntl(low, F_DUPFD_CLOEXEC, 100);
	struct waiter w = { .fd = fd, .ms = 20000 };
	char *arena = arena_map(fd, ARENA);
	long long heaps;
	pthread_t t;

	ASSERT_NE(MAP_FAILED, arena);
	close(low);
	heaps = file_number(SYSFS "/heaps");
	ASSERT_EQ(0, pthread_create(&t, NULL, wait_for, &w));
	sleep_ms(300);
	close(fd);
	munmap(arena, ARENA);
	sleep_ms(100);
	EXPECT_EQ(heaps, file_number(SYSFS "/heaps"));
	EXPECT_EQ(POLLNVAL, woken_by_pressure(&w, t));
	EXPECT_EQ(heaps - 1, file_number(SYSFS "/heaps"));
}

TEST_F(heap, of_threads_that_poll_one_open_no_rise_is_told_twice)
{
	uint64_t gen = self->ctl->pressure_gen;
	struct waiter w[8];
	pthread_t t[8];
	int told = 0;

	for (int i = 0; i < 8; i++) {
		w[i] = (struct waiter){ .fd = self->fd, .ms = 2000 };
		ASSERT_EQ(0, pthread_create(&t[i], NULL, wait_for, &w[i]));
	}
	sleep_ms(300);
	ASSERT_EQ(0, pressure());
	for (int i = 0; i < 8; i++) {
		pthread_join(t[i], NULL);
		told += w[i].said == POLLPRI;
	}
	EXPECT_GE(told, 1);
	EXPECT_LE(told, self->ctl->pressure_gen - gen);
	EXPECT_EQ(0, polled(self->fd, POLLPRI, 0));
}

TEST_F(heap, each_open_is_told)
{
	int fd = dev_open(), late = dev_open();

	ASSERT_EQ(0, attach(fd, self->arena));
	ASSERT_EQ(0, pressure());
	ASSERT_EQ(0, attach(late, self->arena));
	EXPECT_EQ(POLLPRI, polled(self->fd, POLLPRI, 0));
	EXPECT_EQ(POLLPRI, polled(fd, POLLPRI, 0));
	EXPECT_EQ(0, polled(self->fd, POLLPRI, 0));
	EXPECT_EQ(0, polled(fd, POLLPRI, 0));
	/* What was before it has the heap is no news. */
	EXPECT_EQ(0, polled(late, POLLPRI, 0));
	ASSERT_EQ(0, pressure());
	EXPECT_EQ(POLLPRI, polled(late, POLLPRI, 0));
	close(late);
	close(fd);
}

/* ---- no heap, or not ours ------------------------------------------------------------ */

TEST(an_error_before_the_arena_is_mapped)
{
	int fd = dev_open();

	EXPECT_EQ(POLLERR, polled(fd, POLLPRI, 5000));
	EXPECT_EQ(POLLERR, polled(fd, 0, 5000));
	ASSERT_NE(MAP_FAILED, arena_map(fd, ARENA));
	EXPECT_EQ(0, polled(fd, POLLPRI, 0));
	ASSERT_EQ(0, pressure());
	EXPECT_EQ(POLLPRI, polled(fd, POLLPRI, 0));
	close(fd);
}

TEST_F(heap, an_error_in_a_forked_child_which_takes_nothing_away)
{
	pid_t pid;

	ASSERT_EQ(0, pressure());
	pid = fork();
	if (!pid)
		_exit(polled(self->fd, POLLPRI, 5000) != POLLERR);
	EXPECT_EQ(0, reap(pid));
	EXPECT_EQ(POLLPRI, polled(self->fd, POLLPRI, 0));
}

/* ---- select and epoll ------------------------------------------------------------------ */

TEST_F(heap, select_finds_an_exception)
{
	struct timeval none = {};
	fd_set in, out, ex;

	ASSERT_EQ(0, pressure());
	for (int i = 0; i < 2; i++) {
		FD_ZERO(&in);
		FD_SET(self->fd, &in);
		out = ex = in;
		EXPECT_EQ(i ? 0 : 1, select(self->fd + 1, &in, &out, &ex, &none));
		EXPECT_EQ(!i, FD_ISSET(self->fd, &ex) != 0);
	}
}

static int epoll_add(int fd, unsigned int events)
{
	struct epoll_event e = { .events = events };
	int ep = epoll_create1(EPOLL_CLOEXEC);

	return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) ? -1 : ep;
}

static int epolled(int ep, int ms)
{
	struct epoll_event e;
	int n = epoll_wait(ep, &e, 1, ms);

	return n < 0 ? -errno : n ? (int)e.events : 0;
}

static void use_epoll(struct __test_metadata *_metadata, int fd, unsigned int flags)
{
	int ep;

	/* What was before it was added is used up. */
	ASSERT_EQ(0, pressure());
	ep = epoll_add(fd, EPOLLPRI | flags);
	ASSERT_GE(ep, 0);
	EXPECT_EQ(0, epolled(ep, 0));
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, pressure());
		EXPECT_EQ(EPOLLPRI, epolled(ep, 5000));
		EXPECT_EQ(0, epolled(ep, 50));
	}
	close(ep);
}

TEST_F(heap, epoll)
{
	use_epoll(_metadata, self->fd, 0);
}

TEST_F(heap, epoll_edge_triggered)
{
	use_epoll(_metadata, self->fd, EPOLLET);
}

static void *drop_later(void *arg)
{
	sleep_ms(300);
	pressure();
	return arg;
}

TEST_F(heap, pressure_wakes_who_waits_with_epoll)
{
	int ep = epoll_add(self->fd, EPOLLPRI);
	uint64_t began = now_ms();
	pthread_t t;

	ASSERT_GE(ep, 0);
	ASSERT_EQ(0, pthread_create(&t, NULL, drop_later, NULL));
	EXPECT_EQ(EPOLLPRI, epolled(ep, 20000));
	EXPECT_GE(now_ms() - began, 250);
	EXPECT_LT(now_ms() - began, 10000);
	pthread_join(t, NULL);
	close(ep);
}

TEST_F(heap, epoll_forgets_an_open_that_is_closed)
{
	int fd = dev_open(), ep;

	ASSERT_EQ(0, attach(fd, self->arena));
	ep = epoll_add(fd, EPOLLPRI);
	ASSERT_GE(ep, 0);
	close(fd);
	ASSERT_EQ(0, pressure());
	EXPECT_EQ(0, epolled(ep, 50));
	close(ep);
}

/* ---- under load ------------------------------------------------------------------------- */

static atomic_bool stop;

#define COMINGS		10	/* and goings, at least */

static void *come_and_go(void *arg)
{
	atomic_uint *n = arg;

	while (!stop) {
		struct waiter w = { .fd = dev_open(), .ms = 3 };
		char *arena = arena_map(w.fd, ARENA);
		int ep = epoll_add(w.fd, EPOLLPRI | EPOLLET);
		pthread_t t;

		if (pthread_create(&t, NULL, wait_for, &w))
			break;
		epolled(ep, 1);
		close(w.fd);
		munmap(arena, ARENA);
		pthread_join(t, NULL);
		close(ep);
		++*n;
	}
	return NULL;
}

/* Heaps that go while they are polled and asked. */
TEST(heaps_come_and_go_under_pressure)
{
	uint64_t end = now_ms() + 4000;
	atomic_uint n[3] = {};
	pthread_t t[3];

	for (int i = 0; i < 3; i++)
		ASSERT_EQ(0, pthread_create(&t[i], NULL, come_and_go, &n[i]));
	while (now_ms() < end || n[0] < COMINGS || n[1] < COMINGS || n[2] < COMINGS)
		ASSERT_EQ(0, pressure());
	stop = true;
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
}

#define OPENS	64

/* Of one heap: each has a word of its own for what it was told. */
struct opens {
	int fd[OPENS];
	atomic_uint told[OPENS];
	atomic_uint here;	/* how often one of two came to the next open */
};

static void *look_at_each(void *arg)
{
	struct opens *o = arg;

	for (unsigned int i = 0; i < OPENS; i++) {
		o->here++;
		/* Spinning, that both go on at the same moment. */
		for (unsigned int n = 0; o->here < 2 * (i + 1); n++)
			if (n > 10000)
				sched_yield();
		o->told[i] += polled(o->fd[i], POLLPRI, 0) == POLLPRI;
	}
	return NULL;
}

/* A race that is seldom lost: so at many opens, and often. */
TEST_F_TIMEOUT(heap, of_two_that_look_at_the_same_moment_one_is_told, 60)
{
	struct opens o = {};
	int rounds = 0, wrong = 0;
	uint64_t gen;
	pthread_t t;

	for (int i = 0; i < OPENS; i++) {
		o.fd[i] = dev_open();
		ASSERT_EQ(0, attach(o.fd[i], self->arena));
	}
	for (int n = 0; n < 100; n++) {
		memset(o.told, 0, sizeof(o.told));
		o.here = 0;
		ASSERT_EQ(0, pressure());
		gen = self->ctl->pressure_gen;
		ASSERT_EQ(0, pthread_create(&t, NULL, look_at_each, &o));
		look_at_each(&o);
		pthread_join(t, NULL);
		/* Memory may really be short, and raise it meanwhile. */
		if (self->ctl->pressure_gen != gen)
			continue;
		rounds++;
		for (int i = 0; i < OPENS; i++)
			wrong += o.told[i] != 1;
	}
	EXPECT_GT(rounds, 0);
	EXPECT_EQ(0, wrong);
	for (int i = 0; i < OPENS; i++)
		close(o.fd[i]);
}

/* Whoever looks after each rise, sees each rise: none is lost between look and sleep. */
TEST_F_TIMEOUT(heap, no_rise_is_slept_through, 60)
{
	pid_t pid = fork();
	int n = 0;

	if (!pid)
		for (;;)
			if (pressure())
				_exit(1);
	for (uint64_t end = now_ms() + 4000; now_ms() < end || n < 10; n++)
		ASSERT_EQ(POLLPRI, polled(self->fd, POLLPRI, 5000));
	TH_LOG("woken %d times", n);
	kill(pid, SIGKILL);
	reap(pid);
}

/* ---- in a memory cgroup ----------------------------------------------------------------- */

/* Waits, in the cgroup, for pressure on the cgroup. */
static int wait_in_cgroup(int up)
{
	int fd = dev_open();
	char *p;

	if (file_write(CGROUP "/cgroup.procs", "0") || arena_map(fd, ARENA) == MAP_FAILED)
		return 1;
	p = span_new(fd, 32 * MIB / PAGE);
	memset(p, 1, 32 * MIB);
	if (span_free(fd, p, 0) || write(up, "x", 1) != 1)
		return 2;
	return polled(fd, POLLPRI, 20000) == POLLPRI ? 0 : 3;
}

TEST_F(heap, reclaim_from_a_cgroup_wakes_its_own)
{
	int up[2];
	pid_t pid;
	char c;

	file_write("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	if (mkdir(CGROUP, 0755) || access(CGROUP "/memory.high", W_OK)) {
		rmdir(CGROUP);
		SKIP(return, "needs cgroup2 with the memory controller");
	}
	ASSERT_EQ(0, pipe(up));
	pid = fork();
	if (!pid)
		_exit(wait_in_cgroup(up[1]));
	EXPECT_EQ(1, read(up[0], &c, 1));
	sleep_ms(200);
	EXPECT_EQ(0, polled(self->fd, POLLPRI, 0));
	/* Reclaims until so little is used. */
	EXPECT_EQ(0, file_write(CGROUP "/memory.high", "8M"));
	EXPECT_EQ(0, reap(pid));
	/* This heap is not in it. */
	EXPECT_EQ(0, polled(self->fd, POLLPRI, 0));
	for (int i = 0; i < 100 && rmdir(CGROUP); i++)
		sleep_ms(20);
}

TEST_HARNESS_MAIN
