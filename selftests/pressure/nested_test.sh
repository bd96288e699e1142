#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# Twenty stopped processes with 40 MB idle each, five in each of four memory
# cgroups of which each is inside the one before: a/b/c/d.  Whoever needs memory in
# one of them takes it from the heaps in that one and in those inside it, little
# more than was needed; the others, outside, lose nothing at all.  The same for
# memory.reclaim.  The control shows what becomes of the innermost one where
# nobody takes idle memory back.
#
# Then what an administrator can ask for: drop_caches releases all that is idle;
# and where the kernel shows shrinkers in debugfs, they have what sysfs says is
# idle, and release what they are told to.
#
# A process must not be in a cgroup that has others inside: those of a are in
# a/own, and so on; those of d are in d.
# shellcheck disable=SC2317	# functions are called by check
# shellcheck disable=SC2048,SC2086	# lists of processes and of levels
here=$(dirname "$(realpath "$0")")
# shellcheck source-path=SCRIPTDIR source=../run_tap.sh
. "$here/../run_tap.sh"
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$here/lib.sh"

root=/sys/fs/cgroup
top=$root/nested
levels='a b c d'
kinds=(objects block)
per_level=5
holder_mb=40
shrinker=/sys/kernel/debug/shrinker

declare -A dir own pids heap anon_was scav_was

grep -qw memory $root/cgroup.controllers || skip_all 'no memory controller'
[ -e /dev/goheap ] || skip_all 'no /dev/goheap'
trap 'clean_up ${pids[*]}' EXIT

make_cgroups()
{
	local l path=$top

	mkdir "$top" && echo +memory >"$top/cgroup.subtree_control"
	for l in $levels; do
		path=$path/$l
		dir[$l]=$path
		own[$l]=$path
		mkdir "$path"
		[ "$l" = d ] && break
		echo +memory >"$path/cgroup.subtree_control"
		own[$l]=$path/own
		mkdir "$path/own"
	done
}

remove_cgroups()
{
	find "$top" -depth -type d -exec rmdir {} +
}

# $1: level, $2: objects or block, then for env(1).  Sets pids of the level.
start_one()
{
	local l=$1 what=$2
	shift 2

	in_cgroup "${own[$l]}" env "$@" "$bin/holder" "$what" $holder_mb \
		>/dev/null 2>>"$work/holder.err" &
	pids[$l]+=" $!"
}

is_stopped()
{
	[ "$(awk '/^State:/ { print $2 }' "/proc/$1/status" 2>/dev/null)" = T ]
}

# $*: processes that will all stop, within two minutes.
wait_stopped()
{
	local p n=0

	for p in "$@"; do
		until is_stopped "$p"; do
			[ $((++n)) -lt 1200 ] && [ -d "/proc/$p" ] || return
			sleep 0.1
		done
	done
}

start_all()
{
	local l n

	for l in $levels; do
		for ((n = 0; n < per_level; n++)); do
			start_one "$l" "${kinds[n % 2]}" LD_PRELOAD="$lib" GOHEAPDEBUG=backend=device
		done
	done
	wait_stopped ${pids[*]}
}

