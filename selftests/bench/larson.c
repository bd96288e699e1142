// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A server, after the description by Larson and Krishnan (1998): each thread has a
 * table of objects, of 8 to 1000 bytes, and replaces one at random, again and again.
 * After a while it leaves the table to a thread that it starts, and ends: nearly all
 * objects are freed by a thread that has not allocated them.  There are two such lanes
 * for each CPU.
 *
 *	larson [-s PERCENT] [-i SECONDS]
 */
#include "bench.h"
#include <semaphore.h>

#define SLOTS		1000
#define STEPS		20000	/* of one thread */
#define GENERATIONS	500
#define LEAST		8
#define MOST		1000

struct lane {
	void *slots[SLOTS];
	unsigned long left;	/* generations */
	unsigned int nr;
	uint64_t random;
};

static sem_t ended;

static void *serve(void *arg)
{
	struct lane *l = arg;

	for (int i = 0; i < STEPS; i++) {
		void **slot = &l->slots[(next_random(&l->random) >> 32) % SLOTS];

		free(*slot);
		*slot = get(random_size(&l->random, LEAST, MOST));
	}
	if (--l->left)
		start_thread(NULL, l->nr, serve, l);
	else
		sem_post(&ended);
	return NULL;
}

int main(int argc, char **argv)
{
	struct lane *lanes;
	int nr;

	pattern_options(argc, argv);
	nr = 2 * nr_cpus();
	lanes = calloc(nr, sizeof(*lanes));
	if (!lanes || sem_init(&ended, 0, 0))
		die("lanes");
	for (int i = 0; i < nr; i++) {
		lanes[i].left = scaled(GENERATIONS);
		lanes[i].nr = i;
		lanes[i].random = seed_of(i);
		start_thread(NULL, i, serve, &lanes[i]);
	}
	for (int i = 0; i < nr; i++)
		while (sem_wait(&ended))
			;
	for (int i = 0; i < nr; i++)
		for (int k = 0; k < SLOTS; k++)
			free(lanes[i].slots[k]);
	free(lanes);
	stay_idle();
	return 0;
}
