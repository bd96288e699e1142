#!/bin/bash
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# Each release and acquire of the library is needed: without it ThreadSanitizer finds a
# race in one of the scenarios of front_order_prog, and with all of them it finds none.
# Some have a model instead, in front_order_models.py; which, is said here.
here=$(dirname "$(realpath "$0")")
# shellcheck source-path=SCRIPTDIR source=../run_tap.sh
. "$here/../run_tap.sh"

bin=${BUILD:-$here/../../build}/selftests/lib
list=$bin/order/list
scenarios='begin heaps owned few sampled shared watched kept lock_free lock_spins lock_sleeps
	records given_up extended profile stack stacks leaf'

# FILE: PART OF THE LINE = model and ordering in it.
models=(
	'heaps.c: return __atomic_load_n(&heaps[i]=replaced heap_at'
	'heaps.c: __atomic_store_n(&heaps[i]=replaced adopt'
	'heaps.c: return __atomic_load_n(&h->ops=disowned is_inherited'
	'heaps.c: __atomic_store_n(&h->ops=disowned disown'
	'heaps.c: __atomic_store_n(fork_word=disowned setup'
	'heaps.c: if (ghu_unlikely(!__atomic_load_n(fork_word=disowned pressure'
	'guarded.c: __atomic_store_n(&region=region make'
	'guarded.c: uintptr_t r = __atomic_load_n(&region=region slot_at'
	'profile.c: __atomic_store_n(&ghu_states(s)[index], GHU_OBJ_SAMPLED=sampled mark'
	'profile.c: __atomic_store_n(n,=counts count'
	'profile_write.c: uint64_t frees=counts frees'
)
# The sanitizer knows no fences, and gets loads that acquire instead, which are tried.
fence='mspan.h: __atomic_thread_fence('

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

# $*: an ordering's line; its model and the ordering in it, in $model.
has_model()
{
	local m

	for m in "${models[@]}"; do
		model=${m##*=}
		[[ $* == *"${m%=*}"* ]] && return
	done
	return 1
}

# The model holds, and without the ordering it does not.
is_needed()
{
	grep -qx "$1 all ok" "$modelled" && grep -qx "$1 $2 ok" "$modelled"
}

# All lines that models are named for are there.
models_fit()
{
	local m status=0

	for m in "${models[@]}" "$fence="; do
		grep -qF -- "${m%=*}" "$list" || { note "${m%=*} is not in $list"; status=1; }
	done
	return $status
}

[ -x "$bin/front_order_prog" ] || skip_all 'needs clang'
[ ! -e /dev/goheap ] || skip_all 'tried where there is no device'
out=$(mktemp) modelled=$(mktemp)
trap 'rm -f "$out" "$modelled"' EXIT
python3 "$here/front_order_models.py" >"$modelled"
plan $(($(wc -l <"$list") + 2))
check 'nothing is missing' clean
check 'models are of what there is' models_fit
while read -r nr line; do
	if [[ $line == *"$fence"* ]]; then
		skip "$line" 'the sanitizer knows no fences: see the loads beside it'
	elif has_model "$line"; then
		# shellcheck disable=SC2086	# two words
		check "$line" is_needed $model
	else
		check "$line" is_missed "$nr"
	fi
done <"$list"
finish
