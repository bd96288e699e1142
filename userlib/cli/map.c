// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Spans come from the device, by the command MAP, which answers whoever may read the
 * heap's files in sysfs.  Where sysfs is a copy (--sysfs), they come from the copy of what
 * debugfs has of them, which root can take along: kernel/debug/goheap/arenas.
 *
 * The tag that libgoheap gives a span is its class of size: see ../sizeclass.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/goheap.h>
#include "../sizeclass.h"
#include "cli.h"
#include "map.h"

const char *const map_kind_names[MAP_NR_KINDS] = {
	[MAP_TINY] = "objects up to 64 B",
	[MAP_SMALL] = "up to 512 B",
	[MAP_MEDIUM] = "up to 4 KiB",
	[MAP_BIG] = "up to 32 KiB",
	[MAP_LARGE] = "larger, a span each",
	[MAP_OTHER] = "other",
	[MAP_IDLE] = "idle",
	[MAP_RELEASED] = "released",
};

#define NS_PER_MS	1000000

uint32_t map_object_size(uint8_t tag)
{
	unsigned int class = ghu_spanclass_sizeclass(tag);

	return class < GHU_NUM_CLASSES ? ghu_classes[class].size : 0;
}

static enum map_kind kind_of_tag(uint8_t tag)
{
	static const uint32_t bounds[] = { 64, 512, 4096, GHU_MAX_SMALL_SIZE };
	uint32_t size = map_object_size(tag);
	int i = 0;

	if (ghu_spanclass_sizeclass(tag) >= GHU_NUM_CLASSES)
		return MAP_OTHER;
	if (!ghu_spanclass_sizeclass(tag))
		return MAP_LARGE;
	while (size > bounds[i])
		i++;
	return MAP_TINY + i;
}

static void add_span(struct map *map, size_t *room, const struct map_span *s)
{
	struct map_sum *sum = &map->sum[s->kind];

	if (map->nr == *room) {
		*room = *room ? *room * 2 : 1024;
		map->span = cli_grow(map->span, *room, sizeof(*map->span));
	}
	map->span[map->nr++] = *s;
	sum->bytes += s->bytes;
	sum->spans++;
	if (s->unused_ms > sum->oldest_ms)
		sum->oldest_ms = s->unused_ms;
}

/* ---- the device ---- */

static struct map_span span_of(const struct goheap_map_span *s)
{
	struct map_span span = {
		.addr = s->addr,
		.bytes = s->npages << GOHEAP_PAGE_SHIFT,
		.unused_ms = s->unused_ns / NS_PER_MS,
		.tag = (uint8_t)s->tag,
	};

	switch (s->state) {
	case GOHEAP_MAP_INUSE:
		span.kind = kind_of_tag(span.tag);
		break;
	case GOHEAP_MAP_RELEASED:
		span.kind = MAP_RELEASED;
		break;
	default:	/* or being released at this moment */
		span.kind = MAP_IDLE;
	}
	return span;
}

__attribute__((noreturn)) static void complain(const struct map *map, int err)
{
	switch (err) {
	case ENOTTY:
		cli_die("the module is older than this command, and has no maps: load the one that came with it (rmmod goheap; modprobe goheap)");
	case EACCES:
		cli_die("heap %u is another user's: ask as root", map->heap->id);
	case ESRCH:
		cli_die("heap %u has gone", map->heap->id);
	default:
		cli_die("cannot read the map of heap %u: %s", map->heap->id, strerror(err));
	}
}

static void read_device(struct map *map)
{
	struct goheap_map_span s[GOHEAP_VEC_MAX];
	struct goheap_map m = {
		.size = sizeof(m), .spans = (uintptr_t)s, .nr = GOHEAP_VEC_MAX,
		.heap_id = map->heap->id,
	};
	int fd = open("/dev/goheap", O_RDONLY | O_CLOEXEC);
	uint64_t end = map->heap->arena_start;
	size_t room = 0;

	if (fd < 0)
		cli_die("/dev/goheap: %s (goheap doctor finds out why)", strerror(errno));
	do {
		m.done = 0;
		if (ioctl(fd, GOHEAP_MAP, &m))
			complain(map, errno);
		for (uint32_t i = 0; i < m.done; i++) {
			struct map_span span = span_of(&s[i]);

			/* Spans merge and split between two calls: nothing is to be there twice. */
			if (span.addr + span.bytes <= end)
				continue;
			span.bytes -= end - span.addr;
			span.addr = end;
			end += span.bytes;
			add_span(map, &room, &span);
		}
	} while (m.cursor);
	close(fd);
}

/* ---- the recorded table ---- */

static bool parse_line(const char *line, unsigned int *id, struct map_span *s)
{
	unsigned int tag;
	uint64_t pages;
	char state[16];

	if (sscanf(line, "%u 0x%" SCNx64 " %" SCNu64 " %15s %u %" SCNu64, id, &s->addr, &pages,
		   state, &tag, &s->unused_ms) != 6)
		return false;
	s->bytes = pages << GOHEAP_PAGE_SHIFT;
	s->tag = (uint8_t)tag;
	s->kind = !strcmp(state, "inuse") ? kind_of_tag(s->tag) :
		  !strcmp(state, "released") ? MAP_RELEASED : MAP_IDLE;
	return true;
}

static void read_recorded(struct map *map)
{
	char path[4096], line[256];
	size_t room = 0, nr = 0;
	uint64_t end = 0;
	struct map_span s;
	unsigned int id;
	FILE *f;

	snprintf(path, sizeof(path), "%s/kernel/debug/goheap/arenas", cli.sysfs);
	f = fopen(path, "re");
	if (!f)
		cli_die("%s: %s: a recorded /sys has no map without that file", path, strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		nr++;
		if (!parse_line(line, &id, &s))
			cli_die("%s:%zu: this is no span: heap, address, pages, state, tag and ms are expected",
				path, nr);
		if (id != map->heap->id)
			continue;
		if (s.addr < end || s.bytes > UINT64_MAX - s.addr)
			cli_die("%s:%zu: this span begins inside the one before, or never ends", path, nr);
		end = s.addr + s.bytes;
		add_span(map, &room, &s);
	}
	fclose(f);
}

/* ---- both ---- */

void map_read(struct map *map, const struct heap *heap)
{
	*map = (struct map){ .heap = heap };
	if (strcmp(cli.sysfs, "/sys"))
		read_recorded(map);
	else
		read_device(map);
	map->start = map->nr ? map->span[0].addr : heap->arena_start;
	map->end = map->nr ? map->span[map->nr - 1].addr + map->span[map->nr - 1].bytes : map->start;
}

void map_free(struct map *map)
{
	free(map->span);
	free(map->is_huge);
}

const char *map_title(const struct map *map, char *buf, size_t size)
{
	const struct heap *h = map->heap;

	snprintf(buf, size, "%s (process %d), heap %u", *h->comm ? h->comm : "ended", h->pid, h->id);
	return buf;
}

struct map_sum map_inuse(const struct map *map)
{
	struct map_sum sum = { 0 };

	for (int k = 0; k < MAP_NR_INUSE; k++) {
		sum.bytes += map->sum[k].bytes;
		sum.spans += map->sum[k].spans;
	}
	return sum;
}
