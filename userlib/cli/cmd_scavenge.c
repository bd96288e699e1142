// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * goheap scavenge: has idle memory released now.
 *
 * How much it was is the difference of what the heap counts, which is more than this
 * command's doing if something else releases at the same time.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "cli.h"
#include "heaps.h"
#include "json.h"

#define WANT	(HEAP_PID | HEAP_COMM | 1u << HV_IDLE | 1u << HV_RELEASED | 1u << HV_SCAV_DEMAND)

/* A large heap is released in steps, so that it can be seen how far it is. */
#define STEP	((uint64_t)16 << 20)
#define STEP_MIB	16

static const char *bytes_text;

static const struct cli_option options[] = {
	{ 'b', "bytes", "BYTES", NULL, &bytes_text, "no more than about so much, as 64M" },
	{ 0 }
};

/* Of one heap. */
struct result {
	uint64_t released;
	int err;
};

static const char *explain(int err)
{
	switch (err) {
	case 0:
		return NULL;
	case -EBUSY:
		return "shared with a forked child: try again when that has ended";
	case -ESRCH:
	case -ENOENT:
	case -ENODEV:
		return "its process has ended";
	case -EACCES:
	case -EPERM:
		return "not yours: ask as root";
	case -EROFS:
		return "sysfs is read-only here: do it outside of the container";
	default:
		return strerror(-err);
	}
}

/* As sysfs wants it. */
static const char *amount(char buf[24], uint64_t max)
{
	if (max == HEAP_NO_LIMIT)
		return "all";
	snprintf(buf, 24, "%llu", (unsigned long long)max);
	return buf;
}

/* One step: what it released is added. */
static void release(struct heap *heap, uint64_t max, struct result *r)
{
	uint64_t before = heap->value[HV_SCAV_DEMAND];
	char buf[24];

	r->err = heap_write(heap, "scavenge", amount(buf, max));
	if (!r->err && !heap_read(heap, WANT))
		r->released += heap->value[HV_SCAV_DEMAND] - before;
}

static struct result scavenge(const struct heap *heap, uint64_t max)
{
	uint64_t idle = heap_resident_idle(heap), steps = (max < idle ? max : idle) / STEP;
	struct heap now = *heap;
	struct result r = { 0 };

	for (uint64_t i = 0; i < steps && r.released >= i * STEP && r.released < max && !r.err; i++) {
		cli_progress("releasing MiB", i * STEP_MIB, steps * STEP_MIB);
		release(&now, max - r.released < STEP ? max - r.released : STEP, &r);
	}
	if (steps)
		cli_progress("releasing MiB", steps * STEP_MIB, steps * STEP_MIB);
	if (!r.err && r.released < max)
		release(&now, max == HEAP_NO_LIMIT ? max : max - r.released, &r);
	return r;
}

static void report(const struct heap *heap, const struct result *r)
{
	char buf[CLI_SIZE_MAX];

	if (cli.json) {
		json_open(NULL, '{');
		heap_json_process(heap);
		json_u64("released_bytes", r->released);
		json_text("error", explain(r->err));
		json_close();
	} else if (r->err) {
		cli_warn("heap %u of process %d (%s): %s", heap->id, heap->pid, heap_name(heap),
			 explain(r->err));
	} else {
		printf("heap %u of process %d (%s): %s released\n", heap->id, heap->pid, heap_name(heap),
		       cli_size(buf, r->released));
	}
}

/* What root cannot read here, for it is of other pid namespaces, goes by the file of all. */
static uint64_t scavenge_hidden(uint64_t max)
{
	uint64_t before[HV_NR_TOTALS], after[HV_NR_TOTALS], nr;
	char buf[24];
	int err;

	heaps_totals(before, &nr);
	err = heap_write(NULL, "scavenge", amount(buf, max));
	if (err)
		cli_die("heaps of other containers: %s", explain(err));
	heaps_totals(after, &nr);
	return after[HV_SCAV_DEMAND] - before[HV_SCAV_DEMAND];
}

/* The sum; *failed counts heaps. */
static uint64_t scavenge_each(const struct heaps *all, uint64_t max, size_t *failed)
{
	uint64_t sum = 0;

	cli_progress("releasing", 0, all->nr);
	for (size_t i = 0; i < all->nr; i++) {
		uint64_t left = max == HEAP_NO_LIMIT ? max : max > sum ? max - sum : 0;
		struct result r = { 0 };

		if (left)
			r = scavenge(&all->heap[i], left);
		sum += r.released;
		*failed += r.err != 0;
		report(&all->heap[i], &r);
		cli_progress("releasing", i + 1, all->nr);
	}
	return sum;
}

static void finish(const struct heaps *all, uint64_t sum, bool every)
{
	char buf[CLI_SIZE_MAX];

	if (cli.json) {
		json_close();
		json_u64("released_bytes", sum);
		json_u64("hidden", all->hidden);
		json_close();
	} else if (every) {
		printf("%s released in all\n", cli_size(buf, sum));
		if (geteuid())
			heaps_warn_hidden(all);
	}
}

static int run(int argc, char **argv)
{
	bool every = !argc || !strcmp(argv[0], "all");
	uint64_t max = HEAP_NO_LIMIT, sum;
	struct heaps all;
	size_t failed = 0;

	if (bytes_text && !cli_parse_size(bytes_text, &max))
		cli_usage("'%s' is no number of bytes: give one like 65536, 64K, 512M or 2G",
			  bytes_text);
	if (every)
		heaps_read(&all, WANT);
	else
		heaps_select(&all, argv[0], WANT);
	if (cli.json) {
		json_open(NULL, '{');
		json_open("heaps", '[');
	}
	sum = scavenge_each(&all, max, &failed);
	if (every && all.hidden && !geteuid() && sum < max)
		sum += scavenge_hidden(max == HEAP_NO_LIMIT ? max : max - sum);
	finish(&all, sum, every);
	heaps_free(&all);
	return failed ? EXIT_FAILED : EXIT_OK;
}

const struct cli_command cmd_scavenge = {
	.name = "scavenge",
	.operands = "[PID|ID|all]",
	.does = "Releases the idle memory of one process, or of all that are yours",
	.about = "A heap that is shared with a forked child has to wait until that has ended.",
	.options = options,
	.has_json = true,
	.max = 1,
	.run = run,
};
