/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The files of one heap in sysfs.
 */
#ifndef GOHEAP_TEST_SYSFS_H
#define GOHEAP_TEST_SYSFS_H

#include "dev.h"

/* Where they are; an error. */
static inline int heap_dir(int fd, char dir[64])
{
	struct goheap_info i;
	int err = info(fd, &i);

	snprintf(dir, 64, SYSFS "/%llu", (unsigned long long)i.heap_id);
	return err;
}

static inline char *read_in(const char *dir, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return file_read(path);
}

static inline int write_in(const char *dir, const char *name, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return file_write(path, text);
}

/* What is found at the files of a heap by another user, whose heap it is. */
static inline int as_user(int (*look)(int fd, const char *dir))
{
	pid_t pid = fork();
	char dir[64];
	int fd;

	if (pid)
		return reap(pid);
	if (setgid(12345) || setuid(12345))
		_exit(101);
	fd = dev_open();
	if (arena_map(fd, 64 * MIB) == MAP_FAILED || heap_dir(fd, dir))
		_exit(102);
	_exit(look(fd, dir));
}

#endif
