// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Empty spans that a thread has at hand: that they serve for other sizes, and are made
 * anew where they are; how many there are, of what kinds, and when there are none; and
 * that nobody sees them when the thread trims, ends, or is not there after a fork.
 */
#define _GNU_SOURCE
#include <goheap.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../../userlib/empty.h"
#include "../../userlib/few.h"
#include "../../userlib/mcache.h"
#include "../../userlib/options.h"
#include "../../userlib/pagemap.h"
#include "../../userlib/sweep.h"
#include "back_test.h"
#include "front_calls.h"

#define SPANS	200u	/* more than a thread may own */
#define SIZE	200u	/* of the class of 208 bytes */
#define PER	39u
#define N	(SPANS * PER)
#define KEPT	4u

static char *objects[N];

/* The kernel would count them for the class that they were allocated for. */
static bool keeps(void)
{
	return !strcmp(goheap_backend(), "embedded");
}

static struct ghu_mspan *record_of(const void *p)
{
	return ghu_pagemap_get((uintptr_t)p);
}

static void alloc_all(size_t size, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		objects[i] = vmalloc(size);
}

static void free_all(unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		vfree(objects[i]);
}

/* So many more spans than the thread may own are freed. */
static void *make_spare(void *arg)
{
	alloc_all(SIZE, N);
	free_all(N);
	return arg;
}

static bool is_spare(const struct ghu_mspan *s)
{
	for (const struct ghu_mspan *q = ghu_mcache->spare; q; q = q->next)
		if (q == s)
			return true;
	return false;
}

/* Others that nobody needs are not in the way. */
static int begin(void)
{
	goheap_flush();
	make_spare(NULL);
	ghu_empty_flush();
	T_EQ(ghu_mcache->nr_spare, KEPT);
	return T_PASS;
}

static int test_other_size(void)
{
	struct ghu_mspan *s;
	size_t inuse;
	char *p;

	if (!keeps())
		return T_SKIP;
	T_SUB(begin());
	s = ghu_mcache->spare;
	T_EQ(s->elemsize, 208);
	T_EQ(ghu_mspan_where(s), GHU_SPAN_IS_OWNED);
	T_EQ(ghu_mspan_count_live(s), 0);
	inuse = goheap_inuse_bytes();
	p = vmalloc(300);
	T(record_of(p) == s);
	T_EQ((uintptr_t)p, s->base);
	T_EQ(s->elemsize, 320);
	T_EQ(s->nelems, 8192 / 320);
	T_EQ(ghu_entry_class(ghu_pagemap_entry(s->base + 4096)), ghu_mspan_class(s));
	T_EQ(ghu_mcache->nr_spare, KEPT - 1);
	T_EQ(goheap_inuse_bytes(), inuse);
	/* Of its objects, none is known to be zero. */
	memset(p, 1, 300);
	for (unsigned int i = 1; i < 8192 / 320; i++)
		memset(vmalloc(300), 1, 300);
	T(record_of(vmalloc(300)) != s);
	p = calloc(1, 400);
	for (unsigned int i = 0; i < 400; i++)
		T(!p[i]);
	return T_PASS;
}

static void free_spare(void)
{
	begin();
	vfree((void *)ghu_mcache->spare->base);
}

/* An address at which an object of the former class began. */
static void free_former(void)
{
	begin();
	vfree((char *)vmalloc(300) + 208);
}

static int test_freed(void)
{
	char text[4096];

	if (!keeps())
		return T_SKIP;
	T_EQ(t_stderr(free_spare, text, sizeof(text)), 256 + SIGABRT);
	T(strstr(text, "free: double free"));
	T_EQ(t_stderr(free_former, text, sizeof(text)), 256 + SIGABRT);
	T(strstr(text, "free: invalid pointer"));
	return T_PASS;
}

/* A span that others freed the last object of is the thread's that freed it. */
static int test_of_nobody(void)
{
	struct ghu_mspan *s;
	pthread_t t;

	if (!keeps())
		return T_SKIP;
	T_SUB(begin());
	goheap_flush();
	T(!pthread_create(&t, NULL, make_spare, NULL));
	pthread_join(t, NULL);
	alloc_all(SIZE, PER);
	s = record_of(objects[0]);
	goheap_flush();
	T_EQ(ghu_mspan_where(s), GHU_SPAN_IS_SHARED);
	T(!is_spare(s));
	free_all(PER);
	T(is_spare(s));
	T(s->owner == ghu_mcache);
	return T_PASS;
}

static void *free_span(void *arg)
{
	free_all(PER);
	return arg;
}

/* A thread that never allocated has nowhere to keep one. */
static int test_no_cache(void)
{
	pthread_t t;

	goheap_flush();
	alloc_all(SIZE, PER);
	goheap_flush();
	T(!pthread_create(&t, NULL, free_span, NULL));
	pthread_join(t, NULL);
	T(!ghu_pagemap_lookup((uintptr_t)objects[0]));
	return T_PASS;
}

