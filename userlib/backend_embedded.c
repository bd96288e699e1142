// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The page heap compiled into the library, for machines without /dev/goheap, and
 * for what is left of the kernel's heap in a forked child.  This is the only file
 * that knows the core.
 *
 * Nobody runs here but the program's own threads, unless it asked for one that does
 * nothing else (bgscavenge.c).  So memory is released by age on the slow path: every 16th call reads the clock, and when half the limit has
 * passed since the last pass began, a pass begins; it releases what was idle for
 * longer than the limit, 16 MiB at a time per call, so that no single malloc()
 * pays for all of it.  Releasing is MADV_DONTNEED, 2 MiB at a time at most, with
 * the run taken off the heap and no lock held.
 *
 * An arena that the kernel managed is taken over with the spans that the page map
 * lists.  What lies between them is idle memory only if there is one thread.  If
 * there are more, it is made a span for ever: another run may just be on its way
 * from the program to here, no more in the page map and not yet freed, and must
 * not be given to somebody else.
 *
 * Metadata comes from persistentalloc, and stays: heaps are never destroyed here.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include "heap.h"
#include "mheap.h"
#include "mspan.h"
#include "options.h"
#include "pagemap.h"
#include "persistentalloc.h"

_Static_assert(GH_PAGE_SIZE == GHU_PAGE_SIZE, "one page size");

#define AGE_LIMIT_NS		(300u * 1000000000ull)
#define AGE_LIMIT_DEBUG_NS	(20u * 1000000ull)
#define BG_PASS_NS		(500u * 1000000ull)
#define CALLS_PER_CLOCK		16u
#define PASS_STEP_BYTES		((size_t)16 << 20)

struct embedded_heap {
	struct ghu_heap heap;
	struct gh_mheap mheap;
	/* Below: under mheap.lock. */
	unsigned int calls;
	u64 now_ns;		/* when the clock was read last */
	u64 pass_begun_ns;
	u64 pass_bytes;		/* released in this pass */
	unsigned int pass_nr;
	bool pass_on;		/* a pass is not finished */
	bool releasing;		/* somebody is at it */
	/* Without the lock. */
	u64 passes;		/* the heap's pressure generation */
	bool adopted;
};

static u64 embedded_sys;

static struct embedded_heap *embedded(struct ghu_heap *h)
{
	return (struct embedded_heap *)h;
}

/* ---- the core's home ---- */

void *gh_meta_alloc(size_t bytes)
{
	return ghu_persistentalloc_try(bytes, 64, &embedded_sys);
}

/*
 * Called for a root that was replaced by one of twice the size, or a table that lost
 * a race.  Big ones are mappings of their own.
 */
void gh_meta_free(void *p, size_t bytes)
{
	if (bytes >= GHU_PERSISTENT_MAX_BLOCK) {
		ghu_munmap((uintptr_t)p, bytes);
		__atomic_fetch_sub(&embedded_sys, bytes, __ATOMIC_RELAXED);
	}
}

/* ---- release ---- */

uint64_t ghu_backend_age_ns(void)
{
	if (ghu_options.scavenge)
		return AGE_LIMIT_DEBUG_NS;
	return ghu_options.bgscavenge ? ghu_options.bgscavenge * 1000000ull : AGE_LIMIT_NS;
}

/* From the beginning of a pass to the next. */
static u64 pass_ns(void)
{
	u64 ns = ghu_backend_age_ns() / 2;

	return ghu_options.bgscavenge && ns > BG_PASS_NS ? BG_PASS_NS : ns;
}

/*
 * Drops the pages of a run.  Where the hardware's pages are longer than the
 * heap's, a page at either end may be shared with a neighbour; the run's part
 * of it is cleared, because a released run must read as zeros.
 */
static bool drop_pages(uintptr_t addr, size_t bytes)
{
	uintptr_t page = ghu_phys_page_size();
	uintptr_t end = addr + bytes;
	uintptr_t first = (addr + page - 1) & ~(page - 1);
	uintptr_t last = end & ~(page - 1);

	if (first >= last) {
		memset((void *)addr, 0, bytes);
		return true;
	}
	if (ghu_madvise(first, last - first, MADV_DONTNEED))
		return false;
	memset((void *)addr, 0, first - addr);
	memset((void *)last, 0, end - last);
	return true;
}

