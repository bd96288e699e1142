// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The core as it is built for use, where a warning does not abort: misuse is
 * refused and leaves the heap sound, and the walker returns what it found.
 */
#undef GH_PORT_DEBUG
#include "testlib.h"

#define BASE	(0xc000000000ULL >> GH_PAGE_SHIFT)

static struct gh_mheap h;
static struct gh_idle_run idle;

/* A heap with something in every structure. */
static int build(void)
{
	const struct gh_idle_req req = { .max_pages = 256 };
	static const u64 len[] = { 5, 1, 200, 1, 700, 1, 700, 1 };
	long page[ARRAY_SIZE(len)];
	struct gh_run run;
	unsigned int i;
	int err;

	t_heap_init(&h, BASE, 100000);
	for (i = 0; i < ARRAY_SIZE(len); i++)
		page[i] = t_alloc(&h, len[i], 1, 1);
	for (i = 0; i < ARRAY_SIZE(len); i += 2)
		T_EQ(t_free(&h, page[i], 0, 10 + i), 0);
	T_RETRY(&h, err, gh_mheap_alloc_locked(&h, 4, 1, GH_ALLOC_LARGE, 3, 20, &run));
	T_EQ(err, 0);
	T_RETRY(&h, err, gh_mheap_alloc_locked(&h, 150, 1, GH_ALLOC_LARGE, 3, 20, &run));
	T_EQ(err, 0);
	mutex_lock(&h.lock);
	T_EQ(gh_idle_take_locked(&h, &req, &idle), 0);
	T_EQ(gh_mheap_check_locked(&h), 0);
	mutex_unlock(&h.lock);
	/* Leaves a spare record. */
	T_EQ(t_free(&h, page[7], 0, 20), 0);
	return 0;
}

static int misuse(void)
{
	struct gh_mspan *s;

	T_EQ(build(), 0);
	s = h.busy.busylarge.first;
	mutex_lock(&h.lock);
	gh_mheap_bind_locked(&h, 0, 1 << 30);
	T_EQ(h.arena_pages, 100000);
	gh_list_insert(&h.busy.busy[1], s);
	gh_list_remove(&h.busy.busy[1], s);
	T_EQ(gh_mheap_check_locked(&h), 0);
	gh_idle_put_locked(&h, &idle, true);
	gh_idle_put_locked(&h, &idle, false);
	T_EQ(gh_mheap_check_locked(&h), 0);
	mutex_unlock(&h.lock);
	gh_mheap_destroy(&h);
	T_EQ(t_meta_bytes, 0);
	return 0;
}

/* No run holds a page that no entry leads to; the search for one ends. */
static int lost_page(void)
{
	T_EQ(build(), 0);
	T(!gh_spans_find(&h.spans, BASE + h.used_pages));
	return 0;
}

/* Adds one to the number at @where, and takes it away again. */
static int found(u64 *where)
{
	int err;

	++*where;
	mutex_lock(&h.lock);
	err = gh_mheap_check_locked(&h);
	mutex_unlock(&h.lock);
	--*where;
	return err;
}

/* One thing in each structure. */
static int walker(void)
{
	struct gh_mspan *spare, *small, *large;

	T_EQ(build(), 0);
	spare = h.records.spare.first;
	small = h.busy.busy[4].first;
	large = h.busy.busylarge.first;
	T_EQ(found(&h.stats.inuse_pages), -EUCLEAN);
	T_EQ(found(&h.used_pages), -EUCLEAN);
	T_EQ(found(&h.idle.nr_huge), -EUCLEAN);
	T_EQ(found(&h.records.nr_spare), -EUCLEAN);
	T_EQ(found(&h.free[false].freelarge.root->npages), -EUCLEAN);
	spare->state = GH_SPAN_FREE;
	T_EQ(t_check(&h), -EUCLEAN);
	spare->state = GH_SPAN_DEAD;
	h.busy.busy[4].last = NULL;
	T_EQ(t_check(&h), -EUCLEAN);
	h.busy.busy[4].last = small;
	h.busy.busylarge.last = NULL;
	T_EQ(t_check(&h), -EUCLEAN);
	h.busy.busylarge.last = large;
	T_EQ(t_check(&h), 0);
	h.free[false].freelarge.root->priority = ~0U;
	T_EQ(t_check(&h), -EUCLEAN);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		{ "recovery: misuse is refused", misuse },
		{ "recovery: a page that is in no run", lost_page },
		{ "recovery: the walker returns -EUCLEAN", walker },
	};

	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
