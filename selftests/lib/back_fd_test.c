// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Programs that close, or put something of their own on, the descriptor of their
 * heap, and go on allocating from it.  Linked with libgoheap.a; skipped on the
 * embedded backend, which has no descriptor.
 */
#include <sys/resource.h>
#include <sys/syscall.h>
#include "../../userlib/backend.h"
#include "back_device.h"

#define OBJECTS	400

static unsigned char *objects[OBJECTS];

static size_t size_of(int i)
{
	return (size_t)(i % 7 ? 200 * i + 1 : 70000 + 5000 * i);
}

static int make_all(void)
{
	for (int i = 0; i < OBJECTS; i++) {
		objects[i] = malloc(size_of(i));
		T(objects[i]);
		memset(objects[i], i % 251 + 1, size_of(i));
	}
	return T_PASS;
}

static int check_all(void)
{
	for (int i = 0; i < OBJECTS; i++)
		for (size_t k = 0; k < size_of(i); k += 61)
			T_EQ(objects[i][k], i % 251 + 1);
	return T_PASS;
}

/* Everything is replaced, through the backend: spans go and come. */
static int replace_all(void)
{
	T_SUB(check_all());
	for (int i = 0; i < OBJECTS; i++)
		free(objects[i]);
	ghu_backend_scavenge(SIZE_MAX);
	T_SUB(make_all());
	return check_all();
}

/* The descriptor of the heap that holds objects[0], or -1. */
static int heap_fd(void)
{
	return t_heap_fd(objects[0]);
}

static int begin(void)
{
	if (strcmp(ghu_backend_name(), "device"))
		return T_SKIP;
	return make_all();
}

/* Old objects and new ones are in one arena: the heap is the same as before. */
static int same_heap(uintptr_t old)
{
	struct goheap_info info = { .size = sizeof(info) };
	int fd = heap_fd();

	T(fd >= 0);
	T_EQ(ioctl(fd, GOHEAP_INFO, &info), 0);
	T(old - info.arena_start < info.arena_bytes);
	return T_PASS;
}

static int placed_high(void)
{
	T_SUB(begin());
	return t_placed_high(heap_fd());
}

/* Which it would have with GOHEAPDEBUG=uring=1. */
static int no_ring(void)
{
	T_SUB(begin());
	for (int i = 0; i < 200; i++) {
		objects[i] = malloc(8192);
		T(objects[i]);
	}
	T_EQ(t_ring_fd(), -1);
	return T_PASS;
}

static int closes_all(void)
{
	uintptr_t old;

	T_SUB(begin());
	old = (uintptr_t)objects[0];
	T_EQ(syscall(SYS_close_range, 3, ~0U, 0), 0);
	T_EQ(heap_fd(), -1);
	T_SUB(replace_all());
	T_SUB(same_heap(old));
	for (int i = 0; i < 20; i++) {
		syscall(SYS_close_range, 3, ~0U, 0);
		T_SUB(replace_all());
	}
	return same_heap(old);
}

static char path[] = "/tmp/goheap-back-fd-XXXXXX";

static int make_file(void)
{
	int fd = mkstemp(path);

	unlink(path);
	return fd;
}

/* A file on our number stays there, and is not written to. */
static int file_on_our_number(void)
{
	struct stat before, after;
	uintptr_t old;
	int fd, file;

	T_SUB(begin());
	old = (uintptr_t)objects[0];
	fd = heap_fd();
	file = make_file();
	T(file >= 0);
	T_EQ(write(file, "hello", 5), 5);
	T_EQ(dup2(file, fd), fd);
	fstat(file, &before);
	T_SUB(replace_all());
	T_EQ(fstat(fd, &after), 0);
	T(before.st_ino == after.st_ino && after.st_size == 5);
	T(heap_fd() != fd);
	return same_heap(old);
}

/* So does whatever else there is: every kind has its own idea of an unknown command. */
static int others_on_our_number(void)
{
	static const char *const names[] = { "/dev/null", "/dev/zero", "/", "/proc/self/maps",
					     "/dev/tty", "/dev/urandom" };
	int fds[2];

	T_SUB(begin());
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		int fd = open(names[i], O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			continue;
		dup2(fd, heap_fd());
		T_SUB(replace_all());
	}
	T_EQ(pipe(fds), 0);
	dup2(fds[0], heap_fd());
	T_SUB(replace_all());
	return T_PASS;
}

/* An open of the device without a heap. */
static int empty_heap_on_our_number(void)
{
	uintptr_t old;
	int fd;

	T_SUB(begin());
	old = (uintptr_t)objects[0];
	fd = open(T_DEVICE, O_RDWR);
	T(fd >= 0);
	T(dup2(fd, heap_fd()) >= 0);
	T_SUB(replace_all());
	return same_heap(old);
}

