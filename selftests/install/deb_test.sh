#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# Debian's packages: they are built from the tree, lintian has nothing to say, they install,
# DKMS builds the module for two kernels, and when they are purged nothing is left.
#
# What is installed is installed in a copy of this machine: an overlay over its root, in
# which one can change whatever one likes, and whose upper folder is then all that
# differs.  That takes root.  Nothing is loaded: dkms_test does that, in a VM, with the module
# that is left for it in $BUILD/selftests/install.
here=$(dirname "$(realpath "$0")")
# shellcheck source-path=SCRIPTDIR source=../run_tap.sh
. "$here/../run_tap.sh"
top=$(realpath "$here/../..")
export BUILD=${BUILD:-$top/build} DEBIAN_FRONTEND=noninteractive
out=$BUILD/selftests/install
kdir=${KDIR:-$(printf '%s\n' /lib/modules/*/build | sort -V | tail -n 1)}
rel=$(sed -n 's/.*UTS_RELEASE "\(.*\)"/\1/p' "$kdir/include/generated/utsrelease.h")
version=$(sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' "$top/dkms.conf")

# ---- the copy ------------------------------------------------------------------

# Again, in a mount namespace of its own, which ends with us.
if [ "$(id -u)" != 0 ]; then
	skip_all 'takes root'
elif [ -z "${IN_COPY:-}" ]; then
	exec env IN_COPY=1 unshare --mount "$0"
fi

work=$(mktemp -d)
trap 'umount -R "$work/root" 2>/dev/null; umount "$work"; rmdir "$work"' EXIT
mount -t tmpfs copy "$work"
mkdir "$work"/{upper,work,root}
root=$work/root
mount -t overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" copy "$root" ||
	skip_all 'no overlay can be mounted here'
for d in proc sys dev; do
	mount --rbind "/$d" "$root/$d"
done
mount -t tmpfs tmp "$root/tmp"
mount -t tmpfs run "$root/run"
mkdir -p "$root$BUILD"
mount --bind "$BUILD" "$root$BUILD"

# Runs a command there; its output is shown should it fail.
there()
{
	chroot "$root" "$@" >"$work/log" 2>&1 && return
	note "$*" "$(tail -n 30 "$work/log")"
	return 1
}

# What is there now and not on this machine, or other than here, but for what programs of
# Debian keep for themselves: what is installed, logs, caches, lists that depmod makes,
# and the key that DKMS makes once for all modules.
differs()
{
	(cd "$work/upper" && find . ! -type d -printf '%P\n' -o -type d -printf '%P/\n') |
		while read -r f; do
			case $f in
			'' | tmp/* | run/* | "${BUILD#/}"*) ;;
			var/lib/dpkg/status* | var/lib/dpkg/lock* | var/lib/dpkg/triggers/* | \
			var/lib/dpkg/info/format | var/lib/dpkg/diversions* | var/log/* | var/cache/* | \
			etc/ld.so.cache | lib/modules/*/modules.* | usr/lib/modules/*/modules.* | \
			var/lib/dkms/mok.*) ;;
			*/) [ -d "/$f" ] || echo "$f" ;;
			*) cmp -s "$work/upper/$f" "/$f" || echo "$f" ;;
			esac
		done | LC_ALL=C sort
}

# ---- the packages --------------------------------------------------------------

build()
{
	env -u MAKEFLAGS make -s --no-print-directory -C "$top" deb >"$work/log" 2>&1 && return
	note "$(tail -n 30 "$work/log")"
	return 1
}

