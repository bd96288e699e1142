// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Records of spans, and their state bytes.
 *
 * A record and its state bytes are one piece, of a size that depends on the class
 * only through the number of 64-object windows (six sizes in all), cut from slabs
 * of 64 KiB outside the heap.  A slab whose records are all free gives its pages
 * back, so that a heap that shrank does not keep the records of what it was: one
 * empty slab of each size is kept to swing in.  Slabs never go away, and keep the
 * size of their records, so the list of all of them can be walked at any time.  What
 * describes them is not in them, but at the begin of the region that they are cut from.
 * A short slab of each size comes before them all, in .bss, so that the few records of a
 * small program lie in a few pages, and it needs no region.
 *
 * Nobody looks at the record of a span that he has no business with: a free() reads
 * it before it stores FREE, and until then its object keeps the span alive.  The
 * sweeper, which walks over all records, holds ghu_spans.lock, and without that no
 * record is freed.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include "empty.h"
#include "leftover.h"
#include "mspan.h"
#include "options.h"
#include "pagemap.h"
#include "profile.h"
#include "sweep.h"
#include "zerosize.h"

#define SLAB_BYTES	((size_t)64 << 10)
#define REGION_BYTES	((size_t)2 << 20)
#define REGION_SLABS	(REGION_BYTES / SLAB_BYTES)
#define MAX_WINDOWS	(GHU_MAX_OBJECTS / 64)

struct ghu_mspan_slab {
	struct ghu_mspan_slab *next;		/* of all */
	struct ghu_mspan_slab *next_avail;	/* of those with room */
	struct ghu_mspan_slab *prev_avail;
	struct ghu_mspan *free;			/* records that were used before */
	uintptr_t records;
	uint32_t record_bytes;
	uint32_t nr_max;
	uint32_t nr_carved;			/* ever used, since it was empty */
	uint32_t nr_used;
};

/* Records begin in the middle of a cache line; see mspan.h. */
#define FIRST_RECORD	32u
#define RECORD_BYTES(nwindows)	(sizeof(struct ghu_mspan) + 64 * (nwindows))

/* The short ones, in order: for spans of so many windows so many records. */
#define SHORTS(s)	s(1, 24) s(2, 5) s(4, 2) s(3, 2) s(8, 2) s(16, 1)
#define SHORT(nwindows, nr)		{ nwindows, nr },
#define AND_BYTES(nwindows, nr)		+ (nr) * RECORD_BYTES(nwindows)

static const struct {
	uint8_t nwindows, nr;
} shorts[] = { SHORTS(SHORT) };

#define NR_SHORTS	(sizeof(shorts) / sizeof(shorts[0]))
#define SHORT_BYTES	(FIRST_RECORD SHORTS(AND_BYTES))

static ghu_placed_table("records") struct {
	struct ghu_mspan_slab slabs[NR_SHORTS];
	char records[SHORT_BYTES] __attribute__((aligned(64)));
} first;

/* Aligned to its length, and begins with this; the first slab is not used. */
struct region {
	struct ghu_mspan_slab slabs[REGION_SLABS];
};

struct ghu_mspan ghu_mspan_gone = { .where = GHU_SPAN_IS_DEAD };
struct ghu_spans ghu_spans;

/* All under ghu_spans.lock. */
static struct ghu_mspan_slab *slabs;
static struct ghu_mspan_slab *avail[MAX_WINDOWS + 1];	/* by number of windows */
static struct ghu_mspan_slab *discarded[MAX_WINDOWS + 1];
static struct region *region;	/* the one that slabs are cut from */
static unsigned int nr_cut = REGION_SLABS;
static size_t nr_regions;

/* ---- records ---- */

static struct region *region_of(const void *p)
{
	return (struct region *)((uintptr_t)p & ~(REGION_BYTES - 1));
}

static bool is_short(const struct ghu_mspan_slab *slab)
{
	return slab >= first.slabs && slab < first.slabs + NR_SHORTS;
}

static struct ghu_mspan *record_at(const struct ghu_mspan_slab *slab, uint32_t i)
{
	return (struct ghu_mspan *)(slab->records + (size_t)i * slab->record_bytes);
}

static struct ghu_mspan_slab *slab_of(const struct ghu_mspan *s)
{
	unsigned int i = NR_SHORTS - 1;

