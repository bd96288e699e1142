// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * ATTACH: a new open takes over the heap whose arena is mapped in the caller,
 * after the heap's own descriptor was lost.
 */
#include "dev.h"
#include <kselftest_harness.h>

#define ARENA	(256 * MIB)

FIXTURE(heap) {
	int fd;
	char *arena;
	char *span;
	struct goheap_info info;
};

FIXTURE_SETUP(heap)
{
	self->fd = dev_open();
	self->arena = arena_map(self->fd, ARENA);
	ASSERT_NE(MAP_FAILED, self->arena);
	self->span = span_new(self->fd, 8);
	ASSERT_NE(NULL, self->span);
	fill(self->span, 8 * PAGE, 1);
	ASSERT_EQ(0, info(self->fd, &self->info));
}

FIXTURE_TEARDOWN(heap)
{
	EXPECT_TRUE(filled(self->span, 8 * PAGE, 1));
}

TEST_F(heap, after_close)
{
	struct goheap_scavenge sc;
	struct goheap_info i;
	int fd = dev_open();
	char *p;

	close(self->fd);
	ASSERT_EQ(0, attach(fd, self->span + 5));
	ASSERT_EQ(0, info(fd, &i));
	EXPECT_EQ(0, memcmp(&i, &self->info, sizeof(i)));
	p = span_new(fd, 64);
	ASSERT_NE(NULL, p);
	memset(p, 1, 64 * PAGE);
	EXPECT_EQ(0, span_free(fd, p, 64));
	/* The zap goes to where the arena is, not to what this open maps. */
	EXPECT_EQ(0, scavenge(fd, ALL, &sc));
	EXPECT_EQ(64 * PAGE, sc.released_bytes);
	EXPECT_TRUE(is_zero(p, 64 * PAGE));
	EXPECT_EQ(-EINVAL, span_free(fd, self->span + 1, 0));
}

TEST_F(heap, both_descriptors_work)
{
	int fd = dev_open();
	char *p;

	ASSERT_EQ(0, attach(fd, self->arena));
	p = span_new(fd, 8);
	EXPECT_EQ(0, span_free(self->fd, p, 8));
	p = span_new(self->fd, 8);
	EXPECT_EQ(0, span_free(fd, p, 8));
}

TEST_F(heap, the_last_byte_of_the_arena_and_the_one_after)
{
	int fd = dev_open();

	EXPECT_EQ(-ENOENT, attach(fd, self->arena - 1));
	EXPECT_EQ(-ENOENT, attach(fd, self->arena + ARENA));
	EXPECT_EQ(0, attach(fd, self->arena + ARENA - 1));
}

TEST_F(heap, nobodys_arena)
{
	char *anon = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	volatile void *ctl = ctl_map(self->fd);
	int fd = dev_open(), zero = open("/dev/zero", O_RDWR);
	void *z = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);

	EXPECT_EQ(-ENOENT, attach(fd, NULL));
	EXPECT_EQ(-ENOENT, attach(fd, anon));
	EXPECT_EQ(-ENOENT, attach(fd, z));
	EXPECT_EQ(-ENOENT, attach(fd, (void *)ctl));
	EXPECT_EQ(-ENOENT, attach(fd, (void *)attach));
	EXPECT_EQ(-ENOENT, attach(fd, &fd));
	EXPECT_EQ(-ENOENT, attach(fd, (void *)0xffff888000000000));
	EXPECT_EQ(-ENOENT, attach(fd, (void *)~0UL));
	EXPECT_EQ(-ENOENT, attach(fd, (void *)(1UL << 63)));
	/* It is as fresh as before. */
	EXPECT_NE(MAP_FAILED, arena_map(fd, ARENA));
}

TEST_F(heap, an_open_that_has_a_heap)
{
	int fd = dev_open();

	EXPECT_EQ(-EBUSY, attach(self->fd, self->arena));
	ASSERT_EQ(0, attach(fd, self->arena));
	EXPECT_EQ(-EBUSY, attach(fd, self->arena));
	EXPECT_EQ(MAP_FAILED, arena_map(fd, ARENA));
	EXPECT_EQ(EBUSY, errno);
}

