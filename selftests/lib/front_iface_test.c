// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * What the library tells about itself agrees with a model of what was allocated:
 * statistics, the walk over the heap, malloc.h's reports; and options, and free with
 * a size.  Uses nothing but the public interfaces, so it runs with the shared library
 * as well as with the archive.
 */
#include <goheap.h>
#include <pthread.h>
#include "back_test.h"
#include "front_calls.h"

#define BLOCKS		3000
#define LARGE		100000
#define CLASSES_MAX	100

static struct goheap_memstats memstats(void)
{
	struct goheap_memstats st;

	goheap_memstats(&st, sizeof(st));
	return st;
}

/* ---- the model: blocks in use ---- */

static unsigned char *blocks[BLOCKS];
static uint64_t model_objects, model_bytes;

static void drop(size_t i)
{
	if (!blocks[i])
		return;
	model_objects--;
	model_bytes -= malloc_usable_size(blocks[i]);
	vfree(blocks[i]);
	blocks[i] = NULL;
}

static void put(size_t i, size_t size)
{
	drop(i);
	blocks[i] = vmalloc(size);
	if (!blocks[i])
		return;
	model_objects++;
	model_bytes += malloc_usable_size(blocks[i]);
}

static size_t random_size(void)
{
	return t_below(50) ? t_below(3000) : t_below(4 * LARGE);
}

static void random_steps(size_t steps)
{
	for (size_t n = 0; n < steps; n++) {
		if (t_below(3))
			put(t_below(BLOCKS), random_size());
		else
			drop(t_below(BLOCKS));
	}
}

/* ---- statistics ---- */

static int check_relations(const struct goheap_memstats *st)
{
	T_EQ(st->mallocs - st->frees, st->heap_objects);
	T_EQ(st->alloc, st->heap_alloc);
	T_EQ(st->heap_sys, st->heap_inuse + st->heap_idle);
	T_EQ(st->sys, st->heap_sys + st->mspan_sys + st->mcache_sys + st->buck_hash_sys +
	     st->other_sys);
	T_EQ(st->large_mallocs - st->large_frees, st->large_objects);
	T_EQ(st->large_alloc_bytes - st->large_free_bytes, st->large_inuse);
	T(st->total_alloc >= st->alloc);
	T(st->heap_inuse >= st->alloc);
	T(st->heap_released <= st->heap_idle);
	T(st->mspan_inuse && st->mspan_inuse <= st->mspan_sys);
	T(st->mcache_inuse && st->mcache_inuse <= st->mcache_sys);
	return T_PASS;
}

static int test_model(void)
{
	struct goheap_memstats start = memstats(), st, last = start;

	for (int round = 0; round < 30; round++) {
		random_steps(2000);
		if (round % 10 == 9)
			goheap_flush();
		st = memstats();
		T_EQ(st.heap_objects - start.heap_objects, model_objects);
		T_EQ(st.alloc - start.alloc, model_bytes);
		T_SUB(check_relations(&st));
		T(st.mallocs >= last.mallocs && st.frees >= last.frees);
		T(st.total_alloc >= last.total_alloc);
		T(st.large_alloc_bytes >= last.large_alloc_bytes);
		last = st;
	}
	return T_PASS;
}

/* Nobody asks in between, so it is the threads' counting that tells. */
static int test_mallocs(void)
{
	struct goheap_memstats before = memstats(), after;
	const uint64_t rounds = 5;

	for (uint64_t r = 0; r < rounds; r++) {
		for (size_t i = 0; i < BLOCKS; i++)
			put(i, 64);
		for (size_t i = 0; i < BLOCKS; i++)
			drop(i);
	}
	after = memstats();
	T_EQ(after.heap_objects, before.heap_objects);
	T(after.mallocs - before.mallocs <= rounds * BLOCKS);
	/* The window that it stands on, and where it stood when a round began. */
	T(after.mallocs - before.mallocs >= rounds * (BLOCKS - 128));
	T_EQ(after.mallocs - before.mallocs, after.frees - before.frees);
	return T_PASS;
}

static void *alloc_in_thread(void *arg)
{
	(void)arg;
	for (size_t i = 0; i < BLOCKS; i++)
		vfree(memset(vmalloc(4 * LARGE), 1, 1));
	for (size_t i = 0; i < BLOCKS; i++)
		blocks[i] = vmalloc(64);
	for (size_t i = 0; i < BLOCKS; i++)
		vfree(blocks[i]);
	return NULL;
}

