// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Initialisation needs no constructor: the first request for a span does it, in
 * whatever thread, be it the dynamic loader before any constructor has run.
 * Nothing in it allocates, except that registering the atfork handlers may make
 * libc call malloc().  So that is done last, when malloc() works, and with no
 * lock held; it is done as early as that because the handlers registered first
 * are called last before a fork, and first after it, which is what the handlers
 * of others need that call malloc().  A constructor does it where nobody has called
 * malloc() by then: the first call may be a thread's, while another thread forks.
 *
 * Constructors want to know the options, and no heap: a program may never need one,
 * as under Valgrind, which allocates for it, and for which reserving an arena is slow.
 */
#include "init.h"
#include "options.h"

bool ghu_ready;

static struct ghu_lock init_lock;
static bool options_ready;	/* under init_lock */

static void read_options_locked(void)
{
	if (!options_ready)
		ghu_options_init();
	options_ready = true;
}

void ghu_init_options(void)
{
	ghu_lock(&init_lock);
	read_options_locked();
	ghu_unlock(&init_lock);
}

void ghu_init_fork_prepare(void)
{
	ghu_lock(&init_lock);
}

void ghu_init_fork_done(void)
{
	ghu_unlock(&init_lock);
}

ghu_noinline void ghu_init_slow(void)
{
	bool first;

	ghu_lock(&init_lock);
	first = !ghu_ready;
	if (first) {
		ghu_phys_page_size();
		read_options_locked();
		ghu_backend_init();
		__atomic_store_n(&ghu_ready, true, __ATOMIC_RELEASE);
	}
	ghu_unlock(&init_lock);
	if (first)
		ghu_fork_init();
}
