/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Operations of torture_test: what a program can do to its own memory, and have
 * done to it by the kernel: advice, locks, protection, userfaultfd, direct I/O.
 */
#ifndef GOHEAP_TORTURE_MEM_H
#define GOHEAP_TORTURE_MEM_H

#include "torture.h"
#include <linux/loop.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED	24
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif

/* ---- advice, locks, protection ------------------------------------------------------- */

/* Advice that leaves the contents alone, on part of the arena, in use or not. */
static void op_advise(void)
{
	static const int advice[] = {
		MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_HUGEPAGE,
		MADV_NOHUGEPAGE, MADV_COLLAPSE, MADV_COLD, MADV_PAGEOUT, MADV_POPULATE_READ,
		MADV_POPULATE_WRITE, MADV_MERGEABLE, MADV_UNMERGEABLE, MADV_DONTFORK,
		MADV_DOFORK, MADV_DONTDUMP, MADV_DODUMP, MADV_REMOVE, MADV_WIPEONFORK,
		MADV_KEEPONFORK,
	};
	char *p = random_page();

	madvise(p, below(arena + ARENA - p) / 4096 % 1024 * 4096,
		advice[below(sizeof(advice) / sizeof(advice[0]))]);
}

/* Advice that does not: what it is given is filled again. */
static void op_drop(void)
{
	static const int advice[] = { MADV_DONTNEED, MADV_DONTNEED_LOCKED, MADV_FREE };
	struct span *s = random_span();

	if (!s->p)
		return;
	look_at(s);
	MUST(!madvise(s->p, bytes_of(s), advice[below(3)]) || errno == EINVAL);	/* locked */
	refill(s);
}

static void op_lock(void)
{
	struct span *s = random_span();

	if (!s->p)
		return;
	if (below(2))
		mlock2(s->p, bytes_of(s), below(2) ? MLOCK_ONFAULT : 0);
	else
		munlock(s->p, bytes_of(s));
}

static void op_protect(void)
{
	struct span *s = random_span();

	if (!s->p || mprotect(s->p, bytes_of(s), PROT_READ))
		return;
	look_at(s);
	MUST(!mprotect(s->p, bytes_of(s), PROT_READ | PROT_WRITE));
}

/* Written and read from outside: by another process's call, and into a pipe. */
static void op_remote(void)
{
	struct span *s = random_span();
	struct iovec local, remote;
	uint64_t copy[64];
	int p[2];

	if (!s->p)
		return;
	local = (struct iovec){ copy, sizeof(copy) };
	remote = (struct iovec){ s->p, sizeof(copy) };
	MUST(process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == sizeof(copy));
	MUST(copy[0] == word_of(s->seed, 0));
	MUST(process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == sizeof(copy));
	MUST(!pipe(p) && vmsplice(p[1], &remote, 1, 0) == sizeof(copy));
	MUST(read(p[0], copy, sizeof(copy)) == sizeof(copy));
	MUST(copy[0] == word_of(s->seed, 0));
	close(p[0]);
	close(p[1]);
}

/* ---- direct I/O ---------------------------------------------------------------------- */

/* Of each process, on the disk. */
#define DISK_BYTES	(4 * MIB)

static int disk = -1;		/* opened with O_DIRECT; -1: there is none */
static off_t disk_at;		/* where our part begins */

/* A loop device over memory: tmpfs itself has no direct I/O in 6.1. */
static bool disk_open(unsigned int nr_procs)
{
	int memory = memfd_create("torture", MFD_CLOEXEC), control, loop, nr;
	char path[32];

	if (access("/dev/loop-control", F_OK) && system("modprobe -q loop"))
		return false;
	control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	nr = ioctl(control, LOOP_CTL_GET_FREE);
	if (ftruncate(memory, nr_procs * DISK_BYTES) || nr < 0)
		return false;
	snprintf(path, sizeof(path), "/dev/loop%d", nr);
	loop = open(path, O_RDWR | O_CLOEXEC);
	if (ioctl(loop, LOOP_SET_FD, memory))
		return false;
	disk = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	/* It goes with the last who has it open. */
	ioctl(loop, LOOP_CLR_FD);
	close(loop);
	close(control);
	close(memory);
	return disk >= 0;
}

