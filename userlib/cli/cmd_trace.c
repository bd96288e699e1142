// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * goheap trace: the module's tracepoints, one line for each event, as they happen.
 *
 * They are read from an instance of tracefs that is made for this and removed at the end,
 * also when a signal ends it, so that nobody's own tracing is disturbed; one that was left
 * by a trace that was killed is removed by the next one.  The kernel's text of an event is
 * taken apart and written again, with sizes and times that people read; --json has the
 * fields as they are.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/goheap.h>
#include "cli.h"
#include "heaps.h"
#include "json.h"
#include "tracefs.h"

/* ---- events ---- */

#define FIELDS_MAX	6

/* name=value, as the kernel writes it, and a number if it is one. */
struct field {
	char *name, *text;
	uint64_t value;
};

struct event {
	double time;		/* s of the monotonic clock */
	const char *comm;
	int pid;
	const char *name;	/* without the prefix */
	struct field field[FIELDS_MAX];
	int nr_fields;
};

static uint64_t value_of(const struct event *e, const char *name)
{
	for (int i = 0; i < e->nr_fields; i++)
		if (!strcmp(e->field[i].name, name))
			return e->field[i].value;
	return 0;
}

static const char *text_of(const struct event *e, const char *name)
{
	for (int i = 0; i < e->nr_fields; i++)
		if (!strcmp(e->field[i].name, name))
			return e->field[i].text;
	return "?";
}

static const char *size_in(const struct event *e, const char *name, uint64_t unit,
			   char buf[CLI_SIZE_MAX])
{
	return cli_size(buf, value_of(e, name) * unit);
}

static void tell_alloc(const struct event *e)
{
	char size[CLI_SIZE_MAX];

	printf("%s at %s, tag %s", size_in(e, "npages", GOHEAP_PAGE_SIZE, size), text_of(e, "addr"),
	       text_of(e, "tag"));
	if (value_of(e, "flags") & GOHEAP_SPAN_LARGE)
		fputs(", one large object", stdout);
	if (value_of(e, "flags") & GOHEAP_SPAN_NEEDZERO)
		fputs(", used before", stdout);
}

static void tell_free(const struct event *e)
{
	char size[CLI_SIZE_MAX];

	if (value_of(e, "npages"))
		printf("%s at %s", size_in(e, "npages", GOHEAP_PAGE_SIZE, size), text_of(e, "addr"));
	else
		printf("at %s", text_of(e, "addr"));
}

static void tell_resize(const struct event *e)
{
	char old[CLI_SIZE_MAX], new[CLI_SIZE_MAX];

	printf("%s to %s at %s", size_in(e, "old_npages", GOHEAP_PAGE_SIZE, old),
	       size_in(e, "npages", GOHEAP_PAGE_SIZE, new), text_of(e, "addr"));
}

static void tell_grow(const struct event *e)
{
	char size[CLI_SIZE_MAX];

	printf("uses %s of its arena now", size_in(e, "sys_bytes", 1, size));
}

static void tell_scavenge(const struct event *e)
{
	char size[CLI_SIZE_MAX];

	printf("released %s: %s", size_in(e, "bytes", 1, size), text_of(e, "cause"));
}

static void tell_age_pass(const struct event *e)
{
	char size[CLI_SIZE_MAX];

	printf("pass %s over all heaps released %s", text_of(e, "pass"),
	       size_in(e, "bytes", 1, size));
}

static void tell_pressure(const struct event *e)
{
	char size[CLI_SIZE_MAX];

	printf("asked for %s; %s times so far",
	       size_in(e, "wanted_pages", (uint64_t)sysconf(_SC_PAGESIZE), size),
	       text_of(e, "events"));
}

/* Which there are, and how one is told; age_pass is of no heap. */
static const struct event_def {
	const char *name, *does;
	bool of_heap;
	void (*tell)(const struct event *e);
} events[] = {
	{ "span_alloc", "a span was allocated", true, tell_alloc },
	{ "span_free", "a span was freed", true, tell_free },
	{ "span_resize", "a span was shrunk or grown in place", true, tell_resize },
	{ "grow", "a heap uses more of its arena", true, tell_grow },
	{ "scavenge", "pages of idle spans were released", true, tell_scavenge },
	{ "age_pass", "a pass over spans that are unused has ended", false, tell_age_pass },
	{ "pressure", "memory pressure reached a heap", true, tell_pressure },
};

#define NR_EVENTS	(sizeof(events) / sizeof(events[0]))

static const struct event_def *find_event(const char *name)
{
	size_t n = strlen(TRACEFS_PREFIX);

	if (!strncmp(name, TRACEFS_PREFIX, n))
		name += n;
	for (size_t i = 0; i < NR_EVENTS; i++)
		if (!strcmp(events[i].name, name))
			return &events[i];
	return NULL;
}

