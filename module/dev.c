// SPDX-License-Identifier: GPL-2.0
/*
 * The device: open, release, mmap, ioctl and poll.
 *
 * Two things can be mapped.  The arena is a private mapping that becomes plain
 * anonymous memory, as one of /dev/zero does, so that fork, huge pages, swap and
 * all else work as ever; what is ours in it is only the address_space that its
 * VMA is linked to.  Each open has one of its own, for as long as it is open: a
 * file's f_mapping must not change once it may be mapped.  VM_DONTEXPAND must not
 * be set on the arena: kernels before 6.12 then give it no huge pages.
 *
 * Nothing is remembered about the VMA.  The process may unmap, move, protect or
 * map over any piece of its arena, and a mapping that continues the arena may be
 * merged with it without asking us; all bounds are those of the heap's own table.
 *
 * khugepaged must leave the arena alone: as it is set by default, it makes a huge
 * page of any 2 MiB of which one page is in use, and so brings back all that was
 * released there.  No flag of a VMA tells it to without telling page faults too;
 * and one that names a userfaultfd (VM_UFFD_WP) that is not there is a BUG in the
 * kernel as soon as the process uses or closes another.  But before khugepaged looks
 * at a VMA as anonymous memory it asks whose the address_space is, and what is
 * tmpfs's it leaves to the settings of tmpfs, which are for regular files: never for
 * a device.  Faults do not ask.  So the address_space is that of a file of tmpfs,
 * which never has a page.  All else that asks whether a file is tmpfs's finds an
 * empty one, or goes by the inode of the device's node; that must be tmpfs's too, as
 * in devtmpfs, and a heap that is opened by a node elsewhere does without.  The
 * price: 2 MiB that were once released in part have 4 KiB pages from then on.
 *
 * The control page is one page that the kernel writes and the process reads.
 *
 * poll() tells of memory pressure.  Who waits is on a queue of the heap, which the
 * polled file keeps alive: epoll and io_uring let go of a file before its release.
 */
#include <linux/compat.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/poll.h>

#include "compat.h"
#include "heap.h"

/* See above. */
static bool goheap_may_hide(const struct inode *node)
{
	return !READ_ONCE(goheap_khugepaged) && IS_ENABLED(CONFIG_SHMEM) &&
	       node->i_sb->s_magic == TMPFS_MAGIC;
}

static int goheap_open(struct inode *inode, struct file *file)
{
	struct goheap_file *gf;
	int err;

	gf = kzalloc(sizeof(*gf), GFP_KERNEL_ACCOUNT);
	if (!gf)
		return -ENOMEM;
	err = goheap_file_init(gf, goheap_may_hide(file_inode(file)));
	if (err)
		goto out_free;
	file->f_mapping = gf->inode->i_mapping;
	file->private_data = gf;
	return 0;

out_free:
	kfree(gf);
	return err;
}

/* Never under the mmap lock: the last fput() is always deferred. */
static int goheap_release(struct inode *inode, struct file *file)
{
	struct goheap_file *gf = file->private_data;

	goheap_file_exit(gf);
	kfree(gf);
	return 0;
}

/* ---- mmap ----------------------------------------------------------------- */

static vm_fault_t goheap_ctl_fault(struct vm_fault *vmf)
{
	struct goheap_file *gf = vmf->vma->vm_file->private_data;
	struct page *page;

	if (vmf->pgoff != GOHEAP_OFF_CTL >> PAGE_SHIFT)
		return VM_FAULT_SIGBUS;
	/* Also for a forked child, which reads what its parent's heap is told. */
	page = virt_to_page(smp_load_acquire(&gf->heap)->ctl);
	get_page(page);
	vmf->page = page;
	return 0;
}

static const struct vm_operations_struct goheap_ctl_ops = {
	.fault = goheap_ctl_fault,
};

static int goheap_mmap_ctl(struct goheap_file *gf, struct vm_area_struct *vma)
{
	struct goheap *heap = goheap_of(gf);

	if (IS_ERR(heap))
		return PTR_ERR(heap);
	if (vma->vm_end - vma->vm_start != PAGE_SIZE || vma->vm_flags & VM_WRITE)
		return -EINVAL;
	goheap_vm_flags_mod(vma, VM_DONTEXPAND | VM_DONTDUMP, VM_MAYWRITE);
	vma->vm_ops = &goheap_ctl_ops;
	return 0;
}

/*
 * An arena begins at a multiple of 2 MiB, so that its blocks can be huge pages.
 * Not left to thp_get_unmapped_area(): a kernel without huge pages, as those for
 * real time are, has no such function, and an arena has to begin there all the same.
 */
