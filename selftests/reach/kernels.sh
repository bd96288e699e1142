#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# The module on other kernels than the one of `make`: builds it for each with W=1
# and sparse, which must have nothing to say, and runs the tests of the device in
# a VM with it.  Sparse is left out for the headers of Debian 13, where kbuild lacks
# what it needs for it.
#
#   kernels.sh list [KERNEL...]		which there are
#   kernels.sh fetch [KERNEL...]	download and unpack their headers
#   kernels.sh build [KERNEL...]	and build
#   kernels.sh test [KERNEL...]		and boot and test; prints a line for what failed, and
#					the totals of each kernel and of all
#
# A KERNEL is what uname -r says there, or a word for several: `debian12` (this is
# the default) for all that Debian 12 offers, 6.1 and 6.12 in each flavour, and
# `newer` for the newest of each series in Debian 13 and its backports.
#
# Nothing is installed: headers are unpacked under $BUILD/reach, images under
# $BUILD/vm.  Those of Debian 13 come with tools for its libc and are built with its
# compiler: in a small Debian 13 below $BUILD/reach, which takes root to make.
# REACH_TESTS may say what else to test.
set -u

here=$(dirname "$(realpath "$0")")
top=$(dirname "$(dirname "$here")")
export BUILD=${BUILD:-$top/build}
reach=$BUILD/reach
newer=$reach/debian13
tests=${REACH_TESTS:-dev stress/threads_test}

fail()
{
	echo "reach: $*" >&2
	exit 1
}

is_newer()
{
	[[ $1 == *+deb13-* ]]
}

# Where kernel $1's packages are unpacked.
root_of()
{
	if is_newer "$1"; then echo "$newer"; else echo "$reach/debian12"; fi
}

# ---- packages ------------------------------------------------------------------

# $1: kernel; then a command of apt, for which those of Debian 13 are there too.
for_kernel()
{
	local APT_CONFIG=${APT_CONFIG:-}

	if is_newer "$1"; then
		APT_CONFIG=$("$here/../apt.sh" "$reach/apt" \
			trixie trixie-backports trixie-security) || return
		export APT_CONFIG
	fi
	shift
	"$@"
}

list_debian12()
{
	local m

	for m in linux-headers-{,6.12-}{,cloud-,rt-}amd64; do
		apt-cache depends "$m" | sed -n 's/.*Depends: linux-headers-\([0-9].*\)/\1/p'
	done
}

list_newer()
{
	for_kernel +deb13- apt-cache search --names-only '^linux-headers-[0-9.]*\+deb13-amd64$' |
		sed 's/^linux-headers-//; s/ .*//' | sort -V |
		awk -F. '{ last[$1 "." $2] = $0 } END { for (s in last) print last[s] }' | sort -V
}

list()
{
	local k

	[ $# -gt 0 ] || set -- debian12
	for k in "$@"; do
		case $k in
		debian12 | newer) "list_$k" ;;
		*) echo "$k" ;;
		esac
	done
}

# The packages that make up the headers of kernel $1, these last.
header_packages()
{
	for_kernel "$1" apt-cache depends "linux-headers-$1" |
		sed -n 's/.*Depends: \(linux-headers-.*-common.*\|linux-kbuild-.*\)/\1/p'
	echo "linux-headers-$1"
}

# A Debian 13 with a compiler, for kernels that need one.
make_newer()
{
	[ ! -e "$newer/done" ] || return 0
	rm -rf "$newer"
	echo 'reach: unpacking a Debian 13, once' >&2
	mmdebstrap --quiet --variant=apt --include=gcc-14,make,perl,pahole,libelf1t64 \
		trixie "$newer" http://deb.debian.org/debian >&2 && touch "$newer/done"
}

# Unpacks the headers of kernel $1.
unpack()
{
	local root tmp=$reach/fetch p deb

	root=$(root_of "$1")
	[ ! -d "$root/usr/src/linux-headers-$1" ] || return 0
	! is_newer "$1" || make_newer || return
	rm -rf "$tmp"
	mkdir -p "$tmp" "$root"
	for p in $(header_packages "$1"); do
		(cd "$tmp" && for_kernel "$1" apt-get download -q "$p") >/dev/null || return
		deb=$(find "$tmp" -name '*.deb')
		dpkg-deb --fsys-tarfile "$deb" | tar -C "$root" --keep-directory-symlink -xf - || return
		rm "$deb"
	done
	# The only absolute path in them, which is right where they are the root.
	is_newer "$1" || sed -i "s,include /usr/src,include $root/usr/src," \
		"$root/usr/src/linux-headers-$1/Makefile"
}