static int told(const struct goheap_memstats *before, uint64_t mallocs, uint64_t frees)
{
	struct goheap_memstats st = memstats();

	T_EQ(st.mallocs - before->mallocs, mallocs);
	T_EQ(st.frees - before->frees, frees);
	return T_PASS;
}

/* A span of 208 bytes is one window of 39 objects, which nobody else here asks for. */
static int test_window(void)
{
	struct goheap_memstats before = memstats();

	put(0, 208);
	T_SUB(told(&before, 1, 0));
	goheap_flush();
	T_SUB(told(&before, 1, 0));
	drop(0);
	T_SUB(told(&before, 1, 1));
	for (size_t i = 0; i < 39; i++)
		put(i, 208);
	T_SUB(told(&before, 40, 1));
	for (size_t i = 0; i < 20; i++)
		drop(i);
	T_SUB(told(&before, 40, 21));
	/* The same window once more: that nobody counts. */
	for (size_t i = 0; i < 20; i++)
		put(i, 208);
	T_SUB(told(&before, 60, 21));
	for (size_t i = 0; i < 30; i++)
		drop(i);
	return told(&before, 60, 51);
}

/* What a thread counted is not lost when it ends. */
static int test_mallocs_thread(void)
{
	struct goheap_memstats before = memstats(), after;
	pthread_t t;

	T(!pthread_create(&t, NULL, alloc_in_thread, NULL));
	T(!pthread_join(t, NULL));
	memset(blocks, 0, sizeof(blocks));
	after = memstats();
	T(after.mallocs - before.mallocs >= 2 * BLOCKS - 128);
	T_EQ(after.large_mallocs - before.large_mallocs, BLOCKS);
	T_EQ(after.large_frees - before.large_frees, BLOCKS);
	return T_PASS;
}

static int test_large(void)
{
	struct goheap_memstats before = memstats(), after;
	size_t bytes = goheap_good_size(LARGE), more;
	char *p;

	for (int i = 0; i < 50; i++)
		vfree(vmalloc(LARGE));
	after = memstats();
	T_EQ(after.large_mallocs - before.large_mallocs, 50);
	T_EQ(after.large_alloc_bytes - before.large_alloc_bytes, 50 * bytes);
	T_EQ(after.large_free_bytes - before.large_free_bytes, 50 * bytes);
	T_EQ(after.large_objects, before.large_objects);

	p = vrealloc(vmalloc(LARGE), 10 * LARGE);
	more = malloc_usable_size(p);
	vfree(p);
	before = memstats();
	T(before.large_alloc_bytes - after.large_alloc_bytes >= more);

	p = vmalloc(LARGE);
	p = vrealloc(p, 10 * LARGE);
	more = malloc_usable_size(p);
	after = memstats();
	T_EQ(after.large_objects - before.large_objects, 1);
	T_EQ(after.large_inuse - before.large_inuse, more);
	p = vrealloc(p, 2 * LARGE);
	after = memstats();
	T_EQ(after.large_inuse - before.large_inuse, malloc_usable_size(p));
	vfree(p);
	after = memstats();
	T_EQ(after.large_inuse, before.large_inuse);
	T(after.large_alloc_bytes - before.large_alloc_bytes >= more);
	return check_relations(&after);
}

static int test_released(void)
{
	struct goheap_memstats st;
	size_t released;
	char *p;

	goheap_scavenge(SIZE_MAX);
	p = vmalloc(64 << 20);
	T(p);
	memset(p, 1, 64 << 20);
	st = memstats();
	T(st.heap_inuse >= 64 << 20);
	vfree(p);
	st = memstats();
	T(st.heap_idle - st.heap_released >= 64 << 20);
	released = goheap_scavenge(SIZE_MAX);
	T(released >= 64 << 20);
	T(memstats().heap_released >= st.heap_released + (64 << 20));
	return T_PASS;
}

/* A caller that is older or newer than the library. */
static int test_memstats_size(void)
{
	struct {
		struct goheap_memstats st;
		uint64_t more[4];
	} longer;
	struct goheap_memstats st;

	memset(&longer, 0x55, sizeof(longer));
	goheap_memstats(&longer.st, sizeof(longer));
	T(longer.st.heap_sys && longer.st.heap_sys != 0x5555555555555555u);
	for (int i = 0; i < 4; i++)
		T(!longer.more[i]);
	memset(&st, 0x55, sizeof(st));
	goheap_memstats(&st, 2 * sizeof(uint64_t));
	T(st.total_alloc != 0x5555555555555555u);
	T(st.sys == 0x5555555555555555u && st.sweeps == 0x5555555555555555u);
	return T_PASS;
}

