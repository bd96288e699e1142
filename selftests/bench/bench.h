/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What the benchmarks share: time, CPUs, random numbers, objects that are touched, and
 * what a pattern does when it has freed everything.
 *
 * A pattern is a program that does the same work whichever allocator is preloaded, and
 * is timed from outside (see interleave.c).  All take
 *
 *	-s PERCENT	less work, or more
 *	-i SECONDS	when all is freed: say "idle", sleep, and say "rss_kib N"
 *
 * What cannot be done ends the program: a number for what did not happen is worse
 * than none.  Threads are pinned round-robin to the CPUs that the program may use,
 * since some machines pack what wakes each other onto one.
 */
#ifndef GOHEAP_BENCH_H
#define GOHEAP_BENCH_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define KIB		(1UL << 10)
#define MIB		(1UL << 20)
#define HW_PAGE		4096

static inline void die(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
	_exit(1);
}

static inline uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* ---- CPUs and threads ------------------------------------------------------------ */

static cpu_set_t allowed_cpus;	/* before anything was pinned */

static inline int nr_cpus(void)
{
	if (!CPU_COUNT(&allowed_cpus) &&
	    sched_getaffinity(0, sizeof(allowed_cpus), &allowed_cpus))
		die("sched_getaffinity");
	return CPU_COUNT(&allowed_cpus);
}

/* The set of one CPU that is thread number @nr's. */
static inline cpu_set_t cpu_of(unsigned int nr)
{
	unsigned int left = nr % nr_cpus();
	cpu_set_t set;

	CPU_ZERO(&set);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &allowed_cpus) && !left--) {
			CPU_SET(cpu, &set);
			break;
		}
	return set;
}

static inline void pin_self(unsigned int nr)
{
	cpu_set_t set = cpu_of(nr);

	if (sched_setaffinity(0, sizeof(set), &set))
		die("sched_setaffinity");
}

/* Starts thread number @nr; one that is not to be joined if @t is NULL. */
static inline void start_thread(pthread_t *t, unsigned int nr, void *(*fn)(void *), void *arg)
{
	cpu_set_t set = cpu_of(nr);
	pthread_attr_t attr;
	pthread_t unused;

	if (pthread_attr_init(&attr) ||
	    pthread_attr_setaffinity_np(&attr, sizeof(set), &set) ||
	    pthread_attr_setdetachstate(&attr, t ? PTHREAD_CREATE_JOINABLE :
						   PTHREAD_CREATE_DETACHED))
		die("pthread_attr");
	errno = pthread_create(t ? t : &unused, &attr, fn, arg);
	if (errno)
		die("pthread_create");
	pthread_attr_destroy(&attr);
}

/* ---- objects --------------------------------------------------------------------- */

/* xorshift; @x is the caller's own, and not 0. */
static inline uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static inline uint64_t seed_of(unsigned int nr)
{
	return 88172645463325252ULL + nr * 0x9e3779b97f4a7c15ULL;
}

static inline size_t random_size(uint64_t *x, size_t least, size_t most)
{
	return least + (next_random(x) >> 20) % (most - least + 1);
}

/* An object whose first byte and last are written. */
static inline void *get(size_t size)
{
	volatile char *p = malloc(size);

	if (!p)
		die("malloc");
	p[0] = 1;
	p[size - 1] = 1;
	return (void *)p;
}

/* ---- patterns -------------------------------------------------------------------- */

static int work_percent = 100, idle_seconds = -1;

/* Of @nr, as many as -s asks for, and one at least. */
static inline unsigned long scaled(unsigned long nr)
{
	nr = nr * work_percent / 100;
	return nr ? nr : 1;
}

/* Takes the options off; returns where the other arguments begin. */
static inline char **pattern_options(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "+s:i:")) != -1)
		if (c == 's')
			work_percent = atoi(optarg);
		else if (c == 'i')
			idle_seconds = atoi(optarg);
		else
			_exit(2);
	if (work_percent < 1)
		_exit(2);
	nr_cpus();
	return argv + optind;
}

/* By the page tables: the kernel's counters lag behind with many CPUs. */
static inline unsigned long rss_kib(void)
{
	int fd = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
	char text[2048], *at;
	ssize_t n = read(fd, text, sizeof(text) - 1);

	if (fd < 0 || n < 0)
		die("/proc/self/smaps_rollup");
	close(fd);
	text[n] = 0;
	at = strstr(text, "\nRss:");
	if (!at)
		die("Rss");
	return strtoul(at + 5, NULL, 10);
}

/* When all is freed, and if it was asked for.  Nothing here allocates. */
static inline void stay_idle(void)
{
	uint64_t end = now_ns() + idle_seconds * 1000000000ULL, now;

	if (idle_seconds < 0)
		return;
	dprintf(STDOUT_FILENO, "idle\n");
	while ((now = now_ns()) < end)
		usleep((end - now) / 1000 + 1 < 1000000 ? (end - now) / 1000 + 1 : 999999);
	dprintf(STDOUT_FILENO, "rss_kib %lu\n", rss_kib());
}

#endif
