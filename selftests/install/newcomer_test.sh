#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# As someone who comes to a fresh machine: `make newcomer`.
#
# In a Debian with nothing but its base, what README.md says is done, word for word: the
# packages are installed, DKMS builds the module, and in a VM with that root, and nothing of
# this machine, it is loaded as when a machine starts, and used.  Installing takes an emulated
# CPU too long: that is done outside of the VM, in a chroot of that root.
#
# Takes root and the network.  The base is kept in $BUILD/newcomer; the screens are in the
# output.
here=$(dirname "$(realpath "$0")")
# shellcheck source-path=SCRIPTDIR source=../run_tap.sh
. "$here/../run_tap.sh"
top=$(realpath "$here/../..")
export BUILD=${BUILD:-$top/build}
dir=$BUILD/newcomer
mirror=http://deb.debian.org

if [ "$(id -u)" != 0 ]; then
	skip_all 'takes root'
elif [ -z "${IN_NAMESPACE:-}" ]; then
	exec env IN_NAMESPACE=1 unshare --mount "$0"
fi

# Debian's base as its installer leaves it, and what is on each machine that one works at.
make_base()
{
	[ ! -e "$dir/base.done" ] || return 0
	mkdir -p "$dir"
	rm -rf "$dir/base"
	mmdebstrap --quiet --variant=important --include=ca-certificates \
		bookworm "$dir/base" \
		"deb $mirror/debian bookworm main" \
		"deb $mirror/debian-security bookworm-security main" >"$dir/log" 2>&1 &&
		touch "$dir/base.done"
}

# Its copy, for this run.
make_root()
{
	local w=$dir/root

	mkdir -p "$w"
	mount -t tmpfs newcomer "$w" && mkdir "$w"/{upper,work,root} &&
		mount -t overlay -o "lowerdir=$dir/base,upperdir=$w/upper,workdir=$w/work" newcomer "$w/root" ||
		return
	root=$w/root
	mkdir -p "$root/root/goheap/build/deb"
	cp "$BUILD"/deb/*.deb "$root/root/goheap/build/deb"
	cp /etc/resolv.conf "$root/etc"
	mount -t proc proc "$root/proc"
	mount --rbind /dev "$root/dev"
}

# Runs what README.md says, in the folder where one would be.
there()
{
	DEBIAN_FRONTEND=noninteractive HOME=/root chroot "$root" bash -c "cd /root/goheap && { $1; }" \
		>"$dir/log" 2>&1 </dev/null && return
	note "$1" "$(tail -n 30 "$dir/log")"
	return 1
}

# The command in README.md that matches $1, without its comment; there must be one.
readme()
{
	local line

	line=$(sed -n 's/^    //p' "$top/README.md" | grep -m 1 -e "$1") || return
	sed 's/ *    #.*//' <<<"$line"
}

# apt asks whether it may: there is nobody to answer.
installed()
{
	there "apt-get update -q && $(readme '^apt install' | sed 's/^apt install/apt-get install -y/')" || return
	chroot "$root" dkms status >"$dir/status"
	note "$(<"$dir/status")"
	rel=$(sed -n 's/^goheap.*, \(6[^,]*\), x86_64: installed$/\1/p' "$dir/status")
	[ -n "$rel" ]
}

redis_installed()
{
	there 'apt-get install -y redis-server'
}

# What is done in the VM: as systemd does when the machine starts, and then by the newcomer,
# with a Redis in which 20 MB were put and removed.
session()
{
	cat <<-'END'
	cd /root
	hostname newcomer
	/lib/systemd/systemd-modules-load
	/lib/systemd/systemd-udevd --daemon
	udevadm trigger --settle /sys/class/misc/goheap
	echo "== $(stat -c '%A %n' /dev/goheap)"
	END
	echo "$(readme '^goheap run redis-server') --save '' >redis.log 2>&1 &"
	cat <<-'END'
	for i in $(seq 100); do
		! redis-cli ping 2>/dev/null | grep -q PONG || break
		sleep 0.3
	done
	redis-benchmark -q -t set -n 20000 -r 20000 -d 1000 -P 50 >/dev/null
	redis-cli flushall
	echo '== list'
	END
	readme '^goheap list'
	echo "echo '== stat'"
	echo 'goheap stat $(pidof redis-server)'
	# Killed, so that it leaves the screen as it is.
	echo 'timeout -s KILL 8 env TERM=xterm script -qfc "stty cols 100 rows 12; exec '"$(readme '^goheap top')"'" $VM_OUT/top >/dev/null'
	echo "echo '== map'"
	readme '^goheap scavenge'
	echo 'goheap map $(pidof redis-server)'
	readme '^goheap map'
	echo 'cp redis.png $VM_OUT'
	echo "echo '== doctor'"
	readme '^goheap doctor'
	echo "echo '== end'"
}

# Of the 20 MB that were removed some MiB are idle, and some were released.
picture()
{
	[ "$(head -c 4 "$dir/out/redis.png" | tail -c 3)" = PNG ] &&
		sed -n '/^== map/,/^== doctor/p' "$dir/session" >"$dir/map" &&
		grep -q '  idle  *[0-9.]*M' "$dir/map" && grep -q '  released  *[0-9.]*M' "$dir/map"
}

# The screen of top, as a terminal of that size shows it.
screen()
{
	local session=newcomer.$$

	tmux -L "$session" -f /dev/null new-session -d -x 100 -y 12 "cat '$dir/out/top'; sleep 60" || return
	for _ in {1..50}; do
		tmux -L "$session" capture-pane -p | sed '/^$/d' >"$dir/screen"
		! grep -q redis-server "$dir/screen" || break
		sleep 0.1
	done
	tmux -L "$session" kill-server
	note "$(<"$dir/screen")"
	grep -q redis-server "$dir/screen"
}

in_vm()
{
	umount -l "$root/dev" "$root/proc"
	rm -f "$dir"/out/{top,redis.png}
	VM_ROOT=$root KDIR=$(realpath "$root/usr/src/linux-headers-$rel") VM_OUT=$dir/out \
		VM_CMD=$(session) "$here/../vm/run" >"$dir/session" 2>&1
	local status=$?

	note "$(<"$dir/session")"
	[ "$status" = 0 ] && grep -qx '== end' "$dir/session" && grep -qx '== crw-rw-rw- /dev/goheap' "$dir/session"
}

shows_redis()
{
	sed -n '/^== list/,/^== stat/p' "$dir/session" | grep -q redis-server
}

for p in mmdebstrap tmux; do
	command -v "$p" >/dev/null || skip_all "$p is not installed"
done
plan 7
packages_and_base()
{
	make_base && make -s --no-print-directory -C "$top" deb >"$dir/log" 2>&1 && make_root && return
	note "$(tail -n 30 "$dir/log")"
	return 1
}
check 'packages, and a Debian without anything' packages_and_base
if [ -n "${root:-}" ]; then
	check 'packages are installed, and DKMS builds the module' installed
	check 'Redis is installed' redis_installed
	check 'a VM with it comes up, with the device' in_vm
	check 'Redis has a heap' shows_redis
	check 'which is drawn' picture
	check 'and is on the screen of goheap top' screen
fi
finish
