#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# What the debug kernel is for: it complains of each bug that is planted in the
# module with GOHEAP_BREAK of Kbuild, of that bug and of no other, and the VM's run
# fails; of the module as it is it does not complain.
#
# One boot for all: the modules are loaded in turn, with a mark in the kernel's log
# before each, and the log is judged piece by piece.  The order matters: the lock
# validator does not work on after a report of another checker, and lost memory is
# looked for at the end of a run (guest-init).
# shellcheck disable=SC2317	# functions are called by check
here=$(dirname "$(realpath "$0")")
# shellcheck source-path=SCRIPTDIR source=../run_tap.sh
. "$here/../run_tap.sh"
export BUILD=${BUILD:-$(realpath "$here/../..")/build}

bugs='lockorder atomic uaf leak'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export VM_KERNEL=kasan VM_MEM=1G VM_TIMEOUT=900 VM_KLOG=$work/klog

# For the shell in the VM, after NAME=MODULE of each.  The first program makes heaps,
# releases their pages and closes them; the second looks for heaps by id.
# shellcheck disable=SC2016
in_vm='
for m in none=$GOHEAP_KO $modules; do
	echo "planted: ${m%%=*}" >/dev/kmsg
	rmmod goheap && insmod "${m#*=}" || exit 3
	"$BUILD/selftests/dev/spans_test" && cat /sys/class/misc/goheap/heaps || exit 4
done
echo "planted: end" >/dev/kmsg
rmmod goheap'

build_modules()
{
	local kernel bug

	kernel=$("$here/kernel" kasan) || return
	for bug in $bugs; do
		printf ' %s=%s' "$bug" "$(MODULE_FLAGS=GOHEAP_BREAK=$bug "$here/module" "$kernel")"
	done
}

# The part of the log that was written with bug $1 in the module, without what the
# search for lost memory said at the end.
piece()
{
	awk -v name="$1" '
		{ sub(/\r$/, "") }
		/planted: / { on = $NF == name }
		/kmemleak/ { next }
		on' "$work/klog" >"$work/piece"
}

# $1: the planted bug; $2: what the kernel must say of it.
found()
{
	if [ "$1" = leak ]; then
		cp "$work/klog" "$work/piece"
	else
		piece "$1"
	fi
	if ! "$here/../vm/klog-check" "$work/piece" >"$work/said"; then
		grep -qE -- "$2" "$work/said" && return
	fi
	note "no line like: $2"
	tail -n 30 "$work/piece" | sed 's/^/# /'
	return 1
}

# $1: the planted bug, or none; fails if the kernel said anything.
quiet()
{
	piece "$1"
	"$here/../vm/klog-check" "$work/piece"
}

[ -e "$BUILD/selftests/dev/spans_test" ] || skip_all 'selftests/dev is not built'
plan 7
modules=$(build_modules)
check builds [ "$(echo "$modules" | grep -o '[.]ko' | wc -l)" = 4 ]
VM_CMD="modules='$modules'; $in_vm" "$here/../vm/run" >"$work/out" 2>&1
status=$?
[ "$status" = 125 ] || { note "exit status $status"; sed 's/^/# /' "$work/out"; }
check run_fails [ "$status" = 125 ]
check nothing_planted quiet none
check lock_order found lockorder 'possible circular locking dependency detected'
check sleep_in_atomic found atomic 'BUG: sleeping function called from invalid context'
check use_after_free found uaf 'BUG: KASAN: (slab-)?use-after-free in goheap_'
check leak found leak 'kmemleak\| unreferenced object'
finish
