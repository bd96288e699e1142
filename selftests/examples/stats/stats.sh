#!/bin/sh
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# The heaps that one may see, from the files in sysfs: number, process, name, and in KiB
# what it holds in memory, and how much of that is idle.
for d in /sys/class/misc/goheap/[0-9]*; do
	# A heap may go while it is read, or be of another user.
	{
		read -r pid <"$d/pid" && read -r comm <"$d/comm" &&
			read -r all <"$d/heap_sys" && read -r idle <"$d/heap_idle" &&
			read -r released <"$d/heap_released"
	} 2>/dev/null || continue
	echo "${d##*/} $pid $comm $(((all - released) / 1024)) $(((idle - released) / 1024))"
done
