// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What front_order_test.sh runs: threads that know of each other's doings only by what
 * the library's own orderings tell.  They pass pointers with relaxed stores, which
 * ThreadSanitizer does not take for a reason to believe that anything came before.
 * So it reports a race as soon as the ordering is missing that GOHEAP_ORDER names by
 * its number; the library's sources were changed to that end.  0: none is missing.
 *
 *	front_order_prog begin|heaps [SCENARIO...]
 *	front_order_prog begin|heaps all	the others after it
 */
#include <goheap.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "checked.h"
#include "front_calls.h"
#include "heap.h"
#include "init.h"
#include "mcache.h"
#include "mcentral.h"
#include "mspan.h"
#include "pagemap.h"
#include "profile.h"
#include "stack.h"

int ghu_order_broken;

#define NR_BOXES	8u
#define NR_FIRST	2u	/* scenarios that must be the first of a process */

static void *boxes[NR_BOXES];

static void put(unsigned int box, void *p)
{
	__atomic_store_n(&boxes[box], p, __ATOMIC_RELAXED);
}

static void *get(unsigned int box)
{
	void *p;

	while (!(p = __atomic_load_n(&boxes[box], __ATOMIC_RELAXED)))
		sched_yield();
	return p;
}

static void tell(unsigned int box)
{
	put(box, boxes);
}

static void die(const char *what)
{
	fprintf(stderr, "front_order_prog: %s\n", what);
	exit(2);
}

/* Starts another thread of a scenario, before anything is done that it must not know of. */
static pthread_t start(void *(*fn)(void *))
{
	pthread_t t;

	if (pthread_create(&t, NULL, fn, NULL))
		die("no thread");
	return t;
}

/* ---- objects ---- */

static void *write_and_free(void *arg)
{
	char *p = get(0);

	memset(p, 1, 16);
	vfree(p);
	tell(1);
	return arg;
}

/* Allocates until it has that object, and writes to it. */
static void allocate_again(size_t size, const void *wanted)
{
	static void *others[100000];
	unsigned int n = 0;
	char *p;

	while ((p = vmalloc(size)) != wanted && n < 100000)
		others[n++] = p;
	if (p != wanted)
		die("the object is not allocated again");
	memset(p, 2, 16);
	while (n)
		vfree(others[--n]);
	vfree(p);
}

static unsigned int per_span(size_t size)
{
	return ghu_classes[ghu_size_to_class(size)].nelems;
}

/* Another thread frees what this one allocated, in a span that it owns. */
static void handoff(size_t size, unsigned int nr_spans)
{
	pthread_t t = start(write_and_free);
	char *p = vmalloc(size);

	/* What it has at hand is used up, so that it looks what was freed. */
	for (unsigned int i = nr_spans * per_span(size); i > 1; i--)
		p = vmalloc(size);
	put(0, p);
	get(1);
	goheap_option_set("memprofilerate", "0");
	allocate_again(size, p);
	pthread_join(t, NULL);
}

static void owned(void)
{
	handoff(64, 1);
}

/* The same with few objects in a span, and several spans. */
static void few(void)
{
	handoff(6144, 3);
}

/* The same, of objects that are sampled. */
static void sampled(void)
{
	goheap_option_set("memprofilerate", "1");
	handoff(320, 1);
}

/* All objects of a span, which is then nobody's own. */
static unsigned int fill_span(size_t size, char **objects)
{
	unsigned int nr = per_span(size);

	for (unsigned int i = 0; i < nr; i++)
		objects[i] = vmalloc(size);
	goheap_flush();
	return nr;
}

static uint8_t state_of(const void *p)
{
	const struct ghu_mspan *s = ghu_pagemap_get((uintptr_t)p);
	uint32_t index;

	if (!ghu_find_object(s, (uintptr_t)p, &index))
		die("no object");
	return ghu_state(&ghu_states(s)[index]);
}

static void shared(void)
{
	static char *objects[1024];
	pthread_t t = start(write_and_free);
	unsigned int nr = fill_span(48, objects), i = nr / 2;

	while (state_of(objects[i]) != GHU_OBJ_LIVE)
		i++;
	put(0, objects[i]);
	get(1);
	allocate_again(48, objects[i]);
	pthread_join(t, NULL);
	for (unsigned int k = 0; k < nr; k++)
		if (k != i)
			vfree(objects[k]);
}

/*
 * Makes the span this thread's own again, standing on the 64 objects that number i is one
 * of, none of which is free.
 */
static void stand_on(size_t size, char **objects, unsigned int i)
{
	char *p = objects[i ^ 1];

	vfree(p);
	if (vmalloc(size) != p)
		die("another object is allocated");
}

