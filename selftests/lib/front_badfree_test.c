// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * A list, made of every kind of wrong pointer, every function that takes one, and many
 * sizes: each must end the program at once, with the address and the right word for
 * it.  Then every argument that is a size, with sizes that overflow: each must be
 * refused.  And the heap's own records must survive what a program scribbles.
 *
 * The list is counted, because its length is the point.  What no always-on check can find
 * is not in it: the second free of an object that was handed out again meanwhile, and
 * two frees at the same instant by two threads.
 */
#include <goheap.h>
#include <pthread.h>
#include <sys/resource.h>
#include "back_test.h"
#include "front_calls.h"

/* C++'s new and delete, by the names that they have here. */
void *new_nothrow(size_t size, const void *tag) __asm__("_ZnwmRKSt9nothrow_t");
void *new_array_nothrow(size_t size, const void *tag) __asm__("_ZnamRKSt9nothrow_t");
void *new_aligned_nothrow(size_t size, size_t align, const void *tag)
	__asm__("_ZnwmSt11align_val_tRKSt9nothrow_t");
void delete(void *p) __asm__("_ZdlPv");
void delete_array(void *p) __asm__("_ZdaPv");
void delete_sized(void *p, size_t size) __asm__("_ZdlPvm");
void delete_array_sized(void *p, size_t size) __asm__("_ZdaPvm");
void delete_aligned(void *p, size_t align) __asm__("_ZdlPvSt11align_val_t");
void delete_array_aligned(void *p, size_t align) __asm__("_ZdaPvSt11align_val_t");
void delete_aligned_sized(void *p, size_t size, size_t align) __asm__("_ZdlPvmSt11align_val_t");
void delete_array_aligned_sized(void *p, size_t size, size_t align)
	__asm__("_ZdaPvmSt11align_val_t");

static void *(*volatile vreallocarray)(void *, size_t, size_t) = reallocarray;
static void *(*volatile vmemalign)(size_t, size_t) = memalign;
static void *(*volatile vvalloc)(size_t) = valloc;
static void *(*volatile vpvalloc)(size_t) = pvalloc;
static int (*volatile vposix_memalign)(void **, size_t, size_t) = posix_memalign;

#define LEN(a)		ARRAY_SIZE(a)
#define LARGE_FROM	32769

/* ---- wrong pointers ---- */

/* What is done with a pointer is done for this size; then what is wrong. */
static size_t size, wrong;

static void *in_thread(void *(*fn)(void *), void *arg)
{
	void *ret = NULL;
	pthread_t t;

	pthread_create(&t, NULL, fn, arg);
	pthread_join(t, &ret);
	return ret;
}

static void *thread_free(void *p)
{
	vfree(p);
	return NULL;
}

static void *thread_malloc(void *unused)
{
	return vmalloc(size);
}

static void *freed(void)
{
	void *p = vmalloc(size);

	vfree(p);
	return p;
}

static void *freed_elsewhere(void)
{
	void *p = vmalloc(size);

	in_thread(thread_free, p);
	return p;
}

static void *freed_of_gone_thread(void)
{
	void *p = in_thread(thread_malloc, NULL);

	vfree(p);
	return p;
}

/* Among so many that spans are let go, watched and taken again. */
static void *freed_among_many(void)
{
	enum { N = 3000 };
	static void *p[N];

	for (int i = 0; i < N; i++)
		p[i] = vmalloc(size);
	for (int i = 0; i < N; i += 2)
		vfree(p[i]);
	return p[N / 2];
}

/* Its neighbours are freed too and handed out again, but not itself. */
static void *freed_with_neighbours(void)
{
	static void *p[200];
	void *victim = NULL;

	for (size_t i = 0; i < LEN(p); i++)
		p[i] = vmalloc(size);
	for (size_t i = 90; i < 93; i++)
		vfree(p[i]);
	victim = p[91];
	for (size_t i = 0; i < LEN(p); i++) {
		void *q = vmalloc(size);

		if (q == victim)
			vfree(q);
		if (q == p[90] || q == p[92])
			break;
	}
	return victim;
}

