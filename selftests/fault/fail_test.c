// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Every allocation and user copy that a call into the module makes fails once, in
 * turn, in the module and in what is around it: opening, mapping, every command, by
 * ioctl and by io_uring, poll, sysfs, debugfs, fork, what can be done to the mapping,
 * and closing.  A call that met its fault answers ENOMEM or EFAULT, or works all the
 * same; the heap is as it was, or what was done of it is told; the call then works;
 * and in the end nothing is lost.
 *
 * For each call a struct call: setup() makes what it needs, run() is the call, with
 * the fault, settle() looks at what a failed one left and undoes it, so that run() can
 * be had again, without fault, and undo() takes back what run() and setup() did.
 *
 * One heap, with filled spans, lives through all of it.  fail_load_test.c does the same
 * to loading.
 */
#include "fail_calls.h"
#include "sites.h"
#include <dirent.h>

#define MAX_N	4000

/* ---- sysfs and debugfs ---------------------------------------------------------- */

static char path[300];
static const char *text;
static char contents[8192];

static int read_run(void)
{
	int f = open(path, O_RDONLY | O_CLOEXEC), err = 0;
	ssize_t n;

	if (f < 0)
		return -errno;
	while ((n = read(f, contents, sizeof(contents))) > 0)
		;
	if (n < 0)
		err = -errno;
	close(f);
	return err;
}

static int store_run(void)
{
	return file_write(path, text);
}

static const struct call call_read = { NULL, nothing, read_run, same, nothing };
static const struct call call_store = { NULL, nothing, store_run, same, nothing };

/* ---- a call --------------------------------------------------------------------- */

static struct stacks all_stacks;
static unsigned int nr_faults, nr_poll_faults, nr_cases, nr_bad;
static int fail_nth;
static const char *only = "";

static void account(struct stacks *mine)
{
	struct fault f;

	trace_read(&f);
	stacks_add(mine, f.stack);
	stacks_add(&all_stacks, f.stack);
	if (f.func[0])
		sites_failed(f.func, f.off);
	/* By way of a pointer, in poll_wait(). */
	nr_poll_faults += !strcmp(f.func, "goheap_poll");
	if (verbose)
		printf("# fault %u: %s+0x%x\n", now_n, f.func, f.off);
	nr_faults++;
}

/* False: it came through without having met its fault. */
static bool try_one(const struct call *c, struct stacks *mine)
{
	bool fired;
	int err;

	c->setup();
	heap_note();
	inject_arm(fail_nth, now_n);
	err = c->run();
	fired = inject_disarm(fail_nth);
	if (fired) {
		account(mine);
		heap_same();
		must(!err || err == -ENOMEM || err == -EFAULT || err == c->also, __LINE__,
		     "neither ENOMEM nor EFAULT", err);
		if (err) {
			c->settle(err);
			MUST_BE(0, c->run());
		}
	} else {
		MUST_BE(0, err);
	}
	c->undo();
	heap_same();
	return fired;
}

/* Returns how many complaints there were. */
static unsigned int try_all(const struct call *c)
{
	unsigned int nr = nr_faults, step = c->step ?: 1;
	static struct stacks mine;

	now = c;
	mine.nr = 0;
	complaints = 0;
	for (now_n = 1; now_n < MAX_N && complaints < 20 && try_one(c, &mine);
	     now_n += step)
		;
	MUST(now_n < MAX_N);
	printf("# sites: %s: %u faults, at %u places\n", c->name, nr_faults - nr, mine.nr);
	return complaints;
}

static void result(const char *name, bool ok)
{
	printf("%sok %u %s\n", ok ? "" : "not ", ++nr_cases, name);
	nr_bad += !ok;
}

/* ---- all files ------------------------------------------------------------------ */

/* Each file in a folder that can be read. */
static unsigned int try_reading(const char *dir, unsigned int *nr)
{
	struct call c = call_read;
	unsigned int bad = 0;
	struct dirent *e;
	struct stat st;
	DIR *d = opendir(dir);

	while (d && (e = readdir(d))) {
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (stat(path, &st) || !S_ISREG(st.st_mode) || !(st.st_mode & 0400))
			continue;
		c.name = path;
		bad += try_all(&c);
		(*nr)++;
	}
	if (d)
		closedir(d);
	return bad;
}

static bool reading(void)
{
	unsigned int nr = 0, bad;

	bad = try_reading(SYSFS, &nr) + try_reading(heap.dir, &nr) + try_reading(PARAMS, &nr) +
	      try_reading(DEBUGFS "/goheap", &nr);
	return !bad && nr > 40;
}

static unsigned int try_storing(const char *dir, const char *name, const char *what)
{
	struct call c = call_store;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	text = what;
	c.name = path;
	return try_all(&c);
}

