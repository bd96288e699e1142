// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * GOHEAPDEBUG=bgscavenge: a process that freed everything and sleeps gives its memory
 * back, and so does a forked child; the thread that does it leaves signals alone.
 */
#include <dirent.h>
#include <stdlib.h>
#include "../../userlib/backend.h"
#include "back_test.h"
#include "front_calls.h"

#define OBJECTS		400000
/* What the thread's cache holds, half a MiB, and tables of what there was. */
#define LEFT		((size_t)2 << 20)

/* Of all sizes, 290 MB in all, and some large ones. */
static void use_memory(int nr)
{
	void **list = NULL, **object;

	for (int i = 0; i < nr; i++) {
		size_t size = i % 4000 ? 16 + 7 * (i % 200) : 50000;

		object = vmalloc(size);
		memset(object, 1, size);
		*object = list;
		list = object;
	}
	while ((object = list)) {
		list = *object;
		vfree(object);
	}
}

/* Every case is a forked child, which starts a thread of its own.  Nothing is allocated meanwhile. */
static int returns(size_t before)
{
	size_t after = t_rss();

	T(after > before + 100 * LEFT);
	for (int i = 0; i < 100 && after > before + LEFT; i++) {
		usleep(100000);
		after = t_rss();
	}
	printf("# resident %zu KiB, then %zu\n", before / 1024, after / 1024);
	T(after <= before + LEFT);
	return T_PASS;
}

static int test_sleeps(void)
{
	size_t before;

	/* The kernel has its own, and its own limit. */
	if (strcmp(ghu_backend_name(), "embedded"))
		return T_SKIP;
	/* A child has to get the pages of programs anew. */
	use_memory(1000);
	before = t_rss();
	use_memory(OBJECTS);
	return returns(before);
}

/* How many threads of that name there are; *blocked: the signals that the last one blocks. */
static int count_threads(unsigned long *blocked)
{
	DIR *d = opendir("/proc/self/task");
	struct dirent *e;
	int nr = 0;

	while (d && (e = readdir(d))) {
		char path[300], line[100];
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/status", e->d_name);
		f = fopen(path, "r");
		if (!f || !fgets(line, sizeof(line), f) || !strstr(line, "goheap-scavenge"))
			continue;
		nr++;
		while (fgets(line, sizeof(line), f))
			sscanf(line, "SigBlk: %lx", blocked);
		fclose(f);
	}
	closedir(d);
	return nr;
}

static int at_start;

/* There is one from the start; of a child's it is known by the first span. */
static int test_thread(void)
{
	unsigned long blocked = 0;

	T_EQ(at_start, 1);
	T_EQ(count_threads(&blocked), 0);
	use_memory(OBJECTS);
	for (int i = 0; i < 1000 && !count_threads(&blocked); i++)
		usleep(1000);
	T_EQ(count_threads(&blocked), 1);
	/* All but those that cannot be, and two of the C library's own. */
	T_EQ(blocked & 0x3fffffff, 0x3fffffff & ~(1UL << (SIGKILL - 1) | 1UL << (SIGSTOP - 1)));
	return T_PASS;
}

/* Told by the program as it was before it asked for one. */
static int test_none(void)
{
	const char *nr = getenv("GOHEAP_TEST_THREADS");

	T(nr && !strcmp(nr, "0"));
	return T_PASS;
}

static const struct t_case cases[] = {
	{ "a process that sleeps", test_sleeps },
	{ "the thread", test_thread },
	{ "none unless asked for", test_none },
};

int main(int argc, char **argv)
{
	const char *options = getenv("GOHEAPDEBUG");
	bool asked = options && strstr(options, "bgscavenge");
	unsigned long blocked;
	char text[200];

	/* It gives itself its name. */
	for (int i = 0; i < 1000 && asked && !at_start; i++, usleep(1000))
		at_start = count_threads(&blocked);
	at_start = count_threads(&blocked);
	if (asked)
		return t_main(argc, argv, cases, ARRAY_SIZE(cases));
	snprintf(text, sizeof(text), "%d", at_start);
	setenv("GOHEAP_TEST_THREADS", text, 1);
	snprintf(text, sizeof(text), "%s,bgscavenge=300", options ? options : "");
	setenv("GOHEAPDEBUG", text, 1);
	execv("/proc/self/exe", argv);
	return 1;
}
