// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * How long malloc() and its like take, whichever allocator is preloaded: one cell, of
 * those that are listed without an argument.  SIZE is from 8 to 4M.
 *
 *   lifo-SIZE		an object is freed before the next is allocated: ns for a pair
 *   batch-SIZE		1000 objects are allocated, then freed in the same order: ns for a pair
 *   cross-SIZE		a thread on another CPU frees what this one allocates: ns for a pair
 *   random-SIZE	100,000 objects are live; one at random is replaced: ns for a pair
 *   random-mixed	the same with sizes of 16 to 1023 bytes, at random
 *   calloc-SIZE	a cleared object is freed before the next is allocated: ns for a pair
 *   fresh-SIZE		cleared objects, 64 MiB in all, that no memory is there for yet,
 *			allocated, and not freed: ns for each
 *   realloc-step	one object grows from 64 KiB to 64 MiB by 64 KiB: ns for a step
 *   realloc-two	two do, in turns
 *   realloc-vector	one does by half its size, and each page is written when it is
 *			reached, as by a vector that is appended to: ns for 64 KiB more
 *
 * The first byte and the last of each object are written, of one that grew the last.
 * Several rounds of ROUND_MS are timed, after others that find how much that is; prints
 * the median, as "ns N".
 *
 *	micro [-s PERCENT] [CELL]
 */
#include "bench.h"

#define ROUNDS		5
#define ROUND_MS	20
#define MOST_MS		400	/* for all rounds of a cell, but one is always timed */

#define BATCH		1000
#define RANDOM_LIVE	100000
#define FRESH_BYTES	(64 * MIB)
#define REALLOC_LEAST	(64 * KIB)
#define REALLOC_MOST	(64 * MIB)
#define REALLOC_STEP	(64 * KIB)

static void *objects[RANDOM_LIVE];
static uint64_t seed = 88172645463325252ULL;

/*
 * A cell does @n operations, or a few more, and returns how many it did; `once` if it
 * cannot be repeated.
 */
struct cell {
	const char *name;
	unsigned long (*run)(size_t size, unsigned long n);
	void (*prepare)(size_t size);
	bool once;
	const size_t *sizes;	/* up to a 0; NULL: the cell has none */
};

/* ---- pairs ------------------------------------------------------------------------ */

static unsigned long lifo(size_t size, unsigned long n)
{
	for (unsigned long i = 0; i < n; i++)
		free(get(size));
	return n;
}

static unsigned long batch(size_t size, unsigned long n)
{
	unsigned long done;

	for (done = 0; done < n; done += BATCH) {
		for (int i = 0; i < BATCH; i++)
			objects[i] = get(size);
		for (int i = 0; i < BATCH; i++)
			free(objects[i]);
	}
	return done;
}

static size_t mixed_size(size_t size, uint64_t random)
{
	return size ? size : 16 + random % 1008;
}

static void prepare_random(size_t size)
{
	for (int i = 0; i < RANDOM_LIVE; i++)
		objects[i] = get(mixed_size(size, next_random(&seed)));
}

static unsigned long random_live(size_t size, unsigned long n)
{
	for (unsigned long i = 0; i < n; i++) {
		uint64_t r = next_random(&seed);
		unsigned int k = (unsigned int)(r >> 32) % RANDOM_LIVE;

		free(objects[k]);
		objects[k] = get(mixed_size(size, r));
	}
	return n;
}

/* ---- from one thread to another --------------------------------------------------- */

#define RING		4096u
#define RING_BYTES	(64 * MIB)	/* that lie in it at most */
#define RING_LEAST	16u
#define MOST_STEP	32u

static struct {
	void *objects[RING];
	unsigned int room;		/* objects that may lie in it */
	unsigned int step;		/* how many one side hands over at a time */
	unsigned long nr;		/* in all */
	uint64_t head __attribute__((aligned(128)));
	uint64_t tail __attribute__((aligned(128)));
} ring __attribute__((aligned(128)));

