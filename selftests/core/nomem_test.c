// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Metadata memory that runs out: a fixed run of calls is repeated, and each time
 * the next request for metadata fails.  The call that met it must leave the heap
 * as it was, and succeed when it is repeated; nothing may leak.
 */
#include "testlib.h"

#define BASE	(0xc000000000ULL >> GH_PAGE_SHIFT)

static struct gh_mheap h;

/* A digest of the whole map and of what is counted. */
static int add_view(const struct gh_span_view *v, void *arg)
{
	u64 *sum = arg;

	*sum = (*sum ^ v->addr) * 0x100000001b3ULL;
	*sum = (*sum ^ v->npages) * 0x100000001b3ULL;
	*sum = (*sum ^ (v->state << 16 | v->tag << 8 | v->released)) * 0x100000001b3ULL;
	*sum = (*sum ^ v->unusedsince_ns) * 0x100000001b3ULL;
	return 0;
}

static u64 digest(void)
{
	u64 cursor = 0, sum = 0xcbf29ce484222325ULL;

	mutex_lock(&h.lock);
	gh_mheap_walk_locked(&h, &cursor, ~0U, add_view, &sum);
	sum = (sum ^ h.used_pages) * 31 + h.stats.nr_allocs * 7 + h.stats.nr_frees * 5 +
	      h.stats.nr_grows * 3 + h.stats.inuse_pages;
	mutex_unlock(&h.lock);
	return sum;
}

struct call {
	char what;		/* a(lloc), f(ree), r(esize), c(arve) */
	u64 page, npages, align;
};

static int one_call(const struct call *c, u64 now)
{
	u64 addr = (BASE + c->page) << GH_PAGE_SHIFT;
	struct gh_run run, added;
	int err;

	if (c->what == 'a')
		T_RETRY(&h, err, gh_mheap_alloc_locked(&h, c->npages, c->align, 0, 1, now, &run));
	else if (c->what == 'r')
		T_RETRY(&h, err, gh_mheap_resize_locked(&h, addr, c->npages, now, &run, &added));
	else if (c->what == 'c')
		T_RETRY(&h, err, gh_mheap_carve_locked(&h, addr, c->npages, 0, 1, now));
	else
		T_RETRY(&h, err, gh_mheap_free_locked(&h, addr, c->npages, now));
	return err;
}

/* Touches every reason to want metadata: first use, new tables, a longer root, records. */
static const struct call script[] = {
	{ 'a', 0, 1, 1 },		{ 'a', 0, 100, 64 },	{ 'a', 0, 700, 256 },
	{ 'c', 2000, 10, 0 },		{ 'c', 2900, 10, 0 },	{ 'r', 2900, 1000, 0 },
	{ 'r', 2900, 5, 0 },		{ 'f', 2000, 10, 0 },	{ 'a', 0, 30000, 1 },
	{ 'a', 0, 5, 4096 },		{ 'r', 0, 2, 0 },	{ 'c', 60000, 100, 0 },
	{ 'a', 0, 1, 1 },		{ 'f', 60000, 100, 0 },	{ 'r', 2900, 3, 0 },
};

/* Returns how many calls failed, or -1. */
static int run_script(long fail_at)
{
	unsigned int i, k;
	int failed = 0;

	t_meta_calls = 0;
	t_meta_fail_at = fail_at;
	t_heap_init(&h, BASE + 0, 100000);
	for (k = 0; k < 12; k++)
		for (i = 0; i < ARRAY_SIZE(script); i++) {
			u64 before = digest();
			int err = one_call(&script[i], k * 100 + i);

			if (t_meta_calls > t_meta_fail_at && t_meta_fail_at >= 0) {
				t_meta_fail_at = -1;
				if (err != -ENOMEM || digest() != before || t_check(&h))
					return -1;
				failed++;
				err = one_call(&script[i], k * 100 + i);
			}
			if (!k && err) {
				printf("# call %u: %d\n", i, err);
				return -1;
			}
			if (t_check(&h))
				return -1;
		}
	gh_mheap_destroy(&h);
	return failed;
}

static int every_site(void)
{
	long calls, i;

	T_EQ(run_script(-1), 0);
	calls = t_meta_calls;
	printf("# %ld requests for metadata\n", calls);
	T(calls > 15);
	for (i = 0; i < calls; i++) {
		T_EQ(run_script(i), 1);
		T_EQ(t_meta_bytes, 0);
	}
	return 0;
}

/* Without a refill a call changes nothing, as often as it is made. */
static int again_is_pure(void)
{
	struct gh_run run;
	unsigned int i;
	u64 before;

	t_heap_init(&h, BASE, 100000);
	before = digest();
	mutex_lock(&h.lock);
	for (i = 0; i < 3; i++)
		T_EQ(gh_mheap_alloc_locked(&h, 1, 1, 0, 0, 9, &run), -EAGAIN);
	T_EQ(gh_mheap_carve_locked(&h, (BASE + 9) << GH_PAGE_SHIFT, 1, 0, 0, 9), -EAGAIN);
	mutex_unlock(&h.lock);
	T_EQ(digest(), before);
	T_EQ(t_check(&h), 0);
	gh_mheap_destroy(&h);
	T_EQ(t_meta_bytes, 0);
	return 0;
}

/* Two threads may have fetched a longer root; the one that comes late keeps its own. */
static int late_root(void)
{
	struct gh_leaf *late, *root;
	u64 nr = GH_ROOT_MIN;

	t_heap_init(&h, BASE, 100000);
	T(t_alloc(&h, 1, 1, 0) > 0);
	root = h.spans.root;
	late = gh_meta_alloc(root_bytes(nr));
	mutex_lock(&h.lock);
	T(swap_root(&h, late, &nr) == late);
	mutex_unlock(&h.lock);
	T(h.spans.root == root && nr == GH_ROOT_MIN);
	gh_meta_free(late, root_bytes(nr));
	gh_mheap_destroy(&h);
	T_EQ(t_meta_bytes, 0);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		{ "nomem: each request for metadata fails once", every_site },
		{ "nomem: a longer root that comes late", late_root },
		{ "nomem: -EAGAIN changes nothing", again_is_pure },
	};

	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