	if ((uintptr_t)s - (uintptr_t)first.records >= SHORT_BYTES)
		return &region_of(s)->slabs[(uintptr_t)s % REGION_BYTES / SLAB_BYTES];
	while ((uintptr_t)s < first.slabs[i].records)
		i--;
	return &first.slabs[i];
}

static unsigned int slab_windows(const struct ghu_mspan_slab *slab)
{
	return slab->record_bytes / 64 - 1;
}

static void avail_insert(struct ghu_mspan_slab *slab)
{
	struct ghu_mspan_slab **list = &avail[slab_windows(slab)];

	slab->next_avail = *list;
	slab->prev_avail = NULL;
	if (*list)
		(*list)->prev_avail = slab;
	*list = slab;
}

static void avail_remove(struct ghu_mspan_slab *slab)
{
	if (slab->next_avail)
		slab->next_avail->prev_avail = slab->prev_avail;
	if (slab->prev_avail)
		slab->prev_avail->next_avail = slab->next_avail;
	else
		avail[slab_windows(slab)] = slab->next_avail;
}

static void init_slab(struct ghu_mspan_slab *slab, unsigned int nwindows, uintptr_t records)
{
	slab->record_bytes = (uint32_t)RECORD_BYTES(nwindows);
	slab->records = records;
	slab->next = slabs;
	slabs = slab;
	avail_insert(slab);
}

static void init_shorts(void)
{
	uintptr_t at = (uintptr_t)first.records + FIRST_RECORD;

	for (unsigned int i = 0; i < NR_SHORTS; i++) {
		struct ghu_mspan_slab *slab = &first.slabs[i];

		slab->nr_max = shorts[i].nr;
		init_slab(slab, shorts[i].nwindows, at);
		at += slab->nr_max * slab->record_bytes;
	}
}

/* Twice as much is reserved, and the ends are cut off. */
static bool make_region(void)
{
	uintptr_t p = (uintptr_t)ghu_sys_reserve(2 * REGION_BYTES), start;

	if (!p)
		return false;
	start = (p + REGION_BYTES - 1) & ~(REGION_BYTES - 1);
	if (start > p)
		ghu_munmap(p, start - p);
	if (start < p + REGION_BYTES)
		ghu_munmap(start + REGION_BYTES, p + REGION_BYTES - start);
	region = (struct region *)start;
	nr_cut = 1;
	nr_regions++;
	return true;
}

static void make_slab(unsigned int nwindows)
{
	struct ghu_mspan_slab *slab = &region->slabs[nr_cut];

	init_slab(slab, nwindows, (uintptr_t)region + nr_cut * SLAB_BYTES + FIRST_RECORD);
	slab->nr_max = (uint32_t)((SLAB_BYTES - FIRST_RECORD) / slab->record_bytes);
	nr_cut++;
}

/* A slab with room, on the list of those. */
static struct ghu_mspan_slab *get_slab(unsigned int nwindows)
{
	struct ghu_mspan_slab *slab = discarded[nwindows];

	if (!slabs)
		init_shorts();
	if (avail[nwindows])
		return avail[nwindows];
	if (slab) {
		discarded[nwindows] = slab->next_avail;
		avail_insert(slab);
	} else if (nr_cut == REGION_SLABS && !make_region()) {
		return NULL;
	} else {
		make_slab(nwindows);
	}
	return avail[nwindows];
}

static struct ghu_mspan *record_alloc(unsigned int nwindows)
{
	struct ghu_mspan_slab *slab;
	struct ghu_mspan *s = NULL;

	ghu_lock(&ghu_spans.lock);
	slab = get_slab(nwindows);
	if (!slab)
		goto unlock;
	s = slab->free;
	if (s)
		slab->free = s->next;
	else
		s = record_at(slab, slab->nr_carved++);
	if (++slab->nr_used == slab->nr_max)
		avail_remove(slab);
unlock:
	ghu_unlock(&ghu_spans.lock);
	return s;
}

