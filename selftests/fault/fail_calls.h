/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Part of fail_test.c: the calls, each with what it needs, what must hold when it
 * failed, and what takes it back.  What is looked at is the heap that lives through
 * all of it, and for most calls a heap of their own, as new.
 */
#ifndef GOHEAP_TEST_FAIL_CALLS_H
#define GOHEAP_TEST_FAIL_CALLS_H

#include "inject.h"
#include <module.h>
#include <dirent.h>
#include <poll.h>
#include <sys/epoll.h>

#define ARENA	(64 * MIB)
#define FAR	((void *)8)	/* no address of anything */
#define NR	GOHEAP_VEC_MAX

struct call {
	const char *name;
	void (*setup)(void);
	int (*run)(void);
	void (*settle)(int err);
	void (*undo)(void);
	int also;	/* an errno that it may answer beside ENOMEM and EFAULT */
	/* Only each STEPth: it takes long, and none of its faults is in the module. */
	unsigned int step;
};

static const struct call *now;		/* which is being tried */
static unsigned int now_n, complaints;

static bool must(bool ok, int line, const char *what, long long value)
{
	if (!ok && complaints++ < 20)
		printf("# %s, fault %u: line %d: %s (%lld)\n", now->name, now_n, line, what,
		       value);
	return ok;
}
#define MUST(cond)		must(cond, __LINE__, #cond, 0)
#define MUST_BE(want, have)	({						\
	long long have_ = (have);						\
	must(have_ == (want), __LINE__, #have " == " #want, have_);		\
})

/* ---- the heap that lives through it --------------------------------------------- */

#define KEPT	8

static struct {
	int fd;
	char *arena, *span[KEPT];
	char dir[64];
	struct goheap_stats st;
} heap = { .fd = -1 };

static void heap_begin(void)
{
	struct goheap_info i;

	heap.fd = dev_open();
	heap.arena = arena_map(heap.fd, ARENA);
	MUST(heap.arena != MAP_FAILED);
	for (int k = 0; k < KEPT; k++) {
		heap.span[k] = span_new(heap.fd, 3 + k);
		fill(heap.span[k], (3 + k) * PAGE, k);
	}
	MUST_BE(0, info(heap.fd, &i));
	snprintf(heap.dir, sizeof(heap.dir), SYSFS "/%llu", (unsigned long long)i.heap_id);
}

static void heap_note(void)
{
	if (heap.fd >= 0)
		MUST_BE(0, stats(heap.fd, &heap.st));
}

/* As it was when it was noted; counters of events apart. */
static void heap_same(void)
{
	struct goheap_stats st;

	if (heap.fd < 0)
		return;
	MUST_BE(0, stats(heap.fd, &st));
	MUST_BE(heap.st.heap_inuse, st.heap_inuse);
	MUST_BE(heap.st.nr_spans, st.nr_spans);
	MUST_BE(st.nr_spans, st.nr_allocs - st.nr_frees);
	MUST_BE(st.heap_sys, st.heap_inuse + st.heap_idle);
	MUST(st.heap_released <= st.heap_idle);
	for (int k = 0; k < KEPT; k++)
		MUST(filled(heap.span[k], (3 + k) * PAGE, k));
}

static void heap_end(void)
{
	munmap(heap.arena, ARENA);
	close(heap.fd);
}

static void nothing(void)
{
}

static void same(int err)
{
}

/* ---- what the calls share ------------------------------------------------------- */

static struct {
	int fd, fd2, pipe[2];
	char *arena, *span;
	size_t bytes;
	struct goheap_span s[NR];
	unsigned int nr, done;
	uint64_t npages, align, heaps;
	pid_t pid;
} u = { .fd = -1, .fd2 = -1 };

static long long nr_heaps(void)
{
	return file_number(SYSFS "/heaps");
}

/* Names in the class's directory that are a heap's. */
static unsigned int nr_dirs(void)
{
	DIR *d = opendir(SYSFS);
	unsigned int nr = 0;
	struct dirent *e;

	while (d && (e = readdir(d)))
		nr += e->d_name[0] >= '0' && e->d_name[0] <= '9';
	if (d)
		closedir(d);
	return nr;
}

