// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The inputs in corpus_api/, which a fuzzer found (fuzz_api.c): each one reached code,
 * or came to it in a way, that those before it did not.
 */
#include "fuzz_api.c"
#include <dirent.h>
#include "back_test.h"

static int run_file(const char *path)
{
	static uint8_t data[1 << 16];
	FILE *f = fopen(path, "rb");
	size_t size;

	T(f);
	size = fread(data, 1, sizeof(data), f);
	fclose(f);
	T(size);
	return LLVMFuzzerTestOneInput(data, size);
}

static int run_all(void)
{
	unsigned int nr = 0;
	struct dirent *e;
	char path[4096];
	DIR *d = opendir(CORPUS);

	T(d);
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), CORPUS "/%s", e->d_name);
		T_SUB(run_file(path));
		nr++;
	}
	closedir(d);
	printf("# %u inputs\n", nr);
	T(nr >= 50);
	return T_PASS;
}

static const struct t_case cases[] = {
	{ "corpus: every input that was kept", run_all },
};

int main(int argc, char **argv)
{
	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
