#!/bin/sh
# SPDX-License-Identifier: GPL-2.0 OR MIT
# The core stands on its port alone: it includes only its own headers, in quotes, and
# <gh_port.h>; and compiled for user space it leaves nothing undefined but what the port
# is made of.
set -u
here=$(cd "$(dirname "$0")" && pwd)
core=$here/../../module/core
port=$here/../../userlib/port
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
nr=0
failed=0

# result STATUS NAME
result()
{
	nr=$((nr + 1))
	if [ "$1" = 0 ]; then
		echo "ok $nr $2"
	else
		echo "not ok $nr $2"
		failed=1
	fi
}

# Lines with an include that is neither <gh_port.h> nor a header of the core.
strays()
{
	grep -n '^[[:space:]]*#[[:space:]]*include' "$@" |
	while IFS= read -r line; do
		name=$(printf '%s\n' "$line" | sed -n 's/.*include[[:space:]]*"\([^"/]*\)".*/\1/p')
		case $line in *'<gh_port.h>'*) continue;; esac
		[ -n "$name" ] && [ -f "$core/$name" ] && continue
		printf '%s\n' "$line"
	done
}

# Symbols that the core needs and neither has nor may have.
undefined()
{
	nm -u "$1" | awk '{ print $2 }' |
		grep -vxE 'gh_meta_(alloc|free)|pthread_(mutex_(lock|unlock|trylock)|self)|mem(set|cpy|move)|_GLOBAL_OFFSET_TABLE_'
}

compile()
{
	for f in "$core"/*.c; do
		${CC:-gcc} -O2 -std=gnu11 -ffreestanding -fno-stack-protector -I"$port" -c "$f" \
			-o "$tmp/$(basename "$f" .c).o" || return 1
	done
	${LD:-ld} -r -o "$tmp/core.o" "$tmp"/*.o
}

echo "TAP version 13"
echo "1..4"

out=$(strays "$core"/*.[ch])
[ -z "$out" ]
result $? "core includes its own headers and <gh_port.h> only"
[ -z "$out" ] || printf '%s\n' "$out" | sed 's/^/# /'

printf '#include <linux/mm.h>\n#include "../heap.h"\n#include <gh_port.h>\n#include "mheap.h"\n' >"$tmp/stray.c"
[ "$(strays "$tmp/stray.c" | wc -l)" = 2 ]
result $? "a stray include would be seen"

compile
out=$(undefined "$tmp/core.o")
[ -s "$tmp/core.o" ] && [ -z "$out" ]
result $? "core needs nothing but the port"
[ -z "$out" ] || printf '%s\n' "$out" | sed 's/^/# /'

printf 'int printf(const char *, ...); void f(void) { printf("%%d", 1); }\n' >"$tmp/stray.c"
${CC:-gcc} -c "$tmp/stray.c" -o "$tmp/stray.o"
[ "$(undefined "$tmp/stray.o")" = printf ]
result $? "a stray symbol would be seen"

exit $failed
