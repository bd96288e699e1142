/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What the page heap in module/core needs of its home, in the kernel.  The
 * library has a header of the same name; -I chooses.  Both offer the same
 * functions and macros under the kernel's names, and the core includes nothing
 * else: a change here needs its counterpart in userlib/port/gh_port.h.
 */
#ifndef GH_PORT_H
#define GH_PORT_H

#include <linux/bitmap.h>
#include <linux/bug.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/lockdep.h>
#include <linux/log2.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/types.h>

/* How records of spans are asked for: as much as the smallest page of a machine. */
#define GH_CHUNK_BYTES	4096

/*
 * Zeroed memory for metadata, charged to the caller's memcg.  May sleep, and is
 * never called with a lock held.  A user decides how much is asked for, so that
 * a failure must not print; and at the limit of the memcg it is an error for the
 * program that asks, and no reason to kill one that has more memory.
 */
static inline void *gh_meta_alloc(size_t bytes)
{
	return kvzalloc(bytes, GFP_KERNEL_ACCOUNT | __GFP_NOWARN |
			       __GFP_RETRY_MAYFAIL);
}

static inline void gh_meta_free(void *p, size_t bytes)
{
	kvfree(p);
}

#endif /* GH_PORT_H */