static int check_sums(const struct goheap_class *table, size_t nr)
{
	struct goheap_memstats st = memstats();
	uint64_t live = 0, mallocs = 0, frees = 0, bytes = 0;

	for (size_t i = 0; i < nr; i++) {
		live += table[i].live;
		mallocs += table[i].mallocs;
		frees += table[i].frees;
		bytes += table[i].bytes;
		T(table[i].live <= table[i].spans * table[i].objects);
	}
	T_EQ(live, st.heap_objects);
	T_EQ(mallocs, st.mallocs);
	T_EQ(frees, st.frees);
	T_EQ(bytes, st.heap_inuse);
	T_EQ(table[0].live, st.large_objects);
	return T_PASS;
}

static int test_by_size(void)
{
	struct goheap_class before[CLASSES_MAX], after[CLASSES_MAX];
	size_t nr;

	use_up_few();
	nr = goheap_by_size(before, CLASSES_MAX);
	T(nr > 60 && nr <= CLASSES_MAX);
	T_EQ(goheap_by_size(NULL, 0), nr);
	T_EQ(before[0].size, 0);
	T_EQ(before[nr - 1].size, 0);
	for (size_t i = 1; i < nr; i++) {
		T(before[i].size > before[i - 1].size || i == nr - 1);
		T_EQ(goheap_good_size(before[i].size), before[i].size);
		for (size_t k = 0; k < i; k++)
			put(i, before[i].size);
		for (size_t k = 0; k < i; k++)
			put(CLASSES_MAX * (1 + k % 20) + i, before[i].size);
	}
	goheap_by_size(after, CLASSES_MAX);
	for (size_t i = 1; i < nr; i++)
		T_EQ(after[i].live - before[i].live, 1 + (i < 20 ? i : 20));
	random_steps(10000);
	goheap_by_size(after, CLASSES_MAX);
	return check_sums(after, nr);
}

/* ---- the walk ---- */

struct walk {
	uint64_t areas, objects, promised;
	bool seen[BLOCKS];
	const char *wrong;
	bool churn;		/* allocate and free in between */
};

static int compare(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t)*(unsigned char *const *)a, y = (uintptr_t)*(unsigned char *const *)b;

	return (x > y) - (x < y);
}

/* blocks must be sorted. */
static void mark(struct walk *w, void *object, size_t bytes)
{
	unsigned char **b = bsearch(&object, blocks, BLOCKS, sizeof(*blocks), compare);

	if (!b || !object)
		return;
	if (w->seen[b - blocks])
		w->wrong = "seen twice";
	if (bytes != malloc_usable_size(object))
		w->wrong = "not its length";
	w->seen[b - blocks] = true;
}

static int visit(const struct goheap_area *area, void *object, void *arg)
{
	struct walk *w = arg;
	size_t offset = (size_t)((char *)object - (char *)area->start);

	if (w->churn)
		vfree(vmalloc(t_below(5000)));
	if (!object) {
		w->areas++;
		w->promised += area->live;
		if (area->live > area->objects || area->objects * area->object_bytes > area->bytes)
			w->wrong = "impossible area";
		return 0;
	}
	w->objects++;
	if (offset >= area->bytes || offset % (area->object_bytes ? area->object_bytes : 16))
		w->wrong = "object outside of its area";
	mark(w, object, area->object_bytes);
	return 0;
}

static int check_walk(struct walk *w)
{
	T(!goheap_walk(visit, w));
	if (w->wrong)
		printf("# %s\n", w->wrong);
	T(!w->wrong);
	T_EQ(w->objects, w->promised);
	for (size_t i = 0; i < BLOCKS; i++)
		T(w->seen[i] == !!blocks[i]);
	return T_PASS;
}

static int test_walk(void)
{
	static struct walk w;

	for (int round = 0; round < 10; round++) {
		random_steps(5000);
		qsort(blocks, BLOCKS, sizeof(*blocks), compare);
		w = (struct walk){ .areas = 0 };
		T_SUB(check_walk(&w));
		T_EQ(w.objects, memstats().heap_objects);
	}
	return T_PASS;
}

static int test_walk_churn(void)
{
	static struct walk w;

	random_steps(20000);
	qsort(blocks, BLOCKS, sizeof(*blocks), compare);
	w = (struct walk){ .churn = true };
	return check_walk(&w);
}

