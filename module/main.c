// SPDX-License-Identifier: GPL-2.0
/*
 * The module's parameters, and the order in which its parts come and go.  The
 * device is what makes the rest reachable: registered last, and the first to go.
 * It cannot be unloaded while a file is open; when the last one was closed,
 * heaps may still be held for a moment by the scavenger.
 */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>

#include "heap.h"

unsigned int goheap_scavenge_limit_ms = 300000;
unsigned int goheap_scavenge_cpu_percent = 1;
unsigned int goheap_gctrace;
unsigned int goheap_khugepaged;
unsigned int goheap_max_heaps_per_user = 4096;
unsigned int goheap_max_spans = 4 << 20;
static unsigned long long goheap_max_arena = GOHEAP_ARENA_MAX;

static int goheap_set_limit(const char *val, const struct kernel_param *kp)
{
	int err = param_set_uint(val, kp);

	if (!err)
		goheap_age_kick();
	return err;
}

static const struct kernel_param_ops goheap_limit_ops = {
	.set = goheap_set_limit,
	.get = param_get_uint,
};

static int goheap_set_percent(const char *val, const struct kernel_param *kp)
{
	unsigned int percent;
	int err = kstrtouint(val, 0, &percent);

	if (err)
		return err;
	if (!percent || percent > 100)
		return -EINVAL;
	WRITE_ONCE(goheap_scavenge_cpu_percent, percent);
	return 0;
}

static const struct kernel_param_ops goheap_percent_ops = {
	.set = goheap_set_percent,
	.get = param_get_uint,
};

module_param_cb(scavenge_limit_ms, &goheap_limit_ops, &goheap_scavenge_limit_ms, 0644);
MODULE_PARM_DESC(scavenge_limit_ms,
		 "release spans that were unused for longer than this many milliseconds; 0: never (default: 300000)");
module_param_cb(scavenge_cpu_percent, &goheap_percent_ops, &goheap_scavenge_cpu_percent, 0644);
MODULE_PARM_DESC(scavenge_cpu_percent,
		 "percentage of one CPU, 1 to 100, that releasing unused spans may take (default: 1)");
module_param_named(gctrace, goheap_gctrace, uint, 0644);
MODULE_PARM_DESC(gctrace, "1: log how much each pass over unused spans released (default: 0)");
module_param_named(khugepaged, goheap_khugepaged, uint, 0644);
MODULE_PARM_DESC(khugepaged,
		 "1: khugepaged may make huge pages of arenas, and so fill what was released (default: 0)");
module_param_named(max_arena, goheap_max_arena, ullong, 0644);
MODULE_PARM_DESC(max_arena, "longest arena in bytes (default and at most: 512 GiB)");
module_param_named(max_heaps_per_user, goheap_max_heaps_per_user, uint, 0644);
MODULE_PARM_DESC(max_heaps_per_user, "heaps that one user may have at a time (default: 4096)");
module_param_named(max_spans, goheap_max_spans, uint, 0644);
MODULE_PARM_DESC(max_spans,
		 "records of spans, in use and free, that a new heap may have; 0: no bound (default: 4194304)");

/* What can be granted: whole steps. */
u64 goheap_max_arena_bytes(void)
{
	u64 max = min_t(u64, READ_ONCE(goheap_max_arena), GOHEAP_ARENA_MAX);

	return round_down(max, GOHEAP_ARENA_STEP);
}

static void goheap_teardown(void)
{
	goheap_scavenger_stop();
	goheap_sysfs_wait();
	goheap_scavenger_free();
	goheap_heaps_exit();
}

static int __init goheap_init(void)
{
	int err = goheap_scavenger_init();

	if (err)
		return err;
	goheap_debugfs_init();
	err = misc_register(&goheap_misc);
	if (err)
		goto out_debugfs;
	return 0;

out_debugfs:
	goheap_debugfs_exit();
	goheap_teardown();
	return err;
}

static void __exit goheap_exit(void)
{
	misc_deregister(&goheap_misc);
	goheap_debugfs_exit();
	goheap_teardown();
}

module_init(goheap_init);
module_exit(goheap_exit);
MODULE_LICENSE("GPL");
/* That of the library which comes with it, and of dkms.conf. */
MODULE_VERSION("0.1");
MODULE_DESCRIPTION("Page heaps for user space that give idle memory back under pressure");
