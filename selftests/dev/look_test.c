// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Looking at a heap: the command MAP, by whom it is answered and what it tells; and in
 * debugfs the tables of spans by tag and by age, and how long pressure had to wait.
 */
#include "sysfs.h"
#include "tracing.h"
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <kselftest_harness.h>

#define ARENA	(256 * MIB)
#define DEBUGFS	"/sys/kernel/debug/goheap"
#define DROP	"/proc/sys/vm/drop_caches"
#define ROOM	4096

FIXTURE(heap) {
	int fd;
	char *arena;
	uint64_t id;
};

FIXTURE_SETUP(heap)
{
	struct goheap_info i;

	self->fd = dev_open();
	self->arena = arena_map(self->fd, ARENA);
	ASSERT_NE(MAP_FAILED, self->arena);
	ASSERT_EQ(0, info(self->fd, &i));
	self->id = i.heap_id;
}

FIXTURE_TEARDOWN(heap)
{
	close(self->fd);
	munmap(self->arena, ARENA);
}

static char *tagged(int fd, uint64_t npages, unsigned int tag)
{
	struct goheap_span s = { .npages = npages, .tag = tag };

	return vec(fd, GOHEAP_SPAN_ALLOC, &s, 1, 0, NULL) ? NULL : (char *)s.addr;
}

/* ---- MAP ---------------------------------------------------------------------------- */

/* All of it, @step spans a call; how many, or a negative errno. */
static int map_in_steps(int fd, uint64_t id, struct goheap_map_span *s, unsigned int room,
			unsigned int step)
{
	unsigned int nr = 0, done;
	uint64_t cursor = 0;
	int err;

	do {
		if (step > room - nr)
			step = room - nr;
		if (!step)
			return -ENOSPC;
		err = map_read(fd, id, &cursor, s + nr, step, &done);
		if (err)
			return err;
		if (done > step || (!done && cursor))
			return -EOVERFLOW;
		nr += done;
	} while (cursor);
	return nr;
}

static int whole_map(int fd, uint64_t id, struct goheap_map_span *s, unsigned int room)
{
	return map_in_steps(fd, id, s, room, GOHEAP_VEC_MAX);
}

static uint64_t pages_in(const struct goheap_map_span *s, int nr, uint32_t state)
{
	uint64_t pages = 0;

	for (int i = 0; i < nr; i++)
		pages += s[i].state == state ? s[i].npages : 0;
	return pages;
}

TEST_F(heap, each_span_is_told_as_it_is)
{
	char *a = tagged(self->fd, 10, 7), *b = tagged(self->fd, 20, 9);
	char *c = tagged(self->fd, 30, 255), *d = tagged(self->fd, 1, 0);
	struct goheap_map_span s[16];
	struct goheap_scavenge sc;
	int nr;

	memset(a, 1, 61 * PAGE);
	ASSERT_EQ(0, span_free(self->fd, b, 20));
	ASSERT_EQ(0, scavenge(self->fd, ALL, &sc));
	ASSERT_EQ(0, span_free(self->fd, c, 30));
	ASSERT_EQ(d, c + 30 * PAGE);
	nr = whole_map(self->fd, 0, s, 16);
	ASSERT_EQ(5, nr);
	EXPECT_EQ((uintptr_t)a, s[0].addr);
	EXPECT_EQ(10, s[0].npages);
	EXPECT_EQ(GOHEAP_MAP_INUSE, s[0].state);
	EXPECT_EQ(7, s[0].tag);
	EXPECT_EQ(0, s[0].unused_ns);
	EXPECT_EQ((uintptr_t)b, s[1].addr);
	EXPECT_EQ(20, s[1].npages);
	EXPECT_EQ(GOHEAP_MAP_RELEASED, s[1].state);
	EXPECT_EQ((uintptr_t)c, s[2].addr);
	EXPECT_EQ(30, s[2].npages);
	EXPECT_EQ(GOHEAP_MAP_IDLE, s[2].state);
	EXPECT_EQ(0, s[2].tag);
	EXPECT_EQ(1, s[3].npages);
	EXPECT_EQ(GOHEAP_MAP_INUSE, s[3].state);
	EXPECT_EQ(0, s[3].tag);
	/* The rest of what the heap grew by. */
	EXPECT_EQ(GOHEAP_MAP_RELEASED, s[4].state);
}

