// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Many threads: who frees what others allocated, storms of short threads, forks in
 * the middle of it all.  Memory in use must stay bounded, contents must stay what
 * they were, and when everything is freed next to nothing may be left.
 */
#include <goheap.h>
#include <pthread.h>
#include <semaphore.h>
#include "back_test.h"
#include "front_blocks.h"

#if T_SANITIZED
#define SCALE	10
#else
#define SCALE	1
#endif

/* ---- a ring between two threads ---- */

#define RING	4096u

struct ring {
	void *slots[RING];
	unsigned int head __attribute__((aligned(64)));
	unsigned int tail __attribute__((aligned(64)));
	long count;
	size_t size;		/* 0: all sizes */
	uint64_t bad;
};

static size_t size_of(const struct ring *r, long i)
{
	return r->size ? r->size : 8 + (size_t)(i * 2654435761u % 4000);
}

static void *producer(void *arg)
{
	struct ring *r = arg;

	for (long i = 0; i < r->count; i++) {
		size_t size = size_of(r, i);
		uint64_t *p = vmalloc(size);

		*p = (uint64_t)i;
		while (r->head - __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE) == RING)
			sched_yield();
		r->slots[r->head % RING] = p;
		__atomic_store_n(&r->head, r->head + 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void *consumer(void *arg)
{
	struct ring *r = arg;

	for (long i = 0; i < r->count; i++) {
		uint64_t *p;

		while (__atomic_load_n(&r->head, __ATOMIC_ACQUIRE) == r->tail)
			sched_yield();
		p = r->slots[r->tail % RING];
		r->bad += *p != (uint64_t)i;
		vfree(p);
		__atomic_store_n(&r->tail, r->tail + 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static int run_ring(size_t size, long count)
{
	static struct ring r;
	pthread_t a, b;

	memset(&r, 0, sizeof(r));
	r.count = count;
	r.size = size;
	T(!pthread_create(&a, NULL, producer, &r) && !pthread_create(&b, NULL, consumer, &r));
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	T_EQ(r.bad, 0);
	return T_PASS;
}

static int test_ring(void)
{
	static const size_t sizes[] = { 8, 64, 256, 1024, 8192, 32768, 0 };
	size_t before = goheap_inuse_bytes();

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t most = (sizes[i] ? sizes[i] : 4000) * RING * 3 + (8 << 20), inuse;

		for (int round = 0; round < 4; round++) {
			T_SUB(run_ring(sizes[i], 40000 / SCALE));
			inuse = goheap_inuse_bytes();
			T(inuse < before + most);
		}
		goheap_flush();
		inuse = goheap_inuse_bytes();
		printf("# %zu bytes: %zu in use\n", sizes[i], inuse);
		T(inuse <= before + (256 << 10));
	}
	return T_PASS;
}

/* ---- everybody frees what anybody allocated ---- */

#define SWAP_THREADS	8
#define ALL_SLOTS	UINT64_MAX
#define FEW_SLOTS	((uint64_t)63 << 20)

struct swap {
	uint64_t seed;
	uint64_t slots;		/* that blocks are put into; bits of the random number */
	bool flush;		/* now and then */
};

static void *swapper(void *arg)
{
	const struct swap *w = arg;
	uint64_t x = w->seed * 0x9e3779b97f4a7c15ull + 1;

	for (int i = 0; i < 45000 / SCALE; i++) {
		void *p;

		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		p = make_block(&x);
		swap_block(x & w->slots, p);
		if (w->flush && !(x >> 40 & 31))
			goheap_flush();
	}
	return NULL;
}

static int run_swap(uint64_t slots, bool flush)
{
	struct swap w[SWAP_THREADS];
	pthread_t t[SWAP_THREADS];
	size_t before = goheap_inuse_bytes();

	for (int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < SWAP_THREADS; i++) {
			w[i] = (struct swap){ .seed = i + 10, .slots = slots, .flush = flush };
			T(!pthread_create(&t[i], NULL, swapper, &w[i]));
		}
		for (int i = 0; i < SWAP_THREADS; i++)
			pthread_join(t[i], NULL);
		T_SUB(drop_all_blocks());
		goheap_flush();
		printf("# %zu bytes in use\n", goheap_inuse_bytes());
		T(goheap_inuse_bytes() <= before + (256 << 10));
	}
	return T_PASS;
}

static int test_swap(void)
{
	return run_swap(ALL_SLOTS, false);
}

/* Of the blocks few are in use at a time, and the threads give up what they have all the time. */
static int test_swap_few(void)
{
	return run_swap(FEW_SLOTS, true);
}

/* ---- short threads ---- */

#define STORM_ALIVE	64u
#define STORM_THREADS	(10000u / SCALE)
#define STORM_BLOCKS	200u
#define STORM_LEFT	25u	/* of those, to others */

/* One of those that are alive, and what somebody left to whoever has this place. */
static struct place {
	pthread_t thread;
	sem_t may_end;
	uint64_t random;
	void *left[STORM_LEFT];
} places[STORM_ALIVE];

static size_t storm_size(uint64_t *x)
{
	*x ^= *x << 13, *x ^= *x >> 7, *x ^= *x << 17;
	return 8 + (*x % 32 ? *x >> 32 & 1023 : *x >> 32 & 32767);
}

/* Frees what was left there, and leaves these instead. */
static void leave_at(struct place *p, void **blocks)
{
	for (unsigned int i = 0; i < STORM_LEFT; i++)
		vfree(__atomic_exchange_n(&p->left[i], blocks[i], __ATOMIC_ACQ_REL));
}

static void *short_thread(void *arg)
{
	struct place *p = arg;
	void *blocks[STORM_BLOCKS];
	uint64_t x = p->random;

	for (unsigned int i = 0; i < STORM_BLOCKS; i++) {
		size_t size = storm_size(&x);

		blocks[i] = vmalloc(size);
		memset(blocks[i], 1, size);
	}
	for (unsigned int i = STORM_LEFT; i < STORM_BLOCKS; i++)
		vfree(blocks[i]);
	leave_at(&places[x % STORM_ALIVE], blocks);
	while (sem_wait(&p->may_end))
		;
	return NULL;
}

static void end_thread(struct place *p)
{
	sem_post(&p->may_end);
	pthread_join(p->thread, NULL);
}

/* The oldest ends before the next one begins.  *alive: in use when the last ones have freed theirs. */
static int storm(unsigned int threads, size_t *alive)
{
	static void *nothing[STORM_LEFT];

	for (unsigned int i = 0; i < threads; i++) {
		struct place *p = &places[i % STORM_ALIVE];

		if (i >= STORM_ALIVE)
			end_thread(p);
		p->random = t_random() | 1;
		T(!pthread_create(&p->thread, NULL, short_thread, p));
	}
	*alive = goheap_inuse_bytes();
	for (unsigned int i = 0; i < STORM_ALIVE; i++)
		end_thread(&places[(threads + i) % STORM_ALIVE]);
	for (unsigned int i = 0; i < STORM_ALIVE; i++)
		leave_at(&places[i], nothing);
	return T_PASS;
}

static int test_storm(void)
{
	size_t inuse = goheap_inuse_bytes(), alive, rss;

	for (unsigned int i = 0; i < STORM_ALIVE; i++)
		T(!sem_init(&places[i].may_end, 0, 0));
	rss = t_rss();
	T_SUB(storm(STORM_THREADS, &alive));
	printf("# in use %zu -> %zu -> %zu, resident %zu -> %zu\n", inuse, alive,
	       goheap_inuse_bytes(), rss, t_rss());
	/* What a thread owns while it waits: not a span of each class that it once used. */
	T(alive <= inuse + STORM_ALIVE * (512 << 10));
	T(goheap_inuse_bytes() <= inuse + (2 << 20));
	T(T_SANITIZED || t_rss() <= rss + (4 << 20));
	return T_PASS;
}

/* ---- malloc in destructors of threads ---- */

static pthread_key_t late_key;
static int late_rounds;

/* Runs in every round that there is, later than the library's own. */
static void late_destructor(void *arg)
{
	void *p[200];

	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = vmalloc(i * 20);
	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		vfree(p[i]);
	vfree(arg);
	__atomic_fetch_add(&late_rounds, 1, __ATOMIC_RELAXED);
	pthread_setspecific(late_key, vmalloc(33));
}

static void *late_thread(void *arg)
{
	pthread_setspecific(late_key, vmalloc(33));
	return arg;
}

static int test_destructors(void)
{
	size_t inuse = 0;
	pthread_t t;

	/* The sanitizer is finished with the thread by then. */
	if (T_SANITIZED)
		return T_SKIP;
	T(!pthread_key_create(&late_key, late_destructor));
	for (int i = 0; i < 400; i++) {
		T(!pthread_create(&t, NULL, late_thread, NULL));
		pthread_join(t, NULL);
		if (i == 100)
			inuse = goheap_inuse_bytes();
	}
	T(late_rounds >= 400 * 2);
	/* Each thread leaves one block of 33 bytes behind: it set the key in the last round. */
	T(goheap_inuse_bytes() <= inuse + (256 << 10));
	return T_PASS;
}

/* ---- threads that freed all they had, and sleep ---- */

#define ASLEEP_THREADS	4
#define ASLEEP_BLOCKS	(40000 / SCALE)

static pthread_barrier_t asleep;

static void *sleeper(void *arg)
{
	void **p = calloc(ASLEEP_BLOCKS, sizeof(*p));

	for (int i = 0; p && i < ASLEEP_BLOCKS; i++)
		p[i] = malloc(1000);
	pthread_barrier_wait(&asleep);
	pthread_barrier_wait(&asleep);	/* what they have is looked at */
	for (int i = 0; p && i < ASLEEP_BLOCKS; i++)
		free(p[i]);
	free(p);
	pthread_barrier_wait(&asleep);
	pthread_barrier_wait(&asleep);
	return arg;
}

/* What they own must not be what they owned when the heap was large. */
static int test_asleep(void)
{
	size_t before = goheap_inuse_bytes(), most, inuse;
	pthread_t t[ASLEEP_THREADS];

	T(!pthread_barrier_init(&asleep, NULL, ASLEEP_THREADS + 1));
	for (int i = 0; i < ASLEEP_THREADS; i++)
		T(!pthread_create(&t[i], NULL, sleeper, NULL));
	pthread_barrier_wait(&asleep);
	most = goheap_inuse_bytes();
	pthread_barrier_wait(&asleep);
	pthread_barrier_wait(&asleep);
	inuse = goheap_inuse_bytes();
	printf("# %zu in use, then %zu\n", most - before, inuse - before);
	pthread_barrier_wait(&asleep);
	for (int i = 0; i < ASLEEP_THREADS; i++)
		pthread_join(t[i], NULL);
	T(most >= before + (size_t)ASLEEP_THREADS * ASLEEP_BLOCKS * 1000);
	T(inuse <= before + (5 << 18));
	return T_PASS;
}

/* ---- fork in the midst of threads ---- */

/* All that was inherited is there, can be freed, and what dead threads owned is used again. */
static int child_work(void)
{
	size_t most;

	T_SUB(drop_all_blocks());
	goheap_flush();
	most = goheap_inuse_bytes();
	for (uint64_t i = 0, x = 88172645463325252ull; i < 5000; i++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		drop_block(make_block(&x));
	}
	T_SUB(run_ring(0, 5000));
	goheap_flush();
	/* Blocks that the threads had in their hands are lost; no more. */
	T(goheap_inuse_bytes() <= most + (512 << 10));
	T(goheap_inuse_bytes() <= 2 << 20);
	return T_PASS;
}

static int test_fork(void)
{
	pthread_t t[3];
	int failed = 0;

	/* The sanitizer allows no threads after such a fork. */
	if (T_SANITIZED)
		return T_SKIP;
	for (uintptr_t i = 0; i < ARRAY_SIZE(t); i++)
		T(!pthread_create(&t[i], NULL, churner, (void *)(i + 100)));
	for (int i = 0; i < 25 && !failed; i++) {
		pid_t pid;

		fflush(stdout);
		pid = fork();
		if (!pid) {
			alarm(60);
			failed = child_work();
			fflush(stdout);
			_exit(failed);
		}
		T(pid > 0);
		failed = t_wait(pid);
	}
	__atomic_store_n(&stop_churning, 1, __ATOMIC_RELAXED);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		pthread_join(t[i], NULL);
	T_EQ(failed, 0);
	return drop_all_blocks();
}

static const struct t_case cases[] = {
	{ "one allocates, another frees", test_ring },
	{ "all free what any allocated", test_swap },
	{ "spans go from thread to thread", test_swap_few },
	{ "10000 short threads, 64 at once", test_storm },
	{ "malloc in the last destructors of threads", test_destructors },
	{ "threads that sleep keep little", test_asleep },
	{ "fork while threads allocate", test_fork },
};

int main(int argc, char **argv)
{
	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
