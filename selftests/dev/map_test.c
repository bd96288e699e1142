// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What may be mapped and how, the control page, and what a process can do to its
 * arena behind the heap's back: unmap, move, protect and map over pieces of it.
 * It may lose what was there, and nothing else; the kernel loses nothing.
 */
#include "dev.h"
#include <linux/userfaultfd.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <kselftest_harness.h>

#define ARENA	(256 * MIB)

static int map_errno(int fd, void *at, size_t bytes, int prot, int flags, off_t off)
{
	void *p = mmap(at, bytes, prot, flags, fd, off);

	if (p == MAP_FAILED)
		return -errno;
	munmap(p, bytes);
	return 0;
}

static int arena_errno(int fd, size_t bytes, int flags)
{
	return map_errno(fd, NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, 0);
}

TEST(arenas_that_are_refused)
{
	int fd = dev_open();
	char *room;

	EXPECT_EQ(-EINVAL, arena_errno(fd, 64 * MIB, MAP_SHARED));
	EXPECT_EQ(-EINVAL, map_errno(fd, NULL, 64 * MIB, PROT_READ, MAP_SHARED, 0));
	EXPECT_EQ(-EINVAL, arena_errno(fd, 4096, MAP_PRIVATE));
	EXPECT_EQ(-EINVAL, arena_errno(fd, 63 * MIB, MAP_PRIVATE));
	EXPECT_EQ(-EINVAL, arena_errno(fd, 65 * MIB, MAP_PRIVATE));
	EXPECT_EQ(-EINVAL, arena_errno(fd, 64 * MIB + 4096, MAP_PRIVATE));
	EXPECT_EQ(-EINVAL, arena_errno(fd, GOHEAP_ARENA_MAX + 64 * MIB, MAP_PRIVATE));
	EXPECT_EQ(-EINVAL, map_errno(fd, NULL, 64 * MIB, PROT_READ, MAP_PRIVATE, 4096));
	EXPECT_EQ(-EINVAL, map_errno(fd, NULL, 64 * MIB, PROT_READ, MAP_PRIVATE, 64 * MIB));
	/* Room, and in it an address that is no multiple of 2 MiB. */
	room = mmap(NULL, ARENA, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	room = (char *)(((uintptr_t)room + 2 * MIB) & ~(2 * MIB - 1)) + MIB;
	EXPECT_EQ(-EINVAL, map_errno(fd, room, 64 * MIB, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED, 0));
	/* None of them took: the first good one is the arena. */
	EXPECT_NE(MAP_FAILED, arena_map(fd, 64 * MIB));
	close(fd);
}

TEST(the_arena_is_where_it_was_asked_for)
{
	void *at = (void *)0xc000000000;
	int fd = dev_open();

	EXPECT_EQ(at, arena_map_at(fd, at, GOHEAP_ARENA_MAX, 0));
	munmap(at, GOHEAP_ARENA_MAX);
	close(fd);
}

TEST(arenas_are_aligned)
{
	for (int i = 0; i < 8; i++) {
		int fd = dev_open();
		char *p = arena_map(fd, 64 * MIB);

		ASSERT_NE(MAP_FAILED, p);
		ASSERT_EQ(0, (uintptr_t)p % (2 * MIB));
	}
}

TEST(a_second_arena)
{
	int fd = dev_open();
	char *p = arena_map(fd, ARENA);

	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(-EBUSY, arena_errno(fd, 64 * MIB, MAP_PRIVATE));
	/* Nor when the first one is gone. */
	munmap(p, ARENA);
	EXPECT_EQ(-EBUSY, arena_errno(fd, 64 * MIB, MAP_PRIVATE));
	close(fd);
}

TEST(the_arena_is_plain_memory)
{
	int fd = dev_open(), pipefd[2];
	char *p = arena_map(fd, ARENA), c[16];

	if (has_huge_pages())
		ASSERT_EQ(0, madvise(p, ARENA, MADV_HUGEPAGE));
	memset(p, 1, 32 * MIB);
	if (has_huge_pages())
		EXPECT_GE(file_field("/proc/self/smaps_rollup", "AnonHugePages"), 16 * 1024);
	EXPECT_EQ(0, mlock(p, 2 * MIB));
	EXPECT_EQ(0, munlock(p, 2 * MIB));
	EXPECT_EQ(0, madvise(p, 2 * MIB, MADV_FREE));
	EXPECT_EQ(0, madvise(p, 2 * MIB, MADV_DONTNEED));
	EXPECT_EQ(0, p[0]);
	ASSERT_EQ(0, pipe(pipefd));
	EXPECT_EQ(16, write(pipefd[1], p + 3 * MIB, 16));
	EXPECT_EQ(16, read(pipefd[0], c, 16));
	EXPECT_EQ(1, c[15]);
	close(fd);
}

/* As the library does: reserved, and opened as it is used. */
/* ---- khugepaged -------------------------------------------------------------- */

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

/* What MADV_COLLAPSE, which follows khugepaged's rules, says of an arena with a hole. */
static int collapse_errno(int fd)
{
	char *p = arena_map(fd, 64 * MIB);

	if (p == MAP_FAILED)
		return -errno;
	memset(p, 1, 4 * MIB);
	if (madvise(p, MIB, MADV_DONTNEED))
		return -errno;
	return madvise(p, 2 * MIB, MADV_COLLAPSE) ? -errno : 0;
}

static int collapse_errno_of_new(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	int err = fd < 0 ? -errno : collapse_errno(fd);

	close(fd);
	return err;
}

TEST(khugepaged_leaves_the_arena_alone)
{
	int fd = dev_open();

	if (!has_huge_pages())
		SKIP(return, "this kernel has no huge pages");
	if (file_number(ALLOWED))
		SKIP(return, "the module's parameter khugepaged is set");
	EXPECT_EQ(-EINVAL, collapse_errno(fd));
	/* Page faults do not. */
	EXPECT_GE(file_field("/proc/self/smaps_rollup", "AnonHugePages"), 2 * 1024);
	/* These look at what they take for a file of tmpfs. */
	EXPECT_EQ(F_SEAL_SEAL, fcntl(fd, F_GET_SEALS));
	EXPECT_LE(0, file_field("/proc/self/smaps", "Swap"));
	close(fd);
}

TEST(unless_it_may)
{
	if (!has_huge_pages())
		SKIP(return, "this kernel has no huge pages");
	if (file_write(ALLOWED, "1"))
		SKIP(return, "needs root");
	EXPECT_EQ(0, collapse_errno_of_new("/dev/goheap"));
	EXPECT_EQ(0, file_write(ALLOWED, "0"));
}

/* Only nodes in tmpfs can hide an arena; others work all the same. */
TEST(or_the_node_is_elsewhere)
{
	char dir[] = "/tmp/map_test.XXXXXX", node[64];
	struct stat st;

	if (!has_huge_pages())
		SKIP(return, "this kernel has no huge pages");
	ASSERT_NE(NULL, mkdtemp(dir));
	snprintf(node, sizeof(node), "%s/goheap", dir);
	ASSERT_EQ(0, stat("/dev/goheap", &st));
	if (mount("none", dir, "ramfs", 0, NULL) || mknod(node, S_IFCHR | 0600, st.st_rdev)) {
		rmdir(dir);
		SKIP(return, "needs root, and ramfs");
	}
	EXPECT_EQ(0, collapse_errno_of_new(node));
	EXPECT_LE(0, file_field("/proc/self/smaps", "Swap"));
	EXPECT_EQ(0, umount2(dir, MNT_DETACH));
	rmdir(dir);
}

/* A program may use userfaultfd, on its arena too. */
TEST(userfaultfd_is_the_programs_own)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_WP };
	int fd = dev_open(), uffd = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	char *p = arena_map(fd, 64 * MIB);

	if (uffd < 0)
		SKIP(return, "no userfaultfd");
	ASSERT_NE(MAP_FAILED, p);
	memset(p, 1, 4 * MIB);
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_API, &api));
	reg.range.start = (uintptr_t)p;
	reg.range.len = 2 * MIB;
	EXPECT_EQ(0, ioctl(uffd, UFFDIO_REGISTER, &reg));
	EXPECT_EQ(0, ioctl(uffd, UFFDIO_UNREGISTER, &reg.range));
	/* Looks at every VMA of the process. */
	EXPECT_EQ(0, close(uffd));
	EXPECT_EQ(1, p[0]);
	close(fd);
}

