#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# goheap list and stat over the recorded tree: what they show is what the files say, as a
# table, as JSON and for Prometheus; also of a thousand heaps, of heaps that cannot be
# read, and of ones that go.
# shellcheck disable=SC2119,SC2317
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$(realpath "$0")")/common.sh"

# The recorded value of file $2 of heap $1.
value()
{
	echo "$(<"$heaps/$1/$2")"
}

list_shows_all()
{
	local id

	try "$goheap" list
	[ "$status" = 0 ] && [ ! -s "$work/err" ] || return
	for id in 1 2 5 6; do
		prints "^ *$id +$(value "$id" pid) $(value "$id" comm) .* $(value "$id" arena)\$" || return
	done
	[ "$(wc -l <"$work/out")" = 5 ]
}

# 56M idle of the one that freed, and 728K of which never had pages.
table_is_right()
{
	try "$goheap" stat
	prints '^ *6 +[0-9]+ python3 +65M +8.2M +56M +728K +0B +0B +0B +none$' &&
		prints '^ *5 .* 51M +0B +0B +50M +16M$' &&
		prints '^ +4 heaps in all +147M +19M +75M +53M +0B +0B +50M$'
}

one_in_full()
{
	local f

	try "$goheap" stat "$(value 5 pid)"
	prints "^heap 5 of process $(value 5 pid) \(python3\), arena $(value 5 arena)\$" || return
	for f in "$heaps/5"/*; do
		case ${f##*/} in
		pid | comm | arena | scavenge) ;;
		*) prints "^  ${f##*/} +$(<"$f") " || return ;;
		esac
	done
}

pid_before_id()
{
	new_tree
	echo 5 >"$heaps/6/pid"
	try "$goheap" stat 5
	prints '^heap 6 of process 5 ' && ! grep -q '^heap 5' "$work/out" || return
	try "$goheap" stat id:5
	prints '^heap 5 of ' && ! grep -q '^heap 6' "$work/out" || return
	try "$goheap" stat 2
	prints '^heap 2 of '
}