static bool wanted[NR_EVENTS];

static void want_events(int argc, char **argv, bool one_process)
{
	for (size_t i = 0; i < NR_EVENTS; i++)
		wanted[i] = !argc && (events[i].of_heap || !one_process);
	for (int i = 0; i < argc; i++) {
		const struct event_def *def = find_event(argv[i]);

		if (!def)
			cli_usage("there is no event '%s': they are span_alloc, span_free, span_resize, grow, scavenge, age_pass and pressure",
				  argv[i]);
		if (one_process && !def->of_heap)
			cli_usage("%s is of all heaps: leave out -p", def->name);
		wanted[def - events] = true;
	}
}

/* ---- taking a line apart ---- */

/* What stands behind the event's name; false: it is not as expected. */
static bool parse_fields(struct event *e, char *text)
{
	char *save = NULL, *word;

	e->nr_fields = 0;
	for (word = strtok_r(text, " \n", &save); word; word = strtok_r(NULL, " \n", &save)) {
		char *equals = strchr(word, '=');

		if (!equals || e->nr_fields == FIELDS_MAX)
			return false;
		*equals = '\0';
		e->field[e->nr_fields++] = (struct field){
			.name = word, .text = equals + 1,
			.value = strtoull(equals + 1, NULL, 0),
		};
	}
	return true;
}

/* The kernel remembers names from when they last ran: of what goes on running it has none. */
static const char *name_of(int pid)
{
	static char name[32];
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	return cli_read_file(path, name, sizeof(name)) > 0 ? name : "(ended)";
}

/* The name of a process may have anything in it, so CPU and flags are looked for from behind. */
static bool parse_process(struct event *e, char *text)
{
	char *cpu = strrchr(text, '['), *dash, *end;

	if (!cpu)
		return false;
	*cpu = '\0';
	dash = strrchr(text, '-');
	if (!dash)
		return false;
	*dash = '\0';
	e->pid = (int)strtol(dash + 1, &end, 10);
	while (isspace((unsigned char)*text))
		text++;
	e->comm = strcmp(text, "<...>") ? text : name_of(e->pid);
	return end > dash + 1;
}

/* "  comm-123     [000] .....   45.678901: goheap_grow: heap=1 sys_bytes=1048576" */
static bool parse_line(struct event *e, char *line)
{
	char *name = NULL, *fields, *time;

	/* The last: there may be one in the name of the process. */
	for (char *at = line; (at = strstr(at, ": " TRACEFS_PREFIX)); at++)
		name = at;
	if (!name)
		return false;
	*name = '\0';
	name += 2 + strlen(TRACEFS_PREFIX);
	fields = strstr(name, ": ");
	time = strrchr(line, ' ');
	if (!fields || !time)
		return false;
	*fields = '\0';
	e->name = name;
	e->time = strtod(time, NULL);
	*time = '\0';
	return parse_process(e, line) && parse_fields(e, fields + 2);
}

/* "heap == 1 || heap == 2"; "" if there are none. */
static char *make_filter(const struct heaps *only)
{
	size_t size = 16 + 32 * only->nr, n = 0;
	char *filter = cli_alloc(size, 1);

	for (size_t i = 0; i < only->nr; i++)
		n += (size_t)snprintf(filter + n, size - n, "%sheap == %u", i ? " || " : "",
				      only->heap[i].id);
	return filter;
}

static void enable(const struct heaps *only)
{
	char *filter = make_filter(only);

	for (size_t i = 0; i < NR_EVENTS; i++)
		if (wanted[i])
			tracefs_enable(events[i].name, filter);
	free(filter);
}

/* ---- reading ---- */

static const char *process, *count, *seconds;

static volatile sig_atomic_t stopped;

static void stop(int sig)
{
	stopped = sig;
}

/* Signals arrive only while we wait, in ppoll(): *waiting is what is blocked meanwhile. */
static void catch_signals(sigset_t *waiting)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction sa = { .sa_handler = stop };
	sigset_t block;

	sigemptyset(&block);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		sigaddset(&block, signals[i]);
		sigaction(signals[i], &sa, NULL);
	}
	sigprocmask(SIG_BLOCK, &block, waiting);
	/* Whoever reads our output may have had enough. */
	signal(SIGPIPE, SIG_IGN);
}

static void print_event(const struct event *e, double begin)
{
	const struct event_def *def = find_event(e->name);
	char heap[16] = "";

	if (!def)
		return;
	if (def->of_heap)
		snprintf(heap, sizeof(heap), "%" PRIu64, value_of(e, "heap"));
	printf("%10.6f %-16s %7d %5s  %-11s ", e->time - begin, e->comm, e->pid, heap, def->name);
	def->tell(e);
	putchar('\n');
}

