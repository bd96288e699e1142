// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * goheap run: a program with the library preloaded.
 *
 * What was preloaded before stays, behind the library; options are added behind those of
 * the environment, so that they prevail.  A program that the dynamic linker does not load,
 * or not with somebody else's libraries, would silently keep its own malloc: that is said.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli.h"
#include "library.h"

/* As env(1) has them. */
enum { EXIT_CANNOT_RUN = 126, EXIT_NOT_FOUND = 127 };

static const char *options, *library;
static bool verbose;

static const struct cli_option run_options[] = {
	{ 'o', "options", "OPTION", NULL, &options,
	  "for the library: name=value,...; see libgoheap(3)", .joins = true },
	{ 'l', "library", "FILE", NULL, &library, "this library instead of the one installed" },
	{ 'v', "verbose", NULL, &verbose, NULL, "say which backend it gets, and why" },
	{ 0 }
};

/* Puts what is new and what is there already, if anything, into the environment. */
static void join(const char *name, const char *first, const char *second, char sep)
{
	char *text;

	if (!first || !*first || !second || !*second)
		setenv(name, first && *first ? first : second ? second : "", 1);
	else if (asprintf(&text, "%s%c%s", first, sep, second) < 0)
		cli_die("out of memory");
	else
		setenv(name, text, 1);
}

static void prepare_environment(const char *path)
{
	const char *preload = getenv("LD_PRELOAD");

	/* There is no way to write such a path. */
	if (path[strcspn(path, " :")])
		cli_die("%s: LD_PRELOAD takes no path with a space or a colon: move the library",
			path);
	if (!preload || !strstr(preload, path))
		join("LD_PRELOAD", path, preload, ':');
	if (options)
		join("GOHEAPDEBUG", getenv("GOHEAPDEBUG"), options, ',');
}

/* ---- the program ---- */

/* Where execvp() would find it; false if nowhere. */
static bool find_program(const char *name, char path[LIBRARY_PATH_MAX])
{
	const char *dirs = getenv("PATH"), *end;

	if (strchr(name, '/'))
		return snprintf(path, LIBRARY_PATH_MAX, "%s", name) < LIBRARY_PATH_MAX;
	for (dirs = dirs ? dirs : "/bin:/usr/bin"; *dirs; dirs = *end ? end + 1 : end) {
		end = strchrnul(dirs, ':');
		snprintf(path, LIBRARY_PATH_MAX, "%.*s/%s", (int)(end - dirs), dirs, name);
		if (!access(path, X_OK))
			return true;
	}
	return false;
}

/* Whether the dynamic linker has a part in it, as the program headers tell. */
static bool is_dynamic(int fd, const Elf64_Ehdr *eh)
{
	Elf64_Phdr ph;

	for (unsigned int i = 0; i < eh->e_phnum; i++) {
		off_t at = (off_t)(eh->e_phoff + i * sizeof(ph));

		if (pread(fd, &ph, sizeof(ph), at) != sizeof(ph) || ph.p_type == PT_INTERP)
			return true;
	}
	return false;
}

/* What keeps the library out of it; NULL: nothing that is known. */
static const char *why_not_preloaded(int fd)
{
	const int mine = sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32;
	Elf64_Ehdr eh;
	struct stat st;

	if (!fstat(fd, &st) && ((st.st_mode & S_ISUID && st.st_uid != geteuid()) ||
				(st.st_mode & S_ISGID && st.st_gid != getegid())))
		return "changes the user or group, so that nothing is preloaded into it";
	if (pread(fd, &eh, sizeof(eh), 0) != sizeof(eh) || memcmp(eh.e_ident, ELFMAG, SELFMAG))
		return NULL;
	if (eh.e_ident[EI_CLASS] != mine)
		return "is of another word size than the library, which cannot be loaded into it";
	if (mine == ELFCLASS64 && !is_dynamic(fd, &eh))
		return "is linked statically, so that nothing can be preloaded into it: link it with libgoheap.a";
	return NULL;
}

static void look_at_program(const char *name)
{
	char path[LIBRARY_PATH_MAX];
	const char *why;
	int fd;

	if (!find_program(name, path))
		return;		/* execvp() will say so */
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	why = why_not_preloaded(fd);
	close(fd);
	if (why)
		cli_warn("%s %s; it runs with its own malloc", path, why);
}

/* ---- the library ---- */

static void tell(const char *path, const struct library_answer *a)
{
	char why[256] = "";
	const char *debug = getenv("GOHEAPDEBUG");

	fprintf(stderr, "goheap run: library %s, version %s\n", path, a->version);
	if (!strcmp(a->backend, "device")) {
		fputs("goheap run: backend device: the kernel's heap, /dev/goheap\n", stderr);
		return;
	}
	library_ask_why(path, why, sizeof(why));
	if (!*why)
		snprintf(why, sizeof(why), "as GOHEAPDEBUG=%s asks for", debug ? debug : "");
	fprintf(stderr, "goheap run: backend %s: %s%s\n", a->backend, why,
		strstr(why, "GOHEAPDEBUG") ? "" : " (goheap doctor says how to mend it)");
}

/* A library that cannot be loaded is skipped by the linker, and wrong options by the library. */
static void look_at_library(const char *path)
{
	struct library_answer a;

	library_ask(path, NULL, &a);
	if (a.failed)
		cli_die("%s%s", a.said,
			library ? "" : ": install the library, or give --library=FILE");
	if (options && strstr(a.said, "GOHEAPDEBUG: "))
		cli_usage("not started, because of its options:\n%s", a.said);
	if (!*a.backend)
		cli_die("not started, because no program could: %s\nTry: goheap doctor", a.said);
	if (verbose)
		tell(path, &a);
}

static int run(int argc, char **argv)
{
	char path[LIBRARY_PATH_MAX];
	int err;

	if (!library)
		library_find(path);
	else if (!realpath(library, path))
		cli_die("%s: %s", library, strerror(errno));
	prepare_environment(path);
	if (options || verbose || library || !strchr(path, '/'))
		look_at_library(path);
	look_at_program(argv[0]);
	execvp(argv[0], argv);
	err = errno;
	cli_warn("cannot run %s: %s", argv[0], strerror(err));
	return err == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
}

const struct cli_command cmd_run = {
	.name = "run",
	.operands = "[--] COMMAND [ARGUMENT]...",
	.does = "Runs a program with libgoheap as its malloc",
	.about = "What LD_PRELOAD and GOHEAPDEBUG hold already stays in force.  The exit status is the\n"
		 "program's; 127 if it was not found, 126 if it cannot be run.",
	.options = run_options,
	.stops = true,
	.min = 1,
	.max = -1,
	.run = run,
};
