// SPDX-License-Identifier: MIT OR GPL-2.0
/* goheap list: which heaps there are, one line each. */
#include <stdio.h>
#include "cli.h"
#include "heaps.h"
#include "json.h"

#define WANT	(HEAP_COMM | HEAP_ARENA | 1u << HV_SYS | 1u << HV_INUSE | 1u << HV_IDLE | \
		 1u << HV_RELEASED)

static void print_table(const struct heaps *all)
{
	char a[CLI_SIZE_MAX], b[CLI_SIZE_MAX], c[CLI_SIZE_MAX];

	printf("%s%6s %8s %-16s %8s %8s %8s  %s%s\n", cli_bold(), "ID", "PID", "COMMAND", "INUSE",
	       "IDLE", "RELEASED", "ARENA", cli_plain());
	for (size_t i = 0; i < all->nr; i++) {
		const struct heap *h = &all->heap[i];

		printf("%6u %8d %-16s %8s %8s %8s  0x%llx-0x%llx\n", h->id, h->pid,
		       heap_name(h), cli_size(a, h->value[HV_INUSE]),
		       cli_size(b, heap_resident_idle(h)), cli_size(c, h->value[HV_RELEASED]),
		       (unsigned long long)h->arena_start, (unsigned long long)h->arena_end);
	}
}

static void print_json(const struct heaps *all)
{
	json_open(NULL, '{');
	json_open("heaps", '[');
	for (size_t i = 0; i < all->nr; i++)
		heap_json(&all->heap[i], WANT);
	json_close();
	json_u64("hidden", all->hidden);
	json_close();
}

static int run(int argc, char **argv)
{
	struct heaps all;

	heaps_read(&all, WANT);
	if (cli.json)
		print_json(&all);
	else
		print_table(&all);
	heaps_warn_hidden(&all);
	heaps_free(&all);
	return EXIT_OK;
}

const struct cli_command cmd_list = {
	.name = "list",
	.operands = "",
	.does = "Lists the heaps that there are",
	.has_json = true,
	.run = run,
};
