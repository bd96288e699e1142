// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Guarded objects: what traps, what is said of it and whose stacks are told; and that
 * programs which handle SIGSEGV themselves still do.  Runs itself again with the option
 * sample=1, so that each small object is guarded as long as there is room.
 */
#define _GNU_SOURCE
#include <goheap.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include "back_test.h"
#include "front_calls.h"
#include "guarded.h"
#include "large.h"
#include "mcache.h"
#include "options.h"
#include "pagemap.h"
#include "sample.h"

#define NR	5000
#define THREADS	4

static char said[16384];
static char *volatile object;

#define SITE	static __attribute__((noinline, noclone))
#define END	__asm__ volatile("" ::: "memory")

SITE void site_alloc(size_t size)
{
	object = vmalloc(size);
	END;
}

SITE void site_free(void)
{
	vfree(object);
	END;
}

SITE void site_write(long i)
{
	*(volatile char *)(object + i) = 1;
	END;
}

static bool is_guarded(const void *p)
{
	const struct ghu_mspan *s = ghu_pagemap_get((uintptr_t)p);

	return s && s->base == (uintptr_t)p && ghu_is_guarded(s);
}

/* One that lies at the end of its page, or at the beginning. */
static void alloc_at(size_t size, bool end)
{
	do
		site_alloc(size);
	while (((uintptr_t)object % GHU_PAGE_SIZE != 0) != end);
}

/* Whether the report has such a stack whose first address is in the function. */
static bool has_stack(const char *what, void *fn)
{
	char head[64];
	unsigned long pc;
	const char *at;

	snprintf(head, sizeof(head), "  %s by thread ", what);
	at = strstr(said, head);
	at = at ? strchr(at, '\n') : NULL;
	return at && sscanf(at, " 0x%lx", &pc) == 1 && pc - (uintptr_t)fn < 128;
}

static bool says(const char *what, const void *addr)
{
	char text[128];

	snprintf(text, sizeof(text), "fatal error: %s: %p\n", what, addr);
	if (strstr(said, text))
		return true;
	printf("# not '%s' in: %s\n", text, said);
	return false;
}

/* The object is shared with the child, so that its address is known. */
static int run(void (*fn)(void))
{
	return t_stderr(fn, said, sizeof(said));
}

/* ---- what traps ---- */

static void overrun(void)
{
	site_write(64);
}

static int test_overrun(void)
{
	alloc_at(64, true);
	T_EQ(run(overrun), 256 + SIGSEGV);
	T(says("access behind the end of an object", object + 64));
	T(strstr(said, "  object of 64 bytes at "));
	T(has_stack("accessed", site_write));
	T(has_stack("allocated", site_alloc));
	T(!strstr(said, "freed by"));
	return T_PASS;
}

static void underrun(void)
{
	site_write(-1);
}

static int test_underrun(void)
{
	alloc_at(64, false);
	T_EQ(run(underrun), 256 + SIGSEGV);
	T(says("access before the start of an object", object - 1));
	T(has_stack("accessed", site_write));
	T(has_stack("allocated", site_alloc));
	return T_PASS;
}

static void use_freed(void)
{
	site_free();
	site_write(10);
}

static int test_use_after_free(void)
{
	for (int end = 0; end < 2; end++) {
		alloc_at(100, end);
		T_EQ(run(use_freed), 256 + SIGSEGV);
		T(says("access to a freed object", object + 10));
		T(has_stack("accessed", site_write));
		T(has_stack("allocated", site_alloc));
		T(has_stack("freed", site_free));
	}
	return T_PASS;
}

static void free_twice(void)
{
	site_free();
	site_free();
}

static int test_double_free(void)
{
	site_alloc(100);
	T_EQ(run(free_twice), 256 + SIGABRT);
	T(says("free: double free", object));
	T(has_stack("found", site_free));
	T(has_stack("allocated", site_alloc));
	T(has_stack("freed", site_free));
	return T_PASS;
}

