#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# What all commands of goheap have in common: help, versions, errors, colours, the manual,
# completion; scavenge and limit, as far as what they write goes; and a goheap that was
# built without a library.
# shellcheck disable=SC2016,SC2119,SC2317
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$(realpath "$0")")/common.sh"

version=$(sed -n 's/^#define GOHEAP_VERSION[[:space:]]*"\(.*\)"/\1/p' "$top/userlib/include/goheap.h")
commands=$("$goheap" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')
man=$top/userlib/man/goheap.1

# Options of command $1, as its help has them.
options()
{
	"$goheap" "$1" --help | sed -n 's/^  .*--\([a-z-]*\).*/\1/p'
}

help_everywhere()
{
	local c

	[ "$(wc -w <<<"$commands")" -ge 7 ] || return
	try "$goheap" help
	[ "$status" = 0 ] && prints '^Commands:$' || return
	for c in $commands; do
		try "$goheap" "$c" --help
		[ "$status" = 0 ] && [ ! -s "$work/err" ] && prints "^Usage: goheap $c " &&
			prints '--help' || return
		cp "$work/out" "$work/help"
		try "$goheap" "$c" -h
		[ "$status" = 0 ] && cmp "$work/out" "$work/help" || return
		try "$goheap" help "$c"
		[ "$status" = 0 ] && cmp "$work/out" "$work/help" || return
	done
}

version_everywhere()
{
	local c

	for c in '' $commands; do
		# shellcheck disable=SC2086	# none, or one
		try "$goheap" $c --version
		[ "$status" = 0 ] && [ "$(<"$work/out")" = "goheap $version" ] || return
	done
}

refused_everywhere()
{
	local c

	for c in $commands; do
		refuses 2 "Try: goheap $c --help" "$goheap" "$c" --nonsense || return
	done
	refuses 2 'which command?' "$goheap" &&
		refuses 2 "there is no command 'nonsense': there are run, list, " "$goheap" nonsense &&
		refuses 2 "there is no command 'nonsense'" "$goheap" help nonsense &&
		refuses 2 'there is no option --nonsense here' "$goheap" --nonsense &&
		refuses 2 'there is no option -x here' "$goheap" list -xj &&
		refuses 2 '-i lacks its argument: SECONDS' "$goheap" stat -i &&
		refuses 2 '--interval lacks its argument: SECONDS' "$goheap" stat --interval &&
		refuses 2 '--json takes no argument' "$goheap" list --json=1 &&
		refuses 2 "'there' is one too many" "$goheap" list there &&
		refuses 2 'is no number of seconds' "$goheap" stat -i 0 &&
		refuses 2 'is no number of seconds' "$goheap" stat -i 1s &&
		refuses 2 'is no number of times' "$goheap" stat -i 1 -n 0 &&
		refuses 2 'goes with --interval' "$goheap" stat -n 3 &&
		refuses 2 'goes with --prometheus' "$goheap" stat -o file &&
		refuses 2 'no JSON' "$goheap" stat -p --json &&
		refuses 2 'nothing to sort by' "$goheap" top -s size
}

# On a terminal bold; not in a pipe, and not with NO_COLOR.
colours()
{
	new_tree
	on_terminal "$goheap list"
	grep -q $'\033\\[1m' "$work/out" || return
	NO_COLOR=1 on_terminal "$goheap list"
	prints redis-server && ! grep -q $'\033' "$work/out" || return
	NO_COLOR='' on_terminal "$goheap list"
	grep -q $'\033' "$work/out" || return
	try "$goheap" list
	! grep -q $'\033' "$work/out"
}

# ---- the manual and completion ----

manual_is_clean()
{
	mandoc -T lint -W warning "$man" >"$work/lint" 2>&1
	[ ! -s "$work/lint" ] || { note "$(<"$work/lint")"; return 1; }
}

# Each command and each of its options is there.
manual_is_complete()
{
	local c o

	for c in $commands; do
		grep -q "^\.It Cm $c\$" "$man" || { note "no $c"; return 1; }
		for o in $(options "$c"); do
			grep -q "^\.It Fl .*\\\\-${o//-/\\\\?-}\b" "$man" || { note "no $c --$o"; return 1; }
		done
	done
}

# $*: words of a command line, the last of them to be completed.  Prints what is offered.
complete_words()
(
	# shellcheck source=/dev/null
	. "$top/userlib/install/goheap.bash"
	COMP_WORDS=("$@")
	COMP_CWORD=$(($# - 1))
	_goheap
	echo "${COMPREPLY[*]}"
)

completes()
{
	new_tree
	[ "$(complete_words "$goheap" '' | tr ' ' '\n' | sort)" = "$(sort <<<"$commands")" ] &&
		[ "$(complete_words "$goheap" sc)" = scavenge ] &&
		[ "$(complete_words "$goheap" stat --pro)" = --prometheus ] &&
		[ "$(complete_words "$goheap" scavenge a)" = all ] &&
		[ "$(complete_words "$goheap" limit '')" = "$(cat "$heaps"/[1256]/pid | xargs)" ] &&
		[ "$(complete_words "$goheap" limit 1 no)" = none ] &&
		[ "$(complete_words "$goheap" run -o har)" = hardened= ] &&
		[ "$(complete_words "$goheap" run -v pwd | tr ' ' '\n' | sort -u)" = "$(compgen -c pwd | sort -u)" ]
}

# The unit starts what is built here.
unit_is_clean()
{
	make -s --no-print-directory -C "$top" BUILD="$work/b" BINDIR=/usr/bin \
		"$work/b/install/goheap-prometheus.service" || return
	sed "s,/usr/bin/goheap ,$goheap ," "$work/b/install/goheap-prometheus.service" \
		>"$work/goheap-prometheus.service"
	grep -q "^ExecStart=$goheap stat " "$work/goheap-prometheus.service" || return
	cp "$top/userlib/install/goheap-prometheus.timer" "$work"
	systemd-analyze verify --man=no "$work"/goheap-prometheus.{service,timer} >"$work/err" 2>&1
	! grep goheap-prometheus "$work/err"
}

# ---- what is written ----

scavenge_writes()
{
	new_tree
	try "$goheap" scavenge "$(<"$heaps/6/pid")"
	[ "$status" = 0 ] && prints "^heap 6 of process [0-9]+ \(python3\): 0B released\$" &&
		[ "$(<"$heaps/6/scavenge")" = all ] && [ -z "$(<"$heaps/5/scavenge")" ] || return
	try "$goheap" scavenge --bytes 64M id:5
	[ "$(<"$heaps/5/scavenge")" = 67108864 ] || return
	try "$goheap" scavenge --json
	"$here/valid.py" scavenge <"$work/out" && [ "$(cat "$heaps"/[1256]/scavenge)" = allallallall ] ||
		return
	new_tree
	refuses 2 'is no number of bytes' "$goheap" scavenge -b 12X all &&
		[ -z "$(cat "$heaps"/[1256]/scavenge)" ]
}

# Plays the kernel for heap 6 with 320 MiB idle: releases what is asked for, in a tenth of
# a second, and lets its new state be read only then.
play_kernel()
{
	local left=335544320 demand=0 amount=''

	echo "$left" >"$heaps/6/heap_idle"
	while [ "$amount" != all ]; do
		amount=$(<"$heaps/6/scavenge")
		echo "$amount" >>"$work/amounts"
		sleep 0.1
		if [ "$amount" = all ]; then
			demand=$((demand + left)) left=0
		else
			demand=$((demand + amount)) left=$((left - amount))
		fi
		echo "$demand" >"$heaps/6/scav_demand_bytes"
		echo "$left" >"$heaps/6/heap_idle"
	done
}

# A heap that takes 2 s: in steps of 16 MiB, which are shown, and then what may be left.
scavenge_in_steps()
{
	new_tree
	echo 0 >"$heaps/6/heap_released"
	rm "$heaps/6/scavenge" "$heaps/6/heap_idle"
	mkfifo "$heaps/6/scavenge" "$heaps/6/heap_idle"
	play_kernel &
	on_terminal "timeout 60 $goheap scavenge id:6"
	kill $! 2>/dev/null
	wait
	[ "$(sort "$work/amounts" | uniq -c | xargs)" = '20 16777216 1 all' ] &&
		prints 'releasing MiB: [0-9]+ of 320' && prints 'heap 6 .* 320M released'
}

# $1: what is given, $2: what is to be written.
limit_is()
{
	try "$goheap" limit id:6 "$1"
	[ "$status" = 0 ] && [ "$(<"$heaps/6/limit_soft")" = "$2" ] && return
	note "$1: $(<"$heaps/6/limit_soft")" "$(<"$work/err")"
	return 1
}

limit_writes()
{
	local bad

	new_tree
	limit_is 512M 536870912 && limit_is 64KiB 65536 && limit_is 3g 3221225472 &&
		limit_is 8192 8192 && limit_is none max && limit_is 1TB 1099511627776 || return
	prints '^ *6 .* 64M +1.0T +none$' && [ "$(<"$heaps/5/limit_soft")" = 16777216 ] || return
	for bad in '' x -1 1.5G 5Q 512MX 99999999999999999999 99999999T; do
		refuses 2 "'$bad' is no limit: give bytes, as 65536" "$goheap" limit id:6 -- "$bad" || return
	done
	[ "$(<"$heaps/6/limit_soft")" = 1099511627776 ] && [ "$(<"$heaps/6/limit_hard")" = max ] || return
	try "$goheap" limit --hard id:6 2G
	[ "$(<"$heaps/6/limit_hard")" = 2147483648 ] && refuses 2 'for setting' "$goheap" limit --hard
}

limit_shows()
{
	new_tree
	try "$goheap" limit
	prints '^ *5 .* 14M +16M +none$' && prints '^ *6 .* 64M +none +none$' || return
	"$goheap" limit --json | "$here/valid.py" limits
}

# ---- built without ----

# It builds, and all the rest works.
without_ncurses()
{
	make -s --no-print-directory -C "$top" BUILD="$work/b" NCURSES= "$work/b/goheap" >&2 || return
	! ldd "$work/b/goheap" | grep ncurses || return
	new_tree
	refuses 1 'built without it: install the package libncurses-dev and build again' \
		"$work/b/goheap" top && "$work/b/goheap" list >"$work/out" && prints redis-server
}

plan 16
check 'every command has help' help_everywhere
check 'every command has the version' version_everywhere
check 'every command refuses what it does not know' refused_everywhere
check 'colour on a terminal, unless NO_COLOR' colours
if command -v mandoc >/dev/null; then
	check 'the manual is clean' manual_is_clean
else
	skip 'the manual is clean' 'mandoc is not installed'
fi
check 'the manual has every command and option' manual_is_complete
check 'completion offers what there is' completes
if command -v systemd-analyze >/dev/null; then
	check 'the unit for Prometheus is clean' unit_is_clean
else
	skip 'the unit for Prometheus is clean' 'systemd is not installed'
fi
check 'scavenge: all, some bytes, one heap' scavenge_writes
check 'scavenge: in steps, with progress' scavenge_in_steps
check 'limit: sizes' limit_writes
check 'limit: shows' limit_shows
check 'limit: no such heap' refuses 1 'goheap list shows' "$goheap" limit 99999 1G
check 'scavenge: no such heap' refuses 1 'goheap list shows' "$goheap" scavenge 99999
check 'no module' refuses 1 'modprobe goheap' "$goheap" scavenge --sysfs "$work/none" all
check 'built without ncurses' without_ncurses
finish
