// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * goheap map: the arena of a heap as a picture.
 *
 * In a terminal each character is a piece of the arena of the same length, a power of two,
 * in rows by address, and shows what most of the piece is.  What is meant is told by the
 * shape of the character, so that it can be read without colour too; colour adds for which
 * sizes of objects memory is in use.  A file is drawn by map_image.c.
 */
#include <inttypes.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/goheap.h>
#include "cli.h"
#include "json.h"
#include "map.h"

#define WANT	(HEAP_PID | HEAP_COMM | HEAP_ARENA)

static const char *file;

/* ---- characters ---- */

enum shape {
	SHAPE_INUSE_HUGE,
	SHAPE_INUSE,
	SHAPE_IDLE_HUGE,
	SHAPE_IDLE,
	SHAPE_RELEASED,
	SHAPE_NONE,	/* behind what was ever used */
	NR_SHAPES,
};

/* Of UTF-8, and where that cannot be shown. */
static const char *const blocks[NR_SHAPES] = { "█", "▓", "▚", "▒", "░", " " };
static const char *const letters[NR_SHAPES] = { "#", "=", "%", "-", ".", " " };

static const char *shape_text(enum shape shape)
{
	static const char *const *shapes;

	if (!shapes) {
		setlocale(LC_CTYPE, "");
		shapes = strcmp(nl_langinfo(CODESET), "UTF-8") ? letters : blocks;
	}
	return shapes[shape];
}

/* Of the 256 that terminals have, as near as they come to those of a file. */
static const unsigned char colours[MAP_NR_KINDS] = {
	[MAP_TINY] = 55, [MAP_SMALL] = 62, [MAP_MEDIUM] = 37, [MAP_BIG] = 71, [MAP_LARGE] = 149,
	[MAP_OTHER] = 133, [MAP_IDLE] = 208, [MAP_RELEASED] = 245,
};

/* So that what follows is in the colour of the kind; MAP_NR_KINDS: as usual. */
static void set_colour(enum map_kind kind)
{
	if (!cli.colour)
		return;
	if (kind == MAP_NR_KINDS)
		fputs("\033[0m", stdout);
	else
		printf("\033[38;5;%um", colours[kind]);
}

/* ---- the picture ---- */

static enum shape shape_of(const struct map_cell *c, enum map_kind kind, uint64_t step)
{
	bool huge = c->huge_bytes * 2 >= step;

	if (kind == MAP_NR_KINDS)
		return SHAPE_NONE;
	if (kind == MAP_RELEASED)
		return SHAPE_RELEASED;
	if (kind == MAP_IDLE)
		return huge ? SHAPE_IDLE_HUGE : SHAPE_IDLE;
	return huge ? SHAPE_INUSE_HUGE : SHAPE_INUSE;
}

/* What the terminal has; 80 by 24 if there is none. */
static struct winsize terminal(void)
{
	struct winsize w = { 0 };
	const char *columns = getenv("COLUMNS");
	uint64_t nr;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) || !w.ws_col) {
		w.ws_col = 80;
		w.ws_row = 24;
		if (columns && cli_parse_u64(columns, &nr) && nr < UINT16_MAX)
			w.ws_col = (unsigned short)nr;
	}
	return w;
}

#define MARGIN		10	/* "  512.0M  " */
#define COLUMNS_MIN	16
/* Rows for the picture, so that the words below it fit the screen too. */
#define ROWS_MIN	8
#define ROWS_OF_WORDS	14

static void lay_out(struct map_grid *grid, const struct map *map)
{
	struct winsize w = terminal();
	unsigned int rows = w.ws_row > ROWS_MIN + ROWS_OF_WORDS ? w.ws_row - ROWS_OF_WORDS : ROWS_MIN;
	unsigned int columns = w.ws_col > MARGIN + COLUMNS_MIN ? w.ws_col - MARGIN : COLUMNS_MIN;

	map_grid_make(grid, map, columns - columns % COLUMNS_MIN, rows, GOHEAP_PAGE_SIZE);
}

static void print_row(const struct map_grid *grid, unsigned int row)
{
	const struct map_cell *c = &grid->cell[(size_t)row * grid->columns];
	enum map_kind now = MAP_NR_KINDS;
	char at[CLI_SIZE_MAX];

	printf("%7s  ", cli_size(at, (uint64_t)row * grid->columns * grid->step));
	for (unsigned int i = 0; i < grid->columns; i++) {
		enum map_kind kind = map_cell_kind(&c[i]);

		if (kind != now)
			set_colour(now = kind);
		fputs(shape_text(shape_of(&c[i], kind, grid->step)), stdout);
	}
	if (now != MAP_NR_KINDS)
		set_colour(MAP_NR_KINDS);
	putchar('\n');
}

/* ---- the words ---- */

static void print_age(uint64_t ms)
{
	if (ms >= 120000)
		printf(", the oldest for %" PRIu64 " min", ms / 60000);
	else
		printf(", the oldest for %.1f s", (double)ms / 1000);
}

/* One line of the legend: the shape, on its own and for huge pages, and how much that is. */
static void print_sum(enum map_kind kind, enum shape huge, enum shape shape, const char *name,
		      const struct map_sum *sum)
{
	char bytes[CLI_SIZE_MAX];

	set_colour(kind);
	printf("  %s%s", huge == SHAPE_NONE ? " " : shape_text(huge), shape_text(shape));
	set_colour(MAP_NR_KINDS);
	printf("  %-20s %7s  %6" PRIu64 " span%s", name, cli_size(bytes, sum->bytes), sum->spans,
	       sum->spans == 1 ? "" : "s");
	if (kind == MAP_IDLE && sum->spans)
		print_age(sum->oldest_ms);
	putchar('\n');
}

