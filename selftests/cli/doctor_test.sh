#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# goheap doctor where nothing can be broken for real, as it would break this machine: in
# namespaces of its own, over the recorded tree, and under limits that only it has.
# vm_doctor_test breaks a system.
# shellcheck disable=SC2016,SC2119,SC2317
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$(realpath "$0")")/common.sh"
# shellcheck source=doctor.sh
. "$here/doctor.sh"
unset GOHEAPDEBUG

without=$BUILD/selftests/cli/without
rel=$(uname -r)

# Looks in a mount namespace after a command there, where /lib/modules and /usr/src are
# $work/modules and $work/src, and the command is not in its tree.
look_with()
{
	local command=$1

	goheap=$work/usr/bin/goheap look unshare --mount sh -c "mount --bind $work/modules /lib/modules &&
		mount --bind $work/src /usr/src && $command && "'exec "$@"' sh
}

# Where nothing is installed but the command, with what else is beside it.
no_system()
{
	rm -rf "${work:?}"/{modules,src,usr}
	mkdir -p "$work/modules/$rel" "$work/src" "$work/usr/bin" "$work/usr/lib"
	cp "$goheap" "$work/usr/bin"
	cp "$BUILD/libgoheap.so.1" "$work/usr/lib"
	export GOHEAP_SYSFS=$work/nothing
}

# A module at $1 below /lib/modules that says that it is for $2.
add_module()
{
	mkdir -p "$work/modules/$(dirname "$1")"
	printf 'vermagic=%s SMP preempt mod_unload modversions \0' "$2" >"$work/modules/$1"
}

not_installed()
{
	no_system
	mkdir "$work/modules/$rel/build"
	look_with true
	wrong module 'not installed for any kernel' "make install-module KDIR=/lib/modules/$rel/build && modprobe goheap" ||
		return
	rmdir "$work/modules/$rel/build"
	look_with true
	wrong module 'not installed' "apt-get install linux-headers-$rel && make install-module" || return
	mkdir "$work/src/goheap-0.1"
	touch "$work/src/goheap-0.1/dkms.conf"
	look_with true
	wrong module 'not installed' "apt-get install linux-headers-$rel && dkms install goheap/[0-9.]+ -k $rel && modprobe goheap"
}

not_loaded()
{
	no_system
	add_module "$rel/updates/goheap.ko" "$rel"
	look_with true
	wrong module "not loaded: /lib/modules/$rel/updates/goheap.ko is there\$" 'depmod -a && modprobe goheap' || return
	mkdir -p "$work/nothing/kernel/security"
	echo 'none [integrity] confidentiality' >"$work/nothing/kernel/security/lockdown"
	look_with true
	rm -r "$work/nothing"
	wrong module 'takes signed modules only' 'mokutil --import'
}

for_another_kernel()
{
	no_system
	add_module "$rel/updates/dkms/goheap.ko" 6.1.0-1-amd64
	look_with true
	wrong module "/lib/modules/$rel/updates/dkms/goheap.ko is for the kernel 6.1.0-1-amd64, and $rel is running" \
		'.*make install-module' || return
	# Not for this one, and packed, so that it cannot say so itself.
	no_system
	mkdir -p "$work/modules/6.1.0-2-amd64/extra" "$work/src/goheap-0.1"
	touch "$work/src/goheap-0.1/dkms.conf"
	echo packed >"$work/modules/6.1.0-2-amd64/extra/goheap.ko.xz"
	look_with true
	wrong module 'goheap.ko.xz is for the kernel 6.1.0-2-amd64, and' '.*dkms install'
}

not_in_container()
{
	no_system
	look unshare --pid --fork --mount --mount-proc
	wrong module 'not loaded in the kernel that this container runs on' 'modprobe goheap +# on the host'
}

# The recorded module is loaded, and has not made a device here.
no_device()
{
	local numbers

	new_tree
	numbers=$(tr : ' ' <"$heaps/dev")
	look
	grep -q '^ok *module *loaded, version 0.1$' "$work/out" &&
		wrong device 'there is no /dev/goheap$' "mknod -m 666 /dev/goheap c $numbers\$" || return
	look unshare --pid --fork --mount --mount-proc
	wrong device 'there is no /dev/goheap in this container' 'docker run --device=/dev/goheap' || return
	# On a file system that has no devices, and no file of which is one.
	look unshare --mount sh -c "mount -t tmpfs -o nodev dev /dev && mknod -m 666 /dev/goheap c $numbers &&"' exec "$@"' sh
	wrong device 'mounted nodev' "mount -o remount,dev /dev; mknod" || return
	look unshare --mount sh -c 'mount -t tmpfs dev /dev && touch /dev/goheap && exec "$@"' sh
	wrong device 'no device of the module' 'rm /dev/goheap && mknod'
}

