#!/bin/bash
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# Side by side: libgoheap and the allocators that Debian has, each preloaded into the
# same programs, in turns, so that what else the machine does meets all of them: `make
# bench`.  A row is one program, RUNS times under each; its numbers are medians.
#
#	run.sh [WORD...]	all groups; or those groups and rows that are named, and
#				rows whose names begin with WORD-, such as lifo
#
#   micro	ns for malloc(), free() and their like: see micro.c
#   stress	patterns of threads: larson.c, handoff.c, storm.c, batches.c, churn.c
#   programs	Debian's programs: see programs.sh
#   idle	what is resident when a program has freed everything, and slept: see idle.sh
#   startup	of programs that do nothing, and how many system calls a library adds
#		to theirs, beyond those for a library with nothing in it
#
# RUNS=5, IDLE=10 and WORK=100, a percentage of the usual work, are variables of the
# environment.  The tables go to stdout, and into OUT=$BUILD/bench as text, TSV and
# Markdown, with a plot as SVG and PNG, and the samples.  Fails if a program did, or
# printed something else than under another allocator.
#
# Not a test: it says how fast, not whether that is enough.  A processor that is
# busy with other work makes the numbers for several threads meaningless.
set -eu

here=$(dirname "$(realpath "$0")")
BUILD=$(realpath "${BUILD:-$here/../../build}")
RUNS=${RUNS:-5} WORK=${WORK:-100} IDLE=${IDLE:-10}
progs=$BUILD/selftests/bench
ours=$BUILD/libgoheap.so
out=${OUT:-$BUILD/bench}
# Debian's programs, whatever else there is of the same name.
PATH=/usr/bin:/bin:/usr/sbin:/sbin
export LC_ALL=C

# shellcheck source-path=SCRIPTDIR source=programs.sh
. "$here/programs.sh"
# shellcheck source-path=SCRIPTDIR source=idle.sh
. "$here/idle.sh"
# shellcheck source-path=SCRIPTDIR source=report.sh
. "$here/report.sh"

groups=(micro stress programs idle startup)
patterns=(larson producer xmalloc storm sh6 sh8 churn)
idle_rows=(empty quiet light "${patterns[@]}" redis)
idle_rows+=("${idle_rows[@]/%/-opt}")
startup_rows=(start-true start-sh start-python3)

usage()
{
	echo "bench: $*" >&2
	exit 2
}

left_out()
{
	echo "$*" >>"$work/left_out"
	echo "bench: left out: $*" >&2
}

# ---- what there is, and what of it was chosen --------------------------------------

rows_of()
{
	case $1 in
	micro) "$progs/micro" ;;
	stress) printf '%s\n' "${patterns[@]}" ;;
	programs) printf '%s\n' "${programs[@]%%=*}" ;;
	idle) printf '%s\n' "${idle_rows[@]}" ;;
	startup) printf '%s\n' "${startup_rows[@]}" ;;
	esac
}

# Whether row $2 of group $1 is meant by word $3.
meant()
{
	[ "$3" = "$1" ] || [ "$3" = "$2" ] || [ "${2#"$3"-}" != "$2" ]
}

# GROUP ROW of all that the words mean, in order.
choose()
{
	local group row word

	for group in "${groups[@]}"; do
		for row in $(rows_of "$group"); do
			for word in "$@"; do
				if meant "$group" "$row" "$word"; then
					echo "$group $row"
					break
				fi
			done
		done
	done
}

check_words()
{
	local word

	for word in "$@"; do
		[ -n "$(choose "$word")" ] ||
			usage "no group or row is called $word; groups: ${groups[*]}; rows: $(
				for g in "${groups[@]}"; do rows_of "$g"; done | sed 's/-.*//' |
					sort -u | xargs)"
	done
}

check_number()
{
	case $2 in
	'' | *[!0-9]* | 0[0-9]*) usage "$1=$2 is no number" ;;
	esac
	[ "$2" -ge "$3" ] || usage "$1=$2 is less than $3"
}

# The dynamic linker goes on without a library that it cannot preload.
loads()
{
	! LD_PRELOAD=$1 env true 2>&1 | grep -q 'cannot be preloaded'
}

# NAME=LIBRARY of each.  For glibc it is the C library itself, which is loaded anyway,
# but comes first then: Debian's Redis is linked with jemalloc.
find_allocators()
{
	local peer lib

	allocators=()
	for peer in glibc=libc.so.6 jemalloc=libjemalloc.so.2 tcmalloc=libtcmalloc_minimal.so.4 \
		    mimalloc=libmimalloc.so.2; do
		lib=$(ldconfig -p | awk -v name="${peer#*=}" '$1 == name { print $NF; exit }')
		if [ -n "$lib" ] && loads "$lib"; then
			allocators+=("${peer%%=*}=$lib")
		else
			left_out "${peer%%=*}: ${peer#*=} is not there (make deps)"
		fi
	done
	loads "$ours" || usage "$ours cannot be preloaded: make bench"
	allocators+=("goheap=$ours")
}

# CPU number $1 of those that we may use, from 0, and again from the first one.
nth_cpu()
{
	taskset -cp $$ | awk -v nth="$1" '{
		n = split($NF, part, ",")
		for (i = 1; i <= n; i++) {
			split(part[i] "-" part[i], end, "-")
			for (c = end[1]; c <= end[2]; c++)
				cpu[nr++] = c
		}
		print cpu[nth % nr]
	}'
}

