// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * What processes do beside allocating: threads that fork, children made in other ways,
 * signals at any moment, locked memory, and filters of system calls.  Other threads
 * allocate meanwhile, and nothing that they hold may change.
 */
#define _GNU_SOURCE
#include <goheap.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <sys/time.h>
#include "back_seccomp.h"
#include "front_blocks.h"

#define CHURNERS	3

static pthread_t churners[CHURNERS];

static int start_churning(void)
{
	for (uintptr_t i = 0; i < CHURNERS; i++)
		T(!pthread_create(&churners[i], NULL, churner, (void *)(i + 100)));
	return T_PASS;
}

static int end_churning(void)
{
	__atomic_store_n(&stop_churning, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < CHURNERS; i++)
		T(!pthread_join(churners[i], NULL));
	return drop_all_blocks();
}

/* Blocks of all sizes, some of them large, filled and compared. */
#define NR	600

static size_t size_of(int i)
{
	return (size_t)(i % 20 ? i * 53 % 9000 + 1 : 40000 + i * 500);
}

static int use(void)
{
	unsigned char **p = vcalloc(NR, sizeof(*p));
	int bad = !p;

	for (int i = 0; i < NR && !bad; i++) {
		p[i] = i % 3 ? vmalloc(size_of(i)) : vcalloc(1, size_of(i));
		bad |= !p[i] || (!(i % 3) && (p[i][0] || p[i][size_of(i) - 1]));
		if (p[i])
			memset(p[i], i & 255, size_of(i));
	}
	for (int i = 0; i < NR && !bad; i++) {
		bad |= p[i][0] != (i & 255) || p[i][size_of(i) - 1] != (i & 255);
		vfree(p[i]);
	}
	vfree(p);
	return bad;
}

/* ---- children ---- */

#define FORKERS	4
#define FORKS	8

static int forked_child(void)
{
	alarm(60);
	if (drop_all_blocks() || use())
		return 1;
	goheap_flush();
	goheap_scavenge(SIZE_MAX);
	return use() ? 2 : 17;
}

static void *forker(void *arg)
{
	uintptr_t bad = 0;

	for (int i = 0; i < FORKS; i++) {
		pid_t pid = fork();

		if (!pid)
			_exit(forked_child());
		bad += use();
		bad += t_wait(pid) != 17;
	}
	return (void *)bad;
}

/* The child is the thread that forked; all the others, which fork too, are gone. */
static int test_threads_fork(void)
{
	pthread_t t[FORKERS];
	uintptr_t bad = 0;
	void *ret;

	if (T_SANITIZED)
		return T_SKIP;
	T_SUB(start_churning());
	for (int i = 0; i < FORKERS; i++)
		T(!pthread_create(&t[i], NULL, forker, NULL));
	for (int i = 0; i < FORKERS; i++) {
		pthread_join(t[i], &ret);
		bad += (uintptr_t)ret;
	}
	T_EQ(bad, 0);
	return end_churning();
}

/* Addresses only: nothing is touched. */
#define LONG_BYTES	((size_t)16 << 20)
#define LONG_BLOCKS	2000u

static volatile bool go_on;

/* Has more and more of the arena opened. */
static void *grower(void *arg)
{
	while (go_on)
		for (unsigned int i = 0; go_on && i < LONG_BLOCKS; i++)
			if (!malloc(LONG_BYTES))
				return "no memory";
	return NULL;
}

static int growing_child(void)
{
	alarm(20);
	for (unsigned int i = 0; i < 20; i++)
		if (!malloc(LONG_BYTES))
			return 1;
	return 17;
}

static int fork_beside(void *(*thread)(void *), int (*child)(void), int forks)
{
	pthread_t t;
	void *why;

	if (T_SANITIZED)
		return T_SKIP;
	go_on = true;
	T(!pthread_create(&t, NULL, thread, NULL));
	for (int i = 0; i < forks; i++) {
		pid_t pid = fork();

		if (!pid)
			_exit(child());
		T_EQ(t_wait(pid), 17);
	}
	go_on = false;
	pthread_join(t, &why);
	T(!why);
	return T_PASS;
}

