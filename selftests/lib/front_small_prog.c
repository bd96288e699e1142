// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * front_small_prog NAME PROGRAM ARGUMENT...
 *
 * Runs the program until it exits, and then prints what memory it has, in KiB: what is
 * its own; and file pages of what it mapped from files of which the path contains NAME.
 * LIBRARY in the environment is preloaded into the program alone.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void run(char **argv)
{
	const char *library = getenv("LIBRARY");

	if (library && *library && setenv("LD_PRELOAD", library, 1))
		die("setenv");
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		die("ptrace");
	raise(SIGSTOP);
	execvp(argv[0], argv);
	die(argv[0]);
}

/* A line of smaps that begins a mapping: it has a range of addresses. */
static bool begins_mapping(const char *line)
{
	unsigned long from, to;

	return sscanf(line, "%lx-%lx ", &from, &to) == 2;
}

static void measure(pid_t pid, const char *name)
{
	unsigned long kib, rss = 0, own = 0, file = 0;
	bool named = false;
	char path[64], line[4096];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
	f = fopen(path, "r");
	if (!f)
		die(path);
	while (fgets(line, sizeof(line), f)) {
		if (begins_mapping(line)) {
			named = strstr(line, name);
		} else if (sscanf(line, "Rss: %lu kB", &kib) == 1) {
			rss = kib;
		} else if (sscanf(line, "Anonymous: %lu kB", &kib) == 1) {
			own += kib;
			file += named ? rss - kib : 0;
		}
	}
	fclose(f);
	printf("%lu %lu\n", own, file);
}

/* The program stops when it exits, and is still there as it was. */
static int follow(pid_t pid, const char *name)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		die("waitpid");
	if (ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL))
		die("ptrace");
	for (;;) {
		int sig = 0;

		if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXIT << 8))
			measure(pid, name);
		else if (WSTOPSIG(status) != SIGTRAP && WSTOPSIG(status) != SIGSTOP)
			sig = WSTOPSIG(status);
		ptrace(PTRACE_CONT, pid, NULL, sig);
		if (waitpid(pid, &status, 0) != pid)
			die("waitpid");
		if (!WIFSTOPPED(status))
			return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
	}
}

int main(int argc, char **argv)
{
	pid_t pid;

	if (argc < 3) {
		fprintf(stderr, "usage: front_small_prog NAME PROGRAM ARGUMENT...\n");
		return 2;
	}
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid)
		run(argv + 2);
	return follow(pid, argv[1]);
}
