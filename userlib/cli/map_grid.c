// SPDX-License-Identifier: MIT OR GPL-2.0
/* A map cut into cells of one length, each of which knows how much of it is what. */
#include <stdlib.h>
#include "cli.h"
#include "map.h"

/* Adds [from, to), which is of one kind; MAP_NR_KINDS: on huge pages. */
static void fill(struct map_grid *grid, uint64_t from, uint64_t to, enum map_kind kind)
{
	uint64_t start = grid->map->start, next;

	for (; from < to; from = next) {
		size_t i = (from - start) / grid->step;
		struct map_cell *c = &grid->cell[i];

		next = start + (i + 1) * grid->step;
		if (next > to)
			next = to;
		if (kind < MAP_NR_KINDS)
			c->bytes[kind] += next - from;
		else
			c->huge_bytes += next - from;
	}
}

static void fill_all(struct map_grid *grid)
{
	const struct map *m = grid->map;

	for (size_t i = 0; i < m->nr; i++)
		fill(grid, m->span[i].addr, m->span[i].addr + m->span[i].bytes, m->span[i].kind);
	for (uint64_t addr = m->start; m->is_huge && addr < m->end; addr += MAP_HUGE_SIZE) {
		uint64_t end = addr + MAP_HUGE_SIZE;

		if (map_is_huge(m, addr))
			fill(grid, addr, end < m->end ? end : m->end, MAP_NR_KINDS);
	}
}

static unsigned int rows_for(const struct map_grid *grid)
{
	uint64_t row = grid->step * grid->columns;

	return (unsigned int)((grid->map->end - grid->map->start + row - 1) / row);
}

void map_grid_make(struct map_grid *grid, const struct map *map, unsigned int columns,
		   unsigned int rows_max, uint64_t step_min)
{
	*grid = (struct map_grid){ .map = map, .columns = columns, .step = step_min };
	while (rows_for(grid) > rows_max)
		grid->step *= 2;
	grid->rows = rows_for(grid);
	grid->cell = cli_alloc((size_t)columns * grid->rows + 1, sizeof(*grid->cell));
	fill_all(grid);
}

void map_grid_free(struct map_grid *grid)
{
	free(grid->cell);
}

static enum map_kind most_of(const struct map_cell *c, int from, int to)
{
	int most = from;

	for (int k = from; k < to; k++)
		if (c->bytes[k] > c->bytes[most])
			most = k;
	return c->bytes[most] ? most : MAP_NR_KINDS;
}

enum map_kind map_cell_kind(const struct map_cell *c)
{
	enum map_kind free = most_of(c, MAP_NR_INUSE, MAP_NR_KINDS);
	uint64_t inuse = 0;

	for (int k = 0; k < MAP_NR_INUSE; k++)
		inuse += c->bytes[k];
	if (free < MAP_NR_KINDS && c->bytes[free] > inuse)
		return free;
	return most_of(c, 0, MAP_NR_INUSE);
}
