// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The heap profile: what it says of known allocations, exactly where all are sampled and
 * within bounds where some are, with random numbers that are the same each time.
 */
#define _GNU_SOURCE
#include <goheap.h>
#include <math.h>
#include <pthread.h>
#include "back_test.h"
#include "front_calls.h"
#include "large.h"
#include "mcache.h"
#include "mspan.h"
#include "options.h"
#include "pagemap.h"
#include "profile.h"
#include "sample.h"

#define NR		20000
#define THREADS		4
#define TEXT_BYTES	(4u << 20)

static void *objects[NR];
static char text[TEXT_BYTES];

/* What the lines of one size say together. */
struct line {
	unsigned long long inuse, inuse_bytes, allocs, alloc_bytes;
	unsigned int stacks;
	uintptr_t pc;
};

static int set_rate(unsigned int rate)
{
	char value[16];

	snprintf(value, sizeof(value), "%u", rate);
	return goheap_option_set("memprofilerate", value);
}

static int read_profile(void)
{
	int fd = memfd_create("profile", 0);
	ssize_t got;

	T(fd >= 0);
	T(!goheap_profile_write(fd));
	got = pread(fd, text, sizeof(text) - 1, 0);
	T(got > 0 && got < (ssize_t)sizeof(text) - 1);
	text[got] = '\0';
	close(fd);
	return T_PASS;
}

/* Of all stacks with objects of that size; 0: of the header. */
static struct line find_line(size_t size)
{
	struct line sum = { 0 };

	if (!size) {
		sscanf(text, "heap profile: %llu: %llu [%llu: %llu]", &sum.inuse, &sum.inuse_bytes,
		       &sum.allocs, &sum.alloc_bytes);
		return sum;
	}
	for (const char *p = strchr(text, '\n'); p && p[1] != '\n'; p = strchr(p + 1, '\n')) {
		struct line l = { 0 };
		unsigned long pc = 0;

		sscanf(p, " %llu: %llu [%llu: %llu] @ 0x%lx", &l.inuse, &l.inuse_bytes, &l.allocs,
		       &l.alloc_bytes, &pc);
		if (!l.allocs || l.alloc_bytes / l.allocs != size)
			continue;
		sum.inuse += l.inuse;
		sum.inuse_bytes += l.inuse_bytes;
		sum.allocs += l.allocs;
		sum.alloc_bytes += l.alloc_bytes;
		sum.stacks++;
		sum.pc = pc;
	}
	return sum;
}

/* What pprof makes of a number of samples. */
static double estimate(unsigned long long nr, size_t size, unsigned int rate)
{
	return (double)nr / (1 - exp(-(double)size / rate));
}

static bool is_sampled(const void *p)
{
	const struct ghu_mspan *s = ghu_pagemap_get((uintptr_t)p);
	uint32_t index;

	return ghu_find_object(s, (uintptr_t)p, &index) &&
	       ghu_state(&ghu_states(s)[index]) == GHU_OBJ_SAMPLED;
}

static __attribute__((noinline)) void site(size_t i, size_t size)
{
	objects[i] = vmalloc(size);
	__asm__ volatile("" ::: "memory");
}

/* ---- drawing ---- */

static int logarithm(void)
{
	for (double x = 1.0 / 1024; x < 1e9; x *= 1.01)
		T(fabs(ghu_fastlog2(x) - log2(x)) < 0.0002);
	T(ghu_fastlog2(1) == 0);
	T(ghu_fastlog2(1 << 26) == 26);
	return T_PASS;
}

static int distances(void)
{
	const unsigned int rate = 524288, n = 200000;
	uint64_t state = 1, sum = 0, longer = 0, x;

	for (unsigned int i = 0; i < n; i++) {
		x = ghu_next_sample(rate, &state);
		T(x >= 1 && x < 20 * (uint64_t)rate);
		sum += x;
		longer += x > rate;
	}
	T(fabs((double)sum / n / rate - 1) < 0.01);
	T(fabs((double)longer / n - exp(-1)) < 0.01);
	T_EQ(ghu_next_sample(0, &state), 0);
	T_EQ(ghu_next_sample(1, &state), 1);
	T(ghu_next_sample(UINT64_MAX, &state) <= 20 * (uint64_t)GHU_SAMPLE_RATE_MAX);
	return T_PASS;
}