static void overrun_little(void)
{
	site_write(60);
	site_free();
}

/* Too little to reach the page that traps. */
static int test_overrun_little(void)
{
	for (int end = 0; end < 2; end++) {
		alloc_at(60, end);
		T_EQ(run(overrun_little), 256 + SIGABRT);
		T(says("object was overrun", object));
		T(has_stack("found", site_free));
		T(has_stack("allocated", site_alloc));
	}
	return T_PASS;
}

static void free_inner(void)
{
	vfree(object + 16);
}

static void free_wrong_size(void)
{
	vfree_sized(object, 99);
}

static int test_bad_free(void)
{
	site_alloc(100);
	T_EQ(run(free_inner), 256 + SIGABRT);
	T(says("free: invalid pointer", object + 16));
	T_EQ(run(free_wrong_size), 256 + SIGABRT);
	T(says("free_sized: wrong size", object));
	return T_PASS;
}

/* ---- handlers of the program ---- */

static void on_signal(int sig)
{
	(void)sig;
	_exit(7);
}

static void handle(void)
{
	signal(SIGSEGV, on_signal);
	site_alloc(64);
}

static void fault_elsewhere(void)
{
	handle();
	object = NULL;
	site_write(0);
}

static void fault_here(void)
{
	handle();
	site_free();
	site_write(0);
}

static int test_own_handler(void)
{
	T_EQ(run(fault_elsewhere), 7);
	T_EQ(strlen(said), 0);
	T_EQ(run(fault_here), 7);
	T(strstr(said, "fatal error: access to a freed object: "));
	return T_PASS;
}

static struct sigaction before;

static void on_info(int sig, siginfo_t *info, void *context)
{
	static int calls;

	if ((uintptr_t)info->si_addr != 123 || calls++)
		_exit(8);
	if (before.sa_flags & SA_SIGINFO)
		before.sa_sigaction(sig, info, context);
	else
		signal(sig, SIG_DFL);
}

/* As many do: it calls who was there before. */
static void chain(void)
{
	struct sigaction sa = { .sa_sigaction = on_info, .sa_flags = SA_SIGINFO };

	sigaction(SIGSEGV, &sa, &before);
	site_alloc(64);
	object = (char *)123;
	site_write(0);
}

static int test_chain(void)
{
	T_EQ(run(chain), 256 + SIGSEGV);
	T_EQ(strlen(said), 0);
	return T_PASS;
}

static sigjmp_buf env;

static void jump(int sig)
{
	siglongjmp(env, sig);
}

static void jump_out(void)
{
	volatile int n = 0;

	signal(SIGSEGV, jump);
	site_alloc(64);
	sigsetjmp(env, 1);
	object = NULL;
	if (n++ < 5)
		site_write(n);
	_exit(n);
}

static int test_jump_out(void)
{
	T_EQ(run(jump_out), 6);
	T_EQ(strlen(said), 0);
	return T_PASS;
}

static void sent(void)
{
	site_alloc(64);
	raise(SIGSEGV);
	_exit(9);
}

static void sent_ignored(void)
{
	signal(SIGSEGV, SIG_IGN);
	sent();
}

static void fault_by_default(void)
{
	object = NULL;
	site_write(0);
}

static int test_by_default(void)
{
	T_EQ(run(sent), 256 + SIGSEGV);
	T_EQ(run(sent_ignored), 9);
	T_EQ(run(fault_by_default), 256 + SIGSEGV);
	T_EQ(strlen(said), 0);
	return T_PASS;
}

/* ---- slots ---- */

