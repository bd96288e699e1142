// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * A record comes from the list of freed ones if there is any, else it is the
 * next of a 16 KiB chunk from persistentalloc.  The first chunk is a record long, since
 * most programs need no more, and so what they allocate lies together.  The rest of a chunk that is too
 * short for a record is dropped when the next chunk is taken.  Chunks begin at a
 * cache line, so that records of a multiple of 64 bytes never share one.
 */
#include <string.h>
#include "fixalloc.h"
#include "persistentalloc.h"
#include "sys.h"

#define GHU_CACHE_LINE	64

void ghu_fixalloc_init(struct ghu_fixalloc *f, size_t size,
		       void (*first)(void *arg, void *p), void *arg, uint64_t *stat)
{
	size = (size + 7) & ~(size_t)7;
	if (size < sizeof(void *))
		size = sizeof(void *);
	if (size > GHU_FIXALLOC_CHUNK)
		ghu_fatal("runtime: fixalloc size too large");
	*f = (struct ghu_fixalloc){
		.size = size,
		.first = first,
		.arg = arg,
		.stat = stat,
		.zero = true,
	};
}

static void *reuse(struct ghu_fixalloc *f)
{
	void *p = f->list;

	memcpy(&f->list, p, sizeof(f->list));
	if (f->zero)
		memset(p, 0, f->size);
	return p;
}

static void *carve(struct ghu_fixalloc *f)
{
	void *p;

	if (f->nchunk < f->size) {
		size_t bytes = f->chunk ? GHU_FIXALLOC_CHUNK : f->size;
		char *chunk = ghu_persistentalloc_try(bytes, GHU_CACHE_LINE, f->stat);

		if (!chunk)
			return NULL;
		f->chunk = chunk;
		f->nchunk = bytes;
	}
	p = f->chunk;
	f->chunk += f->size;
	f->nchunk -= f->size;
	if (f->first)
		f->first(f->arg, p);
	return p;
}

void *ghu_fixalloc_alloc(struct ghu_fixalloc *f)
{
	void *p;

	if (!f->size) {
		ghu_print("runtime: use of FixAlloc_Alloc before FixAlloc_Init\n");
		ghu_fatal("runtime: internal error");
	}
	p = f->list ? reuse(f) : carve(f);
	if (p)
		f->inuse_bytes += f->size;
	return p;
}

void ghu_fixalloc_free(struct ghu_fixalloc *f, void *p)
{
	memcpy(p, &f->list, sizeof(f->list));
	f->list = p;
	f->inuse_bytes -= f->size;
}
