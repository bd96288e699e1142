#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
#   churn.py [FILE [fork]]
#
# Allocates 60 MB, frees nine tenths of it, makes FILE, and waits; with fork a child waits
# besides.
import ctypes
import os
import sys
import time

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]

objects = [libc.malloc(60000) for i in range(1000)]
for p in objects:
    libc.memset(p, 1, 60000)
for p in objects[100:]:
    libc.free(p)
if "fork" in sys.argv and os.fork() == 0:
    time.sleep(1000)
for path in sys.argv[1:2]:
    open(path, "w").close()
time.sleep(1000)
