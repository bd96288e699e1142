// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Release under memory pressure, and the word in the control page that tells of
 * it.  The shrinkers are called by way of /proc/sys/vm/drop_caches, and by a
 * memory cgroup that is too small.  Needs root.
 */
#include "tracing.h"
#include <kselftest_harness.h>

NEED(is_root, "needs root");

#define ARENA	(512 * MIB)
#define IDLE	(128 * MIB)
#define DROP	"/proc/sys/vm/drop_caches"
#define BATCH	(2 * MIB)
#define CGROUP	"/sys/fs/cgroup/goheap_test"
#define LIMIT	(400 * MIB)
#define NEIGHBOUR	(150 * MIB)

FIXTURE(heap) {
	int fd;
	char *live, *idle;
	volatile struct goheap_ctl *ctl;
};

FIXTURE_SETUP(heap)
{
	self->fd = dev_open();
	ASSERT_NE(MAP_FAILED, arena_map(self->fd, ARENA));
	self->ctl = ctl_map(self->fd);
	ASSERT_NE(MAP_FAILED, self->ctl);
	self->live = span_new(self->fd, 4 * MIB / PAGE);
	self->idle = span_new(self->fd, IDLE / PAGE);
	fill(self->live, 4 * MIB, 1);
	memset(self->idle, 1, IDLE);
	ASSERT_EQ(0, span_free(self->fd, self->idle, 0));
}

FIXTURE_TEARDOWN(heap)
{
	struct goheap_stats st;

	EXPECT_TRUE(filled(self->live, 4 * MIB, 1));
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(self->ctl->pressure_gen, st.pressure_events);
	close(self->fd);
}

TEST_F(heap, a_scan_raises_the_generation_and_releases)
{
	uint64_t gen = self->ctl->pressure_gen;
	struct goheap_stats st;

	ASSERT_EQ(0, file_write(DROP, "2"));
	EXPECT_GT(self->ctl->pressure_gen, gen);
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_GE(st.scav_pressure_bytes, 2 * MIB);
	EXPECT_EQ(0, st.scav_age_bytes + st.scav_demand_bytes);
	EXPECT_EQ(st.scav_pressure_bytes, IDLE - (st.heap_idle - st.heap_released));
}

/*
 * Nothing is idle that the kernel knows of; the library may know better.  The first
 * call may find that too little to ask for, and only remembers it.
 */
TEST_F(heap, the_generation_rises_with_nothing_idle)
{
	struct goheap_scavenge sc;
	uint64_t gen;

	ASSERT_EQ(0, scavenge(self->fd, ALL, &sc));
	gen = self->ctl->pressure_gen;
	ASSERT_EQ(0, file_write(DROP, "2"));
	ASSERT_EQ(0, file_write(DROP, "2"));
	EXPECT_GT(self->ctl->pressure_gen, gen);
}

/* What is less than two batches may stay, until the next time. */
TEST_F(heap, all_of_it_at_once)
{
	struct goheap_stats st;
	int n = 0;

	ASSERT_EQ(0, file_write(DROP, "2"));
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_GT(st.scav_pressure_bytes, IDLE - 2 * BATCH);
	while (st.scav_pressure_bytes < IDLE && ++n < 5) {
		ASSERT_EQ(0, file_write(DROP, "2"));
		ASSERT_EQ(0, stats(self->fd, &st));
	}
	EXPECT_EQ(IDLE, st.scav_pressure_bytes);
	EXPECT_TRUE(is_zero(self->idle, IDLE));
}

/* One heap with nothing to give does not hide the next. */
TEST_F(heap, all_heaps_are_reached)
{
	int fd[8];
	volatile struct goheap_ctl *ctl[8];
	struct goheap_stats st;

	for (int i = 0; i < 8; i++) {
		char *p;

		fd[i] = dev_open();
		ASSERT_NE(MAP_FAILED, arena_map(fd[i], 64 * MIB));
		ctl[i] = ctl_map(fd[i]);
		p = span_new(fd[i], 4 * MIB / PAGE);
		memset(p, 1, 4 * MIB);
		ASSERT_EQ(0, span_free(fd[i], p, 0));
	}
	for (int n = 0; n < 5; n++)
		ASSERT_EQ(0, file_write(DROP, "2"));
	for (int i = 0; i < 8; i++) {
		EXPECT_GT(ctl[i]->pressure_gen, 0);
		ASSERT_EQ(0, stats(fd[i], &st));
		EXPECT_EQ(4 * MIB, st.scav_pressure_bytes);
		close(fd[i]);
	}
}

