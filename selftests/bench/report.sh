# shellcheck shell=bash
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# From samples to tables and a plot; sourced by run.sh.  Everything is made from one
# table, $out/table.tsv, with a line for each row and metric:
#
#	group row metric ALLOCATOR... best who ratio
#
# the medians; the least of the peers' and whose that is; and libgoheap's as a multiple
# of it.  For a metric of which others than positive numbers are usual there is no ratio;
# and where it matters what preloading costs, glibc, which needs none, is no peer.
# Rows called `mean' are geometric means, of those rows that have a number for every
# allocator: of a group, and, as group `all', of stress and programs together.
# shellcheck disable=SC2154	# out, work, here and the variables of header are run.sh's

tables='micro/ns stress/wall_us stress/cpu_us stress/peak_kib stress/growth_kib
programs/wall_us programs/cpu_us programs/peak_kib all/wall_us all/cpu_us all/peak_kib
idle/rss_kib startup/wall_us startup/cpu_us startup/peak_kib startup/added_calls'

# ---- what was measured, and where ----------------------------------------------------

version_of()
{
	dpkg-query -W -f '${Package} ${Version}, ' "$@" 2>/dev/null | sed 's/, $//'
}

header()
{
	echo "Date:      $(date -u '+%Y-%m-%d %H:%M UTC'), load $(cut -d' ' -f1-3 /proc/loadavg)"
	echo "Machine:   $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), CPUs $(
		taskset -cp $$ | sed 's/.*: //') of $(nproc --all), $(
		awk '/^MemTotal/ { printf "%.1f GiB", $2 / 1048576 }' /proc/meminfo)"
	echo "Kernel:    $(uname -sr), huge pages $(
		sed -n 's/.*\[\(.*\)\].*/\1/p' /sys/kernel/mm/transparent_hugepage/enabled 2>/dev/null)"
	echo "goheap:    $(git -C "$here" describe --always --dirty 2>/dev/null || echo unknown), $(
		[ -e /dev/goheap ] && echo device || echo embedded), ${GOHEAPDEBUG:-no options}"
	echo "Peers:     $(version_of libc6 libjemalloc2 libtcmalloc-minimal4 libmimalloc2.0)"
	echo "Preloaded: ${allocators[*]}"
	echo "Programs:  $(version_of "${programs[@]##*=}")"
	echo "Runs:      $RUNS, of $WORK % of the usual work, $IDLE s idle"
}

title()
{
	case $1 in
	micro/ns) echo 'Micro: ns for an operation' ;;
	stress/*) echo "Patterns of threads: $(metric "${1#*/}")" ;;
	programs/*) echo "Programs: $(metric "${1#*/}")" ;;
	all/*) echo "Patterns and programs: $(metric "${1#*/}")" ;;
	idle/rss_kib) echo "Resident after $IDLE s of sleep, all freed: KiB" ;;
	startup/added_calls) echo 'Start: system calls that the library adds' ;;
	startup/*) echo "Start, compared with peers that are preloaded, too: $(metric "${1#*/}")" ;;
	esac
}

metric()
{
	case $1 in
	wall_us) echo 'time, us' ;;
	cpu_us) echo 'user and system time, us' ;;
	peak_kib) echo 'peak resident, KiB' ;;
	growth_kib) echo 'resident after all threads ended, more than before: KiB' ;;
	esac
}

# ---- the one table ---------------------------------------------------------------------

