// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Spans through the whole backend, cache and heap, against a model: no two
 * overlap, what is said to be zero is zero, what was written stays.  On the
 * embedded backend the core's invariant walker looks on; on the device, where the
 * kernel's heap cannot be looked into, the same runs without it.
 *
 * The backend is included here, to reach its heaps, and linked with what it needs;
 * the allocator's front is not there, and the tests' own malloc() is libc's.
 */
#include <pthread.h>
#include <sys/resource.h>
#include "../../userlib/heaps.c"
#include "../../userlib/backend.c"
#include "../../userlib/backend_embedded.c"
#include "../../module/core/check.h"
#include "back_test.h"

/* In place of the front. */
struct ghu_mspan ghu_mspan_gone;

void ghu_fork_init(void)
{
	pthread_atfork(ghu_backend_fork_prepare, ghu_backend_fork_parent,
		       ghu_backend_fork_child);
}

#define MODEL_SPANS	400
#define MODEL_STEPS	40000

struct span {
	struct ghu_run run;
	uint64_t stamp;
};

static struct span spans[MODEL_SPANS];
static unsigned int nr_spans;

static uint64_t *word(const struct ghu_run *r, size_t page)
{
	return (uint64_t *)(r->addr + page * GHU_PAGE_SIZE);
}

/* Marks the first word of each page. */
static void stamp(struct span *s, size_t from)
{
	for (size_t i = from; i < s->run.npages; i++)
		*word(&s->run, i) = s->stamp + i;
}

static bool stamped(const struct span *s)
{
	for (size_t i = 0; i < s->run.npages; i++)
		if (*word(&s->run, i) != s->stamp + i)
			return false;
	return true;
}

static bool is_zero(uintptr_t addr, size_t bytes)
{
	const uint64_t *p = (const uint64_t *)addr;

	for (size_t i = 0; i < bytes / 8; i++)
		if (p[i])
			return false;
	return true;
}

static bool overlaps(const struct ghu_run *r)
{
	for (unsigned int i = 0; i < nr_spans; i++) {
		const struct ghu_run *o = &spans[i].run;

		if (r->addr < o->addr + o->npages * GHU_PAGE_SIZE &&
		    o->addr < r->addr + r->npages * GHU_PAGE_SIZE)
			return true;
	}
	return false;
}

/* The heaps of the library's own are consistent. */
static int walk(void)
{
	for (unsigned int i = 0; i < heap_count(); i++) {
		struct embedded_heap *e = embedded(heap_at(i));
		int err;

		if (heap_at(i)->ops != &embedded_ops)
			continue;
		mutex_lock(&e->mheap.lock);
		err = gh_mheap_check_locked(&e->mheap);
		mutex_unlock(&e->mheap.lock);
		T_EQ(err, 0);
	}
	return T_PASS;
}

static size_t random_pages(void)
{
	switch (t_below(10)) {
	case 0:
		return 1 + t_below(300);
	case 1:
		return 1 + t_below(GHU_SPANCACHE_PAGES + 4);
	default:
		return 1 + t_below(10);
	}
}

static int model_alloc(void)
{
	size_t npages = random_pages();
	size_t align = t_below(8) ? 0 : GHU_PAGE_SIZE << t_below(9);
	struct span *s = &spans[nr_spans];
	unsigned int flags = t_below(2) ? GHU_SPAN_LARGE : 0;

	T_EQ(ghu_span_alloc(npages, align, flags, (uint8_t)t_random(), &s->run), 0);
	T_EQ(s->run.npages, npages);
	T_EQ(s->run.addr % (align ? align : GHU_PAGE_SIZE), 0);
	T(!overlaps(&s->run));
	if (!s->run.needzero)
		T(is_zero(s->run.addr, npages * GHU_PAGE_SIZE));
	s->stamp = t_random() | 1ULL << 63;
	stamp(s, 0);
	nr_spans++;
	return T_PASS;
}

static int model_free(void)
{
	struct span *s = &spans[t_below(nr_spans)];

	T(stamped(s));
	ghu_span_free(s->run.addr, s->run.npages);
	*s = spans[--nr_spans];
	return T_PASS;
}

