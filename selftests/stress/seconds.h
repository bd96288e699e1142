/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * For how long a program is to stress: its argument, else GOHEAP_SECONDS, else what it
 * says itself with DEFAULT_SECONDS.
 */
#ifndef GOHEAP_TEST_SECONDS_H
#define GOHEAP_TEST_SECONDS_H

#include <stdlib.h>

static unsigned int seconds = DEFAULT_SECONDS;

static __attribute__((constructor)) void how_long(int argc, char **argv)
{
	const char *s = argc > 1 ? argv[1] : getenv("GOHEAP_SECONDS");

	if (s)
		seconds = atoi(s);
}

#endif
