// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Initialisation needs no constructor: the first request for a span does it, in
 * whatever thread, be it the dynamic loader before any constructor has run.
 * Nothing in it allocates, except that registering the atfork handlers may make
 * libc call malloc().  So that is done last, when malloc() works, and with no
 * lock held; it is done as early as that because the handlers registered first
 * are called last before a fork, and first after it, which is what the handlers
 * of others need that call malloc().
 */
#include "init.h"
#include "options.h"

bool ghu_ready;

static struct ghu_lock init_lock;

ghu_noinline void ghu_init_slow(void)
{
	bool first;

	ghu_lock(&init_lock);
	first = !ghu_ready;
	if (first) {
		ghu_phys_page_size();
		ghu_options_init();
		ghu_backend_init();
		__atomic_store_n(&ghu_ready, true, __ATOMIC_RELEASE);
	}
	ghu_unlock(&init_lock);
	if (first)
		ghu_fork_init();
}
