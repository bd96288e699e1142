// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Spans from the inside: where they are after each step, that the last free of a span
 * that nobody owns is noticed in whatever order they come, that the heap reuses what
 * was freed before it grows, and that a free which made a span empty unnoticed (the
 * test stores FREE itself, as a free that lost the race does) is made good by the
 * sweep cycle.
 */
#define _GNU_SOURCE
#include <goheap.h>
#include <sched.h>
#include "../../userlib/empty.h"
#include "../../userlib/few.h"
#include "../../userlib/mcache.h"
#include "../../userlib/mcentral.h"
#include "../../userlib/sweep.h"

#define SPANS	400u
#include "front_spans.h"

/* What a free does that nobody hears of. */
static void free_silently(void *p)
{
	__atomic_store_n(state_of(p), GHU_OBJ_FREE, __ATOMIC_RELEASE);
}

static unsigned int count_state(const struct ghu_mspan *s, uint8_t state)
{
	return (unsigned int)__builtin_popcountll(ghu_match64(ghu_states(s), state));
}

static int test_states(void)
{
	struct ghu_mspan *s;
	char *p = vmalloc(SIZE);

	s = span_of(p);
	T_EQ(ghu_mspan_where(s), GHU_SPAN_IS_OWNED);
	T(s->owner == ghu_mcache);
	T_EQ(s->spanclass, CLASS << 1 | 1);
	T_EQ(s->npages, 2);
	T_EQ(s->elemsize, SIZE);
	T_EQ(ghu_entry_class(ghu_pagemap_entry((uintptr_t)p)), CLASS);
	T_EQ(count_state(s, GHU_OBJ_LIVE), 1);
	/* The lowest free object first, in rising order. */
	for (unsigned int i = index_of(p) + 1; i < PER; i++)
		T((char *)vmalloc(SIZE) == p + (i - index_of(p)) * SIZE);
	T_EQ(s->nelems, PER);
	T_EQ(count_state(s, GHU_OBJ_TAIL), 64 - PER);
	T(!span_of((char *)s->base + ((size_t)1 << 30)));
	p = vmalloc(600000);
	s = span_of(p);
	T_EQ(ghu_mspan_where(s), GHU_SPAN_IS_LARGE);
	T_EQ(s->npages, 74);
	T_EQ(s->spanclass, 1);
	T_EQ(ghu_entry_class(ghu_pagemap_entry((uintptr_t)p)), 0);
	vfree(p);
	T(!span_of(p));
	return T_PASS;
}

/* New memory is touched as objects are needed: twice as many each time. */
static int test_extend(void)
{
	const size_t size = 5376, all = 12;	/* no other test's */
	char *p[12];
	struct ghu_mspan *s;

	/* Who needs one at a time goes round in those that there are. */
	for (unsigned int i = 0; i < 2 * all; i++) {
		char *q = vmalloc(size);

		T(!i || q == p[0] + i % 8 * size);
		if (!i)
			p[0] = q;
		vfree(q);
	}
	for (unsigned int i = 0; i < all; i++) {
		unsigned int most = 8;

		while (most <= i)
			most *= 2;
		p[i] = vmalloc(size);
		s = span_of(p[i]);
		T(p[i] == p[0] + i * size);
		T_EQ(s->nelems, most < all ? most : all);
		T_EQ(count_state(s, GHU_OBJ_LIVE), i + 1);
		T_EQ(count_state(s, GHU_OBJ_TAIL), 64 - s->nelems);
	}
	while (s->nelems == all)
		s = span_of(vmalloc(size));
	T_EQ(s->nelems, 8);
	/* Who gives it up leaves all to others. */
	goheap_flush();
	T_EQ(ghu_mspan_where(s), GHU_SPAN_IS_SHARED);
	T_EQ(s->nelems, all);
	T_EQ(count_state(s, GHU_OBJ_FREE), all - 1);
	return T_PASS;
}

