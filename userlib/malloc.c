// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The malloc family: entry points, the checks of what programs hand in, and errno.
 *
 * malloc() of up to 32 KiB takes an object from the thread's window.  free() finds the
 * span of the address, divides to get the object, and stores FREE over LIVE in its
 * state byte; it is the same for every thread, and the page map says all that it must know
 * of the span.  Only where objects are hard to find, a thread keeps what it frees, to
 * allocate that again first (recent.h).  Everything else is out of line.
 *
 * A free() that is wrong is found here, always: a state byte that is not LIVE, an
 * address that is not the start of an object, or that is in no span.  It ends the
 * program, with the address.
 *
 * Who says the size with which he allocated, free_sized() and free_aligned_sized(), has it
 * compared with the object's class, which is all that is known of that size.  So has
 * C++'s delete (new.c).
 *
 * Of size 0 malloc() returns an object that is distinct and to be freed like any other,
 * but cannot be read or written.
 * realloc() to 0 frees, as the C library's does.
 */
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "checked.h"
#include "empty.h"
#include "few.h"
#include "guarded.h"
#include "large.h"
#include "mcache.h"
#include "mcentral.h"
#include "misuse.h"
#include "options.h"
#include "pagemap.h"
#include "profile.h"
#include "sweep.h"

/* Addresses of objects must be subtractable. */
#define MAX_SIZE	((size_t)PTRDIFF_MAX)

/* ---- allocation ---- */

/* Others were counted with their windows. */
static ghu_on_stack ghu_noinline void sample_large(void *p)
{
	struct ghu_mspan *s = ghu_pagemap_get((uintptr_t)p);
	size_t bytes = ghu_raw_bytes(s);

	if (ghu_mspan_where(s) == GHU_SPAN_IS_LARGE && ghu_mcache_is_sampled(bytes))
		ghu_profile_alloc(p, bytes, NULL);
}

static inline void *sampled(void *p)
{
	if (ghu_unlikely(ghu_profile_rate()) && p)
		sample_large(p);
	return p;
}

static ghu_on_stack void *alloc_large(size_t size, bool *needzero)
{
	void *p = NULL;

	if (ghu_likely(size <= MAX_SIZE))
		p = sampled(ghu_checked_on() ? ghu_checked_alloc(size, 0, needzero)
					     : ghu_large_alloc(size, 0, needzero));
	if (!p)
		errno = ENOMEM;
	return p;
}

/* It is jumped to, so its frame is the one that returns to the program. */
static ghu_on_stack __attribute__((noinline)) void *malloc_slow(size_t size, size_t sizeclass)
{
	bool needzero;
	void *p;

	if (ghu_unlikely(ghu_checked_on()))
		p = ghu_checked_alloc(size, 0, &needzero);
	else
		p = ghu_mcache_refill(sizeclass, size, __builtin_frame_address(0));
	if (ghu_unlikely(!p))
		errno = ENOMEM;
	return p;
}

static ghu_on_stack __attribute__((noinline)) void *malloc_sampled(size_t size, size_t sizeclass)
{
	struct ghu_mcache_class *c = &ghu_mcache->classes[sizeclass];
	void *p;

	if (ghu_recent_turn_sampled(c, sizeclass))
		return ghu_recent_pop(c);
	p = ghu_mcache_reopen_sampled(sizeclass);
	return ghu_likely(p) ? p : malloc_slow(size, sizeclass);
}

static ghu_on_stack ghu_hot __attribute__((noinline)) void *malloc_reopen(size_t size,
								  struct ghu_mcache_class *c)
{
	size_t sizeclass = ghu_mcache_class_number(c);
	void *p;

	if (ghu_unlikely(!ghu_mcache_may_reopen(c)))
		return c->span ? malloc_sampled(size, sizeclass) : malloc_slow(size, sizeclass);
	if (ghu_recent_turn_worth(c))
		return ghu_recent_pop(c);
	p = ghu_mcache_reopen_window(c);
	return ghu_likely(p) ? p : malloc_slow(size, sizeclass);
}

