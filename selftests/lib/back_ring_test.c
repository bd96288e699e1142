// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * GOHEAPDEBUG=uring=1: that spans do come ahead with their pages, and that nothing is
 * lost or different when the program closes the ring, puts a file of its own in its
 * place, forks, or may not use io_uring.  Skipped on the embedded backend, which has
 * no use for a ring.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <linux/filter.h>
#include <linux/goheap.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include "../../userlib/backend.h"
#include "../../userlib/include/goheap.h"
#include "back_test.h"

#if __has_include(<liburing.h>)
#define HAS_LIBURING	true
#else
#define HAS_LIBURING	false
#endif

#define OBJECTS	1000
#define BYTES	8192u

static unsigned char *objects[OBJECTS];

/* ---- looks ---- */

/* The descriptor of the library's ring, or -1. */
static int ring_fd(void)
{
	char path[64], target[64];

	for (int fd = 0; fd < 2048; fd++) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, target, sizeof(target) - 1);
		if (n <= 0)
			continue;
		target[n] = 0;
		if (!strcmp(target, "anon_inode:[io_uring]"))
			return fd;
	}
	return -1;
}

static bool resident(const void *p)
{
	unsigned char yes = 0;

	return !mincore((void *)((uintptr_t)p & ~4095ul), 1, &yes) && yes & 1;
}

/* Spans in use of the heap that holds p; descriptors are tried, as the program knows none. */
static long long spans(const void *p)
{
	for (int fd = 3; fd < 2048; fd++) {
		struct goheap_info info = { .size = sizeof(info) };
		struct goheap_stats st = { .size = sizeof(st) };

		if (!ioctl(fd, GOHEAP_INFO, &info) &&
		    (uintptr_t)p - info.arena_start < info.arena_bytes &&
		    !ioctl(fd, GOHEAP_STATS, &st))
			return st.nr_spans;
	}
	return -1;
}

/* The same, when nothing is kept for later nor on its way any more. */
static long long settled(const void *p)
{
	long long nr = -1, last;

	for (int same = 0; same < 3; same = nr == last ? same + 1 : 0) {
		last = nr;
		goheap_flush();
		ghu_backend_scavenge(SIZE_MAX);
		usleep(20000);
		nr = spans(p);
	}
	return nr;
}

/* ---- use ---- */

/* Fills the heap, a span for each object; how many came with pages, that nobody touched. */
static int make_all(void)
{
	int nr = 0;

	for (int i = 0; i < OBJECTS; i++) {
		objects[i] = malloc(BYTES);
		if (!objects[i])
			return -1;
		nr += resident(objects[i]);
		memset(objects[i], i % 251 + 1, BYTES);
		/* On an emulated or busy CPU workers need some time. */
		if (i % 100 == 0)
			usleep(1000);
	}
	return nr;
}

static int check_all(void)
{
	for (int i = 0; i < OBJECTS; i++)
		for (size_t k = 0; k < BYTES; k += 61)
			T_EQ(objects[i][k], i % 251 + 1);
	return T_PASS;
}

static void free_all(void)
{
	for (int i = 0; i < OBJECTS; i++)
		free(objects[i]);
}

static int replace_all(void)
{
	T_SUB(check_all());
	free_all();
	ghu_backend_scavenge(SIZE_MAX);
	T(make_all() >= 0);
	return check_all();
}

/* The option is for the first malloc(), and huge pages would be there for all. */
static int begin(void)
{
	if (strcmp(ghu_backend_name(), "device"))
		return T_SKIP;
	T_EQ(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), 0);
	return T_PASS;
}

static int begin_with_ring(void)
{
	T_SUB(begin());
	T(make_all() >= 0);
	return ring_fd() < 0 ? T_SKIP : T_PASS;
}

/* ---- cases ---- */

static int come_ahead(void)
{
	int nr;

	T_SUB(begin());
	nr = make_all();
	T(nr >= 0);
	if (ring_fd() < 0)
		return T_SKIP;
	printf("# %d of %d objects had pages\n", nr, OBJECTS);
	T(nr >= OBJECTS / 20);
	return check_all();
}

static int zeroed(void)
{
	T_SUB(begin());
	for (int i = 0; i < OBJECTS; i++) {
		objects[i] = calloc(1, BYTES);
		T(objects[i]);
		for (unsigned int k = 0; k < BYTES; k++)
			T_EQ(objects[i][k], 0);
		memset(objects[i], 255, BYTES);
		if (i % 3 == 0) {
			free(objects[i]);
			objects[i] = NULL;
		}
	}
	return T_PASS;
}

static int placed_high(void)
{
	T_SUB(begin_with_ring());
	T(ring_fd() >= 256);
	T(fcntl(ring_fd(), F_GETFD) & FD_CLOEXEC);
	return T_PASS;
}

/* Nothing is in use in the end that was not before. */
static int none_lost(void)
{
	long long before;
	void *p;

	T_SUB(begin_with_ring());
	p = objects[OBJECTS - 1];
	before = settled(p);
	T(before >= OBJECTS);
	for (int i = 0; i < 5; i++)
		T_SUB(replace_all());
	free_all();
	T(settled(p) <= before - OBJECTS);
	return T_PASS;
}

