// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What many heaps cost: opens so many, each with a span that has one page of memory,
 * and prints what a pass of the age worker over all of them takes, what the shrinker
 * takes to say what it has, under reclaim and when an administrator asks, and what a
 * heap takes of kernel memory.
 *
 * Times of functions are those of the function graph tracer, without those in which
 * the function did not run.  Where virtual time counts instructions (see vm.sh), read
 * 1,000 of them for 1 us.
 *
 *	heaps_speed [HEAPS]	(5000)
 *
 * For root, in a virtual machine: it writes to parameters of the module, to the tracer
 * and to drop_caches, and leaves them changed.
 */
#include "device.h"
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define TRACING	"/sys/kernel/tracing"
#define PARAMS	"/sys/module/goheap/parameters"
#define SYSFS	"/sys/class/misc/goheap"
#define DROP	"/proc/sys/vm/drop_caches"
#define CGROUP	"/sys/fs/cgroup/heaps_speed"

#define MAX_HEAPS	20000
#define WARM_UPS	3

/* A pass comes half of it later: what was freed just before is not old then. */
#define LIMIT_MS	20000

static struct heap heaps[MAX_HEAPS];
static struct goheap_span spans[MAX_HEAPS];
static unsigned int nr_heaps = 5000;

static bool try_put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) >= 0;
	int err = errno;

	close(fd);
	errno = err;
	return done;
}

static void put(const char *path, const char *text)
{
	if (!try_put(path, text))
		die(path);
}

