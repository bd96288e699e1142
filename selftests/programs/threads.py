# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# Threads that build and drop data of many sizes, and hand it to each other, and
# subprocesses that do the same: what it prints depends on nothing but the data.
import concurrent.futures
import hashlib
import json
import queue
import re
import subprocess
import sys
import threading

WORDS = ["span", "heap", "page", "arena", "class", "treap"]


def text(seed, lines):
    x = seed
    out = []
    for i in range(lines):
        x = (x * 6364136223846793005 + 1442695040888963407) % 2**64
        out.append("%s-%d %s" % (WORDS[x % 6], i, "x" * (x >> 50 & 255)))
    return out


def digest(lines):
    h = hashlib.sha256()
    for line in sorted(lines, key=lambda s: s[::-1]):
        h.update(re.sub(r"x+", "y", line).encode())
    return h.hexdigest()[:16]


def work(seed):
    lines = text(seed, 1000)
    tree = json.loads(json.dumps({line: [line] * 3 for line in lines}))
    return seed, digest(tree) + digest(w for ws in tree.values() for w in ws)


def consume(q, out, lock):
    while (item := q.get()) is not None:
        d = digest(item)
        with lock:
            out.append(d)


def cross_threads():
    q, out, lock = queue.Queue(8), [], threading.Lock()
    users = [threading.Thread(target=consume, args=(q, out, lock)) for _ in range(3)]
    for t in users:
        t.start()
    for i in range(30):
        q.put(text(i, 500))
    for _ in users:
        q.put(None)
    for t in users:
        t.join()
    print("cross", hashlib.sha256("".join(sorted(out)).encode()).hexdigest()[:16])


def child(seed):
    return subprocess.run([sys.executable, __file__, str(seed)],
                          capture_output=True, check=True, text=True).stdout.strip()


def main():
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for seed, d in pool.map(work, range(6)):
            print("thread", seed, d)
        for line in pool.map(child, range(100, 103)):
            print("child", line)
    cross_threads()
    print("shell", subprocess.check_output("echo $((6 * 7)) | tr 4 5", shell=True).decode().strip())


if len(sys.argv) > 1:
    print(*work(int(sys.argv[1])))
else:
    main()
