// SPDX-License-Identifier: GPL-2.0
/*
 * When pages of idle spans are released, and how many; heap.c knows how.
 *
 * Age: a worker looks at all heaps twice in every limit and releases what was
 * unused for longer than the limit, whether its process runs, sleeps or is
 * stopped.  It only tries locks, and leaves a heap for the next pass if one is
 * taken.  It works in slices of 2 ms and rests after each, so that of one CPU it
 * has scavenge_cpu_percent at most: memory that was idle for minutes can wait
 * for seconds.
 *
 * Pressure: a shrinker.  Each heap is one item on a list_lru that is aware of
 * memory cgroups and nodes, under the cgroup of the process that mapped the
 * arena, so that reclaim on behalf of a cgroup finds the heaps in it.  A heap
 * stays on the list while it exists.  The list is rotated with each heap that
 * is looked at: one heap never hides another.
 *
 * What reclaim is told that there is, is no count of pages: a constant, small
 * enough that one pass asks for a few MiB (reclaim takes half of what a shrinker
 * without seeks has, in batches), and not too small to be asked in the first pass.
 * A true count would have a heap with much idle memory drained by the first
 * allocation that waits: half of it, in one pass.  With seeks, of which reclaim takes
 * count * 4 / seeks >> priority, the constant would not fill a batch before the last
 * three of its dozen passes, after which somebody is killed.  The batch is 2 MiB, one
 * step of releasing.
 *
 * A scan takes whole 2 MiB blocks of all heaps first, and only when there are none
 * left what is smaller, for that may split a huge page of which the rest is in use.
 * It only tries locks: who has one may need what the reclaimer has.  But who has it may
 * also be waiting for the CPU alone, while somebody is killed for want of memory that
 * is idle; so a scan that released nothing for such a reason rests, and tries once more.
 *
 * Whoever else asks is told the truth: the shrinker's file `count` in debugfs, and
 * drop_caches, which takes half again and again until next to nothing is left.
 *
 * The shrinker has something even if nothing is idle, because a scan raises the
 * pressure generation, and that makes the library return spans which no count here
 * can know.  What was freed is credited to the reclaimer, as far as the process's
 * anonymous memory really became less, so that it stops when it has enough, and does
 * not go on for ever over spans that were never touched.
 *
 * How long pressure waits for an answer is counted, for debugfs: from when it reaches a
 * heap that has none pending until that heap releases pages.  A heap with nothing idle
 * does not answer before its library has freed spans, nor one whose locks are taken.
 * But a heap that had nothing to give while the pressure lasted owes no answer for it
 * later: pressure that was not felt for a second begins anew.
 *
 * Demand: SCAVENGE and the files named scavenge in sysfs, which wait for their
 * locks; and limits, see limit.c.
 */
#include <linux/jiffies.h>
#include <linux/list_lru.h>
#include <linux/memcontrol.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "heap.h"
#include "trace.h"

/* Hardware pages that reclaim asks for in one call: one step of releasing. */
#define GOHEAP_SHRINK_BATCH	(GH_HUGE_SIZE >> PAGE_SHIFT)

/* What reclaim is told of one heap, and of more: one or two batches in a pass. */
#define GOHEAP_SHRINK_COUNT	(2 * GOHEAP_SHRINK_BATCH)

/* What others are told at least: a span. */
#define GOHEAP_SHRINK_LEAST	(PAGE_ALIGN(GH_PAGE_SIZE) >> PAGE_SHIFT)

/*
 * Reclaim for a memory cgroup does not look at what it is credited with since
 * 6.4, and would take another batch in each of its dozen passes.  But it does
 * not forget it either: with so many pages the rest of its passes get nothing.
 */
#define GOHEAP_SHRINK_ENOUGH	(4 * GOHEAP_SHRINK_BATCH)

/* In one call: heaps looked at, and steps in each.  A step may free nothing. */
#define GOHEAP_SHRINK_HEAPS	64
#define GOHEAP_SHRINK_STEPS	64

