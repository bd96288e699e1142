// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The checks that are asked for by options: each finds what it is for, at once or when
 * it must, and none of them finds anything where nothing is wrong.
 *
 * Options are read once, so each action is done by this program started anew.
 */
#define _GNU_SOURCE
#include <goheap.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include "back_test.h"
#include "front_calls.h"

void delete_sized(void *p, size_t size) __asm__("_ZdlPvm");

/* What the action is told: a number, mostly a size. */
static size_t arg;

static void *culprit(void *p)
{
	fprintf(stderr, "%p\n", p);
	return p;
}

/* ---- actions; those that are wrong print the address that must be named ---- */

static void overrun(void)
{
	volatile char *p = culprit(vmalloc(arg));

	p[arg] = (char)~p[arg];
	vfree((void *)p);
}

/* The last byte that belongs to the object's place. */
static void overrun_far(void)
{
	size_t place = arg <= 32768 - 8 ? goheap_good_size(arg + 8) : (arg + 8 + 8191) & ~8191ul;
	volatile char *p = culprit(vmalloc(arg));

	p[place - 1] = (char)~p[place - 1];
	vfree((void *)p);
}

static void overrun_calloc(void)
{
	volatile char *p = culprit(vcalloc(1, arg));

	p[arg] = (char)~p[arg];
	vfree((void *)p);
}

static void overrun_aligned(void)
{
	volatile char *p = culprit(valigned(256, arg));

	p[arg] = (char)~p[arg];
	vfree((void *)p);
}

static void overrun_and_realloc(void)
{
	volatile char *p = culprit(vmalloc(arg));

	p[arg] = (char)~p[arg];
	vrealloc((void *)p, arg + 1);
}

static void overrun_and_usable(void)
{
	volatile char *p = culprit(vmalloc(arg));

	p[arg] = (char)~p[arg];
	vusable((void *)p);
}

static void wrong_free_sized(void)
{
	vfree_sized(culprit(vmalloc(arg)), arg - 1);
}

static void wrong_delete(void)
{
	delete_sized(culprit(vmalloc(arg)), arg + 1);
}

static void wrong_free_aligned_sized(void)
{
	vfree_aligned_sized(culprit(valigned(64, arg)), 64, arg + 1);
}

/* Until what is in quarantine has gone through it many times. */
static void free_many(size_t size)
{
	for (int i = 0; i < 60000; i++)
		vfree(vmalloc(size));
}

static void write_after_free(void)
{
	volatile char *p = culprit(vmalloc(arg));

	vfree((void *)p);
	p[arg / 2] ^= 1;
	free_many(arg);
}

static void read_after_free(void)
{
	volatile char *p = vmalloc(arg);

	vfree((void *)p);
	*p;
}

static void touch_behind(void)
{
	volatile char *p = vmalloc(arg);

	p[(arg + 8191) & ~8191ul] = 1;
}

#define LOCKSTEPS	50
static unsigned int arrived;
static void *steps[2][LOCKSTEPS];

static void *free_at_once(void *which)
{
	size_t me = (uintptr_t)which;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(me, &set);
	pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
	for (unsigned int i = 0; i < LOCKSTEPS; i++) {
		__atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST);
		while (__atomic_load_n(&arrived, __ATOMIC_SEQ_CST) < 2 * (i + 1))
			;
		vfree(steps[me][i]);
	}
	return NULL;
}

/*
 * Two at the same instant, or nearly: one of them must be told.  Before that they free
 * others in step, so that both are as fast as they get.
 */
static void free_in_two(void)
{
	pthread_t t[2];

	for (int i = 0; i < LOCKSTEPS; i++)
		for (int k = 0; k < 2; k++)
			steps[k][i] = vmalloc(arg);
	steps[0][LOCKSTEPS - 1] = culprit(steps[1][LOCKSTEPS - 1]);
	for (uintptr_t i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, free_at_once, (void *)i);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
}

/* ---- actions where nothing is wrong: exit status 0 ---- */

static int is_all(const void *p, size_t bytes, int byte)
{
	const volatile unsigned char *c = p;

	for (size_t i = 0; i < bytes; i++)
		if (c[i] != (unsigned char)byte)
			return 0;
	return 1;
}