static void map_heap(void)
{
	u.bytes = u.bytes ? u.bytes : ARENA;
	u.fd = dev_open();
	u.arena = arena_map(u.fd, u.bytes);
	MUST(u.arena != MAP_FAILED);
}

/* A heap of its own for the call, as new: all but its directory is fetched anew in it. */
static void begin_heap(void)
{
	struct goheap_info i;

	map_heap();
	MUST_BE(0, info(u.fd, &i));
}

static void end_heap(void)
{
	struct goheap_stats st;

	MUST_BE(0, stats(u.fd, &st));
	MUST_BE(st.nr_spans, st.nr_allocs - st.nr_frees);
	MUST_BE(st.heap_sys, st.heap_inuse + st.heap_idle);
	munmap(u.arena, u.bytes);
	close(u.fd);
	u.fd = -1;
	u.bytes = 0;
}

/* ---- open, close, and mapping --------------------------------------------------- */

static void open_setup(void)
{
	u.heaps = file_number(REFCNT);
}

static int open_run(void)
{
	u.fd = open("/dev/goheap", O_RDWR | O_CLOEXEC);
	return u.fd < 0 ? -errno : 0;
}

static void open_settle(int err)
{
	MUST_BE(u.heaps, file_number(REFCNT));
}

static void open_undo(void)
{
	close(u.fd);
	u.fd = -1;
	MUST_BE(u.heaps, file_number(REFCNT));
}

/* It has an inode of another kind then. */
static void open_plain_setup(void)
{
	MUST_BE(0, file_write(PARAMS "/khugepaged", "1"));
	open_setup();
}

static void open_plain_undo(void)
{
	open_undo();
	MUST_BE(0, file_write(PARAMS "/khugepaged", "0"));
}

static void map_setup(void)
{
	u.heaps = nr_heaps();
	u.fd = dev_open();
}

/* Whose first heap it is; root has one. */
static void map_user_setup(void)
{
	map_setup();
	MUST_BE(0, seteuid(65534));
}

static int map_run(void)
{
	u.arena = arena_map(u.fd, ARENA);
	return u.arena == MAP_FAILED ? -errno : 0;
}

static void map_settle(int err)
{
	struct goheap_info i;

	MUST_BE(u.heaps, nr_heaps());
	MUST_BE(0, info(u.fd, &i));
	MUST_BE(0, i.heap_id);
}

static void map_undo(void)
{
	MUST_BE(u.heaps + 1, nr_heaps());
	munmap(u.arena, ARENA);
	close(u.fd);
	u.fd = -1;
	MUST_BE(u.heaps, nr_heaps());
}

static void map_user_undo(void)
{
	MUST_BE(0, seteuid(0));
	map_undo();
}

static int ctl_run(void)
{
	u.span = (char *)ctl_map(u.fd);
	return u.span == MAP_FAILED ? -errno : 0;
}

static void ctl_undo(void)
{
	munmap(u.span, 4096);
	end_heap();
}

/* The page fault of a program is repeated by the kernel until it succeeds. */
static void touch_ctl_setup(void)
{
	begin_heap();
	ctl_run();
}

static int touch_run(void)
{
	*(volatile char *)u.span;
	return 0;
}

/* That of the kernel, in a copy, is told. */
static int touch_copy_run(void)
{
	return write(u.pipe[1], u.span, 1) == 1 ? 0 : -errno;
}

static void touch_copy_setup(void)
{
	touch_ctl_setup();
	if (!u.pipe[1])
		MUST_BE(0, pipe2(u.pipe, O_CLOEXEC));
}

static void touch_copy_undo(void)
{
	char c = 1;

	MUST_BE(1, read(u.pipe[0], &c, 1));
	MUST_BE(0, c);
	ctl_undo();
}

static void touch_arena_setup(void)
{
	begin_heap();
	u.span = span_new(u.fd, 1024);
}

static void touch_small_setup(void)
{
	touch_arena_setup();
	madvise(u.arena, ARENA, MADV_NOHUGEPAGE);
}

