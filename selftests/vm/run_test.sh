#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# The runner, on programs that behave in every way that a test program can: a
# skip is never a pass, and nothing that went wrong goes uncounted.
here=$(dirname "$(realpath "$0")")
# shellcheck source-path=SCRIPTDIR source=../run_tap.sh
. "$here/../run_tap.sh"

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/selftests/fake" "$tree/build"
cp "$here/../run.sh" "$tree/selftests"
echo 'TEST_SCRIPTS := a_test.sh' >"$tree/selftests/fake/Makefile"
echo timeout=2 >"$tree/selftests/fake/settings"
unset VM_OUT GOHEAPDEBUG

# $1: name of the case, $2: what the program does, $3: the lines expected.
case_of()
{
	local got

	printf '#!/bin/bash\n%s\n' "$2" >"$tree/selftests/fake/a_test.sh"
	chmod +x "$tree/selftests/fake/a_test.sh"
	got=$(BUILD=$tree/build "$tree/selftests/run.sh" "${4:-fake}" | grep -v '^#')
	if [ "$got" = "$3" ]; then
		pass "$1"
	else
		flunk "$1"
		note "got: $got"
	fi
}

plan 18
case_of passes 'echo 1..2; echo ok 1 one; echo ok 2 - two' \
	'ok fake/a_test: one
ok fake/a_test: two'
case_of fails 'echo 1..2; echo ok 1 one; echo not ok 2 two; exit 1' \
	'ok fake/a_test: one
not ok fake/a_test: two'
case_of fails_silently 'echo 1..1; echo not ok 1 one; exit 0' 'not ok fake/a_test: one'
case_of skips 'echo 1..2; echo ok 1 one; echo ok 2 "# SKIP no device"' \
	'ok fake/a_test: one
ok fake/a_test: # SKIP no device'
case_of skips_all 'echo "1..0 # SKIP no device"; exit 4' 'ok fake/a_test: all # SKIP no device'
case_of skip_status_without_skip 'echo 1..1; echo ok 1 one; exit 4' \
	'ok fake/a_test: one
not ok fake/a_test: exit status 4'
case_of no_plan 'echo ok 1 one' 'ok fake/a_test: one
not ok fake/a_test: no plan'
case_of nothing 'exit 0' 'not ok fake/a_test: no plan'
case_of empty_plan 'echo 1..0' 'not ok fake/a_test: no case ran'
case_of too_few 'echo 1..3; echo ok 1 one' 'ok fake/a_test: one
not ok fake/a_test: planned 3, ran 1'
case_of too_many 'echo 1..1; echo ok 1 one; echo ok 2 two' 'ok fake/a_test: one
ok fake/a_test: two
not ok fake/a_test: planned 1, ran 2'
case_of bad_status 'echo 1..1; echo ok 1 one; exit 9' 'ok fake/a_test: one
not ok fake/a_test: exit status 9'
case_of dies 'echo 1..1; echo ok 1 one; kill -SEGV $$' 'ok fake/a_test: one
not ok fake/a_test: died of signal 11'
case_of hangs 'echo 1..1; echo ok 1 one; sleep 30' 'ok fake/a_test: one
not ok fake/a_test: timed out after 2 s'
TEST_TIMEOUT_FACTOR=4 case_of more_time 'echo 1..1; sleep 3; echo ok 1 one' 'ok fake/a_test: one'
case_of nested 'echo 1..1; echo "# not ok 1 inner"; echo "    not ok 2 x"; echo ok 1 one; echo oknot' \
	'ok fake/a_test: one'
case_of backend 'echo 1..1; echo ok 1 "$GOHEAPDEBUG"' 'ok fake@device/a_test: backend=device' fake@device
case_of no_such_group 'exit 0' 'not ok other: no such tests' other
finish
