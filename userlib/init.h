/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* The library's initialisation, at its first use by whatever thread. */
#ifndef GHU_INIT_H
#define GHU_INIT_H

#include "sys.h"

extern bool ghu_ready;

void ghu_init_slow(void);
/* Only reads the options, if nobody has. */
void ghu_init_options(void);

/* Every entry of the backend calls it; nothing else needs to. */
static inline void ghu_init(void)
{
	if (ghu_unlikely(!__atomic_load_n(&ghu_ready, __ATOMIC_ACQUIRE)))
		ghu_init_slow();
}

/* The child must not find it half done; it comes before all other locks. */
void ghu_init_fork_prepare(void);
void ghu_init_fork_done(void);

/* fork.c: registers the atfork handlers, once. */
void ghu_fork_init(void);
/* backend.c: chooses the backend and makes the first heap; fatal if there is none. */
void ghu_backend_init(void);

#endif