/* Those with objects, of several pages, or with longer records are not spare. */
static int test_kinds(void)
{
	static const size_t sizes[] = { 16, 100, 1000, 5000 };

	if (!keeps())
		return T_SKIP;
	for (unsigned int k = 0; k < ARRAY_SIZE(sizes); k++) {
		goheap_flush();
		alloc_all(sizes[k], N);
		free_all(N);
		T_EQ(ghu_mcache->nr_spare, 0);
		T(!ghu_mcache->spare);
	}
	alloc_all(SIZE, N);
	for (unsigned int i = 0; i < N; i++)
		if (i % PER)
			vfree(objects[i]);
	T_EQ(ghu_mcache->nr_spare, 0);
	for (unsigned int i = 0; i < N; i += PER)
		vfree(objects[i]);
	T_EQ(ghu_mcache->nr_spare, KEPT);
	return T_PASS;
}

/* Nor do they serve for such. */
static int test_for_kinds(void)
{
	static const size_t sizes[] = { 0, 16, 100, 1000, 5000 };

	if (!keeps())
		return T_SKIP;
	T_SUB(begin());
	for (unsigned int k = 0; k < ARRAY_SIZE(sizes); k++)
		T(!is_spare(record_of(vmalloc(sizes[k]))));
	T_EQ(ghu_mcache->nr_spare, KEPT);
	return T_PASS;
}

static int test_trim(void)
{
	size_t before;

	goheap_flush();
	before = goheap_inuse_bytes();
	make_spare(NULL);
	goheap_flush();
	T_EQ(ghu_mcache->nr_spare, 0);
	T(!ghu_mcache->spare);
	T_EQ(goheap_inuse_bytes(), before);
	return T_PASS;
}

static int test_exit(void)
{
	size_t before = 0;
	pthread_t t;

	for (int i = 0; i < 4; i++) {
		T(!pthread_create(&t, NULL, make_spare, NULL));
		pthread_join(t, NULL);
		if (!i)
			before = goheap_inuse_bytes();
	}
	T_EQ(goheap_inuse_bytes(), before);
	return T_PASS;
}

static pthread_barrier_t all;

static void *stay(void *arg)
{
	vfree(vmalloc(100));
	pthread_barrier_wait(&all);
	pthread_barrier_wait(&all);
	return arg;
}

static int test_many(void)
{
	pthread_t t[8];

	if (!keeps())
		return T_SKIP;
	goheap_flush();
	T(!pthread_barrier_init(&all, NULL, ARRAY_SIZE(t) + 1));
	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++)
		T(!pthread_create(&t[i], NULL, stay, NULL));
	pthread_barrier_wait(&all);
	make_spare(NULL);
	T_EQ(ghu_mcache->nr_spare, 0);
	pthread_barrier_wait(&all);
	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++)
		pthread_join(t[i], NULL);
	make_spare(NULL);
	T_EQ(ghu_mcache->nr_spare, KEPT);
	return T_PASS;
}

static int test_bgscavenge(void)
{
	if (!keeps())
		return T_SKIP;
	goheap_flush();
	ghu_options.bgscavenge = 1000;
	make_spare(NULL);
	ghu_options.bgscavenge = 0;
	T_EQ(ghu_mcache->nr_spare, 0);
	return T_PASS;
}

/* Whether nobody has the span: it is kept for the next one of its kind, or is none any more. */
static bool is_given_back(uintptr_t base)
{
	const struct ghu_mspan *s = ghu_pagemap_get(base);

	return s == &ghu_mspan_gone || ghu_mspan_is_kept(s);
}

/* The other thread, whose cache that is, waits. */
static void *fork_and_look(void *cache)
{
	const struct ghu_mcache *mc = cache;
	uintptr_t spares[KEPT];
	unsigned int nr = 0, lost = 0;
	int status = 1;
	pid_t pid;

	for (const struct ghu_mspan *s = mc->spare; s; s = s->next)
		spares[nr++] = s->base;
	pid = fork();
	if (!pid) {
		/* Who needs a span from others hands out what the first thread had. */
		vfree(vmalloc(700));
		while (nr)
			lost += !is_given_back(spares[--nr]);
		_exit(lost);
	}
	waitpid(pid, &status, 0);
	return !nr ? "there are none" : status ? "the child has lost them" : NULL;
}

static int test_fork(void)
{
	pthread_t t;
	void *ret;

	if (!keeps())
		return T_SKIP;
	T_SUB(begin());
	T(!pthread_create(&t, NULL, fork_and_look, ghu_mcache));
	pthread_join(t, &ret);
	if (ret)
		printf("# %s\n", (char *)ret);
	T(!ret);
	return T_PASS;
}

static const struct t_case cases[] = {
	{ "one serves for another size", test_other_size },
	{ "frees of what is not there", test_freed },
	{ "a span that nobody owned", test_of_nobody },
	{ "a thread without a cache", test_no_cache },
	{ "other kinds are not kept", test_kinds },
	{ "nor do they become such", test_for_kinds },
	{ "trim", test_trim },
	{ "the end of the thread", test_exit },
	{ "none where threads are many", test_many },
	{ "none where memory matters more", test_bgscavenge },
	{ "fork by another thread", test_fork },
};

int main(int argc, char **argv)
{
	/* What is allocated is of the class of its size. */
	ghu_few_is_over = true;
	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
