#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# Makes sysfs.txt, the recorded tree that the tests of this folder read instead of /sys:
#
#   make vm CMD=selftests/cli/record.sh >selftests/cli/sysfs.txt
#
# One line for each file of the module: its mode, its path below /sys, and its text.  Some
# programs run meanwhile: two of root's, and of another user one that has freed most of
# its memory and one with a limit.
set -u

here=$(dirname "$(realpath "$0")")
lib=$(dirname "$(dirname "$here")")/build/libgoheap.so
dir=/sys/class/misc/goheap
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; wait; rm -rf "$work"' EXIT

LD_PRELOAD=$lib redis-server --port 0 --unixsocket "$work/sock" --save '' --enable-debug-command yes >/dev/null &
for _ in $(seq 100); do
	[ "$(redis-cli -s "$work/sock" ping 2>/dev/null)" = PONG ] && break
	sleep 0.1
done
redis-cli -s "$work/sock" debug populate 50000 key 200 >/dev/null
redis-cli -s "$work/sock" flushall >/dev/null
LD_PRELOAD=$lib sleep 1000 &
LD_PRELOAD=$lib setpriv --reuid=nobody --regid=nogroup --clear-groups /usr/bin/python3 "$here/churn.py" &
LD_PRELOAD=$lib setpriv --reuid=nobody --regid=nogroup --clear-groups /usr/bin/python3 "$here/churn.py" &
last=$!
sleep 5
for d in "$dir"/[0-9]*; do
	[ "$(<"$d/pid")" != "$last" ] || echo 16777216 >"$d/limit_soft"
done

cd /sys || exit
find class/misc/goheap/ module/goheap/{version,parameters} -type f ! -path '*/power/*' ! -name uevent \
	-printf '%m %p\n' | sort -k 2 -V |
	while read -r mode path; do
		text=
		case $mode in
		*2??) ;;
		*[46]??) text=$(<"$path") ;;
		esac
		echo "$mode $path $text"
	done