#define MUST(cond) do {							\
	if (!(cond)) {							\
		fprintf(stderr, "line %d: %s\n", __LINE__, #cond);	\
		_exit(1);						\
	}								\
} while (0)

static const size_t sizes[] = {
	1, 7, 8, 9, 15, 16, 17, 24, 100, 112, 1000, 1024, 1025, 3000, 8184, 8192, 32760, 32761,
	32768, 32769, 40952, 40960, 200000, 3 << 20,
};

/* arg: the byte of option junk. */
static void filled(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		void *p = vmalloc(sizes[i]);

		MUST(is_all(p, sizes[i], (int)arg ^ 255));
		vfree(p);
		/* A large one may be released, and be zeros. */
		MUST(sizes[i] > 32768 || is_all(p, sizes[i], (int)arg));
		p = vcalloc(1, sizes[i]);
		MUST(is_all(p, sizes[i], 0));
		vfree(p);
	}
}

static void cleared(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		void *p = vmalloc(sizes[i]);

		memset(p, 255, sizes[i]);
		vfree(p);
		MUST(is_all(p, sizes[i], 0));
	}
}

static void perturbed(void)
{
	MUST(mallopt(M_PERTURB, 0x5a) == 1);
	arg = 0x5a;
	filled();
	MUST(mallopt(M_PERTURB, 0) == 1);
}

static void exact_sizes(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		char *p = vmalloc(sizes[i]);

		MUST(vusable(p) == sizes[i]);
		memset(p, 1, sizes[i]);
		p = vrealloc(p, sizes[i] + 3);
		MUST(vusable(p) == sizes[i] + 3 && is_all(p, sizes[i], 1));
		p = vrealloc(p, sizes[i]);
		MUST(vusable(p) == sizes[i] && is_all(p, sizes[i], 1));
		vfree_sized(p, sizes[i]);
		p = valigned(4096, sizes[i]);
		MUST(vusable(p) == sizes[i] && (uintptr_t)p % 4096 == 0);
		vfree_aligned_sized(p, 4096, sizes[i]);
	}
}

/* As long as nothing is freed nothing leaves the quarantine, into which it all fits. */
static void not_reused(void)
{
	enum { N = 100 };
	static void *p[N];

	for (int i = 0; i < N; i++)
		p[i] = vmalloc(arg);
	for (int i = 0; i < N; i++)
		vfree(p[i]);
	for (int k = 0; k < 1000; k++) {
		void *q = vmalloc(arg);

		for (int i = 0; i < N; i++)
			MUST(q != p[i]);
	}
}

/* arg: the option's KiB.  Pages hold more than is in quarantine, but not many times more. */
static void bounded(void)
{
	enum { N = 20000 };
	static void *p[N];

	for (int i = 0; i < N; i++)
		p[i] = vmalloc(1000);
	MUST(goheap_inuse_bytes() > N * 1000);
	for (int i = 0; i < N; i++)
		vfree(p[i]);
	goheap_flush();
	MUST(goheap_inuse_bytes() < 64 * arg * 1024);
}

static void settings(void)
{
	static const char *const names[] = { "canary", "guard", "quarantine", "zero" };
	static const char *const values[] = { "1", "1", "1024", "1" };
	char value[32];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		MUST(goheap_option_get(names[i], value, sizeof(value)) > 0);
		MUST(!strcmp(value, values[i]));
		MUST(goheap_option_set(names[i], "0") == -1 && errno == EBUSY);
	}
}

struct block {
	unsigned char *p;
	size_t size;
	unsigned char byte;
};

static void drop(struct block *b)
{
	MUST(!b->p || is_all(b->p, b->size, b->byte));
	vfree(b->p);
	b->p = NULL;
}

static void make(struct block *b, uint64_t r)
{
	b->size = r >> 8 & 15 ? r >> 12 & 1023 : r >> 12 & 131071;
	b->byte = (unsigned char)(r >> 32);
	switch (r & 3) {
	case 0:
		b->p = vcalloc(1, b->size);
		MUST(is_all(b->p, b->size, 0));
		break;
	case 1:
		b->p = valigned((size_t)1 << (r >> 4 & 15), b->size);
		break;
	case 2:
		b->p = vrealloc(vmalloc(r >> 40 & 4095), b->size ? b->size : 1);
		break;
	default:
		b->p = vmalloc(b->size);
	}
	MUST(b->p && vusable(b->p) >= b->size);
	memset(b->p, b->byte, b->size);
}