static void *swept(void)
{
	void *neighbour = vmalloc(size), *p = vmalloc(size);

	vfree(p);
	goheap_flush();
	*(void *volatile *)&neighbour = neighbour;
	return p;
}

/* The whole span, then its pages too. */
static void *given_back(void)
{
	void *p = freed();

	goheap_flush();
	return p;
}

static void *released(void)
{
	void *p = given_back();

	goheap_scavenge(SIZE_MAX);
	return p;
}

/* The old address of an object that realloc() had to move. */
static void *moved(void)
{
	void *p = vmalloc(size), *q = vrealloc(p, size < LARGE_FROM ? 3 * size + 100 : 100);

	return p == q ? NULL : p;
}

static void *realloc_to_nothing(void)
{
	void *p = vmalloc(size);

	vrealloc(p, 0);
	return p;
}

static void *freed_calloc(void)
{
	void *p = vcalloc(1, size);

	vfree(p);
	return p;
}

static void *freed_aligned(size_t align)
{
	void *p = valigned(align, size);

	vfree(p);
	return p;
}

static void *freed_aligned_64(void)
{
	return freed_aligned(64);
}

static void *freed_aligned_4096(void)
{
	return freed_aligned(4096);
}

static void *freed_aligned_64k(void)
{
	return freed_aligned(65536);
}

static void *freed_new(void)
{
	void *p = new_nothrow(size, NULL);

	delete_sized(p, size);
	return p;
}

/* The rest happens in a forked child; the parent ends as the child does. */
static void *freed_before_fork(void)
{
	void *p = freed();
	pid_t pid = fork();

	if (pid) {
		int status = t_wait(pid);

		signal(SIGABRT, SIG_DFL);
		kill(getpid(), status > 256 ? status - 256 : SIGKILL);
	}
	return p;
}

/* The last object of a span of one page, which a new heap does not get to. */
static void *never_handed_out(void)
{
	char *p = vmalloc(size), *end;
	size_t bytes = vusable(p);

	end = (char *)((uintptr_t)p | 8191) + 1;
	while (bytes && p + 2 * bytes <= end)
		p += bytes;
	return bytes && size <= 1000 ? p : NULL;
}

static char *at(size_t offset)
{
	return (char *)vmalloc(size) + offset;
}

static void *one_inside(void)
{
	return at(1);
}

static void *eight_inside(void)
{
	return size > 8 ? at(8) : NULL;
}

static void *half_inside(void)
{
	return size > 1 ? at(size / 2) : NULL;
}

static void *last_byte(void)
{
	return size > 1 ? at(size - 1) : NULL;
}

static void *page_inside(void)
{
	return size > 16384 ? at(8192) : NULL;
}

/* Of pages that were cut into small objects before. */
static void *page_inside_of_used(void)
{
	enum { N = 2000 };
	static void *p[N];

	if (size < 100000)
		return NULL;
	for (int i = 0; i < N; i++)
		p[i] = vmalloc(1000);
	for (int i = 0; i < N; i++)
		vfree(p[i]);
	goheap_flush();
	return at(size / 8192 / 2 * 8192);
}

static void *inside_freed(void)
{
	char *p[3];

	for (int i = 0; i < 3; i++)
		p[i] = vmalloc(size);
	vfree(p[1]);
	return size > 1 && size <= 1000 ? p[1] + 1 : NULL;
}

/* Objects do not fill a span: what is behind the last one of the span of p. */
static int find_tail(const struct goheap_area *area, void *object, void *arg)
{
	char *start = area->start, *end = start + area->objects * area->object_bytes;
	char **p = arg;

	if (object || *p < start || *p >= start + area->bytes)
		return 0;
	*p = end < start + area->bytes ? end : NULL;
	return 1;
}

static void *tail(void)
{
	void *p = vmalloc(size);

	return size && size < LARGE_FROM && goheap_walk(find_tail, &p) ? p : NULL;
}

static void *in_stack(void)
{
	static void *volatile where;
	char x[64];

	where = x;
	return where;
}

static char data[64] = "x", bss[64];
static __thread char thread_data[64];

