// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Runs one command under several allocators, in turns, so that what else the machine
 * does meets all of them: A B C A B C ...  For each run it prints
 *
 *	NAME RUN WALL_US CPU_US PEAK_KIB STATUS
 *
 * the time from before the program is executed until its end was waited for; user and
 * system time, and the peak of resident memory, of it and of those that it waited for;
 * and the status that a shell would give it.
 *
 *	interleave [-n RUNS] [-o PREFIX] [-b COMMAND] NAME=LIBRARY... -- PROGRAM [ARG...]
 *
 * LIBRARY is preloaded to the program; none, if it is empty.  What the program prints
 * goes to PREFIX.NAME.RUN.  COMMAND is executed by sh beside each run, without the
 * library; if it fails the run did (STATUS 125).  A run that takes more than five minutes
 * is killed.
 *
 * A program's peak begins with what the process had that executes it: this one, which
 * is small, hence no shell between.
 */
#include "bench.h"
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define MOST_SECONDS	300

extern char **environ;

static const char *prefix = "/dev/null", *beside;
static volatile pid_t running;

static void too_long(int sig)
{
	if (running > 0)
		kill(running, SIGKILL);
}

/* Where the output of a run goes: nowhere, unless -o was given. */
static const char *output_of(const char *name, int run)
{
	static char path[4096];

	if (!strcmp(prefix, "/dev/null"))
		return prefix;
	snprintf(path, sizeof(path), "%s.%s.%d", prefix, name, run);
	return path;
}

static pid_t spawn(char *const argv[], const char *output)
{
	posix_spawn_file_actions_t actions;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0666);
	errno = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	if (errno)
		die(argv[0]);
	posix_spawn_file_actions_destroy(&actions);
	return pid;
}

static int shell_status(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static uint64_t us(struct timeval t)
{
	return t.tv_sec * 1000000ULL + t.tv_usec;
}

static void preload(const char *library)
{
	if (*library ? setenv("LD_PRELOAD", library, 1) : unsetenv("LD_PRELOAD"))
		die("setenv");
}

static pid_t start_beside(void)
{
	char *argv[] = { "sh", "-c", (char *)beside, NULL };

	preload("");
	return beside ? spawn(argv, "/dev/null") : 0;
}

static void one_run(const char *name, const char *library, int run, char *const argv[])
{
	pid_t other = start_beside();
	int status, other_status = 0;
	struct rusage used;
	uint64_t start;

	preload(library);
	start = now_ns();
	running = spawn(argv, output_of(name, run));
	alarm(MOST_SECONDS);
	if (wait4(running, &status, 0, &used) != running)
		die("wait4");
	start = now_ns() - start;
	running = other;	/* and what waits for a program that died */
	if (other && waitpid(other, &other_status, 0) != other)
		die("waitpid");
	alarm(0);
	printf("%s %d %llu %llu %ld %d\n", name, run, (unsigned long long)start / 1000,
	       (unsigned long long)(us(used.ru_utime) + us(used.ru_stime)), used.ru_maxrss,
	       other_status ? 125 : shell_status(status));
	fflush(stdout);
}

static void usage(void)
{
	fprintf(stderr, "usage: interleave [-n RUNS] [-o PREFIX] [-b COMMAND] NAME=LIBRARY... -- PROGRAM [ARG...]\n");
	exit(2);
}

int main(int argc, char **argv)
{
	struct sigaction on_alarm = { .sa_handler = too_long, .sa_flags = SA_RESTART };
	char **names, **command;
	int c, runs = 1;

	while ((c = getopt(argc, argv, "+n:o:b:")) != -1)
		if (c == 'n')
			runs = atoi(optarg);
		else if (c == 'o')
			prefix = optarg;
		else if (c == 'b')
			beside = optarg;
		else
			usage();
	names = argv + optind;
	for (command = names; *command && strcmp(*command, "--"); command++)
		if (!strchr(*command, '='))
			usage();
	if (!*command || !command[1] || command == names || runs < 1)
		usage();
	*command++ = NULL;
	for (char **n = names; *n; n++)
		*strchr(*n, '=') = 0;
	sigaction(SIGALRM, &on_alarm, NULL);
	for (int run = 1; run <= runs; run++)
		for (char **n = names; *n; n++)
			one_run(*n, *n + strlen(*n) + 1, run, command);
	return 0;
}
