#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# Runs the test programs of groups of selftests, here and now, and prints one
# line for each case:
#
#	ok GROUP/PROGRAM: CASE
#	ok GROUP/PROGRAM: CASE # SKIP WHY
#	not ok GROUP/PROGRAM: CASE
#
#   run.sh GROUP[@BACKEND][/PROGRAM]...
#
# A program prints TAP.  Its word is not enough: one that dies, runs too long,
# prints no plan or other than what it planned, or ends with a failing exit
# status that none of its cases explains, adds a case that failed.  BACKEND is
# forced on the library with GOHEAPDEBUG.  A group's file `settings` may hold
# timeout=SECONDS (300) for each of its programs; TEST_TIMEOUT_FACTOR multiplies
# it where the machine is slow.  Programs run in the tree's top folder; their
# output is kept in $BUILD/selftests/log, in a VM in $VM_OUT/log.
set -u

here=$(dirname "$(realpath "$0")")
top=$(dirname "$here")
export BUILD=${BUILD:-$top/build}
export TOP=$top
logs=${VM_OUT:-$BUILD/selftests}/log

# The test programs of group $1, as its Makefile lists them: those that it
# builds (TEST_PROGS) and those that need no building (TEST_SCRIPTS).
programs()
{
	# shellcheck disable=SC2016	# for make to expand
	make -s --no-print-directory -C "$here/$1" O="$BUILD/selftests/$1" --eval 'list-tests:; @printf "%s\n" \
		$(addprefix $(O)/,$(TEST_PROGS) $(TEST_TSAN_PROGS)) $(addprefix $(CURDIR)/,$(TEST_SCRIPTS))' \
		list-tests
}

# TAP of program $1, which ended with status $2 after at most $3 s, to our lines.
judge()
{
	awk -v name="$1" -v status="$2" -v limit="$3" '
	function lost(why) { print "not ok " name ": " why; bad++ }
	/^1\.\.[0-9]+/ && !planned {
		planned = 1
		plan = substr($1, 4) + 0
		if (plan == 0 && /# SKIP/) {
			sub(/^1\.\.0 /, "")
			print "ok " name ": all " $0
			skips++
		}
	}
	/^Bail out!/ { lost($0) }
	/^(not )?ok( |$)/ {
		ran++
		ok = $1 == "ok"
		sub(/^(not )?ok *[0-9]* *(- )?/, "")
		if (!ok)
			lost($0)
		else
			print "ok " name ": " $0
		skips += ok && /# SKIP/
	}
	END {
		if (status == 124 || status == 137)
			lost("timed out after " limit " s")
		else if (status > 128)
			lost("died of signal " status - 128)
		if (!planned)
			lost("no plan")
		else if (ran != plan)
			lost("planned " plan ", ran " ran + 0)
		else if (!ran && !skips)
			lost("no case ran")
		# 4 is how a program says that it skipped everything.
		if (status && !bad && !(status == 4 && skips && skips >= ran))
			lost("exit status " status)
		exit bad > 0
	}'
}

# $1: label, $2: program, $3: time limit in s.
run_program()
{
	local name log status begin=$SECONDS

	name=$1/$(basename "$2" .sh)
	log=$logs/${name//\//.}
	# In braces, for the shell's own word about a program that died.
	{ timeout -k 5 "$3" "$2" </dev/null >"$log.out" 2>"$log.err"; } 2>/dev/null
	status=$?
	judge "$name" "$status" "$3" <"$log.out"
	status=$?
	[ $((SECONDS - begin)) -lt 10 ] || echo "# $name: $((SECONDS - begin)) s"
	[ "$status" = 0 ] || tail -n 60 "$log.out" "$log.err" | sed 's/^/# /'
}

# $1: GROUP[@BACKEND][/PROGRAM]
run_group()
{
	local label=${1%%/*} only='' group limit list p

	group=${label%@*}
	[ "$label" = "$1" ] || only=${1#*/}
	unset GOHEAPDEBUG
	[ "$label" = "$group" ] || export GOHEAPDEBUG=backend=${label#*@}
	limit=$(sed -n 's/^timeout=//p' "$here/$group/settings" 2>/dev/null)
	list=$(programs "$group" 2>/dev/null | grep "/${only:-[^/]*}\(\.sh\)\?\$")
	[ -n "$list" ] || echo "not ok $1: no such tests"
	for p in $list; do
		run_program "$label" "$p" $((${limit:-300} * ${TEST_TIMEOUT_FACTOR:-1}))
	done
}

mkdir -p "$logs"
cd "$top" || exit 1
for g in "$@"; do
	run_group "$g"
done
echo '# end of run'