static void *consumer(void *arg)
{
	uint64_t tail = 0;

	while (tail < ring.nr) {
		while (tail == __atomic_load_n(&ring.head, __ATOMIC_ACQUIRE))
			if (nr_cpus() == 1)
				sched_yield();
		for (unsigned int i = 0; i < ring.step; i++)
			free(ring.objects[tail++ % RING]);
		__atomic_store_n(&ring.tail, tail, __ATOMIC_RELEASE);
	}
	return arg;
}

static void produce(size_t size)
{
	uint64_t head = 0;

	while (head < ring.nr) {
		while (head - __atomic_load_n(&ring.tail, __ATOMIC_ACQUIRE) >
		       ring.room - ring.step)
			if (nr_cpus() == 1)
				sched_yield();
		for (unsigned int i = 0; i < ring.step; i++)
			ring.objects[head++ % RING] = get(size);
		__atomic_store_n(&ring.head, head, __ATOMIC_RELEASE);
	}
}

static void prepare_cross(size_t size)
{
	ring.room = RING_BYTES / size < RING ? RING_BYTES / size : RING;
	ring.room = ring.room < RING_LEAST ? RING_LEAST : ring.room;
	ring.step = ring.room / 4 < MOST_STEP ? ring.room / 4 : MOST_STEP;
}

static unsigned long cross(size_t size, unsigned long n)
{
	pthread_t t;

	ring.head = ring.tail = 0;
	ring.nr = (n + ring.step - 1) / ring.step * ring.step;
	start_thread(&t, 1, consumer, NULL);
	produce(size);
	pthread_join(t, NULL);
	return ring.nr;
}

/* ---- calloc ----------------------------------------------------------------------- */

static char *get_cleared(size_t size)
{
	volatile char *p = calloc(1, size);

	if (!p || p[0] || p[size - 1])
		die("calloc");
	p[0] = 1;
	p[size - 1] = 1;
	return (char *)p;
}

static unsigned long calloc_pair(size_t size, unsigned long n)
{
	for (unsigned long i = 0; i < n; i++)
		free(get_cleared(size));
	return n;
}

static unsigned long fresh(size_t size, unsigned long n)
{
	n = scaled(FRESH_BYTES / size);
	for (unsigned long i = 0; i < n; i++)
		get_cleared(size);
	return n;
}

/* ---- realloc ---------------------------------------------------------------------- */

/* With less work, they grow less. */
static size_t realloc_most(void)
{
	unsigned long steps = scaled(REALLOC_MOST / REALLOC_STEP);

	return steps * REALLOC_STEP < REALLOC_MOST ? steps * REALLOC_STEP : REALLOC_MOST;
}

static char *grow(char *p, size_t size)
{
	p = realloc(p, size);
	if (!p)
		die("realloc");
	p[size - 1] = 1;
	return p;
}

static unsigned long grow_by_steps(unsigned int nr, unsigned long n)
{
	size_t most = realloc_most();
	char *p[2] = { NULL, NULL };
	unsigned long done = 0;

	while (done < n) {
		for (size_t size = REALLOC_LEAST; size <= most; size += REALLOC_STEP)
			for (unsigned int i = 0; i < nr; i++, done++)
				p[i] = grow(p[i], size);
		for (unsigned int i = 0; i < nr; i++) {
			free(p[i]);
			p[i] = NULL;
		}
	}
	return done;
}

static unsigned long realloc_step(size_t size, unsigned long n)
{
	return grow_by_steps(1, n);
}

static unsigned long realloc_two(size_t size, unsigned long n)
{
	return grow_by_steps(2, n);
}

static unsigned long realloc_vector(size_t size, unsigned long n)
{
	size_t most = realloc_most();
	unsigned long done;

	for (done = 0; done < n; done += most / REALLOC_STEP) {
		char *p = NULL;
		size_t from = 0, to = REALLOC_LEAST;

		while (from < most) {
			p = grow(p, to);
			for (; from < to; from += HW_PAGE)
				((volatile char *)p)[from] = 1;
			to = to + to / 2 < most ? to + to / 2 : most;
			to = to / HW_PAGE * HW_PAGE;
		}
		free(p);
	}
	return done;
}

