// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Empty spans that are kept whole: that they are found again, without the heap's help; that
 * the heap does not grow for them; that nothing of it is seen by who asks what is in use,
 * frees twice, grows an object over one, or trims; and that they go back when nobody needs
 * them for a while.
 */
#include <goheap.h>
#include <malloc.h>
#include <pthread.h>
#include <unistd.h>
#include "../../userlib/empty.h"
#include "../../userlib/large.h"
#include "../../userlib/mcache.h"
#include "../../userlib/pagemap.h"
#include "back_test.h"

static void *(*volatile vmalloc)(size_t) = malloc;
static void (*volatile vfree)(void *) = free;

#define N	100
#define LONG	((size_t)1 << 20)
#define BUSY	20	/* more than a thread keeps */

static char *p[N];

static struct ghu_mspan *record_of(const void *addr)
{
	return ghu_pagemap_get((uintptr_t)addr);
}

/* Of the kernel's heaps nothing is kept. */
static bool keeps(void)
{
	return !strcmp(goheap_backend(), "embedded");
}

static void alloc_all(size_t size)
{
	for (int i = 0; i < N; i++)
		p[i] = vmalloc(size);
}

static void free_all(void)
{
	for (int i = 0; i < N; i++)
		vfree(p[i]);
}

static size_t heap_sys(void)
{
	struct goheap_memstats st;

	goheap_memstats(&st, sizeof(st));
	return st.heap_sys;
}

static int test_reuse(void)
{
	static char *was[N];
	size_t before, found = 0;

	if (!keeps())
		return T_SKIP;
	goheap_flush();
	before = goheap_inuse_bytes();
	alloc_all(LONG);
	memcpy(was, p, sizeof(p));
	T(goheap_inuse_bytes() >= before + N * LONG);
	free_all();
	T(goheap_inuse_bytes() <= before + (256 << 10));
	T(ghu_empty_bytes() >= (N - 1) * LONG);
	T(ghu_mspan_is_kept(record_of(p[0])));
	T(!ghu_pagemap_lookup((uintptr_t)p[0]));
	alloc_all(LONG);
	for (int i = 0; i < N; i++)
		for (int k = 0; k < N; k++)
			found += p[i] == was[k];
	T_EQ(found, N);
	T_EQ(ghu_empty_bytes(), 0);
	free_all();
	return T_PASS;
}

/* What is freed serves for other lengths, too: longer ones, and objects of classes. */
static int test_no_growth(void)
{
	void **first = NULL, **next;
	size_t before;

	if (!keeps())
		return T_SKIP;
	goheap_flush();
	alloc_all(LONG);
	before = heap_sys();
	free_all();
	for (int i = 0; i < N / 3; i++)
		p[i] = vmalloc(3 * LONG - 100000);
	T(heap_sys() <= before + before / 8 + (2 << 20));
	for (int i = 0; i < N / 3; i++)
		vfree(p[i]);
	/* As many bytes, a page each. */
	for (size_t i = 0; i < N * LONG / 8192; i++) {
		next = vmalloc(8000);
		*next = first;
		first = next;
	}
	T(heap_sys() <= before + before / 4 + (2 << 20));
	for (; first; first = next) {
		next = *first;
		vfree(first);
	}
	return T_PASS;
}

static void free_long_twice(void)
{
	char *q = vmalloc(LONG);

	vfree(q);
	vfree(q);
}

static void grow_freed(void)
{
	char *q = vmalloc(LONG);

	vfree(q);
	q = realloc(q, 2 * LONG);
	_exit(!q);
}

static int test_freed(void)
{
	char text[4096];

	T_EQ(t_stderr(free_long_twice, text, sizeof(text)), 256 + SIGABRT);
	T(strstr(text, "free: double free"));
	T_EQ(t_stderr(grow_freed, text, sizeof(text)), 256 + SIGABRT);
	T(strstr(text, "realloc: freed pointer"));
	return T_PASS;
}

/* What lies behind an object and is kept does not keep it from growing. */
static int test_growing(void)
{
	char *q;

	if (!keeps())
		return T_SKIP;
	goheap_flush();
	alloc_all(LONG);
	for (int i = 0; i < N; i++)
		for (int k = 0; k < N; k++)
			if (p[k] == p[i] + LONG) {
				vfree(p[k]);
				T(ghu_mspan_is_kept(record_of(p[k])));
				p[k] = NULL;
				q = realloc(p[i], 2 * LONG);
				T(q == p[i]);
				free_all();
				return T_PASS;
			}
	T(!"two objects lie side by side");
	return T_PASS;
}

static int before_in_memory(const char *addr)
{
	for (int i = 0; i < N; i++)
		if (p[i] && p[i] + LONG == addr)
			return i;
	return -1;
}

/* An object grows over what begins at addr and is kept. */
static bool grows_over(const char *addr)
{
	int i = before_in_memory(addr);

	return i >= 0 && realloc(p[i], 2 * LONG) == p[i];
}