/* ---- all sampled ---- */

static int exact(size_t size, size_t block)
{
	struct line l;

	for (size_t i = 0; i < 1000; i++)
		site(i, size);
	for (size_t i = 0; i < 400; i++)
		vfree(objects[i]);
	T_SUB(read_profile());
	l = find_line(block);
	T_EQ(l.allocs, 1000);
	T_EQ(l.alloc_bytes, 1000 * block);
	T_EQ(l.inuse, 600);
	T_EQ(l.stacks, 1);
	T(l.pc - (uintptr_t)site < 64);
	for (size_t i = 400; i < 1000; i++)
		vfree(objects[i]);
	T_SUB(read_profile());
	T_EQ(find_line(block).inuse, 0);
	return T_PASS;
}

static int all_exact(void)
{
	T(!set_rate(1));
	T_SUB(exact(100, 112));
	T_SUB(exact(1000, 1024));
	T_SUB(exact(3000, 3072));
	T_SUB(exact(30000, 32768));
	T_SUB(exact(100000, 106496));
	T_EQ(find_line(0).inuse_bytes, 0);
	T(strstr(text, "@ heap_v2/1\n"));
	T(strstr(text, "\nMAPPED_LIBRARIES:\n"));
	return T_PASS;
}

static __attribute__((noipa)) void by_one_way(void)
{
	site(0, 400);
	__asm__ volatile("nop" ::: "memory");
}

static __attribute__((noipa)) void by_another_way(void)
{
	site(0, 400);
	__asm__ volatile("nop; nop" ::: "memory");
}

static __attribute__((noipa)) void deeper(int depth)
{
	if (depth)
		deeper(depth - 1);
	else
		site(0, 600);
	__asm__ volatile("" ::: "memory");
}

static unsigned int count_text(const char *part)
{
	unsigned int n = 0;

	for (const char *p = text; (p = strstr(p, part)); p++)
		n++;
	return n;
}

/* What is remembered of the last stack is not taken for another one's, but for its own. */
static int stacks_differ(void)
{
	T(!set_rate(1));
	for (int i = 0; i < 100; i++) {
		by_one_way();
		vfree(objects[0]);
		by_another_way();
		vfree(objects[0]);
		deeper(i % 20);
		vfree(objects[0]);
	}
	T_SUB(read_profile());
	T_EQ(find_line(416).stacks, 2);
	T_EQ(count_text("0: 0 [100: 41600] @ 0x"), 2);
	T_EQ(find_line(640).stacks, 20);
	T_EQ(count_text("0: 0 [5: 3200] @ 0x"), 20);
	return T_PASS;
}

/* Again and again at the same place. */
static int one_by_one(void)
{
	T(!set_rate(1));
	for (int i = 0; i < 1000; i++) {
		site(0, 48);
		T(is_sampled(objects[0]));
		vfree(objects[0]);
	}
	T_SUB(read_profile());
	T_EQ(find_line(48).allocs, 1000);
	T_EQ(find_line(48).inuse, 0);
	return T_PASS;
}

static int none_at_zero(void)
{
	T(!set_rate(1));
	site(0, 48);
	T(!set_rate(0));
	for (int i = 1; i < 1000; i++)
		site(i, 48);
	T_SUB(read_profile());
	T_EQ(find_line(48).allocs, 1);
	vfree(objects[0]);
	T_SUB(read_profile());
	T_EQ(find_line(48).inuse, 0);
	/* Which rate it was is not forgotten. */
	T(strstr(text, "@ heap_v2/1\n"));
	T(!vmalloc(0) || set_rate(1) == 0);
	T(!is_sampled(vmalloc(0)));
	return T_PASS;
}

/* Whatever else may be done with an object may be done with one that is sampled. */
static int like_others(void)
{
	char *p;

	T(!set_rate(1));
	p = vmalloc(100);
	T(is_sampled(p));
	T_EQ(malloc_usable_size(p), 112);
	vfree_sized(p, 100);
	p = valigned(256, 1000);
	T(is_sampled(p));
	vfree(p);
	p = vmalloc(100);
	memset(p, 7, 100);
	p = vrealloc(p, 5000);
	T(p[0] == 7 && p[99] == 7);
	vfree(p);
	T_SUB(read_profile());
	T_EQ(find_line(0).inuse, 0);
	return T_PASS;
}

