// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What the commands on spans do when nothing is wrong: INFO, SPAN_ALLOC,
 * SPAN_FREE, SPAN_RESIZE, SCAVENGE, STATS.
 */
#include "dev.h"
#include <kselftest_harness.h>

#define ARENA	GIB

FIXTURE(heap) {
	int fd;
	char *arena;
};

FIXTURE_SETUP(heap)
{
	self->fd = dev_open();
	ASSERT_GE(self->fd, 0);
	self->arena = arena_map(self->fd, ARENA);
	ASSERT_NE(MAP_FAILED, self->arena);
}

FIXTURE_TEARDOWN(heap)
{
	close(self->fd);
	munmap(self->arena, ARENA);
}

TEST_F(heap, info_tells_the_arena)
{
	struct goheap_info i;

	ASSERT_EQ(0, info(self->fd, &i));
	EXPECT_EQ((uintptr_t)self->arena, i.arena_start);
	EXPECT_EQ(ARENA, i.arena_bytes);
	EXPECT_EQ(GOHEAP_PAGE_SIZE, i.page_size);
	EXPECT_EQ(GOHEAP_VEC_MAX, i.max_vec);
	EXPECT_EQ(GOHEAP_ARENA_MAX, i.max_arena_bytes);
	EXPECT_EQ(GOHEAP_FEAT_SPANS | GOHEAP_FEAT_SCAVENGE | GOHEAP_FEAT_ATTACH |
		  GOHEAP_FEAT_CTL | GOHEAP_FEAT_STATS | GOHEAP_FEAT_LIMIT |
		  GOHEAP_FEAT_POLL | GOHEAP_FEAT_POPULATE | GOHEAP_FEAT_MAP,
		  i.features & ~GOHEAP_FEAT_URING);
	EXPECT_NE(0, i.heap_id);
}

TEST(info_before_the_arena)
{
	struct goheap_info i;
	int fd = dev_open();

	ASSERT_EQ(0, info(fd, &i));
	EXPECT_EQ(0, i.heap_id);
	EXPECT_EQ(0, i.arena_start);
	EXPECT_EQ(0, i.arena_bytes);
	EXPECT_EQ(GOHEAP_ARENA_MAX, i.max_arena_bytes);
	close(fd);
}

TEST_F(heap, spans_do_not_overlap_and_are_usable)
{
	struct goheap_span s[512] = {};
	unsigned int done;

	for (int i = 0; i < 512; i++) {
		s[i].npages = 1 + i % 7;
		s[i].tag = i % 256;
	}
	ASSERT_EQ(0, vec(self->fd, GOHEAP_SPAN_ALLOC, s, 512, 0, &done));
	ASSERT_EQ(512, done);
	for (int i = 0; i < 512; i++) {
		ASSERT_GE(s[i].addr, (uintptr_t)self->arena);
		ASSERT_LE(s[i].addr + s[i].npages * PAGE, (uintptr_t)self->arena + ARENA);
		ASSERT_EQ(0, s[i].addr % PAGE);
		fill((void *)s[i].addr, s[i].npages * PAGE, i);
	}
	for (int i = 0; i < 512; i++) {
		ASSERT_TRUE(filled((void *)s[i].addr, s[i].npages * PAGE, i));
		s[i].flags = 0;
		s[i].tag = 0;
	}
	ASSERT_EQ(0, vec(self->fd, GOHEAP_SPAN_FREE, s, 512, 0, &done));
	ASSERT_EQ(512, done);
}

TEST_F(heap, fresh_spans_read_as_zeros_and_used_ones_say_so)
{
	struct goheap_scavenge sc;
	struct goheap_span s;

	ASSERT_EQ(0, span_alloc(self->fd, 64, 0, &s));
	EXPECT_EQ(0, s.flags);
	EXPECT_TRUE(is_zero((void *)s.addr, 64 * PAGE));
	memset((void *)s.addr, 0xaa, 64 * PAGE);
	ASSERT_EQ(0, span_free(self->fd, (void *)s.addr, 64));

	ASSERT_EQ(0, span_alloc(self->fd, 64, 0, &s));
	EXPECT_EQ(GOHEAP_SPAN_NEEDZERO, s.flags);
	EXPECT_EQ(0xaa, *(unsigned char *)s.addr);
	ASSERT_EQ(0, span_free(self->fd, (void *)s.addr, 0));

	ASSERT_EQ(0, scavenge(self->fd, ALL, &sc));
	EXPECT_EQ(64 * PAGE, sc.released_bytes);
	EXPECT_EQ(0, sc.waiting_bytes);
	ASSERT_EQ(0, span_alloc(self->fd, 64, 0, &s));
	EXPECT_EQ(0, s.flags);
	EXPECT_TRUE(is_zero((void *)s.addr, 64 * PAGE));
}

TEST_F(heap, every_alignment)
{
	struct goheap_span s;

	for (uint64_t align = PAGE; align <= ARENA / 2; align *= 2) {
		ASSERT_EQ(0, span_alloc(self->fd, 3, align, &s));
		EXPECT_EQ(0, s.addr % align);
		/* In an arena that is aligned to its half it would lie in the next one's way. */
		ASSERT_EQ(0, span_free(self->fd, (void *)s.addr, 3));
	}
}

