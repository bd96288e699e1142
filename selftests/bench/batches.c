// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Batches in many sizes, after descriptions of what SmartHeap's benchmarks do: a thread
 * goes through sizes from 8 to about 1000 bytes and allocates a batch of each, the more
 * objects the smaller they are.  Of each batch a third is freed in the order of
 * allocation, a third in the opposite one, and a third stays until later batches were
 * allocated.  There are two threads for each CPU.
 *
 *   sh6	what stays is freed by the thread itself, three batches later
 *   sh8	sizes come in random order; what stays is left where the next thread
 *		finds it, in exchange for what lies there, which is freed at once
 *
 *	batches [-s PERCENT] [-i SECONDS] sh6|sh8
 */
#include "bench.h"

#define NR_SIZES	64
#define SIZE_STEP	16
#define BATCH_BYTES	65536
#define MOST_OBJECTS	(BATCH_BYTES / 8)
#define PASSES		250
#define STAY		3	/* batches */

/* The third that stays. */
struct rest {
	unsigned int nr;
	void *objects[MOST_OBJECTS / 3 + 2];
};

struct worker {
	pthread_t thread;
	unsigned int nr;
	uint64_t random;
	void *batch[MOST_OBJECTS];
	struct rest rests[STAY];	/* sh6 */
	struct rest *mine;		/* sh8: will be left to the next thread */
};

static bool exchanges;			/* sh8 */
static struct rest **exchange;		/* one place for each thread */
static unsigned int nr_workers;

static void free_rest(struct rest *r)
{
	while (r->nr)
		free(r->objects[--r->nr]);
}

/* Of the batch, which has @n objects, the third from @from on. */
static void keep(struct rest *r, void **objects, unsigned int n)
{
	memcpy(r->objects, objects, n * sizeof(*objects));
	r->nr = n;
}

static void leave_to_next(struct worker *w, void **objects, unsigned int n)
{
	struct rest **place = &exchange[(w->nr + 1) % nr_workers];

	keep(w->mine, objects, n);
	w->mine = __atomic_exchange_n(place, w->mine, __ATOMIC_ACQ_REL);
	free_rest(w->mine);
}

static void keep_a_while(struct worker *w, unsigned int turn, void **objects, unsigned int n)
{
	struct rest *r = &w->rests[turn % STAY];

	free_rest(r);
	keep(r, objects, n);
}

static void one_batch(struct worker *w, unsigned int turn, size_t size)
{
	unsigned int n = BATCH_BYTES / size, third = n / 3;

	for (unsigned int i = 0; i < n; i++)
		w->batch[i] = get(size);
	for (unsigned int i = 0; i < third; i++)
		free(w->batch[i]);
	for (unsigned int i = 2 * third; i > third; i--)
		free(w->batch[i - 1]);
	if (exchanges)
		leave_to_next(w, w->batch + 2 * third, n - 2 * third);
	else
		keep_a_while(w, turn, w->batch + 2 * third, n - 2 * third);
}

static size_t size_of_turn(struct worker *w, unsigned int turn)
{
	unsigned int k = exchanges ? (next_random(&w->random) >> 32) % NR_SIZES : turn % NR_SIZES;

	return 8 + SIZE_STEP * k;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	unsigned long turns = NR_SIZES * scaled(PASSES);

	for (unsigned int turn = 0; turn < turns; turn++)
		one_batch(w, turn, size_of_turn(w, turn));
	for (int i = 0; i < STAY; i++)
		free_rest(&w->rests[i]);
	return NULL;
}

static struct rest *new_rest(void)
{
	struct rest *r = calloc(1, sizeof(*r));

	if (!r)
		die("rest");
	return r;
}

static void run(struct worker *workers)
{
	for (unsigned int i = 0; i < nr_workers; i++) {
		exchange[i] = new_rest();
		workers[i].mine = new_rest();
		workers[i].nr = i;
		workers[i].random = seed_of(i);
	}
	for (unsigned int i = 0; i < nr_workers; i++)
		start_thread(&workers[i].thread, i, work, &workers[i]);
	for (unsigned int i = 0; i < nr_workers; i++)
		pthread_join(workers[i].thread, NULL);
	for (unsigned int i = 0; i < nr_workers; i++) {
		free_rest(exchange[i]);
		free(exchange[i]);
		free(workers[i].mine);
	}
}

int main(int argc, char **argv)
{
	char **args = pattern_options(argc, argv);
	struct worker *workers;

	if (!args[0] || (strcmp(args[0], "sh6") && strcmp(args[0], "sh8")))
		return 2;
	exchanges = !strcmp(args[0], "sh8");
	nr_workers = 2 * nr_cpus();
	workers = calloc(nr_workers, sizeof(*workers));
	exchange = calloc(nr_workers, sizeof(*exchange));
	if (!workers || !exchange)
		die("workers");
	run(workers);
	free(workers);
	free(exchange);
	stay_idle();
	return 0;
}
