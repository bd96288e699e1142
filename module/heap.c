// SPDX-License-Identifier: GPL-2.0
/*
 * Heaps: their life, and the only way in which their pages are released.
 *
 * Locks, in the order in which they are taken:
 *
 *  1. goheap_file.lock, inside the mmap lock of the caller in mmap() and
 *     ATTACH: who gives this open its heap.
 *  2. goheap.scav_lock: one releaser of pages at a time; owns goheap.batch.
 *  3. mmap_lock of the heap's mm, for reading, around the zap of an arena that is
 *     not hidden from khugepaged.
 *  4. the heap mutex (core.lock): everything in the core.  Nothing is allocated,
 *     no user memory is touched, and no other lock is waited for under it.
 *  5. the list_lru's lock, in scavenger.c, alone.
 *
 * goheap_totals_lock is taken outside of 4 and by nobody who holds 1 to 3, and
 * goheap_add_lock, in sysfs.c, by nobody who holds any lock, nor the mmap lock.
 * i_mmap_rwsem and the page-table locks are taken inside 3 by the zap; 4 is not
 * held then.  Under memory reclaim 2, 3 and 4 are only tried.
 *
 * A page of the arena is ordinary anonymous memory, and is released with
 * unmap_mapping_range() on the address_space that the arena's VMAs belong to.
 * Offsets in it are addresses.  As for truncate() of a file that is mapped, no mmap
 * lock is needed for that: a reclaimer may be inside a page fault of the very process,
 * which holds it, and could not take it again with a writer waiting.  Two things would
 * make this corrupt memory:
 *
 *  - On kernels before 6.5 khugepaged, which holds the mmap lock for writing but
 *    not i_mmap_rwsem, frees page tables under the zap.  Most arenas are hidden from
 *    it, see dev.c.  For one that is not, the zap holds the mmap lock of the one mm
 *    that it may touch, or is not done.
 *  - fork() links the child's copy of the arena into the same tree, where the
 *    zap would find it, but the child's memory is not ours to release.  So there is no
 *    zap while another mm maps the arena; and that is looked at when the runs have been
 *    taken.  A child that is linked later copies the arena while they are idle: it may
 *    find them empty, but nothing of its own was in them, nor is until it was told ESTALE,
 *    which waits for the zap; see goheap_ioctl().
 *
 * References: each open file that has the heap holds one, and with it all who poll()
 * the file.  The work that looks after the soft limit holds none: it is cancelled
 * when the heap goes.  Who finds a heap by
 * its id or on the list_lru takes one if there is one left.  The last one down
 * tears the heap down at once, or, when it was dropped under reclaim, in a
 * worker.  The memory goes last, by RCU, when the kobject says so.
 */
#include <linux/cred.h>
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/mount.h>
#include <linux/poll.h>
#include <linux/pseudo_fs.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/wait.h>
#include <linux/xarray.h>

#include "compat.h"
#include "heap.h"
#include "trace.h"

/*
 * What is taken for granted of the machine's pages.  None holds parts of two heap
 * pages: releasing one would empty the other.  And a huge page is what the core
 * takes for one.
 */
static_assert(GH_PAGE_SIZE % PAGE_SIZE == 0);
static_assert(GH_HUGE_SIZE == PMD_SIZE);

/* "goheap", as a number for the pseudo file system. */
#define GOHEAP_FS_MAGIC	0x676f6870

/* All heaps, by id.  Readers use RCU. */
static DEFINE_XARRAY_FLAGS(goheap_ids, XA_FLAGS_ALLOC1 | XA_FLAGS_ACCOUNT);
static u32 goheap_last_id;

/* Heaps of each user, a count by uid. */
static DEFINE_XARRAY_FLAGS(goheap_users, XA_FLAGS_ACCOUNT);
static DEFINE_MUTEX(goheap_users_lock);

/* Counters of the heaps that are gone. */
static struct goheap_stats goheap_retired;
static DEFINE_MUTEX(goheap_totals_lock);

static struct vfsmount *goheap_mnt;
static int goheap_mnt_count;

/* ---- where the address_spaces come from ------------------------------------ */