static void *in_data(void)
{
	return data;
}

static void *in_bss(void)
{
	return bss + 16;
}

static void *in_tls(void)
{
	return thread_data;
}

static void *in_code(void)
{
	return (void *)(uintptr_t)in_code;
}

static void *in_library(void)
{
	return (void *)(uintptr_t)goheap_version();
}

static void *in_environment(void)
{
	return getenv("PATH");
}

static void *in_brk(void)
{
	return (char *)sbrk(4096) + 16;
}

static void *mapped(void)
{
	return mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void *kernel_address(void)
{
	return (void *)0xffff888000000000ul;
}

static void *not_canonical(void)
{
	return (void *)0x0000800000000000ul;
}

static void *last_address(void)
{
	return (void *)(uintptr_t)-16l;
}

static void *small_number(void)
{
	return (void *)16;
}

static void *beyond_heap(void)
{
	return (char *)vmalloc(100000) + ((size_t)32 << 20);
}

enum fate { FREED, INVALID };

static const struct maker {
	const char *name;
	void *(*make)(void);	/* NULL: there is no such pointer for the size */
	enum fate fate;
	bool sizes;		/* it has to do with the size */
} makers[] = {
	{ "freed", freed, FREED, true },
	{ "freed by another thread", freed_elsewhere, FREED, true },
	{ "freed, of a thread that is gone", freed_of_gone_thread, FREED, true },
	{ "freed, among many", freed_among_many, FREED, true },
	{ "freed, and its neighbours reused", freed_with_neighbours, FREED, true },
	{ "freed, and swept", swept, FREED, true },
	{ "freed, and the span given back", given_back, FREED, true },
	{ "freed, and its pages released", released, FREED, true },
	{ "moved by realloc", moved, FREED, true },
	{ "freed by realloc", realloc_to_nothing, FREED, true },
	{ "freed, of calloc", freed_calloc, FREED, true },
	{ "freed, aligned to 64", freed_aligned_64, FREED, true },
	{ "freed, aligned to 4096", freed_aligned_4096, FREED, true },
	{ "freed, aligned to 65536", freed_aligned_64k, FREED, true },
	{ "freed, by delete", freed_new, FREED, true },
	{ "freed, before a fork", freed_before_fork, FREED, true },
	{ "never handed out", never_handed_out, FREED, true },
	{ "one byte inside", one_inside, INVALID, true },
	{ "8 bytes inside", eight_inside, INVALID, true },
	{ "half inside", half_inside, INVALID, true },
	{ "last byte", last_byte, INVALID, true },
	{ "a page inside", page_inside, INVALID, true },
	{ "a page inside, reused", page_inside_of_used, INVALID, true },
	{ "inside a freed object", inside_freed, INVALID, true },
	{ "tail of a span", tail, INVALID, true },
	{ "stack", in_stack, INVALID, false },
	{ "data", in_data, INVALID, false },
	{ "bss", in_bss, INVALID, false },
	{ "thread-local data", in_tls, INVALID, false },
	{ "code", in_code, INVALID, false },
	{ "the library's data", in_library, INVALID, false },
	{ "environment", in_environment, INVALID, false },
	{ "brk", in_brk, INVALID, false },
	{ "mapped elsewhere", mapped, INVALID, false },
	{ "kernel", kernel_address, INVALID, false },
	{ "not canonical", not_canonical, INVALID, false },
	{ "the last address", last_address, INVALID, false },
	{ "a small number", small_number, INVALID, false },
	{ "beyond the heap", beyond_heap, INVALID, false },
};

/* ---- what takes a pointer ---- */

static void use_free(void *p)
{
	vfree(p);
}

/*
 * The thread is there before the pointer is made, as a new one allocates; that of a
 * process that forks meanwhile is not in the child.
 */
static pthread_t waiting_thread;
static void *volatile for_thread;

static void *wait_and_free(void *unused)
{
	while (!for_thread)
		usleep(100);
	vfree(for_thread);
	return NULL;
}

static void use_free_in_thread(void *p)
{
	for_thread = p;
	pthread_join(waiting_thread, NULL);
}

static void use_realloc(void *p)
{
	vrealloc(p, 200);
}

static void use_realloc_0(void *p)
{
	vrealloc(p, 0);
}

static void use_reallocarray(void *p)
{
	vreallocarray(p, 10, 20);
}

static void use_usable(void *p)
{
	vusable(p);
}

static void use_free_sized(void *p)
{
	free_sized(p, size);
}

static void use_free_aligned_sized(void *p)
{
	free_aligned_sized(p, 1, size);
}

static void use_delete(void *p)
{
	delete(p);
}

static void use_delete_sized(void *p)
{
	delete_sized(p, size);
}

static void use_delete_array_sized(void *p)
{
	delete_array_sized(p, size);
}

static void use_delete_aligned(void *p)
{
	delete_aligned(p, 1);
}

static void use_delete_aligned_sized(void *p)
{
	delete_aligned_sized(p, size, 1);
}

static const struct use {
	const char *name;
	void (*fn)(void *p);
	const char *says[2];	/* by fate */
} uses[] = {
#define AS_FREE	{ "free: double free", "free: invalid pointer" }
	{ "free", use_free, AS_FREE },
	{ "free in another thread", use_free_in_thread, AS_FREE },
	{ "realloc", use_realloc, { "realloc: freed pointer", "realloc: invalid pointer" } },
	{ "realloc to 0", use_realloc_0,
	  { "realloc: freed pointer", "realloc: invalid pointer" } },
	{ "reallocarray", use_reallocarray,
	  { "realloc: freed pointer", "realloc: invalid pointer" } },
	{ "malloc_usable_size", use_usable,
	  { "malloc_usable_size: freed pointer", "malloc_usable_size: invalid pointer" } },
	{ "free_sized", use_free_sized, AS_FREE },
	{ "free_aligned_sized", use_free_aligned_sized, AS_FREE },
	{ "delete", use_delete, AS_FREE },
	{ "sized delete", use_delete_sized, AS_FREE },
	{ "sized delete[]", use_delete_array_sized, AS_FREE },
	{ "aligned delete", use_delete_aligned, AS_FREE },
	{ "sized aligned delete", use_delete_aligned_sized, AS_FREE },
};

/* ---- one case ---- */

/* Shared with the child that is about to die. */
static void *volatile *culprit;
#define NO_SUCH	0	/* exit status of a child that has nothing to do */

static unsigned int nr_tried, nr_missed;

static void (*case_fn)(void);

/* Whether the child died of SIGABRT with "what: culprit", counted and, if not, told. */
static void must_die(const char *name, const char *use, const char *what)
{
	char text[500], wanted[200];
	int status;

	*culprit = NULL;
	status = t_stderr(case_fn, text, sizeof(text));
	if (status == NO_SUCH && !*culprit)
		return;
	nr_tried++;
	snprintf(wanted, sizeof(wanted), "fatal error: %s: %p\n", what, *culprit);
	if (status == 256 + SIGABRT && !strcmp(text, wanted))
		return;
	nr_missed++;
	text[strcspn(text, "\n")] = wanted[strcspn(wanted, "\n")] = '\0';
	printf("# missed: %s, %s, size %zu, %zu: status %d, said '%s', not '%s'\n", name, use,
	       size, wrong, status, text, wanted);
}

static const struct maker *maker;
static const struct use *use;

static void make_and_use(void)
{
	void *p;

	if (use->fn == use_free_in_thread && maker->make == freed_before_fork)
		_exit(NO_SUCH);
	if (use->fn == use_free_in_thread)
		pthread_create(&waiting_thread, NULL, wait_and_free, NULL);
	p = maker->make();
	if (!p)
		_exit(NO_SUCH);
	*culprit = p;
	use->fn(p);
}

static const size_t all_sizes[] = {
	0, 1, 16, 48, 100, 1000, 3000, 8192, 32768, 32769, 200000, 5 << 20,
};
static const size_t few_sizes[] = { 16, 100, 3000, 200000 };

static int try_makers(const struct use *u, enum fate fate, const size_t *sizes, size_t nr)
{
	unsigned int tried = nr_tried, missed = nr_missed;

	case_fn = make_and_use;
	use = u;
	for (maker = makers; maker < makers + LEN(makers); maker++) {
		for (size_t i = 0; i < (maker->sizes ? nr : 1); i++) {
			size = sizes[i];
			if (maker->fate == fate)
				must_die(maker->name, use->name, use->says[fate]);
		}
	}
	printf("# %s: %u of %u\n", use->name, nr_tried - tried - (nr_missed - missed),
	       nr_tried - tried);
	return nr_missed == missed ? T_PASS : T_FAIL;
}

static int test_double(void)
{
	T_SUB(try_makers(&uses[0], FREED, all_sizes, LEN(all_sizes)));
	T(nr_tried >= 150);
	return T_PASS;
}

static int test_invalid(void)
{
	T_SUB(try_makers(&uses[0], INVALID, all_sizes, LEN(all_sizes)));
	T(nr_tried >= 60);
	return T_PASS;
}

static int test_other_functions(enum fate fate)
{
	int ret = T_PASS;

	for (size_t i = 1; i < LEN(uses); i++)
		ret |= try_makers(&uses[i], fate, few_sizes, LEN(few_sizes));
	T(nr_tried >= 400);
	return ret;
}

static int test_double_others(void)
{
	return test_other_functions(FREED);
}

static int test_invalid_others(void)
{
	return test_other_functions(INVALID);
}

/* ---- wrong sizes ---- */

static size_t alignment;

/* The largest size that gets a smaller object than bytes; 0: none. */
static size_t class_below(size_t bytes)
{
	size_t n = bytes;

	while (n && goheap_good_size(n) >= bytes)
		n--;
	return n;
}

static void *try_new(void)
{
	*culprit = alignment ? new_aligned_nothrow(size, alignment, NULL)
			     : new_nothrow(size, NULL);
	return *culprit;
}

static void wrong_delete(void)
{
	delete_sized(try_new(), wrong);
}

static void wrong_delete_array(void)
{
	delete_array_sized(try_new(), wrong);
}

static void wrong_delete_aligned(void)
{
	delete_aligned_sized(try_new(), wrong, alignment);
}

static void wrong_delete_array_aligned(void)
{
	delete_array_aligned_sized(try_new(), wrong, alignment);
}

static void wrong_free_sized(void)
{
	*culprit = vmalloc(size);
	free_sized(*culprit, wrong);
}

static void wrong_free_aligned_sized(void)
{
	*culprit = valigned(alignment, size);
	free_aligned_sized(*culprit, alignment, wrong);
}

static void wrong_alignment(void)
{
	*culprit = (char *)vmalloc(size);
	free_aligned_sized(*culprit, wrong, size);
}

static void wrong_delete_alignment(void)
{
	*culprit = (char *)vmalloc(size);
	delete_aligned(*culprit, wrong);
}

static void wrong_delete_array_alignment(void)
{
	*culprit = (char *)vmalloc(size);
	delete_array_aligned(*culprit, wrong);
}

static void wrong_delete_sized_alignment(void)
{
	*culprit = (char *)vmalloc(size);
	delete_aligned_sized(*culprit, size, wrong);
}

/* alignment is what the object was allocated with. */
static void with_wrong_sizes(void (*fn)(void), const char *what, bool exact)
{
	size_t bytes, below;

	case_fn = fn;
	for (size_t i = 0; i < LEN(all_sizes); i++) {
		void *p;

		size = all_sizes[i];
		p = alignment ? valigned(alignment, size) : vmalloc(size);
		bytes = vusable(p);
		vfree(p);
		below = exact && !alignment ? class_below(bytes) : bytes / 2;
		wrong = bytes + 1;
		must_die("size of the next class", "sized", what);
		wrong = SIZE_MAX;
		must_die("the largest size", "sized", what);
		wrong = below;
		if (size > 16 && below >= alignment)
			must_die("size of the class below", "sized", what);
	}
}

static int test_sizes(void)
{
	use_up_few();
	alignment = 0;
	with_wrong_sizes(wrong_free_sized, "free_sized: wrong size", false);
	with_wrong_sizes(wrong_delete, "delete: wrong size", true);
	with_wrong_sizes(wrong_delete_array, "delete: wrong size", true);
	alignment = 64;
	with_wrong_sizes(wrong_free_aligned_sized, "free_aligned_sized: wrong size", true);
	with_wrong_sizes(wrong_delete_aligned, "delete: wrong size", true);
	with_wrong_sizes(wrong_delete_array_aligned, "delete: wrong size", true);
	printf("# %u of %u\n", nr_tried - nr_missed, nr_tried);
	T(nr_tried >= 150);
	T_EQ(nr_missed, 0);
	return T_PASS;
}

static int test_alignments(void)
{
	static const size_t wrong_ones[] = { 0, 3, 48, (size_t)1 << 46, SIZE_MAX };
	static void (*const fns[])(void) = {
		wrong_alignment, wrong_delete_alignment, wrong_delete_array_alignment,
		wrong_delete_sized_alignment,
	};

	for (size_t f = 0; f < LEN(fns); f++) {
		case_fn = fns[f];
		for (size_t i = 0; i < LEN(few_sizes); i++) {
			for (size_t k = 0; k < LEN(wrong_ones); k++) {
				size = few_sizes[i];
				wrong = wrong_ones[k];
				must_die("wrong alignment", "sized",
					 f ? "delete: wrong alignment"
					   : "free_aligned_sized: wrong alignment");
			}
		}
	}
	printf("# %u of %u\n", nr_tried - nr_missed, nr_tried);
	T(nr_tried >= 80);
	T_EQ(nr_missed, 0);
	return T_PASS;
}

/* ---- sizes that overflow ---- */

static const size_t huge[] = {
	SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 15, SIZE_MAX - 4095, SIZE_MAX - 8191, SIZE_MAX - 65536,
	(size_t)PTRDIFF_MAX + 1, PTRDIFF_MAX, (size_t)PTRDIFF_MAX - 8192, (size_t)1 << 62,
	(size_t)1 << 48,
};

#define REFUSED(call) do {			\
	errno = 0;				\
	T(!(call));				\
	T_EQ(errno, ENOMEM);			\
	nr_tried++;				\
} while (0)

