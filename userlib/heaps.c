// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The list of heaps, each with an arena of its own.  There is one, unless it is
 * full, or addresses are scarce, or the process was forked.
 *
 * A heap is found by address.  The list only grows, except that an entry may be
 * replaced by another heap over the same arena: in a forked child, and when the
 * device cannot be reached any more (see adopt()).  A heap once in the list is
 * never freed, so readers need no lock.
 *
 * A forked child of a process whose heap is the kernel's has the arena, copied on
 * write, but not the heap: the kernel answers it -ESTALE.  So for new spans the
 * child makes a heap of its own, when it first needs one; and spans that it
 * inherited and frees go to a page heap of the library over the old arena, made
 * when the first of them is freed.  That a process is such a child is told by the
 * atfork handler; by a word that is zero in any child of fork or clone
 * (MADV_WIPEONFORK), read on entry; and by -ESTALE.  vfork and threads share the
 * memory, the word included, and nothing happens there.
 *
 * Errors that heaps return are listed in heap.h.  What the system refuses ends in
 * -ENOMEM; a heap that is full makes a further one.
 *
 * Lock order: grow_lock, adopt_lock, child_lock, a heap's own.  None of ours is
 * held around a call of a heap; grow_lock is while a heap is made, adopt_lock while
 * one is replaced.
 */
#include <errno.h>
#include <linux/sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include "heap.h"
#include "init.h"
#include "options.h"
#include "spancache.h"

/* Enough for 256 GiB in the smallest arenas. */
#define MAX_HEAPS	4096u

static ghu_placed_table("heaps") struct ghu_heap *heaps[MAX_HEAPS];
static unsigned int nr_heaps;		/* published after the entry */
static unsigned int last_heap;		/* where a span was found last */
static bool newest_is_device;		/* the heap made last, here or in a parent */
static struct ghu_lock grow_lock;
static struct ghu_lock adopt_lock;

static uint64_t own_pressure;		/* what rises without the kernel */
static uint64_t told_pressure;		/* the last answer of ghu_heaps_pressure() */
static const uint64_t no_pressure;	/* of a heap that the kernel does not manage */

/* Not zero until a child of fork() looks at it; then it is zero. */
static uint32_t no_children = 1;
static uint32_t *fork_word = &no_children;
static struct ghu_lock child_lock;

static unsigned int heap_count(void)
{
	return __atomic_load_n(&nr_heaps, __ATOMIC_ACQUIRE);
}

static struct ghu_heap *heap_at(unsigned int i)
{
	return __atomic_load_n(&heaps[i], __ATOMIC_ACQUIRE);
}

static bool heap_index(uintptr_t addr, unsigned int *index)
{
	for (unsigned int i = 0, n = heap_count(); i < n; i++) {
		if (ghu_arena_has(&heap_at(i)->arena, addr)) {
			*index = i;
			return true;
		}
	}
	return false;
}

/* ---- forked children ---- */

static ghu_noinline void make_fork_word(void)
{
	size_t bytes = ghu_phys_page_size();
	uint32_t *word = ghu_sys_alloc(bytes);

	if (!word)
		return;
	*word = 1;
	if (ghu_madvise((uintptr_t)word, bytes, MADV_WIPEONFORK))
		ghu_munmap((uintptr_t)word, bytes);
	else
		fork_word = word;
}

/* What a heap answers that was the parent's: nothing, until it is adopted. */
static int inherited_alloc(struct ghu_heap *h, const struct ghu_request *req,
			   struct ghu_run *runs, unsigned int nr)
{
	(void)h, (void)req, (void)runs, (void)nr;
	return -ENOSPC;
}

static int inherited_free(struct ghu_heap *h, const struct ghu_run *runs, unsigned int nr,
			  unsigned int *done)
{
	(void)h, (void)runs, (void)nr;
	*done = 0;
	return -ENOLINK;
}

static int inherited_resize(struct ghu_heap *h, uintptr_t addr, size_t old_npages,
			    size_t npages, bool *needzero)
{
	(void)h, (void)addr, (void)old_npages, (void)npages, (void)needzero;
	return -ENOLINK;
}