# Which heap is whose.
find_heaps()
{
	local f

	for f in "$sys"/*/pid; do
		heap[$(cat "$f")]=$(dirname "$f")
	done
}

# $1: pid.  What it has in memory that is its own, in kB.
anon_kb()
{
	awk '/^RssAnon:/ { print $2 }' "/proc/$1/status"
}

# $1: pid.  What its heap has idle and in memory, in kB.
idle_kb_of()
{
	local h=${heap[$1]}

	echo $((($(cat "$h/heap_idle") - $(cat "$h/heap_released")) / 1024))
}

# $*: levels.
idle_kb_in()
{
	local l p sum=0

	for l in "$@"; do
		for p in ${pids[$l]}; do
			sum=$((sum + $(idle_kb_of "$p")))
		done
	done
	echo $sum
}

all_idle()
{
	local l p

	for l in $levels; do
		for p in ${pids[$l]}; do
			[ "$(idle_kb_of "$p")" -ge $((holder_mb * 1024 * 9 / 10)) ] || return
		done
	done
}

remember()
{
	local p

	for p in ${pids[*]}; do
		anon_was[$p]=$(anon_kb "$p")
		scav_was[$p]=$(cat "${heap[$p]}/scav_pressure_bytes")
	done
}

# $*: levels.  Sets counted and shown: kB that their heaps lost since remember().
# One may have become larger, by a huge page that khugepaged made.
lost_in()
{
	local l p less

	counted=0
	shown=0
	for l in "$@"; do
		for p in ${pids[$l]}; do
			counted=$((counted + ($(cat "${heap[$p]}/scav_pressure_bytes") -
					      scav_was[$p]) / 1024))
			less=$((anon_was[$p] - $(anon_kb "$p")))
			shown=$((shown + (less > 0 ? less : 0)))
		done
	done
}

# $*: levels.  Not a byte, by either account.
lost_nothing()
{
	local counted shown

	lost_in "$@"
	[ "$counted" = 0 ] && [ "$shown" = 0 ] && return
	note "$*: released $counted kB, in memory $shown kB less"
	return 1
}

# $1: kB needed; then levels.
in_bounds()
{
	local need=$1 counted shown
	shift

	lost_in "$@"
	note "$*: needed $need kB, released $counted kB, in memory $shown kB less"
	[ $((counted * 4)) -le $((need * 5)) ] && [ $((shown * 4)) -le $((need * 5)) ] &&
		[ $((counted * 4)) -ge $((need * 3)) ]
}

# In a, and with it in all of them.
no_oom()
{
	awk '$1 ~ /^oom/ && $2 { bad = 1 } END { exit bad }' "${dir[a]}/memory.events"
}

# $1: case, $2: level whose limit is reached, $3: MB the limit leaves free, $4: MB
# that a neighbour in that level needs, $5: levels inside it with it, $6: those outside.
press()
{
	local cg=${dir[$2]} limit_kb needed_kb

	remember
	limit_kb=$(($(cat "$cg/memory.current") / 1024 + $3 * 1024))
	echo $((limit_kb << 10)) >"$cg/memory.max"
	needed_kb=$((($4 - $3) * 1024))
	run_neighbour "${own[$2]}" "$4"
	echo max >"$cg/memory.max"
	check "$1_neighbour_got_all" [ "$got_mb" = "$4" ]
	check "$1_no_oom" no_oom
	check "$1_released_in_bounds" in_bounds $needed_kb $5
	check "$1_others_lose_nothing" lost_nothing $6
}

# memory.reclaim of c.
reclaim()
{
	local mb=60

	remember
	check reclaim_succeeds eval "echo ${mb}M >${dir[c]}/memory.reclaim"
	check reclaim_released_in_bounds in_bounds $((mb * 1024)) c d
	check reclaim_others_lose_nothing lost_nothing a b
}

# $1: inode of a cgroup.  What its shrinker says it has, in kB.
counted_kb()
{
	awk -v ino="$1" '$1 == ino { for (i = 2; i <= NF; i++) n += $i }
		END { print n * 4 }' "$shrinker"/goheap-*/count
}

# To one span, which is 8 kB.
counts_agree()
{
	local l has says

	for l in $levels; do
		has=$(idle_kb_in "$l")
		says=$(counted_kb "$(stat -c %i "${own[$l]}")")
		note "$l: idle $has kB, counted $says kB"
		[ $((has - says)) -ge -8 ] && [ $((has - says)) -le 8 ] || return
	done
}

# Tells the shrinker to release so many pages of b: it releases so many, and at most
# one span more, which may be 2 MiB long.
scan_is_exact()
{
	local ino pages counted shown

	ino=$(stat -c %i "${own[b]}")
	for pages in 1 700 3000; do
		remember
		echo "$ino 0 $pages" >"$(echo "$shrinker"/goheap-*/scan)" || return
		lost_in b
		note "told to release $((pages * 4)) kB: $counted kB, in memory $shown kB less"
		[ "$shown" -ge $((pages * 4)) ] && [ "$counted" -le $((pages * 4 + 2048)) ] ||
			return
		lost_nothing a c d || return
	done
}

in_debugfs()
{
	if [ -e "$(echo "$shrinker"/goheap-*/count)" ]; then
		check counts_agree counts_agree
		check scan_is_exact scan_is_exact
	else
		skip counts_agree 'no CONFIG_SHRINKER_DEBUG'
		skip scan_is_exact 'no CONFIG_SHRINKER_DEBUG'
	fi
}

# Nothing is asked for that is less than a batch: of each cgroup that much may stay.
drop()
{
	local l before left

	before=$(idle_kb_in a)
	echo 2 >/proc/sys/vm/drop_caches
	for l in $levels; do
		left=$(idle_kb_in "$l")
		note "$l: $left kB left"
		[ "$left" -le 4096 ] || return
	done
	[ "$before" -gt 100000 ]
}

end_all()
{
	local p

	for p in ${pids[*]}; do
		kill -CONT "$p" && wait "$p" || return
	done
	pids=()
}

control()
{
	local n cg=${dir[d]}

	for ((n = 0; n < per_level; n++)); do
		start_one d objects LD_PRELOAD=libjemalloc.so.2 \
			MALLOC_CONF=dirty_decay_ms:-1,muzzy_decay_ms:-1
	done
	wait_stopped ${pids[d]}
	echo $(($(cat "$cg/memory.current") + (20 << 20))) >"$cg/memory.max"
	run_neighbour "$cg" 100
	check control_is_killed [ "$(awk '$1 == "oom_kill" { print $2 }' "$cg/memory.events")" -gt 0 ]
	kill -9 ${pids[d]} 2>/dev/null
	wait
	pids=()
}

plan 18
make_cgroups
check all_start start_all
find_heaps
check all_idle all_idle
press inner d 20 100 d 'a b c'
press outer b 20 200 'b c d' a
reclaim
in_debugfs
check drop_caches_releases_all drop
check all_go_on end_all
control
remove_cgroups
finish
