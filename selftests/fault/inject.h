/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Faults, one at a time.  A thread that wrote N to its /proc/thread-self/fail-nth has
 * the Nth of the allocations and user copies that it makes from then on fail, whoever
 * in the kernel makes it: with N = 1, 2, 3... until a call comes through without having
 * met its fault, each of them has failed once in that call.
 */
#ifndef GOHEAP_TEST_INJECT_H
#define GOHEAP_TEST_INJECT_H

#include <dev.h>

#define DEBUGFS	"/sys/kernel/debug"

static bool can_inject(void)
{
	return is_root() && !access("/proc/self/fail-nth", W_OK) &&
	       !access(DEBUGFS "/failslab", F_OK) &&
	       !access(DEBUGFS "/fail_page_alloc", F_OK) &&
	       !access(DEBUGFS "/fail_usercopy", F_OK);
}
NEED(can_inject, "needs root and a kernel with fault injection (VM_KERNEL=kasan)");

static void must_write(const char *path, const char *text)
{
	int err = file_write(path, text);

	if (!err)
		return;
	printf("Bail out! cannot write %s to %s: %s\n", text, path, strerror(-err));
	exit(1);
}

/* ---- what may fail -------------------------------------------------------------- */

/*
 * All of it, but by fail-nth only.  @verbose: 2 has the log tell of the faults with a
 * stack, 0 not at all.
 */
static void inject_init(const char *verbose)
{
	static const char *const dirs[] = { "failslab", "fail_page_alloc", "fail_usercopy" };
	char path[128];

	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), DEBUGFS "/%s/probability", dirs[i]);
		must_write(path, "0");
		snprintf(path, sizeof(path), DEBUGFS "/%s/verbose", dirs[i]);
		must_write(path, verbose);
		snprintf(path, sizeof(path), DEBUGFS "/%s/verbose_ratelimit_interval_ms", dirs[i]);
		must_write(path, "0");
	}
	must_write(DEBUGFS "/failslab/ignore-gfp-wait", "N");
	must_write(DEBUGFS "/fail_page_alloc/ignore-gfp-wait", "N");
	must_write(DEBUGFS "/fail_page_alloc/ignore-gfp-highmem", "N");
	must_write(DEBUGFS "/fail_page_alloc/min-order", "0");
}

/* ---- one fault ------------------------------------------------------------------ */

/* @fd: the file fail-nth of the thread that is to have it. */
static void inject_arm(int fd, unsigned int n)
{
	char text[16];

	if (pwrite(fd, text, snprintf(text, sizeof(text), "%u", n), 0) < 0) {
		printf("Bail out! cannot write to fail-nth: %s\n", strerror(errno));
		exit(1);
	}
}

/*
 * Whether it happened; in any case there is none to come.  Both the reading and the
 * writing copy, and may be what fails: then it had not happened before.
 */
static bool inject_disarm(int fd)
{
	char text[16] = "";
	bool fired = pread(fd, text, sizeof(text) - 1, 0) > 0 && !atoi(text);

	if (!fired && pwrite(fd, "0", 1, 0) < 0)
		inject_arm(fd, 0);
	return fired;
}

/* ---- where it was --------------------------------------------------------------- */

/* The innermost frame in the module, and a number for all of the stack. */
struct fault {
	char func[96];
	unsigned int off;
	uint64_t stack;
	bool init;		/* inside the module's init function, or beyond */
};

/* One line of a stack as dump_stack() has it: "function+0x1/0x2 [module]". */
static void fault_frame(struct fault *f, const char *frame)
{
	char func[96], module[32] = "";
	unsigned int off, size;

	if (sscanf(frame, " %95[^+ ]+%x/%x [%31[^]]", func, &off, &size, module) < 3)
		return;
	for (const char *c = func; *c; c++)
		f->stack = (f->stack ^ *c) * 0x100000001b3ULL;
	f->stack = (f->stack ^ off) * 0x100000001b3ULL;
	f->init |= !strcmp(func, "do_one_initcall");
	if (!strcmp(module, "goheap") && !f->func[0]) {
		strcpy(f->func, func);
		f->off = off;
	}
}

/* ---- distinct stacks ------------------------------------------------------------ */

struct stacks {
	uint64_t seen[16384];
	unsigned int nr;
};

static void stacks_add(struct stacks *s, uint64_t stack)
{
	unsigned int i;

	for (i = 0; i < s->nr; i++)
		if (s->seen[i] == stack)
			return;
	if (s->nr < sizeof(s->seen) / sizeof(s->seen[0]))
		s->seen[s->nr++] = stack;
}

#endif