/* Out of a span, and back after it held something else. */
static void op_direct(void)
{
	struct span *s = random_span();
	uint64_t was = s->seed, bytes = s->npages * PAGE;
	off_t at = disk_at + below(DISK_BYTES / 2) / 4096 * 4096;

	if (disk < 0 || !s->p || bytes > DISK_BYTES / 2)
		return;
	MUST(pwrite(disk, s->p, bytes, at) == bytes);
	refill(s);
	MUST(pread(disk, s->p, bytes, at) == bytes);
	s->seed = was;
	look_at(s);
}

/* ---- userfaultfd ------------------------------------------------------------------------ */

/* A span whose faults are resolved by a thread. */
struct pager {
	struct span *s;
	int uffd, stop;
};

/* What the span held there. */
static void give_page(const struct pager *pg, uint64_t addr)
{
	uint64_t page[512] __attribute__((aligned(4096))) = {}, i = (addr - (uintptr_t)pg->s->p) / 8;
	struct uffdio_copy copy = { .dst = addr, .src = (uintptr_t)page, .len = 4096 };
	struct uffdio_range range = { addr, 4096 };

	for (int k = 0; k < 512; k += 64)
		page[k] = word_of(pg->s->seed, i + k);
	while (ioctl(pg->uffd, UFFDIO_COPY, &copy) && errno == EAGAIN)
		copy.copy = 0;
	/* Should another fault have brought it already. */
	ioctl(pg->uffd, UFFDIO_WAKE, &range);
}

static int write_protect(int uffd, uint64_t addr, uint64_t len, uint64_t mode)
{
	struct uffdio_writeprotect wp = { .range = { addr, len }, .mode = mode };

	return ioctl(uffd, UFFDIO_WRITEPROTECT, &wp);
}

static void *page(void *arg)
{
	const struct pager *pg = arg;
	struct pollfd p[2] = {
		{ .fd = pg->uffd, .events = POLLIN }, { .fd = pg->stop, .events = POLLIN },
	};
	struct uffd_msg m;

	while (!p[1].revents) {
		if (poll(p, 2, -1) < 0)
			continue;
		if (read(pg->uffd, &m, sizeof(m)) != sizeof(m) || m.event != UFFD_EVENT_PAGEFAULT)
			continue;
		m.arg.pagefault.address &= ~4095ULL;
		if (m.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP)
			MUST(!write_protect(pg->uffd, m.arg.pagefault.address, 4096, 0));
		else
			give_page(pg, m.arg.pagefault.address);
	}
	return NULL;
}

static int watch(const struct span *s, uint64_t mode)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = mode, .range = { (uintptr_t)s->p, bytes_of(s) } };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0 && !ioctl(fd, UFFDIO_API, &api) && !ioctl(fd, UFFDIO_REGISTER, &reg))
		return fd;
	close(fd);
	return -1;
}

/* Touches the span while it is watched; or frees it, to be released in that state. */
static void op_watch(void)
{
	struct span *s = random_span();
	uint64_t mode = below(2) ? UFFDIO_REGISTER_MODE_MISSING : UFFDIO_REGISTER_MODE_WP;
	struct pager pg = { .s = s };
	uint64_t one = 1;
	pthread_t t;

	if (!s->p)
		return;
	pg.uffd = watch(s, mode);
	if (pg.uffd < 0)
		return;
	pg.stop = eventfd(0, EFD_CLOEXEC);
	MUST(pg.stop >= 0 && !pthread_create(&t, NULL, page, &pg));
	if (mode == UFFDIO_REGISTER_MODE_MISSING)
		madvise(s->p, bytes_of(s), MADV_DONTNEED);	/* refused where it is locked */
	else	/* refused where advice made several VMAs of it */
		MUST(!write_protect(pg.uffd, (uintptr_t)s->p, bytes_of(s),
				    UFFDIO_WRITEPROTECT_MODE_WP) || errno == ENOENT);
	look_at(s);
	if (mode == UFFDIO_REGISTER_MODE_WP)
		refill(s);
	look_at(s);
	if (!below(3)) {
		MUST(!span_free(heap, s->p, s->npages));
		s->p = NULL;
		sleep_ms(below(3));
	}
	MUST(write(pg.stop, &one, sizeof(one)) == sizeof(one) && !pthread_join(t, NULL));
	close(pg.stop);
	close(pg.uffd);		/* which unregisters */
}

#endif