static size_t inherited_scavenge(struct ghu_heap *h, size_t max_bytes)
{
	(void)h, (void)max_bytes;
	return 0;
}

static int inherited_stats(struct ghu_heap *h, struct ghu_heap_stats *st)
{
	(void)h, (void)st;
	return -ENOLINK;
}

static const struct ghu_heap_ops inherited_ops = {
	.alloc = inherited_alloc,
	.free = inherited_free,
	.resize = inherited_resize,
	.scavenge = inherited_scavenge,
	.stats = inherited_stats,
};

static bool is_inherited(const struct ghu_heap *h)
{
	return __atomic_load_n(&h->ops, __ATOMIC_ACQUIRE) == &inherited_ops;
}

/*
 * Everything that was the kernel's is the parent's.  The cache is forgotten, with
 * its locks, and what was fetched ahead: the runs in them lie between the spans in use
 * of an arena that will be adopted, and there they are found.
 */
static void disown_heaps(void)
{
	bool had_kernel = false;

	for (unsigned int i = 0, n = heap_count(); i < n; i++) {
		struct ghu_heap *h = heap_at(i);

		if (!h->kernel)
			continue;
		h->kernel = false;
		h->tail_free = true;
		h->pressure = &no_pressure;
		__atomic_store_n(&h->ops, &inherited_ops, __ATOMIC_RELEASE);
		had_kernel = true;
	}
	if (had_kernel) {
		ghu_spancache_forget();
		ghu_ahead_forget();
	}
}

/* The first thing that a child does here.  Its other threads wait until it is done. */
static ghu_noinline void child_setup(void)
{
	ghu_lock(&child_lock);
	if (!__atomic_load_n(fork_word, __ATOMIC_RELAXED)) {
		disown_heaps();
		own_pressure = told_pressure + 1;
		__atomic_store_n(fork_word, 1, __ATOMIC_RELEASE);
	}
	ghu_unlock(&child_lock);
}

/* The kernel says so where the word could not: treat it as wiped. */
static ghu_noinline void child_setup_stale(void)
{
	__atomic_store_n(fork_word, 0, __ATOMIC_RELAXED);
	child_setup();
}

/* ---- the list of heaps ---- */

static void add_heap(struct ghu_heap *h)
{
	unsigned int n = heap_count();

	if (h->kernel && fork_word == &no_children)
		make_fork_word();
	__atomic_store_n(&newest_is_device, h->kernel, __ATOMIC_RELAXED);
	__atomic_store_n(&heaps[n], h, __ATOMIC_RELAXED);
	__atomic_store_n(&nr_heaps, n + 1, __ATOMIC_RELEASE);
}

/* Makes an arena of its own, with a heap, of what is unused of the heap's.  NULL: it cannot. */
static struct ghu_heap *split_off_tail(struct ghu_heap *h, size_t min_bytes)
{
	uintptr_t opened = h->arena.opened;
	struct ghu_arena tail = { .start = opened, .opened = opened };
	struct ghu_heap *made;

	tail.bytes = h->arena.start + h->arena.bytes - opened;
	if (!h->tail_free || !tail.bytes || tail.bytes < min_bytes)
		return NULL;
	made = ghu_embedded_create_over(&tail);
	if (made) {
		h->tail_free = false;
		__atomic_store_n(&h->arena.bytes, opened - h->arena.start, __ATOMIC_RELAXED);
	}
	return made;
}

/*
 * A heap over the unused addresses of an arena that was the parent's: for a child
 * whose limit on addresses leaves it no others.
 */
static struct ghu_heap *heap_on_tail(size_t min_bytes)
{
	struct ghu_heap *made = NULL;

	ghu_lock(&adopt_lock);
	for (unsigned int i = 0, n = heap_count(); i < n && !made; i++)
		made = split_off_tail(heap_at(i), min_bytes);
	ghu_unlock(&adopt_lock);
	return made;
}

/*
 * A heap of the device, else of the library's own.  Who forces the device wants
 * to be told if it is missing at the start; later on, an embedded heap is better
 * than none.
 */
static struct ghu_heap *new_heap(size_t min_bytes, const char **why)
{
	struct ghu_heap *h = NULL;

