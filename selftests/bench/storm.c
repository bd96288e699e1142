// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Storms of frees from elsewhere: two threads for each CPU allocate a table of objects
 * each, of 16 to 512 bytes; when all have, all free at the same time, each every so
 * manyth object of everybody's table, so that neighbours in memory are freed by
 * different threads; and again.
 *
 *	storm [-s PERCENT] [-i SECONDS]
 */
#include "bench.h"

#define OBJECTS		20000	/* of one table */
#define STORMS		120

static void *(*tables)[OBJECTS];
static unsigned int nr_threads;
static pthread_barrier_t barrier;

static void fill(void **table, uint64_t *random)
{
	for (int i = 0; i < OBJECTS; i++)
		table[i] = get(random_size(random, 16, 512));
}

static void free_share(unsigned int me)
{
	for (unsigned int t = 0; t < nr_threads; t++)
		for (int i = (me + t) % nr_threads; i < OBJECTS; i += nr_threads)
			free(tables[t][i]);
}

static void *storm(void *arg)
{
	unsigned int me = (uintptr_t)arg;
	uint64_t random = seed_of(me);

	for (unsigned long n = scaled(STORMS); n; n--) {
		fill(tables[me], &random);
		pthread_barrier_wait(&barrier);
		free_share(me);
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t *threads;

	pattern_options(argc, argv);
	nr_threads = 2 * nr_cpus();
	tables = calloc(nr_threads, sizeof(*tables));
	threads = calloc(nr_threads, sizeof(*threads));
	if (!tables || !threads || pthread_barrier_init(&barrier, NULL, nr_threads))
		die("tables");
	for (unsigned int i = 0; i < nr_threads; i++)
		start_thread(&threads[i], i, storm, (void *)(uintptr_t)i);
	for (unsigned int i = 0; i < nr_threads; i++)
		pthread_join(threads[i], NULL);
	free(tables);
	free(threads);
	stay_idle();
	return 0;
}