static int goheap_init_fs_context(struct fs_context *fc)
{
	return init_pseudo(fc, GOHEAP_FS_MAGIC) ? 0 : -ENOMEM;
}

static struct file_system_type goheap_fs_type = {
	.name		 = "goheap",
	.owner		 = THIS_MODULE,
	.init_fs_context = goheap_init_fs_context,
	.kill_sb	 = kill_anon_super,
};

/* Pinned by each user: a mount for good would keep the module from being unloaded. */
static int goheap_pin_fs(void)
{
	return simple_pin_fs(&goheap_fs_type, &goheap_mnt, &goheap_mnt_count);
}

static void goheap_unpin_fs(void)
{
	simple_release_fs(&goheap_mnt, &goheap_mnt_count);
}

/* That of an unnamed file of tmpfs, which is not needed itself and stays empty. */
static struct inode *goheap_shmem_inode(void)
{
	struct file *file = goheap_shmem_file("goheap");
	struct inode *inode;

	/* It says ENOSPC when there was no memory for the inode. */
	if (file == ERR_PTR(-ENOSPC))
		return ERR_PTR(-ENOMEM);
	if (IS_ERR(file))
		return ERR_CAST(file);
	inode = file_inode(file);
	ihold(inode);
	fput(file);
	return inode;
}

/* @hide: khugepaged is to leave the arena alone, see dev.c. */
int goheap_file_init(struct goheap_file *gf, bool hide)
{
	int err = goheap_pin_fs();

	if (err)
		return err;
	gf->inode = hide ? goheap_shmem_inode() : alloc_anon_inode(goheap_mnt->mnt_sb);
	if (IS_ERR(gf->inode)) {
		goheap_unpin_fs();
		return PTR_ERR(gf->inode);
	}
	mutex_init(&gf->lock);
	return 0;
}

void goheap_file_exit(struct goheap_file *gf)
{
	if (gf->heap)
		goheap_put(gf->heap);
	iput(gf->inode);
	goheap_unpin_fs();
}

/* ---- users ---------------------------------------------------------------- */

static unsigned long goheap_user_heaps(kuid_t uid)
{
	void *entry = xa_load(&goheap_users, __kuid_val(uid));

	return entry ? xa_to_value(entry) : 0;
}

static int goheap_user_charge(kuid_t uid)
{
	unsigned long nr;
	int err = -EMFILE;

	mutex_lock(&goheap_users_lock);
	nr = goheap_user_heaps(uid);
	if (nr < READ_ONCE(goheap_max_heaps_per_user))
		err = xa_err(xa_store(&goheap_users, __kuid_val(uid),
				      xa_mk_value(nr + 1), GFP_KERNEL));
	mutex_unlock(&goheap_users_lock);
	return err;
}

static void goheap_user_uncharge(kuid_t uid)
{
	unsigned long nr;

	mutex_lock(&goheap_users_lock);
	nr = goheap_user_heaps(uid);
	/* Storing over an entry does not allocate. */
	if (nr > 1)
		xa_store(&goheap_users, __kuid_val(uid), xa_mk_value(nr - 1), GFP_KERNEL);
	else
		xa_erase(&goheap_users, __kuid_val(uid));
	mutex_unlock(&goheap_users_lock);
}

/* ---- birth and death ------------------------------------------------------ */

/* Counters stay when their heap goes; what it held does not. */
static void goheap_retire(struct goheap *heap)
{
	struct goheap_stats stats;

	mutex_lock(&goheap_totals_lock);
	goheap_read_stats(heap, &stats);
	stats.heap_sys = 0;
	stats.heap_inuse = 0;
	stats.heap_idle = 0;
	stats.heap_released = 0;
	stats.nr_spans = 0;
	stats.meta_bytes = 0;
	goheap_add_stats(&goheap_retired, &stats);
	xa_erase(&goheap_ids, heap->id);
	mutex_unlock(&goheap_totals_lock);
}

