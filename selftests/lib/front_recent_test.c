// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Objects that a thread keeps when it frees them: small ones, and short ones of the
 * large, from the inside: who keeps which and when, that they
 * are found again, are free to everybody else, and never keep a span for long.
 */
#include <goheap.h>
#include "../../userlib/few.h"
#include "../../userlib/mcache.h"
#include "../../userlib/mcentral.h"
#include "../../userlib/recent.h"

#define SPANS	1000u
#include "front_spans.h"

static struct ghu_mcache_class *mine(void)
{
	return &ghu_mcache->classes[CLASS];
}

static void shuffle(void)
{
	for (unsigned int i = N - 1; i > 0; i--) {
		unsigned int k = (unsigned int)t_below(i + 1);
		char *p = objects[i];

		objects[i] = objects[k];
		objects[k] = p;
	}
}

static void *own[50 * PER];

/* And the thread keeps what it frees. */
static int begin(void)
{
	T_SUB(make_shared());
	for (unsigned int i = 0; i < ARRAY_SIZE(own); i++)
		own[i] = vmalloc(SIZE);
	T(!mine()->freed);
	ghu_recent_begin(ghu_mcache, CLASS);
	T(mine()->freed);
	T_EQ(ghu_recent_count(mine()), 0);
	return T_PASS;
}

/* Who frees all that he allocated finds it where it was: he keeps nothing. */
static int test_batches(void)
{
	for (int round = 0; round < 10; round++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(own); i++)
			own[i] = vmalloc(SIZE);
		for (unsigned int i = 0; i < ARRAY_SIZE(own); i++)
			vfree(own[i]);
	}
	T(!mine()->freed);
	return T_PASS;
}

/* Who replaces single objects, of spans that he has or of others, finds few in each. */
static int test_begins(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(own); i++)
		own[i] = vmalloc(SIZE);
	for (unsigned int i = 0; i < 100 * ARRAY_SIZE(own) && !mine()->freed; i++) {
		unsigned int k = (unsigned int)t_below(ARRAY_SIZE(own));

		vfree(own[k]);
		own[k] = vmalloc(SIZE);
	}
	T(mine()->freed);
	return T_PASS;
}

static int test_begins_shared(void)
{
	T_SUB(make_shared());
	for (unsigned int i = 0; i < SPANS; i++)
		vfree(objects[PER * i]);
	T(!mine()->freed);
	vmalloc(SIZE);
	T(mine()->freed);
	return T_PASS;
}

/* Until the window is empty and the next one would be opened. */
static void empty_window(void)
{
	while (mine()->window.free)
		vmalloc(SIZE);
}

/* What was freed last comes first, and is in use again. */
static int test_again(void)
{
	T_SUB(begin());
	for (unsigned int i = 0; i < 20; i++) {
		vfree(objects[PER * i]);
		T_EQ(*state_of(objects[PER * i]), GHU_OBJ_KEPT);
		T_EQ(ghu_recent_count(mine()), i + 1);
	}
	empty_window();
	for (unsigned int i = 20; i-- > 0; ) {
		T(vmalloc(SIZE) == objects[PER * i]);
		T_EQ(*state_of(objects[PER * i]), GHU_OBJ_LIVE);
	}
	return T_PASS;
}

/* Who never lacked objects keeps none, and nobody more than so many. */
static int test_bounds(void)
{
	T_SUB(make_shared());
	T(!mine()->freed);
	vfree(objects[0]);
	T_EQ(*state_of(objects[0]), GHU_OBJ_FREE);
	T_SUB(begin());
	for (unsigned int i = 0; i < 2 * GHU_RECENT_MAX; i++)
		vfree(objects[PER * i]);
	T_EQ(ghu_recent_count(mine()), GHU_RECENT_MAX);
	T_EQ(*state_of(objects[0]), GHU_OBJ_KEPT);
	T_EQ(*state_of(objects[PER * GHU_RECENT_MAX]), GHU_OBJ_FREE);
	return T_PASS;
}