/*
 * The rest.  Who used up the CPU time of its cgroup gets none for up to 100 ms.  The memory
 * controller reclaims 16 times before somebody is killed, and asks about three times in each:
 * in all that is 240 ms, and would be 2 without a rest.
 */
#define GOHEAP_SHRINK_WAIT_MS	5

/* Pressure that was not felt for so long is over. */
#define GOHEAP_PRESSURE_GAP_NS	NSEC_PER_SEC

/* The worker rests after this long; a step is not interrupted. */
#define GOHEAP_AGE_SLICE_NS	(2 * NSEC_PER_MSEC)

/* Who only tries locks works on a heap for so long at a time. */
#define GOHEAP_TRY_TIME	(HZ / 20 + 1)

/* A pass this often at most, whatever the limit. */
#define GOHEAP_AGE_MIN_MS	10

static struct workqueue_struct *goheap_wq;
static struct kmem_cache *goheap_cache;
static struct list_lru goheap_lru;
static struct shrinker *goheap_shrinker;
static bool goheap_lru_ready;

static void goheap_age_work_fn(struct work_struct *work);
static DECLARE_DELAYED_WORK(goheap_age_work, goheap_age_work_fn);
static DEFINE_MUTEX(goheap_age_lock);	/* goheap_age_on */
static bool goheap_age_on;

/* How far the pass is; the worker's own. */
static struct {
	unsigned int nr;	/* of the pass */
	u32 id;			/* heaps up to this one are done */
	u64 bytes;		/* released in it */
} goheap_pass;

/* ---- releasing -------------------------------------------------------------- */

/*
 * Releases up to max_bytes on demand.  0: done, or nothing is left that qualifies;
 * else as goheap_release_step().
 */
int goheap_scavenge(struct goheap *heap, struct goheap_scav *scav)
{
	bool wait = !scav->only_try;
	struct goheap_step step = {
		.min_age_ns = scav->min_age_ns,
		.may_wait = wait,
		.cause = GOHEAP_CAUSE_DEMAND,
	};
	unsigned long end = jiffies + GOHEAP_TRY_TIME;
	int err;

	while (scav->released_bytes < scav->max_bytes) {
		if (wait && fatal_signal_pending(current))
			return -EINTR;
		if (!wait && time_after(jiffies, end))
			return -EAGAIN;
		err = goheap_release_step(heap, &step);
		if (err)
			return err == -ENOENT ? 0 : err;
		scav->released_bytes += step.bytes;
		cond_resched();
	}
	return 0;
}

/* All heaps, once; what one of them cannot release is no error.  -EINTR. */
int goheap_scavenge_all(struct goheap_scav *scav)
{
	struct goheap *heap;
	u32 id = 0;
	int err = 0;

	while (err != -EINTR && (heap = goheap_next(&id))) {
		err = goheap_scavenge(heap, scav);
		goheap_put_async(heap);
	}
	return err == -EINTR ? err : 0;
}

/* ---- age -------------------------------------------------------------------- */

/* Releases what is old.  False: it is time to rest, and there may be more. */
static bool goheap_age_heap(struct goheap *heap, u64 limit_ns, u64 end_ns)
{
	struct goheap_step step = { .min_age_ns = limit_ns, .cause = GOHEAP_CAUSE_AGE };

	while (!goheap_release_step(heap, &step)) {
		goheap_pass.bytes += step.bytes;
		if (ktime_get_ns() >= end_ns)
			return false;
		cond_resched();
	}
	return true;
}

/* Goes on with the pass.  False: it is time to rest. */
static bool goheap_age_slice(u64 limit_ns, u64 end_ns)
{
	struct goheap *heap;
	u32 id = goheap_pass.id;
	bool done;

	while ((heap = goheap_next(&id))) {
		done = goheap_age_heap(heap, limit_ns, end_ns);
		goheap_put_async(heap);
		goheap_pass.id = done ? id : id - 1;
		if (!done || ktime_get_ns() >= end_ns)
			return false;
	}
	return true;
}