static bool storing(void)
{
	static const char *const params[] = {
		"scavenge_limit_ms", "scavenge_cpu_percent", "gctrace", "max_arena",
		"max_heaps_per_user", "max_spans", "khugepaged",
	};
	unsigned int bad;

	bad = try_storing(SYSFS, "scavenge", "all");
	bad += try_storing(heap.dir, "scavenge", "all");
	bad += try_storing(heap.dir, "limit_hard", "60000000");
	bad += try_storing(heap.dir, "limit_soft", "50000000");
	bad += try_storing(heap.dir, "limit_soft", "max");
	bad += try_storing(heap.dir, "limit_hard", "max");
	for (int i = 0; i < 7; i++) {
		char was[64];

		snprintf(path, sizeof(path), PARAMS "/%s", params[i]);
		strcpy(was, file_read(path));
		bad += try_storing(PARAMS, params[i], was);
	}
	return !bad;
}

/* ---- io_uring ------------------------------------------------------------------- */

#if __has_include(<liburing.h>)
#include "fail_uring.h"
#else
static void uring_cases(void)
{
	printf("ok %u io_uring # SKIP built without liburing (package liburing-dev)\n",
	       ++nr_cases);
}
#define NR_URING_CASES	((size_t)1)
#define NEVER_URING	{ "__get_user_4", 1, "by io_uring only, which this was built without" },
#endif

/* ---- what cannot be injected ---------------------------------------------------- */

/* The argument is written to before the command is carried out: it cannot be. */
static bool unwritable(void)
{
	struct goheap_span_vec *v = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct goheap_span s = { .npages = 1 };

	heap_note();
	*v = (struct goheap_span_vec){ .size = sizeof(*v), .spans = (uintptr_t)&s, .nr = 1 };
	mprotect(v, 4096, PROT_READ);
	if (!MUST_BE(-EFAULT, cmd(heap.fd, GOHEAP_SPAN_ALLOC, v)) || !MUST_BE(0, s.addr))
		return false;
	munmap(v, 4096);
	heap_same();
	sites_failed_all("__put_user_4");
	return true;
}

/* A longer struct, the rest of which is not there. */
static bool unreadable(void)
{
	char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct goheap_span_vec *v = (void *)(p + 4096 - sizeof(*v));
	struct goheap_span s = { .npages = 1 };

	heap_note();
	munmap(p + 4096, 4096);
	*v = (struct goheap_span_vec){ .size = sizeof(*v) + 64, .spans = (uintptr_t)&s,
				       .nr = 1 };
	if (!MUST_BE(-EFAULT, cmd(heap.fd, GOHEAP_SPAN_ALLOC, v)) || !MUST_BE(0, s.addr))
		return false;
	munmap(p, 4096);
	heap_same();
	sites_failed_all("check_zeroed_user");
	return true;
}

static bool bad_memory(void)
{
	static const struct call c = { .name = "memory that is not there" };

	now = &c;
	complaints = 0;
	return unwritable() && unreadable() && !complaints;
}

/* ---- what is left in the end ---------------------------------------------------- */

/* Objects in a cache, those apart that KASAN keeps for a while. */
static long long slab_objects(const char *cache)
{
	char file[128];

	snprintf(file, sizeof(file), "/sys/kernel/slab/%s/shrink", cache);
	file_write(file, "1");
	snprintf(file, sizeof(file), "/sys/kernel/slab/%s/objects", cache);
	return file_number(file);
}

/* What a heap is made of. */
static const char *const slabs[] = {
	"goheap", "shmem_inode_cache", "mm_struct", "pid", "inode_cache", "filp", "kernfs_node_cache",
	"radix_tree_node", "kmalloc-cg-192", "kmalloc-cg-1k", "kmalloc-cg-2k",
	"kmalloc-cg-4k", "kmalloc-192", "vm_area_struct", "eventpoll_pwq", "eventpoll_epi",
};
#define NR_SLABS	(sizeof(slabs) / sizeof(slabs[0]))

/*
 * The module's own are as many as before, and those of tmpfs, which are in a list and so
 * not lost to kmemleak.  The others are the whole system's, and go by RCU and workers: a
 * few more or less; whether one of ours was lost, kmemleak says.
 */
#define NR_EXACT	2
#define SLACK		24

static long long slab_before[NR_SLABS], refs_before;

/* More than once: what was used since the last time is passed over. */
static void drop_caches(void)
{
	for (int i = 0; i < 3; i++)
		file_write("/proc/sys/vm/drop_caches", "2");
}

static void count_before(void)
{
	refs_before = file_number(REFCNT);
	drop_caches();
	for (int i = 0; i < NR_SLABS; i++)
		slab_before[i] = slab_objects(slabs[i]);
}

static bool nothing_left(void)
{
	bool ok = true;

	drop_caches();
	sleep_ms(500);
	for (int i = 0; i < NR_SLABS; i++) {
		long long n = slab_objects(slabs[i]);

		printf("# slab %s: %lld objects before, %lld after\n", slabs[i],
		       slab_before[i], n);
		ok &= n == slab_before[i] ||
		      (i >= NR_EXACT && n <= slab_before[i] + SLACK);
	}
	printf("# module: refcnt %lld before, %lld after; heaps %lld, meta_bytes %lld\n",
	       refs_before, file_number(REFCNT), nr_heaps(), file_number(SYSFS "/meta_bytes"));
	return ok && file_number(REFCNT) == refs_before && !nr_heaps() &&
	       !file_number(SYSFS "/meta_bytes");
}

