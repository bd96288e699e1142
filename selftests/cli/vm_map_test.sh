#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# goheap map of programs that run: that it shows what sysfs counts, where huge pages are, to
# the user whose program it is without root, and to nobody else.  Needs root and the module.

# shellcheck disable=SC2015,SC2086,SC2119,SC2317
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$(realpath "$0")")/common.sh"

sys=/sys/class/misc/goheap
[ -e $sys ] && [ "$(id -u)" = 0 ] || skip_all 'needs root and /dev/goheap'

user=12345
as_user()
{
	setpriv --reuid=$user --regid=$user --clear-groups "$@"
}

# A program of that user: of 80 MiB in large and small objects half are free, and some released.
# And 16 MiB without huge pages (PR_SET_THP_DISABLE), of which little is there until it is told.
mkfifo "$work/in" "$work/out.program"
LD_PRELOAD=$BUILD/libgoheap.so setpriv --reuid=$user --regid=$user --clear-groups python3 -c '
import ctypes, sys
c = ctypes.CDLL(None)
c.malloc.restype = ctypes.c_void_p
c.free.argtypes = [ctypes.c_void_p]
c.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
def new(size):
    p = c.malloc(size)
    c.memset(p, 1, size)
    return p
def without_huge(fill):
    c.prctl(41, 1, 0, 0, 0)
    fill()
    c.prctl(41, 0, 0, 0, 0)
lazy = c.malloc(16 << 20)
without_huge(lambda: [c.memset(lazy + at, 1, 1) for at in range(0, 16 << 20, 1 << 20)])
large = [new(8 << 20) for i in range(8)]
small = [new(200) for i in range(80000)]
for p in large[1::2]: c.free(p)
for line in sys.stdin:
    if line == "fill\n":
        without_huge(lambda: c.memset(lazy, 1, 16 << 20))
    print("ready", flush=True)' <"$work/in" >"$work/out.program" 2>/dev/null &
pid=$!
exec 8>"$work/in" 9<"$work/out.program"
trap 'exec 8>&-; wait; rm -rf "$work"' EXIT
echo x >&8 && read -r -t 60 <&9
heap=$(dirname "$(grep -lx "$pid" $sys/*/pid)")
[ -n "$heap" ] || { echo 'Bail out! the program has no heap'; exit 1; }
# Half of what is idle.
echo 12582912 >"$heap/scavenge"

# Sums of --json are what sysfs says.
as_counted()
{
	try "$goheap" map --json "$pid"
	[ "$status" = 0 ] && "$here/valid.py" map <"$work/out" || { note "$(<"$work/err")"; return 1; }
	python3 - "$work/out" "$heap" <<-'END'
	import json, sys
	m, = json.load(open(sys.argv[1]))
	read = lambda name: open(sys.argv[2] + "/" + name).read().strip()
	total = lambda state: sum(s["bytes"] for s in m["spans"] if s["state"] == state)
	assert m["pid"] == int(read("pid")) and m["start"] == read("arena").split("-")[0]
	assert total("inuse") == int(read("heap_inuse")) > 64 << 20
	assert total("released") == int(read("heap_released")) > 10 << 20
	assert total("idle") == int(read("heap_idle")) - int(read("heap_released")) > 10 << 20
	assert sum(s["state"] == "inuse" for s in m["spans"]) == int(read("nr_spans"))
	small = [s for s in m["spans"] if s.get("object_bytes") == 208]
	assert sum(s["bytes"] for s in small) > 14 << 20, small
	END
}

# What the kernel says of huge pages in all of the mapping, in KiB.
kernel_says()
{
	awk -F '[- ]+' -v start="$(sed 's/^0x\(.*\)-.*/\1/' "$heap/arena")" '
		/^[0-9a-f]+-[0-9a-f]+ / { inside = $1 >= start && index($0, "/dev/goheap") }
		inside && /^AnonHugePages:/ { sum += $2 }
		END { print sum + 0 }' "/proc/$pid/smaps"
}

# Some are in use and some idle.
huge_pages()
{
	try "$1" "$goheap" map --json "$pid"
	python3 - "$work/out" "$(kernel_says)" <<-'END'
	import json, sys
	m, = json.load(open(sys.argv[1]))
	assert m["huge_bytes"] == int(sys.argv[2]) * 1024 > 0, (m["huge_bytes"], sys.argv[2])
	# The last one may reach beyond what is used.
	assert 0 <= m["huge_bytes"] - sum(s["huge_bytes"] for s in m["spans"]) < 2 << 20
	assert sum(s["huge_bytes"] for s in m["spans"] if s["state"] == "inuse") > 20 << 20
	END
}

# All pages of 16 MiB are there, and are small: only root can tell. The others know how many.
small_pages()
{
	echo fill >&8 && read -r -t 60 <&9 && huge_pages as_root || return 1
	try as_user "$goheap" map "$pid"
	prints '^      huge pages: [0-9]+M of it; where they are only root can see$' || return 1
	try as_user "$goheap" map --json "$pid"
	python3 - "$work/out" "$(kernel_says)" <<-'END'
	import json, sys
	m, = json.load(open(sys.argv[1]))
	assert m["huge_bytes"] == int(sys.argv[2]) * 1024
	assert not any("huge_bytes" in s for s in m["spans"])
	END
}

as_root()
{
	"$@"
}

picture()
{
	LC_ALL=C.UTF-8 try as_user "$goheap" map "$pid"
	prints "^python3 \\(process $pid\\), heap [0-9]+: [0-9]+M of the arena used, from 0x[0-9a-f]+; each character is " &&
	prints '██████' && prints '▚▚▚▚|▒▒▒▒' && prints '░░░░' &&
	prints '^      huge pages: [0-9]+M, drawn █ in use and ▚ idle$' || return 1
	try as_user "$goheap" map -o "$work/x.png" "$pid"
	refuses 1 "$work/x.png" as_user "$goheap" map -o "$work/x.png" "$pid" &&
	try "$goheap" map -o "$work/x.png" "$pid" && [ "$status" = 0 ] && [ -s "$work/x.png" ]
}

# All is released: nothing is idle, and what was stays where it was.
all_released()
{
	"$goheap" map --json "$pid" >"$work/before" && "$goheap" scavenge "$pid" >/dev/null &&
	"$goheap" map --json "$pid" >"$work/after" && python3 - "$work/before" "$work/after" <<-'END'
	import json, sys
	b, a = (json.load(open(f))[0] for f in sys.argv[1:])
	kept = lambda m: [(s["addr"], s["bytes"]) for s in m["spans"] if s["state"] == "inuse"]
	assert kept(b) == kept(a) and not any(s["state"] == "idle" for s in a["spans"])
	END
}

plan 7
check 'spans are what sysfs counts' as_counted
check 'huge pages, for root' huge_pages as_root
check 'huge pages, for its user' huge_pages as_user
check 'a picture for its user' picture
check 'what is there as a whole, in small pages' small_pages
check "not another user's" refuses 1 'ask as root' as_nobody "$goheap" map "$pid"
check 'after all was released' all_released
finish
