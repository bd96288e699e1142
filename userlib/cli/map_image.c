// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * A map as a file: rows of the arena by address, one pixel for each cell in the mean of the
 * colours of what is in it, so that nothing is hidden where spans are smaller than that;
 * below each row a line where huge pages are; and a legend.
 *
 * libcairo draws PNG and SVG by the same calls.  It is loaded when a picture is asked for,
 * so that the command runs, and starts as fast, where it is not installed.
 */
#include <string.h>
#include <strings.h>
#include "cli.h"
#include "map.h"

static bool ends_in(const char *path, const char *suffix)
{
	size_t n = strlen(path), k = strlen(suffix);

	return n > k && !strcasecmp(path + n - k, suffix);
}

#ifdef GOHEAP_CAIRO

#include <cairo/cairo.h>
#include <cairo/cairo-svg.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define FUNCTIONS(F)							\
	F(image_surface_create)						\
	F(svg_surface_create)						\
	F(svg_surface_set_document_unit)				\
	F(surface_write_to_png)						\
	F(surface_finish)						\
	F(surface_status)						\
	F(surface_destroy)						\
	F(status_to_string)						\
	F(create)							\
	F(destroy)							\
	F(scale)							\
	F(set_source_rgb)						\
	F(rectangle)							\
	F(fill)								\
	F(paint)							\
	F(select_font_face)						\
	F(set_font_size)						\
	F(text_extents)							\
	F(move_to)							\
	F(show_text)

static struct {
#define MEMBER(name)	__typeof__(cairo_##name) *name;
	FUNCTIONS(MEMBER)
} cairo;

