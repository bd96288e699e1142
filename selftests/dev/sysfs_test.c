// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A heap in sysfs: that its files are there, tell what STATS tells, belong to
 * the heap's user, answer nobody who cannot see the process, and go with it.
 */
#include "sysfs.h"
#include <dirent.h>
#include <kselftest_harness.h>

#define ARENA	(256 * MIB)

FIXTURE(heap) {
	int fd;
	char *arena;
	char dir[64];
	struct goheap_info info;
};

FIXTURE_SETUP(heap)
{
	self->fd = dev_open();
	self->arena = arena_map(self->fd, ARENA);
	ASSERT_NE(MAP_FAILED, self->arena);
	ASSERT_EQ(0, info(self->fd, &self->info));
	ASSERT_EQ(0, heap_dir(self->fd, self->dir));
	ASSERT_EQ(0, access(self->dir, F_OK));
}

FIXTURE_TEARDOWN(heap)
{
	close(self->fd);
	munmap(self->arena, ARENA);
	EXPECT_EQ(-1, access(self->dir, F_OK));
}

TEST_F(heap, who_and_where)
{
	char want[64];

	snprintf(want, sizeof(want), "%d", getpid());
	EXPECT_STREQ(want, read_in(self->dir, "pid"));
	EXPECT_STREQ("sysfs_test", read_in(self->dir, "comm"));
	snprintf(want, sizeof(want), "0x%lx-0x%lx", (long)self->arena,
		 (long)self->arena + ARENA);
	EXPECT_STREQ(want, read_in(self->dir, "arena"));
}

