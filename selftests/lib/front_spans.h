/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Whole spans of objects of 1 KiB, 16 in each, for tests that look at spans from the
 * inside.  Who includes this says before how many: SPANS.
 */
#ifndef FRONT_SPANS_H
#define FRONT_SPANS_H

#include <pthread.h>
#include "../../userlib/mspan.h"
#include "../../userlib/pagemap.h"
#include "back_test.h"
#include "front_calls.h"

#define SIZE	1024u
#define CLASS	31u
#define PER	16u
#define SPAN_BYTES	(SIZE * PER)
#define N	(SPANS * PER)

static char *objects[N];

static struct ghu_mspan *span_of(const void *p)
{
	return ghu_pagemap_lookup((uintptr_t)p);
}

static unsigned int index_of(const void *p)
{
	return (unsigned int)((uintptr_t)p - span_of(p)->base) / span_of(p)->elemsize;
}

static uint8_t *state_of(const void *p)
{
	return &ghu_states(span_of(p))[index_of(p)];
}

static int compare(const void *a, const void *b)
{
	char *const *p = a, *const *q = b;

	return (*p > *q) - (*p < *q);
}

/* Fills whole spans, and sorts the objects by address. */
static void *fill_spans(void *arg)
{
	for (unsigned int i = 0; i < N; i++)
		objects[i] = vmalloc(SIZE);
	qsort(objects, N, sizeof(*objects), compare);
	return arg;
}

/* In a thread that then exits, so that nobody owns the spans. */
static int make_shared(void)
{
	pthread_t t;

	T(!pthread_create(&t, NULL, fill_spans, NULL));
	pthread_join(t, NULL);
	for (unsigned int i = 0; i < N; i++)
		T_EQ(ghu_mspan_where(span_of(objects[i])), GHU_SPAN_IS_SHARED);
	return T_PASS;
}

#endif
