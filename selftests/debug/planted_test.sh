#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# What the debug kernel is for: each bug that is planted in the module, with
# GOHEAP_BREAK of Kbuild, makes it complain, of that bug, and makes the VM's run
# fail.  The same run without a bug is clean.
# shellcheck disable=SC2317	# functions are called by check
here=$(dirname "$(realpath "$0")")
# shellcheck source-path=SCRIPTDIR source=../run_tap.sh
. "$here/../run_tap.sh"
export BUILD=${BUILD:-$(realpath "$here/../..")/build}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export VM_KERNEL=kasan VM_MEM=1G VM_TIMEOUT=600 VM_KLOG=$work/klog
# The first makes heaps, releases their pages and closes them; the second looks
# for heaps by id.
# shellcheck disable=SC2016	# for the shell in the VM
export VM_CMD='"$BUILD/selftests/dev/spans_test" && cat /sys/class/misc/goheap/heaps'

# $1: the planted bug, or nothing.  Its status is the VM's.
boot()
{
	rm -f "$work/klog"
	MODULE_FLAGS=${1:+GOHEAP_BREAK=$1} "$here/../vm/run" >"$work/out" 2>&1
}

clean()
{
	boot '' && return
	tail -n 30 "$work/out" | sed 's/^/# /'
	return 1
}

# $1: the planted bug; $2: what the log must say of it.
found()
{
	local status

	boot "$1"
	status=$?
	[ "$status" = 125 ] && grep -aqE -- "$2" "$work/klog" && return
	note "exit status $status, and no line like: $2"
	tail -n 30 "$work/out" | sed 's/^/# /'
	return 1
}

[ -e "$BUILD/selftests/dev/spans_test" ] || skip_all 'selftests/dev is not built'
plan 5
check nothing_planted clean
check use_after_free found uaf 'BUG: KASAN: (slab-)?use-after-free in goheap_'
check lock_order found lockorder 'possible circular locking dependency detected'
check leak found leak 'kmemleak\| unreferenced object'
check sleep_in_atomic found atomic 'BUG: sleeping function called from invalid context'
finish