static inline void *malloc_of_class(size_t size, struct ghu_mcache_class *c)
{
	if (ghu_likely(c->window.free))
		return ghu_window_take(&c->window);
	if (ghu_likely(ghu_recent_any(c->recent)))
		return ghu_recent_pop(c);
	return malloc_reopen(size, c);
}

static ghu_on_stack __attribute__((noinline)) void *malloc_large(size_t size)
{
	bool needzero;

	return alloc_large(size, &needzero);
}

/* Of the class there may be large ones, and NULL is an answer: then there is another way. */
static ghu_on_stack __attribute__((noinline)) void *malloc_class_large(size_t size, size_t sizeclass)
{
	bool needzero;
	void *p = NULL;

	if (!ghu_checked_on())
		p = sampled(ghu_large_alloc_class(sizeclass, &needzero));
	return p ? p : malloc_of_class(size, &ghu_mcache->classes[sizeclass]);
}

/* The thread has not kept one, or not as the last. */
static ghu_on_stack __attribute__((noinline)) void *malloc_long_slow(size_t size, size_t sizeclass,
								     size_t npages)
{
	void *p = ghu_large_unsampled() ? ghu_large_find(sizeclass, npages) : NULL;

	if (ghu_likely(p))
		return p;
	return sizeclass ? malloc_class_large(size, sizeclass) : malloc_large(size);
}

static inline void *malloc_kept(size_t size, size_t sizeclass, size_t npages)
{
	const struct ghu_large_kept *k = ghu_large_pop(sizeclass, npages);

	return ghu_likely(k) ? (void *)k->addr : malloc_long_slow(size, sizeclass, npages);
}

static ghu_on_stack ghu_hot __attribute__((noinline)) void *malloc_medium(size_t size)
{
	size_t sizeclass = ghu_medium_size_to_class(size), npages;

	/* GCC cannot know, and would ask once more where objects are counted. */
	if (!sizeclass)
		__builtin_unreachable();
	if (ghu_unlikely(size > GHU_LARGE_MORE_THAN)) {
		npages = ghu_classes[sizeclass].large_npages;
		if (npages)
			return malloc_kept(size, sizeclass, npages);
	}
	return malloc_of_class(size, &ghu_mcache->classes[sizeclass]);
}

static inline void *malloc_long(size_t size)
{
	return malloc_kept(size, 0, ((size - 1) >> GHU_PAGE_SHIFT) + 1);
}

ghu_export ghu_hot void *malloc(size_t size)
{
	if (ghu_unlikely(size > GHU_SMALL_SIZE_MAX))
		return size > GHU_MAX_SMALL_SIZE ? malloc_long(size) : malloc_medium(size);
	return malloc_of_class(size, ghu_mcache_of_small(size));
}

/*
 * Who reads an object of memory that was never used, and then writes, has two page faults, one for
 * the system's page of zeros; now it is one.  Where objects are small the page will be used.
 */
static inline void touch(void *p, size_t bytes)
{
	if (p && bytes)
		*(volatile char *)p = 0;
}

ghu_export ghu_on_stack void *calloc(size_t n, size_t size)
{
	bool needzero;
	size_t bytes;
	void *p;

	if (ghu_unlikely(__builtin_mul_overflow(n, size, &bytes)))
		bytes = SIZE_MAX;
	if (bytes > GHU_MAX_SMALL_SIZE) {
		p = alloc_large(bytes, &needzero);
	} else {
		size_t sizeclass = ghu_size_to_class(bytes);

		p = malloc_of_class(bytes, &ghu_mcache->classes[sizeclass]);
		needzero = !ghu_mcache_last_zero(sizeclass);
		if (!needzero && bytes <= GHU_SMALL_SIZE_MAX)
			touch(p, bytes);
	}
	return p && needzero ? memset(p, 0, bytes) : p;
}

