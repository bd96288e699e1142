// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * sysfs has one value in each file, so that a thousand heaps are twenty thousand files.
 * Each is opened, read and closed by a path below one descriptor of the module's
 * directory, and only those are read that are asked for: what is not shown costs nothing.
 *
 * The files of a heap can be opened by its owner and by root, and answer ESRCH to a reader
 * in a pid namespace that does not know the process.  Both are the same to the user: the
 * heap is there, and is hidden.  The pid is read first, and tells.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli.h"
#include "heaps.h"
#include "json.h"

const struct heap_value_def heap_values[HV_NR] = {
	[HV_SYS] = { "heap_sys", "Bytes of arenas in use or idle", false },
	[HV_INUSE] = { "heap_inuse", "Bytes of spans in use", false },
	[HV_IDLE] = { "heap_idle", "Bytes of free spans, resident and released", false },
	[HV_RELEASED] = { "heap_released", "Bytes of free spans that have no pages", false },
	[HV_SPANS] = { "nr_spans", "Spans in use", false },
	[HV_ALLOCS] = { "nr_allocs", "Spans ever allocated", true },
	[HV_FREES] = { "nr_frees", "Spans ever freed", true },
	[HV_GROWS] = { "nr_grows", "Times that a heap grew", true },
	[HV_SCAV_AGE] = { "scav_age_bytes", "Bytes ever released because of their age", true },
	[HV_SCAV_PRESSURE] = { "scav_pressure_bytes",
			       "Bytes ever released under memory pressure", true },
	[HV_SCAV_DEMAND] = { "scav_demand_bytes",
			     "Bytes ever released on demand or for a limit", true },
	[HV_SCAV_SKIPPED] = { "scav_skipped",
			      "Times that releasing was put off because of a forked child", true },
	[HV_PRESSURE_EVENTS] = { "pressure_events",
				 "Times that memory pressure reached a heap", true },
	[HV_META] = { "meta_bytes", "Bytes of kernel memory held for records of spans", false },
	[HV_LIMIT_SOFT] = { "limit_soft", "Bytes above which idle spans are released", false },
	[HV_LIMIT_HARD] = { "limit_hard", "Bytes above which spans are refused", false },
};

/* "4294967295/scav_pressure_bytes" */
#define PATH_SIZE	48
/* A value never has more. */
#define TEXT_SIZE	64

/* Of the module's directory, which is there while the module is; -1: not yet open. */
static int base = -1;

static void open_base(void)
{
	char path[4096];

	if (base >= 0)
		return;
	snprintf(path, sizeof(path), "%s/class/misc/goheap", cli.sysfs);
	base = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (base < 0)
		cli_die("%s: %s: the module is not loaded: modprobe goheap (goheap doctor finds out more)",
			path, strerror(errno));
}

/* The text of a file without its newline; its length or -errno. */
static int read_text(const char *path, char text[TEXT_SIZE])
{
	int fd = openat(base, path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, TEXT_SIZE - 1);
	if (n < 0)
		n = -errno;
	close(fd);
	if (n < 0)
		return (int)n;
	if (n && text[n - 1] == '\n')
		n--;
	text[n] = '\0';
	return (int)n;
}

static int read_number(const char *path, uint64_t *value)
{
	char text[TEXT_SIZE];
	int n = read_text(path, text);

	if (n < 0)
		return n;
	if (!strcmp(text, "max"))
		*value = HEAP_NO_LIMIT;
	else if (!cli_parse_u64(text, value))
		cli_die("%s: '%s' is no number: is this command of another version than the module?",
			path, text);
	return 0;
}

static int read_pid(struct heap *heap, const char *path)
{
	uint64_t pid;
	int err = read_number(path, &pid);

	heap->pid = err ? 0 : (pid_t)pid;
	return err;
}

