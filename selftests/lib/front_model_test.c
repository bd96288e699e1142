// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The malloc family against a model: a random run keeps every block's contents, no
 * two blocks overlap, alignment and zeroing are as promised, errno is as C and POSIX
 * say.  Uses nothing but the public interfaces, so it runs with the shared library
 * as well as with the archive.
 */
#include <goheap.h>
#include <pthread.h>
#include <sys/resource.h>
#include "back_test.h"
#include "front_calls.h"

#define BLOCKS	2000
#define STEPS	60000

struct block {
	unsigned char *p;
	size_t size;
	unsigned char stamp;
};

/* The compiler must not reason about what malloc() does. */

static void fill(struct block *b)
{
	memset(b->p, b->stamp, b->size);
}

static bool intact(const struct block *b, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (b->p[i] != b->stamp)
			return false;
	return true;
}

static bool is_zero(const unsigned char *p, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (p[i])
			return false;
	return true;
}

/* Mostly small, now and then up to a megabyte. */
static size_t random_size(void)
{
	switch (t_below(16)) {
	case 0:
		return t_below(1 << 20);
	case 1:
	case 2:
		return t_below(40000);
	case 3:
	case 4:
	case 5:
		return t_below(2000);
	default:
		return t_below(300);
	}
}

static int step_alloc(struct block *b)
{
	size_t align = (size_t)16 << t_below(10);
	void *p = NULL;

	b->size = random_size();
	b->stamp = (unsigned char)t_random();
	switch (t_below(4)) {
	case 0:
		b->p = vcalloc(1, b->size);
		T(b->p && is_zero(b->p, b->size));
		break;
	case 1:
		T(!posix_memalign(&p, align, b->size));
		b->p = p;
		T((uintptr_t)b->p % align == 0);
		break;
	default:
		b->p = vmalloc(b->size);
		T(b->p);
	}
	T((uintptr_t)b->p % (b->size >= 16 ? 16 : 8) == 0);
	T(malloc_usable_size(b->p) >= b->size);
	fill(b);
	return T_PASS;
}

static int step_free(struct block *b)
{
	T(intact(b, b->size));
	vfree(b->p);
	b->p = NULL;
	return T_PASS;
}

static int step_realloc(struct block *b)
{
	size_t size = random_size() + 1;
	unsigned char *p = vrealloc(b->p, size);

	T(p);
	b->p = p;
	T(intact(b, size < b->size ? size : b->size));
	b->size = size;
	fill(b);
	return T_PASS;
}

static int compare(const void *a, const void *b)
{
	const struct block *x = a, *y = b;

	return (x->p > y->p) - (x->p < y->p);
}

static int check_disjoint(struct block *blocks)
{
	size_t n = 0;

	for (size_t i = 0; i < BLOCKS; i++)
		if (blocks[i].p)
			blocks[n++] = blocks[i];
	memset(blocks + n, 0, (BLOCKS - n) * sizeof(*blocks));
	qsort(blocks, n, sizeof(*blocks), compare);
	for (size_t i = 0; i + 1 < n; i++)
		T(blocks[i].p + malloc_usable_size(blocks[i].p) <= blocks[i + 1].p);
	return T_PASS;
}

static struct block blocks[BLOCKS];

static int test_random(void)
{
	for (unsigned int i = 0; i < STEPS; i++) {
		struct block *b = &blocks[t_below(BLOCKS)];

		if (!b->p)
			T_SUB(step_alloc(b));
		else if (t_below(4))
			T_SUB(step_free(b));
		else
			T_SUB(step_realloc(b));
		if (i % 10000 == 0)
			T_SUB(check_disjoint(blocks));
	}
	for (unsigned int i = 0; i < BLOCKS; i++)
		if (blocks[i].p)
			T_SUB(step_free(&blocks[i]));
	return T_PASS;
}

