#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR GPL-2.0
"""Orderings that no run of a program can show to be needed, as models.

What they order are numbers and no data, or it happens only in a child of a program that
has the device.  A model is two threads of a few loads and stores, and what must hold in
the end.  A thread may do its steps in any order that C allows: two of them stay as they
are if they are of the same variable, the first one is a load that acquires, or the
second one is a store that releases.  All such orders, interleaved in all ways, are
tried; each variable is 0 at first.  With its orderings a model holds; without any one
of them it must not.

    front_order_models.py          tries all: prints "MODEL ORDERING ok", or what is wrong
"""
import itertools
import sys


def store(var, order=None):
    """Sets it to 1.  order: the name of the release; None: relaxed."""
    return ("store", var, order)


def load(var, order=None):
    """The same, for an acquire."""
    return ("load", var, order)


# NAME: one thread, the other, what must hold of what the other one has loaded.
MODELS = {
    # profile.c counts an allocation before it is freed; profile_write.c loads the frees first.
    "counts": (
        [store("allocs", "count"), store("frees", "count")],
        [load("frees", "frees"), load("allocs")],
        lambda got: got["frees"] <= got["allocs"]),
    # profile.c takes memory before it marks an object; mspan.c sees the mark, and looks
    # whether there ever was one.
    "sampled": (
        [store("ghu_profile_sys"), store("state", "mark")],
        [load("state", "match"), load("ghu_profile_sys")],
        lambda got: got["state"] <= got["ghu_profile_sys"]),
    # guarded.c makes the table of slots, and then a region that faults are looked up in.
    "region": (
        [store("slots"), store("region", "make")],
        [load("region", "slot_at"), load("slots")],
        lambda got: got["region"] <= got["slots"]),
    # heaps.c replaces a heap by one that is ready.
    "replaced": (
        [store("heap"), store("heaps[i]", "adopt")],
        [load("heaps[i]", "heap_at"), load("heap")],
        lambda got: got["heaps[i]"] <= got["heap"]),
    # heaps.c in a child: what was the kernel's is disowned, and then the word says so.  Who
    # finds a heap disowned finds it no more the kernel's.
    "disowned": (
        [store("kernel"), store("ops", "disown"), store("fork_word", "setup")],
        [load("fork_word", "pressure"), load("ops", "is_inherited"), load("kernel")],
        lambda got: got["fork_word"] <= got["ops"] <= got["kernel"]),
}


def stays(first, second, missing):
    """Whether nothing may exchange the two."""
    return (first[1] == second[1] or
            (first[0] == "load" and first[2] not in (None, missing)) or
            (second[0] == "store" and second[2] not in (None, missing)))


def orders(steps, missing):
    """All orders in which a thread may do its steps."""
    for order in itertools.permutations(range(len(steps))):
        at = {step: i for i, step in enumerate(order)}
        if all(at[i] < at[j] or not stays(steps[i], steps[j], missing)
               for i, j in itertools.combinations(range(len(steps)), 2)):
            yield [steps[i] for i in order]


def run(steps):
    """What was loaded."""
    memory, got = {}, {}
    for kind, var, _ in steps:
        if kind == "store":
            memory[var] = 1
        else:
            got[var] = memory.get(var, 0)
    return got


def interleavings(one, other):
    """All of two lists."""
    total = len(one) + len(other)
    for places in itertools.combinations(range(total), len(one)):
        first, second = iter(one), iter(other)
        yield [next(first) if i in places else next(second) for i in range(total)]


def holds(model, missing):
    """Whether it does, whatever happens, without that ordering."""
    one, other, rule = model
    return all(rule(run(steps))
               for a in orders(one, missing) for b in orders(other, missing)
               for steps in interleavings(a, b))


def main():
    """Tries all."""
    status = 0
    for name, model in MODELS.items():
        names = {step[2] for step in model[0] + model[1] if step[2]}
        for missing in [None] + sorted(names):
            good = holds(model, missing) == (missing is None)
            print(name, missing or "all", "ok" if good else "WRONG")
            status |= not good
    return status


if __name__ == "__main__":
    sys.exit(main())