static int refuse_plain(size_t n)
{
	void *p = vmalloc(100), *out = p;

	memset(p, 7, 100);
	REFUSED(vmalloc(n));
	REFUSED(vcalloc(n, 1));
	REFUSED(vcalloc(1, n));
	REFUSED(vrealloc(NULL, n));
	REFUSED(vrealloc(p, n));
	REFUSED(vreallocarray(p, n, 1));
	REFUSED(vreallocarray(p, 1, n));
	REFUSED(vvalloc(n));
	REFUSED(vpvalloc(n));
	T(!new_nothrow(n, NULL) && !new_array_nothrow(n, NULL));
	/* Neither out nor what p points to was touched. */
	T_EQ(vposix_memalign(&out, 64, n), ENOMEM);
	T(out == p);
	for (int i = 0; i < 100; i++)
		T_EQ(((char *)p)[i], 7);
	vfree(p);
	return T_PASS;
}

static int refuse_aligned(size_t n)
{
	void *out = NULL;

	for (size_t align = 8; align; align <<= 1) {
		REFUSED(valigned(align, n));
		REFUSED(vmemalign(align, n));
		T_EQ(vposix_memalign(&out, align, n), ENOMEM);
		T(!out && !new_aligned_nothrow(n, align, NULL));
		nr_tried += 2;
	}
	return T_PASS;
}

