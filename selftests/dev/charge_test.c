// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Who pays for a heap: the kernel memory that an unprivileged process can have by
 * heaps and spans is charged to its memory cgroup, but for so much for each heap as
 * uapi/ABI/dev-goheap says; all of it comes back; and where the cgroup has no more,
 * the process is refused, and none is killed.  Needs root.
 */
#include "tracing.h"
#include <sys/resource.h>
#include <kselftest_harness.h>

NEED(is_root, "needs root");

#define CGROUP	"/sys/fs/cgroup/goheap_charge_test"
#define USER	23456
#define ARENA	(64 * MIB)

#define NR_HEAPS	1000
/* What ABI/dev-goheap promises for each heap. */
#define UNCHARGED	8192
/* Slabs and charges that others move meanwhile, or that wait to be accounted. */
#define NOISE		MIB

#define NR_SPANS	100000

static int cgroup_write(const char *file, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), CGROUP "/%s", file);
	return file_write(path, text);
}

static long cgroup_field(const char *file, const char *key)
{
	char path[128];

	snprintf(path, sizeof(path), CGROUP "/%s", file);
	return file_field(path, key);
}

struct memory {
	long slab;		/* of the machine */
	long charged_slab;	/* of it, what the cgroup is charged with */
	long charged;		/* all kernel memory of the cgroup */
};

static struct memory memory(void)
{
	sleep_ms(2500);		/* counters are brought up to date every two seconds */
	return (struct memory) {
		.slab = file_field("/proc/meminfo", "Slab:") * 1024,
		.charged_slab = cgroup_field("memory.stat", "slab "),
		.charged = cgroup_field("memory.stat", "kernel "),
	};
}

/* Slabs that came since, and are charged to nobody here. */
static long uncharged(const struct memory *from, const struct memory *to)
{
	return to->slab - from->slab - (to->charged_slab - from->charged_slab);
}

/* ---- processes in the cgroup -------------------------------------------------- */

static void enter(void)
{
	struct rlimit files = { NR_HEAPS + 64, NR_HEAPS + 64 };

	if (cgroup_write("cgroup.procs", "0") || setrlimit(RLIMIT_NOFILE, &files) ||
	    setgid(USER) || setuid(USER))
		_exit(1);
}

/* As many heaps as it may have. */
static void have_heaps(int up)
{
	int n, fd;

	enter();
	for (n = 0; n <= NR_HEAPS; n++) {
		fd = dev_open();
		if (fd < 0)
			_exit(2);
		if (arena_map(fd, ARENA) == MAP_FAILED)
			break;
	}
	if (n != NR_HEAPS || errno != EMFILE || write(up, &n, sizeof(n)) != sizeof(n))
		_exit(3);
	pause();
}

/* Spans of one page, until there are @nr or an error; how many, or the error. */
static int make_spans(int fd, int nr)
{
	static struct goheap_span s[GOHEAP_VEC_MAX];
	unsigned int done = 0;
	int n = 0, err = 0;

	while (!err && n < nr) {
		for (int i = 0; i < GOHEAP_VEC_MAX; i++)
			s[i] = (struct goheap_span){ .npages = 1 };
		err = vec(fd, GOHEAP_SPAN_ALLOC, s, GOHEAP_VEC_MAX, 0, &done);
		n += done;
	}
	return err ? err : n;
}

static void have_spans(int up)
{
	int fd, n;

	enter();
	fd = dev_open();
	if (arena_map(fd, 64 * GIB) == MAP_FAILED)
		_exit(2);
	n = make_spans(fd, NR_SPANS);
	if (n < NR_SPANS || write(up, &n, sizeof(n)) != sizeof(n))
		_exit(3);
	pause();
}

/* All that it touches is there before the cgroup is full. */
static void fill_up(void)
{
	int fd;

	enter();
	fd = dev_open();
	if (arena_map(fd, 512 * GIB) == MAP_FAILED || make_spans(fd, 1) < 1)
		_exit(2);
	_exit(make_spans(fd, 1 << 22) == -ENOMEM ? 0 : 3);
}

static void bystander(int up)
{
	int x = 0;

	enter();
	memset(mmap(NULL, 8 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
	       1, 8 * MIB);
	if (write(up, &x, sizeof(x)) != sizeof(x))
		_exit(3);
	pause();
}

/* The kernel's tables, by heap and by user, grow for so many of a user that had none. */
#define TABLE_HEAPS	70
#define TABLE_USER	1234567890

static void have_tables(void)
{
	if (setgid(USER) || setuid(TABLE_USER))
		_exit(1);
	for (int i = 0; i < TABLE_HEAPS; i++)
		if (arena_map(dev_open(), ARENA) == MAP_FAILED)
			_exit(2);
	_exit(0);
}

/* Nodes of tables that were allocated, as traced, and of them those that nobody pays for. */
static void count_nodes(int *nodes, int *unpaid)
{
	FILE *f = trace_lines();
	char line[512];

	*nodes = *unpaid = 0;
	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, "call_site=xas_") || strstr(line, "call_site=__xas_")) {
			++*nodes;
			*unpaid += !strstr(line, "_ACCOUNT");
		}
	if (f)
		fclose(f);
}

/* ---- the tests ------------------------------------------------------------------ */

FIXTURE(cgroup) {
	char max_heaps[32];
	bool made;
	long heaps, meta;
};

FIXTURE_SETUP(cgroup)
{
	strcpy(self->max_heaps, file_read(PARAMS "/max_heaps_per_user"));
	self->heaps = file_number(SYSFS "/heaps");
	self->meta = file_number(SYSFS "/meta_bytes");
	file_write("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	if (mkdir(CGROUP, 0755) || access(CGROUP "/memory.max", W_OK)) {
		rmdir(CGROUP);
		return;
	}
	self->made = true;
}

