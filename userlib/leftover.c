// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * What threads leave behind when they end.
 *
 * Idle memory is released when it is old, or when the system needs it.  A storm of threads
 * leaves much of it at once, and perhaps nobody who allocates, and so looks at the
 * clock, afterwards.  Therefore it is released as soon as half of the pages that were in
 * use when a thread ended no longer are, and again at half of that.
 *
 * A program that starts and ends threads all the time would pay for it over and over, as it
 * wants the same memory again.  So each thread that ends pays for so many pages, what costs
 * about as much as to start a thread, and no more than that is released.  In a program
 * whose threads do not end nothing is.
 */
#include "backend.h"
#include "empty.h"
#include "leftover.h"

/* What a thread pays for, and by how much at least pages in use must fall. */
#define PAID_PAGES	32u
#define MIN_FALL	64u

size_t ghu_leftover_mark;
static size_t paid_pages;

/* Two at once may leave the lower mark: then it is a little later. */
static void raise_mark(void)
{
	size_t inuse = __atomic_load_n(&ghu_spans.pages_inuse, __ATOMIC_RELAXED), fall = inuse / 2;
	size_t mark;

	if (fall < MIN_FALL)
		fall = MIN_FALL;
	mark = inuse > fall ? inuse - fall : 0;
	if (mark > __atomic_load_n(&ghu_leftover_mark, __ATOMIC_RELAXED))
		__atomic_store_n(&ghu_leftover_mark, mark, __ATOMIC_RELAXED);
}

void ghu_leftover_thread_ends(void)
{
	__atomic_fetch_add(&paid_pages, PAID_PAGES, __ATOMIC_RELAXED);
	raise_mark();
}

/* One thread does it; the next one to end sets a mark if there is none. */
ghu_noinline void ghu_leftover_release(void)
{
	size_t paid, released;

	if (!__atomic_exchange_n(&ghu_leftover_mark, 0, __ATOMIC_RELAXED))
		return;
	paid = __atomic_exchange_n(&paid_pages, 0, __ATOMIC_RELAXED);
	if (!paid)
		return;
	ghu_empty_flush();
	released = ghu_backend_scavenge(paid << GHU_PAGE_SHIFT) >> GHU_PAGE_SHIFT;
	if (released < paid) {
		__atomic_fetch_add(&paid_pages, paid - released, __ATOMIC_RELAXED);
		raise_mark();
	}
}
