// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * efence, sbrk and allocfreetrace.  Each case runs the program again, with an option and
 * the name of what is to be done.
 */
#define _GNU_SOURCE
#include <goheap.h>
#include "back_test.h"
#include "front_calls.h"

#define NR	1000

static char said[1 << 16];

/* ---- what is run ---- */

static bool seen(void *const *all, int nr, const void *p)
{
	for (int i = 0; i < nr; i++)
		if (all[i] == p)
			return true;
	return false;
}

/* Nothing comes again, of whatever size. */
static int never_again(void)
{
	static void *all[NR];
	const size_t sizes[] = { 10, 100, 5000, 100000 };

	for (int i = 0; i < NR; i++) {
		all[i] = vmalloc(sizes[i % 4]);
		T(all[i] && !seen(all, i, all[i]));
		memset(all[i], 1, sizes[i % 4]);
		vfree(all[i]);
	}
	return 0;
}

/* Pages of their own. */
static int own_pages(void)
{
	char *p = vmalloc(10), *q = vmalloc(10);

	T((uintptr_t)p / 8192 != (uintptr_t)q / 8192);
	T(!((uintptr_t)p % 8192) && !((uintptr_t)q % 8192));
	vfree(p);
	q[0] = 1;
	vfree(q);
	return 0;
}

static int like_others(void)
{
	char *p = vcalloc(10, 10);

	for (int i = 0; i < 100; i++)
		T(!p[i]);
	memset(p, 3, 100);
	p = vrealloc(p, 100000);
	T(p[0] == 3 && p[99] == 3);
	vfree_sized(p, 100000);
	vfree_sized(vmalloc(100), 100);
	p = valigned(256, 100);
	T(!((uintptr_t)p % 256));
	vfree_aligned_sized(p, 256, 100);
	vfree(vmalloc(0));
	return 0;
}

static int use_freed(void)
{
	volatile char *p = vmalloc(100);

	vfree((void *)p);
	return p[5];
}

static int overrun(void)
{
	volatile char *p = vmalloc(100);

	p[8192] = 1;
	return 0;
}

static int free_twice(void)
{
	void *p = vmalloc(100);

	vfree(p);
	vfree(p);
	return 0;
}

static __attribute__((noipa)) void site(void)
{
	void *p = vmalloc(12345);

	printf("%p %p\n", p, (void *)site);
	fflush(stdout);
	vfree(p);
	__asm__ volatile("" ::: "memory");
}

static int traced(void)
{
	setvbuf(stdout, malloc(BUFSIZ), _IOFBF, BUFSIZ);
	site();
	return 0;
}

static const struct t_case runs[] = {
	{ "never_again", never_again },
	{ "own_pages", own_pages },
	{ "like_others", like_others },
	{ "use_freed", use_freed },
	{ "overrun", overrun },
	{ "free_twice", free_twice },
	{ "traced", traced },
};

static int run_one(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(runs); i++)
		if (!strcmp(runs[i].name, name))
			return runs[i].fn();
	return 99;
}

/* ---- cases ---- */

static const char *run_option, *run_name;

static void exec_self(void)
{
	const char *env = getenv("GOHEAPDEBUG");
	char options[256];

	dup2(2, 1);
	snprintf(options, sizeof(options), "%s%s%s", env ? env : "", env ? "," : "", run_option);
	setenv("GOHEAPDEBUG", options, 1);
	execl("/proc/self/exe", "self", "run", run_name, (char *)NULL);
	_exit(98);
}

/* How it ended. */
static int run(const char *option, const char *name)
{
	int ret;

	run_option = option;
	run_name = name;
	ret = t_stderr(exec_self, said, sizeof(said));
	if (ret == 1)
		printf("%s", said);
	return ret;
}

static int test_efence(void)
{
	T_EQ(run("efence=1", "never_again"), 0);
	T_EQ(run("efence=1", "own_pages"), 0);
	T_EQ(run("efence=1", "like_others"), 0);
	T_EQ(run("efence=1,canary=1,junk=1", "like_others"), 0);
	return T_PASS;
}

static int test_efence_traps(void)
{
	T_EQ(run("efence=1", "use_freed"), 256 + SIGSEGV);
	T_EQ(run("efence=1", "overrun"), 256 + SIGSEGV);
	T_EQ(run("efence=1", "free_twice"), 256 + SIGABRT);
	T(strstr(said, "fatal error: free: double free: 0x"));
	return T_PASS;
}

static int test_sbrk(void)
{
	T_EQ(run("sbrk=1", "never_again"), 0);
	T_EQ(run("sbrk=1", "like_others"), 0);
	T_EQ(run("sbrk=1", "free_twice"), 256 + SIGABRT);
	/* And without. */
	T_EQ(run("sbrk=0", "never_again"), 1);
	return T_PASS;
}

static int has_trace(const char *what, unsigned long p, unsigned long fn)
{
	unsigned long pc = 0;
	char head[64];
	const char *at;

	/* Its size is that of its pages, unless canary=1 tells what was asked for. */
	snprintf(head, sizeof(head), "%s(0x%lx, 0x3039)\n", what, p);
	at = strstr(said, head);
	T(at);
	T_EQ(sscanf(at + strlen(head), " 0x%lx", &pc), 1);
	T(pc - fn < 128);
	return T_PASS;
}

static int test_trace(void)
{
	unsigned long p, fn;
	const char *at;

	T_EQ(run("allocfreetrace=1,canary=1", "traced"), 0);
	for (at = said; *at && sscanf(at, "0x%lx 0x%lx\n", &p, &fn) != 2; at += !!*at)
		at = strchrnul(at, '\n');
	T(*at);
	T_SUB(has_trace("tracealloc", p, fn));
	return has_trace("tracefree", p, fn);
}

static const struct t_case cases[] = {
	{ "efence: addresses are not used again", test_efence },
	{ "efence: freed objects trap, and what is behind", test_efence_traps },
	{ "sbrk: addresses are not used again", test_sbrk },
	{ "allocfreetrace", test_trace },
};

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "run"))
		return run_one(argv[2]);
	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