#define SAME(field)							\
	EXPECT_EQ(st.field, atoll(read_in(self->dir, #field))) TH_LOG(#field)

TEST_F(heap, the_same_as_stats)
{
	char *p = span_new(self->fd, 1000), *q = span_new(self->fd, 10);
	struct goheap_scavenge sc;
	struct goheap_stats st;

	memset(p, 1, 1000 * PAGE);
	memset(q, 1, 10 * PAGE);
	ASSERT_EQ(0, span_free(self->fd, p, 1000));
	ASSERT_EQ(0, scavenge(self->fd, MIB, &sc));
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_GT(st.scav_demand_bytes, 0);
	SAME(heap_sys);
	SAME(heap_inuse);
	SAME(heap_idle);
	SAME(heap_released);
	SAME(nr_spans);
	SAME(nr_allocs);
	SAME(nr_frees);
	SAME(nr_grows);
	SAME(scav_age_bytes);
	SAME(scav_pressure_bytes);
	SAME(scav_demand_bytes);
	SAME(scav_skipped);
	SAME(pressure_events);
	SAME(meta_bytes);
}

TEST_F(heap, totals_count_it)
{
	long long inuse = file_number(SYSFS "/heap_inuse"), heaps = file_number(SYSFS "/heaps");
	long long allocs = file_number(SYSFS "/nr_allocs");
	int fd = dev_open();
	char *arena = arena_map(fd, ARENA);

	ASSERT_NE(NULL, span_new(fd, 100));
	EXPECT_EQ(heaps + 1, file_number(SYSFS "/heaps"));
	EXPECT_EQ(inuse + 100 * PAGE, file_number(SYSFS "/heap_inuse"));
	close(fd);
	munmap(arena, ARENA);
	EXPECT_EQ(heaps, file_number(SYSFS "/heaps"));
	EXPECT_EQ(inuse, file_number(SYSFS "/heap_inuse"));
	/* What happened stays counted. */
	EXPECT_EQ(allocs + 1, file_number(SYSFS "/nr_allocs"));
}

TEST_F(heap, scavenge_by_file)
{
	char *p = span_new(self->fd, 8 * MIB / PAGE);
	struct goheap_stats st;

	memset(p, 1, 8 * MIB);
	ASSERT_EQ(0, span_free(self->fd, p, 0));
	EXPECT_EQ(-EINVAL, write_in(self->dir, "scavenge", "some"));
	EXPECT_EQ(-EINVAL, write_in(self->dir, "scavenge", "-1"));
	EXPECT_EQ(-EINVAL, write_in(self->dir, "scavenge", "1 2"));
	EXPECT_EQ(-ERANGE, write_in(self->dir, "scavenge", "18446744073709551616"));
	EXPECT_EQ(0, write_in(self->dir, "scavenge", "0x200000\n"));
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_GE(st.scav_demand_bytes, 2 * MIB);
	EXPECT_LE(st.scav_demand_bytes, 4 * MIB);
	EXPECT_EQ(0, write_in(self->dir, "scavenge", "all\n"));
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(8 * MIB, st.scav_demand_bytes);
}

TEST_F(heap, scavenge_everything_by_file)
{
	char *p = span_new(self->fd, 64);
	struct goheap_stats st;

	if (!is_root())
		SKIP(return, "needs root");
	memset(p, 1, 64 * PAGE);
	ASSERT_EQ(0, span_free(self->fd, p, 64));
	EXPECT_EQ(-EINVAL, file_write(SYSFS "/scavenge", "some"));
	EXPECT_EQ(-ERANGE, file_write(SYSFS "/scavenge", "18446744073709551616"));
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(0, st.scav_demand_bytes);
	EXPECT_EQ(0, file_write(SYSFS "/scavenge", "all"));
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(64 * PAGE, st.scav_demand_bytes);
}

TEST_F(heap, scavenge_by_file_of_a_heap_that_is_shared)
{
	char *p = span_new(self->fd, 64);
	pid_t pid;

	memset(p, 1, 64 * PAGE);
	ASSERT_EQ(0, span_free(self->fd, p, 64));
	pid = fork();
	if (!pid)
		for (;;)
			pause();
	EXPECT_EQ(-EBUSY, write_in(self->dir, "scavenge", "all"));
	kill(pid, SIGKILL);
	reap(pid);
	EXPECT_EQ(0, write_in(self->dir, "scavenge", "all"));
}

/* ---- who may ------------------------------------------------------------------------ */

static const char *const all[] = {
	"pid", "comm", "arena", "heap_sys", "heap_inuse", "heap_idle", "heap_released",
	"nr_spans", "nr_allocs", "nr_frees", "nr_grows", "scav_age_bytes",
	"scav_pressure_bytes", "scav_demand_bytes", "scav_skipped", "pressure_events",
	"meta_bytes",
};

#define NR_ALL	(sizeof(all) / sizeof(all[0]))

static const char *const limits[] = { "limit_soft", "limit_hard" };

#define NR_LIMITS	(sizeof(limits) / sizeof(limits[0]))

/* Whether each file refuses with @error; the name of one that does not. */
static const char *all_refuse(const char *dir, int error)
{
	for (unsigned int i = 0; i < NR_ALL; i++) {
		errno = 0;
		if (read_in(dir, all[i]) || errno != error)
			return all[i];
	}
	for (unsigned int i = 0; i < NR_LIMITS; i++) {
		errno = 0;
		if (read_in(dir, limits[i]) || errno != error ||
		    write_in(dir, limits[i], "max") != -error)
			return limits[i];
	}
	return write_in(dir, "scavenge", "all") == -error ? NULL : "scavenge";
}

TEST_F(heap, files_belong_to_the_heaps_user)
{
	struct stat st;
	char path[128];

	for (unsigned int i = 0; i < NR_ALL; i++) {
		snprintf(path, sizeof(path), "%s/%s", self->dir, all[i]);
		ASSERT_EQ(0, stat(path, &st));
		EXPECT_EQ(geteuid(), st.st_uid);
		EXPECT_EQ(0400, st.st_mode & 07777);
	}
	for (unsigned int i = 0; i < NR_LIMITS; i++) {
		snprintf(path, sizeof(path), "%s/%s", self->dir, limits[i]);
		ASSERT_EQ(0, stat(path, &st));
		EXPECT_EQ(geteuid(), st.st_uid);
		EXPECT_EQ(0600, st.st_mode & 07777);
	}
	snprintf(path, sizeof(path), "%s/scavenge", self->dir);
	ASSERT_EQ(0, stat(path, &st));
	EXPECT_EQ(0200, st.st_mode & 07777);
}

TEST_F(heap, another_user_reads_nothing)
{
	pid_t pid;

	if (!is_root())
		SKIP(return, "needs root");
	pid = fork();
	if (!pid)
		_exit(setgid(12345) || setuid(12345) || all_refuse(self->dir, EACCES));
	EXPECT_EQ(0, reap(pid));
}

static int use_files(int fd, const char *dir)
{
	if (!read_in(dir, "pid") || atoi(read_in(dir, "pid")) != getpid())
		return 1;
	return write_in(dir, "scavenge", "all") ? 2 : 0;
}

TEST_F(heap, a_users_own_heap_is_readable_by_it)
{
	if (!is_root())
		SKIP(return, "needs root");
	EXPECT_EQ(0, as_user(use_files));
}

/* Root in a container: may open the files, and gets nothing out of them. */
TEST_F(heap, another_pid_namespace_reads_nothing)
{
	pid_t pid;

	if (!is_root())
		SKIP(return, "needs root");
	pid = fork();
	if (!pid) {
		if (unshare(CLONE_NEWPID))
			_exit(1);
		pid = fork();
		if (!pid)
			_exit(all_refuse(self->dir, ESRCH) != NULL);
		_exit(reap(pid));
	}
	EXPECT_EQ(0, reap(pid));
}

/* In a new pid namespace, where it is process 1. */
static int read_own_pid(int up, int down)
{
	struct goheap_info i;
	char dir[64], c;
	int fd = dev_open();

	if (arena_map(fd, ARENA) == MAP_FAILED || info(fd, &i) || heap_dir(fd, dir))
		return 2;
	if (atoi(read_in(dir, "pid")) != 1)
		return 3;
	return write(up, &i, sizeof(i)) != sizeof(i) || read(down, &c, 1) != 1;
}

/* And the other way about: the id is the one that the reader knows. */
TEST(pid_is_the_readers)
{
	int pids[2], up[2], down[2];
	struct goheap_info i;
	pid_t outer, inner;
	char dir[64], *seen;

	if (!is_root())
		SKIP(return, "needs root");
	ASSERT_EQ(0, pipe(pids) | pipe(up) | pipe(down));
	outer = fork();
	if (!outer) {
		if (unshare(CLONE_NEWPID))
			_exit(1);
		inner = fork();
		if (!inner)
			_exit(read_own_pid(up[1], down[0]));
		if (write(pids[1], &inner, sizeof(inner)) != sizeof(inner))
			_exit(4);
		_exit(reap(inner));
	}
	ASSERT_EQ(sizeof(inner), read(pids[0], &inner, sizeof(inner)));
	ASSERT_EQ(sizeof(i), read(up[0], &i, sizeof(i)));
	snprintf(dir, sizeof(dir), SYSFS "/%llu", (unsigned long long)i.heap_id);
	seen = read_in(dir, "pid");
	ASSERT_NE(NULL, seen);
	EXPECT_EQ(inner, atoi(seen));
	ASSERT_EQ(1, write(down[1], "x", 1));
	EXPECT_EQ(0, reap(outer));
}

static volatile bool stop;

static void *reader(void *arg)
{
	struct goheap_info *i = arg;
	char path[64];

	while (!stop) {
		snprintf(path, sizeof(path), SYSFS "/%llu", (unsigned long long)i->heap_id + 1);
		for (unsigned int k = 0; k < NR_ALL; k++)
			read_in(path, all[k]);
		write_in(path, "limit_soft", "4096");
		write_in(path, "scavenge", "all");
		file_read(SYSFS "/heap_inuse");
		file_write(SYSFS "/scavenge", "all");
	}
	return NULL;
}

/* Heaps come and go under those who read and write their files. */
TEST_F_TIMEOUT(heap, files_that_vanish_while_they_are_read, 60)
{
	struct goheap_info next = self->info;
	uint64_t end = now_ms() + 5000;
	pthread_t t[2];

	for (int k = 0; k < 2; k++)
		ASSERT_EQ(0, pthread_create(&t[k], NULL, reader, &next));
	while (now_ms() < end) {
		int fd = dev_open();
		char *arena = arena_map(fd, 64 * MIB), *p;

		ASSERT_NE(MAP_FAILED, arena);
		p = span_new(fd, 16);
		memset(p, 1, 16 * PAGE);
		span_free(fd, p, 16);
		info(fd, &next);
		next.heap_id--;		/* the reader adds one */
		munmap(arena, 64 * MIB);
		close(fd);
	}
	stop = true;
	for (int k = 0; k < 2; k++)
		pthread_join(t[k], NULL);
}

/*
 * Where the kernel writes the names was never touched.  The first two, which are in every
 * directory, are in the first page: it looks no further for them.
 */
static void *lister(void *arg)
{
	int fd = open(SYSFS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	while (!stop) {
		char *p = mmap(NULL, 8 * 4096, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		lseek(fd, 0, SEEK_SET);
		if (getdents64(fd, p + 4096 - 64, 7 * 4096) <= 64)
			abort();
		munmap(p, 8 * 4096);
	}
	close(fd);
	return NULL;
}

/* Returns how many heaps were made. */
static int make_heaps_and_list(int ms)
{
	uint64_t end = now_ms() + ms;
	struct goheap_info i;
	pthread_t t;
	int n = 0;

	stop = false;
	if (pthread_create(&t, NULL, lister, NULL))
		return 0;
	for (; now_ms() < end; n++) {
		int fd = dev_open();
		char *arena = arena_map(fd, 64 * MIB);

		if (arena == MAP_FAILED || info(fd, &i))
			return 0;
		munmap(arena, 64 * MIB);
		close(fd);
	}
	stop = true;
	pthread_join(t, NULL);
	return n;
}

/*
 * Kernels from 6.15 on list a directory with its lock held, also while they wait for the
 * mmap lock in a page fault.  Who has that must not wait for the other.
 */
TEST(directories_are_made_while_they_are_listed)
{
	uint64_t end = now_ms() + 30000;
	int status = 0;
	pid_t pid;

	pid = fork();
	if (!pid)
		_exit(make_heaps_and_list(3000) < 10);
	while (!waitpid(pid, &status, WNOHANG) && now_ms() < end)
		usleep(10000);
	if (now_ms() >= end)
		kill(pid, SIGKILL);
	EXPECT_LT(now_ms(), end);
	EXPECT_EQ(0, status);
}

/* ---- debugfs ------------------------------------------------------------------------ */

/* Lines of the table that are a span in use of this heap; *sum is of their pages. */
static int inuse_lines(FILE *f, uint64_t heap_id, uint64_t *sum)
{
	unsigned long id, addr, npages;
	char line[256], state[16];
	int n = 0;

	*sum = 0;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lu 0x%lx %lu %15s", &id, &addr, &npages, state) != 4 ||
		    id != heap_id || strcmp(state, "inuse"))
			continue;
		*sum += npages;
		n++;
	}
	return n;
}

/* From wherever the reader was: the middle, the last line, behind it, far behind it. */
TEST_F(heap, a_table_can_be_read_again)
{
	FILE *f = fopen("/sys/kernel/debug/goheap/arenas", "r");
	static const long places[] = { 0, 1, 500, 2000, 1000000 };
	uint64_t sum;

	if (!f)
		SKIP(return, "needs root and debugfs");
	for (int i = 1; i <= 40; i++)
		ASSERT_NE(NULL, span_new(self->fd, i));
	for (int i = 0; i < 5; i++) {
		EXPECT_EQ(40, inuse_lines(f, self->info.heap_id, &sum));
		EXPECT_EQ(40 * 41 / 2, sum);
		fseek(f, places[i], SEEK_SET);
		fgetc(f);
		rewind(f);
	}
	fclose(f);
}

TEST_HARNESS_MAIN
