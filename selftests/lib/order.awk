# SPDX-License-Identifier: MIT OR GPL-2.0
#
# Copies sources into dir, with a number for each ordering, and prints a list of
# those: NUMBER FILE: LINE.

/^[ \t]*\/?\*/ {
	print > (dir "/" FILENAME)
	next
}

{
	rest = $0
	out = ""
	while (match(rest, /__ATOMIC_(ACQUIRE|RELEASE|ACQ_REL|SEQ_CST)/)) {
		out = out substr(rest, 1, RSTART - 1) \
			"GHU_ORDER(" ++nr ", " substr(rest, RSTART, RLENGTH) ")"
		rest = substr(rest, RSTART + RLENGTH)
		line = $0
		gsub(/[ \t]+/, " ", line)
		print nr, FILENAME ":" line
	}
	print out rest > (dir "/" FILENAME)
}
