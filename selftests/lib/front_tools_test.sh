#!/bin/bash
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# Programs with the library under Valgrind, and built with AddressSanitizer: both replace
# malloc() and find what they find, as without the library, and what the library has
# beside malloc() goes with theirs.  Valgrind can be told to leave the library's in place.
here=$(dirname "$(realpath "$0")")
# shellcheck source-path=SCRIPTDIR source=../run_tap.sh
. "$here/../run_tap.sh"

bin=${BUILD:-$here/../../build}/selftests/lib
lib=${BUILD:-$here/../../build}/libgoheap.so
ours=--soname-synonyms=somalloc=nouserintercepts

# $1: what the output must have, as a pattern; then the command.
says()
{
	local pattern=$1 out
	shift

	out=$("$@" 2>&1)
	# shellcheck disable=SC2053
	[[ $out == $pattern ]] && return
	note "$*: $out"
	return 1
}

valgrind_finds()
{
	says '*Invalid read of size 1*fine*' env LD_PRELOAD="$lib" valgrind -q "$bin/front_tools_prog" read &&
		says '*Invalid free()*fine*' valgrind -q "$bin/front_tools_linked" twice
}

# Nothing but "fine": no complaint about what the library does itself either.
valgrind_fine()
{
	says fine env LD_PRELOAD="$lib" valgrind -q "$bin/front_tools_prog" &&
		says fine valgrind -q "$bin/front_tools_linked" sized
}

valgrind_left_in_place()
{
	says fine valgrind -q $ours "$bin/front_tools_linked" sized &&
		says '*fatal error: free: double free: 0x*' \
			valgrind -q $ours "$bin/front_tools_linked" twice
}

asan_finds()
{
	says '*AddressSanitizer: heap-use-after-free*' "$bin/front_tools_asan" read &&
		says '*AddressSanitizer: attempting double-free*' "$bin/front_tools_asan" twice
}

asan_fine()
{
	says fine "$bin/front_tools_asan" && says fine "$bin/front_tools_asan" sized
}

# The sanitizer insists on being first.
asan_preloaded()
{
	says fine env LD_PRELOAD="$asan $lib" "$bin/front_tools_asan" &&
		says '*AddressSanitizer: heap-use-after-free*' \
			env LD_PRELOAD="$asan $lib" "$bin/front_tools_asan" read
}

# The processor is emulated there.
[ ! -e /dev/goheap ] || skip_all 'tools run where there is no device'
plan 6
asan=$(ldd "$bin/front_tools_asan" | awk '/libasan/ { print $3 }')
if command -v valgrind >/dev/null; then
	check 'Valgrind finds errors' valgrind_finds
	check 'Valgrind has nothing to say' valgrind_fine
	check "Valgrind told to leave the library's malloc" valgrind_left_in_place
else
	skip 'Valgrind finds errors' 'no valgrind'
	skip 'Valgrind has nothing to say' 'no valgrind'
	skip "Valgrind told to leave the library's malloc" 'no valgrind'
fi
check 'AddressSanitizer finds errors' asan_finds
check 'AddressSanitizer has nothing to say' asan_fine
if [ -n "$asan" ]; then
	check 'AddressSanitizer, and the library preloaded' asan_preloaded
else
	skip 'AddressSanitizer, and the library preloaded' 'it is part of the program here'
fi
finish