/* 0 or an error, of resolving a fault at @p with zeros. */
static int zero_page_at(int uffd, char *p)
{
	struct uffdio_register reg = {
		.mode = UFFDIO_REGISTER_MODE_MISSING, .range = { (uintptr_t)p, 4096 } };
	struct uffdio_zeropage zero = { .range = reg.range };
	int err;

	if (ioctl(uffd, UFFDIO_REGISTER, &reg))
		return 1;
	err = ioctl(uffd, UFFDIO_ZEROPAGE, &zero) ? -errno : 0;
	ioctl(uffd, UFFDIO_UNREGISTER, &reg.range);
	return err;
}

/* The kernel has it look at the size of what is mapped, though nothing is read of that. */
TEST(userfaultfd_gives_zero_pages_as_to_dev_zero)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = dev_open(), uffd = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	char *p = arena_map(fd, 64 * MIB), *other;
	int zero = open("/dev/zero", O_RDWR);

	if (uffd < 0)
		SKIP(return, "no userfaultfd");
	other = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);
	ASSERT_TRUE(p != MAP_FAILED && other != MAP_FAILED);
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_API, &api));
	EXPECT_EQ(-EFAULT, zero_page_at(uffd, p));
	EXPECT_EQ(-EFAULT, zero_page_at(uffd, other));
	EXPECT_EQ(0, p[0]);
	close(uffd);
	close(zero);
	close(fd);
}

