#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# `make torture`: torture_test for MINUTES on a debug kernel, with a module that
# counts which of its lines were run, then how many of them were.
#
# In the VM it calls itself, with the word `guest`: the module is unloaded and
# loaded too, and what it counted is handed out through debugfs.
set -u

here=$(dirname "$(realpath "$0")")
top=$(realpath "$here/../..")
export BUILD=${BUILD:-$top/build}
seconds=$((${MINUTES:-10} * 60))

guest()
{
	local status counts=/sys/kernel/debug/gcov

	"$BUILD/selftests/stress/torture_test" -t "$seconds"
	status=$?
	rmmod goheap && insmod "$GOHEAP_KO" && rmmod goheap && insmod "$GOHEAP_KO" || status=1
	rm -rf "$VM_OUT/gcov"
	mkdir "$VM_OUT/gcov"
	(cd $counts && find . -name '*.gcda') | while read -r f; do
		mkdir -p "$VM_OUT/gcov/$(dirname "$f")"
		cat "$counts/$f" >"$VM_OUT/gcov/$f"
	done
	return $status
}

# The counts, $1, beside what the compiler left, $2: lines that gcov counts as
# code, and those of them that were run.  What was not goes to a file.
summary()
{
	local f base

	(cd "$1" && find . -name '*.gcda') | while read -r f; do
		cp "$1/$f" "/$f"
	done
	(cd "$2" && for f in module/*.gcda module/core/*.gcda; do
		base=${f%.gcda}
		gcov -t -o "$(dirname "$f")" "$base.gcda" 2>/dev/null |
			awk -F: -v want="$base.c" '
			$3 == "Source" { file = $4 }
			index(file, want) && $2 + 0 > 0 {
				count = $1
				line = $2 + 0
				sub(/^ +/, "", count)
				sub(/^[^:]*:[^:]*:/, "")
				print want ":" line ":" count ":" $0
			}'
	done) >"$BUILD/vm-out/gcov/lines"
	awk -F: '
	$3 == "-" { next }
	{ lines[$1]++; all++ }
	$3 !~ /[#=]/ { run[$1]++; allrun++ }
	END {
		for (f in lines)
			printf "%6.2f %% of %4d lines  %s\n", 100 * run[f] / lines[f], lines[f], f
		for (f in lines)
			if (f !~ /core/) {
				glue += lines[f]
				gluerun += run[f]
			}
		printf "%6.2f %% of %4d lines  module/*.c\n", 100 * gluerun / glue, glue
		printf "%6.2f %% of %4d lines  module/*.c and module/core/*.c\n", 100 * allrun / all, all
	}' "$BUILD/vm-out/gcov/lines" | sort -k 6
	echo "Lines that were not run: $BUILD/vm-out/gcov/missed"
	grep -E '^[^:]*:[0-9]+:[#=]' "$BUILD/vm-out/gcov/lines" >"$BUILD/vm-out/gcov/missed"
}

if [ "${1:-}" = guest ]; then
	guest
	exit
fi

export MODULE_FLAGS='GCOV_PROFILE=y' VM_KERNEL=kasan VM_TIMEOUT=$((seconds + 900))
export VM_CMD="MINUTES=${MINUTES:-10} $here/torture.sh guest"
"$top/selftests/vm/run"
status=$?
objects=$BUILD/debug/$(basename "$("$top/selftests/debug/kernel" kasan)")-GCOV_PROFILE_y
[ ! -d "$BUILD/vm-out/gcov" ] || summary "$BUILD/vm-out/gcov" "$objects"
exit $status
