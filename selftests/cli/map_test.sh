#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# goheap map, over a heap that is written down here: what it draws in a terminal and into
# files, what it says as JSON, and what it refuses.

# shellcheck disable=SC2015,SC2086,SC2119,SC2317
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$(realpath "$0")")/common.sh"

# 2 MiB, of 256 pages: spans as debugfs tells them, on 4 rows of 64 pages in the picture.
arenas=$work/sys/kernel/debug/goheap/arenas
new_map()
{
	new_tree
	mkdir -p "$(dirname "$arenas")"
	cat >"$arenas" <<-END
	1 0xc000000000 16 inuse 11 0
	1 0xc000020000 16 inuse 41 0
	1 0xc000040000 32 idle 0 150000
	1 0xc000080000 64 released 0 10
	1 0xc000100000 8 inuse 61 0
	1 0xc000110000 8 inuse 101 0
	1 0xc000120000 8 inuse 1 0
	1 0xc000130000 8 inuse 255 0
	1 0xc000140000 32 scavenging 0 20
	2 0xc000000000 100 inuse 7 0
	1 0xc000180000 63 idle 0 30
	1 0xc0001fe000 1 inuse 7 0
	END
}

repeat()
{
	printf "%$2s" '' | sed "s/ /$1/g"
}

# Columns and rows of no terminal at all, and the characters in $1...: in use, idle, released.
draws()
{
	local u=$1 i=$2 r=$3

	COLUMNS=80 LC_ALL=$4 try "$goheap" map id:1
	diff - <(sed -n 3,6p "$work/out") <<-END >"$work/diff" && return
	     0B  $(repeat "$u" 32)$(repeat "$i" 32)
	   512K  $(repeat "$r" 64)
	   1.0M  $(repeat "$u" 32)$(repeat "$i" 32)
	   1.5M  $(repeat "$i" 63)$u
	END
	note "$(<"$work/diff")"
	return 1
}

sums()
{
	try "$goheap" map id:1
	prints '^redis-server \(process [0-9]+\), heap 1: 2\.0M of the arena used, from 0xc000000000; each character is 8\.0K$' &&
	prints '  in use +520K +7 spans$' &&
	prints '^      objects up to 64 B +136K +2 spans$' && prints '^      up to 512 B +128K +1 span$' &&
	prints '^      up to 4 KiB +64K' && prints '^      up to 32 KiB +64K' &&
	prints '^      larger, a span each +64K' && prints '^      other +64K' &&
	prints '  idle +1016K +3 spans, the oldest for 2 min$' && prints '  released +512K +1 span$' &&
	prints '^      huge pages: unknown'
}

# Of the rows: that they fit what the terminal has.
fits()
{
	on_terminal "stty cols 60 rows 40; $goheap map id:1"
	sed 's/\x1b\[[0-9;]*m//g; s/\r//' "$work/out" >"$work/plain"
	LC_ALL=C.UTF-8 grep -qE '^     0B  .{48}$' "$work/plain" && grep -q '^   384K  ' "$work/plain" && return
	note "$(<"$work/plain")"
	return 1
}

coloured()
{
	on_terminal "$goheap map id:1"
	grep -q $'\x1b\\[38;5;' "$work/out" || return 1
	NO_COLOR=1 on_terminal "$goheap map id:1"
	! grep -q $'\x1b' "$work/out" || return 1
	try "$goheap" map id:1
	! grep -q $'\x1b' "$work/out"
}

json()
{
	try "$goheap" map --json id:1
	"$here/valid.py" map <"$work/out" && python3 - "$work/out" <<-'END'
	import json, sys
	m, = json.load(open(sys.argv[1]))
	assert m["id"] == 1 and m["comm"] == "redis-server" and m["huge_bytes"] is None
	assert m["start"] == "0xc000000000" and m["used_bytes"] == 2 << 20
	at = int(m["start"], 16)
	for s in m["spans"]:
	    assert int(s["addr"], 16) == at, s
	    at += s["bytes"]
	assert at == int(m["start"], 16) + m["used_bytes"]
	assert [s["state"] for s in m["spans"]] == ["inuse"] * 2 + ["idle", "released"] + \
	    ["inuse"] * 4 + ["idle"] * 2 + ["inuse"]
	assert m["spans"][0]["tag"] == 11 and m["spans"][0]["object_bytes"] == 64
	assert m["spans"][6]["object_bytes"] == 0
	assert m["spans"][2]["unused_ms"] == 150000
	END
}

