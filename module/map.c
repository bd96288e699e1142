// SPDX-License-Identifier: GPL-2.0
/*
 * The command MAP: what each piece of an arena is, for a picture of it.
 *
 * sysfs has one value in each file, and debugfs is root's; but who runs a program may
 * look at what it does with its memory.  So this is a command, which tells of any heap
 * whose files in sysfs the caller could open, and is answered by one that he has no part
 * in.  It is given as much room as the caller has, and a cursor, so that nothing is kept
 * between two calls and no call takes long.
 *
 * Elements are gathered in chunks that fit on the stack, and copied with the heap mutex
 * dropped.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/sched.h>
#include <linux/uaccess.h>

#include "heap.h"

/* Spans visited between taking the heap mutex and dropping it. */
#define GOHEAP_MAP_CHUNK	16

struct goheap_map_chunk {
	struct goheap_map_span spans[GOHEAP_MAP_CHUNK];
	unsigned int nr;
	u64 now_ns;
};

/* GOHEAP_MAP_* */
u32 goheap_map_state(const struct gh_span_view *view)
{
	switch (view->state) {
	case GH_SPAN_INUSE:
		return GOHEAP_MAP_INUSE;
	case GH_SPAN_SCAVENGING:
		return GOHEAP_MAP_SCAVENGING;
	default:
		return view->released ? GOHEAP_MAP_RELEASED : GOHEAP_MAP_IDLE;
	}
}

static int goheap_map_add(const struct gh_span_view *view, void *arg)
{
	struct goheap_map_chunk *chunk = arg;

	chunk->spans[chunk->nr++] = (struct goheap_map_span) {
		.addr	   = view->addr,
		.npages	   = view->npages,
		.unused_ns = view->unusedsince_ns ? chunk->now_ns - view->unusedsince_ns : 0,
		.state	   = goheap_map_state(view),
		.tag	   = view->tag,
	};
	return 0;
}

/* Up to @max spans from *cursor on, which is 0 after the last one. */
static void goheap_map_read(struct goheap *heap, u64 *cursor, unsigned int max,
			    struct goheap_map_chunk *chunk)
{
	chunk->nr = 0;
	goheap_lock(heap);
	/* Under the lock: what becomes unused later must not be younger than now. */
	chunk->now_ns = goheap_now_ns();
	if (!gh_mheap_walk_locked(&heap->core, cursor, max, goheap_map_add, chunk))
		*cursor = 0;
	goheap_unlock(heap);
}

static int goheap_map_fill(struct goheap *heap, struct goheap_map *map)
{
	struct goheap_map_span __user *user = u64_to_user_ptr(map->spans);
	struct goheap_map_chunk chunk;
	u64 cursor = map->cursor;

	do {
		goheap_map_read(heap, &cursor,
				min_t(unsigned int, map->nr - map->done, GOHEAP_MAP_CHUNK), &chunk);
		if (copy_to_user(user + map->done, chunk.spans, chunk.nr * sizeof(*user)))
			return -EFAULT;
		map->done += chunk.nr;
		map->cursor = cursor;
		cond_resched();
	} while (cursor && map->done < map->nr);
	return 0;
}

/*
 * Whoever could open the heap's files in sysfs.  From another pid namespace one does not
 * even learn that there is such a heap.
 */
static int goheap_map_allowed(struct goheap *heap)
{
	int err = goheap_may_look(heap);

	if (!err && !uid_eq(heap->uid, current_fsuid()) && !capable(CAP_DAC_READ_SEARCH))
		err = -EACCES;
	return err;
}

static int goheap_map_other(struct goheap_map *map)
{
	struct goheap *heap = goheap_find(map->heap_id);
	int err;

	if (!heap)
		return -ESRCH;
	err = goheap_map_allowed(heap);
	if (!err)
		err = goheap_map_fill(heap, map);
	goheap_put(heap);
	return err;
}

int goheap_cmd_map(struct goheap_file *gf, union goheap_arg *arg)
{
	struct goheap_map *map = &arg->map;
	struct goheap *heap = map->heap_id ? NULL : goheap_of(gf);

	if (IS_ERR(heap))
		return PTR_ERR(heap);
	if (map->flags || map->done || !map->nr || map->nr > GOHEAP_VEC_MAX)
		return -EINVAL;
	return heap ? goheap_map_fill(heap, map) : goheap_map_other(map);
}
