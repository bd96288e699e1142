// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A process that needs memory: neighbour MB [MS]
 *
 * Touches one MB after the other and says after each step of 10 how many it
 * has ("10\n", "20\n", ...), by write(2), so that the last line tells how far it
 * came even if the kernel killed it; and waits for MS milliseconds, so that one can
 * watch.  Ends when it has them all.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MB	(1UL << 20)
#define STEP	10UL

/* Not malloc(): what this process has must not depend on an allocator. */
static int take(unsigned long mb)
{
	char *p = mmap(NULL, mb * MB, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -1;
	memset(p, 0x5a, mb * MB);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long want = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
	unsigned long pause_ms = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
	unsigned long got, step;

	if (!want) {
		fprintf(stderr, "usage: neighbour MB [MS]\n");
		return 2;
	}
	for (got = 0; got < want; got += step) {
		step = want - got < STEP ? want - got : STEP;
		if (take(step)) {
			perror("neighbour: mmap");
			return 1;
		}
		if (dprintf(STDOUT_FILENO, "%lu\n", got + step) < 0)
			return 1;
		usleep(pause_ms * 1000);
	}
	return 0;
}