/* n * m overflows to something small. */
static int refuse_products(void)
{
	static const size_t factors[][2] = {
		{ SIZE_MAX, 2 }, { SIZE_MAX, SIZE_MAX }, { (size_t)1 << 32, (size_t)1 << 32 },
		{ ((size_t)1 << 63) + 1, 2 }, { SIZE_MAX / 3 + 1, 3 }, { SIZE_MAX / 16 + 2, 16 },
	};
	void *p = vmalloc(100);

	for (size_t i = 0; i < LEN(factors); i++) {
		for (int k = 0; k < 2; k++) {
			REFUSED(vcalloc(factors[i][k], factors[i][!k]));
			REFUSED(vreallocarray(p, factors[i][k], factors[i][!k]));
			REFUSED(vreallocarray(NULL, factors[i][k], factors[i][!k]));
		}
	}
	vfree(p);
	return T_PASS;
}

/* Alignments that nothing can have. */
static int refuse_alignments(void)
{
	void *out = NULL;

	for (size_t align = (size_t)1 << 48; align; align <<= 1) {
		REFUSED(valigned(align, 100));
		REFUSED(vmemalign(align, 100));
		T_EQ(vposix_memalign(&out, align, 100), ENOMEM);
		nr_tried++;
	}
	for (size_t i = 0; i < LEN(huge); i++) {
		T(!vmemalign(huge[i], 100));
		T_EQ(vposix_memalign(&out, huge[i] | 1, 100), EINVAL);
		T(!out);
		nr_tried += 2;
	}
	return T_PASS;
}