TEST(a_reserved_arena_is_opened_by_mprotect)
{
	int fd = dev_open();
	char *p = mmap(NULL, ARENA, PROT_NONE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
	char *s;

	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, mprotect(p, 64 * MIB, PROT_READ | PROT_WRITE));
	s = span_new(fd, 64);
	ASSERT_NE(NULL, s);
	fill(s, 64 * PAGE, 1);
	EXPECT_TRUE(filled(s, 64 * PAGE, 1));
	EXPECT_EQ(2, arena_vmas());
	close(fd);
}

TEST(the_heap_outlives_its_descriptor_and_the_arena_too)
{
	struct goheap_info i;
	int fd = dev_open();
	char *p = arena_map(fd, ARENA), *s = span_new(fd, 8), path[128];

	ASSERT_EQ(0, info(fd, &i));
	fill(s, 8 * PAGE, 1);
	close(fd);
	EXPECT_TRUE(filled(s, 8 * PAGE, 1));
	snprintf(path, sizeof(path), SYSFS "/%llu", (unsigned long long)i.heap_id);
	EXPECT_EQ(0, access(path, F_OK));
	munmap(p, ARENA);
	/* The last fput() is done on the way out of munmap(). */
	EXPECT_EQ(-1, access(path, F_OK));
}

/* ---- the control page ----------------------------------------------------------- */

static int ctl_errno(int fd, size_t bytes, int prot, int flags)
{
	return map_errno(fd, NULL, bytes, prot, flags, GOHEAP_OFF_CTL);
}

TEST(control_pages_that_are_refused)
{
	int fd = dev_open();

	EXPECT_EQ(-ENXIO, ctl_errno(fd, 4096, PROT_READ, MAP_SHARED));
	ASSERT_NE(MAP_FAILED, arena_map(fd, ARENA));
	EXPECT_EQ(-EINVAL, ctl_errno(fd, 4096, PROT_READ | PROT_WRITE, MAP_SHARED));
	EXPECT_EQ(-EINVAL, ctl_errno(fd, 4096, PROT_WRITE, MAP_PRIVATE));
	EXPECT_EQ(-EINVAL, ctl_errno(fd, 8192, PROT_READ, MAP_SHARED));
	EXPECT_EQ(0, ctl_errno(fd, 4096, PROT_READ, MAP_PRIVATE));
	EXPECT_EQ(0, ctl_errno(fd, 4096, PROT_READ, MAP_SHARED));
	close(fd);
}

TEST(the_control_page_is_read_only_for_ever)
{
	int fd = dev_open(), mem;
	volatile struct goheap_ctl *ctl, *priv;
	uint64_t one = 1;
	pid_t pid;

	ASSERT_NE(MAP_FAILED, arena_map(fd, ARENA));
	ctl = ctl_map(fd);
	ASSERT_NE(MAP_FAILED, ctl);
	priv = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, GOHEAP_OFF_CTL);
	ASSERT_NE(MAP_FAILED, priv);
	EXPECT_EQ(0, ctl->pressure_gen);
	EXPECT_EQ(0, priv->pressure_gen);
	for (int i = 0; i < 7; i++)
		EXPECT_EQ(0, ctl->reserved[i]);
	EXPECT_EQ(-1, mprotect((void *)ctl, 4096, PROT_READ | PROT_WRITE));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(-1, mprotect((void *)priv, 4096, PROT_READ | PROT_WRITE));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(MAP_FAILED, mremap((void *)ctl, 4096, 8192, MREMAP_MAYMOVE));
	/* Nor by way of a debugger. */
	mem = open("/proc/self/mem", O_RDWR);
	EXPECT_EQ(-1, pwrite(mem, &one, sizeof(one), (uintptr_t)ctl));
	EXPECT_EQ(-1, pwrite(mem, &one, sizeof(one), (uintptr_t)priv));
	EXPECT_EQ(0, ctl->pressure_gen);
	pid = fork();
	if (!pid) {
		((volatile uint64_t *)ctl)[0] = 1;
		_exit(0);
	}
	EXPECT_EQ(128 + SIGSEGV, reap(pid));
	close(fd);
}

