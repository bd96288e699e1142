#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# The example `stats`, in a VM: in C, Python and shell it tells the same, which is what
# the process has: a stopped one with 100 MiB, of which most is idle.
here=$(dirname "$(realpath "$0")")
# shellcheck source-path=SCRIPTDIR source=../run_tap.sh
. "$here/../run_tap.sh"
top=$(realpath "$here/../..")
BUILD=${BUILD:-$top/build}
tmp=$(mktemp -d)
trap 'kill -9 $! 2>/dev/null; rm -rf "$tmp"' EXIT

[ -c /dev/goheap ] || skip_all 'no /dev/goheap'

# Has 1000 blocks of 100 KiB, frees 900 of them, and stops.
GOHEAPDEBUG=backend=device LD_PRELOAD=$BUILD/libgoheap.so.1 python3 -c '
import ctypes, os, signal
l = ctypes.CDLL(None)
l.malloc.restype = ctypes.c_void_p
blocks = [l.malloc(ctypes.c_size_t(102400)) for i in range(1000)]
for p in blocks:
    ctypes.memset(p, 1, 102400)
for p in blocks[:900]:
    l.free(ctypes.c_void_p(p))
l.goheap_flush()
os.kill(os.getpid(), signal.SIGSTOP)' &
pid=$!
stopped()
{
	for _ in {1..300}; do
		! grep -q '^State:	T' "/proc/$pid/status" || return 0
		sleep 0.1
	done
	return 1
}

shell()
{
	"$here/stats/stats.sh" >"$tmp/sh"
	note "$(<"$tmp/sh")"
	awk -v pid="$pid" '$2 == pid && $3 == "python3" && $4 > 95000 && $4 < 120000 &&
		$5 > 80000 && $5 < $4 - 10000 { ok = 1 } END { exit !ok }' "$tmp/sh"
}

python()
{
	"$here/stats/stats.py" | diff - "$tmp/sh"
}

c()
{
	"${CC:-cc}" -O2 -Wall -Wextra -Werror -o "$tmp/stats" "$here/stats/stats.c" && "$tmp/stats" | diff - "$tmp/sh"
}

# Nobody else may look.
not_others()
{
	[ -z "$(setpriv --reuid 65534 --regid 65534 --clear-groups "$here/stats/stats.sh")" ]
}

plan 5
check 'a process that has stopped' stopped
check shell shell
check Python python
check C c
check 'of other users nothing' not_others
finish
