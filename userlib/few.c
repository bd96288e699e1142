// SPDX-License-Identifier: MIT OR GPL-2.0
/* See few.h. */
#include <stdint.h>
#include "few.h"
#include "mcache.h"
#include "sizeclass.h"

/* Of each class, in all threads; one more for each other thread that takes the last at once. */
#define FEW		8u
#define NR_CLASSES	37u	/* of objects of less than 2048 bytes */
#define LEAST		64u	/* where they meet */

bool ghu_few_is_over;
static uint8_t nr_few[NR_CLASSES];

/* The next power of two; 0: there is none that is less than twice as much. */
static size_t meeting_size(size_t bytes)
{
	size_t size = LEAST;

	while (size < bytes)
		size *= 2;
	return size > bytes && bytes > size / 2 ? size : 0;
}

void *ghu_few_alloc(size_t sizeclass)
{
	size_t size;

	if (sizeclass >= NR_CLASSES || __atomic_load_n(&ghu_few_is_over, __ATOMIC_RELAXED) ||
	    __atomic_load_n(&nr_few[sizeclass], __ATOMIC_RELAXED) >= FEW)
		return NULL;
	size = meeting_size(ghu_classes[sizeclass].size);
	if (!size)
		return NULL;
	__atomic_fetch_add(&nr_few[sizeclass], 1, __ATOMIC_RELAXED);
	return ghu_mcache_alloc(ghu_size_to_class(size));
}