static void goheap_free(struct goheap *heap)
{
	goheap_lru_remove(heap);
	goheap_sysfs_del(heap);
	cancel_delayed_work_sync(&heap->soft_work);
	goheap_retire(heap);
#ifdef GOHEAP_BREAK_LOCKORDER
	goheap_lock(heap);
	mutex_lock(&heap->scav_lock);
	mutex_unlock(&heap->scav_lock);
	goheap_unlock(heap);
#endif
#ifndef GOHEAP_BREAK_LEAK
	gh_mheap_destroy(&heap->core);
#endif
	free_page((unsigned long)heap->ctl);
	put_pid(heap->pid);
	mmdrop(heap->mm);
	iput(heap->inode);
	goheap_unpin_fs();
	goheap_user_uncharge(heap->uid);
	kobject_put(&heap->kobj);
#ifdef GOHEAP_BREAK_UAF
	rcu_barrier();
	atomic64_inc(&heap->scav_skipped);
#endif
}

static void goheap_free_work(struct work_struct *work)
{
	goheap_free(container_of(work, struct goheap, free_work));
}

/* May sleep. */
void goheap_put(struct goheap *heap)
{
	if (refcount_dec_and_test(&heap->refs))
		goheap_free(heap);
}

/* For reclaim, and for callbacks of sysfs. */
void goheap_put_async(struct goheap *heap)
{
	if (refcount_dec_and_test(&heap->refs))
		goheap_queue_work(&heap->free_work);
}

/* The heap with the next higher id, or NULL; *id is 0 to begin with.  To be put. */
struct goheap *goheap_next(u32 *id)
{
	unsigned long index = *id;
	struct goheap *heap;

	rcu_read_lock();
#ifdef GOHEAP_BREAK_ATOMIC
	kfree(kmalloc(sizeof(*heap), GFP_KERNEL));
#endif
	do {
		heap = xa_find_after(&goheap_ids, &index, U32_MAX, XA_PRESENT);
	} while (heap && !refcount_inc_not_zero(&heap->refs));
	rcu_read_unlock();
	*id = index;
	return heap;
}

/* The one with this id, or NULL.  To be put. */
struct goheap *goheap_find(u64 id)
{
	struct goheap *heap;

	if (id > U32_MAX)
		return NULL;
	rcu_read_lock();
	heap = xa_load(&goheap_ids, id);
	if (heap && !refcount_inc_not_zero(&heap->refs))
		heap = NULL;
	rcu_read_unlock();
	return heap;
}

static void goheap_setup(struct goheap *heap, struct inode *inode, kuid_t uid,
			 unsigned long start, unsigned long bytes)
{
	refcount_set(&heap->refs, 1);
	INIT_LIST_HEAD(&heap->lru);
	INIT_WORK(&heap->free_work, goheap_free_work);
	mutex_init(&heap->scav_lock);
	init_waitqueue_head(&heap->pressure_wait);
	goheap_limit_init(heap);
	heap->uid = uid;
	heap->gid = current_egid();
	heap->pid = get_pid(task_tgid(current));
	heap->mm = current->mm;
	mmgrab(heap->mm);
	heap->inode = inode;
	ihold(inode);

	gh_mheap_init(&heap->core);
	heap->core.max_records = READ_ONCE(goheap_max_spans);
	goheap_lock(heap);
	gh_mheap_bind_locked(&heap->core, start, bytes);
	goheap_unlock(heap);
}

/* What goheap_setup() did. */
static void goheap_unsetup(struct goheap *heap)
{
	gh_mheap_destroy(&heap->core);
	put_pid(heap->pid);
	mmdrop(heap->mm);
	iput(heap->inode);
}

static struct goheap *goheap_create(struct inode *inode, unsigned long start,
				    unsigned long bytes)
{
	kuid_t uid = current_euid();
	struct goheap *heap;
	int err;

	err = goheap_user_charge(uid);
	if (err)
		return ERR_PTR(err);
	err = goheap_pin_fs();
	if (err)
		goto out_uncharge;
	err = -ENOMEM;
	heap = goheap_heap_alloc();
	if (!heap)
		goto out_unpin;
	heap->ctl = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!heap->ctl)
		goto out_free_heap;
	goheap_setup(heap, inode, uid, start, bytes);
	/* The id is taken, but leads nowhere until the heap is complete. */
	err = xa_alloc_cyclic(&goheap_ids, &heap->id, NULL, xa_limit_32b,
			      &goheap_last_id, GFP_KERNEL);
	if (err < 0)
		goto out_unsetup;
	goheap_lru_insert(heap);
	xa_store(&goheap_ids, heap->id, heap, GFP_KERNEL);
	return heap;

