#!/bin/bash
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# The library in the ways that a program gets it, under the options of its
# environment, and under the limits that a process can be put under.  The backend
# is the one that GOHEAPDEBUG=backend=... names, or the one that there is.
here=$(dirname "$(realpath "$0")")
. "$here/../run_tap.sh"

bin=${BUILD:-$here/../../build}/selftests/lib
lib=${BUILD:-$here/../../build}/libgoheap.so
backend=$(sed -n 's/.*backend=\([a-z]*\).*/\1/p' <<<"${GOHEAPDEBUG:-}")
if [ -z "$backend" ]; then
	backend=embedded
	[ ! -c /dev/goheap ] || backend=device
fi
unset GOHEAPDEBUG
err=$(mktemp)
trap 'rm -f "$err"' EXIT

# Runs $2... preloaded with GOHEAPDEBUG=$1; its output is in $out and file $err.
run()
{
	local options=$1
	shift

	out=$(GOHEAPDEBUG=$options LD_PRELOAD=$lib "$@" 2>"$err")
}

# $1: options, $2: exact stderr, or a pattern; $3...: the program.
says()
{
	local options=$1 text=$2
	shift 2

	run "$options" "$@"
	# shellcheck disable=SC2053
	[[ "$(<"$err")" == $text ]] && return
	note "stderr: $(<"$err")"
	return 1
}

# It says that it is fine, on the right backend, and nothing else.
fine()
{
	[ "$out" = "fine $backend" ] && [ ! -s "$err" ] && return
	note "stdout: $out; stderr: $(<"$err")"
	return 1
}

preloaded()
{
	run "backend=$backend" "$bin/back_prog" && fine
}

# In either order: one of them finds its symbols, but not its constructor, first.
early()
{
	run "backend=$backend" env LD_PRELOAD="$1" "$bin/back_prog" && fine
}

linked()
{
	out=$(GOHEAPDEBUG=backend=$backend "$bin/$1" 2>"$err") && fine
}

loaded()
{
	out=$(GOHEAPDEBUG=backend=$backend "$bin/back_dlopen" "$lib" 2>"$err")
	[ "$out" = fine ] && [ ! -s "$err" ] || { note "$out $(<"$err")"; return 1; }
}

no_environment()
{
	out=$(env -i LD_PRELOAD="$lib" "$bin/back_prog" 2>"$err")
	[[ $out == fine* ]] && [ ! -s "$err" ]
}

unknown_option()
{
	says "backend=$backend,nosuch=1" \
		"goheap: GOHEAPDEBUG: unknown option 'nosuch' ignored; known are allocfreetrace, backend, bgscavenge, canary, efence, gctrace, guard, hardened, junk, memprofilerate, profile, profilesignal, quarantine, sample, sbrk, scavenge, uring, zero" \
		"$bin/back_prog" && [ "$out" = "fine $backend" ]
}

bad_value()
{
	says "backend=$backend,gctrace=5" \
		"goheap: GOHEAPDEBUG: gctrace=5 ignored; gctrace takes 0 or 1 (*)" \
		"$bin/back_prog" && [ "$out" = "fine $backend" ]
}

# Where the library has no liburing it says so, once.
ring()
{
	run "backend=$backend,uring=1" "$bin/back_prog"
	if [[ "$(<"$err")" == *'built without liburing'* ]]; then
		[ "$(wc -l <"$err")" = 1 ] && : >"$err"
	fi
	fine
}

# Runs program $1 with the set-user-ID bit, as somebody else; after it, variables for it.
as_setuid()
{
	local dir prog=$1
	shift

	dir=$(mktemp -d /var/tmp/goheap-secure-XXXXXX) && chmod 755 "$dir" &&
		cp "$prog" "$dir/prog" && chmod 4755 "$dir/prog"
	out=$(setpriv --reuid 65534 --clear-groups env "$@" "$dir/prog" 2>&1)
	rm -r "$dir"
}

# It is told nothing, ...
secure()
{
	as_setuid "$bin/$1" GOHEAPDEBUG=nosuch=1
	[[ $out == "fine "* && $out != *libc ]] || { note "$out"; return 1; }
}

# ... and given no library that it was not linked with.
secure_preloaded()
{
	as_setuid "$bin/back_prog" GOHEAPDEBUG=nosuch=1 LD_PRELOAD="$lib"
	[ "$out" = 'fine libc' ] || { note "$out"; return 1; }
}

