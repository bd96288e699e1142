// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Where huge pages are behind an arena.  The kernel tells this in three ways:
 *
 *  - /proc/PID/pagemap says of each page whether it is there, to whoever may look at the
 *    process.  A huge page is 2 MiB of which all pages are; but so may be small ones.
 *  - To root it says which frame of memory each is, and /proc/kpageflags says of a frame
 *    whether it is part of a huge page.
 *  - /proc/PID/smaps says how many huge pages there are in a mapping, to both.
 *
 * So root knows where they are.  To others they are where all of 2 MiB is there, if it is
 * as often as there are huge pages; else only how many there are.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli.h"
#include "map.h"

/* Of an entry of pagemap. */
#define PM_PRESENT	((uint64_t)1 << 63)
#define PM_FRAME(e)	((e) & (((uint64_t)1 << 55) - 1))
/* Of one of kpageflags. */
#define KPF_THP		((uint64_t)1 << 22)

#define PAGES_MAX	512

struct look {
	int pagemap, kpageflags;	/* -1: cannot be had */
	bool frames;			/* they are told */
	size_t page, pages;		/* bytes of a page; pages of 2 MiB */
};

static int open_proc(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* Whether all of the 2 MiB at addr are there: their frames are told if they may be known. */
static bool is_whole(const struct look *l, uint64_t addr, uint64_t entry[PAGES_MAX])
{
	size_t bytes = l->pages * sizeof(*entry);

	if (pread(l->pagemap, entry, bytes, (off_t)(addr / l->page * sizeof(*entry))) != (ssize_t)bytes)
		return false;
	for (size_t i = 0; i < l->pages; i++)
		if (!(entry[i] & PM_PRESENT))
			return false;
	return true;
}

/* One huge page, if the frames are known: they lie side by side, and the kernel says so. */
static bool is_one(const struct look *l, const uint64_t entry[PAGES_MAX])
{
	uint64_t first = PM_FRAME(entry[0]), flags;

	for (size_t i = 0; i < l->pages; i++)
		if (PM_FRAME(entry[i]) != first + i)
			return false;
	return pread(l->kpageflags, &flags, sizeof(flags), (off_t)(first * sizeof(flags))) ==
		sizeof(flags) && flags & KPF_THP;
}

/* Marks those of which any part has pages; the number that are marked. */
static uint64_t mark(struct map *map, struct look *l)
{
	uint64_t entry[PAGES_MAX], next = map->start, nr = 0;

	for (size_t i = 0; i < map->nr; i++) {
		const struct map_span *s = &map->span[i];
		uint64_t end = s->addr + s->bytes;

		for (; s->kind != MAP_RELEASED && next < end; next += MAP_HUGE_SIZE) {
			bool *is = &map->is_huge[(next - map->start) / MAP_HUGE_SIZE];

			*is = is_whole(l, next, entry);
			/* In a container root may open kpageflags, but is told no frames. */
			l->frames = l->frames && (!*is || PM_FRAME(entry[0]));
			*is = *is && (!l->frames || is_one(l, entry));
			nr += *is;
		}
		/* What is released has none, but where the next span begins in the same 2 MiB. */
		while (next + MAP_HUGE_SIZE <= end)
			next += MAP_HUGE_SIZE;
		cli_progress("looking for huge pages", i + 1, map->nr);
	}
	return nr;
}

/* What smaps says of all mappings in the arena, in bytes; false if it cannot be read. */
static bool count_huge(const struct map *map, uint64_t *bytes)
{
	uint64_t start = 0, end = 0, kib;
	char line[512];
	int fd = open_proc(map->heap->pid, "smaps");
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");

	if (!f)
		return false;
	*bytes = 0;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "AnonHugePages: %" SCNu64, &kib) == 1) {
			if (start < map->end && end > map->start)
				*bytes += kib << 10;
		} else if (strchr(line, '-')) {
			sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &start, &end);
		}
	}
	fclose(f);
	return true;
}

static void forget_where(struct map *map)
{
	free(map->is_huge);
	map->is_huge = NULL;
}

static void look_for(struct map *map, struct look *l)
{
	uint64_t nr = mark(map, l);

	map->huge = MAP_HUGE_WHERE;
	map->huge_bytes = nr * MAP_HUGE_SIZE;
	if (l->frames)
		return;
	if (!count_huge(map, &map->huge_bytes)) {
		map->huge = MAP_HUGE_UNKNOWN;
		snprintf(map->why, sizeof(map->why), "/proc/%d/smaps: %s", map->heap->pid,
			 strerror(errno));
	} else if (map->huge_bytes != nr * MAP_HUGE_SIZE) {
		map->huge = MAP_HUGE_TOTAL;
		snprintf(map->why, sizeof(map->why), "where they are only root can see");
	}
	if (map->huge != MAP_HUGE_WHERE || !map->huge_bytes)
		forget_where(map);
}

void map_read_huge(struct map *map)
{
	struct look l = { .page = (size_t)sysconf(_SC_PAGESIZE) };

	l.pages = MAP_HUGE_SIZE / l.page;
	if (strcmp(cli.sysfs, "/sys")) {
		snprintf(map->why, sizeof(map->why), "not recorded");
		return;
	}
	l.pagemap = open_proc(map->heap->pid, "pagemap");
	if (l.pagemap < 0 || l.pages > PAGES_MAX) {
		snprintf(map->why, sizeof(map->why), "/proc/%d/pagemap: %s", map->heap->pid,
			 l.pagemap < 0 ? strerror(errno) : "of other pages");
		return;
	}
	l.kpageflags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	l.frames = l.kpageflags >= 0;
	map->is_huge = cli_alloc((map->end - map->start) / MAP_HUGE_SIZE + 1, sizeof(*map->is_huge));
	look_for(map, &l);
	close(l.pagemap);
	if (l.kpageflags >= 0)
		close(l.kpageflags);
}
