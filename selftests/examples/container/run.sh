#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# Runs a command in a container with a memory limit, with or without the device.
#
#	run.sh [-d] [-m BYTES] [-l FOLDER] ROOT COMMAND...
#
#	-d	give it /dev/goheap: else its programs do with the library alone
#	-m	its limit
#	-l	where the library is, if it is not installed in ROOT; seen there as /mnt
#
# It is what this does, without an engine and its images, by the runtime that is below them:
#
#	podman run --device /dev/goheap --memory 150m -e LD_PRELOAD=libgoheap.so.1 ...
#	docker run --device /dev/goheap --memory 150m -e LD_PRELOAD=libgoheap.so.1 ...
#
# The module is the host's.  What its programs have idle counts as the container's memory,
# and is the first to go when that reaches the limit.
set -eu

device='' limit=-1 lib=''
while getopts dm:l: o; do
	case $o in
	d) device=/dev/goheap ;;
	m) limit=$OPTARG ;;
	l) lib=$OPTARG ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
if [ $# -lt 2 ]; then
	echo "usage: $0 [-d] [-m BYTES] [-l FOLDER] ROOT COMMAND..." >&2
	exit 2
fi

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
crun spec
python3 - "$device" "$limit" "$lib" "$@" <<'END'
import json, os, sys

device, limit, lib, root, *command = sys.argv[1:]
with open("config.json") as f:
    c = json.load(f)
c["process"]["terminal"] = False
c["process"]["args"] = command
c["process"]["env"].append("LD_PRELOAD=libgoheap.so.1")
c["root"] = {"path": root, "readonly": True}
c["linux"]["cgroupsPath"] = f"/goheap-{os.getppid()}"
resources = c["linux"]["resources"]
resources["memory"] = {"limit": int(limit), "swap": int(limit)}
if device:
    rdev = os.stat(device).st_rdev
    node = {"type": "c", "major": os.major(rdev), "minor": os.minor(rdev)}
    # It exists in the container's /dev, and its cgroup lets programs open it.
    c["linux"]["devices"] = [{"path": device, "fileMode": 0o666, **node}]
    resources["devices"].append({"allow": True, "access": "rw", **node})
if lib:
    c["process"]["env"].append("LD_LIBRARY_PATH=/mnt")
    c["mounts"].append({"destination": "/mnt", "type": "none", "source": lib, "options": ["bind", "ro"]})
with open("config.json", "w") as f:
    json.dump(c, f)
END
crun --cgroup-manager=cgroupfs run "goheap-$$"
