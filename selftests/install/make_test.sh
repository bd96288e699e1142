#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# `make install` and `make uninstall`, into folders that look like a system: all that
# should be there is, with the right modes; nothing names the folder; and afterwards the
# folder is what it was, with what others have there.
here=$(dirname "$(realpath "$0")")
# shellcheck source-path=SCRIPTDIR source=../run_tap.sh
. "$here/../run_tap.sh"
top=$(realpath "$here/../..")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export BUILD=${BUILD:-$top/build}
rel=$(modinfo -F vermagic "$top/goheap.ko" | cut -d ' ' -f 1)
version=$(sed -n 's/^#define GOHEAP_VERSION[[:space:]]*"\(.*\)"/\1/p' "$top/userlib/include/goheap.h")

# In an environment that says nothing to make.
tree()
{
	env -u MAKEFLAGS -u MAKELEVEL make -s --no-print-directory -C "$top" "$@" >"$tmp/make.out" 2>&1 &&
		[ ! -s "$tmp/make.out" ] && return
	note "make $*" "$(<"$tmp/make.out")"
	return 1
}

# A system at $1 which has the folders that every system has, and files of others in
# some of those that few have.
system()
{
	local d

	for d in /usr /usr/local /opt/goheap; do
		mkdir -p "$1$d"/{bin,include,lib,share/man,src}
	done
	mkdir -p "$1/etc/modprobe.d" "$1/usr/lib/x86_64-linux-gnu/pkgconfig" \
		"$1/lib/modules/$rel/kernel" "$1/usr/local/share/man/man3"
	echo mine >"$1/etc/modprobe.d/mine.conf"
	echo mine >"$1/usr/lib/x86_64-linux-gnu/pkgconfig/mine.pc"
	echo mine >"$1/usr/local/share/man/man3/mine.3"
}

# Every name below $1, with type, mode, size and target.
list()
{
	find "$1" -printf '%P %y %m %l ' -type f -printf '%s\n' -o -printf '\n' | LC_ALL=C sort
}

# $1: name of a system; then targets and variables of make, which has un$target, too.
# Leaves what was installed as $tmp/$1, and list and diff.
there_and_back()
{
	local root=$tmp/$1 words=() w status=0
	shift

	system "$root"
	list "$root" >"$root.before"
	tree "$@" "DESTDIR=$root" || return
	cp -a "$root" "$root.installed"
	list "$root" >"$root.list"
	for w in "$@"; do
		[[ $w == *=* ]] || w=un$w
		words+=("$w")
	done
	tree "${words[@]}" "DESTDIR=$root" || return
	list "$root" >"$root.after"
	diff "$root.before" "$root.after" >"$root.diff" || status=1
	note "$(diff "$root.before" "$root.list" | grep -c '^>') names came; what stayed: $(wc -l <"$root.diff") lines"
	[ "$status" = 0 ] || note "$(<"$root.diff")"
	return "$status"
}

# $1: a system; then names that must be there, with their modes.
has()
{
	local root=$tmp/$1 want status=0
	shift

	for want in "$@"; do
		[ "${want#* }" = "$(stat -c %a "$root.installed/${want% *}" 2>/dev/null)" ] ||
			{ note "not there, or not so: $want"; status=1; }
	done
	return "$status"
}

usual_files()
{
	local p=usr/local f

	has local $p/lib/libgoheap.so.1\ 755 $p/lib/libgoheap.so\ 777 $p/lib/libgoheap.a\ 644 \
		$p/lib/libgoheap_memcpy.so.1\ 755 \
		$p/include/goheap.h\ 644 $p/include/linux/goheap.h\ 644 $p/bin/goheap\ 755 \
		$p/lib/pkgconfig/goheap.pc\ 644 $p/lib/cmake/goheap/goheapConfig.cmake\ 644 \
		$p/lib/cmake/goheap/goheapConfigVersion.cmake\ 644 \
		$p/lib/udev/rules.d/60-goheap.rules\ 644 $p/lib/modules-load.d/goheap.conf\ 644 \
		$p/lib/modprobe.d/goheap.conf\ 644 "lib/modules/$rel/updates/goheap.ko 644" || return
	[ "$(uname -m)" != x86_64 ] || has local $p/lib/glibc-hwcaps/x86-64-v3/libgoheap.so.1\ 755 || return
	for f in "$top"/userlib/man/*.[1-9]; do
		has local "$p/share/man/man${f##*.}/$(basename "$f") 644" || return
	done
	grep -q 'Nm goheap_json' "$tmp/local.installed/$p/share/man/man3/goheap_json.3"
}

# Where Debian's packages have it, and where neither udev nor modprobe would look.
other_places()
{
	has debian usr/lib/x86_64-linux-gnu/libgoheap.so.1\ 755 \
		usr/lib/x86_64-linux-gnu/cmake/goheap/goheapConfig.cmake\ 644 \
		usr/lib/udev/rules.d/60-goheap.rules\ 644 usr/include/goheap.h\ 644 &&
		has opt opt/goheap/lib/libgoheap.so.1\ 755 etc/udev/rules.d/60-goheap.rules\ 644 \
			etc/modules-load.d/goheap.conf\ 644 etc/modprobe.d/goheap.conf\ 644
}

# All that kbuild needs and nothing that it made.
dkms_source()
{
	has dkms "usr/src/goheap-$version/dkms.conf 644" "usr/src/goheap-$version/Kbuild 644" \
		"usr/src/goheap-$version/uapi/linux/goheap.h 644" &&
		diff <(cd "$top" && printf '%s\n' module/*.[ch] module/core/*.[ch] module/port/*.h | LC_ALL=C sort) \
			<(cd "$tmp/dkms.installed/usr/src/goheap-$version" && find module -type f | LC_ALL=C sort) |
			sed 's/^/# /' | { ! grep .; }
}

# Neither where it was put first nor where it was built.  Debugging information names that.
no_names()
{
	! grep -rlI -e "$tmp" -e "$top" "$tmp"/{local,debian,opt}.installed | sed 's/^/# /' | grep .
}

# What the library's part needs no root for: nothing is outside of PREFIX.
lib_alone()
{
	there_and_back home install-lib install-tools PREFIX=/usr/local &&
		! diff "$tmp/home.before" "$tmp/home.list" | grep '^>' | grep -v '^> usr/local/'
}

versions_agree()
{
	[ "$(modinfo -F version "$top/goheap.ko")" = "$version" ] &&
		head -n 1 "$top/debian/changelog" | grep -q "^goheap (${version}[)-]" &&
		grep -qx "PACKAGE_VERSION=\"$version\"" "$top/dkms.conf" &&
		grep -qx "Version: $version" "$tmp/local.installed/usr/local/lib/pkgconfig/goheap.pc"
}

# All parameters of the module, and their defaults are those of uapi/ABI.
parameters()
{
	local param value

	diff <(sed -n 's/^#options goheap \([a-z_]*\)=.*/\1/p' "$top/module/install/modprobe.conf" | sort) \
		<(modinfo -p "$top/goheap.ko" | sed 's/:.*//' | sort) | sed 's/^/# /' | { ! grep .; } || return
	while IFS='= ' read -r _ _ param value; do
		sed -n "\,parameters/$param\$,,/^What/p" "$top/uapi/ABI/dev-goheap" |
			tr -d '\n\t' | grep -qE "(Default(, *and at most)?: ?|is )$value" ||
			{ note "$param: not $value in uapi/ABI"; return 1; }
	done < <(grep '^#options' "$top/module/install/modprobe.conf")
}

