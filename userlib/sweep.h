/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * The sweep cycle: every span is looked at, so that an empty one that went unnoticed
 * is found.  sweep.c says when, and how much at a time.
 */
#ifndef GHU_SWEEP_H
#define GHU_SWEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

/* Of the cycle under way or over; rises by 2. */
uint32_t ghu_sweepgen(void);
/* Begins a cycle, from the first span on, whether or not one is under way. */
void ghu_sweep_start(void);
/* Works the cycle off. */
void ghu_sweep_finish(void);
/* So many pages of spans went into use, new ones or such as had free objects. */
void ghu_sweep_allocated(size_t npages);
/* Before the heap grows by so many pages: does the share of the cycle that goes with it. */
void ghu_sweep_deduct_credit(size_t npages);

#pragma GCC visibility pop

#endif
