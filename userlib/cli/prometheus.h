/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* Statistics in the text format of Prometheus. */
#ifndef GOHEAP_CLI_PROMETHEUS_H
#define GOHEAP_CLI_PROMETHEUS_H

#include "heaps.h"

/* What is to be read of each heap for it. */
#define PROMETHEUS_WANT	(HEAP_COMM | HEAP_TOTALS | 1u << HV_LIMIT_SOFT | 1u << HV_LIMIT_HARD)

/*
 * Writes to path, so that a reader sees all of it or what was there before, or to stdout
 * where path is NULL.
 */
void prometheus_write(const struct heaps *all, const char *path);

#endif