/* A heap of the program's own: calls succeed there, and must be undone. */
static int with_own_heap(int (*use)(int fd))
{
	uintptr_t old;
	int fd;

	T_SUB(begin());
	old = (uintptr_t)objects[0];
	fd = t_own_heap();
	T(fd >= 0);
	T_SUB(use(fd));
	T_SUB(replace_all());
	T_EQ(t_spans(fd), 0);
	return same_heap(old);
}

static int use_own(int fd)
{
	T(dup2(fd, heap_fd()) >= 0);
	for (int i = 0; i < 200; i++) {
		void *p = malloc(300000 + 8192 * i);

		T(p);
		memset(p, 1, 300000);
	}
	return T_PASS;
}

static int own_heap_on_our_number(void)
{
	return with_own_heap(use_own);
}

/* One that gives some of the spans asked for, and then an error. */
static int use_small(int fd)
{
	struct goheap_limit l = { .size = sizeof(l), .flags = GOHEAP_LIMIT_SET,
		.soft_bytes = 10 * 8192, .hard_bytes = 10 * 8192 };

	T_EQ(ioctl(fd, GOHEAP_LIMIT, &l), 0);
	/* More each time, so that more than there is is asked for at once. */
	for (int i = 0; i < 8; i++) {
		T(dup2(fd, heap_fd()) >= 0);
		for (int k = 0; k < 100; k++)
			T(malloc(8192));
	}
	return T_PASS;
}

static int small_heap_on_our_number(void)
{
	return with_own_heap(use_small);
}

static int daemonises(void)
{
	T_SUB(begin());
	fflush(stdout);
	T_EQ(daemon(0, 1), 0);
	syscall(SYS_close_range, 3, ~0U, 0);
	return replace_all();
}

/* As daemonises(), but the answer comes through a file, since nobody waits for a daemon. */
static int daemon_lives(void)
{
	int file = make_file();
	char byte = 0;
	pid_t pid;

	if (strcmp(ghu_backend_name(), "device"))
		return T_SKIP;
	T(file >= 0);
	T_EQ(dup2(file, 0), 0);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (!daemonises())
			byte = 'y';
		else
			byte = 'n';
		_exit(pwrite(0, &byte, 1, 0) != 1);
	}
	t_wait(pid);
	for (int i = 0; i < 500 && pread(0, &byte, 1, 0) != 1; i++)
		usleep(10000);
	T_EQ(byte, 'y');
	return T_PASS;
}

/* The limit on descriptors is lower than where we would like to be. */
static int few_descriptors(void)
{
	struct rlimit rl = { 32, 32 };

	T_EQ(setrlimit(RLIMIT_NOFILE, &rl), 0);
	T_SUB(begin());
	syscall(SYS_close_range, 3, ~0U, 0);
	T_SUB(replace_all());
	T(heap_fd() >= 3);
	return T_PASS;
}

/* The only one above the standard descriptors, of which one is free. */
static int last_descriptor(void)
{
	struct rlimit rl = { 4, 4 };

	close(0);
	T_EQ(setrlimit(RLIMIT_NOFILE, &rl), 0);
	T_SUB(begin());
	T_EQ(heap_fd(), 3);
	return replace_all();
}

/* No descriptor to be had: what is allocated stays, and there is more, of another kind. */
static int no_descriptors(void)
{
	int fd;

	T_SUB(begin());
	syscall(SYS_close_range, 3, ~0U, 0);
	while ((fd = dup(1)) >= 0)
		;
	T_SUB(replace_all());
	T_SUB(replace_all());
	T_EQ(heap_fd(), -1);
	return T_PASS;
}

static int changes_root(void)
{
	char dir[] = "/tmp/goheap-back-root-XXXXXX";

	T_SUB(begin());
	T(mkdtemp(dir));
	if (chroot(dir))
		return T_SKIP;
	syscall(SYS_close_range, 3, ~0U, 0);
	T_SUB(replace_all());
	return replace_all();
}

static int standard_descriptors_closed(void)
{
	T_SUB(begin());
	fflush(stdout);
	syscall(SYS_close_range, 0, ~0U, 0);
	T_SUB(replace_all());
	T(heap_fd() >= 3);
	return T_PASS;
}

static const struct t_case cases[] = {
	{ "descriptor is high and closed on exec", placed_high },
	{ "no other descriptor, of a ring", no_ring },
	{ "every descriptor closed", closes_all },
	{ "a file on our number", file_on_our_number },
	{ "other things on our number", others_on_our_number },
	{ "an empty heap on our number", empty_heap_on_our_number },
	{ "the program's own heap on our number", own_heap_on_our_number },
	{ "a small heap of its own on our number", small_heap_on_our_number },
	{ "daemon", daemon_lives },
	{ "low limit on descriptors", few_descriptors },
	{ "one descriptor left", last_descriptor },
	{ "no descriptor to be had", no_descriptors },
	{ "chroot", changes_root },
	{ "standard descriptors closed too", standard_descriptors_closed },
};

int main(int argc, char **argv)
{
	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
