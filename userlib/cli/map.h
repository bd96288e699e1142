/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * The spans of a heap, for cmd_map.c and what it draws with: the part of the arena that
 * was ever used, without a gap, and where huge pages are behind it.
 */
#ifndef GOHEAP_CLI_MAP_H
#define GOHEAP_CLI_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "heaps.h"

/*
 * What a piece of an arena is: in use for objects up to some size, or free.  In the order
 * in which legends have them.
 */
enum map_kind {
	MAP_TINY,
	MAP_SMALL,
	MAP_MEDIUM,
	MAP_BIG,
	MAP_LARGE,	/* spans of one object each */
	MAP_OTHER,	/* with a tag that libgoheap does not use */
	MAP_IDLE,
	MAP_RELEASED,
	MAP_NR_KINDS,
};
#define MAP_NR_INUSE	MAP_IDLE

extern const char *const map_kind_names[MAP_NR_KINDS];

struct map_span {
	uint64_t addr, bytes;
	uint64_t unused_ms;	/* 0 in use */
	enum map_kind kind;
	uint8_t tag;		/* in use */
};

/* What can be known of huge pages depends on who asks whom. */
enum map_huge {
	MAP_HUGE_UNKNOWN,
	MAP_HUGE_TOTAL,		/* how many there are */
	MAP_HUGE_WHERE,		/* and which they are */
};

#define MAP_HUGE_SIZE	((uint64_t)2 << 20)

struct map {
	const struct heap *heap;
	struct map_span *span;
	size_t nr;
	uint64_t start, end;	/* of the part that was used; equal if none was */
	enum map_huge huge;
	uint64_t huge_bytes;
	bool *is_huge;		/* of each 2 MiB, from start on */
	char why[128];		/* not all is known of huge pages */
	struct map_sum {
		uint64_t bytes, spans, oldest_ms;
	} sum[MAP_NR_KINDS];
};

/* Ends the program if it cannot be had, and says why. */
void map_read(struct map *map, const struct heap *heap);
void map_free(struct map *map);
/* Where huge pages are; into map->huge. */
void map_read_huge(struct map *map);

/* Bytes of one object of this tag, 0 if each span is one or the tag means nothing. */
uint32_t map_object_size(uint8_t tag);

/* The piece at addr is part of a huge page, as far as is known. */
static inline bool map_is_huge(const struct map *map, uint64_t addr)
{
	return map->is_huge && map->is_huge[(addr - map->start) / MAP_HUGE_SIZE];
}

/* All that is in use. */
struct map_sum map_inuse(const struct map *map);

/* "redis-server (process 144), heap 1", in the caller's buffer. */
const char *map_title(const struct map *map, char *buf, size_t size);

/* ---- cut into cells of one length, for drawing ---- */

struct map_cell {
	uint64_t bytes[MAP_NR_KINDS], huge_bytes;
};

struct map_grid {
	const struct map *map;
	unsigned int columns, rows;
	uint64_t step;		/* bytes of a cell */
	struct map_cell *cell;
};

/* All of the map in up to so many rows: step is step_min, or that times a power of two. */
void map_grid_make(struct map_grid *grid, const struct map *map, unsigned int columns,
		   unsigned int rows_max, uint64_t step_min);
void map_grid_free(struct map_grid *grid);
/* What most of it is: in use, idle or released, then for which sizes; MAP_NR_KINDS: nothing. */
enum map_kind map_cell_kind(const struct map_cell *c);

/* ---- drawn into a file ---- */

/* By libcairo; path is one that passed map_check_path().  False, with a message: it failed. */
bool map_draw(const struct map *map, const char *path);
/* Ends with what is wrong, unless it is the name of a picture that can be drawn. */
void map_check_path(const char *path);

#endif
