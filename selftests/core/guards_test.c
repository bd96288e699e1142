// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The guards themselves: each function that needs the lock dies without it, and
 * the invariant walker finds each kind of damage.  Each is provoked in a child.
 */
#include "testlib.h"

#define BASE	(0xc000000000ULL >> GH_PAGE_SHIFT)

static struct gh_mheap h;
static struct gh_run run, added;
static struct gh_idle_run idle;
static const struct gh_idle_req req = { .max_pages = 256 };
static u64 cursor;

static int no_view(const struct gh_span_view *v, void *arg)
{
	return 0;
}

/* A call, as a function that t_aborts() can run. */
#define BARE(name, call)		\
static void name(void *arg)		\
{					\
	call;				\
}

BARE(bare_bind, gh_mheap_bind_locked(&h, 0, 1 << 20))
BARE(bare_alloc, gh_mheap_alloc_locked(&h, 1, 1, 0, 0, 0, &run))
BARE(bare_carve, gh_mheap_carve_locked(&h, 0, 1, 0, 0, 0))
BARE(bare_free, gh_mheap_free_locked(&h, 0, 0, 0))
BARE(bare_resize, gh_mheap_resize_locked(&h, 0, 1, 0, &run, &added))
BARE(bare_lookup, gh_mheap_lookup_locked(&h, 0, &run))
BARE(bare_walk, gh_mheap_walk_locked(&h, &cursor, 1, no_view, NULL))
BARE(bare_take, gh_idle_take_locked(&h, &req, &idle))
BARE(bare_put, gh_idle_put_locked(&h, &idle, true))
BARE(bare_check, gh_mheap_check_locked(&h))

static void (*const needs_lock[])(void *) = {
	bare_bind, bare_alloc, bare_carve, bare_free, bare_resize,
	bare_lookup, bare_walk, bare_take, bare_put, bare_check,
};

static void locked_by_other(void *arg)
{
	h.lock.owner++;
	gh_mheap_check_locked(&h);
}

/* A heap with something in every structure. */
static int build(void)
{
	long page[12];
	unsigned int i;
	int err;
	static const u64 len[12] = { 5, 1, 5, 1, 200, 1, 200, 1, 700, 1, 700, 1 };

	t_heap_init(&h, BASE, 100000);
	for (i = 0; i < 12; i++) {
		page[i] = t_alloc(&h, len[i], 1, 1);
		T(page[i] > 0);
	}
	for (i = 0; i < 12; i += 2)
		T_EQ(t_free(&h, page[i], 0, 10 + i), 0);
	/* Leaves a long released run. */
	T_RETRY(&h, err, gh_mheap_carve_locked(&h, (BASE + 9000) << GH_PAGE_SHIFT, 1, 0, 0, 20));
	T_EQ(err, 0);
	mutex_lock(&h.lock);
	T_EQ(gh_mheap_alloc_locked(&h, 150, 1, GH_ALLOC_LARGE, 3, 20, &run), 0);
	T_EQ(gh_idle_take_locked(&h, &req, &idle), 0);
	mutex_unlock(&h.lock);
	/* Leaves a spare record. */
	T_EQ(t_free(&h, page[9], 0, 20), 0);
	return 0;
}

static int assertions_fire(void)
{
	unsigned int i;

	T_EQ(build(), 0);
	for (i = 0; i < ARRAY_SIZE(needs_lock); i++) {
		if (!t_aborts(needs_lock[i], NULL)) {
			printf("# number %u lives\n", i);
			return 1;
		}
	}
	mutex_lock(&h.lock);
	T(t_aborts(locked_by_other, NULL));
	for (i = 1; i < ARRAY_SIZE(needs_lock); i++)
		if (needs_lock[i] != bare_put)
			T(!t_aborts(needs_lock[i], NULL));
	mutex_unlock(&h.lock);
	return 0;
}

static void harm_stats(void *arg)
{
	++*(u64 *)arg;
}

static void harm_bool(void *arg)
{
	*(bool *)arg = !*(bool *)arg;
}

static void harm_null(void *arg)
{
	*(void **)arg = NULL;
}

static void harm_state(void *arg)
{
	*(u8 *)arg = GH_SPAN_DEAD;
}