static int read_comm(struct heap *heap, const char *path)
{
	char text[TEXT_SIZE];
	int n = read_text(path, text);

	/* That the process can be seen is known by its pid; it has ended. */
	if (n == -ESRCH)
		text[n = 0] = '\0';
	if (n < 0)
		return n;
	snprintf(heap->comm, sizeof(heap->comm), "%.*s", (int)sizeof(heap->comm) - 1, text);
	return 0;
}

static int read_arena(struct heap *heap, const char *path)
{
	char text[TEXT_SIZE];
	int n = read_text(path, text);

	if (n < 0)
		return n;
	if (sscanf(text, "0x%" SCNx64 "-0x%" SCNx64, &heap->arena_start, &heap->arena_end) != 2)
		cli_die("%s: '%s' is no arena: is this command of another version than the module?",
			path, text);
	return 0;
}

int heap_read(struct heap *heap, unsigned int want)
{
	char path[PATH_SIZE];
	int len = snprintf(path, sizeof(path), "%u/", heap->id), err = 0;

	if (want & HEAP_PID) {
		strcpy(path + len, "pid");
		err = read_pid(heap, path);
	}
	if (!err && want & HEAP_COMM) {
		strcpy(path + len, "comm");
		err = read_comm(heap, path);
	}
	if (!err && want & HEAP_ARENA) {
		strcpy(path + len, "arena");
		err = read_arena(heap, path);
	}
	for (int i = 0; i < HV_NR && !err; i++)
		if (want & (1u << i)) {
			strcpy(path + len, heap_values[i].name);
			err = read_number(path, &heap->value[i]);
		}
	if (err == -ESRCH || err == -EPERM)
		err = -EACCES;
	return err;
}

/* Directories are heaps, if their name is a number. */
static bool parse_id(const char *name, unsigned int *id)
{
	uint64_t v;

	if (!cli_parse_u64(name, &v) || v > UINT32_MAX)
		return false;
	*id = (unsigned int)v;
	return true;
}

