// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The ring is made when it is first needed, by liburing, of which nothing is used that
 * allocates.  It is given up for good when the kernel refuses one, or a submission:
 * because a filter forbids it, or because the program closed the descriptor, or put a
 * file of its own on its number.  The descriptor is kept high, as the device's is, and
 * is never closed, since by then it may be another's.
 *
 * To give it up loses nothing.  What is finished is read from memory, which is mapped
 * for good and keeps the ring alive without a descriptor, so what was on its way still
 * arrives.  That a submission was taken is read there, too, and not believed otherwise:
 * another ring may have answered at our number.
 *
 * A forked child has no part of it: the mapping stays behind, and the child may make a
 * ring of its own.
 */
#include "ring.h"

#ifdef GHU_LIBURING

#include <liburing.h>
#include <stddef.h>
#include <string.h>
#include "heap.h"

static ghu_table struct io_uring ring;
static enum { RING_NONE, RING_READY, RING_GONE } state;

static bool start(void)
{
	int fd;

	if (io_uring_queue_init(GHU_RING_SLOTS, &ring, 0))
		return false;
	fd = ghu_move_fd_high(ring.ring_fd);
	ring.ring_fd = fd;
	ring.enter_ring_fd = fd;
	if (fd >= 0 && !io_uring_ring_dontfork(&ring))
		return true;
	io_uring_queue_exit(&ring);
	memset(&ring, 0, sizeof(ring));
	return false;
}

static bool submit(int fd, unsigned int cmd, const uint64_t payload[2], unsigned int slot)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	if (!sqe)
		return false;
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = fd;
	sqe->flags = IOSQE_ASYNC;
	sqe->cmd_op = cmd;
	sqe->user_data = slot;
	memcpy((char *)sqe + offsetof(struct io_uring_sqe, cmd), payload, 2 * sizeof(payload[0]));
	io_uring_submit(&ring);
	return !io_uring_sq_ready(&ring);
}

bool ghu_ring_submit(int fd, unsigned int cmd, const uint64_t payload[2], unsigned int slot)
{
	if (state == RING_NONE)
		state = start() ? RING_READY : RING_GONE;
	if (state == RING_READY && !submit(fd, cmd, payload, slot))
		state = RING_GONE;
	return state == RING_READY;
}

int ghu_ring_finished(void)
{
	struct io_uring_cqe *cqe;
	unsigned int head;
	int slot = -1;

	if (!ring.cq.khead)
		return -1;
	io_uring_for_each_cqe(&ring, head, cqe) {
		slot = (int)cqe->user_data;
		break;
	}
	if (slot >= 0)
		io_uring_cq_advance(&ring, 1);
	return slot;
}

void ghu_ring_forget(void)
{
	memset(&ring, 0, sizeof(ring));
	state = RING_NONE;
}

#else

bool ghu_ring_submit(int fd, unsigned int cmd, const uint64_t payload[2], unsigned int slot)
{
	(void)fd, (void)cmd, (void)payload, (void)slot;
	return false;
}

int ghu_ring_finished(void)
{
	return -1;
}

void ghu_ring_forget(void)
{
}

#endif
