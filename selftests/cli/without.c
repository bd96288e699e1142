// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 *	without uring [COMMAND ARGUMENT...]
 *
 * Runs a command that may not use io_uring: a filter of system calls, such as containers
 * have, refuses it with EPERM.  Without a command it says whether it works at all.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int refuse(unsigned int nr)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0);
}

int main(int argc, char **argv)
{
	struct io_uring_params p = { 0 };

	if (argc < 2 || strcmp(argv[1], "uring")) {
		fprintf(stderr, "usage: without uring [COMMAND ARGUMENT...]\n");
		return 2;
	}
	if (argc == 2)
		return syscall(SYS_io_uring_setup, 1, &p) < 0;
	if (refuse(SYS_io_uring_setup)) {
		perror("without: seccomp");
		return 2;
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 127;
}