static void load_cairo(void)
{
	void *lib = dlopen("libcairo.so.2", RTLD_NOW);

	if (!lib)
		cli_die("pictures are drawn by libcairo, which is not here: install the package libcairo2 (%s)",
			dlerror());
#define FIND(member)							\
	cairo.member = dlsym(lib, "cairo_" #member);			\
	if (!cairo.member)						\
		cli_die("libcairo.so.2 has no cairo_" #member ": it is too old");
	FUNCTIONS(FIND)
}

/* ---- measures, in pixels of the picture at its nominal size ---- */

#define ROW_WIDTH	1024
#define BORDER		28
#define MARGIN		76	/* left of the rows, for their addresses */
#define TOP		88	/* above them, for the title */
#define ROWS_MAX	40
#define ROWS_HEIGHT	720	/* of all, about */
#define ROW_MIN		8
#define ROW_MAX		32
#define ROW_GAP		7
#define HUGE_HEIGHT	3
#define LEGEND_COLUMNS	3
#define LEGEND_LINE	26
#define LEGEND_NR	(MAP_NR_KINDS + 1)
#define LEGEND_ROWS	((LEGEND_NR + LEGEND_COLUMNS - 1) / LEGEND_COLUMNS)
#define LEGEND_HEIGHT	(LEGEND_ROWS * LEGEND_LINE)
#define WIDTH		(BORDER + MARGIN + ROW_WIDTH + BORDER)
/* A PNG has so many pixels for one: for screens that are finer. */
#define SCALE		2
/* Bytes of the shortest row: 128 KiB. */
#define STEP_MIN	128

struct colour {
	double r, g, b;
};

#define RGB(hex)	{ ((hex) >> 16 & 255) / 255.0, ((hex) >> 8 & 255) / 255.0, ((hex) & 255) / 255.0 }

static const struct colour colours[MAP_NR_KINDS] = {
	[MAP_TINY] = RGB(0x482777),
	[MAP_SMALL] = RGB(0x3f5fa8),
	[MAP_MEDIUM] = RGB(0x21918c),
	[MAP_BIG] = RGB(0x4fb36a),
	[MAP_LARGE] = RGB(0xa5cf3d),
	[MAP_OTHER] = RGB(0xa2559c),
	[MAP_IDLE] = RGB(0xf08c2e),
	[MAP_RELEASED] = RGB(0xdfe3e8),
};
static const struct colour paper = RGB(0xffffff), ink = RGB(0x20242a), grey = RGB(0x6b7280),
	unused = RGB(0xf6f7f9), huge = RGB(0xc2183c);

struct drawing {
	const struct map *map;
	struct map_grid grid;
	cairo_t *cr;
	double row_height;
};

static void use(const struct drawing *d, struct colour c)
{
	cairo.set_source_rgb(d->cr, c.r, c.g, c.b);
}

static void box(const struct drawing *d, struct colour c, double x, double y, double w, double h)
{
	use(d, c);
	cairo.rectangle(d->cr, x, y, w, h);
	cairo.fill(d->cr);
}

enum align { LEFT, RIGHT };

static void text(const struct drawing *d, struct colour c, double size, bool bold,
		 enum align align, double x, double y, const char *s)
{
	cairo_text_extents_t e;

	cairo.select_font_face(d->cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
			       bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
	cairo.set_font_size(d->cr, size);
	cairo.text_extents(d->cr, s, &e);
	use(d, c);
	cairo.move_to(d->cr, align == RIGHT ? x - e.x_advance : x, y);
	cairo.show_text(d->cr, s);
}

/* ---- rows ---- */

/* The mean of what is in it; what is behind all that was used counts as unused. */
static struct colour colour_of(const struct map_grid *grid, const struct map_cell *c)
{
	struct colour mean = { 0, 0, 0 };
	uint64_t rest = grid->step;

	for (int k = 0; k <= MAP_NR_KINDS; k++) {
		struct colour of = k < MAP_NR_KINDS ? colours[k] : unused;
		uint64_t bytes = k < MAP_NR_KINDS ? c->bytes[k] : rest;
		double share = (double)bytes / (double)grid->step;

		mean.r += of.r * share;
		mean.g += of.g * share;
		mean.b += of.b * share;
		rest -= bytes;
	}
	return mean;
}

static bool same_cell(const struct map_cell *a, const struct map_cell *b)
{
	return !memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

static void draw_row(const struct drawing *d, unsigned int row, double y)
{
	const struct map_grid *g = &d->grid;
	const struct map_cell *c = &g->cell[(size_t)row * g->columns];
	double x = BORDER + MARGIN;
	unsigned int i, n;

	for (i = 0; i < g->columns; i += n) {
		for (n = 1; i + n < g->columns && same_cell(&c[i], &c[i + n]); n++)
			;
		box(d, colour_of(g, &c[i]), x + i, y, n, d->row_height);
	}
	for (i = 0; i < g->columns; i += n) {
		for (n = 1; i + n < g->columns && !c[i].huge_bytes == !c[i + n].huge_bytes; n++)
			;
		if (c[i].huge_bytes)
			box(d, huge, x + i, y + d->row_height + 1, n, HUGE_HEIGHT);
	}
}

static double row_y(const struct drawing *d, unsigned int row)
{
	return TOP + row * (d->row_height + ROW_GAP);
}

/* A thin line where a span begins, if spans are wide enough to be told apart. */
static void draw_edges(const struct drawing *d)
{
	const struct map_grid *g = &d->grid;
	uint64_t row = g->step * g->columns;

	for (size_t i = 1; i < d->map->nr; i++) {
		const struct map_span *s = &d->map->span[i];
		uint64_t at = s->addr - d->map->start;

		if (s->bytes >= 4 * g->step && s[-1].bytes >= 4 * g->step && at % row)
			box(d, paper, BORDER + MARGIN + (double)(at % row) / (double)g->step - 0.4,
			    row_y(d, (unsigned int)(at / row)), 0.8, d->row_height);
	}
}

/* Where a row begins, exactly: rows are powers of two long, and few. */
static void row_label(char *label, size_t size, uint64_t at)
{
	double v = (double)at;
	const char *unit = "BKMGT";

	for (; v >= 1024 && unit[1]; unit++)
		v /= 1024;
	snprintf(label, size, "+%.6g%c", v, *unit);
}

static void draw_rows(const struct drawing *d)
{
	const struct map_grid *g = &d->grid;
	char label[16];

	for (unsigned int row = 0; row < g->rows; row++) {
		double y = row_y(d, row);

		row_label(label, sizeof(label), (uint64_t)row * g->columns * g->step);
		/* Low rows have no room for each to say where it is. */
		if (d->row_height >= 11 || row % 2 == 0)
			text(d, grey, 11, false, RIGHT, BORDER + MARGIN - 10,
			     y + d->row_height / 2 + 4, label);
		draw_row(d, row, y);
	}
	draw_edges(d);
}

/* ---- words ---- */

/* Between a number of cli_size() and what follows. */
#define SPACE	"  "

static void draw_title(const struct drawing *d)
{
	char title[128], line[256], a[CLI_SIZE_MAX], b[CLI_SIZE_MAX], when[32];
	const struct map *m = d->map;
	time_t now = time(NULL);
	struct tm tm;

	text(d, ink, 21, true, LEFT, BORDER, 42, map_title(m, title, sizeof(title)));
	snprintf(line, sizeof(line), "%s of the arena used, from 0x%" PRIx64 "; each row is %s, each pixel %s",
		 cli_size(a, m->end - m->start), m->start,
		 cli_size(b, d->grid.step * d->grid.columns), cli_size(title, d->grid.step));
	text(d, grey, 13, false, LEFT, BORDER, 66, line);
	strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", localtime_r(&now, &tm));
	text(d, grey, 12, false, RIGHT, WIDTH - BORDER, 42, when);
}

static void describe(const struct map *map, int entry, char *line, size_t size)
{
	const struct map_sum *sum = &map->sum[entry];
	char bytes[CLI_SIZE_MAX];
	int n;

	if (entry == MAP_NR_KINDS) {
		if (map->huge == MAP_HUGE_UNKNOWN)
			snprintf(line, size, "huge pages: unknown");
		else
			snprintf(line, size, "on huge pages" SPACE "%s%s",
				 cli_size(bytes, map->huge_bytes),
				 map->huge == MAP_HUGE_TOTAL ? ", only root sees where" : "");
		return;
	}
	n = snprintf(line, size, "%s%s" SPACE "%s in %" PRIu64 " span%s",
		     entry < MAP_NR_INUSE ? "in use: " : "", map_kind_names[entry],
		     cli_size(bytes, sum->bytes), sum->spans, sum->spans == 1 ? "" : "s");
	if (entry == MAP_IDLE && sum->spans)
		snprintf(line + n, size - n, ", the oldest for %" PRIu64 " s", sum->oldest_ms / 1000);
}

static void draw_legend(const struct drawing *d, double y)
{
	static const double width = (WIDTH - 2.0 * BORDER) / LEGEND_COLUMNS;
	char line[128];
	int n = 0;

	for (int i = 0; i < LEGEND_NR; i++) {
		double x = BORDER + n / LEGEND_ROWS * width, at = y + n % LEGEND_ROWS * LEGEND_LINE;

		if (i == MAP_OTHER && !d->map->sum[i].spans)
			continue;
		n++;
		if (i < MAP_NR_KINDS)
			box(d, colours[i], x, at, 22, 14);
		else
			box(d, huge, x, at + 6, 22, HUGE_HEIGHT);
		describe(d->map, i, line, sizeof(line));
		text(d, ink, 13, false, LEFT, x + 32, at + 12, line);
	}
}

/* ---- all of it ---- */

static double legend_y(const struct drawing *d)
{
	return row_y(d, d->grid.rows) + 18;
}

static void draw_all(const struct drawing *d)
{
	use(d, paper);
	cairo.paint(d->cr);
	draw_title(d);
	draw_rows(d);
	draw_legend(d, legend_y(d));
}

static cairo_surface_t *new_surface(const char *path, double height)
{
	cairo_surface_t *s;

	if (!ends_in(path, ".svg"))
		return cairo.image_surface_create(CAIRO_FORMAT_RGB24, WIDTH * SCALE,
						  (int)(height * SCALE + 0.5));
	s = cairo.svg_surface_create(path, WIDTH, height);
	cairo.svg_surface_set_document_unit(s, CAIRO_SVG_UNIT_PX);
	return s;
}

static cairo_status_t write_surface(cairo_surface_t *s, const char *path)
{
	cairo_status_t status = cairo.surface_status(s);

	if (status)
		return status;
	if (!ends_in(path, ".svg"))
		return cairo.surface_write_to_png(s, path);
	cairo.surface_finish(s);
	return cairo.surface_status(s);
}

/* Cairo would not say why it cannot. */
static bool can_write(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);

	if (fd < 0) {
		cli_warn("%s: %s", path, strerror(errno));
		return false;
	}
	close(fd);
	return true;
}

bool map_draw(const struct map *map, const char *path)
{
	struct drawing d = { .map = map };
	cairo_status_t status;
	cairo_surface_t *s;

	load_cairo();
	if (!can_write(path))
		return false;
	map_grid_make(&d.grid, map, ROW_WIDTH, ROWS_MAX, STEP_MIN);
	d.row_height = d.grid.rows ? ROWS_HEIGHT / d.grid.rows - ROW_GAP : ROW_MAX;
	d.row_height = d.row_height < ROW_MIN ? ROW_MIN : d.row_height > ROW_MAX ? ROW_MAX : d.row_height;
	s = new_surface(path, legend_y(&d) + LEGEND_HEIGHT + BORDER / 2);
	d.cr = cairo.create(s);
	if (!ends_in(path, ".svg"))
		cairo.scale(d.cr, SCALE, SCALE);
	draw_all(&d);
	cairo.destroy(d.cr);
	status = write_surface(s, path);
	cairo.surface_destroy(s);
	map_grid_free(&d.grid);
	if (status)
		cli_warn("%s: %s", path, cairo.status_to_string(status));
	return !status;
}

#else

bool map_draw(const struct map *map, const char *path)
{
	return false;
}

#endif

void map_check_path(const char *path)
{
#ifndef GOHEAP_CAIRO
	cli_die("this goheap was built without pictures: install the package libcairo2-dev and build it again; without -o it draws in the terminal");
#endif
	if (!ends_in(path, ".png") && !ends_in(path, ".svg"))
		cli_usage("'%s': pictures are .png or .svg", path);
}
