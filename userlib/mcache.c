// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * What happens when a window is empty, and the life of a thread's cache.
 *
 * The next window is the same one again, if an object was freed there; or the next
 * one of the same span; then one of the oldest span in the ring, if an object was freed
 * there meanwhile; then one of a span of mcentral's.  So a thread that frees what it
 * allocates goes round among spans that it owns, and nobody has to be told of its
 * frees, nor of those that others do in them.  The oldest span is let go, when it is
 * found full, once the thread owns more than it should.
 *
 * A thread's cache is made at its first malloc(), and is given up by the destructor
 * of a pthread key.  Destructors that run later, and libc itself, may still call
 * malloc(): they, and threads for which there is no memory for a cache, use one that
 * is shared and has a lock.
 *
 * fork() leaves caches behind whose threads do not exist in the child.  Their spans
 * are handed to mcentral when the child first needs a span from there; that is
 * found out by walking all records, so it does not matter what those threads were
 * about.
 *
 * Statistics cost nothing where a window hands out objects: what one has is counted
 * when it is opened, but not what it has when it is opened once more.
 *
 * Lock order: ghu_guarded_lock, shared_lock, caches_lock, then ghu_spans.lock and what
 * follows it.
 */
#include <pthread.h>
#include <stdlib.h>
#include "bgscavenge.h"
#include "checked.h"
#include "few.h"
#include "fixalloc.h"
#include "guarded.h"
#include "large.h"
#include "leftover.h"
#include "mcache.h"
#include "mcache_refill.h"
#include "mcentral.h"
#include "pagemap.h"
#include "profile.h"
#include "spare.h"
#include "sweep.h"
#include "zerosize.h"

/*
 * What one thread may own, be they few or many, or so many that these are too much together; and
 * what several may own together: a part of what is in use, or in a small heap so much.  It
 * stays when they sleep.
 */
#define OWN_PAGES_MAX	128u
#define OWN_PAGES_LESS	32u	/* where memory matters more: bgscavenge */
#define OWN_PAGES_MIN	24u
#define OWN_PAGES_MANY	1536u
#define OWN_PAGES_FEW	8u
#define OWN_PART	64u
#define OWN_PAGES_SMALL	64u
/* From so many on a thread gives up spans for others before it gets one. */
#define MANY_THREADS	8u
#define MAKE_ROOM	3u	/* so many at most */
/* For as many times that it needed one of those again it may own a page more. */
#define MISSES_PER_PAGE	8u
/* A window is sparse in which this part of the objects is free, or less. */
#define SPARSE		4u
/* Such windows that one of many threads opens before it has stacks. */
#define SPARSE_MANY	1000u
/* Pages taken from mcentral before the sweeper hears of them. */
#define TELL_PAGES	32u
/* Of the classes that have spans, the part that is asked at a time for one to spare. */
#define LET_GO_PART	4u

/*
 * Of a thread that has none yet, and of one that had one.  Never written, because their windows
 * are empty; as all is zero, the first one can end in the other.
 */
static const struct {
	struct ghu_mcache_class first;
	struct ghu_mcache second;
} empty_caches;

#define no_cache	(*(const struct ghu_mcache *)&empty_caches.first)
#define gone_cache	empty_caches.second

__thread struct ghu_mcache *ghu_mcache __attribute__((tls_model("initial-exec"))) =
	(struct ghu_mcache *)&no_cache;

static ghu_table struct ghu_mcache shared;
static struct ghu_lock shared_lock;

static struct ghu_lock caches_lock;
static struct ghu_fixalloc cachealloc;	/* under caches_lock, like what follows */
static struct ghu_mcache *caches;
static pthread_key_t key;
static bool key_made;

static unsigned int nr_caches;
static unsigned int own_pages_least;	/* of each, where there are several */
static uint64_t swept_pressure;		/* the generation that began a sweep cycle last */
static bool orphans;			/* there may be spans of dead caches */

static ghu_table struct ghu_taken taken_gone;	/* by threads that have no cache, or none any more */
static uint64_t cache_sys;

/* ---- counting ---- */

