// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * SPAN_ALLOC with POPULATE: what is resident afterwards, what is in it, what is left
 * out, and that nothing that goes wrong with a page is an error of the command.  By
 * io_uring it is uring_test's.
 */
#include "hold.h"
#include <kselftest_harness.h>
#include <sys/resource.h>

#define ARENA	(1 * GIB)
#define HW	4096UL
#define CGROUP	"/sys/fs/cgroup/goheap_populate_test"

static bool has_feature(void)
{
	struct goheap_info i;
	int fd = dev_open();
	bool has = !info(fd, &i) && i.features & GOHEAP_FEAT_POPULATE;

	close(fd);
	return has;
}
NEED(has_feature, "the module cannot populate");

/* ---- commands, and looks ------------------------------------------------------------- */

static int populate_vec(int fd, struct goheap_span *s, unsigned int n, uint64_t align,
			unsigned int *done)
{
	struct goheap_span_vec v = {
		.size = sizeof(v), .flags = GOHEAP_VEC_POPULATE,
		.spans = (uintptr_t)s, .nr = n, .align = align,
	};
	int err = cmd(fd, GOHEAP_SPAN_ALLOC, &v);

	if (done)
		*done = v.done;
	return err;
}

/* NULL if there is none. */
static char *populated(int fd, uint64_t bytes, uint64_t align, bool *needzero)
{
	struct goheap_span s = { .npages = bytes / PAGE };

	if (populate_vec(fd, &s, 1, align, NULL))
		return NULL;
	if (needzero)
		*needzero = s.flags & GOHEAP_SPAN_NEEDZERO;
	return (char *)s.addr;
}

/* Bytes of it that are; what is not mapped is not. */
static size_t resident(const char *p, size_t bytes)
{
	unsigned char yes;
	size_t n = 0;

	for (size_t i = 0; i < bytes; i += HW)
		n += !mincore((void *)(p + i), HW, &yes) && yes & 1 ? HW : 0;
	return n;
}

static long faults(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_minflt;
}

/* Faults that writing to it takes. */
static long faults_to_write(char *p, size_t bytes)
{
	long before = faults();

	for (size_t i = 0; i < bytes; i += HW)
		((volatile char *)p)[i] = 1;
	return faults() - before;
}

static bool thp_always(void)
{
	char *text = file_read("/sys/kernel/mm/transparent_hugepage/enabled");

	return text && strstr(text, "[always]");
}

FIXTURE(heap) {
	int fd;
	char *arena;
};

FIXTURE_SETUP(heap)
{
	self->fd = dev_open();
	self->arena = arena_map(self->fd, ARENA);
	ASSERT_NE(MAP_FAILED, self->arena);
}

FIXTURE_TEARDOWN(heap)
{
	struct goheap_stats st;

	EXPECT_EQ(0, stats(self->fd, &st));
	close(self->fd);
}

/* Pages of the hardware's size from here on. */
static bool only_small(char *p, size_t bytes)
{
	return !has_huge_pages() || !madvise(p, bytes, MADV_NOHUGEPAGE);
}

/* ---- what comes ------------------------------------------------------------------- */

TEST_F(heap, resident_afterwards)
{
	static const unsigned int npages[] = { 1, 3, 64, 300, 1024 };

	ASSERT_TRUE(only_small(self->arena, ARENA));
	for (int i = 0; i < 5; i++) {
		size_t bytes = npages[i] * PAGE;
		char *plain = span_new(self->fd, npages[i]);
		bool needzero = true;
		char *p;

		ASSERT_EQ(0, resident(plain, bytes));
		p = populated(self->fd, bytes, 0, &needzero);
		ASSERT_NE(NULL, p);
		EXPECT_FALSE(needzero);
		EXPECT_EQ(bytes, resident(p, bytes));
		EXPECT_TRUE(is_zero(p, bytes));
		EXPECT_EQ(0, faults_to_write(p, bytes));
		/* And nothing else. */
		EXPECT_EQ(0, resident(plain, bytes));
	}
}