/* Releases one run that is idle for longer than min_age_ns.  False: none, or it cannot be. */
static bool release_one(struct embedded_heap *e, u64 max_pages, u64 min_age_ns, size_t *bytes)
{
	struct gh_idle_req req = { .min_age_ns = min_age_ns, .max_pages = max_pages };
	struct gh_idle_run run;
	bool ok;
	int err;

	mutex_lock(&e->mheap.lock);
	req.now_ns = e->now_ns;
	err = gh_idle_take_locked(&e->mheap, &req, &run);
	mutex_unlock(&e->mheap.lock);
	if (err)
		return false;

	ok = drop_pages(run.addr, run.npages << GH_PAGE_SHIFT);

	mutex_lock(&e->mheap.lock);
	gh_idle_put_locked(&e->mheap, &run, ok);
	mutex_unlock(&e->mheap.lock);
	if (ok)
		*bytes += run.idle_pages << GH_PAGE_SHIFT;
	return ok;
}

/* Up to max_bytes, and what a run needs to be whole. */
static size_t release(struct embedded_heap *e, size_t max_bytes, u64 min_age_ns)
{
	size_t released = 0;

	while (released < max_bytes) {
		u64 left_pages = (max_bytes - released - 1) / GH_PAGE_SIZE + 1;

		if (!release_one(e, min(left_pages, (u64)GH_HUGE_PAGES), min_age_ns, &released))
			break;
	}
	return released;
}

static void drop_records_of(void *p, size_t bytes)
{
	drop_pages((uintptr_t)p, bytes);
}

/* Of a heap that shrank: the records of what it was. */
static void drop_records(struct embedded_heap *e)
{
	bool more;

	do {
		mutex_lock(&e->mheap.lock);
		more = gh_records_drop_locked(&e->mheap, drop_records_of);
		mutex_unlock(&e->mheap.lock);
	} while (more);
}

static size_t embedded_scavenge(struct ghu_heap *h, size_t max_bytes)
{
	size_t released = release(embedded(h), max_bytes, 0);

	drop_records(embedded(h));
	return released;
}

/* Reads the clock.  True: the caller does a step of a pass, without the lock. */
static bool read_clock_locked(struct embedded_heap *e)
{
	lockdep_assert_held(&e->mheap.lock);
	e->now_ns = ghu_now_ns();
	if (!e->pass_on && e->now_ns - e->pass_begun_ns > pass_ns()) {
		e->pass_on = true;
		e->pass_begun_ns = e->now_ns;
		e->pass_bytes = 0;
	}
	if (!e->pass_on || e->releasing)
		return false;
	e->releasing = true;
	return true;
}

/* The same now and then. */
static bool tick_locked(struct embedded_heap *e)
{
	return !(e->calls++ % CALLS_PER_CLOCK) && read_clock_locked(e);
}

static void end_pass_locked(struct embedded_heap *e)
{
	lockdep_assert_held(&e->mheap.lock);
	e->pass_on = false;
	e->pass_nr++;
	__atomic_fetch_add(&e->passes, 1, __ATOMIC_RELAXED);
}

/* True: there may be more. */
static bool age_step(struct embedded_heap *e)
{
	size_t bytes = release(e, PASS_STEP_BYTES, ghu_backend_age_ns());
	bool ended = bytes < PASS_STEP_BYTES;
	unsigned int nr;

	if (ended)
		drop_records(e);
	mutex_lock(&e->mheap.lock);
	nr = e->pass_nr;
	e->pass_bytes += bytes;
	bytes = e->pass_bytes;
	if (ended)
		end_pass_locked(e);
	e->releasing = false;
	mutex_unlock(&e->mheap.lock);
	if (ended && bytes && ghu_options.gctrace)
		ghu_print("scvg%u: %zu MB released\n", nr, bytes >> 20);
	return !ended;
}

static bool embedded_age(struct ghu_heap *h)
{
	struct embedded_heap *e = embedded(h);
	bool due;

	mutex_lock(&e->mheap.lock);
	due = read_clock_locked(e);
	mutex_unlock(&e->mheap.lock);
	return due && age_step(e);
}

/* ---- spans ---- */

/* One run, or -ENOSPC or -ENOMEM.  The lock is dropped where records have to be fetched. */
static int alloc_one_locked(struct embedded_heap *e, const struct ghu_request *req,
			    struct ghu_run *run)
{
	u64 align_pages = req->align > GH_PAGE_SIZE ? req->align >> GH_PAGE_SHIFT : 1;
	unsigned int flags = req->flags & GHU_SPAN_LARGE ? GH_ALLOC_LARGE : 0;
	struct gh_run r;
	int err;

