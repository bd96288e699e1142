#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# The command goheap on heaps of the kernel: Redis under goheap run is listed, shown and
# watched; its memory is released and limited; another user sees and changes what is
# theirs, and no more.  It needs the module and root.
# shellcheck disable=SC2015,SC2016,SC2119,SC2317
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$(realpath "$0")")/common.sh"
# shellcheck source=terminal.sh
. "$here/terminal.sh"
unset GOHEAPDEBUG

dir=/sys/class/misc/goheap
as_other=(setpriv --reuid=65534 --regid=65534 --clear-groups)
trap 'kill $(jobs -p) 2>/dev/null; tmux_ kill-server 2>/dev/null; rm -rf "$work"' EXIT

# Waits for a command to succeed.
soon()
{
	local _

	for _ in $(seq 300); do
		! "$@" || return 0
		sleep 0.1
	done
	return 1
}

redis()
{
	redis-cli -s "$work/sock" "$@"
}

is_up()
{
	[ "$(redis ping 2>/dev/null)" = PONG ]
}

# $1: name of what it makes when it is done, $2: its argument; then what it is started with.
start_churn()
{
	local name=$1 argument=$2
	shift 2

	"$@" "$goheap" run /usr/bin/python3 "$here/churn.py" "$work/shared/$name" "$argument" &
	soon test -e "$work/shared/$name"
}

# Field $2 of the heap of process $1, as root sees it.
field()
{
	"$goheap" stat --json "$1" | sed -n "s/^ *\"$2\": \([0-9]*\).*/\1/p" | tail -n 1
}

rss_kib()
{
	awk '/^VmRSS/ { print $2 }' "/proc/$1/status"
}

runs_on_device()
{
	"$goheap" run -v -- redis-server --port 0 --unixsocket "$work/sock" --save '' \
		--enable-debug-command yes >"$work/redis.log" 2>"$work/redis.err" &
	server=$!
	soon is_up || { note "$(<"$work/redis.err")"; return 1; }
	grep -q '^goheap run: backend device: ' "$work/redis.err" || return
	try "$goheap" list
	prints "^ *[0-9]+ +$server redis-server " && [ ! -s "$work/err" ]
}

# After 40 MB were made and deleted.
shows_idle()
{
	redis debug populate 100000 key 300 >/dev/null && redis flushall >/dev/null || return
	"$goheap" stat --json >"$work/stat" && "$here/valid.py" stat <"$work/stat" || return
	try "$goheap" stat "$server"
	note "$(<"$work/out")"
	[ $(($(field "$server" heap_idle) - $(field "$server" heap_released))) -gt 10000000 ] &&
		prints "^heap [0-9]+ of process $server \(redis-server\), arena 0x" || return
	"$goheap" stat -p | promtool check metrics >&2
}

releases()
{
	local before after rss

	before=$(field "$server" scav_demand_bytes)
	rss=$(rss_kib "$server")
	try "$goheap" scavenge "$server"
	after=$(field "$server" scav_demand_bytes)
	note "$(<"$work/out") (RSS $rss -> $(rss_kib "$server") KiB)"
	[ "$status" = 0 ] && prints "^heap [0-9]+ of process $server \(redis-server\): [0-9.]+M released\$" &&
		[ $((after - before)) -gt 10000000 ] && [ $((rss - $(rss_kib "$server"))) -gt 10000 ] || return
	# Nothing that is idle is left, though it goes in steps.
	[ $(($(field "$server" heap_idle) - $(field "$server" heap_released))) -lt 1000000 ]
}

# 20 of 38 MB, which is two steps, and no more than what one may exceed.
releases_some()
{
	local before after

	redis debug populate 100000 key 300 >/dev/null && redis flushall >/dev/null || return
	before=$(field "$server" scav_demand_bytes)
	try "$goheap" scavenge --bytes 20M "$server"
	after=$(field "$server" scav_demand_bytes)
	note "$((after - before)) bytes released, of $((20 << 20))"
	[ "$status" = 0 ] && [ $((after - before)) -ge $((20 << 20)) ] && [ $((after - before)) -le $((24 << 20)) ]
}

