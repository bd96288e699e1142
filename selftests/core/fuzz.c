// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The page heap against its oracle, driven by the bytes that a fuzzer finds: each
 * choice of oracle_steps.h takes as many of them as it needs.  For libFuzzer; see
 * the Makefile's target fuzz.  corpus_test.c runs the inputs that are kept.
 */
#define T_OWN_BELOW
#include "oracle_steps.h"

static const uint8_t *input;
static size_t input_left;

static u64 t_below(u64 n)
{
	u64 v = 0, most;

	for (most = n - 1; most && input_left; most >>= 8) {
		v = v << 8 | *input++;
		input_left--;
	}
	return v % n;
}

/* An arena of any size at any page, so that it need not begin or end with a block. */
static void begin_anywhere(void)
{
	u64 first = 1 + t_below(1 << 16), npages;

	if (t_below(2))
		first *= 256;
	npages = 8 + t_below(t_below(2) ? 600 : MAX_PAGES - 8);
	begin(first, npages);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	input = data;
	input_left = size;
	begin_anywhere();
	while (input_left)
		if (step(0) || same_map())
			abort();
	if (end())
		abort();
	return 0;
}
