// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * goheap top: the heaps, live, on a terminal.
 *
 * All that it needs is sysfs, so that anybody may look at what is theirs.  It sleeps in
 * getch(): a key is answered at once, and nothing is done between two refreshes.
 */
#include "cli.h"

#ifdef GOHEAP_NCURSES

#include <ncurses.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "top_rows.h"

#define INTERVAL_MIN	0.1
#define INTERVAL_MAX	3600
/* Lines above the heaps. */
#define HEAD_LINES	4
#define LINE_SIZE	256

enum { PAIR_INUSE = 1, PAIR_IDLE, PAIR_RELEASED };

static const char *interval_text = "1", *sort_text = "idle", *count_text;

static const struct cli_option options[] = {
	{ 'i', "interval", "SECONDS", NULL, &interval_text, "between two looks (1)" },
	{ 's', "sort", "KEY", NULL, &sort_text, "idle, inuse, released, scavenged or pid (idle)" },
	{ 'n', "count", "N", NULL, &count_text, "end after N looks" },
	{ 0 }
};

/* What is on the screen. */
static struct view {
	struct top_rows rows;
	double interval;
	size_t first;		/* the row at the top */
	bool help;
} view;

/* ---- drawing ---- */

/* Text at the start of a line, cut off at the screen's edge. */
static void put_line(int y, int attributes, const char *text)
{
	attron(attributes);
	mvaddnstr(y, 0, text, COLS);
	attroff(attributes);
	clrtoeol();
}

/* So many columns of a bar. */
static int put_part(int x, int width, double part, chtype c, int pair)
{
	int n = (int)(part * width + 0.5);

	if (n > width - x)
		n = width - x;
	if (cli.colour)
		attron(COLOR_PAIR(pair));
	for (int i = 0; i < n; i++)
		mvaddch(2, x + i, c);
	if (cli.colour)
		attroff(COLOR_PAIR(pair));
	return x + n;
}

static void put_bar(const struct heap *sum)
{
	double sys = (double)sum->value[HV_SYS];
	int x = 0;

	move(2, 0);
	clrtoeol();
	if (sys <= 0)
		return;
	x = put_part(x, COLS, (double)sum->value[HV_INUSE] / sys, '#', PAIR_INUSE);
	x = put_part(x, COLS, (double)heap_resident_idle(sum) / sys, '=', PAIR_IDLE);
	put_part(x, COLS, (double)sum->value[HV_RELEASED] / sys, '.', PAIR_RELEASED);
}

static void put_head(void)
{
	char a[CLI_SIZE_MAX], b[CLI_SIZE_MAX], c[CLI_SIZE_MAX], d[CLI_SIZE_MAX], e[CLI_SIZE_MAX],
		f[CLI_SIZE_MAX], line[LINE_SIZE], hidden[64] = "", clock[16];
	time_t now = time(NULL);
	struct heap sum = { 0 };
	uint64_t nr;

	heaps_totals(sum.value, &nr);
	strftime(clock, sizeof(clock), "%H:%M:%S", localtime(&now));
	if (view.rows.hidden)
		snprintf(hidden, sizeof(hidden), " (%zu hidden: root sees them)", view.rows.hidden);
	snprintf(line, sizeof(line), "goheap top  %s  %llu heaps%s, by %s, every %g s; h: help",
		 clock, (unsigned long long)nr, hidden, view.rows.order->name, view.interval);
	put_line(0, A_NORMAL, line);
	snprintf(line, sizeof(line),
		 "# in use %s  = idle %s  . released %s  ever: age %s pressure %s demand %s",
		 cli_size(a, sum.value[HV_INUSE]), cli_size(b, heap_resident_idle(&sum)),
		 cli_size(c, sum.value[HV_RELEASED]), cli_size(d, sum.value[HV_SCAV_AGE]),
		 cli_size(e, sum.value[HV_SCAV_PRESSURE]), cli_size(f, sum.value[HV_SCAV_DEMAND]));
	put_line(1, A_NORMAL, line);
	put_bar(&sum);
	snprintf(line, sizeof(line), "%6s %8s %-15s %6s %6s %8s %9s %6s %6s", "ID", "PID", "COMMAND",
		 "INUSE", "IDLE", "RELEASED", "SCAVENGED", "SCAV/s", "LIMIT");
	put_line(3, A_REVERSE, line);
}

static void put_row(int y, const struct top_row *r)
{
	const struct heap *h = &r->heap;
	char a[CLI_SIZE_MAX], b[CLI_SIZE_MAX], c[CLI_SIZE_MAX], d[CLI_SIZE_MAX], e[CLI_SIZE_MAX],
		f[CLI_SIZE_MAX], line[LINE_SIZE];

	snprintf(line, sizeof(line), "%6u %8d %-15.15s %6s %6s %8s %9s %6s %6s", h->id, h->pid,
		 heap_name(h), cli_size(a, h->value[HV_INUSE]), cli_size(b, heap_resident_idle(h)),
		 cli_size(c, h->value[HV_RELEASED]), cli_size(d, heap_scavenged(h)),
		 cli_size(e, (uint64_t)r->rate),
		 h->value[HV_LIMIT_SOFT] == HEAP_NO_LIMIT ? "-"
							  : cli_size(f, h->value[HV_LIMIT_SOFT]));
	put_line(y, A_NORMAL, line);
}