static int test_overflow(void)
{
	for (size_t i = 0; i < LEN(huge); i++) {
		T_SUB(refuse_plain(huge[i]));
		T_SUB(refuse_aligned(huge[i]));
	}
	T_SUB(refuse_products());
	T_SUB(refuse_alignments());
	printf("# %u of %u\n", nr_tried, nr_tried);
	T(nr_tried >= 1000);
	return T_PASS;
}

/* ---- scribbling ---- */

#define BLOCKS	400

static int by_address(const void *a, const void *b)
{
	const char *x = *(char *const *)a, *y = *(char *const *)b;

	return (x > y) - (x < y);
}

/* Objects handed out are aligned, and none overlaps another. */
static int check_disjoint(char **p, size_t nr, size_t bytes)
{
	qsort(p, nr, sizeof(*p), by_address);
	for (size_t i = 0; i < nr; i++) {
		T_EQ((uintptr_t)p[i] % 8, 0);
		T(!i || (p[i - 1] != p[i] && p[i - 1] + bytes <= p[i]));
	}
	return T_PASS;
}

/*
 * Blocks are written over in full after they were freed, and the live ones too, with
 * what would be good pointers if something were kept there.
 */
static int scribble(size_t n)
{
	static char *p[BLOCKS], *q[BLOCKS];
	size_t bytes;

	for (size_t i = 0; i < BLOCKS; i++)
		p[i] = vmalloc(n);
	bytes = vusable(p[0]);
	for (size_t i = 0; i < BLOCKS; i++) {
		if (i % 3 != 0)
			vfree(p[i]);
		for (size_t k = 0; k + 8 <= bytes; k += 8)
			memcpy(p[i] + k, &p[(i + k) % BLOCKS], 8);
	}
	for (size_t i = 0; i < BLOCKS; i++)
		q[i] = vmalloc(n);
	for (size_t i = 1; i < BLOCKS; i++)
		if (i % 3 == 0)
			q[i] = p[i];
	T_SUB(check_disjoint(q, BLOCKS, bytes));
	nr_tried++;
	return T_PASS;
}

static int test_scribble(void)
{
	use_up_few();
	for (size_t i = 0; i < LEN(all_sizes); i++)
		if (all_sizes[i] <= 200000)
			T_SUB(scribble(all_sizes[i]));
	return T_PASS;
}

static const struct t_case cases[] = {
	{ "free of what was freed, in every way", test_double },
	{ "free of what never was an object", test_invalid },
	{ "the same for all that takes a pointer: freed ones", test_double_others },
	{ "the same for all that takes a pointer: wrong ones", test_invalid_others },
	{ "free and delete with the size of another class", test_sizes },
	{ "free and delete with a wrong alignment", test_alignments },
	{ "sizes that overflow", test_overflow },
	{ "writing over freed objects breaks nothing", test_scribble },
};

int main(int argc, char **argv)
{
	struct rlimit none = { 0 };

	setrlimit(RLIMIT_CORE, &none);
	culprit = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
