// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What a program waits for when it gets a span without pages, and writes to it for
 * the first time:
 *
 *   plain	the span is allocated; each page is a fault
 *   populate	it is allocated with GOHEAP_VEC_POPULATE, by ioctl
 *   ahead	the same, asked of a ring AHEAD spans before it is needed
 *
 * Three times are taken of each span: getting it, which is the ioctl, or waiting for
 * one of those that the ring was asked for; the first write to each of its pages; and
 * all of it.  Between two spans the program asks the ring for one more, whose time is
 * told by itself, since it wakes a worker, which may take the processor at once; and
 * does something else, for twice as long as a plain span takes on average: it
 * computes, so that who works ahead needs a processor of its own, or with -s it
 * sleeps, as a server does.
 *
 * Spans are of 64 KiB, next to each other in a fresh arena, and of 2 MiB; each with
 * pages of the hardware's size only, and with huge ones as the system gives them.
 *
 *	touch_speed [-s]
 */
#include "device.h"
#include "ring.h"
#include <stdbool.h>
#include <sys/prctl.h>

#define AHEAD		4
#define KEEP_BYTES	(256 * MIB)	/* then all are freed and released */
#define MAX_SPANS	4096
#define MAX_PAGES	(1024UL * 512)
#define CALIBRATE	64		/* spans */

enum { PLAIN, POPULATE, BY_RING, NR_WAYS };
static const char *const names[NR_WAYS] = { "plain", "populate", "ahead" };

/* Where the samples of one kind go. */
struct samples {
	uint64_t *v;
	size_t nr;
};

static uint64_t got_v[MAX_SPANS], wrote_v[MAX_PAGES], all_v[MAX_SPANS], asked_v[MAX_SPANS];
static struct samples got = { got_v, 0 }, wrote = { wrote_v, 0 }, all = { all_v, 0 },
		      asked = { asked_v, 0 };

static struct heap heap;
static struct io_uring ring;
static bool sleeps;
static uint64_t clock_ns;	/* what it takes to read the clock */

/* ---- getting a span ------------------------------------------------------------- */

static struct goheap_span kept[MAX_SPANS + AHEAD];
static unsigned int nr_kept;

static char *keep(const struct goheap_span *s)
{
	kept[nr_kept] = *s;
	kept[nr_kept].flags = 0;
	return (char *)kept[nr_kept++].addr;
}

/* Their pages too. */
static void free_kept(void)
{
	for (unsigned int i = 0; i < nr_kept; i += VEC)
		span_command(heap.fd, GOHEAP_SPAN_FREE, kept + i,
			     nr_kept - i < VEC ? nr_kept - i : VEC, 0);
	release_all(heap.fd);
	nr_kept = 0;
}

static char *get_by_ioctl(size_t bytes, unsigned int flags)
{
	struct goheap_span s = { .npages = bytes / GOHEAP_PAGE_SIZE };

	span_command(heap.fd, GOHEAP_SPAN_ALLOC, &s, 1, flags);
	return keep(&s);
}

static struct {
	struct goheap_span s;
	struct goheap_span_vec v;
} requests[AHEAD];
static unsigned int reaped;	/* the request that may be made again */

static void ask(unsigned int i, size_t bytes)
{
	requests[i].s = (struct goheap_span){ .npages = bytes / GOHEAP_PAGE_SIZE };
	requests[i].v = span_vec(&requests[i].s, 1, GOHEAP_VEC_POPULATE);
	ring_add(&ring, heap.fd, GOHEAP_SPAN_ALLOC, &requests[i].v, i);
	if (io_uring_submit(&ring) != 1)
		die("submit");
}

static char *get_by_ring(void)
{
	reaped = ring_reap(&ring);
	return keep(&requests[reaped].s);
}

/* ---- using it ---------------------------------------------------------------------- */

static void add(struct samples *s, uint64_t ns)
{
	s->v[s->nr++] = ns > clock_ns ? ns - clock_ns : 0;
}

static void write_pages(char *p, size_t bytes)
{
	uint64_t start;

	for (size_t i = 0; i < bytes; i += HW_PAGE) {
		start = now_ns();
		*(volatile char *)(p + i) = 1;
		add(&wrote, now_ns() - start);
	}
}

static void something_else(uint64_t ns)
{
	struct timespec t = { ns / 1000000000, ns % 1000000000 };
	uint64_t end = now_ns() + ns;

	if (sleeps)
		nanosleep(&t, NULL);
	else
		while (now_ns() < end)
			;
}

