#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# The example `link`, built with pkg-config and with CMake against the library as it is
# installed; and again when all of that was moved elsewhere.
here=$(dirname "$(realpath "$0")")
# shellcheck source-path=SCRIPTDIR source=../run_tap.sh
. "$here/../run_tap.sh"
top=$(realpath "$here/../..")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export GOHEAPDEBUG=backend=embedded
unset MAKEFLAGS MAKELEVEL CFLAGS LDFLAGS

# $1: where; then variables of make.
install()
{
	local root=$1
	shift

	make -s --no-print-directory -C "$top" install-lib "DESTDIR=$root" "$@" >"$tmp/log" 2>&1 ||
		{ note "$(<"$tmp/log")"; return 1; }
}

# $1: a program, $2: where the library is.  Without $2 none is needed.
works()
{
	local line

	line=$(LD_LIBRARY_PATH=${2:-/nonexistent} "$1")
	note "$line"
	[[ $line == 'libgoheap 0.'*', embedded: 100 bytes take 112' ]]
}

# Whether a program asks for the library.
needs()
{
	readelf -d "$1" | grep -q 'NEEDED.*libgoheap\.so\.1'
}

# Or has it.
has()
{
	nm "$1" | grep -q ' [Tt] ghu_is_object$'
}

# A copy of the example at $1.
copy()
{
	mkdir "$1" && cp "$here"/link/* "$1"
}

# $1: folder of the library; then variables of make.
with_pkg_config()
{
	local lib=$1 dir
	shift

	dir=$(mktemp -d "$tmp/pc.XXXX")
	rmdir "$dir"
	copy "$dir" && PKG_CONFIG_PATH=$lib/pkgconfig make -s -C "$dir" "$@" >"$tmp/log" 2>&1 ||
		{ note "$(<"$tmp/log")"; return 1; }
	if [ $# = 0 ]; then
		needs "$dir/prog" && works "$dir/prog" "$lib"
	else
		! needs "$dir/prog" && works "$dir/prog"
	fi
}

# $1: CMAKE_PREFIX_PATH, $2: folder of the library.
with_cmake()
{
	local dir

	dir=$(mktemp -d "$tmp/cmake.XXXX")
	rmdir "$dir"
	copy "$dir" && cmake -S "$dir" -B "$dir/build" -DCMAKE_BUILD_TYPE=Release "-DCMAKE_PREFIX_PATH=$1" >"$tmp/log" 2>&1 &&
		cmake --build "$dir/build" >"$tmp/log" 2>&1 ||
		{ note "$(<"$tmp/log")"; return 1; }
	needs "$dir/build/prog" && works "$dir/build/prog" "$2" &&
		! needs "$dir/build/prog-static" && works "$dir/build/prog-static"
}

# A linker that leaves out what nothing is taken from keeps the library: the other
# libraries of the program are to have its malloc().
kept_by_linker()
{
	local lib=$tmp/moved/usr/local/lib flags dir=$tmp/empty

	mkdir -p "$dir"
	echo 'int main(void) { return 0; }' >"$dir/prog.c"
	flags=$(PKG_CONFIG_PATH=$lib/pkgconfig pkg-config --libs goheap)
	# shellcheck disable=SC2086	# flags are words
	"${CC:-cc}" -Wl,--as-needed -o "$dir/prog" "$dir/prog.c" $flags && needs "$dir/prog" &&
		"${CC:-cc}" -static -o "$dir/prog-static" "$dir/prog.c" $flags && has "$dir/prog-static" || return
	cat >"$dir/CMakeLists.txt" <<-'END'
	cmake_minimum_required(VERSION 3.13)
	project(prog C)
	find_package(goheap REQUIRED)
	add_link_options(LINKER:--as-needed)
	add_executable(prog prog.c)
	target_link_libraries(prog goheap::goheap)
	add_executable(prog-static prog.c)
	target_link_libraries(prog-static goheap::goheap_static)
	END
	cmake -S "$dir" -B "$dir/build" "-DCMAKE_PREFIX_PATH=$tmp/moved/usr/local" >/dev/null 2>&1 &&
		cmake --build "$dir/build" >/dev/null && needs "$dir/build/prog" && has "$dir/build/prog-static"
}

# One that is too new is not found, and CMake says which there is.
too_new()
{
	copy "$tmp/new" && sed -i 's/goheap 0\.1 REQUIRED/goheap 7 REQUIRED/' "$tmp/new/CMakeLists.txt"
	! cmake -S "$tmp/new" -B "$tmp/new/build" "-DCMAKE_PREFIX_PATH=$tmp/moved/usr/local" \
		>"$tmp/log" 2>&1 && grep -q 'goheapConfig.cmake, version: 0\.' "$tmp/log"
}

for p in cmake pkg-config; do
	command -v "$p" >/dev/null || skip_all "$p is not installed"
done
plan 8
install "$tmp/here" && install "$tmp/multi" PREFIX=/usr LIBDIR=/usr/lib/x86_64-linux-gnu
check pkg-config with_pkg_config "$tmp/here/usr/local/lib"
check 'pkg-config, static' with_pkg_config "$tmp/here/usr/local/lib" STATIC=1
check CMake with_cmake "$tmp/here/usr/local" "$tmp/here/usr/local/lib"
check 'pkg-config, in the folder of an architecture' with_pkg_config "$tmp/multi/usr/lib/x86_64-linux-gnu"
check 'CMake, in the folder of an architecture' with_cmake "$tmp/multi/usr" "$tmp/multi/usr/lib/x86_64-linux-gnu"
mv "$tmp/here" "$tmp/moved"
moved()
{
	with_pkg_config "$tmp/moved/usr/local/lib" && with_cmake "$tmp/moved/usr/local" "$tmp/moved/usr/local/lib"
}
check 'all of it, moved' moved
check 'a linker that leaves libraries out' kept_by_linker
check 'a version that there is not' too_new
finish