/* While its pages go, the slab is on no list that anybody allocates from. */
static void discard_slab(struct ghu_mspan_slab *slab)
{
	unsigned int nwindows = slab_windows(slab);

	avail_remove(slab);
	slab->free = NULL;
	slab->nr_carved = 0;
	ghu_unlock(&ghu_spans.lock);
	ghu_madvise(slab->records - FIRST_RECORD, SLAB_BYTES, MADV_DONTNEED);
	ghu_lock(&ghu_spans.lock);
	slab->next_avail = discarded[nwindows];
	discarded[nwindows] = slab;
}

/* A short slab is not what a program swings in, and shares its pages. */
static bool is_long(const struct ghu_mspan_slab *slab)
{
	return slab && !is_short(slab);
}

static void record_free(struct ghu_mspan *s)
{
	struct ghu_mspan_slab *slab = slab_of(s);

	ghu_lock(&ghu_spans.lock);
	s->next = slab->free;
	slab->free = s;
	if (slab->nr_used-- == slab->nr_max)
		avail_insert(slab);
	if (!slab->nr_used && is_long(slab) &&
	    (is_long(slab->next_avail) || is_long(slab->prev_avail)))
		discard_slab(slab);
	ghu_unlock(&ghu_spans.lock);
}

struct ghu_mspan *ghu_mspan_iterate(struct ghu_mspan_iter *it)
{
	if (!it->slab)
		it->slab = slabs;
	while (it->slab && it->record >= it->slab->nr_carved) {
		it->slab = it->slab->next;
		it->record = 0;
	}
	return it->slab ? record_at(it->slab, it->record++) : NULL;
}

void ghu_mspan_bytes(size_t *inuse, size_t *sys)
{
	*inuse = 0;
	ghu_lock(&ghu_spans.lock);
	*sys = sizeof(first) + nr_regions * sizeof(struct region);
	for (const struct ghu_mspan_slab *slab = slabs; slab; slab = slab->next) {
		*inuse += (size_t)slab->nr_used * slab->record_bytes;
		if (!is_short(slab))
			*sys += slab->nr_carved ? SLAB_BYTES : 0;
	}
	ghu_unlock(&ghu_spans.lock);
}

/* ---- spans ---- */

static unsigned int windows_of(const struct ghu_mspan *s)
{
	return ghu_classes[ghu_mspan_class(s)].nwindows;
}

static void init_states(struct ghu_mspan *s, unsigned int nwindows)
{
	uint8_t *states = ghu_states(s);

	memset(states, GHU_OBJ_FREE, s->nelems);
	memset(states + s->nelems, GHU_OBJ_TAIL, 64 * nwindows - s->nelems);
}

/* So that the first one swept is 0. */
static void begin_windows(struct ghu_mspan *s)
{
	s->window = (uint8_t)(ghu_classes[ghu_mspan_class(s)].nwindows - 1);
	s->fresh = 0;
	__atomic_store_n(&s->large_key, 0, __ATOMIC_RELAXED);
}

/*
 * The objects that it has at first: a page of them, but as many as are looked at when a window is
 * opened once more (ghu_are_8_free()).
 */
static uint16_t first_objects(unsigned int sizeclass, bool needzero)
{
	const struct ghu_class *c = &ghu_classes[sizeclass];
	unsigned int nr;

	if (!sizeclass)
		return 1;
	if (needzero || c->nwindows > 1)
		return c->nelems;
	nr = GHU_MIN_PHYS_PAGE / c->size;
	if (nr < 8)
		nr = 8;
	return nr < c->nelems ? (uint16_t)nr : c->nelems;
}

static void init_class(struct ghu_mspan *s, unsigned int sizeclass)
{
	const struct ghu_class *c = &ghu_classes[sizeclass];

	s->spanclass = ghu_make_spanclass(sizeclass, 1);
	s->elemsize = sizeclass == GHU_ZERO_CLASS ? GHU_ZERO_STRIDE : c->size;
	s->nelems = first_objects(sizeclass, s->needzero);
	begin_windows(s);
	init_states(s, sizeclass ? c->nwindows : 1);
}

static void init_span(struct ghu_mspan *s, unsigned int sizeclass, const struct ghu_run *run)
{
	s->base = run->addr;
	s->npages = run->npages;
	s->needzero = run->needzero;
	s->sweepgen = ghu_sweepgen();
	__atomic_store_n(&s->owner, NULL, __ATOMIC_RELAXED);
	s->guarded = false;
	init_class(s, sizeclass);
}