static int write_run(void)
{
	*(volatile char *)u.span = 1;
	return 0;
}

static void write_undo(void)
{
	MUST_BE(1, *u.span);
	MUST_BE(0, u.span[4096 * 3]);
	end_heap();
}

static void close_setup(void)
{
	u.heaps = nr_heaps();
	touch_arena_setup();
	*u.span = 1;
	munmap(u.arena, ARENA);
}

static int close_run(void)
{
	return close(u.fd) ? -errno : 0;
}

static void close_undo(void)
{
	MUST_BE(u.heaps, nr_heaps());
	u.bytes = 0;
}

/* The last of the heap is its mapping. */
static void unmap_setup(void)
{
	u.heaps = nr_heaps();
	touch_arena_setup();
	*u.span = 1;
	close(u.fd);
}

static int unmap_run(void)
{
	return munmap(u.arena, ARENA) ? -errno : 0;
}

static void unmap_settle(int err)
{
	MUST_BE(1, *u.span);
	MUST_BE(u.heaps + 1, nr_heaps());
}

/* ---- what a program does to its arena ------------------------------------------- */

static void pieces_setup(void)
{
	touch_arena_setup();
	fill(u.span, 8 * MIB, 7);
}

static void pieces_settle(int err)
{
	MUST(filled(u.span, 8 * MIB, 7));
}

static void pieces_undo(void)
{
	struct goheap_scavenge sc;

	MUST(filled(u.span, MIB, 7));
	MUST_BE(0, span_free(u.fd, u.span, 1024));
	MUST_BE(0, scavenge(u.fd, ALL, &sc));
	MUST_BE(8 * MIB, sc.released_bytes);
	end_heap();
}

static int unmap_piece_run(void)
{
	return munmap(u.span + MIB, MIB) ? -errno : 0;
}

static int move_piece_run(void)
{
	return mremap(u.span + MIB, MIB, MIB, MREMAP_MAYMOVE | MREMAP_FIXED,
		      u.arena + ARENA - 2 * MIB) == MAP_FAILED ? -errno : 0;
}

static int protect_piece_run(void)
{
	return mprotect(u.span + MIB, MIB, PROT_READ) ? -errno : 0;
}

static int advise_piece_run(void)
{
	return madvise(u.span + MIB, MIB, MADV_DONTFORK) ? -errno : 0;
}

/* Some of its memory is the child's, until the child ends. */
static int fork_run(void)
{
	u.pid = fork();
	if (!u.pid)
		_exit(filled(u.span, 8 * MIB, 7));
	return u.pid < 0 ? -errno : 0;
}

static void fork_undo(void)
{
	MUST_BE(1, reap(u.pid));
	pieces_undo();
}

/* ---- commands ------------------------------------------------------------------- */

/* It makes the heap's directory. */
static int first_run(void)
{
	struct goheap_info i;

	return info(u.fd, &i);
}

static void first_settle(int err)
{
	MUST_BE(u.heaps + 1, nr_heaps());
	MUST_BE(u.heaps, nr_dirs());
}

static void first_setup(void)
{
	u.heaps = nr_heaps();
	map_heap();
	first_settle(0);
}

static void first_undo(void)
{
	MUST_BE(u.heaps + 1, nr_dirs());
	end_heap();
	MUST_BE(u.heaps, nr_dirs());
}

static int info_run(void)
{
	struct goheap_info i;

	return info(heap.fd, &i);
}

static int stats_run(void)
{
	struct goheap_stats st;

	return stats(heap.fd, &st);
}

static int limit_get_run(void)
{
	uint64_t soft, hard;

	return limit_get(heap.fd, &soft, &hard);
}

static int look_run(void)
{
	struct goheap_map_span s[2 * KEPT];
	unsigned int done;
	uint64_t cursor = 0;

	return map_read(heap.fd, 0, &cursor, s, 2 * KEPT, &done);
}

/* So that it releases what is idle. */
static int limit_set_run(void)
{
	return limit_set(u.fd, 0, 0);
}