/*
 * A class whose objects are all aligned, as spans begin at pages; 0: none.  Those of size 0
 * are aligned to their stride, and where that will not do they get a byte.
 */
static size_t aligned_class(size_t size, size_t align)
{
	if (size > GHU_MAX_SMALL_SIZE || align > GHU_PAGE_SIZE)
		return 0;
	if (!size && align <= GHU_ZERO_STRIDE)
		return GHU_ZERO_CLASS;
	if (ghu_unlikely(ghu_options.efence))
		return 0;
	for (size_t c = ghu_size_to_class(size ? size : 1); c < GHU_ZERO_CLASS; c++)
		if (!(ghu_classes[c].size & (align - 1)))
			return c;
	return 0;
}

void *ghu_raw_alloc(size_t size, size_t align, bool *needzero)
{
	size_t sizeclass = aligned_class(size, align ? align : 1);

	*needzero = true;
	if (sizeclass)
		return ghu_mcache_alloc(sizeclass);
	return ghu_large_alloc(size ? size : 1, align, needzero);
}

/* align is a power of two.  NULL: no memory; errno is as it was. */
static ghu_on_stack void *alloc_aligned(size_t size, size_t align)
{
	bool needzero;

	if (size > MAX_SIZE || align > MAX_SIZE)
		return NULL;
	if (ghu_unlikely(ghu_checked_on()))
		return sampled(ghu_checked_alloc(size, align, &needzero));
	return sampled(ghu_raw_alloc(size, align, &needzero));
}

static bool is_power_of_two(size_t n)
{
	return n && !(n & (n - 1));
}

static void *alloc_aligned_errno(size_t size, size_t align)
{
	void *p;

	if (!is_power_of_two(align)) {
		errno = EINVAL;
		return NULL;
	}
	p = alloc_aligned(size, align);
	if (!p)
		errno = ENOMEM;
	return p;
}

ghu_export int posix_memalign(void **out, size_t align, size_t size)
{
	void *p;

	if (!is_power_of_two(align) || align < sizeof(void *))
		return EINVAL;
	p = alloc_aligned(size, align);
	if (!p)
		return ENOMEM;
	*out = p;
	return 0;
}

ghu_export void *aligned_alloc(size_t align, size_t size)
{
	return alloc_aligned_errno(size, align);
}

/* By tradition rounds an alignment up that is no power of two. */
ghu_export void *memalign(size_t align, size_t size)
{
	size_t power = 1;

	while (power < align && power <= MAX_SIZE)
		power <<= 1;
	return alloc_aligned_errno(size, power);
}

ghu_export void *valloc(size_t size)
{
	return alloc_aligned_errno(size, ghu_phys_page_size());
}

ghu_export void *pvalloc(size_t size)
{
	size_t page = ghu_phys_page_size();

	if (size > MAX_SIZE - page) {
		errno = ENOMEM;
		return NULL;
	}
	return alloc_aligned_errno(size ? (size + page - 1) & ~(page - 1) : page, page);
}

/* ---- what programs hand in ---- */

static const struct ghu_complaint of_free = {
	"free: double free", "free: invalid pointer",
};
static const struct ghu_complaint of_realloc = {
	"realloc: freed pointer", "realloc: invalid pointer",
};
static const struct ghu_complaint of_usable = {
	"malloc_usable_size: freed pointer", "malloc_usable_size: invalid pointer",
};

/* The span of a live object, or no return. */
static struct ghu_mspan *must_find(const void *p, const struct ghu_complaint *complaint)
{
	uintptr_t addr = (uintptr_t)p;
	struct ghu_mspan *s = ghu_pagemap_lookup(addr);
	uint32_t index;
	uint8_t state;