TEST(a_child_reads_the_control_page_that_it_inherited)
{
	int fd = dev_open();
	volatile struct goheap_ctl *ctl;
	pid_t pid;

	ASSERT_NE(MAP_FAILED, arena_map(fd, ARENA));
	ctl = ctl_map(fd);
	pid = fork();
	if (!pid)
		_exit(ctl->pressure_gen != 0);
	EXPECT_EQ(0, reap(pid));
	/* And it is no reason not to scavenge, in a child that gave up the arena. */
	close(fd);
}

TEST(a_child_with_only_the_control_page_does_not_stop_scavenging)
{
	struct goheap_scavenge sc;
	int fd = dev_open(), up[2], down[2];
	char *arena = arena_map(fd, ARENA), *p, c;
	pid_t pid;

	ASSERT_NE(MAP_FAILED, ctl_map(fd));
	ASSERT_EQ(0, pipe(up) | pipe(down));
	p = span_new(fd, 64);
	memset(p, 1, 64 * PAGE);
	ASSERT_EQ(0, span_free(fd, p, 64));
	pid = fork();
	if (!pid) {
		munmap(arena, ARENA);
		_exit(write(up[1], "x", 1) != 1 || read(down[0], &c, 1) != 1);
	}
	ASSERT_EQ(1, read(up[0], &c, 1));
	ASSERT_EQ(0, scavenge(fd, ALL, &sc));
	EXPECT_EQ(64 * PAGE, sc.released_bytes);
	EXPECT_EQ(0, sc.waiting_bytes);
	ASSERT_EQ(1, write(down[1], "x", 1));
	EXPECT_EQ(0, reap(pid));
}

/* ---- games with the arena ---------------------------------------------------------- */

#define NR_SPANS	64
#define SPAN_BYTES	(MIB)
#define SPAN_PAGES	(SPAN_BYTES / PAGE)

FIXTURE(games) {
	int fd;
	char *arena;
	char *span[NR_SPANS];		/* each of 1 MiB, filled */
	bool lost[NR_SPANS];		/* the test took it from the heap */
};

FIXTURE_SETUP(games)
{
	self->fd = dev_open();
	self->arena = arena_map(self->fd, ARENA);
	ASSERT_NE(MAP_FAILED, self->arena);
	for (int i = 0; i < NR_SPANS; i++) {
		self->span[i] = span_new(self->fd, SPAN_PAGES);
		ASSERT_NE(NULL, self->span[i]);
		fill(self->span[i], SPAN_BYTES, i);
	}
}

/*
 * Frees every other span and releases all that is free: the others keep what
 * they hold, also those that are between the lost ones; then the heap goes on.
 */
static void scavenge_and_check(struct __test_metadata *_metadata, int fd, char **span,
			       const bool *lost)
{
	struct goheap_scavenge sc;

	for (int i = 0; i < NR_SPANS; i += 2)
		ASSERT_EQ(0, span_free(fd, span[i], SPAN_PAGES));
	ASSERT_EQ(0, scavenge(fd, ALL, &sc));
	EXPECT_EQ(NR_SPANS / 2 * SPAN_BYTES, sc.released_bytes);
	for (int i = 1; i < NR_SPANS; i += 2)
		if (!lost[i])
			EXPECT_TRUE(filled(span[i], SPAN_BYTES, i));
	for (int i = 0; i < NR_SPANS; i += 2) {
		char *p = span_new(fd, SPAN_PAGES);
		int which = (p - span[0]) / SPAN_BYTES;

		ASSERT_NE(NULL, p);
		if (which >= NR_SPANS || !lost[which])
			EXPECT_TRUE(is_zero(p, SPAN_BYTES));
	}
}

FIXTURE_TEARDOWN(games)
{
	scavenge_and_check(_metadata, self->fd, self->span, self->lost);
	close(self->fd);
}

TEST_F(games, none)
{
	EXPECT_EQ(self->span[0] + SPAN_BYTES, self->span[1]);
}

TEST_F(games, munmap_pieces)
{
	for (int i = 10; i < 20; i++)
		self->lost[i] = true;
	ASSERT_EQ(0, munmap(self->span[10], 10 * SPAN_BYTES));
	self->lost[30] = true;
	ASSERT_EQ(0, munmap(self->span[30] + 4096, 4096));
	self->lost[33] = true;
	ASSERT_EQ(0, munmap(self->span[33], 4096));
}