static void goheap_age_done(void)
{
	trace_goheap_age_pass(goheap_pass.nr, goheap_pass.bytes);
	if (READ_ONCE(goheap_gctrace) && goheap_pass.bytes)
		pr_info("scvg%u: %llu MB released\n", goheap_pass.nr, goheap_pass.bytes >> 20);
	goheap_pass.nr++;
	goheap_pass.id = 0;
	goheap_pass.bytes = 0;
}

static void goheap_age_queue(unsigned long delay)
{
	mutex_lock(&goheap_age_lock);
	if (goheap_age_on)
		mod_delayed_work(goheap_wq, &goheap_age_work, delay);
	mutex_unlock(&goheap_age_lock);
}

static void goheap_age_work_fn(struct work_struct *work)
{
	u64 limit_ns = (u64)READ_ONCE(goheap_scavenge_limit_ms) * NSEC_PER_MSEC;
	unsigned int percent = READ_ONCE(goheap_scavenge_cpu_percent);
	u64 start_ns = ktime_get_ns(), worked_ns;

	if (!limit_ns)
		return;
	if (goheap_age_slice(limit_ns, start_ns + GOHEAP_AGE_SLICE_NS)) {
		goheap_age_done();
		goheap_age_kick();
		return;
	}
	worked_ns = ktime_get_ns() - start_ns;
	goheap_age_queue(nsecs_to_jiffies(div_u64(worked_ns * (100 - percent), percent)));
}

/* The limit may have changed: the pass begins, or goes on, half a limit from now. */
void goheap_age_kick(void)
{
	unsigned int limit_ms = READ_ONCE(goheap_scavenge_limit_ms);

	if (limit_ms)
		goheap_age_queue(msecs_to_jiffies(max_t(unsigned int, limit_ms / 2,
							GOHEAP_AGE_MIN_MS)));
}

/* ---- pressure --------------------------------------------------------------- */

/* Under the list's lock, which keeps the heap from being freed. */
static GOHEAP_LRU_ISOLATE(goheap_lru_count, item, arg)
{
	struct goheap *heap = container_of(item, struct goheap, lru);

	*(unsigned long *)arg += gh_idle_resident_pages(&heap->core) << GH_PAGE_SHIFT >> PAGE_SHIFT;
	return LRU_ROTATE;
}

/* Hardware pages that are idle in @nr heaps; at least one span's, to be asked at all. */
static unsigned long goheap_count_idle(struct shrink_control *sc, unsigned long nr)
{
	unsigned long pages = 0, some, walk;

	/* Each is put behind the others: the next walk goes on after the last. */
	for (; nr; nr -= some) {
		some = min_t(unsigned long, nr, GOHEAP_SHRINK_HEAPS);
		walk = some;
		list_lru_walk_one(&goheap_lru, sc->nid, sc->memcg, goheap_lru_count,
				  &pages, &walk);
	}
	return max(pages, GOHEAP_SHRINK_LEAST);
}

static unsigned long goheap_shrink_count(struct shrinker *shrinker, struct shrink_control *sc)
{
	unsigned long nr_heaps;

	/* Pairs with goheap_lru_init(): registered shrinkers may be called at once. */
	if (!smp_load_acquire(&goheap_lru_ready))
		return SHRINK_EMPTY;
	/* SHRINK_EMPTY: not to be asked again until the next heap is added here. */
	nr_heaps = list_lru_shrink_count(&goheap_lru, sc);
	if (!nr_heaps)
		return SHRINK_EMPTY;
	if (!goheap_in_reclaim())
		return goheap_count_idle(sc, nr_heaps);
	return min(nr_heaps, 2UL) * GOHEAP_SHRINK_COUNT;
}

/* Under the list's lock: the heap may be on its way out, and waiting for it. */
static GOHEAP_LRU_ISOLATE(goheap_lru_pick, item, arg)
{
	struct goheap *heap = container_of(item, struct goheap, lru);

	if (refcount_inc_not_zero(&heap->refs))
		*(struct goheap **)arg = heap;
	return LRU_ROTATE;
}

