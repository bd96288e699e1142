// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The allocations that loading the module makes in the module's own init function
 * fail, in turn; so do those of unloading it.  A module that did not load is gone
 * without a trace, and the next one loads.
 *
 * The many allocations before, for the file and for the module's memory, are the
 * kernel's own, and it warns of some that fail: they are left alone.  So is the first
 * call of the init function, kmem_cache_create(): where sysfs_slab_add() fails in it,
 * Linux 6.1 loses the name of the cache's kobject, which kmemleak finds.  So this goes
 * backwards, from the last allocation of all to the first that is met of the second
 * call, LOWEST.  A load takes long, and most allocations are below a few calls of the
 * init function: of those below one call only each STEPth fails, unless -a asks for all.
 *
 * When a module could not be loaded its functions have no names any more: here it is
 * the log that tells where a fault was.
 */
#include "inject.h"
#include "sites.h"
#include <module.h>

#define STEP	6
#define LOWEST	"alloc_workqueue"
#define NEVER	1000000

static struct stacks stacks;
static unsigned int step = STEP, nr_init;
static unsigned int nr_cases, nr_bad;
static int fail_nth, kmsg, ko_fd;

static void result(const char *name, bool ok)
{
	printf("%sok %u %s\n", ok ? "" : "not ", ++nr_cases, name);
	nr_bad += !ok;
}

/* ---- the log -------------------------------------------------------------------- */

static void kmsg_init(void)
{
	/* The whole log is not of interest, nor the level at which the console tells it. */
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	lseek(kmsg, 0, SEEK_END);
}

/* Reads the log up to its end; the last stack after FAULT_INJECTION is the fault's. */
static void kmsg_read(struct fault *f)
{
	char record[2048];
	bool in_stack = false;
	ssize_t n;

	*f = (struct fault){};
	while ((n = read(kmsg, record, sizeof(record) - 1)) > 0 || errno == EPIPE) {
		char *line;

		if (n <= 0)
			continue;	/* some were overwritten */
		record[n] = 0;
		line = strchr(record, ';');
		if (!line++)
			continue;
		if (strstr(line, "FAULT_INJECTION: forcing")) {
			*f = (struct fault){};
			in_stack = true;
		} else if (strstr(line, "</TASK>")) {
			in_stack = false;
		} else if (in_stack && *line == ' ' && !strchr(line, '?')) {
			fault_frame(f, line + strspn(line, " "));
		}
	}
}

/* ---- a try ---------------------------------------------------------------------- */

static bool complain(unsigned int n, const char *what, int err)
{
	printf("# fault %u: %s (%d)\n", n, what, err);
	return false;
}

/* What a load that met its fault left.  That the next one works is seen by that. */
static bool settled(unsigned int n, int err)
{
	if (err && err != -ENOMEM && err != -EFAULT)
		return complain(n, "load: neither ENOMEM nor EFAULT", err);
	if (err)
		return anything_left() ? complain(n, "something is left", err) : true;
	if (access("/dev/goheap", R_OK | W_OK))
		return complain(n, "no device", errno);
	err = module_unload();
	return err ? complain(n, "unload", err) : true;
}

/* One load, and where its Nth allocation was, if it had so many. */
static bool try_load(unsigned int n, struct fault *f)
{
	bool fired;
	int err;

	inject_arm(fail_nth, n);
	err = module_load(ko_fd);
	fired = inject_disarm(fail_nth);
	kmsg_read(f);
	if (!fired)
		*f = (struct fault){};
	if (f->init)
		stacks_add(&stacks, f->stack);
	nr_init += f->init;
	if (!fired && err)
		return complain(n, "load without a fault", err);
	if (f->func[0])
		sites_failed(f->func, f->off);
	return settled(n, err);
}

/* How many allocations there are. */
static unsigned int count(void)
{
	char text[16] = "";
	unsigned int n;

	inject_arm(fail_nth, NEVER);
	if (module_load(ko_fd))
		return 0;
	n = pread(fail_nth, text, sizeof(text) - 1, 0) > 0 ? NEVER - atoi(text) : 0;
	inject_arm(fail_nth, 0);
	return module_unload() ? 0 : n;
}

static bool same_place(const struct fault *a, const struct fault *b)
{
	return a->off == b->off && !strcmp(a->func, b->func);
}

/* Those between two that are not below the same call. */
static bool between(unsigned int low, unsigned int high)
{
	struct fault f;

	while (++low < high)
		if (!try_load(low, &f))
			return false;
	return true;
}

/* The Nth, or the next one before it of which the log tells where it was. */
static bool try_known(unsigned int *n, struct fault *f)
{
	do {
		if (!try_load(*n, f))
			return false;
	} while (!f->stack && --*n);
	return true;
}

/* Beginning @skip before the last in the init function, down to LOWEST. */
static bool load_sweep(unsigned int skip)
{
	unsigned int n = count() + 3, first, from, was = sites_count(LOWEST);
	struct fault f, before;

	if (n <= 3 || n >= NEVER)
		return false;
	/* What comes after the init function, or after all. */
	do {
		if (!try_known(&n, &f))
			return false;
	} while (!f.init && --n);
	first = n;
	n -= skip;
	while (sites_count(LOWEST) == was && f.init && n > step) {
		before = f;
		from = n;
		n -= step;
		if (!try_known(&n, &f))
			return false;
		if (!same_place(&f, &before) && !between(n, from))
			return false;
	}
	printf("# sites: loading: %u of some %u allocations failed, at %u places\n", nr_init,
	       first - n, stacks.nr);
	return sites_count(LOWEST) > was;
}

static const struct never never[] = {
	{ "kmem_cache_create", 1, "not tried: a kernel would lose the cache's name" },
	{ NULL }
};

/* Others, where some call had none; it may be that the checks' own were in the way. */
static bool loading(void)
{
	for (unsigned int i = 0; i < STEP && sites_missed(never); i++)
		if (!load_sweep(i))
			return false;
	return true;
}

/* Unloading does not fail, whatever it meets. */
static bool unloading(void)
{
	unsigned int n = 0;
	bool fired, ok = true;
	int err;

	do {
		if (module_load(ko_fd))
			return complain(n, "load", 0);
		inject_arm(fail_nth, ++n);
		err = module_unload();
		fired = inject_disarm(fail_nth);
		if (err == -EFAULT || err == -ENOMEM)	/* of its name */
			err = module_unload();
		if (err || anything_left())
			ok = complain(n, "unload", err);
	} while (fired && ok);
	printf("# sites: unloading: %u faults\n", n - 1);
	return ok;
}

static const char *const callees[] = {
	"kmem_cache_create", "kmem_cache_create_usercopy", "__kmem_cache_create_args",
	"alloc_workqueue", "register_shrinker", "shrinker_alloc", "__list_lru_init",
	"debugfs_create_dir", "debugfs_create_file", "debugfs_create_file_full",
	"debugfs_create_file_unsafe", "misc_register", NULL
};

/* -a: all. */
int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "-a"))
		step = 1;
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("TAP version 13\n1..4\n");
	inject_init("2");
	sites_find(callees);
	kmsg_init();
	ko_fd = open(module_path(), O_RDONLY | O_CLOEXEC);
	fail_nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	result("the module can be unloaded", !module_unload() && !anything_left());
	result("loading", loading());
	result("unloading", unloading());
	result("every site in the init functions failed", !sites_report(never) && ko.nr > 6);
	inject_init("0");
	return module_load(ko_fd) || nr_bad;
}
