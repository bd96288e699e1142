// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Everything that the device refuses, with which errno, and that the heap is as
 * it was afterwards: its counters, what its spans hold, and that it goes on.
 */
#include "dev.h"
#include <kselftest_harness.h>
#include <stddef.h>

#define ARENA	GIB
#define KERNEL	0xffff888000000000ULL

FIXTURE(heap) {
	int fd;
	char *arena;
	char *span;		/* 8 pages, in use */
	char *free;		/* 8 pages, freed */
	struct goheap_stats before;
};

FIXTURE_SETUP(heap)
{
	char *guard;

	self->fd = dev_open();
	ASSERT_GE(self->fd, 0);
	self->arena = arena_map(self->fd, ARENA);
	ASSERT_NE(MAP_FAILED, self->arena);
	self->span = span_new(self->fd, 8);
	self->free = span_new(self->fd, 8);
	guard = span_new(self->fd, 8);
	ASSERT_NE(NULL, guard);
	fill(self->span, 8 * PAGE, 7);
	fill(guard, 8 * PAGE, 8);
	ASSERT_EQ(0, span_free(self->fd, self->free, 8));
	ASSERT_EQ(0, stats(self->fd, &self->before));
}

/* After each test: nothing has changed, but for spans allocated and freed again. */
FIXTURE_TEARDOWN(heap)
{
	struct goheap_stats now;
	char *p;

	ASSERT_EQ(0, stats(self->fd, &now));
	EXPECT_EQ(self->before.heap_sys, now.heap_sys);
	EXPECT_EQ(self->before.heap_inuse, now.heap_inuse);
	EXPECT_EQ(self->before.nr_spans, now.nr_spans);
	EXPECT_EQ(self->before.nr_allocs - self->before.nr_frees, now.nr_allocs - now.nr_frees);
	EXPECT_TRUE(filled(self->span, 8 * PAGE, 7));
	EXPECT_TRUE(filled(self->span + 16 * PAGE, 8 * PAGE, 8));
	p = span_new(self->fd, 8);
	EXPECT_NE(NULL, p);
	EXPECT_EQ(0, span_free(self->fd, p, 8));
	EXPECT_EQ(0, span_free(self->fd, self->span, 8));
	close(self->fd);
	munmap(self->arena, ARENA);
}

/* A struct of any command, whose size can be made wrong. */
union arg {
	__u32 size;
	struct goheap_info info;
	struct goheap_attach attach;
	struct goheap_span_vec vec;
	struct goheap_resize resize;
	struct goheap_scavenge scavenge;
	struct goheap_stats stats;
	struct goheap_limit limit;
	struct goheap_map map;
	char room[8192];
};

static const struct {
	unsigned long nr;
	__u32 size;
} all[] = {
	{ GOHEAP_INFO, sizeof(struct goheap_info) },
	{ GOHEAP_ATTACH, sizeof(struct goheap_attach) },
	{ GOHEAP_SPAN_ALLOC, sizeof(struct goheap_span_vec) },
	{ GOHEAP_SPAN_FREE, sizeof(struct goheap_span_vec) },
	{ GOHEAP_SPAN_RESIZE, sizeof(struct goheap_resize) },
	{ GOHEAP_SCAVENGE, sizeof(struct goheap_scavenge) },
	{ GOHEAP_STATS, sizeof(struct goheap_stats) },
	{ GOHEAP_LIMIT, sizeof(struct goheap_limit) },
	{ GOHEAP_MAP, sizeof(struct goheap_map) },
};

#define NR_ALL	(sizeof(all) / sizeof(all[0]))