/*
 * Memory that nothing points to is found when the VM ends, unless kmemleak gave up,
 * which it does when it cannot get its own memory.
 */
static bool leaks_are_found(void)
{
	return !file_write(DEBUGFS "/kmemleak", "scan=off");
}

/* ---- the run -------------------------------------------------------------------- */

static const char *const callees[] = {
	"kmalloc_trace", "kmalloc_node_trace", "__kmalloc", "__kmalloc_node",
	"__kmalloc_cache_noprof", "__kmalloc_noprof", "kmem_cache_alloc", "kmem_cache_alloc_lru",
	"kmem_cache_alloc_noprof", "kmem_cache_alloc_lru_noprof", "kvmalloc_node",
	"__kvmalloc_node_noprof", "get_zeroed_page", "get_zeroed_page_noprof", "__get_free_pages",
	"alloc_pages", "vmalloc", "vzalloc", "kmemdup", "kstrdup", "kasprintf", "memdup_user",
	"alloc_anon_inode", "shmem_file_setup", "fixup_user_fault", "init_pseudo",
	"simple_pin_fs", "kobject_add", "xa_store",
	"__xa_alloc", "__xa_alloc_cyclic", "seq_open", "seq_open_private", "single_open",
	"unmap_mapping_range", "_copy_from_user", "_copy_to_user", "strncpy_from_user",
	"check_zeroed_user", "__put_user_1", "__put_user_2", "__put_user_4", "__put_user_8",
	"__get_user_1", "__get_user_2", "__get_user_4", "__get_user_8", NULL
};

static const struct never never[] = {
	{ "xa_store", 2, "they store over an entry that is there" },
	{ "simple_pin_fs", 1, "a heap's, after the open of its file has pinned it" },
	NEVER_URING
	{ NULL }
};

static bool any_missed(void)
{
	return sites_missed(never) || !nr_poll_faults;
}

/* Of all that has sites of its own, until none is missed. */
static unsigned int another_round(void)
{
	unsigned int bad = 0, nr = 0;

	if (any_missed())
		bad += try_reading(DEBUGFS "/goheap", &nr);
	for (unsigned int i = 0; i < NR_CALLS && any_missed(); i++)
		if (!calls[i].step)
			bad += try_all(&calls[i]);
	return bad;
}

/*
 * A cache that needs a new page makes one allocation more, so that the Nth is another
 * when it is its turn.  What was passed over so is tried again.
 */
static bool all_sites(void)
{
	unsigned int bad = 0, missed;

	printf("# sites: %u left for another round\n", sites_missed(never));
	for (int i = 0; i < 3; i++)
		bad += another_round();
	missed = sites_report(never);
	printf("# sites: goheap_poll, beside them, failed %u times\n", nr_poll_faults);
	printf("# sites: in all, %u faults at %u places in the kernel, the module among it\n",
	       nr_faults, all_stacks.nr);
	return !bad && !missed && ko.nr > 20 && nr_poll_faults;
}

/*
 * The kernel writes to the C library's rseq area now and then.  After a fork() that
 * needs a page, and when the fault is just that, it kills us.
 */
static void without_rseq(char **argv)
{
	if (getenv("GLIBC_TUNABLES"))
		return;
	setenv("GLIBC_TUNABLES", "glibc.pthread.rseq=0", 1);
	execv("/proc/self/exe", argv);
}

/* -v: tell each fault.  NAME: only the calls that have it in their name. */
int main(int argc, char **argv)
{
	without_rseq(argv);
	verbose = argc > 1 && !strcmp(argv[1], "-v");
	if (argc > 1 + verbose)
		only = argv[1 + verbose];
	setvbuf(stdout, NULL, _IOLBF, 0);
	now = &calls[0];
	inject_init("0");
	trace_init();
	sites_find(callees);
	count_before();
	mlockall(MCL_CURRENT);
	fail_nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	printf("TAP version 13\n1..%zu\n", NR_CALLS + NR_URING_CASES + 7);
	/* Before there is a heap, and with it the file system. */
	result("the first open", !try_all(&calls[0]) && !try_all(&calls[0]));
	heap_begin();
	for (unsigned int i = 0; i < NR_CALLS; i++)
		if (strstr(calls[i].name, only))
			result(calls[i].name, !try_all(&calls[i]));
	if (*only) {
		uring_cases();
		return nr_bad > 0;
	}
	result("reading of sysfs and debugfs", reading());
	result("writing to sysfs", storing());
	uring_cases();
	result("memory that is not there", bad_memory());
	result("every site in the module failed", all_sites());
	heap_end();
	close(fail_nth);
	trace_exit();
	result("nothing is left", nothing_left());
	result("kmemleak is still on", leaks_are_found());
	return nr_bad > 0;
}
