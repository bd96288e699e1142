// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * One of so many allocations gets pages of its own, between pages that trap: an access
 * beyond the object, or after it was freed, is a fault at once.  Few are, so that this can
 * be on where programs are in use; of many runs one will hit the bug, and says where it is.
 *
 * Such objects lie in a region of slots, each as large as a heap page and followed by as
 * much that is never accessible.  By turns an object lies at the end of its slot, where
 * overruns trap, and at the beginning, where underruns do; what is left of a page at the end, for
 * alignment, is filled, and compared when the object is freed.  When it is, the whole slot
 * traps; the slots that were freed longest ago are used again first, and a quarter of
 * them never are in use at once, so that a while passes before.
 *
 * The page map knows them as spans of one large object, of which nobody else knows: they are
 * not counted, and not walked over.  So they are found wherever objects are, at no cost
 * for others.  mcache_sample.c says when an allocation is one.
 *
 * The handler of SIGSEGV reports what is in the region, and leaves everything else, and
 * that too when it is reported, to the handler that was there before, or came after: each
 * guarded allocation looks whether it is still the first one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include "guarded.h"
#include "options.h"
#include "pagemap.h"
#include "persistentalloc.h"
#include "stack.h"

#define SLOTS		1024u
/* So many are not in use, whatever is asked for. */
#define SLOTS_IDLE	(SLOTS / 4)
#define STRIDE		(2 * GHU_PAGE_SIZE)
#define REGION_BYTES	(SLOTS * STRIDE + GHU_PAGE_SIZE)
#define ALIGN		16u
#define FILL		0xdb
#define FRAMES		32u

/* Who did something with an object, if depth is not 0. */
struct trace {
	uint32_t depth;
	int tid;
	uintptr_t pcs[FRAMES];
};

struct slot {
	struct ghu_mspan span;		/* with the state of its object behind it */
	uint8_t states[64];
	struct slot *next;		/* to be used after this one */
	struct trace alloc, free;
};

_Static_assert(offsetof(struct slot, states) == sizeof(struct ghu_mspan), "states follow");

struct ghu_lock ghu_guarded_lock;

/* All under the lock, but for region, which never changes once it is there. */
static uintptr_t region;		/* the first slot is behind a page that traps */
static struct slot *slots, *oldest, *newest;
static unsigned int nr_idle;
static bool at_end = true;		/* where the next object is put */
static bool failed;

static struct sigaction next_action;	/* who gets what is not for us */
static ghu_table struct sigaction first_action;	/* who would if this were not here */
static bool is_installed;
static bool reported;

/* The unwinder may allocate. */
static __thread bool busy __attribute__((tls_model("initial-exec")));

/* ---- slots ---- */

static uintptr_t start_of(const struct slot *sl)
{
	return region + GHU_PAGE_SIZE + (uintptr_t)(sl - slots) * STRIDE;
}

static void put_slot(struct slot *sl)
{
	sl->next = NULL;
	if (newest)
		newest->next = sl;
	else
		oldest = sl;
	newest = sl;
	nr_idle++;
}

static struct slot *get_slot(void)
{
	struct slot *sl = oldest;

	if (nr_idle <= SLOTS_IDLE)
		return NULL;
	oldest = sl->next;
	if (!oldest)
		newest = NULL;
	nr_idle--;
	return sl;
}