TEST_F(heap, unknown_commands)
{
	union arg a = { .size = sizeof(struct goheap_info) };

	for (unsigned int nr = NR_ALL; nr < 256; nr++)
		ASSERT_EQ(-ENOTTY, cmd(self->fd, _IOWR(GOHEAP_IOC, nr, struct goheap_info), &a));
	EXPECT_EQ(-ENOTTY, cmd(self->fd, _IOWR(GOHEAP_IOC + 1, 0, struct goheap_info), &a));
	EXPECT_EQ(-ENOTTY, cmd(self->fd, _IOR(GOHEAP_IOC, 0, struct goheap_info), &a));
	EXPECT_EQ(-ENOTTY, cmd(self->fd, _IOW(GOHEAP_IOC, 0, struct goheap_info), &a));
	EXPECT_EQ(-ENOTTY, cmd(self->fd, _IO(GOHEAP_IOC, 0), &a));
	EXPECT_EQ(-ENOTTY, cmd(self->fd, 0, &a));
}

TEST_F(heap, sizes)
{
	union arg a;

	for (unsigned int i = 0; i < NR_ALL; i++) {
		memset(&a, 0, sizeof(a));
		EXPECT_EQ(-EINVAL, cmd(self->fd, all[i].nr, &a));
		a.size = 4;
		EXPECT_EQ(-EINVAL, cmd(self->fd, all[i].nr, &a));
		a.size = all[i].size - 1;
		EXPECT_EQ(-EINVAL, cmd(self->fd, all[i].nr, &a));
		a.size = all[i].size + 8;
		a.room[all[i].size + 3] = 1;
		EXPECT_EQ(-E2BIG, cmd(self->fd, all[i].nr, &a));
		a.room[all[i].size + 3] = 0;
		a.size = 4097;
		EXPECT_EQ(-E2BIG, cmd(self->fd, all[i].nr, &a));
		a.size = ~0U;
		EXPECT_EQ(-E2BIG, cmd(self->fd, all[i].nr, &a));
	}
}

/* A newer caller's longer struct, with nothing in what is new. */
TEST_F(heap, a_longer_struct_with_a_zero_tail_is_fine)
{
	union arg a = {};

	a.info.size = sizeof(a.info) + 64;
	ASSERT_EQ(0, cmd(self->fd, GOHEAP_INFO, &a));
	EXPECT_EQ(sizeof(a.info) + 64, a.info.size);
	EXPECT_EQ((uintptr_t)self->arena, a.info.arena_start);
	memset(&a, 0, sizeof(a));
	a.stats.size = 4096;
	EXPECT_EQ(0, cmd(self->fd, GOHEAP_STATS, &a));
	/* The number of the command then holds another size, which says nothing. */
	EXPECT_EQ(0, cmd(self->fd, _IOC(_IOC_READ | _IOC_WRITE, GOHEAP_IOC, 6, 4096), &a));
}

/* With nothing else in the struct that would be refused. */
TEST_F(heap, unknown_flags)
{
	struct goheap_span alloc = { .npages = 1 };
	struct goheap_span free = { .addr = (uintptr_t)self->span };
	struct goheap_map_span room[1];
	int other = dev_open();
	union arg a;

	for (unsigned int i = 0; i < NR_ALL; i++)
		for (int bit = 0; bit < 32; bit++) {
			if (all[i].nr == GOHEAP_LIMIT && 1U << bit == GOHEAP_LIMIT_SET)
				continue;
			if (all[i].nr == GOHEAP_SPAN_ALLOC && 1U << bit == GOHEAP_VEC_POPULATE)
				continue;
			memset(&a, 0, sizeof(a));
			if (all[i].nr == GOHEAP_ATTACH)
				a.attach.addr = (uintptr_t)self->arena;
			if (all[i].nr == GOHEAP_SPAN_ALLOC)
				a.vec.spans = (uintptr_t)&alloc;
			if (all[i].nr == GOHEAP_SPAN_FREE)
				a.vec.spans = (uintptr_t)&free;
			if (all[i].nr == GOHEAP_MAP)
				a.map.spans = (uintptr_t)room;
			if (a.vec.spans && all[i].nr != GOHEAP_ATTACH)
				a.vec.nr = 1;
			if (all[i].nr == GOHEAP_SPAN_RESIZE) {
				a.resize.addr = (uintptr_t)self->span;
				a.resize.npages = 4;
			}
			a.size = all[i].size;
			a.info.flags = 1U << bit;
			ASSERT_EQ(-EINVAL, cmd(all[i].nr == GOHEAP_ATTACH ? other : self->fd,
					       all[i].nr, &a))
				TH_LOG("command %u, bit %d", i, bit);
		}
	close(other);
}

