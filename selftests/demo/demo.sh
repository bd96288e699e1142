#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# `make demo`, inside the VM: Debian's redis-server, unmodified, under four
# allocators in turn, each in a memory cgroup of its own.  Redis is filled, its
# keys are deleted, and it is stopped; then a neighbour in the same cgroup needs
# more memory than the cgroup has left.  One line each tells what became of both.
#
# The keys are deleted by name, not by FLUSHALL: after that Debian's Redis asks
# jemalloc to purge, and here each allocator is to do what it does by itself.
# jemalloc and mimalloc return freed memory by the clock, when the program calls
# them: what a process had no time for before it was stopped, it keeps.
#
# How much both have meanwhile is in $VM_OUT/demo; plot.sh draws it.
set -u

lib=$BUILD/libgoheap.so
neighbour=$BUILD/selftests/demo/neighbour
sys=/sys/class/misc/goheap
libs=/usr/lib/x86_64-linux-gnu

keys=300000
value_bytes=600
limit_mb=400
need_mb=300
# Between two of the steps that the neighbour takes, so that there is something to see.
pause_ms=50

sock=/tmp/demo.sock
work=/tmp/demo
seen=$VM_OUT/demo
mkdir -p $work "$seen"

die()
{
	echo "demo: $*" >&2
	exit 1
}

cli()
{
	redis-cli -s $sock "$@"
}

# Resident memory of process $1 in MB.
rss_mb()
{
	awk '/^VmRSS:/ { printf "%d\n", $2 / 1024 + 0.5 }' "/proc/$1/status"
}

# Where malloc of redis-server leads with $1 preloaded, as the dynamic linker
# has it: Redis itself only knows what it was built with.
bound_to()
{
	LD_DEBUG=bindings LD_BIND_NOW=1 LD_PRELOAD=$1 redis-server --version 2>&1 |
		sed -n "s/.*binding file redis-server .* to \([^ ]*\) .* symbol \`malloc'.*/\1/p" |
		head -n 1 | xargs -r basename
}

# Becomes the command, in cgroup $1: call it in a subshell.
in_cgroup()
{
	echo "$BASHPID" >"/sys/fs/cgroup/$1/cgroup.procs"
	shift
	exec "$@"
}

# $1: cgroup, $2: library.  Sets redis (its pid).
start_redis()
{
	in_cgroup "$1" env LD_PRELOAD="$2" redis-server --port 0 --unixsocket $sock \
		--save '' --appendonly no --enable-debug-command yes \
		--dir $work >$work/redis.log 2>&1 &
	redis=$!
	disown $redis	# the shell need not tell of its death, the table does
	for _ in $(seq 200); do
		[ "$(cli ping 2>/dev/null)" = PONG ] && return
		sleep 0.1
	done
	die "redis-server does not start: $(tail -n 3 $work/redis.log)"
}

fill()
{
	[ "$(cli debug populate $keys key $value_bytes)" = OK ] || die 'cannot fill Redis'
	[ "$(cli dbsize)" = $keys ] || die 'Redis is not full'
}

