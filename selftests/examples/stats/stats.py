#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""The heaps that one may see, from the files in sysfs: number, process, name, and in KiB
what it holds in memory, and how much of that is idle."""
from pathlib import Path

for heap in sorted(Path("/sys/class/misc/goheap").glob("[0-9]*")):
    def read(name):
        return (heap / name).read_text().strip()

    # A heap may go while it is read, or be of another user.
    try:
        pid, comm = read("pid"), read("comm")
        all, idle, released = (int(read("heap_" + f)) for f in ("sys", "idle", "released"))
    except OSError:
        continue
    print(heap.name, pid, comm, (all - released) // 1024, (idle - released) // 1024)
