/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* The library that programs are given: where it is, and what it says of itself. */
#ifndef GOHEAP_CLI_LIBRARY_H
#define GOHEAP_CLI_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>

#define LIBRARY_PATH_MAX	4096

/*
 * The one beside this command: in its folder, as after make, or in the lib of the same
 * prefix, as after make install; of several builds the best that the CPU has.  If there is
 * none, the name, for the dynamic linker to find.
 */
void library_find(char path[LIBRARY_PATH_MAX]);

struct library_answer {
	bool failed;		/* to load: said is what the dynamic linker had to say */
	char version[32];	/* "" if it is too old to have one */
	char backend[32];	/* "" if it did not get so far */
	char said[1024];	/* on stderr, without the last newline */
};

/* Has a child load it and make a heap, with these options (NULL: those of the environment). */
void library_ask(const char *path, const char *options, struct library_answer *answer);

/* Why there is no heap of the device, in the library's words; "" if there is one. */
void library_ask_why(const char *path, char *why, size_t size);

#endif
