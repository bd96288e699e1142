#!/bin/bash
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# libgoheap_memcpy: each function that copies or fills memory ends the program, with a
# message, when it would leave the object, and not one byte earlier; programs that do
# not, run as ever.  Without it nobody notices.
# shellcheck disable=SC2317	# functions are called by check
export LC_ALL=C
here=$(dirname "$(realpath "$0")")
# shellcheck source-path=SCRIPTDIR source=../run_tap.sh
. "$here/../run_tap.sh"

top=$(realpath "$here/../..")
build=${BUILD:-$top/build}
prog=$build/selftests/lib/front_memcpy_prog
heap=$build/libgoheap.so
both="$build/libgoheap_memcpy.so $heap"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
ulimit -c 0

functions='memcpy memmove mempcpy memset strcpy stpcpy strcat strncat strncpy stpncpy
	__memcpy_chk __memmove_chk __mempcpy_chk __memset_chk __strcpy_chk __stpcpy_chk
	__strcat_chk __strncat_chk __strncpy_chk __stpncpy_chk'

# Ends as it should, with nothing to say.
fine()
{
	LD_PRELOAD=$both "$prog" "$@" 2>"$tmp/err" && [ ! -s "$tmp/err" ]
}

# With status $1, in the case that is named by the rest; the shell says nothing of it.
ends_with()
{
	local want=$1 rc

	shift
	{ LD_PRELOAD=$both "$prog" "$@" 2>"$tmp/err"; rc=$?; } 2>/dev/null
	[ $rc = "$want" ]
}

# Function $1 is complained of in the case that is named by the rest.
caught()
{
	local name=${1#__}

	shift
	ends_with 134 "$@" &&
		grep -q "^runtime: ${name%_chk}: .* where the object ends after" "$tmp/err"
}

unnoticed()
{
	LD_PRELOAD=$heap "$prog" "$@"
}

each()
{
	local f

	for f in $functions; do
		fine fits "$f" || { note "$f: complains of what fits"; return 1; }
		caught "$f" over "$f" || { note "$f: not caught"; return 1; }
		unnoticed over "$f" || { note "$f: ends without it too"; return 1; }
	done
}

# The C library's own check, of what the compiler knows.
room()
{
	ends_with 134 room && grep -q 'buffer overflow detected' "$tmp/err"
}

# All of hardened: the library copies too, to objects that it frees or hands out.
programs()
{
	local run='import json, zlib; d = json.dumps([str(i) * (i % 90) for i in range(20000)])
print(len(zlib.compress(d.encode())), len(json.loads(d)))'

	python3 -c "$run" >"$tmp/plain"
	LD_PRELOAD=$both python3 -c "$run" >"$tmp/checked" || return
	cmp "$tmp/plain" "$tmp/checked" || return
	LD_PRELOAD=$both GOHEAPDEBUG=hardened=1 python3 -c "$run" >"$tmp/checked" || return
	cmp "$tmp/plain" "$tmp/checked" || return
	LD_PRELOAD=$both ${CC:-cc} -O1 -c -o "$tmp/o" "$here/front_memcpy_prog.c"
}

# With another malloc it has nothing to ask, and nothing to say.
alone()
{
	LD_PRELOAD=${both% *} "$prog" over memcpy
}

plan 10
check 'each function, one byte too many' each
check 'one byte too many is read' caught memcpy read
check 'behind the end of a large object' caught memset large-start
check 'from inside of a large object' caught memset large-inside
check 'up to its end' fine large-fits
check 'memcpy() of what overlaps' fine overlap
check 'nothing at all, behind an object' fine none
check 'what the compiler knows to be too long' room
check 'programs run as ever' programs
check 'without libgoheap' alone
finish