# How long it will take, if a run takes as long as it is meant to.
minutes()
{
	awk -v runs="$RUNS" -v work="$WORK" -v idle="$IDLE" -v nr="${#allocators[@]}" '
	BEGIN { s["micro"] = 0.16; s["stress"] = 0.85; s["programs"] = 1.1; s["startup"] = 0.1 }
	$1 != "idle" { t += s[$1] * work / 100 * runs * nr }
	$1 == "idle" { t += 0.6 * work / 100 * nr * (runs < 3 ? runs : 3) }
	$1 == "idle" { pause = idle }
	END { printf "%.0f", (t + pause) / 60 + 0.5 }' "$work/chosen"
}

# ---- measuring ---------------------------------------------------------------------

# $1: metric, $2: allocator, $3: value; of the row at hand.
sample()
{
	printf '%s\t%s\t%s\t%s\t%s\n' "$group" "$row" "$1" "$2" "$3" >>"$out/samples.tsv"
}

failed()
{
	echo "$group $row under $*" >>"$work/failed"
	echo "bench: failed: $group $row under $*" >&2
}

# A line of interleave's.
take_run()
{
	local name=$1 run=$2 wall=$3 cpu=$4 peak=$5 status=$6 first=$work/out.${allocators[0]%%=*}.1
	local output=$work/out.$1.$2 metric value

	if [ "$status" != 0 ]; then
		failed "$name: run $run ended with status $status"
		return
	fi
	if [ "$group" = programs ] && ! cmp -s "$output" "$first"; then
		failed "$name: run $run printed something else"
		return
	fi
	if [ "$group" != micro ]; then
		sample wall_us "$name" "$wall"
		sample cpu_us "$name" "$cpu"
		sample peak_kib "$name" "$peak"
	fi
	if [ "$group" = micro ] || [ "$group" = stress ]; then
		while read -r metric value; do
			sample "$metric" "$name" "$value"
		done <"$output"
	fi
}

# [-b COMMAND] PROGRAM [ARG...]: the row at hand, by that; see interleave.c.
measure()
{
	local options=(-n "$row_runs" -o "$work/out")

	if [ "$1" = -b ]; then
		options+=(-b "$2")
		shift 2
	fi
	"$progs/interleave" "${options[@]}" "${allocators[@]}" -- "$@" >"$work/runs" ||
		failed "all: interleave ended with status $?"
	while read -r line; do
		# shellcheck disable=SC2086
		take_run $line
	done <"$work/runs"
	rm -f "$work"/out.*
}

# The command of pattern $1.
pattern()
{
	case $1 in
	producer | xmalloc) command=("$progs/handoff" -s "$WORK") args=("$1") ;;
	sh6 | sh8) command=("$progs/batches" -s "$WORK") args=("$1") ;;
	empty | quiet | light) command=("$progs/freeall" -s "$WORK") args=("$1") ;;
	*) command=("$progs/$1" -s "$WORK") args=() ;;
	esac
}

group_micro()
{
	measure "$progs/micro" -s "$WORK" "$row"
}

group_stress()
{
	pattern "$row"
	measure "${command[@]}" "${args[@]}"
}

group_programs()
{
	local name command package

	for p in "${programs[@]}"; do
		IFS='=' read -r name command package <<<"$p"
		[ "$name" = "$row" ] || continue
		if command -v "$command" >/dev/null; then
			"program_$row"
		else
			left_out "$row: no $command (package $package)"
		fi
	done
}

# ---- startup ---------------------------------------------------------------------------

# How many system calls the command makes, with library $1 preloaded.
calls()
{
	local lib=$1
	shift

	strace -f -c -o "$work/strace" -E "LD_PRELOAD=$lib" "$@" >/dev/null 2>&1 || return
	awk '$NF == "total" { print $4 }' "$work/strace"
}

count_calls()
{
	local a base with

	if ! base=$(calls "$progs/nothing.so" "$@") || [ -z "$base" ]; then
		left_out "$row, system calls: no strace that works (package strace)"
		return
	fi
	for a in "${allocators[@]}"; do
		[ "${a%%=*}" != glibc ] || continue
		if with=$(calls "${a#*=}" "$@"); then
			sample added_calls "${a%%=*}" $((with - base))
		else
			failed "${a%%=*}: strace failed"
		fi
	done
}

group_startup()
{
	local row_runs=$(((RUNS * 20 * WORK + 99) / 100)) command

	case $row in
	start-true) command=(true) ;;
	start-sh) command=(sh -c true) ;;
	start-python3) command=(python3 -I -c pass) ;;
	esac
	measure "${command[@]}"
	count_calls "${command[@]}"
}

# ---- all of it -------------------------------------------------------------------------

if ! [ -e "$ours" ] || ! [ -x "$progs/micro" ]; then
	usage 'not built: make bench'
fi
check_number RUNS "$RUNS" 1
check_number WORK "$WORK" 1
check_number IDLE "$IDLE" 0
[ $# -gt 0 ] || set -- "${groups[@]}"
check_words "$@"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
rm -f "$out"/table.{txt,tsv,md} "$out"/plot.{svg,png} "$out/samples.tsv"
: >"$work/failed"
: >"$work/left_out"
find_allocators
choose "$@" >"$work/chosen"
header >"$work/header"
echo "bench: $(wc -l <"$work/chosen") rows, $RUNS runs under each of ${#allocators[@]} allocators: about $(minutes) min" >&2

row_runs=$RUNS begun=''
while read -r group row; do
	[ "$group" = "$begun" ] || echo "bench: $group" >&2
	begun=$group
	"group_$group" </dev/null
done <"$work/chosen"
collect_idle
report
echo "bench: text, TSV, Markdown, samples and plots are in $out" >&2
! [ -s "$work/failed" ]
