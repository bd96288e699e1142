/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* malloc() and free() with the checks that are asked for by options; checked.c. */
#ifndef GHU_CHECKED_H
#define GHU_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "init.h"
#include "mspan.h"
#include "options.h"

#pragma GCC visibility push(hidden)

/* As aligned_alloc(); align 0: as malloc().  size is less than 2^63.  NULL: no memory. */
void *ghu_checked_alloc(size_t size, size_t align, bool *needzero);
/* addr is not NULL. */
void ghu_checked_free(uintptr_t addr);
/* The size with which the object, which must be live, was allocated, as far as that is known. */
size_t ghu_checked_size(const struct ghu_mspan *s, const void *p);
/* Whether that is known to be another one. */
bool ghu_checked_differs(const struct ghu_mspan *s, const void *p, size_t size);
/* mallopt(M_PERTURB): false: these checks are off. */
bool ghu_checked_perturb(int value);

/* Held around fork(). */
extern struct ghu_lock ghu_checked_lock;

/* ---- in malloc.c: the same without checks ---- */

void *ghu_raw_alloc(size_t size, size_t align, bool *needzero);
/* Bytes from the object's start to its end. */
size_t ghu_raw_bytes(const struct ghu_mspan *s);
void ghu_bad_free(uintptr_t addr) __attribute__((noreturn));

#pragma GCC visibility pop

/* The first call in the process reads the options. */
static inline bool ghu_checked_on(void)
{
	ghu_init();
	return ghu_checked;
}

#endif