fetch_one()
{
	(
		flock 9
		unpack "$1"
	) 9>"$reach/lock" && return
	echo "not ok $1: cannot fetch its headers"
	return 1
}

# ---- building ------------------------------------------------------------------

# The module for kernel $1.  Always anew: what is not compiled is not warned of.
compile()
{
	local root out headers=/usr/src/linux-headers-$1
	local flags=(W=1 CONFIG_DEBUG_INFO_BTF_MODULES= modules)

	root=$(root_of "$1")
	out=$root/goheap/$1
	rm -rf "$out"
	mkdir -p "$out"
	cp -a "$top"/{Kbuild,module,uapi} "$out"
	find "$out" \( -name '*.o' -o -name '.*.cmd' \) -delete
	if is_newer "$1"; then
		# shellcheck disable=SC2016	# for the shell that is called
		unshare --mount sh -c 'mount -t proc proc "$1/proc"; exec chroot "$@"' - "$root" \
			make -s -C "$headers" "M=/goheap/$1" "${flags[@]}"
	else
		make -s -C "$root$headers" "M=$out" C=2 CF=-D__CHECK_ENDIAN__ "${flags[@]}"
	fi >"$reach/$1.build" 2>&1
}

build_one()
{
	local root log=$reach/$1.build

	fetch_one "$1" || return
	root=$(root_of "$1")
	if compile "$1" && ! grep -qiE 'warning|error' "$log"; then
		echo "ok $1: builds without a warning"
	else
		echo "not ok $1: builds without a warning"
		sed 's/^/# /' "$log"
	fi
	[ -e "$root/goheap/$1/goheap.ko" ]
}

# ---- testing -------------------------------------------------------------------

boot_one()
{
	local root lines=$reach/$1.test

	root=$(root_of "$1")
	KDIR=$root/usr/src/linux-headers-$1 VM_KO=$root/goheap/$1/goheap.ko \
		VM_OUT=$reach/$1.out VM_KLOG=$reach/$1.klog VM_TIMEOUT=${VM_TIMEOUT:-900} \
		VM_CMD="uname -r; TEST_TIMEOUT_FACTOR=${TEST_TIMEOUT_FACTOR:-1} selftests/run.sh $tests" \
		for_kernel "$1" "$here/../vm/run" >"$lines" 2>&1 ||
		echo "not ok $1: the VM ended with status $?"
	grep -qxF "$1" "$lines" || echo "not ok $1: is not what the VM ran"
	grep -qx '# end of run' "$lines" || echo "not ok $1: cut short"
	sed -n "s/^\(ok\|not ok\) /\1 $1: /p" "$lines"
}

test_one()
{
	build_one "$1" && boot_one "$1"
}

# Lines of all kernels to those that matter, and the numbers.
summary()
{
	awk '
	/^(not )?ok / {
		kernel = $1 == "ok" ? $2 : $3
		sub(/:$/, "", kernel)
		if (!(kernel in seen)) {
			seen[kernel] = 1
			order[++kernels] = kernel
		}
		what = $1 == "not" ? "failed" : / # SKIP/ ? "skipped" : "passed"
		n[kernel, what]++
		all[what]++
		if (what != "passed" || /without a warning$/)
			print
		next
	}
	{ print }
	END {
		for (i = 1; i <= kernels; i++) {
			k = order[i]
			printf "# %s: %d passed, %d failed, %d skipped\n", k,
				n[k, "passed"], n[k, "failed"], n[k, "skipped"]
		}
		printf "%d passed, %d failed, %d skipped\n", all["passed"], all["failed"], all["skipped"]
		exit all["failed"] > 0 || !all["passed"]
	}'
}

[ $# -gt 0 ] || set -- list
what=$1
shift
kernels=$(list "$@")
[ -n "$kernels" ] || fail 'there are no such kernels (apt-get update?)'
mkdir -p "$reach"
cd "$top" || exit 1
case $what in
list) echo "$kernels" ;;
fetch)
	for k in $kernels; do
		fetch_one "$k" || exit
	done ;;
build | test)
	for k in $kernels; do
		"${what}_one" "$k"
	done | summary ;;
*) fail "list, fetch, build or test, not $what" ;;
esac
