/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What the tests of the core share: the core itself, compiled into the test so
 * that its static functions can be called; TAP output; a seeded generator; and
 * metadata memory that can be made to fail and that is counted.
 *
 * A program has one table of cases.  Each case runs in a child process, so that
 * a failed assertion or a sanitizer report is one "not ok" and not the end of
 * the run.  Options: -s SEED, -n STEPS, -r ROUNDS; the seed is printed.
 */
#ifndef TESTLIB_H
#define TESTLIB_H

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

#include "../../module/core/spans.c"
#include "../../module/core/treap.c"
#include "../../module/core/freelist.c"
#include "../../module/core/idle.c"
#include "../../module/core/check.c"
#include "../../module/core/mheap.c"

/* No program needs all of this. */
#define T_UNUSED	__attribute__((unused))

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

struct t_case {
	const char *name;
	int (*fn)(void);	/* 0, or not */
};

static u64 t_seed;
static unsigned int t_steps;
static unsigned int t_rounds;

/* In a function that returns int: returns 1 if the condition does not hold. */
#define T(cond) do {								\
	if (!(cond)) {								\
		printf("# %s:%d: %s: failed: %s\n", __FILE__, __LINE__,	\
		       __func__, #cond);					\
		return 1;							\
	}									\
} while (0)

/* The same for two numbers, which are printed. */
#define T_EQ(a, b) do {								\
	long long t_a = (long long)(a), t_b = (long long)(b);			\
	if (t_a != t_b) {							\
		printf("# %s:%d: %s: %s is %lld, %s is %lld\n", __FILE__,	\
		       __LINE__, __func__, #a, t_a, #b, t_b);			\
		return 1;							\
	}									\
} while (0)

/* Random numbers: splitmix64. */

static u64 t_random_state;

static T_UNUSED u64 t_random(void)
{
	u64 z = (t_random_state += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* In [0, n).  A fuzzer has its own, which reads the input. */
#ifdef T_OWN_BELOW
static u64 t_below(u64 n);
#else
static T_UNUSED u64 t_below(u64 n)
{
	return t_random() % n;
}
#endif

/* Metadata memory */

static long t_meta_bytes;		/* allocated and not freed */
static long t_meta_calls;
static long t_meta_fail_at = -1;	/* the call that fails, counted from 0 */

void *gh_meta_alloc(size_t bytes)
{
	if (__atomic_fetch_add(&t_meta_calls, 1, __ATOMIC_RELAXED) == t_meta_fail_at)
		return NULL;
	__atomic_fetch_add(&t_meta_bytes, bytes, __ATOMIC_RELAXED);
	return calloc(1, bytes);
}

void gh_meta_free(void *p, size_t bytes)
{
	if (!p)
		abort();
	__atomic_fetch_sub(&t_meta_bytes, bytes, __ATOMIC_RELAXED);
	free(p);
}

/* Heaps, addressed in pages */

static T_UNUSED void t_heap_init(struct gh_mheap *h, u64 page, u64 npages)
{
	gh_mheap_init(h);
	mutex_lock(&h->lock);
	gh_mheap_bind_locked(h, page << GH_PAGE_SHIFT, npages << GH_PAGE_SHIFT);
	mutex_unlock(&h->lock);
}

/* Runs the statement with the lock held, again after each -EAGAIN, and sets err. */
#define T_RETRY(h, err, call) do {		\
	for (;;) {				\
		mutex_lock(&(h)->lock);		\
		err = (call);			\
		mutex_unlock(&(h)->lock);	\
		if (err != -EAGAIN)		\
			break;			\
		err = gh_mheap_refill(h);	\
		if (err)			\
			break;			\
	}					\
} while (0)

static T_UNUSED int t_check(struct gh_mheap *h)
{
	int err;

	mutex_lock(&h->lock);
	err = gh_mheap_check_locked(h);
	mutex_unlock(&h->lock);
	return err;
}

/* The run's first page, or a negative errno. */
static T_UNUSED long t_alloc(struct gh_mheap *h, u64 npages, u64 align, u64 now)
{
	struct gh_run run;
	int err;

	T_RETRY(h, err, gh_mheap_alloc_locked(h, npages, align, 0, 0, now, &run));
	return err ? err : (long)(run.addr >> GH_PAGE_SHIFT);
}

static T_UNUSED int t_free(struct gh_mheap *h, u64 page, u64 npages, u64 now)
{
	int err;

	mutex_lock(&h->lock);
	err = gh_mheap_free_locked(h, page << GH_PAGE_SHIFT, npages, now);
	mutex_unlock(&h->lock);
	return err;
}

/* Whether fn dies of an assertion; its output is dropped. */
static T_UNUSED bool t_aborts(void (*fn)(void *), void *arg)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (!freopen("/dev/null", "w", stderr))
			_exit(2);
		fn(arg);
		_exit(0);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) &&
	       WTERMSIG(status) == SIGABRT;
}

static bool run_case(const struct t_case *c)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		t_random_state = t_seed;
		exit(c->fn() ? 1 : 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return false;
	if (WIFSIGNALED(status))
		printf("# killed by signal %d\n", WTERMSIG(status));
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

static void parse_args(int argc, char **argv)
{
	int opt;

	t_seed = (u64)time(NULL) * 1000003 + (u64)getpid();
	while ((opt = getopt(argc, argv, "s:n:r:")) != -1) {
		if (opt == 's')
			t_seed = strtoull(optarg, NULL, 0);
		else if (opt == 'n')
			t_steps = strtoul(optarg, NULL, 0);
		else if (opt == 'r')
			t_rounds = strtoul(optarg, NULL, 0);
		else
			exit(2);
	}
}

static T_UNUSED int t_main(int argc, char **argv, const struct t_case *cases, size_t nr)
{
	size_t i, failed = 0;

	parse_args(argc, argv);
	printf("TAP version 13\n1..%zu\n# %s -s %" PRIu64 " -n %u -r %u\n", nr, argv[0],
	       t_seed, t_steps, t_rounds);
	for (i = 0; i < nr; i++) {
		bool ok = run_case(&cases[i]);

		printf("%sok %zu %s\n", ok ? "" : "not ", i + 1, cases[i].name);
		failed += !ok;
	}
	return failed ? 1 : 0;
}

#endif
