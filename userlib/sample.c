// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The distance from one sampled byte to the next is a random number with an exponential
 * distribution, as if each byte allocated were sampled or not by a coin of its own.  So
 * it does not matter where one begins to count, nor whether bytes were counted that
 * nobody took in the end: what lies ahead is always distributed in the same way.
 * An object is sampled with the chance that one of its bytes is, which is what pprof
 * expects, so also one that is larger than the rate may be left out.
 *
 * -ln(q) times the mean has that distribution if q is uniform in (0, 1].  The logarithm is
 * taken from a table of 33 values with straight lines between them, like Go's, so that
 * neither libm is needed nor its time.
 */
#include <string.h>
#include <sys/syscall.h>
#include "sample.h"
#include "sys.h"

#define LN2		0.6931471805599453
#define TABLE_BITS	5u
#define RANDOM_BITS	26u

uint64_t ghu_sample_seed;

/* log2(1 + i / 32) */
static const double log2_table[(1u << TABLE_BITS) + 1] = {
	0, 0.044394119358453436, 0.087462841250339401, 0.12928301694496647,
	0.16992500144231237, 0.20945336562894978, 0.24792751344358549, 0.28540221886224837,
	0.32192809488736235, 0.35755200461808367, 0.39231742277876031, 0.42626475470209796,
	0.45943161863729726, 0.49185309632967472, 0.52356195605701283, 0.55458885167763738,
	0.58496250072115619, 0.61470984411520824, 0.6438561897747247, 0.67242534197149562,
	0.70043971814109218, 0.7279204545631992, 0.75488750216346856, 0.7813597135246596,
	0.80735492205760406, 0.83289001416474162, 0.85798099512757209, 0.88264304936184124,
	0.90689059560851848, 0.93073733756288624, 0.95419631038687525, 0.97727992349991644,
	1,
};

/* The mantissa's first bits tell where in the table, the others how far to the next. */
double ghu_fastlog2(double x)
{
	const double part = 1.0 / ((uint64_t)1 << (52 - TABLE_BITS));
	unsigned int i;
	uint64_t bits;
	double rest;

	memcpy(&bits, &x, sizeof(bits));
	i = (unsigned int)(bits >> (52 - TABLE_BITS)) & ((1u << TABLE_BITS) - 1);
	rest = (double)(bits & (((uint64_t)1 << (52 - TABLE_BITS)) - 1)) * part;
	return (double)((int)(bits >> 52 & 2047) - 1023) + log2_table[i] +
	       (log2_table[i + 1] - log2_table[i]) * rest;
}

/* splitmix64 */
uint64_t ghu_fastrand(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static ghu_noinline uint64_t draw_seed(void)
{
	uint64_t seed = ghu_now_ns() ^ (uintptr_t)&seed, none = 0;

	ghu_syscall(SYS_getrandom, (long)&seed, sizeof(seed), 1 /* GRND_NONBLOCK */, 0, 0, 0);
	seed |= 1;
	/* Who comes second takes what the first one drew. */
	__atomic_compare_exchange_n(&ghu_sample_seed, &none, seed, false, __ATOMIC_RELAXED,
				    __ATOMIC_RELAXED);
	return __atomic_load_n(&ghu_sample_seed, __ATOMIC_RELAXED);
}

uint64_t ghu_sample_state(void)
{
	static uint64_t nr;
	uint64_t seed = __atomic_load_n(&ghu_sample_seed, __ATOMIC_RELAXED);

	if (ghu_unlikely(!seed))
		seed = draw_seed();
	seed += __atomic_fetch_add(&nr, 1, __ATOMIC_RELAXED) << 32;
	return ghu_fastrand(&seed);
}

uint64_t ghu_next_sample(uint64_t rate, uint64_t *state)
{
	double q, log;

	if (rate <= 1)
		return rate;
	if (rate > GHU_SAMPLE_RATE_MAX)
		rate = GHU_SAMPLE_RATE_MAX;
	q = (double)(ghu_fastrand(state) >> (64 - RANDOM_BITS)) + 1;
	log = ghu_fastlog2(q) - RANDOM_BITS;
	if (log > 0)
		log = 0;
	return (uint64_t)(log * (-LN2 * (double)rate)) + 1;
}
