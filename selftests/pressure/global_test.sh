#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# A machine of 1 GB without cgroups and without swap: a stopped process has
# 500 MB idle, and a neighbour needs 150 MB more than the machine has left.  It
# gets them, nothing is killed, and the idle process loses little more than was
# needed.  The control shows that the same is fatal where nobody takes idle
# memory back.
here=$(dirname "$(realpath "$0")")
# shellcheck source-path=SCRIPTDIR source=../run_tap.sh
. "$here/../run_tap.sh"
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$here/lib.sh"

short_mb=150

meminfo()
{
	awk -v n="$1:" '$1 == n { print $2 }' /proc/meminfo
}

oom_kills()
{
	awk '$1 == "oom_kill" { print $2 }' /proc/vmstat
}

# What reclaim keeps free, in kB: the high watermarks of all zones.
kept_free_kb()
{
	awk '$1 == "high" { pages += $2 } END { print pages * 4 }' /proc/zoneinfo
}

# $1: objects or block
pressed()
{
	local kills need_mb needed_kb

	kills=$(oom_kills)
	if ! start_holder '' "$1" LD_PRELOAD="$lib" GOHEAPDEBUG=backend=device; then
		flunk "$1_starts"
		flunk "$1_neighbour_got_all"
		flunk "$1_no_oom"
		flunk "$1_released_in_bounds"
		flunk "$1_goes_on"
		return
	fi
	check "$1_starts" holds_500_mb
	need_mb=$(($(meminfo MemAvailable) / 1024 + short_mb))
	needed_kb=$((need_mb * 1024 + $(kept_free_kb) - $(meminfo MemFree)))
	run_neighbour '' $need_mb
	check "$1_neighbour_got_all" [ "$got_mb" = $need_mb ]
	check "$1_no_oom" [ "$(oom_kills)" = "$kills" ]
	check "$1_released_in_bounds" released_in_bounds $needed_kb
	check "$1_goes_on" end_holder
}

control()
{
	local kills

	kills=$(oom_kills)
	start_holder '' objects LD_PRELOAD=libjemalloc.so.2 \
		MALLOC_CONF=dirty_decay_ms:-1,muzzy_decay_ms:-1
	run_neighbour '' $(($(meminfo MemAvailable) / 1024 + short_mb))
	check control_is_killed [ "$(oom_kills)" -gt "$kills" ]
	kill -9 "$holder" 2>/dev/null
	wait "$holder" 2>/dev/null
}

[ -e /dev/goheap ] || skip_all 'no /dev/goheap'
[ "$(meminfo MemTotal)" -lt $((1 << 20)) ] || skip_all 'needs a machine of 1 GB'

plan 11
pressed objects
pressed block
control
finish
