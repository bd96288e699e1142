#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# goheap trace on the module: which events it shows, of which heaps, when it ends, that it
# leaves nothing in tracefs, and what it refuses.  Needs root and the module.

# shellcheck disable=SC2015,SC2086,SC2119,SC2317
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$(realpath "$0")")/common.sh"

instances=/sys/kernel/tracing/instances
[ -e /sys/class/misc/goheap ] && [ "$(id -u)" = 0 ] || skip_all 'needs root and /dev/goheap'
[ -d $instances ] || skip_all 'no tracefs'

# Programs with a heap, which allocate and free a large object whenever they are told to.
begin()
{
	local which=$1

	mkfifo "$work/$which.in" "$work/$which.out"
	LD_PRELOAD=$BUILD/libgoheap.so python3 -c '
import ctypes, sys
c = ctypes.CDLL(None)
c.malloc.restype = ctypes.c_void_p
c.free.argtypes = [ctypes.c_void_p]
c.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
for line in sys.stdin:
    p = c.malloc(int(line))
    c.memset(p, 1, int(line))
    c.free(p)
    c.malloc_trim(0)
    print("done", flush=True)' <"$work/$which.in" >"$work/$which.out" 2>/dev/null &
	pids+=($!)
}
pids=()
begin one
begin two
exec 7>"$work/one.in" 8<"$work/one.out" 9>"$work/two.in" 10<"$work/two.out"
trap 'exec 7>&- 9>&-; wait; rm -rf "$work"' EXIT

# Each allocates $1 bytes and gives them back.
both()
{
	echo "$1" >&7 && read -r -t 60 <&8 && echo "$1" >&9 && read -r -t 60 <&10
}

# Runs the command in the background until it says that it has begun.
tracing()
{
	# Not what the one before said: the file may be looked at before the new one has it.
	: >"$work/out"
	"$@" >>"$work/out" 2>"$work/err" </dev/null &
	tracer=$!
	for _ in {1..100}; do
		! [ -s "$work/out" ] || return 0
		sleep 0.1
	done
	note "$*: $(<"$work/err")"
	return 1
}

# It ended as it should, and tracefs is as it was.
ended()
{
	wait "$tracer"
	status=$?
	[ "$status" = 0 ] && [ -z "$(ls $instances)" ] && [ ! -s "$work/err" ] && return
	note "status $status, left: $(ls $instances)" "$(<"$work/err")"
	return 1
}

