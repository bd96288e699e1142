/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What the kernel's tracing tells of a process, for what no counter shows: an
 * instance of its own, so that nobody else's tracing is disturbed.
 */
#ifndef GOHEAP_TEST_TRACING_H
#define GOHEAP_TEST_TRACING_H

#include "dev.h"

#define TRACING	"/sys/kernel/tracing/instances/goheap_test"

static inline void trace_end(void)
{
	rmdir(TRACING);
}

/* Begins to trace what process @pid does: an event, or a group of them.  False: cannot. */
static inline bool trace_begin(pid_t pid, const char *event)
{
	char path[128], text[16];

	snprintf(path, sizeof(path), TRACING "/events/%s/enable", event);
	snprintf(text, sizeof(text), "%d", pid);
	trace_end();
	if (mkdir(TRACING, 0700))
		return false;
	if (!file_write(TRACING "/set_event_pid", text) && !file_write(path, "1"))
		return true;
	trace_end();
	return false;
}

/* A line for each event so far, and some that begin with '#'. */
static inline FILE *trace_lines(void)
{
	return fopen(TRACING "/trace", "r");
}

#endif
