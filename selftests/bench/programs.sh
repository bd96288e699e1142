# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# Debian's programs, as run.sh's group `programs` runs them; sourced by it.  Each has a
# function here, which makes its input in $work, of $WORK percent of the usual size,
# and hands the command over to `measure`.  All but Redis print what they found, so that
# it can be compared.  They are to take one to two seconds each.
# shellcheck disable=SC2154	# WORK and work are run.sh's

# NAME=COMMAND=PACKAGE of the programs, in the order of the table.
# shellcheck disable=SC2034
programs=(redis=redis-server=redis-server sqlite3=sqlite3=sqlite3 python3=python3=python3
	gcc=gcc=gcc lua=lua5.4=lua5.4 gs=gs=ghostscript z3=z3=z3)

# Of $1, $WORK percent.
scaled()
{
	echo $((($1 * WORK + 99) / 100))
}

# ---- Redis: the server is measured, from its start to its end ---------------------

# What the client does, beside it; $1 is what it does before it ends the server.
redis_client()
{
	cat <<-END
	cli="redis-cli -s $work/sock"
	for i in \$(seq 3000); do
		[ "\$(\$cli ping 2>/dev/null)" = PONG ] && break
		sleep 0.01
	done
	taskset -c $(nth_cpu 1) redis-benchmark -s $work/sock -n $(scaled 80000) -c 20 -P 16 \\
		-r 20000 -d 300 -q -t set,get,incr,lpush,lpop,sadd,hset,zadd,mset >/dev/null
	status=\$?
	$1
	\$cli shutdown nosave
	exit \$status
	END
}

# The command of it, in $redis_server; it is on another CPU than the client.
redis_command()
{
	redis_server=(taskset -c "$(nth_cpu 0)" redis-server --port 0 --unixsocket "$work/sock"
		--save '' --appendonly no --dir "$work" --logfile "$work/redis.log")
}

program_redis()
{
	redis_command
	redis_client '' >"$work/client"
	measure -b "sh $work/client" "${redis_server[@]}"
}

# ---- sqlite3 ---------------------------------------------------------------------

sqlite3_input()
{
	cat <<-END
	CREATE TABLE t (id INTEGER PRIMARY KEY, k TEXT, v TEXT);
	WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $(scaled 150000))
	INSERT INTO t SELECT i, 'key' || (i * 7919 % 200003), hex(i * i) FROM n;
	CREATE INDEX tk ON t (k);
	SELECT count(*), count(DISTINCT k), sum(length(v)) FROM t;
	SELECT substr(k, 1, 5) AS p, count(*), min(id), max(v) FROM t GROUP BY p ORDER BY p;
	SELECT count(*) FROM t a JOIN t b ON b.k = 'key' || a.id;
	SELECT count(x) FROM (SELECT group_concat(v, ',') AS x FROM t GROUP BY id % 1000);
	SELECT sum(json_extract(json_object('k', k, 'v', json_array(id, v)), '\$.v[0]')) FROM t;
	UPDATE t SET v = v || k WHERE id % 2 = 0;
	DELETE FROM t WHERE id % 3 = 0;
	SELECT count(*), sum(length(v)) FROM t;
	END
}

program_sqlite3()
{
	sqlite3_input >"$work/in.sql"
	measure sqlite3 -batch -init "$work/in.sql" :memory: .exit
}

# ---- python3: every object of it is malloc's --------------------------------------