static void json_event(const struct event *e, double begin)
{
	json_open(NULL, '{');
	json_double("seconds", e->time - begin);
	json_text("comm", e->comm);
	json_u64("pid", (uint64_t)e->pid);
	json_text("event", e->name);
	for (int i = 0; i < e->nr_fields; i++) {
		const struct field *f = &e->field[i];

		if (isdigit((unsigned char)*f->text) && strcmp(f->name, "addr"))
			json_u64(f->name, f->value);
		else
			json_text(f->name, f->text);
	}
	json_close();
}

struct reader {
	FILE *events;
	double begin, end;
	uint64_t nr, max;
	uint64_t lost;		/* "CPU:0 [LOST 12 EVENTS]" */
};

/* All that there are now; false: no more are wanted. */
static bool read_events(struct reader *r)
{
	char line[1024];
	struct event e;

	while (r->nr < r->max && fgets(line, sizeof(line), r->events)) {
		char *lost = strstr(line, "[LOST ");

		if (lost)
			r->lost += strtoull(lost + 6, NULL, 10);
		if (!parse_line(&e, line))
			continue;
		r->nr++;
		if (cli.json)
			json_event(&e, r->begin);
		else
			print_event(&e, r->begin);
	}
	clearerr(r->events);
	fflush(stdout);
	return r->nr < r->max && !ferror(stdout);
}

/* Waits for events; false: it is time to end. */
static bool await_events(const struct reader *r, const sigset_t *waiting)
{
	double left = r->end - cli_now();
	struct timespec ts = { .tv_sec = (time_t)left };
	struct pollfd p[] = {
		{ .fd = fileno(r->events), .events = POLLIN },
		{ .fd = STDOUT_FILENO },	/* whether its reader has gone */
	};

	if (left <= 0)
		return false;
	ts.tv_nsec = (long)((left - (double)ts.tv_sec) * 1e9);
	if (ppoll(p, 2, &ts, waiting) < 0 && errno != EINTR)
		cli_die("cannot wait for events: %s", strerror(errno));
	return !stopped && !p[1].revents;
}

/* Until a signal, the end of the time, or enough; and then what came in the meantime. */
static void read_all(struct reader *r, const sigset_t *waiting)
{
	bool more = true;

	while (more && await_events(r, waiting))
		more = read_events(r);
	if (more)
		read_events(r);
}

static uint64_t parse_count(void)
{
	uint64_t n = UINT64_MAX;

	if (count && (!cli_parse_u64(count, &n) || !n))
		cli_usage("'%s' is no number of events", count);
	return n;
}

#define A_YEAR	(366.0 * 86400)

static int run(int argc, char **argv)
{
	struct reader r = { .max = parse_count() };
	double time = seconds ? cli_parse_seconds(seconds, 0.001, A_YEAR) : A_YEAR;
	struct heaps only = { 0 };
	sigset_t waiting;

	want_events(argc, argv, process);
	if (process)
		heaps_select(&only, process, HEAP_PID);
	catch_signals(&waiting);
	tracefs_make();
	r.events = tracefs_open();
	r.begin = cli_now();
	r.end = r.begin + time;
	enable(&only);
	if (cli.json)
		json_open(NULL, '[');
	else
		printf("%s%10s %-16s %7s %5s  %-11s %s%s\n", cli_bold(), "SECONDS", "COMMAND",
		       "PID", "HEAP", "EVENT", "WHAT", cli_plain());
	fflush(stdout);
	read_all(&r, &waiting);
	if (cli.json)
		json_close();
	heaps_free(&only);
	if (r.lost)
		cli_warn("%" PRIu64 " events were lost, as there were too many: ask for fewer kinds, or for one process by -p",
			 r.lost);
	return EXIT_OK;
}

static const struct cli_option options[] = {
	{ 'p', "process", "PID|ID", NULL, &process, "only of this process, or heap" },
	{ 'n', "count", "COUNT", NULL, &count, "end after so many events" },
	{ 'd', "duration", "SECONDS", NULL, &seconds, "end after so many seconds" },
	{ 0 }
};

const struct cli_command cmd_trace = {
	.name = "trace",
	.operands = "[EVENT]...",
	.does = "Shows what the kernel does with heaps, as it happens; for root",
	.about = "Events, all unless some are named: span_alloc, span_free, span_resize, grow,\n"
		 "scavenge, age_pass (a pass over what is unused has ended) and pressure.  Ends with\n"
		 "Ctrl-C.",
	.options = options,
	.has_json = true,
	.max = -1,
	.run = run,
};
