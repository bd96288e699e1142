#!/bin/bash
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# What small programs take more of with the library than without it, when they exit: of
# memory of their own, and of pages of the library's file, which all processes share.
# File pages of libc are not compared: how many there are depends on where it lies.  The
# backend is the one that there is: what reads options is not what each program runs.
here=$(dirname "$(realpath "$0")")
. "$here/../run_tap.sh"

build=${BUILD:-$(realpath "$here/../..")/build}
prog=$build/selftests/lib/front_small_prog
lib=$build/libgoheap.so.1
unset GOHEAPDEBUG

# How much memory $1... takes, in KiB: its own, and the library's file pages.  The least of
# some runs: that of the stack, and what lies beside what, is random.
measure()
{
	for _ in 1 2 3; do
		"$prog" libgoheap "$@" 2>&1 >"$tmp/out" </dev/null | sed 's/^/# /' >&2
		tail -n 1 "$tmp/out"
	done | sort -n | head -n 1
}

# At most $1 KiB more of its own, and $2 KiB of the library's, in $3...
small()
{
	local own=$1 file=$2 with without
	shift 2

	read -r -a without < <(LIBRARY='' measure "$@")
	read -r -a with < <(LIBRARY=$lib measure "$@")
	if [ "${#with[@]}" != 2 ] || [ "${#without[@]}" != 2 ]; then
		note "no numbers"
		return 1
	fi
	note "$*: own ${without[0]} -> ${with[0]} KiB, pages of the library ${with[1]} KiB"
	[ "${without[1]}" = 0 ] && [ "${with[1]}" -gt 0 ] && [ $((with[0] - without[0])) -le "$own" ] && [ "${with[1]}" -le "$file" ]
}

[ "$(getconf PAGESIZE)" = 4096 ] || skip_all 'the numbers are those of pages of 4 KiB'
[ "$(uname -m)" = x86_64 ] || skip_all 'the numbers are those of x86-64'
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
plan 6
check 'a program that allocates nothing' small 20 84 true
check 'a shell' small 72 84 sh -c 'x=1'
# shellcheck disable=SC2016	# for the shell to expand
check 'a shell that forks' small 76 84 sh -c 'x=$(echo 1)'
check 'an interpreter' small 104 84 awk 'BEGIN { for (i = 0; i < 100; i++) a[i] = i }'
# A few objects each of many sizes; with the device the page heap's tables are the kernel's.
bash_kib=92
[ ! -e /dev/goheap ] || bash_kib=84
check 'a larger shell' small $bash_kib 84 bash -c 'x=1'
check 'a larger interpreter' small 56 84 perl -e 1
finish
