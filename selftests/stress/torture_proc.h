/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Operations of torture_test: other processes.  Children that share the arena, that
 * trace their parent, that start another program; descriptors that travel; and
 * processes with heaps of their own that take these apart, and are killed.
 */
#ifndef GOHEAP_TORTURE_PROC_H
#define GOHEAP_TORTURE_PROC_H

#include "torture_cmd.h"
#include <sys/ptrace.h>

/* ---- children that share the arena ----------------------------------------------------- */

/* Sees what its parent had, may not command its heap, and may spoil its own copy. */
static void child(void)
{
	uint64_t end = now_ms() + below(40);
	int fd = dev_open();

	do {
		look_at_all();
	} while (now_ms() < end);
	MUST(!all_stale(heap));
	MUST(attach(fd, arena) == -ESTALE);
	(void)pressure_gen();
	switch (below(5)) {
	case 0:
		for (int i = 0; i < SPANS; i++)
			if (spans[i].p)
				memset(spans[i].p, 0xff, bytes_of(&spans[i]));
		break;
	case 1:
		munmap(arena + below(ARENA / 2) / PAGE * PAGE, ARENA / 2);
		break;
	case 2:
		mremap(arena, ARENA / 4, ARENA / 4, MREMAP_MAYMOVE | MREMAP_FIXED,
		       arena + 4 * ARENA);
		break;
	case 3:
		raise(SIGKILL);
	}
	_exit(0);
}

static void op_fork(void)
{
	unsigned int i = below(CHILDREN);

	if (children[i]) {
		must_end(children[i]);
		children[i] = 0;
		return;
	}
	/* Not inherited, or wiped, the arena cannot be looked at. */
	madvise(arena, ARENA, MADV_DOFORK);
	madvise(arena, ARENA, MADV_KEEPONFORK);
	children[i] = fork();
	if (!children[i])
		child();
	MUST(children[i] > 0);
}

/* ---- a child that traces its parent ----------------------------------------------------- */

/* Reads and writes @s of @pid, while it runs and while it is stopped. */
static void poke(pid_t pid, const struct span *s)
{
	uint64_t at = below(bytes_of(s)) / 512 * 512, want = word_of(s->seed, at / 8), word;
	char path[32];
	int mem, status;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	mem = open(path, O_RDWR);
	MUST(mem >= 0 && pread(mem, &word, 8, (uintptr_t)s->p + at) == 8 && word == want);
	MUST(pwrite(mem, &want, 8, (uintptr_t)s->p + at) == 8);
	/* Anything of the arena: what is idle is looked at only. */
	MUST(pread(mem, &word, 8, (uintptr_t)random_page()) == 8);
	MUST(!ptrace(PTRACE_SEIZE, pid, NULL, NULL) && !ptrace(PTRACE_INTERRUPT, pid, NULL, NULL));
	MUST(waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status));
	MUST(ptrace(PTRACE_PEEKDATA, pid, s->p + at, NULL) == (long)want);
	MUST(!ptrace(PTRACE_POKEDATA, pid, s->p + at, (void *)want));
	MUST(!ptrace(PTRACE_DETACH, pid, NULL, NULL));
}

static void op_trace(void)
{
	struct span *s = random_span();
	pid_t parent = getpid(), pid;

	if (!s->p)
		return;
	pid = fork();
	if (!pid) {
		/* Shared, it would keep its parent's memory from being released. */
		munmap(arena, ARENA);
		poke(parent, s);
		_exit(0);
	}
	must_end(pid);
	look_at(s);
}

/* ---- descriptors in other hands ---------------------------------------------------------- */

/* In the image that exec() started. */
static __attribute__((constructor)) void executed(void)
{
	const char *fd = getenv("GOHEAP_TEST_EXEC_FD");

	if (fd)
		_exit(all_stale(atoi(fd)));
}

static void op_exec(void)
{
	char text[40], *env[] = { text, NULL }, *args[] = { "torture_test", NULL };
	int fd = dup(heap);
	pid_t pid;

	MUST(fd >= 0);
	snprintf(text, sizeof(text), "GOHEAP_TEST_EXEC_FD=%d", fd);
	pid = below(2) ? fork() : vfork();
	if (!pid) {
		execve("/proc/self/exe", args, env);
		_exit(99);
	}
	close(fd);
	must_end(pid);
}

/* Who was born before the heap, and is sent descriptors of it. */
static int stranger = -1;

static void stranger_live(int sock)
{
	int fd, wrong;

	while ((fd = recv_fd(sock)) >= 0) {
		wrong = all_stale(fd);
		close(fd);
		if (write(sock, &wrong, sizeof(wrong)) != sizeof(wrong))
			break;
	}
	_exit(0);
}