/* One object is watched until it is the last one: its free gives the span back. */
static int test_watch(void)
{
	struct ghu_mspan *s;

	T_SUB(make_shared());
	s = span_of(objects[0]);
	T_EQ(count_state(s, GHU_OBJ_WATCH), 1);
	/* The highest was chosen, so that rising frees meet it last. */
	T_EQ(*state_of(objects[PER - 1]), GHU_OBJ_WATCH);
	for (unsigned int i = 0; i < PER - 1; i++) {
		vfree(objects[i]);
		T_EQ(ghu_mspan_where(s), GHU_SPAN_IS_SHARED);
		T_EQ(*state_of(objects[PER - 1]), GHU_OBJ_WATCH);
	}
	vfree(objects[PER - 1]);
	T(!span_of(objects[0]));
	ghu_empty_flush();
	T(ghu_pagemap_get((uintptr_t)objects[0]) == &ghu_mspan_gone);

	/* And falling ones hand it on once, to the other end. */
	s = span_of(objects[PER]);
	vfree(objects[2 * PER - 1]);
	T_EQ(*state_of(objects[PER]), GHU_OBJ_WATCH);
	for (unsigned int i = 2 * PER - 2; i > PER; i--)
		vfree(objects[i]);
	T_EQ(*state_of(objects[PER]), GHU_OBJ_WATCH);
	T_EQ(count_state(s, GHU_OBJ_FREE), PER - 1);
	vfree(objects[PER]);
	T(!span_of(objects[PER]));
	return T_PASS;
}

/* In any order, and from another thread. */
static void *free_all(void *arg)
{
	for (unsigned int i = 0; i < N; i++)
		vfree(objects[i]);
	return arg;
}

static int test_orders(void)
{
	size_t before;
	pthread_t t;

	/* What libc allocates for its first thread stays. */
	T_SUB(make_shared());
	free_all(NULL);
	before = goheap_inuse_bytes();
	for (int order = 0; order < 4; order++) {
		T_SUB(make_shared());
		T(goheap_inuse_bytes() >= before + N * SIZE);
		for (unsigned int i = 0; i < N && order; i++) {
			unsigned int k = order == 1 ? N - 1 - i : (unsigned int)t_below(N);
			char *p = objects[i];

			if (order > 1 || k > i)
				objects[i] = objects[k], objects[k] = p;
		}
		T(!pthread_create(&t, NULL, free_all, NULL));
		pthread_join(t, NULL);
		printf("# order %d: %zu\n", order, goheap_inuse_bytes() - before);
		T(goheap_inuse_bytes() == before);
	}
	return T_PASS;
}

/* Wherever an object lies in a span it is counted; and one that is kept with the watch has it. */
static int test_counts(void)
{
	uint8_t *states, was[GHU_MAX_OBJECTS];
	struct ghu_mspan *s;

	T_SUB(make_shared());
	s = span_of(objects[0]);
	states = ghu_states(s);
	memcpy(was, states, s->nelems);
	memset(states, GHU_OBJ_LIVE, s->nelems);
	for (unsigned int i = 0; i < s->nelems; i++) {
		states[i] = GHU_OBJ_FREE;
		T_EQ(ghu_mspan_count_free(s), 1);
		states[i] = GHU_OBJ_KEPT_WATCH;
		T_EQ(ghu_mspan_count_free(s), 0);
		T_EQ(ghu_mspan_watch(s, 0), 0);
		T(!memchr(states, GHU_OBJ_WATCH, s->nelems));
		states[i] = GHU_OBJ_LIVE;
	}
	memcpy(states, was, s->nelems);
	return T_PASS;
}

/* How many classes have a span is what says when all were given up. */
static int test_classes(void)
{
	goheap_flush();
	T_EQ(ghu_mcache->nr_have_spans, 0);
	for (size_t size = 100; size <= 1000; size += 300)
		vfree(vmalloc(size));
	T_EQ(ghu_mcache->nr_have_spans, 4);
	goheap_flush();
	T_EQ(ghu_mcache->nr_have_spans, 0);
	T(!ghu_mcache->owned_pages);
	return T_PASS;
}

/* Who needs a span gets those with free objects before the heap grows by half. */
static int test_reuse(void)
{
	unsigned int reused = 0;
	size_t inuse;

	T_SUB(make_shared());
	for (unsigned int i = 0; i < N; i++)
		if (i % PER < PER / 2)
			vfree(objects[i]);
	inuse = goheap_inuse_bytes();
	for (unsigned int i = 0; i < N / 2; i++) {
		char *p = vmalloc(SIZE);

		reused += index_of(p) < PER / 2 && ghu_mspan_count_free(span_of(p)) < PER;
	}
	printf("# %u of %u reused, heap %zu -> %zu\n", reused, N / 2, inuse, goheap_inuse_bytes());
	T(goheap_inuse_bytes() <= inuse + SPAN_BYTES);
	return T_PASS;
}