out_unsetup:
	goheap_unsetup(heap);
	free_page((unsigned long)heap->ctl);
out_free_heap:
	kobject_put(&heap->kobj);
out_unpin:
	goheap_unpin_fs();
out_uncharge:
	goheap_user_uncharge(uid);
	return ERR_PTR(err);
}

/* The arena was just mapped by this open: gives it a heap.  Under the mmap lock. */
int goheap_bind(struct goheap_file *gf, unsigned long start, unsigned long bytes)
{
	struct goheap *heap;
	int err = 0;

	mutex_lock(&gf->lock);
	heap = gf->heap;
	if (heap) {
		err = heap->mm == current->mm ? -EBUSY : -ESTALE;
		goto out_unlock;
	}
	heap = goheap_create(gf->inode, start, bytes);
	if (IS_ERR(heap))
		err = PTR_ERR(heap);
	else
		smp_store_release(&gf->heap, heap);	/* pairs with goheap_of() */
out_unlock:
	mutex_unlock(&gf->lock);
	return err;
}

/* The heap whose arena has @addr, in the mm of current, which is locked. */
static struct goheap *goheap_find_mapped(u64 addr)
{
	struct vm_area_struct *vma = NULL;
	struct goheap_file *gf;
	struct goheap *heap;
	struct gh_mheap *core;

	if (addr < TASK_SIZE)
		vma = vma_lookup(current->mm, addr);
	if (!vma || !vma->vm_file || vma->vm_file->f_op != &goheap_fops ||
	    !vma_is_anonymous(vma))
		return ERR_PTR(-ENOENT);
	gf = vma->vm_file->private_data;
	heap = goheap_of(gf);
	if (IS_ERR(heap))
		return heap;
	/* A piece that was moved away with mremap() is no part of the arena. */
	core = &heap->core;
	if (addr - core->arena_start >= core->arena_pages << GH_PAGE_SHIFT)
		return ERR_PTR(-ENOENT);
	return heap;
}

/* Gives this open the heap that maps @addr. */
int goheap_attach(struct goheap_file *gf, u64 addr)
{
	struct goheap *heap;
	int err = 0;

	mmap_read_lock(current->mm);
	mutex_lock(&gf->lock);
	heap = gf->heap;
	if (heap) {
		err = heap->mm == current->mm ? -EBUSY : -ESTALE;
		goto out_unlock;
	}
	heap = goheap_find_mapped(addr);
	if (IS_ERR(heap)) {
		err = PTR_ERR(heap);
		goto out_unlock;
	}
	refcount_inc(&heap->refs);
	/* What was before is no news to this open. */
	atomic64_set(&gf->pressure_told, goheap_pressure_events(heap));
	smp_store_release(&gf->heap, heap);	/* pairs with goheap_of() */
out_unlock:
	mutex_unlock(&gf->lock);
	mmap_read_unlock(current->mm);
	return err;
}

/* ---- totals --------------------------------------------------------------- */

/* Returns how many heaps there are. */
unsigned int goheap_total_stats(struct goheap_stats *total)
{
	struct goheap_stats stats;
	struct goheap *heap;
	unsigned int nr = 0;
	u32 id = 0;

	mutex_lock(&goheap_totals_lock);
	*total = goheap_retired;
	while ((heap = goheap_next(&id))) {
		goheap_read_stats(heap, &stats);
		goheap_add_stats(total, &stats);
		nr++;
		/* goheap_retire() takes the lock that is held here. */
		goheap_put_async(heap);
	}
	mutex_unlock(&goheap_totals_lock);
	return nr;
}

/* ---- pressure generation -------------------------------------------------- */

/* The word that the owner reads is the counter itself: no one else can write it. */
static atomic64_t *goheap_pressure_word(struct goheap *heap)
{
	BUILD_BUG_ON(sizeof(atomic64_t) != sizeof(heap->ctl->pressure_gen));
	return (atomic64_t *)&heap->ctl->pressure_gen;
}