static int stop_at_third(const struct goheap_area *area, void *object, void *arg)
{
	(void)area, (void)object;
	return ++*(int *)arg == 3 ? 42 : 0;
}

static int test_walk_stop(void)
{
	int n = 0;

	random_steps(100);
	T_EQ(goheap_walk(stop_at_third, &n), 42);
	T_EQ(n, 3);
	return T_PASS;
}

/* ---- malloc.h ---- */

static int test_mallinfo(void)
{
	struct mallinfo2 before = mallinfo2(), m;
	struct goheap_memstats st;
	struct mallinfo old;

	for (size_t i = 0; i < 1000; i++)
		put(i, 1024);
	for (size_t i = 1000; i < 1010; i++)
		put(i, LARGE);
	m = mallinfo2();
	T_EQ(m.uordblks - before.uordblks, 1000 * 1024);
	T_EQ(m.hblks - before.hblks, 10);
	T_EQ(m.hblkhd - before.hblkhd, 10 * goheap_good_size(LARGE));
	T_EQ(m.arena, m.uordblks + m.fordblks);
	T(m.keepcost <= m.fordblks);
	st = memstats();
	T_EQ(m.uordblks + m.hblkhd, st.alloc);
	T_EQ(m.arena + m.hblkhd, st.heap_sys - st.heap_released);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
	old = mallinfo();
#pragma GCC diagnostic pop
	T_EQ(old.arena, m.arena);
	T_EQ(old.ordblks, m.ordblks);
	T_EQ(old.hblkhd, m.hblkhd);
	T_EQ(old.uordblks, m.uordblks);
	T_EQ(old.fordblks, m.fordblks);
	return T_PASS;
}

/* More than an int holds is INT_MAX, not a small or negative number. */
static int test_mallinfo_much(void)
{
	struct mallinfo m;

	for (size_t i = 0; i < 5; i++) {
		put(i, (size_t)500 << 20);
		if (!blocks[i])
			return T_SKIP;
	}
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
	m = mallinfo();
#pragma GCC diagnostic pop
	T_EQ(m.hblkhd, INT32_MAX);
	T(mallinfo2().hblkhd > INT32_MAX);
	return T_PASS;
}

static int test_malloc_info(void)
{
	FILE *full = fopen("/dev/full", "w");

	T(full);
	setvbuf(full, NULL, _IONBF, 0);
	errno = 0;
	T_EQ(malloc_info(1, stdout), EINVAL);
	T_EQ(errno, EINVAL);
	T_EQ(malloc_info(0, full), -1);
	fclose(full);
	return T_PASS;
}

static void say_stats(void)
{
	malloc_stats();
}

static int test_malloc_stats(void)
{
	char text[1000];
	size_t system, used;

	T_EQ(t_stderr(say_stats, text, sizeof(text)), 0);
	T_EQ(sscanf(text, "Arena 0:\nsystem bytes = %zu\nin use bytes = %zu\nTotal", &system,
		    &used), 2);
	T(system >= used && system > 0);
	return T_PASS;
}

static int test_mallopt(void)
{
	T_EQ(mallopt(M_TRIM_THRESHOLD, 1 << 20), 1);
	T_EQ(mallopt(M_MMAP_THRESHOLD, 1 << 20), 1);
	T_EQ(mallopt(M_ARENA_MAX, 1), 1);
	T_EQ(mallopt(M_PERTURB, 0), 1);
	T_EQ(mallopt(M_PERTURB, 1), 0);
	T_EQ(mallopt(12345, 1), 0);
	return T_PASS;
}

/* ---- JSON, options ---- */

static int test_json(void)
{
	static char all[GOHEAP_JSON_MAX], cut[GOHEAP_JSON_MAX];
	size_t len = goheap_json(all, sizeof(all));

	T(len < sizeof(all));
	T_EQ(strlen(all), len);
	T(all[0] == '{' && !strcmp(all + len - 3, "}}\n"));
	for (size_t size = 0; size <= len + 1; size += 1 + t_below(200)) {
		memset(cut, 0x55, sizeof(cut));
		T_EQ(goheap_json(cut, size), len);
		T(!size || strlen(cut) == (size <= len ? size - 1 : len));
		T(!size || !memcmp(cut, all, size - 1 < len ? size - 1 : len));
		for (size_t i = size; i < sizeof(cut); i++)
			T(cut[i] == 0x55);
	}
	return T_PASS;
}

