/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Operations of torture_test: files of sysfs and debugfs, parameters of the module,
 * memory pressure, and what the test needs of the system.
 */
#ifndef GOHEAP_TORTURE_SYS_H
#define GOHEAP_TORTURE_SYS_H

#include "torture_cmd.h"
#include <sys/time.h>

#define KHUGEPAGED	"/sys/kernel/mm/transparent_hugepage/khugepaged"
#define CGROUPS		"/sys/fs/cgroup"
#define TABLES		"/sys/kernel/debug/goheap"

static const char *const stat_files[] = {
	"heap_sys", "heap_inuse", "heap_idle", "heap_released", "nr_spans", "nr_allocs",
	"nr_frees", "nr_grows", "scav_age_bytes", "scav_pressure_bytes", "scav_demand_bytes",
	"scav_skipped", "pressure_events", "meta_bytes",
};

#define NR_STAT_FILES	(sizeof(stat_files) / sizeof(stat_files[0]))

static char *heap_file(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), SYSFS "/%llu/%s", (unsigned long long)heap_id, name);
	return path;
}

/* ---- sysfs --------------------------------------------------------------------------- */

/* What the heap's files say is what the model says. */
static void op_files(void)
{
	unsigned int nr;
	uint64_t inuse = bytes_in_use(&nr);
	uint64_t start, end;
	char *text, total[128];

	MUST(heap_file_number(heap_id, "heap_inuse") == inuse);
	MUST(heap_file_number(heap_id, "nr_spans") == nr);
	MUST(heap_file_number(heap_id, "pid") == getpid());
	MUST(heap_file_number(heap_id, stat_files[below(NR_STAT_FILES)]) >= 0);
	text = file_read(heap_file("comm"));
	MUST(text && *text);
	text = file_read(heap_file("arena"));
	MUST(text && sscanf(text, "0x%lx-0x%lx", &start, &end) == 2);
	MUST(start == (uintptr_t)arena && end == start + ARENA);
	MUST(file_number(SYSFS "/heaps") >= 1);
	snprintf(total, sizeof(total), SYSFS "/%s", stat_files[below(NR_STAT_FILES)]);
	MUST(file_number(total) >= 0);
	MUST(!file_read(heap_file("scavenge")) && file_write(heap_file("pid"), "1") < 0);
}

static bool file_says(const char *name, uint64_t bytes)
{
	char *text = file_read(heap_file(name));

	return text && (bytes == ALL ? !strcmp(text, "max") : strtoull(text, NULL, 0) == bytes);
}

/* Numbers, words, and neither, to the files that can be written. */
static void op_write_files(void)
{
	uint64_t bytes = below(8 * MIB);
	char number[32];
	int err;

	snprintf(number, sizeof(number), below(2) ? "%lu" : "%#lx", bytes);
	err = file_write(heap_file("scavenge"), below(2) ? "all" : number);
	MUST(!err || (err == -EBUSY && is_shared()));
	MUST(file_write(heap_file("scavenge"), "1q") == -EINVAL);
	if (!below(4))
		MUST(!file_write(SYSFS "/scavenge", below(2) ? "all\n" : number));
	MUST(file_write(SYSFS "/scavenge", "al") == -EINVAL);

	MUST(file_says("limit_soft", soft) && file_says("limit_hard", hard));
	MUST(file_write(heap_file("limit_soft"), "-5") == -EINVAL);
	MUST(file_write(heap_file("limit_hard"), "maximal") == -EINVAL);
	bytes = bytes / PAGE * PAGE;
	err = file_write(heap_file("limit_soft"), number);
	MUST(err == (bytes > hard ? -EINVAL : 0));
	soft = err ? soft : bytes;
	err = file_write(heap_file("limit_hard"), number);
	MUST(err == (soft != ALL && bytes < soft ? -EINVAL : 0));
	/* Back: a bound so low is of no use to others. */
	MUST(!file_write(heap_file("limit_hard"), "max\n"));
	MUST(!file_write(heap_file("limit_soft"), "max"));
	soft = hard = most_held = ALL;
}

/* Who cannot see the process cannot see its heap: a child that is alone in its namespace. */
static void op_hidden(void)
{
	pid_t pid = fork();

	if (!pid) {
		munmap(arena, ARENA);
		if (unshare(CLONE_NEWPID))
			_exit(0);
		pid = fork();
		if (pid)
			_exit(reap(pid));
		MUST(!file_read(heap_file("heap_inuse")) && errno == ESRCH);
		MUST(file_write(heap_file("scavenge"), "all") == -ESRCH);
		_exit(0);
	}
	must_end(pid);
}

/* ---- debugfs -------------------------------------------------------------------------- */

/* Our own heap's lines in use, each of which must be a span of the model. */
static unsigned int arenas_lines(FILE *f)
{
	unsigned long id, addr, npages, tag, age;
	unsigned int nr = 0;
	char state[16], line[256];
	int i;

	while (fgets(line, sizeof(line), f)) {
		MUST(sscanf(line, "%lu 0x%lx %lu %15s %lu %lu", &id, &addr, &npages, state, &tag,
			    &age) == 6);
		if (id != heap_id || strcmp(state, "inuse"))
			continue;
		for (i = 0; i < SPANS && spans[i].p != (char *)addr; i++)
			;
		MUST(i < SPANS && spans[i].npages == npages && spans[i].tag == tag);
		nr++;
	}
	return nr;
}

