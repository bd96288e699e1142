// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The whole interface at random: every command, good and bad, mixed with all that
 * a program can do to its own memory and descriptors, by several processes at a
 * time, while idle memory is released on demand as fast as can be and khugepaged
 * runs at full speed.  A model says what must hold: who owns which span, what is in
 * it, what each call must answer.  What the kernel thinks of it is in its log.
 *
 *	torture_test [-t SECONDS] [-p PROCESSES] [-s SEED]	(20 s, 3, the clock)
 *
 * The first failure says the operation and the seed, which is enough to find the
 * operation again in a process that has no others beside it.
 *
 * torture.h has the model, torture_cmd.h, _mem.h, _proc.h and _sys.h the operations.
 */
#if !__has_include(<liburing.h>)

#include "dev.h"

static bool has_liburing(void)
{
	return false;
}
NEED(has_liburing, "built without liburing (package liburing-dev)");

int main(void)
{
}

#else

#include "torture_cmd.h"
#include "torture_mem.h"
#include "torture_proc.h"
#include "torture_sys.h"
#include <sys/resource.h>

NEED(is_root, "needs root");

static uint64_t limit_ms;

static const struct {
	const char *name;
	void (*fn)(void);
	unsigned int weight;
} ops[] = {
	{ "alloc", op_alloc, 80 },
	{ "free", op_free, 60 },
	{ "vector", op_vector, 12 },
	{ "resize", op_resize, 20 },
	{ "threads", op_threads, 2 },
	{ "bad", op_bad, 4 },
	{ "bad arguments", op_bad_args, 4 },
	{ "bad vector", op_bad_vec, 4 },
	{ "scavenge", op_scavenge, 12 },
	{ "stats", op_stats, 10 },
	{ "limit", op_limit, 6 },
	{ "ring", op_ring, 1 },
	{ "flood", op_flood, 2 },
	{ "poll", op_poll, 8 },
	{ "attach", op_attach, 4 },
	{ "map again", op_map_again, 2 },
	{ "advise", op_advise, 24 },
	{ "drop", op_drop, 8 },
	{ "lock", op_lock, 6 },
	{ "protect", op_protect, 6 },
	{ "remote", op_remote, 6 },
	{ "direct", op_direct, 6 },
	{ "watch", op_watch, 4 },
	{ "fork", op_fork, 4 },
	{ "trace", op_trace, 2 },
	{ "exec", op_exec, 1 },
	{ "pass", op_pass, 3 },
	{ "orphan", op_orphan, 2 },
	{ "vandal", op_vandal, 2 },
	{ "files", op_files, 3 },
	{ "write files", op_write_files, 2 },
	{ "hidden", op_hidden, 1 },
	{ "arenas", op_arenas, 2 },
	{ "tags", op_tags, 2 },
	{ "parameter", op_parameter, 3 },
	{ "pressure", op_pressure, 3 },
	{ "signals", op_signals, 2 },
};

#define NR_KINDS	(sizeof(ops) / sizeof(ops[0]))

/* What a process reports in the end. */
struct report {
	uint64_t nr_ops, nr[NR_KINDS];
};

static struct report report;

static void step(void)
{
	unsigned int sum = 0, at, i;

	for (i = 0; i < NR_KINDS; i++)
		sum += ops[i].weight;
	at = below(sum);
	for (i = 0; at >= ops[i].weight; i++)
		at -= ops[i].weight;
	op = ops[i].name;
	ops[i].fn();
	report.nr[i]++;
	if (nr_ops++ % 64 == 0)
		look_at_all();
}

/* Its descriptor is the one that it was born with, as in a program with threads. */
static void *releaser(void *arg)
{
	int fd = dup(*(int *)arg);
	struct goheap_scavenge s;

	for (;;) {
		scavenge(fd, ALL, &s);
		sleep_ms(1);
	}
	return NULL;
}

/* Stops when it has a heap, until all have one. */
static void life(uint64_t number, int up)
{
	struct goheap_info i;
	uint64_t end;
	pthread_t t;

	seed += number;
	rng = seed * 2 + 1;
	disk_at = number * DISK_BYTES;
	op = "begin";
	stranger_begin();
	cgroup_begin();
	/* Half of the arenas are not hidden from khugepaged. */
	file_write(PARAMS "/khugepaged", below(2) ? "1" : "0");
	heap = dev_open();
	arena = arena_map(heap, ARENA);
	MUST(arena != MAP_FAILED && !info(heap, &i));
	heap_id = i.heap_id;
	ctl = ctl_map(heap);
	MUST(ctl != MAP_FAILED);
	raise(SIGSTOP);
	MUST(!pthread_create(&t, NULL, releaser, &heap));
	end = now_ms() + limit_ms;
	while (now_ms() < end)
		step();
	look_at_all();
	op = "end";
	for (int c = 0; c < CHILDREN; c++)
		if (children[c])
			must_end(children[c]);
	report.nr_ops = nr_ops;
	MUST(write(up, &report, sizeof(report)) == sizeof(report));
	_exit(0);
}