no_lint()
{
	lintian --allow-root --fail-on error,warning "$BUILD"/deb/*.changes >"$work/log" 2>&1
	local status=$?

	note "lintian: $(wc -l <"$work/log") lines" "$(<"$work/log")"
	[ "$status" = 0 ] && ! grep -q '^[EW]:' "$work/log"
}

# Every package of debian/control, and in them what `make install` and install-dkms install,
# each file once.
nothing_forgotten()
{
	local d p

	for p in $(sed -n 's/^Package: //p' "$top/debian/control"); do
		d=$(echo "$BUILD/deb/${p}_${version}"_*.deb)
		dpkg-deb --fsys-tarfile "$d" | tar -t | sed -n 's,^\./,,; /[^/]$/p'
	done | grep -v '^usr/share/doc/' | sed '/share\/man/s/\.gz$//' | LC_ALL=C sort >"$work/packed"
	env -u MAKEFLAGS make -s --no-print-directory -C "$top" install-lib install-tools install-dkms \
		PREFIX=/usr "LIBDIR=/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)" \
		"DESTDIR=$work/all" >/dev/null || return
	(cd "$work/all" && find . ! -type d) | sed 's,^\./,,' | LC_ALL=C sort >"$work/made"
	diff "$work/made" "$work/packed" >"$work/log" && return
	note "$(<"$work/log")"
	return 1
}

# A program that takes nothing but malloc() of the library depends on its package.
program_depends()
{
	mkdir -p "$root/tmp/prog/debian"
	printf 'Source: prog\n\nPackage: prog\nArchitecture: any\n' >"$root/tmp/prog/debian/control"
	echo '#include <stdlib.h>
	int main(void) { return !malloc(1); }' >"$root/tmp/prog/prog.c"
	# shellcheck disable=SC2016	# for the shell there
	there sh -ec 'cd /tmp/prog
		gcc -o prog prog.c $(pkg-config --libs goheap)
		./prog
		dpkg-shlibdeps -O prog' && grep -q 'libgoheap1 (>= ' "$work/log" && return
	note "$(<"$work/log")"
	return 1
}

# ---- installing ----------------------------------------------------------------

# $1: kernel, $2: its headers; as their package would.  From then on it is one that DKMS knows.
has_headers()
{
	mkdir -p "$root/lib/modules/$1"
	ln -sfn "$2" "$root/lib/modules/$1/build"
	: >"$root/lib/modules/$1/modules.order"
	: >"$root/lib/modules/$1/modules.builtin"
}

install()
{
	has_headers "$rel" "$(realpath "$kdir")"
	mkdir -p "$root/tmp/deb"
	cp "$BUILD"/deb/{libgoheap1,libgoheap-dev,goheap-tools,goheap-dkms}_*.deb "$root/tmp/deb"
	there sh -c 'dpkg -i /tmp/deb/*.deb'
}

# $1: kernel; and the module is signed with the key that mokutil would be given.
built_for()
{
	local ko=$root/lib/modules/$1/updates/dkms/goheap.ko

	chroot "$root" dkms status >"$work/log"
	note "dkms status: $(grep "$1" "$work/log")"
	grep -qx "goheap/$version, $1, $(uname -m): installed" "$work/log" || return
	[ "$(modinfo -F vermagic "$ko" | cut -d ' ' -f 1)" = "$1" ] &&
		[ "$(modinfo -F signer "$ko")" = 'DKMS module signing key' ] &&
		openssl x509 -inform DER -noout -in "$root/var/lib/dkms/mok.pub"
}

# What Debian's kernels do when their headers are installed.
new_kernel()
{
	local new dir

	# shellcheck disable=SC2034	# read by kernels.sh
	new=$("$top/selftests/reach/kernels.sh" list | grep '^6\.12.*-amd64$' | grep -v -e cloud -e rt) &&
		"$top/selftests/reach/kernels.sh" fetch "$new" >/dev/null 2>&1 || return
	dir=$BUILD/reach/debian12/usr/src/linux-headers-$new
	has_headers "$new" "$dir"
	there /etc/kernel/header_postinst.d/dkms "$new" && built_for "$new" && built_for "$rel"
}

# A kernel that is too old is left out, which is no error.
old_kernel()
{
	has_headers 5.10.0-1-amd64 "$(realpath "$kdir")"
	chroot "$root" dkms build "goheap/$version" -k 5.10.0-1-amd64 >"$work/log" 2>&1
	[ $? = 77 ] && grep -q 'BUILD_EXCLUSIVE' "$work/log"
	local status=$?

	rm -rf "$root/lib/modules/5.10.0-1-amd64"
	return $status
}

keep_module()
{
	mkdir -p "$out" && cp "$root/lib/modules/$rel/updates/dkms/goheap.ko" "$out"
}

runs()
{
	# shellcheck disable=SC2016	# for the shell there
	there sh -ec 'ldconfig -p | grep -q libgoheap.so.1
		GOHEAPDEBUG=gctrace=1,scavenge=1 LD_PRELOAD=libgoheap.so.1 \
			python3 -c "import ctypes; v = ctypes.CDLL(None).goheap_backend; v.restype = ctypes.c_char_p; print(v().decode())"
		goheap --version
		man -w libgoheap goheap_json' && grep -qE '^(device|embedded)$' "$work/log" && return
	note "$(<"$work/log")"
	return 1
}

# All of it, also when there are things of the administrator's beside ours.
purge()
{
	differs >"$work/before"
	note "$(wc -l <"$work/before") names while it is installed"
	[ "$(grep -c . "$work/before")" -gt 50 ] || return
	there dpkg -P goheap-tools libgoheap-dev goheap-dkms libgoheap1 || return
	rm -rf "$root/lib/modules/"*/build "$root/tmp/prog"
	differs | grep -v -e '/modules/[^/]*/$' -e '/modules/[^/]*/build$' >"$work/after"
	note "$(wc -l <"$work/after") names afterwards" "$(<"$work/after")"
	[ ! -s "$work/after" ] && ! grep -q goheap "$root/var/lib/dpkg/status"
}

plan 11
check 'packages are built' build
if command -v lintian >/dev/null; then
	check 'lintian has nothing to say' no_lint
else
	skip 'lintian has nothing to say' 'lintian is not installed'
fi
check 'each file is in one package' nothing_forgotten
check 'packages are installed' install
check 'DKMS builds for this kernel' built_for "$rel"
check 'and for a new one' new_kernel
check 'but not for an old one' old_kernel
check 'the module is kept for the VM' keep_module
check 'programs run' runs
check 'a package of a program depends on the library' program_depends
check 'purged, nothing is left' purge
finish
