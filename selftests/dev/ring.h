/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The commands by io_uring: requests, and their results.  Needs liburing; whoever
 * includes this looks whether it is there.
 */
#ifndef GOHEAP_TEST_RING_H
#define GOHEAP_TEST_RING_H

#include "dev.h"
#include <liburing.h>
#include <stddef.h>

static inline void prep_payload(struct io_uring_sqe *sqe, int fd, unsigned int nr,
				const struct goheap_uring *u, uint64_t data)
{
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = fd;
	sqe->cmd_op = nr;
	sqe->user_data = data;
	memcpy((char *)sqe + offsetof(struct io_uring_sqe, cmd), u, sizeof(*u));
}

/* Adds a request, which io_uring_submit() then hands in. */
static inline struct io_uring_sqe *add(struct io_uring *ring, int fd, unsigned int nr,
				       const void *arg, uint64_t data)
{
	struct goheap_uring u = { .arg = (uintptr_t)arg };
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	if (sqe)
		prep_payload(sqe, fd, nr, &u, data);
	return sqe;
}

/* The result of one request, and which it was; a positive one must not be. */
static inline int ring_result(struct io_uring *ring, uint64_t *data)
{
	/* A debug kernel on a busy machine may take long to get round to a worker. */
	struct __kernel_timespec limit = { .tv_sec = 60 };
	struct io_uring_cqe *cqe;
	int res;

	do {
		res = io_uring_wait_cqe_timeout(ring, &cqe, &limit);
	} while (res == -EINTR);
	if (res)
		return 1000;		/* lost */
	res = cqe->res;
	if (data)
		*data = cqe->user_data;
	io_uring_cqe_seen(ring, cqe);
	return res;
}

/* A request like cmd(). */
static inline int ring_cmd(struct io_uring *ring, int fd, unsigned int nr, const void *arg)
{
	/* Of a polled ring also what was taken, but not yet ticked off, is counted. */
	if (!add(ring, fd, nr, arg, 0) || io_uring_submit(ring) < 1)
		return 1001;
	return ring_result(ring, NULL);
}

static inline struct goheap_span_vec vec_of(struct goheap_span *s, unsigned int nr)
{
	return (struct goheap_span_vec){
		.size = sizeof(struct goheap_span_vec), .spans = (uintptr_t)s, .nr = nr,
	};
}

#endif
