/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The commands by io_uring, for benchmarks; as in bench.h, a failure is the end.
 */
#ifndef GOHEAP_BENCH_RING_H
#define GOHEAP_BENCH_RING_H

#include <liburing.h>
#include <stddef.h>
#include "device.h"

/* A command with the argument @arg, for io_uring_submit() to hand in. */
static inline void ring_add(struct io_uring *ring, int fd, unsigned int nr, const void *arg,
			    uint64_t data)
{
	const struct goheap_uring u = { .arg = (uintptr_t)arg };
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	if (!sqe)
		die("ring");
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = fd;
	sqe->cmd_op = nr;
	sqe->user_data = data;
	memcpy((char *)sqe + offsetof(struct io_uring_sqe, cmd), &u, sizeof(u));
}

/* Waits until one is complete, and returns which. */
static inline uint64_t ring_reap(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;
	uint64_t data;

	if (io_uring_wait_cqe(ring, &cqe) || cqe->res)
		die("command by ring");
	data = cqe->user_data;
	io_uring_cqe_seen(ring, cqe);
	return data;
}

#endif