static int test_like_others(void)
{
	char *p = vmalloc(100);

	T(is_guarded(p));
	T_EQ(malloc_usable_size(p), 100);
	memset(p, 5, 100);
	p = vrealloc(p, 1000);
	T(is_guarded(p));
	T(p[0] == 5 && p[99] == 5);
	p = vrealloc(p, 100000);
	T(!is_guarded(p));
	T(p[0] == 5 && p[99] == 5);
	vfree(p);
	p = vcalloc(10, 100);
	T(is_guarded(p));
	for (int i = 0; i < 1000; i++)
		T(!p[i]);
	vfree_sized(p, 1000);
	p = valigned(4096, 100);
	T(!((uintptr_t)p % 4096));
	vfree(p);
	p = vmalloc(0);
	T(p && !is_guarded(p));
	vfree(p);
	for (size_t size = 1; size <= GHU_PAGE_SIZE; size += 97) {
		p = vmalloc(size);
		T(is_guarded(p) && !((uintptr_t)p % 16));
		memset(p, 1, size);
		vfree(p);
	}
	return T_PASS;
}

static int test_reuse_is_late(void)
{
	char *first = vmalloc(8192), *p;

	T(is_guarded(first));
	vfree(first);
	for (int i = 0; i < 255; i++) {
		p = vmalloc(8192);
		T(is_guarded(p) && p != first);
		vfree(p);
	}
	return T_PASS;
}

static void set_sample(unsigned int n)
{
	ghu_options.sample = n;
	ghu_mcache_resample();
}

/* What was in a slot before is not seen by calloc(), though its page cannot be dropped. */
static int test_locked(void)
{
	unsigned int nr = 0;
	char *p;

	for (int i = 0; i < 1000; i++) {
		p = vmalloc(GHU_PAGE_SIZE);
		T(is_guarded(p));
		if (mlock(p, GHU_PAGE_SIZE))
			return T_SKIP;
		memset(p, 1, GHU_PAGE_SIZE);
		vfree(p);
	}
	/* Beside objects whose memory is new. */
	set_sample(5);
	for (int n = 0; n < 1000; n++) {
		p = vcalloc(1, 1024);
		nr += is_guarded(p);
		for (int i = 0; i < 1024; i++)
			T(!p[i]);
	}
	T(nr > 100);
	return T_PASS;
}

/* More than there is room for: they are like any others. */
static int test_bounded(void)
{
	static char *all[NR];
	unsigned int guarded = 0;

	for (int i = 0; i < NR; i++) {
		all[i] = vmalloc(200);
		memset(all[i], i, 200);
		guarded += is_guarded(all[i]);
	}
	T(guarded > 500 && guarded <= 768);
	for (int i = 0; i < NR; i++) {
		T(all[i][0] == (char)i && all[i][199] == (char)i);
		vfree(all[i]);
	}
	T(is_guarded(vmalloc(200)));
	return T_PASS;
}

/* About 4 standard deviations. */
static int test_one_in_many(void)
{
	const size_t sizes[] = { 16, 64, 1000, 8000 };
	unsigned int guarded;

	set_sample(100);
	ghu_mcache->random = 1;
	for (size_t k = 0; k < ARRAY_SIZE(sizes); k++) {
		guarded = 0;
		for (int i = 0; i < 40000; i++) {
			void *p = vmalloc(sizes[k]);

			guarded += is_guarded(p);
			vfree(p);
		}
		printf("# %u of 40000 objects of %zu bytes\n", guarded, sizes[k]);
		T(guarded > 320 && guarded < 480);
	}
	return T_PASS;
}

/* ---- threads and processes ---- */

static void *shared[THREADS][64];

static void *churn(void *arg)
{
	uint64_t state = (uintptr_t)arg;

	for (int i = 0; i < 3000; i++) {
		uint64_t r = ghu_fastrand(&state);
		char *p = vmalloc(r % 500 + 1);

		memset(p, 1, r % 500 + 1);
		vfree(__atomic_exchange_n(&shared[r >> 10 & 3][r >> 20 & 63], p, __ATOMIC_ACQ_REL));
	}
	return NULL;
}