static int model_resize(void)
{
	struct span *s = &spans[t_below(nr_spans)];
	size_t old = s->run.npages, npages = random_pages();
	bool needzero = true;
	struct span moved;

	if (ghu_span_resize(s->run.addr, old, npages, &needzero)) {
		T(npages >= old);
		return T_PASS;
	}
	moved = *s;
	*s = spans[--nr_spans];
	moved.run.npages = npages;
	T(!overlaps(&moved.run));
	spans[nr_spans++] = moved;
	if (npages > old && !needzero)
		T(is_zero(moved.run.addr + old * GHU_PAGE_SIZE, (npages - old) * GHU_PAGE_SIZE));
	if (npages > old)
		stamp(&moved, old);
	T(stamped(&moved));
	return T_PASS;
}

static int model_step(void)
{
	uint64_t dice = t_below(1000);

	if (!dice)
		ghu_backend_scavenge(t_below(2) ? SIZE_MAX : t_below(64) << 20);
	if (!nr_spans || (dice < 480 && nr_spans < MODEL_SPANS))
		return model_alloc();
	if (dice < 560)
		return model_resize();
	return model_free();
}

static int model(void)
{
	for (int i = 0; i < MODEL_STEPS; i++) {
		T_SUB(model_step());
		if (i % 64 == 0)
			T_SUB(walk());
	}
	while (nr_spans)
		T_SUB(model_free());
	T_EQ(inuse_bytes, 0);
	ghu_backend_scavenge(SIZE_MAX);
	T_EQ(ghu_spancache_used_bytes(), 0);
	return walk();
}

/* ---- the cache ---- */

static int cache_bounds(void)
{
	enum { N = 2000 };
	static struct ghu_run run[N];

	for (size_t len = 1; len <= GHU_SPANCACHE_PAGES; len = len * 2 + 1) {
		for (int i = 0; i < N; i++)
			T_EQ(ghu_span_alloc(len, 0, 0, 0, &run[i]), 0);
		for (int i = 0; i < N; i++) {
			ghu_span_free(run[i].addr, len);
			T(ghu_spancache_used_bytes() <= GHU_SPANCACHE_BYTES +
			  len * GHU_PAGE_SIZE * GHU_SPANCACHE_BATCH);
		}
		T(ghu_spancache_used_bytes() <= GHU_SPANCACHE_BYTES + len * GHU_PAGE_SIZE);
	}
	ghu_backend_scavenge(0);
	T_EQ(ghu_spancache_used_bytes(), 0);
	return walk();
}

/* What was freed last comes first, and is said to be dirty. */
static int cache_lifo(void)
{
	struct ghu_run a, b, c;

	T_EQ(ghu_span_alloc(8, 0, 0, 0, &a), 0);
	T_EQ(ghu_span_alloc(8, 0, 0, 0, &b), 0);
	T(!a.needzero && !b.needzero);
	ghu_span_free(a.addr, 8);
	ghu_span_free(b.addr, 8);
	T_EQ(ghu_span_alloc(8, 0, 0, 0, &c), 0);
	T_EQ(c.addr, b.addr);
	T(c.needzero);
	T_EQ(ghu_span_alloc(8, 0, 0, 0, &c), 0);
	T_EQ(c.addr, a.addr);
	return T_PASS;
}

static unsigned int calls;
static const struct ghu_heap_ops *counted;

static int counting_alloc(struct ghu_heap *h, const struct ghu_request *req,
			  struct ghu_run *runs, unsigned int nr)
{
	calls++;
	return counted->alloc(h, req, runs, nr);
}

static int counting_free(struct ghu_heap *h, const struct ghu_run *runs, unsigned int nr,
			 unsigned int *done)
{
	calls++;
	return counted->free(h, runs, nr, done);
}

/* Spans of a page cost the heap one call for 16, to get, and for 8, to give back. */
static int cache_batches(void)
{
	static struct ghu_heap_ops ops;
	struct ghu_run run[1024];

	ghu_init();
	counted = heap_at(0)->ops;
	ops = *counted;
	ops.alloc = counting_alloc;
	ops.free = counting_free;
	heap_at(0)->ops = &ops;
	for (int i = 0; i < 1024; i++)
		T_EQ(ghu_span_alloc(1, 0, 0, 0, &run[i]), 0);
	T(calls <= 1024 / 16 + 5);
	T(calls >= 1024 / 16);
	calls = 0;
	for (int i = 0; i < 1024; i++)
		ghu_span_free(run[i].addr, 1);
	T(calls <= 1024 / 8);
	calls = 0;
	for (int i = 0; i < 1000; i++) {
		T_EQ(ghu_span_alloc(32, 0, GHU_SPAN_LARGE, 0, run), 0);
		ghu_span_free(run->addr, 32);
	}
	T(calls <= 4);
	return T_PASS;
}

