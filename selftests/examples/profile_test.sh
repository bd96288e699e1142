#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# The example `profile`: of a server that is in use a profile is taken by signal, and pprof
# shows, in numbers and as a picture, which calls have the memory.
here=$(dirname "$(realpath "$0")")
# shellcheck source-path=SCRIPTDIR source=../run_tap.sh
. "$here/../run_tap.sh"
top=$(realpath "$here/../..")
BUILD=${BUILD:-$top/build}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1

for p in google-pprof dot; do
	command -v "$p" >/dev/null || skip_all "$p is not installed"
done

# 1000 values of 20,000 bytes each, 20 MB in all.
clients()
{
	python3 - "$1" <<-'END'
	import socket, sys
	for client in range(10):
	    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as s:
	        f = s.makefile("rw")
	        def ask(line):
	            f.write(line + "\n")
	            f.flush()
	            return f.readline().strip()
	        for i in range(100):
	            assert ask(f"put key{client}.{i} 20000") == "ok"
	        assert ask(f"get key{client}.7") == "20000"
	        assert ask("get nokey") == "none"
	END
}

profile_by_signal()
{
	local port

	"${CC:-cc}" -O2 -g -fno-omit-frame-pointer -Wall -Wextra -o server "$here/profile/server.c" || return
	mkfifo hold
	GOHEAPDEBUG=backend=embedded,profile=server.%n.heap,profilesignal=10,memprofilerate=65536 \
		LD_PRELOAD=$BUILD/libgoheap.so.1 ./server <hold >port &
	exec 3>hold
	for _ in {1..100}; do
		[ ! -s port ] || break
		sleep 0.1
	done
	read -r port <port
	clients "$port" || return
	kill -USR1 $!
	for _ in {1..100}; do
		[ ! -s server.0.heap ] || break
		sleep 0.1
	done
	exec 3>&-
	wait $!
	[ -s server.0.heap ] && [ -s server.1.heap ]
}

# new_value() has nearly all of the 19.1 MiB.  There are about 300 samples.
text()
{
	google-pprof --text ./server server.0.heap >text 2>/dev/null
	note "$(head -n 3 text)"
	awk '$NF == "new_value" && $1 > 14 && $1 < 25 && $2 + 0 > 95 { found = 1 }
	END { exit !found }' text
}

# Pictures, the same by name: new_value under put under serve.
picture()
{
	local f

	google-pprof --svg ./server server.0.heap >server.svg 2>/dev/null
	for f in main serve put new_value; do
		grep -q "<title>.*$f\|>$f<" server.svg || { note "not in the picture: $f"; return 1; }
	done
	google-pprof --dot ./server server.0.heap 2>/dev/null | dot -Tpng >server.png &&
		[ "$(head -c 4 server.png | tail -c 3)" = PNG ] || return
	mkdir -p "$BUILD/selftests/examples" && cp server.svg server.png "$BUILD/selftests/examples"
}

plan 3
check 'a profile by signal, and one at the end' profile_by_signal
check 'pprof tells who has the memory' text
check 'and draws it' picture
finish
