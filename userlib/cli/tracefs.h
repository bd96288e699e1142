/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * An instance of tracefs of our own, with the events of the module.  It is removed when the
 * program ends, in whatever way, unless it is killed; what such ones left goes when the next
 * is made.
 */
#ifndef GOHEAP_CLI_TRACEFS_H
#define GOHEAP_CLI_TRACEFS_H

#include <stdio.h>

/* What the kernel has before the names of our events. */
#define TRACEFS_PREFIX	"goheap_"

/* All of them end the program if it cannot be done, and say why. */
void tracefs_make(void);
/* Events as text; reading does not wait. */
FILE *tracefs_open(void);
/* An event without prefix, and an expression that its fields must satisfy, or "". */
void tracefs_enable(const char *event, const char *filter);

#endif