/* Half of the objects, but not the one on WATCH. */
static void make_room_in(const struct ghu_mspan *s)
{
	for (unsigned int i = 0; i < PER / 2; i++)
		free_silently((char *)s->base + i * SIZE);
}

/* How many spans are new before that one is found; all that have room are full afterwards. */
static unsigned int new_before(const struct ghu_mspan *s)
{
	unsigned int nr = 0;

	while (span_of(vmalloc(SIZE)) != s)
		nr++;
	for (unsigned int i = 1; i < PER / 2; i++)
		vmalloc(SIZE);
	return nr / PER;
}

/* Who found nothing looks at one span less the next time, and else at one more, up to four. */
static int test_looks(void)
{
	struct ghu_mspan *ring[24];

	T_SUB(make_shared());
	ring[0] = span_of(objects[0]);
	for (unsigned int i = 1; i < ARRAY_SIZE(ring); i++)
		ring[i] = ring[i - 1]->next;
	for (unsigned int i = 0; i < 8 * PER; i++)
		vmalloc(SIZE);
	make_room_in(ring[0]);
	new_before(ring[0]);
	/* Two, and one. */
	make_room_in(ring[3]);
	T_EQ(new_before(ring[3]), 1);
	for (unsigned int i = 4; i <= 6; i++) {
		make_room_in(ring[i]);
		T_EQ(new_before(ring[i]), 0);
	}
	/* Four, then four, and the next. */
	make_room_in(ring[10]);
	T_EQ(new_before(ring[10]), 0);
	make_room_in(ring[15]);
	T_EQ(new_before(ring[15]), 1);
	/* Four, three, and the next. */
	make_room_in(ring[23]);
	T_EQ(new_before(ring[23]), 2);
	return T_PASS;
}

/* Who let go of a span that has room finds it, however many full ones there are. */
static int test_room_first(void)
{
	struct ghu_mspan *s;

	T_SUB(make_shared());
	s = span_of(vmalloc(SIZE));
	goheap_flush();
	T_EQ(ghu_mspan_where(s), GHU_SPAN_IS_SHARED);
	T(span_of(vmalloc(SIZE)) == s);
	T_EQ(ghu_mspan_where(s), GHU_SPAN_IS_OWNED);
	return T_PASS;
}

/* A thread that may own no more gives up what it has of classes that it no longer uses. */
static int test_unused_class(void)
{
	struct ghu_mspan *s = span_of(vmalloc(3000));

	T_EQ(ghu_mspan_where(s), GHU_SPAN_IS_OWNED);
	fill_spans(NULL);
	T_EQ(ghu_mspan_where(s), GHU_SPAN_IS_SHARED);
	T_EQ(ghu_mspan_where(span_of(vmalloc(SIZE))), GHU_SPAN_IS_OWNED);
	return T_PASS;
}

/* All objects of a span were freed, and nobody heard of the last one. */
static int test_missed_last(void)
{
	size_t before;

	T_SUB(make_shared());
	before = goheap_inuse_bytes();
	for (unsigned int i = 0; i < N; i++)
		if (i / PER % 2)
			free_silently(objects[i]);
		else if (i % PER)
			vfree(objects[i]);
	T_EQ(goheap_inuse_bytes(), before);
	goheap_flush();
	T_EQ(goheap_inuse_bytes(), before - N / PER / 2 * SPAN_BYTES);
	for (unsigned int i = 0; i < N; i += 2 * PER)
		vfree(objects[i]);
	T_EQ(goheap_inuse_bytes(), before - N / PER * SPAN_BYTES);
	return T_PASS;
}

