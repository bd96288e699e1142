// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What it costs to get memory and to give it back, for each way into the kernel:
 * spans of 64 KiB by ioctl and by io_uring, singly and by vectors of 32; mmap() and
 * munmap(); madvise().  All get 64 times 64 KiB, and give them back in the same
 * order, so that between the ways of getting a span only the way differs.
 *
 * Where virtual time counts instructions (see vm.sh), so do the numbers, and are
 * the same in each run but for the timer's ticks, which are in them.  A loop of a
 * known length says whether it does.  A ring that is polled by a kernel thread
 * (SQPOLL) is left out: with the one processor that counting needs, it would be
 * two threads that take turns.
 *
 *	ring_speed [OPERATIONS]		(1000000 of each way to get a span)
 */
#include "device.h"
#include "ring.h"
#include <sys/prctl.h>

#define BATCH		64
#define LOOP		1000000ULL	/* of 2 instructions */

static struct heap heap;
static struct goheap_span spans[BATCH];
static char *maps[BATCH];
static char *area;		/* of BATCH times SPAN_BYTES */

/* ---- spans by ioctl ------------------------------------------------------------ */

static void want_spans(void)
{
	for (int i = 0; i < BATCH; i++)
		spans[i] = (struct goheap_span){ .npages = SPAN_BYTES / GOHEAP_PAGE_SIZE };
}

static void have_spans(void)
{
	for (int i = 0; i < BATCH; i++)
		spans[i].flags = 0;
}

static void by_ioctl(unsigned long nr, unsigned int at_a_time)
{
	for (int i = 0; i < BATCH; i += at_a_time)
		span_command(heap.fd, nr, spans + i, at_a_time, 0);
}

static void alloc_one(void)
{
	want_spans();
	by_ioctl(GOHEAP_SPAN_ALLOC, 1);
}

static void free_one(void)
{
	have_spans();
	by_ioctl(GOHEAP_SPAN_FREE, 1);
}

static void alloc_vec(void)
{
	want_spans();
	by_ioctl(GOHEAP_SPAN_ALLOC, VEC);
}

static void free_vec(void)
{
	have_spans();
	by_ioctl(GOHEAP_SPAN_FREE, VEC);
}

/* ---- spans by a ring ------------------------------------------------------------- */

static struct io_uring ring;

/* Requests for @each spans, handed in and waited for @at_a_time. */
static void by_ring(unsigned int nr, unsigned int each, unsigned int at_a_time)
{
	struct goheap_span_vec v[BATCH];
	unsigned int n = BATCH / each;

	for (unsigned int i = 0; i < n; i += at_a_time) {
		for (unsigned int k = i; k < i + at_a_time; k++) {
			v[k] = span_vec(spans + k * each, each, 0);
			ring_add(&ring, heap.fd, nr, &v[k], k);
		}
		if (io_uring_submit(&ring) != (int)at_a_time)
			die("submit");
		for (unsigned int k = 0; k < at_a_time; k++)
			ring_reap(&ring);
	}
}

static void ring_alloc_one(void)
{
	want_spans();
	by_ring(GOHEAP_SPAN_ALLOC, 1, 1);
}

static void ring_free_one(void)
{
	have_spans();
	by_ring(GOHEAP_SPAN_FREE, 1, 1);
}

static void ring_alloc_many(void)
{
	want_spans();
	by_ring(GOHEAP_SPAN_ALLOC, 1, BATCH);
}

static void ring_free_many(void)
{
	have_spans();
	by_ring(GOHEAP_SPAN_FREE, 1, BATCH);
}

static void ring_alloc_vec(void)
{
	want_spans();
	by_ring(GOHEAP_SPAN_ALLOC, VEC, BATCH / VEC);
}

static void ring_free_vec(void)
{
	have_spans();
	by_ring(GOHEAP_SPAN_FREE, VEC, BATCH / VEC);
}

/* ---- mappings, and memory that is written ------------------------------------------ */

static void map(void)
{
	for (int i = 0; i < BATCH; i++)
		maps[i] = map_memory(SPAN_BYTES);
}

static void unmap(void)
{
	for (int i = 0; i < BATCH; i++)
		if (munmap(maps[i], SPAN_BYTES))
			die("munmap");
}

static void write_pages(char *p)
{
	for (int i = 0; i < SPAN_BYTES; i += HW_PAGE)
		*(volatile char *)(p + i) = 1;
}

