#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# klog-check catches every complaint that it is there for, as kernels print
# them, and lets through what they print when all is well.
here=$(dirname "$(realpath "$0")")
# shellcheck source-path=SCRIPTDIR source=../run_tap.sh
. "$here/../run_tap.sh"

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# $1: name; $2: a line of a kernel's log.
caught()
{
	printf '[    0.000000] Linux version 6.1\n[   12.345678] %s\n[   13.000000] x\n' "$2" >"$log"
	if "$here/klog-check" "$log" | grep -qF -- "$2"; then
		pass "$1"
	else
		flunk "$1"
	fi
}

stamp='[    9.000000]'

# One access of a race: $1 is read or write, $2 who, then its function, who called it, ...
access()
{
	local what=$1 who=$2 f

	shift 2
	echo "$stamp $what to 0xffff888004c2a8b8 of 8 bytes by $who on cpu 0:"
	for f in "$@"; do
		echo "$stamp  ${f/ /+0x100\/0x900 }"
	done
	echo "$stamp"
}

# One that is the kernel's own, by a function that has no caller.
elsewhere()
{
	access read 'interrupt' 'wake_up '
}

# A report of KCSAN, up to the accesses; and what comes behind them.
title()
{
	echo "$stamp =================================================================="
	echo "$stamp BUG: KCSAN: data-race in $1 / wake_up"
	echo "$stamp"
}

trailer()
{
	echo "$stamp Reported by Kernel Concurrency Sanitizer on:"
	echo "$stamp CPU: 1 PID: 78 Comm: x Tainted: G           OE      6.1"
	echo "$stamp =================================================================="
}

# How many races the log counts.
races()
{
	"$here/klog-check" "$log" | grep -c 'KCSAN: data-race in'
}

# Whether a race counts whose first access is by function $1, called by $2, ...
race()
{
	{ title x; access write 'task 77' "$@"; elsewhere; trailer; } >"$log"
	[ "$(races)" = 1 ]
}

# And so does one that is ours by its second access.
race_by_interrupt()
{
	{ title x; elsewhere; access read 'interrupt' 'gh_alloc [goheap]' 'x '; trailer; } >"$log"
	[ "$(races)" = 1 ]
}

# A race of the kernel's own is let through, but not what else the log says then.
race_elsewhere()
{
	! race 'zap_pte ' 'unmap ' 'goheap_zap [goheap]' && "$here/klog-check" "$log" &&
		! race 'goheap_like [other]' 'x ' && "$here/klog-check" "$log" &&
		sed -i 's/.*wake_up+0x1.*/[    9.000000] kernel BUG: at mm.c/' "$log" &&
		! "$here/klog-check" "$log" >/dev/null
}

# Nor does another report make it ours, before or behind it, nor a stack behind it.
races_in_a_row()
{
	{
		title first; access write 'task 77' 'gh_alloc [goheap]'; elsewhere; trailer
		title second; access write 'task 77' 'zap_pte '; elsewhere; trailer
		echo "$stamp  gh_alloc+0x100/0x900 [goheap]"
		title third; access write 'task 77' 'gh_free [goheap]'; elsewhere; trailer
	} >"$log"
	[ "$("$here/klog-check" "$log" | grep -o 'in [a-z]* /' | tr -d '\n')" = 'in first /in third /' ]
}

# A report that breaks off, at the end of the log or where the next one begins.
race_cut_short()
{
	{ title first; access write 'task 77' 'gh_alloc [goheap]'; } >"$log"
	[ "$(races)" = 1 ] || return
	{ title second | tail -n 2; access write 'task 77' 'zap_pte '; } >>"$log"
	[ "$(races)" = 1 ]
}

# As kernels with CONFIG_PRINTK_CALLER write it.
race_with_callers()
{
	local stamp='[    9.000000][   T77]'

	race 'gh_alloc [goheap]' 'ioctl ' && ! race 'zap_pte ' 'unmap ' 'goheap_zap [goheap]'
}