#define PIECE	(64 * 1024UL)
/* Since 6.2 each CPU counts up to 32 pages of a process by itself: the scan sees so much less. */
#define UNSEEN	(2 * 32 * 4096UL)

/* A heap with so much idle, in pieces among what is in use; its descriptor, or -1. */
static int heap_with_pieces(size_t bytes)
{
	int fd = dev_open(), nr = 2 * bytes / PIECE;
	char *p[nr];

	if (arena_map(fd, ARENA) == MAP_FAILED)
		return -1;
	for (int i = 0; i < nr; i++) {
		p[i] = span_new(fd, PIECE / PAGE);
		if (!p[i])
			return -1;
		memset(p[i], 1, PIECE);
	}
	for (int i = 0; i < nr; i += 2)
		if (span_free(fd, p[i], 0))
			return -1;
	return fd;
}

/* Of scans, as traced, each of which tells all heaps first: how much the greediest released... */
struct scans {
	uint64_t most;
	int shared;		/* ... and how many took from two heaps */
};

static struct scans scans_traced(void)
{
	struct scans scans = {};
	FILE *f = trace_lines();
	unsigned int id, last = 0;
	uint64_t sum = 0;
	char line[512];

	while (f && fgets(line, sizeof(line), f)) {
		char *p = strstr(line, "goheap_scavenge: ");
		unsigned long long bytes;

		if (strstr(line, "goheap_pressure: "))
			sum = last = 0;
		if (!p || sscanf(p, "%*s heap=%u cause=pressure bytes=%llu", &id, &bytes) != 2)
			continue;
		sum += bytes;
		scans.most = sum > scans.most ? sum : scans.most;
		scans.shared += last && id != last;
		last = id;
	}
	if (f)
		fclose(f);
	return scans;
}

/*
 * What is asked for, and at most one run more, however many heaps it is taken from.  Both
 * use whole blocks of 2 MiB, or what lies behind would go with the last and count too.
 */
TEST(a_scan_takes_no_more_than_is_asked_for)
{
	int few = heap_with_pieces(BATCH / 2), many = heap_with_pieces(4 * BATCH);
	struct scans scans;

	ASSERT_GE(few, 0);
	ASSERT_GE(many, 0);
	if (!trace_begin(getpid(), "goheap"))
		SKIP(return, "needs tracefs");
	EXPECT_EQ(0, file_write(DROP, "2"));
	scans = scans_traced();
	trace_end();
	EXPECT_GE(scans.shared, 1);
	EXPECT_GE(scans.most, BATCH);
	EXPECT_LE(scans.most, BATCH + PIECE + UNSEEN);
}

TEST_F(heap, a_forked_child_is_respected)
{
	uint64_t gen = self->ctl->pressure_gen;
	struct goheap_stats st;
	pid_t pid = fork();

	if (!pid)
		for (;;)
			pause();
	ASSERT_EQ(0, file_write(DROP, "2"));
	EXPECT_GT(self->ctl->pressure_gen, gen);
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(0, st.scav_pressure_bytes);
	EXPECT_GT(st.scav_skipped, 0);
	kill(pid, SIGKILL);
	reap(pid);
}

/* ---- in a memory cgroup ------------------------------------------------------------ */

static int cgroup_write(const char *file, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), CGROUP "/%s", file);
	return file_write(path, text);
}

static long cgroup_field(const char *key)
{
	return file_field(CGROUP "/memory.events", key);
}

static int enter(void)
{
	return cgroup_write("cgroup.procs", "0");
}

/* Leaves @idle bytes idle, among what is in use, and stops. */
static void holder(int up, size_t idle, size_t step)
{
	int fd = dev_open();
	char *p;

	if (enter() || arena_map(fd, 2 * GIB) == MAP_FAILED)
		_exit(1);
	for (size_t i = 0; i < idle; i += step) {
		struct goheap_span s;

		if (span_alloc(fd, step / PAGE, 0, &s))
			_exit(2);
		memset((void *)s.addr, 1, step);
	}
	p = span_new(fd, 4 * MIB / PAGE);
	fill(p, 4 * MIB, 1);
	for (char *q = p - idle; q < p; q += step)
		if (span_free(fd, q, 0))
			_exit(3);
	if (write(up, &fd, sizeof(fd)) != sizeof(fd))
		_exit(4);
	raise(SIGSTOP);
	/* What is in use is still there. */
	_exit(filled(p, 4 * MIB, 1) ? 0 : 5);
}

static void neighbour(size_t bytes)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (enter())
		_exit(1);
	memset(p, 1, bytes);
	_exit(0);
}

