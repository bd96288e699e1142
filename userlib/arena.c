// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * An arena is reserved with PROT_NONE, which costs nothing but addresses, and is
 * made readable and writable from its start on, up to 64 MiB ahead of use; less at
 * first, so that a small program takes little of what RLIMIT_DATA and strict
 * overcommit (overcommit_memory=2) leave it, and no huge pages: there is one only where
 * all of its addresses are open when the first of them is used, which is so from 7 MiB
 * on.  So it is never more than two mappings, and a core dump has the used part only.
 *
 * Lengths: 512 GiB if the system grants it.  It does not under RLIMIT_AS, nor
 * after mlockall() with RLIMIT_MEMLOCK; then shorter ones are tried, and the heap
 * consists of several arenas in the end.  Under RLIMIT_AS one arena takes a
 * quarter of the limit at most, because the rest of the program needs addresses
 * too, unless a single request needs more.
 *
 * Addresses: 0x00c0 followed by zeros, with 0x00 to 0x7f in front, then anywhere.
 * In memory such pointers begin 00 .. c0 in their upper bytes, which is not valid
 * UTF-8 and unlike small integers, so they are easily told from other data, by
 * people and by conservative scans.  Somebody may be there already (address
 * sanitizers are), therefore MAP_FIXED_NOREPLACE and the next hint; a kernel that
 * does not know the flag takes the address as a wish.
 */
#include <errno.h>
#include <linux/mman.h>
#include <sys/mman.h>
#include "arena.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE	0x100000
#endif

#if defined(__aarch64__)
#define HINT_BASE	((uintptr_t)0x0040 << 32)
#else
#define HINT_BASE	((uintptr_t)0x00c0 << 32)
#endif
#define HINT_MAX	0x7f

/* Arenas are opened in steps of a part of what is open already, but between these. */
#define OPEN_PART	4u
#define OPEN_FIRST	((size_t)256 << 10)
/* Longer steps are multiples of this, so that no huge page is lost where one ends. */
#define OPEN_HUGE	((size_t)2 << 20)
#define OPEN_MOST	((size_t)64 << 20)
/* What is opened when there is not enough for a whole step. */
#define OPEN_MIN	OPEN_FIRST

static const size_t arena_sizes[] = {
	GHU_ARENA_MAX,
	(size_t)64 << 30,
	(size_t)8 << 30,
	(size_t)1 << 30,
	(size_t)256 << 20,
	GHU_ARENA_STEP,
};

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

static long map_at(uintptr_t hint, size_t bytes, int fd)
{
	int flags = MAP_PRIVATE | MAP_NORESERVE;

	if (hint)
		flags |= MAP_FIXED_NOREPLACE;
	if (fd < 0)
		flags |= MAP_ANONYMOUS;
	return ghu_mmap(hint, bytes, PROT_NONE, flags, fd, 0);
}

/*
 * One hint.  0: had it.  -EEXIST: somebody else has, try the next.  Another
 * error would be the same at every hint.
 */
static long map_hint(uintptr_t hint, size_t bytes, int fd)
{
	long ret = map_at(hint, bytes, fd);

	if (ghu_is_err(ret))
		return ret;
	if ((uintptr_t)ret == hint)
		return 0;
	ghu_munmap((uintptr_t)ret, bytes);
	return -EEXIST;
}

static uintptr_t map_hints(size_t bytes, int fd)
{
	for (uintptr_t i = 0; i <= HINT_MAX; i++) {
		uintptr_t hint = i << 40 | HINT_BASE;
		long ret = map_hint(hint, bytes, fd);

		if (!ret)
			return hint;
		if (ret != -EEXIST)
			break;
	}
	return 0;
}

/* The device aligns by itself; here more is mapped, and the ends are cut off. */
static uintptr_t map_anon_anywhere(size_t bytes)
{
	long ret = map_at(0, bytes + GHU_ARENA_ALIGN, -1);
	uintptr_t p = (uintptr_t)ret, start;

	if (ghu_is_err(ret))
		return 0;
	start = round_up(p, GHU_ARENA_ALIGN);
	if (start > p)
		ghu_munmap(p, start - p);
	if (start < p + GHU_ARENA_ALIGN)
		ghu_munmap(start + bytes, p + GHU_ARENA_ALIGN - start);
	return start;
}

static uintptr_t map_device_anywhere(size_t bytes, int fd)
{
	long ret = map_at(0, bytes, fd);

	if (ghu_is_err(ret))
		return 0;
	if (!((uintptr_t)ret & (GHU_ARENA_ALIGN - 1)))
		return (uintptr_t)ret;
	ghu_munmap((uintptr_t)ret, bytes);
	return 0;
}

static bool reserve_bytes(struct ghu_arena *a, int fd, size_t bytes)
{
	uintptr_t start = map_hints(bytes, fd);

	if (!start)
		start = fd < 0 ? map_anon_anywhere(bytes) : map_device_anywhere(bytes, fd);
	if (!start)
		return false;
	*a = (struct ghu_arena){ .start = start, .bytes = bytes, .opened = start };
	return true;
}

/* The most that one arena should take of the addresses that the process may have. */
static size_t limit_share(void)
{
	size_t limit = ghu_address_limit();

	return limit == SIZE_MAX ? GHU_ARENA_MAX : limit / 4;
}

int ghu_arena_reserve(struct ghu_arena *a, int fd, size_t min_bytes, size_t max_bytes)
{
	size_t share = limit_share();

	if (min_bytes > max_bytes)
		return -ENOMEM;
	min_bytes = min_bytes ? round_up(min_bytes, GHU_ARENA_STEP) : GHU_ARENA_STEP;
	if (max_bytes < share)
		share = max_bytes;
	for (size_t i = 0; i < sizeof(arena_sizes) / sizeof(arena_sizes[0]); i++) {
		size_t bytes = arena_sizes[i];

		if (bytes <= share && bytes > min_bytes && reserve_bytes(a, fd, bytes))
			return 0;
	}
	return reserve_bytes(a, fd, min_bytes) ? 0 : -ENOMEM;
}

static int open_to(struct ghu_arena *a, uintptr_t end)
{
	if (ghu_mprotect(a->opened, end - a->opened, PROT_READ | PROT_WRITE))
		return -ENOMEM;
	__atomic_store_n(&a->opened, end, __ATOMIC_RELAXED);
	return 0;
}

static size_t open_step(const struct ghu_arena *a)
{
	size_t bytes = (a->opened - a->start) / OPEN_PART + 1;

	bytes = round_up(bytes, bytes < OPEN_HUGE ? OPEN_FIRST : OPEN_HUGE);
	return bytes < OPEN_MOST ? bytes : OPEN_MOST;
}

/* A whole step, or what is needed if there is not as much. */
static int open_locked(struct ghu_arena *a, uintptr_t end)
{
	uintptr_t limit = a->start + a->bytes;
	uintptr_t ahead = a->start + round_up(end - a->start, open_step(a));

	if (end <= a->opened)
		return 0;
	if (!open_to(a, ahead < limit ? ahead : limit))
		return 0;
	return open_to(a, a->start + round_up(end - a->start, OPEN_MIN));
}

int ghu_arena_open(struct ghu_arena *a, uintptr_t end)
{
	int ret;

	/* No data comes with it, and a fault before its time is the kernel's to repeat. */
	if (ghu_likely(end <= __atomic_load_n(&a->opened, __ATOMIC_RELAXED)))
		return 0;
	ghu_lock(&a->lock);
	ret = open_locked(a, end);
	ghu_unlock(&a->lock);
	return ret;
}