static int compare_ids(const void *a, const void *b)
{
	const struct heap *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

void heaps_list(struct heaps *all)
{
	int fd;
	DIR *dir;
	size_t room = 0;
	struct dirent *e;
	unsigned int id;

	*all = (struct heaps){ 0 };
	open_base();
	fd = openat(base, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir)
		cli_die("cannot list heaps: %s", strerror(errno));
	while ((e = readdir(dir))) {
		if (!parse_id(e->d_name, &id))
			continue;
		if (all->nr == room) {
			room = room ? room * 2 : 64;
			all->heap = cli_grow(all->heap, room, sizeof(*all->heap));
		}
		all->heap[all->nr++] = (struct heap){ .id = id };
	}
	closedir(dir);
	if (all->nr)
		qsort(all->heap, all->nr, sizeof(*all->heap), compare_ids);
}

void heaps_read(struct heaps *all, unsigned int want)
{
	size_t kept = 0;

	heaps_list(all);
	cli_progress("reading heaps", 0, all->nr);
	for (size_t i = 0; i < all->nr; i++) {
		int err = heap_read(&all->heap[i], want | HEAP_PID);

		if (!err)
			all->heap[kept++] = all->heap[i];
		else if (err == -EACCES)
			all->hidden++;
		else if (err != -ENOENT && err != -ENODEV)
			cli_die("heap %u: %s", all->heap[i].id, strerror(-err));
		cli_progress("reading heaps", i + 1, all->nr);
	}
	all->nr = kept;
}

void heaps_free(struct heaps *all)
{
	free(all->heap);
	*all = (struct heaps){ 0 };
}

void heaps_totals(uint64_t value[HV_NR_TOTALS], uint64_t *nr)
{
	int err;

	open_base();
	err = read_number("heaps", nr);
	for (int i = 0; i < HV_NR_TOTALS && !err; i++)
		err = read_number(heap_values[i].name, &value[i]);
	if (err)
		cli_die("%s/class/misc/goheap: cannot read totals: %s", cli.sysfs, strerror(-err));
}

/* Keeps those of a process (by id: of that id) only. */
static size_t keep(struct heaps *all, uint64_t number, bool by_id)
{
	size_t kept = 0;

	for (size_t i = 0; i < all->nr; i++)
		if ((by_id ? all->heap[i].id : (uint64_t)all->heap[i].pid) == number)
			all->heap[kept++] = all->heap[i];
	return kept;
}

bool heaps_try_select(struct heaps *all, const char *who, unsigned int want)
{
	bool by_id = !strncmp(who, "id:", 3);
	uint64_t number;
	size_t kept = 0, nr = 0;

	if (!cli_parse_u64(by_id ? who + 3 : who, &number))
		cli_usage("'%s' is neither a process nor a heap: give a PID, an ID, or id:ID", who);
	heaps_read(all, HEAP_PID);
	if (!by_id)
		kept = keep(all, number, false);
	if (!kept)
		kept = keep(all, number, true);
	for (size_t i = 0; i < kept; i++)
		if (!heap_read(&all->heap[i], want))
			all->heap[nr++] = all->heap[i];
	all->nr = nr;
	if (!nr)
		heaps_free(all);
	return nr;
}

void heaps_complain(const char *who)
{
	struct heaps all;

	heaps_read(&all, HEAP_PID);
	if (all.hidden)
		cli_die("%s has no heap that you may read; %zu of others are hidden from you: ask as root",
			who, all.hidden);
	if (!strncmp(who, "id:", 3))
		cli_die("there is no heap %s: goheap list shows which there are", who + 3);
	cli_die("%s has no heap of the kernel: goheap list shows which there are, goheap doctor what may be wrong",
		who);
}

void heaps_select(struct heaps *all, const char *who, unsigned int want)
{
	if (!heaps_try_select(all, who, want))
		heaps_complain(who);
}

int heap_write(const struct heap *heap, const char *file, const char *text)
{
	char path[PATH_SIZE];
	int fd, err = 0;

	open_base();
	if (heap)
		snprintf(path, sizeof(path), "%u/%s", heap->id, file);
	else
		snprintf(path, sizeof(path), "%s", file);
	fd = openat(base, path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

void heaps_warn_hidden(const struct heaps *all)
{
	if (all->hidden)
		cli_warn("%zu heap%s of other users or containers not shown: root sees them (sudo goheap %s)",
			 all->hidden, all->hidden == 1 ? "" : "s", cli.command->name);
}

/* A process may call itself what a terminal takes for a command. */
const char *heap_name(const struct heap *heap)
{
	static char name[sizeof(heap->comm)];
	size_t i;

	if (!*heap->comm)
		return "(ended)";
	for (i = 0; heap->comm[i]; i++)
		name[i] = heap->comm[i] < ' ' || heap->comm[i] > '~' ? '?' : heap->comm[i];
	name[i] = '\0';
	return name;
}

const char *heap_limit_text(char *buf, uint64_t limit)
{
	return limit == HEAP_NO_LIMIT ? "none" : cli_size(buf, limit);
}

/* Addresses do not fit the numbers of every reader of JSON. */
static void json_arena(const struct heap *heap)
{
	char text[64];

	snprintf(text, sizeof(text), "0x%" PRIx64 "-0x%" PRIx64, heap->arena_start,
		 heap->arena_end);
	json_text("arena", text);
}

void heap_json_value(const struct heap *heap, int i)
{
	if (heap->value[i] == HEAP_NO_LIMIT)
		json_null(heap_values[i].name);
	else
		json_u64(heap_values[i].name, heap->value[i]);
}

void heap_json_process(const struct heap *heap)
{
	json_u64("id", heap->id);
	json_u64("pid", (uint64_t)heap->pid);
	json_text("comm", *heap->comm ? heap->comm : NULL);
}

void heap_json(const struct heap *heap, unsigned int want)
{
	json_open(NULL, '{');
	heap_json_process(heap);
	if (want & HEAP_ARENA)
		json_arena(heap);
	for (int i = 0; i < HV_NR; i++)
		if (want & (1u << i))
			heap_json_value(heap, i);
	json_close();
}
