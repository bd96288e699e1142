// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What a span costs from the kernel: allocating and freeing one of 64 KiB, singly
 * and by vectors of 32, beside mmap() and munmap() of 64 KiB that nobody touches.
 * Medians of rounds that take turns, in one run: in an emulator, or on a busy
 * machine, only the ratios mean anything.
 *
 *	span_speed [ROUNDS]	(31)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <linux/goheap.h>

#define SPAN_BYTES	65536
#define SPAN_PAGES	(SPAN_BYTES / GOHEAP_PAGE_SIZE)
#define PER_ROUND	512
#define VEC		32
#define MAX_ROUNDS	1000

static int heap;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "span_speed: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void by_mmap(void)
{
	for (int i = 0; i < PER_ROUND; i++) {
		void *p = mmap(NULL, SPAN_BYTES, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED || munmap(p, SPAN_BYTES))
			die("mmap");
	}
}

static void command(unsigned long nr, struct goheap_span *s, unsigned int n)
{
	struct goheap_span_vec v = { .size = sizeof(v), .spans = (uintptr_t)s, .nr = n };

	if (ioctl(heap, nr, &v) || v.done != n)
		die("command");
}

static void by_spans(unsigned int n)
{
	struct goheap_span s[VEC];

	for (unsigned int i = 0; i < PER_ROUND; i += n) {
		for (unsigned int k = 0; k < n; k++)
			s[k] = (struct goheap_span){ .npages = SPAN_PAGES };
		command(GOHEAP_SPAN_ALLOC, s, n);
		for (unsigned int k = 0; k < n; k++)
			s[k].flags = 0;
		command(GOHEAP_SPAN_FREE, s, n);
	}
}

static void one_span(void)
{
	by_spans(1);
}

static void vector(void)
{
	by_spans(VEC);
}

static int order(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} ways[] = {
		{ "mmap + munmap of 64 KiB, untouched", by_mmap },
		{ "one span of 64 KiB", one_span },
		{ "spans of 64 KiB by vectors of 32", vector },
	};
	static double ns[3][MAX_ROUNDS];
	int rounds = argc > 1 ? atoi(argv[1]) : 31;

	if (rounds < 1 || rounds > MAX_ROUNDS)
		rounds = MAX_ROUNDS;
	heap = open("/dev/goheap", O_RDWR | O_CLOEXEC);
	if (heap < 0)
		die("/dev/goheap");
	if (mmap(NULL, GOHEAP_ARENA_STEP, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE,
		 heap, GOHEAP_OFF_ARENA) == MAP_FAILED)
		die("arena");
	for (int r = -1; r < rounds; r++)	/* the first is to warm up */
		for (int w = 0; w < 3; w++) {
			uint64_t start = now_ns();

			ways[w].run();
			if (r >= 0)
				ns[w][r] = (now_ns() - start) / (double)PER_ROUND;
		}
	for (int w = 0; w < 3; w++) {
		qsort(ns[w], rounds, sizeof(double), order);
		printf("%-36s %8.0f ns each\n", ways[w].name, ns[w][rounds / 2]);
	}
	printf("one span, to mmap + munmap           %8.2f\n", ns[1][rounds / 2] / ns[0][rounds / 2]);
	printf("a span of a vector, to a single one  %8.2f\n", ns[2][rounds / 2] / ns[1][rounds / 2]);
	return 0;
}
