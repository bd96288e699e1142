/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* What a wrong pointer is called, and whether what an object is freed with fits it. */
#ifndef GHU_MISUSE_H
#define GHU_MISUSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

/* What one function says of two kinds of pointers. */
struct ghu_complaint {
	const char *freed;
	const char *invalid;
};

/* Ends the program: addr is no live object. */
void ghu_bad_pointer(const struct ghu_complaint *c, uintptr_t addr) __attribute__((noreturn));

/* ---- in malloc.c; of NULL, and of what is no live object, for free() to tell, true ---- */

/* Whether p has this alignment, and whether it is one. */
bool ghu_is_aligned(const void *p, size_t align);
/* Whether aligned_alloc(align, size) may have returned p. */
bool ghu_is_aligned_object(const void *p, size_t align, size_t size);
/* Whether malloc(size) may have, if nothing was realloc()ed. */
bool ghu_is_object(const void *p, size_t size);

#pragma GCC visibility pop

#endif
