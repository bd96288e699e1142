#!/bin/bash
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# The fast paths, in the machine code: from the entry of a function to the
# first return no instruction is locked, none calls, and none jumps without a
# condition; and there are as many as front_path.golden says.  Who changes that
# number on purpose changes the file.  Another compiler counts otherwise, so that
# the number is compared for the one that the file names only.
export LC_ALL=C
here=$(dirname "$(realpath "$0")")
. "$here/../run_tap.sh"

build=${BUILD:-$(realpath "$here/../..")/build}
golden=$here/front_path.golden

# Instructions of function $2 of library $1 on the path on which no jump is taken.
path()
{
	objdump -d --no-show-raw-insn --disassemble="$2" "$build/$1" |
		awk '/^ *[0-9a-f]+:\t/ { sub(/^ *[0-9a-f]+:\t/, ""); print; if ($1 ~ /^ret/) exit }'
}

straight()
{
	path "$1" "$2" >"$tmp/path"
	tail -n 1 "$tmp/path" | grep -q '^ret' || { note "no path"; return 1; }
	! grep -E '^(lock|call|jmp|xchg)' "$tmp/path" | sed 's/^/# /' | grep .
}

# $3: how many there should be.
counted()
{
	local n

	n=$(path "$1" "$2" | wc -l)
	[ "$n" = "$3" ] && return
	note "$n instructions, not $3:"
	path "$1" "$2" | sed 's/^/# /'
	return 1
}

[ "$(uname -m)" = x86_64 ] || skip_all 'the numbers are those of x86-64'
command -v objdump >/dev/null || skip_all 'no objdump (package binutils)'
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
compiler=$(sed -n 's/^compiler //p' "$golden")
plan $((2 * $(grep -c '^build' "$golden")))
while read -r _ lib function nr; do
	check "$lib: $function() is straight" straight "$lib" "$function"
	if readelf -p .comment "$build/$lib" | grep -qF "$compiler"; then
		check "$lib: instructions of $function()" counted "$lib" "$function" "$nr"
	else
		skip "$lib: instructions of $function()" "not built by $compiler"
	fi
done < <(grep '^build' "$golden")
finish
