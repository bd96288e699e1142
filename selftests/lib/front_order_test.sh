#!/bin/bash
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# Each release and acquire of the library is needed: without it ThreadSanitizer finds a
# race in one of the scenarios of front_order_prog, and with all of them it finds none.
# Those for which there is no scenario are listed here, with the reason why.
here=$(dirname "$(realpath "$0")")
# shellcheck source-path=SCRIPTDIR source=../run_tap.sh
. "$here/../run_tap.sh"

bin=${BUILD:-$here/../../build}/selftests/lib
list=$bin/order/list
scenarios='begin heaps owned few sampled shared watched kept lock_free lock_spins lock_sleeps
	records profile stack stacks'

# FILE: PART OF THE LINE = why there is no scenario.
excused=(
	'mspan.h: __atomic_thread_fence=the sanitizer knows no fences; what it is given instead is tried'
	'backend_device.c:=needs the device'
	'device_ahead.c:=needs the device'
	'heaps.c: return __atomic_load_n(&heaps[i]=a heap is replaced only where there was the device'
	'heaps.c: __atomic_store_n(&heaps[i]=a heap is replaced only where there was the device'
	'heaps.c: return __atomic_load_n(&h->ops=only in a child whose parent had the device'
	'heaps.c: __atomic_store_n(&h->ops=only in a child whose parent had the device'
	'fork_word=only in a child whose parent had the device'
	'(&region=read when a fault is looked at'
	'profile.h: return __atomic_load_n(&ghu_profile_sys=order of two numbers, no data'
	'GHU_OBJ_SAMPLED=order of two numbers, no data'
	'profile.c: __atomic_store_n(n,=order of two numbers, no data'
	'profile_write.c: uint64_t frees=order of two numbers, no data'
)

# $1: the number of the ordering that is missing, or 0; $2: scenario.
run()
{
	GOHEAP_ORDER=$1 GOHEAPDEBUG='' TSAN_OPTIONS=halt_on_error=1:exitcode=66 \
		"$bin/front_order_prog" "$2" >"$out" 2>&1
}

clean()
{
	local s status=0

	for s in $scenarios; do
		run 0 "$s" || { note "$s: $(<"$out")"; status=1; }
	done
	return $status
}

# The race is found by one of them; anything else that goes wrong is no proof.
is_missed()
{
	local s

	for s in $scenarios; do
		run "$1" "$s"
		[ $? = 66 ] && { note "$s"; return; }
	done
	return 1
}

# $*: an ordering's line; its excuse, in $why.
has_excuse()
{
	local e

	for e in "${excused[@]}"; do
		why=${e##*=}
		[[ $* == *"${e%=*}"* ]] && return
	done
	return 1
}

# No excuse is left over.
excuses_fit()
{
	local e status=0

	for e in "${excused[@]}"; do
		grep -qF -- "${e%=*}" "$list" || { note "${e%=*} is not in $list"; status=1; }
	done
	return $status
}

[ -x "$bin/front_order_prog" ] || skip_all 'needs clang'
[ ! -e /dev/goheap ] || skip_all 'tried where there is no device'
out=$(mktemp)
trap 'rm -f "$out"' EXIT
plan $(($(wc -l <"$list") + 2))
check 'nothing is missing' clean
check 'excuses' excuses_fit
while read -r nr line; do
	if has_excuse "$line"; then
		skip "$line" "$why"
	else
		check "$line" is_missed "$nr"
	fi
done <"$list"
finish
