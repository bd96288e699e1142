#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# One column of the table of vm.sh, on this machine, as root: as many threads of one
# process, then as many processes, as there are processors.  For each way of getting
# memory a line
#
#	SHARING WAY PROCESSORS OPERATIONS/S OPERATIONS/CPU-S WAITING-%
#
# The speed is that of the best of five runs, since the host may have other work.  The
# share of time spent waiting is the median of three shorter runs, which are traced: for
# the mutex of the heap by the tracepoints contention_begin and contention_end, for
# the mmap lock from entry to return of the function that waits for it, since its
# waiters' spinning has no tracepoint.  Both only happen when a lock is not free.
set -eu -o pipefail
shopt -s inherit_errexit

BUILD=${BUILD:-$(dirname "$(realpath "$0")")/../../build}
prog=$BUILD/selftests/bench/scale_speed
nr=$(nproc)
tracing=/sys/kernel/tracing
instance=$tracing/instances/scale
run_ms=300
traced_ms=200

# $1: span, vector or mmap
trace_on()
{
	if [ "$1" = mmap ]; then
		echo 1 >$instance/events/scale/enable
	else
		echo 'comm == "scale_speed" && flags & 0x20' >$instance/events/lock/contention_begin/filter
		echo 'comm == "scale_speed"' >$instance/events/lock/contention_end/filter
		echo 1 >$instance/events/lock/enable
	fi
	echo >$instance/trace
}

trace_off()
{
	echo 0 >$instance/events/enable
}

# Seconds that were waited, by all together, of the trace.  A wait begins but once
# until it ends, whatever is said between.
waited()
{
	awk '
	$1 !~ /^scale_speed-/ { next }
	$5 == "contention_begin:" || $5 == "wait:" { name = $5 == "wait:" ? "" : $6
		if (!($1 in since)) { since[$1] = $4 + 0; lock[$1] = name } }
	$5 == "contention_end:" || $5 == "got:" { name = $5 == "got:" ? "" : $6
		if ($1 in since && lock[$1] == name) {
			sum += $4 - since[$1]
			delete since[$1]
		} }
	END { printf "%.6f\n", sum }' $instance/trace
}

complete()
{
	! grep -h '^overrun: [1-9]' $instance/per_cpu/cpu*/stats
}

# $1: threads or processes, $2: way; "OPERATIONS/S OPERATIONS/CPU-S"
speed()
{
	for _ in {1..5}; do
		"$prog" "$1" "$nr" "$2" $run_ms
	done | awk '$1 / $2 > best { best = $1 / $2; by_cpu = $1 / $3 }
		END { printf "%.0f %.0f\n", best * 1e9, by_cpu * 1e9 }'
}

# $1: threads or processes, $2: way; percent
waiting()
{
	local run

	for _ in {1..3}; do
		trace_on "$2"
		run=$("$prog" "$1" "$nr" "$2" $traced_ms)
		trace_off
		complete || { echo 'scale: the trace is not complete' >&2; exit 1; }
		echo "$run $(waited)" | awk -v nr="$nr" '{ printf "%.1f\n", $4 * 1e9 / $2 / nr * 100 }'
	done | sort -n | sed -n 2p
}

# $1: threads or processes, $2: way
measure()
{
	local fast share

	fast=$(speed "$1" "$2")
	share=$(waiting "$1" "$2")
	echo "$1 $2 $nr $fast $share"
}

# How many waits for a mutex were seen, and of them with the module on their stack.
check_tracepoints()
{
	echo 1 >$instance/options/stacktrace
	trace_on span
	"$prog" threads "$nr" span $traced_ms >/dev/null
	trace_off
	echo 0 >$instance/options/stacktrace
	awk -v nr="$nr" '
	/contention_begin:/ { n++; begin = 1 }
	/contention_end:/ { begin = 0 }
	/ => goheap_/ && begin { ours++; begin = 0 }
	END { printf "seen mutex %d %d %d\n", nr, n, ours }' $instance/trace
}

mkdir $instance
trap 'rmdir $instance; echo >$tracing/kprobe_events' EXIT
echo 'p:scale/wait rwsem_down_write_slowpath' >$tracing/kprobe_events
echo 'r:scale/got rwsem_down_write_slowpath' >>$tracing/kprobe_events
echo 16384 >$instance/buffer_size_kb
[ "$nr" = 1 ] || check_tracepoints
for sharing in threads processes; do
	for way in span vector mmap; do
		measure $sharing $way
	done
done
