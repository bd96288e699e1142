#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# What the module costs, measured in VMs: `make bench-vm`.
#
#	vm.sh [count]
#
# What these numbers mean.  The processor is emulated, so that a second here is not a
# second of a real one, and neither is the ratio of two things that differ in what
# an emulator is slow at.  Two kinds of numbers are to be trusted:
#
#  - Counted instructions.  With -icount the emulator has one processor, whose clock
#    goes forward by 1 ns for each instruction, in user space and kernel alike.  The
#    same run gives the same numbers, whatever else the host does.  Not counted is what
#    makes one instruction slower than another: caches, TLB, the change between user
#    and kernel mode.  A string instruction counts once for each of its steps, which
#    are of 8 bytes: the processor says that it has no faster ones (erms, fsrm).
#  - Ratios inside one boot, for what needs more than one processor.
set -eu

here=$(dirname "$(realpath "$0")")
export BUILD=${BUILD:-$here/../../build}
progs=$BUILD/selftests/bench

heading()
{
	printf '\n==== %s\n' "$*"
}

# $1: command
vm()
{
	VM_CMD=$1 VM_TIMEOUT=${VM_TIMEOUT:-1800} "$here/../vm/run"
}

# $1: command, with virtual time that counts instructions
counting_vm()
{
	VM_CPUS=1 VM_ACCEL=tcg,thread=single \
		VM_QEMU='-icount shift=0,sleep=off -cpu max,-erms,-fsrm' vm "$1"
}

bench_count()
{
	heading 'Instructions: spans by ioctl and by ring, mmap, madvise'
	counting_vm "$progs/ring_speed"
}

[ -x "$progs/ring_speed" ] || { echo 'bench: not built: make bench-vm (needs liburing-dev)' >&2; exit 1; }
sed -n '/^# What these numbers mean/,/^set/s/^#\( \|$\)//p' "$0"
[ $# -gt 0 ] || set -- count
for part in "$@"; do
	"bench_$part"
done
