// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Prints how many kHz this machine's time stamp counter has; nothing where there is
 * none.  An emulated one counts as fast, but a kernel that finds that out while it is
 * kept from running believes in a fraction, and its clock then runs away.
 */
#include <stdio.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>

static unsigned long long now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* Over some time, of which the ends are seen as sharply as can be in some tries. */
static unsigned long long tick(unsigned long long *ns)
{
	unsigned long long best = ~0ULL, at = 0;

	for (int i = 0; i < 100; i++) {
		unsigned long long before = __rdtsc(), t = now_ns(), after = __rdtsc();

		if (after - before < best) {
			best = after - before;
			at = before + best / 2;
			*ns = t;
		}
	}
	return at;
}

int main(void)
{
	struct timespec pause = { 0, 100000000 };
	unsigned long long ns[2], ticks;

	ticks = tick(&ns[0]);
	nanosleep(&pause, NULL);
	ticks = tick(&ns[1]) - ticks;
	printf("%llu\n", ticks * 1000000 / (ns[1] - ns[0]));
	return 0;
}
#else
int main(void)
{
	return 0;
}
#endif
