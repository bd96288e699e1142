// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A process with idle memory: holder objects|block [MB]
 *
 * Takes memory from malloc(), a block of 500 MB or 100,000 objects of mixed sizes
 * that come to as much with what any allocator adds by rounding up, or MB of either
 * instead of 500, writes to all of it, frees all of it, prints the resident set in kB
 * that it has by then, and stops itself.  Woken up, it takes a small part again,
 * checks that it can be written and read, and ends with status 0.
 *
 * What it prints shows whether the allocator kept the memory: whoever tests must
 * look at it, for an allocator that returns all at once has nothing idle.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MB		500UL
#define OBJECTS_PER_MB	200
#define LEAST_BYTES	16
#define MEAN_BYTES	4900

static void *objects[MB * OBJECTS_PER_MB];

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* A fixed sequence of sizes whose mean is MEAN_BYTES. */
static size_t next_size(void)
{
	static uint64_t x = 88172645463325252ULL;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return LEAST_BYTES + x % (2 * (MEAN_BYTES - LEAST_BYTES));
}

static void *take(size_t bytes, int fill)
{
	void *p = malloc(bytes);

	if (!p)
		die("holder: malloc");
	memset(p, fill, bytes);
	return p;
}

static void use_objects(int nr)
{
	int i;

	for (i = 0; i < nr; i++)
		objects[i] = take(next_size(), i | 1);
	for (i = 0; i < nr; i++)
		free(objects[i]);
}

static void use_block(unsigned long mb)
{
	/* Kept from the compiler, which may take out a pair of calls. */
	void *volatile p = take(mb << 20, 0x5a);

	free(p);
}

static unsigned long rss_kb(void)
{
	static char buf[8192];
	FILE *f = fopen("/proc/self/status", "r");
	unsigned long kb = 0;

	if (!f)
		die("holder: /proc/self/status");
	while (fgets(buf, sizeof(buf), f))
		if (sscanf(buf, "VmRSS: %lu kB", &kb) == 1)
			break;
	fclose(f);
	return kb;
}

static bool still_works(void)
{
	char *p = take(1 << 20, 0x33);
	bool ok = p[0] == 0x33 && p[(1 << 20) - 1] == 0x33;

	free(p);
	use_objects(MB * OBJECTS_PER_MB / 100);
	return ok;
}

int main(int argc, char **argv)
{
	unsigned long mb = argc == 3 ? strtoul(argv[2], NULL, 10) : MB;

	if (argc >= 2 && !strcmp(argv[1], "objects") && mb && mb <= MB) {
		use_objects(mb * OBJECTS_PER_MB);
	} else if (argc >= 2 && !strcmp(argv[1], "block") && mb && mb <= MB) {
		use_block(mb);
	} else {
		fprintf(stderr, "usage: holder objects|block [MB]\n");
		return 2;
	}
	dprintf(STDOUT_FILENO, "%lu\n", rss_kb());
	raise(SIGSTOP);
	return still_works() ? 0 : 1;
}
