// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * A view of a thousand heaps, each second, must not be what keeps the machine busy.  A heap
 * that is on the screen is read in full; of the others only what they are sorted by, and
 * of no more than so many files at each refresh, in turns.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "cli.h"
#include "top_rows.h"

/* Files that are read for the order at each refresh. */
#define FILES_MAX	500

static uint64_t value_inuse(const struct heap *heap)
{
	return heap->value[HV_INUSE];
}

static uint64_t value_released(const struct heap *heap)
{
	return heap->value[HV_RELEASED];
}

static uint64_t value_pid(const struct heap *heap)
{
	/* The oldest first. */
	return UINT64_MAX - (uint64_t)heap->pid;
}

const struct top_order top_orders[] = {
	{ 'i', "idle", 1u << HV_IDLE | 1u << HV_RELEASED, heap_resident_idle },
	{ 'u', "inuse", 1u << HV_INUSE, value_inuse },
	{ 'r', "released", 1u << HV_RELEASED, value_released },
	{ 's', "scavenged", 1u << HV_SCAV_AGE | 1u << HV_SCAV_PRESSURE | 1u << HV_SCAV_DEMAND,
	  heap_scavenged },
	{ 'p', "pid", HEAP_PID, value_pid },
};
const size_t top_nr_orders = sizeof(top_orders) / sizeof(top_orders[0]);

/* ---- which there are ---- */

/* Takes over what is known of those that were there before; both are in order of id. */
static void take_over(struct top_rows *rows, const struct heaps *now)
{
	struct top_row *row = cli_alloc(now->nr + 1, sizeof(*row));
	size_t old = 0, nr = 0;

	rows->hidden = 0;
	for (size_t i = 0; i < now->nr; i++) {
		struct top_row *r = &row[nr];

		while (old < rows->nr && rows->row[old].heap.id < now->heap[i].id)
			old++;
		if (old < rows->nr && rows->row[old].heap.id == now->heap[i].id) {
			*r = rows->row[old];
			nr++;
			continue;
		}
		r->heap = now->heap[i];
		switch (heap_read(&r->heap, HEAP_PID | rows->order->want)) {
		case 0:
			nr++;
			break;
		case -EACCES:
			rows->hidden++;
		}
	}
	free(rows->row);
	rows->row = row;
	rows->nr = nr;
}

/* Of one that has gone meanwhile the old values stay, for this once. */
static void read_keys(struct top_rows *rows)
{
	size_t each = (size_t)__builtin_popcount(rows->order->want);
	size_t nr = rows->stale ? rows->nr : FILES_MAX / each;

	for (size_t i = 0; i < nr && i < rows->nr; i++) {
		if (rows->next >= rows->nr)
			rows->next = 0;
		heap_read(&rows->row[rows->next++].heap, rows->order->want);
	}
	rows->stale = false;
}

static int compare(const void *a, const void *b, void *order)
{
	const struct top_row *const *x = a, *const *y = b;
	const struct top_order *o = order;
	uint64_t v = o->value(&(*x)->heap), w = o->value(&(*y)->heap);

	/* Large ones first; the same in order of age, so that rows do not jump. */
	if (v != w)
		return v > w ? -1 : 1;
	return ((*x)->heap.id > (*y)->heap.id) - ((*x)->heap.id < (*y)->heap.id);
}

void top_update(struct top_rows *rows)
{
	struct heaps now;

	heaps_list(&now);
	take_over(rows, &now);
	heaps_free(&now);
	read_keys(rows);
	rows->sorted = cli_grow(rows->sorted, rows->nr + 1, sizeof(*rows->sorted));
	for (size_t i = 0; i < rows->nr; i++)
		rows->sorted[i] = &rows->row[i];
	qsort_r(rows->sorted, rows->nr, sizeof(*rows->sorted), compare, (void *)rows->order);
}

/* ---- what is on the screen ---- */

static void read_row(struct top_row *r, double now)
{
	uint64_t before = heap_scavenged(&r->heap);
	double since = now - r->read_at;
	bool again = r->read_at;

	if (heap_read(&r->heap, TOP_WANT))
		return;
	r->rate = again && since > 0 ? (double)(heap_scavenged(&r->heap) - before) / since : 0;
	r->read_at = now;
}

void top_read(struct top_rows *rows, size_t first, size_t nr, double now)
{
	for (size_t i = first; i < rows->nr && i < first + nr; i++)
		read_row(rows->sorted[i], now);
}