medians()
{
	awk -F '\t' -v OFS='\t' -v names="${allocators[*]%%=*}" '
	function median(k,    i, j, t, m) {
		m = n[k]
		for (i = 2; i <= m; i++)
			for (j = i; j > 1 && v[k, j] < v[k, j - 1]; j--) {
				t = v[k, j]; v[k, j] = v[k, j - 1]; v[k, j - 1] = t
			}
		return m % 2 ? v[k, (m + 1) / 2] : (v[k, m / 2] + v[k, m / 2 + 1]) / 2
	}
	function line(group, row, metric, x,    i, best, who, text) {
		for (i = 1; i <= nr; i++) {
			text = text OFS (i in x ? sprintf("%.6g", x[i]) : "-")
			if (i != we && (i in x) && (who == "" || x[i] < best) &&
			    (group != "startup" || name[i] != "glibc")) {
				best = x[i]
				who = name[i]
			}
		}
		if (who == "" || !(we in x) || metric ~ /growth|added/ || best <= 0)
			print group, row, metric text, who == "" ? "-" : best, who == "" ? "-" : who, "-"
		else
			print group, row, metric text, sprintf("%.6g", best), who, sprintf("%.3f", x[we] / best)
	}
	function add(group, metric, x,    i) {
		for (i = 1; i <= nr; i++)
			if (!(i in x) || x[i] <= 0)
				return
		count[group, metric]++
		for (i = 1; i <= nr; i++)
			logs[group, metric, i] += log(x[i])
	}
	function mean(group, metric,    i, x) {
		if (count[group, metric] < 2)
			return
		for (i = 1; i <= nr; i++)
			x[i] = exp(logs[group, metric, i] / count[group, metric])
		line(group, "mean", metric, x)
	}
	{ k = $1 OFS $2 OFS $3
	  if (!(k in seen)) { seen[k]; keys[++nk] = k }
	  v[k OFS $4, ++n[k OFS $4]] = $5 + 0 }
	END {
		nr = split(names, name, " ")
		for (i = 1; i <= nr; i++)
			if (name[i] == "goheap")
				we = i
		gsub(" ", OFS, names)
		print "group", "row", "metric", names, "best", "who", "ratio"
		for (j = 1; j <= nk; j++) {
			split(keys[j], part, OFS)
			split("", x)
			for (i = 1; i <= nr; i++)
				if ((keys[j] OFS name[i]) in n)
					x[i] = median(keys[j] OFS name[i])
			line(part[1], part[2], part[3], x)
			add(part[1], part[3], x)
			if (part[1] ~ /stress|programs/)
				add("all", part[3], x)
		}
		nm = split("wall_us cpu_us peak_kib", metrics, " ")
		for (j = 1; j <= nm; j++) {
			mean("stress", metrics[j])
			mean("programs", metrics[j])
			if (count["stress", metrics[j]] && count["programs", metrics[j]])
				mean("all", metrics[j])
		}
	}' "$out/samples.tsv" >"$out/table.tsv"
}

# The lines of table $1 with short numbers, and without group and metric.
lines_of()
{
	awk -F '\t' -v OFS='\t' -v table="$1" '
	NR > 1 && $1 "/" $3 != table { next }
	{ for (i = 4; i <= NF - 3 && NR > 1; i++)
		if ($i != "-")
			$i = $i < 100 && $3 == "ns" ? sprintf("%.2f", $i) : sprintf("%.0f", $i)
	  text = $2
	  for (i = 4; i <= NF; i++)
		if (i != NF - 2)
			text = text OFS $i
	  print text }' "$out/table.tsv"
}

# How many of a table's rows are no worse than the best peer, and which are the worst.
summary()
{
	local t

	for t in $tables; do
		awk -F '\t' -v table="$t" '$1 "/" $3 == table && $NF != "-" && $2 != "mean" {
			printf "%s\t%s %s (%s)\n", $NF, $2, $NF, $(NF - 1)
		}' "$out/table.tsv" | sort -k 1,1gr | awk -F '\t' -v title="$t" '
		{ good += $1 <= 1 }
		NR <= 4 && $1 > 1 { worst = worst (worst == "" ? "; worst: " : ", ") $2 }
		END { if (NR) printf "%s: %d of %d at most 1%s\n", title, good, NR, worst }'
	done
}

# ---- for reading ------------------------------------------------------------------------

