// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The walk over the heap that programs may make.  Of each span in use a copy is taken
 * under the lock, and shown when the lock is dropped: so the program may do as it
 * likes when it is called, and sees of one span one moment.
 */
#include <goheap.h>
#include "mspan.h"

#define MAX_WINDOWS	(GHU_MAX_OBJECTS / 64)
/* Unused records that are passed while the lock is held. */
#define BATCH		64u

struct copy {
	struct goheap_area area;
	size_t stride;		/* from one object to the next */
	uint64_t live[MAX_WINDOWS];
};

/* Bits of those objects of window w that are in use. */
static uint64_t live_objects(const struct ghu_mspan *s, unsigned int w)
{
	const uint8_t *states = ghu_states(s) + 64 * w;

	return ghu_match64(states, GHU_OBJ_LIVE) | ghu_match64(states, GHU_OBJ_WATCH) |
	       ghu_match64(states, GHU_OBJ_SAMPLED);
}

static void copy_large(struct copy *c, const struct ghu_mspan *s)
{
	c->live[0] = ghu_is_live(ghu_state(ghu_states(s)));
	if (s->guarded)
		c->area.bytes -= GHU_PAGE_SIZE;
	c->area.object_bytes = c->area.bytes;
	c->area.live = c->live[0];
}

static void copy_small(struct copy *c, const struct ghu_mspan *s)
{
	c->stride = s->elemsize;
	c->area.object_bytes = ghu_mspan_class(s) == GHU_ZERO_CLASS ? 0 : s->elemsize;
	for (unsigned int w = 0; w < ghu_classes[ghu_mspan_class(s)].nwindows; w++) {
		c->live[w] = live_objects(s, w);
		c->area.live += (size_t)__builtin_popcountll(c->live[w]);
	}
}

static void copy_span(struct copy *c, const struct ghu_mspan *s)
{
	size_t npages = __atomic_load_n(&s->npages, __ATOMIC_RELAXED);

	*c = (struct copy){ .area = {
		.start = (void *)s->base,
		.bytes = npages << GHU_PAGE_SHIFT,
		.objects = ghu_mspan_class(s) ? ghu_classes[ghu_mspan_class(s)].nelems : 1,
	} };
	if (ghu_mspan_class(s))
		copy_small(c, s);
	else
		copy_large(c, s);
}

/* Copies the first span in use among the next records, if there is one.  False: they were the last. */
static bool next_copy(struct ghu_mspan_iter *it, struct copy *c)
{
	const struct ghu_mspan *s = NULL;

	c->area.start = NULL;
	ghu_lock(&ghu_spans.lock);
	for (unsigned int n = 0; n < BATCH; n++) {
		s = ghu_mspan_iterate(it);
		if (!s)
			break;
		if (ghu_mspan_where(s) != GHU_SPAN_IS_DEAD) {
			copy_span(c, s);
			break;
		}
	}
	ghu_unlock(&ghu_spans.lock);
	return s;
}

static int show_objects(const struct copy *c, goheap_walk_fn fn, void *arg)
{
	for (size_t w = 0; w * 64 < c->area.objects; w++) {
		for (uint64_t m = c->live[w]; m; m &= m - 1) {
			size_t i = w * 64 + (size_t)__builtin_ctzll(m);
			int ret = fn(&c->area, (char *)c->area.start + i * c->stride,
				     arg);

			if (ret)
				return ret;
		}
	}
	return 0;
}

ghu_export int goheap_walk(goheap_walk_fn fn, void *arg)
{
	struct ghu_mspan_iter it = { 0 };
	struct copy c;
	int ret = 0;

	while (!ret && next_copy(&it, &c)) {
		if (!c.area.start)
			continue;
		ret = fn(&c.area, NULL, arg);
		if (!ret)
			ret = show_objects(&c, fn, arg);
	}
	return ret;
}