/* ---- arenas ---- */

static int refuses(size_t npages, size_t align)
{
	struct ghu_run r;

	T_EQ(ghu_span_alloc(npages, align, GHU_SPAN_LARGE, 0, &r), -ENOMEM);
	return T_PASS;
}

static void ask_512g(void)
{
	struct ghu_run r;
	int failed = 0;

	ghu_span_alloc(1, 0, 0, 0, &r);
	for (int i = 0; i < 3; i++)
		failed += ghu_span_alloc(((size_t)512 << 30) / GHU_PAGE_SIZE, 0, GHU_SPAN_LARGE, 0,
					 &r) == -ENOMEM;
	_exit(failed != 3);
}

static int out_of_memory_message(void)
{
	char err[512];

	T_EQ(t_stderr(ask_512g, err, sizeof(err)), 0);
	printf("# %s", err);
	T(!strcmp(err, "runtime: out of memory: cannot allocate 549755813888-byte block "
		       "(8192 in use)\n"));
	return T_PASS;
}

static int impossible_requests(void)
{
	T_SUB(refuses(SIZE_MAX >> GHU_PAGE_SHIFT, 0));
	T_SUB(refuses((size_t)1 << 50, 0));
	T_SUB(refuses(1, (size_t)1 << 45));
	T_SUB(refuses(((size_t)1 << 36) / GHU_PAGE_SIZE * 4, 0));	/* 256 GiB */
	T_EQ(heap_count(), 1);
	return walk();
}

static int two_vmas(void)
{
	const struct ghu_arena *a;

	T_SUB(model());
	for (unsigned int i = 0; i < heap_count(); i++) {
		a = &heap_at(i)->arena;
		T(t_count_vmas(a->start, a->start + a->bytes) <= 2);
	}
	return T_PASS;
}

static int hinted_address(void)
{
	if (T_SANITIZED)
		return T_SKIP;
	ghu_init();
	T_EQ(heap_at(0)->arena.start & ((1UL << 40) - 1), 0xc0UL << 32);
	T_EQ(heap_at(0)->arena.bytes, GHU_ARENA_MAX);
	T_EQ(heap_at(0)->arena.opened, heap_at(0)->arena.start);
	return T_PASS;
}

/* Where the first hints are taken, the next ones are used; at last any place. */
static int hints_taken(void)
{
	if (T_SANITIZED)
		return T_SKIP;
	for (uintptr_t i = 0; i < 3; i++)
		T(!ghu_is_err(ghu_mmap(i << 40 | 0xc0UL << 32, 4096, PROT_NONE,
				       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0)));
	ghu_init();
	T_EQ(heap_at(0)->arena.start, 3UL << 40 | 0xc0UL << 32);
	return T_PASS;
}

static int all_hints_taken(void)
{
	if (T_SANITIZED)
		return T_SKIP;
	for (uintptr_t i = 0; i < 0x7f; i++)
		T(!ghu_is_err(ghu_mmap(i << 40 | 0xc0UL << 32, 4096, PROT_NONE,
				       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0)));
	ghu_init();
	T_EQ(heap_at(0)->arena.start % GHU_ARENA_ALIGN, 0);
	T_EQ(heap_at(0)->arena.bytes, GHU_ARENA_MAX);
	return model();
}

static int limit_addresses(size_t bytes)
{
	struct rlimit rl = { bytes, bytes };

	if (T_SANITIZED)
		return T_SKIP;
	T_EQ(setrlimit(RLIMIT_AS, &rl), 0);
	return T_PASS;
}

/* Fills the address space that there is with spans of 1 MiB; how many MiB. */
static int fill(size_t *mib)
{
	struct ghu_run r;

	for (*mib = 0; !ghu_span_alloc(128, 0, 0, 0, &r); ++*mib)
		*(volatile char *)r.addr = 1;
	return walk();
}

