# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# A terminal for tests: a server of tmux of their own, which ends with them.  Sourced
# behind common.sh.
# shellcheck disable=SC2119,SC2120,SC2154	# work is common.sh's
tmux_n=0
tmux_()
{
	env -u TMUX tmux -f /dev/null -S "$work/tmux.$tmux_n" "$@"
}

trap 'tmux_ kill-server 2>/dev/null; rm -rf "$work"' EXIT

# Runs a command on a terminal of $1 columns and $2 lines, after "before" was printed there,
# and prints "status N" when it has ended.
start()
{
	local columns=$1 lines=$2
	shift 2

	tmux_ kill-server 2>/dev/null
	# The one before may take a moment to go.
	tmux_n=$((tmux_n + 1))
	tmux_ new-session -d -x "$columns" -y "$lines" \
		"echo before; $* 2>$work/top.err; echo status \$?; sleep 1000"
	tmux_ set-option -g history-limit 0 >/dev/null
}

keys()
{
	tmux_ send-keys "$@"
}

screen()
{
	tmux_ capture-pane -p "$@"
}

# Waits until the screen has a line like $1; $2: seconds (10).
shows()
{
	local _

	for _ in $(seq $((${2:-10} * 10))); do
		! screen | grep -qE -e "$1" || return 0
		sleep 0.1
	done
	note "the screen shows no '$1':" "$(screen)" "$(<"$work/top.err")"
	return 1
}

# The same where there is one heap, in the first line below the head.
first_is()
{
	local _

	for _ in $(seq 100); do
		! screen | sed -n 5p | grep -qE -e "$1" || return 0
		sleep 0.1
	done
	note "the first heap is not '$1':" "$(screen)"
	return 1
}

ends()
{
	keys q
	shows '^status 0$' && shows '^before$'
}