static int realloc_in_place(void)
{
	char *p, *q;

	T(!set_rate(1));
	p = vmalloc(100000);
	q = vrealloc(p, 90000);
	T(p == q);
	T_SUB(read_profile());
	T_EQ(find_line(106496).inuse, 0);
	T_EQ(find_line(90112).inuse, 1);
	vfree(q);
	T_SUB(read_profile());
	T_EQ(find_line(0).inuse, 0);
	return T_PASS;
}

static int walk_fn(const struct goheap_area *area, void *object, void *arg)
{
	(void)area;
	return object == arg;
}

static int in_walk(void)
{
	struct goheap_memstats before, after;
	void *large;

	T(!set_rate(1));
	large = vmalloc(100000);
	goheap_memstats(&before, sizeof(before));
	site(0, 48);
	goheap_memstats(&after, sizeof(after));
	T_EQ(after.heap_objects, before.heap_objects + 1);
	T(goheap_walk(walk_fn, objects[0]));
	T(goheap_walk(walk_fn, large));
	T_EQ(after.large_objects, 1);
	T(after.buck_hash_sys > 0);
	T_EQ(after.sys, after.heap_sys + after.mspan_sys + after.mcache_sys + after.buck_hash_sys +
	     after.other_sys);
	return T_PASS;
}

/* Spans with sampled objects only are not given back, and are afterwards. */
static int spans_stay(void)
{
	T(!set_rate(1));
	for (size_t i = 0; i < NR; i++)
		site(i, 200);
	for (size_t i = 0; i < NR; i += 2)
		vfree(objects[i]);
	goheap_flush();
	for (size_t i = 1; i < NR; i += 2) {
		T(is_sampled(objects[i]));
		memset(objects[i], 1, 200);
	}
	T(goheap_inuse_bytes() >= NR / 2 * 208);
	for (size_t i = 1; i < NR; i += 2)
		vfree(objects[i]);
	goheap_flush();
	T(goheap_inuse_bytes() < 1 << 20);
	return T_PASS;
}

/* ---- some sampled ---- */

static int near(size_t block, unsigned int rate, unsigned long long nr, double expected,
		double part)
{
	double got = estimate(nr, block, rate);

	printf("# %zu bytes at rate %u: %llu samples, %.0f objects of %.0f\n", block, rate, nr, got,
	       expected);
	T(fabs(got - expected) < expected * part);
	return T_PASS;
}

/* nr are kept, and three quarters of them freed. */
static int kept(size_t size, size_t block, unsigned int rate, size_t nr, double part)
{
	for (size_t i = 0; i < nr; i++)
		site(i, size);
	for (size_t i = 0; i < nr; i++)
		if (i % 4)
			vfree(objects[i]);
	T_SUB(read_profile());
	T_SUB(near(block, rate, find_line(block).allocs, (double)nr, part));
	T_SUB(near(block, rate, find_line(block).inuse, (double)nr / 4, 2 * part));
	return T_PASS;
}

/* About 4 standard deviations each. */
static int estimates(void)
{
	T(!set_rate(16384));
	T_SUB(kept(100, 112, 16384, NR, 0.34));
	T_SUB(kept(1000, 1024, 16384, NR, 0.11));
	T_SUB(kept(3000, 3072, 16384, NR, 0.07));
	T_SUB(kept(10000, 10240, 16384, NR, 0.03));
	T_SUB(kept(50000, 57344, 16384, NR / 10, 0.02));
	return T_PASS;
}

static int estimates_default(void)
{
	T(!set_rate(GHU_PROFILE_RATE));
	T_SUB(kept(3000, 3072, GHU_PROFILE_RATE, NR, 0.4));
	T_SUB(kept(30000, 32768, GHU_PROFILE_RATE, NR / 4, 0.24));
	T_SUB(kept(1000000, 1007616, GHU_PROFILE_RATE, 1000, 0.05));
	return T_PASS;
}