TEST_F(heap, reserved_fields)
{
	struct goheap_resize r = {
		.size = sizeof(r), .addr = (uintptr_t)self->span, .npages = 4, .reserved = 1,
	};
	struct goheap_span s = { .npages = 1 };
	struct goheap_span_vec v = {
		.size = sizeof(v), .spans = (uintptr_t)&s, .nr = 1, .done = 1,
	};

	EXPECT_EQ(-EINVAL, cmd(self->fd, GOHEAP_SPAN_RESIZE, &r));
	EXPECT_EQ(-EINVAL, cmd(self->fd, GOHEAP_SPAN_ALLOC, &v));
	s = (struct goheap_span){ .addr = (uintptr_t)self->span };
	EXPECT_EQ(-EINVAL, cmd(self->fd, GOHEAP_SPAN_FREE, &v));
	v.done = 0;
	v.align = PAGE;
	EXPECT_EQ(-EINVAL, cmd(self->fd, GOHEAP_SPAN_FREE, &v));
}

TEST_F(heap, element_flags_and_tags)
{
	struct goheap_span s;
	unsigned int done;

	for (int bit = 0; bit < 32; bit++) {
		s = (struct goheap_span){ .npages = 1, .flags = 1U << bit };
		if (s.flags != GOHEAP_SPAN_LARGE)
			ASSERT_EQ(-EINVAL, vec(self->fd, GOHEAP_SPAN_ALLOC, &s, 1, 0, &done));
		s.addr = (uintptr_t)self->span;
		s.npages = 8;
		ASSERT_EQ(-EINVAL, vec(self->fd, GOHEAP_SPAN_FREE, &s, 1, 0, &done));
		ASSERT_EQ(0, done);
	}
	s = (struct goheap_span){ .npages = 1, .tag = 256 };
	EXPECT_EQ(-EINVAL, vec(self->fd, GOHEAP_SPAN_ALLOC, &s, 1, 0, &done));
	s.tag = ~0U;
	EXPECT_EQ(-EINVAL, vec(self->fd, GOHEAP_SPAN_ALLOC, &s, 1, 0, &done));
	s = (struct goheap_span){ .addr = (uintptr_t)self->span, .tag = 1 };
	EXPECT_EQ(-EINVAL, vec(self->fd, GOHEAP_SPAN_FREE, &s, 1, 0, &done));
}

TEST_F(heap, addresses_that_are_no_span)
{
	uint64_t base = (uintptr_t)self->span, end = (uintptr_t)self->arena + ARENA;
	const uint64_t bad[] = {
		0, 1, PAGE, base + 1, base + 8, base + PAGE, base + 7 * PAGE, base - 8,
		base - PAGE, (uintptr_t)self->free, (uintptr_t)self->free + PAGE,
		end, end - PAGE, end + PAGE, end - 1, (uintptr_t)self->arena - PAGE,
		(uintptr_t)&base, (uintptr_t)all, KERNEL, KERNEL + PAGE,
		base | 1ULL << 63, base + (1ULL << 47), base + (1ULL << 52),
		~0ULL, ~0ULL - PAGE + 1, 1ULL << 63, 1ULL << 47, (1ULL << 47) - PAGE,
	};
	struct goheap_resize r;

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ASSERT_EQ(-EINVAL, span_free(self->fd, (void *)bad[i], 0))
			TH_LOG("address 0x%llx", (unsigned long long)bad[i]);
		ASSERT_EQ(-EINVAL, span_free(self->fd, (void *)bad[i], 8));
		ASSERT_EQ(-EINVAL, span_resize(self->fd, (void *)bad[i], 4, &r));
		ASSERT_EQ(-EINVAL, span_resize(self->fd, (void *)bad[i], ~0ULL, &r));
	}
}

