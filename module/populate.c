// SPDX-License-Identifier: GPL-2.0
/*
 * Populating: the pages of a span are faulted in before its owner touches it, for
 * writing, by the call that allocated the span.
 *
 * What happens is what would happen if the owner touched each page: fresh pages are
 * zero and may be huge, resident ones stay what they are, swapped ones come back, one
 * that is shared with a forked child is copied; they are charged as ever.  Only pieces
 * of the arena that can be written are touched: not those that the process has
 * protected, as the library does with what it has not come to, nor what it has mapped
 * in the arena's place.  Whatever fails ends it, and is nobody's error: the span is
 * there, and the pages come, or do not, when it is used.
 *
 * It runs in the owner's address space: in its own threads or those of its io_uring,
 * whose workers have the same.  Not one lock of ours is held: a fault takes page-table
 * locks and may go into reclaim, and so to our own shrinker.  Meanwhile another thread
 * may free the span, or unmap it; then pages come to idle memory, as when a program
 * writes to what it freed.
 *
 * The mmap lock is dropped every 2 MiB, for those that wait to write, and by the
 * kernel itself when a fault waits for a device or for a userfaultfd.  Nothing that was
 * seen under it is used after that.
 */
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/sched.h>

#include "heap.h"

/* For which the mmap lock is held at a time. */
#define GOHEAP_POPULATE_STEP	((unsigned long)GH_HUGE_PAGES << GH_PAGE_SHIFT)

/* Whether @vma is a piece of the heap's arena that can be written. */
static bool goheap_may_populate(struct goheap *heap, struct vm_area_struct *vma)
{
	return vma->vm_file && vma->vm_file->f_mapping == heap->inode->i_mapping &&
	       vma_is_anonymous(vma) && vma->vm_flags & VM_WRITE;
}

/* How much one fault brought in at @addr, which was just faulted in, under the mmap lock. */
static unsigned long goheap_fault_size(unsigned long addr)
{
	pmd_t pmd = READ_ONCE(*pmd_off(current->mm, addr));

	return pmd_trans_huge(pmd) ? PMD_SIZE : PAGE_SIZE;
}

/*
 * One fault, or one step over what is not to be populated.  The next address, 0: no
 * more.  A fault is not begun, nor waited for, when a fatal signal is pending.
 */
static unsigned long goheap_populate_one(struct goheap *heap, unsigned long addr)
{
	struct vm_area_struct *vma = find_vma(current->mm, addr);
	unsigned long size = PAGE_SIZE;
	bool unlocked = false;

	if (!vma)
		return 0;
	if (vma->vm_start > addr)
		return vma->vm_start;
	if (!goheap_may_populate(heap, vma))
		return vma->vm_end;
	if (fixup_user_fault(current->mm, addr, FAULT_FLAG_WRITE, &unlocked))
		return 0;
	if (!unlocked)
		size = goheap_fault_size(addr);
	return (addr & ~(size - 1)) + size;
}

/* To the next multiple of the step.  The next address, 0: no more. */
static unsigned long goheap_populate_step(struct goheap *heap, unsigned long addr,
					  unsigned long end)
{
	unsigned long stop = min(end, (addr | (GOHEAP_POPULATE_STEP - 1)) + 1);

	if (mmap_read_lock_killable(current->mm))
		return 0;
	while (addr && addr < stop)
		addr = goheap_populate_one(heap, addr);
	mmap_read_unlock(current->mm);
	cond_resched();
	return addr;
}

/*
 * Needs current->mm to be the heap's, and no lock held.  False: a fault failed, or the
 * process is being killed; more of it is not worth trying.
 */
bool goheap_populate(struct goheap *heap, unsigned long start, unsigned long bytes)
{
	unsigned long addr = start & PAGE_MASK, end = start + bytes;

	while (addr && addr < end)
		addr = goheap_populate_step(heap, addr, end);
	return addr;
}
