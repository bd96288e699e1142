#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# The lab itself, from the host: what the command prints arrives byte for byte,
# its exit status too, the world inside is as documented, and a machine that
# dies, hangs or complains is never taken for one that worked.
here=$(dirname "$(realpath "$0")")
# shellcheck source-path=SCRIPTDIR source=../run_tap.sh
. "$here/../run_tap.sh"
top=$(realpath "$here/../..")
export BUILD=${BUILD:-$top/build}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Short of memory and of time, so that its boots are quick.
export VM_MEM=512M VM_TIMEOUT=60 VM_KLOG=$work/klog

vm()
{
	VM_CMD=$1 "$here/run" >"$work/out" 2>"$work/err"
}

seen()
{
	grep -qxF -- "$1" "$work/out" || { note "no line: $1"; false; }
}

# What README.md gives to `make vm`.
in_readme()
{
	sed -n "s/^    make vm CMD='\(.*\)'\$/\1/p" "$top/README.md"
}

# One boot that looks at everything.
look_around()
{
	cd "$top/selftests" || return
	vm 'printf "a\r\n\000b\n"; echo err >&2
	echo "pwd $PWD"; echo "uid $(id -u)"; echo "host $(hostname)"
	echo "rel $(uname -r)"; echo "in $(wc -c </dev/stdin)"
	echo again >/dev/stdout
	grep -q goheap /proc/modules && echo module
	for m in /proc /sys /sys/kernel/debug /sys/kernel/tracing /sys/fs/cgroup /dev/shm /dev/pts /tmp; do
		echo "$m $(stat -f -c %T $m)"
	done
	mkdir /sys/fs/cgroup/a; echo "c $(grep -o memory /sys/fs/cgroup/a/cgroup.controllers)"
	echo "lo $(cat /sys/class/net/lo/flags)"
	touch "'"$top"'/changed" && echo writable
	echo kept >$VM_OUT/vm_test; ls "'"$top"'/Makefile"
	cd "'"$top"'"; '"$(in_readme)"'
	sleep 1000 & sleep 1000 >/dev/null 2>&1 &
	exit 7'
}

# Both CPUs run what is changed all the time.
change_code()
{
	vm 'for i in 1 2 3; do while :; do /bin/true; done & done
	cd /sys/kernel/tracing/events
	for i in {1..60}; do
		for e in sched/sched_switch sched/sched_wakeup mmap_lock exceptions; do
			echo 1 >$e/enable && echo 0 >$e/enable || exit
		done
	done
	echo changed' && seen changed
}

plan 23
look_around
status=$?
check exit_status [ "$status" = 7 ]
check bytes cmp -s <(printf 'a\r\n\000b\nerr\n') <(head -c 10 "$work/out")
check folder seen "pwd $top/selftests"
check root seen 'uid 0'
check hostname seen 'host goheap-vm'
check empty_stdin seen 'in 0'
check reopened_stdout seen again
if [ -e "$top/goheap.ko" ]; then
	check module seen module
else
	skip module 'goheap.ko is not built'
fi
if [ -e "$top/goheap.ko" ] && [ -e "$BUILD/libgoheap.so" ]; then
	check readme grep -q '^ *1 *[0-9]* bash ' "$work/out"
else
	skip readme 'goheap.ko or the library is not built'
fi
check filesystems grep -q '/sys/kernel/debug debugfs' "$work/out"
check cgroup2 seen '/sys/fs/cgroup cgroup2fs'
check controllers seen 'c memory'
check tmpfs seen '/tmp tmpfs'
check loopback seen 'lo 0x9'
check writable seen writable
check untouched [ ! -e "$top/changed" ]
check results grep -qx kept "$BUILD/vm-out/vm_test"
check tree seen "$top/Makefile"
check kernel_log grep -q 'Linux version' "$work/klog"
rm -f "$BUILD/vm-out/vm_test"

vm 'echo before; echo "WARNING: made up" >/dev/kmsg'
check complaint [ $? = 125 ]
vm 'echo c >/proc/sysrq-trigger'
check crash [ $? = 125 ]
VM_TIMEOUT=10 vm 'sleep 1000'
check timeout [ $? = 124 ]
if "$here/qemu" 2>&1 >/dev/null | grep -q .; then
	skip changes_its_code 'this QEMU may stand still then, and there is no newer one'
else
	check changes_its_code change_code
fi
finish
