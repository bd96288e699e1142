/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* Who called: return addresses, the innermost first; stack.c. */
#ifndef GHU_STACK_H
#define GHU_STACK_H

#include <stddef.h>
#include <stdint.h>

/* No more frames than this are told. */
#define GHU_STACK_MAX	64u

/*
 * Functions through which a stack leaves the library lie in sections of their own, by
 * which their return addresses are known; those that run only where an option is on, apart.
 */
#define ghu_on_stack		__attribute__((section("ghu_on_stack")))
#define ghu_on_stack_rare	__attribute__((section("ghu_on_stack_rare")))

#pragma GCC visibility push(hidden)

/*
 * What the unwinder needs is loaded: it may call malloc(), and must not be called with a
 * lock held, nor before libc is ready.
 */
void ghu_stack_prepare(void);
/*
 * How many addresses there are, at most max.  frame: of the outermost function of the
 * library, where the processor's frame pointer and the return address were saved; or NULL.
 * Allocates nothing.  0: it is too early to know.
 */
unsigned int ghu_stack_walk(uintptr_t *pcs, unsigned int max, const uintptr_t *frame);
/* To stderr, a line each, with the file and the address in it, for addr2line. */
void ghu_stack_print(const uintptr_t *pcs, unsigned int n);

#pragma GCC visibility pop

#endif
