// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * No room: a memory cgroup that has all that it may have, and swap that is full.  What
 * is idle in a heap goes before any process does, also when it is that of the process
 * that is short of memory; a command that needs memory of the kernel's answers ENOMEM,
 * and the heap is usable after.  Needs root, cgroups, and for one test zram.
 */
#include <module.h>
#include <kselftest_harness.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/swap.h>
#include <sys/syscall.h>

#define CGROUP		"/sys/fs/cgroup/goheap_room_test"
#define SWAP_MB		"24M"
#define ZRAM		"/sys/class/zram-control"

static bool has_memcg(void)
{
	return is_root() && (!access("/sys/fs/cgroup/memory.stat", F_OK) ||
			     mentions("/sys/fs/cgroup/cgroup.controllers", "memory"));
}
NEED(has_memcg, "needs root and the memory controller of cgroup 2");

static char *cg_file(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), CGROUP "/%s", name);
	return path;
}

static void cg_enter(void)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	if (file_write(cg_file("cgroup.procs"), pid))
		_exit(10);
}

/* To what is in use now, so that nothing is left of it. */
static int cg_close(void)
{
	int err = 0;

	for (int i = 0; i < 3 && !err; i++)
		err = file_write(cg_file("memory.max"), file_read(cg_file("memory.current")));
	return err;
}

/*
 * Who has nothing left cannot open a file, nor use a pipe: whose turn it is, the child's
 * or its parent's, is told by a word that they share.
 */
static volatile unsigned int *turn;

static void turn_begin(void)
{
	turn = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	*turn = 0;
}

static void turn_wait(unsigned int which)
{
	while (*turn != which)
		sleep_ms(5);
}

/* False: the child is dead. */
static bool turn_wait_child(unsigned int which, pid_t pid)
{
	siginfo_t si = {};

	while (*turn != which) {
		if (waitid(P_PID, pid, &si, WEXITED | WNOHANG | WNOWAIT) || si.si_pid)
			return false;
		sleep_ms(5);
	}
	return true;
}

FIXTURE(cgroup) {
	int pad;
};

FIXTURE_SETUP(cgroup)
{
	rmdir(CGROUP);
	ASSERT_EQ(0, mkdir(CGROUP, 0755));
}

FIXTURE_TEARDOWN(cgroup)
{
	EXPECT_TRUE(no_heap_soon());
	for (int i = 0; i < 1000 && rmdir(CGROUP); i++)
		sleep_ms(10);
	EXPECT_NE(0, access(CGROUP, F_OK));
}

#define CHILD_MUST(cond)	do {						\
	if (!(cond)) {								\
		fprintf(stderr, "# line %d: %s (errno %d)\n", __LINE__, #cond, errno);	\
		_exit(1);							\
	}									\
} while (0)

/* ---- a memory cgroup at its limit ----------------------------------------------- */

static struct goheap_span spans[GOHEAP_VEC_MAX];

/* Returns the error that ends it, which must be. */
static int alloc_until_refused(int fd, unsigned int *nr)
{
	unsigned int done;
	int err = 0;

	for (*nr = 0; !err && *nr < 120000; *nr += done) {
		for (int i = 0; i < GOHEAP_VEC_MAX; i++)
			spans[i] = (struct goheap_span){ .npages = 1 };
		err = vec(fd, GOHEAP_SPAN_ALLOC, spans, GOHEAP_VEC_MAX, 0, &done);
	}
	return err;
}

/* All commands, where there is nothing left to charge to. */
static void no_headroom(void)
{
	struct goheap_scavenge sc;
	struct goheap_resize r;
	struct goheap_stats st;
	int fd, fd2, err;
	char *arena, *p;
	uint64_t soft, hard;
	unsigned int nr;

	cg_enter();
	/* A page of the program's own that is not there yet would be the end of it. */
	CHILD_MUST(!mlockall(MCL_CURRENT));
	fd = dev_open();
	fd2 = dev_open();
	arena = arena_map(fd, GIB);
	CHILD_MUST(arena != MAP_FAILED);
	p = span_new(fd, 4);
	CHILD_MUST(p);
	fill(p, 4 * PAGE, 1);
	memset(spans, 1, sizeof(spans));
	*turn = 1;
	turn_wait(2);
	CHILD_MUST(alloc_until_refused(fd, &nr) == -ENOMEM);
	CHILD_MUST(!stats(fd, &st) && st.nr_spans == nr + 1);
	CHILD_MUST(filled(p, 4 * PAGE, 1));
	CHILD_MUST(!attach(fd2, p) && !limit_get(fd2, &soft, &hard));
	err = span_resize(fd, p, 2, &r);
	CHILD_MUST(!err || err == -ENOMEM);
	CHILD_MUST(!span_free(fd, p, err ? 4 : 2));
	CHILD_MUST(!scavenge(fd, ALL, &sc) && sc.released_bytes);
	*turn = 3;
	turn_wait(4);
	fprintf(stderr, "# refused after %u spans\n", nr);
	CHILD_MUST((p = span_new(fd, 1000)));
	fill(p, 1000 * PAGE, 2);
	CHILD_MUST(filled(p, 1000 * PAGE, 2));
	_exit(0);
}