/* ---- the cells -------------------------------------------------------------------- */

static const size_t all_sizes[] = { 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 32768, 64 * KIB,
				    MIB, 4 * MIB, 0 };
static const size_t small_sizes[] = { 16, 64, 256, 1024, 0 };
static const size_t calloc_sizes[] = { 16, 64, 256, 1024, 4096, 32768, 64 * KIB, MIB, 4 * MIB, 0 };
static const size_t fresh_sizes[] = { 64, 1024, 32768, MIB, 0 };

static const struct cell cells[] = {
	{ "lifo", .run = lifo, .sizes = all_sizes },
	{ "batch", .run = batch, .sizes = all_sizes },
	{ "cross", .run = cross, .prepare = prepare_cross, .sizes = all_sizes },
	{ "random-mixed", .run = random_live, .prepare = prepare_random },
	{ "random", .run = random_live, .prepare = prepare_random, .sizes = small_sizes },
	{ "calloc", .run = calloc_pair, .sizes = calloc_sizes },
	{ "fresh", .run = fresh, .once = true, .sizes = fresh_sizes },
	{ "realloc-step", .run = realloc_step },
	{ "realloc-two", .run = realloc_two },
	{ "realloc-vector", .run = realloc_vector },
};

#define NR_CELLS (sizeof(cells) / sizeof(cells[0]))

static const char *name_of(const struct cell *c, size_t size)
{
	static char name[32];

	if (!size)
		snprintf(name, sizeof(name), "%s", c->name);
	else if (size >= MIB)
		snprintf(name, sizeof(name), "%s-%zuM", c->name, size / MIB);
	else if (size >= 32 * KIB)
		snprintf(name, sizeof(name), "%s-%zuK", c->name, size / KIB);
	else
		snprintf(name, sizeof(name), "%s-%zu", c->name, size);
	return name;
}

/* Sets @n to how many there were. */
static double time_round(const struct cell *c, size_t size, unsigned long *n)
{
	uint64_t start = now_ns();

	*n = c->run(size, *n);
	return now_ns() - start;
}

/* How many operations make a round; the rounds that find out warm up, too. */
static unsigned long find_n(const struct cell *c, size_t size, double round_ns)
{
	unsigned long n = 1;
	double ns = time_round(c, size, &n);

	while (ns < round_ns / 2) {
		n *= 2;
		ns = time_round(c, size, &n);
	}
	n = n * round_ns / ns;
	return n ? n : 1;
}

static int order(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double measure(const struct cell *c, size_t size)
{
	double round_ns = ROUND_MS * 1e4 * work_percent, most_ns = MOST_MS * 1e4 * work_percent;
	double ns[ROUNDS];
	unsigned long n = 1;
	uint64_t begin;
	int rounds = 0;

	if (c->prepare)
		c->prepare(size);
	begin = now_ns();
	if (!c->once)
		n = find_n(c, size, round_ns);
	do {
		ns[rounds] = time_round(c, size, &n);
		ns[rounds++] /= n;
	} while (!c->once && rounds < ROUNDS && now_ns() - begin < most_ns);
	qsort(ns, rounds, sizeof(ns[0]), order);
	return ns[rounds / 2];
}

/* Goes through all cells: lists them, or measures the one that is @wanted. */
static bool each_cell(const char *wanted)
{
	static const size_t none[] = { 0 };

	for (const struct cell *c = cells; c < cells + NR_CELLS; c++) {
		const size_t *size = c->sizes ? c->sizes : none;

		do {
			const char *name = name_of(c, *size);

			if (!wanted) {
				puts(name);
			} else if (!strcmp(name, wanted)) {
				printf("ns %.3f\n", measure(c, *size));
				return true;
			}
		} while (*size && *++size);
	}
	return !wanted;
}

int main(int argc, char **argv)
{
	char **args = pattern_options(argc, argv);

	pin_self(0);
	if (!each_cell(args[0])) {
		fprintf(stderr, "micro: no cell %s\n", args[0]);
		return 2;
	}
	return 0;
}
