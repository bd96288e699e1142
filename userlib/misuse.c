// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The last words about a pointer that is no live object: whether it was one.  The
 * program ends here, so time is no matter.
 *
 * Of a span that went back to the page heap nothing is known but its pages, and
 * another object may lie there now.
 */
#include "misuse.h"
#include "mspan.h"
#include "pagemap.h"

/* Whether the address is in a large object; only the first page of one is in the page map. */
static bool is_in_large(uintptr_t addr)
{
	struct ghu_mspan_iter it = { 0 };
	const struct ghu_mspan *s;

	ghu_lock(&ghu_spans.lock);
	while ((s = ghu_mspan_iterate(&it)))
		if (ghu_mspan_where(s) == GHU_SPAN_IS_LARGE &&
		    addr - s->base < s->npages << GHU_PAGE_SHIFT)
			break;
	ghu_unlock(&ghu_spans.lock);
	return s;
}

static bool was_object(uintptr_t addr)
{
	const struct ghu_mspan *s = ghu_pagemap_get(addr);
	uint32_t index;
	uint8_t state;

	if (s == &ghu_mspan_gone)
		return !is_in_large(addr);
	if (!s || !ghu_find_object(s, addr, &index))
		return false;
	state = ghu_state(&ghu_states(s)[index]);
	return state == GHU_OBJ_TAIL ? index < ghu_classes[ghu_mspan_class(s)].nelems
				     : !ghu_is_live(state);
}

ghu_noinline void ghu_bad_pointer(const struct ghu_complaint *c, uintptr_t addr)
{
	ghu_fatal_addr(was_object(addr) ? c->freed : c->invalid, addr);
}