	if (ghu_unlikely(!s || !ghu_find_object(s, addr, &index)))
		ghu_bad_pointer(complaint, addr);
	state = ghu_state(&ghu_states(s)[index]);
	if (ghu_unlikely(!ghu_is_live(state)))
		ghu_bad_pointer(complaint, addr);
	return s;
}

size_t ghu_raw_bytes(const struct ghu_mspan *s)
{
	if (ghu_unlikely(ghu_mspan_class(s) == GHU_ZERO_CLASS))
		return 0;
	return s->elemsize ? s->elemsize : (s->npages - s->guarded) << GHU_PAGE_SHIFT;
}

static size_t object_bytes(const struct ghu_mspan *s, const void *p)
{
	return ghu_unlikely(ghu_checked) ? ghu_checked_size(s, p) : ghu_raw_bytes(s);
}

/* Bytes of the live object at addr, if it is a small one that is found at once; else 0. */
static inline size_t small_bytes(uintptr_t addr)
{
	ghu_pagemap_t e;

	if (ghu_unlikely(!ghu_pagemap_flat_entry(addr, &e)) || ghu_unlikely(!ghu_entry_live(e, addr)))
		return 0;
	return ghu_classes[ghu_entry_class(e)].size;
}

void ghu_bad_free(uintptr_t addr)
{
	ghu_bad_pointer(&of_free, addr);
}

static ghu_noinline bool free_sampled(struct ghu_mspan *s, uint32_t index)
{
	if (!ghu_profile_free(s->base + (uintptr_t)index * s->elemsize))
		return false;
	return ghu_mspan_where(s) == GHU_SPAN_IS_LARGE ? ghu_large_free(s, GHU_OBJ_SAMPLED)
		: ghu_mcentral_free_watched(s, index, GHU_OBJ_SAMPLED);
}

static bool free_object(struct ghu_mspan *s, uint32_t index)
{
	uint8_t state = ghu_state(&ghu_states(s)[index]);

	if (ghu_unlikely(state == GHU_OBJ_SAMPLED))
		return free_sampled(s, index);
	if (ghu_unlikely(ghu_is_guarded(s))) {
		ghu_guarded_free(s);
		return true;
	}
	if (ghu_mspan_where(s) == GHU_SPAN_IS_LARGE) {
		if (!ghu_large_free(s, GHU_OBJ_LIVE))
			return false;
		ghu_mcache_trim();
		return true;
	}
	return state == GHU_OBJ_WATCH && ghu_mcentral_free_watched(s, index, GHU_OBJ_WATCH);
}

static ghu_on_stack __attribute__((noinline)) void free_slow(uintptr_t addr)
{
	struct ghu_mspan *s = ghu_pagemap_get(addr);
	uint32_t index;

	if (!addr)
		return;
	if (ghu_unlikely(ghu_checked)) {
		ghu_checked_free(addr);
		return;
	}
	if (!s || s == &ghu_mspan_gone || !ghu_find_object(s, addr, &index) ||
	    !free_object(s, index))
		ghu_bad_free(addr);
}

static __attribute__((noinline)) void free_other_slow(uintptr_t addr, struct ghu_mspan *s)
{
	if (!s || !ghu_large_free_some(s, addr))
		free_slow(addr);
}

static __attribute__((noinline)) void free_watched_slow(uintptr_t addr, struct ghu_mspan *s,
							const uint8_t *state)
{
	if (!ghu_mcentral_free_watched(s, (unsigned int)(state - ghu_states(s)), GHU_OBJ_WATCH))
		free_other_slow(addr, s);
}

/* If it is on WATCH. */
static ghu_hot __attribute__((noinline)) void free_watched(uintptr_t addr, ghu_pagemap_t e)
{
	struct ghu_mcache_class *c = &ghu_mcache->classes[ghu_entry_class(e)];
	struct ghu_mspan *s = ghu_entry_span(e);
	uint8_t *state = ghu_entry_state(e, addr);

	if (ghu_unlikely(!state || ghu_state(state) != GHU_OBJ_WATCH))
		free_other_slow(addr, s);
	else if (!ghu_recent_add_watched(c, addr, state))
		free_watched_slow(addr, s, state);
}