/* What is freed at once is taken again from the same window, and counts no less. */
static int estimates_lifo(void)
{
	const size_t sizes[][2] = { { 16, 16 }, { 64, 64 }, { 1000, 1024 }, { 8000, 8192 } };

	T(!set_rate(16384));
	for (size_t k = 0; k < ARRAY_SIZE(sizes); k++) {
		size_t nr = ((size_t)16 << 20) / sizes[k][1];

		for (size_t i = 0; i < nr; i++) {
			site(0, sizes[k][0]);
			vfree(objects[0]);
		}
		T_SUB(read_profile());
		T_SUB(near(sizes[k][1], 16384, find_line(sizes[k][1]).allocs, (double)nr, 0.13));
		T_EQ(find_line(sizes[k][1]).inuse, 0);
	}
	return T_PASS;
}

/* ---- what threads keep for themselves would not be counted ---- */

#define OTHERS	30u
/* So that hardly any object is sampled. */
#define SELDOM	GHU_SAMPLE_RATE_MAX

static void *fill(void *arg)
{
	for (size_t i = 0; i < NR; i++)
		site(i, 1000);
	return arg;
}

/* Objects in spans that no thread owns, as the thread that made them is gone. */
static int make_others(void)
{
	pthread_t t;

	T(!pthread_create(&t, NULL, fill, NULL));
	pthread_join(t, NULL);
	T_EQ(ghu_mspan_where(ghu_pagemap_get((uintptr_t)objects[0])), GHU_SPAN_IS_SHARED);
	return T_PASS;
}

/* And the thread would keep such objects. */
static void ask_for_spans(void)
{
	for (int i = 0; i < 1000; i++)
		vmalloc(1000);
	ghu_recent_begin(ghu_mcache, ghu_size_to_class(1000));
}

/* Of different spans, and a large one. */
static void free_some(unsigned int first)
{
	for (unsigned int i = first; i < first + OTHERS; i++)
		vfree(objects[i * 16]);
	vfree(vmalloc(100000));
}

static unsigned int nr_kept(void)
{
	unsigned int nr = 0;

	for (size_t c = 1; c < GHU_NUM_CLASSES; c++)
		nr += ghu_recent_count(&ghu_mcache->classes[c]);
	return nr;
}

static int keeps(unsigned int small, unsigned int large)
{
	T_EQ(nr_kept(), small);
	T_EQ(ghu_large_nr_kept(ghu_mcache), large);
	return T_PASS;
}

/* One of those that were freed first. */
static bool is_among_others(const void *p)
{
	for (unsigned int i = 0; i < OTHERS; i++)
		if (objects[i * 16] == p)
			return true;
	return false;
}

/* What is kept is allocated only when it was counted. */
static int kept_is_counted(void)
{
	size_t sizeclass = ghu_size_to_class(1000);
	struct ghu_mcache_class *c;
	struct ghu_mcache *mc;
	uint64_t left;

	T(!set_rate(SELDOM));
	T_SUB(make_others());
	ask_for_spans();
	free_some(0);
	T_SUB(keeps(OTHERS, 1));
	mc = ghu_mcache;
	c = &mc->classes[sizeclass];
	while (c->window.free)
		vmalloc(1000);
	left = mc->next_sample = SELDOM;
	T(is_among_others(vmalloc(1000)));
	T_EQ(left - mc->next_sample, OTHERS * ghu_classes[sizeclass].size);
	T_SUB(keeps(OTHERS - 1, 1));
	/* A sample is due: it is the fourth of them. */
	while (ghu_recent_any(c->recent) || c->window.free)
		vmalloc(1000);
	free_some(OTHERS);
	mc->next_sample = 3 * ghu_classes[sizeclass].size + 1;
	for (int i = 0; i < 4; i++)
		T_EQ(is_sampled(vmalloc(1000)), i == 3);
	T_SUB(keeps(OTHERS - 3, 1));
	left = mc->next_sample = SELDOM;
	vfree(vmalloc(100000));
	T(left - mc->next_sample >= 100000);
	return T_PASS;
}

/* What was kept when sampling begins goes back. */
static int kept_goes_back(void)
{
	T_SUB(make_others());
	ask_for_spans();
	free_some(0);
	T_SUB(keeps(OTHERS, 1));
	T(!set_rate(SELDOM));
	T_SUB(keeps(0, 0));
	return T_PASS;
}

static pthread_barrier_t barrier;
static int another_result;

