/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * What tests of the device backend see of it: its descriptors, of which a program is
 * told nothing, so that all are tried; and heaps by their descriptors.
 */
#ifndef BACK_DEVICE_H
#define BACK_DEVICE_H

#include <sys/ioctl.h>
#include <sys/stat.h>
#include <linux/goheap.h>
#include "back_test.h"

#define T_DEVICE	"/dev/goheap"
#define T_MAX_FD	2048

static inline bool t_is_device(int fd)
{
	struct stat dev, st;

	return !stat(T_DEVICE, &dev) && !fstat(fd, &st) && S_ISCHR(st.st_mode) &&
	       st.st_rdev == dev.st_rdev;
}

/* The descriptor of the heap that holds p, or -1. */
static inline int t_heap_fd(const void *p)
{
	for (int fd = 3; fd < T_MAX_FD; fd++) {
		struct goheap_info info = { .size = sizeof(info) };

		if (t_is_device(fd) && !ioctl(fd, GOHEAP_INFO, &info) &&
		    (uintptr_t)p - info.arena_start < info.arena_bytes)
			return fd;
	}
	return -1;
}

/* That of the first ring of io_uring, or -1. */
static inline int t_ring_fd(void)
{
	char path[64], target[64];

	for (int fd = 0; fd < T_MAX_FD; fd++) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, target, sizeof(target) - 1);
		if (n <= 0)
			continue;
		target[n] = 0;
		if (!strcmp(target, "anon_inode:[io_uring]"))
			return fd;
	}
	return -1;
}

/* High, so as to be out of the way, and gone after exec. */
static inline int t_placed_high(int fd)
{
	T(fd >= 256);
	T(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	return T_PASS;
}

/* A heap of the program's own, or -1. */
static inline int t_own_heap(void)
{
	int fd = open(T_DEVICE, O_RDWR);

	if (fd >= 0 && mmap(NULL, 256 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd,
			    GOHEAP_OFF_ARENA) == MAP_FAILED)
		return -1;
	return fd;
}

/* Spans in use of an open heap, or -1. */
static inline long long t_spans(int fd)
{
	struct goheap_stats st = { .size = sizeof(st) };

	return ioctl(fd, GOHEAP_STATS, &st) ? -1 : (long long)st.nr_spans;
}

#endif
