#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# The example `container`, in a VM: two programs that do not both fit into 150 MiB.  The first
# has freed its 100 MiB and stopped.  With the device the second one gets them; without
# it the first one has the library's page heap, and one of the two is killed, or both are.
here=$(dirname "$(realpath "$0")")
# shellcheck source-path=SCRIPTDIR source=../run_tap.sh
. "$here/../run_tap.sh"
top=$(realpath "$here/../..")
BUILD=${BUILD:-$top/build}
tmp=$(mktemp -d)
trap 'umount "$tmp/root"; rm -rf "$tmp"' EXIT

[ -c /dev/goheap ] || skip_all 'no /dev/goheap'
command -v crun >/dev/null || skip_all 'crun is not installed'
mkdir "$tmp/root" && mount --bind / "$tmp/root" || skip_all 'no root for a container'

# What runs there.
cat >"$tmp/two" <<'END'
first='
import ctypes, os, signal
l = ctypes.CDLL(None)
l.malloc.restype = ctypes.c_void_p
l.goheap_backend.restype = ctypes.c_char_p
blocks = [l.malloc(ctypes.c_size_t(102400)) for i in range(1000)]
for p in blocks:
    ctypes.memset(p, 1, 102400)
for p in blocks:
    l.free(ctypes.c_void_p(p))
l.goheap_flush()
print("backend", l.goheap_backend().decode(), flush=True)
os.kill(os.getpid(), signal.SIGSTOP)'
python3 -c "$first" &
while ! grep -q "^State:	T" /proc/$!/status; do
	sleep 0.1
done
LD_PRELOAD= python3 -c 'print("second", len(b"x" * (100 << 20)))'
echo "first $(grep -c "^State:	T" /proc/$!/status)"
kill -9 $!
sed 's/^/cgroup /' /sys/fs/cgroup/memory.events
END

# $*: options.
container()
{
	timeout 120 "$here/container/run.sh" -m $((150 << 20)) -l "$BUILD" "$@" "$tmp/root" \
		/bin/bash -c "$(<"$tmp/two")" >"$tmp/out" 2>&1
	note "$(<"$tmp/out")"
}

line()
{
	grep -qx "$1" "$tmp/out"
}

with_device()
{
	container -d && line 'backend device' && line 'second 104857600' && line 'first 1' &&
		line 'cgroup oom_kill 0'
}

without_device()
{
	container
	line 'backend embedded' && line 'cgroup oom_kill [12]'
}

plan 2
check 'with the device both live' with_device
check 'without it not both live' without_device
finish
