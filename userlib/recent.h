/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Objects of a class that the thread freed of late, whosever spans they lie in, to be
 * allocated again first.
 *
 * A program that replaces objects at random frees next to nothing in the window that is
 * open.  Spans would have to be swept for what it freed, and each has little of it.  Here it
 * finds that at once.  A program that frees what it just allocated, or all of it, finds
 * that by opening windows, for less than stacks would take; so stacks hold nothing until
 * windows turn out to be sparse, or a span is got that others let go of; then those of all
 * classes that the thread uses do (mcache.c).
 *
 * What is in a stack is KEPT: it keeps its span alive, like an object in use, and only
 * the thread may hand it out.  A stack is emptied, and no longer used until there is need
 * again, as soon as it turns out to be all that keeps a span.  So who frees everything
 * and sleeps does not leave spans behind.
 *
 * Where allocations are sampled a stack is counted, like a window, when what is in it is
 * about to be allocated (mcache_sample.c).
 */
#ifndef GHU_RECENT_H
#define GHU_RECENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "sys.h"

/*
 * Of a class there are two: what is freed goes to one, and what is allocated comes from the
 * other, until that is empty, and they change places.  With one stack, malloc() would have to wait
 * for the free() before it to find out which class's stack grows.
 *
 * A stack takes so many places, from a multiple of their size on.  It is full when its end
 * is at the end of them, and empty when the object before its end has no address: the place
 * below the first object.  So one word of the cache says all of it.  Of stacks that may
 * hold nothing both are NULL.
 */
#define GHU_RECENT_SLOTS	32u
#define GHU_RECENT_MAX		(GHU_RECENT_SLOTS - 1)

struct ghu_mcache;
struct ghu_mcache_class;

struct ghu_recent_object {
	uintptr_t addr;
	uint8_t *state;
};

#define GHU_RECENT_BYTES	(GHU_RECENT_SLOTS * sizeof(struct ghu_recent_object))
/*
 * The stacks change places when so much was freed.  With less there is more to do than to
 * open a window, which there is then until enough was freed.
 */
#define GHU_RECENT_WORTH	8u
/* Objects that may be kept with the watch of their span before the stacks change places. */
#define GHU_RECENT_WATCHES	2u

#pragma GCC visibility push(hidden)

/* Taken across fork(). */
extern struct ghu_lock ghu_recent_lock;
/* Bytes that stacks take, if all of them were touched. */
extern uint64_t ghu_recent_sys;

/* Whether the thread has stacks that may hold something; else free() need not look. */
extern __thread bool ghu_recent_used __attribute__((tls_model("initial-exec")));

/* Objects of the class are hard to find: keeps what is freed of it from now on. */
void ghu_recent_begin(struct ghu_mcache *mc, size_t sizeclass);
/* The objects become free, and none is kept from now on, until there is need again. */
void ghu_recent_drop(struct ghu_mcache *mc, size_t sizeclass);
/* Objects in the stacks. */
unsigned int ghu_recent_count(const struct ghu_mcache_class *c);
/* The cache goes away; it has been flushed. */
void ghu_recent_free(struct ghu_mcache *mc);

#pragma GCC visibility pop

#endif
