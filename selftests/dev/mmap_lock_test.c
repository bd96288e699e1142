// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * That the module takes the mmap lock for reading only, and not at all for releasing
 * memory, whoever makes it do so, but that of an arena which khugepaged may have.  A
 * lock that is taken for writing keeps every page fault of the process waiting: that is
 * what mmap() and munmap() cost a threaded program, and spans do not.  And one that has
 * to be taken keeps memory from being released inside of a fault.
 *
 * The kernel's tracepoint for the lock is recorded, with the stack, while all
 * commands are given and all causes release memory.  Looked for are events with a
 * function of the module on the stack, and events of this process, which does
 * nothing that needs the lock for writing.  That such would be found is shown by
 * mmap() itself, and by a command whose argument is where the stack has yet to
 * grow: the page fault in the middle of the command takes the lock for writing.
 * Needs root.
 */
#include "dev.h"
#include <kselftest_harness.h>

#if __has_include(<liburing.h>)
#include "ring.h"
#endif

#define TRACING		"/sys/kernel/tracing"
#define INSTANCE	TRACING "/instances/goheap_mmap_lock"
#define EVENT		INSTANCE "/events/mmap_lock/mmap_lock_start_locking"
#define AGE		PARAMS "/scavenge_limit_ms"
#define DROP		"/proc/sys/vm/drop_caches"
#define ARENA		(256 * MIB)
#define SPAN		(MIB / PAGE)
#define BELOW_STACK	(2 * MIB)

NEED(is_root, "needs root");

static bool has_tracepoint(void)
{
	return !access(TRACING "/events/mmap_lock/mmap_lock_start_locking/filter", W_OK) &&
	       !access(TRACING "/options/stacktrace", W_OK);
}
NEED(has_tracepoint, "the kernel has no tracepoints of the mmap lock, or they are not mounted");

/* ---- what was seen ------------------------------------------------------------- */

/*
 * Ways into the module, by a function that is on the stack then: the first of the
 * module, or where that is left by a jump to the next, the kernel's that called it.
 */
enum { BY_IOCTL, BY_SYSFS, BY_PRESSURE, BY_AGE, BY_LIMIT, BY_RING, NR_WAYS };
static const char *const ways[NR_WAYS] = {
	"=> __x64_sys_ioctl", "=> kernfs_fop_write_iter", "=> goheap_shrink_scan",
	"=> goheap_age_work_fn", "=> goheap_soft_pass", "=> io_uring_cmd",
};

struct seen {
	int own_writes;		/* by the main thread of this process */
	int module_writes;	/* with a function of the module on the stack */
	int module_reads;
	int reads_by[NR_WAYS];
	int lost;		/* events for which the buffer was too small */
};

struct event {
	bool write, own, module, by[NR_WAYS];
};

static void count_event(struct seen *s, const struct event *e)
{
	s->own_writes += e->write && e->own;
	s->module_writes += e->write && e->module;
	s->module_reads += !e->write && e->module;
	for (int i = 0; i < NR_WAYS; i++)
		s->reads_by[i] += !e->write && e->module && e->by[i];
}

/* A line of an event: "comm-pid [cpu] flags time: name: mm=... write=true". */
static void begin_event(struct event *e, const char *line)
{
	char own[32];

	snprintf(own, sizeof(own), "-%d ", getpid());
	*e = (struct event) {
		.write = strstr(line, "write=true"),
		.own = strstr(line, own),
	};
}

/* A line of its stack: " => name". */
static void add_function(struct event *e, const char *line)
{
	e->module |= strstr(line, "=> goheap_") || strstr(line, "=> gh_");
	for (int i = 0; i < NR_WAYS; i++)
		e->by[i] |= strstr(line, ways[i]) != NULL;
}

static void read_trace(struct seen *s)
{
	FILE *f = fopen(INSTANCE "/trace", "r");
	struct event e = {};
	char line[1024];

	while (f && fgets(line, sizeof(line), f)) {
		if (strstr(line, "mmap_lock_start_locking:")) {
			count_event(s, &e);
			begin_event(&e, line);
		} else if (strstr(line, " => ")) {
			add_function(&e, line);
		}
	}
	count_event(s, &e);
	if (f)
		fclose(f);
}

static int overruns(void)
{
	char path[128];
	int n = 0, cpus = sysconf(_SC_NPROCESSORS_CONF);

	for (int i = 0; i < cpus; i++) {
		snprintf(path, sizeof(path), INSTANCE "/per_cpu/cpu%d/stats", i);
		n += file_field(path, "overrun") != 0;
	}
	return n;
}

/* ---- recording ------------------------------------------------------------------- */

/* Of the reads, which are many, only those by whom the module may be called here. */
static int record(void)
{
	char filter[160];

	snprintf(filter, sizeof(filter), "write == 1 || common_pid == %d || "
		 "comm ~ \"kworker*\" || comm ~ \"iou-wrk*\"", getpid());
	return file_write(INSTANCE "/buffer_size_kb", "4096") |
	       file_write(INSTANCE "/options/stacktrace", "1") |
	       file_write(EVENT "/filter", filter) |
	       file_write(EVENT "/enable", "1") |
	       file_write(INSTANCE "/trace", "\n");
}

