// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Loads libgoheap.so while running, uses its malloc() beside libc's, in threads and
 * children, and lets go of it.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void *(*their_malloc)(size_t);
static void (*their_free)(void *);

static int use(void)
{
	char *p[300];

	for (size_t i = 0; i < 300; i++) {
		p[i] = their_malloc(i * 200 + 1);
		if (!p[i])
			return 1;
		memset(p[i], 'd', i * 200 + 1);
	}
	for (size_t i = 0; i < 300; i++)
		their_free(p[i]);
	return 0;
}

int main(int argc, char **argv)
{
	void *lib = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
	int status = 1;

	if (!lib) {
		printf("%s\n", dlerror());
		return 1;
	}
	their_malloc = (void *(*)(size_t))dlsym(lib, "malloc");
	their_free = (void (*)(void *))dlsym(lib, "free");
	if (!their_malloc || their_malloc == malloc || use())
		return 1;
	if (!fork())
		_exit(use());
	wait(&status);
	dlclose(lib);
	if (!fork())
		_exit(0);
	if (status)
		return 1;
	wait(&status);
	printf("fine\n");
	return status;
}
