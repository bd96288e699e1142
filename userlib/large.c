// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * A large object is a span of the page heap of its own, class 0, with one state
 * byte.  A thread keeps the last few that it freed, if they are short, as they are;
 * others go back, and the backend keeps short runs.  So do all while allocations are
 * sampled, as small ones do (recent.h).
 *
 * Freeing exchanges the state byte, so that of two frees of the same object one
 * finds it FREE, however close they are.
 */
#include <sys/mman.h>
#include "empty.h"
#include "large.h"
#include "mcache.h"
#include "options.h"
#include "profile.h"

static uintptr_t guard_of(const struct ghu_mspan *s)
{
	return s->base + ((s->npages - 1) << GHU_PAGE_SHIFT);
}

/* Where there may be no more mappings the page does not trap. */
static void set_guard(struct ghu_mspan *s)
{
	ghu_mprotect(guard_of(s), GHU_PAGE_SIZE, PROT_NONE);
	s->guarded = true;
}

/* ---- what a thread keeps ---- */

/* Pages that one thread may keep, and several together. */
#define KEEP_PAGES	16u
#define KEEP_PAGES_ALL	64u

static size_t kept_pages;	/* by all threads */

static void put_back(struct ghu_mspan *s)
{
	__atomic_store_n(ghu_states(s), GHU_OBJ_FREE, __ATOMIC_RELAXED);
	__atomic_store_n(&s->where, GHU_SPAN_IS_DEAD, __ATOMIC_RELEASE);
	ghu_mspan_destroy(s);
}

/* Takes the span number i out; those after it move up. */
static struct ghu_mspan *unkeep(struct ghu_mcache *mc, unsigned int i)
{
	struct ghu_mspan *s = mc->kept[i];

	for (mc->nr_kept--; i < mc->nr_kept; i++)
		mc->kept[i] = mc->kept[i + 1];
	mc->kept_pages -= s->npages;
	ghu_count(&kept_pages, -s->npages);
	return s;
}

void ghu_large_flush(struct ghu_mcache *mc)
{
	while (mc->nr_kept)
		put_back(unkeep(mc, 0));
}

static bool may_keep(void)
{
	return ghu_likely(!(ghu_profile_rate() | ghu_options.sample));
}

/* Those that lay longest make room.  False: it is too long, or there is no cache. */
static bool keep(struct ghu_mspan *s)
{
	struct ghu_mcache *mc = ghu_mcache;

	if (s->npages > KEEP_PAGES || !may_keep() || !ghu_mcache_is_own(mc))
		return false;
	while (mc->nr_kept == GHU_MAX_KEPT ||
	       (mc->nr_kept && mc->kept_pages + s->npages > KEEP_PAGES))
		put_back(unkeep(mc, 0));
	if (__atomic_load_n(&kept_pages, __ATOMIC_RELAXED) + s->npages > KEEP_PAGES_ALL)
		return false;
	__atomic_store_n(ghu_states(s), GHU_OBJ_KEPT, __ATOMIC_RELAXED);
	mc->kept[mc->nr_kept++] = s;
	mc->kept_pages += s->npages;
	ghu_count(&kept_pages, s->npages);
	return true;
}

/* The one that was freed last of those as long. */
static struct ghu_mspan *find_kept(size_t npages)
{
	struct ghu_mcache *mc = ghu_mcache;

	if (!may_keep())
		return NULL;
	for (unsigned int i = mc->nr_kept; i-- > 0; )
		if (mc->kept[i]->npages == npages)
			return unkeep(mc, i);
	return NULL;
}

/* ---- allocating and freeing ---- */

static void *reuse(struct ghu_mspan *s, bool *needzero)
{
	ghu_mcache_count_large(1, s->npages);
	*needzero = true;
	__atomic_store_n(ghu_states(s), GHU_OBJ_LIVE, __ATOMIC_RELAXED);
	return (void *)s->base;
}

void *ghu_large_alloc(size_t size, size_t align, bool *needzero)
{
	size_t npages = ghu_pages_for(size) + !!ghu_options.guard;
	struct ghu_mspan *s = NULL;

	if (npages <= KEEP_PAGES && align <= GHU_PAGE_SIZE &&
	    (ghu_mcache_is_own(ghu_mcache) || ghu_mcache_attach()))
		s = find_kept(npages);
	if (s)
		return reuse(s, needzero);
	s = ghu_mspan_create(0, npages, align > GHU_PAGE_SIZE ? align : 0);
	if (!s)
		return NULL;
	ghu_mcache_count_large(1, npages);
	*needzero = s->needzero;
	if (ghu_options.guard)
		set_guard(s);
	__atomic_store_n(ghu_states(s), GHU_OBJ_LIVE, __ATOMIC_RELAXED);
	__atomic_store_n(&s->where, GHU_SPAN_IS_LARGE, __ATOMIC_RELEASE);
	return (void *)s->base;
}

bool ghu_large_free(struct ghu_mspan *s, uint8_t state)
{
	if (ghu_exchange8(ghu_states(s), GHU_OBJ_FREE) != state)
		return false;
	/* For the same reason the object may be lost. */
	if (s->guarded && ghu_mprotect(guard_of(s), GHU_PAGE_SIZE, PROT_READ | PROT_WRITE))
		return true;
	if (state != GHU_OBJ_LIVE || ghu_checked || !keep(s))
		put_back(s);
	return true;
}

/* Objects from here on: copying one takes longer than to give back what is kept. */
#define WORTH_PAGES	32u

/* Whether more is free behind the object now. */
static bool make_way(const struct ghu_mspan *s)
{
	return ghu_empty_drop(s->base + (s->npages << GHU_PAGE_SHIFT)) ||
	       (s->npages >= WORTH_PAGES && ghu_empty_flush());
}

bool ghu_large_resize(struct ghu_mspan *s, size_t size)
{
	size_t npages = ghu_pages_for(size);
	bool needzero;

	if (npages == s->npages)
		return true;
	while (ghu_span_resize(s->base, s->npages, npages, &needzero))
		if (!make_way(s))
			return false;
	ghu_mspan_count_pages(npages - s->npages);
	if (npages > s->npages)
		ghu_mcache_count_large(0, npages - s->npages);
	__atomic_store_n(&s->npages, npages, __ATOMIC_RELAXED);
	return true;
}