FIXTURE_TEARDOWN(cgroup)
{
	EXPECT_EQ(0, file_write(PARAMS "/max_heaps_per_user", self->max_heaps));
	for (int i = 0; self->made && i < 100 && rmdir(CGROUP); i++)
		sleep_ms(20);
}

#define NEED_CGROUP()							\
	do {								\
		if (!self->made)					\
			SKIP(return, "needs cgroup2 with the memory controller");	\
	} while (0)

/* A child that does @fn, up to the moment when it says that it is there. */
static pid_t start(void (*fn)(int up))
{
	int up[2], x;
	pid_t pid;
	bool there;

	if (pipe(up))
		return -1;
	pid = fork();
	if (!pid)
		fn(up[1]);
	close(up[1]);
	there = read(up[0], &x, sizeof(x)) == sizeof(x);
	close(up[0]);
	return there ? pid : -1;
}

/* Its heaps are gone when the kernel is done with it, a little after it ended. */
static void end(pid_t pid, long heaps)
{
	kill(pid, SIGKILL);
	reap(pid);
	for (int i = 0; i < 500 && file_number(SYSFS "/heaps") != heaps; i++)
		sleep_ms(20);
}

/* Kernels that check memory have some for each object, and keep what was freed. */
static bool slabs_are_plain(void)
{
	return access("/sys/kernel/debug/kmemleak", F_OK);
}

/* The caches of the kernel are filled by the first round, and the second is measured. */
TEST_F_TIMEOUT(cgroup, heaps_are_paid_for, 240)
{
	struct memory before, full, after;
	pid_t pid;

	NEED_CGROUP();
	ASSERT_EQ(0, file_write(PARAMS "/max_heaps_per_user", "1000"));
	for (int round = 0; round < 2; round++) {
		before = memory();
		pid = start(have_heaps);
		ASSERT_GT(pid, 0);
		EXPECT_EQ(self->heaps + NR_HEAPS, file_number(SYSFS "/heaps"));
		full = memory();
		end(pid, self->heaps);
		after = memory();
	}
	TH_LOG("for each heap: %ld bytes charged, %ld not",
	       (full.charged - before.charged) / NR_HEAPS, uncharged(&before, &full) / NR_HEAPS);
	/* At least the control page and the heap. */
	EXPECT_GE(full.charged - before.charged, NR_HEAPS * 5000);
	if (slabs_are_plain())
		EXPECT_LE(uncharged(&before, &full), NR_HEAPS * UNCHARGED);
	TH_LOG("left: %ld bytes charged, %ld of slabs", after.charged - before.charged,
	       after.slab - before.slab);
	EXPECT_EQ(self->heaps, file_number(SYSFS "/heaps"));
	EXPECT_EQ(self->meta, file_number(SYSFS "/meta_bytes"));
	EXPECT_LE(after.charged - before.charged, (long)NOISE);
	if (slabs_are_plain())
		EXPECT_LE(after.slab - before.slab, (long)(2 * NOISE));
}

/* Too little to see it in the sums. */
TEST(tables_of_heaps_are_paid_for)
{
	int go[2], nodes, unpaid;
	pid_t pid;
	char c;

	ASSERT_EQ(0, pipe(go));
	pid = fork();
	if (!pid) {
		if (read(go[0], &c, 1) == 1)
			have_tables();
		_exit(3);
	}
	if (!trace_begin(pid, "kmem/kmem_cache_alloc")) {
		kill(pid, SIGKILL);
		reap(pid);
		SKIP(return, "needs tracefs with the event kmem_cache_alloc");
	}
	EXPECT_EQ(1, write(go[1], "x", 1));
	EXPECT_EQ(0, reap(pid));
	count_nodes(&nodes, &unpaid);
	trace_end();
	TH_LOG("%d nodes", nodes);
	/* One by heap, and some by user. */
	EXPECT_GE(nodes, 2);
	EXPECT_EQ(0, unpaid);
}

TEST_F_TIMEOUT(cgroup, spans_are_paid_for, 120)
{
	struct memory before, full;
	long meta;
	pid_t pid;

	NEED_CGROUP();
	before = memory();
	pid = start(have_spans);
	ASSERT_GT(pid, 0);
	full = memory();
	meta = file_number(SYSFS "/meta_bytes") - self->meta;
	TH_LOG("%d spans: %ld bytes of records, %ld charged, %ld not", NR_SPANS, meta,
	       full.charged - before.charged, uncharged(&before, &full));
	EXPECT_GE(meta, NR_SPANS * 100L);
	EXPECT_GE(full.charged - before.charged, meta);
	EXPECT_LE(uncharged(&before, &full), (long)(UNCHARGED + NOISE));
	end(pid, self->heaps);
	EXPECT_EQ(self->meta, file_number(SYSFS "/meta_bytes"));
}

/* An error for the one that asks; another in the same cgroup has more, and is not killed. */
TEST_F_TIMEOUT(cgroup, a_full_cgroup_refuses_records, 120)
{
	pid_t other, pid;

	NEED_CGROUP();
	ASSERT_EQ(0, cgroup_write("memory.max", "32M"));
	other = start(bystander);
	ASSERT_GT(other, 0);
	pid = fork();
	if (!pid)
		fill_up();
	EXPECT_EQ(0, reap(pid));
	EXPECT_GT(cgroup_field("memory.events", "max "), 0);
	EXPECT_EQ(0, cgroup_field("memory.events", "oom "));
	EXPECT_EQ(0, cgroup_field("memory.events", "oom_kill "));
	EXPECT_EQ(0, kill(other, 0));
	EXPECT_EQ(0, waitpid(other, NULL, WNOHANG));
	end(other, self->heaps);
}

TEST_HARNESS_MAIN
