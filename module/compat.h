/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What differs between the kernels that this module is built for, 6.1 to 7.3.
 * The only file that may look at LINUX_VERSION_CODE: the rest is written
 * against the goheap_ functions below.
 */
#ifndef GOHEAP_COMPAT_H
#define GOHEAP_COMPAT_H

#include <linux/kobject.h>
#include <linux/list_lru.h>
#include <linux/mm.h>
#include <linux/sched/coredump.h>
#include <linux/sched/mm.h>
#include <linux/shmem_fs.h>
#include <linux/shrinker.h>
#include <linux/swap.h>
#include <linux/version.h>

#ifndef SUID_DUMP_USER
#include <linux/sched/exec_state.h>
#endif

/* What drivers need of io_uring has a header of its own since 6.7. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
#include <linux/io_uring.h>
#else
#include <linux/io_uring/cmd.h>
#endif

/* vm_flags became read-only, with functions to change them, in 6.3. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void goheap_vm_flags_mod(struct vm_area_struct *vma,
				       unsigned long set, unsigned long clear)
{
	vma->vm_flags |= set;
	vma->vm_flags &= ~clear;
}
#else
#define goheap_vm_flags_mod(vma, set, clear)	vm_flags_mod(vma, set, clear)
#endif

/*
 * Where the process would map a file that asks for nothing special: known to its
 * mm only until 6.9, then to a function, which lost its first argument in 6.19.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 10, 0)
#define goheap_unmapped_area(...)	current->mm->get_unmapped_area(__VA_ARGS__)
#elif LINUX_VERSION_CODE < KERNEL_VERSION(6, 19, 0)
#define goheap_unmapped_area(...)	mm_get_unmapped_area(current->mm, __VA_ARGS__)
#else
#define goheap_unmapped_area(...)	mm_get_unmapped_area(__VA_ARGS__)
#endif

/* Flags of VMAs are a struct here since 7.0.  Of a file without a size none matters. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 0, 0)
#define goheap_shmem_file(name)	shmem_file_setup(name, 0, 0)
#else
#define goheap_shmem_file(name)	shmem_file_setup(name, 0, (vma_flags_t){ })
#endif

/* The argument of kobj_type.get_ownership() became const in 6.2. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
#define GOHEAP_KOBJ_CONST
#else
#define GOHEAP_KOBJ_CONST	const
#endif

/* The pages that shrinkers freed were called slab until 6.4. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
#define GOHEAP_RECLAIMED	reclaimed_slab
#else
#define GOHEAP_RECLAIMED	reclaimed
#endif

/* Tells whoever reclaims that so many pages were freed. */
static inline void goheap_account_reclaimed(unsigned long pages)
{
	if (current->reclaim_state)
		current->reclaim_state->GOHEAP_RECLAIMED += pages;
}

/*
 * Whether memory is being reclaimed.  If not, and a shrinker is called, an
 * administrator asks: by drop_caches, or by the shrinker's files in debugfs.
 */
static inline bool goheap_in_reclaim(void)
{
	return current->reclaim_state;
}

/* What it was told and has not looked at. */
static inline unsigned long goheap_reclaimed(void)
{
	return current->reclaim_state ? current->reclaim_state->GOHEAP_RECLAIMED : 0;
}

/*
 * Shrinkers are allocated since 6.7; before, they were registered where they
 * stand.  @ops has the callbacks, seeks and batch.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
static inline struct shrinker *goheap_shrinker_new(struct shrinker *ops,
						   unsigned int flags, const char *name)
{
	ops->flags = flags;
	return register_shrinker(ops, "%s", name) ? NULL : ops;
}

#define goheap_shrinker_free(s)		unregister_shrinker(s)
#else
static inline struct shrinker *goheap_shrinker_new(struct shrinker *ops,
						   unsigned int flags, const char *name)
{
	struct shrinker *s = shrinker_alloc(flags, "%s", name);

	if (!s)
		return NULL;
	s->count_objects = ops->count_objects;
	s->scan_objects = ops->scan_objects;
	s->seeks = ops->seeks;
	s->batch = ops->batch;
	shrinker_register(s);
	return s;
}

#define goheap_shrinker_free(s)		shrinker_free(s)
#endif

/* The short names went to the variants that are told node and memcg in 6.8. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 8, 0)
#define goheap_lru_add(lru, item)	list_lru_add(lru, item)
#define goheap_lru_del(lru, item)	list_lru_del(lru, item)
#else
#define goheap_lru_add(lru, item)	list_lru_add_obj(lru, item)
#define goheap_lru_del(lru, item)	list_lru_del_obj(lru, item)
#endif

/* Walkers of a list_lru were told its lock until 6.13. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
#define GOHEAP_LRU_ISOLATE(name, item, arg)				\
	enum lru_status name(struct list_head *item, struct list_lru_one *one_, \
			     spinlock_t *lock_, void *arg)
#else
#define GOHEAP_LRU_ISOLATE(name, item, arg)				\
	enum lru_status name(struct list_head *item, struct list_lru_one *one_, \
			     void *arg)
#endif

/*
 * Where a command's payload is: a pointer of its own until 6.5, then part of the
 * submission queue's entry, reached by a function, and since 7.0 by a macro that
 * wants the type.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
#define goheap_uring_payload(ioucmd, type)	((const type *)(ioucmd)->cmd)
#elif !defined(io_uring_sqe_cmd)
#define goheap_uring_payload(ioucmd, type)	\
	((const type *)io_uring_sqe_cmd((ioucmd)->sqe))
#else
#define goheap_uring_payload(ioucmd, type)	io_uring_sqe_cmd((ioucmd)->sqe, type)
#endif

/*
 * Whether a call that a worker repeats still finds its payload.  6.10 puts off copying
 * it until a call answers -EAGAIN ("io_uring/uring_cmd: defer SQE copying until it's
 * needed"), but the worker goes on looking in the submission queue, where the process
 * may have put another request by then; only one that was meant for a worker from the
 * first finds its copy.  6.14 copies each at once ("unconditionally copy SQEs at prep
 * time").  6.13.y has that too in the end, 6.12.y has not.
 */
#define GOHEAP_URING_KEEPS_PAYLOAD	(LINUX_VERSION_CODE < KERNEL_VERSION(6, 10, 0) || \
					 LINUX_VERSION_CODE >= KERNEL_VERSION(6, 14, 0))

/*
 * Whether a process may be traced by its user: what it may not hide, as by PR_SET_DUMPABLE.
 * Asked of its mm until it moved to the task, before 7.2.
 */
#ifdef SUID_DUMP_USER
static inline bool goheap_is_dumpable(struct task_struct *task, struct mm_struct *mm)
{
	return get_dumpable(mm) == SUID_DUMP_USER;
}
#else
static inline bool goheap_is_dumpable(struct task_struct *task, struct mm_struct *mm)
{
	const struct task_exec_state *state;
	bool dumpable;

	rcu_read_lock();
	state = rcu_dereference(task->exec_state);
	dumpable = state && READ_ONCE(state->dumpable) == TASK_DUMPABLE_OWNER;
	rcu_read_unlock();
	return dumpable;
}
#endif

#endif /* GOHEAP_COMPAT_H */
