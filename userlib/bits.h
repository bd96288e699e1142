/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* Bits of a word, and of several. */
#ifndef GHU_BITS_H
#define GHU_BITS_H

#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>

/* Words for so many bits. */
#define GHU_BIT_WORDS(nr)	(((nr) + 63) / 64)

/* Of what is not 0.  GCC extends the sign of its own, though there is none. */
static inline uint64_t ghu_lowest_bit(uint64_t m)
{
#ifdef __x86_64__
	uint64_t i = 0;

	__asm__("rep bsf %1, %0" : "+r" (i) : "r" (m) : "cc");
	return i;
#else
	return (uint64_t)__builtin_ctzll(m);
#endif
}

/* Where the processor's own may not be used the compiler would call a function. */
static inline uint64_t ghu_count_bits(uint64_t m)
{
#ifdef __POPCNT__
	return (unsigned int)__builtin_popcountll(m);
#else
	m -= m >> 1 & 0x5555555555555555u;
	m = (m & 0x3333333333333333u) + (m >> 2 & 0x3333333333333333u);
	m = (m + (m >> 4)) & 0x0f0f0f0f0f0f0f0fu;
	return m * 0x0101010101010101u >> 56;
#endif
}

static inline void ghu_set_bit(uint64_t *words, size_t i, bool on)
{
	uint64_t bit = (uint64_t)1 << i % 64;

	words[i / 64] = on ? words[i / 64] | bit : words[i / 64] & ~bit;
}

/* The first bit from i on, around, that is set; one of those words must have one. */
static inline unsigned int ghu_next_bit(const uint64_t *words, size_t nr_words, unsigned int i)
{
	uint64_t m = words[i / 64] >> i % 64;

	if (m)
		return i + (unsigned int)ghu_lowest_bit(m);
	do
		i = (unsigned int)((i / 64 + 1) % nr_words * 64);
	while (!words[i / 64]);
	return i + (unsigned int)ghu_lowest_bit(words[i / 64]);
}

#endif