static void put_help(void)
{
	static const char *const text[] = {
		"i u r s p     sort by idle, in use, released, scavenged memory; by process",
		"Down Up j k   a heap further down, or up",
		"PgDn PgUp     a screen further down, or up",
		"Home End      to the first, to the last",
		"+ -           look twice as often, half as often",
		"Space         look now",
		"h ?           this help, and back",
		"q             the end",
		"",
		"INUSE     spans with objects, or kept for the next ones",
		"IDLE      free, with memory: what can be released",
		"RELEASED  free, without memory: given back, or never used",
		"SCAVENGED what was ever given back, for its age, under pressure or on demand",
		"LIMIT     soft: above it what is idle is released at once",
	};

	for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++)
		put_line(HEAD_LINES + (int)i, A_NORMAL, text[i]);
}

static size_t screen_rows(void)
{
	return LINES > HEAD_LINES ? (size_t)(LINES - HEAD_LINES) : 0;
}

static void draw(void)
{
	size_t room = screen_rows();

	if (view.first + room > view.rows.nr)
		view.first = view.rows.nr > room ? view.rows.nr - room : 0;
	top_read(&view.rows, view.first, room, cli_now());
	erase();
	put_head();
	if (view.help)
		put_help();
	else
		for (size_t i = 0; i < room && view.first + i < view.rows.nr; i++)
			put_row(HEAD_LINES + (int)i, view.rows.sorted[view.first + i]);
	move(LINES - 1, COLS - 1);
	refresh();
}

/* ---- keys ---- */

static void sort_by(const struct top_order *order)
{
	view.rows.order = order;
	view.rows.stale = true;
	view.first = 0;
}

static const struct top_order *order_of_key(int key)
{
	for (size_t i = 0; i < top_nr_orders; i++)
		if (top_orders[i].key == key)
			return &top_orders[i];
	return NULL;
}

static void scroll_by(long rows)
{
	long first = (long)view.first + rows;

	/* What is too far down is for draw() to see. */
	view.first = first < 0 ? 0 : (size_t)first;
}

static void change_interval(double factor)
{
	double v = view.interval * factor;

	if (v >= INTERVAL_MIN && v <= INTERVAL_MAX)
		view.interval = v;
}

/* False: the end. */
static bool handle(int key)
{
	const struct top_order *order = order_of_key(key);

	if (order)
		sort_by(order);
	switch (key) {
	case 'q': return false;
	case 'h': case '?': view.help = !view.help; break;
	case '+': change_interval(0.5); break;
	case '-': change_interval(2); break;
	case KEY_DOWN: case 'j': scroll_by(1); break;
	case KEY_UP: case 'k': scroll_by(-1); break;
	case KEY_NPAGE: scroll_by((long)screen_rows()); break;
	case KEY_PPAGE: scroll_by(-(long)screen_rows()); break;
	case KEY_HOME: view.first = 0; break;
	case KEY_END: view.first = view.rows.nr; break;
	}
	return true;
}

/* Until the next look is due, or a key asks for one; false: the end. */
static bool wait_for(double until)
{
	double left = until - cli_now();
	int key;

	timeout(left > 0 ? (int)(left * 1000 + 1) : 0);
	key = getch();
	return key == ERR ? true : handle(key);
}

/* ---- the terminal ---- */

static void leave_screen(void)
{
	if (!isendwin())
		endwin();
}

static void enter_screen(void)
{
	SCREEN *screen;

	if (!isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO))
		cli_die("this is no terminal: goheap stat -i 1 goes into files and pipes");
	screen = newterm(NULL, stdout, stdin);
	if (!screen)
		cli_die("the terminal TERM=%s is not known here: try TERM=xterm goheap top",
			getenv("TERM") ? getenv("TERM") : "");
	cli.leave_screen = leave_screen;
	atexit(leave_screen);
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	curs_set(0);
	/* NO_COLOR is known already. */
	cli.colour = cli.colour && has_colors() && start_color() == OK;
	if (cli.colour) {
		use_default_colors();
		init_pair(PAIR_INUSE, COLOR_GREEN, -1);
		init_pair(PAIR_IDLE, COLOR_YELLOW, -1);
		init_pair(PAIR_RELEASED, COLOR_BLUE, -1);
	}
}

/* ---- the command ---- */

static void choose_order(void)
{
	for (size_t i = 0; i < top_nr_orders; i++)
		if (!strcmp(top_orders[i].name, sort_text))
			sort_by(&top_orders[i]);
	if (!view.rows.order)
		cli_usage("'%s' is nothing to sort by: idle, inuse, released, scavenged or pid",
			  sort_text);
}

static int run(int argc, char **argv)
{
	uint64_t times = 0;

	if (count_text && (!cli_parse_u64(count_text, &times) || !times))
		cli_usage("'%s' is no number of times: give one from 1 on", count_text);
	view.interval = cli_parse_seconds(interval_text, INTERVAL_MIN, INTERVAL_MAX);
	choose_order();
	/* Without a module it is said before the screen changes. */
	top_update(&view.rows);
	enter_screen();
	for (uint64_t n = 1; ; n++) {
		draw();
		if ((times && n == times) || !wait_for(cli_now() + view.interval))
			break;
		top_update(&view.rows);
	}
	return EXIT_OK;
}

#endif

const struct cli_command cmd_top = {
	.name = "top",
	.operands = "",
	.does = "Shows the heaps, live",
	.about = "Keys: i, u, r, s and p sort by idle, in use, released and scavenged memory, and by PID;\n"
		 "arrows, PgUp, PgDn, Home and End scroll; + and - look more or less often; h is help, q the end.",
#ifdef GOHEAP_NCURSES
	.options = options,
	.run = run,
#endif
	.package = "libncurses-dev",
};