empty()
{
	cli eval "for i = 0, $keys - 1, 1000 do
		local names = {}
		for j = i, i + 999 do names[#names + 1] = 'key:' .. j end
		redis.call('DEL', unpack(names))
	end" 0 >/dev/null
	[ "$(cli dbsize)" = 0 ] || die 'Redis is not empty'
}

# Whether Redis goes on where it was stopped: "alive", or "killed".
wake_up()
{
	kill -CONT "$redis" 2>/dev/null
	if [ "$(timeout 10 redis-cli -s $sock ping 2>/dev/null)" = PONG ]; then
		echo alive
	else
		echo killed
	fi
}

# Until it is killed, every 50 ms: the time, and anonymous memory in KiB, of Redis and of what
# else is in cgroup $1.  Without processes of its own, which an emulated CPU is slow to start.
watch()
{
	local p pages shared mine others never
	exec {never}<> <(:)

	while :; do
		mine=0 others=0
		while read -r p; do
			read -r _ pages shared _ <"/proc/$p/statm" || continue
			pages=$((pages - shared))
			if [ "$p" = "$redis" ]; then mine=$pages; else others=$((others + pages)); fi
		done <"/sys/fs/cgroup/$1/cgroup.procs"
		echo "$EPOCHREALTIME $((mine * 4)) $((others * 4))"
		read -rt 0.05 -u "$never"
	done 2>/dev/null
}

# $1: allocator, then what begins now.
mark()
{
	echo "$EPOCHREALTIME ${*:2}" >>"$seen/$1.marks"
}

# The directory of the heap of process $1.
heap_of()
{
	grep -lx "$1" $sys/*/pid $sys/*/*/pid 2>/dev/null | head -n 1 | xargs -r dirname
}

# $1: name of the allocator, $2: its library.
round()
{
	local cg=demo-$1 state=/sys/fs/cgroup/demo-$1 bound filled emptied after got kills fate watcher

	bound=$(bound_to "$2")
	[[ $bound = "$(basename "$2")"* ]] || die "malloc of redis-server is not in $2"
	mkdir "$state"
	echo $((limit_mb << 20)) >"$state/memory.max"
	start_redis "$cg" "$2"
	fill
	filled=$(rss_mb "$redis")
	echo "limit $limit_mb" >"$seen/$1.marks"
	watch "$cg" >"$seen/$1.samples" &
	watcher=$!
	disown $watcher
	sleep 1
	mark "$1" delete
	empty
	kill -STOP "$redis"
	mark "$1" stop
	sleep 1
	mark "$1" neighbour
	emptied=$(rss_mb "$redis")

	{ (in_cgroup "$cg" "$neighbour" $need_mb $pause_ms) >$work/got; } 2>/dev/null
	got=$(tail -n 1 $work/got)
	# If one was killed, so that it can be seen to be gone.
	[ "${got:-0}" = $need_mb ] || sleep 1
	mark "$1" end
	kill $watcher
	after=$(rss_mb "$redis" 2>/dev/null)
	kills=$(awk '$1 == "oom_kill" { print $2 }' "$state/memory.events")
	echo "kills $kills" >>"$seen/$1.marks"
	fate=$(wake_up)
	printf '%-9s %-22s %8s %8s %8s   %3s of %s %5s   %s\n' "$1" "$bound" \
		"$filled" "$emptied" "${after:--}" "${got:-0}" $need_mb "$kills" "$fate"

	if [ "$1" = goheap ]; then
		heap=$(heap_of "$redis")
		[ -n "$heap" ] && grep -r . "$heap" >$work/heap 2>/dev/null
	fi
	while kill -9 "$redis" 2>/dev/null; do
		sleep 0.1
	done
	rmdir "$state"
}

cat <<END
Debian's $(redis-server --version | sed 's/ sha.*//'), $keys keys of $value_bytes bytes, in a cgroup with
memory.max = $limit_mb MB: filled, its keys deleted, stopped (SIGSTOP). Then a
neighbour in the same cgroup needs $need_mb MB. All figures in MB.

                                      Redis: resident memory     neighbour   OOM
allocator malloc() is in           filled  deleted under pres-       got   kills   Redis
                                          & stopped sure
END
heap=''
[ -e "$lib" ] || die "$lib is not built"
round glibc $libs/libc.so.6
round jemalloc $libs/libjemalloc.so.2
round mimalloc $libs/libmimalloc.so.2.0
round goheap "$lib"

cat <<END

glibc returns what is free at its heap's end, jemalloc and mimalloc what was free for
a while, in calls that a stopped process does not make. From goheap's heap the kernel
took what the neighbour needed (scav_pressure_bytes), and left the rest in place.
END
[ -n "$heap" ] || die "no heap of redis-server under $sys"
printf '\nThe heap, seen from outside: %s\n' "$heap"
sed "s|^$heap/\([^:]*\):|\1\t|" $work/heap | sort | expand -t 28
