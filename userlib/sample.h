/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* Which allocations are sampled: distances in bytes that are drawn at random; sample.c. */
#ifndef GHU_SAMPLE_H
#define GHU_SAMPLE_H

#include <stdint.h>

/* Above this the rate is this. */
#define GHU_SAMPLE_RATE_MAX	0x7000000u

#pragma GCC visibility push(hidden)

/* What the generators of all threads begin with; 0: a number of the system's, drawn later. */
extern uint64_t ghu_sample_seed;

/* Binary logarithm of a positive, finite number, to about 0.0002. */
double ghu_fastlog2(double x);
/* The next of a series of random numbers, each of all 64 bits; any state will do. */
uint64_t ghu_fastrand(uint64_t *state);
/* A state to begin with, another one each time. */
uint64_t ghu_sample_state(void);
/*
 * Bytes from one sample to the next, at least 1: exponentially distributed around rate.
 * Rate 0, nothing is sampled: 0.
 */
uint64_t ghu_next_sample(uint64_t rate, uint64_t *state);

#pragma GCC visibility pop

#endif
