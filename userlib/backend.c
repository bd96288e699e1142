// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * What mcentral and large objects see of the page heap: one place to get spans
 * from and to give them back to.  Behind it are a cache of empty spans
 * (spancache.c) and the heaps (heaps.c).
 *
 * Every call begins with a look at the pressure generation.  When that has risen,
 * the cache is emptied into the heaps first, where its runs can be released.  It
 * is emptied, too, before a request is given up.
 *
 * A run that comes out of the cache keeps the flags and the tag that it was
 * fetched with; they matter to nobody but the kernel's statistics.
 */
#include <errno.h>
#include <linux/sysinfo.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include "backend.h"
#include "heap.h"
#include "init.h"
#include "options.h"
#include "persistentalloc.h"
#include "spancache.h"

/* Requests from here on are checked against what the machine has. */
#define HUGE_REQUEST	((size_t)1 << 30)

#define MESSAGE_PAUSE_NS	1000000000u

static size_t inuse_bytes;		/* of spans given out */
static uint64_t seen_pressure;		/* when the cache was emptied last */

static void flush_cache(void)
{
	struct ghu_run runs[GHU_SPANCACHE_BATCH];
	unsigned int nr;

	while ((nr = ghu_spancache_drain(runs)))
		ghu_heaps_free(runs, nr);
	while ((nr = ghu_ahead_drain(runs)))
		ghu_heaps_free(runs, nr);
}

uint64_t ghu_backend_pressure(void)
{
	ghu_init();
	return ghu_heaps_pressure();
}

/* The beginning of every call. */
static void enter(void)
{
	uint64_t now = ghu_backend_pressure();

	if (ghu_likely(now == __atomic_load_n(&seen_pressure, __ATOMIC_RELAXED)))
		return;
	if (__atomic_exchange_n(&seen_pressure, now, __ATOMIC_RELAXED) != now)
		flush_cache();
}

const char *ghu_backend_name(void)
{
	ghu_init();
	return ghu_heaps_device() ? "device" : "embedded";
}

static void account(size_t npages, int sign)
{
	size_t bytes = npages << GHU_PAGE_SHIFT;

	ghu_count(&inuse_bytes, sign < 0 ? -bytes : bytes);
}

/* Whether the system's rules forbid so much, as they would to mmap(). */
static bool overcommits(size_t bytes)
{
	struct sysinfo info;
	long p;

	if (ghu_syscall(SYS_sysinfo, (long)&info, 0, 0, 0, 0, 0) ||
	    bytes / info.mem_unit < info.totalram + info.totalswap)
		return false;
	p = ghu_mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ghu_is_err(p))
		return true;
	ghu_munmap((uintptr_t)p, bytes);
	return false;
}

static bool impossible(const struct ghu_request *req)
{
	if (req->npages >= GHU_ARENA_MAX >> GHU_PAGE_SHIFT || req->align >= GHU_ARENA_MAX)
		return true;
	return req->npages >= HUGE_REQUEST >> GHU_PAGE_SHIFT &&
	       overcommits(req->npages << GHU_PAGE_SHIFT);
}

/* One line for a request that failed; one a second, for programs that go on trying. */
static ghu_noinline int out_of_memory(size_t npages)
{
	static uint64_t quiet_until_ns;
	uint64_t now = ghu_now_ns();
	uint64_t until = __atomic_load_n(&quiet_until_ns, __ATOMIC_RELAXED);

	if (now >= until && __atomic_compare_exchange_n(&quiet_until_ns, &until,
							now + MESSAGE_PAUSE_NS, false,
							__ATOMIC_RELAXED, __ATOMIC_RELAXED))
		ghu_print("runtime: out of memory: cannot allocate %zu-byte block (%zu in use)\n",
			  npages << GHU_PAGE_SHIFT,
			  __atomic_load_n(&inuse_bytes, __ATOMIC_RELAXED));
	return -ENOMEM;
}

/* A run that the cache may have; if it has not, more are fetched than one. */
static int alloc_short(const struct ghu_request *req, struct ghu_run *run)
{
	struct ghu_run runs[GHU_SPANCACHE_BATCH];
	unsigned int kept;
	int nr;

	if (ghu_spancache_get(req->npages, run))
		return 0;
	nr = ghu_heaps_alloc(req, runs, ghu_spancache_want(req->npages));
	if (nr < 0)
		return nr;
	*run = runs[0];
	kept = 1 + ghu_spancache_add(runs + 1, (unsigned int)nr - 1);
	ghu_heaps_free(runs + kept, (unsigned int)nr - kept);
	return 0;
}

static int alloc_run(const struct ghu_request *req, struct ghu_run *run)
{
	int nr;

	if (ghu_spancache_keeps(req->npages, req->align))
		return alloc_short(req, run);
	if (impossible(req))
		return -ENOMEM;
	nr = ghu_heaps_alloc(req, run, 1);
	return nr < 0 ? nr : 0;
}

int ghu_span_alloc(size_t npages, size_t align, unsigned int flags, uint8_t tag,
		   struct ghu_run *run)
{
	struct ghu_request req = { .npages = npages, .align = align, .flags = flags, .tag = tag };

	enter();
	if (alloc_run(&req, run)) {
		flush_cache();
		if (alloc_run(&req, run))
			return out_of_memory(npages);
	}
	account(npages, 1);
	return 0;
}

/* An arena that will be adopted must not have runs in the cache: see disown_heaps(). */
static bool cacheable(uintptr_t addr, size_t npages)
{
	return ghu_spancache_keeps(npages, 0) && !ghu_heaps_inherited(addr);
}

void ghu_span_free(uintptr_t addr, size_t npages)
{
	struct ghu_run out[GHU_SPANCACHE_BATCH];
	unsigned int nr = 1;

	enter();
	account(npages, -1);
	out[0] = (struct ghu_run){ .addr = addr, .npages = npages };
	if (cacheable(addr, npages))
		nr = ghu_spancache_put(addr, npages, out);
	ghu_heaps_free(out, nr);
}

int ghu_span_resize(uintptr_t addr, size_t old_npages, size_t npages, bool *needzero)
{
	int ret;

	enter();
	ret = ghu_heaps_resize(addr, old_npages, npages, needzero);
	if (!ret)
		account(npages - old_npages, 1);
	return ret;
}

size_t ghu_backend_scavenge(size_t max_bytes)
{
	size_t released;

	enter();
	flush_cache();
	released = ghu_heaps_scavenge(max_bytes);
	if (ghu_options.gctrace && released)
		ghu_print("scvg-1: %zu MB released\n", released >> 20);
	return released;
}

void ghu_backend_age(void)
{
	enter();
	ghu_heaps_age();
}

size_t ghu_backend_stats(struct ghu_heap_stats *st)
{
	ghu_backend_pressure();
	ghu_heaps_stats(st);
	return ghu_spancache_bytes();
}

void ghu_backend_fork_prepare(void)
{
	ghu_spancache_lock_all();
	ghu_heaps_fork_prepare();
	ghu_persistentalloc_fork_prepare();
}

static void fork_done(bool is_child)
{
	ghu_persistentalloc_fork_done();
	ghu_heaps_fork_done(is_child);
	ghu_spancache_unlock_all();
}

void ghu_backend_fork_parent(void)
{
	fork_done(false);
}

/* The child is the thread that took the locks.  If its heaps are not its own, that is found now. */
void ghu_backend_fork_child(void)
{
	fork_done(true);
	ghu_heaps_pressure();
}
