// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The inputs in corpus/, which a fuzzer found: each one reached code, or came to it
 * in a way, that those before it did not.
 */
#include "fuzz.c"
#include <dirent.h>

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
		if (run_file(path)) {
			printf("# %s\n", path);
			return 1;
		}
		nr++;
	}
	closedir(d);
	printf("# %u inputs\n", nr);
	T(nr >= 50);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		{ "corpus: every input that was kept", run_all },
	};

	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
