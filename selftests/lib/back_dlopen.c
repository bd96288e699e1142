// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Loads libgoheap.so while running, uses its malloc() beside libc's, in threads and
 * children, and lets go of it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
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

/* ---- fork() in the midst of the library's first malloc(), which is a thread's ---- */

static int about_to_use;

/* The scheduler likes to put both threads on one processor, where they never meet. */
static void run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void *first_user(void *arg)
{
	run_on(1);
	__atomic_store_n(&about_to_use, 1, __ATOMIC_RELAXED);
	return use() ? NULL : arg;
}

/* What the thread has begun, the child must not wait for. */
static int fork_at_first_use(unsigned int delay)
{
	int status = 1;
	pthread_t t;
	void *fine;
	pid_t pid;

	run_on(0);
	if (pthread_create(&t, NULL, first_user, &status))
		return 1;
	while (!__atomic_load_n(&about_to_use, __ATOMIC_RELAXED))
		;
	for (volatile unsigned int i = 0; i < delay; i++)
		;
	pid = fork();
	if (!pid) {
		alarm(20);
		_exit(use());
	}
	return pthread_join(t, &fine) || !fine || waitpid(pid, &status, 0) != pid || status;
}

static int fork_at_first_uses(void)
{
	for (unsigned int i = 0; i < 100; i++) {
		int status = 1;

		if (!fork())
			_exit(fork_at_first_use(i * 100));
		wait(&status);
		if (status) {
			printf("fork %u at the first use: a child did not end well\n", i);
			return 1;
		}
	}
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
	if (!their_malloc || their_malloc == malloc || fork_at_first_uses() || use())
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
