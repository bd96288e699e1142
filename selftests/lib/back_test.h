/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * What the tests of the backend share: cases in children of their own, whose
 * stderr can be caught; TAP; a seeded generator.  Plain C and nothing that has
 * to be built first, so that a test may replace what it likes.
 */
#ifndef BACK_TEST_H
#define BACK_TEST_H

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* A sanitizer owns the addresses that some cases are about, and needs many more. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define T_SANITIZED	1
#else
#define T_SANITIZED	0
#endif

/* What a case returns. */
#define T_PASS	0
#define T_FAIL	1
#define T_SKIP	4

struct t_case {
	const char *name;
	int (*fn)(void);
};

/* In a function that returns int: returns T_FAIL if the condition does not hold. */
#define T(cond) do {								\
	if (!(cond)) {								\
		printf("# %s:%d: %s: failed: %s\n", __FILE__, __LINE__,	\
		       __func__, #cond);					\
		return T_FAIL;							\
	}									\
} while (0)

/* The same for two numbers, which are printed. */
#define T_EQ(a, b) do {								\
	long long t_a = (long long)(a), t_b = (long long)(b);			\
	if (t_a != t_b) {							\
		printf("# %s:%d: %s: %s is %lld, %s is %lld\n", __FILE__,	\
		       __LINE__, __func__, #a, t_a, #b, t_b);			\
		return T_FAIL;							\
	}									\
} while (0)

/* Goes on only if the call was a success. */
#define T_SUB(call) do {	\
	int t_ret = (call);	\
				\
	if (t_ret)		\
		return t_ret;	\
} while (0)

static uint64_t t_seed;
static uint64_t t_state;

/* splitmix64 */
static __attribute__((unused)) uint64_t t_random(void)
{
	uint64_t z = (t_state += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* In [0, n). */
static __attribute__((unused)) uint64_t t_below(uint64_t n)
{
	return t_random() % n;
}

/* Waits for a child.  Its exit status, or 256 plus the signal that ended it. */
static __attribute__((unused)) int t_wait(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) != pid)
		if (errno != EINTR)
			return -1;
	return WIFSIGNALED(status) ? 256 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Runs fn in a child whose stderr goes to buf.  Its exit status, as t_wait() has it. */
static __attribute__((unused)) int t_stderr(void (*fn)(void), char *buf, size_t size)
{
	size_t len = 0;
	ssize_t got;
	int fd[2];
	pid_t pid;

	fflush(stdout);
	if (pipe(fd))
		return -1;
	pid = fork();
	if (!pid) {
		dup2(fd[1], 2);
		fn();
		_exit(0);
	}
	close(fd[1]);
	while (len < size - 1 && (got = read(fd[0], buf + len, size - 1 - len)) > 0)
		len += (size_t)got;
	buf[len] = '\0';
	close(fd[0]);
	return t_wait(pid);
}

/* The mappings of the process that lie in [start, end), by the kernel's own list. */
static __attribute__((unused)) int t_count_vmas(uintptr_t start, uintptr_t end)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned long from, to;
	char line[512];
	int n = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx", &from, &to) == 2 && from < end && to > start)
			n++;
	if (f)
		fclose(f);
	return n;
}

/* Resident bytes of the process.  Without malloc(): the first object in a released block may bring a whole huge page. */
static __attribute__((unused)) size_t t_rss(void)
{
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	unsigned long size, resident = 0;
	char text[128] = "";

	if (fd >= 0 && (read(fd, text, sizeof(text) - 1) < 0 ||
			sscanf(text, "%lu %lu", &size, &resident) != 2))
		resident = 0;
	if (fd >= 0)
		close(fd);
	return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static int t_run_case(const struct t_case *c)
{
	pid_t pid;
	int ret;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		t_state = t_seed;
		ret = c->fn();
		fflush(stdout);
		_exit(ret);
	}
	ret = t_wait(pid);
	if (ret > 256)
		printf("# killed by signal %d\n", ret - 256);
	return ret;
}

static __attribute__((unused)) int t_main(int argc, char **argv, const struct t_case *cases,
					  size_t nr)
{
	size_t failed = 0;

	/* The processor is emulated where the device is: it would take an hour. */
	if (T_SANITIZED && !access("/dev/goheap", F_OK)) {
		puts("TAP version 13\n1..0 # SKIP sanitizers run where there is no device");
		return 4;
	}
	t_seed = argc > 1 ? strtoull(argv[1], NULL, 0)
			  : (uint64_t)time(NULL) * 1000003 + (uint64_t)getpid();
	printf("TAP version 13\n1..%zu\n# %s %" PRIu64 "\n", nr, argv[0], t_seed);
	for (size_t i = 0; i < nr; i++) {
		int ret = t_run_case(&cases[i]);

		printf("%sok %zu %s%s\n", ret == T_PASS || ret == T_SKIP ? "" : "not ", i + 1,
		       cases[i].name, ret == T_SKIP ? " # SKIP" : "");
		failed += ret != T_PASS && ret != T_SKIP;
	}
	return failed ? 1 : 0;
}

#endif
