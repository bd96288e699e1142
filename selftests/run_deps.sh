#!/bin/sh
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# What the tree needs of Debian, and what to say when it is not there.
#
#   run_deps.sh install [debug] install every package that is missing, or those too
#                               that a debug kernel is built with, or `reach`: that
#                               other kernels are tried with, or `bench`: that
#                               allocators are compared with; or for `deb` only what
#                               our own packages are built with
#   run_deps.sh need GROUP      fail, with one line a package, if one of GROUP is
#   run_deps.sh headers KDIR    fail, with one line, without kernel headers there
#   run_deps.sh kselftest DIR   put the kernel's test harness headers into DIR
#
# Everything is asked of dpkg in one call, so that `install` with nothing to do
# takes no time and says nothing.  Lists of packages are split on purpose.
# shellcheck disable=SC2086
set -eu

build='gcc libc6-dev binutils'
vm='qemu-system-x86 busybox-static cpio kmod iproute2 xz-utils zstd'
tests='g++ linux-source-6.1 mandoc python3 sqlite3 git redis-server redis-tools gdb liburing-dev google-perftools musl-tools valgrind libncurses-dev tmux prometheus python3-jsonschema libcairo2-dev bpftrace linux-perf gnuplot-nox jq'
packages='dkms lintian pahole systemd udev bsdextrautils cmake pkgconf graphviz crun mmdebstrap'
debug='bc flex bison libelf-dev linux-source-6.1'
reach='sparse lz4 mmdebstrap'
bench='strace lua5.4 ghostscript z3'
deb='dpkg-dev debhelper dh-dkms liburing-dev libncurses-dev libcairo2-dev'
peers='libjemalloc2 libmimalloc2.0 libtcmalloc-minimal4'

# The packages of $* that are not installed.
missing()
{
	# A package that dpkg never heard of is an error to it and a missing one to us.
	# shellcheck disable=SC2016
	have=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null) || :
	for p in "$@"; do
		case "
$have
" in
		*"
$p installed
"*) ;;
		*) echo "$p" ;;
		esac
	done
}

as_root()
{
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		echo "goheap: must be root, or have sudo, for: $*" >&2
		exit 1
	fi
}

install()
{
	more=''
	what=${1:-}
	case $what in
	debug) more=$debug ;;
	reach) more=$reach ;;
	bench) more=$bench ;;
	esac
	set -- $build $vm $tests $deb $packages $peers $more
	[ "$what" != deb ] || set -- $build $deb
	[ -d "${KDIR:-}" ] || set -- "$@" linux-headers-amd64
	lost=$(missing "$@")
	[ -n "$lost" ] || return 0

	echo "goheap: installing" $lost >&2
	export DEBIAN_FRONTEND=noninteractive
	# A fresh machine may have no package lists, or old ones.
	as_root apt-get install -y -q --no-install-recommends $lost >&2 ||
		{ as_root apt-get update -q >&2 &&
		  as_root apt-get install -y -q --no-install-recommends $lost >&2; } ||
		{ echo "goheap: could not install: " $lost >&2; exit 1; }
}

need()
{
	how='make deps'
	case $1 in
	build) lost=$(missing $build) ;;
	vm) lost=$(missing $vm) ;;
	tests) lost=$(missing $tests) ;;
	debug) lost=$(missing $build $debug) how='make check-debug' ;;
	reach) lost=$(missing $build $vm $reach) how='make check-kernels' ;;
	peers) lost=$(missing $peers) ;;
	*) lost=$(missing "$1") ;;
	esac
	for p in $lost; do
		echo "goheap: package $p is missing: apt-get install $p (or: $how)" >&2
	done
	[ -z "$lost" ]
}

headers()
{
	[ -n "$1" ] && [ -e "$1/Makefile" ] && return 0
	if [ -n "$1" ]; then
		echo "goheap: no kernel headers in KDIR=$1" >&2
	else
		echo "goheap: package linux-headers-amd64 is missing: apt-get install linux-headers-amd64 (or: make deps; or give KDIR=)" >&2
	fi
	return 1
}

kselftest()
{
	tarball=$(find /usr/src -maxdepth 1 -name 'linux-source-6.*.tar.xz' | sort -V | head -n 1)
	if [ -z "$tarball" ]; then
		need linux-source-6.1
		return 1
	fi
	root=$(basename "$tarball" .tar.xz)/tools/testing/selftests
	mkdir -p "$1.tmp"
	# --occurrence stops reading as soon as all are found.
	tar -C "$1.tmp" --occurrence=1 --strip-components=4 -xf "$tarball" \
		"$root/kselftest.h" "$root/kselftest_harness.h"
	mkdir -p "$1"
	mv "$1.tmp"/kselftest*.h "$1"
	rmdir "$1.tmp"
	# A case may take 30 s there, which is not much for an emulated machine.  That a
	# program hangs is for run.sh to find.
	sed -i 's/^\(#define TEST_TIMEOUT_DEFAULT\) 30$/\1 120/' "$1/kselftest_harness.h"
	touch "$1"/kselftest*.h
}

command -v dpkg-query >/dev/null || {
	echo 'goheap: this is not Debian: see selftests/run_deps.sh for what is needed' >&2
	exit 1
}
cmd=$1
shift
case $cmd in
install | need | headers | kselftest) "$cmd" "$@" ;;
*) echo "run_deps.sh: unknown command $cmd" >&2; exit 2 ;;
esac
