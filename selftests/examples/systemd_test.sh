#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# The example `service`, in a VM, under systemd: it has namespaces and a cgroup of its own,
# as in a container, where it is process 1 and starts what a machine starts.  The service,
# and Debian's redis-server after what README.md says, have the library and heaps of the
# kernel, although both have a /dev of their own; the timer has metrics written; and without
# the drop-in's line for the device Redis has no heap.
here=$(dirname "$(realpath "$0")")
# shellcheck source-path=SCRIPTDIR source=../run_tap.sh
. "$here/../run_tap.sh"
top=$(realpath "$here/../..")
BUILD=${BUILD:-$top/build}
sys=/sys/class/misc/goheap
units=/etc/systemd/system
lib=/usr/lib/x86_64-linux-gnu/libgoheap.so.1
group=/sys/fs/cgroup/systemd_test
metrics=/var/lib/prometheus/node-exporter/goheap.prom

[ -n "${GOHEAP_KO:-}" ] || skip_all 'takes a VM: make vm'
[ -e $sys ] || skip_all 'the module is not loaded'
[ -x /lib/systemd/systemd ] || skip_all 'systemd is not installed'

manager=''
stop_systemd()
{
	[ -n "$manager" ] || return
	# Its own processes, and all that it started.
	echo 1 >$group/cgroup.kill
	wait "$manager" 2>/dev/null
	find $group -depth -type d -exec rmdir {} +
}
trap 'stop_systemd; rm -rf $units/{example.service,goheap-prometheus.*,timers.target.wants/goheap-*,all.target,redis-server.service.d} $lib /usr/bin/goheap $metrics' EXIT

# Where the packages have it.
install_all()
{
	cp "$BUILD/libgoheap.so.1" $lib && cp "$BUILD/goheap" /usr/bin || return
	mkdir -p "$(dirname $metrics)"
	cp "$here/service/example.service" "$top/userlib/install/goheap-prometheus.timer" $units
	sed 's,@BINDIR@,/usr/bin,' "$top/userlib/install/goheap-prometheus.service.in" \
		>$units/goheap-prometheus.service
	printf '[Unit]\nWants=%s\n' 'redis-server.service example.service' >$units/all.target
}

# Without what looks after devices, modules and settings, which are not its own.
start_systemd()
{
	mkdir $group || return
	(
		echo "$BASHPID" >$group/cgroup.procs
		exec env -i container=test PATH="$PATH" \
			unshare --pid --fork --mount --cgroup --mount-proc bash -c '
			umount /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup &&
				mount -t tmpfs run /run && mount -t tmpfs tmp /tmp || exit
			mkdir -p /run/systemd/system
			for u in systemd-{udevd,udev-trigger,modules-load,sysctl,binfmt,remount-fs}.service \
				systemd-{udevd-control,udevd-kernel}.socket systemd-tmpfiles-setup-dev.service \
				proc-sys-fs-binfmt_misc.automount modprobe@.service kmod-static-nodes.service; do
				ln -s /dev/null "/run/systemd/system/$u"
			done
			exec /lib/systemd/systemd --system --unit=all.target --show-status=0'
	) </dev/null >/dev/null 2>&1 &
	manager=$!
}

# The processes of unit $1.
processes()
{
	cat "$group/system.slice/$1.service/cgroup.procs" 2>/dev/null
}

# Runs a command where systemd is.
inside()
{
	nsenter -t "$(pgrep -P "$manager")" -m -p "$@"
}

# Waits up to 30 s for a command to succeed; says what the journal has if it does not.
soon()
{
	for _ in {1..150}; do
		! "$@" || return 0
		sleep 0.2
	done
	note "$* failed" "$(inside journalctl -q -n 30 2>&1)"
	return 1
}

has_process()
{
	processes "$1" | grep -q .
}

# $1: a unit of which a process has a heap of the kernel, and what goheap list calls it.
has_heap()
{
	local p

	for p in $(processes "$1"); do
		! goheap list | grep -q "^ *[0-9]* *$p $2 " || return 0
	done
	return 1
}

has_library()
{
	local p

	for p in $(processes "$1"); do
		! grep -q "$lib" "/proc/$p/maps" || return 0
	done
	return 1
}

service()
{
	install_all && start_systemd && soon has_heap example python3 && has_library example &&
		soon has_process redis-server && ! has_library redis-server
}

# The line of README.md with $1.
line()
{
	sed -n 's/^    //p' "$top/README.md" | grep -F -m 1 -e "$1" | sed 's/  *# .*//'
}

drop_in()
{
	(cd "$top" && bash -ec "$(line 'mkdir -p /etc/systemd'); $(line 'cp selftests/examples/service')") &&
		inside bash -c "$(line 'systemctl daemon-reload')" &&
		soon has_heap redis-server redis-server && has_library redis-server || return
	note "$(goheap list)"
}

# By the command that README.md has in its text; then of both, every 15 s.
measured()
{
	local enable

	enable=$(grep -o 'systemctl enable [a-z. -]*' "$top/README.md")
	inside bash -c "$enable" &&
		[ "$(inside systemctl is-enabled goheap-prometheus.timer)" = enabled ] || return
	soon grep -qs '^goheap_.*comm="redis-server"' $metrics && grep -q '^goheap_.*comm="python3"' $metrics &&
		promtool check metrics <$metrics >&2 && return
	note "$(head -n 50 $metrics)"
	return 1
}

# It then has the library's own page heap.
not_without()
{
	sed -i '/^BindPaths/d' $units/redis-server.service.d/goheap.conf
	inside bash -c "$(line 'systemctl daemon-reload')" && soon has_library redis-server || return
	redis-cli ping >/dev/null
	! has_heap redis-server redis-server
}

plan 4
check 'the service has a heap of the kernel' service
check 'Redis has one by what README.md says' drop_in
check 'the timer has metrics written' measured
check 'Redis has no heap without its line' not_without
finish