# ---- manual pages --------------------------------------------------------------

# What is referred to is one of ours, or of another section than ours.
clean_pages()
{
	local page

	for page in "$top"/userlib/man/*.[1-9]; do
		mandoc -T lint "$page" 2>&1 | grep -v -e 'mandoc\.db' -e 'referenced manual not found'
		sed -n 's/^\.Xr \(\(lib\)\?goheap\) \([1-9]\).*/\1.\3/p' "$page" | while read -r f; do
			[ -e "$top/userlib/man/$f" ] || echo "$page refers to $f"
		done
	done >"$tmp/lint"
	note "$(<"$tmp/lint")"
	[ ! -s "$tmp/lint" ]
}

# goheap(4) has every command of the header, and every parameter.
whole_device()
{
	local w

	for w in $(sed -n 's/^#define \(GOHEAP_[A-Z_]*\)[[:space:]]*_IO.*/\1/p' "$top/uapi/linux/goheap.h"); do
		grep -qx "\.It Dv $w" "$top/userlib/man/goheap.4" || { note "not there: $w"; return 1; }
	done
	for w in $(modinfo -p "$top/goheap.ko" | sed 's/:.*//'); do
		grep -qx "\.It Va $w" "$top/userlib/man/goheap.4" || { note "not there: $w"; return 1; }
	done
}

# The program there; module_test runs it.
example()
{
	mandoc -T utf8 "$top/userlib/man/goheap.4" | col -bx |
		sed -n '/#include <err.h>/,/^ *}$/p' >"$tmp/example.c"
	mkdir -p "$BUILD/selftests/install"
	"${CC:-cc}" -Wall -Wextra -Werror "-I$top/uapi" -o "$BUILD/selftests/install/example" "$tmp/example.c"
}

if [ ! -e "$top/goheap.ko" ]; then
	skip_all 'goheap.ko is not built'
fi
# Not what is looked at here: that says something, where there is something to build.
env -u MAKEFLAGS -u MAKELEVEL make -s --no-print-directory -C "$top" all >/dev/null 2>&1
# How many objects are made of one source.
compiled()
{
	env -u MAKEFLAGS -u MAKELEVEL make --no-print-directory -C "$top" "BUILD=$tmp/flags" \
		"$tmp/flags/obj/userlib/cli/json.o" "$@" | grep -c '^ *CC '
}

other_flags()
{
	[ "$(compiled) $(compiled) $(compiled CFLAGS=-O0) $(compiled CFLAGS=-O0)" = '1 0 1 0' ]
}

plan 15
check 'other flags' other_flags
check 'installed and uninstalled' there_and_back local install
check 'files and modes' usual_files
check "with the folders of Debian's packages" there_and_back debian install PREFIX=/usr \
	LIBDIR=/usr/lib/x86_64-linux-gnu
check 'with another prefix' there_and_back opt install PREFIX=/opt/goheap
check 'where the system looks' other_places
check 'source for DKMS' there_and_back dkms install-dkms
check 'all of the source' dkms_source
check 'no name of the tree or of DESTDIR' no_names
check 'the library alone, in a prefix alone' lib_alone
check 'one version' versions_agree
check 'parameters in modprobe.d' parameters
check 'manual pages are clean' clean_pages
check 'the device has a whole one' whole_device
check 'the program in it compiles' example
finish
