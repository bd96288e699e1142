#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# The lines of README.md that use what was built, each as it stands there, on Redis: they
# are run in a folder with build/ in it, PID is Redis', and heap 1 is its heap.  And each
# other command of README.md is one that another test runs.  Then those of the manuals.
# Needs root and the module.

# shellcheck disable=SC2015,SC2016,SC2119,SC2317
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$(realpath "$0")")/common.sh"
# shellcheck source=terminal.sh
. "$here/terminal.sh"
unset GOHEAPDEBUG

sys=/sys/class/misc/goheap
[ -e $sys ] && [ "$(id -u)" = 0 ] || skip_all 'needs root and /dev/goheap'
trap 'kill $(jobs -p) 2>/dev/null; tmux_ kill-server 2>/dev/null; wait; rm -rf "$work"' EXIT
ln -s "$BUILD" "$work/build"
cd "$work" || exit 1
PATH=$BUILD:$PATH

# All commands of README.md, without the remarks behind them.
commands()
{
	sed -n 's/^    //p' "$top/README.md" | sed 's/  *# .*//' |
		grep -E '^([A-Z_]+=|(make|insmod|modprobe|(build/)?goheap|cc|cat|grep|echo|mkdir|cp|systemctl|apt|mokutil|reboot|perf|bpftrace)\b)'
}

# The one that is $1, or has it; it is then as good as run.
line()
{
	local text

	text=$(commands | grep -xF -e "$1" || commands | grep -F -e "$1")
	[ -n "$text" ] && [ "$(wc -l <<<"$text")" = 1 ] || { note "not one line has '$1'" >&2; return 1; }
	echo "$text" >>"$work/ran"
	sed "s/\bPID\b/$server/; s,goheap/1/,goheap/$id/," <<<"$text"
}

