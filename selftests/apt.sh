#!/bin/sh
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# Debian's suites as apt sees them, without this machine's own settings noticing:
# prints the file for APT_CONFIG.
#
#   apt.sh DIR SUITE...		lists and packages are kept in DIR
set -eu

dir=$1
shift

# $*: suites
sources()
{
	for suite; do
		archive=debian
		[ "${suite#*-}" != security ] || archive=debian-security
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/$archive $suite main"
	done
}

if [ ! -e "$dir/done" ]; then
	mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial" "$dir/parts"
	sources "$@" >"$dir/sources.list"
	cat >"$dir/apt.conf" <<-END
	Dir::Etc::sourcelist "$dir/sources.list";
	Dir::Etc::sourceparts "$dir/parts";
	Dir::State::lists "$dir/lists";
	Dir::Cache "$dir/cache";
	APT::Sandbox::User "$(id -un)";
	END
	APT_CONFIG=$dir/apt.conf apt-get update -q >&2
	touch "$dir/done"
fi
echo "$dir/apt.conf"