python3_input()
{
	cat <<-'END'
	import json, re, sys
	n = int(sys.argv[1])
	rows = [{'id': i, 'name': 'name%d' % (i * 7919 % 10007), 'tags': [str(i % 7), str(i % 11)],
	         'at': (i * 31 % 1000, i * 17 % 1000)} for i in range(n)]
	text = json.dumps(rows)
	back = json.loads(text)
	by_name = {}
	for r in back:
	    by_name.setdefault(r['name'], []).append(r)
	words = re.findall(r'name\d+', text)
	words.sort(key=lambda w: (len(w), w[::-1]))
	class Node:
	    def __init__(self, value, left, right):
	        self.value, self.left, self.right = value, left, right
	def tree(depth):
	    return Node(depth, tree(depth - 1), tree(depth - 1)) if depth else None
	def total(t):
	    return t.value + total(t.left) + total(t.right) if t else 0
	print(len(text), len(by_name), words[0], words[-1],
	      sum(total(tree(12)) for i in range(n // 4000 + 1)))
	END
}

program_python3()
{
	python3_input >"$work/in.py"
	PYTHONMALLOC=malloc measure python3 -I "$work/in.py" "$(scaled 150000)"
}

# ---- gcc: the compiler proper, optimising a big file --------------------------------

gcc_input()
{
	awk -v n="$(scaled 200)" 'BEGIN {
		print "struct s { int a, b; struct s *next; };"
		for (i = 0; i < n; i++) {
			printf "int f%d(struct s *p, int x)\n{\n", i
			printf "\tint t[%d];\n\tfor (int k = 0; k < %d; k++)\n", i % 7 + 3, i % 7 + 3
			printf "\t\tt[k] = x * (k + %d) ^ (p ? p->a : k);\n", i
			printf "\tfor (; p; p = p->next)\n"
			printf "\t\tx = x * %d + (p->a ^ p->b) %% %d%s;\n", i + 3, i + 2,
				i ? " + f" int(i / 2) "(p->next, x & 7)" : ""
			printf "\tswitch (x & 3) {\n\tcase 0: return t[0];\n"
			printf "\tcase 1: return t[1] + x;\n\tdefault: return x ^ t[2];\n\t}\n}\n"
		}
	}'
}

program_gcc()
{
	gcc_input >"$work/in.i"
	measure "$(gcc -print-prog-name=cc1)" -quiet -O2 "$work/in.i" -o -
}

# ---- Lua ----------------------------------------------------------------------------

lua_input()
{
	cat <<-'END'
	local n = tonumber(arg[1])
	local words, count = {}, {}
	for i = 1, n do
		words[i] = string.format('w%d', i * 7919 % 10007) .. string.rep('x', i % 40)
		count[words[i]] = (count[words[i]] or 0) + 1
	end
	table.sort(words)
	local parts = {}
	for i, w in ipairs(words) do
		parts[#parts + 1] = w:sub(1, 3):upper() .. w:reverse()
		if i % 1000 == 0 then parts = { table.concat(parts, ','):sub(-100) } end
	end
	local function tree(d) return d > 0 and { tree(d - 1), tree(d - 1) } or {} end
	local function size(t) return t[1] and 1 + size(t[1]) + size(t[2]) or 1 end
	local total = 0
	for i = 1, n // 4000 + 1 do total = total + size(tree(11)) end
	print(#words, words[1], words[#words], #table.concat(parts), total)
	END
}

program_lua()
{
	lua_input >"$work/in.lua"
	measure lua5.4 "$work/in.lua" "$(scaled 800000)"
}

# ---- ghostscript ----------------------------------------------------------------------

gs_input()
{
	cat <<-END
	%!PS
	/n $(scaled 25) def
	/draw { % page
		/p exch def
		0 1 400 {
			/i exch def
			newpath i 1.3 mul 20 add i 7 mul p 13 mul add 700 mod 20 add moveto
			i p add 31 mul 500 mod i 17 mul 700 mod i 3 mul i 2 mul 550 mod 100 i curveto
			i 400 div p n div 0.5 setrgbcolor 0.5 setlinewidth stroke
		} for
		/Times-Roman findfont 6 p add scalefont setfont
		0 1 60 {
			/i exch def
			20 i 12 mul 20 add moveto
			i 100 string cvs show ( lines of text, to be drawn on page ) show p 100 string cvs show
		} for
		[ 1 1 3000 { dup mul 100 string cvs } for ] length pop
		showpage
	} def
	1 1 n { draw } for
	END
}

program_gs()
{
	gs_input >"$work/in.ps"
	measure gs -q -dSAFER -dBATCH -dNOPAUSE -sDEVICE=ppmraw -r30 -dGraphicsAlphaBits=4 \
		-dTextAlphaBits=4 -sOutputFile=- "$work/in.ps"
}

# ---- z3 -------------------------------------------------------------------------------

z3_input()
{
	awk -v problems="$(scaled 16)" '
	function problem(n,    i) {
		print "(set-logic QF_UFLIA)\n(declare-fun f (Int) Int)"
		for (i = 0; i < n; i++)
			printf "(declare-const x%d Int)\n(assert (and (> x%d %d) (< x%d %d)))\n",
				i, i, i % 5, i, i % 5 + n
		for (i = 1; i < n; i++) {
			printf "(assert (distinct (f x%d) (f x%d)))\n", i, (i * 7) % i
			printf "(assert (or (= (f x%d) (+ x%d 1)) (> x%d (f x%d))))\n",
				i, (i * 5) % n, (i * 3) % n, i
		}
		for (i = 0; i < n; i++)
			printf "(push)\n(assert (= (+ x%d x%d) (f x%d)))\n(assert (< (f x%d) %d))\n(check-sat)\n(pop)\n",
				i, (i * 11 + 1) % n, (i * 13 + 5) % n, (i + 1) % n, i % 3
		print "(reset)"
	}
	BEGIN {
		for (p = 0; p < problems; p++)
			problem(20 + p % 6)
	}'
}

program_z3()
{
	z3_input >"$work/in.smt2"
	measure z3 "$work/in.smt2"
}