/* All descriptors; and the ring alone, with requests on their way. */
static int closes(bool all)
{
	long long before;
	void *p;

	T_SUB(begin_with_ring());
	p = objects[OBJECTS - 1];
	before = settled(p);
	for (int i = 0; i < 5; i++) {
		T_SUB(replace_all());
		T_EQ(syscall(SYS_close_range, all ? 3 : ring_fd(), all ? ~0U : ring_fd(), 0), 0);
		T_SUB(replace_all());
		if (ring_fd() < 0)
			break;
	}
	/* Given up, and no other was made. */
	T_EQ(ring_fd(), -1);
	T_SUB(replace_all());
	T_EQ(ring_fd(), -1);
	free_all();
	T(settled(p) <= before - OBJECTS);
	return T_PASS;
}

static int closes_all(void)
{
	return closes(true);
}

static int closes_ring(void)
{
	return closes(false);
}

static int open_file(void)
{
	return open("/dev/null", O_RDWR);
}

/* A ring of the program's own, empty. */
static int open_ring(void)
{
	char params[120] = {};

	return (int)syscall(SYS_io_uring_setup, 4, params);
}

/* The number leads to something else; it must stay open, and be left alone. */
static int replaced_by(int (*open_one)(void))
{
	int fd, mine;

	T_SUB(begin_with_ring());
	fd = ring_fd();
	mine = open_one();
	T(mine >= 0);
	T_EQ(dup2(mine, fd), fd);
	for (int i = 0; i < 3; i++)
		T_SUB(replace_all());
	T(fcntl(fd, F_GETFD) >= 0);
	return T_PASS;
}

static int replaced_by_file(void)
{
	return replaced_by(open_file);
}

static int replaced_by_ring(void)
{
	return replaced_by(open_ring);
}

/* Both go on, and neither has the other's spans. */
static int forks(void)
{
	int status = -1;
	pid_t pid;

	T_SUB(begin_with_ring());
	for (int i = 0; i < 5; i++) {
		fflush(stdout);
		pid = fork();
		if (!pid)
			_exit(replace_all() || replace_all());
		T_SUB(replace_all());
		T_EQ(waitpid(pid, &status, 0), pid);
		T_EQ(status, 0);
		T_SUB(check_all());
	}
	return T_PASS;
}

static int forbid(unsigned int nr, unsigned int action)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = ARRAY_SIZE(f), .filter = f };

	T_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	T_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog), 0);
	return T_PASS;
}

static int refused(void)
{
	T_SUB(begin());
	T_SUB(forbid(SYS_io_uring_setup, SECCOMP_RET_ERRNO | EPERM));
	T(make_all() >= 0);
	T_EQ(ring_fd(), -1);
	return replace_all();
}

static int refused_later(void)
{
	T_SUB(begin_with_ring());
	T_SUB(forbid(SYS_io_uring_enter, SECCOMP_RET_ERRNO | ENOSYS));
	for (int i = 0; i < 3; i++)
		T_SUB(replace_all());
	return T_PASS;
}

static void *life(void *arg)
{
	unsigned char *p[100];

	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 100; i++) {
			p[i] = malloc(BYTES * (1 + i % 4));
			if (!p[i])
				return "no memory";
			memset(p[i], i + 1, BYTES * (1 + i % 4));
		}
		for (int i = 0; i < 100; i++) {
			if (p[i][BYTES - 1] != i + 1)
				return "lost";
			free(p[i]);
		}
	}
	return NULL;
}

/* Threads that end while what they asked for is on its way. */
static int threads(void)
{
	pthread_t t[8];
	void *why;

	T_SUB(begin_with_ring());
	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < 8; i++)
			T_EQ(pthread_create(&t[i], NULL, life, NULL), 0);
		for (int i = 0; i < 8; i++) {
			T_EQ(pthread_join(t[i], &why), 0);
			T(!why);
		}
	}
	return check_all();
}

static const struct t_case cases[] = {
	{ "spans come ahead, with pages", come_ahead },
	{ "what is to be zero is zero", zeroed },
	{ "the descriptor is high and close-on-exec", placed_high },
	{ "no span is lost", none_lost },
	{ "all descriptors closed", closes_all },
	{ "the ring closed", closes_ring },
	{ "a file on the ring's descriptor", replaced_by_file },
	{ "another ring on the ring's descriptor", replaced_by_ring },
	{ "forked children", forks },
	{ "io_uring refused", refused },
	{ "io_uring refused later", refused_later },
	{ "threads that end", threads },
};

/* The option must be there before the first malloc(). */
static void with_option(char **argv)
{
	const char *had = getenv("GOHEAPDEBUG");
	char text[256];

	if (had && strstr(had, "uring="))
		return;
	snprintf(text, sizeof(text), "%s%suring=1", had ? had : "", had && *had ? "," : "");
	setenv("GOHEAPDEBUG", text, 1);
	execv("/proc/self/exe", argv);
}

int main(int argc, char **argv)
{
	if (!HAS_LIBURING) {
		printf("1..0 # SKIP built without liburing (package liburing-dev)\n");
		return T_SKIP;
	}
	with_option(argv);
	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
