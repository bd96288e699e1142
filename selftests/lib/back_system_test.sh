#!/bin/bash
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# The library and the machine's settings: core dumps, strict overcommit, the
# module's parameters, and memory that goes while the whole process sleeps.  What
# needs to change a setting of the machine is done in a VM only, where nobody else
# is disturbed; the setting is put back.
here=$(dirname "$(realpath "$0")")
. "$here/../run_tap.sh"

bin=${BUILD:-$here/../../build}/selftests/lib
lib=${BUILD:-$here/../../build}/libgoheap.so
params=/sys/module/goheap/parameters
backend=$(sed -n 's/.*backend=\([a-z]*\).*/\1/p' <<<"${GOHEAPDEBUG:-}")
if [ -z "$backend" ]; then
	backend=embedded
	[ ! -c /dev/goheap ] || backend=device
fi
dir=$(mktemp -d)
undo=''
trap 'eval "$undo"; rm -rf "$dir"' EXIT

prog()
{
	GOHEAPDEBUG=backend=$backend LD_PRELOAD=$lib "$bin/back_prog" "$@"
}

# $1: file of a setting, $2: its value for the rest of the command.  It is put back also
# if we are killed: other tests would fail for it.
with_setting()
{
	local file=$1 value=$2 old status
	shift 2

	old=$(<"$file")
	undo="echo '$old' >'$file'; $undo"
	echo "$value" >"$file"
	"$@"
	status=$?
	echo "$old" >"$file"
	return $status
}

dumps_core()
{
	(cd "$dir" && ulimit -c unlimited && { prog dump; } 2>/dev/null)
	core=$(ls "$dir"/core* 2>/dev/null)
	[ -n "$core" ]
}

core_is_small()
{
	local size

	size=$(stat -c %s "$core")
	note "core: $((size >> 20)) MiB"
	[ "$size" -lt $((200 << 20)) ] && [ "$size" -gt $((100 << 20)) ]
}

# The debugger finds the live data.
core_opens()
{
	gdb -batch -nx -ex 'print live' "$bin/back_prog" "$core" \
		>"$dir/gdb" 2>&1
	grep -q 'the live data begins here' "$dir/gdb" || { note "$(tail -n 5 "$dir/gdb")"; return 1; }
}

# With strict overcommit a program gets what there is, then ENOMEM; and others can start.
strict()
{
	local out

	out=$(ulimit -v $((4 << 20)); prog fill 2>"$dir/err")
	note "strict overcommit: $out; $(head -n 1 "$dir/err")"
	[[ $out == *'MiB, errno 12' ]] && [ "${out%% *}" -ge 64 ] || return 1
	out=$(prog 2>"$dir/err")
	[ "$out" = "fine $backend" ] && [ ! -s "$dir/err" ]
}

# Address space is not memory: a child of a process with an arena can be had.
strict_ratio()
{
	with_setting /proc/sys/vm/overcommit_ratio 60 \
		with_setting /proc/sys/vm/overcommit_memory 2 strict
}

# Arenas of 256 MiB: more of them are made, all by the device.
small_arenas()
{
	local out

	out=$(ulimit -v $((1 << 20)); prog fill 2>"$dir/err")
	note "small arenas: $out; $(head -n 1 "$dir/err")"
	[[ $out == *'errno 12' ]] && [ "${out%% *}" -ge 800 ]
}

# A hard limit on the heap is one on the process: no other heap is made.
limited()
{
	local out

	out=$(prog fill 64 2>"$dir/err")
	note "limited to 64 MiB: $out; $(head -n 1 "$dir/err")"
	[[ $out == *'errno 12' ]] && [ "${out%% *}" -ge 56 ] && [ "${out%% *}" -le 64 ]
}

few_spans()
{
	[ "$(prog)" = "fine device" ]
}

# The anonymous memory of process $1, in KiB.
rss_anon()
{
	awk '/^RssAnon:/ { print $2 }' "/proc/$1/status"
}

# $1: size of the blocks, $2: threads that allocated and freed them.  After 10 seconds
# at most, no more anonymous memory than before, with the live data, and 2 MiB.
sleeps()
{
	local want had pid now lost i

	rm -f "$dir/idle"
	GOHEAPDEBUG=backend=$backend LD_PRELOAD=$lib \
		"$bin/back_prog" idle "$1" "$2" >"$dir/idle" &
	pid=$!
	until [ -s "$dir/idle" ]; do
		kill -0 $pid || return 1
		sleep 0.1
	done
	read -r want had <"$dir/idle"
	for ((i = 0; i < 50; i++)); do
		now=$(rss_anon $pid)
		[ "$now" -gt $((want + 2048)) ] || break
		sleep 0.2
	done
	kill -USR1 "$pid"
	wait "$pid"
	lost=$?
	note "blocks of $1, $2 threads: base and live $want KiB, had $had KiB, $now KiB after $i fifths of a second"
	[ "$now" -le $((want + 2048)) ] && [ $lost = 0 ]
}

# Small objects and large ones, which do not come from the same caches.
sleep_all()
{
	local rc=0 size

	for size in 100 4096 30000 1000000; do
		sleeps $size 1 || rc=1
	done
	sleeps 100000 4 || rc=1
	return $rc
}

# Of the library's variables a few pages are touched; a huge page would be resident whole.
no_huge_variables()
{
	local bytes

	bytes=$(($(readelf -lW "$lib" | awk '$1 == "LOAD" && $7 ~ /W/ { print $6 }')))
	note "variables: $((bytes >> 10)) KiB"
	[ "$bytes" -lt $((2 << 20)) ]
}

in_vm=false
[ -z "${VM_OUT:-}" ] || in_vm=true

plan 9
check 'no huge page in the variables' no_huge_variables
if ! $in_vm && [[ $(</proc/sys/kernel/core_pattern) == *[\|/]* ]]; then
	for name in 'core dump' 'core dump is small' 'core dump opens in gdb'; do
		skip "$name" 'cores go elsewhere on this machine'
	done
else
	! $in_vm || echo core >/proc/sys/kernel/core_pattern
	check 'core dump' dumps_core
	check 'core dump is small' core_is_small
	check 'core dump opens in gdb' core_opens
fi
if $in_vm; then
	check 'strict overcommit' strict_ratio
else
	skip 'strict overcommit' 'in a VM only'
fi
if $in_vm && [ "$backend" = device ]; then
	check 'arenas limited to 256 MiB' \
		with_setting $params/max_arena $((256 << 20)) small_arenas
	check 'a heap with a hard limit' limited
	check 'no heap allowed: the library has one' \
		with_setting $params/max_spans 100 few_spans
	# An emulated CPU is slow, so the worker may have all of it.
	check 'sleeping processes lose their idle memory' \
		with_setting "$params/scavenge_cpu_percent" 100 \
		with_setting "$params/scavenge_limit_ms" 1000 sleep_all
else
	for name in 'arenas limited to 256 MiB' 'a heap with a hard limit' \
		'no heap allowed: the library has one' \
		'sleeping processes lose their idle memory'; do
		skip "$name" 'on the device, in a VM only'
	done
fi
finish
