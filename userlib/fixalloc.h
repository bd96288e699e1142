/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Fixed-size records for the library's own structures (mspan, mcache, ...), with
 * a free list in front of persistentalloc.  Memory is never unmapped, so that a
 * record stays readable, as a record of its type, after it was freed.
 *
 * Locking: the caller's.  One ghu_fixalloc is used by one thread at a time.
 */
#ifndef GHU_FIXALLOC_H
#define GHU_FIXALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GHU_FIXALLOC_CHUNK	((size_t)16 << 10)

struct ghu_fixalloc {
	size_t size;
	void (*first)(void *arg, void *p);	/* called for a record never used before */
	void *arg;
	void *list;				/* freed records, linked by their first word */
	char *chunk;				/* next byte never used */
	size_t nchunk;				/* bytes left there */
	size_t inuse_bytes;
	uint64_t *stat;				/* counter for persistentalloc, or NULL */
	bool zero;				/* clear records on reuse; init sets it */
};

/* size: at least that of a pointer, at most a chunk; rounded up to 8. */
void ghu_fixalloc_init(struct ghu_fixalloc *f, size_t size,
		       void (*first)(void *arg, void *p), void *arg, uint64_t *stat);
/*
 * A record, all zero, unless f->zero was cleared after init and it was used before.
 * NULL: no memory.
 */
void *ghu_fixalloc_alloc(struct ghu_fixalloc *f);
/* Overwrites the record's first word, and nothing else. */
void ghu_fixalloc_free(struct ghu_fixalloc *f, void *p);

#endif
