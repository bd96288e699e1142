/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * malloc() and its like, called in a way that leaves the compiler no idea of what they do:
 * it knows them by name, and drops calls whose results it does not need.
 */
#ifndef FRONT_CALLS_H
#define FRONT_CALLS_H

#include <malloc.h>
#include <stdlib.h>

/* Not every libc declares them. */
void *pvalloc(size_t size);
int malloc_trim(size_t pad);
void free_sized(void *p, size_t size);
void free_aligned_sized(void *p, size_t align, size_t size);

#define CALL	static __attribute__((unused))

CALL void *(*volatile vmalloc)(size_t) = malloc;
CALL void *(*volatile vcalloc)(size_t, size_t) = calloc;
CALL void *(*volatile vrealloc)(void *, size_t) = realloc;
CALL void *(*volatile valigned)(size_t, size_t) = aligned_alloc;
CALL size_t (*volatile vusable)(void *) = malloc_usable_size;
CALL void (*volatile vfree)(void *) = free;
CALL void (*volatile vfree_sized)(void *, size_t) = free_sized;
CALL void (*volatile vfree_aligned_sized)(void *, size_t, size_t) = free_aligned_sized;

/*
 * The first few objects of a size may be of a larger class (userlib/few.h); from here on
 * each is of the smallest one that will do.
 */
CALL void use_up_few(void)
{
	for (size_t size = 8; size <= 2048; size += 8)
		for (int i = 0; i < 20; i++)
			vfree(vmalloc(size));
}

#undef CALL

#endif