static int another(void)
{
	ask_for_spans();
	free_some(0);
	T_SUB(keeps(OTHERS, 1));
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	ask_for_spans();
	return keeps(0, 0);
}

static void *run_another(void *arg)
{
	another_result = another();
	return arg;
}

/* As soon as a thread that did not set the rate hears of it. */
static int kept_by_another(void)
{
	pthread_t t;

	T_SUB(make_others());
	pthread_barrier_init(&barrier, NULL, 2);
	T(!pthread_create(&t, NULL, run_another, NULL));
	pthread_barrier_wait(&barrier);
	T(!set_rate(SELDOM));
	pthread_barrier_wait(&barrier);
	pthread_join(t, NULL);
	return another_result;
}

/* Of a large heap, at random: about 4 standard deviations. */
static int estimates_replaced(void)
{
	T(!set_rate(16384));
	T_SUB(make_others());
	for (int i = 0; i < 2 * NR; i++) {
		size_t k = (size_t)t_below(NR);

		vfree(objects[k]);
		site(k, 1000);
	}
	T_SUB(read_profile());
	T_SUB(near(1024, 16384, find_line(1024).allocs, 3.0 * NR, 0.07));
	T_SUB(near(1024, 16384, find_line(1024).inuse, NR, 0.11));
	return T_PASS;
}

/* Those of a span that are sampled, or are not.  How many. */
static unsigned int free_those(const struct ghu_mspan *s, bool sampled)
{
	unsigned int nr = 0;

	for (size_t i = 0; i < NR; i++) {
		if (!objects[i] || ghu_pagemap_get((uintptr_t)objects[i]) != s ||
		    is_sampled(objects[i]) != sampled)
			continue;
		vfree(objects[i]);
		objects[i] = NULL;
		nr++;
	}
	return nr;
}

/* A span of which only sampled objects are left, and what the thread keeps itself. */
static int sampled_goes_last(void)
{
	const struct ghu_mspan *s;
	uintptr_t base;
	size_t i = 0;

	T(!set_rate(4096));
	T_SUB(make_others());
	T(!set_rate(0));
	ask_for_spans();
	while (!is_sampled(objects[i]))
		i++;
	s = ghu_pagemap_get((uintptr_t)objects[i]);
	base = s->base;
	T(free_those(s, false) > 1);
	T(nr_kept() > 1);
	T(ghu_pagemap_lookup(base) == s);
	T(free_those(s, true) > 0);
	T_EQ(nr_kept(), 0);
	T(!ghu_pagemap_lookup(base));
	return T_PASS;
}

/* ---- threads, processes, and what else may go wrong ---- */

static void *allocate(void *arg)
{
	size_t first = (size_t)arg * (NR / THREADS);

	for (size_t i = first; i < first + NR / THREADS; i++)
		site(i, 300);
	return NULL;
}

/* What another one allocated. */
static void *release(void *arg)
{
	size_t first = ((size_t)arg + 1) % THREADS * (NR / THREADS);

	for (size_t i = first; i < first + NR / THREADS; i++)
		vfree(objects[i]);
	return NULL;
}

static int run_threads(void *(*fn)(void *))
{
	pthread_t t[THREADS];

	for (size_t i = 0; i < THREADS; i++)
		T(!pthread_create(&t[i], NULL, fn, (void *)i));
	for (size_t i = 0; i < THREADS; i++)
		T(!pthread_join(t[i], NULL));
	return T_PASS;
}

static int threads(void)
{
	T(!set_rate(1));
	T_SUB(run_threads(allocate));
	T_SUB(read_profile());
	T_EQ(find_line(320).allocs, NR);
	T_EQ(find_line(320).inuse, NR);
	T_SUB(run_threads(release));
	T_SUB(read_profile());
	T_EQ(find_line(320).allocs, NR);
	T_EQ(find_line(320).inuse, 0);
	return T_PASS;
}

static int in_child(void)
{
	for (size_t i = 0; i < 50; i++)
		vfree(objects[i]);
	site(0, 48);
	T_SUB(read_profile());
	T_EQ(find_line(48).allocs, 101);
	T_EQ(find_line(48).inuse, 51);
	return T_PASS;
}

static volatile bool stop;