/* The same without a flush, in a heap that grows. */
static int test_missed_growing(void)
{
	static void *p[4000];
	uint32_t gen = ghu_sweepgen();

	T_SUB(make_shared());
	for (unsigned int i = 0; i < N; i++)
		free_silently(objects[i]);
	for (unsigned int i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = vmalloc(8192);
	T(ghu_sweepgen() > gen);
	for (unsigned int i = 0; i < N; i++)
		T(!span_of(objects[i]) || span_of(objects[i])->elemsize != SIZE);
	for (unsigned int i = 0; i < ARRAY_SIZE(p); i++)
		vfree(p[i]);
	return T_PASS;
}

/* A watch that was lost is set again. */
static int test_lost_watch(void)
{
	struct ghu_mspan *s;

	T_SUB(make_shared());
	s = span_of(objects[0]);
	free_silently(objects[PER - 1]);
	T_EQ(count_state(s, GHU_OBJ_WATCH), 0);
	goheap_flush();
	T_EQ(count_state(s, GHU_OBJ_WATCH), 1);
	for (unsigned int i = 0; i < PER - 1; i++)
		vfree(objects[i]);
	T(!span_of(objects[0]));
	return T_PASS;
}

/*
 * A program none of whose frees is ever noticed: it replaces objects of a live set
 * for a long time, and the heap stays within a bound of what is live.
 */
static int replace(size_t size, unsigned int live, unsigned int steps)
{
	void **p = vmalloc(live * sizeof(*p));
	uint32_t gen = ghu_sweepgen();
	size_t most = 0;

	for (unsigned int i = 0; i < live; i++)
		p[i] = vmalloc(size);
	for (unsigned int i = 0; i < steps; i++) {
		unsigned int k = (unsigned int)t_below(live);

		free_silently(p[k]);
		p[k] = vmalloc(size);
		if (goheap_inuse_bytes() > most)
			most = goheap_inuse_bytes();
	}
	printf("# %zu bytes: live %zu, in use at most %zu, %u cycles\n", size,
	       live * goheap_good_size(size), most, (ghu_sweepgen() - gen) / 2);
	T(most <= live * goheap_good_size(size) * 2 + (4 << 20));
	for (unsigned int i = 0; i < live; i++)
		vfree(p[i]);
	vfree(p);
	return T_PASS;
}

static int test_nothing_noticed(void)
{
	T_SUB(replace(64, 40000, 300000));
	T_SUB(replace(1024, 8000, 100000));
	T_SUB(replace(8192, 1000, 20000));
	T_SUB(replace(28672, 300, 5000));
	return T_PASS;
}

/* The objects are never touched: what becomes resident are records.  Returns the peak. */
static size_t make_records(void **p, int n)
{
	size_t peak;

	for (int i = 0; i < n; i++)
		p[i] = vmalloc(16384);
	peak = t_rss();
	for (int i = 0; i < n; i++)
		vfree(p[i]);
	malloc_trim(0);
	return peak;
}

/* The records go as well: what a big heap needed does not stay behind. */
static int test_records_return(void)
{
	enum { NR = 20000 };
	static void *p[NR];
	size_t peak, rss;

	/* Once before: a child on the device makes a page heap for the parent's arena. */
	make_records(p, NR);
	peak = make_records(p, NR);
	rss = t_rss();
	printf("# resident %zu -> %zu\n", peak, rss);
	T(rss + NR * 96 < peak);
	return T_PASS;
}

/* As when two threads free a large object at the same time, and one was a little faster. */
static void free_beaten(void)
{
	char *p = vmalloc(100000);

	__atomic_store_n(ghu_states(span_of(p)), GHU_OBJ_FREE, __ATOMIC_RELEASE);
	vfree(p);
}

static int test_large_race(void)
{
	char text[200];

	T_EQ(t_stderr(free_beaten, text, sizeof(text)), 256 + SIGABRT);
	T(!strncmp(text, "fatal error: free: double free: 0x", 34));
	return T_PASS;
}

/*
 * Two threads free the same watched object, at once as far as can be: one is refused.
 * The second one has a CPU of its own, if there are two.
 */
#define RACES	30000u

static struct ghu_mspan *raced;
static unsigned int race_turn, race_done;
static bool race_won;

static void race_wait(const unsigned int *word, unsigned int value)
{
	for (unsigned int n = 1; __atomic_load_n(word, __ATOMIC_ACQUIRE) != value; n++)
		if (!(n % 1000))
			sched_yield();
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static void *free_watched(void *arg)
{
	pin(1);
	for (unsigned int i = 1; i <= RACES; i++) {
		race_wait(&race_turn, i);
		race_won = ghu_mcentral_free_watched(raced, 0, GHU_OBJ_WATCH);
		__atomic_store_n(&race_done, i, __ATOMIC_RELEASE);
	}
	return arg;
}

static int test_watched_race(void)
{
	unsigned int wrong = 0;
	pthread_t t;

	T_SUB(make_shared());
	raced = span_of(objects[0]);
	pin(0);
	T(!pthread_create(&t, NULL, free_watched, NULL));
	for (unsigned int i = 1; i <= RACES; i++) {
		bool won;

		memset(ghu_states(raced), GHU_OBJ_LIVE, PER);
		*ghu_states(raced) = GHU_OBJ_WATCH;
		__atomic_store_n(&race_turn, i, __ATOMIC_RELEASE);
		won = ghu_mcentral_free_watched(raced, 0, GHU_OBJ_WATCH);
		race_wait(&race_done, i);
		wrong += won == race_won;
	}
	pthread_join(t, NULL);
	T_EQ(wrong, 0);
	return T_PASS;
}

/* fork() waits for whoever holds a lock, so that the child does not wait for ever. */
static int locks_held;

static void *hold_records(void *arg)
{
	ghu_lock(&ghu_spans.lock);
	__atomic_store_n(&locks_held, 1, __ATOMIC_RELEASE);
	usleep(100000);
	ghu_unlock(&ghu_spans.lock);
	return arg;
}

static void *hold_classes(void *arg)
{
	ghu_mcentral_lock_all();
	__atomic_store_n(&locks_held, 1, __ATOMIC_RELEASE);
	usleep(100000);
	ghu_mcentral_unlock_all();
	return arg;
}

static void *hold_leaves(void *arg)
{
	ghu_lock(&ghu_pagemap_lock);
	__atomic_store_n(&locks_held, 1, __ATOMIC_RELEASE);
	usleep(100000);
	ghu_unlock(&ghu_pagemap_lock);
	return arg;
}

static int fork_under(void *(*hold)(void *))
{
	pthread_t t;
	pid_t pid;

	/* Whatever is allocated for a thread is there now. */
	vfree(vmalloc(100));
	locks_held = 0;
	T(!pthread_create(&t, NULL, hold, NULL));
	while (!__atomic_load_n(&locks_held, __ATOMIC_ACQUIRE))
		usleep(100);
	pid = fork();
	if (!pid) {
		alarm(10);
		for (size_t size = 8; size <= 100000; size += size / 4 + 8)
			vfree(vmalloc(size));
		goheap_flush();
		if (ghu_pagemap_prepare((uintptr_t)1 << 46, 1))
			_exit(1);
		_exit(17);
	}
	pthread_join(t, NULL);
	T_EQ(t_wait(pid), 17);
	return T_PASS;
}

static int test_fork_locks(void)
{
	T_SUB(fork_under(hold_records));
	T_SUB(fork_under(hold_classes));
	T_SUB(fork_under(hold_leaves));
	return T_PASS;
}

static const struct t_case cases[] = {
	{ "where spans are, and what their records say", test_states },
	{ "new spans have few objects at first", test_extend },
	{ "the watch is handed on, and returns the span", test_watch },
	{ "objects are counted, and a watch is seen", test_counts },
	{ "classes with spans are counted", test_classes },
	{ "any order of frees returns every span", test_orders },
	{ "free objects are used before the heap grows", test_reuse },
	{ "of spans that were let go, one with room first", test_room_first },
	{ "full ones are not looked at in vain for long", test_looks },
	{ "spans of classes that are no longer used", test_unused_class },
	{ "a missed last free is found by a flush", test_missed_last },
	{ "a missed last free is found by a growing heap", test_missed_growing },
	{ "a lost watch is set again", test_lost_watch },
	{ "memory is bounded when no last free is noticed", test_nothing_noticed },
	{ "records of spans are given back", test_records_return },
	{ "two frees of a large object, nearly at once", test_large_race },
	{ "two frees of a watched object, at once", test_watched_race },
	{ "fork waits for locks", test_fork_locks },
};

int main(int argc, char **argv)
{
	/* What is allocated is of the class of its size. */
	ghu_few_is_over = true;
	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
