/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Memory whose pages are held back by userfaultfd: who touches it waits, the kernel
 * and its workers too.
 */
#ifndef GOHEAP_TEST_HOLD_H
#define GOHEAP_TEST_HOLD_H

#include "dev.h"
#include <linux/userfaultfd.h>
#include <sys/syscall.h>

/* The descriptor by which they are given, or -1: needs root, for the kernel's accesses. */
static inline int hold(void *p, size_t bytes)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { (uintptr_t)p, bytes },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd >= 0 && !ioctl(fd, UFFDIO_API, &api) && !ioctl(fd, UFFDIO_REGISTER, &reg))
		return fd;
	close(fd);
	return -1;
}

#endif
