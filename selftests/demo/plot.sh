#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# Draws what `make demo` saw, as build/demo.svg: the memory of Redis and of its neighbour,
# one on top of the other, with the allocator that Debian's Redis has and with goheap.
# The picture in README.md is one of these, by plot.sh selftests/demo/demo.svg.
#
#   plot.sh FILE.svg [FOLDER]	FOLDER: with samples and marks; what the last demo left
set -u

: "${BUILD:=$(dirname "$(realpath "$0")")/../../build}"
file=${1:-$BUILD/demo.svg}
seen=${2:-${VM_OUT:-$BUILD/vm-out}/demo}

command -v gnuplot >/dev/null || {
	echo "plot.sh: no picture without gnuplot: apt-get install gnuplot-nox" >&2
	exit 1
}
for name in jemalloc goheap; do
	[ -s "$seen/$name.samples" ] || {
		echo "plot.sh: $seen/$name.samples is missing: make demo" >&2
		exit 1
	}
done

# When in the run of $1 what $2 names began, in seconds after the keys began to go.
at()
{
	awk -v what="$2" '$2 == "delete" { t = $1 } $2 == what { printf "%.2f", $1 - t }' "$seen/$1.marks"
}

# Seconds, MB of Redis, and of both.
points()
{
	awk 'FNR == NR { if ($2 == "delete") t = $1; next }
		{ printf "%.2f %.1f %.1f\n", $1 - t, $2 / 1024, ($2 + $3) / 1024 }' \
		"$seen/$1.marks" "$seen/$1.samples"
}

# The number behind $2 in what was noted of $1.
noted()
{
	sed -n "s/^$2 //p" "$seen/$1.marks"
}

# What became of both: how many were killed, and what Redis lost since it was stopped.
fate()
{
	points "$1" | awk -v stop="$(at "$1" stop)" -v kills="$(noted "$1" kills)" '
		$1 < stop { before = $2 }
		{ after = $2 }
		END {
			if (kills)
				printf "out of memory: %s killed\n", kills == 1 ? "one is" : "both are"
			else
				printf "both live: %d idle MB of Redis were taken\n", before - after
		}'
}

# Where to write what is the neighbour, which is where it has most.
place()
{
	points "$1" | awk '$3 - $2 > most { most = $3 - $2; x = $1; y = ($2 + 3 * $3) / 4 } END { printf "%s,%s\n", x, y }'
}

# $1: allocator, $2: title.
panel()
{
	local stop end limit

	stop=$(at "$1" stop) end=$(at "$1" end) limit=$(noted "$1" limit)
	cat <<-END
	\$points << EOD
	$(points "$1")
	EOD
	set title "{/:Bold $2}\n$(fate "$1")"
	set xrange [-1:$end]
	set arrow 1 from 0, graph 0 to 0, graph 1 nohead front dt 3 lc rgb "#333333"
	set label 1 "its keys are deleted" at 0, graph 0.96 offset 0.5,0 front
	set arrow 2 from $stop, graph 0 to $stop, graph 1 nohead front dt 3 lc rgb "#333333"
	set label 2 "it is stopped" at $stop, graph 0.89 offset 0.5,0 front
	set label 3 "Redis" at -0.6, 60 front textcolor rgb "white"
	set label 4 "neighbour" at $(place "$1") right offset -1,0 front
	set label 5 "limit of both" at -0.8, $((limit - 22)) front textcolor rgb "#c02020"
	plot \$points using 1:3 with filledcurves x1 lc rgb "#f0a050" notitle, \
		\$points using 1:2 with filledcurves x1 lc rgb "#4878b0" notitle, \
		$limit lw 2 dt 2 lc rgb "#c02020" notitle
	END
}

gnuplot <<-END
set terminal svg size 900,320 font "sans,13" background rgb "white"
set output "$file.tmp"
set multiplot layout 1,2
set yrange [0:500]
set ytics 100
set tics nomirror out
set border 3
set xlabel "seconds"
set ylabel "resident memory, MB"
$(panel jemalloc "redis-server, as Debian has it")
unset ylabel
$(panel goheap "goheap run redis-server")
unset multiplot
END
sed '1a <!-- SPDX-License-Identifier: GPL-2.0 OR MIT -->' "$file.tmp" >"$file" && rm "$file.tmp"