TEST_F(heap, a_large_span_is_freed_by_its_address)
{
	struct goheap_span s = { .npages = 4096, .flags = GOHEAP_SPAN_LARGE, .tag = 255 };

	ASSERT_EQ(0, vec(self->fd, GOHEAP_SPAN_ALLOC, &s, 1, 2 * MIB, NULL));
	EXPECT_EQ(GOHEAP_SPAN_LARGE, s.flags);
	EXPECT_EQ(0, span_free(self->fd, (void *)s.addr, 4096));
}

TEST_F(heap, the_whole_arena_and_not_a_page_more)
{
	struct goheap_span s;

	ASSERT_EQ(0, span_alloc(self->fd, ARENA / PAGE, 0, &s));
	EXPECT_EQ((uintptr_t)self->arena, s.addr);
	EXPECT_EQ(-ENOMEM, span_alloc(self->fd, 1, 0, &s));
	EXPECT_EQ(0, span_free(self->fd, self->arena, ARENA / PAGE));
	EXPECT_EQ(0, span_alloc(self->fd, 1, 0, &s));
}

/* Idle pages and pages that were never used are one run only when the idle ones are released. */
TEST_F(heap, releases_what_is_idle_before_it_gives_up)
{
	struct goheap_span first, s;
	struct goheap_stats st;

	ASSERT_EQ(0, span_alloc(self->fd, 1, 0, &first));
	ASSERT_EQ(0, span_alloc(self->fd, ARENA / PAGE / 2, 0, &s));
	memset((char *)s.addr, 1, MIB);
	ASSERT_EQ(0, span_free(self->fd, (void *)s.addr, 0));
	/* Not for what would not fit anyway. */
	EXPECT_EQ(-ENOMEM, span_alloc(self->fd, ARENA / PAGE, 0, &s));
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(ARENA / 2, st.heap_idle - st.heap_released);
	ASSERT_EQ(0, span_alloc(self->fd, ARENA / PAGE - 1, 0, &s));
	EXPECT_EQ(first.addr + PAGE, s.addr);
	EXPECT_EQ(0, s.flags);
	EXPECT_EQ(0, *(char *)s.addr);
}

/* What does not fit ends the vector: what is before it stands, and is told. */
TEST_F(heap, a_vector_stops_at_the_first_that_fails)
{
	struct goheap_span s[40] = {};
	struct goheap_stats st;
	unsigned int done;

	for (int i = 0; i < 40; i++)
		s[i].npages = i == 35 ? ARENA / PAGE : 1;
	EXPECT_EQ(-ENOMEM, vec(self->fd, GOHEAP_SPAN_ALLOC, s, 40, 0, &done));
	EXPECT_EQ(35, done);
	EXPECT_EQ(0, s[35].addr);
	EXPECT_EQ(0, s[36].addr);
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(35, st.nr_spans);

	s[34].addr++;
	for (int i = 0; i < 40; i++)
		s[i].flags = 0;
	EXPECT_EQ(-EINVAL, vec(self->fd, GOHEAP_SPAN_FREE, s, 40, 0, &done));
	EXPECT_EQ(34, done);
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(1, st.nr_spans);
}

TEST_F(heap, resize_in_place)
{
	char *a = span_new(self->fd, 8), *b = span_new(self->fd, 8);
	struct goheap_resize r;
	struct goheap_stats st;

	ASSERT_EQ(a + 8 * PAGE, b);
	fill(a, 8 * PAGE, 1);
	/* Its neighbour is in use. */
	EXPECT_EQ(-ENOMEM, span_resize(self->fd, a, 9, &r));
	EXPECT_EQ(0, span_resize(self->fd, a, 8, &r));
	EXPECT_EQ(8, r.old_npages);
	memset(b, 0xbb, 8 * PAGE);
	ASSERT_EQ(0, span_free(self->fd, b, 8));
	/* Into what was freed just now, and may hold old data. */
	ASSERT_EQ(0, span_resize(self->fd, a, 12, &r));
	EXPECT_EQ(8, r.old_npages);
	EXPECT_EQ(GOHEAP_SPAN_NEEDZERO, r.span_flags);
	EXPECT_TRUE(filled(a, 8 * PAGE, 1));
	EXPECT_EQ(0xbb, (unsigned char)a[8 * PAGE]);
	/* And back. */
	ASSERT_EQ(0, span_resize(self->fd, a, 3, &r));
	EXPECT_EQ(12, r.old_npages);
	EXPECT_EQ(0, r.span_flags);
	EXPECT_TRUE(filled(a, 3 * PAGE, 1));
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(3 * PAGE, st.heap_inuse);
	EXPECT_EQ(-EINVAL, span_free(self->fd, a, 12));
	EXPECT_EQ(0, span_free(self->fd, a, 3));
}