# The heap of process $1.
heap_of()
{
	basename "$(dirname "$(grep -lx "$1" /sys/class/misc/goheap/*/pid)")"
}

# 40 MiB come and go in both heaps: allocated, freed, released on demand.
shows_events()
{
	local p=${pids[0]} q=${pids[1]}

	tracing "$goheap" trace && both 41943040 && kill -INT "$tracer" && ended || return 1
	prints "^ +[0-9.]+ python3 +$p +$1  span_alloc  40M at 0xc0[0-9a-f]+, tag [0-9]+, one large object" &&
	prints "^ +[0-9.]+ python3 +$q +$2  span_alloc  40M" &&
	prints "^ +[0-9.]+ python3 +$p +$1  span_free   40M at 0xc0" &&
	prints "^ +[0-9.]+ python3 +$p +$1  scavenge    released [0-9.]+M: demand$" &&
	prints "^ +SECONDS COMMAND +PID  HEAP  EVENT       WHAT$"
}

of_one_heap()
{
	tracing "$goheap" trace -p "${pids[1]}" && both 30000000 && kill -TERM "$tracer" && ended || return 1
	prints "^ +[0-9.]+ python3 +${pids[1]} +$2  span_alloc  29M" && ! grep -q " ${pids[0]} " "$work/out"
}

of_one_kind()
{
	tracing "$goheap" trace scavenge goheap_grow && both 50000000 && kill -HUP "$tracer" && ended || return 1
	prints ' scavenge ' && ! grep -qE ' span_(alloc|free|resize) | pressure ' "$work/out"
}

after_count()
{
	tracing "$goheap" trace -n 3 span_alloc && both 60000000 && both 70000000 && both 70000000 && ended || return 1
	[ "$(wc -l <"$work/out")" = 4 ]
}

# What happened is shown, though the buffer was not full when the time was over.
after_time()
{
	local begin=$SECONDS

	tracing "$goheap" trace -d 3 && both 60000000 && ended || return 1
	[ $((SECONDS - begin)) -ge 2 ] && [ $((SECONDS - begin)) -le 20 ] && prints ' span_alloc  57M'
}

at_once()
{
	local seen=1

	tracing "$goheap" trace span_alloc && both 80000000 || return 1
	for _ in {1..50}; do
		! grep -q ' span_alloc  76M' "$work/out" || break
		sleep 0.1
	done
	prints ' span_alloc  76M' && seen=0
	kill -INT "$tracer"
	ended && [ $seen = 0 ]
}

pressure()
{
	tracing "$goheap" trace pressure || return 1
	# Heaps with nothing idle are asked only now and then.
	for _ in {1..50}; do
		echo 2 >/proc/sys/vm/drop_caches
		! grep -q " $1  pressure " "$work/out" || break
		sleep 0.1
	done
	kill -INT "$tracer"
	ended && prints " $1  pressure    asked for [0-9.]+[KM]; [0-9]+ times so far$"
}

age_pass()
{
	local limit

	limit=$(</sys/module/goheap/parameters/scavenge_limit_ms)
	tracing "$goheap" trace -n 1 age_pass || return 1
	echo 200 >/sys/module/goheap/parameters/scavenge_limit_ms
	ended
	echo "$limit" >/sys/module/goheap/parameters/scavenge_limit_ms
	prints ' age_pass +pass [0-9]+ over all heaps released [0-9.]+[BKM]$'
}

json()
{
	tracing "$goheap" trace --json -d 3 && both 41943040 && ended || return 1
	"$here/valid.py" trace <"$work/out" && python3 - "$work/out" "$1" "${pids[0]}" <<-'END'
	import json, sys
	events = [e for e in json.load(open(sys.argv[1])) if e.get("heap") == int(sys.argv[2])]
	alloc, = [e for e in events if e["event"] == "span_alloc" and e["npages"] == 5120]
	assert alloc["pid"] == int(sys.argv[3]) and alloc["comm"] == "python3" and alloc["flags"] & 1, alloc
	assert sum(e["bytes"] for e in events if e["event"] == "scavenge" and e["cause"] == "demand") >= 40 << 20
	END
}

# Its reader goes; and it goes itself so that it cannot clean up, which the next one does.
nobody_reads()
{
	local fifo=$work/reader

	mkfifo "$fifo"
	head -n 1 <"$fifo" >/dev/null &
	"$goheap" trace >"$fifo" 2>/dev/null &
	tracer=$!
	for _ in {1..100}; do
		kill -0 "$tracer" 2>/dev/null || break
		sleep 0.1
	done
	! kill "$tracer" 2>/dev/null && [ -z "$(ls $instances)" ]
}

was_killed()
{
	tracing "$goheap" trace && kill -KILL "$tracer"
	wait "$tracer"
	[ "$(ls $instances)" = "goheap-$tracer" ] && tracing "$goheap" trace -d 1 && ended
}

# A trace of somebody else's goes on.
disturbs_nobody()
{
	local mine=/sys/kernel/tracing

	echo 1 >$mine/events/goheap/goheap_grow/enable
	tracing "$goheap" trace -d 1 grow && ended
	[ "$(<$mine/events/goheap/goheap_grow/enable)" = 1 ] || return 1
	echo 0 >$mine/events/goheap/goheap_grow/enable
}

# A program with a name that looks like what follows it.
odd_name()
{
	local name='a-1: goheap_: ['

	cp "$(command -v sleep)" "$work/$name" && tracing "$goheap" trace span_alloc || return 1
	LD_PRELOAD=$BUILD/libgoheap.so GOHEAPDEBUG=backend=device "$work/$name" 0.3
	kill -INT "$tracer"
	ended
	prints '^ +[0-9.]+ a-1: goheap_: \[ +[0-9]+ +[0-9]+  span_alloc '
}

both 1000000
one=$(heap_of "${pids[0]}")
two=$(heap_of "${pids[1]}")
plan 18
check 'events of two heaps; SIGINT' shows_events "$one" "$two"
check 'of one process; SIGTERM' of_one_heap "$one" "$two"
check 'of one kind; SIGHUP' of_one_kind
check 'so many' after_count
check 'for so long' after_time
check 'as they happen' at_once
check 'pressure' pressure "$one"
check 'a pass by age' age_pass
check 'JSON' json "$one"
check 'nobody reads it any more' nobody_reads
check 'what a killed one left goes' was_killed
check "somebody else's trace goes on" disturbs_nobody
check 'a process with an odd name' odd_name
check 'not root' refuses 1 'only root may trace: sudo goheap trace' as_nobody "$goheap" trace
check 'no such event' refuses 2 "there is no event 'alloc'" "$goheap" trace alloc
check 'an event that is of no process' refuses 2 'age_pass is of all heaps' \
	"$goheap" trace -p "${pids[0]}" age_pass
check 'no such process' refuses 1 '999999999 has no heap' "$goheap" trace -p 999999999
check 'a count that is none' refuses 2 "'0' is no number of events" "$goheap" trace -n 0
finish
