#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# `make bench` ends with tables that are complete: a number for each row, metric and
# allocator, or the row is named as left out; with ratios and means that follow from
# the numbers; and it tells of what failed, and of words that mean nothing.  The
# numbers themselves, from next to no work, mean nothing either.
# shellcheck disable=SC2317	# functions are called by check
here=$(dirname "$(realpath "$0")")
# shellcheck source-path=SCRIPTDIR source=../run_tap.sh
. "$here/../run_tap.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OUT=$work/bench RUNS=1 WORK=1 IDLE=0
table=$OUT/table.tsv

# Whether run.sh, with these arguments, ends with status $1 and says $2.
says()
{
	local status=$1 text=$2 got
	shift 2

	"$here/run.sh" "$@" >"$work/said" 2>&1
	got=$?
	grep -qF -- "$text" "$work/said" && [ "$got" = "$status" ] && return
	note "status $got, and said:"
	note "$(tail -n 20 "$work/said")"
	return 1
}

refuses_numbers()
{
	RUNS=0 says 2 'RUNS=0 is less than 1' lifo-8 && RUNS=x says 2 'RUNS=x is no number' lifo-8 &&
		WORK=-1 says 2 'WORK=-1 is no number' lifo-8 && IDLE=1.5 says 2 'IDLE=1.5 is no number' lifo-8
}

# Words add up: a row, and all that begin with another word.
chooses()
{
	says 0 'Micro: ns' lifo-8 realloc &&
		[ "$(awk -F '\t' 'NR > 1 { printf "%s ", $2 }' "$table")" = \
			'lifo-8 realloc-step realloc-two realloc-vector ' ]
}

# Else the numbers would be glibc's.
refuses_library()
{
	mkdir "$work/build"
	ln -s "$BUILD/selftests" "$work/build"
	local -x BUILD=$work/build
	echo 'no library' >"$BUILD/libgoheap.so"
	says 2 'libgoheap.so cannot be preloaded' lifo-8
}

# jemalloc ends a program at once if it is told to, of options that it does not know.
tells_of_failures()
{
	local -x MALLOC_CONF=abort_conf:true,no_such_option:true

	says 1 'FAILED: micro lifo-8 under jemalloc: run 1 ended with status' lifo-8 &&
		awk -F '\t' '$2 == "lifo-8" && $5 == "-" && $4 > 0 && $NF > 0' "$table" | grep -q .
}

# GROUP ROW METRIC of all that there has to be.
expected()
{
	local row

	"$BUILD/selftests/bench/micro" | sed 's/.*/micro & ns/'
	for row in larson producer xmalloc storm sh6 sh8 churn mean; do
		printf "stress $row %s\n" wall_us cpu_us peak_kib
	done
	echo stress churn growth_kib
	for row in redis sqlite3 python3 gcc lua gs z3 mean; do
		printf "programs $row %s\n" wall_us cpu_us peak_kib
	done
	printf 'all mean %s\n' wall_us cpu_us peak_kib
	for row in empty quiet light larson producer xmalloc storm sh6 sh8 churn redis; do
		printf 'idle %s rss_kib\n' "$row" "$row-opt"
	done
	for row in start-true start-sh start-python3; do
		printf "startup $row %s\n" wall_us cpu_us peak_kib added_calls
	done
}

# A row may be missing if it is named as left out, and then only.
complete()
{
	local group row metric lost=0

	while read -r group row metric; do
		grep -q "^$group	$row	$metric	" "$table" && continue
		grep -q "^Left out: ${row}[:,]" "$OUT/table.txt" && continue
		note "$group $row $metric is missing"
		lost=1
	done < <(expected)
	[ "$(sed 1d "$table" | wc -l)" -le "$(expected | wc -l)" ] && [ "$lost" = 0 ]
}