TEST_F_TIMEOUT(cgroup, no_headroom, 60)
{
	pid_t pid;

	turn_begin();
	file_write(cg_file("memory.swap.max"), "0");
	pid = fork();
	if (!pid)
		no_headroom();
	if (turn_wait_child(1, pid)) {
		EXPECT_EQ(0, cg_close());
		*turn = 2;
	}
	if (turn_wait_child(3, pid)) {
		EXPECT_EQ(0, file_write(cg_file("memory.max"), "max"));
		*turn = 4;
	}
	EXPECT_EQ(0, reap(pid));
	EXPECT_EQ(0, file_field(cg_file("memory.events"), "oom_kill"));
}

/* ---- locks that others have -------------------------------------------------------- */

static int heap_fd;

/* 24 MiB idle, and then 16 in use. */
static void fill_instead(void)
{
	char *idle[12], *more;

	for (int i = 0; i < 12; i++) {
		idle[i] = span_new(heap_fd, 256);
		CHILD_MUST(idle[i]);
		fill(idle[i], 2 * MIB, i);
	}
	for (int i = 0; i < 12; i++)
		CHILD_MUST(!span_free(heap_fd, idle[i], 256));
	more = mmap(NULL, 16 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHILD_MUST(more != MAP_FAILED);
	/* Small pages: a fault each, which holds the mmap lock while it is short of memory. */
	madvise(more, 16 * MIB, MADV_NOHUGEPAGE);
	fill(more, 16 * MIB, 1);
	munmap(more, 16 * MIB);
}

static void enter_with_heap(void)
{
	cg_enter();
	heap_fd = dev_open();
	CHILD_MUST(arena_map(heap_fd, GIB) != MAP_FAILED);
}

static void *map_and_unmap(void *arg)
{
	for (;;)
		munmap(mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
		       MIB);
	return arg;
}

static void others_map_and_unmap(void)
{
	pthread_t t;

	enter_with_heap();
	for (int i = 0; i < 2; i++)
		CHILD_MUST(!pthread_create(&t, NULL, map_and_unmap, NULL));
	fill_instead();
	_exit(0);
}

TEST_F_TIMEOUT(cgroup, others_wait_for_the_mmap_lock, 60)
{
	pid_t pid;

	ASSERT_EQ(0, file_write(cg_file("memory.max"), "32M"));
	file_write(cg_file("memory.swap.max"), "0");
	pid = fork();
	if (!pid)
		others_map_and_unmap();
	EXPECT_EQ(0, reap(pid));
	EXPECT_EQ(0, file_field(cg_file("memory.events"), "oom_kill"));
}

#define SLOW		"/sys/fs/cgroup/goheap_room_test_slow"

/* Has the heap's locks much of the time, and the CPU for a hundredth of it. */
static int look_for_old(void *arg)
{
	struct goheap_scavenge sc = {
		.size = sizeof(sc), .max_bytes = ALL, .min_age_ns = ALL >> 1,
	};

	while (!ioctl(heap_fd, GOHEAP_SCAVENGE, &sc) && !sc.released_bytes)
		;
	return 1;
}

/* Processes of their own, as of the program's threads none can be in another cgroup. */
static pid_t begin_to_look(int nr)
{
	static char stacks[3][64 << 10] __attribute__((aligned(16)));
	char text[16];
	pid_t pid;

	pid = clone(look_for_old, stacks[nr + 1], CLONE_VM | CLONE_FILES | SIGCHLD, NULL);
	CHILD_MUST(pid > 0);
	snprintf(text, sizeof(text), "%d", pid);
	CHILD_MUST(!file_write(SLOW "/cgroup.procs", text));
	return pid;
}

static void others_have_no_cpu(void)
{
	pid_t pids[3];

	enter_with_heap();
	for (int i = 0; i < 3; i++)
		pids[i] = begin_to_look(i);
	for (int i = 0; i < 50; i++)
		fill_instead();
	for (int i = 0; i < 3; i++) {
		kill(pids[i], SIGKILL);
		CHILD_MUST(reap(pids[i]) == 128 + SIGKILL);
	}
	_exit(0);
}

/* The program would be killed for want of memory in each tenth to twentieth round. */
TEST_F_TIMEOUT(cgroup, who_has_the_lock_has_no_cpu, 120)
{
	pid_t pid;

	file_write("/sys/fs/cgroup/cgroup.subtree_control", "+cpu");
	rmdir(SLOW);
	ASSERT_EQ(0, mkdir(SLOW, 0755));
	if (file_write(SLOW "/cpu.max", "1000 100000"))
		SKIP(goto out, "no limits of CPU time");
	ASSERT_EQ(0, file_write(cg_file("memory.max"), "32M"));
	file_write(cg_file("memory.swap.max"), "0");
	pid = fork();
	if (!pid)
		others_have_no_cpu();
	EXPECT_EQ(0, reap(pid));
	EXPECT_EQ(0, file_field(cg_file("memory.events"), "oom_kill"));
out:
	for (int i = 0; i < 1000 && rmdir(SLOW); i++)
		sleep_ms(10);
}

/* ---- swap is full --------------------------------------------------------------- */

/* Returns the number of a new zram device that is swapped to, or -1. */
static int swap_on(void)
{
	char path[64], cmd[128], *text;
	int id;

	if (access(ZRAM, F_OK))
		system("modprobe zram num_devices=0 2>/dev/null");
	text = file_read(ZRAM "/hot_add");
	if (!text)
		return -1;
	id = atoi(text);
	snprintf(path, sizeof(path), "/sys/block/zram%d/disksize", id);
	if (file_write(path, SWAP_MB))
		return -1;
	snprintf(cmd, sizeof(cmd), "mkswap /dev/zram%d >/dev/null 2>&1", id);
	snprintf(path, sizeof(path), "/dev/zram%d", id);
	return system(cmd) || swapon(path, 0) ? -1 : id;
}

static void swap_off(int id)
{
	char path[64];

	snprintf(path, sizeof(path), "/dev/zram%d", id);
	swapoff(path);
	snprintf(path, sizeof(path), "%d", id);
	file_write(ZRAM "/hot_remove", path);
}

/* Pages out until no more goes; keeps it. */
static void fill_swap(size_t bytes)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHILD_MUST(p != MAP_FAILED);
	fill(p, bytes, 3);
	for (int i = 0; i < 20 && file_field("/proc/meminfo", "SwapFree") > 256; i++)
		madvise(p, bytes, MADV_PAGEOUT);
	CHILD_MUST(file_field("/proc/meminfo", "SwapFree") <= 256);
}