/* Its free goes the slow way, past the lock. */
static void watched(void)
{
	static char *objects[1024];
	pthread_t t = start(write_and_free);
	unsigned int nr = fill_span(24, objects), i = 0;

	while (i < nr && state_of(objects[i]) != GHU_OBJ_WATCH)
		i++;
	if (i == nr)
		die("no object is watched");
	stand_on(24, objects, i);
	put(0, objects[i]);
	get(1);
	allocate_again(24, objects[i]);
	pthread_join(t, NULL);
}

static void *write_and_keep(void *arg)
{
	char *p;

	get(2);
	vmalloc(32);
	ghu_recent_begin(ghu_mcache, ghu_size_to_class(32));
	p = get(0);
	memset(p, 1, 16);
	vfree(p);
	if (state_of(p) != GHU_OBJ_KEPT)
		die("the object is not kept");
	tell(1);
	get(3);
	goheap_flush();
	tell(4);
	return arg;
}

/* Another thread keeps the object for itself, and then lets it go. */
static void kept(void)
{
	static char *objects[1024];
	pthread_t t = start(write_and_keep);
	unsigned int i = fill_span(32, objects) / 2;

	tell(2);
	put(0, objects[i]);
	get(1);
	stand_on(32, objects, i);
	tell(3);
	get(4);
	allocate_again(32, objects[i]);
	pthread_join(t, NULL);
}

/* ---- locks ---- */

static struct ghu_lock lock;
static int locked_number;

static void *take_lock(void *arg)
{
	get(0);
	ghu_lock(&lock);
	locked_number++;
	ghu_unlock(&lock);
	return arg;
}

static void *take_lock_slowly(void *arg)
{
	get(0);
	ghu_lock_slow(&lock);
	locked_number++;
	ghu_unlock(&lock);
	return arg;
}

static void lock_after(void *(*fn)(void *))
{
	pthread_t t = start(fn);

	ghu_lock(&lock);
	locked_number++;
	ghu_unlock(&lock);
	tell(0);
	pthread_join(t, NULL);
}

static void lock_free(void)
{
	lock_after(take_lock);
}

static void lock_spins(void)
{
	lock_after(take_lock_slowly);
}

/* It has to wait, and sleeps. */
static void lock_sleeps(void)
{
	pthread_t t = start(take_lock_slowly);

	ghu_lock(&lock);
	tell(0);
	while (__atomic_load_n(&lock.word, __ATOMIC_RELAXED) != 2)
		usleep(1000);
	locked_number++;
	ghu_unlock(&lock);
	pthread_join(t, NULL);
}

/* ---- the beginning; each must be the first scenario of a process ---- */

static void *look_at_options(void *arg)
{
	get(0);
	if (ghu_checked_on())
		die("checks are on");
	return arg;
}

static void begin(void)
{
	pthread_t t = start(look_at_options);

	vfree(vmalloc(16));
	tell(0);
	pthread_join(t, NULL);
}

static void *look_at_heaps(void *arg)
{
	get(0);
	ghu_heaps_pressure();
	return arg;
}

static void heaps(void)
{
	pthread_t t = start(look_at_heaps);

	vfree(vmalloc(16));
	tell(0);
	pthread_join(t, NULL);
}

/* ---- records of spans ---- */

static void *look_at_records(void *arg)
{
	struct ghu_mspan_iter it = { 0 };
	const struct ghu_mspan *s;
	uintptr_t sum = 0;

	get(0);
	ghu_lock(&ghu_spans.lock);
	while ((s = ghu_mspan_iterate(&it)))
		if (ghu_mspan_where(s) == GHU_SPAN_IS_OWNED)
			sum += s->base;
	ghu_unlock(&ghu_spans.lock);
	put(1, (void *)sum);
	return arg;
}

/* A span whose pages are not counted: its record was not written under the lock. */
static void records(void)
{
	pthread_t t = start(look_at_records);

	vmalloc(0);
	tell(0);
	pthread_join(t, NULL);
}

#define NR_GIVEN_UP	64

static int numbers[NR_GIVEN_UP];

static void *make_another_of_it(void *arg)
{
	char *p, *q;

	vmalloc(0);
	for (const int *nr = arg; nr > numbers; nr--)
		numbers[nr - numbers]++;
	p = get(0);
	vfree(p);
	q = vmalloc(112);
	if (ghu_pagemap_get((uintptr_t)p) != ghu_pagemap_get((uintptr_t)q))
		die("it is not made another one");
	vfree(q);
	return arg;
}

/*
 * A span whose last object is freed as soon as it was given up is no longer what it was.  The
 * sanitizer remembers four accesses to a word, which ones depends on how many there were before.
 */