bool ghu_mcache_is_own(const struct ghu_mcache *mc)
{
	return mc != &no_cache && mc != &gone_cache;
}

static bool has_cache(void)
{
	return ghu_mcache_is_own(ghu_mcache);
}

void ghu_mcache_count_large(unsigned int nr, size_t npages)
{
	uint64_t bytes = (uint64_t)npages << GHU_PAGE_SHIFT;

	if (ghu_likely(has_cache())) {
		ghu_add_own(&ghu_mcache->large, nr);
		ghu_add_own(&ghu_mcache->large_bytes, bytes);
	} else {
		__atomic_fetch_add(&taken_gone.objects[0], nr, __ATOMIC_RELAXED);
		__atomic_fetch_add(&taken_gone.large_bytes, bytes, __ATOMIC_RELAXED);
	}
}

static void add_taken(uint64_t *sum, uint64_t k)
{
	if (k)
		__atomic_fetch_add(sum, k, __ATOMIC_RELAXED);
}

static void add_cache(struct ghu_taken *sum, const struct ghu_mcache *mc)
{
	for (size_t i = 1; i < GHU_NUM_CLASSES; i++) {
		uint64_t n = __atomic_load_n(&mc->classes[i].opened, __ATOMIC_RELAXED);

		add_taken(&sum->objects[i], (n >> GHU_OPENED_LAST_BITS) - (n & GHU_OPENED_LAST_MASK));
	}
	add_taken(&sum->objects[0], __atomic_load_n(&mc->large, __ATOMIC_RELAXED));
	add_taken(&sum->large_bytes, __atomic_load_n(&mc->large_bytes, __ATOMIC_RELAXED));
}

/* Under the lock no cache is given up, so that none is counted twice. */
void ghu_mcache_sum_taken(struct ghu_taken *sum)
{
	ghu_lock(&caches_lock);
	for (size_t i = 0; i < GHU_NUM_CLASSES; i++)
		sum->objects[i] = __atomic_load_n(&taken_gone.objects[i], __ATOMIC_RELAXED);
	sum->large_bytes = __atomic_load_n(&taken_gone.large_bytes, __ATOMIC_RELAXED);
	add_cache(sum, &shared);
	for (struct ghu_mcache *mc = caches; mc; mc = mc->next)
		add_cache(sum, mc);
	ghu_unlock(&caches_lock);
}

void ghu_mcache_bytes(size_t *inuse, size_t *sys)
{
	ghu_lock(&caches_lock);
	*inuse = cachealloc.inuse_bytes;
	*sys = __atomic_load_n(&cache_sys, __ATOMIC_RELAXED) +
	       __atomic_load_n(&ghu_recent_sys, __ATOMIC_RELAXED);
	ghu_unlock(&caches_lock);
}

/* ---- windows and the ring ---- */

/* Makes a window of a span, in which those objects are free, the one to allocate from. */
static void set_window(struct ghu_mcache *mc, size_t sizeclass, struct ghu_mspan *s,
		       unsigned int w, uint64_t free)
{
	struct ghu_window *win = &mc->classes[sizeclass].window;

	ghu_mcache_set_ring(mc, sizeclass, s);
	s->window = (uint8_t)w;
	win->free = free;
	win->states = ghu_states(s) + 64 * w;
	win->elemsize = s->elemsize;
	win->base = s->base + (uintptr_t)64 * w * s->elemsize;
}

/* nr of them, at most 64. */
static uint64_t low_bits(unsigned int nr)
{
	return nr < 64 ? ((uint64_t)1 << nr) - 1 : ~(uint64_t)0;
}

/* To look for so few is what the stacks are there to avoid. */
static bool is_sparse(const struct ghu_mspan *s, uint64_t free)
{
	unsigned int nr = s->nelems < 64 ? s->nelems : 64;

	return ghu_count_bits(free) * SPARSE <= nr && s->nelems > 1;
}

bool ghu_mcache_are_many(void)
{
	return __atomic_load_n(&nr_caches, __ATOMIC_RELAXED) >= MANY_THREADS;
}

