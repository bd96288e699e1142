#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# goheap doctor in a system that is really broken, in one way after the other: it names
# what is wrong, and only that; and when the line that it prints was run, nothing is.
#
# It needs the module and root, and takes the system apart: for a VM only.
# shellcheck disable=SC2015,SC2119,SC2317
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$(realpath "$0")")/common.sh"
# shellcheck source=doctor.sh
. "$here/doctor.sh"

without=$BUILD/selftests/cli/without
rel=$(uname -r)
nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
container=(unshare --pid --fork --mount --mount-proc)

all_is_well()
{
	look
	[ "$status" = 0 ] && [ "$(grep -c '^ok ' "$work/out")" = 9 ] || { note "$(<"$work/out")"; return 1; }
	look "${nobody[@]}"
	[ "$status" = 0 ] && "$goheap" doctor --json | "$here/valid.py" doctor
}

# What this VM has is the tree's, not installed.
no_module()
{
	rmmod goheap || return
	look
	only_wrong module "not loaded: .*goheap.ko is there" "insmod $top/goheap.ko" &&
		grep -q '^note *device *not looked at' "$work/out" && mends module
}

# One for another release, where modprobe finds it and the kernel refuses it.
wrong_kernel()
{
	local dir=/lib/modules/$rel/updates

	rmmod goheap || return
	mkdir -p "$dir"
	# With versions of symbols the kernel looks at the rest of the line only.
	sed "s/vermagic=$rel SMP preempt /vermagic=${rel/6./9.} SMP PREEMPT /" "$top/goheap.ko" >"$dir/goheap.ko"
	depmod "$rel"
	! modprobe goheap 2>/dev/null || return
	# The kernel's package has this link; here there is only its modules' folder.
	[ -e "/lib/modules/$rel/build" ] || ln -s "/usr/src/linux-headers-$rel" "/lib/modules/$rel/build"
	look
	only_wrong module "is for the kernel ${rel/6./9.}, and $rel is running" \
		"make install-module KDIR=/lib/modules/$rel/build && modprobe goheap" && mends module || return
	# As the first one that was loaded.
	rm -r "$dir"
	depmod "$rel"
}

no_permission()
{
	chmod 600 /dev/goheap
	look
	[ "$status" = 0 ] || return
	look "${nobody[@]}"
	only_wrong device '/dev/goheap is root:root with mode 0600: nobody may not open it' \
		'chmod 666 /dev/goheap' && mends device "${nobody[@]}"
}

# A container with a /dev of its own; and one that was given the device.
missing_in_container()
{
	local dev='mount -t tmpfs dev /dev && mknod -m 666 /dev/null c 1 3 && '

	# shellcheck disable=SC2016	# for the shell in there
	look "${container[@]}" sh -c "$dev"'exec "$@"' sh
	only_wrong device 'there is no /dev/goheap in this container' 'docker run --device=/dev/goheap' || return
	# shellcheck disable=SC2016
	look "${container[@]}" sh -c "$dev mknod -m 666 /dev/goheap c $(tr : ' ' </sys/class/misc/goheap/dev) && "'exec "$@"' sh
	[ "$status" = 0 ] && right device
}

missing_device()
{
	rm /dev/goheap
	look
	only_wrong device 'there is no /dev/goheap' 'mknod -m 666 /dev/goheap c 10 [0-9]+$' && mends device
}

no_huge_pages()
{
	echo never >/sys/kernel/mm/transparent_hugepage/enabled
	look
	only_wrong 'huge pages' 'off .*\[never\]' 'echo always >/sys/kernel/mm/transparent_hugepage/enabled' &&
		mends 'huge pages'
}

no_cgroup2()
{
	umount -l /sys/fs/cgroup || return
	look
	only_wrong cgroup 'no cgroup2 at /sys/fs/cgroup' 'mount -t cgroup2 cgroup2 /sys/fs/cgroup' && mends cgroup
}

# A filter cannot be taken off again.
no_uring()
{
	"$without" uring || return
	look "$without" uring
	only_wrong io_uring 'off \(Operation not permitted\)' 'systemctl edit UNIT .*SystemCallFilter='
}

# In the shell that has the limit.
limited_addresses()
{
	# shellcheck disable=SC2016
	look bash -c "ulimit -v 3000000; \"\$@\" >$work/first; eval \"\$(sed -n 's/^ *mend: //p' $work/first)\"; exec \"\$@\"" sh
	[ "$status" = 0 ] && right 'address space' || return
	cp "$work/first" "$work/out"
	status=1
	only_wrong 'address space' 'ulimit -v is 2.9G' 'prlimit --as=unlimited'
}

overcommit()
{
	sysctl -q -w vm.overcommit_memory=2 || return
	look
	only_wrong overcommit 'vm.overcommit_memory is 2' 'sysctl -w vm.overcommit_memory=0' && mends overcommit
}

# One that was installed and not replaced with the module; and one that cannot speak to it.
old_library()
{
	local kind found

	mkdir -p /usr/local/bin /usr/local/lib
	cp "$goheap" /usr/local/bin
	for kind in old other; do
		rm -rf /usr/local/lib/glibc-hwcaps
		cp "$BUILD/selftests/cli/$kind/libgoheap.so.1" /usr/local/lib || return
		found='is version 0.0, older than the module, which is 0.1'
		[ "$kind" = old ] || found="this kernel's module is not one that the library can use"
		goheap=/usr/local/bin/goheap look
		only_wrong library "/usr/local/lib/libgoheap.so.1.*$found" 'make install-lib' || return
		# Made once: it takes a minute here.
		[ "$kind" = other ] || goheap=/usr/local/bin/goheap mends library || return
	done
}

kept_off()
{
	GOHEAPDEBUG=zero=1,backend=embedded look
	only_wrong library 'GOHEAPDEBUG=zero=1,backend=embedded keeps programs off the device' 'unset GOHEAPDEBUG'
}

[ "$(id -u)" = 0 ] || skip_all 'must be root'
[ -e /sys/class/misc/goheap ] || skip_all 'the module is not loaded'
[ -e /run/vm/cmd ] || skip_all 'not in a VM: it would break this system'
unset GOHEAPDEBUG
plan 13
check 'all is well' all_is_well
check 'no module' no_module
check 'a module for another kernel' wrong_kernel
check 'no permission' no_permission
check 'no device in a container' missing_in_container
check 'no device' missing_device
check 'huge pages off' no_huge_pages
check 'no cgroup2' no_cgroup2
check 'io_uring off' no_uring
check 'ulimit -v' limited_addresses
check 'overcommit_memory=2' overcommit
check 'an old library with a new module' old_library
check 'kept off the device by GOHEAPDEBUG' kept_off
finish