static struct seen stop_recording(void)
{
	struct seen s = {};

	file_write(EVENT "/enable", "0");
	s.lost = overruns();
	read_trace(&s);
	return s;
}

FIXTURE(lock) {
	char age[32];
	int fd;
	struct goheap_info i;
};

FIXTURE_SETUP(lock)
{
	char *was = file_read(AGE);

	ASSERT_NE(NULL, was);
	strcpy(self->age, was);
	ASSERT_TRUE(!mkdir(INSTANCE, 0700) || errno == EEXIST);
	self->fd = dev_open();
	ASSERT_NE(MAP_FAILED, arena_map(self->fd, ARENA));
	ASSERT_NE(MAP_FAILED, ctl_map(self->fd));
	ASSERT_EQ(0, info(self->fd, &self->i));
}

FIXTURE_TEARDOWN(lock)
{
	EXPECT_EQ(0, file_write(AGE, self->age));
	close(self->fd);
	EXPECT_EQ(0, rmdir(INSTANCE));
}

/* ---- what makes the module take it -------------------------------------------------- */

/* Leaves @mib MiB idle, in spans of 1 MiB that have pages. */
static int make_idle(int fd, int mib)
{
	struct goheap_span s[64] = {};
	int err;

	for (int i = 0; i < mib; i++)
		s[i].npages = SPAN;
	err = vec(fd, GOHEAP_SPAN_ALLOC, s, mib, 0, NULL);
	for (int i = 0; i < mib && !err; i++) {
		memset((void *)s[i].addr, 1, MIB);
		s[i].flags = 0;
	}
	return err ? err : vec(fd, GOHEAP_SPAN_FREE, s, mib, 0, NULL);
}

/* Waits until the counter at *@bytes in @st is not @was. */
static bool rises(int fd, struct goheap_stats *st, const __u64 *bytes, uint64_t was)
{
	uint64_t end = now_ms() + 20000;

	do {
		if (stats(fd, st))
			return false;
		if (*bytes != was)
			return true;
		sleep_ms(10);
	} while (now_ms() < end);
	return false;
}

/* ---- the tests ------------------------------------------------------------------------ */

TEST_F(lock, mmap_is_seen)
{
	struct seen s;
	int fd = dev_open();

	ASSERT_EQ(0, record());
	ASSERT_NE(MAP_FAILED, arena_map(fd, ARENA));
	s = stop_recording();
	EXPECT_GT(s.own_writes, 0);
	/* The kernel took it, before it called the module. */
	EXPECT_EQ(0, s.module_writes);
	EXPECT_EQ(0, s.lost);
	close(fd);
}

TEST_F(lock, a_fault_inside_the_module_is_seen)
{
	char *below = (char *)__builtin_frame_address(0) - BELOW_STACK;
	struct seen s;

	ASSERT_EQ(0, record());
	EXPECT_EQ(-EINVAL, cmd(self->fd, GOHEAP_STATS, below));
	s = stop_recording();
	EXPECT_EQ(0, s.lost);
	EXPECT_GT(s.module_reads, 0);
	EXPECT_GT(s.reads_by[BY_IOCTL], 0);
	EXPECT_GT(s.module_writes, 0);
	EXPECT_EQ(s.module_writes, s.own_writes);
}

/* Ends the recording, in which the lock was @taken by @way for reading, or was not. */
#define ONLY_READ(way, taken)							\
do {										\
	struct seen s_ = stop_recording();					\
	EXPECT_EQ(0, s_.lost);							\
	EXPECT_EQ(taken, s_.reads_by[way] > 0);					\
	EXPECT_EQ(0, s_.module_writes);						\
	EXPECT_EQ(0, s_.own_writes);						\
} while (0)

TEST_F(lock, by_ioctl)
{
	struct goheap_span s[512] = {};
	struct goheap_span_vec v;
	struct goheap_scavenge sc;
	struct goheap_resize r;
	struct goheap_stats st;
	char *p;
	int fd = dev_open();

	for (int i = 0; i < 512; i++)
		s[i].npages = 1 + i % 9;
	v = (struct goheap_span_vec){
		.size = sizeof(v), .flags = GOHEAP_VEC_POPULATE, .spans = (uintptr_t)s, .nr = 512,
	};
	ASSERT_EQ(0, record());
	EXPECT_EQ(0, attach(fd, (void *)self->i.arena_start));
	p = span_new(self->fd, SPAN);
	ASSERT_NE(NULL, p);
	EXPECT_EQ(0, span_resize(self->fd, p, 2 * SPAN, &r));
	memset(p, 1, 2 * MIB);
	EXPECT_EQ(0, span_resize(self->fd, p, SPAN / 2, &r));
	EXPECT_EQ(0, cmd(fd, GOHEAP_SPAN_ALLOC, &v));
	for (int i = 0; i < 512; i++)
		s[i].flags = 0;
	EXPECT_EQ(0, vec(fd, GOHEAP_SPAN_FREE, s, 512, 0, NULL));
	EXPECT_EQ(0, span_free(self->fd, p, 0));
	EXPECT_EQ(0, scavenge(self->fd, ALL, &sc));
	EXPECT_GE(sc.released_bytes, 2 * MIB);
	EXPECT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(0, info(self->fd, &self->i));
	close(fd);
	/* For ATTACH and POPULATE. */
	ONLY_READ(BY_IOCTL, true);
}