TEST_F(heap, without_gaps_and_the_same_as_stats)
{
	static struct goheap_map_span s[ROOM];
	struct goheap_stats st;
	uint64_t rng = 1, end;
	char *p[1000];
	int nr;

	for (int i = 0; i < 1000; i++)
		ASSERT_NE(NULL, p[i] = tagged(self->fd, 1 + rnd(&rng) % 8, i % 256));
	for (int i = 0; i < 1000; i++)
		if (rnd(&rng) % 2)
			ASSERT_EQ(0, span_free(self->fd, p[i], 0));
	nr = whole_map(self->fd, 0, s, ROOM);
	ASSERT_GT(nr, 500);
	end = (uintptr_t)self->arena;
	for (int i = 0; i < nr; i++) {
		ASSERT_EQ(end, s[i].addr);
		end += s[i].npages * PAGE;
	}
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(st.heap_sys, end - (uintptr_t)self->arena);
	EXPECT_EQ(st.heap_inuse, pages_in(s, nr, GOHEAP_MAP_INUSE) * PAGE);
	EXPECT_EQ(st.heap_released, pages_in(s, nr, GOHEAP_MAP_RELEASED) * PAGE);
	EXPECT_EQ(st.heap_idle - st.heap_released, pages_in(s, nr, GOHEAP_MAP_IDLE) * PAGE);
}

TEST_F(heap, the_same_in_steps_of_any_length)
{
	static struct goheap_map_span s[ROOM], t[ROOM];
	static const unsigned int steps[] = { 1, 2, 15, 16, 17, 100, 511 };
	int nr;

	for (int i = 0; i < 600; i++)
		ASSERT_NE(NULL, tagged(self->fd, 1 + i % 3, i % 256));
	nr = whole_map(self->fd, 0, s, ROOM);
	ASSERT_EQ(601, nr);
	for (int i = 0; i < 7; i++) {
		ASSERT_EQ(nr, map_in_steps(self->fd, 0, t, ROOM, steps[i]));
		/* All but the age of what is free. */
		for (int k = 0; k < nr - 1; k++)
			ASSERT_EQ(0, memcmp(&s[k], &t[k], sizeof(s[k])));
	}
}

TEST_F(heap, where_a_cursor_may_be)
{
	char *a = tagged(self->fd, 4, 1), *b = tagged(self->fd, 4, 2);
	struct goheap_map_span s[4];
	unsigned int done;
	uint64_t cursor;

	/* Inside a span: on with all of that one. */
	cursor = (uintptr_t)b + PAGE + 1;
	ASSERT_EQ(0, map_read(self->fd, 0, &cursor, s, 1, &done));
	EXPECT_EQ((uintptr_t)b, s[0].addr);
	EXPECT_EQ(4, s[0].npages);
	/* Before the arena: from the beginning; behind all that is used: nothing is left. */
	cursor = (uintptr_t)a - GIB;
	ASSERT_EQ(0, map_read(self->fd, 0, &cursor, s, 1, &done));
	EXPECT_EQ((uintptr_t)a, s[0].addr);
	cursor = (uintptr_t)a + ARENA;
	ASSERT_EQ(0, map_read(self->fd, 0, &cursor, s, 1, &done));
	EXPECT_EQ(0, done);
	EXPECT_EQ(0, cursor);
	cursor = ALL;
	ASSERT_EQ(0, map_read(self->fd, 0, &cursor, s, 1, &done));
	EXPECT_EQ(0, done);
}

TEST_F(heap, a_heap_that_has_used_nothing)
{
	struct goheap_map_span s[1];

	EXPECT_EQ(0, whole_map(self->fd, 0, s, 1));
	EXPECT_EQ(0, whole_map(self->fd, self->id, s, 1));
}

TEST_F(heap, how_long_it_was_unused)
{
	char *p = span_new(self->fd, 4), *guard = span_new(self->fd, 1);
	struct goheap_map_span s[4];
	uint64_t before;

	ASSERT_NE(NULL, guard);
	memset(p, 1, PAGE);
	before = now_ms();
	ASSERT_EQ(0, span_free(self->fd, p, 4));
	sleep_ms(300);
	ASSERT_EQ(3, whole_map(self->fd, 0, s, 4));
	EXPECT_GE(s[0].unused_ns, 280 * 1000000ULL);
	EXPECT_LE(s[0].unused_ns, (now_ms() - before + 20) * 1000000ULL);
	EXPECT_EQ(0, s[1].unused_ns);
}