/* As in spans of its own. */
static int test_own(void)
{
	char *p;

	T_SUB(begin());
	p = vmalloc(SIZE);
	T_EQ(ghu_mspan_where(span_of(p)), GHU_SPAN_IS_OWNED);
	vfree(p);
	T_EQ(*state_of(p), GHU_OBJ_KEPT);
	T_EQ(ghu_recent_count(mine()), 1);
	return T_PASS;
}

/* With few of them another window is opened first; but there need not be one. */
static int test_few(void)
{
	T_SUB(begin());
	for (unsigned int i = 0; i < GHU_RECENT_WORTH - 1; i++)
		vfree(objects[PER * i]);
	empty_window();
	vmalloc(SIZE);
	T_EQ(ghu_recent_count(mine()), GHU_RECENT_WORTH - 1);
	vfree(objects[PER * GHU_RECENT_WORTH]);
	empty_window();
	T(vmalloc(SIZE) == objects[PER * GHU_RECENT_WORTH]);
	T_EQ(ghu_recent_count(mine()), GHU_RECENT_WORTH - 1);
	return T_PASS;
}

static char *watched_of(unsigned int span)
{
	return objects[PER * span + PER - 1];
}

/* A few are kept with their watch; then it is handed on, and the object kept like any other. */
static int test_watched(void)
{
	unsigned int i;

	T_SUB(begin());
	for (i = 0; i < GHU_RECENT_WATCHES + GHU_RECENT_WORTH; i++) {
		T_EQ(*state_of(watched_of(i)), GHU_OBJ_WATCH);
		vfree(watched_of(i));
	}
	for (i = 0; i < GHU_RECENT_WATCHES; i++)
		T_EQ(*state_of(watched_of(i)), GHU_OBJ_KEPT_WATCH);
	T_EQ(*state_of(watched_of(i)), GHU_OBJ_KEPT);
	T_EQ(*state_of(objects[PER * i]), GHU_OBJ_WATCH);
	return T_PASS;
}

/* As many again when the stacks have changed places; and it has its watch when it is in use again. */
static int test_watched_again(void)
{
	unsigned int all = GHU_RECENT_WATCHES + GHU_RECENT_WORTH;

	T_SUB(test_watched());
	empty_window();
	T(vmalloc(SIZE) == watched_of(all - 1));
	vfree(watched_of(all));
	T_EQ(*state_of(watched_of(all)), GHU_OBJ_KEPT_WATCH);
	while (ghu_recent_count(mine()) > 1)
		vmalloc(SIZE);
	T_EQ(*state_of(watched_of(0)), GHU_OBJ_WATCH);
	return T_PASS;
}

/* Not if nothing else of the span is in use, though another thread has kept some of it. */
static int test_watched_last(void)
{
	T_SUB(begin());
	for (unsigned int i = 0; i < PER - 1; i++)
		*state_of(objects[i]) = GHU_OBJ_KEPT;
	vfree(objects[PER - 1]);
	T_EQ(*state_of(objects[0]), GHU_OBJ_KEPT_WATCH);
	T_EQ(*state_of(objects[PER - 1]), GHU_OBJ_KEPT);
	return T_PASS;
}

/* A span of which nothing but what the thread keeps is left goes back. */
static int test_span_returns(void)
{
	T_SUB(begin());
	for (unsigned int i = 0; i < PER - 1; i++)
		vfree(objects[i]);
	T_EQ(ghu_recent_count(mine()), PER - 1);
	vfree(objects[PER - 1]);
	T(!span_of(objects[0]));
	T_EQ(ghu_recent_count(mine()), 0);
	T(!mine()->freed);
	return T_PASS;
}

