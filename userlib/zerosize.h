/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* Pages for objects of size 0, which have an address each and no memory. */
#ifndef GHU_ZEROSIZE_H
#define GHU_ZEROSIZE_H

#include <stdint.h>
#include "sys.h"

#pragma GCC visibility push(hidden)

/* Addresses of a heap page that cannot be read or written; 0: there are none. */
uintptr_t ghu_zerosize_alloc(void);
/* That page again. */
void ghu_zerosize_free(uintptr_t addr);

/* Held around fork(). */
extern struct ghu_lock ghu_zerosize_lock;

#pragma GCC visibility pop

#endif
