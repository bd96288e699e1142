// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The page heap against an oracle: an array of runs in address order, on which
 * every rule is carried out by brute force.  Each call of a seeded random run is
 * predicted by the oracle: its result, which pages it gives, whether they need
 * zeroing.  After each step the whole map must be equal, and the invariant
 * walker be content.
 *
 * The oracle also knows of each page whether a program could have written to it,
 * so that needzero is not only equal to what the rules say, but true.
 */
#include "oracle_steps.h"

static int run_seed(u64 first, u64 npages, unsigned int steps)
{
	unsigned int i;

	begin(first, npages);
	for (i = 0; i < steps; i++) {
		/* Fill for a while, then empty, so that both extremes are seen. */
		if (step(i / 300 % 2 ? 0 : 20) || same_map()) {
			printf("# at step %u, arena %#" PRIx64 "+%" PRIu64 "\n", i,
			       first, npages);
			return 1;
		}
	}
	return end();
}

static int rounds(u64 first_align, u64 min_pages, u64 max_pages)
{
	unsigned int i;

	for (i = 0; i < t_rounds; i++) {
		u64 first = (1 + t_below(1 << 20)) * first_align;
		u64 npages = min_pages + t_below(max_pages - min_pages);

		if (run_seed(first, npages, t_steps)) {
			printf("# in round %u\n", i);
			return 1;
		}
	}
	return 0;
}

static int tiny_arenas(void)
{
	return rounds(1, 8, 600);
}

static int odd_arenas(void)
{
	return rounds(1, 1000, MAX_PAGES);
}

static int aligned_arenas(void)
{
	return rounds(256, 1000, MAX_PAGES);
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		{ "oracle: arenas of less than 5 MiB", tiny_arenas },
		{ "oracle: arenas of odd sizes at odd addresses", odd_arenas },
		{ "oracle: arenas at multiples of 2 MiB", aligned_arenas },
	};

	t_steps = 1500;
	t_rounds = 10;
	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