/*
 * A thread that has stacks of one class should have them of all: the processor cannot foresee of
 * which class the next object is that is freed, but that there is a stack.  Of many
 * threads stacks would be much memory, and those that soon end do not gain by them.
 */
static bool wants_stacks(struct ghu_mcache *mc, const struct ghu_mspan *s, uint64_t free)
{
	if (ghu_unlikely(ghu_mcache_are_many()))
		return is_sparse(s, free) && ++mc->nr_sparse > SPARSE_MANY;
	return ghu_recent_used || is_sparse(s, free);
}

static void *open_window(struct ghu_mcache *mc, size_t sizeclass, struct ghu_mspan *s,
			 unsigned int w, uint64_t free)
{
	ghu_mcache_count_opened(mc, sizeclass, free);
	set_window(mc, sizeclass, s, w, free);
	if (mc == ghu_mcache && wants_stacks(mc, s, free))
		ghu_recent_begin(mc, sizeclass);
	mc->classes[sizeclass].window.zero = w >= s->fresh && !s->needzero;
	if (w >= s->fresh)
		s->fresh = (uint8_t)(w + 1);
	return ghu_window_take(&mc->classes[sizeclass].window);
}

/* Opens the next window of a span that has a free object, around to the one it stands on. */
static void *sweep_owned(struct ghu_mcache *mc, size_t sizeclass, struct ghu_mspan *s)
{
	unsigned int nwindows = ghu_classes[sizeclass].nwindows, w = s->window;

	for (unsigned int i = 0; i < nwindows; i++) {
		uint64_t free;

		w = w + 1 < nwindows ? w + 1 : 0;
		free = ghu_match64(ghu_states(s) + 64 * w, GHU_OBJ_FREE);
		if (free)
			return open_window(mc, sizeclass, s, w, free);
	}
	return NULL;
}

/* When all that it has is in use. */
static void *extend_owned(struct ghu_mcache *mc, size_t sizeclass, struct ghu_mspan *s)
{
	unsigned int had = s->nelems;

	if (!ghu_mspan_extend(s))
		return NULL;
	/* Of its only window these were never handed out. */
	s->fresh = 0;
	return open_window(mc, sizeclass, s, 0, low_bits(s->nelems) & ~low_bits(had));
}

/* The span left the ring. */
static void let_span_go(struct ghu_mcache *mc, struct ghu_mspan *s)
{
	mc->owned_pages -= s->npages;
	if (!ghu_spare_keep(mc, s))
		ghu_mcentral_uncache_span(s);
}

/* Takes the oldest span, which is not the only one, out of the ring and lets go of it. */
static void let_go_oldest(struct ghu_mcache *mc, size_t sizeclass)
{
	struct ghu_mspan *s = ghu_mcache_ring(mc, sizeclass), *oldest = s->next;

	s->next = oldest->next;
	let_span_go(mc, oldest);
}

/* What each thread may own. */
static size_t own_pages_limit(void)
{
	size_t nr = __atomic_load_n(&nr_caches, __ATOMIC_RELAXED);
	size_t total = __atomic_load_n(&ghu_spans.pages_inuse, __ATOMIC_RELAXED) / OWN_PART, least;

	if (total < OWN_PAGES_SMALL)
		total = OWN_PAGES_SMALL;
	if (nr <= 1 || total >= nr * OWN_PAGES_MAX)
		return ghu_options.bgscavenge ? OWN_PAGES_LESS : OWN_PAGES_MAX;
	least = __atomic_load_n(&own_pages_least, __ATOMIC_RELAXED);
	return total <= nr * least ? least : total / nr;
}

/* Long-lived threads so find out what they need. */
static size_t may_own(const struct ghu_mcache *mc)
{
	return own_pages_limit() + mc->missed / MISSES_PER_PAGE;
}

