// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A program that is linked with libgoheap: which is all that it takes.  What it asks
 * goheap.h for is only to show that it is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <goheap.h>

int main(void)
{
	char *p = malloc(100);

	if (!p)
		return 1;
	printf("libgoheap %s, %s: 100 bytes take %zu\n", goheap_version(), goheap_backend(),
	       goheap_good_size(100));
	free(p);
	return 0;
}