	if (ghu_options.backend != GHU_BACKEND_EMBEDDED)
		h = ghu_device_create(min_bytes, why);
	if (!h && (ghu_options.backend != GHU_BACKEND_DEVICE || heap_count()))
		h = ghu_embedded_create(min_bytes);
	return h ? h : heap_on_tail(min_bytes);
}

void ghu_backend_init(void)
{
	const char *why = NULL;
	struct ghu_heap *h = new_heap(0, &why);

	if (!h && ghu_options.backend == GHU_BACKEND_DEVICE)
		ghu_fatal(why);
	if (!h)
		ghu_fatal("runtime: cannot reserve arena virtual address space");
	add_heap(h);
}

/* Another heap, that can hold the request, unless somebody made one after there were seen. */
static int grow(const struct ghu_request *req, unsigned int seen)
{
	size_t bytes = req->npages << GHU_PAGE_SHIFT;
	struct ghu_heap *h;
	const char *why;
	int ret = 0;

	if (req->align > GHU_ARENA_ALIGN)
		bytes += req->align;
	ghu_lock(&grow_lock);
	if (heap_count() == seen) {
		h = seen < MAX_HEAPS ? new_heap(bytes, &why) : NULL;
		if (h)
			add_heap(h);
		else
			ret = -ENOMEM;
	}
	ghu_unlock(&grow_lock);
	return ret;
}

/*
 * Whether nobody else runs on this memory.  unshare() of what is not shared does
 * nothing, and of what is shared it fails; containers may forbid to ask.
 */
static bool single_threaded(void)
{
	if (ghu_is_alone())
		return true;
	return !ghu_syscall(SYS_unshare, CLONE_VM, 0, 0, 0, 0, 0);
}

/*
 * A page heap of the library's own in the place of a heap that cannot be reached.
 * In a child the parent's cache was forgotten, and its threads do not exist.
 */
static struct ghu_heap *adopted(struct ghu_heap *old, uintptr_t addr, size_t npages)
{
	enum ghu_gaps gaps = GHU_GAPS_KEEP;
	struct ghu_heap *h;

	if (is_inherited(old))
		gaps = ghu_device_is_settled(old) && single_threaded() ? GHU_GAPS_REUSE
								       : GHU_GAPS_DROP;
	h = ghu_embedded_adopt(&old->arena, addr, npages, gaps);
	if (h)
		h->tail_free = old->tail_free;
	return h;
}

/*
 * Adopts a heap that cannot be reached: the parent's in a child, or one whose
 * device is gone.  [addr, addr + npages) is in use, or about to be freed, though
 * the page map may not say so.
 */
static int adopt(unsigned int i, uintptr_t addr, size_t npages)
{
	struct ghu_heap *old, *h;
	int ret = 0;

	ghu_lock(&adopt_lock);
	old = heap_at(i);
	if (old->kernel || is_inherited(old)) {
		h = adopted(old, addr, npages);
		if (h)
			__atomic_store_n(&heaps[i], h, __ATOMIC_RELEASE);
		else
			ret = -ENOMEM;
	}
	ghu_unlock(&adopt_lock);
	return ret;
}

/* For what may be free in them.  True if there were any. */
static bool adopt_inherited(void)
{
	bool any = false;

	for (unsigned int i = 0, n = heap_count(); i < n; i++)
		any |= is_inherited(heap_at(i)) && !adopt(i, 0, 0);
	return any;
}

/* What to do when a heap answered that it is the wrong one.  0: try again. */
static int recover(unsigned int i, int err, uintptr_t addr, size_t npages)
{
	if (err == -ESTALE) {
		child_setup_stale();
		return 0;
	}
	return err == -ENOLINK ? adopt(i, addr, npages) : err;
}

/* ---- runs to and from heaps ---- */