TEST_F(games, map_over_pieces)
{
	char *over = mmap(self->span[10], 10 * SPAN_BYTES, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	for (int i = 10; i < 20; i++)
		self->lost[i] = true;
	ASSERT_EQ(self->span[10], over);
	fill(over, 10 * SPAN_BYTES, 99);
	scavenge_and_check(_metadata, self->fd, self->span, self->lost);
	EXPECT_TRUE(filled(over, 10 * SPAN_BYTES, 99));
	/* For the teardown: as if those had been there from the beginning. */
	for (int i = 0; i < NR_SPANS; i += 2)
		fill(self->span[i], SPAN_BYTES, i);
}

TEST_F(games, protect_pieces)
{
	for (int i = 10; i < 20; i++)
		self->lost[i] = true;
	ASSERT_EQ(0, mprotect(self->span[10], 4 * SPAN_BYTES, PROT_NONE));
	ASSERT_EQ(0, mprotect(self->span[14], 4 * SPAN_BYTES, PROT_READ));
	for (int i = 20; i < 60; i++)
		ASSERT_EQ(0, mprotect(self->span[i] + 8192, 4096, PROT_READ));
	for (int i = 20; i < 60; i++)
		ASSERT_EQ(0, mprotect(self->span[i] + 8192, 4096, PROT_READ | PROT_WRITE));
}

TEST_F(games, move_touched_pieces_away)
{
	char *room = mmap(NULL, 16 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *moved = mremap(self->span[11], SPAN_BYTES, SPAN_BYTES,
			     MREMAP_MAYMOVE | MREMAP_FIXED, room);

	ASSERT_EQ(room, moved);
	self->lost[11] = true;
	/* In use: it may not be touched, wherever it is. */
	scavenge_and_check(_metadata, self->fd, self->span, self->lost);
	EXPECT_TRUE(filled(moved, SPAN_BYTES, 11));
	for (int i = 0; i < NR_SPANS; i += 2)
		fill(self->span[i], SPAN_BYTES, i);
}

TEST_F(games, move_untouched_pieces_and_grow_them)
{
	char *fresh = self->arena + 128 * MIB, *moved;

	moved = mremap(fresh, 2 * MIB, 4 * MIB, MREMAP_MAYMOVE);
	ASSERT_NE(MAP_FAILED, moved);
	fill(moved, 4 * MIB, 50);
	scavenge_and_check(_metadata, self->fd, self->span, self->lost);
	EXPECT_TRUE(filled(moved, 4 * MIB, 50));
	for (int i = 0; i < NR_SPANS; i += 2)
		fill(self->span[i], SPAN_BYTES, i);
}

/* A mapping that continues the arena is merged with it without the device being asked. */
TEST_F(games, extend_the_arena)
{
	char *end = self->arena + ARENA;
	char *more = mmap(end, 64 * MIB, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED_NOREPLACE, self->fd,
			  (uintptr_t)end);

	if (more != MAP_FAILED) {
		fill(more, 64 * MIB, 51);
		scavenge_and_check(_metadata, self->fd, self->span, self->lost);
		EXPECT_TRUE(filled(more, 64 * MIB, 51));
		for (int i = 0; i < NR_SPANS; i += 2)
			fill(self->span[i], SPAN_BYTES, i);
	}
	EXPECT_EQ(-EINVAL, span_free(self->fd, end, 0));
}

TEST_F(games, locked_memory_is_released_too)
{
	struct goheap_scavenge sc;

	if (mlock(self->span[40], 2 * SPAN_BYTES))
		SKIP(return, "mlock is not allowed");
	ASSERT_EQ(0, span_free(self->fd, self->span[40], SPAN_PAGES));
	ASSERT_EQ(0, scavenge(self->fd, ALL, &sc));
	EXPECT_EQ(SPAN_BYTES, sc.released_bytes);
	EXPECT_TRUE(is_zero(self->span[40], SPAN_BYTES));
	ASSERT_EQ(self->span[40], span_new(self->fd, SPAN_PAGES));
	munlock(self->span[40], 2 * SPAN_BYTES);
}



TEST(the_whole_arena_is_unmapped_under_the_heap)
{
	struct goheap_scavenge sc;
	int fd = dev_open();
	char *p = arena_map(fd, ARENA), *s = span_new(fd, 64);

	memset(s, 1, 64 * PAGE);
	munmap(p, ARENA);
	EXPECT_EQ(0, span_free(fd, s, 64));
	EXPECT_EQ(0, scavenge(fd, ALL, &sc));
	EXPECT_EQ(64 * PAGE, sc.released_bytes);
	EXPECT_NE(NULL, span_new(fd, 64));
	close(fd);
}

TEST_HARNESS_MAIN