static void scavenge_loudly(void)
{
	void *p = vmalloc(32 << 20);

	memset(p, 1, 32 << 20);
	vfree(p);
	if (goheap_option_set("gctrace", "1"))
		_exit(1);
	goheap_scavenge(SIZE_MAX);
	goheap_option_set("gctrace", "0");
	vfree(memset(vmalloc(32 << 20), 1, 32 << 20));
	goheap_scavenge(SIZE_MAX);
}

static int test_option_works(void)
{
	char text[1000], *first;

	T_EQ(t_stderr(scavenge_loudly, text, sizeof(text)), 0);
	first = strstr(text, "scvg-1: ");
	T(first);
	T(!strstr(first + 1, "scvg-1: "));
	return T_PASS;
}

static int fails(int ret, int err)
{
	T_EQ(ret, -1);
	T_EQ(errno, err);
	return T_PASS;
}

static int test_options(void)
{
	const char *name;
	char value[20], four[4];
	unsigned int n = 0;

	for (; (name = goheap_option_name(n)); n++) {
		T(goheap_option_get(name, value, sizeof(value)) > 0 || !strcmp(name, "profile"));
		T_EQ(goheap_option_get(name, NULL, 0), strlen(value));
		T(!goheap_option_set(name, value));
	}
	T(n >= 3 && !goheap_option_name(n + 1));
	T(!goheap_option_set("gctrace", "1"));
	T_EQ(goheap_option_get("gctrace", value, sizeof(value)), 1);
	T(!strcmp(value, "1"));
	goheap_option_get("backend", value, sizeof(value));
	T_EQ(goheap_option_get("backend", four, sizeof(four)), strlen(value));
	T(!strncmp(four, value, 3) && !four[3]);
	T_SUB(fails(goheap_option_get("gctrac", value, sizeof(value)), ENOENT));
	T_SUB(fails(goheap_option_set("gctracee", "1"), ENOENT));
	T_SUB(fails(goheap_option_set("gctrace", "2"), EINVAL));
	T_SUB(fails(goheap_option_set("gctrace", ""), EINVAL));
	T_SUB(fails(goheap_option_set("backend", "none"), EINVAL));
	T_SUB(fails(goheap_option_set("backend", strcmp(value, "device") ? "device" : "embedded"),
		    EBUSY));
	goheap_option_get("uring", value, sizeof(value));
	if (goheap_option_set("uring", "1"))	/* built without: it takes no 1 */
		T(errno == EBUSY || errno == EINVAL);
	else
		T(!strcmp(value, "1"));
	return T_PASS;
}

/* ---- free with a size ---- */

static int test_free_sized(void)
{
	vfree_sized(NULL, 12);
	for (size_t size = 0; size < 3 * LARGE; size += 1 + size / 50) {
		vfree_sized(vmalloc(size), size);
		vfree_sized(vcalloc(1, size), size);
		vfree_sized(vrealloc(vmalloc(2 * size), size + 1), size + 1);
		vfree_sized(vrealloc(vmalloc(size), 2 * size + 1), 2 * size + 1);
	}
	return T_PASS;
}

static int test_free_aligned_sized(void)
{
	vfree_aligned_sized(NULL, 64, 12);
	for (size_t align = 1; align <= 1 << 20; align *= 2)
		for (size_t size = 0; size < LARGE; size += 1 + size / 4)
			vfree_aligned_sized(valigned(align, size), align, size);
	return T_PASS;
}

/* ---- what all of them have in common ---- */

/* They need no memory of the heap. */
static int test_no_malloc(void)
{
	static char text[GOHEAP_JSON_MAX];
	static struct walk w;
	struct goheap_class table[CLASSES_MAX];
	struct goheap_memstats before = memstats(), after;
	char value[20];

	goheap_json(text, sizeof(text));
	goheap_by_size(table, CLASSES_MAX);
	goheap_walk(visit, &w);
	goheap_option_get("gctrace", value, sizeof(value));
	goheap_option_set("gctrace", value);
	mallinfo2();
	malloc_stats();
	mallopt(M_ARENA_MAX, 1);
	after = memstats();
	T_EQ(after.mallocs, before.mallocs);
	T_EQ(after.heap_inuse, before.heap_inuse);
	return T_PASS;
}

static bool stop;

static void *churn(void *arg)
{
	void *p[200] = { NULL };
	uint64_t n = (uintptr_t)arg;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		void **at;

		n = n * 6364136223846793005u + 1442695040888963407u;
		at = &p[(n >> 33) % 200];
		vfree(*at);
		*at = vmalloc(n >> 60 ? (n >> 40) % 2000 : (n >> 40) % (3 * LARGE));
		if (n >> 56 == 7)
			*at = vrealloc(*at, 2 * LARGE);
	}
	for (int i = 0; i < 200; i++)
		vfree(p[i]);
	return NULL;
}