# A number for each, but for the system calls that glibc adds to itself.
numbers()
{
	awk -F '\t' '
	NR == 1 { nf = NF; bad += $4 != "glibc" || $(NF - 3) != "goheap" || NF < 8; next }
	{ bad += NF != nf
	  for (i = 4; i <= NF - 3; i++)
		if ($i !~ /^-?[0-9.]+(e[-+][0-9]+)?$/ && !(i == 4 && $3 == "added_calls"))
			bad++
	  if (bad)
		print "# " $0
	  bad_all += bad; bad = 0 }
	END { exit bad_all > 0 || NR < 2 }' "$table"
}

# The ratio is ours to the least of the peers', and that is whose it is said to be.
ratios()
{
	awk -F '\t' '
	function off(a, b) { return a - b > b / 500 + 0.001 || b - a > b / 500 + 0.001 }
	NR == 1 { for (i = 4; i < NF - 2; i++) name[i] = $i; next }
	{ least = ""
	  for (i = 4; i < NF - 3; i++)
		if ($i != "-" && (least == "" || $i + 0 < least + 0) && !($1 == "startup" && i == 4)) {
			least = $i
			who = name[i]
		}
	  if ($3 ~ /growth|added/ ? $NF != "-" : off($(NF - 2), least) || $(NF - 1) != who ||
	      off($NF, $(NF - 3) / least)) {
		print "# " $0
		bad++
	  } }
	END { exit bad > 0 || NR < 2 }' "$table"
}

means()
{
	awk -F '\t' '
	function off(a, b) { return a - b > b / 1000 || b - a > b / 1000 }
	NR > 1 && $2 != "mean" && $1 ~ /stress|programs/ && $3 !~ /growth/ {
		for (i = 4; i <= NF - 3; i++) {
			sum[$1, $3, i] += log($i); n[$1, $3, i]++
			sum["all", $3, i] += log($i); n["all", $3, i]++
		}
	}
	$2 == "mean" {
		for (i = 4; i <= NF - 3; i++)
			bad += off($i, exp(sum[$1, $3, i] / n[$1, $3, i]))
		seen++
	}
	END { exit bad > 0 || seen != 9 }' "$table"
}

# Who did not preload would get the allocator that Debian linked Redis with.
redis_by_glibc()
{
	local lib

	lib=$(sed -n 's/^Preloaded: .*glibc=\([^ ]*\).*/\1/p' "$OUT/table.txt")
	LD_BIND_NOW=1 LD_DEBUG=bindings LD_PRELOAD=$lib redis-server --version 2>&1 |
		grep -q "binding file [^ ]*redis[^ ]* .* to .*/libc.so[^ ]* .* symbol \`malloc'"
}

# Every line of a table has as many columns as the one before.
markdown()
{
	awk -F '|' '
	/^\|/ { bad += last && NF != last; last = NF; lines++ }
	!/^\|/ { last = 0 }
	END { exit bad > 0 || lines <= 100 }' "$OUT/table.md" && grep -q '^- Machine: .' "$OUT/table.md"
}

plots()
{
	head -c 8 "$OUT/plot.png" | od -An -tx1 | grep -q '89 50 4e 47 0d 0a 1a 0a' &&
		grep -q '<svg' "$OUT/plot.svg" && grep -q '</svg>' "$OUT/plot.svg"
}

[ -x "$BUILD/selftests/bench/micro" ] || { echo 'Bail out! not built'; exit 1; }
plan 13
check 'a group that is not there is refused' says 2 'no group or row is called micros; groups: micro stress' micros
check 'numbers that are none are refused' refuses_numbers
check 'a library that is none is refused' refuses_library
check 'words choose rows' chooses
check 'what fails is told' tells_of_failures
check 'everything runs' says 0 'micro/ns: '
check 'each row is there' complete
check 'each number is there' numbers
check 'ratios' ratios
check 'geometric means' means
check 'markdown' markdown
if command -v redis-server >/dev/null; then
	check "redis: glibc's malloc is what glibc's number is of" redis_by_glibc
else
	skip "redis: glibc's malloc is what glibc's number is of" 'no redis-server'
fi
if command -v gnuplot >/dev/null; then
	check 'plots' plots
else
	skip 'plots' 'no gnuplot'
fi
finish