	lockdep_assert_held(&e->mheap.lock);
	while ((err = gh_mheap_alloc_locked(&e->mheap, req->npages, align_pages, flags,
					    req->tag, e->now_ns, &r)) == -EAGAIN) {
		mutex_unlock(&e->mheap.lock);
		err = gh_mheap_refill(&e->mheap);
		mutex_lock(&e->mheap.lock);
		if (err)
			return -ENOMEM;
	}
	if (err)
		return -ENOSPC;
	*run = (struct ghu_run){ .addr = r.addr, .npages = r.npages, .needzero = r.needzero };
	return 0;
}

/* As in the kernel: what is idle joins what has no pages when it is released. */
static bool release_for(struct embedded_heap *e, u64 npages)
{
	bool enough;

	mutex_lock(&e->mheap.lock);
	enough = npages <= e->mheap.stats.idle_pages + e->mheap.arena_pages - e->mheap.used_pages;
	mutex_unlock(&e->mheap.lock);
	return enough && release(e, SIZE_MAX, 0);
}

static int embedded_alloc(struct ghu_heap *h, const struct ghu_request *req,
			  struct ghu_run *runs, unsigned int nr)
{
	struct embedded_heap *e = embedded(h);
	unsigned int n = 0;
	int err = 0;
	bool due;

	mutex_lock(&e->mheap.lock);
	due = tick_locked(e);
	while (n < nr && !err) {
		err = alloc_one_locked(e, req, &runs[n]);
		n += !err;
	}
	mutex_unlock(&e->mheap.lock);
	if (due)
		age_step(e);
	if (!n && err == -ENOSPC && release_for(e, req->npages)) {
		mutex_lock(&e->mheap.lock);
		err = alloc_one_locked(e, req, &runs[0]);
		n = !err;
		mutex_unlock(&e->mheap.lock);
	}
	return n ? (int)n : err;
}

/*
 * In an adopted arena a run may be none of the heap's spans: it was on its way
 * here when the page map was read.  The caller then drops its pages.
 */
static int embedded_free(struct ghu_heap *h, const struct ghu_run *runs, unsigned int nr,
			 unsigned int *done)
{
	struct embedded_heap *e = embedded(h);
	int err = 0;
	bool due;

	mutex_lock(&e->mheap.lock);
	due = tick_locked(e);
	for (*done = 0; *done < nr && !err; *done += !err)
		err = gh_mheap_free_locked(&e->mheap, runs[*done].addr, runs[*done].npages,
					   e->now_ns);
	mutex_unlock(&e->mheap.lock);
	if (due)
		age_step(e);
	return err && e->adopted ? -ENOENT : err;
}

static int embedded_resize(struct ghu_heap *h, uintptr_t addr, size_t old_npages,
			   size_t npages, bool *needzero)
{
	struct embedded_heap *e = embedded(h);
	struct gh_run old, added;
	int err;

	do {
		mutex_lock(&e->mheap.lock);
		err = gh_mheap_resize_locked(&e->mheap, addr, npages, e->now_ns, &old, &added);
		mutex_unlock(&e->mheap.lock);
	} while (err == -EAGAIN && !gh_mheap_refill(&e->mheap));
	if (err || old.npages != old_npages)
		return -ENOMEM;
	*needzero = added.needzero;
	return 0;
}

static int embedded_stats(struct ghu_heap *h, struct ghu_heap_stats *st)
{
	struct embedded_heap *e = embedded(h);
	struct gh_mheap_stats s;

	mutex_lock(&e->mheap.lock);
	s = e->mheap.stats;
	mutex_unlock(&e->mheap.lock);
	st->sys = (s.inuse_pages + s.idle_pages) << GH_PAGE_SHIFT;
	st->released = s.released_pages << GH_PAGE_SHIFT;
	st->meta_bytes = sizeof(*e) + s.meta_bytes;
	return 0;
}

static void embedded_fork_prepare(struct ghu_heap *h)
{
	mutex_lock(&embedded(h)->mheap.lock);
}

/* Who was releasing does not exist in the child, which loses the few runs that it had taken out. */
static void embedded_fork_done(struct ghu_heap *h, bool is_child)
{
	if (is_child)
		embedded(h)->releasing = false;
	mutex_unlock(&embedded(h)->mheap.lock);
}

static const struct ghu_heap_ops embedded_ops = {
	.alloc = embedded_alloc,
	.free = embedded_free,
	.resize = embedded_resize,
	.scavenge = embedded_scavenge,
	.age = embedded_age,
	.stats = embedded_stats,
	.fork_prepare = embedded_fork_prepare,
	.fork_done = embedded_fork_done,
};

/* ---- making one ---- */

static struct embedded_heap *new_embedded(void)
{
	struct embedded_heap *e = ghu_persistentalloc_try(sizeof(*e), 64, &embedded_sys);