static void say(const struct report *total, unsigned int nr_procs)
{
	printf("# seed %llu, %u processes, %llu s: %llu operations, %llu a second\n",
	       (unsigned long long)seed, nr_procs, (unsigned long long)limit_ms / 1000,
	       (unsigned long long)total->nr_ops,
	       (unsigned long long)(total->nr_ops * 1000 / limit_ms));
	printf("#");
	for (unsigned int i = 0; i < NR_KINDS; i++)
		printf(" %s %llu%s", ops[i].name, (unsigned long long)total->nr[i],
		       i + 1 < NR_KINDS ? "," : "\n");
}

/* What the kernel is doing for each thread of each process of the test. */
static void say_stacks(void)
{
	fflush(stdout);
	system("for t in $(pgrep -x torture_test | sed 's:.*:/proc/&/task/*:'); do "
	       "echo \"# $t $(cat $t/syscall)\"; sed 's/^/#   /' $t/stack; done 2>&1");
}

static void on_late(int sig)
{
}

/* wait(), but who has not come to an end long after the time for it is killed. */
static pid_t wait_or_kill(const pid_t *pids, unsigned int nr_procs, int *status)
{
	pid_t pid = wait(status);

	if (pid > 0 || errno != EINTR)
		return pid;
	printf("# no end\n");
	say_stacks();
	for (unsigned int i = 0; i < nr_procs; i++)
		kill(pids[i], SIGKILL);
	return wait(status);
}

static int run(unsigned int nr_procs)
{
	struct sigaction late = { .sa_handler = on_late };
	struct report total = {}, one;
	pid_t pids[64], pid;
	int up[2], status, bad = 0;

	if (nr_procs > 64 || pipe(up))
		return 1;
	for (unsigned int i = 0; i < nr_procs; i++) {
		pids[i] = fork();
		if (!pids[i])
			life(i, up[1]);
		waitpid(pids[i], &status, WUNTRACED);
		bad |= !WIFSTOPPED(status);
	}
	for (unsigned int i = 0; i < nr_procs; i++)
		kill(pids[i], bad ? SIGKILL : SIGCONT);
	sigaction(SIGALRM, &late, NULL);
	alarm(limit_ms / 1000 + 240);
	while ((pid = wait_or_kill(pids, nr_procs, &status)) > 0) {
		cgroup_end(pid);
		bad |= status;
		if (status || read(up[0], &one, sizeof(one)) != sizeof(one))
			continue;
		total.nr_ops += one.nr_ops;
		for (unsigned int i = 0; i < NR_KINDS; i++)
			total.nr[i] += one.nr[i];
	}
	say(&total, nr_procs);
	return bad || total.nr_ops < nr_procs * 10;
}

/* Sets the system up, and puts it back. */
static int run_in_system(unsigned int nr_procs)
{
	char sleep_was[32] = "", parameters_were[NR_PARAMETERS][32];
	bool has_swap = swap_begin();
	char *was;
	int bad;

	if (!has_swap)
		printf("# no zram of our own: no swap\n");
	if (!disk_open(nr_procs))
		printf("# no loop device: no direct I/O\n");
	was = file_read(KHUGEPAGED "/scan_sleep_millisecs");
	if (was)
		strcpy(sleep_was, was);
	file_write(KHUGEPAGED "/scan_sleep_millisecs", "0");
	file_write("/sys/kernel/mm/ksm/run", "1");
	parameters_back(parameters_were, false);
	bad = run(nr_procs);
	parameters_back(parameters_were, true);
	file_write("/sys/kernel/mm/ksm/run", "2");
	file_write(KHUGEPAGED "/scan_sleep_millisecs", sleep_was);
	if (has_swap)
		swap_end();
	return bad;
}

int main(int argc, char **argv)
{
	unsigned int nr_procs = 3;
	int opt, bad;

	limit_ms = 20000;
	seed = now_ms() * 1000003;
	while ((opt = getopt(argc, argv, "t:p:s:")) != -1) {
		if (opt == 't')
			limit_ms = strtoull(optarg, NULL, 0) * 1000;
		else if (opt == 'p')
			nr_procs = strtoul(optarg, NULL, 0);
		else if (opt == 's')
			seed = strtoull(optarg, NULL, 0);
		else
			return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("TAP version 13\n1..1\n");
	bad = run_in_system(nr_procs);
	printf("%sok 1 every operation is answered as the model says\n", bad ? "not " : "");
	return bad;
}

#endif
