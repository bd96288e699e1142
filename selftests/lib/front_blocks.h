/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Blocks that know what they hold, in slots where threads replace each other's.
 */
#ifndef FRONT_BLOCKS_H
#define FRONT_BLOCKS_H

#include "back_test.h"
#include "front_calls.h"

#define SWAP_SLOTS	4096u

static void *swap_slots[SWAP_SLOTS];
static uint64_t swap_bad;

static uint64_t *make_block(uint64_t *x)
{
	size_t words = 2 + *x % 16 * (*x >> 32 & 1 ? 1 : *x >> 40 & 255);
	uint64_t *p = vmalloc(words * 8);

	p[0] = words;
	for (size_t i = 1; i < words; i++)
		p[i] = (uintptr_t)p + i;
	return p;
}

static void drop_block(uint64_t *p)
{
	bool bad = malloc_usable_size(p) < p[0] * 8;

	for (size_t i = 1; i < p[0]; i++)
		bad |= p[i] != (uintptr_t)p + i;
	if (bad)
		__atomic_fetch_add(&swap_bad, 1, __ATOMIC_RELAXED);
	vfree(p);
}

/* Puts a block in the place of another, which is dropped. */
static void swap_block(uint64_t x, void *p)
{
	void **slot = &swap_slots[x >> 20 & (SWAP_SLOTS - 1)];

	p = __atomic_exchange_n(slot, p, __ATOMIC_ACQ_REL);
	if (p)
		drop_block(p);
}

static int drop_all_blocks(void)
{
	for (unsigned int i = 0; i < SWAP_SLOTS; i++) {
		if (swap_slots[i])
			drop_block(swap_slots[i]);
		swap_slots[i] = NULL;
	}
	T_EQ(swap_bad, 0);
	return T_PASS;
}

/* Until it is told to stop. */
static int stop_churning;

static void *churner(void *arg)
{
	uint64_t x = (uintptr_t)arg;

	while (!__atomic_load_n(&stop_churning, __ATOMIC_RELAXED)) {
		void *p;

		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		p = make_block(&x);
		swap_block(x, p);
	}
	return NULL;
}

#endif
