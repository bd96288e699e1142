#!/bin/bash
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# What the library exports is what malloc.h, goheap.h and the manual say; its JSON
# and XML are read by Python's parsers, in a program that has it preloaded.
export LC_ALL=C
here=$(dirname "$(realpath "$0")")
. "$here/../run_tap.sh"

top=$(realpath "$here/../..")
lib=${BUILD:-$top/build}/libgoheap.so
man=$top/userlib/man/libgoheap.3
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# Names of the library's dynamic symbols, with their versions.
exported()
{
	readelf --dyn-syms -W "$lib" |
		awk '$7 != "UND" && $4 ~ /^(FUNC|OBJECT|TLS|NOTYPE)$/ && $5 != "LOCAL" { print $8 }' |
		sort
}

# Names of the functions that a header of the system declares itself.
declared()
{
	echo "#include <$1>" | ${CC:-cc} -E -x c -D_GNU_SOURCE - |
		python3 -c '
import re, sys
mine = False
text = ""
for line in sys.stdin:
    m = re.match(r"# \d+ \"(.*?)\"", line)
    if m:
        mine = m.group(1).endswith("/" + sys.argv[1])
    elif mine:
        text += line
for d in re.findall(r"extern\b[^;{]*;", text):
    print(re.search(r"(\w+)\s*\(", d).group(1))
' "$1" | sort
}

# Lines of file $1 that are not in file $2: none may be.
all_in()
{
	local lost

	lost=$(comm -23 "$1" "$2")
	[ -s "$1" ] && [ -z "$lost" ] && return
	note "missing: ${lost//$'\n'/ }"
	return 1
}

malloc_h()
{
	declared malloc.h >"$tmp/malloc.h"
	exported >"$tmp/exported"
	grep -qx malloc_info "$tmp/malloc.h" && all_in "$tmp/malloc.h" "$tmp/exported"
}

# A symbol that came or went is a change of the ABI, and this list is to change with it.
golden()
{
	exported >"$tmp/exported"
	diff "$here/front_export.abi" "$tmp/exported" >"$tmp/diff" && return
	note "$(<"$tmp/diff")"
	return 1
}

api_functions()
{
	sed -n 's/^[a-z].*[ *]\(goheap_[a-z_]*\)(.*/\1/p' "$top/userlib/include/goheap.h" | sort -u
}

header()
{
	api_functions >"$tmp/api"
	exported | sed -n 's/^\(goheap_[a-z_]*\)@@GOHEAP_0.1$/\1/p' >"$tmp/versioned"
	all_in "$tmp/api" "$tmp/versioned" && all_in "$tmp/versioned" "$tmp/api"
}

# As C and as C++, alone, and beside the kernel's header of the same name.
header_compiles()
{
	local text='#include <goheap.h>
#include <linux/goheap.h>
struct goheap_memstats m; int main(void) { goheap_memstats(&m, sizeof(m)); return 0; }'
	local flags="-Wall -Wextra -Werror -pedantic -fsyntax-only -I$top/userlib/include -I$top/uapi"

	# shellcheck disable=SC2086
	echo "$text" | ${CC:-cc} $flags -std=c99 -x c - &&
		echo "$text" | ${CC:-cc} $flags -std=c++11 -x c++ -
}

manual()
{
	{
		api_functions
		declared malloc.h
		echo free_sized
		echo free_aligned_sized
	} | sort -u >"$tmp/all"
	sed -n 's/^\.\(Fn\|Nm\|Fo\) \([a-z_0-9]*\).*/\2/p' "$man" | sort -u >"$tmp/man"
	all_in "$tmp/all" "$tmp/man"
}

# $1: Python that has the library as `l`.
python()
{
	LD_PRELOAD=$lib python3 -c "
from ctypes import *
l = CDLL(None)
$1" >"$tmp/out" 2>&1 && return
	note "$(<"$tmp/out")"
	return 1
}

