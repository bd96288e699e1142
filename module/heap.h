/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of the module know of each other.
 *
 * A struct goheap is one heap: the core's page heap, bound to one arena in one
 * address space.  A struct goheap_file is one open of the device: it has no
 * heap until it maps an arena or attaches to one, and then keeps it for good.
 */
#ifndef GOHEAP_HEAP_H
#define GOHEAP_HEAP_H

#include <linux/atomic.h>
#include <linux/bitops.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/kobject.h>
#include <linux/list_lru.h>
#include <linux/miscdevice.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/timekeeping.h>
#include <linux/types.h>
#include <linux/uidgid.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <uapi/linux/goheap.h>

#include "core/mheap.h"

/* Why pages were released. */
enum goheap_cause {
	GOHEAP_CAUSE_AGE,
	GOHEAP_CAUSE_PRESSURE,
	GOHEAP_CAUSE_DEMAND,
	GOHEAP_NR_CAUSES,
};

/* One step of releasing takes at most this many runs, and under 4 MiB. */
#define GOHEAP_BATCH_RUNS	32

struct goheap_batch {
	struct gh_idle_run runs[GOHEAP_BATCH_RUNS];
	unsigned int nr;
	bool zapped;		/* or to be put back as it was */
	bool parked;		/* not yet put back: see heap.c */
};

struct goheap {
	struct gh_mheap core;		/* core.lock is the heap mutex */
	refcount_t refs;		/* files, and who found it by id or lru */
	u32 id;
	struct mm_struct *mm;		/* mmgrab()ed */
	struct inode *inode;		/* whose i_mmap holds the arena's VMAs */
	struct goheap_ctl *ctl;		/* a page, which the owner can map */
	struct pid *pid;		/* of the process that mapped the arena */
	kuid_t uid;
	kgid_t gid;
	struct mutex scav_lock;		/* one releaser at a time */
	struct goheap_batch batch;	/* scav_lock; and the heap mutex if parked */
	u64 scav_bytes[GOHEAP_NR_CAUSES];	/* scav_lock */
	atomic64_t scav_skipped;
	u64 soft_pages;			/* the heap mutex; the hard one: core.max_held_pages */
	struct delayed_work soft_work;
	bool soft_unfinished;		/* the heap mutex */
	wait_queue_head_t pressure_wait;	/* those who poll(); they have a file */
	atomic64_t pressure_ns;		/* since when pressure has had no answer, 0: it has */
	atomic64_t pressure_last_ns;	/* when it was felt last */
	struct list_head lru;
	struct kobject kobj;
	bool listed;			/* the kobject was added, see sysfs.c */
	struct work_struct free_work;
	struct rcu_head rcu;
};

struct goheap_file {
	struct goheap *heap;		/* set once, see goheap_of() */
	struct inode *inode;		/* this open's address_space */
	struct mutex lock;		/* who sets heap */
	atomic64_t pressure_told;	/* the generation that poll() reported last */
};

/* ---- heap.c ------------------------------------------------------------- */

void goheap_heaps_exit(void);

int goheap_file_init(struct goheap_file *gf, bool hide);
void goheap_file_exit(struct goheap_file *gf);
int goheap_bind(struct goheap_file *gf, unsigned long start, unsigned long bytes);
int goheap_attach(struct goheap_file *gf, u64 addr);

void goheap_put(struct goheap *heap);
void goheap_put_async(struct goheap *heap);
struct goheap *goheap_next(u32 *id);
struct goheap *goheap_find(u64 id);

void goheap_settle_locked(struct goheap *heap);
void goheap_raise_pressure(struct goheap *heap);
u64 goheap_pressure_events(struct goheap *heap);

/* What one step of releasing is to do, and did. */
struct goheap_step {
	u64 min_age_ns;
	u64 want_pages;		/* no run is taken after so many; 0, or more than 2 MiB: that */
	bool whole_only;	/* as in struct gh_idle_req */
	bool may_wait;		/* for the mmap lock and scav_lock; else only tries */
	enum goheap_cause cause;
	u64 bytes;		/* out: of the runs released */
	unsigned long hw_pages;	/* out: pages of memory that this freed, as far as seen */
};

int goheap_release_step(struct goheap *heap, struct goheap_step *step);
int goheap_wait_release(struct goheap *heap);

unsigned int goheap_total_stats(struct goheap_stats *total);

/*
 * The heap of this open, for a command of its own process.  Pairs with the
 * release in goheap_bind() and goheap_attach().
 */
static inline struct goheap *goheap_of(struct goheap_file *gf)
{
	struct goheap *heap = smp_load_acquire(&gf->heap);	/* see above */

	if (!heap)
		return ERR_PTR(-ENXIO);
	if (heap->mm != current->mm)
		return ERR_PTR(-ESTALE);
	return heap;
}

/* The acquires pair with the release in goheap_put_batch(). */
static inline void goheap_lock(struct goheap *heap)
{
	mutex_lock(&heap->core.lock);
	if (unlikely(smp_load_acquire(&heap->batch.parked)))	/* see above */
		goheap_settle_locked(heap);
}

