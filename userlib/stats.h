/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * What all reports on the heap are made of; stats.c says what the numbers mean.
 */
#ifndef GHU_STATS_H
#define GHU_STATS_H

#include "backend.h"
#include "sizeclass.h"

/* Of one class; 0: large objects. */
struct ghu_class_stats {
	uint64_t spans;
	uint64_t bytes;		/* of the spans */
	uint64_t live;		/* objects allocated and not freed */
	uint64_t mallocs;
	uint64_t frees;		/* mallocs - live */
};

struct ghu_stats {
	struct ghu_class_stats class[GHU_NUM_CLASSES];
	uint64_t large_allocated;	/* bytes */
	uint64_t large_freed;
	struct ghu_heap_stats heap;
	size_t cached_bytes;		/* of spans that the backend's cache keeps */
	size_t mspan_inuse, mspan_sys;
	size_t mcache_inuse, mcache_sys;
	size_t profile_sys;
	size_t other_sys;
	uint64_t profile_lost;
	uint64_t sweeps;		/* cycles begun */
};

#pragma GCC visibility push(hidden)

void ghu_stats_collect(struct ghu_stats *st);

/* The same as goheap.h has it; memstats.c. */
struct goheap_memstats;
struct goheap_class;
void ghu_stats_memstats(const struct ghu_stats *st, struct goheap_memstats *ms);
void ghu_stats_class(const struct ghu_stats *st, size_t sizeclass, struct goheap_class *c);

#pragma GCC visibility pop

/* Bytes of live objects of a class. */
static inline uint64_t ghu_stats_live_bytes(const struct ghu_stats *st, size_t sizeclass)
{
	const struct ghu_class_stats *c = &st->class[sizeclass];

	return sizeclass ? c->live * ghu_classes[sizeclass].size : c->bytes;
}

#endif