/* By microseconds, of all heaps since the module was loaded. */
static atomic64_t goheap_latency[GOHEAP_HIST_SLOTS];

u64 goheap_latency_count(unsigned int slot)
{
	return atomic64_read(&goheap_latency[slot]);
}

/* Of reclaimers that come at the same time one may be miscounted: no lock for that. */
static void goheap_pressure_begins(struct goheap *heap)
{
	u64 now_ns = ktime_get_ns();
	u64 last_ns = atomic64_xchg(&heap->pressure_last_ns, now_ns);

	if (!atomic64_read(&heap->pressure_ns) || now_ns > last_ns + GOHEAP_PRESSURE_GAP_NS)
		atomic64_set(&heap->pressure_ns, now_ns);
}

static void goheap_pressure_answered(struct goheap *heap)
{
	u64 since_ns = atomic64_xchg(&heap->pressure_ns, 0);
	u64 us;

	if (!since_ns)
		return;
	us = div_u64(ktime_get_ns() - since_ns, NSEC_PER_USEC);
	atomic64_inc(&goheap_latency[goheap_hist_slot(us)]);
}

/*
 * Releases @want pages of memory, if so many are idle, and at most one run more; says
 * how many, and whether a lock was in the way.
 */
static unsigned long goheap_shrink_heap(struct goheap *heap, unsigned long want, bool whole_only,
					bool *busy)
{
	struct goheap_step step = { .cause = GOHEAP_CAUSE_PRESSURE, .whole_only = whole_only };
	unsigned long freed = 0;
	unsigned int i;
	int err;

	for (i = 0; i < GOHEAP_SHRINK_STEPS && freed < want; i++) {
		step.want_pages = DIV_ROUND_UP((want - freed) << PAGE_SHIFT, GH_PAGE_SIZE);
		err = goheap_release_step(heap, &step);
		*busy |= err == -EAGAIN;
		if (err)
			break;
		freed += step.hw_pages;
		if (step.hw_pages)
			goheap_pressure_answered(heap);
	}
	return freed;
}

static void goheap_tell_pressure(struct goheap *heap, unsigned long want)
{
	goheap_raise_pressure(heap);
	goheap_pressure_begins(heap);
	trace_goheap_pressure(heap->id, goheap_pressure_events(heap), want);
}

/* Asks each heap, or as many as it takes to release @want pages; says how many were. */
static unsigned long goheap_shrink_round(struct shrink_control *sc, unsigned long want,
					 bool whole_only, bool *busy)
{
	unsigned long freed = 0, nr_heaps, nr;
	struct goheap *heap;

	nr_heaps = min_t(unsigned long, list_lru_shrink_count(&goheap_lru, sc),
			 GOHEAP_SHRINK_HEAPS);
	while (nr_heaps-- && freed < want) {
		heap = NULL;
		nr = 1;
		list_lru_walk_one(&goheap_lru, sc->nid, sc->memcg, goheap_lru_pick, &heap, &nr);
		if (!heap)
			continue;
		if (whole_only)
			goheap_tell_pressure(heap, want - freed);
		freed += goheap_shrink_heap(heap, want - freed, whole_only, busy);
		goheap_put_async(heap);
	}
	return freed;
}

static unsigned long goheap_shrink_scan(struct shrinker *shrinker, struct shrink_control *sc)
{
	unsigned long freed;
	bool busy = false;

	/* The zap may take i_mmap_rwsem, which file systems hold while they allocate. */
	if (!(sc->gfp_mask & __GFP_FS))
		return SHRINK_STOP;
	if (goheap_reclaimed() >= GOHEAP_SHRINK_ENOUGH)
		return 0;
	freed = goheap_shrink_round(sc, sc->nr_to_scan, true, &busy);
	if (freed < sc->nr_to_scan)
		freed += goheap_shrink_round(sc, sc->nr_to_scan - freed, false, &busy);
	if (!freed && busy && !current_is_kswapd()) {
		schedule_timeout_killable(msecs_to_jiffies(GOHEAP_SHRINK_WAIT_MS));
		freed = goheap_shrink_round(sc, sc->nr_to_scan, false, &busy);
	}
	goheap_account_reclaimed(freed);
	return freed ? freed : SHRINK_STOP;
}

