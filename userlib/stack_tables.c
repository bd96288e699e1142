// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Walking the stack by the tables that C++ exceptions need, which all programs have, with
 * the unwinder of libgcc.  That takes some two thousand instructions a frame, so what was
 * found last is remembered, with the places on the stack where the return addresses lay.
 *
 * If a function was called from the same place with the same stack pointer, its frame is
 * the same, and so is the place where its own return address lies.  So once a frame is met
 * that the last walk met too, and all places above still hold what they held, the rest of the
 * stack is that of the last walk.  (Not if a function above changed the size of its frame,
 * and the old value is left there by chance: then the rest is wrong.)  A loop pays the
 * unwinder once; in a large program most frames, those near main(), are known.
 *
 * libgcc_s is loaded when it is first needed, so that no program depends on it that is not
 * profiled; a static program has it linked, as glibc's backtrace() needs it, by which the
 * stack is walked where it cannot be had otherwise.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
#include <unwind.h>
#include "stack.h"
#include "sys.h"
#include "stack_tables.h"

#ifdef __GLIBC__
#include <execinfo.h>

#define FRAMES_MAX	(GHU_STACK_MAX + GHU_OWN_MAX)
#define MEMORIES	16u

typedef _Unwind_Reason_Code (*backtrace_fn)(_Unwind_Trace_Fn, void *);
typedef _Unwind_Word (*get_fn)(struct _Unwind_Context *);
typedef void *(*dlopen_fn)(const char *, int);

extern __typeof__(_Unwind_Backtrace) _Unwind_Backtrace __attribute__((weak));
extern __typeof__(_Unwind_GetIP) _Unwind_GetIP __attribute__((weak));
extern __typeof__(_Unwind_GetCFA) _Unwind_GetCFA __attribute__((weak));
extern __typeof__(dlsym) dlsym __attribute__((weak));

/* Return addresses, and where they lie. */
struct frames {
	unsigned int n;
	uintptr_t pcs[FRAMES_MAX];
	uintptr_t slots[FRAMES_MAX];
};

/* What a thread found last, unless another one came by here. */
struct memory {
	uint32_t busy;
	const void *thread;
	struct frames frames;
};

/* A walk that is under way; at: in what is remembered, if that is not NULL. */
struct walk {
	struct frames *frames;
	const struct frames *last;
	unsigned int at;
};

static ghu_table struct memory memories[MEMORIES];

static backtrace_fn unwind;
static get_fn get_pc, get_cfa;

/* ---- what is remembered ---- */

static struct memory *get_memory(void)
{
	const void *self = __builtin_thread_pointer();
	struct memory *m = &memories[((uintptr_t)self >> 8 ^ (uintptr_t)self >> 16) % MEMORIES];

	if (__atomic_exchange_n(&m->busy, 1, __ATOMIC_ACQUIRE))
		return NULL;
	if (m->thread != self)
		m->frames.n = 0;
	m->thread = self;
	return m;
}

static void put_memory(struct memory *m)
{
	__atomic_store_n(&m->busy, 0, __ATOMIC_RELEASE);
}

static bool holds(const struct frames *f, unsigned int from)
{
	uintptr_t sp = (uintptr_t)__builtin_frame_address(0);

	if (!ghu_is_stack(sp, f->slots[f->n - 1] + sizeof(uintptr_t)))
		return false;
	for (unsigned int i = from; i < f->n; i++)
		if (*(const uintptr_t *)f->slots[i] != f->pcs[i])
			return false;
	return true;
}

static void append(struct frames *f, const struct frames *last, unsigned int from)
{
	unsigned int n = last->n - from;

	if (n > FRAMES_MAX - f->n)
		n = FRAMES_MAX - f->n;
	memcpy(f->pcs + f->n, last->pcs + from, n * sizeof(f->pcs[0]));
	memcpy(f->slots + f->n, last->slots + from, n * sizeof(f->slots[0]));
	f->n += n;
}

/* Whether the rest of the walk, from a frame on, was appended.  Slots rise on both sides. */
static bool append_rest(struct walk *w, uintptr_t pc, uintptr_t slot)
{
	const struct frames *last = w->last;

	while (w->at < last->n && last->slots[w->at] < slot)
		w->at++;
	if (w->at == last->n || last->slots[w->at] != slot || last->pcs[w->at] != pc ||
	    !holds(last, w->at))
		return false;
	append(w->frames, last, w->at);
	return true;
}