/* Nothing is called, only jumped to: so there is no register to be saved. */
static ghu_hot __attribute__((noinline)) void free_other(uintptr_t addr, ghu_pagemap_t e)
{
	struct ghu_mspan *s = ghu_entry_span(e);

	if (ghu_entry_class(e))
		free_watched(addr, e);
	else if (ghu_unlikely(!s) || !ghu_large_free_short(s, addr))
		free_other_slow(addr, s);
}

/* Its page may be in any leaf. */
static __attribute__((noinline)) void free_elsewhere(uintptr_t addr)
{
	ghu_pagemap_t e = ghu_pagemap_entry(addr);

	if (ghu_unlikely(!ghu_mcache_free(e, addr)))
		free_other(addr, e);
}

ghu_export ghu_hot void free(void *p)
{
	uintptr_t addr = (uintptr_t)p;
	ghu_pagemap_t e;

	if (ghu_unlikely(!ghu_pagemap_flat_entry(addr, &e)))
		free_elsewhere(addr);
	else if (ghu_unlikely(!ghu_mcache_free(e, addr)))
		free_other(addr, e);
}

static ghu_noinline size_t usable_slow(const void *p)
{
	return p ? object_bytes(must_find(p, &of_usable), p) : 0;
}

/* There are programs that ask for each object. */
ghu_export size_t malloc_usable_size(void *p)
{
	size_t bytes = small_bytes((uintptr_t)p);

	return ghu_likely(bytes) ? bytes : usable_slow(p);
}

/* ---- realloc ---- */

/* Not too small, and not twice what is needed. */
static bool is_fitting(size_t have, size_t size)
{
	return size <= have && (size > have / 2 || have <= 16);
}

/* To the profile it is freed, and another one allocated. */
static bool resize_large(struct ghu_mspan *s, size_t size)
{
	size_t npages = s->npages;

	if (!ghu_large_resize(s, size))
		return false;
	if (ghu_unlikely(s->npages != npages)) {
		if (ghu_state(ghu_states(s)) == GHU_OBJ_SAMPLED && ghu_profile_free(s->base))
			__atomic_store_n(ghu_states(s), GHU_OBJ_LIVE, __ATOMIC_RELAXED);
		sampled((void *)s->base);
	}
	return true;
}

/* Whether the object can stay: as it is, or made larger or smaller. */
static bool resize_in_place(struct ghu_mspan *s, size_t size)
{
	if (ghu_unlikely(ghu_checked))
		return false;
	if (ghu_is_guarded(s))
		return false;
	if (ghu_mspan_class(s))
		return is_fitting(ghu_raw_bytes(s), size);
	return size > GHU_MAX_SMALL_SIZE && size <= MAX_SIZE && resize_large(s, size);
}

static ghu_on_stack ghu_noinline void *realloc_moved(void *p, size_t size, size_t have)
{
	void *new = malloc(size);

	if (!new)
		return NULL;
	memcpy(new, p, have < size ? have : size);
	free(p);
	return new;
}

static ghu_on_stack ghu_noinline void *realloc_slow(void *p, size_t size)
{
	struct ghu_mspan *s = must_find(p, &of_realloc);

	if (!size) {
		free(p);
		return NULL;
	}
	return resize_in_place(s, size) ? p : realloc_moved(p, size, object_bytes(s, p));
}

ghu_export ghu_on_stack void *realloc(void *p, size_t size)
{
	size_t have;

	if (!p)
		return malloc(size);
	have = small_bytes((uintptr_t)p);
	if (ghu_unlikely(!have) || ghu_unlikely(!size))
		return realloc_slow(p, size);
	return is_fitting(have, size) ? p : realloc_moved(p, size, have);
}

