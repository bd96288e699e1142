#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# A memory cgroup of 600 MB with a stopped process that has 500 MB idle, and a
# neighbour that needs 300: it gets them, nothing is killed, and the idle
# process loses little more than was needed.  The control shows that the same
# is fatal where nobody takes idle memory back.
here=$(dirname "$(realpath "$0")")
# shellcheck source-path=SCRIPTDIR source=../run_tap.sh
. "$here/../run_tap.sh"
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$here/lib.sh"

limit_kb=$((600 << 10))
need_mb=300
root=/sys/fs/cgroup

grep -qw memory $root/cgroup.controllers || skip_all 'no memory controller'
[ -e /dev/goheap ] || skip_all 'no /dev/goheap'

# $1: cgroup, $2: which of its events.
events()
{
	awk -v e="$2" '$1 == e { print $2 }' "$1/memory.events"
}

new_cgroup()
{
	cg=$root/pressure-$1
	mkdir "$cg"
	echo $((limit_kb << 10)) >"$cg/memory.max"
}

# $1: objects or block
pressed()
{
	local needed_kb

	new_cgroup "$1"
	if ! start_holder "$cg" "$1" LD_PRELOAD="$lib" GOHEAPDEBUG=backend=device; then
		flunk "$1_starts"
		flunk "$1_neighbour_got_all"
		flunk "$1_no_oom"
		flunk "$1_released_in_bounds"
		flunk "$1_goes_on"
		return
	fi
	check "$1_starts" holds_500_mb
	needed_kb=$(($(cat "$cg/memory.current") / 1024 + need_mb * 1024 - limit_kb))
	run_neighbour "$cg" $need_mb
	check "$1_neighbour_got_all" [ "$got_mb" = $need_mb ]
	check "$1_no_oom" [ "$(events "$cg" oom)$(events "$cg" oom_kill)" = 00 ]
	check "$1_released_in_bounds" released_in_bounds $needed_kb
	check "$1_goes_on" end_holder
	rmdir "$cg"
}

control()
{
	new_cgroup control
	start_holder "$cg" objects LD_PRELOAD=libjemalloc.so.2 \
		MALLOC_CONF=dirty_decay_ms:-1,muzzy_decay_ms:-1
	run_neighbour "$cg" $need_mb
	check control_is_killed [ "$(events "$cg" oom_kill)" -gt 0 ]
	kill -9 "$holder" 2>/dev/null
	wait "$holder" 2>/dev/null
	rmdir "$cg"
}

plan 11
pressed objects
pressed block
control
finish
