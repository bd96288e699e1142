// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * A large object is a span of the page heap of its own, class 0, with one state
 * byte.  Nothing is cached here: the backend keeps short runs that were freed.
 *
 * Freeing exchanges the state byte, so that of two frees of the same object one
 * finds it FREE, however close they are.
 */
#include <sys/mman.h>
#include "large.h"
#include "mcache.h"
#include "options.h"
#include "sweep.h"

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

void *ghu_large_alloc(size_t size, size_t align, bool *needzero)
{
	size_t npages = ghu_pages_for(size) + !!ghu_options.guard;
	struct ghu_mspan *s;

	ghu_sweep_deduct_credit(npages);
	s = ghu_mspan_create(0, npages, align > GHU_PAGE_SIZE ? align : 0);
	if (!s)
		return NULL;
	ghu_sweep_allocated(npages);
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
	if (__atomic_exchange_n(ghu_states(s), GHU_OBJ_FREE, __ATOMIC_ACQ_REL) != state)
		return false;
	/* For the same reason the object may be lost. */
	if (s->guarded && ghu_mprotect(guard_of(s), GHU_PAGE_SIZE, PROT_READ | PROT_WRITE))
		return true;
	__atomic_store_n(&s->where, GHU_SPAN_IS_DEAD, __ATOMIC_RELEASE);
	ghu_mspan_destroy(s);
	return true;
}

bool ghu_large_resize(struct ghu_mspan *s, size_t size)
{
	size_t npages = ghu_pages_for(size);
	bool needzero;

	if (npages == s->npages)
		return true;
	if (ghu_span_resize(s->base, s->npages, npages, &needzero))
		return false;
	__atomic_fetch_add(&ghu_pages_inuse, npages - s->npages, __ATOMIC_RELAXED);
	if (npages > s->npages)
		ghu_mcache_count_large(0, npages - s->npages);
	__atomic_store_n(&s->npages, npages, __ATOMIC_RELAXED);
	return true;
}
