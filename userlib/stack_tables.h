/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* Walking the stack by tables; stack_tables.c.  What it needs of stack.c is here too. */
#ifndef GHU_STACK_TABLES_H
#define GHU_STACK_TABLES_H

#include <stdbool.h>
#include <stdint.h>

/* Frames of the library and of the unwinder before the program's. */
#define GHU_OWN_MAX	12u

#pragma GCC visibility push(hidden)

/* As ghu_stack_prepare() and ghu_stack_walk(). */
void ghu_unwind_prepare(void);
unsigned int ghu_unwind(uintptr_t *pcs, unsigned int max, const uintptr_t *frame);

/* Whether a return address is in a function of the library's (ghu_on_stack). */
bool ghu_is_own(uintptr_t pc);
/* Whether the stack can be read from sp, where it is in use, to end, which is not far. */
bool ghu_is_stack(uintptr_t sp, uintptr_t end);

#pragma GCC visibility pop

#endif
