// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The first few objects of a size, which may be of a larger class: of which, how many, for
 * whom not, and that they are like any other.
 */
#include <goheap.h>
#include <pthread.h>
#include "back_test.h"
#include "front_calls.h"

#define FEW	8	/* of a class, in userlib/few.c */

/* C++'s, by the names that they have here. */
void *new_nothrow(size_t size, const void *tag) __asm__("_ZnwmRKSt9nothrow_t");
void delete_sized(void *p, size_t size) __asm__("_ZdlPvm");

static size_t power_above(size_t size)
{
	size_t power = 64;

	while (power < size)
		power *= 2;
	return power;
}

/* Nobody has asked for any of these yet. */
static int few_of(size_t size)
{
	char *p[FEW + 1];

	for (int i = 0; i <= FEW; i++) {
		p[i] = vmalloc(size);
		T(p[i]);
		T_EQ(vusable(p[i]), i < FEW ? power_above(size) : goheap_good_size(size));
		memset(p[i], i, vusable(p[i]));
	}
	for (int i = 0; i <= FEW; i++) {
		T_EQ(p[i][0], i);
		T_EQ(p[i][vusable(p[i]) - 1], i);
		vfree_sized(p[i], size);
	}
	return T_PASS;
}

static int test_classes(void)
{
	static const size_t sizes[] = { 48, 80, 96, 112, 144, 208, 240, 288, 480, 576, 896, 1152, 1792 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		T_SUB(few_of(sizes[i]));
	return T_PASS;
}

static int test_others(void)
{
	static const size_t sizes[] = { 1, 8, 16, 24, 32, 64, 128, 256, 512, 1024, 2048, 2304, 3000,
		4096, 5000, 20000, 32768 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		T_EQ(vusable(vmalloc(sizes[i])), goheap_good_size(sizes[i]));
	return T_PASS;
}

/* What it is good for. */
static int test_pages(void)
{
	uintptr_t page = (uintptr_t)vmalloc(256) / 4096;

	for (size_t size = 144; size < 256; size += 16)
		T_EQ((uintptr_t)vmalloc(size) / 4096, page);
	return T_PASS;
}

/* With its first object a thread gets what it has to allocate from. */
static void *alloc_few(void *size)
{
	vmalloc(8);
	for (int i = 0; i < FEW / 2; i++)
		vmalloc((size_t)size);
	return NULL;
}

static int test_threads(void)
{
	pthread_t t;

	for (int i = 0; i < 2; i++) {
		T(!pthread_create(&t, NULL, alloc_few, (void *)200));
		T(!pthread_join(t, NULL));
	}
	T_EQ(vusable(vmalloc(200)), 208);
	return T_PASS;
}

/* Once there were so many, the class gets a span, also if it has lost it since. */
static int test_flush(void)
{
	for (int i = 0; i < FEW; i++)
		vfree(vmalloc(200));
	goheap_flush();
	T_EQ(vusable(vmalloc(200)), 208);
	return T_PASS;
}

static int test_realloc(void)
{
	char *p = vmalloc(200), *q;

	q = vrealloc(p, 256);
	T(q == p);
	q = vrealloc(p, 257);
	T(q != p);
	return T_PASS;
}

static int test_calloc(void)
{
	char *p = vmalloc(256);

	memset(p, 1, 256);
	vfree(p);
	for (int n = 0; n < FEW; n++) {
		p = vcalloc(1, 200);
		T_EQ(vusable(p), 256);
		for (int i = 0; i < 200; i++)
			T(!p[i]);
		memset(p, 1, vusable(p));
		vfree(p);
	}
	return T_PASS;
}

/* Who asks for an alignment may free with it, which compares classes. */
static int test_aligned(void)
{
	void *p = valigned(16, 208);

	T_EQ(vusable(p), 208);
	vfree_aligned_sized(p, 16, 208);
	return T_PASS;
}

static int test_new(void)
{
	void *few = vmalloc(200), *p = new_nothrow(208, NULL);

	T_EQ(vusable(few), 256);
	T_EQ(vusable(p), 208);
	delete_sized(p, 208);
	T_EQ(vusable(vmalloc(300)), 320);
	vfree(few);
	return T_PASS;
}

/* Of a program whose new calls malloc(). */
static int test_own_new(void)
{
	delete_sized(vmalloc(200), 200);
	return T_PASS;
}

static void delete_too_large(void)
{
	delete_sized(vmalloc(200), 257);
}

static void delete_few(void)
{
	void *p = vmalloc(200);

	vfree(new_nothrow(1, NULL));
	delete_sized(p, 200);
}

static void free_twice(void)
{
	void *p = vmalloc(200);

	if (vusable(p) != 256)
		return;
	vfree(p);
	vfree(p);
}

static void free_too_small(void)
{
	vfree_sized(vmalloc(200), 128);
}

static void free_too_large(void)
{
	vfree_sized(vmalloc(200), 257);
}

static int test_wrong(void)
{
	char text[256];

	T_EQ(t_stderr(free_twice, text, sizeof(text)), 256 + SIGABRT);
	T(strstr(text, "free: double free"));
	T_EQ(t_stderr(free_too_small, text, sizeof(text)), 256 + SIGABRT);
	T(strstr(text, "free_sized: wrong size"));
	T_EQ(t_stderr(free_too_large, text, sizeof(text)), 256 + SIGABRT);
	T(strstr(text, "free_sized: wrong size"));
	T_EQ(t_stderr(delete_too_large, text, sizeof(text)), 256 + SIGABRT);
	T(strstr(text, "delete: wrong size"));
	/* new did not return it. */
	T_EQ(t_stderr(delete_few, text, sizeof(text)), 256 + SIGABRT);
	T(strstr(text, "delete: wrong size"));
	return T_PASS;
}

static const struct t_case cases[] = {
	{ "eight of each class between powers of two", test_classes },
	{ "none of other classes", test_others },
	{ "they share pages", test_pages },
	{ "threads count together", test_threads },
	{ "what was freed is counted", test_flush },
	{ "realloc", test_realloc },
	{ "calloc", test_calloc },
	{ "none with an alignment", test_aligned },
	{ "none once new was called", test_new },
	{ "delete where new was replaced", test_own_new },
	{ "wrong frees are found", test_wrong },
};

int main(int argc, char **argv)
{
	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