static int get_run(unsigned int sizeclass, size_t npages, size_t align, struct ghu_run *run)
{
	if (sizeclass != GHU_ZERO_CLASS)
		return ghu_span_alloc(npages, align, sizeclass ? 0 : GHU_SPAN_LARGE,
				      ghu_make_spanclass(sizeclass, 1), run);
	*run = (struct ghu_run){ .addr = ghu_zerosize_alloc(), .npages = npages };
	return run->addr ? 0 : -ENOMEM;
}

static void put_run(unsigned int sizeclass, uintptr_t addr, size_t npages)
{
	if (sizeclass == GHU_ZERO_CLASS)
		ghu_zerosize_free(addr);
	else
		ghu_span_free(addr, npages);
}

void ghu_mspan_count_pages(size_t npages)
{
	ghu_lock(&ghu_spans.lock);
	__atomic_store_n(&ghu_spans.pages_inuse, ghu_spans.pages_inuse + npages, __ATOMIC_RELAXED);
	ghu_unlock(&ghu_spans.lock);
}

static struct ghu_mspan *create(unsigned int sizeclass, size_t npages, size_t align)
{
	unsigned int nwindows = sizeclass ? ghu_classes[sizeclass].nwindows : 1;
	struct ghu_mspan *s = record_alloc(nwindows);
	struct ghu_run run;

	if (!s)
		return NULL;
	if (get_run(sizeclass, npages, align, &run))
		goto free_record;
	if (ghu_pagemap_prepare(run.addr, run.npages))
		goto free_span;
	init_span(s, sizeclass, &run);
	ghu_pagemap_set(run.addr, sizeclass ? npages : 1, s, ghu_checked ? 0 : sizeclass);
	if (sizeclass != GHU_ZERO_CLASS)
		ghu_mspan_count_pages(npages);
	return s;

free_span:
	put_run(sizeclass, run.addr, run.npages);
free_record:
	record_free(s);
	return NULL;
}

void ghu_mspan_renew(struct ghu_mspan *s, unsigned int sizeclass)
{
	s->needzero = true;
	if (ghu_mspan_class(s) == sizeclass) {
		/* It was LARGE. */
		if (s->large_key)
			ghu_pagemap_set(s->base, 1, s, sizeclass);
		begin_windows(s);
	} else {
		init_class(s, sizeclass);
		ghu_pagemap_set(s->base, s->npages, s, sizeclass);
	}
}

/* Its pages get a record with more state bytes, or fewer.  NULL: no memory. */
static struct ghu_mspan *change_record(struct ghu_mspan *s, unsigned int sizeclass)
{
	const struct ghu_run run = { .addr = s->base, .npages = s->npages, .needzero = true };
	struct ghu_mspan *new = record_alloc(ghu_classes[sizeclass].nwindows);

	if (!new) {
		ghu_mspan_destroy(s);
		return NULL;
	}
	init_span(new, sizeclass, &run);
	ghu_pagemap_set(run.addr, run.npages, new, sizeclass);
	record_free(s);
	return new;
}

/* It was made by create(). */
static struct ghu_mspan *reuse(unsigned int sizeclass, size_t npages)
{
	struct ghu_mspan *s = ghu_empty_get(sizeclass, npages);

	if (!s && sizeclass)
		s = ghu_empty_get_other(sizeclass);
	if (!s)
		return NULL;
	if (sizeclass && windows_of(s) != ghu_classes[sizeclass].nwindows)
		return change_record(s, sizeclass);
	ghu_mspan_renew(s, sizeclass);
	return s;
}

struct ghu_mspan *ghu_mspan_create(unsigned int sizeclass, size_t npages, size_t align)
{
	struct ghu_mspan *s = align ? NULL : reuse(sizeclass, npages);

	if (s)
		return s;
	ghu_empty_give_back(npages);
	ghu_sweep_deduct_credit(npages);
	s = create(sizeclass, npages, align);
	if (ghu_unlikely(!s) && ghu_empty_flush())
		s = create(sizeclass, npages, align);
	if (s && !sizeclass)
		ghu_sweep_allocated(npages);
	return s;
}

