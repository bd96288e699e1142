// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Every wrong free() ends the program, at once, with the address and the right word
 * for it; realloc(), malloc_usable_size() and free with a size look as closely.
 */
#include <goheap.h>
#include <pthread.h>
#include "back_test.h"
#include "front_calls.h"

/* Shared with the child that is about to die. */
static void *volatile *culprit;

#define SAYS_DOUBLE	"fatal error: free: double free: "
#define SAYS_INVALID	"fatal error: free: invalid pointer: "

/* The child must die by SIGABRT and say "what 0xADDRESS". */
static int must_die(void (*misuse)(void), const char *what)
{
	char text[500], wanted[200];

	culprit = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	T(culprit != MAP_FAILED);
	T_EQ(t_stderr(misuse, text, sizeof(text)), 256 + SIGABRT);
	snprintf(wanted, sizeof(wanted), "%s%p\n", what, *culprit);
	if (strcmp(text, wanted))
		printf("# said: %s# not: %s", text, wanted);
	T(!strcmp(text, wanted));
	return T_PASS;
}

static void free_culprit(void *p)
{
	*culprit = p;
	vfree(p);
}

static void *free_in_thread(void *p)
{
	vfree(p);
	return NULL;
}

static void free_elsewhere(void *p)
{
	pthread_t t;

	pthread_create(&t, NULL, free_in_thread, p);
	pthread_join(t, NULL);
}

static size_t size;

static void twice(void)
{
	void *p = vmalloc(size);

	vfree(p);
	free_culprit(p);
}

static void twice_here_and_there(void)
{
	void *p = vmalloc(size);

	free_elsewhere(p);
	free_culprit(p);
}

/* Among many, so that spans are parked, announced and watched in between. */
static void twice_much_later(void)
{
	enum { N = 5000 };
	static void *p[N];

	for (int i = 0; i < N; i++)
		p[i] = vmalloc(size);
	for (int i = 0; i < N; i += 2)
		vfree(p[i]);
	free_culprit(p[N / 2 & ~1]);
}

/* The span is gone, and its pages are nobody's. */
static void twice_after_flush(void)
{
	void *p = vmalloc(size);

	vfree(p);
	goheap_flush();
	free_culprit(p);
}

static void inner(void)
{
	char *p = vmalloc(size);

	free_culprit(p + size / 2);
}

static void misaligned(void)
{
	char *p = vmalloc(size);

	free_culprit(p + 1);
}

static void inner_page(void)
{
	char *p = vmalloc(size);

	free_culprit(p + 16384);
}

/* 170 objects of 48 bytes leave 32 bytes at the end of an 8 KiB span. */
static void tail(void)
{
	char *p = vmalloc(48);

	free_culprit((char *)((uintptr_t)p & ~(uintptr_t)8191) + 170 * 48);
}

static void never_allocated(void)
{
	char *p = vmalloc(1000);

	/* The span's last object; it has eight. */
	free_culprit((char *)((uintptr_t)p & ~(uintptr_t)8191) + 7 * 1024);
}

static void on_stack(void)
{
	int x;

	free_culprit(&x);
}

static void in_data(void)
{
	static int x;

	vfree(vmalloc(1));
	free_culprit(&x);
}