/* 40 MiB in use, 40 idle, and then 40 more in use, where there is room for 100. */
static void swap_is_full(void)
{
	char *used[20], *idle[20], *more[20];
	char *arena;
	int fd;

	cg_enter();
	CHILD_MUST(!file_write(cg_file("memory.max"), "100M"));
	fd = dev_open();
	arena = arena_map(fd, GIB);
	CHILD_MUST(arena != MAP_FAILED);
	for (int i = 0; i < 20; i++) {
		used[i] = span_new(fd, 256);
		idle[i] = span_new(fd, 256);
		fill(used[i], 2 * MIB, i);
		fill(idle[i], 2 * MIB, i);
	}
	for (int i = 0; i < 20; i++)
		CHILD_MUST(!span_free(fd, idle[i], 256));
	fill_swap(32 * MIB);
	for (int i = 0; i < 20; i++) {
		more[i] = mmap(NULL, 2 * MIB, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHILD_MUST(more[i] != MAP_FAILED);
		fill(more[i], 2 * MIB, i);
	}
	for (int i = 0; i < 20; i++)
		CHILD_MUST(filled(used[i], 2 * MIB, i) && filled(more[i], 2 * MIB, i));
	_exit(0);
}

TEST_F_TIMEOUT(cgroup, swap_full, 120)
{
	long long was = file_number(SYSFS "/scav_pressure_bytes");
	int id = swap_on();
	pid_t pid;

	if (id < 0)
		SKIP(return, "no zram, or no mkswap");
	pid = fork();
	if (!pid)
		swap_is_full();
	EXPECT_EQ(0, reap(pid));
	EXPECT_EQ(0, file_field(cg_file("memory.events"), "oom_kill"));
	TH_LOG("%lld MiB released", (file_number(SYSFS "/scav_pressure_bytes") - was) >> 20);
	EXPECT_LT(was, file_number(SYSFS "/scav_pressure_bytes"));
	swap_off(id);
}

TEST_HARNESS_MAIN
