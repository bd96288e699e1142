// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Stacks of objects freed of late: their size, and how they are emptied.
 *
 * All stacks of a thread are one mapping, of which only the pages of classes are
 * touched that are used.  It goes to the next thread when its own ends; but only so many
 * wait for one, since a storm of threads would leave as many as were alive at once.
 */
#include "mcache.h"
#include "mcentral.h"
#include "pagemap.h"
#include "persistentalloc.h"
#include "recent.h"

/* Bytes of all objects in a stack. */
#define BYTES_MAX	65536u
/* Mappings that wait for a thread. */
#define UNUSED_MAX	8u

struct ghu_recent_stacks {
	struct ghu_recent_object objects[GHU_NUM_CLASSES][2][GHU_RECENT_SLOTS];
} __attribute__((aligned(GHU_RECENT_BYTES)));

struct ghu_lock ghu_recent_lock;
uint64_t ghu_recent_sys;
__thread bool ghu_recent_used __attribute__((tls_model("initial-exec")));
/* Of threads that are gone, linked by their first word. */
static struct ghu_recent_stacks *unused;
static unsigned int nr_unused;

_Static_assert(sizeof(struct ghu_recent_stacks) >= GHU_PERSISTENT_MAX_BLOCK,
	       "a mapping of their own, which can be given back");

static struct ghu_recent_stacks *make_stacks(void)
{
	struct ghu_recent_stacks *st;

	ghu_lock(&ghu_recent_lock);
	st = unused;
	if (st) {
		unused = *(struct ghu_recent_stacks **)st;
		nr_unused--;
	}
	ghu_unlock(&ghu_recent_lock);
	return st ? st : ghu_persistentalloc_try(sizeof(*st), _Alignof(struct ghu_recent_stacks), &ghu_recent_sys);
}

static uint32_t limit_of(size_t sizeclass)
{
	uint32_t nr = BYTES_MAX / ghu_classes[sizeclass].size;

	return nr < GHU_RECENT_MAX ? nr : GHU_RECENT_MAX;
}

static unsigned int count(const struct ghu_recent_object *end)
{
	unsigned int nr = 0;

	for (; ghu_recent_any(end); end--)
		nr++;
	return nr;
}

unsigned int ghu_recent_count(const struct ghu_mcache_class *c)
{
	return count(c->recent) + count(c->freed);
}

/* An empty stack for so many. */
static struct ghu_recent_object *empty_stack(struct ghu_recent_object *slots, uint32_t max)
{
	struct ghu_recent_object *end = slots + GHU_RECENT_SLOTS - max;

	/* Its state is prefetched, too. */
	end[-1] = (struct ghu_recent_object){ .addr = 0, .state = (uint8_t *)end };
	return end;
}

void ghu_recent_begin(struct ghu_mcache *mc, size_t sizeclass)
{
	struct ghu_mcache_class *c = &mc->classes[sizeclass];

	if (ghu_likely(c->freed) || sizeclass == GHU_ZERO_CLASS || !c->span ||
	    limit_of(sizeclass) < GHU_RECENT_WORTH)
		return;
	if (!mc->stacks) {
		mc->stacks = make_stacks();
		if (!mc->stacks)
			return;
	}
	ghu_recent_used = true;
	c->recent = empty_stack(mc->stacks->objects[sizeclass][0], limit_of(sizeclass));
	c->freed = empty_stack(mc->stacks->objects[sizeclass][1], limit_of(sizeclass));
}

/* If it was put on WATCH meanwhile, its span may be empty without it. */
static void let_go(const struct ghu_recent_object *o)
{
	struct ghu_mspan *s;
	uint32_t index;

	if (ghu_replace8(o->state, GHU_OBJ_KEPT, GHU_OBJ_FREE))
		return;
	/* Else the thread was pushing or popping it when another one forked. */
	if (ghu_state(o->state) != GHU_OBJ_KEPT_WATCH)
		return;
	s = ghu_pagemap_get(o->addr);
	if (ghu_find_object(s, o->addr, &index))
		ghu_mcentral_free_watched(s, index, GHU_OBJ_KEPT_WATCH);
}

void ghu_recent_drop(struct ghu_mcache *mc, size_t sizeclass)
{
	struct ghu_mcache_class *c = &mc->classes[sizeclass];

	while (ghu_recent_any(c->recent))
		let_go(--c->recent);
	while (ghu_recent_any(c->freed))
		let_go(--c->freed);
	c->recent = c->freed = NULL;
	c->window.watches = 0;
}

/* False: enough of them wait already. */
static bool keep_unused(struct ghu_recent_stacks *st)
{
	bool room;

	ghu_lock(&ghu_recent_lock);
	room = nr_unused < UNUSED_MAX;
	if (room) {
		*(struct ghu_recent_stacks **)st = unused;
		unused = st;
		nr_unused++;
	}
	ghu_unlock(&ghu_recent_lock);
	return room;
}

void ghu_recent_free(struct ghu_mcache *mc)
{
	struct ghu_recent_stacks *st = mc->stacks;

	mc->stacks = NULL;
	if (!st || keep_unused(st))
		return;
	ghu_munmap((uintptr_t)st, sizeof(*st));
	__atomic_fetch_sub(&ghu_recent_sys, sizeof(*st), __ATOMIC_RELAXED);
}
