#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# `make demo`, in a VM: that Redis and its neighbour both live where the heap is the module's,
# and that what was seen can be drawn.
here=$(dirname "$(realpath "$0")")
# shellcheck source-path=SCRIPTDIR source=../run_tap.sh
. "$here/../run_tap.sh"
export BUILD=${BUILD:-$(realpath "$here/../..")/build}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

[ -c /dev/goheap ] || skip_all 'no /dev/goheap'
for tool in redis-server redis-cli gnuplot; do
	command -v $tool >/dev/null || skip_all "$tool is not installed"
done
for peer in jemalloc mimalloc; do
	[ -n "$(find /usr/lib -name "lib$peer.so.2*" -print -quit)" ] || skip_all "lib$peer is not installed"
done

runs()
{
	VM_OUT=$tmp "$here/demo.sh" >"$tmp/out" 2>&1 && return
	note "$(tail -n 5 "$tmp/out")"
	return 1
}

# The row of allocator $1: library, filled, deleted, under pressure, got, of, needed, kills, fate.
row()
{
	awk -v name="$1" '$1 == name && NF == 10 { $1 = ""; print }' "$tmp/out"
}

every_allocator()
{
	local name

	for name in glibc jemalloc mimalloc goheap; do
		[ -n "$(row $name)" ] || { note "no row of $name"; return 1; }
		note "$name$(row $name)"
	done
}

both_live()
{
	local filled emptied after got needed kills fate

	read -r _ filled emptied after got _ needed kills fate <<<"$(row goheap)"
	[ "$got" = "$needed" ] && [ "$kills" = 0 ] && [ "$fate" = alive ] &&
		[ "$after" -lt "$emptied" ] && [ "$emptied" -le "$filled" ]
}

# What went, went because of the pressure.
under_pressure()
{
	[ "$(awk '$1 == "scav_pressure_bytes" { print $2 }' "$tmp/out")" -gt $((50 << 20)) ]
}

drawn()
{
	"$here/plot.sh" "$tmp/demo.svg" "$tmp/demo" &&
		python3 -c 'import sys, xml.etree.ElementTree as e; e.parse(sys.argv[1])' "$tmp/demo.svg" &&
		grep -q 'both live' "$tmp/demo.svg"
}

plan 5
check 'the demo runs' runs
check 'a row for every allocator' every_allocator
check 'with goheap both live' both_live
check 'what went, went under pressure' under_pressure
check 'the picture' drawn
finish
