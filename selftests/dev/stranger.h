/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * A heap's descriptor in the hands of another process: how it comes there, and
 * what it may do with it, which is nothing.
 */
#ifndef GOHEAP_TEST_STRANGER_H
#define GOHEAP_TEST_STRANGER_H

#include "dev.h"
#include <sys/socket.h>

/* Runs each command on a heap that is another's; 0, or which one was answered. */
static inline int all_stale(int fd)
{
	struct goheap_info i;
	struct goheap_scavenge sc;
	struct goheap_stats st;
	struct goheap_resize r;
	struct goheap_map_span ms;
	struct goheap_span s;
	uint64_t soft, hard, cursor = 0;
	unsigned int done;
	void *p;

	if (info(fd, &i) != -ESTALE)
		return 1;
	if (attach(fd, &i) != -ESTALE)
		return 2;
	if (span_alloc(fd, 1, 0, &s) != -ESTALE)
		return 3;
	if (span_free(fd, &i, 1) != -ESTALE)
		return 4;
	if (span_resize(fd, &i, 1, &r) != -ESTALE)
		return 5;
	if (scavenge(fd, ALL, &sc) != -ESTALE)
		return 6;
	if (stats(fd, &st) != -ESTALE)
		return 7;
	p = arena_map(fd, 64 * MIB);
	if (p != MAP_FAILED || errno != ESTALE)
		return 8;
	p = (void *)ctl_map(fd);
	if (p != MAP_FAILED || errno != ESTALE)
		return 9;
	if (limit_get(fd, &soft, &hard) != -ESTALE || limit_set(fd, ALL, 0) != -ESTALE)
		return 10;
	if (map_read(fd, 0, &cursor, &ms, 1, &done) != -ESTALE)
		return 11;
	return 0;
}

/* Sends a descriptor through a socket. */
static inline int send_fd(int sock, int fd)
{
	char room[CMSG_SPACE(sizeof(int))] = {}, c = 'x';
	struct iovec iov = { &c, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room,
		.msg_controllen = sizeof(room) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	return sendmsg(sock, &m, 0) == 1 ? 0 : -errno;
}

static inline int recv_fd(int sock)
{
	char room[CMSG_SPACE(sizeof(int))] = {}, c;
	struct iovec iov = { &c, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room,
		.msg_controllen = sizeof(room) };
	int fd;

	if (recvmsg(sock, &m, 0) != 1)
		return -errno;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

#endif
