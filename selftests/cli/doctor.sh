# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# For tests of goheap doctor.  Sourced behind common.sh.
# shellcheck disable=SC2154	# goheap and work are common.sh's

# Has the doctor look, by way of a command that it is started by, if any.
look()
{
	local begin=$SECONDS

	try "$@" "$goheap" doctor
	[ $((SECONDS - begin)) -lt 5 ] || note "looking took $((SECONDS - begin)) s"
	# A child of a pipe may have what it says on stdout only.
	cat "$work/err" >&2
}

# Check $1 was found wrong in words like $2, and the line that mends it is like $3.
wrong()
{
	[ "$status" = 1 ] && grep -A1 -E "^WRONG +$1 +.*$2" "$work/out" | tail -n 1 |
		grep -qE "^ +mend: $3" && return
	note "not wrong with $1 as '$2', to be mended by '$3', or status $status:" "$(<"$work/out")"
	return 1
}

# The same, and nothing else is.
only_wrong()
{
	wrong "$@" || return
	[ "$(grep -c ^WRONG "$work/out")" = 1 ] && return
	note "more is wrong than $1:" "$(<"$work/out")"
	return 1
}

# Check $1 was found to be right.
right()
{
	grep -qE "^ok +$1 " "$work/out" && return
	note "$1 is not right:" "$(<"$work/out")"
	return 1
}

# The line that mends what is wrong with $1.
mend()
{
	grep -A1 -E "^WRONG +$1 " "$work/out" | sed -n 's/^ *mend: //p'
}

# Does what the doctor said; then all must be well, looked at in the same way as before.
mends()
{
	local line name=$1 begin=$SECONDS
	shift

	line=$(mend "$name")
	note "$line"
	(cd "$top" && bash -c "$line") >"$work/mend" 2>&1 || { note "fails:" "$(<"$work/mend")"; return 1; }
	[ $((SECONDS - begin)) -lt 5 ] || note "that took $((SECONDS - begin)) s"
	look "$@"
	[ "$status" = 0 ] && right "$name" && grep -q '^nothing is wrong$' "$work/out" && return
	note "not mended:" "$(<"$work/out")"
	return 1
}
