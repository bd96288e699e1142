// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * One heap, many threads, every command, with release under pressure and by
 * demand all the while.  Each thread knows what its spans hold and checks it; in
 * the end nothing is left over.  GOHEAP_SECONDS says for how long (10).
 */
#include <dev.h>
#include <kselftest_harness.h>

#define DEFAULT_SECONDS	10
#include "seconds.h"

#define ARENA		(2 * GIB)
#define THREADS		4
#define SLOTS		256

struct slot {
	char *addr;
	uint64_t npages;
	uint64_t seed;
};

struct worker {
	pthread_t thread;
	int fd;
	uint64_t rnd;
	uint64_t ops;
	const char *wrong;
	struct slot slot[SLOTS];
};

static volatile bool stop;

static uint64_t some_pages(struct worker *w)
{
	uint32_t r = rnd(&w->rnd);

	return r % 50 ? 1 + r % 20 : 1 + r % 2000;
}

static const char *op_alloc(struct worker *w, struct slot *s)
{
	static const uint64_t aligns[] = { 0, 0, 0, 0, PAGE, 64 * 1024, 2 * MIB };
	struct goheap_span span;
	int err = span_alloc(w->fd, some_pages(w), aligns[rnd(&w->rnd) % 7], &span);

	if (err)
		return err == -ENOMEM ? NULL : "alloc";
	if (!(span.flags & GOHEAP_SPAN_NEEDZERO) && *(uint64_t *)span.addr)
		return "not zero";
	*s = (struct slot){ (char *)span.addr, span.npages, rnd(&w->rnd) };
	fill(s->addr, s->npages * PAGE, s->seed);
	return NULL;
}

static const char *op_free(struct worker *w, struct slot *s)
{
	if (!filled(s->addr, s->npages * PAGE, s->seed))
		return "contents";
	if (span_free(w->fd, s->addr, rnd(&w->rnd) % 2 ? s->npages : 0))
		return "free";
	s->addr = NULL;
	return NULL;
}

static const char *op_resize(struct worker *w, struct slot *s)
{
	uint64_t npages = some_pages(w), both = npages < s->npages ? npages : s->npages;
	struct goheap_resize r;
	int err = span_resize(w->fd, s->addr, npages, &r);

	if (err)
		return err == -ENOMEM ? NULL : "resize";
	if (r.old_npages != s->npages)
		return "old length";
	if (!filled(s->addr, both * PAGE, s->seed))
		return "contents after resize";
	s->npages = npages;
	fill(s->addr, npages * PAGE, s->seed);
	return NULL;
}

/* Sixteen at a time. */
static const char *op_vector(struct worker *w)
{
	struct goheap_span v[16] = {};
	unsigned int done;
	int err;

	for (int i = 0; i < 16; i++)
		v[i].npages = 1 + rnd(&w->rnd) % 8;
	err = vec(w->fd, GOHEAP_SPAN_ALLOC, v, 16, 0, &done);
	if (err && err != -ENOMEM)
		return "vector";
	for (unsigned int i = 0; i < done; i++) {
		*(char *)v[i].addr = 1;
		v[i].flags = 0;
	}
	if (done && vec(w->fd, GOHEAP_SPAN_FREE, v, done, 0, NULL))
		return "free of a vector";
	return NULL;
}

static const char *op_scavenge(struct worker *w)
{
	struct goheap_scavenge sc;
	struct goheap_stats st;

	if (scavenge(w->fd, rnd(&w->rnd) % 8 ? 2 * MIB : ALL, &sc))
		return "scavenge";
	if (stats(w->fd, &st) || st.heap_sys != st.heap_inuse + st.heap_idle)
		return "stats";
	return NULL;
}

static void *work(void *arg)
{
	struct worker *w = arg;

	while (!stop && !w->wrong) {
		struct slot *s = &w->slot[rnd(&w->rnd) % SLOTS];
		uint32_t r = rnd(&w->rnd) % 512;

		if (r == 0)
			w->wrong = op_scavenge(w);
		else if (r < 24)
			w->wrong = op_vector(w);
		else if (!s->addr)
			w->wrong = op_alloc(w, s);
		else if (r < 128)
			w->wrong = op_resize(w, s);
		else
			w->wrong = op_free(w, s);
		w->ops++;
	}
	for (int i = 0; i < SLOTS && !w->wrong; i++)
		if (w->slot[i].addr)
			w->wrong = op_free(w, &w->slot[i]);
	return NULL;
}

static void *squeeze(void *arg)
{
	while (!stop) {
		file_write("/proc/sys/vm/drop_caches", "2");
		sleep_ms(200);
	}
	return NULL;
}

FIXTURE(heap) {
	int fd;
};

FIXTURE_SETUP(heap)
{
	self->fd = dev_open();
	ASSERT_NE(MAP_FAILED, arena_map(self->fd, ARENA));
}

FIXTURE_TEARDOWN(heap)
{
	close(self->fd);
}

TEST_F_TIMEOUT(heap, all_commands_at_once, 250)
{
	static struct worker w[THREADS];
	struct goheap_stats st;
	struct goheap_scavenge sc;
	pthread_t presser;
	uint64_t ops = 0;
	int fd = self->fd;

	for (int i = 0; i < THREADS; i++) {
		w[i].fd = fd;
		w[i].rnd = i + 1;
		ASSERT_EQ(0, pthread_create(&w[i].thread, NULL, work, &w[i]));
	}
	ASSERT_EQ(0, pthread_create(&presser, NULL, squeeze, NULL));
	sleep(seconds);
	stop = true;
	pthread_join(presser, NULL);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(w[i].thread, NULL);
		EXPECT_EQ(NULL, w[i].wrong) TH_LOG("thread %d: %s", i, w[i].wrong);
		ops += w[i].ops;
	}
	TH_LOG("%llu operations", (unsigned long long)ops);
	ASSERT_EQ(0, stats(fd, &st));
	EXPECT_EQ(0, st.nr_spans);
	EXPECT_EQ(0, st.heap_inuse);
	EXPECT_EQ(st.nr_allocs, st.nr_frees);
	ASSERT_EQ(0, scavenge(fd, ALL, &sc));
	ASSERT_EQ(0, stats(fd, &st));
	EXPECT_EQ(st.heap_idle, st.heap_released);
	EXPECT_LE(arena_vmas(), 1);
	/* It is whole again: all of the arena in one piece. */
	EXPECT_NE(NULL, span_new(fd, ARENA / PAGE));
}

TEST_HARNESS_MAIN