static unsigned long goheap_get_unmapped_area(struct file *file, unsigned long addr,
					      unsigned long len, unsigned long pgoff,
					      unsigned long flags)
{
	unsigned long at = goheap_unmapped_area(file, addr, len, pgoff, flags);

	if (flags & MAP_FIXED || pgoff != GOHEAP_OFF_ARENA >> PAGE_SHIFT ||
	    IS_ERR_VALUE(at) || IS_ALIGNED(at, GH_HUGE_SIZE))
		return at;
	at = goheap_unmapped_area(file, addr, len + GH_HUGE_SIZE, pgoff, flags);
	return IS_ERR_VALUE(at) ? at : ALIGN(at, GH_HUGE_SIZE);
}

static int goheap_mmap_arena(struct goheap_file *gf, struct vm_area_struct *vma)
{
	unsigned long bytes = vma->vm_end - vma->vm_start;
	int err;

	if (vma->vm_flags & (VM_SHARED | VM_MAYSHARE))
		return -EINVAL;
	if (bytes % GOHEAP_ARENA_STEP || bytes > goheap_max_arena_bytes() ||
	    !IS_ALIGNED(vma->vm_start, GH_HUGE_SIZE))
		return -EINVAL;
	err = goheap_bind(gf, vma->vm_start, bytes);
	if (err)
		return err;
	/* Offsets are addresses; also for pieces that are moved before they are touched. */
	vma->vm_pgoff = vma->vm_start >> PAGE_SHIFT;
	vma_set_anonymous(vma);
	return 0;
}

static int goheap_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct goheap_file *gf = file->private_data;

	if (vma->vm_pgoff == GOHEAP_OFF_ARENA >> PAGE_SHIFT)
		return goheap_mmap_arena(gf, vma);
	if (vma->vm_pgoff == GOHEAP_OFF_CTL >> PAGE_SHIFT)
		return goheap_mmap_ctl(gf, vma);
	return -EINVAL;
}

/* ---- ioctl ---------------------------------------------------------------- */

/*
 * What was taken to be released before a process was forked goes from the child's copy of the
 * arena, too.  Who is told that the heap is not its own may write there from then on, so
 * that is over by then.
 */
static long goheap_ioctl(struct file *file, unsigned int nr, unsigned long uarg)
{
	struct goheap_file *gf = file->private_data;
	long err = goheap_cmd_run(gf, nr, (void __user *)uarg);

#ifndef GOHEAP_BREAK_STRADDLE
	/* ATTACH tells an open that has no heap of one that is another's. */
	if (err == -ESTALE && smp_load_acquire(&gf->heap))	/* pairs as in goheap_of() */
		err = goheap_wait_release(gf->heap) ?: err;
#endif
	return err;
}

/* ---- poll ----------------------------------------------------------------- */

/* True once for each value of the generation, or more than one, whoever asks. */
static bool goheap_pressure_is_news(struct goheap_file *gf, struct goheap *heap)
{
	s64 gen = goheap_pressure_events(heap);
	s64 told = atomic64_read(&gf->pressure_told);

	while (gen > told)
		if (atomic64_try_cmpxchg(&gf->pressure_told, &told, gen))
			return true;
	return false;
}

/*
 * Before there is a heap there is nothing to wait for, and in another process there
 * never will be: an error, as from a command, which takes no news from the owner.
 */
static __poll_t goheap_poll(struct file *file, struct poll_table_struct *wait)
{
	struct goheap_file *gf = file->private_data;
	struct goheap *heap = goheap_of(gf);

	if (IS_ERR(heap))
		return EPOLLERR;
	poll_wait(file, &heap->pressure_wait, wait);
	smp_mb();	/* pairs with goheap_raise_pressure(): seen here, or woken there */
	/* Who did not ask is not told, and must not use up what another waits for. */
	if (!(poll_requested_events(wait) & EPOLLPRI))
		return 0;
	return goheap_pressure_is_news(gf, heap) ? EPOLLPRI : 0;
}

const struct file_operations goheap_fops = {
	.owner		   = THIS_MODULE,
	.open		   = goheap_open,
	.release	   = goheap_release,
	.mmap		   = goheap_mmap,
	.get_unmapped_area = goheap_get_unmapped_area,
	.unlocked_ioctl	   = goheap_ioctl,
	.compat_ioctl	   = compat_ptr_ioctl,
	.poll		   = goheap_poll,
	.uring_cmd	   = goheap_uring_cmd,
	.llseek		   = noop_llseek,
};

struct miscdevice goheap_misc = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "goheap",
	.fops	= &goheap_fops,
	.groups	= goheap_total_groups,
	.mode	= 0666,
};
