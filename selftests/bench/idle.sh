# shellcheck shell=bash
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# What is resident when a program has freed everything, and IDLE seconds passed: the
# group `idle' of run.sh, which sources it.  The programs are the patterns of threads,
# Redis after FLUSHALL, and freeall.c, which tells the names apart; `empty' allocated
# nothing.  The rows -opt are with what an allocator has for this if it is asked to:
# background threads of jemalloc's, the option bgscavenge of libgoheap, at one second.
#
# One works while all those before it sleep, which is no harm to what is measured here,
# unless together they held too much: then the next one waits.  Three runs at most.
# shellcheck disable=SC2154	# the variables are run.sh's

most_kib=$((4 * 1024 * 1024))

available_kib()
{
	awk '/^MemAvailable/ { print $2 }' /proc/meminfo
}

# Until those who sleep hold less than $most_kib, and than half of what there was.
wait_memory()
{
	local held

	: "${available_first:=$(available_kib)}"
	while :; do
		held=$((available_first - $(available_kib)))
		if [ "$held" -lt "$most_kib" ] && [ $((held * 2)) -lt "$available_first" ]; then
			return
		fi
		[ -n "$(jobs -r)" ] || return 0
		wait -n || :
	done
}

# Waits until $1 says that all is freed, or process $2 ended.
wait_idle()
{
	while ! [ -s "$1" ] && kill -0 "$2" 2>/dev/null; do
		sleep 0.02
	done
}

# What a row is started with, in $asked.
what_is_asked()
{
	asked=(env)
	if [ "$row" != "${row%-opt}" ]; then
		asked+=(GOHEAPDEBUG="${GOHEAPDEBUG:+$GOHEAPDEBUG,}bgscavenge=1000"
			MALLOC_CONF=background_thread:true)
	fi
}

# $1: file for what it says, $2: library.
idle_pattern()
{
	pattern "${row%-opt}"
	LD_PRELOAD=$2 "${asked[@]}" "${command[@]}" -i "$IDLE" "${args[@]}" >"$1" &
	wait_idle "$1" $!
}

# The server says itself what is resident.
idle_redis()
{
	local work=$1.work

	mkdir "$work"
	redis_command
	LD_PRELOAD=$2 "${asked[@]}" "${redis_server[@]}" >/dev/null &
	redis_client "\$cli flushall >/dev/null; echo idle >$1; sleep $IDLE
		\$cli info memory | sed -n 's/\r//; s/used_memory_rss:/rss_bytes /p' >>$1" \
		>"$work/client"
	sh "$work/client" &
	wait_idle "$1" $!
}

group_idle()
{
	local run a

	what_is_asked
	if [ "${row%-opt}" = redis ] && ! command -v redis-server >/dev/null; then
		left_out "$row, idle: no redis-server (package redis-server)"
		return
	fi
	for run in $(seq $((RUNS < 3 ? RUNS : 3))); do
		for a in "${allocators[@]}"; do
			wait_memory
			if [ "${row%-opt}" = redis ]; then
				idle_redis "$work/idle.$row.${a%%=*}.$run" "${a#*=}"
			else
				idle_pattern "$work/idle.$row.${a%%=*}.$run" "${a#*=}"
			fi
		done
	done
}

# When all have slept.
collect_idle()
{
	local group row name run rss

	wait
	while read -r group row; do
		for f in "$work/idle.$row".*[0-9]; do
			if [ "$group" != idle ] || ! [ -e "$f" ]; then
				continue
			fi
			run=${f##*.} name=${f%.*}
			name=${name##*.}
			rss=$(awk '/^rss_kib/ { print $2 } /^rss_bytes/ { print $2 / 1024 }' "$f")
			if [ -n "$rss" ]; then
				sample rss_kib "$name" "$rss"
			else
				failed "$name: run $run ended before it was idle"
			fi
		done
	done <"$work/chosen"
}
