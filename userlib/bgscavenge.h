/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* A thread that releases what is old; bgscavenge.c says when there is one. */
#ifndef GHU_BGSCAVENGE_H
#define GHU_BGSCAVENGE_H

#include <stdbool.h>

#pragma GCC visibility push(hidden)

/* This is a child that has to start one again. */
extern bool ghu_bgscavenge_lost;

void ghu_bgscavenge_fork_child(void);
/* No lock may be held: it allocates. */
void ghu_bgscavenge_again(void);

#pragma GCC visibility pop

#endif
