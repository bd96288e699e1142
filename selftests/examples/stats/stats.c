// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The heaps that one may see, from the files in sysfs: number, process, name, and in KiB
 * what it holds in memory, and how much of that is idle.  Of its own heap a program gets
 * much more by goheap_memstats() and goheap_json(), without the kernel.
 *
 *	cc -O2 -o stats stats.c
 */
#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The line in a file of a heap.  A heap may go meanwhile, or be of another user. */
static bool read_line(const char *heap, const char *name, char *buf, int size)
{
	char path[128];
	FILE *f;
	bool ok;

	snprintf(path, sizeof(path), "%s/%s", heap, name);
	f = fopen(path, "re");
	if (!f)
		return false;
	ok = fgets(buf, size, f);
	fclose(f);
	buf[strcspn(buf, "\n")] = '\0';
	return ok;
}

static bool read_number(const char *heap, const char *name, unsigned long long *n)
{
	char buf[32];

	if (!read_line(heap, name, buf, sizeof(buf)))
		return false;
	*n = strtoull(buf, NULL, 10);
	return true;
}

static void show(const char *heap)
{
	unsigned long long pid, all, idle, released;
	char comm[32];

	if (!read_number(heap, "pid", &pid) || !read_line(heap, "comm", comm, sizeof(comm)) ||
	    !read_number(heap, "heap_sys", &all) || !read_number(heap, "heap_idle", &idle) ||
	    !read_number(heap, "heap_released", &released))
		return;
	printf("%s %llu %s %llu %llu\n", strrchr(heap, '/') + 1, pid, comm, (all - released) / 1024,
	       (idle - released) / 1024);
}

int main(void)
{
	glob_t heaps;

	if (glob("/sys/class/misc/goheap/[0-9]*", 0, NULL, &heaps))
		return 0;
	for (size_t i = 0; i < heaps.gl_pathc; i++)
		show(heaps.gl_pathv[i]);
	globfree(&heaps);
	return 0;
}
