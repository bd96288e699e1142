/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* What goheap top shows: the heaps in an order, read as sparingly as that allows. */
#ifndef GOHEAP_CLI_TOP_ROWS_H
#define GOHEAP_CLI_TOP_ROWS_H

#include "heaps.h"

/* What can be sorted by. */
struct top_order {
	char key;
	const char *name;
	unsigned int want;	/* files that it takes */
	uint64_t (*value)(const struct heap *heap);
};
extern const struct top_order top_orders[];
extern const size_t top_nr_orders;

struct top_row {
	struct heap heap;
	double read_at;		/* in full; 0: not yet */
	double rate;		/* bytes released a second, between the last two times */
};

struct top_rows {
	struct top_row *row;	/* in order of id */
	size_t nr;
	struct top_row **sorted;
	size_t hidden;
	size_t next;		/* whose key is read next, of those off the screen */
	const struct top_order *order;
	bool stale;		/* the order is a new one: all keys must be read */
};

/* What a row shows. */
#define TOP_WANT	(HEAP_COMM | 1u << HV_SYS | 1u << HV_INUSE | 1u << HV_IDLE | \
			 1u << HV_RELEASED | 1u << HV_SCAV_AGE | 1u << HV_SCAV_PRESSURE | \
			 1u << HV_SCAV_DEMAND | 1u << HV_LIMIT_SOFT)

/* Which heaps there are now, sorted by what is known of them. */
void top_update(struct top_rows *rows);
/* Reads those in full that are on the screen: from first on, at most nr. */
void top_read(struct top_rows *rows, size_t first, size_t nr, double now);

#endif