TEST_F(heap, huge_pages)
{
	long before, after;
	char *p;

	if (!thp_always())
		SKIP(return, "needs transparent_hugepage=always");
	before = faults();
	p = populated(self->fd, 8 * MIB, 2 * MIB, NULL);
	after = faults();
	ASSERT_NE(NULL, p);
	ASSERT_EQ(8 * MIB, resident(p, 8 * MIB));
	ASSERT_TRUE(is_zero(p, 8 * MIB));
	ASSERT_EQ(0, faults_to_write(p, 8 * MIB));
	if (file_field("/proc/self/smaps_rollup", "AnonHugePages") < 8 * 1024)
		SKIP(return, "the system had no huge pages to give");
	/* One for each: what one brought is not asked for again. */
	EXPECT_LE(after - before, 16);
}

/* A span that begins and ends in the middle of 2 MiB, some of which are in use. */
TEST_F(heap, small_pages_beside_huge_ones)
{
	char *first = span_new(self->fd, 5), *p;

	*first = 7;
	p = populated(self->fd, 9 * MIB, 0, NULL);
	ASSERT_NE(NULL, p);
	EXPECT_EQ(9 * MIB, resident(p, 9 * MIB));
	EXPECT_EQ(0, faults_to_write(p, 9 * MIB));
	EXPECT_EQ(7, *first);
}

TEST_F(heap, a_vector)
{
	static struct goheap_span s[GOHEAP_VEC_MAX];
	size_t want = 0, got = 0;
	unsigned int done;

	ASSERT_TRUE(only_small(self->arena, ARENA));
	for (int i = 0; i < GOHEAP_VEC_MAX; i++)
		s[i] = (struct goheap_span){ .npages = 1 + i % 5 };
	/* Ends before its end: what was done is populated. */
	s[500].npages = 0;
	EXPECT_EQ(-EINVAL, populate_vec(self->fd, s, GOHEAP_VEC_MAX, 0, &done));
	ASSERT_EQ(500, done);
	for (int i = 0; i < 500; i++) {
		want += s[i].npages * PAGE;
		got += resident((char *)s[i].addr, s[i].npages * PAGE);
	}
	EXPECT_EQ(want, got);
}

/* ---- what stays ------------------------------------------------------------------- */

TEST_F(heap, contents_are_kept)
{
	bool needzero = false, kept = true;
	size_t bytes = 64 * PAGE;
	char *p, *q;

	ASSERT_TRUE(only_small(self->arena, ARENA));
	p = span_new(self->fd, 64);
	fill(p, bytes, 1);
	ASSERT_EQ(0, span_free(self->fd, p, 64));
	/* A quarter of it went, which the kernel half was not told. */
	ASSERT_EQ(0, madvise(p + bytes / 4, bytes / 4, MADV_DONTNEED));
	q = populated(self->fd, bytes, 0, &needzero);
	ASSERT_EQ(p, q);
	EXPECT_TRUE(needzero);
	EXPECT_EQ(bytes, resident(p, bytes));
	EXPECT_TRUE(filled(p, bytes / 4, 1));
	EXPECT_TRUE(is_zero(p + bytes / 4, bytes / 4));
	for (size_t i = bytes / 2 / 8; i < bytes / 8; i += 64)
		kept &= ((uint64_t *)p)[i] == word_of(1, i);
	EXPECT_TRUE(kept);
}

/* Released, as the books say, and so fresh. */
TEST_F(heap, what_was_released_is_zero)
{
	struct goheap_scavenge sc;
	bool needzero = true;
	char *p = span_new(self->fd, 64), *q;

	memset(p, 1, 64 * PAGE);
	ASSERT_EQ(0, span_free(self->fd, p, 64));
	ASSERT_EQ(0, scavenge(self->fd, ALL, &sc));
	q = populated(self->fd, 64 * PAGE, 0, &needzero);
	ASSERT_EQ(p, q);
	EXPECT_FALSE(needzero);
	EXPECT_EQ(64 * PAGE, resident(p, 64 * PAGE));
	EXPECT_TRUE(is_zero(p, 64 * PAGE));
}

