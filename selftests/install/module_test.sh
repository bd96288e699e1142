#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# In a VM: the module that DKMS built, which deb_test left, and what is installed with it.
# systemd's program loads it at boot, udev gives its device the mode, modprobe its
# parameters, and a user without rights has a heap of it.
here=$(dirname "$(realpath "$0")")
# shellcheck source-path=SCRIPTDIR source=../run_tap.sh
. "$here/../run_tap.sh"
top=$(realpath "$here/../..")
BUILD=${BUILD:-$top/build}
ko=$BUILD/selftests/install/goheap.ko
rel=$(uname -r)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

[ -n "${GOHEAP_KO:-}" ] || skip_all 'takes a VM: make vm'
[ -x /lib/systemd/systemd-udevd ] || skip_all 'no udev here'
[ -e "$ko" ] || skip_all 'install/deb_test has not left a module'

# As `make install` has them; make takes an emulated CPU too long.
declare -A files=(
	[60-goheap.rules]=/usr/lib/udev/rules.d/60-goheap.rules
	[modules-load.conf]=/usr/lib/modules-load.d/goheap.conf
	[modprobe.conf]=/usr/lib/modprobe.d/goheap.conf
)

installed()
{
	local f

	rmmod goheap || return
	# So does depmod with all modules of the kernel.
	mount -t tmpfs modules "/lib/modules/$rel" || return
	mkdir -p "/lib/modules/$rel/updates/dkms"
	touch "/lib/modules/$rel"/modules.{order,builtin,builtin.modinfo}
	cp "$ko" "/lib/modules/$rel/updates/dkms" && depmod "$rel" || return
	for f in "${!files[@]}"; do
		cp "$top/module/install/$f" "${files[$f]}" || return
	done
}

# $1: a parameter, $2: its value
parameter()
{
	[ "$(cat "/sys/module/goheap/parameters/$1")" = "$2" ]
}

at_boot()
{
	/lib/systemd/systemd-modules-load goheap.conf &&
		parameter scavenge_limit_ms 300000 && [ -c /dev/goheap ]
}

mode_by_udev()
{
	/lib/systemd/systemd-udevd --daemon || return
	chmod 600 /dev/goheap
	udevadm trigger --action=add --settle /sys/class/misc/goheap
	[ "$(stat -c %a /dev/goheap)" = 666 ] || return
	# And what the administrator says instead.
	mkdir -p /etc/udev/rules.d
	sed 's/"0666"/"0660"/' "$top/module/install/60-goheap.rules" >/etc/udev/rules.d/60-goheap.rules
	udevadm control --reload
	udevadm trigger --action=add --settle /sys/class/misc/goheap
	[ "$(stat -c %a /dev/goheap)" = 660 ] || return
	rm /etc/udev/rules.d/60-goheap.rules
	udevadm control --reload
	udevadm trigger --action=add --settle /sys/class/misc/goheap
	[ "$(stat -c %a /dev/goheap)" = 666 ]
}

parameters_by_modprobe()
{
	modprobe -r goheap && [ ! -e /dev/goheap ] || return
	sed -n 's/^#\(options goheap scavenge_limit_ms=\).*/\112345/p; s/^#\(options goheap max_spans=\).*/\177/p' \
		"$top/module/install/modprobe.conf" >/etc/modprobe.d/goheap.conf
	modprobe goheap && parameter scavenge_limit_ms 12345 && parameter max_spans 77 || return
	rm /etc/modprobe.d/goheap.conf
	modprobe -r goheap && modprobe goheap && parameter scavenge_limit_ms 300000
}

# Of a user who is nobody.
heap_for_all()
{
	udevadm settle
	GOHEAPDEBUG=backend=device LD_PRELOAD=$BUILD/libgoheap.so.1 setpriv --reuid 65534 --regid 65534 \
		--clear-groups bash -c 'cat /sys/class/misc/goheap/heaps; stat -c "%u %g" "/sys/class/misc/goheap/"[1-9]*; true' \
		>"$tmp/out" 2>&1
	note "$(<"$tmp/out")"
	[ "$(head -n 1 "$tmp/out")" -ge 1 ] && grep -qx '65534 65534' "$tmp/out"
}

# make_test took it from goheap(4).
program()
{
	"$BUILD/selftests/install/example" >"$tmp/out" && grep -qx 'released: 65536 bytes' "$tmp/out"
}

plan 7
check 'DKMS module and its files are in place' installed
check 'loaded at boot' at_boot
check 'mode by udev' mode_by_udev
check 'parameters by modprobe' parameters_by_modprobe
check 'a heap for every user' heap_for_all
check 'the program in the manual' program
# As it was, for whoever is next.
back()
{
	udevadm control --exit
	modprobe -r goheap && umount "/lib/modules/$rel" &&
		rm "${files[@]}" && insmod "$GOHEAP_KO"
}
check 'and all of it goes' back
finish