/* The number behind @key in a file of lines. */
static long field(const char *path, const char *key)
{
	char line[256];
	long value = -1;
	FILE *f = fopen(path, "r");

	if (!f)
		die(path);
	while (value < 0 && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			value = atol(line + strlen(key));
	fclose(f);
	return value;
}

/* ---- the heaps ---------------------------------------------------------------- */

static void open_one(unsigned int i)
{
	heaps[i] = open_heap();
}

static void close_one(unsigned int i)
{
	close_heap(&heaps[i]);
}

/* One page of the heap's, with one of memory. */
static void use_span(unsigned int i)
{
	spans[i] = (struct goheap_span){ .npages = 1 };
	span_command(heaps[i].fd, GOHEAP_SPAN_ALLOC, &spans[i], 1, 0);
	*(volatile char *)spans[i].addr = 1;
}

static void free_span(unsigned int i)
{
	spans[i].flags = 0;
	span_command(heaps[i].fd, GOHEAP_SPAN_FREE, &spans[i], 1, 0);
}

static void for_all(void (*fn)(unsigned int))
{
	for (unsigned int i = 0; i < nr_heaps; i++)
		fn(i);
}

static void time_all(const char *what, void (*fn)(unsigned int))
{
	uint64_t start = now_ns();

	for_all(fn);
	printf("%-44s%10.1f us each\n", what, (now_ns() - start) / 1e3 / nr_heaps);
}

static void open_use_close(void)
{
	for_all(open_one);
	for_all(use_span);
	for_all(free_span);
	for_all(close_one);
}

/* ---- the tracer --------------------------------------------------------------- */

static void trace(const char *function)
{
	put(TRACING "/tracing_on", "0");
	put(TRACING "/current_tracer", "nop");
	put(TRACING "/options/sleep-time", "0");
	put(TRACING "/set_ftrace_filter", function);
	put(TRACING "/current_tracer", "function_graph");
	put(TRACING "/tracing_on", "1");
}

/* The microseconds in a line of the trace, or -1. */
static double duration(const char *line)
{
	const char *us = strstr(line, " us ");

	if (line[0] == '#' || !us)
		return -1;
	while (us > line && strchr("0123456789.", us[-1]))
		us--;
	return atof(us);
}

/* The calls since trace(). */
static void print_traced(const char *what)
{
	double sum = 0, longest = 0;
	unsigned int nr = 0;
	char line[256];
	FILE *f;

	put(TRACING "/tracing_on", "0");
	f = fopen(TRACING "/trace", "r");
	if (!f)
		die(TRACING "/trace");
	while (fgets(line, sizeof(line), f)) {
		double us = duration(line);

		if (us < 0)
			continue;
		sum += us;
		longest = us > longest ? us : longest;
		nr++;
	}
	fclose(f);
	put(TRACING "/current_tracer", "nop");
	printf("%-44s%10.1f us in %u calls, the longest %.1f\n", what, sum, nr, longest);
}

/* ---- what is measured --------------------------------------------------------- */

/* Takes three quarters of the limit. */
static void age_pass(const char *what)
{
	long before = field(SYSFS "/scav_age_bytes", "");
	char ms[16];

	trace("goheap_age_work_fn");
	snprintf(ms, sizeof(ms), "%d", LIMIT_MS);
	put(PARAMS "/scavenge_limit_ms", ms);
	usleep(LIMIT_MS * 750);
	print_traced(what);
	put(PARAMS "/scavenge_limit_ms", "0");
	if (field(SYSFS "/scav_age_bytes", "") != before)
		printf("  in which it released %ld KiB\n",
		       (field(SYSFS "/scav_age_bytes", "") - before) / 1024);
}

static void ages(void)
{
	age_pass("a pass of the age worker, nothing is old");
	age_pass("the next, all is");
	age_pass("the next, nothing is left");
	for_all(use_span);
	age_pass("all is in use");
	for_all(free_span);
}

static void counts(void)
{
	trace("goheap_shrink_count");
	if (!try_put(CGROUP "/memory.reclaim", "1M") && errno != EAGAIN)
		die(CGROUP "/memory.reclaim");
	print_traced("shrinker's count under reclaim");
	trace("goheap_shrink_count");
	put(DROP, "2");
	print_traced("for drop_caches, which is told the truth");
}

/* Kernel memory: all slabs, and what this cgroup is charged with. */
struct memory {
	long slab, charged_slab, charged;
};

static struct memory memory(void)
{
	sleep(2);	/* for RCU */
	return (struct memory) {
		.slab = field("/proc/meminfo", "Slab:") * 1024,
		.charged_slab = field(CGROUP "/memory.stat", "slab "),
		.charged = field(CGROUP "/memory.stat", "kernel "),
	};
}

static void print_memory(const char *what, const struct memory *from)
{
	struct memory to = memory();

	printf("%-44s%10.1f bytes of each charged, %.1f of slabs not\n", what,
	       (double)(to.charged - from->charged) / nr_heaps,
	       (double)(to.slab - from->slab - (to.charged_slab - from->charged_slab)) / nr_heaps);
}

/* What slabs and the tracer keep of the first times is no heap's. */
static void warm_up(void)
{
	trace("goheap_age_work_fn");
	put(TRACING "/current_tracer", "nop");
	for (int i = 0; i < WARM_UPS; i++)
		open_use_close();
}

static void prepare(void)
{
	struct rlimit files = { MAX_HEAPS + 64, MAX_HEAPS + 64 };

	if (setrlimit(RLIMIT_NOFILE, &files))
		die("RLIMIT_NOFILE");
	/* One page of memory for each, not 2 MiB. */
	if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0))
		die("PR_SET_THP_DISABLE");
	if (mkdir(CGROUP, 0755) && errno != EEXIST)
		die(CGROUP);
	put(CGROUP "/cgroup.procs", "0");
	put(PARAMS "/max_heaps_per_user", "20000");
	put(PARAMS "/scavenge_cpu_percent", "100");
	put(PARAMS "/scavenge_limit_ms", "0");
}

int main(int argc, char **argv)
{
	struct memory before, opened;

	if (argc > 1)
		nr_heaps = atoi(argv[1]);
	if (!nr_heaps || nr_heaps > MAX_HEAPS)
		nr_heaps = MAX_HEAPS;
	setlinebuf(stdout);
	prepare();
	warm_up();
	before = memory();
	printf("%u heaps\n", nr_heaps);
	time_all("open and map an arena", open_one);
	print_memory("kernel memory", &before);
	opened = memory();
	time_all("the first span, touched", use_span);
	print_memory("kernel memory for it", &opened);
	time_all("free it", free_span);
	ages();
	counts();
	time_all("unmap and close", close_one);
	print_memory("kernel memory that is left", &before);
	open_use_close();
	print_memory("and after all that once more", &before);
	printf("heaps %ld, meta_bytes %ld, heap_sys %ld\n", field(SYSFS "/heaps", ""),
	       field(SYSFS "/meta_bytes", ""), field(SYSFS "/heap_sys", ""));
	return 0;
}