/* Samples; and holds the lock half of the time: there is no such record. */
static void *churn(void *arg)
{
	while (!stop) {
		vfree(vmalloc(500));
		for (int i = 0; i < 100; i++)
			ghu_profile_free(16);
	}
	return arg;
}

/* While others sample, which hold locks. */
static int forked(void)
{
	pthread_t t[2];

	T(!set_rate(1));
	for (size_t i = 0; i < 100; i++)
		site(i, 48);
	for (int i = 0; i < 2; i++)
		T(!pthread_create(&t[i], NULL, churn, NULL));
	for (int n = 0; n < 50; n++) {
		pid_t pid = fork();

		if (!pid)
			_exit(in_child());
		T_EQ(t_wait(pid), 0);
	}
	stop = true;
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	T_SUB(read_profile());
	T_EQ(find_line(48).allocs, 100);
	T_EQ(find_line(48).inuse, 100);
	return T_PASS;
}

static void free_twice(void)
{
	void *p;

	set_rate(1);
	p = vmalloc(100);
	vfree(p);
	vfree(p);
}

static void free_large_twice(void)
{
	void *p;

	set_rate(1);
	p = vmalloc(100000);
	vfree(p);
	vfree(p);
}

static int double_free(void)
{
	char buf[256];

	T_EQ(t_stderr(free_twice, buf, sizeof(buf)), 256 + SIGABRT);
	T(strstr(buf, "fatal error: free: double free: 0x"));
	T_EQ(t_stderr(free_large_twice, buf, sizeof(buf)), 256 + SIGABRT);
	T(strstr(buf, "fatal error: free: double free: 0x"));
	return T_PASS;
}

/* What there is no room for is lost, and no harm is done. */
static int bounded(void)
{
	struct goheap_memstats st;

	ghu_profile_sys_max = 1 << 20;
	T(!set_rate(1));
	for (size_t i = 0; i < NR; i++)
		site(i, 48);
	T_SUB(read_profile());
	goheap_memstats(&st, sizeof(st));
	T(st.buck_hash_sys <= 1 << 20);
	T(st.profile_lost > 0);
	T_EQ(find_line(48).inuse + st.profile_lost, NR);
	for (size_t i = 0; i < NR; i++)
		vfree(objects[i]);
	T_SUB(read_profile());
	T_EQ(find_line(48).inuse, 0);
	return T_PASS;
}

static int errors(void)
{
	T_EQ(goheap_profile_write(-1), -1);
	T_EQ(errno, EBADF);
	T_EQ(goheap_profile_save(NULL), -1);
	T_EQ(errno, ENOENT);
	T_EQ(goheap_profile_save("/nonexistent/profile"), -1);
	T_EQ(errno, ENOENT);
	T_EQ(set_rate(GHU_SAMPLE_RATE_MAX + 1), -1);
	T_EQ(errno, EINVAL);
	T_EQ(goheap_option_set("profile", "other"), -1);
	T_EQ(errno, EBUSY);
	return T_PASS;
}

static const struct t_case cases[] = {
	{ "the logarithm", logarithm },
	{ "distances between samples", distances },
	{ "all sampled: counts are exact", all_exact },
	{ "all sampled: an object freed and allocated again", one_by_one },
	{ "stacks that are alike", stacks_differ },
	{ "nothing is sampled at rate 0", none_at_zero },
	{ "sampled objects are like others", like_others },
	{ "an object resized where it is", realloc_in_place },
	{ "statistics and the walk see sampled objects", in_walk },
	{ "spans stay for sampled objects, and no longer", spans_stay },
	{ "some sampled: estimates", estimates },
	{ "some sampled: estimates at the default rate", estimates_default },
	{ "some sampled: objects freed at once", estimates_lifo },
	{ "some sampled: objects of a large heap replaced", estimates_replaced },
	{ "what threads keep is counted", kept_is_counted },
	{ "what was kept before goes back", kept_goes_back },
	{ "what another thread kept goes back", kept_by_another },
	{ "sampled objects that are the last of their span", sampled_goes_last },
	{ "threads that free what others allocated", threads },
	{ "fork while others are sampled", forked },
	{ "double free of a sampled object", double_free },
	{ "records are bounded", bounded },
	{ "errors", errors },
};

int main(int argc, char **argv)
{
	ghu_sample_seed = 1;
	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
