#!/bin/bash
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# The library's archive in programs of musl, which has other headers, no
# __libc_single_threaded, other threads, and a malloc() of its own to be replaced.
here=$(dirname "$(realpath "$0")")
# shellcheck source-path=SCRIPTDIR source=../run_tap.sh
. "$here/../run_tap.sh"

bin=${BUILD:-$here/../../build}/selftests/lib/musl
backend=$(sed -n 's/.*backend=\([a-z]*\).*/\1/p' <<<"${GOHEAPDEBUG:-}")

fine()
{
	local out

	out=$("$bin/$1" 2>&1)
	[[ $out == "fine "${backend:-*} ]] && return
	note "$out"
	return 1
}

# A test program as for glibc.
passes()
{
	"$bin/$1" >"$tmp/out" 2>"$tmp/err" && grep -q '^ok' "$tmp/out" && return
	grep -B 3 '^not ok' "$tmp/out" | sed 's/^/# /'
	return 1
}

[ -x "$bin/prog_static" ] || skip_all 'no musl-gcc when it was built (package musl-tools)'
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
plan 5
check 'static' fine prog_static
check 'dynamic' fine prog_dynamic
if [ -e /dev/goheap ]; then
	skip 'model' 'too slow where there is a device'
	skip 'threads' 'too slow where there is a device'
else
	check 'model' passes model
	check 'threads' passes threads
fi
check 'fork' passes fork
finish