/* Makes 8 MiB idle and has them released by the file. */
static int scavenge_by_sysfs(int fd, unsigned long long id)
{
	struct goheap_stats st;
	char path[128];
	int err = make_idle(fd, 8);

	snprintf(path, sizeof(path), SYSFS "/%llu/scavenge", id);
	if (!err)
		err = file_write(path, "all");
	if (!err)
		err = stats(fd, &st);
	return err ? err : st.scav_demand_bytes < 8 * MIB;
}

TEST_F(lock, by_sysfs)
{
	ASSERT_EQ(0, record());
	EXPECT_EQ(0, scavenge_by_sysfs(self->fd, self->i.heap_id));
	ONLY_READ(BY_SYSFS, false);
}

TEST_F(lock, by_sysfs_if_khugepaged_may_have_the_arena)
{
	int fd;

	ASSERT_EQ(0, file_write(ALLOWED, "1"));
	fd = dev_open();
	ASSERT_EQ(0, file_write(ALLOWED, "0"));
	ASSERT_NE(MAP_FAILED, arena_map(fd, ARENA));
	ASSERT_EQ(0, info(fd, &self->i));
	ASSERT_EQ(0, record());
	EXPECT_EQ(0, scavenge_by_sysfs(fd, self->i.heap_id));
	ONLY_READ(BY_SYSFS, true);
	close(fd);
}

TEST_F(lock, by_pressure)
{
	struct goheap_stats st = {};

	ASSERT_EQ(0, record());
	for (int i = 0; i < 20 && !st.scav_pressure_bytes; i++) {
		ASSERT_EQ(0, make_idle(self->fd, 8));
		ASSERT_EQ(0, file_write(DROP, "2"));
		ASSERT_EQ(0, stats(self->fd, &st));
	}
	EXPECT_GT(st.scav_pressure_bytes, 0);
	ONLY_READ(BY_PRESSURE, false);
}

TEST_F(lock, by_age)
{
	struct goheap_stats st;

	ASSERT_EQ(0, record());
	ASSERT_EQ(0, make_idle(self->fd, 8));
	ASSERT_EQ(0, file_write(AGE, "100"));
	EXPECT_TRUE(rises(self->fd, &st, &st.scav_age_bytes, 0));
	ONLY_READ(BY_AGE, false);
}

/* The soft limit by its worker, the hard one by the command that needs room. */
TEST_F(lock, by_limit)
{
	struct goheap_stats st;
	char *p;

	ASSERT_EQ(0, limit_set(self->fd, 4 * MIB, 40 * MIB));
	ASSERT_EQ(0, record());
	ASSERT_EQ(0, make_idle(self->fd, 16));
	EXPECT_TRUE(rises(self->fd, &st, &st.scav_demand_bytes, 0));
	ASSERT_EQ(0, limit_set(self->fd, ALL, 40 * MIB));
	ASSERT_EQ(0, make_idle(self->fd, 32));
	p = span_new(self->fd, 36 * SPAN);
	EXPECT_NE(NULL, p);
	ONLY_READ(BY_LIMIT, false);
}

#if __has_include(<liburing.h>)

TEST_F(lock, by_a_ring)
{
	struct goheap_scavenge sc = { .size = sizeof(sc), .max_bytes = ALL };
	struct goheap_span s = { .npages = SPAN };
	struct goheap_span_vec v = {
		.size = sizeof(v), .flags = GOHEAP_VEC_POPULATE, .spans = (uintptr_t)&s, .nr = 1,
	};
	struct io_uring ring;

	if (!(self->i.features & GOHEAP_FEAT_URING) || io_uring_queue_init(8, &ring, 0))
		SKIP(return, "no io_uring");
	ASSERT_EQ(0, record());
	EXPECT_EQ(0, ring_cmd(&ring, self->fd, GOHEAP_SPAN_ALLOC, &v));
	v.flags = v.done = s.flags = 0;
	EXPECT_EQ(0, ring_cmd(&ring, self->fd, GOHEAP_SPAN_FREE, &v));
	EXPECT_EQ(0, ring_cmd(&ring, self->fd, GOHEAP_SCAVENGE, &sc));
	EXPECT_GE(sc.released_bytes, MIB);
	/* For POPULATE. */
	ONLY_READ(BY_RING, true);
	io_uring_queue_exit(&ring);
}

#endif

TEST_HARNESS_MAIN