static void release_class(struct ghu_mcache *mc, size_t sizeclass)
{
	struct ghu_mspan *first = ghu_mcache_ring(mc, sizeclass), *s = first, *next;

	if (mc->classes[sizeclass].freed)
		ghu_recent_drop(mc, sizeclass);
	ghu_mcache_count_closed(mc, sizeclass);
	mc->classes[sizeclass].span = NULL;
	ghu_set_bit(mc->have_spans, sizeclass, false);
	mc->nr_have_spans--;
	mc->classes[sizeclass].window = (struct ghu_window){ 0 };
	while (s) {
		next = s->next;
		let_span_go(mc, s);
		s = next == first ? NULL : next;
	}
}

/* Whether nothing was allocated of the class since somebody asked last, as far as one can see. */
static bool is_unused(struct ghu_mcache_class *c)
{
	uint64_t look = c->window.free ^ c->opened;
	uint8_t seen = c->window.seen;

	look ^= look >> 32;
	look ^= look >> 16;
	c->window.seen = (uint8_t)(look ^ look >> 8);
	return c->window.seen == seen;
}

/* A class gives up a span if it has two; also its last, if it is unused. */
static bool let_go_of(struct ghu_mcache *mc, size_t sizeclass)
{
	const struct ghu_mspan *s = ghu_mcache_ring(mc, sizeclass);

	if (s->next != s) {
		let_go_oldest(mc, sizeclass);
		return true;
	}
	if (!is_unused(&mc->classes[sizeclass]))
		return false;
	release_class(mc, sizeclass);
	mc->classes[sizeclass].window.given_up = true;
	return true;
}

/* The first class from i on, around, that has a span; one must have. */
static unsigned int next_with_span(const struct ghu_mcache *mc, unsigned int i)
{
	return ghu_next_bit(mc->have_spans, GHU_BIT_WORDS(GHU_NUM_CLASSES), i);
}

/* Another class gives up a span, a different one each time. */
static bool let_go_of_another(struct ghu_mcache *mc, size_t sizeclass)
{
	unsigned int nr = mc->nr_have_spans;

	for (unsigned int i = 0; i < nr; i += LET_GO_PART) {
		mc->victim = next_with_span(mc, (mc->victim + 1) % GHU_NUM_CLASSES);
		if (mc->victim != sizeclass && let_go_of(mc, mc->victim))
			return true;
	}
	return false;
}

/* Whether others made room for one more span of the class, if there was none. */
static bool others_let_go(struct ghu_mcache *mc, size_t sizeclass)
{
	size_t limit = may_own(mc);

	while (mc->owned_pages >= limit)
		if (!let_go_of_another(mc, sizeclass))
			return false;
	return true;
}

/*
 * A heap that shrinks is left with caches of the size it had.  Its frees come by here
 * when they empty spans, and the last ones may be followed by sleep.
 */
void ghu_mcache_trim(void)
{
	struct ghu_mcache *mc = ghu_mcache;
	size_t limit = may_own(mc);

	if (mc->owned_pages > limit + limit / 4 && let_go_of_another(mc, 0))
		let_go_of_another(mc, 0);
}

/*
 * Tries the oldest span of the ring.  If it is full, it is let go once the thread owns
 * too much; but not if other classes can do with less, so that spans are where they are
 * needed.
 */
static void *next_in_ring(struct ghu_mcache *mc, size_t sizeclass)
{
	struct ghu_mspan *s = ghu_mcache_ring(mc, sizeclass)->next;
	void *p = sweep_owned(mc, sizeclass, s);

	if (p)
		return p;
	if (!others_let_go(mc, sizeclass))
		let_go_oldest(mc, sizeclass);
	else
		set_window(mc, sizeclass, s, s->window, 0);
	return NULL;
}

/* Tells the sweeper now and then, for all threads write the same word. */
static void count_taken(struct ghu_mcache *mc, size_t npages)
{
	mc->taken_pages += npages;
	if (mc->taken_pages < TELL_PAGES)
		return;
	ghu_sweep_allocated(mc->taken_pages);
	mc->taken_pages = 0;
}

