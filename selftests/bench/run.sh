#!/bin/bash
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# Side by side: libgoheap and the allocators that Debian has, each preloaded into
# the same program, in turns, so that what else the machine does meets all of them.
# Prints the median of ROUNDS runs in ns for each, and how libgoheap compares with the
# best of the others.
#
#	run.sh [ROUNDS [CELL...]]	15 rounds of all cells; else those named, or
#					beginning with the name: lifo, batch-64, ...
#
# Not a test: it says how fast, not whether that is enough.  A processor that is
# busy with other work makes the numbers for two threads meaningless.
set -eu

here=$(dirname "$(realpath "$0")")
BUILD=${BUILD:-$here/../../build}
rounds=${1:-15}
shift $(($# > 0))
prog=$BUILD/selftests/bench/malloc_speed
ours=$BUILD/libgoheap.so
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# NAME=LIBRARY of each; glibc needs none.
allocators="glibc= goheap=$ours"
for peer in jemalloc=libjemalloc.so.2 tcmalloc=libtcmalloc_minimal.so.4 \
	    mimalloc=libmimalloc.so.2; do
	lib=$(ldconfig -p | awk -v name="${peer#*=}" '$1 == name { print $NF; exit }')
	if [ -n "$lib" ]; then
		allocators="$allocators ${peer%%=*}=$lib"
	else
		echo "bench: ${peer#*=} is not there: make deps" >&2
	fi
done

[ -e "$ours" ] && [ -x "$prog" ] || { echo "bench: not built: make bench" >&2; exit 1; }

for ((i = 0; i < rounds; i++)); do
	for a in $allocators; do
		LD_PRELOAD=${a#*=} "$prog" "$@" | sed "s/^/${a%%=*} /" >>"$work/all"
	done
done

awk '
{ if (!($2 in seen)) { seen[$2]; cells[++nr] = $2 }
  if (!($1 in known)) { known[$1]; names[++nn] = $1 }
  k = $1 " " $2; v[k, ++n[k]] = $3 }
function median(k,    i, j, t, m) {
	m = n[k]
	for (i = 2; i <= m; i++)
		for (j = i; j > 1 && v[k, j] < v[k, j - 1]; j--) {
			t = v[k, j]; v[k, j] = v[k, j - 1]; v[k, j - 1] = t
		}
	return v[k, int((m + 1) / 2)]
}
END {
	printf "%-11s", "ns per pair"
	for (i = 1; i <= nn; i++)
		printf "%10s", names[i]
	printf "%16s\n", "to the best"
	for (c = 1; c <= nr; c++) {
		best = 0
		printf "%-11s", cells[c]
		for (i = 1; i <= nn; i++) {
			m = median(names[i] " " cells[c])
			printf "%10.2f", m
			if (names[i] == "goheap")
				our = m
			else if (!best || m < best) {
				best = m
				who = names[i]
			}
		}
		printf "%6.2f %s\n", our / best, who
	}
}' "$work/all"