static void *live(void *seed)
{
	struct block blocks[300] = { { NULL } };
	uint64_t x = (uintptr_t)seed * 0x9e3779b97f4a7c15ull + 1;

	for (int i = 0; i < 20000; i++) {
		struct block *b;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		b = &blocks[(x >> 50) % ARRAY_SIZE(blocks)];
		drop(b);
		make(b, x);
	}
	for (size_t i = 0; i < ARRAY_SIZE(blocks); i++)
		drop(&blocks[i]);
	return NULL;
}

/* Threads, and a child that is forked meanwhile. */
static void lives(void)
{
	pthread_t t[4];
	pid_t pid;

	for (uintptr_t i = 0; i < ARRAY_SIZE(t); i++)
		pthread_create(&t[i], NULL, live, (void *)(i + 1));
	usleep(20000);
	pid = fork();
	if (!pid) {
		live((void *)77);
		goheap_flush();
		_exit(0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		pthread_join(t[i], NULL);
	goheap_flush();
	MUST(t_wait(pid) == 0);
}

static const struct action {
	const char *name;
	void (*fn)(void);
} actions[] = {
#define ACTION(fn)	{ #fn, fn }
	ACTION(overrun), ACTION(overrun_far), ACTION(overrun_calloc), ACTION(overrun_aligned),
	ACTION(overrun_and_realloc), ACTION(overrun_and_usable), ACTION(wrong_free_sized),
	ACTION(wrong_delete), ACTION(wrong_free_aligned_sized), ACTION(write_after_free),
	ACTION(read_after_free), ACTION(touch_behind), ACTION(free_in_two), ACTION(filled),
	ACTION(cleared), ACTION(perturbed), ACTION(exact_sizes), ACTION(not_reused),
	ACTION(bounded), ACTION(settings), ACTION(lives),
};

/* ---- the other side: start, and see how it ends ---- */

static const char *run_options;
static const char *run_name;
static size_t run_arg;

static void start(void)
{
	const char *old = getenv("GOHEAPDEBUG");
	char debug[200], number[32];

	snprintf(debug, sizeof(debug), "%s,%s", old ? old : "", run_options);
	snprintf(number, sizeof(number), "%zu", run_arg);
	setenv("GOHEAPDEBUG", debug, 1);
	execl("/proc/self/exe", "front_checked_test", "--action", run_name, number, (char *)NULL);
}

static int run(const char *options, const char *name, size_t n, char *text, size_t size)
{
	run_options = options;
	run_name = name;
	run_arg = n;
	return t_stderr(start, text, size);
}

/* It prints the address, then dies of complaint with that address. */
static int must_die(const char *options, const char *name, size_t n, const char *complaint)
{
	char text[500], wanted[300], *end;
	int status = run(options, name, n, text, sizeof(text));

	end = strchr(text, '\n');
	if (end)
		snprintf(wanted, sizeof(wanted), "fatal error: %s: %.*s\n", complaint,
			 (int)(end - text), text);
	if (status == 256 + SIGABRT && end && !strcmp(end + 1, wanted))
		return T_PASS;
	printf("# %s: %s %zu: status %d, said %s", options, name, n, status, text);
	return T_FAIL;
}

static int must_trap(const char *options, const char *name, size_t n)
{
	char text[500];

	T_EQ(run(options, name, n, text, sizeof(text)), 256 + SIGSEGV);
	return T_PASS;
}

static int must_work(const char *options, const char *name, size_t n)
{
	char text[500];
	int status = run(options, name, n, text, sizeof(text));

	if (status)
		printf("# %s: %s %zu: status %d, said %s\n", options, name, n, status, text);
	return status ? T_FAIL : T_PASS;
}

static int test_canary(void)
{
	static const char *const ways[] = {
		"overrun", "overrun_far", "overrun_calloc", "overrun_aligned",
		"overrun_and_realloc", "overrun_and_usable",
	};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		for (size_t k = 0; k < ARRAY_SIZE(ways); k++)
			if (k != 1 || sizes[i] <= 32760)
				T_SUB(must_die("canary=1", ways[k], sizes[i], "object was overrun"));
	return must_work("canary=1", "exact_sizes", 0);
}

static int test_canary_sizes(void)
{
	for (size_t i = 1; i < ARRAY_SIZE(sizes); i++) {
		T_SUB(must_die("canary=1", "wrong_free_sized", sizes[i], "free_sized: wrong size"));
		T_SUB(must_die("canary=1", "wrong_delete", sizes[i], "delete: wrong size"));
		T_SUB(must_die("canary=1", "wrong_free_aligned_sized", sizes[i],
			       "free_aligned_sized: wrong size"));
	}
	return T_PASS;
}

static int test_fill(void)
{
	T_SUB(must_work("junk=90", "filled", 90));
	T_SUB(must_work("junk=255", "filled", 255));
	T_SUB(must_work("junk=1", "perturbed", 0));
	T_SUB(must_work("canary=1,junk=7", "filled", 7));
	T_SUB(must_work("zero=1,scavenge=0", "cleared", 0));
	return must_work("zero=1,canary=1", "cleared", 0);
}

static int test_guard(void)
{
	static const size_t large[] = { 32769, 40960, 200000, 3 << 20 };

	for (size_t i = 0; i < ARRAY_SIZE(large); i++) {
		T_SUB(must_trap("guard=1", "touch_behind", large[i]));
		T_SUB(must_work("quarantine=100000", "read_after_free", large[i]));
		T_SUB(must_trap("guard=1,quarantine=100000", "read_after_free", large[i]));
	}
	return T_PASS;
}

static int test_quarantine(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		T_SUB(must_work("quarantine=1000000", "not_reused", sizes[i]));
	T_SUB(must_work("quarantine=16", "bounded", 16));
	return must_work("quarantine=100", "bounded", 100);
}

static int test_write_after_free(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(sizes) && sizes[i] <= 1025; i++) {
		T_SUB(must_die("quarantine=64,zero=1", "write_after_free", sizes[i],
			       "object was written to after free"));
		T_SUB(must_die("quarantine=64,junk=3", "write_after_free", sizes[i],
			       "object was written to after free"));
	}
	return T_PASS;
}

static int test_two_threads(void)
{
	for (int i = 0; i < 50; i++)
		T_SUB(must_die(i % 2 ? "guard=1" : "quarantine=100", "free_in_two", 100,
			       "free: double free"));
	return must_die("hardened=1", "free_in_two", 100000, "free: double free");
}

static int test_hardened(void)
{
	T_SUB(must_work("hardened=1", "settings", 0));
	T_SUB(must_die("hardened=1", "overrun", 100, "object was overrun"));
	T_SUB(must_die("hardened=1", "write_after_free", 100, "object was written to after free"));
	T_SUB(must_trap("hardened=1", "touch_behind", 100000));
	return must_trap("hardened=1", "read_after_free", 100000);
}

static int test_no_alarm(void)
{
	static const char *const options[] = {
		"gctrace=0", "canary=1", "guard=1", "junk=90", "zero=1", "quarantine=10",
		"hardened=1", "hardened=1,junk=1", "hardened=1,quarantine=100000",
	};

	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		T_SUB(must_work(options[i], "lives", 0));
	return T_PASS;
}

static const struct t_case cases[] = {
	{ "canary: a byte written behind an object", test_canary },
	{ "canary: free and delete with a size that is off by one", test_canary_sizes },
	{ "junk, zero, M_PERTURB: contents of new and of freed objects", test_fill },
	{ "guard: behind large objects, and freed ones", test_guard },
	{ "quarantine: freed objects wait, and not too many", test_quarantine },
	{ "quarantine: a freed object that is written to", test_write_after_free },
	{ "two threads free the same object at once", test_two_threads },
	{ "hardened is a set of these", test_hardened },
	{ "no false alarm in threads and a child", test_no_alarm },
};

static int act(const char *name, const char *number)
{
	arg = strtoull(number, NULL, 0);
	for (size_t i = 0; i < ARRAY_SIZE(actions); i++) {
		if (!strcmp(actions[i].name, name)) {
			actions[i].fn();
			return 0;
		}
	}
	return 99;
}

int main(int argc, char **argv)
{
	struct rlimit none = { 0 };

	setrlimit(RLIMIT_CORE, &none);
	if (argc == 4 && !strcmp(argv[1], "--action"))
		return act(argv[2], argv[3]);
	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