json()
{
	python '
import json
l.goheap_json.restype = c_size_t
text = create_string_buffer(32768)
n = l.goheap_json(text, c_size_t(len(text)))
assert n == len(text.value)
s = json.loads(text.value)
go = """Alloc TotalAlloc Sys Mallocs Frees HeapAlloc HeapSys HeapIdle HeapInuse HeapReleased
	HeapObjects MSpanInuse MSpanSys MCacheInuse MCacheSys BuckHashSys OtherSys""".split()
assert all(type(s[name]) is int for name in go)
assert s["HeapObjects"] == s["Mallocs"] - s["Frees"] > 100, s
assert s["HeapSys"] == s["HeapIdle"] + s["HeapInuse"]
for total, part in ("Mallocs", "Mallocs"), ("Frees", "Frees"), ("HeapObjects", "Objects"), ("HeapInuse", "SpanBytes"):
    assert s[total] == sum(c[part] for c in s["BySize"]), total
g = s["Goheap"]
assert s["BySize"][0]["Size"] == 0 and s["BySize"][0]["Objects"] == g["LargeObjects"]
small = sum(c["Size"] * c["Objects"] for c in s["BySize"])
assert s["Alloc"] == small + g["LargeInuse"]
assert g["Backend"] in ("device", "embedded")'
}

xml()
{
	python "
import xml.etree.ElementTree as et
l.fopen.restype = c_void_p
f = c_void_p(l.fopen(b'$tmp/xml', b'w'))
assert l.malloc_info(0, f) == 0
assert l.fclose(f) == 0
root = et.parse('$tmp/xml').getroot()
assert root.tag == 'malloc' and root.get('version') == '1'
size = lambda e, t: int(e.find(t).get('size'))
heap = root.find('heap')
count = sum(int(s.get('count')) for s in heap.iter('size'))
assert count == int(heap.find('total[@type=\"rest\"]').get('count'))
free = sum(int(s.get('total')) for s in heap.iter('size'))
assert 0 < free <= size(heap, 'total[@type=\"rest\"]')
assert all(int(s.get('from')) <= int(s.get('to')) for s in heap.iter('size'))
mmap = size(root, 'total[@type=\"mmap\"]')
assert size(root, 'system[@type=\"current\"]') == size(heap, 'system[@type=\"current\"]') + mmap
assert size(root, 'system[@type=\"max\"]') >= size(root, 'system[@type=\"current\"]')"
}

mandoc_lint()
{
	# It looks for the pages that are referred to, in an index that may not be there.
	mandoc -T lint "$man" 2>&1 | grep -v 'mandoc\.db' >"$tmp/lint"
	[ ! -s "$tmp/lint" ] && return
	note "$(<"$tmp/lint")"
	return 1
}

# The options that the README lists.
in_readme()
{
	awk -F'|' '/^## / { on = /^## Options/ } /^Of the module/ { on = 0 }
		on && $2 ~ /^ [a-z]+ $/ && $2 != " name " { gsub(/ /, "", $2); print $2 }' "$top/README.md" | sort
}

# Those that the library knows, as it says itself.
known()
{
	GOHEAPDEBUG=no_such_option=1 LD_PRELOAD=$lib sort --version 2>&1 >/dev/null |
		sed -n 's/.*; known are //p' | tr -d ' ' | tr , '\n'
}

same_options()
{
	known >"$tmp/known"
	[ -s "$tmp/known" ] && in_readme | diff "$tmp/known" - | sed 's/^/# /'
	[ "${PIPESTATUS[*]}" = '0 0 0' ] || return 1
}

plan 9
check "every function of malloc.h is exported" malloc_h
check "exported is what the list says" golden
check "goheap.h declares what has the version GOHEAP_0.1" header
check "goheap.h compiles as C and C++" header_compiles
check "the manual page has every function" manual
check "JSON, read by Python" json
check "malloc_info, read by Python" xml
if command -v mandoc >/dev/null; then
	check "the manual page is clean" mandoc_lint
else
	skip "the manual page is clean" "mandoc is not installed"
fi
check 'the README lists the options that there are' same_options
finish