	if (!e)
		return NULL;
	gh_mheap_init(&e->mheap);
	e->heap.ops = &embedded_ops;
	e->heap.pressure = &e->passes;
	e->now_ns = ghu_now_ns();
	e->pass_begun_ns = e->now_ns;
	return e;
}

static void bind_arena(struct embedded_heap *e, const struct ghu_arena *arena, size_t bytes)
{
	e->heap.arena = *arena;
	/* Another thread may be opening the old one. */
	e->heap.arena.lock = (struct ghu_lock){ 0 };
	mutex_lock(&e->mheap.lock);
	gh_mheap_bind_locked(&e->mheap, arena->start, bytes);
	mutex_unlock(&e->mheap.lock);
}

struct ghu_heap *ghu_embedded_create_over(const struct ghu_arena *arena)
{
	struct embedded_heap *e = new_embedded();

	if (!e)
		return NULL;
	bind_arena(e, arena, arena->bytes);
	return &e->heap;
}

struct ghu_heap *ghu_embedded_create(size_t min_bytes)
{
	struct ghu_arena arena;
	struct ghu_heap *h;

	if (ghu_arena_reserve(&arena, -1, min_bytes, GHU_ARENA_MAX))
		return NULL;
	h = ghu_embedded_create_over(&arena);
	if (!h)
		ghu_munmap(arena.start, arena.bytes);
	return h;
}

/* ---- taking an arena over ---- */

/* How far the walk over an arena has come. */
struct adoption {
	struct embedded_heap *e;
	uintptr_t gap;		/* begin of what belongs to no span, or the walk's address */
	enum ghu_gaps gaps;
};

static int carve(struct embedded_heap *e, uintptr_t addr, size_t bytes)
{
	int err;

	do {
		mutex_lock(&e->mheap.lock);
		err = gh_mheap_carve_locked(&e->mheap, addr, bytes >> GH_PAGE_SHIFT, 0, 0,
					    e->now_ns);
		mutex_unlock(&e->mheap.lock);
	} while (err == -EAGAIN && !gh_mheap_refill(&e->mheap));
	return err;
}

/* The gap before addr becomes a span that nobody will ever free, or is freed now. */
static int carve_gap(struct adoption *a, uintptr_t addr)
{
	size_t bytes = addr - a->gap;
	int err;

	if (!bytes)
		return 0;
	if (a->gaps == GHU_GAPS_DROP)
		drop_pages(a->gap, bytes);
	err = carve(a->e, a->gap, bytes);
	if (err || a->gaps != GHU_GAPS_REUSE)
		return err;
	mutex_lock(&a->e->mheap.lock);
	err = gh_mheap_free_locked(&a->e->mheap, a->gap, bytes >> GH_PAGE_SHIFT, a->e->now_ns);
	mutex_unlock(&a->e->mheap.lock);
	return err;
}

/* The next span at addr or after it, be it an empty one: its address, or end if there is none. */
static uintptr_t next_span(uintptr_t addr, uintptr_t end, const struct ghu_run *extra,
			   size_t *npages)
{
	for (; addr < end; addr += GH_PAGE_SIZE) {
		const struct ghu_mspan *s = ghu_pagemap_get(addr);

		*npages = 0;
		if (addr == extra->addr)
			*npages = extra->npages;
		else if (s && s != &ghu_mspan_gone && s->base == addr)
			*npages = s->npages;
		if (*npages)
			return addr;
	}
	*npages = 0;
	return end;
}

static int carve_all(struct adoption *a, uintptr_t end, const struct ghu_run *extra)
{
	while (a->gap < end) {
		size_t npages;
		uintptr_t addr = next_span(a->gap, end, extra, &npages);
		int err = carve_gap(a, addr);

		if (!err && npages)
			err = carve(a->e, addr, npages << GH_PAGE_SHIFT);
		if (err)
			return err;
		a->gap = addr + (npages << GH_PAGE_SHIFT);
	}
	return 0;
}

struct ghu_heap *ghu_embedded_adopt(const struct ghu_arena *arena, uintptr_t addr,
				    size_t npages, enum ghu_gaps gaps)
{
	uintptr_t end = __atomic_load_n(&arena->opened, __ATOMIC_RELAXED);
	struct ghu_run extra = { .addr = addr, .npages = npages };
	struct adoption a = { .gap = arena->start, .gaps = gaps };

	a.e = new_embedded();
	if (!a.e)
		return NULL;
	a.e->adopted = true;
	bind_arena(a.e, arena, end - arena->start);
	return carve_all(&a, end, &extra) ? NULL : &a.e->heap;
}
