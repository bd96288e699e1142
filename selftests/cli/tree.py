#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
#   tree.py DIR [HEAPS]
#
# Unpacks sysfs.txt, which record.sh recorded in a VM, below DIR; HEAPS: with so many heaps,
# which are those that were recorded again and again, under other ids and pids.
import os
import re
import sys

HEAP = re.compile(r"class/misc/goheap/(\d+)/(\w+)$")


def recorded():
    """[(mode, path, text)]"""
    lines = open(os.path.join(os.path.dirname(os.path.realpath(__file__)), "sysfs.txt"))
    return [(int(mode, 8), path, text) for mode, path, text in
            (line.rstrip("\n").split(" ", 2) for line in lines)]


def write(root, mode, path, text):
    path = os.path.join(root, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text + "\n")
    os.chmod(path, mode)


def multiply(files, nr):
    """The files of nr heaps."""
    ids = sorted({int(HEAP.match(p)[1]) for _, p, _ in files if HEAP.match(p)})
    of = {i: [(m, HEAP.match(p)[2], t) for m, p, t in files
              if HEAP.match(p) and int(HEAP.match(p)[1]) == i] for i in ids}
    made = []
    for n in range(nr):
        for mode, name, text in of[ids[n % len(ids)]]:
            text = str(1000 + n) if name == "pid" else text
            made.append((mode, "class/misc/goheap/%d/%s" % (n + 1, name), text))
    return made


def total(files, name):
    return sum(int(t) for _, p, t in files if HEAP.match(p) and HEAP.match(p)[2] == name)


def with_heaps(files, nr):
    """All files, with totals that fit."""
    heaps = multiply(files, nr)
    names = {HEAP.match(p)[2] for _, p, _ in heaps}
    rest = []
    for mode, path, text in files:
        name = os.path.basename(path)
        if HEAP.match(path):
            continue
        if path == "class/misc/goheap/heaps":
            text = str(nr)
        elif path.startswith("class/misc/goheap/") and name in names and text:
            text = str(total(heaps, name))
        rest.append((mode, path, text))
    return heaps + rest


def main():
    files = recorded()
    if len(sys.argv) > 2:
        files = with_heaps(files, int(sys.argv[2]))
    for mode, path, text in files:
        write(sys.argv[1], mode, path, text)


main()