static void print_huge(const struct map *map)
{
	char bytes[CLI_SIZE_MAX];

	if (map->huge == MAP_HUGE_UNKNOWN)
		printf("      huge pages: unknown (%s)\n", map->why);
	else if (map->huge == MAP_HUGE_TOTAL)
		printf("      huge pages: %s of it; %s\n", cli_size(bytes, map->huge_bytes), map->why);
	else if (!map->huge_bytes)
		puts("      huge pages: none");
	else
		printf("      huge pages: %s, drawn %s in use and %s idle\n",
		       cli_size(bytes, map->huge_bytes), shape_text(SHAPE_INUSE_HUGE),
		       shape_text(SHAPE_IDLE_HUGE));
}

static void print_legend(const struct map *map)
{
	struct map_sum all = map_inuse(map);

	print_sum(MAP_NR_KINDS, SHAPE_NONE, SHAPE_INUSE, "in use", &all);
	for (int k = 0; k < MAP_NR_INUSE; k++)
		if (map->sum[k].spans)
			print_sum(k, SHAPE_NONE, cli.colour ? SHAPE_INUSE : SHAPE_NONE,
				  map_kind_names[k], &map->sum[k]);
	print_sum(MAP_IDLE, SHAPE_NONE, SHAPE_IDLE, "idle", &map->sum[MAP_IDLE]);
	print_sum(MAP_RELEASED, SHAPE_NONE, SHAPE_RELEASED, "released", &map->sum[MAP_RELEASED]);
	print_huge(map);
}

static void print_map(const struct map *map)
{
	struct map_grid grid;
	char title[128], used[CLI_SIZE_MAX], step[CLI_SIZE_MAX];

	printf("%s%s%s: %s of the arena used, from 0x%" PRIx64, cli_bold(),
	       map_title(map, title, sizeof(title)), cli_plain(),
	       cli_size(used, map->end - map->start), map->start);
	if (!map->nr) {
		puts("");
		return;
	}
	lay_out(&grid, map);
	printf("; each character is %s\n\n", cli_size(step, grid.step));
	for (unsigned int row = 0; row < grid.rows; row++)
		print_row(&grid, row);
	putchar('\n');
	print_legend(map);
	map_grid_free(&grid);
}

/* ---- JSON ---- */

static const char *state_of(enum map_kind kind)
{
	return kind == MAP_IDLE ? "idle" : kind == MAP_RELEASED ? "released" : "inuse";
}

static uint64_t huge_bytes_of(const struct map *map, const struct map_span *s)
{
	uint64_t bytes = 0, next;

	for (uint64_t addr = s->addr; map->is_huge && addr < s->addr + s->bytes; addr = next) {
		next = map->start + ((addr - map->start) / MAP_HUGE_SIZE + 1) * MAP_HUGE_SIZE;
		if (next > s->addr + s->bytes)
			next = s->addr + s->bytes;
		bytes += map_is_huge(map, addr) ? next - addr : 0;
	}
	return bytes;
}

static void json_address(const char *name, uint64_t addr)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%" PRIx64, addr);
	json_text(name, text);
}

static void json_span(const struct map *map, const struct map_span *s)
{
	json_open(NULL, '{');
	json_address("addr", s->addr);
	json_u64("bytes", s->bytes);
	json_text("state", state_of(s->kind));
	if (s->kind < MAP_NR_INUSE) {
		json_u64("tag", s->tag);
		json_u64("object_bytes", map_object_size(s->tag));
	} else {
		json_u64("unused_ms", s->unused_ms);
	}
	if (map->huge == MAP_HUGE_WHERE)
		json_u64("huge_bytes", huge_bytes_of(map, s));
	json_close();
}

static void json_map(const struct map *map)
{
	json_open(NULL, '{');
	json_u64("id", map->heap->id);
	json_u64("pid", (uint64_t)map->heap->pid);
	json_text("comm", *map->heap->comm ? map->heap->comm : NULL);
	json_address("start", map->start);
	json_u64("used_bytes", map->end - map->start);
	if (map->huge == MAP_HUGE_UNKNOWN)
		json_null("huge_bytes");
	else
		json_u64("huge_bytes", map->huge_bytes);
	json_open("spans", '[');
	for (size_t i = 0; i < map->nr; i++)
		json_span(map, &map->span[i]);
	json_close();
	json_close();
}

/* ---- the command ---- */

static int run(int argc, char **argv)
{
	bool drawn = true;
	struct heaps all;

	if (file)
		map_check_path(file);
	heaps_select(&all, argv[0], WANT);
	if (file && all.nr > 1)
		cli_die("process %d has %zu heaps: say which by id:ID (goheap list has them)",
			all.heap[0].pid, all.nr);
	if (cli.json && !file)
		json_open(NULL, '[');
	for (size_t i = 0; i < all.nr; i++) {
		struct map map;

		map_read(&map, &all.heap[i]);
		map_read_huge(&map);
		if (file)
			drawn = map_draw(&map, file);
		else if (cli.json)
			json_map(&map);
		else
			print_map(&map);
		map_free(&map);
	}
	if (cli.json && !file)
		json_close();
	heaps_free(&all);
	return drawn ? EXIT_OK : EXIT_FAILED;
}

static const struct cli_option options[] = {
	{ 'o', "output", "FILE", NULL, &file, "draw into FILE.png or FILE.svg" },
	{ 0 }
};

const struct cli_command cmd_map = {
	.name = "map",
	.operands = "PID|ID",
	.does = "Shows the arena of a heap as a picture: in use, idle, released, huge pages",
	.about = "PID is a process, ID or id:ID the id that goheap list shows.",
	.options = options,
	.has_json = true,
	.min = 1,
	.max = 1,
	.run = run,
};
