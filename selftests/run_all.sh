#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# All tests: `make check`, `make check-native`, `make check-vm`, `make check-debug`,
# and for .ci/run a part of the last.
#
#   run_all.sh native|vm|debug|debug-part|newcomer...
#
# Says which groups run where, boots a VM for each set of conditions, counts the
# lines that run.sh prints here and there, and ends with the totals.  A VM that
# does not carry its run to the end, or whose kernel complained, is a failure of
# its own.  Two VMs run at a time: an emulated CPU is slow, and most tests keep
# only one busy.  Their lines mix, but each says where it is from.
# shellcheck disable=SC2317	# functions are called as run_$where
set -u

here=$(dirname "$(realpath "$0")")
top=$(dirname "$here")
export BUILD=${BUILD:-$top/build}
record=$BUILD/selftests/record

# Prints "N passed, N failed, N skipped" for the lines of run.sh in file $1;
# fails if one failed or none passed.
totals()
{
	awk '
	/^not ok / { failed++; next }
	/^ok .*# SKIP/ { skipped++; next }
	/^ok / { passed++ }
	END {
		printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
		exit failed > 0 || passed == 0
	}' "$1"
}

# $1: name of the boot, then GROUPs; conditions are in the VM_ variables.
boot()
{
	local name=$1 lines=$BUILD/selftests/boot.$1 status
	shift

	VM_KLOG=$BUILD/selftests/log/klog.$name \
		VM_CMD="TEST_TIMEOUT_FACTOR=${TEST_TIMEOUT_FACTOR:-1} selftests/run.sh $*" \
		"$here/vm/run" 2>&1 | tee "$lines"
	status=${PIPESTATUS[0]}
	[ "$status" = 0 ] || echo "not ok vm/$name: ended with status $status"
}

# $*: names of boots that must have come to their end.  Looked at from outside,
# for what runs a boot may die too.
ended()
{
	local name

	for name in "$@"; do
		grep -qsx '# end of run' "$BUILD/selftests/boot.$name" ||
			echo "not ok vm/$name: cut short"
	done
}

run_native()
{
	"$here/run.sh" vm/klog_test vm/run_test bench/bench_test \
		cli/show_test cli/command_test cli/run_test cli/top_test cli/map_test cli/doctor_test \
		syzkaller core lib@embedded programs@embedded
	"$here/run.sh" install/make_test examples/link_test examples/service_test examples/profile_test
}

run_vm()
{
	rm -f "$BUILD"/selftests/boot.*
	"$here/run.sh" vm/vm_test install/deb_test
	VM_TIMEOUT=1800 boot device dev programs@device stress fault &
	VM_TIMEOUT=2400 boot library lib@device pressure/memcg_test pressure/nested_test \
		install/module_test examples/stats_test examples/container_test examples/systemd_test \
		cli/vm_test cli/vm_map_test cli/vm_trace_test cli/vm_probes_test cli/vm_doctor_test \
		cli/vm_readme_test demo/demo_test
	VM_TIMEOUT=600 VM_MEM=1G VM_APPEND=cgroup_disable=memory \
		boot small pressure/global_test
	wait
	ended device library small
}

# The screens it ends with are what one would like to see.
run_newcomer()
{
	"$here/run.sh" install/newcomer_test
	sed 's/^\(not \)\?ok/# &/' "$BUILD/selftests/log/install.newcomer_test.out"
}

# On the debug kernel, which is several times slower: it fails a run by what its
# checkers say, too.  Whether they find at all is what planted_test shows.
# $*: functions that boot it, to run beside each other.
on_debug_kernel()
{
	local -x VM_KERNEL=kasan VM_TIMEOUT=2400 TEST_TIMEOUT_FACTOR=4
	local f

	rm -f "$BUILD"/selftests/boot.debug*
	if ! "$here/debug/kernel" kasan >/dev/null; then
		echo 'not ok debug: no debug kernel'
		return
	fi
	for f in "$@"; do
		"$f" &
	done
	wait
}

debug_device()
{
	boot debug-device dev fault
	"$here/run.sh" debug
}

# Of lib what asks the kernel for something that the rest does not: the backend, fork,
# threads, and a heap that grows and shrinks.  The rest is thousands of processes that
# die of a wrong free(), each of which takes 70 ms here, and a program started again and
# again with another environment (back_env_test); on Debian's kernel all of it runs.
debug_library()
{
	boot debug-stress stress
	boot debug-library 'lib@device/back_[^e].*' lib@device/front_model_test \
		lib@device/front_threads_test lib@device/front_sweep_test \
		pressure/memcg_test pressure/nested_test
}

debug_quick()
{
	boot debug-quick dev/spans_test dev/fork_test dev/limit_test stress/torture_test
}

run_debug()
{
	on_debug_kernel debug_device debug_library
	ended debug-device debug-stress debug-library
}

run_debug-part()
{
	on_debug_kernel debug_quick
	ended debug-quick
}

# What failed, once more, and the first that its program said of it: who sees only the end of a
# long output sees it too.  $1: the lines of run.sh
failures()
{
	awk '
	/^not ok / { print "# " $0; left = 3 }
	/^# # / && left-- > 0
	' "$1"
}

cd "$top" || exit 1
mkdir -p "$BUILD/selftests/log"
{
	for where in "$@"; do
		"run_$where"
	done
	echo '# end of tests'
} | tee "$record"
grep -qx '# end of tests' "$record" || echo 'not ok run_all: cut short' | tee -a "$record"
failures "$record"
totals "$record" >"$BUILD/selftests/totals"
status=$?
cat "$BUILD/selftests/totals"
exit $status
