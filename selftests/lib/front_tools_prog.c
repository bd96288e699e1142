// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * A program for front_tools_test.sh, which has it run under tools that bring a malloc()
 * of their own.  It does what its argument says, and says "fine".
 */
#include <stdio.h>
#include <string.h>
#include "front_calls.h"

static int use(void)
{
	static char *p[300];

	for (size_t i = 0; i < 300; i++) {
		p[i] = vrealloc(vcalloc(1, i * 100 + 1), i * 200 + 1);
		if (!p[i] || p[i][i * 100])
			return 1;
		memset(p[i], 'u', i * 200 + 1);
	}
	for (size_t i = 0; i < 300; i++)
		vfree(p[i]);
	vfree(valigned(4096, 4096));
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	char *volatile p = vmalloc(100);
	int bad = 0;

	p[0] = 0;
	if (!strcmp(what, "sized")) {
		vfree_sized(p, 100);
		vfree_aligned_sized(valigned(64, 256), 64, 256);
	} else {
		bad = use();
		vfree(p);
	}
	if (!strcmp(what, "read"))
		bad |= p[3] == 1 && p[4] == 2;
	if (!strcmp(what, "twice"))
		vfree(p);
	puts(bad ? "bad" : "fine");
	return bad;
}
