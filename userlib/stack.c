// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Walking the stack, in one of two ways.
 *
 * Frame pointers are followed where programs have them: a few instructions a frame.  Most
 * of Debian is compiled without, and then the register holds anything.  So
 * what it leads to is believed only if each return address lies behind a call, all of them
 * in one file but for the last one, which is in libc, where programs and threads start.
 * No address is read before the system was asked whether it can be, once for each page.
 *
 * Everything else is for the unwinder (stack_tables.c), which knows all programs, and is slower.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include "stack.h"
#include "sys.h"
#include "stack_tables.h"

/* A frame is not larger, or it is not known to be one. */
#define FRAME_MAX	((uintptr_t)64 << 10)
/* Beyond that nobody looks: it may be another stack. */
#define STACK_MAX	((uintptr_t)1 << 20)
/* A call takes at most so many bytes. */
#define CALL_MAX	7

#pragma GCC visibility push(hidden)
extern const char own_start[] __asm__("__start_ghu_on_stack");
extern const char own_stop[] __asm__("__stop_ghu_on_stack");
extern const char rare_start[] __asm__("__start_ghu_on_stack_rare");
extern const char rare_stop[] __asm__("__stop_ghu_on_stack_rare");
#pragma GCC visibility pop

static bool prepared;

bool ghu_is_own(uintptr_t pc)
{
	return (pc > (uintptr_t)own_start && pc <= (uintptr_t)own_stop) ||
	       (pc > (uintptr_t)rare_start && pc <= (uintptr_t)rare_stop);
}

/* ---- what can be read ---- */

/* Of the stack of this thread; what lies between is readable. */
static __thread uintptr_t readable_from __attribute__((tls_model("initial-exec")));
static __thread uintptr_t readable_to __attribute__((tls_model("initial-exec")));

/* The system reads what it is told to block before it finds that it cannot do that. */
static bool can_read(uintptr_t addr)
{
	return ghu_syscall(SYS_rt_sigprocmask, ~0, (long)addr, 0, 8, 0, 0) != -EFAULT;
}

bool ghu_is_stack(uintptr_t sp, uintptr_t end)
{
	uintptr_t page = ghu_phys_page_size();

	if (end - sp > STACK_MAX)
		return false;
	if (sp < readable_from || sp >= readable_to) {
		readable_from = sp & ~(page - 1);
		readable_to = readable_from + page;
	}
	while (readable_to < end) {
		if (!can_read(readable_to))
			return false;
		readable_to += page;
	}
	return true;
}

/* ---- by frame pointers ---- */

#if defined(__x86_64__) && defined(DLFO_STRUCT_HAS_EH_DBASE)

/* Since glibc 2.35; without a lock. */
extern __typeof__(_dl_find_object) _dl_find_object __attribute__((weak));

/* The file in memory that holds the address, or NULL. */
static const void *file_of(uintptr_t addr)
{
	struct dl_find_object found;

	return _dl_find_object((void *)addr, &found) ? NULL : found.dlfo_map_start;
}

/* Whether a call ends there: with an address of 32 bits, or by a register or memory. */
static bool is_after_call(uintptr_t pc)
{
	const uint8_t *p = (const uint8_t *)pc;

	if (p[-5] == 0xe8)
		return true;
	for (int i = 2; i <= CALL_MAX; i++)
		if (p[-i] == 0xff && (p[-i + 1] & 0x38) == 0x10)
			return true;
	return false;
}

/*
 * How many, or 0: there are no frame pointers.  Of a file without, the caller would be
 * missing: so all frames are in one file, but for the last.
 */
static unsigned int walk_frames(uintptr_t *pcs, unsigned int max, const uintptr_t *frame)
{
	const void *libc = file_of((uintptr_t)&abort), *first = NULL, *file = NULL;
	uintptr_t sp = (uintptr_t)__builtin_frame_address(0), fp = (uintptr_t)frame, next;
	unsigned int n = 0;

	while (n < max && ghu_is_stack(sp, fp + 2 * sizeof(fp))) {
		uintptr_t pc = ((const uintptr_t *)fp)[1];

		if (file != first || ghu_is_own(pc))
			return 0;
		file = file_of(pc - CALL_MAX);
		if (!n)
			first = file;
		if (!file || first == libc || !is_after_call(pc))
			return 0;
		pcs[n++] = pc;
		next = *(const uintptr_t *)fp;
		if (next <= fp || next - fp > FRAME_MAX || next % sizeof(fp))
			break;
		fp = next;
	}
	return file == (n == max ? first : libc) ? n : 0;
}

static bool has_frames(void)
{
	return _dl_find_object;
}

/* The program's own file has no name there. */
static void print_pc(uintptr_t pc)
{
	struct dl_find_object found;
	const char *name = "program";

	if (!_dl_find_object || _dl_find_object((void *)pc, &found)) {
		ghu_print("    %p\n", (void *)pc);
		return;
	}
	if (found.dlfo_link_map->l_name && found.dlfo_link_map->l_name[0])
		name = found.dlfo_link_map->l_name;
	ghu_print("    %p (%s+%p)\n", (void *)pc, name, (void *)(pc - found.dlfo_link_map->l_addr));
}

#else

static unsigned int walk_frames(uintptr_t *pcs, unsigned int max, const uintptr_t *frame)
{
	return 0;
}

static bool has_frames(void)
{
	return false;
}

static void print_pc(uintptr_t pc)
{
	ghu_print("    %p\n", (void *)pc);
}

#endif

/* ---- either ---- */

void ghu_stack_prepare(void)
{
	ghu_unwind_prepare();
	__atomic_store_n(&prepared, true, __ATOMIC_RELEASE);
}

ghu_on_stack_rare unsigned int ghu_stack_walk(uintptr_t *pcs, unsigned int max, const uintptr_t *frame)
{
	unsigned int n = 0;

	if (max > GHU_STACK_MAX)
		max = GHU_STACK_MAX;
	if (!__atomic_load_n(&prepared, __ATOMIC_ACQUIRE))
		return 0;
	if (frame && has_frames())
		n = walk_frames(pcs, max, frame);
	return n ? n : ghu_unwind(pcs, max, frame);
}

void ghu_stack_print(const uintptr_t *pcs, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		print_pc(pcs[i]);
}