TEST_F(heap, lengths_that_are_not_the_spans)
{
	const uint64_t bad[] = { 1, 7, 9, 16, 1ULL << 51, 1ULL << 63, ~0ULL };
	struct goheap_resize r;

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ASSERT_EQ(-EINVAL, span_free(self->fd, self->span, bad[i]));
	EXPECT_EQ(-EINVAL, span_resize(self->fd, self->span, 0, &r));
	/* Not the address is wrong, there is no such room. */
	for (unsigned int i = 3; i < sizeof(bad) / sizeof(bad[0]); i++)
		ASSERT_EQ(-ENOMEM, span_resize(self->fd, self->span, i == 3 ? 17 : bad[i], &r));
}

TEST_F(heap, a_second_free)
{
	char *p = span_new(self->fd, 4);

	ASSERT_EQ(0, span_free(self->fd, p, 4));
	EXPECT_EQ(-EINVAL, span_free(self->fd, p, 4));
	EXPECT_EQ(-EINVAL, span_free(self->fd, p, 0));
}

TEST_F(heap, the_same_span_twice_in_a_vector)
{
	char *p = span_new(self->fd, 4);
	struct goheap_span s[2] = { { .addr = (uintptr_t)p }, { .addr = (uintptr_t)p } };
	unsigned int done;

	EXPECT_EQ(-EINVAL, vec(self->fd, GOHEAP_SPAN_FREE, s, 2, 0, &done));
	EXPECT_EQ(1, done);
}

TEST_F(heap, counts_of_a_vector)
{
	struct goheap_span s[1] = { { .npages = 1 } };
	const unsigned int bad[] = { 0, 513, 1U << 16, 1U << 31, ~0U };

	for (unsigned int i = 0; i < 5; i++) {
		ASSERT_EQ(-EINVAL, vec(self->fd, GOHEAP_SPAN_ALLOC, s, bad[i], 0, NULL));
		ASSERT_EQ(-EINVAL, vec(self->fd, GOHEAP_SPAN_FREE, s, bad[i], 0, NULL));
	}
}

TEST_F(heap, lengths_of_a_span)
{
	const uint64_t bad[] = { ARENA / PAGE + 1, 1ULL << 26, 1ULL << 50, 1ULL << 51,
		(1ULL << 51) + 1, 1ULL << 63, ~0ULL, ~0ULL - 8190 };
	struct goheap_span s;

	EXPECT_EQ(-EINVAL, span_alloc(self->fd, 0, 0, &s));
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ASSERT_EQ(-ENOMEM, span_alloc(self->fd, bad[i], 0, &s));
}

TEST_F(heap, alignments)
{
	const uint64_t bad[] = { 1, 2, 4096, PAGE + 1, 3 * PAGE, ARENA, 1ULL << 52, 1ULL << 63,
		~0ULL };
	struct goheap_span s;

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ASSERT_EQ(-EINVAL, span_alloc(self->fd, 1, bad[i], &s));
}

TEST_F(heap, pointers_that_fault)
{
	struct goheap_span_vec v = { .size = sizeof(v), .nr = 1 };
	const uint64_t bad[] = { 0, 8, 4096, KERNEL, ~0ULL - 8, ~0ULL, 1ULL << 63,
		(1ULL << 47) - 8 };

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		v.spans = bad[i];
		v.done = 0;
		ASSERT_EQ(-EFAULT, cmd(self->fd, GOHEAP_SPAN_ALLOC, &v));
		ASSERT_EQ(0, v.done);
		ASSERT_EQ(-EFAULT, cmd(self->fd, GOHEAP_SPAN_FREE, &v));
		for (unsigned int k = 0; k < NR_ALL; k++)
			ASSERT_EQ(-EFAULT, cmd(self->fd, all[k].nr, (void *)bad[i]));
	}
}

