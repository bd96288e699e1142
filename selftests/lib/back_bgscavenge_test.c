// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * GOHEAPDEBUG=bgscavenge: a process that freed everything gives its memory back within a
 * second of the age that was set, be it that it sleeps or has little to do, and so does a
 * forked child; the thread that does it leaves signals alone.
 */
#include <dirent.h>
#include <stdlib.h>
#include "../../userlib/backend.h"
#include "back_test.h"
#include "front_calls.h"

#define OBJECTS		520000
#define AGE_MS		300
/* What the thread's cache holds, half a MiB, and tables of what there was. */
#define LEFT		((size_t)2 << 20)

/* Of 16 to 1024 bytes, 270 MB in all, and some large ones. */
static void use_memory(int nr)
{
	void **list = NULL, **object;

	for (int i = 0; i < nr; i++) {
		size_t size = i % 4000 ? 16 + i % 1009 : 50000;

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

/* What a program does that has little to do; never more than the fast paths of malloc(). */
static void some_activity(void)
{
	void *objects[10];

	for (int i = 0; i < 10; i++)
		objects[i] = vmalloc(64 << i % 4);
	for (int i = 0; i < 10; i++)
		vfree(objects[i]);
}

/* Every case is a forked child, which starts a thread of its own. */
static int returns(size_t before, bool active)
{
	size_t full = t_rss(), after = full;
	int ms = 0;

	T(full > before + 100 * LEFT);
	for (; ms < 10000 && after > before + LEFT; ms += 10) {
		if (active)
			some_activity();
		usleep(10000);
		after = t_rss();
	}
	printf("# resident %zu KiB, then %zu; after %d ms %zu\n", before / 1024, full / 1024, ms,
	       after / 1024);
	T(after <= before + LEFT);
	T(ms <= AGE_MS + 1000);
	return T_PASS;
}

static int returns_all(bool active)
{
	size_t before;

	/* The kernel has its own, and its own limit. */
	if (strcmp(ghu_backend_name(), "embedded"))
		return T_SKIP;
	/* A child has to get the pages of programs anew. */
	use_memory(1000);
	before = t_rss();
	use_memory(OBJECTS);
	return returns(before, active);
}

static int test_sleeps(void)
{
	return returns_all(false);
}

static int test_active(void)
{
	return returns_all(true);
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
	{ "a process with little to do", test_active },
	{ "the thread", test_thread },
	{ "none unless asked for", test_none },
};

int main(int argc, char **argv)
{
	const char *options = getenv("GOHEAPDEBUG");
	bool asked = options && strstr(options, "bgscavenge");
	unsigned long blocked;
	char text[200];

	/* So that to count takes no new span. */
	use_up_few();
	/* It gives itself its name. */
	for (int i = 0; i < 1000 && asked && !at_start; i++, usleep(1000))
		at_start = count_threads(&blocked);
	at_start = count_threads(&blocked);
	if (asked)
		return t_main(argc, argv, cases, ARRAY_SIZE(cases));
	snprintf(text, sizeof(text), "%d", at_start);
	setenv("GOHEAP_TEST_THREADS", text, 1);
	snprintf(text, sizeof(text), "%s,bgscavenge=%d", options ? options : "", AGE_MS);
	setenv("GOHEAPDEBUG", text, 1);
	execv("/proc/self/exe", argv);
	return 1;
}