static int test_threads(void)
{
	pthread_t t[THREADS];

	for (size_t i = 0; i < THREADS; i++)
		T(!pthread_create(&t[i], NULL, churn, (void *)i));
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	return T_PASS;
}

static int in_child(void)
{
	for (int i = 0; i < 20; i++)
		vfree(vmalloc(100));
	T_EQ(run(use_freed), 256 + SIGSEGV);
	T(has_stack("allocated", site_alloc));
	T(has_stack("freed", site_free));
	return T_PASS;
}

#define SIZE	1000u
#define OTHERS	30u

static void *fill(void *arg)
{
	for (int i = 0; i < NR; i++)
		((char **)arg)[i] = vmalloc(SIZE);
	return arg;
}

/* What a thread kept for itself it takes first, but for one that is due to be guarded. */
static int test_kept(void)
{
	static char *others[NR];
	struct ghu_mcache_class *c;
	pthread_t t;

	/* Else nothing were left to guard one with. */
	set_sample(1000000);
	T(!pthread_create(&t, NULL, fill, others));
	pthread_join(t, NULL);
	for (int i = 0; i < NR; i++)
		vmalloc(SIZE);
	ghu_recent_begin(ghu_mcache, ghu_size_to_class(SIZE));
	for (unsigned int i = 0; i < OTHERS; i++) {
		char *p = others[NR - 1 - 16 * i];

		T_EQ(ghu_mspan_where(ghu_pagemap_get((uintptr_t)p)), GHU_SPAN_IS_SHARED);
		vfree(p);
	}
	c = &ghu_mcache->classes[ghu_size_to_class(SIZE)];
	T_EQ(ghu_recent_count(c), OTHERS);
	while (c->window.free)
		vmalloc(SIZE);
	ghu_mcache->next_guarded = 4;
	for (int i = 0; i < 4; i++)
		T_EQ(!is_guarded(vmalloc(SIZE)), i < 3);
	/* And the object is kept that would have been the fourth. */
	T_EQ(ghu_recent_count(c), OTHERS - 3 + 1);
	return T_PASS;
}

static volatile bool stop;

static void *churn_on(void *arg)
{
	while (!stop)
		vfree(vmalloc(100));
	return arg;
}

static int test_fork(void)
{
	pthread_t t;

	site_alloc(100);
	T(!pthread_create(&t, NULL, churn_on, NULL));
	for (int i = 0; i < 20; i++) {
		pid_t pid = fork();

		if (!pid)
			_exit(in_child());
		T_EQ(t_wait(pid), 0);
	}
	stop = true;
	pthread_join(t, NULL);
	site_write(0);
	site_free();
	return T_PASS;
}

static const struct t_case cases[] = {
	{ "overrun", test_overrun },
	{ "underrun", test_underrun },
	{ "use after free", test_use_after_free },
	{ "double free", test_double_free },
	{ "overrun of a few bytes, when it is freed", test_overrun_little },
	{ "free of an inner pointer, or with a wrong size", test_bad_free },
	{ "the program's handler gets what is its own", test_own_handler },
	{ "a handler that calls the one before", test_chain },
	{ "a handler that jumps out", test_jump_out },
	{ "without a handler, and signals that were sent", test_by_default },
	{ "guarded objects are like others", test_like_others },
	{ "reuse is late", test_reuse_is_late },
	{ "slots in locked memory", test_locked },
	{ "slots are bounded", test_bounded },
	{ "one in a hundred", test_one_in_many },
	{ "what threads keep is counted", test_kept },
	{ "threads", test_threads },
	{ "fork", test_fork },
};

int main(int argc, char **argv)
{
	const char *env = getenv("GOHEAPDEBUG");
	char options[256];

	if (!env || !strstr(env, "sample=1")) {
		snprintf(options, sizeof(options), "%s%ssample=1", env ? env : "", env ? "," : "");
		setenv("GOHEAPDEBUG", options, 1);
		execv("/proc/self/exe", argv);
		return 1;
	}
	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