bool ghu_mspan_extend(struct ghu_mspan *s)
{
	unsigned int had = s->nelems, all = ghu_classes[ghu_mspan_class(s)].nelems, nr;

	if (ghu_likely(had == all))
		return false;
	nr = 2 * had < all ? 2 * had : all;
	__atomic_store_n(&s->nelems, (uint16_t)nr, __ATOMIC_RELAXED);
	for (unsigned int i = had; i < nr; i++)
		__atomic_store_n(&ghu_states(s)[i], GHU_OBJ_FREE, __ATOMIC_RELAXED);
	return true;
}

void ghu_mspan_destroy(struct ghu_mspan *s)
{
	if (!ghu_empty_put(s)) {
		if (ghu_mspan_class(s) != GHU_ZERO_CLASS)
			ghu_mspan_count_pages(-s->npages);
		ghu_mspan_release(s);
	}
	ghu_leftover_check();
}

void ghu_mspan_release(struct ghu_mspan *s)
{
	unsigned int sizeclass = ghu_mspan_class(s);
	uintptr_t base = s->base;
	size_t npages = s->npages;

	ghu_pagemap_set(base, sizeclass ? npages : 1, &ghu_mspan_gone, 0);
	record_free(s);
	put_run(sizeclass, base, npages);
}

/* ---- state bytes ---- */

static unsigned int count_state(const struct ghu_mspan *s, uint8_t state)
{
	unsigned int n = 0;

	for (unsigned int w = 0; w < windows_of(s); w++)
		n += (unsigned int)ghu_count_bits(ghu_match64(ghu_states(s) + 64 * w, state));
	return n;
}

unsigned int ghu_mspan_count_free(const struct ghu_mspan *s)
{
	bool watched;

	return ghu_count64_free(ghu_states(s), windows_of(s), &watched);
}

unsigned int ghu_mspan_count_live(const struct ghu_mspan *s)
{
	return count_state(s, GHU_OBJ_LIVE) + count_state(s, GHU_OBJ_WATCH) +
	       count_state(s, GHU_OBJ_SAMPLED);
}

/* Whether others are watched, which only checks and the profile do. */
static ghu_noinline bool is_watched_otherwise(const struct ghu_mspan *s)
{
	return count_state(s, GHU_OBJ_SAMPLED) || count_state(s, GHU_OBJ_HELD);
}

/* The object of that state with the lowest or the highest index, or -1. */
static int lowest_of(const struct ghu_mspan *s, uint8_t state)
{
	for (unsigned int w = 0; w < windows_of(s); w++) {
		uint64_t m = ghu_match64(ghu_states(s) + 64 * w, state);

		if (m)
			return (int)(64 * w) + __builtin_ctzll(m);
	}
	return -1;
}

static int highest_of(const struct ghu_mspan *s, uint8_t state)
{
	for (unsigned int w = windows_of(s); w-- > 0; ) {
		uint64_t m = ghu_match64(ghu_states(s) + 64 * w, state);

		if (m)
			return (int)(64 * w) + 63 - __builtin_clzll(m);
	}
	return -1;
}

bool ghu_mspan_pass_watch(struct ghu_mspan *s, unsigned int index, uint8_t state)
{
	uint8_t watch = (uint8_t)(state - GHU_OBJ_LIVE + GHU_OBJ_WATCH);
	/* Who is giving up the span may just have extended it. */
	unsigned int nelems = __atomic_load_n(&s->nelems, __ATOMIC_RELAXED);
	int i;

	do
		i = 2 * index < nelems ? highest_of(s, state) : lowest_of(s, state);
	while (i >= 0 && !ghu_replace8(&ghu_states(s)[i], state, watch));
	return i >= 0;
}

/*
 * What is FREE stays so, but an object may be kept when those in use are looked at, and in
 * use when those are that are kept; and a watch may be passed on in between.
 */
unsigned int ghu_mspan_watch(struct ghu_mspan *s, unsigned int index)
{
	unsigned int nfree;
	bool watched;

	do {
		nfree = ghu_count64_free(ghu_states(s), windows_of(s), &watched);
		if (nfree == s->nelems || watched)
			break;
		if (ghu_unlikely(ghu_profile_used() || ghu_checked) && is_watched_otherwise(s))
			break;
	} while (!ghu_mspan_pass_watch(s, index, GHU_OBJ_LIVE) &&
		 !ghu_mspan_pass_watch(s, index, GHU_OBJ_KEPT));
	return nfree;
}