# What a limit leaves; both are refused where they do not fit each other.
limits()
{
	local id held

	redis debug populate 100000 key 300 >/dev/null && redis flushall >/dev/null
	try "$goheap" limit "$server" 16M
	prints "^ *[0-9]+ +$server redis-server .* 16M +none\$" || return
	id=$(awk 'NR == 2 { print $1 }' "$work/out")
	held=$(($(<"$dir/$id/heap_sys") - $(<"$dir/$id/heap_released")))
	note "limit_soft is $(<"$dir/$id/limit_soft"), held are $held"
	[ "$(<"$dir/$id/limit_soft")" = 16777216 ] && [ "$held" -le 16777216 ] || return
	refuses 1 'a hard limit of 8.0M is below the soft one of 16M: lower that first' \
		"$goheap" limit --hard "$server" 8M || return
	try "$goheap" limit -H "id:$id" 1G
	prints ' 16M +1.0G$' || return
	refuses 1 'a soft limit of 2.0G is above the hard one of 1.0G: raise that first, with --hard' \
		"$goheap" limit "$server" 2G || return
	"$goheap" limit "$server" none >"$work/out" && prints ' none +1.0G$' &&
		"$goheap" limit -H "$server" none >"$work/out" && prints ' none +none$' && "$goheap" limit --json | "$here/valid.py" limits
}

# All that another user's process may be looked at for, and changed in, without root.
others_have_theirs()
{
	start_churn theirs "" "${as_other[@]}" || return
	theirs=$!
	try "${as_other[@]}" "$goheap" list
	prints "^ *[0-9]+ +$theirs python3 " && [ "$(wc -l <"$work/out")" = 2 ] &&
		grep -q '1 heap of other users or containers not shown: root sees them' "$work/err" || return
	try "${as_other[@]}" "$goheap" limit "$theirs" 8M
	[ "$status" = 0 ] && prints ' 8.0M +none$' || return
	refuses 1 '1 of others are hidden from you: ask as root' "${as_other[@]}" "$goheap" scavenge "$server" ||
		return
	try "${as_other[@]}" "$goheap" scavenge all
	[ "$status" = 0 ] && prints "^heap [0-9]+ of process $theirs " && ! grep -q redis "$work/out"
}

# It forked, and the child has ended or not.
waits_for_child()
{
	start_churn forked fork || return
	forked=$!
	refuses 1 'shared with a forked child: try again when that has ended' "$goheap" scavenge "$forked" ||
		return
	pkill -P "$forked"
	soon "$goheap" scavenge "$forked" >"$work/out" 2>&1
}

# In a pid namespace of its own there is one heap, and others are counted.
hidden_in_container()
{
	try unshare --pid --fork --mount --mount-proc "$goheap" run sh -c "x=\$(seq 100); $goheap list; exit"
	note "$(<"$work/out")" "$(<"$work/err")"
	! grep -q redis "$work/out" && grep -qE '^goheap list: [34] heaps of other users or containers' "$work/err"
}

# From outside, all of them.
all_at_once()
{
	try "$goheap" scavenge all --json
	"$here/valid.py" scavenge <"$work/out" && [ "$(grep -c '"pid"' "$work/out")" -ge 3 ]
}

top_shows_it()
{
	redis debug populate 100000 key 300 >/dev/null && redis flushall >/dev/null
	start 80 12 "$goheap top"
	first_is "^ *[0-9]+ +$server redis-server" && keys s && shows 'by scavenged' 30 &&
		shows "$theirs python3 " || return
	sleep 2
	note "$(screen)"
	ends
}

watches()
{
	"$goheap" stat -i 0.5 "$server" >"$work/out" &
	sleep 2
	redis debug populate 50000 key 300 >/dev/null
	sleep 1
	redis shutdown nosave
	wait $! || return
	note "$(<"$work/out")"
	# Spans were allocated at some time.
	awk '$4 > 0 && $4 ~ /^[0-9]+$/ { found = 1 } END { exit !found }' "$work/out" || return
	refuses 1 "$server has no heap of the kernel" "$goheap" stat "$server"
}

[ "$(id -u)" = 0 ] || skip_all 'must be root'
[ -e $dir ] || skip_all 'the module is not loaded'
mkdir -m 777 "$work/shared"
plan 11
check 'run: Redis on the device' runs_on_device
check 'stat: what is idle' shows_idle
check 'scavenge: what is idle goes' releases
check 'scavenge --bytes: so much goes' releases_some
check 'limit: soft and hard' limits
check 'another user has what is theirs' others_have_theirs
check 'scavenge: shared with a child' waits_for_child
check 'list: hidden from a container' hidden_in_container
check 'scavenge all' all_at_once
check 'top: Redis' top_shows_it
check 'stat -i: what changes, until the end' watches
finish