/* Every object of a few spans of every class, all at once. */
static int test_distinct(void)
{
	enum { N = 3000 };
	static unsigned char *p[N];

	for (size_t size = 0; size <= 32768; size = goheap_good_size(size) + 1) {
		size_t n = size < 512 ? N : 40;

		for (size_t i = 0; i < n; i++) {
			p[i] = vmalloc(size);
			T(p[i]);
			memset(p[i], (int)i, size);
		}
		for (size_t i = 0; i < n; i++)
			for (size_t k = 0; k < size; k++)
				T(p[i][k] == (unsigned char)i);
		for (size_t i = 0; i < n; i++)
			vfree(p[i]);
	}
	return T_PASS;
}

static long faults(void)
{
	struct rusage ru = { 0 };

	getrusage(RUSAGE_SELF, &ru);
	return ru.ru_minflt;
}

/* Small cleared objects of new memory, read and then written: each page is met once. */
static int test_calloc_faults(void)
{
	const size_t size = 512, nr = ((size_t)4 << 20) / size, pages = nr * size / 4096;
	long before = faults();

	for (size_t i = 0; i < nr; i++) {
		volatile char *p = vcalloc(1, size);

		T(p && !p[0] && !p[size - 1]);
		p[0] = 1;
		p[size - 1] = 1;
	}
	printf("# %ld page faults for %zu pages\n", faults() - before, pages);
	T(faults() - before < (long)(pages + pages / 4));
	return T_PASS;
}

static int test_zero_size(void)
{
	void *p = vmalloc(0), *q = vmalloc(0), *r = vcalloc(0, 7), *s = vrealloc(NULL, 0);

	T(p && q && r && s && p != q && q != r && r != s && p != r && p != s && q != s);
	T_EQ(malloc_usable_size(p), 0);
	vfree(p);
	vfree(q);
	vfree(r);
	T(!vrealloc(s, 0));
	vfree(NULL);
	p = vrealloc(vmalloc(0), 100);
	T(p && malloc_usable_size(p) >= 100);
	memset(p, 1, 100);
	vfree(p);
	return T_PASS;
}

/* What it takes to know that touching an object ends a program. */
static volatile char *zero_object;

static void read_it(void)
{
	*zero_object;
}

static void write_it(void)
{
	*zero_object = 1;
}

static int must_trap(void *p)
{
	char text[100];

	T(p);
	zero_object = p;
	T_EQ(t_stderr(read_it, text, sizeof(text)), 256 + SIGSEGV);
	T_EQ(t_stderr(write_it, text, sizeof(text)), 256 + SIGSEGV);
	return T_PASS;
}

static int test_zero_size_traps(void)
{
	void *p = NULL;

	T_SUB(must_trap(vmalloc(0)));
	T_SUB(must_trap(vcalloc(0, 0)));
	T_SUB(must_trap(vcalloc(5, 0)));
	T_SUB(must_trap(vrealloc(NULL, 0)));
	T_SUB(must_trap(valigned(16, 0)));
	T_SUB(must_trap(memalign(8, 0)));
	T(!posix_memalign(&p, 16, 0));
	return must_trap(p);
}

/* More than a region holds, twice: the second time in the same places, and no memory for any. */
static int test_zero_size_many(void)
{
	enum { N = 1500000 };
	char **p = vmalloc(N * sizeof(*p));
	struct goheap_memstats st;

	for (int round = 0; round < 2; round++) {
		size_t before = goheap_inuse_bytes();

		for (size_t i = 0; i < N; i++) {
			p[i] = vmalloc(0);
			T(p[i] && (uintptr_t)p[i] % 16 == 0);
			T(!i || p[i] != p[i - 1]);
		}
		T_EQ(goheap_inuse_bytes(), before);
		goheap_memstats(&st, sizeof(st));
		T(st.heap_objects >= N);
		T(st.heap_inuse < 2 * N * sizeof(*p));
		for (size_t i = 0; i < N; i++)
			vfree(p[i]);
		goheap_flush();
		goheap_memstats(&st, sizeof(st));
		T(st.heap_objects < 100);
	}
	vfree(p);
	return T_PASS;
}