static inline bool goheap_trylock(struct goheap *heap)
{
	if (!mutex_trylock(&heap->core.lock))
		return false;
	if (unlikely(smp_load_acquire(&heap->batch.parked)))	/* see above */
		goheap_settle_locked(heap);
	return true;
}

static inline void goheap_unlock(struct goheap *heap)
{
	mutex_unlock(&heap->core.lock);
}

/* The clock of all ages; a tick's resolution is enough for minutes. */
static inline u64 goheap_now_ns(void)
{
	return ktime_get_coarse_ns();
}

/*
 * Histograms: by powers of two.  Slot 0 is for 0, slot n for what is at least
 * 2^(n - 1), and the last one for all that is more.
 */
#define GOHEAP_HIST_SLOTS	33

static inline unsigned int goheap_hist_slot(u64 value)
{
	return min_t(unsigned int, fls64(value), GOHEAP_HIST_SLOTS - 1);
}

static inline u64 goheap_hist_from(unsigned int slot)
{
	return slot ? BIT_ULL(slot - 1) : 0;
}

/* ---- dev.c -------------------------------------------------------------- */

extern const struct file_operations goheap_fops;
extern struct miscdevice goheap_misc;

/* ---- cmd.c -------------------------------------------------------------- */

union goheap_arg {
	__u32 size;
	struct goheap_info info;
	struct goheap_attach attach;
	struct goheap_span_vec vec;
	struct goheap_resize resize;
	struct goheap_scavenge scavenge;
	struct goheap_stats stats;
	struct goheap_limit limit;
	struct goheap_map map;
};

struct goheap_cmd {
	unsigned int nr;	/* GOHEAP_*, complete */
	size_t size;
	int (*run)(struct goheap_file *gf, union goheap_arg *arg);
};

const struct goheap_cmd *goheap_cmd_find(unsigned int nr);
int goheap_cmd_run(struct goheap_file *gf, unsigned int nr, void __user *uptr);
void goheap_read_stats(struct goheap *heap, struct goheap_stats *stats);
void goheap_add_stats(struct goheap_stats *total, const struct goheap_stats *stats);

/* ---- map.c -------------------------------------------------------------- */

u32 goheap_map_state(const struct gh_span_view *view);
int goheap_cmd_map(struct goheap_file *gf, union goheap_arg *arg);

/* ---- uring.c ------------------------------------------------------------ */

struct io_uring_cmd;

#ifdef CONFIG_IO_URING
int goheap_uring_cmd(struct io_uring_cmd *ioucmd, unsigned int issue_flags);
#else
#define goheap_uring_cmd NULL
#endif

/* ---- scavenger.c -------------------------------------------------------- */

/* What is released on demand. */
struct goheap_scav {
	u64 min_age_ns;
	u64 max_bytes;
	bool only_try;		/* locks are not waited for, and not for long */
	u64 released_bytes;	/* out */
};

int goheap_scavenge(struct goheap *heap, struct goheap_scav *scav);
int goheap_scavenge_all(struct goheap_scav *scav);
u64 goheap_latency_count(unsigned int slot);
void goheap_age_kick(void);
int goheap_scavenger_init(void);
void goheap_scavenger_stop(void);
void goheap_scavenger_free(void);
struct goheap *goheap_heap_alloc(void);
void goheap_heap_free(struct goheap *heap);
void goheap_lru_insert(struct goheap *heap);
void goheap_lru_remove(struct goheap *heap);
void goheap_queue_work(struct work_struct *work);
void goheap_queue_delayed_work(struct delayed_work *work, unsigned long delay);

/* ---- limit.c ------------------------------------------------------------ */

void goheap_limit_init(struct goheap *heap);
void goheap_limit_get(struct goheap *heap, u64 *soft_bytes, u64 *hard_bytes);
int goheap_limit_set(struct goheap *heap, const u64 *soft_bytes, const u64 *hard_bytes);
int goheap_make_room(struct goheap *heap, u64 npages);
void goheap_check_soft_locked(struct goheap *heap);

/* ---- populate.c --------------------------------------------------------- */

bool goheap_populate(struct goheap *heap, unsigned long start, unsigned long bytes);

/* ---- sysfs.c, debugfs.c -------------------------------------------------- */

extern const struct attribute_group *goheap_total_groups[];
void goheap_sysfs_init(struct goheap *heap);
int goheap_sysfs_add(struct goheap *heap);
void goheap_sysfs_del(struct goheap *heap);
int goheap_may_look(struct goheap *heap);
void goheap_sysfs_wait(void);
void goheap_debugfs_init(void);
void goheap_debugfs_exit(void);

/* ---- main.c: parameters -------------------------------------------------- */

extern unsigned int goheap_scavenge_limit_ms;
extern unsigned int goheap_scavenge_cpu_percent;
extern unsigned int goheap_gctrace;
extern unsigned int goheap_khugepaged;
extern unsigned int goheap_max_heaps_per_user;
extern unsigned int goheap_max_spans;
u64 goheap_max_arena_bytes(void);

#endif /* GOHEAP_HEAP_H */