/* Four objects, each behind one that is in use. */
static void keep_four(char **kept)
{
	int nr = 0;

	goheap_flush();
	alloc_all(LONG);
	for (int i = 0; i < N && nr < 4; i += 3) {
		int before = before_in_memory(p[i]);

		if (before < 0 || before % 3 == 0)
			continue;
		kept[nr++] = p[i];
		vfree(p[i]);
		p[i] = NULL;
	}
}

/* Then those that were kept before and after it still are, and it is not. */
static int test_from_amid(void)
{
	char *kept[4];

	if (!keeps())
		return T_SKIP;
	keep_four(kept);
	T(grows_over(kept[1]));
	T_EQ(ghu_empty_bytes(), 3 * LONG);
	T(record_of(kept[0])->prev == record_of(kept[2]));
	T(vmalloc(LONG) == kept[3]);
	T(vmalloc(LONG) == kept[2]);
	T(vmalloc(LONG) == kept[0]);
	T(vmalloc(LONG) != kept[1]);
	free_all();

	keep_four(kept);
	T(grows_over(kept[0]));
	T(record_of(kept[3])->prev == record_of(kept[1]));
	T(grows_over(kept[3]));
	T(vmalloc(LONG) == kept[2]);
	T(vmalloc(LONG) == kept[1]);
	T_EQ(ghu_empty_bytes(), 0);
	free_all();
	return T_PASS;
}

static int test_trim(void)
{
	size_t before;

	alloc_all(LONG);
	for (int i = 0; i < N; i++)
		memset(p[i], 1, LONG);
	before = t_rss();
	free_all();
	malloc_trim(0);
	T_EQ(ghu_empty_bytes(), 0);
	T(t_rss() + N * LONG * 9 / 10 < before);
	for (int i = 0; i < N; i++) {
		p[i] = calloc(1, LONG);
		for (size_t k = 0; k < LONG; k += 512)
			T(!p[i][k]);
	}
	free_all();
	return T_PASS;
}

/*
 * With the limit at 20 ms, what nobody takes goes back while the program goes on with a
 * few others of the same length, and those stay.
 */
static int test_age(void)
{
	size_t kept;

	if (!keeps())
		return T_SKIP;
	goheap_option_set("scavenge", "1");
	alloc_all(LONG);
	free_all();
	for (int i = 0; i < 3000 && ghu_empty_bytes() > 2 * BUSY * LONG; i++) {
		for (int k = 0; k < BUSY; k++)
			p[k] = vmalloc(LONG);
		for (int k = 0; k < BUSY; k++)
			vfree(p[k]);
		usleep(100);
	}
	kept = ghu_empty_bytes();
	goheap_option_set("scavenge", "0");
	printf("# %zu bytes are kept\n", kept);
	T(kept <= 2 * BUSY * LONG);
	return T_PASS;
}

static void *exchange(void *arg)
{
	char **mine = calloc(64, sizeof(*mine));

	for (int i = 0; i < 40000; i++) {
		unsigned int k = (unsigned int)(i * 7919u + (uintptr_t)arg * 31) % 64;
		size_t size = (size_t)(1 + (i * 31u + k) % 40) << 13;

		if (mine[k] && mine[k][0] != (char)(uintptr_t)arg)
			return (void *)"changed";
		vfree(mine[k]);
		mine[k] = vmalloc(size);
		mine[k][0] = mine[k][size - 1] = (char)(uintptr_t)arg;
	}
	for (int k = 0; k < 64; k++)
		vfree(mine[k]);
	vfree(mine);
	return NULL;
}

static int test_threads(void)
{
	pthread_t t[4];
	void *ret;

	for (uintptr_t i = 0; i < 4; i++)
		T(!pthread_create(&t[i], NULL, exchange, (void *)(i + 1)));
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], &ret);
		T(!ret);
	}
	return T_PASS;
}

#define NR_SMALL	40000u

static char *small[NR_SMALL];

static void alloc_small(size_t size)
{
	for (unsigned int i = 0; i < NR_SMALL; i++)
		small[i] = memset(vmalloc(size), (int)i, size);
}

static void free_small(void)
{
	for (unsigned int i = 0; i < NR_SMALL; i++)
		vfree(small[i]);
}

static bool are_filled(size_t size)
{
	for (unsigned int i = 0; i < NR_SMALL; i++)
		if (small[i][0] != (char)i || small[i][size - 1] != (char)i)
			return false;
	return true;
}

static void free_small_twice(void)
{
	vfree(small[NR_SMALL / 2]);
	vfree(small[NR_SMALL / 2]);
}

/* An address at which an object of the former class began, and none of this one's does. */
static void free_former(void)
{
	vfree((void *)(record_of(small[NR_SMALL / 2])->base + 208));
}

