#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# Whether uapi/ABI tells of every file, parameter and tracepoint that the module
# has, and of none that it has not.

here=$(dirname "$(realpath "$0")")
abi=$(realpath "$here/../../uapi/ABI")
# shellcheck source=../run_tap.sh
. "$here/../run_tap.sh"

sys=/sys/class/misc/goheap
[ -e $sys ] || skip_all 'no /dev/goheap'

# What the text names below $1, in files $2...
named()
{
	local below=$1
	shift
	sed -n "s|^What:[[:space:]]*$below/\([a-z_]\+\)\$|\1|p" "$@" | sort
}

# Each entry has all of its fields.
complete()
{
	awk '
	/^What:/ { entries++ }
	/^Date:/ { dates++ }
	/^KernelVersion:/ { versions++ }
	/^Contact:/ { contacts++ }
	/^Description:$/ { descriptions++ }
	END {
		exit !(entries && entries == dates && entries == versions &&
		       entries == contacts && entries == descriptions)
	}' "$1"
}

# The files of a directory of sysfs that are ours.
files()
{
	find "$1/" -maxdepth 1 -type f ! -name uevent ! -name dev -printf '%f\n' | sort
}

same()
{
	diff <(echo "$1") <(echo "$2") | sed 's/^/# /'
	[ -n "$1" ] && [ "$1" = "$2" ]
}

plan 8
for f in dev sysfs trace; do
	check "$f-goheap is complete" complete "$abi/$f-goheap"
done
check 'totals' same "$(named $sys "$abi/sysfs-goheap")" "$(files $sys)"
check 'parameters' same \
	"$(named /sys/module/goheap/parameters "$abi/dev-goheap")" \
	"$(files /sys/module/goheap/parameters)"

# A process with a heap that was sent a command, for as long as it takes to look.
if command -v python3 >/dev/null; then
	exec 8< <(exec python3 -c '
import fcntl, mmap, os, struct, sys
fd = os.open("/dev/goheap", os.O_RDWR)
m = mmap.mmap(fd, 64 << 20, mmap.MAP_PRIVATE | 0x4000)
fcntl.ioctl(fd, 0xc038b400, struct.pack("I52x", 56))	# INFO
print(os.getpid(), flush=True)
sys.stdin.read()' 7< <(sleep 60) <&7)
	read -r pid <&8
	id=$(grep -lx "$pid" $sys/*/pid 2>/dev/null | head -n 1)
	check 'files of a heap' same \
		"$(named "$sys/<id>" "$abi/sysfs-goheap")" "$(files "$(dirname "$id")")"
	kill "$pid"
else
	skip 'files of a heap' 'no python3'
fi

tracing=/sys/kernel/debug/tracing/events/goheap
if [ -d $tracing ]; then
	check 'tracepoints' same \
		"$(named /sys/kernel/tracing/events/goheap "$abi/trace-goheap")" \
		"$(find $tracing -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | sort)"
else
	skip 'tracepoints' 'no tracing directory'
fi

if [ -d /sys/kernel/debug/goheap ]; then
	check 'debugfs' same \
		"$(named /sys/kernel/debug/goheap "$abi/dev-goheap")" \
		"$(files /sys/kernel/debug/goheap)"
else
	skip 'debugfs' 'no debugfs'
fi
finish