/* Frees all of one size before the next: its spans become another class's. */
static void *go_through_sizes(void *arg)
{
	void *p[400];

	for (size_t size = 120; !__atomic_load_n(&stop, __ATOMIC_RELAXED); size = size % 400 + 120) {
		for (int i = 0; i < 400; i++)
			p[i] = vmalloc(size);
		for (int i = 0; i < 400; i++)
			vfree(p[i]);
	}
	return arg;
}

static void *report(void *arg)
{
	static __thread char text[GOHEAP_JSON_MAX];

	(void)arg;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		goheap_json(text, sizeof(text));
		mallinfo2();
	}
	return NULL;
}

static void *(*const others[])(void *) = { report, go_through_sizes, churn, churn };

#define THREADS	ARRAY_SIZE(others)

static int start(pthread_t *t)
{
	for (uintptr_t i = 0; i < THREADS; i++)
		T(!pthread_create(&t[i], NULL, others[i], (void *)i));
	return T_PASS;
}

static void finish(pthread_t *t)
{
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
}

/* Blocks that stay are in every walk, whatever other threads do; numbers never fall. */
static int test_threads(void)
{
	struct goheap_memstats last = memstats(), st;
	static struct walk w;
	pthread_t t[THREADS];

	random_steps(5000);
	qsort(blocks, BLOCKS, sizeof(*blocks), compare);
	T_SUB(start(t));
	for (int round = 0; round < (T_SANITIZED ? 20 : 100); round++) {
		w = (struct walk){ .areas = 0 };
		T_SUB(check_walk(&w));
		st = memstats();
		T_SUB(check_relations(&st));
		T(st.mallocs >= last.mallocs && st.frees >= last.frees);
		T(st.heap_objects >= model_objects);
		last = st;
	}
	finish(t);
	return T_PASS;
}

static int in_child(void)
{
	static char text[GOHEAP_JSON_MAX];
	static struct walk w;
	struct goheap_memstats st = memstats();

	T_SUB(check_relations(&st));
	T_SUB(check_walk(&w));
	put(0, 100);
	put(1, LARGE);
	goheap_flush();
	T(goheap_json(text, sizeof(text)) < sizeof(text));
	st = memstats();
	T_SUB(check_relations(&st));
	T(st.heap_objects >= model_objects);
	return T_PASS;
}

/* A child finds no lock held, whatever its parent's threads were about. */
static int test_fork(void)
{
	pthread_t t[THREADS];

	random_steps(5000);
	qsort(blocks, BLOCKS, sizeof(*blocks), compare);
	T_SUB(start(t));
	for (int round = 0; round < 30; round++) {
		pid_t pid = fork();

		if (!pid) {
			alarm(100);
			_exit(in_child());
		}
		T_EQ(t_wait(pid), 0);
	}
	finish(t);
	return T_PASS;
}

static const struct t_case cases[] = {
	{ "statistics agree with a model", test_model },
	{ "mallocs and frees are counted", test_mallocs },
	{ "no more than there were, and no fewer than known", test_window },
	{ "those of a thread that ended are", test_mallocs_thread },
	{ "every large object is counted", test_large },
	{ "idle and released memory is told", test_released },
	{ "memstats for older and newer callers", test_memstats_size },
	{ "the table by size agrees with a model", test_by_size },
	{ "the walk agrees with a model", test_walk },
	{ "the walk, while its callback allocates", test_walk_churn },
	{ "the walk ends when it is told", test_walk_stop },
	{ "mallinfo and mallinfo2", test_mallinfo },
	{ "mallinfo of more than 2 GiB", test_mallinfo_much },
	{ "malloc_info fails as it should", test_malloc_info },
	{ "malloc_stats", test_malloc_stats },
	{ "mallopt", test_mallopt },
	{ "JSON in a buffer of any length", test_json },
	{ "an option that is set works", test_option_works },
	{ "options are read and set", test_options },
	{ "free_sized of the right size", test_free_sized },
	{ "free_aligned_sized of the right size", test_free_aligned_sized },
	{ "none of it allocates", test_no_malloc },
	{ "beside threads that allocate", test_threads },
	{ "in forked children of threads", test_fork },
};

static void *volatile kept;

/* Where the C library does not use our malloc(), the heap would be empty. */
int main(int argc, char **argv)
{
	kept = vmalloc(100);
	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