/* Both are in force, or none. */
static void limit_settle(int err)
{
	uint64_t soft, hard;

	MUST_BE(0, limit_get(u.fd, &soft, &hard));
	MUST((soft == ALL && hard == ALL) || (!soft && !hard));
}

static void idle_setup(void)
{
	pieces_setup();
	MUST_BE(0, span_free(u.fd, u.span, 1024));
}

static void idle_small_setup(void)
{
	begin_heap();
	madvise(u.arena, ARENA, MADV_NOHUGEPAGE);
	u.span = span_new(u.fd, 1024);
	fill(u.span, 8 * MIB, 7);
	MUST_BE(0, span_free(u.fd, u.span, 1024));
}

static int scavenge_run(void)
{
	struct goheap_scavenge sc;

	return scavenge(u.fd, ALL, &sc);
}

static void scavenge_settle(int err)
{
	struct goheap_stats st;

	MUST_BE(0, stats(u.fd, &st));
	MUST(!st.scav_demand_bytes || st.heap_released == st.heap_idle);
}

static void scavenge_undo(void)
{
	struct goheap_stats st;

	MUST_BE(0, stats(u.fd, &st));
	MUST_BE(8 * MIB, st.scav_demand_bytes);
	end_heap();
}

static void attach_setup(void)
{
	u.fd = dev_open();
}

static int attach_run(void)
{
	return attach(u.fd, heap.span[0]);
}

/* Where only the answer could not be told, it has the heap. */
static void attach_settle(int err)
{
	struct goheap_info i;

	MUST_BE(0, info(u.fd, &i));
	if (!i.heap_id)
		return;
	MUST_BE(-EFAULT, err);
	close(u.fd);
	u.fd = dev_open();
}

static void attach_undo(void)
{
	close(u.fd);
	u.fd = -1;
}

/* ---- spans ---------------------------------------------------------------------- */

static void alloc_ask(unsigned int nr, uint64_t npages, uint64_t align)
{
	u.nr = nr;
	u.npages = npages;
	u.align = align;
	for (unsigned int i = 0; i < nr; i++)
		u.s[i] = (struct goheap_span){ .npages = npages ? npages : 1 + i % 9,
					       .tag = i % 256 };
}

static int alloc_run(void)
{
	return vec(u.fd, GOHEAP_SPAN_ALLOC, u.s, u.nr, u.align, &u.done);
}

/*
 * What was allocated has an address in the vector, whether or not the number of them
 * could be told; and there is nothing else.
 */
static void alloc_settle(int err)
{
	struct goheap_stats st;
	unsigned int i, nr = 0;

	for (i = 0; i < u.nr && u.s[i].addr; i++)
		;
	MUST(u.done == i || (!u.done && err == -EFAULT));
	MUST_BE(0, stats(u.fd, &st));
	MUST_BE(i, st.nr_spans);
	for (unsigned int k = 0; k < i; k++)
		u.s[k].flags = u.s[k].tag = 0;
	if (i) {
		MUST_BE(0, vec(u.fd, GOHEAP_SPAN_FREE, u.s, i, 0, &nr));
		MUST_BE(i, nr);
	}
	alloc_ask(u.nr, u.npages, u.align);
}

static void alloc_undo(void)
{
	struct goheap_stats st;

	MUST_BE(u.nr, u.done);
	alloc_settle(0);
	MUST_BE(0, stats(u.fd, &st));
	MUST_BE(0, st.heap_inuse);
	end_heap();
}

static void alloc_many_setup(void)
{
	begin_heap();
	alloc_ask(NR, 0, 0);
}

/* Whatever fails of it, the spans are there. */
static void alloc_populated_setup(void)
{
	begin_heap();
	alloc_ask(2, 256, 0);
}

static int alloc_populated_run(void)
{
	struct goheap_span_vec v = {
		.size = sizeof(v), .spans = (uintptr_t)u.s, .nr = u.nr,
		.flags = GOHEAP_VEC_POPULATE,
	};
	int err = cmd(u.fd, GOHEAP_SPAN_ALLOC, &v);

	u.done = v.done;
	return err;
}

