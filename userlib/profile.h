/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* The heap profile: who allocated what is in use, by samples; profile.c. */
#ifndef GHU_PROFILE_H
#define GHU_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "options.h"
#include "stack.h"
#include "sys.h"

/* The rate, unless one is asked for. */
#define GHU_PROFILE_RATE	(512u << 10)

/* All objects of one size that were allocated by the same calls.  Never goes away. */
struct ghu_profile_bucket {
	struct ghu_profile_bucket *next;	/* of all, from the newest on */
	struct ghu_profile_bucket *next_hash;
	uint64_t hash;
	size_t size;
	uint64_t allocs, frees;			/* of samples; they grow only */
	uint32_t depth;
	uintptr_t pcs[];
};

#pragma GCC visibility push(hidden)

/*
 * The object, which is LIVE and known to nobody else yet, was sampled: remembers who
 * allocated it.  frame: as ghu_stack_walk() takes it.
 */
void ghu_profile_alloc(void *p, size_t size, const uintptr_t *frame);
/* A sampled object is about to be freed.  False: somebody else was faster. */
bool ghu_profile_free(uintptr_t addr);
/* The rate of the newest sample. */
extern unsigned int ghu_profile_last_rate;
/* Bytes of all that is remembered; and samples that were lost for want of room. */
extern uint64_t ghu_profile_sys, ghu_profile_sys_max, ghu_profile_lost;
/* Held around fork(). */
extern struct ghu_lock ghu_profile_lock;

/* The newest bucket, without a lock. */
struct ghu_profile_bucket *ghu_profile_buckets(void);

/* profile_write.c: 0, or a negative errno.  May be called by a signal handler. */
int ghu_profile_write(int fd);
int ghu_profile_save(const char *path);
/* When the program begins and ends. */
void ghu_profile_begin(void);
void ghu_profile_end(void);

#pragma GCC visibility pop

/* Something was sampled.  Who has seen that an object is SAMPLED sees this. */
static inline bool ghu_profile_used(void)
{
	return __atomic_load_n(&ghu_profile_sys, __ATOMIC_RELAXED);
}

/* Bytes between samples, on average; 0: nothing is sampled. */
static inline unsigned int ghu_profile_rate(void)
{
	return __atomic_load_n(&ghu_options.memprofilerate, __ATOMIC_RELAXED);
}

#endif