static void given_up(void)
{
	struct ghu_mspan *s;
	pthread_t t;

	vmalloc(0);
	for (int i = 0; i < NR_GIVEN_UP; i++) {
		s = ghu_mcentral_grow(ghu_size_to_class(96), ghu_mcache);
		__atomic_store_n(&ghu_states(s)[0], GHU_OBJ_LIVE, __ATOMIC_RELAXED);
		if (pthread_create(&t, NULL, make_another_of_it, &numbers[i]))
			die("no thread");
		put(1, (void *)s->base);
		ghu_mcentral_uncache_span(s);
		put(0, get(1));
		pthread_join(t, NULL);
		put(0, NULL);
	}
}

static void *free_watched(void *arg)
{
	char *p;

	vmalloc(0);
	p = get(0);
	if (state_of(p) != GHU_OBJ_WATCH)
		die("it is not watched");
	vfree(p);
	return arg;
}

/* Who gives up a span of new memory makes all its objects; who frees the watched one looks how many. */
static void extended(void)
{
	struct ghu_mspan *s;
	pthread_t t;

	vmalloc(0);
	for (int i = 0; i < NR_GIVEN_UP; i++) {
		s = ghu_mcentral_grow(ghu_size_to_class(128), ghu_mcache);
		__atomic_store_n(&ghu_states(s)[0], GHU_OBJ_LIVE, __ATOMIC_RELAXED);
		__atomic_store_n(&ghu_states(s)[1], GHU_OBJ_LIVE, __ATOMIC_RELAXED);
		t = start(free_watched);
		ghu_mcentral_uncache_span(s);
		put(0, (char *)s->base + 128);
		pthread_join(t, NULL);
		put(0, NULL);
	}
}

/* ---- the profile ---- */

static void *look_at_buckets(void *arg)
{
	size_t sum = 0;

	get(0);
	for (const struct ghu_profile_bucket *b = ghu_profile_buckets(); b; b = b->next)
		sum += b->size;
	put(1, (void *)sum);
	return arg;
}

static void profile(void)
{
	pthread_t t = start(look_at_buckets);

	goheap_option_set("memprofilerate", "1");
	/* Only one: the sanitizer forgets who wrote what is read over and over. */
	vmalloc(1000);
	if (!ghu_profile_buckets())
		die("nothing was sampled");
	tell(0);
	pthread_join(t, NULL);
	goheap_option_set("memprofilerate", "0");
}

static void *walk_stack(void *arg)
{
	uintptr_t pcs[8];

	get(0);
	ghu_stack_walk(pcs, 8, NULL);
	return arg;
}

/* More threads than there is room to remember something for. */
static void stacks(void)
{
	pthread_t t[64];

	ghu_stack_prepare();
	for (int i = 0; i < 64; i++)
		t[i] = start(walk_stack);
	tell(0);
	for (int i = 0; i < 64; i++)
		pthread_join(t[i], NULL);
}

static void stack(void)
{
	pthread_t t = start(walk_stack);

	ghu_stack_prepare();
	tell(0);
	pthread_join(t, NULL);
}

/* ---- the page map ---- */

#define FAR	((uintptr_t)1 << 45)	/* no span ever was there */

static void *enter_beside(void *arg)
{
	uintptr_t addr = FAR + GHU_PAGE_SIZE;

	get(0);
	if (ghu_pagemap_prepare(addr, 1))
		die("no leaf");
	ghu_pagemap_set(addr, 1, &ghu_mspan_gone, 0);
	return arg;
}

/* Who finds a leaf that another one made writes to it. */
static void leaf(void)
{
	pthread_t t = start(enter_beside);

	if (ghu_pagemap_prepare(FAR, 1))
		die("no leaf");
	tell(0);
	pthread_join(t, NULL);
}

/* The first two do their work only as the first one of a process. */
static const struct {
	const char *name;
	void (*run)(void);
} scenarios[] = {
	{ "begin", begin },
	{ "heaps", heaps },
	{ "owned", owned },
	{ "few", few },
	{ "sampled", sampled },
	{ "shared", shared },
	{ "watched", watched },
	{ "kept", kept },
	{ "lock_free", lock_free },
	{ "lock_spins", lock_spins },
	{ "lock_sleeps", lock_sleeps },
	{ "records", records },
	{ "given_up", given_up },
	{ "extended", extended },
	{ "profile", profile },
	{ "stack", stack },
	{ "stacks", stacks },
	{ "leaf", leaf },
};

int main(int argc, char **argv)
{
	const char *order = getenv("GOHEAP_ORDER");

	ghu_order_broken = order ? atoi(order) : 0;
	for (int i = 1; i < argc; i++)
		for (size_t k = 0; k < sizeof(scenarios) / sizeof(scenarios[0]); k++)
			if (!strcmp(argv[i], scenarios[k].name) ||
			    (k >= NR_FIRST && !strcmp(argv[i], "all"))) {
				scenarios[k].run();
				memset(boxes, 0, sizeof(boxes));
			}
	return 0;
}
