// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * A library whose constructor, before any of the program's, and destructor use
 * malloc().
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *early[500];

__attribute__((constructor(101))) static void begin(void)
{
	for (size_t i = 0; i < 500; i++) {
		early[i] = malloc(i * 100 + 1);
		memset(early[i], 'e', i * 100 + 1);
	}
}

__attribute__((destructor(101))) static void end(void)
{
	for (size_t i = 0; i < 500; i++) {
		if (early[i][i * 100] != 'e')
			_exit(99);
		free(early[i]);
	}
}
