// SPDX-License-Identifier: MIT OR GPL-2.0
/* Statistics as goheap.h has them. */
#include <goheap.h>
#include <string.h>
#include "stats.h"
#include "sys.h"

static void fill_objects(const struct ghu_stats *st, struct goheap_memstats *ms)
{
	ms->alloc = st->class[0].bytes;
	ms->total_alloc = st->large_allocated;
	for (size_t i = 0; i < GHU_NUM_CLASSES; i++) {
		const struct ghu_class_stats *c = &st->class[i];

		ms->mallocs += c->mallocs;
		ms->frees += c->frees;
		ms->heap_objects += c->live;
		ms->heap_inuse += c->bytes;
		ms->alloc += c->live * ghu_classes[i].size;
		ms->total_alloc += c->mallocs * ghu_classes[i].size;
	}
	ms->heap_alloc = ms->alloc;
}

/* While others allocate, the page heap may have said less than was found after that. */
static void fill_heap(const struct ghu_stats *st, struct goheap_memstats *ms)
{
	ms->heap_sys = st->heap.sys > ms->heap_inuse ? st->heap.sys : ms->heap_inuse;
	ms->heap_idle = ms->heap_sys - ms->heap_inuse;
	ms->heap_released = st->heap.released < ms->heap_idle ? st->heap.released : ms->heap_idle;
	ms->cached_spans = st->cached_bytes;
	ms->kernel_bytes = st->heap.kernel_bytes;
}

static void fill_large(const struct ghu_stats *st, struct goheap_memstats *ms)
{
	ms->large_objects = st->class[0].live;
	ms->large_inuse = st->class[0].bytes;
	ms->large_mallocs = st->class[0].mallocs;
	ms->large_frees = st->class[0].frees;
	ms->large_alloc_bytes = st->large_allocated;
	ms->large_free_bytes = st->large_freed;
}

void ghu_stats_memstats(const struct ghu_stats *st, struct goheap_memstats *ms)
{
	*ms = (struct goheap_memstats){
		.mspan_inuse = st->mspan_inuse,
		.mspan_sys = st->mspan_sys,
		.mcache_inuse = st->mcache_inuse,
		.mcache_sys = st->mcache_sys,
		.other_sys = st->other_sys,
		.sweeps = st->sweeps,
		.buck_hash_sys = st->profile_sys,
		.profile_lost = st->profile_lost,
	};
	fill_objects(st, ms);
	fill_heap(st, ms);
	fill_large(st, ms);
	ms->sys = ms->heap_sys + ms->mspan_sys + ms->mcache_sys +
		  ms->buck_hash_sys + ms->other_sys;
}

void ghu_stats_class(const struct ghu_stats *st, size_t sizeclass, struct goheap_class *c)
{
	const struct ghu_class_stats *from = &st->class[sizeclass];

	*c = (struct goheap_class){
		.size = ghu_classes[sizeclass].size,
		.objects = sizeclass ? ghu_classes[sizeclass].nelems : 1,
		.spans = from->spans,
		.bytes = from->bytes,
		.live = from->live,
		.mallocs = from->mallocs,
		.frees = from->frees,
	};
}

ghu_export void goheap_memstats(struct goheap_memstats *st, size_t size)
{
	struct goheap_memstats ms;
	struct ghu_stats stats;

	ghu_stats_collect(&stats);
	ghu_stats_memstats(&stats, &ms);
	memset(st, 0, size);
	memcpy(st, &ms, size < sizeof(ms) ? size : sizeof(ms));
}

ghu_export size_t goheap_by_size(struct goheap_class *table, size_t nr)
{
	struct ghu_stats stats;

	ghu_stats_collect(&stats);
	for (size_t i = 0; i < nr && i < GHU_NUM_CLASSES; i++)
		ghu_stats_class(&stats, i, &table[i]);
	return GHU_NUM_CLASSES;
}
