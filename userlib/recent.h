/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Objects that the thread freed of late in spans which are nobody's own, for each class
 * a stack, to be allocated again first.
 *
 * A program that replaces objects of a large heap at random frees next to nothing in
 * the few spans that its thread owns.  Other spans would have to be swept for what it
 * freed, and each has little of it.  Here it finds that at once.  What is freed in the
 * thread's own spans is found by its window as quickly; such frees do not come by.
 *
 * What is in a stack is KEPT: it keeps its span alive, like an object in use, and only
 * the thread may hand it out.  A stack holds nothing until the thread has had to ask
 * mcentral for a second span of the class, and more each time; it is emptied, and no
 * longer used, as soon as it turns out to be all that keeps a span.  So who
 * frees everything and sleeps does not leave spans behind.
 *
 * While allocations are sampled stacks hold nothing, since only windows count
 * (mcache_sample.c).
 */
#ifndef GHU_RECENT_H
#define GHU_RECENT_H

#include <stddef.h>
#include <stdint.h>
#include "sys.h"

#define GHU_RECENT_MAX	64u

struct ghu_mcache;

struct ghu_recent_object {
	uintptr_t addr;
	uint8_t *state;
};

#pragma GCC visibility push(hidden)

/* Taken across fork(). */
extern struct ghu_lock ghu_recent_lock;
/* Bytes that stacks take, if all of them were touched. */
extern uint64_t ghu_recent_sys;

/* The thread asks mcentral for a span of the class: keeps more of it from now on, if it has one. */
void ghu_recent_grow(struct ghu_mcache *mc, size_t sizeclass);
/* The objects become free, and none is kept from now on, until there is need again. */
void ghu_recent_drop(struct ghu_mcache *mc, size_t sizeclass);
/* The cache goes away; it has been flushed. */
void ghu_recent_free(struct ghu_mcache *mc);

#pragma GCC visibility pop

#endif
