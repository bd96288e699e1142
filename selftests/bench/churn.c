// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Threads that come and go: 10,000 of them, of which 64 are alive at once.  Each
 * allocates a few hundred objects, mostly small, some up to 32 KiB, and frees most of
 * them; the rest it leaves to others, and frees what was left to it.  Then it waits
 * until it is the oldest, and ends.  Says how much more memory is resident when all
 * have ended, and all is freed, than before the first one began:
 *
 *	growth_kib N
 *
 *	churn [-s PERCENT] [-i SECONDS]
 */
#include "bench.h"
#include <semaphore.h>

#define THREADS		10000
#define ALIVE		64
#define OBJECTS		400
#define LEFT		50	/* of those, to others */

static struct slot {
	sem_t may_end;
	pthread_t thread;
	unsigned int nr;
	void *left[LEFT];
} slots[ALIVE];

static size_t some_size(uint64_t *random)
{
	if (next_random(random) % 32)
		return random_size(random, 8, 1024);
	return random_size(random, 1024, 32768);
}

/* Exchanges what is left in slot @s for @objects, and frees that. */
static void leave(struct slot *s, void **objects)
{
	for (int i = 0; i < LEFT; i++)
		free(__atomic_exchange_n(&s->left[i], objects[i], __ATOMIC_ACQ_REL));
}

static void *live(void *arg)
{
	struct slot *s = arg;
	uint64_t random = seed_of(s->nr);
	void *objects[OBJECTS];

	for (int i = 0; i < OBJECTS; i++)
		objects[i] = get(some_size(&random));
	for (int i = LEFT; i < OBJECTS; i++)
		free(objects[i]);
	leave(&slots[next_random(&random) % ALIVE], objects);
	while (sem_wait(&s->may_end))
		;
	return NULL;
}

static void end(struct slot *s)
{
	sem_post(&s->may_end);
	pthread_join(s->thread, NULL);
}

static void churn(unsigned int threads)
{
	for (unsigned int i = 0; i < threads; i++) {
		struct slot *s = &slots[i % ALIVE];

		if (i >= ALIVE)
			end(s);
		s->nr = i;
		start_thread(&s->thread, i, live, s);
	}
	for (unsigned int i = 0; i < ALIVE; i++)
		end(&slots[(threads + i) % ALIVE]);
}

int main(int argc, char **argv)
{
	static void *nothing[LEFT];
	unsigned long threads, before;

	pattern_options(argc, argv);
	threads = scaled(THREADS);
	threads = threads < ALIVE ? ALIVE : threads;
	for (int i = 0; i < ALIVE; i++)
		if (sem_init(&slots[i].may_end, 0, 0))
			die("sem_init");
	before = rss_kib();
	churn(threads);
	for (int i = 0; i < ALIVE; i++)
		leave(&slots[i], nothing);
	dprintf(STDOUT_FILENO, "growth_kib %ld\n", (long)(rss_kib() - before));
	stay_idle();
	return 0;
}
