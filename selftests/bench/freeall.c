// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * 520,000 objects of 16 to 1024 bytes are allocated, written to the last byte, and
 * freed.  What is resident after a while?
 *
 *   quiet	the program sleeps all the time
 *   light	it allocates and frees ten small objects each 10 ms
 *   empty	there were no objects: to compare with
 *
 *	freeall [-s PERCENT] [-i SECONDS] quiet|light|empty
 */
#include "bench.h"

#define OBJECTS	520000

static void fill_and_free(unsigned long nr)
{
	void **objects = calloc(nr, sizeof(*objects));
	uint64_t random = seed_of(0);

	if (!objects)
		die("objects");
	for (unsigned long i = 0; i < nr; i++) {
		size_t size = random_size(&random, 16, 1024);

		objects[i] = get(size);
		memset(objects[i], 1, size);
	}
	for (unsigned long i = 0; i < nr; i++)
		free(objects[i]);
	free(objects);
}

static void some_activity(void)
{
	void *objects[10];

	for (int i = 0; i < 10; i++)
		objects[i] = get(64 << i % 4);
	for (int i = 0; i < 10; i++)
		free(objects[i]);
}

/* Instead of stay_idle()'s sleep. */
static void be_active(void)
{
	uint64_t end = now_ns() + idle_seconds * 1000000000ULL;

	if (idle_seconds < 0)
		return;
	dprintf(STDOUT_FILENO, "idle\n");
	do {
		some_activity();
		usleep(10000);
	} while (now_ns() < end);
	dprintf(STDOUT_FILENO, "rss_kib %lu\n", rss_kib());
}

int main(int argc, char **argv)
{
	char **args = pattern_options(argc, argv);

	if (!args[0])
		return 2;
	if (strcmp(args[0], "empty"))
		fill_and_free(scaled(OBJECTS));
	if (strcmp(args[0], "light"))
		stay_idle();
	else
		be_active();
	return 0;
}
