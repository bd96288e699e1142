/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * What backend_device.c, the page heap in the kernel, and device_ahead.c, which has it
 * fetch spans ahead, know of each other.
 */
#ifndef GHU_DEVICE_H
#define GHU_DEVICE_H

#include <linux/goheap.h>
#include "heap.h"

struct device_heap {
	struct ghu_heap heap;
	struct ghu_lock lock;	/* to replace fd */
	int fd;
	uint64_t id;
	bool ahead;		/* spans can be fetched ahead */
};

/* A vector to allocate nr spans with. */
struct goheap_span_vec ghu_device_vec(const struct ghu_request *req, struct goheap_span *spans,
				      unsigned int nr);
void ghu_device_runs(const struct goheap_span *spans, unsigned int nr, struct ghu_run *runs);
/* The heap that answered by fd was not this one: gives it its spans back, and finds ours. */
int ghu_device_wrong_heap(struct device_heap *d, int fd, struct goheap_span_vec *v);
/* Up to nr runs that are here, of as many as were asked for; and asks for the next ones. */
unsigned int ghu_ahead_get(struct device_heap *d, const struct ghu_request *req,
			   struct ghu_run *runs, unsigned int nr);

#endif
