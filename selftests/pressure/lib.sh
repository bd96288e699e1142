# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# What the pressure tests share: a holder of idle memory that is stopped, a
# neighbour that needs memory, and what the heap says became of it.

# shellcheck disable=SC2034,SC2154	# used by, or set in, the scripts that source this
bin=$BUILD/selftests/pressure
lib=$BUILD/libgoheap.so
sys=/sys/class/misc/goheap
work=$(mktemp -d)

# What goes because it is old is none of pressure's doing, and a slow machine gets there.
age=/sys/module/goheap/parameters/scavenge_limit_ms
age_was=$(cat "$age" 2>/dev/null) && echo 0 >"$age"

# $*: processes that may be left.
clean_up()
{
	kill -9 "$@" 2>/dev/null
	[ -z "$age_was" ] || echo "$age_was" >"$age"
	rm -rf "$work"
}
trap 'clean_up ${holder:-}' EXIT

# Becomes the command in cgroup $1 ("" for none): call it in a subshell.
in_cgroup()
{
	[ -z "$1" ] || echo "$BASHPID" >"$1/cgroup.procs"
	shift
	exec "$@"
}

# $1: cgroup, $2: objects or block, then what env(1) is to set.  Sets holder (its
# pid) and idle_kb (its resident set, stopped).
start_holder()
{
	local cg=$1 what=$2
	shift 2

	in_cgroup "$cg" env "$@" "$bin/holder" "$what" >"$work/holder" 2>"$work/holder.err" &
	holder=$!
	for _ in $(seq 600); do
		[ "$(awk '/^State:/ { print $2 }' "/proc/$holder/status" 2>/dev/null)" = T ] && break
		sleep 0.1
	done
	idle_kb=$(cat "$work/holder")
	[ -n "$idle_kb" ] && return
	note "the holder did not come to its stop: $(cat "$work/holder.err")"
	return 1
}

# $1: cgroup, $2: MB it needs.  Sets got_mb.
run_neighbour()
{
	{ (in_cgroup "$1" "$bin/neighbour" "$2") >"$work/got"; } 2>/dev/null
	got_mb=$(tail -n 1 "$work/got")
}

rss_kb()
{
	awk '/^VmRSS:/ { print $2 }' "/proc/$1/status"
}

# Wakes the holder up; its exit status.
end_holder()
{
	kill -CONT "$holder" 2>/dev/null
	wait "$holder" 2>/dev/null
}

# File $1 of the heap of the holder.
of_heap()
{
	local pid

	pid=$(grep -lx "$holder" $sys/*/pid $sys/*/*/pid 2>/dev/null | head -n 1)
	cat "$(dirname "$pid")/$1"
}

# $1: kB needed.  Whether no more than a quarter above that was released, as the
# heap counts it and as the holder's resident set shows it; and the two agree
# to within a megabyte.
released_in_bounds()
{
	local counted shown

	if ! rss_kb "$holder" >/dev/null 2>&1; then
		note 'the holder was killed'
		return 1
	fi
	counted=$(($(of_heap scav_pressure_bytes) / 1024))
	shown=$((idle_kb - $(rss_kb "$holder")))
	note "idle $idle_kb kB, needed $1 kB, released $counted kB, resident set fell by $shown kB"
	[ "$counted" -gt 0 ] && [ $((counted * 4)) -le $(($1 * 5)) ] &&
		[ $((shown * 4)) -le $(($1 * 5)) ]
}

# The holder must have come to its stop with its memory: 500 MB and at most a tenth more.
holds_500_mb()
{
	[ "$idle_kb" -ge $((490 << 10)) ] && [ "$idle_kb" -le $((550 << 10)) ]
}