static void one_span(int way, size_t bytes)
{
	/* For reading the clock twice for each page, and once before. */
	uint64_t clocks_ns = (2 * bytes / HW_PAGE + 1) * clock_ns;
	uint64_t start = now_ns(), have, end;
	char *p;

	p = way == BY_RING ? get_by_ring() :
	    get_by_ioctl(bytes, way == POPULATE ? GOHEAP_VEC_POPULATE : 0);
	have = now_ns();
	add(&got, have - start);
	write_pages(p, bytes);
	end = now_ns() - start;
	add(&all, end > clocks_ns ? end - clocks_ns : 0);
	if (way != BY_RING)
		return;
	start = now_ns();
	ask(reaped, bytes);
	add(&asked, now_ns() - start);
}

static void run(int way, size_t bytes, unsigned int nr, uint64_t else_ns)
{
	got.nr = wrote.nr = all.nr = asked.nr = 0;
	heap = open_heap();
	if (io_uring_queue_init(2 * AHEAD, &ring, 0))
		die("io_uring");
	for (int i = 0; i < AHEAD && way == BY_RING; i++)
		ask(i, bytes);
	for (unsigned int i = 0; i < nr; i++) {
		something_else(else_ns);
		one_span(way, bytes);
		if (nr_kept * bytes >= KEEP_BYTES)
			free_kept();
	}
	for (int i = 0; i < AHEAD && way == BY_RING; i++)
		ring_reap(&ring);
	io_uring_queue_exit(&ring);
	nr_kept = 0;
	close_heap(&heap);
}

/* ---- telling ----------------------------------------------------------------------- */

static int order(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint64_t at(const struct samples *s, double share)
{
	return s->v[(size_t)(share * (s->nr - 1))];
}

static void print(struct samples *s)
{
	qsort(s->v, s->nr, sizeof(*s->v), order);
	printf("  %10llu%10llu%11llu", (unsigned long long)at(s, 0.5),
	       (unsigned long long)at(s, 0.99), (unsigned long long)at(s, 0.999));
}

static uint64_t mean_of_plain(size_t bytes)
{
	uint64_t sum = 0;

	run(PLAIN, bytes, CALIBRATE, 0);
	for (size_t i = 0; i < all.nr; i++)
		sum += all.v[i];
	return sum / all.nr;
}

static void table(const char *pages, size_t bytes, unsigned int nr)
{
	uint64_t else_ns = 2 * mean_of_plain(bytes), plain = 0;

	printf("\n%zu KiB, %s, %u spans, %s for %llu between two\n", bytes / 1024, pages, nr,
	       sleeps ? "sleeping" : "computing", (unsigned long long)else_ns);
	printf("%-9s%33s%33s%33s   p50 of\n", "", "getting it",
	       "each page's first write", "the whole");
	printf("%-9s", "");
	for (int i = 0; i < 3; i++)
		printf("  %10s%10s%11s", "p50", "p99", "p99.9");
	printf("    plain\n");
	for (int way = 0; way < NR_WAYS; way++) {
		run(way, bytes, nr, else_ns);
		printf("%-9s", names[way]);
		print(&got);
		print(&wrote);
		print(&all);
		if (way == PLAIN)
			plain = at(&all, 0.5);
		printf("%9.3f\n", at(&all, 0.5) / (double)plain);
		fflush(stdout);
	}
	printf("%-9s", " asking");
	print(&asked);
	printf("\n");
}

static void measure_clock(void)
{
	uint64_t start, ns;

	clock_ns = ~0ULL;
	for (int i = 0; i < 1000; i++) {
		start = now_ns();
		ns = now_ns() - start;
		clock_ns = ns < clock_ns ? ns : clock_ns;
	}
}

int main(int argc, char **argv)
{
	sleeps = argc > 1 && !strcmp(argv[1], "-s");
	measure_clock();
	for (int huge = 0; huge < 2; huge++) {
		const char *pages = huge ? "huge pages where they fit" : "pages of 4 KiB";

		if (prctl(PR_SET_THP_DISABLE, !huge, 0, 0, 0))
			die("prctl");
		table(pages, SPAN_BYTES, MAX_SPANS);
		/* Computing takes its time from who waits for the table. */
		table(pages, 2 * MIB, sleeps ? MAX_PAGES / 512 : 256);
	}
	return 0;
}
