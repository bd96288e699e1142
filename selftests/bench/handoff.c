// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Objects that are allocated by one thread and freed by another, in a steady stream:
 *
 *   producer	pairs of threads on different CPUs: one sends messages, each a header and
 *		a body of 32 to 2000 bytes, through a queue of its own; the other one
 *		reads and frees them
 *   xmalloc	after the description by Lever and Boreham (2000): all threads put
 *		batches of objects into one pool, and free batches that they take from it
 *
 *	handoff [-s PERCENT] [-i SECONDS] producer|xmalloc
 */
#include "bench.h"
#include <semaphore.h>

/* ---- producer -------------------------------------------------------------------- */

#define MESSAGES	1500000	/* of one pair */
#define STEP		32u	/* how many are handed over at a time */
#define STEPS		32u	/* that the queue holds */
#define QUEUE		(STEP * STEPS)

struct message {
	size_t size;
	unsigned char *body;
};

struct pair {
	struct message *queue[QUEUE];
	sem_t full, room;	/* steps */
	uint64_t nr_messages, read;
	uint64_t random;
	pthread_t threads[2];
};

static struct message *new_message(uint64_t *random)
{
	struct message *m = get(sizeof(*m));

	m->size = random_size(random, 32, 2000);
	m->body = get(m->size);
	return m;
}

static void wait_for(sem_t *s)
{
	while (sem_wait(s))
		;
}

static void *produce(void *arg)
{
	struct pair *p = arg;
	uint64_t head = 0;

	while (head < p->nr_messages) {
		wait_for(&p->room);
		for (unsigned int i = 0; i < STEP; i++)
			p->queue[head++ % QUEUE] = new_message(&p->random);
		sem_post(&p->full);
	}
	return NULL;
}

static void *consume(void *arg)
{
	struct pair *p = arg;
	uint64_t tail = 0;

	while (tail < p->nr_messages) {
		wait_for(&p->full);
		for (unsigned int i = 0; i < STEP; i++) {
			struct message *m = p->queue[tail++ % QUEUE];

			p->read += m->body[0] + m->body[m->size - 1];
			free(m->body);
			free(m);
		}
		sem_post(&p->room);
	}
	return NULL;
}

static void start_pair(struct pair *p, unsigned int nr)
{
	p->random = seed_of(nr);
	p->nr_messages = scaled(MESSAGES) / STEP * STEP + STEP;
	if (sem_init(&p->full, 0, 0) || sem_init(&p->room, 0, STEPS))
		die("sem_init");
	start_thread(&p->threads[0], nr, produce, p);
	start_thread(&p->threads[1], nr + 1, consume, p);
}

static void producer(void)
{
	int nr = nr_cpus();
	struct pair *pairs = calloc(nr, sizeof(*pairs));

	if (!pairs)
		die("pairs");
	for (int i = 0; i < nr; i++)
		start_pair(&pairs[i], i);
	for (int i = 0; i < nr; i++) {
		pthread_join(pairs[i].threads[0], NULL);
		pthread_join(pairs[i].threads[1], NULL);
		if (pairs[i].read != 2 * pairs[i].nr_messages)
			die("messages are not what was sent");
	}
	free(pairs);
}

/* ---- xmalloc --------------------------------------------------------------------- */

#define BATCH		120
#define BATCHES		40000	/* of one thread */
#define POOL		64	/* batches that the pool holds at most */

struct batch {
	struct batch *next;
	void *objects[BATCH];
};

static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static struct batch *pool, **pool_end = &pool;	/* the oldest one comes out first */
static unsigned int nr_pool;

static void free_batch(struct batch *b)
{
	for (int i = 0; i < BATCH; i++)
		free(b->objects[i]);
	free(b);
}

static struct batch *new_batch(uint64_t *random)
{
	struct batch *b = get(sizeof(*b));

	for (int i = 0; i < BATCH; i++)
		b->objects[i] = get(random_size(random, 8, 512));
	return b;
}

static void put_in(struct batch *b)
{
	b->next = NULL;
	*pool_end = b;
	pool_end = &b->next;
	nr_pool++;
}

static struct batch *take_out(void)
{
	struct batch *b = pool;

	pool = b->next;
	if (!pool)
		pool_end = &pool;
	nr_pool--;
	return b;
}

/* Puts @b in, if not NULL, and takes one out if there are too many, or all are to go. */
static struct batch *exchange(struct batch *b)
{
	unsigned int most = b ? POOL : 0;
	struct batch *out = NULL;

	pthread_mutex_lock(&pool_lock);
	if (b)
		put_in(b);
	if (nr_pool > most)
		out = take_out();
	pthread_mutex_unlock(&pool_lock);
	return out;
}

static void *exchange_batches(void *arg)
{
	uint64_t random = seed_of((uintptr_t)arg);
	unsigned long nr = scaled(BATCHES);

	while (nr--) {
		struct batch *b = exchange(new_batch(&random));

		if (b)
			free_batch(b);
	}
	return NULL;
}

static void xmalloc(void)
{
	int nr = 2 * nr_cpus();
	pthread_t threads[nr];
	struct batch *b;

	for (int i = 0; i < nr; i++)
		start_thread(&threads[i], i, exchange_batches, (void *)(uintptr_t)i);
	for (int i = 0; i < nr; i++)
		pthread_join(threads[i], NULL);
	while ((b = exchange(NULL)))
		free_batch(b);
}

int main(int argc, char **argv)
{
	char **args = pattern_options(argc, argv);

	if (args[0] && !strcmp(args[0], "producer"))
		producer();
	else if (args[0] && !strcmp(args[0], "xmalloc"))
		xmalloc();
	else
		return 2;
	stay_idle();
	return 0;
}