/* Pages that a child shares are there, but not to be written: they are copied now. */
TEST_F(heap, what_a_child_shares_is_copied)
{
	size_t bytes = 64 * PAGE;
	char *p = span_new(self->fd, 64);
	int go[2];
	pid_t pid;
	char c;

	ASSERT_TRUE(only_small(self->arena, ARENA));
	fill(p, bytes, 1);
	ASSERT_EQ(0, span_free(self->fd, p, 64));
	ASSERT_EQ(0, pipe(go));
	pid = fork();
	if (!pid) {
		close(go[1]);
		_exit(read(go[0], &c, 1) == 0 && filled(p, bytes, 1) ? 0 : 1);
	}
	ASSERT_EQ(p, populated(self->fd, bytes, 0, NULL));
	EXPECT_TRUE(filled(p, bytes, 1));
	EXPECT_EQ(0, faults_to_write(p, bytes));
	close(go[1]);
	EXPECT_EQ(0, reap(pid));
}

/* ---- what is left out ------------------------------------------------------------------- */

TEST_F(heap, what_is_protected)
{
	size_t bytes = 32 * PAGE;
	char *p = self->arena;

	ASSERT_TRUE(only_small(self->arena, ARENA));
	ASSERT_EQ(0, mprotect(p + bytes / 4, bytes / 4, PROT_NONE));
	ASSERT_EQ(0, mprotect(p + bytes / 2, bytes / 4, PROT_READ));
	ASSERT_EQ(p, populated(self->fd, bytes, 0, NULL));
	EXPECT_EQ(bytes / 4, resident(p, bytes / 4));
	EXPECT_EQ(0, resident(p + bytes / 4, bytes / 2));
	EXPECT_EQ(bytes / 4, resident(p + bytes * 3 / 4, bytes / 4));
}

