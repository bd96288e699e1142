// SPDX-License-Identifier: GPL-2.0
/*
 * The commands by io_uring: those on spans, and SCAVENGE.
 *
 * Each completes by what goheap_uring_cmd() returns, 0 or an error, in the
 * context that called it; nothing is kept beyond the call, so nothing needs to be
 * cancelled.  A positive value must never be returned: kernels before 6.12 then
 * lose the completion, and with it the ring, the file and this module.
 *
 * The context is the submitter, the ring's polling thread, or one of its workers.
 * All have the address space of the process that submits, which need not be the
 * heap's own: goheap_of() looks, as it does for an ioctl.
 *
 * Where to run.  A submitter is told by IO_URING_F_NONBLOCK that it should not be
 * held up; -EAGAIN then has the call repeated by a worker, which costs a change of
 * task there and back, more than what most commands do.  So:
 *  - SPAN_ALLOC and SPAN_FREE do not ask for one.  They may sleep, in the heap
 *    mutex, for records, and for pages of the argument, and calls from a submitter
 *    are allowed to: what others call blocking is to wait for a device or for
 *    another program.  The mutex is held for a chunk of a vector at most, and user
 *    memory is what io_uring itself copies from and pins while it submits.  Only
 *    an allocation for which the arena is full releases idle memory first, and
 *    waits for the mmap lock, as it does by ioctl.
 *  - SCAVENGE always does, where its payload survives that.  It waits for the mmap
 *    lock and for other releasers, and a large heap takes long.
 *  - So does SPAN_ALLOC with POPULATE: clearing pages takes longer than the change,
 *    and the program is to go on meanwhile.  The flag is in user memory, where it
 *    may change between this look and the command's own: then the command does what
 *    it finds, where it is.
 * The decision falls before anything has happened: -EAGAIN from later on would
 * carry out a command twice.  No command returns it.
 */
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "heap.h"

/* An argument that cannot be read is found by the command. */
static bool goheap_uring_populates(u64 arg)
{
	const struct goheap_span_vec __user *vec = u64_to_user_ptr(arg);
	u32 flags;

	return !get_user(flags, &vec->flags) && flags & GOHEAP_VEC_POPULATE;
}

/* Whether it is to be handed on; only before anything has happened. */
static bool goheap_uring_for_worker(unsigned int nr, u64 arg, unsigned int issue_flags)
{
	if (!GOHEAP_URING_KEEPS_PAYLOAD || !(issue_flags & IO_URING_F_NONBLOCK))
		return false;
	return nr == GOHEAP_SCAVENGE || (nr == GOHEAP_SPAN_ALLOC && goheap_uring_populates(arg));
}

int goheap_uring_cmd(struct io_uring_cmd *ioucmd, unsigned int issue_flags)
{
	const struct goheap_uring *payload = goheap_uring_payload(ioucmd, struct goheap_uring);
	const struct goheap_cmd *cmd = goheap_cmd_find(ioucmd->cmd_op);
	u64 arg;

	if (!cmd)
		return -ENOTTY;
	switch (cmd->nr) {
	case GOHEAP_SPAN_ALLOC:
	case GOHEAP_SPAN_FREE:
	case GOHEAP_SCAVENGE:
		break;
	default:
		return -EOPNOTSUPP;
	}
	/* The process may be writing it meanwhile: each is read once. */
	if (READ_ONCE(payload->reserved))
		return -EINVAL;
	arg = READ_ONCE(payload->arg);
	if (goheap_uring_for_worker(cmd->nr, arg, issue_flags))
		return -EAGAIN;
	return goheap_cmd_run(ioucmd->file->private_data, cmd->nr, u64_to_user_ptr(arg));
}
