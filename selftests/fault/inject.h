/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Faults, one at a time.  A thread that wrote N to its /proc/thread-self/fail-nth has
 * the Nth of the allocations and user copies that it makes from then on fail, whoever
 * in the kernel makes it: with N = 1, 2, 3... until a call comes through without having
 * met its fault, each of them has failed once in that call.
 *
 * Where a fault was is told by the stack at the return of should_fail_ex(), with a
 * kretprobe and the tracer's trigger `stacktrace`: it tells of all, while the log
 * leaves out those that are not to be warned of.
 */
#ifndef GOHEAP_TEST_INJECT_H
#define GOHEAP_TEST_INJECT_H

#include <dev.h>

#define DEBUGFS	"/sys/kernel/debug"
#define TRACING	"/sys/kernel/tracing"
#define PROBE	TRACING "/events/goheapfault/failed"

static bool can_inject(void)
{
	return is_root() && !access("/proc/self/fail-nth", W_OK) &&
	       !access(DEBUGFS "/failslab", F_OK) &&
	       !access(DEBUGFS "/fail_page_alloc", F_OK) &&
	       !access(DEBUGFS "/fail_usercopy", F_OK) &&
	       !access(TRACING "/kprobe_events", W_OK);
}
NEED(can_inject, "needs root and a kernel with fault injection and kprobe events (VM_KERNEL=kasan)");

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
 * Not what kmemleak has of each object: it would be every second fault, and after one of
 * those the next Nth is not the one that it would have been.  The boot says which caches
 * may fail.
 */
static void inject_caches(void)
{
	bool marked = file_number("/sys/kernel/slab/kmalloc-64/failslab") == 1;

	must_write(DEBUGFS "/failslab/cache-filter", marked ? "Y" : "N");
}

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
	inject_caches();
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

static int trace_pipe = -1;
static bool verbose;

static void trace_init(void)
{
	file_write(PROBE "/enable", "0");
	file_write(TRACING "/kprobe_events", "-:goheapfault/failed");
	must_write(TRACING "/kprobe_events", "r:goheapfault/failed should_fail_ex ret=$retval:u8");
	must_write(PROBE "/filter", "ret != 0");
	must_write(PROBE "/trigger", "stacktrace if ret != 0");
	must_write(TRACING "/options/sym-offset", "1");
	must_write(PROBE "/enable", "1");
	must_write(TRACING "/tracing_on", "1");
	trace_pipe = open(TRACING "/trace_pipe", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
}

static void trace_exit(void)
{
	close(trace_pipe);
	file_write(PROBE "/enable", "0");
	file_write(PROBE "/trigger", "!stacktrace");
	file_write(TRACING "/kprobe_events", "-:goheapfault/failed");
}

/* One line of a stack, " => function+0x1/0x2 [module]" or as dump_stack() has it. */
static void fault_frame(struct fault *f, const char *frame)
{
	char func[96], module[32] = "";
	unsigned int off, size;

	if (sscanf(frame, " %95[^+ ]+%x/%x [%31[^]]", func, &off, &size, module) < 3)
		return;
	if (strstr(func, "rethook")) {
		f->stack = 0;		/* the tracer's own end of it */
		return;
	}
	for (const char *c = func; *c; c++)
		f->stack = (f->stack ^ *c) * 0x100000001b3ULL;
	f->stack = (f->stack ^ off) * 0x100000001b3ULL;
	f->init |= !strcmp(func, "do_one_initcall");
	if (!strcmp(module, "goheap") && !f->func[0]) {
		strcpy(f->func, func);
		f->off = off;
	}
}

/* Reads what the tracer has, up to the last fault. */
static void trace_read(struct fault *f)
{
	static char text[65536];
	size_t len = 0;
	ssize_t n;

	*f = (struct fault){};
	while (len < sizeof(text) - 1 &&
	       (n = read(trace_pipe, text + len, sizeof(text) - 1 - len)) > 0)
		len += n;
	text[len] = 0;
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		if (verbose)
			printf("#%s\n", line);
		if (strstr(line, " failed: "))
			*f = (struct fault){};
		if (!strncmp(line, " => ", 4))
			fault_frame(f, line + 4);
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