TEST_F(heap, what_map_refuses)
{
	struct goheap_map_span s[1];
	struct goheap_map good = {
		.size = sizeof(good), .spans = (uintptr_t)s, .nr = 1,
	}, m = good;
	char *p = span_new(self->fd, 1);

	ASSERT_NE(NULL, p);
	ASSERT_EQ(0, cmd(self->fd, GOHEAP_MAP, &m));
	m = good;
	m.nr = 0;
	EXPECT_EQ(-EINVAL, cmd(self->fd, GOHEAP_MAP, &m));
	m = good;
	m.nr = GOHEAP_VEC_MAX + 1;
	EXPECT_EQ(-EINVAL, cmd(self->fd, GOHEAP_MAP, &m));
	m = good;
	m.done = 1;
	EXPECT_EQ(-EINVAL, cmd(self->fd, GOHEAP_MAP, &m));
	m = good;
	m.spans = 8;
	EXPECT_EQ(-EFAULT, cmd(self->fd, GOHEAP_MAP, &m));
	EXPECT_EQ(0, m.done);
	m = good;
	m.heap_id = 0xfffffff0;
	EXPECT_EQ(-ESRCH, cmd(self->fd, GOHEAP_MAP, &m));
	/* Not that of which these are the low 32 bits. */
	m = good;
	m.heap_id = self->id | 1ULL << 32;
	EXPECT_EQ(-ESRCH, cmd(self->fd, GOHEAP_MAP, &m));
}

/* ---- MAP of another's --------------------------------------------------------------- */

/* By an open of one's own, without an arena. */
static int map_of(uint64_t id)
{
	struct goheap_map_span s[16];

	return whole_map(dev_open(), id, s, 16);
}

/* What map_of() is for a process that first does what @as does. */
static int map_seen(uint64_t id, int (*as)(void))
{
	pid_t pid = fork();

	if (!pid)
		_exit(as() ? 100 : (uint8_t)map_of(id));
	return (int8_t)reap(pid);
}

static int oneself(void)
{
	return 0;
}

static int another_user(void)
{
	return setgid(12345) || setuid(12345);
}

/* Root that may do all but read what is not its own. */
static int root_without_the_right(void)
{
	struct { uint32_t version; int pid; } head = { 0x20080522, 0 };
	struct { uint32_t effective, permitted, inheritable; } caps[2] = {
		{ ~(1U << 2), ~0U, 0 }
	};

	return syscall(SYS_capset, &head, caps);
}

static int another_pid_namespace(void)
{
	pid_t pid;

	if (unshare(CLONE_NEWPID))
		return 1;
	pid = fork();
	if (pid)
		_exit(reap(pid));
	return 0;
}

TEST_F(heap, ones_own_is_told_to_any_process)
{
	struct goheap_map_span s[16];

	for (int i = 0; i < 5; i++)
		ASSERT_NE(NULL, tagged(self->fd, 3, i));
	ASSERT_EQ(6, whole_map(self->fd, self->id, s, 16));
	/* A forked child, which has nothing to do with the arena. */
	EXPECT_EQ(6, map_seen(self->id, oneself));
}

TEST_F(heap, anothers_is_told_to_root_only)
{
	if (!is_root())
		SKIP(return, "needs root");
	EXPECT_EQ(-EACCES, map_seen(self->id, another_user));
	EXPECT_EQ(-ESRCH, map_seen(0xfffffff0, another_user));
}

static int see_own(int fd, const char *dir)
{
	struct goheap_map_span s[16];
	int id = atoi(strrchr(dir, '/') + 1);

	return !span_new(fd, 3) || map_of(id) != 2 || whole_map(fd, id, s, 16) != 2;
}

TEST_F(heap, a_user_sees_his_own_without_root)
{
	if (!is_root())
		SKIP(return, "needs root");
	EXPECT_EQ(0, as_user(see_own));
}

/* As user 12345; by the id that comes through @up it is looked at from outside. */
static int held_heap(int up, int down, int dumpable)
{
	struct goheap_info i;
	int fd = another_user() || prctl(PR_SET_DUMPABLE, dumpable) ? -1 : dev_open();
	char c;

	if (arena_map(fd, ARENA) == MAP_FAILED || !span_new(fd, 3) || info(fd, &i))
		return 1;
	/* It may look at itself. */
	if (map_of(i.heap_id) != 2)
		return 2;
	return write(up, &i.heap_id, 8) != 8 || read(down, &c, 1) != 1;
}