static const struct {
	void (*harm)(void *);
	void *where;
} *harm;

static void do_harm(void *arg)
{
	harm->harm(harm->where);
	gh_mheap_check_locked(&h);
}

static int walker_finds_damage(void)
{
	struct gh_mspan *small, *big, *huge, *busy;
	unsigned int i;

	T_EQ(build(), 0);
	T_EQ(t_check(&h), 0);
	small = h.free[false].free[5].first;
	big = h.free[false].freelarge.root;
	huge = h.idle.huge.last;
	busy = h.busy.busylarge.first;
	T(small && big && huge && busy && small->next);
	{
		const typeof(*harm) harms[] = {
			{ harm_stats, &h.stats.inuse_pages },
			{ harm_stats, &h.stats.idle_pages },
			{ harm_stats, &h.stats.released_pages },
			{ harm_stats, &h.stats.nr_spans },
			{ harm_stats, &h.stats.nr_allocs },
			{ harm_stats, &h.stats.nr_records },
			{ harm_stats, &h.used_pages },
			{ harm_stats, &h.idle.resident_pages },
			{ harm_stats, &h.idle.nr_huge },
			{ harm_stats, &h.records.nr_spare },
			{ harm_null, &h.idle.oldest },
			{ harm_null, &h.idle.youngest },
			{ harm_null, &h.idle.huge.first },
			{ harm_null, &h.records.spare.first },
			{ harm_null, &h.busy.busylarge.first },
			{ harm_null, &h.free[false].free[5].first },
			{ harm_null, &h.free[false].free[5].last },
			{ harm_null, &h.free[false].freelarge.root },
			{ harm_null, &h.free[true].freelarge.root },
			{ harm_stats, &h.free[false].nonempty[0] },
			{ harm_stats, &small->npages },
			{ harm_stats, &small->start },
			{ harm_bool, &small->released },
			{ harm_bool, &small->needzero },
			{ harm_bool, &small->large },
			{ harm_state, &small->state },
			{ harm_null, &small->next },
			{ harm_null, &small->list },
			{ harm_null, &small->younger },
			{ harm_stats, &big->npages },
			{ harm_bool, &big->released },
			{ harm_null, big->left ? &big->left : &big->right },
			{ harm_null, &huge->list },
			{ harm_null, &huge->prev },
			{ harm_null, &huge->unusedsince_ns },
			{ harm_bool, &busy->large },
			{ harm_bool, &busy->released },
			{ harm_null, &busy->list },
			{ harm_stats, &busy->unusedsince_ns },
			{ harm_null, &h.spans.root[0].table[0] },
			{ harm_null, &h.spans.root[0].table[5] },
			{ harm_null, &h.spans.root[0].table[10] },
			{ harm_null, &h.spans.root[1].table },
		};

		mutex_lock(&h.lock);
		for (i = 0; i < ARRAY_SIZE(harms); i++) {
			harm = (const void *)&harms[i];
			if (!t_aborts(do_harm, NULL)) {
				printf("# harm %u is not found\n", i);
				return 1;
			}
		}
		mutex_unlock(&h.lock);
	}
	return 0;
}

static void put_twice(void *arg)
{
	gh_idle_put_locked(&h, &idle, true);
	gh_idle_put_locked(&h, &idle, true);
}

static void insert_twice(void *arg)
{
	gh_list_insert(&h.busy.busy[1], h.busy.busylarge.first);
}

static void remove_foreign(void *arg)
{
	gh_list_remove(&h.busy.busy[1], h.busy.busylarge.first);
}

static void bind_twice(void *arg)
{
	gh_mheap_bind_locked(&h, 0, 1 << 30);
}

static int misuse_warns(void)
{
	T_EQ(build(), 0);
	mutex_lock(&h.lock);
	T(t_aborts(put_twice, NULL));
	T(t_aborts(insert_twice, NULL));
	T(t_aborts(remove_foreign, NULL));
	T(t_aborts(bind_twice, NULL));
	mutex_unlock(&h.lock);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		{ "guards: each _locked function dies without the lock", assertions_fire },
		{ "guards: the walker finds damage", walker_finds_damage },
		{ "guards: misuse warns", misuse_warns },
	};

	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