static void stranger_begin(void)
{
	int pair[2];
	pid_t pid;

	MUST(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	pid = fork();
	MUST(pid >= 0);
	if (!pid) {
		close(pair[0]);
		stranger_live(pair[1]);
	}
	close(pair[1]);
	stranger = pair[0];
}

static void op_pass(void)
{
	int wrong = -1, pair[2];

	MUST(!send_fd(stranger, heap) && read(stranger, &wrong, sizeof(wrong)) == sizeof(wrong));
	MUST(!wrong);
	/* On its way when the way is closed. */
	MUST(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) && !send_fd(pair[0], heap));
	close(pair[0]);
	close(pair[1]);
}

/* A heap whose process is gone: it can be looked at, and closed. */
static void op_orphan(void)
{
	struct goheap_span g;
	int pair[2], fd, inherited;
	pid_t pid;

	MUST(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	pid = fork();
	if (!pid) {
		munmap(arena, ARENA);
		inherited = dev_open();
		if (arena_map(inherited, 64 * MIB) != MAP_FAILED &&
		    !span_alloc(inherited, 1 + below(600), 0, &g)) {
			memset((void *)g.addr, 1, g.npages * PAGE);
			span_free(inherited, (void *)g.addr, 0);
		}
		send_fd(pair[1], inherited);
		raise(below(2) ? SIGKILL : SIGCONT);
		_exit(0);
	}
	MUST(pid > 0);
	close(pair[1]);		/* or a child that died before would be waited for */
	fd = recv_fd(pair[0]);
	MUST(fd >= 0);
	if (below(2))
		must_end(pid);
	file_write(SYSFS "/scavenge", "all");
	/* ENXIO: it got no arena, by a parameter's leave. */
	MUST(!all_stale(fd) || cmd(fd, GOHEAP_STATS, &(struct goheap_stats){
		.size = sizeof(struct goheap_stats) }) == -ENXIO);
	close(fd);
	waitpid(pid, NULL, 0);
	close(pair[0]);
}

/* ---- a process that takes its own heap apart ----------------------------------------------- */

/* Allocates, touches not by itself, as the pages may be gone, and may free. */
static void vandal_alloc(int fd)
{
	struct goheap_span g;
	struct iovec l = { &g, sizeof(g) }, r;

	if (span_alloc(fd, 1 + below(300), 0, &g))
		return;
	r = (struct iovec){ (void *)g.addr, sizeof(g) };
	process_vm_writev(getpid(), &l, 1, &r, 1, 0);
	if (below(2))
		span_free(fd, (void *)g.addr, 0);
}

/* Does not wait for what it submits. */
static void vandal_submit(struct io_uring *r, int fd)
{
	static struct goheap_scavenge sc = { .size = sizeof(sc), .max_bytes = ALL };
	struct io_uring_sqe *sqe = add(r, fd, GOHEAP_SCAVENGE, &sc, 0);

	if (sqe)
		io_uring_submit(r);
}

static void vandal_step(struct io_uring *r, int fd, char *a)
{
	char *p = a + below(64 * MIB) / 4096 * 4096;
	char *to = a + 64 * MIB + below(60 * MIB) / 4096 * 4096;
	size_t len = below(4 * MIB) / 4096 * 4096;
	struct goheap_scavenge sc;

	switch (below(10)) {
	case 0:
		munmap(p, len);
		break;
	case 1:
		if (mremap(p, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to) != MAP_FAILED)
			attach(dev_open(), to);
		break;
	case 2:
		mprotect(p, len, below(8));
		break;
	case 3:
		mmap(p, len, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		break;
	case 4:
		scavenge(fd, ALL, &sc);
		break;
	case 5:
		if (r)
			vandal_submit(r, fd);
		break;
	case 6:
		limit_set(fd, below(MIB), ALL);
		break;
	default:
		vandal_alloc(fd);
	}
}

/*
 * Its arena is the first half of the one that it inherited, which would keep its
 * parent's memory from being released; what it moves goes to the other half.
 */
static void vandal(void)
{
	struct io_uring r;
	bool ringed = !io_uring_queue_init(8, &r, 0);
	int fd = dev_open();
	char *a;

	munmap(arena, ARENA);
	a = arena_map_at(fd, arena, 64 * MIB, MAP_FIXED_NOREPLACE);
	for (int i = 0; i < 60 && a != MAP_FAILED; i++)
		vandal_step(ringed ? &r : NULL, fd, a);
	if (below(2))
		raise(SIGKILL);
	_exit(0);
}

/* It may be killed at any moment. */
static void op_vandal(void)
{
	pid_t pid = fork();

	if (!pid)
		vandal();
	if (below(2)) {
		sleep_ms(below(30));
		kill(pid, SIGKILL);
	}
	must_end(pid);
}

#endif