static int test_aligned(void)
{
	static const size_t sizes[] = { 0, 1, 8, 24, 100, 1000, 5000, 9000, 33000, 70000, 3 << 20 };

	for (size_t align = 1; align <= (size_t)1 << 30; align <<= 1) {
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			unsigned char *p = valigned(align, sizes[i]);
			unsigned char *q = memalign(align, sizes[i]);
			size_t most = sizes[i] > align ? sizes[i] : align;

			T(p && q && p != q);
			T((uintptr_t)p % align == 0 && (uintptr_t)q % align == 0);
			T(malloc_usable_size(p) >= sizes[i]);
			/* Small ones come from the classes, and waste less than half. */
			if (most <= 16384)
				T(malloc_usable_size(p) <= 2 * most || most < 8);
			memset(p, 1, sizes[i]);
			memset(q, 2, sizes[i]);
			T(!sizes[i] || (p[0] == 1 && p[sizes[i] - 1] == 1));
			vfree(p);
			vfree(q);
		}
	}
	return T_PASS;
}

static int test_aligned_errors(void)
{
	void *p = (void *)1, *q;

	errno = 0;
	T_EQ(posix_memalign(&p, 3, 8), EINVAL);
	T_EQ(posix_memalign(&p, 4, 8), EINVAL);
	T_EQ(posix_memalign(&p, 0, 8), EINVAL);
	T_EQ(posix_memalign(&p, 8, SIZE_MAX), ENOMEM);
	T_EQ(posix_memalign(&p, (size_t)1 << 62, 8), ENOMEM);
	T(p == (void *)1 && errno == 0);
	T(!valigned(24, 8) && errno == EINVAL);
	errno = 0;
	T(!valigned(64, SIZE_MAX - 64) && errno == ENOMEM);
	q = memalign(24, 100);
	T(q && (uintptr_t)q % 32 == 0);
	vfree(q);
	q = valloc(1);
	T(q && (uintptr_t)q % 4096 == 0);
	vfree(q);
	q = pvalloc(4097);
	T(q && (uintptr_t)q % 4096 == 0 && malloc_usable_size(q) >= 8192);
	vfree(q);
	errno = 0;
	T(!pvalloc(SIZE_MAX) && errno == ENOMEM);
	return T_PASS;
}

static int test_errno(void)
{
	volatile size_t big = SIZE_MAX / 2;
	void *p;

	errno = 0;
	T(!vmalloc(SIZE_MAX) && errno == ENOMEM);
	errno = 0;
	T(!vmalloc(big + 2) && errno == ENOMEM);
	errno = 0;
	T(!vcalloc(big, 4) && errno == ENOMEM);
	errno = 0;
	T(!vcalloc((size_t)1 << 33, (size_t)1 << 33) && errno == ENOMEM);
	errno = 0;
	p = vmalloc(100);
	memset(p, 7, 100);
	T(!vrealloc(p, SIZE_MAX - 10) && errno == ENOMEM);
	errno = 0;
	T(!reallocarray(p, big, 3) && errno == ENOMEM);
	T(((unsigned char *)p)[99] == 7);
	p = reallocarray(p, 10, 100);
	T(p && ((unsigned char *)p)[99] == 7);
	errno = 77;
	vfree(p);
	vfree(vmalloc(1 << 22));
	vfree(NULL);
	T_EQ(errno, 77);
	return T_PASS;
}

static void ask_512g(void)
{
	errno = 0;
	if (vmalloc((size_t)512 << 30) || errno != ENOMEM)
		_exit(1);
	/* And the heap goes on. */
	vfree(vmalloc(1000));
	_exit(17);
}

/* What no machine can have is refused without a word. */
static void ask_nonsense(void)
{
	volatile size_t most = SIZE_MAX;

	if (vmalloc(most) || vmalloc(most / 2 + 1) || vcalloc(most / 2, 3) || valigned(16, most))
		_exit(1);
	_exit(17);
}