/* Idle pages and pages that were never used are one run only when the idle ones are released. */
static int releases_before_it_gives_up(void)
{
	struct ghu_request req = { .npages = 1 };
	struct ghu_run first, r;
	struct ghu_heap *h;
	unsigned int done;

	T_SUB(limit_addresses((size_t)1 << 30));
	ghu_init();
	h = heap_at(0);
	T_EQ(h->ops->alloc(h, &req, &first, 1), 1);
	req.npages = h->arena.bytes / GHU_PAGE_SIZE / 2;
	T_EQ(h->ops->alloc(h, &req, &r, 1), 1);
	T_EQ(h->ops->free(h, &r, 1, &done), 0);
	req.npages = h->arena.bytes / GHU_PAGE_SIZE;
	T_EQ(h->ops->alloc(h, &req, &r, 1), -ENOSPC);
	req.npages--;
	T_EQ(h->ops->alloc(h, &req, &r, 1), 1);
	T_EQ(r.addr, first.addr + GHU_PAGE_SIZE);
	T(!r.needzero);
	return T_PASS;
}

/* When the arena is full there are more, until nothing is left; then -ENOMEM, no more. */
static int several_arenas(void)
{
	size_t mib;

	T_SUB(limit_addresses((size_t)1 << 30));
	T_SUB(fill(&mib));
	printf("# %u arenas, %zu MiB of 1024\n", heap_count(), mib);
	T(heap_count() >= 3);
	T(heap_at(0)->arena.bytes <= (size_t)1 << 28);
	T(mib >= 768);
	for (unsigned int i = 0; i < heap_count(); i++)
		T(t_count_vmas(heap_at(i)->arena.start,
			       heap_at(i)->arena.start + heap_at(i)->arena.bytes) <= 2);
	T_SUB(fill(&mib));
	T_EQ(mib, 0);
	return T_PASS;
}

/* An arena takes a part of the addresses only, also if it could have nearly all. */
static int modest_arena(void)
{
	T_SUB(limit_addresses((size_t)1200 << 20));
	ghu_init();
	T(heap_at(0)->arena.bytes <= (size_t)300 << 20);
	return T_PASS;
}

/* Where it ends no huge page is lost, but at first. */
static int opened_in_huge_pages(void)
{
	const struct ghu_arena *a;
	struct ghu_run r;

	ghu_init();
	a = &heap_at(0)->arena;
	for (int i = 0; i < 1000; i++) {
		size_t opened;

		T_EQ(ghu_span_alloc(8, 0, 0, 0, &r), 0);
		opened = a->opened - a->start;
		T(opened < 8 << 20 || !(opened % (2 << 20)));
	}
	return T_PASS;
}

/* Where a whole step cannot be opened, less is, to the last MiB. */
static int last_memory(void)
{
	struct rlimit rl = { 180 << 20, 180 << 20 };
	size_t mib;

	if (T_SANITIZED)
		return T_SKIP;
	T_EQ(setrlimit(RLIMIT_DATA, &rl), 0);
	T_SUB(fill(&mib));
	printf("# %zu MiB of 180, %u arenas\n", mib, heap_count());
	T(mib >= 165);
	T_EQ(heap_count(), 1);
	return T_PASS;
}

/* A run that could not be used grows neither here nor in the heap. */
static int no_memory_to_grow(void)
{
	struct rlimit rl = { 64 << 20, 64 << 20 };
	struct ghu_heap_stats before, after;
	struct ghu_heap *h;
	struct ghu_run r;
	bool needzero;

	if (T_SANITIZED)
		return T_SKIP;
	T_EQ(ghu_span_alloc(128, 0, GHU_SPAN_LARGE, 0, &r), 0);
	h = heap_at(0);
	T_EQ(setrlimit(RLIMIT_DATA, &rl), 0);
	T_EQ(h->ops->stats(h, &before), 0);
	T_EQ(ghu_span_resize(r.addr, 128, 128 * 128, &needzero), -ENOMEM);
	T_EQ(h->ops->stats(h, &after), 0);
	T_EQ(after.sys, before.sys);
	T_EQ(ghu_span_resize(r.addr, 128, 128 * 16, &needzero), 0);
	memset((void *)r.addr, 1, 16 << 20);
	ghu_span_free(r.addr, 128 * 16);
	return walk();
}