clean_boot()
{
	cat >"$log" <<-'END'
	[    0.000000] Linux version 6.1.0-56-amd64 (debian-kernel@lists.debian.org)
	[    0.000000] kasan: KernelAddressSanitizer initialized (generic)
	[    0.000000] Kernel command line: console=ttyS0 oops=panic kmemleak=on
	[    0.000000] Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar
	[    0.000000] Warning: unable to open an initial console.
	[    0.100000] kmemleak: Kernel memory leak detector initialized (mem pool available: 15863)
	[    0.200000] kmemleak: Automatic memory scanning thread started
	[    0.300000] DEBUG_PAGEALLOC: debugging of pages is off
	[    3.000000] goheap: loading out-of-tree module taints kernel.
	[    9.000000] Memory cgroup out of memory: Killed process 77 (neighbour) total-vm:1024kB
	[    9.050000] FAULT_INJECTION: forcing a failure.
	[    9.050000] name failslab, interval 1, probability 0, space 0, times 0
	[    9.050000] CPU: 0 PID: 79 Comm: fail_load_test Tainted: G           O       6.1.0 #1
	[    9.050000] Call Trace:
	[    9.050000]  should_fail_ex.cold+0x5/0x68
	[    9.060000] Huh VM_FAULT_OOM leaked out to the #PF handler. Retrying PF
	[    9.070000] kobject_add_internal failed for 84 (error: -12 parent: goheap)
	[    9.100000] neighbour[78]: segfault at 0 ip 0000000000000000 sp 00007ffc error 14
	END
	"$here/klog-check" "$log" >/dev/null
}

no_log()
{
	: >"$log"
	! "$here/klog-check" "$log" 2>/dev/null
}

plan 31
caught warning 'WARNING: CPU: 1 PID: 77 at mm/memory.c:1 zap_pte_range+0x1/0x2'
caught inversion 'possible irq lock inversion dependency detected'
caught cut_here '------------[ cut here ]------------'
caught bug 'kernel BUG: scheduling while atomic: a/1/0x2'
caught null 'BUG: kernel NULL pointer dereference, address: 0000000000000000'
caught oops 'Oops: 0002 [#1] PREEMPT SMP NOPTI'
caught panic 'Kernel panic - not syncing: Fatal exception'
caught protection 'general protection fault, probably for non-canonical address'
caught bad_page 'Bad page state in process a  pfn:00001'
caught bad_page_map 'Bad page map in process a  pte:f000ff53f000ff53 pmd:00000001'
caught circular 'possible circular locking dependency detected'
caught recursive 'INFO: possible recursive locking detected'
caught deadlock ' *** DEADLOCK ***'
caught rss 'Bad rss-counter state mm:0000 type:MM_ANONPAGES val:1'
caught kasan 'KASAN: use-after-free in gh_free+0x1/0x2'
caught ubsan 'UBSAN: shift-out-of-bounds in mheap.c:1:2'
caught kmemleak 'kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)'
caught kmemleak_report 'kmemleak|   [<00000000b1c7fd7b>] kmalloc_trace+0x25/0x90'
caught unregister 'unregister_netdevice: waiting for lo to become free. Usage count = 1'
caught hung 'INFO: task goheap:77 blocked for more than 120 seconds.'
caught rcu 'suspicious RCU usage'
caught list 'list_del corruption. prev->next should be 0000'
check race race 'gh_alloc [goheap]' 'goheap_cmd [goheap]' 'ioctl '
check race_in_what_is_called race 'list_add ' 'goheap_cmd [goheap]' 'ioctl '
check race_by_interrupt race_by_interrupt
check race_elsewhere race_elsewhere
check races_in_a_row races_in_a_row
check race_cut_short race_cut_short
check race_with_callers race_with_callers
check clean_boot clean_boot
check no_log no_log
finish
