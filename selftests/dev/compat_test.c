// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The commands as a 32-bit program gives them: by the 32-bit entry to the kernel,
 * with structs below 4 GiB.  The structs have one layout for both.
 */
#include "dev.h"
#include <kselftest_harness.h>

#if defined(__x86_64__)

#define ARENA		(64 * MIB)
#define NR_IOCTL_32	54

static long ioctl32(int fd, unsigned int nr, void *arg)
{
	long ret = NR_IOCTL_32;

	asm volatile("int $0x80" : "+a"(ret)
		     : "b"((long)fd), "c"((long)nr), "d"(arg)
		     : "memory", "r8", "r9", "r10", "r11");
	return (int)ret;
}

static sigjmp_buf no_32;

static void segv(int sig)
{
	siglongjmp(no_32, 1);
}

/* A kernel without 32-bit entry answers with a signal. */
static bool has_32(void)
{
	if (sigsetjmp(no_32, 1))
		return false;
	signal(SIGSEGV, segv);
	ioctl32(-1, 0, NULL);
	signal(SIGSEGV, SIG_DFL);
	return true;
}
NEED(has_32, "the kernel has no 32-bit entry");

FIXTURE(heap) {
	int fd;
	char *arena;
	char *low;		/* 64 KiB below 4 GiB */
};

FIXTURE_SETUP(heap)
{
	self->fd = dev_open();
	self->arena = arena_map(self->fd, ARENA);
	ASSERT_NE(MAP_FAILED, self->arena);
	self->low = mmap(NULL, 65536, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	ASSERT_NE(MAP_FAILED, self->low);
}

FIXTURE_TEARDOWN(heap)
{
	close(self->fd);
}

TEST_F(heap, info)
{
	struct goheap_info *i = (void *)self->low;

	i->size = sizeof(*i);
	ASSERT_EQ(0, ioctl32(self->fd, GOHEAP_INFO, i));
	EXPECT_EQ((uintptr_t)self->arena, i->arena_start);
	EXPECT_EQ(GOHEAP_VEC_MAX, i->max_vec);
}

TEST_F(heap, spans)
{
	struct goheap_span_vec *v = (void *)self->low;
	struct goheap_span *s = (void *)(self->low + 4096);
	struct goheap_resize *r = (void *)self->low;
	struct goheap_scavenge *sc = (void *)self->low;
	struct goheap_stats *st = (void *)self->low;

	for (int i = 0; i < 100; i++)
		s[i] = (struct goheap_span){ .npages = 2 };
	*v = (struct goheap_span_vec){
		.size = sizeof(*v), .spans = (uintptr_t)s, .nr = 100,
	};
	ASSERT_EQ(0, ioctl32(self->fd, GOHEAP_SPAN_ALLOC, v));
	EXPECT_EQ(100, v->done);
	for (int i = 0; i < 100; i++)
		memset((void *)s[i].addr, 1, 2 * PAGE);
	v->done = 0;
	ASSERT_EQ(0, ioctl32(self->fd, GOHEAP_SPAN_FREE, v));

	*v = (struct goheap_span_vec){ .size = sizeof(*v), .spans = (uintptr_t)s, .nr = 1 };
	s[0] = (struct goheap_span){ .npages = 2 };
	ASSERT_EQ(0, ioctl32(self->fd, GOHEAP_SPAN_ALLOC, v));
	*r = (struct goheap_resize){ .size = sizeof(*r), .addr = s[0].addr, .npages = 5 };
	ASSERT_EQ(0, ioctl32(self->fd, GOHEAP_SPAN_RESIZE, r));
	EXPECT_EQ(2, r->old_npages);
	EXPECT_EQ(GOHEAP_SPAN_NEEDZERO, r->span_flags);

	*sc = (struct goheap_scavenge){ .size = sizeof(*sc), .max_bytes = ALL };
	ASSERT_EQ(0, ioctl32(self->fd, GOHEAP_SCAVENGE, sc));
	EXPECT_EQ(195 * PAGE, sc->released_bytes);

	*st = (struct goheap_stats){ .size = sizeof(*st) };
	ASSERT_EQ(0, ioctl32(self->fd, GOHEAP_STATS, st));
	EXPECT_EQ(101, st->nr_allocs);
	EXPECT_EQ(5 * PAGE, st->heap_inuse);
}

TEST_F(heap, attach)
{
	struct goheap_attach *a = (void *)self->low;
	int fd = dev_open();

	*a = (struct goheap_attach){ .size = sizeof(*a), .addr = (uintptr_t)self->arena };
	EXPECT_EQ(0, ioctl32(fd, GOHEAP_ATTACH, a));
	EXPECT_EQ(-EBUSY, ioctl32(fd, GOHEAP_ATTACH, a));
	close(fd);
}

TEST_F(heap, refused)
{
	struct goheap_info *i = (void *)self->low;

	i->size = sizeof(*i) - 1;
	EXPECT_EQ(-EINVAL, ioctl32(self->fd, GOHEAP_INFO, i));
	i->size = sizeof(*i);
	i->flags = 1;
	EXPECT_EQ(-EINVAL, ioctl32(self->fd, GOHEAP_INFO, i));
	EXPECT_EQ(-EFAULT, ioctl32(self->fd, GOHEAP_INFO, (void *)8));
	EXPECT_EQ(-ENOTTY, ioctl32(self->fd, _IO(GOHEAP_IOC, 77), i));
}

#else

TEST(compat)
{
	SKIP(return, "only x86-64 is tried");
}

#endif

TEST_HARNESS_MAIN
