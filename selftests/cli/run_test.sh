#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# goheap run: the program has the library as its malloc, also after make install, and what
# was in the environment; what keeps the library out of it is said; and which backend it
# gets.  Here that is the one in the library: there is no device.
# shellcheck disable=SC2015,SC2016,SC2119,SC2317
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$(realpath "$0")")/common.sh"
unset GOHEAPDEBUG

# Whether python3 gets its malloc from a library whose path is like $1, when started by $2...
bound()
{
	local lib=$1
	shift

	LD_BIND_NOW=1 LD_DEBUG=bindings try "$@" python3 -c pass
	grep -qE "binding file [^ ]*python3[^ ]* .* to $lib .* symbol .malloc'" "$work/err" && return
	note "malloc is not that of $lib"
	return 1
}

is_malloc()
{
	bound '[^ ]*/libgoheap.so.1' "$goheap" run && bound '[^ ]*/libgoheap.so.1' "$goheap" run -v --
}

# As make install leaves it.
installed()
{
	mkdir -p "$work/usr/bin" "$work/usr/lib"
	cp "$goheap" "$work/usr/bin"
	cp "$BUILD/libgoheap.so.1" "$work/usr/lib"
	bound "$work/usr/lib/libgoheap.so.1" "$work/usr/bin/goheap" run || return
	# The one of the CPU, if there is.
	mkdir -p "$work/usr/lib/glibc-hwcaps/x86-64-v3"
	cp "$BUILD/libgoheap.so.1" "$work/usr/lib/glibc-hwcaps/x86-64-v3"
	bound "$work/usr/lib/(glibc-hwcaps/x86-64-v3/)?libgoheap.so.1" "$work/usr/bin/goheap" run
}

keeps_environment()
{
	LD_PRELOAD=$BUILD/libgoheap_memcpy.so GOHEAPDEBUG=zero=1 \
		try "$goheap" run -o canary=1 --options=junk=7,guard=1 sh -c 'echo "$LD_PRELOAD $GOHEAPDEBUG"'
	prints "^[^ ]*/libgoheap.so.1:$BUILD/libgoheap_memcpy.so zero=1,canary=1,junk=7,guard=1\$" || return
	# Not twice.
	try "$goheap" run "$goheap" run sh -c 'echo "$LD_PRELOAD."'
	prints '^[^:]*libgoheap.so.1\.$' && [ ! -s "$work/err" ]
}

passes_on()
{
	try "$goheap" run sh -c 'exit 7'
	[ "$status" = 7 ] || return
	try "$goheap" run echo -v --json -- -o
	[ "$(<"$work/out")" = '-v --json -- -o' ] && [ ! -s "$work/err" ]
}

# The library's own word for what it does.
says_backend()
{
	try "$goheap" run -v true
	grep -qE "^goheap run: library [^ ]*/libgoheap.so.1, version [0-9.]+\$" "$work/err" &&
		grep -qF 'goheap run: backend embedded: there is no /dev/goheap (is the module loaded?) (goheap doctor' \
			"$work/err" || { note "$(<"$work/err")"; return 1; }
	refuses 1 'not started, because no program could: fatal error: backend=device: there is no' \
		"$goheap" run -o backend=device -- touch "$work/started" && [ ! -e "$work/started" ]
}

wrong_options()
{
	refuses 2 "unknown option 'nonsense'" "$goheap" run -o nonsense=1 touch "$work/started" &&
		refuses 2 'zero takes 0 or 1' "$goheap" run -o zero=7 touch "$work/started" &&
		[ ! -e "$work/started" ]
}

no_program()
{
	refuses 127 'cannot run nosuchprogram: No such file' "$goheap" run nosuchprogram &&
		refuses 126 "cannot run $work: Permission denied" "$goheap" run "$work" &&
		refuses 2 'what is missing' "$goheap" run
}

static_program()
{
	printf 'int main(void) { return 0; }\n' >"$work/prog.c"
	${CC:-cc} -static -o "$work/static" "$work/prog.c" || return
	refuses 0 'is linked statically, so that nothing can be preloaded' "$goheap" run "$work/static" ||
		return
	${CC:-cc} -static-pie -o "$work/static" "$work/prog.c" || return
	refuses 0 'is linked statically' "$goheap" run "$work/static" || return
	${CC:-cc} -o "$work/dynamic" "$work/prog.c" || return
	try "$goheap" run "$work/dynamic"
	[ "$status" = 0 ] && [ ! -s "$work/err" ]
}

setuid_program()
{
	cp "$(type -P true)" "$work/setuid"
	chmod 4755 "$work/setuid"
	refuses 0 'changes the user or group' as_nobody "$goheap" run "$work/setuid"
}

bad_library()
{
	mkdir -p "$work/a b/bin" "$work/alone"
	cp "$goheap" "$BUILD/libgoheap.so.1" "$work/a b/bin"
	refuses 1 'LD_PRELOAD takes no path with a space' "$work/a b/bin/goheap" run true || return
	cp "$goheap" "$work/alone"
	refuses 1 'install the library, or give --library=FILE' "$work/alone/goheap" run true &&
		refuses 1 'invalid ELF header' "$goheap" run --library "$top/README.md" true &&
		refuses 1 'No such file' "$goheap" run --library "$work/none" true &&
		! grep -F 'give --library' "$work/err" || return
	bound "$BUILD/libgoheap.so.1" "$work/alone/goheap" run --library "$BUILD/libgoheap.so.1"
}

plan 10
check 'malloc is the library'"'"'s' is_malloc
check 'and that of the installed library' installed
check 'LD_PRELOAD and GOHEAPDEBUG stay' keeps_environment
check 'exit status and arguments are the program'"'"'s' passes_on
check 'says which backend, and why' says_backend
check 'options that are wrong' wrong_options
check 'no such program' no_program
check 'a static program' static_program
if [ "$(id -u)" = 0 ]; then
	check 'a set-user-ID program' setuid_program
else
	skip 'a set-user-ID program' 'it would have to be of another user'
fi
check 'a library that cannot be preloaded' bad_library
finish