/* Under reclaim. */
void goheap_raise_pressure(struct goheap *heap)
{
	atomic64_inc(goheap_pressure_word(heap));
	/* The barrier in it pairs with the one in goheap_poll(). */
	if (wq_has_sleeper(&heap->pressure_wait))
		wake_up_interruptible_poll(&heap->pressure_wait, EPOLLPRI);
}

u64 goheap_pressure_events(struct goheap *heap)
{
	return atomic64_read(goheap_pressure_word(heap));
}

/* ---- releasing pages ------------------------------------------------------ */

/* Whether a process other than the owner maps the arena. */
static bool goheap_is_shared(struct goheap *heap)
{
	struct address_space *mapping = heap->inode->i_mapping;
	struct vm_area_struct *vma;
	struct rb_node *node;
	bool shared = false;

#ifdef GOHEAP_BREAK_FOREIGN
	return false;
#endif
	i_mmap_lock_read(mapping);
	for (node = rb_first(&mapping->i_mmap.rb_root); node && !shared; node = rb_next(node)) {
		vma = rb_entry(node, struct vm_area_struct, shared.rb);
		/* The control page, which is not anonymous, may be in many. */
		shared = vma->vm_mm != heap->mm && vma_is_anonymous(vma);
	}
	i_mmap_unlock_read(mapping);
	return shared;
}

#ifdef GOHEAP_BREAK_MMLOCK
#define goheap_mmap_lock(mm, wait)	0
#define goheap_mmap_unlock(mm)		do { } while (0)
#else
static int goheap_mmap_lock(struct mm_struct *mm, bool may_wait)
{
	if (may_wait)
		return mmap_read_lock_killable(mm);
	return mmap_read_trylock(mm) ? 0 : -EAGAIN;
}

#define goheap_mmap_unlock(mm)		mmap_read_unlock(mm)
#endif

/* Whether khugepaged leaves the arena alone. */
static bool goheap_is_hidden(struct goheap *heap)
{
	return heap->inode->i_sb->s_type != &goheap_fs_type;
}

/* Keeps the arena's page tables until goheap_mm_put(). */
static int goheap_mm_get(struct goheap *heap, bool may_wait)
{
	int err = 0;

	if (!mmget_not_zero(heap->mm))
		return -ESRCH;
	if (!goheap_is_hidden(heap))
		err = goheap_mmap_lock(heap->mm, may_wait);
	if (err)
		mmput_async(heap->mm);
	return err;
}

/* The last reference may be ours, and what it takes down must not run under reclaim. */
static void goheap_mm_put(struct goheap *heap)
{
	if (!goheap_is_hidden(heap))
		goheap_mmap_unlock(heap->mm);
	mmput_async(heap->mm);
}

/* Runs of together what is wanted, or 2 MiB; a little more if the last one is large. */
static int goheap_take_batch(struct goheap *heap, const struct goheap_step *step)
{
	const struct gh_idle_req req = {
		.now_ns = goheap_now_ns(),
		.min_age_ns = step->min_age_ns,
		.max_pages = GH_HUGE_PAGES,
		.whole_only = step->whole_only,
	};
	u64 want = min_t(u64, step->want_pages ?: GH_HUGE_PAGES, GH_HUGE_PAGES);
	struct goheap_batch *b = &heap->batch;
	u64 pages = 0;

	if (step->may_wait)
		goheap_lock(heap);
	else if (!goheap_trylock(heap))
		return -EAGAIN;
	while (b->nr < GOHEAP_BATCH_RUNS && pages < want &&
	       !gh_idle_take_locked(&heap->core, &req, &b->runs[b->nr]))
		pages += b->runs[b->nr++].idle_pages;
	goheap_unlock(heap);
	return b->nr ? 0 : -ENOENT;
}

static void goheap_zap_batch(struct goheap *heap, struct goheap_step *step)
{
	unsigned long before = get_mm_counter(heap->mm, MM_ANONPAGES), after;
	const struct goheap_batch *b = &heap->batch;
	unsigned int i;

	for (i = 0; i < b->nr; i++) {
		const struct gh_idle_run *run = &b->runs[i];

		unmap_mapping_range(heap->inode->i_mapping, run->addr,
				    run->npages << GH_PAGE_SHIFT, 1);
		step->bytes += run->idle_pages << GH_PAGE_SHIFT;
	}
	/* Other threads may have changed it too; a span may not have been touched at all. */
	after = get_mm_counter(heap->mm, MM_ANONPAGES);
	if (after < before)
		step->hw_pages = before - after;
}