static void map_and_write(void)
{
	map();
	for (int i = 0; i < BATCH; i++)
		write_pages(maps[i]);
}

static void write_area(void)
{
	for (int i = 0; i < BATCH; i++)
		write_pages(area + i * SPAN_BYTES);
}

static void drop_each(void)
{
	for (int i = 0; i < BATCH; i++)
		if (madvise(area + i * SPAN_BYTES, SPAN_BYTES, MADV_DONTNEED))
			die("madvise");
}

static void drop_all(void)
{
	if (madvise(area, BATCH * SPAN_BYTES, MADV_DONTNEED))
		die("madvise");
}

static void alloc_and_write(void)
{
	alloc_vec();
	for (int i = 0; i < BATCH; i++)
		write_pages((char *)spans[i].addr);
}

static void free_and_release(void)
{
	free_vec();
	release_all(heap.fd);
}

/* ---- measuring ------------------------------------------------------------------------ */

struct way {
	const char *name;
	void (*get)(void), (*give)(void);
};

static const struct way moves_spans[] = {
	{ "span by ioctl, one a call", alloc_one, free_one },
	{ "span by ioctl, vectors of 32", alloc_vec, free_vec },
	{ "span by ring, one a call", ring_alloc_one, ring_free_one },
	{ "span by ring, 64 a call", ring_alloc_many, ring_free_many },
	{ "span by ring, vectors of 32", ring_alloc_vec, ring_free_vec },
};

static const struct way moves_mapping[] = {
	{ "mmap and munmap", map, unmap },
};

static const struct way moves_pages[] = {
	{ "span, freed, kept by the kernel", alloc_and_write, free_vec },
	{ "span, freed, then all released", alloc_and_write, free_and_release },
	{ "MADV_DONTNEED of each", write_area, drop_each },
	{ "MADV_DONTNEED of all at once", write_area, drop_all },
	{ "mmap and munmap", map_and_write, unmap },
};

static void measure(const struct way *way, unsigned int operations)
{
	unsigned int rounds = (operations + 2 * BATCH - 1) / (2 * BATCH);
	uint64_t get = 0, give = 0, start, half;

	way->get();	/* to warm up */
	way->give();
	for (unsigned int i = 0; i < rounds; i++) {
		start = now_ns();
		way->get();
		half = now_ns();
		way->give();
		give += now_ns() - half;
		get += half - start;
	}
	printf("%-34s%10llu%10.0f%10.0f%10.0f\n", way->name, 2ULL * BATCH * rounds,
	       get / (double)(BATCH * rounds), give / (double)(BATCH * rounds),
	       (get + give) / (2.0 * BATCH * rounds));
	fflush(stdout);
}

static void title(const char *text)
{
	printf("\n%-34s%10s%10s%10s%10s\n", text, "number", "get", "give back", "mean");
}

#define MEASURE(ways, operations)						\
do {										\
	for (size_t i_ = 0; i_ < sizeof(ways) / sizeof(*(ways)); i_++)		\
		measure(&(ways)[i_], operations);				\
} while (0)

/* Whether a nanosecond is an instruction. */
static void say_unit(void)
{
	uint64_t n = LOOP, ns = now_ns();

	__asm__ volatile("1: dec %0\n\tjnz 1b" : "+r"(n) : : "cc");
	ns = now_ns() - ns;
	printf("A loop of %llu instructions took %llu ns: the numbers below are %s.\n",
	       2 * LOOP, (unsigned long long)ns,
	       ns >= 2 * LOOP && ns < 2 * LOOP + LOOP / 10 ? "instructions" : "ns");
}

int main(int argc, char **argv)
{
	unsigned int operations = argc > 1 ? atoi(argv[1]) : 1000000;

	/* Every page on its own: how many are huge would be chance. */
	if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0))
		die("prctl");
	heap = open_heap();
	area = map_memory(BATCH * SPAN_BYTES);
	if (io_uring_queue_init(BATCH, &ring, 0))
		die("io_uring");
	say_unit();
	title("64 KiB, not written");
	MEASURE(moves_spans, operations);
	MEASURE(moves_mapping, operations / 10);
	title("64 KiB, all 16 pages written");
	MEASURE(moves_pages, operations / 50);
	return 0;
}