as_text()
{
	local t

	cat "$work/header"
	for t in $tables; do
		[ "$(lines_of "$t" | wc -l)" -gt 1 ] || continue
		printf '\n%s\n' "$(title "$t")"
		lines_of "$t" | awk -F '\t' '{
			printf "%-15s", $1
			for (i = 2; i <= NF - 2; i++)
				printf "%11s", $i
			printf "%9s %s\n", $NF, $(NF - 1)
		}'
	done
	printf '\n'
	summary
	sed 's/^/Left out: /' "$work/left_out"
	sed 's/^/FAILED: /' "$work/failed"
}

as_markdown()
{
	local t

	printf '# Allocators side by side\n\n'
	sed 's/^\([A-Za-z]*\): */- \1: /' "$work/header"
	for t in $tables; do
		[ "$(lines_of "$t" | wc -l)" -gt 1 ] || continue
		printf '\n## %s\n\n' "$(title "$t")"
		lines_of "$t" | awk -F '\t' '
		{ printf "| %s |", $1
		  for (i = 2; i <= NF; i++)
			printf " %s |", $i
		  print "" }
		NR == 1 { printf "|---|"; for (i = 2; i <= NF; i++) printf "--:|"; print "" }'
	done
	printf '\n## Summary\n\n'
	{ summary; sed 's/^/Left out: /' "$work/left_out"; sed 's/^/FAILED: /' "$work/failed"; } |
		sed -n 's/^./- &/p'
	printf '\n![ratios to the best peer](plot.svg)\n'
}

# ---- the plot ----------------------------------------------------------------------------

# Of table $1: row, and each allocator as a multiple of the best peer.  What is far off
# lies at the edge, for the rest to be told apart.
multiples()
{
	awk -F '\t' -v table="$1" -v most=16 '
	function cut(x) { return x > most ? most : x < 1 / most ? 1 / most : x }
	$1 "/" $3 == table && $NF != "-" {
		printf "%s", $2
		for (i = 4; i <= NF - 3; i++)
			printf " %s", $i == "-" ? "-" : cut($i / $(NF - 2))
		print ""
	}' "$out/table.tsv"
}

plot_panels()
{
	local t i name points
	local colors=('' 888888 cc3311 ee9900 228833 0044bb) shapes=('' 5 9 11 13 7)

	for t in $tables; do
		points=$work/plot.${t//\//.}
		multiples "$t" >"$points"
		[ "$(wc -l <"$points")" -gt 1 ] || continue
		printf 'set title "%s"\nset xrange [-0.5:%d.5]\nplot 1 lw 1 lc rgb "gray" notitle' \
			"$(title "$t"), as multiples of the best peer (from 1/16 to 16)" $(($(wc -l <"$points") - 1))
		i=0
		for name in "${allocators[@]%%=*}"; do
			i=$((i + 1))
			printf ', "%s" using 0:%d:xtic(1) with points pt %d ps 1.2 lc rgb "#%s" title "%s"' \
				"$points" $((i + 1)) "${shapes[i]}" "${colors[i]}" "$name"
		done
		printf '\n'
	done
}

# $1: terminal of gnuplot, $2: file.
plot_to()
{
	local panels

	panels=$(grep -c '^plot' "$work/panels") || return 0
	gnuplot <<-END
	set terminal $1 size 1500,$((panels * 420)) background rgb "white"
	set output "$2"
	set datafile missing "-"
	set logscale y 2
	set xtics rotate by 60 right
	set grid
	set key outside right
	set multiplot layout $panels,1
	$(cat "$work/panels")
	unset multiplot
	END
}

plot()
{
	if ! command -v gnuplot >/dev/null; then
		left_out 'the plot: no gnuplot (package gnuplot-nox)'
		return
	fi
	plot_panels >"$work/panels"
	plot_to svg "$out/plot.svg"
	plot_to png "$out/plot.png"
}

report()
{
	medians
	plot
	as_markdown >"$out/table.md"
	as_text | tee "$out/table.txt"
}