static void op_arenas(void)
{
	FILE *f = fopen(TABLES "/arenas", "r");
	char some[200];
	unsigned int nr;

	if (!f)
		return;
	bytes_in_use(&nr);
	/* From the middle, and then from the beginning. */
	fseek(f, 1 + below(2000), SEEK_SET);
	fgets(some, sizeof(some), f);
	rewind(f);
	MUST(arenas_lines(f) == nr);
	fclose(f);
}

static void op_tags(void)
{
	FILE *f = fopen(TABLES "/spans", "r");
	unsigned long id, tag, n, bytes, nr_sum = 0, bytes_sum = 0;
	unsigned int nr;
	uint64_t inuse = bytes_in_use(&nr);

	if (!f)
		return;
	while (fscanf(f, "%lu %lu %lu %lu\n", &id, &tag, &n, &bytes) == 4) {
		nr_sum += id == heap_id ? n : 0;
		bytes_sum += id == heap_id ? bytes : 0;
	}
	MUST(nr_sum == nr && bytes_sum == inuse);
	fclose(f);
}

/* ---- parameters ------------------------------------------------------------------------- */

/* What each may be set to, by turns, and what it must not.  An arena as long as ours fits. */
static const struct parameter {
	const char *name, *good[4], *bad;
} parameters[] = {
	{ "scavenge_limit_ms", { "0", "20", "1", "300000" }, "x" },
	{ "scavenge_cpu_percent", { "1", "100", "7", "50" }, "101" },
	{ "scavenge_cpu_percent", { "1", "100", "7", "50" }, "one" },
	{ "max_arena", { "549755813888", "134217728", "268435456", "~" }, "big" },
	{ "max_heaps_per_user", { "4096", "0", "5", "6" }, "-1" },
	{ "max_spans", { "0", "4194304", "20", "1" }, "many" },
	{ "khugepaged", { "0", "1", "1", "0" }, "always" },
};

#define NR_PARAMETERS	(sizeof(parameters) / sizeof(parameters[0]))

static char *parameter_file(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), PARAMS "/%s", name);
	return path;
}

/* Only those who open heaps later, which all can do without, notice. */
static void op_parameter(void)
{
	const struct parameter *p = &parameters[below(NR_PARAMETERS)];

	file_write(parameter_file(p->name), p->good[below(4)]);
	MUST(file_write(parameter_file(p->name), p->bad) < 0);
	MUST(file_read(parameter_file(p->name)));
	if (below(8))
		return;
	/* For a moment only, for the log's sake. */
	file_write(parameter_file("gctrace"), "1");
	sleep_ms(25);
	file_write(parameter_file("gctrace"), "0");
}

static void parameters_back(char (*was)[32], bool write)
{
	for (unsigned int i = 0; i < NR_PARAMETERS; i++) {
		if (write)
			file_write(parameter_file(parameters[i].name), was[i]);
		else
			strcpy(was[i], file_read(parameter_file(parameters[i].name)) ?: "");
	}
}

/* ---- pressure ------------------------------------------------------------------------------ */

static char cgroup[64];		/* ours; empty: none */

static bool cgroup_write(const char *file, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", cgroup, file);
	return !file_write(path, text);
}

/* Charged to it is what is allocated from now on, the heap too. */
static void cgroup_begin(void)
{
	snprintf(cgroup, sizeof(cgroup), CGROUPS "/goheap_torture.%d", getpid());
	if (mkdir(cgroup, 0755) || !cgroup_write("cgroup.procs", "0"))
		cgroup[0] = 0;
}

static void cgroup_end(pid_t pid)
{
	snprintf(cgroup, sizeof(cgroup), CGROUPS "/goheap_torture.%d", pid);
	rmdir(cgroup);
}

static void op_pressure(void)
{
	char text[16];

	if (!below(4)) {
		MUST(!file_write("/proc/sys/vm/drop_caches", "2"));
	} else if (cgroup[0]) {
		snprintf(text, sizeof(text), "%dM", (int)(1 + below(6)));
		cgroup_write("memory.reclaim", text);
		/*
		 * Setting it reclaims.  Left as it is, with the swap full, it would
		 * have each fault sleep for up to 2 s, with the mmap lock held.
		 */
		snprintf(text, sizeof(text), "%dM", (int)(64 + below(100)));
		cgroup_write("memory.high", text);
		cgroup_write("memory.high", "max");
	}
}

/* Signals come all the time, and restart what they interrupt. */
static void on_alarm(int sig)
{
}

static void op_signals(void)
{
	struct itimerval often = { { 0, 1 + below(20000) }, { 0, 1 + below(20000) } };
	struct itimerval never = {};
	struct sigaction sa = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };

	has_signals = true;
	MUST(!sigaction(SIGALRM, &sa, NULL));
	MUST(!setitimer(ITIMER_REAL, below(3) ? &often : &never, NULL));
}

/* ---- before and after --------------------------------------------------------------------- */

/* Swap of our own, where there is zram and nobody else has it. */
static bool swap_begin(void)
{
	return !system("modprobe -q zram; test -b /dev/zram0 && ! grep -q zram0 /proc/swaps && "
		       "echo 256M >/sys/block/zram0/disksize && mkswap /dev/zram0 >/dev/null && "
		       "swapon /dev/zram0");
}

static void swap_end(void)
{
	if (system("swapoff /dev/zram0 && echo 1 >/sys/block/zram0/reset"))
		printf("# zram0 stays\n");
}

#endif