/* Those of signals, and of some machines, lie elsewhere: then it is no good. */
static void remember(struct frames *last, const struct frames *f)
{
	last->n = 0;
	for (unsigned int i = 0; i < f->n; i++)
		if ((i && f->slots[i] <= f->slots[i - 1]) ||
		    *(const uintptr_t *)f->slots[i] != f->pcs[i])
			return;
	append(last, f, 0);
}

/* ---- walks ---- */

static _Unwind_Reason_Code visit(struct _Unwind_Context *context, void *arg)
{
	struct walk *w = arg;
	struct frames *f = w->frames;
	uintptr_t pc = get_pc(context);
	uintptr_t slot = get_cfa(context) - sizeof(pc);

	if (!pc || f->n == FRAMES_MAX || append_rest(w, pc, slot))
		return _URC_END_OF_STACK;
	f->pcs[f->n] = pc;
	f->slots[f->n++] = slot;
	return _URC_NO_REASON;
}

/* The first ones, to the outermost of the library's, are not the program's. */
static void drop_own(struct frames *f)
{
	unsigned int first = 0;

	for (unsigned int i = 0; i < f->n && i < GHU_OWN_MAX; i++)
		if (ghu_is_own(f->pcs[i]))
			first = i + 1;
	f->n -= first;
	memmove(f->pcs, f->pcs + first, f->n * sizeof(f->pcs[0]));
	memmove(f->slots, f->slots + first, f->n * sizeof(f->slots[0]));
}

static void walk(struct frames *f, struct frames *last, const uintptr_t *frame)
{
	struct walk w = { .frames = f, .last = last };

	f->n = 0;
	if (frame && append_rest(&w, frame[1], (uintptr_t)(frame + 1)))
		return;
	w.at = 0;
	unwind(visit, &w);
	drop_own(f);
	remember(last, f);
}

/* Without the memory, or with it. */
static unsigned int walk_remembered(struct frames *f, const uintptr_t *frame)
{
	struct memory *m = get_memory();
	struct frames none;

	none.n = 0;
	walk(f, m ? &m->frames : &none, frame);
	if (m)
		put_memory(m);
	return f->n;
}

static unsigned int walk_backtrace(struct frames *f)
{
	void *pcs[FRAMES_MAX];

	f->n = (unsigned int)backtrace(pcs, FRAMES_MAX);
	memcpy(f->pcs, pcs, f->n * sizeof(pcs[0]));
	memset(f->slots, 0, f->n * sizeof(f->slots[0]));
	drop_own(f);
	return f->n;
}

unsigned int ghu_unwind(uintptr_t *pcs, unsigned int max, const uintptr_t *frame)
{
	struct frames f;
	unsigned int n = unwind ? walk_remembered(&f, frame) : walk_backtrace(&f);

	if (n > max)
		n = max;
	memcpy(pcs, f.pcs, n * sizeof(pcs[0]));
	return n;
}

/* A linker warns of dlopen() in static programs, if it sees the name. */
static void *load_libgcc(void)
{
	dlopen_fn load = dlsym ? (dlopen_fn)dlsym(RTLD_DEFAULT, "dlopen") : NULL;

	return load ? load("libgcc_s.so.1", RTLD_NOW) : NULL;
}

static void find_unwinder(void)
{
	void *lib = _Unwind_Backtrace ? NULL : load_libgcc();

	get_pc = _Unwind_GetIP;
	get_cfa = _Unwind_GetCFA;
	if (lib) {
		get_pc = (get_fn)dlsym(lib, "_Unwind_GetIP");
		get_cfa = (get_fn)dlsym(lib, "_Unwind_GetCFA");
	}
	if (get_pc && get_cfa)
		unwind = lib ? (backtrace_fn)dlsym(lib, "_Unwind_Backtrace") : _Unwind_Backtrace;
}

void ghu_unwind_prepare(void)
{
	uintptr_t pc;

	if (!unwind)
		find_unwinder();
	/* What it does the first time is done now. */
	ghu_unwind(&pc, 1, NULL);
}

#else

unsigned int ghu_unwind(uintptr_t *pcs, unsigned int max, const uintptr_t *frame)
{
	return 0;
}

void ghu_unwind_prepare(void)
{
}

#endif