/* What is kept is freed, for statistics, and for those who ask what an object is. */
static int test_is_free(void)
{
	struct goheap_memstats before, after;

	T_SUB(begin());
	goheap_memstats(&before, sizeof(before));
	for (unsigned int i = 0; i < 30; i++)
		vfree(objects[PER * i]);
	goheap_memstats(&after, sizeof(after));
	T_EQ(ghu_recent_count(mine()), 30);
	T_EQ(before.heap_objects - after.heap_objects, 30);
	T_EQ(before.heap_alloc - after.heap_alloc, 30 * SIZE);
	T_EQ(after.mallocs, before.mallocs);
	empty_window();
	goheap_memstats(&before, sizeof(before));
	for (unsigned int i = 0; i < 30; i++)
		vmalloc(SIZE);
	T_EQ(ghu_recent_count(mine()), 0);
	goheap_memstats(&after, sizeof(after));
	T_EQ(after.heap_objects - before.heap_objects, 30);
	T_EQ(after.mallocs - before.mallocs, 30);
	return T_PASS;
}

static void free_twice(void)
{
	vfree(objects[0]);
	vfree(objects[0]);
}

static int test_double_free(void)
{
	char text[200];

	T_SUB(begin());
	T_EQ(t_stderr(free_twice, text, sizeof(text)), 256 + SIGABRT);
	T(!strncmp(text, "fatal error: free: double free: 0x", 34));
	return T_PASS;
}

/* Of an object on watch, while there is room for it. */
static void free_inside(void)
{
	begin();
	vfree(watched_of(0) + 8);
}

static int test_inside(void)
{
	char text[4096];

	T_EQ(t_stderr(free_inside, text, sizeof(text)), 256 + SIGABRT);
	T(strstr(text, "free: invalid pointer"));
	return T_PASS;
}

/* calloc() clears what it gets that way. */
static int test_calloc(void)
{
	char *p;

	T_SUB(begin());
	empty_window();
	for (unsigned int i = 0; i < GHU_RECENT_WORTH; i++) {
		memset(objects[PER * i], 0x55, SIZE);
		vfree(objects[PER * i]);
	}
	p = calloc(1, SIZE);
	T(p == objects[PER * (GHU_RECENT_WORTH - 1)]);
	for (unsigned int i = 0; i < SIZE; i++)
		T_EQ(p[i], 0);
	return T_PASS;
}

static int flush_returns_all(void (*flush)(void))
{
	T_SUB(begin());
	for (unsigned int i = 0; i < 30; i++)
		vfree(objects[PER * i]);
	T_EQ(ghu_recent_count(mine()), 30);
	flush();
	T_EQ(ghu_recent_count(mine()), 0);
	for (unsigned int i = 0; i < 30; i++)
		T_EQ(*state_of(objects[PER * i]), GHU_OBJ_FREE);
	return T_PASS;
}

static void trim(void)
{
	malloc_trim(0);
}

static int test_flush(void)
{
	T_SUB(flush_returns_all(goheap_flush));
	return flush_returns_all(trim);
}

/* Another thread's, which keeps some of what it freed last. */
static int turn;

static void wait_for(int t)
{
	while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) != t)
		usleep(100);
}

static void set_turn(int t)
{
	__atomic_store_n(&turn, t, __ATOMIC_RELEASE);
}

/* Keeps one object of each of so many spans, and stays. */
#define KEPT	30u

static void *keep_some(void *arg)
{
	vfree(vmalloc(SIZE));
	ghu_recent_begin(ghu_mcache, CLASS);
	for (unsigned int i = 0; i < KEPT; i++)
		vfree(objects[PER * i]);
	set_turn((int)ghu_recent_count(mine()));
	wait_for(-1);
	return arg;
}

static int start_keeper(pthread_t *t)
{
	T_SUB(make_shared());
	set_turn(0);
	T(!pthread_create(t, NULL, keep_some, NULL));
	wait_for(KEPT);
	return T_PASS;
}

static void free_the_others(void)
{
	for (unsigned int i = 0; i < PER * KEPT; i++)
		if (i % PER)
			vfree(objects[i]);
}

/* It learns that its objects are the last ones when it gives them up. */
static int test_other_thread(void)
{
	pthread_t t;

	T_SUB(start_keeper(&t));
	free_the_others();
	for (unsigned int i = 0; i < KEPT; i++)
		T_EQ(*state_of(objects[PER * i]), GHU_OBJ_KEPT_WATCH);
	set_turn(-1);
	pthread_join(t, NULL);
	for (unsigned int i = 0; i < KEPT; i++)
		T(!span_of(objects[PER * i]));
	return T_PASS;
}