ghu_export void *reallocarray(void *p, size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(p, bytes);
}

/* ---- free, with a size ---- */

void free_sized(void *p, size_t size);
void free_aligned_sized(void *p, size_t align, size_t size);

/* The span, if p is a live object: what else p may be, free() tells. */
static const struct ghu_mspan *span_of_live(const void *p)
{
	uintptr_t addr = (uintptr_t)p;
	const struct ghu_mspan *s = ghu_pagemap_lookup(addr);
	uint32_t index;
	uint8_t state;

	if (!s || !ghu_find_object(s, addr, &index))
		return NULL;
	state = ghu_state(&ghu_states(s)[index]);
	return ghu_is_live(state) ? s : NULL;
}

static bool is_of_pages(const struct ghu_mspan *s, size_t size)
{
	if (ghu_is_guarded(s))
		return s->elemsize == size;
	return !ghu_mspan_class(s) && ghu_pages_for(size ? size : 1) == s->npages - s->guarded;
}

/* What realloc() leaves where it was is not of size 0. */
static bool is_sized(const struct ghu_mspan *s, size_t size)
{
	if (!ghu_mspan_class(s))
		return is_of_pages(s, size);
	return size ? is_fitting(ghu_raw_bytes(s), size) : ghu_mspan_class(s) == GHU_ZERO_CLASS;
}

bool ghu_is_object(const void *p, size_t size)
{
	const struct ghu_mspan *s = span_of_live(p);

	if (!s)
		return true;
	if (ghu_unlikely(ghu_options.canary))
		return !ghu_checked_differs(s, p, size);
	if (!ghu_mspan_class(s) || size > GHU_MAX_SMALL_SIZE)
		return is_of_pages(s, size);
	if (ghu_mspan_class(s) == ghu_size_to_class(size))
		return true;
	/* Where new was not called, the program has its own, and what it deletes may be malloc()'s. */
	return !__atomic_load_n(&ghu_few_is_over, __ATOMIC_RELAXED) && is_sized(s, size);
}

/* What realloc() left where it was may be of a class above its size's, and the first few are. */
ghu_export void free_sized(void *p, size_t size)
{
	const struct ghu_mspan *s = span_of_live(p);

	if (s && !(ghu_options.canary ? !ghu_checked_differs(s, p, size) : is_sized(s, size)))
		ghu_fatal_addr("free_sized: wrong size", (uintptr_t)p);
	free(p);
}

/* What aligned_alloc() would do for the same arguments tells what it did. */
bool ghu_is_aligned_object(const void *p, size_t align, size_t size)
{
	const struct ghu_mspan *s = span_of_live(p);
	size_t sizeclass = aligned_class(size, align);

	if (s && ghu_unlikely(ghu_options.canary))
		return !ghu_checked_differs(s, p, size);
	if (s && ghu_unlikely(ghu_is_guarded(s)))
		return s->elemsize == size;
	return !s || (sizeclass ? ghu_mspan_class(s) == sizeclass : is_of_pages(s, size));
}

bool ghu_is_aligned(const void *p, size_t align)
{
	return !p || (is_power_of_two(align) && !((uintptr_t)p & (align - 1)));
}

ghu_export void free_aligned_sized(void *p, size_t align, size_t size)
{
	if (!ghu_is_aligned(p, align))
		ghu_fatal_addr("free_aligned_sized: wrong alignment", (uintptr_t)p);
	if (!ghu_is_aligned_object(p, align, size))
		ghu_fatal_addr("free_aligned_sized: wrong size", (uintptr_t)p);
	free(p);
}

/* ---- malloc.h; the rest of it is in mallinfo.c ---- */

ghu_export int malloc_trim(size_t pad)
{
	(void)pad;
	ghu_mcache_flush();
	ghu_sweep_start();
	ghu_sweep_finish();
	ghu_empty_flush();
	return ghu_backend_scavenge(SIZE_MAX) > 0;
}