/* Can be read, but not be told the answer. */
TEST_F(heap, memory_that_cannot_be_written)
{
	char *m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct goheap_span_vec *v = (void *)m;
	struct goheap_span *s = (void *)(m + 4096);
	struct goheap_resize *r = (void *)m;

	s[0] = (struct goheap_span){ .npages = 3 };
	*v = (struct goheap_span_vec){ .size = sizeof(*v), .spans = (uintptr_t)s, .nr = 1 };
	/* The elements: the span that nobody would know of is taken back. */
	ASSERT_EQ(0, mprotect(s, 4096, PROT_READ));
	EXPECT_EQ(-EFAULT, cmd(self->fd, GOHEAP_SPAN_ALLOC, v));
	EXPECT_EQ(0, v->done);
	ASSERT_EQ(0, mprotect(s, 4096, PROT_READ | PROT_WRITE));
	/* The header. */
	ASSERT_EQ(0, mprotect(v, 4096, PROT_READ));
	EXPECT_EQ(-EFAULT, cmd(self->fd, GOHEAP_SPAN_ALLOC, v));
	ASSERT_EQ(0, mprotect(v, 4096, PROT_READ | PROT_WRITE));
	s[0] = (struct goheap_span){ .addr = (uintptr_t)self->span };
	ASSERT_EQ(0, mprotect(v, 4096, PROT_READ));
	EXPECT_EQ(-EFAULT, cmd(self->fd, GOHEAP_SPAN_FREE, v));
	ASSERT_EQ(0, mprotect(v, 4096, PROT_READ | PROT_WRITE));
	*r = (struct goheap_resize){
		.size = sizeof(*r), .addr = (uintptr_t)self->span, .npages = 4,
	};
	ASSERT_EQ(0, mprotect(r, 4096, PROT_READ));
	EXPECT_EQ(-EFAULT, cmd(self->fd, GOHEAP_SPAN_RESIZE, r));
	munmap(m, 8192);
}

/* The first chunk of a vector can be read, the end of it cannot. */
TEST_F(heap, a_vector_that_ends_in_a_hole)
{
	char *m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct goheap_span *s;
	unsigned int done;

	ASSERT_EQ(0, munmap(m + 4096, 4096));
	s = (void *)(m + 4096 - 40 * sizeof(*s));
	for (int i = 0; i < 40; i++)
		s[i].npages = 1;
	EXPECT_EQ(-EFAULT, vec(self->fd, GOHEAP_SPAN_ALLOC, s, 100, 0, &done));
	EXPECT_LE(done, 40);
	/* What is said to be done is. */
	for (unsigned int i = 0; i < done; i++) {
		s[i].flags = 0;
		ASSERT_EQ(0, span_free(self->fd, (void *)s[i].addr, 1));
	}
	munmap(m, 4096);
}

TEST(commands_before_the_arena)
{
	union arg a;
	int fd = dev_open(), want;

	for (unsigned int i = 0; i < NR_ALL; i++) {
		memset(&a, 0, sizeof(a));
		a.size = all[i].size;
		want = all[i].nr == GOHEAP_INFO ? 0 :
		       all[i].nr == GOHEAP_ATTACH ? -ENOENT : -ENXIO;
		EXPECT_EQ(want, cmd(fd, all[i].nr, &a));
	}
	close(fd);
}

TEST_F(heap, calls_that_the_device_does_not_have)
{
	char c;

	EXPECT_EQ(-1, read(self->fd, &c, 1));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, write(self->fd, &c, 1));
	EXPECT_EQ(EINVAL, errno);
}

TEST_HARNESS_MAIN