# Runs it; what it printed has a line like $2, if there is one.
does()
{
	local text

	text=$(line "$1") || return
	try bash -c "$text"
	[ "$status" = 0 ] && { [ $# = 1 ] || prints "$2"; } && return
	note "$text: status $status" "$(<"$work/err")"
	return 1
}

# The id of the heap of process $1, when it has one.
heap_of()
{
	local file _

	for _ in {1..300}; do
		file=$(grep -lsx "$1" $sys/[1-9]*/pid) && basename "$(dirname "$file")" && return
		sleep 0.1
	done
	return 1
}

redis()
{
	redis-cli "$@" >>"$work/redis.log"
}

# $1 keys come and go, so that something is idle.
keys_go()
{
	redis eval "for i = 1, $1 do redis.call('SET', 'key:' .. i, string.rep('x', 500)) end" 0 &&
		redis flushall
}

# Both ways; the second on another port.
server=0 id=0
runs()
{
	local text other

	text=$(line 'goheap run -v') || return
	bash -c "exec $text" >"$work/redis.log" 2>"$work/redis.err" &
	server=$!
	text=$(line 'libgoheap.so redis-server') || return
	bash -c "${text/redis-server/exec redis-server} --port 6380" >"$work/other.log" 2>&1 &
	other=$!
	id=$(heap_of $server) && heap_of $other >/dev/null &&
		grep -q '^goheap run: backend device: ' "$work/redis.err" || return
	kill $other
	redis config set save '' && keys_go 20000
}

compiles()
{
	echo '#include <stdio.h>
	#include <string.h>
	const char *goheap_backend(void);
	int main(void) { char a[99]; return puts(memset(a, 0, 99) ? goheap_backend() : "") < 0; }' >prog.c
	does 'cc -o prog prog.c -Lbuild' && ./prog | grep -qx device &&
		does 'libgoheap_memcpy.so' '^device$'
}

live()
{
	start 80 12 "$(line 'build/goheap top')" && first_is "^ *$id +$server redis-server" && ends
}

shows_and_sets()
{
	does 'goheap stat PID' "^heap $id of process $server \(redis-server\)" &&
		does 'goheap scavenge PID' "^heap $id of process $server .*M released" &&
		does 'goheap limit PID 1G' ' 1.0G +none$'
}

by_sysfs()
{
	local text

	does 'cat /sys/class/misc/goheap/heaps' '^[1-9][0-9]*$' &&
		text=$(line 'grep -s .') || return
	# Its status tells that a file cannot be read, which is one to write to.
	try bash -c "$text"
	[ ! -s "$work/err" ] && prints "/pid:$server\$" || return
	echo max >"$sys/$id/limit_soft"
	does 'echo 1073741824' && [ "$(<"$sys/$id/limit_soft")" = 1073741824 ] || return
	keys_go 20000
	does 'echo all' && [ $(($(<"$sys/$id/heap_idle") - $(<"$sys/$id/heap_released"))) -lt 1000000 ] || return
	does 'drop_caches'
}

draws()
{
	does 'goheap map PID' '^   .  in use ' && does 'map PID -o heap.png' &&
		[ "$(head -c 4 heap.png | tail -c 3)" = PNG ]
}

# $1: of which line; until an event like $2 is there.
traces()
{
	local text pid _

	text=$(line "$1") || return
	bash -c "exec $text" >"$work/trace" 2>&1 &
	pid=$!
	for _ in {1..100}; do
		keys_go 5000
		echo all >"$sys/$id/scavenge"
		! grep -qE "$2" "$work/trace" || break
		sleep 0.1
	done
	kill -INT $pid
	wait $pid
	grep -qE "$2" "$work/trace" && return
	note "$text: no '$2'" "$(head -n 20 "$work/trace")"
	return 1
}

# By what ran before this, by vm_test, demo_test, and tests of installing, examples and
# newcomers.
elsewhere()
{
	cat <<-'END'
	make
	make demo
	make check
	make deb
	insmod ./goheap.ko
	make vm CMD='build/goheap run bash -c "build/goheap list; exit"'
	apt install ./build/deb/{libgoheap1,goheap-tools,goheap-dkms}_*.deb
	goheap run redis-server
	goheap list
	goheap top
	goheap scavenge -b 8M $(pidof redis-server)
	goheap map $(pidof redis-server) -o redis.png
	goheap doctor
	mkdir -p /etc/systemd/system/redis-server.service.d
	cp selftests/examples/service/goheap.conf /etc/systemd/system/redis-server.service.d
	systemctl daemon-reload && systemctl restart redis-server
	cc -o prog prog.c $(pkg-config --cflags --libs goheap)
	END
}

# And none but those that need a firmware to be asked.
all_were_run()
{
	commands | grep -vE '^(mokutil|reboot|perf|bpftrace)\b' | sort >"$work/all"
	{ cat "$work/ran"; elsewhere; } | sort | diff - "$work/all" >"$work/diff" && return
	note "in no test (>), or not there (<):" "$(<"$work/diff")"
	return 1
}

# The commands in the examples of the manuals, as they come out there.
examples()
{
	local page

	for page in "$top"/userlib/man/goheap.[17]; do
		mandoc -T utf8 -O width=200 "$page" | col -bx |
			sed -n '/^EXAMPLES/,/^SEE ALSO/{s/^ *[#$] //p;t;s/^ *\(goheap .*\)/\1/p}'
	done
}

# Each ends well, or goes on until it is told to end; but for those that README.md has.
manuals()
{
	local text nr=0

	while read -r text; do
		! grep -qxF -e "$text" -e "build/$text" "$work/ran" || continue
		nr=$((nr + 1))
		text=$(sed "s/\b4711\b/$server/; s,goheap/1/,goheap/$id/,; s/redis-server\$/& --port 6380/" <<<"$text")
		LD_LIBRARY_PATH=$BUILD try timeout -s INT 3 bash -c "$text"
		[[ $status == 0 || $status == 124 ]] && ! grep -q 'cannot be preloaded' "$work/err" ||
			{ note "$text: status $status" "$(<"$work/err")"; return 1; }
	done < <(examples)
	note "$nr commands"
	[ "$nr" -ge 8 ]
}

plan 10
check 'run, and LD_PRELOAD' runs
check 'compiled with it' compiles
check 'top' live
check 'stat, scavenge and limit' shows_and_sets
check 'files of sysfs' by_sysfs
check 'map' draws
check 'trace' traces 'goheap trace' ' span_alloc '
check 'trace of one process' traces 'goheap trace -p' ' scavenge '
check 'other commands have other tests' all_were_run
check 'examples in the manuals' manuals
finish