/* One request that is longer than the arenas gets an arena of its own. */
static int long_request(void)
{
	struct ghu_run r;

	T_SUB(limit_addresses((size_t)1 << 30));
	T_EQ(ghu_span_alloc(((size_t)500 << 20) / GHU_PAGE_SIZE, 0, GHU_SPAN_LARGE, 0, &r), 0);
	T(is_zero(r.addr, (size_t)500 << 20));
	T_EQ(heap_count(), 2);
	ghu_span_free(r.addr, r.npages);
	return walk();
}

static void init_without_addresses(void)
{
	if (!limit_addresses((size_t)16 << 20))
		ghu_init();
}

static int no_addresses(void)
{
	char err[512];

	if (T_SANITIZED)
		return T_SKIP;
	T_EQ(t_stderr(init_without_addresses, err, sizeof(err)), 256 + SIGABRT);
	T(!strcmp(err, getenv("GOHEAPDEBUG") && strstr(getenv("GOHEAPDEBUG"), "=device") ?
		  "fatal error: backend=device: no arena could be mapped\n" :
		  "fatal error: runtime: cannot reserve arena virtual address space\n"));
	return T_PASS;
}

/* ---- age ---- */

static int ages(void)
{
	struct ghu_run big, r;
	size_t before, after;

	ghu_init();
	if (strcmp(ghu_backend_name(), "embedded"))
		return T_SKIP;
	ghu_options.scavenge = 1;
	T_EQ(ghu_span_alloc(8192, 0, 0, 0, &big), 0);
	memset((void *)big.addr, 1, 64 << 20);
	before = t_rss();
	ghu_span_free(big.addr, big.npages);
	for (int i = 0; i < 200; i++) {
		usleep(1000);
		T_EQ(ghu_span_alloc(64, 0, 0, 0, &r), 0);
		ghu_span_free(r.addr, r.npages);
	}
	after = t_rss();
	printf("# RSS %zu MiB, after 200 ms %zu MiB\n", before >> 20, after >> 20);
	T(after + (60 << 20) < before);
	return walk();
}

/* Nothing is released before its time, and the clock is not read at each call. */
static int does_not_age(void)
{
	struct embedded_heap *e;
	struct ghu_run big, r;

	ghu_init();
	if (strcmp(ghu_backend_name(), "embedded"))
		return T_SKIP;
	e = embedded(heap_at(0));
	T_EQ(ghu_span_alloc(1024, 0, 0, 0, &big), 0);
	memset((void *)big.addr, 1, 8 << 20);
	ghu_span_free(big.addr, big.npages);
	for (int i = 0; i < 1000; i++) {
		T_EQ(ghu_span_alloc(64, 0, 0, 0, &r), 0);
		ghu_span_free(r.addr, r.npages);
	}
	T_EQ(e->passes, 0);
	T_EQ(gh_idle_resident_pages(&e->mheap), 1024);
	e->pass_begun_ns -= AGE_LIMIT_NS / 2 + 1;
	for (int i = 0; i < 16; i++) {
		T_EQ(ghu_span_alloc(64, 0, 0, 0, &r), 0);
		ghu_span_free(r.addr, r.npages);
	}
	T_EQ(e->passes, 1);
	T_EQ(gh_idle_resident_pages(&e->mheap), 1024);
	return T_PASS;
}

static void trace_scavenge(void)
{
	struct ghu_run r;

	ghu_init();
	ghu_options.gctrace = 1;
	ghu_span_alloc(8192, 0, 0, 0, &r);
	memset((void *)r.addr, 1, 64 << 20);
	ghu_span_free(r.addr, r.npages);
	_exit(ghu_backend_scavenge(SIZE_MAX) == 64 << 20 ? 0 : 1);
}

static int trace(void)
{
	char err[512];

	T_EQ(t_stderr(trace_scavenge, err, sizeof(err)), 0);
	T(!strcmp(err, "scvg-1: 64 MB released\n"));
	return T_PASS;
}

/* Releases what was asked for, and a run more at most. */
static int scavenge_some(void)
{
	struct ghu_run r;
	size_t n;

	T_EQ(ghu_span_alloc(8192, 0, 0, 0, &r), 0);
	memset((void *)r.addr, 1, 64 << 20);
	ghu_span_free(r.addr, r.npages);
	n = ghu_backend_scavenge(10 << 20);
	T(n >= 10 << 20 && n <= 12 << 20);
	T_EQ(ghu_backend_scavenge(SIZE_MAX), (64 << 20) - n);
	T_EQ(ghu_backend_scavenge(SIZE_MAX), 0);
	T_EQ(ghu_span_alloc(8192, 0, 0, 0, &r), 0);
	T(!r.needzero);
	T(is_zero(r.addr, 64 << 20));
	return walk();
}

