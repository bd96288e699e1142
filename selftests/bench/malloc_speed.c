// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * How long malloc() and free() take, in ns for a pair, whichever allocator is
 * preloaded:
 *
 *   lifo    each object is freed before the next is allocated
 *   batch   1000 objects are allocated, then freed in the same order
 *   cross   a thread on another processor frees what this one allocates
 *   random  100,000 objects are live, of 16 to 1023 bytes; one at random is replaced
 *
 * One byte of each object is written.  Every number is the least of a few short
 * rounds, since whatever disturbs one only makes it longer.  Prints "name ns" lines,
 * of those only whose names begin with one of the arguments, if there are any.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS		5
#define LIFO		300000
#define BATCH		1000
#define BATCHES		300
#define CROSS		300000
#define RANDOM_LIVE	100000
#define RANDOM_STEPS	300000

#define RING		4096u
#define RING_STEP	32u	/* how many objects one side hands over at a time */

static const size_t sizes[] = { 16, 64, 256, 1024 };

static void *objects[RANDOM_LIVE];

static void *ring[RING] __attribute__((aligned(64)));
static uint64_t ring_head __attribute__((aligned(64)));
static uint64_t ring_tail __attribute__((aligned(64)));

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void *get(size_t size)
{
	char *p = malloc(size);

	if (!p)
		abort();
	*(volatile char *)p = 1;
	return p;
}

static double lifo(size_t size)
{
	double start = now_ns();

	for (int i = 0; i < LIFO; i++)
		free(get(size));
	return (now_ns() - start) / LIFO;
}

static double batch(size_t size)
{
	double start = now_ns();

	for (int n = 0; n < BATCHES; n++) {
		for (int i = 0; i < BATCH; i++)
			objects[i] = get(size);
		for (int i = 0; i < BATCH; i++)
			free(objects[i]);
	}
	return (now_ns() - start) / (BATCHES * BATCH);
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static void *consumer(void *arg)
{
	uint64_t tail = 0, head = 0;

	pin(1);
	while (tail < CROSS) {
		while (tail == head)
			head = __atomic_load_n(&ring_head, __ATOMIC_ACQUIRE);
		free(ring[tail++ % RING]);
		if (tail % RING_STEP == 0 || tail == CROSS)
			__atomic_store_n(&ring_tail, tail, __ATOMIC_RELEASE);
	}
	return arg;
}

static double cross(size_t size)
{
	uint64_t head = 0, tail = 0;
	double start;
	pthread_t t;

	ring_head = ring_tail = 0;
	if (pthread_create(&t, NULL, consumer, NULL))
		abort();
	start = now_ns();
	while (head < CROSS) {
		while (head - tail > RING - RING_STEP)
			tail = __atomic_load_n(&ring_tail, __ATOMIC_ACQUIRE);
		ring[head++ % RING] = get(size);
		if (head % RING_STEP == 0 || head == CROSS)
			__atomic_store_n(&ring_head, head, __ATOMIC_RELEASE);
	}
	pthread_join(t, NULL);
	return (now_ns() - start) / CROSS;
}

static uint64_t next_random(void)
{
	static uint64_t x = 88172645463325252ull;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

static double random_live(size_t unused)
{
	double start;

	for (int i = 0; i < RANDOM_LIVE; i++)
		objects[i] = get(16 + next_random() % 1008);
	start = now_ns();
	for (int i = 0; i < RANDOM_STEPS; i++) {
		uint64_t r = next_random();
		unsigned int k = (unsigned int)(r >> 32) % RANDOM_LIVE;

		free(objects[k]);
		objects[k] = get(16 + r % 1008);
	}
	start = (now_ns() - start) / RANDOM_STEPS;
	for (int i = 0; i < RANDOM_LIVE; i++)
		free(objects[i]);
	return start;
}

static char **wanted;

static int is_wanted(const char *name)
{
	if (!*wanted)
		return 1;
	for (char **w = wanted; *w; w++)
		if (!strncmp(name, *w, strlen(*w)))
			return 1;
	return 0;
}

static void measure(const char *name, double (*fn)(size_t), size_t size)
{
	double least;

	if (!is_wanted(name))
		return;
	least = fn(size);
	for (int i = 1; i < ROUNDS; i++) {
		double ns = fn(size);

		if (ns < least)
			least = ns;
	}
	printf("%s %.3f\n", name, least);
}

int main(int argc, char **argv)
{
	char name[32];

	wanted = argv + 1;
	pin(0);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		snprintf(name, sizeof(name), "lifo-%zu", sizes[i]);
		measure(name, lifo, sizes[i]);
		snprintf(name, sizeof(name), "batch-%zu", sizes[i]);
		measure(name, batch, sizes[i]);
		snprintf(name, sizeof(name), "cross-%zu", sizes[i]);
		measure(name, cross, sizes[i]);
	}
	measure("random", random_live, 0);
	return 0;
}
