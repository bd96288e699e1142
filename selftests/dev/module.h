/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Loading and unloading the module that the VM has (GOHEAP_KO, else goheap.ko in the
 * current folder), and what may be seen of it.
 */
#ifndef GOHEAP_TEST_MODULE_H
#define GOHEAP_TEST_MODULE_H

#include "dev.h"
#include <sys/syscall.h>

#define REFCNT	"/sys/module/goheap/refcnt"

static inline const char *module_path(void)
{
	const char *path = getenv("GOHEAP_KO");

	return path ? path : "goheap.ko";
}

static inline bool has_module(void)
{
	return is_root() && !access(module_path(), R_OK);
}
NEED(has_module, "needs root and goheap.ko");

/* From a file that is open, or -1. */
static inline int module_load(int fd)
{
	int own = fd < 0 ? open(module_path(), O_RDONLY | O_CLOEXEC) : fd, err;

	if (own < 0)
		return -errno;
	err = syscall(SYS_finit_module, own, "", 0) ? -errno : 0;
	if (fd < 0)
		close(own);
	return err;
}

static inline int module_unload(void)
{
	return syscall(SYS_delete_module, "goheap", O_NONBLOCK) ? -errno : 0;
}

/* Whether a line of the file has the word. */
static inline bool mentions(const char *path, const char *word)
{
	char line[1024];
	bool found = false;
	FILE *f = fopen(path, "r");

	while (f && !found && fgets(line, sizeof(line), f))
		found = strstr(line, word);
	if (f)
		fclose(f);
	return found;
}

/* Of a module that is not there: what is told by a name. */
static inline bool anything_seen(void)
{
	return !access("/dev/goheap", F_OK) || !access(SYSFS, F_OK) ||
	       !access("/sys/module/goheap", F_OK) ||
	       !access("/sys/kernel/debug/goheap", F_OK);
}

/* And by a look at lists, which takes longer. */
static inline bool anything_left(void)
{
	return anything_seen() || mentions("/proc/slabinfo", "goheap") ||
	       mentions("/proc/modules", "goheap ") || mentions("/proc/filesystems", "goheap") ||
	       mentions("/proc/vmallocinfo", "[goheap]");
}

/* Nobody has a heap, and nothing of one is left. */
static inline bool no_heap_left(void)
{
	return !file_number(SYSFS "/heaps") && !file_number(SYSFS "/meta_bytes") &&
	       !file_number(SYSFS "/heap_sys") && !file_number(SYSFS "/nr_spans") &&
	       !file_number(REFCNT);
}

/* The last of a process goes a moment after it. */
static inline bool no_heap_soon(void)
{
	for (int i = 0; i < 1000 && !no_heap_left(); i++)
		sleep_ms(10);
	return no_heap_left();
}

#endif
