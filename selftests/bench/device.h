/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What the benchmarks of the device share: commands that end the program when they
 * fail, since a number for what did not happen is worse than none.
 */
#ifndef GOHEAP_BENCH_DEVICE_H
#define GOHEAP_BENCH_DEVICE_H

#include "bench.h"
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <linux/goheap.h>

#define SPAN_BYTES	65536
#define VEC		32
#define ARENA_BYTES	(1024 * MIB)

struct heap {
	int fd;
	void *arena;
};

static inline struct heap open_heap(void)
{
	struct heap h = { .fd = open("/dev/goheap", O_RDWR | O_CLOEXEC) };

	if (h.fd < 0)
		die("/dev/goheap");
	h.arena = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_NORESERVE, h.fd, GOHEAP_OFF_ARENA);
	if (h.arena == MAP_FAILED)
		die("arena");
	return h;
}

static inline void close_heap(const struct heap *h)
{
	munmap(h->arena, ARENA_BYTES);
	close(h->fd);
}

static inline void *map_memory(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

static inline struct goheap_span_vec span_vec(struct goheap_span *s, unsigned int n,
					      unsigned int flags)
{
	return (struct goheap_span_vec){
		.size = sizeof(struct goheap_span_vec), .flags = flags,
		.spans = (uintptr_t)s, .nr = n,
	};
}

static inline void span_command(int fd, unsigned long nr, struct goheap_span *s,
				unsigned int n, unsigned int flags)
{
	struct goheap_span_vec v = span_vec(s, n, flags);

	if (ioctl(fd, nr, &v) || v.done != n)
		die("command");
}

static inline void release_all(int fd)
{
	struct goheap_scavenge s = { .size = sizeof(s), .max_bytes = ~0ULL };

	if (ioctl(fd, GOHEAP_SCAVENGE, &s))
		die("release");
}

#endif
