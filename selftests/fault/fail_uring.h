/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Part of fail_test.c: the commands by io_uring.  Those on spans are carried out while
 * they are submitted, by the thread that has the fault; SCAVENGE by a worker of the
 * ring, which is given it instead.  A ring is used for one try: a submission that
 * failed is still in it.
 */
#include "ring.h"

static struct io_uring ring;
static int own_fail_nth;

static int ring_run(unsigned int nr, void *arg)
{
	int res;

	if (!add(&ring, u.fd, nr, arg, 0))
		return -ENOSPC;
	res = io_uring_submit(&ring);
	if (res != 1)
		return res < 0 ? res : -EAGAIN;
	return ring_result(&ring, NULL);
}

static void ring_begin(void)
{
	MUST_BE(0, io_uring_queue_init(4, &ring, 0));
}

static void ring_again(void)
{
	io_uring_queue_exit(&ring);
	ring_begin();
}

static void ring_alloc_setup(void)
{
	alloc_many_setup();
	ring_begin();
}

static int ring_vec_run(unsigned int nr, unsigned int flags)
{
	struct goheap_span_vec v = {
		.size = sizeof(v), .spans = (uintptr_t)u.s, .nr = u.nr, .flags = flags,
	};
	int err = ring_run(nr, &v);

	u.done = v.done;
	return err;
}

static int ring_alloc_run(void)
{
	return ring_vec_run(GOHEAP_SPAN_ALLOC, 0);
}

static void ring_alloc_settle(int err)
{
	ring_again();
	alloc_settle(err);
}

static void ring_alloc_undo(void)
{
	io_uring_queue_exit(&ring);
	alloc_undo();
}

static void ring_free_setup(void)
{
	free_setup();
	ring_begin();
}

static int ring_free_run(void)
{
	return ring_vec_run(GOHEAP_SPAN_FREE, 0);
}

static void ring_free_settle(int err)
{
	ring_again();
	free_settle(err);
}

static void ring_free_undo(void)
{
	io_uring_queue_exit(&ring);
	free_undo();
}

/* ---- by a worker ---------------------------------------------------------------- */

static int ring_scavenge(uint64_t min_age_ns)
{
	struct goheap_scavenge sc = {
		.size = sizeof(sc), .max_bytes = ALL, .min_age_ns = min_age_ns,
	};

	return ring_run(GOHEAP_SCAVENGE, &sc);
}

/* The file fail-nth of the ring's worker, or -1. */
static int worker_fail_nth(void)
{
	DIR *d = opendir("/proc/self/task");
	struct dirent *e;
	char file[300];
	int f = -1;

	while (f < 0 && (e = readdir(d))) {
		const char *comm;

		snprintf(file, sizeof(file), "/proc/self/task/%s/comm", e->d_name);
		comm = file_read(file);
		if (!comm || strncmp(comm, "iou-wrk", 7))
			continue;
		snprintf(file, sizeof(file), "/proc/self/task/%s/fail-nth", e->d_name);
		f = open(file, O_RDWR | O_CLOEXEC);
	}
	closedir(d);
	return f;
}

/* A first one that releases nothing makes the worker, and puts it to sleep. */
static void ring_worker_begin(void)
{
	ring_begin();
	MUST_BE(0, ring_scavenge(ALL));
	sleep_ms(20);
	own_fail_nth = fail_nth;
	fail_nth = worker_fail_nth();
	if (!MUST(fail_nth >= 0))
		fail_nth = own_fail_nth;
}

static void ring_worker_end(void)
{
	if (fail_nth != own_fail_nth)
		close(fail_nth);
	fail_nth = own_fail_nth;
	io_uring_queue_exit(&ring);
}

static void ring_scavenge_setup(void)
{
	idle_setup();
	ring_worker_begin();
}

static int ring_scavenge_run(void)
{
	return ring_scavenge(0);
}

static void ring_scavenge_undo(void)
{
	ring_worker_end();
	scavenge_undo();
}

static void ring_populated_setup(void)
{
	alloc_populated_setup();
	ring_worker_begin();
}

static int ring_populated_run(void)
{
	return ring_vec_run(GOHEAP_SPAN_ALLOC, GOHEAP_VEC_POPULATE);
}

static void ring_populated_undo(void)
{
	ring_worker_end();
	alloc_undo();
}

static const struct call uring_calls[] = {
	{ "SPAN_ALLOC by io_uring", ring_alloc_setup, ring_alloc_run, ring_alloc_settle,
	  ring_alloc_undo, -EAGAIN },
	{ "SPAN_FREE by io_uring", ring_free_setup, ring_free_run, ring_free_settle,
	  ring_free_undo, -EAGAIN },
	{ "SCAVENGE by io_uring", ring_scavenge_setup, ring_scavenge_run, scavenge_settle,
	  ring_scavenge_undo, -EAGAIN },
	{ "SPAN_ALLOC by io_uring, populated", ring_populated_setup, ring_populated_run,
	  alloc_settle, ring_populated_undo, -EAGAIN },
};
#define NR_URING_CALLS	(sizeof(uring_calls) / sizeof(uring_calls[0]))
#define NR_URING_CASES	(NR_URING_CALLS + 1)
#define NEVER_URING

/* The module looks into a SPAN_ALLOC beforehand, by get_user(), which is not injected. */
static bool ring_unreadable(void)
{
	static const struct call c = { .name = "SPAN_ALLOC by io_uring of nothing" };

	now = &c;
	complaints = 0;
	ring_begin();
	u.fd = heap.fd;
	heap_note();
	if (MUST_BE(-EFAULT, ring_run(GOHEAP_SPAN_ALLOC, FAR)))
		sites_failed_all("__get_user_4");
	heap_same();
	u.fd = -1;
	io_uring_queue_exit(&ring);
	return !complaints;
}

static void uring_cases(void)
{
	for (unsigned int i = 0; i < NR_URING_CALLS; i++)
		if (strstr(uring_calls[i].name, only))
			result(uring_calls[i].name, !try_all(&uring_calls[i]));
	if (!*only)
		result("io_uring with memory that is not there", ring_unreadable());
}