/* Spans of one class become another's where they are. */
static int test_other_class(void)
{
	struct ghu_mspan *was;
	char text[4096];
	size_t sys, kept;

	if (!keeps())
		return T_SKIP;
	goheap_flush();
	alloc_small(208);
	was = record_of(small[NR_SMALL / 2]);
	free_small();
	sys = heap_sys();
	kept = ghu_empty_bytes();
	T(kept > NR_SMALL * 208 / 2);
	alloc_small(304);
	T(are_filled(304));
	T_EQ(was->elemsize, 320);
	T_EQ(was->nelems, 8192 / 320);
	T(record_of((void *)was->base) == was);
	T(ghu_empty_bytes() < kept / 4);
	T(heap_sys() <= sys + NR_SMALL * (304 - 208) + (4 << 20));
	T_EQ(t_stderr(free_small_twice, text, sizeof(text)), 256 + SIGABRT);
	T(strstr(text, "free: double free"));
	T_EQ(t_stderr(free_former, text, sizeof(text)), 256 + SIGABRT);
	T(strstr(text, "free: invalid pointer"));
	free_small();
	return T_PASS;
}

static size_t record_bytes(void)
{
	size_t inuse, sys;

	ghu_mspan_bytes(&inuse, &sys);
	return inuse;
}

/* Of what was used before. */
static bool is_zeroed(size_t size)
{
	char *o = calloc(1, size);
	bool zero = !o[0] && !memcmp(o, o + 1, size - 1);

	vfree(o);
	return zero;
}

/* If that has more objects than the record is for, or fewer, the pages get another record. */
static int test_other_record(void)
{
	static const size_t sizes[] = { 208, 96, 16, 208 };
	size_t sys, records, per;

	if (!keeps())
		return T_SKIP;
	goheap_flush();
	alloc_small(sizes[0]);
	free_small();
	sys = heap_sys();
	for (unsigned int k = 1; k < ARRAY_SIZE(sizes); k++) {
		T(ghu_empty_bytes() > NR_SMALL * sizes[0] / 4 * 3);
		T(is_zeroed(sizes[k]));
		records = record_bytes();
		alloc_small(sizes[k]);
		T(are_filled(sizes[k]));
		T(heap_sys() <= sys + (1 << 20));
		per = 8192 / sizes[k];
		T_EQ(record_of(small[NR_SMALL / 2])->elemsize, sizes[k]);
		T_EQ(record_of(small[NR_SMALL / 2])->nelems, per);
		/* The former ones are not there any more. */
		T(record_bytes() <= records + NR_SMALL / per * (sizeof(struct ghu_mspan) + per));
		free_small();
	}
	return T_PASS;
}

/* But not if that is longer. */
static int test_other_length(void)
{
	static const size_t sizes[] = { 1000, 5000 };
	size_t before;

	if (!keeps())
		return T_SKIP;
	for (unsigned int k = 0; k < ARRAY_SIZE(sizes); k++) {
		goheap_flush();
		before = goheap_inuse_bytes();
		alloc_small(208);
		free_small();
		T(ghu_empty_bytes() > NR_SMALL * 208 / 2);
		alloc_small(sizes[k]);
		T(are_filled(sizes[k]));
		T(goheap_inuse_bytes() >= before + NR_SMALL * sizes[k]);
		free_small();
	}
	return T_PASS;
}

/* A large object's span serves for objects of its class that are not. */
static int test_large_class(void)
{
	const size_t size = 16384;

	if (!keeps())
		return T_SKIP;
	goheap_flush();
	alloc_all(size);
	T_EQ(ghu_mspan_where(record_of(p[0])), GHU_SPAN_IS_LARGE);
	free_all();
	T(ghu_empty_bytes() >= (N - BUSY) * size);
	for (int i = 0; i < N; i++)
		p[i] = aligned_alloc(4096, size);
	T_EQ(ghu_mspan_where(record_of(p[N - 1])), GHU_SPAN_IS_OWNED);
	T(ghu_empty_bytes() < N / 2 * size);
	free_all();
	return T_PASS;
}

static void write_to_nothing(void)
{
	/* More than a span has. */
	for (int i = 0; i < 1000; i++)
		p[0] = vmalloc(0);
	p[0][0] = 1;
}

/* But not that of objects of size 0, which are not to be written to. */
static int test_size_0(void)
{
	char text[4096];

	if (!keeps())
		return T_SKIP;
	goheap_flush();
	alloc_small(16);
	free_small();
	ghu_mcache_flush();
	T(ghu_empty_bytes() > NR_SMALL * 16 / 2);
	T_EQ(t_stderr(write_to_nothing, text, sizeof(text)), 256 + SIGSEGV);
	return T_PASS;
}

static const struct t_case cases[] = {
	{ "spans are found again", test_reuse },
	{ "the heap does not grow for them", test_no_growth },
	{ "they become another class's", test_other_class },
	{ "with another record", test_other_record },
	{ "but not a longer one's", test_other_length },
	{ "of a class that has large objects", test_large_class },
	{ "they do not become that of objects of size 0", test_size_0 },
	{ "a second free, and realloc, of what is kept", test_freed },
	{ "an object grows over one", test_growing },
	{ "which others were kept before and after", test_from_amid },
	{ "trim", test_trim },
	{ "what nobody needs goes back", test_age },
	{ "threads", test_threads },
};

int main(int argc, char **argv)
{
	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