static void alloc_aligned_setup(void)
{
	begin_heap();
	alloc_ask(6, 3, 2 * MIB);
}

/* The table of a large arena comes from vmalloc() where it must. */
static void alloc_large_setup(void)
{
	u.bytes = 64 * GIB;
	begin_heap();
	alloc_ask(1, 40 * GIB / PAGE, 0);
}

/* What is idle is to be released, so that it joins what has no pages. */
static void alloc_full_setup(void)
{
	struct goheap_scavenge sc;
	char *p[16];

	begin_heap();
	for (int i = 0; i < 16; i++)
		p[i] = span_new(u.fd, 512);
	for (int i = 0; i < 16; i += 2)
		span_free(u.fd, p[i], 512);
	MUST_BE(0, scavenge(u.fd, ALL, &sc));
	for (int i = 1; i < 16; i += 2) {
		*p[i] = 1;
		span_free(u.fd, p[i], 512);
	}
	alloc_ask(1, ARENA / PAGE, 0);
}

/* And for its memory. */
static void alloc_limited_setup(void)
{
	idle_setup();
	MUST_BE(0, limit_set(u.fd, ALL, 9 * MIB));
	alloc_ask(1, 1025, 0);
}

static void free_setup(void)
{
	alloc_many_setup();
	MUST_BE(0, alloc_run());
	for (unsigned int i = 0; i < u.nr; i++)
		u.s[i].flags = u.s[i].tag = 0;
	u.done = 0;
}

static int free_run(void)
{
	return vec(u.fd, GOHEAP_SPAN_FREE, u.s, u.nr, 0, &u.done);
}

/* As many as it says are free, from the first on, or the number could not be told. */
static void free_settle(int err)
{
	struct goheap_stats st;

	MUST_BE(0, stats(u.fd, &st));
	MUST(u.done == u.nr - st.nr_spans || (!u.done && err == -EFAULT));
	u.done = u.nr - st.nr_spans;
	u.nr -= u.done;
	memmove(u.s, u.s + u.done, u.nr * sizeof(u.s[0]));
	/* All of it was done: another, for the call to come. */
	if (!u.nr) {
		alloc_ask(1, 1, 0);
		MUST_BE(0, alloc_run());
		u.s[0].flags = u.s[0].tag = 0;
	}
}

static void free_undo(void)
{
	struct goheap_stats st;

	MUST_BE(0, stats(u.fd, &st));
	MUST_BE(0, st.nr_spans);
	end_heap();
}

static void resize_begin(unsigned int before)
{
	begin_heap();
	for (unsigned int i = 0; i <= before; i++)
		u.span = span_new(u.fd, 3);
}

static int resize_run(void)
{
	struct goheap_resize r;

	return span_resize(u.fd, u.span, 6, &r);
}

/* Whether it fetches records when there are so many spans before. */
static bool resize_fetches(unsigned int before)
{
	struct goheap_stats was, is;

	resize_begin(before);
	stats(u.fd, &was);
	MUST_BE(0, resize_run());
	stats(u.fd, &is);
	end_heap();
	return was.meta_bytes != is.meta_bytes;
}

static void resize_setup(void)
{
	static unsigned int before;

	while (before < 200 && !resize_fetches(before))
		before++;
	MUST(before < 200);
	resize_begin(before);
}

/* Longer or not; and then as it was. */
static void resize_settle(int err)
{
	struct goheap_resize r;

	MUST_BE(0, span_resize(u.fd, u.span, 3, &r));
	MUST(r.old_npages == 3 || (r.old_npages == 6 && err == -EFAULT));
}

static void resize_undo(void)
{
	resize_settle(-EFAULT);
	end_heap();
}

/* ---- poll ----------------------------------------------------------------------- */

static int poll_run(void)
{
	struct pollfd p = { .fd = heap.fd, .events = POLLPRI };

	return poll(&p, 1, 1) < 0 ? -errno : 0;
}

static void epoll_setup(void)
{
	u.fd2 = epoll_create1(EPOLL_CLOEXEC);
}