TEST_F(heap, resize_into_fresh_pages_needs_no_zeroing)
{
	char *a = span_new(self->fd, 8);
	struct goheap_resize r;

	memset(a, 0xaa, 8 * PAGE);
	ASSERT_EQ(0, span_resize(self->fd, a, 256, &r));
	EXPECT_EQ(0, r.span_flags);
	EXPECT_TRUE(is_zero(a + 8 * PAGE, 248 * PAGE));
	EXPECT_EQ(0xaa, (unsigned char)a[8 * PAGE - 1]);
}

TEST_F(heap, stats_add_up)
{
	struct goheap_stats st;
	struct goheap_scavenge sc;
	char *a, *b;

	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(0, st.heap_sys);
	a = span_new(self->fd, 100);
	b = span_new(self->fd, 1000);
	fill(a, 100 * PAGE, 1);
	fill(b, 1000 * PAGE, 2);
	ASSERT_EQ(0, span_free(self->fd, b, 1000));
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(100 * PAGE, st.heap_inuse);
	EXPECT_EQ(st.heap_sys, st.heap_inuse + st.heap_idle);
	EXPECT_EQ(1000 * PAGE, st.heap_idle - st.heap_released);
	EXPECT_EQ(1, st.nr_spans);
	EXPECT_EQ(2, st.nr_allocs);
	EXPECT_EQ(1, st.nr_frees);
	EXPECT_GE(st.nr_grows, 1);
	EXPECT_GT(st.meta_bytes, 0);
	EXPECT_EQ(0, st.scav_demand_bytes);

	ASSERT_EQ(0, scavenge(self->fd, ALL, &sc));
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(1000 * PAGE, sc.released_bytes);
	EXPECT_EQ(1000 * PAGE, st.scav_demand_bytes);
	EXPECT_EQ(st.heap_idle, st.heap_released);
	EXPECT_EQ(0, st.scav_age_bytes + st.scav_pressure_bytes + st.scav_skipped);
	EXPECT_TRUE(filled(a, 100 * PAGE, 1));
}

TEST_F(heap, scavenging_lowers_rss_and_stops_in_time)
{
	char *keep = span_new(self->fd, 32 * MIB / PAGE);
	char *idle = span_new(self->fd, 32 * MIB / PAGE);
	struct goheap_scavenge sc;
	long rss;

	fill(keep, 32 * MIB, 1);
	memset(idle, 1, 32 * MIB);
	ASSERT_EQ(0, span_free(self->fd, idle, 0));
	rss = rss_kib(getpid());
	ASSERT_EQ(0, scavenge(self->fd, 0, &sc));
	EXPECT_EQ(0, sc.released_bytes);
	ASSERT_EQ(0, scavenge(self->fd, 1, &sc));
	EXPECT_GT(sc.released_bytes, 0);
	EXPECT_LE(sc.released_bytes, 4 * MIB);
	ASSERT_EQ(0, scavenge(self->fd, 8 * MIB, &sc));
	EXPECT_GE(sc.released_bytes, 8 * MIB);
	EXPECT_LE(sc.released_bytes, 12 * MIB);
	ASSERT_EQ(0, scavenge(self->fd, ALL, &sc));
	EXPECT_GE(rss - rss_kib(getpid()), 30 * 1024);
	EXPECT_TRUE(filled(keep, 32 * MIB, 1));
}

TEST_F(heap, scavenging_spares_what_is_young)
{
	char *p = span_new(self->fd, 64);
	struct goheap_scavenge sc = {
		.size = sizeof(sc), .max_bytes = ALL, .min_age_ns = 3600 * 1000000000ULL,
	};

	memset(p, 1, 64 * PAGE);
	ASSERT_EQ(0, span_free(self->fd, p, 64));
	ASSERT_EQ(0, cmd(self->fd, GOHEAP_SCAVENGE, &sc));
	EXPECT_EQ(0, sc.released_bytes);
	sleep_ms(100);
	sc.min_age_ns = 20 * 1000000ULL;
	ASSERT_EQ(0, cmd(self->fd, GOHEAP_SCAVENGE, &sc));
	EXPECT_EQ(64 * PAGE, sc.released_bytes);
}

/* However much is released, and however often: release is no VMA split. */
TEST_F(heap, two_vmas_after_a_storm)
{
	static struct goheap_span s[4096];
	struct goheap_scavenge sc;
	uint64_t seed = 1;

	ASSERT_EQ(0, mprotect(self->arena + 256 * MIB, ARENA - 256 * MIB, PROT_NONE));
	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < 4096; i++) {
			if (span_alloc(self->fd, 1 + rnd(&seed) % 6, 0, &s[i]))
				s[i].addr = 0;
			else
				*(char *)s[i].addr = 1;
		}
		for (int i = 0; i < 4096; i++)
			if (s[i].addr && rnd(&seed) % 2) {
				ASSERT_EQ(0, span_free(self->fd, (void *)s[i].addr, 0));
				s[i].addr = 0;
			}
		ASSERT_EQ(0, scavenge(self->fd, ALL, &sc));
		EXPECT_GT(sc.released_bytes, 4 * MIB);
		for (int i = 0; i < 4096; i++)
			if (s[i].addr)
				ASSERT_EQ(0, span_free(self->fd, (void *)s[i].addr, 0));
		EXPECT_LE(arena_vmas(), 2);
	}
}

TEST_HARNESS_MAIN
