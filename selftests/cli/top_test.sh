#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# goheap top over the recorded tree, on a terminal: what it shows, its keys, what changes
# meanwhile, and how little it takes.
# shellcheck disable=SC2119,SC2317
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$(realpath "$0")")/common.sh"
# shellcheck source=terminal.sh
. "$here/terminal.sh"

shows_heaps()
{
	new_tree
	start 80 24 "$goheap top"
	shows '^goheap top  ..:..:..  4 heaps, by idle, every 1 s; h: help$' &&
		shows '^# in use 19M  = idle 75M  \. released 53M  ever: age 0B pressure 0B demand 50M$' &&
		shows '^#{10}={40,}\.{20,}$' &&
		shows '^ +6 +[0-9]+ python3 +8.2M +56M +728K +0B +0B +-$' &&
		shows '^ +5 +[0-9]+ python3 +8.2M +6.1M +51M +50M +0B +16M$' && ends
}

sorts()
{
	start 80 24 "$goheap top"
	first_is '^ +6 ' && keys r && first_is '^ +5 ' && keys i && first_is '^ +6 ' && keys s &&
		first_is '^ +5 ' && keys p && first_is '^ +1 ' && keys u && first_is '^ +[56] ' &&
		shows 'by inuse' && ends || return
	start 80 24 "$goheap top --sort=released"
	first_is '^ +5 ' && ends
}

# Nothing but what was asked for: the list is as it was, and the interval is set.
helps()
{
	start 80 24 "$goheap top"
	shows '^ +6 ' && keys h && shows '^i u r s p +sort by idle' && keys '?' && shows '^ +6 ' &&
		keys + && shows 'every 0.5 s' && keys - - && shows 'every 2 s' && ends
}

# One process frees, one ends, one begins; looked at each 0.2 s.
changes()
{
	new_tree
	start 80 24 "$goheap top -i 0.2"
	first_is '^ +6 ' || return
	echo 900000000 >"$heaps/1/heap_idle"
	first_is '^ +1 .* 858M ' || return
	cp -r "$heaps/6" "$heaps/77"
	shows '^ +77 ' || return
	rm -r "${heaps:?}/1"
	first_is '^ +6 ' && ! screen | grep -q '^ *1 ' || return
	echo 104857600 >"$heaps/6/scav_pressure_bytes"
	# 100 MiB in 0.2 s or little more.
	shows '^ +6 .* 100M +[234][0-9][0-9]M ' && ends
}

# One that is not on the screen, whose order is looked at in turns.
climbs()
{
	start 80 24 "$goheap top -i 0.2"
	first_is '^ +4 ' || return
	echo 900000000 >"$heaps/798/heap_idle"
	first_is '^ +798 .* 858M ' && ends
}

# Of 1000 heaps there are 20 on the screen.
scrolls()
{
	start 80 24 "$goheap top --sort pid -i 60"
	first_is '^ +1 +1000 ' && keys Down j && first_is '^ +3 ' && keys Up && first_is '^ +2 ' &&
		keys NPage && first_is '^ +22 ' && keys PPage PPage && first_is '^ +1 ' &&
		keys End && first_is '^ +981 ' && shows '^ +1000 +1999 ' && keys Home && first_is '^ +1 ' ||
		return
	tmux_ resize-window -x 60 -y 10
	first_is '^ +1 ' && keys End && first_is '^ +995 ' || return
	tmux_ resize-window -x 20 -y 3
	keys r && tmux_ resize-window -x 100 -y 30 && shows 'by released' && ends
}

colours()
{
	new_tree
	start 80 24 "$goheap top"
	shows '^ +6 ' && screen -e | grep -q $'\033\\[32m#' && ends || return
	start 80 24 "NO_COLOR=1 $goheap top"
	shows '^ +6 ' && ! screen -e | grep -q $'\033\\[3[0-7]' && ends
}

counts_hidden()
{
	new_tree
	chmod -R a+rX "$work/sys"
	chmod 400 "$heaps"/[126]/*
	[ "$(id -u)" = 0 ] || chmod 000 "$heaps"/[126]/*
	start 80 24 "$(declare -f as_nobody); as_nobody $goheap top"
	shows '4 heaps \(3 hidden: root sees them\)' && shows '^ +5 ' && ! screen | grep -q '^ *[126] ' && ends
}

module_goes()
{
	new_tree
	start 80 24 "$goheap top -i 0.2"
	shows '^ +6 ' || return
	rm -r "$work/sys"
	shows '^status 1$' && shows '^before$' && grep -q 'cannot read totals' "$work/top.err"
}

ends_after_count()
{
	new_tree
	start 80 24 "$goheap top -i 0.1 -n 3"
	shows '^status 0$'
}

no_terminal()
{
	refuses 1 'goheap stat -i 1 goes into files and pipes' "$goheap" top || return
	start 80 24 "TERM=nonsense $goheap top"
	shows '^status 1$' && grep -q 'try TERM=xterm' "$work/top.err"
}

# In ms; of process $1.
cpu_of()
{
	awk '{ printf "%d\n", $1 / 1000000 }' "/proc/$1/schedstat"
}

# What it takes in 12 s, after the first look.
takes_little()
{
	local before pid seconds=10 used

	start 100 50 "sh -c 'echo \$\$ >$work/pid; exec $goheap top --sort scavenged'"
	shows '1000 heaps' || return
	sleep 1
	pid=$(<"$work/pid")
	before=$(cpu_of "$pid")
	sleep "$seconds"
	used=$(($(cpu_of "$pid") - before))
	note "goheap top of 1000 heaps, each second: $used ms of CPU in $seconds s"
	kill "$pid"
	[ "$used" -gt 0 ] && [ "$used" -lt $((seconds * 10)) ]
}

if ! command -v tmux >/dev/null; then
	skip_all 'tmux is not installed'
fi
"$goheap" top --sysfs "$work/none" 2>&1 | grep -q 'built without' && skip_all 'built without ncurses'
plan 12
check 'heaps, totals and a bar' shows_heaps
check 'sorts by each key' sorts
check 'help, and the interval' helps
check 'heaps that change, come and go' changes
new_tree 1000
check 'a heap far down that grows' climbs
check 'scrolls, and the terminal changes its size' scrolls
check 'under 1 % of a CPU with 1000 heaps' takes_little
check 'colours, unless NO_COLOR' colours
check 'heaps of others are counted' counts_hidden
check 'the module goes' module_goes
check 'ends after so many looks' ends_after_count
check 'no terminal, or an unknown one' no_terminal
finish
