/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* Filters of system calls, for tests of what the library does without them. */
#ifndef BACK_SECCOMP_H
#define BACK_SECCOMP_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include "back_test.h"

#define T_FILTER_MAX	64u

/* What happens at these system calls, and at all others; from now on, and in programs executed. */
static inline int t_filter(const unsigned int *nrs, unsigned int n, unsigned int these,
			   unsigned int others)
{
	struct sock_filter f[2 * T_FILTER_MAX + 2];
	struct sock_fprog prog = { .filter = f };

	T(n <= T_FILTER_MAX);
	f[prog.len++] = (struct sock_filter)
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (unsigned int i = 0; i < n; i++) {
		f[prog.len++] = (struct sock_filter)
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nrs[i], 0, 1);
		f[prog.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, these);
	}
	f[prog.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, others);
	T_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	T_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog), 0);
	return T_PASS;
}

static inline int t_forbid(unsigned int nr, unsigned int action)
{
	return t_filter(&nr, 1, action, SECCOMP_RET_ALLOW);
}

#endif