/* What reading this file of the heap, or writing to it, is for a process that did what @as does. */
static int file_seen(uint64_t id, const char *name, int (*as)(void))
{
	char dir[64];
	pid_t pid = fork();

	if (pid)
		return -reap(pid);
	snprintf(dir, sizeof(dir), SYSFS "/%llu", (unsigned long long)id);
	if (as())
		_exit(100);
	if (!strcmp(name, "scavenge"))
		_exit(-write_in(dir, name, "1"));
	_exit(read_in(dir, name) ? 0 : errno);
}

FIXTURE(held) {
	int down[2];
	uint64_t id;
	pid_t pid;
};

FIXTURE_VARIANT(held) {
	int dumpable, user_error;
};

FIXTURE_VARIANT_ADD(held, as_usual) {
	.dumpable = 1, .user_error = 0,
};

/* As a program that was started set-user-ID, or one that keeps keys. */
FIXTURE_VARIANT_ADD(held, that_must_not_be_traced) {
	.dumpable = 0, .user_error = -EACCES,
};

FIXTURE_SETUP(held)
{
	int up[2];

	if (!is_root())
		SKIP(return, "needs root");
	ASSERT_EQ(0, pipe(up) | pipe(self->down));
	self->pid = fork();
	if (!self->pid)
		_exit(held_heap(up[1], self->down[0], variant->dumpable));
	ASSERT_EQ(8, read(up[0], &self->id, 8));
	close(up[0]);
	close(up[1]);
}

FIXTURE_TEARDOWN(held)
{
	if (!is_root())
		return;
	EXPECT_EQ(1, write(self->down[1], "x", 1));
	EXPECT_EQ(0, reap(self->pid));
}

TEST_F(held, root_sees_it_and_only_by_its_right_to)
{
	EXPECT_EQ(2, map_seen(self->id, oneself));
	EXPECT_EQ(0, file_seen(self->id, "heap_inuse", oneself));
	EXPECT_EQ(-EACCES, map_seen(self->id, root_without_the_right));
}

TEST_F(held, another_process_of_its_user)
{
	EXPECT_EQ(variant->user_error ?: 2, map_seen(self->id, another_user));
	EXPECT_EQ(variant->user_error, file_seen(self->id, "heap_inuse", another_user));
	EXPECT_EQ(variant->user_error, file_seen(self->id, "scavenge", another_user));
}

TEST_F(heap, from_another_pid_namespace_there_is_none)
{
	if (!is_root())
		SKIP(return, "needs root");
	EXPECT_EQ(-ESRCH, map_seen(self->id, another_pid_namespace));
}

static volatile bool stop;

static void *looker(void *arg)
{
	volatile uint64_t *id = arg;
	struct goheap_map_span s[16];
	int fd = dev_open();

	while (!stop) {
		int nr = map_in_steps(fd, *id, s, 16, 3);

		if (nr != -ESRCH && nr != 0 && nr != 2)
			return "wrong";
	}
	close(fd);
	return NULL;
}

TEST_F(heap, heaps_that_vanish_while_they_are_looked_at)
{
	uint64_t end = now_ms() + 3000;
	volatile uint64_t id = self->id;
	pthread_t t[2];
	void *wrong;

	for (int k = 0; k < 2; k++)
		ASSERT_EQ(0, pthread_create(&t[k], NULL, looker, (void *)&id));
	while (now_ms() < end) {
		struct goheap_info i;
		int fd = dev_open();
		char *arena = arena_map(fd, 64 * MIB);

		ASSERT_EQ(0, info(fd, &i));
		id = i.heap_id;
		ASSERT_NE(NULL, span_new(fd, 16));
		munmap(arena, 64 * MIB);
		close(fd);
	}
	stop = true;
	for (int k = 0; k < 2; k++) {
		pthread_join(t[k], &wrong);
		EXPECT_EQ(NULL, wrong);
	}
}

/* ---- debugfs ------------------------------------------------------------------------- */

struct row {
	unsigned long long from, nr, bytes;
};