/* A span from mcentral, which has a free object, becomes the one to allocate from. */
static void *insert_in_ring(struct ghu_mcache *mc, size_t sizeclass, struct ghu_mspan *s)
{
	struct ghu_mspan *current = ghu_mcache_ring(mc, sizeclass);

	s->next = current ? current->next : s;
	if (current) {
		current->next = s;
	} else {
		ghu_set_bit(mc->have_spans, sizeclass, true);
		mc->nr_have_spans++;
	}
	mc->owned_pages += s->npages;
	count_taken(mc, s->npages);
	if (ghu_unlikely(mc->classes[sizeclass].window.free))
		ghu_mcache_count_closed(mc, sizeclass);
	return sweep_owned(mc, sizeclass, s);
}

static void release_all(struct ghu_mcache *mc)
{
	ghu_large_flush(mc);
	while (mc->nr_have_spans)
		release_class(mc, next_with_span(mc, 0));
	ghu_spare_release(mc);
	if (mc == ghu_mcache)
		ghu_recent_used = false;
}

/*
 * Before the class gets a span.  Of many threads each may own little: not even a span of
 * each class that it once used.
 */
static ghu_noinline void make_room(struct ghu_mcache *mc, size_t sizeclass)
{
	struct ghu_mcache_class *c = &mc->classes[sizeclass];
	size_t limit;

	if (c->window.given_up)
		mc->missed++;
	c->window.given_up = false;
	limit = may_own(mc);
	for (unsigned int i = 0; i < MAKE_ROOM && mc->owned_pages >= limit; i++)
		let_go_of_another(mc, sizeclass);
}

/* ---- what fork() left behind ---- */

/* Spans of dead caches go to mcentral; the empty ones are returned, linked. */
static struct ghu_mspan *adopt_spans(void)
{
	struct ghu_mspan_iter it = { 0 };
	struct ghu_mspan *s, *dead = NULL;

	ghu_lock(&ghu_spans.lock);
	while ((s = ghu_mspan_iterate(&it))) {
		if (ghu_mspan_where(s) != GHU_SPAN_IS_OWNED || !s->owner->dead)
			continue;
		s = ghu_mcentral_take_back(s);
		if (s) {
			s->next = dead;
			dead = s;
		}
	}
	ghu_unlock(&ghu_spans.lock);
	return dead;
}

void ghu_mcache_drop_kept(struct ghu_mcache *mc)
{
	ghu_large_flush(mc);
	for (unsigned int i = 1; i < GHU_NUM_CLASSES; i++)
		ghu_recent_drop(mc, i);
}

static void count_cache(int change)
{
	unsigned int nr = nr_caches + (unsigned int)change, least = nr ? OWN_PAGES_MANY / nr : 0;

	if (least > OWN_PAGES_MIN)
		least = OWN_PAGES_MIN;
	if (least < OWN_PAGES_FEW)
		least = OWN_PAGES_FEW;
	__atomic_store_n(&nr_caches, nr, __ATOMIC_RELAXED);
	__atomic_store_n(&own_pages_least, least, __ATOMIC_RELAXED);
}

static void unlink_cache(struct ghu_mcache *mc)
{
	if (mc->next)
		mc->next->prev = mc->prev;
	if (mc->prev)
		mc->prev->next = mc->next;
	else
		caches = mc->next;
	add_cache(&taken_gone, mc);
	ghu_recent_free(mc);
	ghu_fixalloc_free(&cachealloc, mc);
	count_cache(-1);
}

static ghu_noinline void adopt_orphans(void)
{
	struct ghu_mspan *dead = NULL, *next_dead;
	struct ghu_mcache *mc, *next;

	ghu_lock(&caches_lock);
	if (orphans) {
		for (mc = caches; mc; mc = mc->next)
			if (mc->dead)
				ghu_mcache_drop_kept(mc);
		dead = adopt_spans();
		for (mc = caches; mc; mc = next) {
			next = mc->next;
			if (mc->dead)
				unlink_cache(mc);
		}
		__atomic_store_n(&orphans, false, __ATOMIC_RELAXED);
	}
	ghu_unlock(&caches_lock);
	for (; dead; dead = next_dead) {
		next_dead = dead->next;
		ghu_mspan_destroy(dead);
	}
}

/* ---- refill ---- */