static bool make_region(void)
{
	long p;

	if (region || failed)
		return region;
	failed = true;
	p = ghu_mmap(0, REGION_BYTES + GHU_PAGE_SIZE, PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (ghu_is_err(p))
		return false;
	p = (long)(((uintptr_t)p + GHU_PAGE_SIZE - 1) & ~(GHU_PAGE_SIZE - 1));
	slots = ghu_sys_reserve(SLOTS * sizeof(slots[0]));
	if (!slots || ghu_pagemap_prepare((uintptr_t)p, REGION_BYTES >> GHU_PAGE_SHIFT))
		return false;
	for (unsigned int i = 0; i < SLOTS; i++)
		put_slot(&slots[i]);
	__atomic_fetch_add(&ghu_other_sys, REGION_BYTES + SLOTS * sizeof(slots[0]),
			   __ATOMIC_RELAXED);
	__atomic_store_n(&region, (uintptr_t)p, __ATOMIC_RELEASE);
	return true;
}

static void set_trace(struct trace *t, const uintptr_t *frame)
{
	t->depth = ghu_stack_walk(t->pcs, FRAMES, frame);
	t->tid = (int)ghu_syscall(SYS_gettid, 0, 0, 0, 0, 0, 0);
}

/* What is behind the object in its slot, less than ALIGN bytes if the object is at the end. */
static size_t slack_of(const struct slot *sl)
{
	size_t size = sl->span.elemsize;
	size_t slack = start_of(sl) + GHU_PAGE_SIZE - sl->span.base - size;

	return slack < ALIGN ? slack : ALIGN;
}

static bool is_overrun(const struct slot *sl)
{
	const uint8_t *end = (const uint8_t *)sl->span.base + sl->span.elemsize;
	size_t slack = slack_of(sl);

	for (size_t i = 0; i < slack; i++)
		if (end[i] != FILL)
			return true;
	return false;
}

static struct slot *take_slot(bool *end)
{
	struct slot *sl = NULL;

	ghu_lock(&ghu_guarded_lock);
	if (make_region())
		sl = get_slot();
	*end = at_end;
	at_end = !at_end;
	ghu_unlock(&ghu_guarded_lock);
	return sl;
}

static void give_back(struct slot *sl)
{
	ghu_lock(&ghu_guarded_lock);
	put_slot(sl);
	ghu_unlock(&ghu_guarded_lock);
}

static void init_slot(struct slot *sl, size_t size, bool end)
{
	uintptr_t base = start_of(sl);

	if (end)
		base += (GHU_PAGE_SIZE - size) & ~(uintptr_t)(ALIGN - 1);
	sl->span = (struct ghu_mspan){
		.base = base,
		.elemsize = (uint32_t)size,
		.nelems = 1,
		.where = GHU_SPAN_IS_LARGE,
		.npages = 1,
	};
	sl->free.depth = 0;
	memset((char *)base + size, FILL, slack_of(sl));
	__atomic_store_n(&sl->states[0], GHU_OBJ_LIVE, __ATOMIC_RELAXED);
	ghu_pagemap_set(start_of(sl), 1, &sl->span, 0);
}

static void look_at_handler(void);

static void *alloc_slot(size_t size, const uintptr_t *frame)
{
	bool end;
	struct slot *sl = take_slot(&end);

	if (!sl)
		return NULL;
	if (ghu_mprotect(start_of(sl), GHU_PAGE_SIZE, PROT_READ | PROT_WRITE)) {
		give_back(sl);
		return NULL;
	}
	init_slot(sl, size, end);
	set_trace(&sl->alloc, frame);
	look_at_handler();
	return (void *)sl->span.base;
}

ghu_on_stack_rare void *ghu_guarded_alloc(size_t size, const uintptr_t *frame)
{
	void *p;

	if (busy || !size || size > GHU_PAGE_SIZE)
		return NULL;
	busy = true;
	p = alloc_slot(size, frame);
	busy = false;
	return p;
}

/* ---- reports ---- */

static void print_trace(const char *what, const struct trace *t)
{
	if (!t->depth && !t->tid)
		return;
	ghu_print("  %s by thread %d:\n", what, t->tid);
	ghu_stack_print(t->pcs, t->depth);
}

static void print_slot(const struct slot *sl)
{
	ghu_print("  object of %u bytes at %p\n", sl->span.elemsize, (void *)sl->span.base);
	print_trace("allocated", &sl->alloc);
	if (ghu_state(&sl->states[0]) == GHU_OBJ_HELD)
		print_trace("freed", &sl->free);
}

static __attribute__((noreturn)) void die(const char *what, const struct slot *sl)
{
	struct trace now;

	busy = true;
	set_trace(&now, NULL);
	ghu_print("fatal error: %s: %p\n", what, (void *)sl->span.base);
	print_trace("found", &now);
	print_slot(sl);
	abort();
}

/* ---- free ---- */

/* Where there may be no more mappings it does not trap, but is empty.  Locked pages stay. */
static void trap(const struct slot *sl)
{
	if (ghu_madvise(start_of(sl), GHU_PAGE_SIZE, MADV_DONTNEED))
		memset((void *)start_of(sl), 0, GHU_PAGE_SIZE);
	ghu_mprotect(start_of(sl), GHU_PAGE_SIZE, PROT_NONE);
}

ghu_on_stack_rare void ghu_guarded_free(struct ghu_mspan *s)
{
	struct slot *sl = (struct slot *)s;
	uint8_t live = GHU_OBJ_LIVE;

	if (!__atomic_compare_exchange_n(&sl->states[0], &live, GHU_OBJ_HELD, false,
					 __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		die("free: double free", sl);
	if (is_overrun(sl))
		die("object was overrun", sl);
	if (!busy) {
		busy = true;
		set_trace(&sl->free, NULL);
		busy = false;
	}
	trap(sl);
	give_back(sl);
}

/* ---- faults ---- */

/* The slot that addr is in, or next to; NULL: it is not in the region. */
static struct slot *slot_at(uintptr_t addr)
{
	uintptr_t r = __atomic_load_n(&region, __ATOMIC_ACQUIRE);
	uintptr_t off = addr - r;
	size_t i = off / STRIDE;

	if (!r || off >= REGION_BYTES)
		return NULL;
	/* Half of a page that traps belongs to the slot before. */
	if (i && off % STRIDE < GHU_PAGE_SIZE / 2)
		i--;
	return &slots[i < SLOTS ? i : SLOTS - 1];
}

static const char *what_is(const struct slot *sl, uintptr_t addr)
{
	if (!sl->alloc.tid)
		return "access to no object";
	if (ghu_state(&sl->states[0]) == GHU_OBJ_HELD)
		return "access to a freed object";
	return addr < sl->span.base ? "access before the start of an object"
				    : "access behind the end of an object";
}

/* Frames from where the fault was on. */
static void trace_fault(struct trace *t, const ucontext_t *uc)
{
#if defined(__x86_64__)
	uintptr_t pc = (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
	uintptr_t pc = uc->uc_mcontext.pc;
#else
	uintptr_t pc = 0;
#endif
	uint32_t i = 0;

	set_trace(t, NULL);
	while (i < t->depth && t->pcs[i] != pc)
		i++;
	if (i < t->depth) {
		t->depth -= i;
		memmove(t->pcs, t->pcs + i, t->depth * sizeof(t->pcs[0]));
	}
}

static void report(const struct slot *sl, uintptr_t addr, const ucontext_t *uc)
{
	struct trace now;

	busy = true;
	trace_fault(&now, uc);
	ghu_print("fatal error: %s: %p\n", what_is(sl, addr), (void *)addr);
	print_trace("accessed", &now);
	print_slot(sl);
	busy = false;
}

/* Of a fault one that returns means: once more. */
static void act_by_default(int sig, const siginfo_t *info)
{
	signal(sig, SIG_DFL);
	/* It was sent, and would not come again. */
	if (info->si_code <= 0)
		raise(sig);
}

static void act(const struct sigaction *sa, int sig, siginfo_t *info, void *context)
{
	if (sa->sa_flags & SA_SIGINFO)
		sa->sa_sigaction(sig, info, context);
	else if (sa->sa_handler == SIG_IGN && info->si_code <= 0)
		return;
	else if (sa->sa_handler == SIG_DFL || sa->sa_handler == SIG_IGN)
		act_by_default(sig, info);
	else
		sa->sa_handler(sig);
}

/*
 * As if there were none but the next handler.  That may have found this one when it was
 * installed, and call it in turn: then whoever was before all is next.  It may jump out, too.
 */
static void pass_on(int sig, siginfo_t *info, void *context)
{
	static __thread const siginfo_t *passed __attribute__((tls_model("initial-exec")));
	static __thread uintptr_t passed_at __attribute__((tls_model("initial-exec")));
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	struct sigaction sa = next_action;

	if (passed == info && here < passed_at) {
		act(&first_action, sig, info, context);
		return;
	}
	if (sa.sa_flags & SA_RESETHAND)
		next_action = (struct sigaction){ .sa_handler = SIG_DFL };
	passed = info;
	passed_at = here;
	act(&sa, sig, info, context);
	passed = NULL;
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	uintptr_t addr = (uintptr_t)info->si_addr;
	const struct slot *sl = info->si_code > 0 ? slot_at(addr) : NULL;
	int saved = errno;

	if (sl && !__atomic_exchange_n(&reported, true, __ATOMIC_RELAXED))
		report(sl, addr, context);
	errno = saved;
	pass_on(sig, info, context);
}

static void look_at_handler(void)
{
	struct sigaction sa;

	if (sigaction(SIGSEGV, NULL, &sa) || sa.sa_sigaction == on_fault)
		return;
	ghu_lock(&ghu_guarded_lock);
	if (!is_installed) {
		first_action = sa;
		is_installed = true;
	}
	next_action = sa;
	sa.sa_sigaction = on_fault;
	sa.sa_flags |= SA_SIGINFO | SA_ONSTACK;
	sa.sa_flags &= ~(int)SA_RESETHAND;
	sigaction(SIGSEGV, &sa, NULL);
	ghu_unlock(&ghu_guarded_lock);
}

void ghu_guarded_begin(void)
{
	ghu_stack_prepare();
	look_at_handler();
}
