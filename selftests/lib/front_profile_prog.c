// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * A program to be profiled, linked or preloaded in various ways; see
 * front_profile_test.sh.  Nothing is asked of it but to allocate where the names of its
 * functions say so, and to do what its arguments say.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NR	1000

static void *small[NR], *zeroed[NR], *large[NR / 10];

/* Not inlined, and no jump in place of the call. */
#define SITE	static __attribute__((noinline))
#define END	__asm__ volatile("" ::: "memory")

SITE void site_small(int i)
{
	small[i] = malloc(100);
	END;
}

SITE void site_zeroed(int i)
{
	zeroed[i] = calloc(10, 300);
	END;
}

SITE void site_large(int i)
{
	large[i] = malloc(100000);
	END;
}

SITE void site_copied(void)
{
	static char text[501];

	memset(text, 'x', sizeof(text) - 1);
	small[0] = strdup(text);
	END;
}

SITE void caller(void)
{
	for (int i = 1; i < NR; i++)
		site_small(i);
	for (int i = 0; i < NR; i++)
		site_zeroed(i);
	for (int i = 0; i < NR / 10; i++)
		site_large(i);
	site_copied();
	END;
}

static void release(void)
{
	for (int i = 0; i < NR; i++) {
		free(small[i]);
		free(zeroed[i]);
	}
	for (int i = 0; i < NR / 10; i++)
		free(large[i]);
}

static void signalled(int sig)
{
	printf("own handler of %d\n", sig);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	caller();
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "signal"))
			raise(SIGUSR1);
		if (!strcmp(argv[i], "own"))
			signal(SIGUSR1, signalled);
		if (!strcmp(argv[i], "fork") && !fork())
			exit(0);
		if (!strcmp(argv[i], "free"))
			release();
	}
	while (wait(NULL) > 0)
		;
	return 0;
}