# Of four heaps one can be read; as is said, with who could.
hidden_are_counted()
{
	new_tree
	chmod -R a+rX "$work/sys"
	chmod 400 "$heaps"/[126]/*
	[ "$(id -u)" = 0 ] || chmod 000 "$heaps"/[126]/*
	try as_nobody "$goheap" list
	[ "$status" = 0 ] && prints '^ *5 ' && [ "$(wc -l <"$work/out")" = 2 ] &&
		grep -q '3 heaps of other users or containers not shown: root sees them (sudo goheap list)' "$work/err" ||
		return
	try as_nobody "$goheap" stat --json
	prints '"hidden": 3' && prints '"heaps": 4,' || return
	refuses 1 'no heap that you may read; 3 of others are hidden from you: ask as root' \
		as_nobody "$goheap" stat "$(<"$work/pid1")"
}

# 1000 allocations more after the first look.
interval_shows_changes()
{
	local n

	new_tree
	n=$(value 1 nr_allocs)
	"$goheap" stat -i 1 -n 2 --json "$(value 1 pid)" >"$work/out" &
	sleep 0.3
	echo $((n + 1000)) >"$heaps/1/nr_allocs"
	wait $! || return
	"$here/valid.py" stat-interval <"$work/out" || return
	grep -o '"allocs_per_second": [0-9]*' "$work/out" >"$work/rates"
	note "$(tr '\n' ' ' <"$work/rates")"
	awk 'NR == 1 && $2 > 800 && $2 <= 1000 { a = 1 } NR == 2 && $2 == 0 { b = 1 }
		END { exit !(a && b && NR == 2) }' "$work/rates"
}

ends_with_process()
{
	new_tree
	timeout 20 "$goheap" stat -i 0.2 "$(value 1 pid)" >"$work/out" &
	sleep 0.7
	rm -r "${heaps:?}/1"
	wait $! && prints '^ +2.5M '
}

# One process that calls itself what a terminal obeys, and one that JSON must quote.
strange_names()
{
	new_tree
	printf '\033[2J\377\n' >"$heaps/1/comm"
	printf 'a"b\\c\n' >"$heaps/2/comm"
	try "$goheap" list
	! grep -q $'\033' "$work/out" && prints '^ *1 +[0-9]+ \?\[2J\? ' && prints 'a"b\\c ' || return
	try "$goheap" list --json
	"$here/valid.py" list <"$work/out" &&
		/usr/bin/python3 -c 'import json, sys
names = [h["comm"] for h in json.load(open(sys.argv[1]))["heaps"]]
assert names[:2] == ["\x1b[2J\ufffd", "a\"b\\c"], names' "$work/out" || return
	try "$goheap" stat -p
	promtool check metrics <"$work/out" >&2 && prints 'comm="a\\"b\\\\c"'
}

json_is_valid()
{
	new_tree
	"$goheap" list --json >"$work/list" && "$here/valid.py" list <"$work/list" &&
		"$goheap" stat --json >"$work/stat" && "$here/valid.py" stat <"$work/stat" &&
		"$goheap" stat --json "$(value 1 pid)" | "$here/valid.py" stat || return
	# Every number is that of its file.
	/usr/bin/python3 - "$work/stat" "$heaps" <<-'END'
	import json, sys
	doc = json.load(open(sys.argv[1]))
	assert len(doc["heaps"]) == 4
	for h in doc["heaps"]:
	    for name, value in h.items():
	        if name != "id":
	            text = open("%s/%d/%s" % (sys.argv[2], h["id"], name)).read().strip()
	            assert text == ("max" if value is None else str(value)), (name, text, value)
	END
}

schema_refuses()
{
	new_tree
	"$goheap" list --json | sed 's/"pid": \([0-9]*\)/"pid": "\1"/' | "$here/valid.py" list 2>/dev/null &&
		return 1
	"$goheap" list --json | sed '/"arena"/d' | "$here/valid.py" list 2>/dev/null && return 1
	return 0
}

prometheus_is_valid()
{
	new_tree
	try "$goheap" stat --prometheus
	[ "$status" = 0 ] && promtool check metrics <"$work/out" >&2 || return
	prints '^goheap_heaps 4$' &&
		prints "^goheap_idle_bytes\{id=\"6\",pid=\"$(value 6 pid)\",comm=\"python3\"\} $(value 6 heap_idle)\$" &&
		prints "^goheap_scavenged_bytes_total\{id=\"5\",.*cause=\"demand\"\} $(value 5 scav_demand_bytes)\$" &&
		prints '^goheap_limit_soft_bytes\{id="6".*\} \+Inf$' &&
		prints "^goheap_all_sys_bytes $(<"$heaps/heap_sys")\$"
}

# promtool finds fault with it if it is broken.
promtool_refuses()
{
	try "$goheap" stat --prometheus
	! sed 's/^# TYPE goheap_grows_total counter/# TYPE goheap_grows_total histogram/' "$work/out" |
		promtool check metrics >/dev/null 2>&1
}

# The file is another one each time, and one that is read meanwhile is whole.
output_is_replaced()
{
	local dir=$work/metrics seen=0 before=0

	new_tree 100
	mkdir -p "$dir"
	"$goheap" stat -p >"$work/want"
	"$goheap" stat -p -o "$dir/goheap.prom" || return
	(for _ in $(seq 30); do "$goheap" stat -p -o "$dir/goheap.prom"; done) &
	while kill -0 $! 2>/dev/null; do
		cmp -s "$dir/goheap.prom" "$work/want" || return
		[ "$(stat -c %i "$dir/goheap.prom")" = "$before" ] || seen=$((seen + 1))
		before=$(stat -c %i "$dir/goheap.prom")
	done
	wait
	note "seen $seen files"
	[ "$seen" -gt 2 ] && [ "$(ls "$dir")" = goheap.prom ] && [ "$(stat -c %a "$dir/goheap.prom")" = 644 ]
}

output_fails()
{
	refuses 1 "$work/nowhere/goheap.prom: No such file or directory: make the folder" \
		"$goheap" stat -p -o "$work/nowhere/goheap.prom" || return
	mkdir -p "$work/metrics/dir"
	refuses 1 'dir' "$goheap" stat -p -o "$work/metrics/dir" &&
		[ -z "$(find "$work/metrics" -name 'dir.*')" ]
}

# CPU time in ms of a command, the least of three.
cpu_ms()
{
	python3 -c 'import resource, subprocess, sys
def one():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print(round(1000 * min(one() for i in range(3))))' "$@"
}

thousand_heaps()
{
	local ms

	new_tree 1000
	try "$goheap" stat
	[ "$(wc -l <"$work/out")" = 1002 ] || return
	ms=$(cpu_ms "$goheap" stat)
	note "goheap stat of 1000 heaps: $ms ms of CPU"
	[ "$ms" -lt 100 ]
}

# A file that takes 1.5 s to read; on a terminal what was read is shown, and wiped.
shows_progress()
{
	rm "$heaps/1/pid"
	mkfifo "$heaps/1/pid"
	(sleep 1.5; echo 1000 >"$heaps/1/pid") &
	on_terminal "$goheap stat >/dev/null"
	wait
	prints $'reading heaps: [0-9]+ of 40' && tail -c 8 "$work/out" | grep -q $'\033\\[K' || return
	(sleep 1.5; echo 1000 >"$heaps/1/pid") &
	try "$goheap" stat
	wait
	[ ! -s "$work/err" ]
}

full_disk()
{
	new_tree
	refuses 1 'cannot write' sh -c "$goheap list >/dev/full"
}

plan 21
new_tree
value 1 pid >"$work/pid1"
check 'list: each heap' list_shows_all
check 'stat: a table that is right' table_is_right
check 'stat PID: each file of the heap' one_in_full
check 'a number is a process, or else a heap; id: is a heap' pid_before_id
check 'heaps of others are counted' hidden_are_counted
check 'no such process' refuses 1 '99999 has no heap of the kernel' "$goheap" stat 99999
check 'no such heap' refuses 1 'there is no heap 99999: goheap list shows' "$goheap" stat id:99999
check 'no number' refuses 2 'give a PID, an ID, or id:ID' "$goheap" stat redis
check 'no module' refuses 1 'the module is not loaded: modprobe goheap' "$goheap" list --sysfs "$work/none"
check 'stat -i: what changed' interval_shows_changes
check 'stat -i: ends with the process' ends_with_process
check 'names that a terminal or JSON would misread' strange_names
check 'JSON: as the schema says, with the values of the files' json_is_valid
check 'JSON: the schema refuses what is wrong' schema_refuses
check 'Prometheus: promtool is content, values are right' prometheus_is_valid
check 'Prometheus: promtool is not content with anything' promtool_refuses
check 'Prometheus: the file is replaced at once' output_is_replaced
check 'Prometheus: a file that cannot be written' output_fails
check 'stat of 1000 heaps: under 100 ms of CPU' thousand_heaps
new_tree 40
check 'progress after a second, on a terminal only' shows_progress
check 'a full disk' full_disk
finish
