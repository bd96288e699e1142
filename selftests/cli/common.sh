# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# What the tests of the command share: TAP, a folder, and the recorded tree in it.

# shellcheck source-path=SCRIPTDIR source=../run_tap.sh
. "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../run_tap.sh"

here=$(dirname "$(realpath "$0")")
top=$(realpath "$here/../..")
export BUILD=${BUILD:-$top/build}
goheap=$BUILD/goheap
work=$(mktemp -d)
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT
unset GOHEAP_SYSFS NO_COLOR LD_PRELOAD
[ -x "$goheap" ] || { echo 'Bail out! goheap is not built: make lib'; exit 1; }

# The recorded tree, anew; $1: with so many heaps.
new_tree()
{
	rm -rf "$work/sys"
	"$here/tree.py" "$work/sys" "$@"
	export GOHEAP_SYSFS=$work/sys
	# shellcheck disable=SC2034	# of the tests
	heaps=$work/sys/class/misc/goheap
}

# Runs a command; what it printed is in $work/out and $work/err, its status in $status.
try()
{
	"$@" >"$work/out" 2>"$work/err" </dev/null
	status=$?
}

# The command that follows ends with status $1 and says $2, on stderr, in one message.
refuses()
{
	local want=$1 text=$2
	shift 2

	try "$@"
	[ "$status" = "$want" ] && grep -qF -e "$text" "$work/err" && return
	note "$*: status $status, not $want, or not '$text':" "$(<"$work/err")"
	return 1
}

# Standard output has a line like $1.
prints()
{
	grep -qE -e "$1" "$work/out" && return
	note "no line like '$1':" "$(<"$work/out")" "$(<"$work/err")"
	return 1
}

# Runs a command on a terminal of its own; what it showed is in $work/out.
on_terminal()
{
	TERM=xterm script -qec "$*" /dev/null >"$work/out" 2>"$work/err" </dev/null
}

# As somebody who is not root; the command that follows must not need what root has.
as_nobody()
{
	if [ "$(id -u)" = 0 ]; then
		setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
	else
		"$@"
	fi
}
