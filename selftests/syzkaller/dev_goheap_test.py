#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# Whether dev_goheap.txt tells syzkaller what <linux/goheap.h> says: each constant,
# each command with its struct, each struct with its fields, in order and of their
# sizes, and that all that it names itself is there.  This is no compiler of that
# language: it knows as much of it as the file uses.
import os
import re
import sys

here = os.path.dirname(os.path.realpath(__file__))
text = open(here + "/dev_goheap.txt").read()
header = open(here + "/../../uapi/linux/goheap.h").read()
header = re.sub(r"/\*.*?\*/", "", header, flags=re.S)
code = re.sub(r"(?m)^#.*", "", text)
c_sizes = {"__u8": 1, "__u16": 2, "__u32": 4, "__u64": 8}
faults = []


def structs_of_header():
    """{struct: [(field, bytes)]}"""
    found = {}
    for name, body in re.findall(r"struct (\w+) \{(.*?)\};", header, re.S):
        found[name] = [(f, c_sizes[t] * int(n or 1)) for t, f, n in
                       re.findall(r"(__u\d+) (\w+)(?:\[(\d+)\])?;", body)]
    return found


def structs_of_text():
    """{struct: [(field, type)]}"""
    found = {}
    for name, body in re.findall(r"(?m)^(\w+) \{\n(.*?)^\}", code, re.S):
        found[name] = [tuple(re.sub(r"\t\((?:in|out|inout)\)$", "", line).split(None, 1))
                       for line in body.strip().splitlines()]
    return found


def size_of(kind, structs):
    """Bytes of a type."""
    array = re.fullmatch(r"array\[(.*), (\d+)\]", kind)
    integer = re.search(r"\bint(8|16|32|64)\b", kind)
    resource = re.search(r"(?m)^resource %s\[(\w+)\]" % re.escape(kind), code)
    if kind in structs:
        return sum(size_of(k, structs) for _, k in structs[kind])
    if array:
        return int(array[2]) * size_of(array[1], structs)
    if kind.startswith("ptr64["):
        return 8
    if resource:
        return 4 if resource[1] == "fd" else size_of(resource[1], structs)
    return int(integer[1]) // 8 if integer else None


def of(name, structs):
    """The struct of the header that one of the text is, itself or by another word."""
    fits = [s for s in structs if name == s or name.startswith(s + "_")]
    return max(fits, key=len, default=None)


def check_structs(said, meant):
    known = set()
    for name, fields in said.items():
        real = of(name, meant)
        if not real:
            continue
        known.add(real)
        sizes = [(f, size_of(k, said)) for f, k in fields]
        if sizes != meant[real]:
            faults.append(f"{name} is {sizes}, struct {real} is {meant[real]}")
    faults.extend(f"no struct {s}" for s in meant.keys() - known - {"goheap_ctl"})
    sqe = size_of("io_uring_sqe_of_goheap", said)
    if sqe != 64:
        faults.append(f"a request of io_uring has {sqe} bytes")


def check_constants():
    names = set(re.findall(r"(?m)^#define (GOHEAP_\w+)[ \t]+\S", header))
    used = set(re.findall(r"\bGOHEAP_[A-Z_]+\b", text))
    # The part behind the dollar is only a name.
    calls = set(re.findall(r"\$(GOHEAP_\w+)", text))
    faults.extend(f"no {n}" for n in names - used)
    faults.extend(f"{n} is not in the header" for n in used - names)
    faults.extend(f"call of {n}, which is not in the header" for n in calls - names)
    return len(names)


def check_commands(said, meant):
    commands = re.findall(r"#define (\w+)\s+_IOWR\(GOHEAP_IOC, \w+, struct (\w+)\)", header)
    for name, struct in commands:
        call = re.search(r"(?m)^ioctl\$%s\(fd fd_goheap, cmd const\[%s\], "
                         r"arg ptr\[(?:in|inout), (\w+)\]\)$" % (name, name), code)
        if not call or call[1] not in said or of(call[1], meant) != struct:
            faults.append(f"no ioctl ${name} of a struct {struct}")
    return len(commands)


def check_names():
    """Ours that are used are declared, and the other way round."""
    used = re.findall(r"\b(?:fd_)?goheap_\w+|\bfd_goheap\b", re.sub(r"\$\w+|/\w+", "", code))
    declared = re.findall(r"(?m)^(?:resource )?(\w*goheap\w*)(?=\[| = | \{| \[)", code)
    for name in set(used) - set(declared):
        faults.append(f"{name} is not declared")
    for name in declared:
        if len(re.findall(r"\b%s\b" % name, code)) < 2:
            faults.append(f"{name} is not used")


def verdict(number, what):
    print(f"{'not ok' if faults else 'ok'} {number} {what}")
    for f in faults:
        print(f"# {f}")
    bad = bool(faults)
    faults.clear()
    return bad


said, meant = structs_of_text(), structs_of_header()
print("TAP version 13\n1..4")
check_structs(said, meant)
failed = verdict(1, f"{len(meant)} structs")
nr = check_constants()
failed |= verdict(2, f"{nr} constants")
nr = check_commands(said, meant)
failed |= verdict(3, f"{nr} commands")
check_names()
failed |= verdict(4, "names")
sys.exit(failed)
