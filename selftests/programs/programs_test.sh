#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# Debian's programs, unmodified, under LD_PRELOAD: each prints byte for byte what
# it prints without.  And not because the library stayed out of it: the dynamic
# linker must bind the program's malloc to it, and on the device the module must
# have seen a heap grow for each program that is known to be executed.
here=$(dirname "$(realpath "$0")")
# shellcheck source-path=SCRIPTDIR source=../run_tap.sh
. "$here/../run_tap.sh"

lib=$BUILD/libgoheap.so
grows=/sys/class/misc/goheap/nr_grows
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
backend=${GOHEAPDEBUG#backend=}

# ---- the programs: each runs in an empty folder of its own, and prints -----------

run_python()
{
	PYTHONMALLOC=malloc python3 "$here/threads.py"
}

run_sqlite()
{
	sqlite3 rows.db <<-'END'
	PRAGMA journal_mode = MEMORY;
	CREATE TABLE t (id INTEGER PRIMARY KEY, k TEXT, v BLOB);
	WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000)
	INSERT INTO t SELECT i, 'key' || (i * 7919 % 200003), hex(i * i) FROM n;
	CREATE INDEX tk ON t (k);
	SELECT count(*), count(DISTINCT k), sum(length(v)) FROM t;
	SELECT substr(k, 1, 5) AS p, count(*), min(id), max(v) FROM t GROUP BY p ORDER BY p;
	SELECT a.id, b.id FROM t a JOIN t b ON b.k = 'key' || a.id WHERE a.id % 9973 = 0 ORDER BY 1;
	DELETE FROM t WHERE id % 3 = 0;
	SELECT count(*), group_concat(v, '') FROM t WHERE id < 300;
	PRAGMA integrity_check;
	END
	sha256sum <rows.db
}

# 5,000 lines of C.
write_source()
{
	awk 'BEGIN {
		print "struct s { int a, b; struct s *next; };"
		for (i = 0; i < 833; i++) {
			printf "int f%d(struct s *p, int x)\n{\n", i
			printf "\tfor (; p; p = p->next)\n"
			printf "\t\tx = x * %d + (p->a ^ p->b) %% %d%s;\n", i + 3, i + 2,
				i ? " + f" int(i / 2) "(p->next, x & 7)" : ""
			print "\treturn x;\n}"
		}
		print "int main(void) { struct s t = { 1, 2, 0 }; return f832(&t, 3) & 63; }"
	}' >big.c
}

run_gcc()
{
	write_source
	wc -l <big.c
	gcc -c big.c -o big.o && sha256sum <big.o
	gcc big.o -o big && ./big
	echo "status $?"
}

make_repository()
{
	local i

	git init -q -b main origin
	for i in $(seq 8); do
		mkdir -p "origin/d$((i % 7))"
		seq "$i" "$((i * 300))" >"origin/d$((i % 7))/f$i"
		seq 1 "$i" >>origin/all
		git -C origin add -A
		git -C origin commit -q -m "commit $i"
	done
	git -C origin tag -a -m one v1
}

run_git()
{
	export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
	export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_AUTHOR_DATE='1700000000 +0000'
	export GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org GIT_COMMITTER_DATE='1700000000 +0000'
	make_repository
	git clone -q --no-local origin copy
	git -C copy fsck --full --strict
	git -C copy log --stat --format='%H %T %s'
	git -C copy archive v1 | sha256sum
}

run_redis()
{
	local cli="redis-cli -s $PWD/sock" server

	redis-server --port 0 --unixsocket "$PWD/sock" --save '' --appendonly no \
		--enable-debug-command yes --dir "$PWD" >redis.log 2>&1 &
	server=$!
	for _ in $(seq 200); do
		[ "$($cli ping 2>/dev/null)" = PONG ] && break
		sleep 0.1
	done
	# What it prints are timings; what it leaves is data.
	redis-benchmark -s "$PWD/sock" -n 2000 -c 20 -d 300 -q \
		-t set,get,incr,lpush,rpop,sadd,hset,zadd,mset >bench.log 2>&1
	echo "benchmark $? $(grep -c 'requests per second' bench.log)"
	$cli debug populate 10000 key 200
	$cli eval "for i = 0, 9999, 3 do redis.call('DEL', 'key:' .. i) end return redis.call('DBSIZE')" 0
	$cli debug digest
	$cli shutdown nosave
	wait "$server"
	echo "server $?"
}

run_bash()
{
	bash -c 'for ((i = 0; i < 500; i++)); do
		x+=$(printf "%0*d" $((i % 50 + 1)) $i)
		(y=${x//1/one}; echo "$i ${#y}")
	done; echo "$x" | sha256sum'
}

# ---- how they are judged ---------------------------------------------------------

# $1: program, $2: "with" or "without"; the variables of with are the environment.
run_in_folder()
(
	rm -rf "$work/run"
	mkdir "$work/run"
	cd "$work/run" || exit
	if [ "$2" = with ]; then
		export LD_PRELOAD=$lib
	else
		unset GOHEAPDEBUG
	fi
	"run_$1" >"$work/$1.$2" 2>&1
)

# Whether program $1 gets its malloc from the library.
bound()
{
	LD_BIND_NOW=1 LD_DEBUG=bindings LD_PRELOAD=$lib "$@" 2>&1 >/dev/null </dev/null |
		grep -q "binding file .*$1 .* to .*/libgoheap.so[^ ]* .* symbol \`malloc'"
}

# $1: program; $2: how many are executed at least (a child by fork need not grow a heap).
in_use()
{
	note "$1: heaps grew $(($(<$grows) - before)) times, at least $2 programs ran"
	[ $(($(<$grows) - before)) -ge "$2" ]
}

# $1: program, $2: how many are executed, then a command whose malloc is looked at.
try()
{
	local name=$1 executed=$2
	shift 2

	run_in_folder "$name" without
	[ "$backend" != device ] || before=$(<$grows)
	run_in_folder "$name" with
	if cmp "$work/$name.without" "$work/$name.with"; then
		pass "$name: same output ($(wc -c <"$work/$name.with") bytes)"
	else
		flunk "$name: same output"
		diff "$work/$name.without" "$work/$name.with" | head -n 20 | sed 's/^/# /'
	fi
	[ "$backend" != device ] || check "$name: programs on the heap" in_use "$name" "$executed"
	check "$name: malloc is the library's" bound "$@"
}

[ -e "$lib" ] || { echo 'Bail out! libgoheap.so is not built'; exit 1; }
case $backend in
device) plan 18 ;;
embedded) plan 12 ;;
*) echo 'Bail out! run it as programs@embedded or programs@device'; exit 1 ;;
esac
try python 6 python3 -c pass
try sqlite 1 sqlite3 :memory: 'SELECT 1'
try gcc 4 gcc --version
try git 10 git --version
try redis 3 redis-server --version
try bash 2 bash -c :
finish
