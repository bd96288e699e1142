/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * A ring of io_uring for commands to the device that nobody waits for.  One of a
 * process; the caller sees to it that one thread at a time is in here.
 */
#ifndef GHU_RING_H
#define GHU_RING_H

#include <stdbool.h>
#include <stdint.h>

/* Commands that can be on their way at a time, numbered from 0. */
#define GHU_RING_SLOTS	4u

/*
 * Hands in a command for one of the kernel's workers.  What the payload points to stays
 * where it is until the slot is finished.  False: nothing was handed in, and nothing
 * will be any more.
 */
bool ghu_ring_submit(int fd, unsigned int cmd, const uint64_t payload[2], unsigned int slot);
/* The slot of a command that was finished, whatever came of it; -1: there is none. */
int ghu_ring_finished(void);
/* In a forked child: the ring is the parent's. */
void ghu_ring_forget(void);

#endif
