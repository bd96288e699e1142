// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * A thread that goes on from one size to another gives up empty spans and needs as many at
 * once.  The way to the next one by mcentral, empty.c and back takes five locks, whose lines other
 * threads write.  So a thread keeps a few at hand, beside what it owns (mcache.c); not if
 * threads are many, or memory matters more.
 *
 * They are OWNED, and in no ring: who looks at all records sees spans without objects.  They
 * change their class under ghu_spans.lock, for the same reason.
 */
#include "empty.h"
#include "mcache.h"
#include "mcentral.h"
#include "options.h"
#include "spare.h"

#define SPARE_MAX	4u

/* One page, and a record of the least length: each can become one of any class of these. */
static bool is_plain(unsigned int sizeclass)
{
	return ghu_classes[sizeclass].npages == 1 && ghu_classes[sizeclass].nwindows == 1;
}

static bool has_room(const struct ghu_mcache *mc)
{
	return mc->nr_spare < SPARE_MAX && ghu_mcache_is_own(mc) && !ghu_mcache_are_many() &&
	       !ghu_options.bgscavenge;
}

bool ghu_spare_keep(struct ghu_mcache *mc, struct ghu_mspan *s)
{
	if (!has_room(mc) || !is_plain(ghu_mspan_class(s)) || !ghu_empty_may_keep(s) ||
	    ghu_mspan_count_free(s) < s->nelems)
		return false;
	ghu_mspan_set_owner(s, mc);
	s->next = mc->spare;
	mc->spare = s;
	mc->nr_spare++;
	return true;
}

static struct ghu_mspan *pop(struct ghu_mcache *mc)
{
	struct ghu_mspan *s = mc->spare;

	mc->spare = s->next;
	mc->nr_spare--;
	return s;
}

struct ghu_mspan *ghu_spare_take(struct ghu_mcache *mc, unsigned int sizeclass)
{
	struct ghu_mspan *s;

	if (!mc->spare || !is_plain(sizeclass))
		return NULL;
	s = pop(mc);
	ghu_lock(&ghu_spans.lock);
	ghu_mspan_renew(s, sizeclass);
	ghu_unlock(&ghu_spans.lock);
	return s;
}

void ghu_spare_release(struct ghu_mcache *mc)
{
	while (mc->spare)
		ghu_mcentral_uncache_span(pop(mc));
}