/* Puts a batch back.  Needs the heap mutex. */
void goheap_settle_locked(struct goheap *heap)
{
	struct goheap_batch *b = &heap->batch;
	unsigned int i;

	lockdep_assert_held(&heap->core.lock);
	for (i = 0; i < b->nr; i++)
		gh_idle_put_locked(&heap->core, &b->runs[i], b->zapped);
	b->nr = 0;
	WRITE_ONCE(b->parked, false);
}

/*
 * Under reclaim nothing is waited for, not even the heap mutex: then the batch is
 * parked where it is, for the next one that takes the mutex, whoever it is.
 */
static void goheap_put_batch(struct goheap *heap, const struct goheap_step *step)
{
	smp_store_release(&heap->batch.parked, true);	/* pairs with goheap_lock() */
	if (step->may_wait)
		goheap_lock(heap);
	else if (!goheap_trylock(heap))
		return;
	goheap_unlock(heap);
}

/*
 * Taking runs and putting them back as they were takes along what lies between them,
 * which was released: so a child that is there already is looked for before, too.
 */
static int goheap_release_batch(struct goheap *heap, struct goheap_step *step)
{
	int err;

	if (goheap_is_shared(heap))
		return -EBUSY;
#ifdef GOHEAP_BREAK_RECHECK
	if (step->may_wait)
		msleep(20);
#endif
	err = goheap_take_batch(heap, step);
	if (err)
		return err;
	/* The child of a fork from here on had no use for what was taken: see above. */
	heap->batch.zapped = !goheap_is_shared(heap);
#ifdef GOHEAP_BREAK_RECHECK
	heap->batch.zapped = true;
#endif
#ifdef GOHEAP_BREAK_STRADDLE
	if (step->may_wait)
		msleep(20);
#endif
	if (heap->batch.zapped)
		goheap_zap_batch(heap, step);
	goheap_put_batch(heap, step);
	return heap->batch.zapped ? 0 : -EBUSY;
}

/*
 * Releases the pages of some idle runs.  -ENOENT: there is none that qualifies;
 * -EBUSY: a forked child shares the arena; -ESRCH: the process is gone; -EAGAIN:
 * a lock was not to be had; -EINTR: killed while waiting for one.
 */
int goheap_release_step(struct goheap *heap, struct goheap_step *step)
{
	int err;

	step->bytes = 0;
	step->hw_pages = 0;
	if (step->whole_only ? !gh_idle_any_whole(&heap->core) : !gh_idle_any(&heap->core))
		return -ENOENT;
	if (step->may_wait) {
		if (mutex_lock_killable(&heap->scav_lock))
			return -EINTR;
	} else if (!mutex_trylock(&heap->scav_lock)) {
		return -EAGAIN;
	}
	err = goheap_mm_get(heap, step->may_wait);
	if (err)
		goto out_unlock;
	err = goheap_release_batch(heap, step);
	goheap_mm_put(heap);
	if (err == -EBUSY)
		atomic64_inc(&heap->scav_skipped);
	if (err)
		goto out_unlock;
	heap->scav_bytes[step->cause] += step->bytes;
	trace_goheap_scavenge(heap->id, step->cause, step->bytes);
out_unlock:
	mutex_unlock(&heap->scav_lock);
	return err;
}

/* Until the batch that is being released, if there is one, was put back.  -EINTR. */
int goheap_wait_release(struct goheap *heap)
{
	if (mutex_lock_killable(&heap->scav_lock))
		return -EINTR;
	mutex_unlock(&heap->scav_lock);
	return 0;
}

/* ---- the end -------------------------------------------------------------- */

/* When no heap is left, and no one can make another. */
void goheap_heaps_exit(void)
{
	xa_destroy(&goheap_ids);
	xa_destroy(&goheap_users);
}
