// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * fork() in a process with threads: all of the library's locks are taken before
 * it, from the outside in, so that the child finds everything consistent, and
 * dropped after it, in the parent and in the child, from the inside out.  The
 * front (caches, lists of spans) is outside, the backend inside.
 *
 * vfork(), posix_spawn() and threads run no handlers, and need none: the memory
 * is shared.  A child that bypasses the handlers is noticed by the backend.
 */
#include <pthread.h>
#include "backend.h"
#include "bgscavenge.h"
#include "init.h"
#include "mcentral.h"

static void fork_prepare(void)
{
	ghu_init_fork_prepare();
	ghu_front_fork_prepare();
	ghu_backend_fork_prepare();
}

static void fork_parent(void)
{
	ghu_backend_fork_parent();
	ghu_front_fork_parent();
	ghu_init_fork_done();
}

static void fork_child(void)
{
	ghu_backend_fork_child();
	ghu_front_fork_child();
	ghu_init_fork_done();
	ghu_bgscavenge_fork_child();
}

void ghu_fork_init(void)
{
	static bool registered;

	if (!__atomic_exchange_n(&registered, true, __ATOMIC_RELAXED))
		pthread_atfork(fork_prepare, fork_parent, fork_child);
}

static __attribute__((constructor)) void register_first(void)
{
	ghu_fork_init();
}
