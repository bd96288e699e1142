/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* What threads leave behind when they end; leftover.c. */
#ifndef GHU_LEFTOVER_H
#define GHU_LEFTOVER_H

#include <stddef.h>
#include "mspan.h"

#pragma GCC visibility push(hidden)

/* With fewer pages in use than this it is time; 0: never. */
extern size_t ghu_leftover_mark;

/* The calling thread ends, and has not given up its spans yet. */
void ghu_leftover_thread_ends(void);
void ghu_leftover_release(void);

#pragma GCC visibility pop

/* A span went back to the page heap. */
static inline void ghu_leftover_check(void)
{
	if (ghu_unlikely(__atomic_load_n(&ghu_spans.pages_inuse, __ATOMIC_RELAXED) <
			 __atomic_load_n(&ghu_leftover_mark, __ATOMIC_RELAXED)))
		ghu_leftover_release();
}

#endif
