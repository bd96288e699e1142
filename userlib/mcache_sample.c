// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * What happens when a window is empty and allocations are sampled, for the profile or to
 * be guarded.
 *
 * It costs nothing where a window hands out objects: a window is counted when it is opened.
 * If the next sample is due among its objects, it ends before that one, and the next
 * allocation of the class is the sample.  Windows are not opened once more without
 * being counted, nor are objects that the thread freed allocated.  That a window may be
 * left with objects that were counted does no harm (sample.c), as long as nothing is
 * left out because a sample is due there.
 */
#include "mcache_refill.h"
#include "options.h"
#include "profile.h"
#include "sample.h"

/* When the next is due, if ever. */
static uint64_t next_sample(struct ghu_mcache *mc)
{
	return mc->rate ? ghu_next_sample(mc->rate, &mc->random) : UINT64_MAX;
}

static uint64_t next_guarded(struct ghu_mcache *mc)
{
	return mc->guarded ? ghu_next_sample(mc->guarded, &mc->random) : UINT64_MAX;
}

static void set_rates(struct ghu_mcache *mc)
{
	if (!mc->random)
		mc->random = ghu_sample_state();
	mc->rate = ghu_profile_rate();
	mc->guarded = ghu_options.sample;
	mc->next_sample = next_sample(mc);
	mc->next_guarded = next_guarded(mc);
}

static bool knows_rates(const struct ghu_mcache *mc)
{
	return mc->rate == ghu_profile_rate() && mc->guarded == ghu_options.sample;
}

static ghu_noinline void heed_rates(struct ghu_mcache *mc)
{
	struct ghu_mspan *s;

	set_rates(mc);
	ghu_mcache_drop_kept(mc);
	for (size_t c = 1; c < GHU_NUM_CLASSES; c++) {
		s = ghu_mcache_ring(mc, c);
		if (!s)
			continue;
		ghu_mcache_count_closed(mc, c);
		mc->classes[c].window.free = 0;
		mc->classes[c].window.due = 0;
		ghu_mcache_set_ring(mc, c, s);
	}
}

/* Whether an object of so many bytes is to be sampled. */
static bool count_bytes(struct ghu_mcache *mc, size_t bytes)
{
	if (bytes < mc->next_sample) {
		mc->next_sample -= bytes;
		return false;
	}
	mc->next_sample = next_sample(mc);
	return mc->rate;
}

/* One object is allocated.  What it is to be. */
static uint8_t count_object(struct ghu_mcache *mc, size_t bytes)
{
	uint8_t due = count_bytes(mc, bytes) ? GHU_SAMPLE_PROFILE : 0;

	if (--mc->next_guarded)
		return due;
	mc->next_guarded = next_guarded(mc);
	return due | GHU_SAMPLE_GUARDED;
}

/*
 * As much of the window is counted as by ghu_mcache_reopen_sampled(), objects or not.  If a
 * sample is due among them, it ends before that object; a sample that is due where
 * there are none is forgotten.
 */
static void count_window(struct ghu_mcache *mc, size_t sizeclass)
{
	struct ghu_window *w = &mc->classes[sizeclass].window;
	uint64_t rest = w->free, bytes = ghu_window_bytes(sizeclass);
	uint64_t sample = mc->next_sample, guarded = mc->next_guarded;
	uint8_t due = 0;

	if (sample <= bytes || guarded <= 64)
		while (rest && !(due = count_object(mc, w->elemsize)))
			rest &= rest - 1;
	if (due) {
		ghu_mcache_count_cut(mc, sizeclass, rest);
		w->free &= ~rest;
		mc->classes[sizeclass].window.due = due;
	} else {
		mc->next_sample = sample > bytes ? sample - bytes : next_sample(mc);
		mc->next_guarded = guarded > 64 ? guarded - 64 : next_guarded(mc);
	}
}

bool ghu_mcache_turn_cut(struct ghu_mcache_class *c, size_t sizeclass, size_t nr)
{
	uint8_t due = 0;

	while (nr-- && !(due = count_object(ghu_mcache, ghu_classes[sizeclass].size)))
		*c->recent++ = *--c->freed;
	c->window.due = due;
	c->window.zero = false;
	return ghu_recent_any(c->recent);
}

/*
 * As ghu_mcache_reopen_window().  If a sample was due in the window, it was not looked at before;
 * so where it has no objects, its bytes are counted nevertheless.
 */
static void *reopen(struct ghu_mcache *mc, size_t sizeclass)
{
	struct ghu_mcache_class *c = &mc->classes[sizeclass];
	void *p;

	if (!ghu_mcache_ring(mc, sizeclass))
		return NULL;
	p = ghu_mcache_reopen_window(c);
	if (!p)
		count_window(mc, sizeclass);
	else
		ghu_mcache_count_opened(mc, sizeclass, c->window.free | 1);
	return p;
}

/* Those of size 0 are not sampled. */
static ghu_noinline void *refill_sampled(struct ghu_mcache *mc, size_t sizeclass, uint8_t *due)
{
	uint8_t was_due = mc->classes[sizeclass].window.due;
	void *p;

	mc->classes[sizeclass].window.due = 0;
	p = reopen(mc, sizeclass);
	if (!p)
		p = ghu_mcache_refill_plain(mc, sizeclass);
	if (!p || sizeclass == GHU_ZERO_CLASS)
		return p;
	*due = was_due ? was_due : count_object(mc, ghu_classes[sizeclass].size);
	count_window(mc, sizeclass);
	return p;
}

void *ghu_mcache_refill_any(struct ghu_mcache *mc, size_t sizeclass, uint8_t *due)
{
	if (ghu_unlikely(!knows_rates(mc)))
		heed_rates(mc);
	if (!ghu_mcache_is_sampling(mc))
		return ghu_mcache_refill_plain(mc, sizeclass);
	return refill_sampled(mc, sizeclass, due);
}

void ghu_mcache_resample(void)
{
	if (ghu_mcache_is_own(ghu_mcache) && !knows_rates(ghu_mcache))
		heed_rates(ghu_mcache);
}

/* Without a cache one begins to count anew each time. */
bool ghu_mcache_is_sampled(size_t bytes)
{
	struct ghu_mcache none = { 0 };

	ghu_mcache_resample();
	if (ghu_mcache_is_own(ghu_mcache))
		return count_bytes(ghu_mcache, bytes);
	set_rates(&none);
	return count_bytes(&none, bytes);
}