/* The lines of @name about this heap, up to 64; how many, or -1. */
static int rows_of(const char *name, uint64_t heap, struct row *row)
{
	unsigned long long id;
	char path[64];
	FILE *f;
	int n = 0;

	snprintf(path, sizeof(path), DEBUGFS "/%s", name);
	f = fopen(path, "r");
	if (!f)
		return -1;
	while (n < 64 && fscanf(f, "%llu %llu %llu %llu\n", &id, &row[n].from, &row[n].nr,
				&row[n].bytes) == 4)
		n += id == heap;
	fclose(f);
	return n;
}

TEST_F(heap, spans_by_tag)
{
	struct row row[64];
	int n = rows_of("spans", self->id, row);

	if (n < 0)
		SKIP(return, "needs root and debugfs");
	EXPECT_EQ(0, n);
	for (int i = 0; i < 6; i++)
		ASSERT_NE(NULL, tagged(self->fd, 4, i % 2 ? 200 : 3));
	ASSERT_NE(NULL, tagged(self->fd, 1, 3));
	ASSERT_EQ(2, rows_of("spans", self->id, row));
	EXPECT_EQ(3, row[0].from);
	EXPECT_EQ(4, row[0].nr);
	EXPECT_EQ(13 * PAGE, row[0].bytes);
	EXPECT_EQ(200, row[1].from);
	EXPECT_EQ(3, row[1].nr);
	EXPECT_EQ(12 * PAGE, row[1].bytes);
}

/* Two are freed now, one has been free for 2 to 4 s. */
TEST_F(heap, idle_spans_by_age)
{
	char *p[8];
	struct row row[64];
	int n = rows_of("ages", self->id, row);

	if (n < 0)
		SKIP(return, "needs root and debugfs");
	EXPECT_EQ(0, n);
	for (int i = 0; i < 8; i++) {
		p[i] = span_new(self->fd, 1 + i);
		memset(p[i], 1, (1 + i) * PAGE);
	}
	ASSERT_EQ(0, span_free(self->fd, p[6], 7));
	sleep_ms(2300);
	ASSERT_EQ(0, span_free(self->fd, p[0], 1));
	ASSERT_EQ(0, span_free(self->fd, p[3], 4));
	n = rows_of("ages", self->id, row);
	ASSERT_GE(n, 2);
	EXPECT_EQ(2048, row[n - 1].from);
	EXPECT_EQ(1, row[n - 1].nr);
	EXPECT_EQ(7 * PAGE, row[n - 1].bytes);
	for (int i = 1; i < n - 1; i++) {
		row[0].nr += row[i].nr;
		row[0].bytes += row[i].bytes;
	}
	EXPECT_LE(row[0].from, 512);
	EXPECT_EQ(2, row[0].nr);
	EXPECT_EQ(5 * PAGE, row[0].bytes);
	ASSERT_EQ(0, file_write(SYSFS "/scavenge", "all"));
	EXPECT_EQ(0, rows_of("ages", self->id, row));
}

/* All of it, as many bytes at a time as the reader asks for. */
static long slurp(const char *path, char *buf, size_t size, size_t step)
{
	int fd = open(path, O_RDONLY);
	size_t len = 0;
	ssize_t n;

	while (len + step <= size && (n = read(fd, buf + len, step)) > 0)
		len += n;
	close(fd);
	return len;
}

#define TABLE	65536

/* More than the kernel's buffer of a page: it has to find its way back. */
TEST_F(heap, tables_of_many_heaps_in_small_reads)
{
	static char whole[TABLE], parts[TABLE];
	int fd[40];
	long len;

	if (access(DEBUGFS "/spans", R_OK))
		SKIP(return, "needs root and debugfs");
	for (int i = 0; i < 40; i++) {
		fd[i] = dev_open();
		ASSERT_NE(MAP_FAILED, arena_map(fd[i], 64 * MIB));
		for (int k = 0; k < 20; k++)
			ASSERT_NE(NULL, tagged(fd[i], 1, k));
	}
	len = slurp(DEBUGFS "/spans", whole, TABLE, TABLE / 2);
	EXPECT_GT(len, 8192);
	ASSERT_EQ(len, slurp(DEBUGFS "/spans", parts, TABLE, 7));
	EXPECT_EQ(0, memcmp(whole, parts, len));
	for (int i = 0; i < 40; i++)
		close(fd[i]);
}