# The colour of points of the picture: the middle of what is known to be there.
png()
{
	try "$goheap" map -o "$work/map.png" id:1
	[ "$status" = 0 ] || { note "$(<"$work/err")"; return 1; }
	python3 - "$work/map.png" <<-'END'
	import ctypes, sys
	cairo = ctypes.CDLL("libcairo.so.2")
	cairo.cairo_image_surface_create_from_png.restype = ctypes.c_void_p
	cairo.cairo_image_surface_get_data.restype = ctypes.POINTER(ctypes.c_uint32)
	s = ctypes.c_void_p(cairo.cairo_image_surface_create_from_png(sys.argv[1].encode()))
	width = cairo.cairo_image_surface_get_width(s)
	stride = cairo.cairo_image_surface_get_stride(s) // 4
	pixels = cairo.cairo_image_surface_get_data(s)
	assert width == 2312, width
	# A row is 1024 pixels, here 128 KiB; the first of them is 88 from the top, and they are 39 apart.
	colour = lambda page: "%06x" % (0xffffff & pixels[
	    2 * (88 + page // 16 * 39 + 16) * stride + 2 * (104 + page % 16 * 64 + 32)])
	for page, want in ((0, "482777"), (15, "482777"), (20, "3f5fa8"), (40, "f08c2e"), (63, "f08c2e"),
	                   (64, "dfe3e8"), (127, "dfe3e8"), (130, "21918c"), (137, "4fb36a"),
	                   (145, "a5cf3d"), (153, "a2559c"), (180, "f08c2e"), (254, "f08c2e"), (255, "482777")):
	    assert colour(page) == want, (page, colour(page), want)
	END
}

svg()
{
	try "$goheap" map -o "$work/map.SVG" id:1
	[ "$status" = 0 ] && python3 - "$work/map.SVG" <<-'END'
	import sys, xml.etree.ElementTree as x
	root = x.parse(sys.argv[1]).getroot()
	assert root.tag.endswith("svg") and root.get("width") == "1156px", root.attrib
	assert len(list(root.iter())) > 50
	END
}

# A folder that has no such library but one that cannot be loaded.
without_libcairo()
{
	mkdir -p "$work/lib"
	: >"$work/lib/libcairo.so.2"
	LD_LIBRARY_PATH=$work/lib refuses 1 'install the package libcairo2' \
		"$goheap" map -o "$work/x.png" id:1
}

# As it is built where libcairo2-dev is not.
without_headers()
{
	"${CC:-gcc}" -std=gnu11 -D_GNU_SOURCE -I"$top/userlib/include" -I"$top/uapi" -I"$BUILD/gen" -o "$work/plain-goheap" \
		"$top"/userlib/cli/*.c "$BUILD/obj/userlib/sizeclass.o" -lncursesw 2>"$work/err" ||
		{ note "$(<"$work/err")"; return 1; }
	refuses 1 'install the package libcairo2-dev' "$work/plain-goheap" map -o "$work/x.png" id:1 &&
	try "$work/plain-goheap" map id:1 && [ "$status" = 0 ]
}

unwritable()
{
	refuses 1 "$work/none/x.png: No such file" "$goheap" map -o "$work/none/x.png" id:1 &&
	refuses 1 "$work/none/x.svg: No such file" "$goheap" map -o "$work/none/x.svg" id:1
}

of_nothing()
{
	echo "2 0xc000000000 100 inuse 7 0" >"$arenas"
	try "$goheap" map id:1
	prints ': 0B of the arena used, from 0xc000000000$' && [ "$(wc -l <"$work/out")" = 1 ] || return 1
	try "$goheap" map -o "$work/none.png" id:1
	[ "$status" = 0 ] && [ -s "$work/none.png" ]
}

# A gigabyte of spans of a page each.
many()
{
	awk 'BEGIN { for (i = 0; i < 131072; i++)
		printf "1 0xc0%08x 1 %s 7 1\n", i * 8192, i % 3 ? "inuse" : "idle" }' >"$arenas"
	try timeout 20 "$goheap" map id:1
	[ "$status" = 0 ] && prints '^   (▓|=)  in use +683M +87381 spans$' || return 1
	try timeout 20 "$goheap" map -o "$work/many.png" id:1
	[ "$status" = 0 ] && [ -s "$work/many.png" ]
}

plan 17
new_map
check 'a picture of blocks' draws ▓ ▒ ░ C.UTF-8
check 'where there are no blocks, of letters' draws = - . C
check 'sums below it' sums
check 'as wide as the terminal' fits
check 'colour on a terminal only, and not with NO_COLOR' coloured
check 'JSON' json
check 'PNG: the right colours at the right places' png
check 'SVG' svg
check 'another kind of picture' refuses 2 'pictures are .png or .svg' "$goheap" map -o "$work/x.gif" id:1
check 'a picture that cannot be written' unwritable
check 'no libcairo' without_libcairo
check 'built without libcairo2-dev' without_headers
check 'a heap that has used nothing' of_nothing
check 'a gigabyte of small spans' many
echo '1 0xc000000000 16 inuse 7' >"$arenas"
check 'a table that is none' refuses 1 'arenas:1: this is no span' "$goheap" map id:1
printf '1 0xc000004000 2 %s 7 0\n' inuse idle >"$arenas"
check 'a table with a span twice' refuses 1 'arenas:2: this span begins inside the one before' "$goheap" map id:1
rm "$arenas"
check 'no table' refuses 1 'a recorded /sys has no map without that file' "$goheap" map id:1
finish