static void *free_them(void *arg)
{
	free_the_others();
	return arg;
}

static void *have_cache(void *arg)
{
	vfree(vmalloc(SIZE));
	__atomic_fetch_add(&turn, 1, __ATOMIC_RELEASE);
	wait_for(-1);
	return arg;
}

/*
 * When it gives them up and so learns it, it leaves its cache alone, though it owns more than it
 * may: among threads it may own less.
 */
static int test_only_those(void)
{
	pthread_t t[2];
	size_t owned;

	T_SUB(begin());
	for (unsigned int i = 0; i < KEPT; i++)
		vfree(objects[PER * i]);
	T(!pthread_create(&t[0], NULL, free_them, NULL) && !pthread_join(t[0], NULL));
	for (int i = 0; i < 2000; i++)
		T(vmalloc(512));
	set_turn(0);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		T(!pthread_create(&t[i], NULL, have_cache, NULL));
	wait_for(ARRAY_SIZE(t));
	owned = ghu_mcache->owned_pages;
	T(owned > 100);
	T_EQ(*state_of(objects[0]), GHU_OBJ_KEPT_WATCH);
	ghu_recent_drop(ghu_mcache, CLASS);
	T(!span_of(objects[0]));
	T_EQ(ghu_mcache->owned_pages, owned);
	set_turn(-1);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		pthread_join(t[i], NULL);
	return T_PASS;
}

/* Once a thread has stacks of a class, it has them of each that it uses; not among many. */
static int test_all_classes(void)
{
	const struct ghu_mcache_class *c = ghu_mcache->classes;
	pthread_t t[8];

	vmalloc(100);
	T_SUB(test_begins());
	T(!c[ghu_size_to_class(100)].freed);
	vmalloc(200);
	T(c[ghu_size_to_class(200)].freed);
	set_turn(0);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		T(!pthread_create(&t[i], NULL, have_cache, NULL));
	wait_for(ARRAY_SIZE(t));
	vmalloc(300);
	T(!c[ghu_size_to_class(300)].freed);
	set_turn(-1);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		pthread_join(t[i], NULL);
	return T_PASS;
}

static void replace(unsigned int nr)
{
	while (nr--) {
		unsigned int k = (unsigned int)t_below(ARRAY_SIZE(own));

		vfree(own[k]);
		own[k] = vmalloc(SIZE);
	}
}

static void *fill_and_count(void *arg)
{
	for (unsigned int i = 0; i < 200 * PER; i++)
		own[i % ARRAY_SIZE(own)] = vmalloc(SIZE);
	*(size_t *)arg = ghu_mcache->owned_pages;
	return NULL;
}

/* The pages that a thread owns when there are so many others. */
static int owned_beside(size_t nr, size_t *owned)
{
	static pthread_t t[300];
	pthread_t filler;

	set_turn(0);
	for (size_t i = 0; i < nr; i++)
		T(!pthread_create(&t[i], NULL, have_cache, NULL));
	wait_for(nr);
	T(!pthread_create(&filler, NULL, fill_and_count, owned));
	pthread_join(filler, NULL);
	set_turn(-1);
	for (size_t i = 0; i < nr; i++)
		pthread_join(t[i], NULL);
	printf("# beside %zu: %zu pages\n", nr, *owned);
	return T_PASS;
}

/* The more threads there are, the less each of them owns. */
static int test_owned(void)
{
	static const struct {
		size_t others, pages;
	} want[] = { { 3, 24 }, { 60, 24 }, { 100, 15 }, { 300, 8 } };
	size_t owned;

	vmalloc(1);
	for (unsigned int i = 0; i < ARRAY_SIZE(want); i++) {
		T_SUB(owned_beside(want[i].others, &owned));
		T(owned >= want[i].pages && owned <= want[i].pages + 2);
	}
	return T_PASS;
}