TEST_F(heap, two_heaps_are_told_apart)
{
	int other = dev_open(), fd = dev_open();
	char *arena = arena_map(other, ARENA);
	struct goheap_info i;

	ASSERT_NE(MAP_FAILED, arena);
	ASSERT_EQ(0, attach(fd, arena + 7));
	ASSERT_EQ(0, info(fd, &i));
	EXPECT_EQ((uintptr_t)arena, i.arena_start);
	EXPECT_NE(self->info.heap_id, i.heap_id);
	EXPECT_EQ(-EINVAL, span_free(fd, self->span, 8));
}

TEST_F(heap, the_control_page_by_the_new_descriptor)
{
	int fd = dev_open();
	volatile struct goheap_ctl *ctl;

	EXPECT_EQ(MAP_FAILED, ctl_map(fd));
	EXPECT_EQ(ENXIO, errno);
	ASSERT_EQ(0, attach(fd, self->arena));
	ctl = ctl_map(fd);
	ASSERT_NE(MAP_FAILED, ctl);
	EXPECT_EQ(0, ctl->pressure_gen);
	close(self->fd);
	close(fd);
	EXPECT_EQ(0, ctl->pressure_gen);
}

/* The heap is still there when its arena, and the open that mapped it, are not. */
TEST_F(heap, the_arena_goes_and_the_attached_descriptor_stays)
{
	struct goheap_scavenge sc;
	int fd = dev_open();
	char *arena = self->arena;

	ASSERT_EQ(0, attach(fd, arena));
	close(self->fd);
	ASSERT_EQ(0, munmap(arena, ARENA));
	EXPECT_EQ(0, span_free(fd, self->span, 8));
	EXPECT_EQ(0, scavenge(fd, ALL, &sc));
	EXPECT_EQ(-ENOENT, attach(dev_open(), arena));
	/* For the teardown. */
	mmap(arena, ARENA, PROT_READ | PROT_WRITE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	fill(self->span, 8 * PAGE, 1);
}

TEST_F(heap, a_piece_that_was_moved_away)
{
	char *piece = self->arena + 128 * MIB;
	char *moved = mremap(piece, 4 * MIB, 8 * MIB, MREMAP_MAYMOVE);
	int fd = dev_open();

	ASSERT_NE(MAP_FAILED, moved);
	EXPECT_EQ(-ENOENT, attach(fd, moved));
	EXPECT_EQ(-ENOENT, attach(fd, piece));
	EXPECT_EQ(0, attach(fd, self->arena));
}

TEST_F(heap, an_arena_inherited_by_fork)
{
	pid_t pid = fork();

	if (!pid) {
		int fd = dev_open();

		if (attach(fd, self->arena) != -ESTALE)
			_exit(1);
		/* The descriptor is none of the child's either. */
		if (attach(self->fd, self->arena) != -ESTALE)
			_exit(2);
		_exit(arena_map(fd, ARENA) == MAP_FAILED ? 3 : 0);
	}
	EXPECT_EQ(0, reap(pid));
}

static void *attacher(void *arg)
{
	char **a = arg;

	return (void *)(intptr_t)attach((int)(intptr_t)a[1], a[0]);
}

/* Of several that want to give an open its heap one wins. */
TEST_F_TIMEOUT(heap, races, 120)
{
	for (int round = 0; round < 200; round++) {
		int fd = dev_open(), won = 0;
		char *arg[2] = { self->arena, (char *)(intptr_t)fd };
		pthread_t t[2];
		void *ret, *p;

		for (int i = 0; i < 2; i++)
			ASSERT_EQ(0, pthread_create(&t[i], NULL, attacher, arg));
		p = arena_map(fd, 64 * MIB);
		won += p != MAP_FAILED;
		for (int i = 0; i < 2; i++) {
			pthread_join(t[i], &ret);
			won += ret == NULL;
			if (ret)
				ASSERT_EQ(-EBUSY, (intptr_t)ret);
		}
		ASSERT_EQ(1, won);
		if (p != MAP_FAILED)
			munmap(p, 64 * MIB);
		close(fd);
	}
}

TEST_HARNESS_MAIN