# Forced to the device where there is none.  The shell's own words go.
missing_device()
{
	local text="fatal error: backend=device: there is no /dev/goheap (is the module loaded?)"

	{ GOHEAPDEBUG=backend=device LD_PRELOAD=$lib "$bin/back_prog" >/dev/null 2>"$err"; } \
		2>/dev/null
	[ $? = 134 ] && [ "$(<"$err")" = "$text" ] || { note "$(<"$err")"; return 1; }
}

# A program that allocates nothing needs no heap, and does not even look for the device.
no_heap()
{
	GOHEAPDEBUG=backend=device LD_PRELOAD=$lib "$(type -P true)" 2>"$err" && [ ! -s "$err" ]
}

# In a mount namespace with nothing in /dev.
missing_device_somewhere()
{
	export lib bin err
	export -f missing_device note
	unshare -m bash -c 'mount -t tmpfs none /dev && : >/dev/null && missing_device'
}

falls_back()
{
	out=$(unshare -m bash -c "mount -t tmpfs none /dev && LD_PRELOAD=$lib $bin/back_prog" 2>"$err")
	[ "$out" = "fine embedded" ] && [ ! -s "$err" ]
}

huge()
{
	says "backend=$backend" \
		"runtime: out of memory: cannot allocate 549755813888-byte block (* in use)" \
		"$bin/back_prog" huge && [ "$out" = "fine $backend" ]
}

# $1: option of ulimit, $2: its value, $3...: the program's arguments.
under_limit()
{
	local limit=$1 value=$2
	shift 2

	out=$(ulimit "$limit" "$value" && GOHEAPDEBUG=backend=$backend LD_PRELOAD=$lib \
		"$bin/back_prog" "$@" 2>"$err")
	note "limit $limit $value: $out; $(head -n 1 "$err")"
}

limited()
{
	under_limit "$@" && fine
}

# All but 192 MiB of the addresses can be had, then ENOMEM, and the program lives.
filled()
{
	local mib

	under_limit -v $((1 << 20)) fill || return 1
	mib=${out%% *}
	[[ $out == *'errno 12' ]] && [ "$mib" -ge $((1024 - 192)) ]
}

locked()
{
	under_limit -l 65536 mlock && fine
}

plan 22
check 'preloaded' preloaded
check 'linked' linked back_linked
check 'static' linked back_static
check 'loaded while running' loaded
check 'constructors of another library, loaded after' early "$lib:$bin/back_early.so"
check 'constructors of another library, loaded before' early "$bin/back_early.so:$lib"
check 'no environment' no_environment
check 'unknown option' unknown_option
check 'bad value' bad_value
check 'uring' ring
if [ "$(id -u)" = 0 ] && [ -x "$(command -v setpriv)" ]; then
	check 'set-user-ID programs ignore the options, static' secure back_static
	check 'set-user-ID programs ignore the options, linked' secure back_linked
	check 'set-user-ID programs ignore LD_PRELOAD' secure_preloaded
else
	skip 'set-user-ID programs ignore the options, static' 'needs root and setpriv'
	skip 'set-user-ID programs ignore the options, linked' 'needs root and setpriv'
	skip 'set-user-ID programs ignore LD_PRELOAD' 'needs root and setpriv'
fi
if [ ! -e /dev/goheap ]; then
	check 'no heap for who allocates nothing' no_heap
	check 'forced device that is missing' missing_device
	skip 'missing device is made up for' 'it is missing anyway'
elif [ "$(id -u)" = 0 ]; then
	skip 'no heap for who allocates nothing' 'tried where there is no device'
	check 'forced device that is missing' missing_device_somewhere
	check 'missing device is made up for' falls_back
else
	skip 'no heap for who allocates nothing' 'tried where there is no device'
	skip 'forced device that is missing' 'needs root'
	skip 'missing device is made up for' 'needs root'
fi
check '512 GiB in one request' huge
check 'ulimit -v 150 MB' limited -v 150000
check 'ulimit -v 500 MB' limited -v 500000
check 'ulimit -v 1 GiB, filled' filled
check 'ulimit -d 100 MB' limited -d 100000
if (ulimit -l 65536) 2>/dev/null; then
	check 'mlockall and ulimit -l' locked
else
	skip 'mlockall and ulimit -l' 'the limit is lower here'
fi
finish
