#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# The example `service`: systemd finds nothing wrong with the unit, nor with Debian's unit
# of Redis when it has the drop-in, and what the unit runs has the library.
here=$(dirname "$(realpath "$0")")
# shellcheck source-path=SCRIPTDIR source=../run_tap.sh
. "$here/../run_tap.sh"
top=$(realpath "$here/../..")
BUILD=${BUILD:-$top/build}
tmp=$(mktemp -d)
trap 'kill $! 2>/dev/null; rm -rf "$tmp"' EXIT

command -v systemd-analyze >/dev/null || skip_all 'systemd is not installed'
export SYSTEMD_UNIT_PATH=$tmp:/lib/systemd/system
mkdir -p "$tmp/redis-server.service.d"
cp "$here/service/example.service" "$tmp"
cp "$here/service/goheap.conf" "$tmp/redis-server.service.d"

# Of unit $1 nothing is said.
verified()
{
	systemd-analyze verify "$tmp/$1" >"$tmp/log" 2>&1
	local status=$?

	note "$(<"$tmp/log")"
	[ "$status" = 0 ] && [ ! -s "$tmp/log" ]
}

# The drop-in is read: in it a word that systemd does not know is.
drop_in_read()
{
	cp /lib/systemd/system/redis-server.service "$tmp" || return
	verified redis-server.service || return
	sed 's/^DeviceAllow/DevicesAllow/' "$here/service/goheap.conf" >"$tmp/redis-server.service.d/goheap.conf"
	! verified redis-server.service && grep -q "goheap.conf.*'DevicesAllow'" "$tmp/log"
}

# With the environment that the unit $1 gives, but for where the library is.
environment()
{
	sed -n 's/^Environment=//p' "$1"
	echo "LD_LIBRARY_PATH=$BUILD"
}

answers()
{
	local port env=() cmd=()

	port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	mapfile -t env < <(environment "$tmp/example.service")
	read -ra cmd < <(sed -n 's/^ExecStart=//p' "$tmp/example.service")
	(cd "$tmp" && exec env "${env[@]}" "${cmd[@]/8000/$port}") >"$tmp/log" 2>&1 &
	for _ in {1..100}; do
		# shellcheck disable=SC2188
		! { >"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null || break
		sleep 0.1
	done
	grep -q "$BUILD/.*libgoheap.so.1" "/proc/$!/maps" &&
		python3 -c "import urllib.request as u; print(u.urlopen('http://127.0.0.1:$port').status)" | grep -qx 200
}

# Of the drop-in, too.
redis_has_it()
{
	mapfile -t env < <(environment "$here/service/goheap.conf")
	env "${env[@]}" redis-server --version >"$tmp/log" 2>&1 && grep -q 'malloc=' "$tmp/log" &&
		! grep -q 'cannot be preloaded' "$tmp/log"
}

plan 4
check 'the unit' verified example.service
check "the drop-in, for Debian's redis-server" drop_in_read
check 'what the unit runs answers, and has the library' answers
check 'so has Redis' redis_has_it
finish
