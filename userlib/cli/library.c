// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Which backend a program will get is decided by the library, when it makes its heap: so
 * that is what is asked, in a child that loads it.  The reason for not taking the device is
 * what it says when the device is forced on it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli.h"
#include "library.h"

#define SONAME	"libgoheap.so.1"
#ifdef __x86_64__
#define TRIPLET	"x86_64-linux-gnu"
#define BEST	"glibc-hwcaps/x86-64-v3/"
/* Whatever has these has the rest of that level, which not every compiler knows by name. */
#define HAS_BEST	(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && \
			 __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma"))
#elif defined(__aarch64__)
#define TRIPLET	"aarch64-linux-gnu"
#else
#define TRIPLET	"."
#endif
#ifndef BEST
#define BEST	""
#define HAS_BEST	false
#endif

static bool try_path(char path[LIBRARY_PATH_MAX], const char *dir, const char *below)
{
	int n = snprintf(path, LIBRARY_PATH_MAX, "%s/%s" SONAME, dir, below);

	return n < LIBRARY_PATH_MAX && !access(path, R_OK);
}

void library_find(char path[LIBRARY_PATH_MAX])
{
	static const char *const below[] = { "", "../lib/", "../lib/" TRIPLET "/" };
	char self[LIBRARY_PATH_MAX], found[LIBRARY_PATH_MAX], best[64];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[n < 0 ? 0 : n] = '\0';
	slash = strrchr(self, '/');
	for (size_t i = 0; slash && i < sizeof(below) / sizeof(below[0]); i++) {
		*slash = '\0';
		snprintf(best, sizeof(best), "%s" BEST, below[i]);
		if ((HAS_BEST && try_path(found, self, best)) || try_path(found, self, below[i])) {
			if (!realpath(found, path))
				strcpy(path, found);
			return;
		}
	}
	strcpy(path, SONAME);
}

/* ---- asking it ---- */

/* The child: two lines on out, and on stderr whatever the library has to say. */
static void __attribute__((noreturn)) answer_in_child(const char *path, const char *options,
						      int out)
{
	struct rlimit none = { 0, 0 };
	const char *(*version)(void), *(*backend)(void);
	void *lib;

	/* It may abort(), which is an answer too. */
	setrlimit(RLIMIT_CORE, &none);
	dup2(out, STDERR_FILENO);
	if (options)
		setenv("GOHEAPDEBUG", options, 1);
	lib = dlopen(path, RTLD_NOW);
	if (!lib) {
		dprintf(out, "\001failed\n%s\n", dlerror());
		_exit(1);
	}
	version = (const char *(*)(void))dlsym(lib, "goheap_version");
	dprintf(out, "\001version %s\n", version ? version() : "");
	backend = (const char *(*)(void))dlsym(lib, "goheap_backend");
	dprintf(out, "\001backend %s\n", backend ? backend() : "");
	_exit(0);
}

/* Lines of answers begin with \001; the rest is what it said. */
static void take_line(struct library_answer *a, const char *line)
{
	size_t used = strlen(a->said);

	if (!strcmp(line, "\001failed"))
		a->failed = true;
	else if (!strncmp(line, "\001version ", 9))
		snprintf(a->version, sizeof(a->version), "%.31s", line + 9);
	else if (!strncmp(line, "\001backend ", 9))
		snprintf(a->backend, sizeof(a->backend), "%.31s", line + 9);
	else
		snprintf(a->said + used, sizeof(a->said) - used, "%s%s", used ? "\n" : "", line);
}

void library_ask(const char *path, const char *options, struct library_answer *answer)
{
	char *line = NULL;
	size_t room = 0;
	int ends[2];
	ssize_t n;
	pid_t pid;
	FILE *in;

	*answer = (struct library_answer){ 0 };
	if (pipe2(ends, O_CLOEXEC))
		cli_die("cannot make a pipe: %s", strerror(errno));
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		cli_die("cannot make a process: %s", strerror(errno));
	if (!pid)
		answer_in_child(path, options, ends[1]);
	close(ends[1]);
	in = fdopen(ends[0], "r");
	while (in && (n = getline(&line, &room, in)) > 0) {
		if (line[n - 1] == '\n')
			line[n - 1] = '\0';
		take_line(answer, line);
	}
	free(line);
	if (in)
		fclose(in);
	waitpid(pid, NULL, 0);
}

/* "fatal error: backend=device: there is no /dev/goheap" */
void library_ask_why(const char *path, char *why, size_t size)
{
	static const char fatal[] = "fatal error: backend=device: ";
	struct library_answer a;
	const char *text;

	library_ask(path, "backend=device", &a);
	text = strstr(a.said, fatal);
	text = text ? text + strlen(fatal) : a.said;
	snprintf(why, size, "%.*s", (int)strcspn(text, "\n"), text);
}