/* As an arena of the library is to begin with. */
TEST_F(heap, an_arena_that_was_not_opened)
{
	struct goheap_stats st;
	long before = faults();
	char *p;

	ASSERT_EQ(0, mprotect(self->arena, ARENA, PROT_NONE));
	p = populated(self->fd, ARENA / 2, 0, NULL);
	ASSERT_NE(NULL, p);
	EXPECT_LT(faults() - before, 64);
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(ARENA / 2, st.heap_inuse);
	ASSERT_EQ(0, mprotect(self->arena, ARENA, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, resident(p, 64 * MIB));
}

TEST_F(heap, holes)
{
	size_t bytes = 32 * PAGE;
	char *p = self->arena;

	ASSERT_TRUE(only_small(self->arena, ARENA));
	ASSERT_EQ(0, munmap(p, 4 * PAGE));
	ASSERT_EQ(0, munmap(p + bytes / 2, 4 * PAGE));
	ASSERT_EQ(p, populated(self->fd, bytes, 0, NULL));
	EXPECT_EQ(bytes / 2 - 4 * PAGE, resident(p + 4 * PAGE, bytes / 2 - 4 * PAGE));
	EXPECT_EQ(bytes / 2 - 4 * PAGE,
		  resident(p + bytes / 2 + 4 * PAGE, bytes / 2 - 4 * PAGE));
}

TEST_F(heap, nothing_is_left_of_the_arena)
{
	struct goheap_stats st;

	ASSERT_EQ(0, munmap(self->arena, ARENA));
	EXPECT_EQ(self->arena, populated(self->fd, ARENA / 2, 0, NULL));
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(1, st.nr_spans);
}

/* What the program put in the arena's place is not the heap's to touch. */
TEST_F(heap, other_mappings)
{
	size_t bytes = 32 * PAGE;
	char *p = self->arena, *q = p + bytes / 2;
	int other = dev_open();

	ASSERT_TRUE(only_small(self->arena, ARENA));
	ASSERT_EQ(q, mmap(q, 4 * PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	ASSERT_EQ(p, populated(self->fd, bytes, 0, NULL));
	EXPECT_EQ(bytes / 2, resident(p, bytes / 2));
	EXPECT_EQ(0, resident(q, 4 * PAGE));
	EXPECT_EQ(bytes / 2 - 4 * PAGE, resident(q + 4 * PAGE, bytes / 2 - 4 * PAGE));
	/* Another heap's arena is another mapping. */
	q = p + 64 * MIB;
	ASSERT_EQ(q, arena_map_at(other, q, 64 * MIB, MAP_FIXED));
	ASSERT_TRUE(only_small(q, 64 * MIB));
	ASSERT_EQ(p + bytes, populated(self->fd, 130 * MIB, 0, NULL));
	EXPECT_EQ(1 * MIB, resident(q - 1 * MIB, 1 * MIB));
	EXPECT_EQ(0, resident(q, 64 * MIB));
	EXPECT_EQ(1 * MIB, resident(q + 64 * MIB, 1 * MIB));
	close(other);
}

/* ---- refused ------------------------------------------------------------------- */

TEST_F(heap, flags)
{
	struct goheap_span s = { .npages = 1 };
	struct goheap_span_vec v = {
		.size = sizeof(v), .flags = GOHEAP_VEC_POPULATE | 2,
		.spans = (uintptr_t)&s, .nr = 1,
	};
	struct goheap_stats st;

	EXPECT_EQ(-EINVAL, cmd(self->fd, GOHEAP_SPAN_ALLOC, &v));
	s.addr = (uintptr_t)span_new(self->fd, 1);
	v.flags = GOHEAP_VEC_POPULATE;
	EXPECT_EQ(-EINVAL, cmd(self->fd, GOHEAP_SPAN_FREE, &v));
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(1, st.nr_allocs);
	EXPECT_EQ(0, st.nr_frees);
}

TEST_F(heap, a_forked_child)
{
	struct goheap_stats st;
	pid_t pid = fork();

	if (!pid) {
		struct goheap_span s = { .npages = 16 };

		_exit(populate_vec(self->fd, &s, 1, 0, NULL) != -ESTALE ||
		      resident(self->arena, 64 * PAGE));
	}
	EXPECT_EQ(0, reap(pid));
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(0, st.nr_allocs);
}

/* ---- too much ------------------------------------------------------------------- */

static int cgroup_write(const char *file, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), CGROUP "/%s", file);
	return file_write(path, text);
}

/* A process in the cgroup: 0 if so much was populated. */
static int in_cgroup(size_t bytes)
{
	pid_t pid = fork();
	int fd;

	if (pid)
		return reap(pid);
	fd = dev_open();
	if (cgroup_write("cgroup.procs", "0") || arena_map(fd, ARENA) == MAP_FAILED)
		_exit(90);
	_exit(resident(populated(fd, bytes, 0, NULL), bytes) != bytes);
}

/* It is the process that ends, as it would have by touching so much. */
TEST_F_TIMEOUT(heap, a_cgroup_that_is_too_small, 120)
{
	long long heaps = file_number(SYSFS "/heaps");

	file_write("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	rmdir(CGROUP);
	if (mkdir(CGROUP, 0755) || cgroup_write("memory.max", "64M"))
		SKIP(return, "needs root, and cgroup2 with the memory controller");
	cgroup_write("memory.swap.max", "0");
	EXPECT_EQ(0, in_cgroup(32 * MIB));
	EXPECT_EQ(0, file_field(CGROUP "/memory.events", "oom_kill"));
	EXPECT_EQ(128 + SIGKILL, in_cgroup(256 * MIB));
	EXPECT_EQ(1, file_field(CGROUP "/memory.events", "oom_kill"));
	for (int i = 0; i < 100 && file_number(SYSFS "/heaps") != heaps; i++)
		sleep_ms(50);
	EXPECT_EQ(heaps, file_number(SYSFS "/heaps"));
	EXPECT_EQ(0, rmdir(CGROUP));
}

/* ---- in the middle of it ------------------------------------------------------------------- */

static void *populate_thread(void *arg)
{
	return populated(*(int *)arg, 64 * PAGE, 0, NULL);
}

/* Who waits for a page keeps nobody: not the heap, nor who maps and unmaps. */
TEST_F(heap, others_go_on_meanwhile)
{
	struct uffdio_range range = { .len = 48 * PAGE };
	struct goheap_stats st;
	struct uffd_msg msg;
	pthread_t t;
	void *p;
	int held;

	ASSERT_TRUE(only_small(self->arena, ARENA));
	held = hold(self->arena + 16 * PAGE, 48 * PAGE);
	if (held < 0)
		SKIP(return, "no userfaultfd for the kernel's accesses (needs root)");
	ASSERT_EQ(0, pthread_create(&t, NULL, populate_thread, &self->fd));
	ASSERT_EQ(sizeof(msg), read(held, &msg, sizeof(msg)));
	EXPECT_EQ((uintptr_t)self->arena + 16 * PAGE, msg.arg.pagefault.address);
	EXPECT_EQ(16 * PAGE, resident(self->arena, 64 * PAGE));
	p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT_EQ(0, munmap(p, PAGE));
	EXPECT_NE(NULL, span_new(self->fd, 1));
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(2, st.nr_spans);
	range.start = (uintptr_t)self->arena + 16 * PAGE;
	ASSERT_EQ(0, ioctl(held, UFFDIO_UNREGISTER, &range));
	ASSERT_EQ(0, pthread_join(t, &p));
	EXPECT_EQ(self->arena, p);
	EXPECT_EQ(64 * PAGE, resident(self->arena, 64 * PAGE));
	EXPECT_EQ(0, faults_to_write(self->arena, 64 * PAGE));
	close(held);
}

/* Never returns; says on @up when it is in the middle. */
static void wait_for_ever(int up)
{
	int fd = dev_open(), held;
	char *arena = arena_map(fd, ARENA);
	struct uffd_msg msg;
	pthread_t t;

	only_small(arena, ARENA);
	held = hold(arena, 64 * PAGE);
	if (held < 0 || pthread_create(&t, NULL, populate_thread, &fd) ||
	    read(held, &msg, sizeof(msg)) != sizeof(msg) || write(up, "x", 1) != 1)
		_exit(91);
	pause();
	_exit(92);
}

TEST_F(heap, killed)
{
	long long refs = file_number("/sys/module/goheap/refcnt");
	int up[2];
	pid_t pid;
	char c;

	if (!is_root())
		SKIP(return, "needs root, for userfaultfd");
	ASSERT_EQ(0, pipe(up));
	pid = fork();
	if (!pid)
		wait_for_ever(up[1]);
	ASSERT_EQ(1, read(up[0], &c, 1));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	EXPECT_EQ(128 + SIGKILL, reap(pid));
	for (int i = 0; i < 100 && file_number("/sys/module/goheap/refcnt") != refs; i++)
		sleep_ms(50);
	EXPECT_EQ(refs, file_number("/sys/module/goheap/refcnt"));
}

/* Pages that come, go and are given away at the same time; the kernel's log tells. */
struct race {
	int fd;
	char *arena;
	volatile bool stop;
	unsigned long rounds;
};

static void *race_populate(void *arg)
{
	struct race *r = arg;
	char *p;

	while (!r->stop) {
		p = populated(r->fd, 3 * MIB, 0, NULL);
		if (!p || span_free(r->fd, p, 0))
			return "failed";
		r->rounds++;
	}
	return NULL;
}

static void *race_protect(void *arg)
{
	struct race *r = arg;
	uint64_t seed = 1;

	while (!r->stop) {
		char *p = r->arena + rnd(&seed) % 4096 * HW;

		mprotect(p, 16 * HW, PROT_NONE);
		madvise(p, 512 * HW, MADV_DONTNEED);
		mprotect(p, 16 * HW, PROT_READ | PROT_WRITE);
	}
	return NULL;
}

TEST_F_TIMEOUT(heap, against_release_and_mprotect, 60)
{
	struct race r = { .fd = self->fd, .arena = self->arena };
	struct goheap_scavenge sc;
	struct goheap_stats st;
	pthread_t t[3];
	void *why;

	for (int i = 0; i < 3; i++)
		ASSERT_EQ(0, pthread_create(&t[i], NULL, i ? race_populate : race_protect, &r));
	for (uint64_t end = now_ms() + 3000; now_ms() < end; )
		ASSERT_EQ(0, scavenge(self->fd, ALL, &sc));
	r.stop = true;
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, pthread_join(t[i], &why));
		EXPECT_EQ(NULL, why);
	}
	EXPECT_GT(r.rounds, 10);
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(0, st.nr_spans);
}

TEST_HARNESS_MAIN
