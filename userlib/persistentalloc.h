/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Small permanent metadata: a bump allocator that never frees.  Its memory is
 * zeroed and lies outside every arena.  Thread safe.
 */
#ifndef GHU_PERSISTENTALLOC_H
#define GHU_PERSISTENTALLOC_H

#include <stddef.h>
#include <stdint.h>

#define GHU_PERSISTENT_CHUNK		((size_t)256 << 10)
/* Requests of this size and more get a mapping of their own. */
#define GHU_PERSISTENT_MAX_BLOCK	((size_t)64 << 10)
#define GHU_PERSISTENT_MAX_ALIGN	((size_t)8192)

/*
 * Bytes obtained from the system, by purpose: every caller of persistentalloc
 * names the counter that its bytes belong to; what chunks hold in reserve, and
 * bytes of callers that name none, are in ghu_other_sys.
 */
extern uint64_t ghu_other_sys;

/*
 * align is a power of two of at most 8192, or 0 for 8.  stat: a counter, or NULL
 * for ghu_other_sys.  Fatal if there is no memory.
 */
void *ghu_persistentalloc(size_t size, size_t align, uint64_t *stat);
/* The same, but NULL if there is no memory. */
void *ghu_persistentalloc_try(size_t size, size_t align, uint64_t *stat);

/* Held around fork(), so that the child finds the bump pointer consistent. */
void ghu_persistentalloc_fork_prepare(void);
void ghu_persistentalloc_fork_done(void);

#endif
