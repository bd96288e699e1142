#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# What the module costs, and how it scales, measured in VMs: `make bench-vm`.
#
#	vm.sh [count] [touch] [heaps] [scale]		all of them
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
#
# The scaling is measured on emulated processors that are threads of the host.  If
# the VM has more than the host has idle cores, they take turns, as in a cloud that
# is sold twice over: a thread is stopped while it holds a lock, and all that wait
# for the lock spin or sleep for as long as it is stopped.  The total then cannot
# grow, and the share of waiting is that of such a machine; on one that has its
# cores it is smaller.
set -eu

here=$(dirname "$(realpath "$0")")
export BUILD=${BUILD:-$here/../../build}
progs=$BUILD/selftests/bench
scaling='1 2 4 8'

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

bench_touch()
{
	heading 'Instructions until a span is written: plain, populated, populated ahead while the program sleeps'
	counting_vm "$progs/touch_speed -s"
	heading 'The same in emulated ns, with 2 processors, ahead while the program computes: only ratios mean anything'
	VM_CPUS=2 vm "$progs/touch_speed"
}

bench_heaps()
{
	heading '5,000 heaps; a us is 1,000 instructions'
	counting_vm "$progs/heaps_speed 5000"
}

# $1: title, $2: field, $3: divisor; rows and columns of what scale.sh said
scale_table()
{
	awk -v title="$1" -v field="$2" -v by="$3" -v cpus="$scaling" '
	$1 == "seen" { next }
	{ row = $1 ", " $2
	  if (!(row in known)) { known[row]; rows[++nr] = row }
	  v[row, $3] = $field / by }
	END {
		n = split(cpus, cpu)
		printf "\n%-24s", title
		for (i = 1; i <= n; i++)
			printf "%9d", cpu[i]
		printf "\n"
		for (r = 1; r <= nr; r++) {
			printf "%-24s", rows[r]
			for (i = 1; i <= n; i++)
				printf "%9.1f", v[rows[r], cpu[i]]
			printf "\n"
		}
	}' "$progs/scale.out"
}

bench_scale()
{
	local n

	heading "Scaling: 1, 2, 4 and 8 processors, of a host that has $(nproc)"
	: >"$progs/scale.out"
	for n in $scaling; do
		VM_CPUS=$n vm "$here/scale.sh" >>"$progs/scale.out"
	done
	scale_table 'thousands a second' 4 1000
	scale_table 'thousands a CPU second' 5 1000
	scale_table '% of time in waiting' 6 1
	echo
	awk '$1 == "seen" { printf "%d processors: the tracepoints told of %d waits for a mutex, %d of them by the module\n",
		$3, $4, $5 }' "$progs/scale.out"
}

[ -x "$progs/ring_speed" ] || { echo 'bench: not built: make bench-vm (needs liburing-dev)' >&2; exit 1; }
sed -n '/^# What these numbers mean/,/^set/s/^#\( \|$\)//p' "$0"
[ $# -gt 0 ] || set -- count touch heaps scale
for part in "$@"; do
	"bench_$part"
done