static int test_fork_grows(void)
{
	return fork_beside(grower, growing_child, 60);
}

#define KEPT	3

/* Finds what it kept where it is not the last. */
static void *keeper(void *arg)
{
	void *p[KEPT];

	while (go_on) {
		for (size_t i = 0; i < KEPT; i++)
			p[i] = vmalloc(40000 + i * 10000);
		for (size_t i = 0; i < KEPT; i++)
			vfree(p[i]);
	}
	return arg;
}

/* Takes over what the thread kept, and finds each object once. */
static int keeping_child(void)
{
	static unsigned char *p[64];

	alarm(20);
	for (unsigned int i = 0; i < 2000; i++)
		if (!vmalloc(8 + i % 1000))
			return 1;
	for (unsigned int i = 0; i < 64; i++) {
		p[i] = vmalloc(40000 + i % KEPT * 10000);
		memset(p[i], i + 1, 40000);
	}
	for (unsigned int i = 0; i < 64; i++) {
		if (p[i][0] != i + 1 || p[i][39999] != i + 1)
			return 2;
		vfree(p[i]);
	}
	goheap_flush();
	return 17;
}

static int test_fork_keeps(void)
{
	return fork_beside(keeper, keeping_child, 150);
}

extern char **environ;

static int test_spawn(void)
{
	char *argv[] = { "front_life_test", "--use", NULL };
	posix_spawn_file_actions_t actions;
	pid_t pid;

	T_SUB(start_churning());
	T(!posix_spawn_file_actions_init(&actions));
	T(!posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0));
	for (int i = 0; i < 20; i++) {
		T(!posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ));
		T(!use());
		T_EQ(t_wait(pid), 42);
	}
	posix_spawn_file_actions_destroy(&actions);
	T_EQ(system("exit 3") >> 8, 3);
	return end_churning();
}

static int cloned_done;

/* It has no thread of libc's, and so allocates nothing. */
static int cloned(void *arg)
{
	unsigned char *p = arg;

	while (!__atomic_load_n(&cloned_done, __ATOMIC_ACQUIRE))
		p[0]++;
	return 17;
}

/* A process that shares the memory, while the parent goes on. */
static int test_clone_vm(void)
{
	size_t bytes = 64 << 10;
	char *stack = vmalloc(bytes), *p = vmalloc(1);
	pid_t pid;

	pid = clone(cloned, stack + bytes, CLONE_VM | CLONE_FS | CLONE_FILES | SIGCHLD, p);
	T(pid > 0);
	for (int i = 0; i < 20; i++)
		T(!use());
	__atomic_store_n(&cloned_done, 1, __ATOMIC_RELEASE);
	T_EQ(t_wait(pid), 17);
	vfree(p);
	vfree(stack);
	return T_PASS;
}

/* ---- signals ---- */

static unsigned int ticks;

static void tick(int sig)
{
	ticks++;
	errno = ERANGE + sig;
}

static void *user(void *arg)
{
	uintptr_t bad = 0;

	for (int i = 0; i < 60; i++)
		bad += use();
	goheap_scavenge(SIZE_MAX);
	return (void *)(bad + (uintptr_t)arg);
}

/* System calls are interrupted, and not begun anew by themselves. */
static int test_signals(void)
{
	struct itimerval often = { { 0, 2000 }, { 0, 2000 } };
	struct sigaction sa = { .sa_handler = tick };
	pthread_t t[CHURNERS];
	uintptr_t bad = 0;
	void *ret;

	T(!sigaction(SIGALRM, &sa, NULL) && !setitimer(ITIMER_REAL, &often, NULL));
	for (int i = 0; i < CHURNERS; i++)
		T(!pthread_create(&t[i], NULL, user, NULL));
	bad += (uintptr_t)user(NULL);
	for (int i = 0; i < CHURNERS; i++) {
		pthread_join(t[i], &ret);
		bad += (uintptr_t)ret;
	}
	setitimer(ITIMER_REAL, &(struct itimerval){ .it_value.tv_sec = 0 }, NULL);
	printf("# %u signals\n", ticks);
	T(ticks > 10);
	T_EQ(bad, 0);
	return T_PASS;
}