/* Of many threads only those have stacks that live for a while. */
static int test_many(void)
{
	pthread_t t[8];

	set_turn(0);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		T(!pthread_create(&t[i], NULL, have_cache, NULL));
	wait_for(ARRAY_SIZE(t));
	for (unsigned int i = 0; i < ARRAY_SIZE(own); i++)
		own[i] = vmalloc(SIZE);
	replace(900);
	T(!ghu_recent_used);
	replace(100000);
	T(mine()->freed);
	set_turn(-1);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		pthread_join(t[i], NULL);
	return T_PASS;
}

/*
 * An object that its thread allocates again and frees, over and over: who looks whether the
 * span is empty, and sees it neither in use nor kept, must not take that for an answer.
 */
static uint8_t *swinging;

static void *swing(void *arg)
{
	while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) != -1) {
		__atomic_store_n(swinging, GHU_OBJ_KEPT, __ATOMIC_RELAXED);
		__atomic_store_n(swinging, GHU_OBJ_LIVE, __ATOMIC_RELAXED);
	}
	return arg;
}

static int test_swings(void)
{
	unsigned int empty = 0;
	struct ghu_mspan *s;
	pthread_t t;

	T_SUB(make_shared());
	s = span_of(objects[0]);
	for (unsigned int i = 1; i < PER; i++)
		__atomic_store_n(state_of(objects[i]), GHU_OBJ_FREE, __ATOMIC_RELAXED);
	swinging = state_of(objects[0]);
	__atomic_store_n(swinging, GHU_OBJ_LIVE, __ATOMIC_RELAXED);
	set_turn(0);
	T(!pthread_create(&t, NULL, swing, NULL));
	for (unsigned int i = 0; i < 3000000; i++)
		empty += ghu_mspan_watch(s, 0) == s->nelems;
	set_turn(-1);
	pthread_join(t, NULL);
	T_EQ(empty, 0);
	return T_PASS;
}

/* ---- large objects ---- */

#define LARGE	100000u		/* 13 pages */

static bool is_kept(const void *p)
{
	return span_of(p) && *ghu_states(span_of(p)) == GHU_OBJ_KEPT;
}

static int test_large(void)
{
	struct goheap_memstats before, after;
	char *p = vmalloc(LARGE), *other = vmalloc(3 * LARGE), *q;

	goheap_memstats(&before, sizeof(before));
	vfree(p);
	vfree(other);
	T(is_kept(p));
	T(!span_of(other));
	goheap_memstats(&after, sizeof(after));
	T_EQ(before.large_objects - after.large_objects, 2);
	T_EQ(after.large_frees - before.large_frees, 2);
	q = calloc(1, LARGE - 1000);
	T(q == p);
	T_EQ(*ghu_states(span_of(p)), GHU_OBJ_LIVE);
	goheap_memstats(&after, sizeof(after));
	T_EQ(after.large_mallocs - before.large_mallocs, 1);
	vfree(q);
	T(is_kept(p));
	goheap_flush();
	T(!span_of(p));
	return T_PASS;
}

/* The last ones, and no more than 32 pages. */
static int test_large_bounds(void)
{
	static char *p[12];

	for (unsigned int i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = vmalloc(i < 2 ? LARGE : 33000);
	for (unsigned int i = 0; i < ARRAY_SIZE(p); i++) {
		size_t pages = 0;

		vfree(p[i]);
		T(is_kept(p[i]));
		for (unsigned int k = 0; k <= i; k++)
			pages += is_kept(p[k]) ? span_of(p[k])->npages : 0;
		T(pages <= 32);
	}
	T(!is_kept(p[0]) && !is_kept(p[1]));
	return T_PASS;
}

/* By many threads together not much, and by one that is gone nothing. */
static void *free_one_large(void *p)
{
	vfree(vmalloc(1));
	vfree(p);
	set_turn(turn + 1);
	wait_for(-1);
	return NULL;
}

static int test_large_threads(void)
{
	enum { THREADS = 8 };
	pthread_t t[THREADS];
	void *p[THREADS];
	unsigned int nr = 0;

	set_turn(0);
	for (int i = 0; i < THREADS; i++) {
		p[i] = vmalloc(LARGE);
		T(!pthread_create(&t[i], NULL, free_one_large, p[i]));
		wait_for(i + 1);
	}
	for (int i = 0; i < THREADS; i++)
		nr += is_kept(p[i]);
	/* 128 pages in all, of which the main thread may have a part. */
	T(nr == 3 || nr == 4);
	set_turn(-1);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(t[i], NULL);
		T(!span_of(p[i]));
	}
	return T_PASS;
}