static int epoll_run(void)
{
	struct epoll_event ev = { .events = EPOLLPRI };

	return epoll_ctl(u.fd2, EPOLL_CTL_ADD, heap.fd, &ev) ? -errno : 0;
}

/* It is told of pressure. */
static void epoll_undo(void)
{
	struct epoll_event ev;

	file_write("/proc/sys/vm/drop_caches", "2");
	MUST_BE(1, epoll_wait(u.fd2, &ev, 1, 10000));
	close(u.fd2);
}

/* ---- the table ------------------------------------------------------------------ */

static const struct call calls[] = {
	{ "open", open_setup, open_run, open_settle, open_undo },
	{ "open for khugepaged", open_plain_setup, open_run, open_settle, open_plain_undo },
	{ "mmap of the arena", map_setup, map_run, map_settle, map_undo },
	{ "mmap by another user", map_user_setup, map_run, map_settle, map_user_undo },
	{ "mmap of the control page", begin_heap, ctl_run, same, ctl_undo },
	{ "fault in the control page", touch_ctl_setup, touch_run, same, ctl_undo },
	{ "copy from the control page", touch_copy_setup, touch_copy_run, same,
	  touch_copy_undo },
	{ "fault in the arena", touch_arena_setup, write_run, same, write_undo },
	{ "fault of a small page", touch_small_setup, write_run, same, write_undo },
	{ "munmap of a piece", pieces_setup, unmap_piece_run, pieces_settle, pieces_undo },
	{ "mremap of a piece", pieces_setup, move_piece_run, pieces_settle, pieces_undo },
	{ "mprotect of a piece", pieces_setup, protect_piece_run, pieces_settle, pieces_undo },
	{ "madvise of a piece", pieces_setup, advise_piece_run, pieces_settle, pieces_undo,
	  -EAGAIN },
	{ "fork", pieces_setup, fork_run, pieces_settle, fork_undo, .step = 4 },
	{ "the first command", first_setup, first_run, first_settle, first_undo },
	{ "INFO", nothing, info_run, same, nothing },
	{ "ATTACH", attach_setup, attach_run, attach_settle, attach_undo },
	{ "STATS", nothing, stats_run, same, nothing },
	{ "MAP", nothing, look_run, same, nothing },
	{ "LIMIT, read", nothing, limit_get_run, same, nothing },
	{ "LIMIT, set", idle_setup, limit_set_run, limit_settle, scavenge_undo },
	{ "SCAVENGE", idle_setup, scavenge_run, scavenge_settle, scavenge_undo },
	{ "SCAVENGE of small pages", idle_small_setup, scavenge_run, scavenge_settle,
	  scavenge_undo },
	{ "SPAN_ALLOC of 512", alloc_many_setup, alloc_run, alloc_settle, alloc_undo },
	{ "SPAN_ALLOC, populated", alloc_populated_setup, alloc_populated_run, alloc_settle,
	  alloc_undo },
	{ "SPAN_ALLOC, aligned", alloc_aligned_setup, alloc_run, alloc_settle, alloc_undo },
	{ "SPAN_ALLOC of 40 GiB", alloc_large_setup, alloc_run, alloc_settle, alloc_undo },
	{ "SPAN_ALLOC in a full arena", alloc_full_setup, alloc_run, alloc_settle, alloc_undo },
	{ "SPAN_ALLOC at the hard limit", alloc_limited_setup, alloc_run, alloc_settle,
	  alloc_undo },
	{ "SPAN_FREE of 512", free_setup, free_run, free_settle, free_undo },
	{ "SPAN_RESIZE", resize_setup, resize_run, resize_settle, resize_undo },
	{ "poll", nothing, poll_run, same, nothing },
	{ "epoll_ctl", epoll_setup, epoll_run, same, epoll_undo },
	{ "close", close_setup, close_run, same, close_undo },
	{ "munmap, the last of a heap", unmap_setup, unmap_run, unmap_settle, close_undo },
};
#define NR_CALLS	(sizeof(calls) / sizeof(calls[0]))

#endif
