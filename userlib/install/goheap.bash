# shellcheck shell=bash
# SPDX-License-Identifier: MIT OR GPL-2.0
#
# Completion of goheap(1) for bash.  Commands and options are those that the command itself
# tells of, so that there is nothing here to keep up.

# What can stand where a process or a heap is wanted.
_goheap_heaps()
{
	"$1" list 2>/dev/null | awk 'NR > 1 { print $2 }'
}

# Names of the library's options, from its word about one that there is not.
_goheap_options()
{
	GOHEAPDEBUG='' "$1" run -o '?=' true 2>&1 | sed -n 's/.*known are //p' | sed 's/,//g; s/$/ /; s/ /=\n/g'
}

_goheap_words()
{
	local goheap=$1 command=$2 previous=$3 current=$4

	case $command,$previous,$current in
	,*) "$goheap" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' ;;
	*,*,-*) "$goheap" "$command" --help | grep -o -e '--[a-z-]*=\?' ;;
	run,-o,* | run,--options,*) _goheap_options "$goheap" ;;
	top,-s,* | top,--sort,*) echo idle inuse released scavenged pid ;;
	scavenge,*) echo all; _goheap_heaps "$goheap" ;;
	limit,limit,* | stat,* | map,*) _goheap_heaps "$goheap" ;;
	limit,*) echo none ;;
	esac
}

_goheap()
{
	local goheap=${COMP_WORDS[0]} command='' current=${COMP_WORDS[COMP_CWORD]} i

	[ "$COMP_CWORD" -lt 2 ] || command=${COMP_WORDS[1]}
	# Behind run's own options is another command.
	if [ "$command" = run ] && [[ $current != -* ]]; then
		for ((i = 2; i <= COMP_CWORD; i++)); do
			case ${COMP_WORDS[i]} in
			-o | -l | --options | --library) ((i++)) ;;
			-*) ;;
			*)
				mapfile -t COMPREPLY < <(compgen -c -- "$current"; compgen -f -- "$current")
				return ;;
			esac
		done
	fi
	mapfile -t COMPREPLY < <(compgen -W "$(_goheap_words "$goheap" "$command" \
		"${COMP_WORDS[COMP_CWORD - 1]}" "$current")" -- "$current")
	[[ ${COMPREPLY[*]} != *= ]] || compopt -o nospace 2>/dev/null
}

complete -o default -F _goheap goheap