static void starve(struct __test_metadata *_metadata, size_t step)
{
	int up[2], x, status;
	uint64_t released, need;
	pid_t pid, pid2;
	long before;

	ASSERT_EQ(0, pipe(up));
	pid = fork();
	if (!pid)
		holder(up[1], 300 * MIB, step);
	ASSERT_EQ(sizeof(x), read(up[0], &x, sizeof(x)));
	ASSERT_EQ(pid, waitpid(pid, &status, WUNTRACED));
	before = file_number(CGROUP "/memory.current");
	ASSERT_GE(before, (long)(300 * MIB));
	released = file_number(SYSFS "/scav_pressure_bytes");
	pid2 = fork();
	if (!pid2)
		neighbour(NEIGHBOUR);
	EXPECT_EQ(0, reap(pid2));
	released = file_number(SYSFS "/scav_pressure_bytes") - released;
	need = before + NEIGHBOUR - LIMIT;
	TH_LOG("needed %llu MiB, released %llu MiB", (unsigned long long)need >> 20,
	       (unsigned long long)released >> 20);
	EXPECT_GE(released, need);
	EXPECT_LE(released, need + need / 4);
	EXPECT_EQ(0, cgroup_field("oom "));
	EXPECT_EQ(0, cgroup_field("oom_kill"));
	kill(pid, SIGCONT);
	EXPECT_EQ(0, reap(pid));
}

FIXTURE(cgroup) {
	bool made;
};

FIXTURE_SETUP(cgroup)
{
	file_write("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	if (mkdir(CGROUP, 0755) || access(CGROUP "/memory.max", W_OK)) {
		rmdir(CGROUP);
		return;
	}
	self->made = true;
	ASSERT_EQ(0, cgroup_write("memory.max", "400M"));
}

FIXTURE_TEARDOWN(cgroup)
{
	for (int i = 0; self->made && i < 100 && rmdir(CGROUP); i++)
		sleep_ms(20);
}

TEST_F_TIMEOUT(cgroup, a_stopped_process_with_one_idle_block_is_asked, 60)
{
	if (!self->made)
		SKIP(return, "needs cgroup2 with the memory controller");
	starve(_metadata, 300 * MIB);
}

TEST_F_TIMEOUT(cgroup, a_stopped_process_with_many_idle_spans_is_asked, 60)
{
	if (!self->made)
		SKIP(return, "needs cgroup2 with the memory controller");
	starve(_metadata, 64 * 1024);
}

/* One with pieces that are idle among what is in use, and a younger one with a block. */
/*
 * By memory.high, which looks at what is in use after each pass.  memory.reclaim counts
 * what it was credited with, and since 6.4 that is nothing of ours.
 */
static void reclaim(uint64_t bytes)
{
	uint64_t current = file_number(CGROUP "/memory.current");
	char high[32];

	snprintf(high, sizeof(high), "%llu",
		 (unsigned long long)(current > bytes ? current - bytes : 0));
	cgroup_write("memory.high", high);
	cgroup_write("memory.high", "max");
}

static int whole_blocks_first(void)
{
	int pieces = dev_open(), block = dev_open();
	struct goheap_stats a, b;
	char *p;

	if (enter() || arena_map(pieces, ARENA) == MAP_FAILED ||
	    arena_map(block, ARENA) == MAP_FAILED)
		return 1;
	for (int i = 0; i < 256; i++) {
		p = span_new(pieces, 8);
		memset(p, 1, 8 * PAGE);
		if (i % 2 && span_free(pieces, p, 0))
			return 2;
	}
	p = span_new(block, 64 * MIB / PAGE);
	memset(p, 1, 64 * MIB);
	if (span_free(block, p, 0))
		return 3;
	reclaim(16 * MIB);
	if (stats(pieces, &a) || stats(block, &b))
		return 4;
	if (a.scav_pressure_bytes || !b.scav_pressure_bytes || !a.pressure_events)
		return 5;
	/* There is not so much, but for the pieces. */
	reclaim(128 * MIB);
	if (stats(pieces, &a) || stats(block, &b))
		return 6;
	return a.scav_pressure_bytes && b.scav_pressure_bytes == 64 * MIB ? 0 : 7;
}

TEST_F_TIMEOUT(cgroup, whole_blocks_of_one_heap_go_before_pieces_of_another, 60)
{
	pid_t pid;

	if (!self->made)
		SKIP(return, "needs cgroup2 with the memory controller");
	pid = fork();
	if (!pid)
		_exit(whole_blocks_first());
	EXPECT_EQ(0, reap(pid));
}

TEST_HARNESS_MAIN
