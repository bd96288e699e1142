// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Threads that allocate, resize and free, and threads that release idle runs
 * with the lock dropped, on one small arena.  A byte per page says whose it is:
 * a page that is allocated while it is being released, or twice, is seen at
 * once.
 */
#include "testlib.h"
#include <sched.h>

#define BASE		(0xc000000000ULL >> GH_PAGE_SHIFT)
#define NPAGES		8192
#define NR_USERS	3
#define NR_SCAVENGERS	2
#define NR_HELD		40
#define RELEASING	255

static struct gh_mheap h;
static u8 owner[NPAGES];
static u64 now;
static u64 released;
static bool done, failed;

/* Changes the owner of each page from @from to @to. */
static void pass(u64 page, u64 npages, u8 from, u8 to)
{
	while (npages--)
		if (__atomic_exchange_n(&owner[page - BASE + npages], to,
					__ATOMIC_RELAXED) != from)
			__atomic_store_n(&failed, true, __ATOMIC_RELAXED);
}

static u64 tick(void)
{
	return __atomic_add_fetch(&now, 1, __ATOMIC_RELAXED);
}

struct user {
	pthread_t thread;
	u64 random;
	u8 id;
	struct gh_run held[NR_HELD];
};

static u64 next(struct user *u, u64 n)
{
	u->random = u->random * 6364136223846793005ULL + 1442695040888963407ULL;
	return (u->random >> 33) % n;
}

static void user_alloc(struct user *u, struct gh_run *r)
{
	u64 npages = next(u, 10) ? 1 + next(u, 20) : 1 + next(u, 600);
	u64 align = 1ULL << next(u, 4);
	int err;

	T_RETRY(&h, err, gh_mheap_alloc_locked(&h, npages, align, next(u, 2), u->id,
					       tick(), r));
	if (err) {
		r->npages = 0;
		return;
	}
	pass(r->addr >> GH_PAGE_SHIFT, r->npages, 0, u->id);
}

static void user_free(struct user *u, struct gh_run *r)
{
	pass(r->addr >> GH_PAGE_SHIFT, r->npages, u->id, 0);
	if (t_free(&h, r->addr >> GH_PAGE_SHIFT, r->npages, tick()))
		__atomic_store_n(&failed, true, __ATOMIC_RELAXED);
	r->npages = 0;
}

static void user_resize(struct user *u, struct gh_run *r)
{
	u64 npages = 1 + next(u, 2 * r->npages);
	struct gh_run old, added;
	int err;

	/* What is given up is nobody's before it is free. */
	if (npages < r->npages)
		pass((r->addr >> GH_PAGE_SHIFT) + npages, r->npages - npages, u->id, 0);
	T_RETRY(&h, err, gh_mheap_resize_locked(&h, r->addr, npages, tick(), &old, &added));
	if (err)
		return;
	if (npages > r->npages)
		pass(added.addr >> GH_PAGE_SHIFT, added.npages, 0, u->id);
	r->npages = npages;
}

static void *use(void *arg)
{
	struct user *u = arg;
	unsigned int i;

	for (i = 0; i < t_steps; i++) {
		struct gh_run *r = &u->held[next(u, NR_HELD)];

		if (!r->npages)
			user_alloc(u, r);
		else if (next(u, 3))
			user_free(u, r);
		else
			user_resize(u, r);
	}
	for (i = 0; i < NR_HELD; i++)
		if (u->held[i].npages)
			user_free(u, &u->held[i]);
	return NULL;
}

static void *scavenge(void *arg)
{
	const struct gh_idle_req req = { .max_pages = arg ? 256 : 100 };
	struct gh_idle_run run;
	unsigned int i;

	for (i = 0; !__atomic_load_n(&done, __ATOMIC_RELAXED); i++) {
		int err;

		mutex_lock(&h.lock);
		err = gh_idle_take_locked(&h, &req, &run);
		mutex_unlock(&h.lock);
		if (!err) {
			pass(run.addr >> GH_PAGE_SHIFT, run.npages, 0, RELEASING);
			sched_yield();
			pass(run.addr >> GH_PAGE_SHIFT, run.npages, RELEASING, 0);
			mutex_lock(&h.lock);
			gh_idle_put_locked(&h, &run, i % 8);
			mutex_unlock(&h.lock);
			__atomic_add_fetch(&released, run.npages, __ATOMIC_RELAXED);
		}
		sched_yield();
	}
	return NULL;
}

static int storm(void)
{
	static struct user user[NR_USERS];
	pthread_t scavenger[NR_SCAVENGERS];
	unsigned int i;

	t_heap_init(&h, BASE, NPAGES);
	for (i = 0; i < NR_SCAVENGERS; i++)
		T_EQ(pthread_create(&scavenger[i], NULL, scavenge, i ? &h : NULL), 0);
	for (i = 0; i < NR_USERS; i++) {
		user[i].id = i + 1;
		user[i].random = t_random();
		T_EQ(pthread_create(&user[i].thread, NULL, use, &user[i]), 0);
	}
	for (i = 0; i < NR_USERS; i++)
		pthread_join(user[i].thread, NULL);
	__atomic_store_n(&done, true, __ATOMIC_RELAXED);
	for (i = 0; i < NR_SCAVENGERS; i++)
		pthread_join(scavenger[i], NULL);
	T(!failed);
	T_EQ(t_check(&h), 0);
	T_EQ(h.stats.inuse_pages, 0);
	printf("# %" PRIu64 " spans, %" PRIu64 " pages released\n", h.stats.nr_allocs, released);
	T(released);
	gh_mheap_destroy(&h);
	T_EQ(t_meta_bytes, 0);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		{ "threads: allocating, freeing and releasing at once", storm },
	};

	t_steps = 20000;
	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
