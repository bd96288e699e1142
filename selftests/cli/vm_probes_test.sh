#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# The lines of perf and bpftrace in README.md, each as it stands there: that it runs, and
# sees what a program does meanwhile.  Needs root, the module, and both.

# shellcheck disable=SC2015,SC2086,SC2119,SC2317
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$(realpath "$0")")/common.sh"

[ -e /sys/class/misc/goheap ] && [ "$(id -u)" = 0 ] || skip_all 'needs root and /dev/goheap'
[ -d /sys/kernel/tracing/events/goheap ] || skip_all 'no tracepoints'
for tool in perf bpftrace; do
	command -v $tool >/dev/null || skip_all "no $tool"
done

# Allocates, frees and releases, over and over, and has memory taken away.
LD_PRELOAD=$BUILD/libgoheap.so python3 -c '
import ctypes, time
c = ctypes.CDLL(None)
c.malloc.restype = ctypes.c_void_p
c.free.argtypes = [ctypes.c_void_p]
c.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
size = 10 << 20
while True:
    size += 1 << 20
    p, q = c.malloc(size), c.malloc(size)
    c.memset(p, 1, size), c.memset(q, 1, size)
    c.free(p)
    c.malloc_trim(0)
    c.free(q)
    open("/proc/sys/vm/drop_caches", "w").write("2")
    time.sleep(0.2)
    size %= 60 << 20' &
program=$!
trap 'kill $program; wait; rm -rf "$work"' EXIT

# The line of README.md that has $1, without the remark behind it.
line_with()
{
	sed -n "/^    \(perf\|bpftrace\) /s/^    //p" "$top/README.md" | grep -F -e "$1" | sed 's/  *# .*//'
}

# Begins the line with $1; what it prints is in $work/$2.
begin()
{
	local line

	line=$(line_with "$1")
	[ -n "$line" ] && [ "$(wc -l <<<"$line")" = 1 ] || { echo "no such line: $1" >"$work/$2"; return; }
	echo "$line" >>"$work/ran"
	(cd "$work" && exec bash -c "$line") >"$work/$2" 2>&1 &
	began+=($!)
	[[ $line != bpftrace* ]] || tracers[$!]=$work/$2
}

# Whether a process is there still.
runs()
{
	kill -0 "$1" 2>/dev/null
}

# Waits $1 seconds at most for an end of all of them.
have_ended()
{
	local pid end=$((SECONDS + $1))

	for pid in "${began[@]}"; do
		while runs "$pid"; do
			((SECONDS < end)) || return
			sleep 0.2
		done
	done
}

# The program above may have been at its largest before anybody traced: others begin.
grow_heaps()
{
	until [ "$(wc -l <"$work/grow")" -gt 1 ] || ((SECONDS > 170)); do
		LD_PRELOAD=$BUILD/libgoheap.so python3 -c pass
	done
}

# bpftrace compiles first, which takes as long as it takes; then it traces until a signal.
# It heeds one only while it waits for events, so that it may have to be told again; but when it
# has heeded one, and prints, the next one kills it.  One that does not begin, or does
# not end, must not keep the others from being looked at.
end_tracers()
{
	local pid

	for pid in "${!tracers[@]}"; do
		while ((SECONDS < 150)) && runs "$pid" && ! grep -q '^Attaching' "${tracers[$pid]}"; do
			sleep 0.2
		done
	done
	sleep 5
	note "all trace after $SECONDS s"
	grow_heaps
	kill -INT "${!tracers[@]}" 2>/dev/null
	until have_ended 15 || ((SECONDS > 220)); do
		kill -INT "${!tracers[@]}" 2>/dev/null
	done
	for pid in "${began[@]}"; do
		! runs "$pid" || { note "killed: $(tr '\0' ' ' <"/proc/$pid/cmdline")"; kill -9 "$pid"; }
	done
	note "all ended after $SECONDS s"
}

# What $1 printed has a line like $2.
has()
{
	grep -qE -e "$2" "$work/$1" && return
	note "no line like '$2':" "$(<"$work/$1")"
	return 1
}

all_were_run()
{
	diff <(sort "$work/ran") <(sed -n '/^    \(perf\|bpftrace\) /{s/^    //;s/  *# .*//;p}' "$top/README.md" | sort) |
		sed 's/^/# /'
	[ "${PIPESTATUS[0]}" = 0 ]
}

began=()
declare -A tracers
begin 'perf stat' stat
begin 'perf record' record
begin 'sum(args->bytes)' bytes
begin 'hist(args->npages)' pages
begin '@at[args->heap] = nsecs' wait
begin 'args->sys_bytes' grow
plan 7
end_tracers
wait "${began[@]}"

check 'perf stat counts' has stat ' [1-9][0-9,]* +goheap:goheap_span_alloc'
check 'perf record and script show events' has record \
	'python3 +[0-9]+ .* goheap:goheap_scavenge: heap=[0-9]+ cause=demand bytes=[0-9]+'
check 'bytes by heap and cause' has bytes '^@released\[[0-9]+, 2\]: [1-9][0-9]{6}'
check 'lengths of spans by program' has pages '^\[[0-9]+K?, [0-9]+K?\) +[1-9][0-9]* \|@'
check 'how long pressure waits' has wait '^\[[0-9]+K?, [0-9]+K?\) +[1-9][0-9]* \|@*'
check 'heaps that grow' has grow '^python3 [0-9]+: [0-9]+ MiB$'
check 'no other line is in README.md' all_were_run
finish