/* Those that took at least so many microseconds, and all. */
static unsigned long long waits(unsigned long long us, unsigned long long *all)
{
	unsigned long long from, nr, sum = 0;
	FILE *f = fopen(DEBUGFS "/latency", "r");

	*all = 0;
	while (fscanf(f, "%llu %llu\n", &from, &nr) == 2) {
		*all += nr;
		sum += from >= us ? nr : 0;
	}
	fclose(f);
	return sum;
}

#define HALF_A_SECOND	524288

TEST_F(heap, how_long_pressure_waits)
{
	char *p = span_new(self->fd, 4 * MIB / PAGE);
	unsigned long long slow, all, slow_now, all_now;

	if (access(DEBUGFS "/latency", R_OK))
		SKIP(return, "needs root and debugfs");
	memset(p, 1, 4 * MIB);
	ASSERT_EQ(0, file_write(DROP, "2"));
	sleep_ms(1500);
	slow = waits(HALF_A_SECOND, &all);
	/* Pressure that nothing answers is not counted: not by what was never touched... */
	ASSERT_EQ(0, span_free(self->fd, span_new(self->fd, 512), 0));
	ASSERT_EQ(0, file_write(DROP, "2"));
	waits(0, &all_now);
	EXPECT_EQ(all, all_now);
	/* ...nor later, when it has gone. */
	sleep_ms(1500);
	ASSERT_EQ(0, span_free(self->fd, p, 0));
	ASSERT_EQ(0, file_write(DROP, "2"));
	slow_now = waits(HALF_A_SECOND, &all_now);
	EXPECT_GT(all_now, all);
	EXPECT_EQ(slow, slow_now);
	/* But while it lasts it is. */
	p = span_new(self->fd, 4 * MIB / PAGE);
	memset(p, 1, 4 * MIB);
	for (uint64_t end = now_ms() + 1200; now_ms() < end; sleep_ms(200))
		ASSERT_EQ(0, file_write(DROP, "2"));
	ASSERT_EQ(0, span_free(self->fd, p, 0));
	ASSERT_EQ(0, file_write(DROP, "2"));
	slow_now = waits(HALF_A_SECOND, &all_now);
	EXPECT_EQ(slow + 1, slow_now);
}

/* ---- tracepoints ---------------------------------------------------------------------- */

/* Whether there is an event like this since trace_begin(). */
static bool traced(const char *event)
{
	char line[512];
	bool found = false;
	FILE *f = trace_lines();

	while (!found && fgets(line, sizeof(line), f))
		found = strstr(line, event);
	fclose(f);
	return found;
}

/* Shrunk, grown into what is free behind it, and by more of the arena. */
TEST_F(heap, resizing_is_traced)
{
	char *p = span_new(self->fd, 40), want[3][128], grow[64];
	uint64_t far = 64 * MIB / PAGE;
	struct goheap_resize r;
	struct goheap_stats st;

	if (!is_root() || !trace_begin(getpid(), "goheap"))
		SKIP(return, "needs root and tracefs");
	EXPECT_EQ(0, span_resize(self->fd, p, 10, &r));
	EXPECT_EQ(0, span_resize(self->fd, p, 20, &r));
	EXPECT_FALSE(traced("goheap_grow:"));
	EXPECT_EQ(0, span_resize(self->fd, p, far, &r));
	EXPECT_EQ(-EINVAL, span_resize(self->fd, p + PAGE, 5, &r));
	EXPECT_EQ(0, stats(self->fd, &st));
	for (int i = 0; i < 3; i++) {
		static const unsigned int old[] = { 40, 10, 20 };
		const unsigned int new[] = { 10, 20, far };

		snprintf(want[i], sizeof(want[i]),
			 "goheap_span_resize: heap=%u addr=0x%lx old_npages=%u npages=%u\n",
			 (unsigned int)self->id, (unsigned long)p, old[i], new[i]);
		EXPECT_TRUE(traced(want[i])) TH_LOG("%s", want[i]);
	}
	snprintf(grow, sizeof(grow), "goheap_grow: heap=%u sys_bytes=%llu\n",
		 (unsigned int)self->id, (unsigned long long)st.heap_sys);
	EXPECT_TRUE(traced(grow)) TH_LOG("%s", grow);
	EXPECT_FALSE(traced("npages=5\n"));
	trace_end();
}

TEST_HARNESS_MAIN
