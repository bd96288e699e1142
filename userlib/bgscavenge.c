// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The thread that GOHEAPDEBUG=bgscavenge=MS asks for: several times a second it has the
 * embedded heaps release what was unused for longer than MS, which else only happens
 * while the program allocates and frees.  The kernel's heaps need none.
 *
 * It starts after the C library was initialised, from a constructor.  A forked child is
 * left without one until it asks mcentral for a span, so that one which only calls
 * exec() makes no thread.  It blocks all signals, as they are the program's.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <time.h>
#include "backend.h"
#include "bgscavenge.h"
#include "empty.h"
#include "init.h"
#include "options.h"

#define STACK_BYTES	((size_t)64 << 10)
#define SLEEP_MS_MAX	250u

bool ghu_bgscavenge_lost;

/* So often that a pass is late by little of the limit. */
static unsigned int sleep_ms(void)
{
	unsigned int ms = ghu_options.bgscavenge / 4;

	if (ms > SLEEP_MS_MAX)
		return SLEEP_MS_MAX;
	return ms ? ms : 1;
}

static void *bgscavenge(void *arg)
{
	struct timespec t = { 0, (long)sleep_ms() * 1000000 };

	prctl(PR_SET_NAME, "goheap-scavenge");
	for (;;) {
		nanosleep(&t, NULL);
		ghu_empty_age();
	}
	return arg;
}

static void start(void)
{
	sigset_t all, was;
	pthread_attr_t attr;
	pthread_t t;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	err = pthread_create(&t, &attr, bgscavenge, NULL);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	if (err)
		ghu_print("goheap: GOHEAPDEBUG: bgscavenge: no thread: error %d\n", err);
}

static __attribute__((constructor)) void start_first(void)
{
	ghu_init_options();
	if (ghu_options.bgscavenge)
		start();
}

void ghu_bgscavenge_fork_child(void)
{
	ghu_bgscavenge_lost = ghu_options.bgscavenge;
}

ghu_noinline void ghu_bgscavenge_again(void)
{
	if (__atomic_exchange_n(&ghu_bgscavenge_lost, false, __ATOMIC_RELAXED))
		start();
}