/* Under memory pressure, what the thread keeps goes back, once for each time. */
static void heed_pressure(struct ghu_mcache *mc)
{
	uint64_t now = ghu_backend_pressure();

	if (ghu_likely(now == mc->pressure))
		return;
	mc->pressure = now;
	release_all(mc);
	if (__atomic_exchange_n(&swept_pressure, now, __ATOMIC_RELAXED) != now)
		ghu_sweep_start();
}

/* Getting the first span of all may call malloc(), and so come here a second time. */
static void *refill_from_central(struct ghu_mcache *mc, size_t sizeclass)
{
	struct ghu_mspan *s;

	if (ghu_unlikely(__atomic_load_n(&orphans, __ATOMIC_RELAXED)))
		adopt_orphans();
	if (ghu_unlikely(__atomic_load_n(&ghu_bgscavenge_lost, __ATOMIC_RELAXED)))
		ghu_bgscavenge_again();
	heed_pressure(mc);
	if (ghu_unlikely(ghu_mcache_are_many()))
		make_room(mc, sizeclass);
	s = ghu_mcentral_cache_span(sizeclass, mc);
	if (!s)
		s = ghu_spare_take(mc, (unsigned int)sizeclass);
	if (!s)
		s = ghu_mcentral_grow(sizeclass, mc);
	if (s && s->fresh && mc == ghu_mcache && !ghu_mcache_are_many())
		ghu_recent_begin(mc, sizeclass);
	return s ? insert_in_ring(mc, sizeclass, s) : NULL;
}

static inline __attribute__((always_inline)) void *refill(struct ghu_mcache *mc, size_t sizeclass)
{
	struct ghu_mspan *s = ghu_mcache_ring(mc, sizeclass);
	void *p = NULL;

	if (s)
		p = sweep_owned(mc, sizeclass, s);
	if (!p && s)
		p = extend_owned(mc, sizeclass, s);
	if (!p && s && s->next != s)
		p = next_in_ring(mc, sizeclass);
	if (!p)
		p = refill_from_central(mc, sizeclass);
	if (ghu_unlikely(!p) && ghu_recent_any(mc->classes[sizeclass].freed)) {
		ghu_recent_turn(&mc->classes[sizeclass]);
		p = ghu_recent_pop(&mc->classes[sizeclass]);
	}
	return p;
}

__attribute__((noinline)) void *ghu_mcache_refill_plain(struct ghu_mcache *mc, size_t sizeclass)
{
	return refill(mc, sizeclass);
}

/* ---- caches of threads ---- */

static void thread_exit(void *arg)
{
	struct ghu_mcache *mc = arg;

	ghu_mcache = (struct ghu_mcache *)&gone_cache;
	ghu_leftover_thread_ends();
	release_all(mc);
	ghu_lock(&caches_lock);
	unlink_cache(mc);
	ghu_unlock(&caches_lock);
}

static struct ghu_mcache *make_cache(void)
{
	struct ghu_mcache *mc = NULL;

	ghu_lock(&caches_lock);
	if (!key_made) {
		if (pthread_key_create(&key, thread_exit))
			goto unlock;
		ghu_fixalloc_init(&cachealloc, sizeof(*mc), NULL, NULL, &cache_sys);
		key_made = true;
	}
	mc = ghu_fixalloc_alloc(&cachealloc);
	if (!mc)
		goto unlock;
	mc->next = caches;
	if (caches)
		caches->prev = mc;
	caches = mc;
	count_cache(1);
unlock:
	ghu_unlock(&caches_lock);
	return mc;
}

/* pthread_setspecific() may call calloc(), for which the cache is in place by then. */
static bool attach_thread(void)
{
	struct ghu_mcache *mc;

	if (ghu_mcache == &gone_cache || ghu_checked)
		return false;
	mc = make_cache();
	if (!mc)
		return false;
	mc->pressure = ghu_backend_pressure();
	ghu_mcache = mc;
	pthread_setspecific(key, mc);
	return true;
}