static void free_large_twice(void)
{
	char *p = vmalloc(LARGE);

	vfree(p);
	vfree(p);
}

static int test_large_double_free(void)
{
	char text[200];

	T_EQ(t_stderr(free_large_twice, text, sizeof(text)), 256 + SIGABRT);
	T(!strncmp(text, "fatal error: free: double free: 0x", 34));
	return T_PASS;
}

/* ---- all together ---- */

/* Not one that took its place. */
static bool is_span_of_ours(const void *p)
{
	return span_of(p) && span_of(p)->elemsize == SIZE;
}

/* In a child, nobody else is left to give them up. */
static int test_fork(void)
{
	pthread_t t;
	pid_t pid;

	T_SUB(start_keeper(&t));
	pid = fork();
	if (!pid) {
		alarm(20);
		free_the_others();
		/* New spans of another class, by which the orphans are noticed. */
		for (unsigned int i = 0; i < 100; i++)
			vmalloc(8192);
		for (unsigned int i = 0; i < KEPT; i++)
			if (is_span_of_ours(objects[PER * i]))
				_exit(1);
		_exit(17);
	}
	set_turn(-1);
	pthread_join(t, NULL);
	T_EQ(t_wait(pid), 17);
	return T_PASS;
}

/* Objects replaced, and then all freed, at random: of the heap next to nothing stays. */
static int test_all_freed(void)
{
	size_t before = goheap_inuse_bytes(), after;

	T_SUB(begin());
	shuffle();
	for (unsigned int i = 0; i < 2 * N; i++) {
		unsigned int k = (unsigned int)t_below(N);

		vfree(objects[k]);
		objects[k] = vmalloc(SIZE);
	}
	for (unsigned int i = 0; i < N; i++)
		vfree(objects[i]);
	for (unsigned int i = 0; i < ARRAY_SIZE(own); i++)
		vfree(own[i]);
	after = goheap_inuse_bytes();
	printf("# %zu of %u KiB stay, and %u objects are kept\n", (after - before) / 1024,
	       N * SIZE / 1024, ghu_recent_count(mine()));
	T(after - before <= 2 * 128 * 8192);	/* what a thread may own, twice */
	return T_PASS;
}

static const struct t_case cases[] = {
	{ "what was freed last is allocated first", test_again },
	{ "none without need, and only so many", test_bounds },
	{ "also of the thread's own spans", test_own },
	{ "with few of them, a window first", test_few },
	{ "none where all is freed", test_batches },
	{ "once objects are replaced", test_begins },
	{ "once spans are found that others let go", test_begins_shared },
	{ "objects on watch", test_watched },
	{ "more of them, and in use again", test_watched_again },
	{ "one on watch that is the last in use", test_watched_last },
	{ "nothing else left in the span", test_span_returns },
	{ "they count as free", test_is_free },
	{ "a second free", test_double_free },
	{ "many threads", test_many },
	{ "what each of several may own", test_owned },
	{ "a free inside of one on watch", test_inside },
	{ "calloc clears them", test_calloc },
	{ "flush and trim give them up", test_flush },
	{ "the last of a span, kept by another thread", test_other_thread },
	{ "the last of a span, given up by a thread that owns too much", test_only_those },
	{ "of all classes that are used", test_all_classes },
	{ "an object that comes and goes", test_swings },
	{ "large objects", test_large },
	{ "large objects: the last ones", test_large_bounds },
	{ "large objects of several threads", test_large_threads },
	{ "a second free of a large object", test_large_double_free },
	{ "kept by a thread that is not in the child", test_fork },
	{ "all freed at random", test_all_freed },
};

int main(int argc, char **argv)
{
	/* What is allocated is of the class of its size. */
	ghu_few_is_over = true;
	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