/* Another thread was releasing when this one forked: in the child nobody is. */
static int forked_while_releasing(void)
{
	struct embedded_heap *e;
	pid_t pid;

	ghu_init();
	if (strcmp(ghu_backend_name(), "embedded"))
		return T_SKIP;
	e = embedded(heap_at(0));
	mutex_lock(&e->mheap.lock);
	e->releasing = true;
	mutex_unlock(&e->mheap.lock);
	ghu_backend_fork_prepare();
	pid = (pid_t)syscall(SYS_fork);
	if (!pid) {
		ghu_backend_fork_child();
		_exit(e->releasing ? 1 : 17);
	}
	ghu_backend_fork_parent();
	T_EQ(t_wait(pid), 17);
	T(e->releasing);
	return T_PASS;
}

/* ---- threads ---- */

#define THREADS		4
#define THREAD_SPANS	64
#define THREAD_STEPS	20000

static int thread_failed;

static void thread_step(struct span *mine, uint64_t dice, uint64_t id)
{
	struct span *s = &mine[dice % THREAD_SPANS];

	if (s->run.addr) {
		if (!stamped(s))
			thread_failed = 1;
		ghu_span_free(s->run.addr, s->run.npages);
		s->run.addr = 0;
		return;
	}
	if (ghu_span_alloc(1 + (dice >> 8) % 12, 0, 0, 0, &s->run)) {
		thread_failed = 1;
		return;
	}
	s->stamp = dice ^ id << 56;
	stamp(s, 0);
}

static void *thread(void *arg)
{
	struct span mine[THREAD_SPANS] = { 0 };
	uint64_t x = (uintptr_t)arg * 0x9e3779b97f4a7c15ULL;

	for (int i = 0; i < THREAD_STEPS; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		thread_step(mine, x, (uintptr_t)arg);
		if (i % 4000 == 0)
			ghu_backend_scavenge(SIZE_MAX);
	}
	for (int i = 0; i < THREAD_SPANS; i++)
		if (mine[i].run.addr)
			ghu_span_free(mine[i].run.addr, mine[i].run.npages);
	return NULL;
}

static int threads(void)
{
	pthread_t t[THREADS];

	for (uintptr_t i = 0; i < THREADS; i++)
		T_EQ(pthread_create(&t[i], NULL, thread, (void *)(i + 1)), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	T_EQ(thread_failed, 0);
	T_EQ(inuse_bytes, 0);
	return walk();
}

static const struct t_case cases[] = {
	{ "arena is where it is wanted", hinted_address },
	{ "arena is at the next hint if one is taken", hints_taken },
	{ "arena is anywhere if all hints are taken", all_hints_taken },
	{ "model", model },
	{ "at most two mappings per arena", two_vmas },
	{ "cache is bounded", cache_bounds },
	{ "cache returns what was used last", cache_lifo },
	{ "cache makes one call for many spans", cache_batches },
	{ "out of memory is told once", out_of_memory_message },
	{ "impossible requests are refused", impossible_requests },
	{ "idle memory is released before a heap gives up", releases_before_it_gives_up },
	{ "further arenas under RLIMIT_AS", several_arenas },
	{ "no memory to grow in place", no_memory_to_grow },
	{ "an arena leaves addresses to others", modest_arena },
	{ "memory is opened in huge pages", opened_in_huge_pages },
	{ "memory is opened to the last MiB", last_memory },
	{ "a request longer than the arenas", long_request },
	{ "no addresses at all is fatal", no_addresses },
	{ "idle memory is released by age", ages },
	{ "idle memory is not released before its time", does_not_age },
	{ "a forked child releases by age too", forked_while_releasing },
	{ "scavenging on demand is traced", trace },
	{ "scavenging on demand is bounded", scavenge_some },
	{ "threads", threads },
};

int main(int argc, char **argv)
{
	const char *options = getenv("GOHEAPDEBUG");

	if (T_SANITIZED && options && strstr(options, "=device")) {
		printf("TAP version 13\n1..0 # SKIP sanitizers look at the embedded backend\n");
		return T_SKIP;
	}
	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
