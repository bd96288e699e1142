// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Who freed an object has no business with its span any more: its owner, or who frees the last
 * object, may make another span of it at once.  The processor stops after each
 * instruction of free(), and from the one on that makes the object FREE nobody can read
 * the record and the state bytes.
 */
#define _GNU_SOURCE
#include <goheap.h>
#include <ucontext.h>
#include "../../userlib/mcache.h"
#include "../../userlib/mcentral.h"
#include "../../userlib/recent.h"

#define SPANS	1u
#include "front_spans.h"

#ifdef __x86_64__

#define TRAP_FLAG	0x100ull

static const uint8_t *freed_state;
static bool is_hidden;

static int protect_record(int prot)
{
	uintptr_t page = (uintptr_t)freed_state & ~(uintptr_t)4095;

	return mprotect((void *)page, 4096, prot);
}

static void on_step(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)sig;
	(void)info;
	if (ghu_state(freed_state) != GHU_OBJ_FREE)
		return;
	is_hidden = !protect_record(PROT_NONE);
	uc->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
}

/* Whoever looks all the same is killed. */
static int free_in_steps(void *p)
{
	struct sigaction step = { .sa_sigaction = on_step, .sa_flags = SA_SIGINFO };

	freed_state = state_of(p);
	T(!sigaction(SIGTRAP, &step, NULL));
	__builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() | TRAP_FLAG);
	vfree(p);
	__builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() & ~TRAP_FLAG);
	T(is_hidden);
	T(!protect_record(PROT_READ | PROT_WRITE));
	T_EQ(ghu_state(freed_state), GHU_OBJ_FREE);
	return T_PASS;
}

#else

static int free_in_steps(void *p)
{
	(void)p;
	return T_SKIP;
}

#endif

/* What is freed is not kept. */
static void fill(void)
{
	goheap_flush();
	fill_spans(NULL);
	ghu_recent_drop(ghu_mcache, CLASS);
}

static char *find_watched(void)
{
	for (unsigned int i = 0; i < N; i++)
		if (ghu_state(state_of(objects[i])) == GHU_OBJ_WATCH)
			return objects[i];
	return NULL;
}

/* One that was let go of, and is this thread's again, all in use. */
static int fill_watched(void)
{
	char *p;

	fill();
	goheap_flush();
	p = objects[find_watched() == objects[0]];
	vfree(p);
	T(vmalloc(SIZE) == p);
	ghu_recent_drop(ghu_mcache, CLASS);
	T_EQ(ghu_mspan_where(span_of(p)), GHU_SPAN_IS_OWNED);
	T(find_watched());
	return T_PASS;
}

static int test_owned(void)
{
	fill();
	return free_in_steps(objects[3]);
}

static int test_watch_goes_on(void)
{
	T_SUB(fill_watched());
	return free_in_steps(find_watched());
}

static int test_last_of_owned(void)
{
	char *watched;

	T_SUB(fill_watched());
	watched = find_watched();
	for (unsigned int i = 0; i < N; i++)
		if (objects[i] != watched)
			vfree(objects[i]);
	T_EQ(ghu_state(state_of(watched)), GHU_OBJ_WATCH);
	return free_in_steps(watched);
}

static int test_of_nobody(void)
{
	T_SUB(make_shared());
	return free_in_steps(objects[find_watched() == objects[0]]);
}

static int test_watch_of_nobody_goes_on(void)
{
	T_SUB(make_shared());
	return free_in_steps(find_watched());
}

static const struct t_case cases[] = {
	{ "of a span that a thread owns", test_owned },
	{ "of such a span, on watch", test_watch_goes_on },
	{ "of such a span, the last one", test_last_of_owned },
	{ "of a span that nobody owns", test_of_nobody },
	{ "of a span that nobody owns, on watch", test_watch_of_nobody_goes_on },
};

int main(int argc, char **argv)
{
	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
