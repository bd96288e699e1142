// SPDX-License-Identifier: MIT OR GPL-2.0
/* goheap limit: shows what heaps may hold, and changes it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "cli.h"
#include "heaps.h"
#include "json.h"

#define WANT	(HEAP_PID | HEAP_COMM | 1u << HV_SYS | 1u << HV_RELEASED | 1u << HV_LIMIT_SOFT | \
		 1u << HV_LIMIT_HARD)

static bool hard;

static const struct cli_option options[] = {
	{ 'H', "hard", NULL, &hard, NULL, "set the hard limit: spans beyond it are refused" },
	{ 0 }
};

static uint64_t held(const struct heap *h)
{
	return h->value[HV_SYS] - h->value[HV_RELEASED];
}

static void print_table(const struct heaps *all)
{
	char a[CLI_SIZE_MAX], b[CLI_SIZE_MAX], c[CLI_SIZE_MAX];

	printf("%s%6s %8s %-16s %8s %8s %8s%s\n", cli_bold(), "ID", "PID", "COMMAND", "HELD", "SOFT",
	       "HARD", cli_plain());
	for (size_t i = 0; i < all->nr; i++) {
		const struct heap *h = &all->heap[i];

		printf("%6u %8d %-16s %8s %8s %8s\n", h->id, h->pid, heap_name(h),
		       cli_size(a, held(h)), heap_limit_text(b, h->value[HV_LIMIT_SOFT]),
		       heap_limit_text(c, h->value[HV_LIMIT_HARD]));
	}
}

static void print_json(const struct heaps *all)
{
	json_open(NULL, '{');
	json_open("heaps", '[');
	for (size_t i = 0; i < all->nr; i++) {
		const struct heap *h = &all->heap[i];

		json_open(NULL, '{');
		heap_json_process(h);
		json_u64("held_bytes", held(h));
		heap_json_value(h, HV_LIMIT_SOFT);
		heap_json_value(h, HV_LIMIT_HARD);
		json_close();
	}
	json_close();
	json_u64("hidden", all->hidden);
	json_close();
}

static void __attribute__((noreturn)) refused(const struct heap *h, uint64_t limit, int err)
{
	char a[CLI_SIZE_MAX], b[CLI_SIZE_MAX];

	if (err == -EINVAL && hard)
		cli_die("heap %u: a hard limit of %s is below the soft one of %s: lower that first",
			h->id, cli_size(a, limit), heap_limit_text(b, h->value[HV_LIMIT_SOFT]));
	if (err == -EINVAL)
		cli_die("heap %u: a soft limit of %s is above the hard one of %s: raise that first, with --hard",
			h->id, heap_limit_text(a, limit), heap_limit_text(b, h->value[HV_LIMIT_HARD]));
	if (err == -ENOENT || err == -ENODEV || err == -ESRCH)
		cli_die("heap %u: its process has ended", h->id);
	if (err == -EACCES || err == -EPERM || err == -EROFS)
		cli_die("heap %u: %s: ask as root, outside of a container", h->id, strerror(-err));
	cli_die("heap %u: %s", h->id, strerror(-err));
}

static void set(struct heap *h, uint64_t limit)
{
	char text[24] = "max";
	int err;

	if (limit != HEAP_NO_LIMIT)
		snprintf(text, sizeof(text), "%llu", (unsigned long long)limit);
	err = heap_write(h, heap_values[hard ? HV_LIMIT_HARD : HV_LIMIT_SOFT].name, text);
	if (err)
		refused(h, limit, err);
	heap_read(h, WANT);
}

static uint64_t parse_limit(const char *text)
{
	uint64_t limit;

	if (!strcmp(text, "none") || !strcmp(text, "max"))
		return HEAP_NO_LIMIT;
	if (!cli_parse_size(text, &limit))
		cli_usage("'%s' is no limit: give bytes, as 65536, 64K, 512M or 2G, or none", text);
	return limit;
}

static int run(int argc, char **argv)
{
	uint64_t limit = argc > 1 ? parse_limit(argv[1]) : 0;
	struct heaps all;

	if (hard && argc < 2)
		cli_usage("--hard is for setting a limit: goheap limit --hard PID BYTES");
	if (argc)
		heaps_select(&all, argv[0], WANT);
	else
		heaps_read(&all, WANT);
	if (argc > 1)
		for (size_t i = 0; i < all.nr; i++)
			set(&all.heap[i], limit);
	(cli.json ? print_json : print_table)(&all);
	if (!argc && !cli.json)
		heaps_warn_hidden(&all);
	heaps_free(&all);
	return EXIT_OK;
}

const struct cli_command cmd_limit = {
	.name = "limit",
	.operands = "[PID|ID [BYTES|none]]",
	.does = "Shows or sets how much memory a heap may hold",
	.about = "Above the soft limit idle memory is released at once, without regard to its age; nothing\n"
		 "fails.  HELD is what is in use, and what is idle and has pages.",
	.options = options,
	.has_json = true,
	.max = 2,
	.run = run,
};