/* ---- locked memory ---- */

/* Bytes that are resident after bytes more were allocated, and touched nowhere. */
static size_t resident_with(size_t bytes)
{
	size_t before = t_rss(), after;
	void *p = vmalloc(bytes);

	after = t_rss();
	vfree(p);
	return after > before ? after - before : 0;
}

/* Idle memory cannot be released, and so is not taken for zeros. */
static int locked(int flags, bool resident)
{
	size_t bytes = 64 << 20, got;

	if (mlockall(flags)) {
		printf("# mlockall: %s\n", strerror(errno));
		return T_SKIP;
	}
	for (int i = 0; i < 3; i++) {
		T(!use());
		goheap_flush();
		goheap_scavenge(SIZE_MAX);
	}
	got = resident_with(bytes);
	printf("# %zu of %zu resident\n", got, bytes);
	T(resident ? got >= bytes / 2 : got < bytes / 2);
	T(t_rss() < 4 * bytes);
	return T_PASS;
}

static int test_mlockall(void)
{
	return locked(MCL_CURRENT | MCL_FUTURE, true);
}

static int test_mlockall_onfault(void)
{
	return locked(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT, false);
}

/* ---- filters of system calls ---- */

static const unsigned int of_embedded[] = {
	SYS_mmap, SYS_munmap, SYS_mprotect, SYS_madvise, SYS_futex, SYS_clock_gettime,
	SYS_prlimit64, SYS_sysinfo,
	/* What the test needs. */
	SYS_write, SYS_exit_group,
};

/* All but these kill the process, those of io_uring and ioctl() among them. */
static int test_killed(void)
{
	if (strcmp(goheap_backend(), "embedded"))
		return T_SKIP;
	T(!use());
	T_SUB(t_filter(of_embedded, ARRAY_SIZE(of_embedded), SECCOMP_RET_ALLOW,
		       SECCOMP_RET_KILL_PROCESS));
	for (int i = 0; i < 10; i++) {
		T(!use());
		goheap_flush();
		goheap_scavenge(SIZE_MAX);
	}
	vfree(vmalloc((size_t)2 << 30));
	return T_PASS;
}

/* From some moment on, as in a process that locks itself in. */
static int test_ioctl_refused(void)
{
	T_SUB(start_churning());
	T(!use());
	T_SUB(t_forbid(SYS_ioctl, SECCOMP_RET_ERRNO | EPERM));
	for (int i = 0; i < 10; i++) {
		T(!use());
		goheap_flush();
		goheap_scavenge(SIZE_MAX);
	}
	return end_churning();
}

static int refused_from_the_start(unsigned int nr)
{
	pid_t pid = fork();

	if (!pid) {
		if (t_forbid(nr, SECCOMP_RET_ERRNO | EPERM))
			_exit(1);
		execl("/proc/self/exe", "front_life_test", "--use", (char *)NULL);
		_exit(127);
	}
	T_EQ(t_wait(pid), 42);
	return T_PASS;
}

/* A backend that is forced and cannot be had is another matter. */
static int test_refused_from_the_start(void)
{
	const char *options = getenv("GOHEAPDEBUG");

	if (options && strstr(options, "backend=device"))
		unsetenv("GOHEAPDEBUG");
	T_SUB(refused_from_the_start(SYS_ioctl));
	return refused_from_the_start(SYS_io_uring_setup);
}

static const struct t_case cases[] = {
	{ "threads fork, while others allocate", test_threads_fork },
	{ "a thread forks, while the heap grows", test_fork_grows },
	{ "a thread forks, while another takes out what it kept", test_fork_keeps },
	{ "posix_spawn and system", test_spawn },
	{ "clone with shared memory", test_clone_vm },
	{ "signals", test_signals },
	{ "mlockall", test_mlockall },
	{ "mlockall on fault", test_mlockall_onfault },
	{ "seccomp kills all that the embedded backend has no use for", test_killed },
	{ "seccomp refuses ioctl", test_ioctl_refused },
	{ "seccomp refuses ioctl, or io_uring, from the start", test_refused_from_the_start },
};

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--use"))
		return use() ? 1 : 42;
	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
