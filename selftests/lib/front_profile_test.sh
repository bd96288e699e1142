#!/bin/bash
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# The heap profile of a program, as pprof of google-perftools reads it: the functions that
# allocated have their names and bytes, however the library comes to the program and
# whether it has frame pointers or not.  And when it is written.
export LC_ALL=C
here=$(dirname "$(realpath "$0")")
. "$here/../run_tap.sh"

build=${BUILD:-$here/../../build}
bin=$build/selftests/lib
lib=$build/libgoheap.so
backend=$(sed -n 's/.*backend=\([a-z]*\).*/\1/p' <<<"${GOHEAPDEBUG:-}")
options=${backend:+backend=$backend,}memprofilerate=1
unset GOHEAPDEBUG
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# Runs $2... with these further options, preloaded if $preload; stdout and stderr are in $tmp/out.
run()
{
	local more=$1
	shift

	GOHEAPDEBUG=$options,$more LD_PRELOAD=${preload-$lib} "$@" >"$tmp/out" 2>&1 && return
	note "$*: $(<"$tmp/out")"
	return 1
}

# Of program $1 and profile $2: bytes and functions, with pprof's options $3...
pprof()
{
	local program=$1 profile=$2
	shift 2

	google-pprof --text --show_bytes "$@" "$program" "$profile" 2>"$tmp/pprof.err" |
		awk 'NF == 6 { print $1, $4, $6 }' | sort -k 3 >"$tmp/pprof"
}

# Its own bytes, and those of all that it called.
has()
{
	grep -qx "$1 $2 $3" "$tmp/pprof" && return
	note "no '$1 $2 $3' in: $(<"$tmp/pprof")"
	return 1
}

# 999 of 100 bytes, 1000 of 3000, 100 of 100000 and one of 501, as large as their classes are.
names()
{
	local program=$1

	run "profile=$tmp/profile" "$program" || return
	pprof "$program" "$tmp/profile" --inuse_space
	has 111888 111888 site_small && has 3072000 3072000 site_zeroed &&
		has 10649600 10649600 site_large && has 0 13834000 caller &&
		has 0 512 site_copied && has 0 13834000 main
}

unloaded()
{
	local preload=

	names "$1"
}

freed()
{
	run "profile=$tmp/profile" "$bin/front_profile_prog" free || return
	pprof "$bin/front_profile_prog" "$tmp/profile" --inuse_space
	if grep -q site_ "$tmp/pprof"; then
		note "in use: $(<"$tmp/pprof")"
		return 1
	fi
	pprof "$bin/front_profile_prog" "$tmp/profile" --alloc_objects
	has 999 999 site_small && has 100 100 site_large
}

# Whatever else is looked for at the same time.
hardened()
{
	run "hardened=1,profile=$tmp/profile" "$bin/front_profile_prog" || return
	pprof "$bin/front_profile_prog" "$tmp/profile" --inuse_objects
	has 999 999 site_small && has 1000 1000 site_zeroed && has 100 100 site_large || return
	run "hardened=1,profile=$tmp/profile" "$bin/front_profile_prog" free || return
	pprof "$bin/front_profile_prog" "$tmp/profile" --inuse_objects
	! grep site_ "$tmp/pprof"
}

on_signal()
{
	run "profile=$tmp/s.%n,profilesignal=10" "$bin/front_profile_prog" signal free signal || return
	pprof "$bin/front_profile_prog" "$tmp/s.0" --inuse_objects
	has 999 999 site_small || return
	pprof "$bin/front_profile_prog" "$tmp/s.1" --inuse_objects
	! grep site_ "$tmp/pprof" && cmp <(grep '@ 0x' "$tmp/s.1") <(grep '@ 0x' "$tmp/s.2")
}

# A signal that the program wants for itself it gets.
own_signal()
{
	run "profile=$tmp/o.%n,profilesignal=10" "$bin/front_profile_prog" own signal || return
	grep -qx 'own handler of 10' "$tmp/out" && [ -e "$tmp/o.0" ] && [ ! -e "$tmp/o.1" ]
}

ignored_signal()
{
	(trap '' USR1; run "profile=$tmp/i.%n,profilesignal=10" "$bin/front_profile_prog" signal) || return
	[ -e "$tmp/i.0" ] && [ ! -e "$tmp/i.1" ]
}

# shellcheck disable=SC2012	# the names are ours
forked()
{
	run "profile=$tmp/f.%p" "$bin/front_profile_prog" fork || return
	[ "$(ls "$tmp"/f.* | wc -l)" = 2 ] || return
	for f in "$tmp"/f.*; do
		pprof "$bin/front_profile_prog" "$f" --inuse_objects
		has 999 999 site_small || return
	done
}

# The default rate, and that it is off by default.
rates()
{
	local options=${backend:+backend=$backend,}

	run "profile=$tmp/r" "$bin/front_profile_prog" || return
	head -n 1 "$tmp/r" | grep -q '@ heap_v2/524288$' || return
	run "" "$bin/front_profile_prog" && [ ! -s "$tmp/out" ]
}

complaint()
{
	run "profile=/nonexistent/p" "$bin/front_profile_prog" || return
	[ "$(<"$tmp/out")" = 'goheap: cannot write profile /nonexistent/p: error 2' ]
}

# Programs that load, unload, throw and fork: none is disturbed.
python()
{
	run "profile=$tmp/p.%p" python3 -c 'import ctypes, json, decimal, subprocess, threading
ts = [threading.Thread(target=lambda: json.dumps(list(range(10000)))) for i in range(8)]
[t.start() for t in ts]
[t.join() for t in ts]
subprocess.run(["true"])
print("fine")' && grep -qx fine "$tmp/out" && [ "$(cat "$tmp"/p.* | grep -c '@ 0x')" -gt 1000 ]
}

if ! command -v google-pprof >/dev/null; then
	skip_all "google-perftools is not installed"
fi
plan 15
check "preloaded, without frame pointers" names "$bin/front_profile_prog"
check "preloaded, with frame pointers" names "$bin/front_profile_fp"
check "linked" unloaded "$bin/front_profile_linked"
check "linked with the archive" unloaded "$bin/front_profile_archive"
check "linked with the archive, with frame pointers" unloaded "$bin/front_profile_archive_fp"
check "static" unloaded "$bin/front_profile_static"
check "what is freed is not in use" freed
check "hardened" hardened
check "on a signal" on_signal
check "a signal that the program handles" own_signal
check "a signal that is ignored" ignored_signal
check "a file for each process" forked
check "the default rate, and no profile by default" rates
check "a file that cannot be written" complaint
check "Python, with threads and children" python
finish