/* Runs of one heap.  A run that cannot be given back keeps its addresses, not its pages. */
static void free_to_heap(unsigned int i, const struct ghu_run *runs, unsigned int nr)
{
	while (nr) {
		struct ghu_heap *h = heap_at(i);
		unsigned int done = 0;
		int err = h->ops->free(h, runs, nr, &done);

		runs += done;
		nr -= done;
		if (!nr || !recover(i, err, runs->addr, runs->npages))
			continue;
		if (err == -EINVAL)
			ghu_fatal_addr("MHeap_FreeSpanLocked - invalid free", runs->addr);
		ghu_madvise(runs->addr, runs->npages << GHU_PAGE_SHIFT, MADV_DONTNEED);
		runs++;
		nr--;
	}
}

void ghu_heaps_free(const struct ghu_run *runs, unsigned int nr)
{
	while (nr) {
		unsigned int i, n = 1;

		if (!heap_index(runs->addr, &i))
			ghu_fatal_addr("MHeap_FreeSpanLocked - invalid free", runs->addr);
		while (n < nr && ghu_arena_has(&heap_at(i)->arena, runs[n].addr))
			n++;
		free_to_heap(i, runs, n);
		runs += n;
		nr -= n;
	}
}

/* Makes runs usable; those that cannot be, go back.  How many are, or -ENOMEM. */
static int open_runs(unsigned int i, const struct ghu_run *runs, unsigned int nr)
{
	struct ghu_arena *a = &heap_at(i)->arena;
	unsigned int n = 0;

	while (n < nr && !ghu_arena_open(a, runs[n].addr + (runs[n].npages << GHU_PAGE_SHIFT)))
		n++;
	if (n < nr)
		free_to_heap(i, runs + n, nr - n);
	return n ? (int)n : -ENOMEM;
}

/* -ENOSPC: full. */
static int alloc_from_heap(unsigned int i, const struct ghu_request *req,
			   struct ghu_run *runs, unsigned int nr)
{
	struct ghu_heap *h;
	int ret;

	do {
		h = heap_at(i);
		ret = h->ops->alloc(h, req, runs, nr);
	} while (ret < 0 && ret != -ENOSPC && ret != -ENOMEM && !recover(i, ret, 0, 0));
	if (ret > 0)
		return open_runs(i, runs, (unsigned int)ret);
	return ret == -ENOLINK ? -ENOSPC : ret;
}

/* The heap that had room the last time first, then the others.  -ENOSPC: all are full. */
static int alloc_from_heaps(const struct ghu_request *req, struct ghu_run *runs,
			    unsigned int nr, unsigned int n)
{
	unsigned int first = __atomic_load_n(&last_heap, __ATOMIC_RELAXED);
	int err = -ENOSPC;

	for (unsigned int k = 0; k < n; k++) {
		unsigned int i = (first + k) % n;
		int ret = alloc_from_heap(i, req, runs, nr);

		if (ret > 0) {
			__atomic_store_n(&last_heap, i, __ATOMIC_RELAXED);
			return ret;
		}
		if (ret != -ENOSPC)
			err = ret;
	}
	return err;
}

/* Makes heaps if all are full. */
static int alloc_or_grow(const struct ghu_request *req, struct ghu_run *runs, unsigned int nr)
{
	int ret = -ENOSPC;

	for (int tries = 0; tries < 2 && ret == -ENOSPC; tries++) {
		unsigned int n = heap_count();

		ret = alloc_from_heaps(req, runs, nr, n);
		if (ret != -ENOSPC)
			return ret;
		ret = grow(req, n);
		if (!ret)
			ret = alloc_from_heaps(req, runs, nr, heap_count());
	}
	return ret == -ENOSPC ? -ENOMEM : ret;
}

int ghu_heaps_alloc(const struct ghu_request *req, struct ghu_run *runs, unsigned int nr)
{
	int ret = alloc_or_grow(req, runs, nr);

	if (ret < 0 && adopt_inherited())
		ret = alloc_or_grow(req, runs, nr);
	return ret;
}

/*
 * Opens what the run may grow to before it does: once it has grown, to shrink it
 * again could take memory that there is none of.
 */
static int resize_in_heap(struct ghu_heap *h, uintptr_t addr, size_t old_npages,
			  size_t npages, bool *needzero)
{
	struct ghu_arena *a = &h->arena;

	if (npages > (a->start + __atomic_load_n(&a->bytes, __ATOMIC_RELAXED) - addr) >>
		     GHU_PAGE_SHIFT)
		return -ENOMEM;
	if (!is_inherited(h) && ghu_arena_open(a, addr + (npages << GHU_PAGE_SHIFT)))
		return -ENOMEM;
	return h->ops->resize(h, addr, old_npages, npages, needzero);
}

