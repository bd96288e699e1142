# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# TAP for tests written in shell: source it, then plan N, and for each case
# check NAME COMMAND... or one of pass, flunk and skip.  The exit status of the
# program is that of the last call, `finish`.

tap_n=0
tap_failed=0

plan()
{
	echo 'TAP version 13'
	echo "1..$1"
}

# $*: why there is nothing to do here.
skip_all()
{
	echo 'TAP version 13'
	echo "1..0 # SKIP $*"
	exit 4
}

note()
{
	printf '%s\n' "$*" | sed 's/^/# /'
}

pass()
{
	echo "ok $((++tap_n)) $*"
}

flunk()
{
	echo "not ok $((++tap_n)) $*"
	tap_failed=1
}

# $1: name of the case, then why.
skip()
{
	echo "ok $((++tap_n)) $1 # SKIP $2"
}

# $1: name of the case; it passes if the command that follows succeeds.
check()
{
	local name=$1
	shift

	if "$@"; then
		pass "$name"
	else
		flunk "$name"
	fi
}

finish()
{
	exit "$tap_failed"
}