/* The library must be initialised: that calls malloc(). */
static void *alloc_shared(size_t sizeclass, uint8_t *due)
{
	struct ghu_window *win = &shared.classes[sizeclass].window;
	void *p;

	ghu_lock(&shared_lock);
	p = win->free ? ghu_window_take(win) : ghu_mcache_refill_any(&shared, sizeclass, due);
	ghu_unlock(&shared_lock);
	return p;
}

ghu_noinline bool ghu_mcache_attach(void)
{
	ghu_backend_pressure();
	return attach_thread();
}

static ghu_noinline void *refill_without_cache(size_t sizeclass, uint8_t *due)
{
	return ghu_mcache_attach() ? ghu_mcache_refill_any(ghu_mcache, sizeclass, due)
				   : alloc_shared(sizeclass, due);
}

/* A guarded object instead of p, if there can be one. */
static void *guard(void *p, size_t size, const uintptr_t *frame)
{
	void *guarded = ghu_guarded_alloc(size, frame);

	if (!guarded)
		return p;
	free(p);
	return guarded;
}

/* Without a cache, or allocations are sampled, or were. */
static ghu_on_stack ghu_noinline void *refill_slow(size_t sizeclass, size_t size,
						   const uintptr_t *frame)
{
	uint8_t due = 0;
	void *p;

	if (has_cache())
		p = ghu_mcache_refill_any(ghu_mcache, sizeclass, &due);
	else
		p = refill_without_cache(sizeclass, &due);
	if (due & GHU_SAMPLE_PROFILE)
		ghu_profile_alloc(p, ghu_classes[sizeclass].size, frame);
	else if (due & GHU_SAMPLE_GUARDED)
		p = guard(p, size, frame);
	return p;
}

/* A thread without a cache owns no spans. */
ghu_on_stack void *ghu_mcache_refill(size_t sizeclass, size_t size, const uintptr_t *frame)
{
	struct ghu_mcache *mc = ghu_mcache;
	bool has_span = mc->classes[sizeclass].span;
	void *p = NULL;

	if (ghu_unlikely(!has_span) && !has_cache())
		return refill_slow(sizeclass, size, frame);
	if (ghu_unlikely(ghu_profile_rate() | mc->rate | ghu_options.sample))
		return refill_slow(sizeclass, size, frame);
	/* Without a size it must be one of the class. */
	if (ghu_unlikely(!has_span) && size)
		p = ghu_few_alloc(sizeclass);
	return p ? p : refill(mc, sizeclass);
}

void ghu_mcache_flush(void)
{
	struct ghu_mcache *mc = ghu_mcache;

	if (has_cache())
		release_all(mc);
	ghu_lock(&shared_lock);
	release_all(&shared);
	ghu_unlock(&shared_lock);
}

/* ---- fork ---- */

void ghu_front_fork_prepare(void)
{
	ghu_lock(&ghu_guarded_lock);
	ghu_lock(&shared_lock);
	ghu_lock(&caches_lock);
	ghu_lock(&ghu_recent_lock);
	ghu_lock(&ghu_spans.lock);
	ghu_mcentral_lock_all();
	ghu_lock(&ghu_pagemap_lock);
	ghu_lock(&ghu_zerosize_lock);
	ghu_lock(&ghu_checked_lock);
	ghu_lock(&ghu_profile_lock);
}

void ghu_front_fork_parent(void)
{
	ghu_unlock(&ghu_profile_lock);
	ghu_unlock(&ghu_checked_lock);
	ghu_unlock(&ghu_zerosize_lock);
	ghu_unlock(&ghu_pagemap_lock);
	ghu_mcentral_unlock_all();
	ghu_unlock(&ghu_spans.lock);
	ghu_unlock(&ghu_recent_lock);
	ghu_unlock(&caches_lock);
	ghu_unlock(&shared_lock);
	ghu_unlock(&ghu_guarded_lock);
}

void ghu_front_fork_child(void)
{
	for (struct ghu_mcache *mc = caches; mc; mc = mc->next) {
		if (mc == ghu_mcache)
			continue;
		mc->dead = true;
		orphans = true;
	}
	ghu_front_fork_parent();
}