int ghu_heaps_resize(uintptr_t addr, size_t old_npages, size_t npages, bool *needzero)
{
	unsigned int i;
	int ret;

	if (!heap_index(addr, &i))
		return -ENOMEM;
	do
		ret = resize_in_heap(heap_at(i), addr, old_npages, npages, needzero);
	while (ret && ret != -ENOMEM && !recover(i, ret, addr, old_npages));
	return ret ? -ENOMEM : 0;
}

size_t ghu_heaps_scavenge(size_t max_bytes)
{
	size_t released = 0;

	for (unsigned int i = 0, n = heap_count(); i < n && released < max_bytes; i++) {
		struct ghu_heap *h = heap_at(i);

		released += h->ops->scavenge(h, max_bytes - released);
	}
	return released;
}

void ghu_heaps_age(void)
{
	for (unsigned int i = 0, n = heap_count(); i < n; i++) {
		struct ghu_heap *h = heap_at(i);

		while (h->ops->age && h->ops->age(h))
			;
	}
}

static void heap_stats(struct ghu_heap *h, struct ghu_heap_stats *st)
{
	*st = (struct ghu_heap_stats){ .sys = 0 };
	if (h->ops->stats(h, st))
		*st = (struct ghu_heap_stats){
			.sys = __atomic_load_n(&h->arena.opened, __ATOMIC_RELAXED) - h->arena.start,
		};
}

void ghu_heaps_stats(struct ghu_heap_stats *sum)
{
	*sum = (struct ghu_heap_stats){ .sys = 0 };
	for (unsigned int i = 0, n = heap_count(); i < n; i++) {
		struct ghu_heap_stats st;

		heap_stats(heap_at(i), &st);
		sum->sys += st.sys;
		sum->released += st.released;
		sum->meta_bytes += st.meta_bytes;
		sum->kernel_bytes += st.kernel_bytes;
	}
}

/* ---- the heaps as a whole ---- */

uint64_t ghu_heaps_pressure(void)
{
	uint64_t sum;

	if (ghu_unlikely(!__atomic_load_n(fork_word, __ATOMIC_ACQUIRE)))
		child_setup();
	sum = __atomic_load_n(&own_pressure, __ATOMIC_RELAXED);
	for (unsigned int i = 0, n = heap_count(); i < n; i++)
		sum += __atomic_load_n(heap_at(i)->pressure, __ATOMIC_RELAXED);
	if (ghu_unlikely(sum != __atomic_load_n(&told_pressure, __ATOMIC_RELAXED)))
		__atomic_store_n(&told_pressure, sum, __ATOMIC_RELAXED);
	return sum;
}

bool ghu_heaps_device(void)
{
	return __atomic_load_n(&newest_is_device, __ATOMIC_RELAXED);
}

bool ghu_heaps_inherited(uintptr_t addr)
{
	unsigned int i;

	return heap_index(addr, &i) && is_inherited(heap_at(i));
}

void ghu_heaps_fork_prepare(void)
{
	ghu_lock(&grow_lock);
	ghu_lock(&adopt_lock);
	ghu_lock(&child_lock);
	ghu_ahead_fork_prepare();
	for (unsigned int i = 0, n = heap_count(); i < n; i++) {
		if (heap_at(i)->ops->fork_prepare)
			heap_at(i)->ops->fork_prepare(heap_at(i));
		ghu_lock(&heap_at(i)->arena.lock);
	}
}

void ghu_heaps_fork_done(bool is_child)
{
	for (unsigned int i = heap_count(); i-- > 0; ) {
		ghu_unlock(&heap_at(i)->arena.lock);
		if (heap_at(i)->ops->fork_done)
			heap_at(i)->ops->fork_done(heap_at(i), is_child);
	}
	ghu_ahead_fork_done();
	ghu_unlock(&child_lock);
	ghu_unlock(&adopt_lock);
	ghu_unlock(&grow_lock);
}