/* ---- memory and membership of heaps ------------------------------------------ */

struct goheap *goheap_heap_alloc(void)
{
	struct goheap *heap;

	/* Must be _lru: makes the list of this memory cgroup, if it has none yet. */
	heap = kmem_cache_alloc_lru(goheap_cache, &goheap_lru, GFP_KERNEL | __GFP_ZERO);
	if (heap)
		goheap_sysfs_init(heap);
	return heap;
}

static void goheap_heap_free_rcu(struct rcu_head *rcu)
{
	kmem_cache_free(goheap_cache, container_of(rcu, struct goheap, rcu));
}

/* goheap_next() may be looking at it. */
void goheap_heap_free(struct goheap *heap)
{
	call_rcu(&heap->rcu, goheap_heap_free_rcu);
}

void goheap_lru_insert(struct goheap *heap)
{
	goheap_lru_add(&goheap_lru, &heap->lru);
}

void goheap_lru_remove(struct goheap *heap)
{
	goheap_lru_del(&goheap_lru, &heap->lru);
}

void goheap_queue_work(struct work_struct *work)
{
	queue_work(goheap_wq, work);
}

/* goheap_free() sees to it that the work does not outlive its heap. */
void goheap_queue_delayed_work(struct delayed_work *work, unsigned long delay)
{
	queue_delayed_work(goheap_wq, work, delay);
}

/* ---- init and exit ------------------------------------------------------------ */

static struct shrinker goheap_shrinker_ops = {
	.count_objects	= goheap_shrink_count,
	.scan_objects	= goheap_shrink_scan,
	.seeks		= 0,
	.batch		= GOHEAP_SHRINK_BATCH,
};

/* The list needs the shrinker's number, and the shrinker needs the list. */
static int goheap_lru_init(void)
{
	int err;

	goheap_shrinker = goheap_shrinker_new(&goheap_shrinker_ops,
					      SHRINKER_NUMA_AWARE | SHRINKER_MEMCG_AWARE,
					      "goheap");
	if (!goheap_shrinker)
		return -ENOMEM;
	err = list_lru_init_memcg(&goheap_lru, goheap_shrinker);
	if (err) {
		goheap_shrinker_free(goheap_shrinker);
		return err;
	}
	smp_store_release(&goheap_lru_ready, true);	/* pairs with goheap_shrink_count() */
	return 0;
}

int goheap_scavenger_init(void)
{
	int err = -ENOMEM;

	goheap_cache = kmem_cache_create("goheap", sizeof(struct goheap), 0, SLAB_ACCOUNT, NULL);
	if (!goheap_cache)
		return err;
	goheap_wq = alloc_workqueue("goheap", WQ_UNBOUND | WQ_FREEZABLE | WQ_MEM_RECLAIM, 0);
	if (!goheap_wq)
		goto out_cache;
	err = goheap_lru_init();
	if (err)
		goto out_wq;
	goheap_age_on = true;
	goheap_age_kick();
	return 0;

out_wq:
	destroy_workqueue(goheap_wq);
out_cache:
	kmem_cache_destroy(goheap_cache);
	return err;
}

/* Ends all that may hold a heap, and with it the last heaps. */
void goheap_scavenger_stop(void)
{
	mutex_lock(&goheap_age_lock);
	goheap_age_on = false;
	mutex_unlock(&goheap_age_lock);
	cancel_delayed_work_sync(&goheap_age_work);
	goheap_shrinker_free(goheap_shrinker);
	/* First the heaps: they end the delayed work that would still be queued. */
	flush_workqueue(goheap_wq);
	destroy_workqueue(goheap_wq);
}

/* When the last heap's memory is on its way to be freed. */
void goheap_scavenger_free(void)
{
	rcu_barrier();
	list_lru_destroy(&goheap_lru);
	kmem_cache_destroy(goheap_cache);
}