static void foreign_map(void)
{
	free_culprit(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

static void kernel_address(void)
{
	free_culprit((void *)0xffff888000000000ul);
}

static void small_integer(void)
{
	free_culprit((void *)1);
}

/* In the arena, but far beyond what is used of it. */
static void beyond_heap(void)
{
	free_culprit((char *)vmalloc(100000) + ((size_t)32 << 20));
}

static void realloc_freed(void)
{
	void *p = vmalloc(100);

	vfree(p);
	*culprit = p;
	vrealloc(p, 200);
}

static void realloc_inner(void)
{
	*culprit = (char *)vmalloc(100) + 8;
	vrealloc(*culprit, 200);
}

static void usable_freed(void)
{
	void *p = vmalloc(100);

	vfree(p);
	*culprit = p;
	vusable(p);
}

static void usable_static(void)
{
	static int x;

	*culprit = &x;
	vusable(&x);
}

/* ---- free with a size ---- */

#define SAYS_SIZE	"fatal error: free_sized: wrong size: "
#define SAYS_ALIGN_SIZE	"fatal error: free_aligned_sized: wrong size: "
#define SAYS_ALIGN	"fatal error: free_aligned_sized: wrong alignment: "

static size_t wrong_size, wrong_align;

static void sized(void)
{
	*culprit = vmalloc(size);
	free_sized(*culprit, wrong_size);
}

static void sized_twice(void)
{
	*culprit = vmalloc(size);
	free_sized(*culprit, size);
	free_sized(*culprit, size);
}

static void sized_inner(void)
{
	*culprit = (char *)vmalloc(size) + 8;
	free_sized(*culprit, size);
}

static void aligned_sized(void)
{
	*culprit = valigned(64, size);
	free_aligned_sized(*culprit, wrong_align, wrong_size);
}

static const size_t all_sizes[] = {
	0, 8, 16, 48, 100, 1024, 3000, 8192, 32768, 32769, 200000, 5 << 20,
};

static int for_sizes(void (*misuse)(void), const char *what, size_t from)
{
	for (size_t i = 0; i < ARRAY_SIZE(all_sizes); i++) {
		size = all_sizes[i];
		if (size >= from)
			T_SUB(must_die(misuse, what));
	}
	return T_PASS;
}

static int test_double(void)
{
	return for_sizes(twice, SAYS_DOUBLE, 0);
}

static int test_double_threads(void)
{
	return for_sizes(twice_here_and_there, SAYS_DOUBLE, 0);
}

static int test_double_later(void)
{
	static const size_t sizes[] = { 8, 64, 1024, 8192 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		size = sizes[i];
		T_SUB(must_die(twice_much_later, SAYS_DOUBLE));
	}
	return T_PASS;
}

static int test_double_returned(void)
{
	return for_sizes(twice_after_flush, SAYS_DOUBLE, 0);
}

static int test_inner(void)
{
	return for_sizes(inner, SAYS_INVALID, 8);
}

static int test_misaligned(void)
{
	return for_sizes(misaligned, SAYS_INVALID, 0);
}

static int test_inner_page(void)
{
	return for_sizes(inner_page, SAYS_INVALID, 32768);
}

static int test_tail(void)
{
	return must_die(tail, SAYS_INVALID);
}

static int test_unallocated(void)
{
	return must_die(never_allocated, SAYS_DOUBLE);
}

static int test_foreign(void)
{
	T_SUB(must_die(on_stack, SAYS_INVALID));
	T_SUB(must_die(in_data, SAYS_INVALID));
	T_SUB(must_die(foreign_map, SAYS_INVALID));
	T_SUB(must_die(kernel_address, SAYS_INVALID));
	T_SUB(must_die(small_integer, SAYS_INVALID));
	T_SUB(must_die(beyond_heap, SAYS_INVALID));
	return T_PASS;
}

static int test_realloc(void)
{
	T_SUB(must_die(realloc_freed, "fatal error: realloc: freed pointer: "));
	T_SUB(must_die(realloc_inner, "fatal error: realloc: invalid pointer: "));
	return T_PASS;
}

static int test_usable(void)
{
	T_SUB(must_die(usable_freed, "fatal error: malloc_usable_size: freed pointer: "));
	T_SUB(must_die(usable_static, "fatal error: malloc_usable_size: invalid pointer: "));
	return T_PASS;
}

static int must_die_sizes(void (*misuse)(void), const char *what, size_t right, size_t wrong)
{
	size = right;
	wrong_size = wrong;
	return must_die(misuse, what);
}

static int test_sized(void)
{
	static const struct {
		size_t right, wrong;
	} sizes[] = {
		{ 8, 17 }, { 16, 24 }, { 100, 113 }, { 100, 50 }, { 1024, 1025 }, { 1024, 500 },
		{ 32768, 16384 }, { 32768, 40000 }, { 32768, SIZE_MAX }, { 8, SIZE_MAX },
		{ 40000, 32768 }, { 40000, 41000 }, { 40000, 8 }, { 1 << 20, (1 << 20) + 1 },
		{ 1 << 20, 1 << 19 }, { 1 << 20, 0 },
	};

	use_up_few();
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		T_SUB(must_die_sizes(sized, SAYS_SIZE, sizes[i].right, sizes[i].wrong));
	T_SUB(must_die_sizes(sized_twice, SAYS_DOUBLE, 100, 100));
	T_SUB(must_die_sizes(sized_twice, SAYS_DOUBLE, 100000, 100000));
	return must_die_sizes(sized_inner, SAYS_INVALID, 100, 100);
}

static int test_aligned_sized(void)
{
	wrong_align = 64;
	T_SUB(must_die_sizes(aligned_sized, SAYS_ALIGN_SIZE, 100, 64));
	T_SUB(must_die_sizes(aligned_sized, SAYS_ALIGN_SIZE, 100, 129));
	T_SUB(must_die_sizes(aligned_sized, SAYS_ALIGN_SIZE, 1000, SIZE_MAX));
	T_SUB(must_die_sizes(aligned_sized, SAYS_ALIGN_SIZE, 100000, 64));
	T_SUB(must_die_sizes(aligned_sized, SAYS_ALIGN_SIZE, 100000, 110000));
	wrong_align = 48;
	T_SUB(must_die_sizes(aligned_sized, SAYS_ALIGN, 100, 100));
	wrong_align = 0;
	T_SUB(must_die_sizes(aligned_sized, SAYS_ALIGN, 100, 100));
	wrong_align = (size_t)1 << 47;
	return must_die_sizes(aligned_sized, SAYS_ALIGN, 100, 100);
}

static const struct t_case cases[] = {
	{ "double free, every kind of size", test_double },
	{ "double free, first by another thread", test_double_threads },
	{ "double free, among thousands", test_double_later },
	{ "double free, after the span was given back", test_double_returned },
	{ "pointer into an object", test_inner },
	{ "misaligned pointer", test_misaligned },
	{ "pointer to a later page of an object", test_inner_page },
	{ "pointer to a span's tail", test_tail },
	{ "pointer to an object never allocated", test_unallocated },
	{ "stack, static, mapped, kernel and other addresses", test_foreign },
	{ "realloc of a freed or inner pointer", test_realloc },
	{ "malloc_usable_size of a freed or foreign pointer", test_usable },
	{ "free_sized of the wrong size, or of no object", test_sized },
	{ "free_aligned_sized of the wrong size or alignment", test_aligned_sized },
};

int main(int argc, char **argv)
{
	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