# As where part of /sys is masked.
no_statistics()
{
	new_tree
	rm -r "$heaps"
	look
	wrong module 'loaded, but .*/class/misc/goheap is not there' 'mount -t sysfs sysfs'
}

# $1: what the file says, $2: the word before.
thp_is()
{
	echo "$1" >"$work/sys/kernel/mm/transparent_hugepage/enabled"
	look
	grep -qE "^$2 +huge pages" "$work/out"
}

huge_pages()
{
	new_tree
	mkdir -p "$work/sys/kernel/mm/transparent_hugepage"
	thp_is '[always] madvise never' ok && thp_is 'always [madvise] never' note &&
		thp_is 'always madvise [never]' WRONG &&
		wrong 'huge pages' 'off' "echo always >$work/sys/kernel/mm/transparent_hugepage/enabled"
}

cgroup_missing()
{
	new_tree
	look
	wrong cgroup "no cgroup2 at $work/sys/fs/cgroup" '(mount -t cgroup2|.*systemd.unified_cgroup_hierarchy=1)'
}

uring_off()
{
	"$without" uring || return
	look
	right io_uring || return
	look "$without" uring
	wrong io_uring 'off \(Operation not permitted\)' '(systemctl edit|sysctl|docker)' || return
	$root || return 0
	look "$without" uring unshare --pid --fork --mount --mount-proc
	wrong io_uring 'off' '(docker run --security-opt seccomp=unconfined|sysctl)'
}

limited()
{
	look bash -c 'ulimit -S -v 3000000; exec "$@"' sh
	wrong 'address space' 'ulimit -v is 2.9G' 'ulimit -v unlimited' || return
	look bash -c 'ulimit -v 3000000; exec "$@"' sh
	wrong 'address space' 'ulimit -v is 2.9G' 'prlimit --as=unlimited'
}

overcommit()
{
	echo 2 >"$work/two"
	look unshare --mount sh -c "mount --bind $work/two /proc/sys/vm/overcommit_memory && "'exec "$@"' sh
	wrong overcommit 'vm.overcommit_memory is 2' 'sysctl -w vm.overcommit_memory=0'
}

old_kernel()
{
	look setarch --uname-2.6
	wrong kernel '2\.6\..*: the module is for 6.1 and later' 'apt-get install linux-image-amd64'
}

bad_library()
{
	local old=$BUILD/selftests/cli/old/libgoheap.so.1

	try "$goheap" doctor --library "$old"
	wrong library "$old is version 0.0, older than the module, which is 0.1" 'make install-lib' || return
	try "$goheap" doctor -l "$work/none"
	wrong library 'cannot be loaded' 'make install-lib' || return
	GOHEAPDEBUG=backend=device try "$goheap" doctor
	wrong library 'no heap can be made: fatal error: backend=device' 'unset GOHEAPDEBUG'
}

# The module, the library, and what DKMS calls it are one version; it is what doctor compares.
versions_agree()
{
	local want

	want=$("$goheap" --version) && want=${want#goheap }
	grep -qx "MODULE_VERSION(\"$want\");" "$top/module/main.c" &&
		grep -qx "PACKAGE_VERSION=\"$want\"" "$top/dkms.conf"
}

as_json()
{
	try "$goheap" doctor --json
	"$here/valid.py" doctor <"$work/out" && [ "$status" = 1 ] && prints '"wrong": [1-9]'
}

[ ! -e /sys/class/misc/goheap ] || skip_all 'the module is loaded here'
root=true
[ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null || root=false

# $1: name of a case that needs namespaces of its own, $2: the case.
check_root()
{
	if $root; then
		check "$@"
	else
		skip "$1" 'must be root, and may make namespaces'
	fi
}

plan 15
check_root 'the module is nowhere' not_installed
check_root 'the module is there, and not loaded' not_loaded
check_root 'the module is for another kernel' for_another_kernel
check_root 'no module in a container' not_in_container
check_root 'no device, or one that is none' no_device
check 'no statistics' no_statistics
check 'huge pages' huge_pages
check 'no cgroup2' cgroup_missing
check 'io_uring off' uring_off
check 'ulimit -v' limited
check_root 'overcommit_memory=2' overcommit
check 'a kernel that is too old' old_kernel
check 'a library that is old, missing, or kept from working' bad_library
check 'one version' versions_agree
check 'as JSON' as_json
finish
