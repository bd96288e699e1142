#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# KUnit's tests of the page heap, selftests/kunit, on the debug kernel: a module
# that has them is loaded, which runs them, and their results are fetched from
# debugfs.  What the kernel's checkers say, leaks among it, fails a case too.
here=$(dirname "$(realpath "$0")")
# shellcheck source-path=SCRIPTDIR source=../run_tap.sh
. "$here/../run_tap.sh"
export BUILD=${BUILD:-$(realpath "$here/../..")/build}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export VM_KERNEL=kasan VM_MEM=1G VM_TIMEOUT=${VM_TIMEOUT:-900} MODULE_FLAGS=GOHEAP_KUNIT=1
VM_CMD='cat /sys/kernel/debug/kunit/goheap_core/results; rmmod goheap' \
	"$here/../vm/run" >"$work/out" 2>"$work/err"
status=$?

# The suite's cases are a level down: "    ok 1 name".
sed -n 's/^    \(1\.\..*\|# .*\|ok .*\|not ok .*\)/\1/p' "$work/out" >"$work/cases"
cases=$(sed -n 's/^1\.\.//p' "$work/cases")
plan $((${cases:-0} + 1))
while IFS= read -r line; do
	name=${line#*ok * }
	case $line in
	'not ok '*) flunk "$name" ;;
	'ok '*) pass "$name" ;;
	'#'*) echo "$line" ;;
	esac
done <"$work/cases"
# A case that has much to complain of fills KUnit's log of it, and its last line is lost.
for n in $(seq "${cases:-0}"); do
	grep -qE "^(not )?ok $n( |\$)" "$work/cases" || flunk "case $n, which had no room to say so"
done
if [ "$status" = 0 ] && [ "${cases:-0}" -gt 0 ]; then
	pass 'nothing is wrong after all of them'
else
	flunk 'nothing is wrong after all of them'
	tail -n 30 "$work/err" | sed 's/^/# /'
fi
finish