static int test_out_of_memory(void)
{
	char text[300];

	T_EQ(t_stderr(ask_nonsense, text, sizeof(text)), 17);
	T(!strcmp(text, ""));
	T_EQ(t_stderr(ask_512g, text, sizeof(text)), 17);
	T(strstr(text, "runtime: out of memory: cannot allocate 549755813888-byte block ("));
	T(strstr(text, " in use)\n"));
	return T_PASS;
}

/* What was written is not seen by the next user of calloc(), however it comes by the memory. */
static int test_calloc_dirty(void)
{
	static const size_t sizes[] = {
		1, 8, 16, 100, 1000, 1024, 3000, 8192, 30000, 40000, 300000, 4 << 20,
	};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (int round = 0; round < 6; round++) {
			unsigned char *p[20];

			for (int k = 0; k < 20; k++) {
				p[k] = k % 2 ? vcalloc(sizes[i], 1) : vcalloc(1, sizes[i]);
				T(p[k] && is_zero(p[k], sizes[i]));
				memset(p[k], 0xa5, malloc_usable_size(p[k]));
			}
			for (int k = 0; k < 20; k++)
				vfree(p[k]);
			if (round == 3)
				goheap_flush();
			if (round == 4)
				malloc_trim(0);
		}
	}
	return T_PASS;
}

static int test_realloc_in_place(void)
{
	size_t size = 100000;
	unsigned char *p = vmalloc(size), *first = p;

	T(p);
	memset(p, 9, size);
	/* Nothing else is allocated, so what follows a large object can join it. */
	for (int i = 0; i < 10; i++) {
		size += 500000;
		p = vrealloc(p, size);
		T(p == first);
		T(p[99999] == 9);
		p[size - 1] = 9;
	}
	p = vrealloc(p, 200000);
	T(p == first && malloc_usable_size(p) == 204800 && p[99999] == 9);
	p = vrealloc(p, 1000);
	T(p && p != first && p[999] == 9);
	/* The same class, and a little less, stay. */
	T(vrealloc(p, 1024) == p && vrealloc(p, 600) == p);
	vfree(p);
	return T_PASS;
}

static int test_fragments_return(void)
{
	enum { N = 30000 };
	static void *p[N];
	size_t before = goheap_inuse_bytes();

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < N; i++)
			T(p[i] = vmalloc(random_size() % 5000));
		for (int i = N - 1; i > 0; i--) {
			int k = (int)t_below((uint64_t)i + 1);
			void *q = p[i];

			p[i] = p[k];
			p[k] = q;
		}
		T(goheap_inuse_bytes() > before + N * 500u);
		for (int i = 0; i < N; i++)
			vfree(p[i]);
		/* No flush: the frees alone gave it back, but for what the thread keeps. */
		printf("# %zu bytes in use\n", goheap_inuse_bytes());
		T(goheap_inuse_bytes() < before + (2 << 20));
	}
	goheap_flush();
	printf("# %zu bytes in use after a flush\n", goheap_inuse_bytes());
	T(goheap_inuse_bytes() <= before + 65536);
	return T_PASS;
}

static const struct t_case cases[] = {
	{ "random run keeps all contents", test_random },
	{ "objects of every class are distinct", test_distinct },
	{ "page faults of cleared objects", test_calloc_faults },
	{ "malloc(0): distinct objects, to be freed", test_zero_size },
	{ "malloc(0): cannot be read or written", test_zero_size_traps },
	{ "malloc(0): a million and a half, twice", test_zero_size_many },
	{ "every alignment up to 1 GiB", test_aligned },
	{ "bad alignments and sizes", test_aligned_errors },
	{ "errno: set by failure, kept by success", test_errno },
	{ "512 GiB: the message, and ENOMEM", test_out_of_memory },
	{ "calloc of memory that was used", test_calloc_dirty },
	{ "realloc of large objects in place", test_realloc_in_place },
	{ "what is freed in random order goes back by itself", test_fragments_return },
};

int main(int argc, char **argv)
{
	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
