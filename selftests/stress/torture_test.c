// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The whole interface at random: every command, good and bad, mixed with all that
 * a program can do to its own memory and descriptors, by several processes at a
 * time, while idle memory is released on demand as fast as can be and khugepaged
 * runs at full speed.  A model says what must hold: who owns which span, what is in
 * it, what each call must answer.  What the kernel thinks of it is in its log.
 *
 *	torture_test [-t SECONDS] [-p PROCESSES] [-s SEED]	(20 s, 3, the clock)
 *
 * The first failure says the operation and the seed, which is enough to find the
 * operation again in a process that has no others beside it.
 */
#include "dev.h"
#include <sys/resource.h>
#include <sys/uio.h>

NEED(is_root, "needs root");

#define ARENA		(128 * MIB)
#define SPANS		96
#define KHUGEPAGED	"/sys/kernel/mm/transparent_hugepage/khugepaged"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif

struct span {
	char *p;
	uint64_t npages, seed;
};

static int heap;
static char *arena;
static struct span spans[SPANS];
static uint64_t rng, seed, nr_ops, limit_ms;
static pid_t children[4];
static const char *op;

#define MUST(cond) do {								\
	if (!(cond)) {								\
		printf("# %s: operation %llu of seed %llu: line %d: %s (errno %d)\n",	\
		       op, (unsigned long long)nr_ops, (unsigned long long)seed,	\
		       __LINE__, #cond, errno);					\
		fflush(stdout);							\
		_exit(1);							\
	}									\
} while (0)

static uint64_t below(uint64_t n)
{
	return rnd(&rng) % n;
}

static struct span *random_span(void)
{
	return &spans[below(SPANS)];
}

static uint64_t bytes_of(const struct span *s)
{
	return s->npages * PAGE;
}

/* ---- the model ---------------------------------------------------------------- */

static void look_at(const struct span *s)
{
	if (s->p)
		MUST(filled(s->p, bytes_of(s), s->seed));
}

static void look_at_all(void)
{
	for (int i = 0; i < SPANS; i++)
		look_at(&spans[i]);
}

static void refill(struct span *s)
{
	s->seed = rnd(&rng);
	fill(s->p, bytes_of(s), s->seed);
}

static void must_be_free(const char *p, uint64_t npages)
{
	MUST(p >= arena && p + npages * PAGE <= arena + ARENA);
	for (int i = 0; i < SPANS; i++)
		MUST(!spans[i].p || p + npages * PAGE <= spans[i].p ||
		     spans[i].p + bytes_of(&spans[i]) <= p);
}

/* ---- commands ------------------------------------------------------------------- */

static void op_alloc(void)
{
	uint64_t npages = below(8) ? 1 + below(40) : 1 + below(700);
	struct span *s = random_span();
	struct goheap_span g;
	int err;

	if (s->p)
		return;
	err = span_alloc(heap, npages, below(4) ? 0 : PAGE << below(9), &g);
	if (err == -ENOMEM)
		return;
	MUST(!err && g.npages == npages && !(g.flags & ~GOHEAP_SPAN_NEEDZERO));
	must_be_free((char *)g.addr, npages);
	if (!(g.flags & GOHEAP_SPAN_NEEDZERO))
		MUST(is_zero((char *)g.addr, npages * PAGE));
	*s = (struct span){ .p = (char *)g.addr, .npages = npages };
	refill(s);
}

static void op_free(void)
{
	struct span *s = random_span();

	if (!s->p)
		return;
	look_at(s);
	MUST(!span_free(heap, s->p, below(2) ? s->npages : 0));
	MUST(span_free(heap, s->p, 0) == -EINVAL);
	s->p = NULL;
}

static void op_vector(void)
{
	struct goheap_span g[64];
	unsigned int nr = 1 + below(64), done;
	int err;

	for (unsigned int i = 0; i < nr; i++)
		g[i] = (struct goheap_span){ .npages = 1 + below(6), .tag = below(256) };
	err = vec(heap, GOHEAP_SPAN_ALLOC, g, nr, 0, &done);
	MUST(done <= nr && (err == -ENOMEM ? done < nr : !err && done == nr));
	for (unsigned int i = 0; i < done; i++) {
		must_be_free((char *)g[i].addr, g[i].npages);
		*(volatile char *)g[i].addr = 1;
		g[i].flags = g[i].tag = 0;
	}
	if (done)
		MUST(!vec(heap, GOHEAP_SPAN_FREE, g, done, 0, &nr) && nr == done);
}

static void op_resize(void)
{
	struct span *s = random_span();
	uint64_t npages = 1 + below(60), old = s->npages;
	struct goheap_resize r;
	int err;

	if (!s->p)
		return;
	err = span_resize(heap, s->p, npages, &r);
	MUST(!err || (err == -ENOMEM && npages > old));
	if (err)
		return;
	MUST(r.old_npages == old);
	MUST(filled(s->p, (npages < old ? npages : old) * PAGE, s->seed));
	if (npages > old && !r.span_flags)
		MUST(is_zero(s->p + old * PAGE, (npages - old) * PAGE));
	s->npages = npages;
	refill(s);
}

/* Whatever is handed in that is none is refused, and nothing happens. */
static void op_bad(void)
{
	struct span *s = random_span();
	struct goheap_resize r;
	char random[64];

	MUST(span_free(heap, (char *)(uintptr_t)rnd(&rng), below(100)) == -EINVAL);
	MUST(span_free(heap, arena + below(ARENA) / PAGE * PAGE + 1 + below(PAGE - 1), 0) ==
	     -EINVAL);
	if (s->p && s->npages > 1) {
		MUST(span_free(heap, s->p + PAGE, 0) == -EINVAL);
		MUST(span_free(heap, s->p, s->npages + 1) == -EINVAL);
		MUST(span_resize(heap, s->p + PAGE, 1, &r) == -EINVAL);
	}
	for (size_t i = 0; i < sizeof(random); i++)
		random[i] = below(4) ? 0 : below(256);
	/* A command of random bytes may be a good one only by its size, which is none of these. */
	((uint32_t *)random)[0] = below(8);
	for (unsigned int nr = 0; nr < 16; nr++)
		MUST(cmd(heap, _IOWR(GOHEAP_IOC, nr, char[64]), random) < 0);
}

static void op_scavenge(void)
{
	struct goheap_scavenge s = {
		.size = sizeof(s), .max_bytes = below(2) ? ALL : below(8 * MIB),
		.min_age_ns = below(2) ? 0 : below(100000000),
	};

	MUST(!cmd(heap, GOHEAP_SCAVENGE, &s));
}

static void op_stats(void)
{
	uint64_t inuse = 0, nr = 0;
	struct goheap_stats st;

	for (int i = 0; i < SPANS; i++) {
		inuse += spans[i].p ? bytes_of(&spans[i]) : 0;
		nr += !!spans[i].p;
	}
	MUST(!stats(heap, &st));
	MUST(st.heap_inuse == inuse && st.nr_spans == nr);
	MUST(st.heap_sys == st.heap_inuse + st.heap_idle && st.heap_sys <= ARENA);
	MUST(st.heap_released <= st.heap_idle && st.nr_allocs - st.nr_frees == nr);
}

/* ---- memory ----------------------------------------------------------------------- */

/* Advice that leaves the contents alone, on part of the arena, in use or not. */
static void op_advise(void)
{
	static const int advice[] = {
		MADV_NORMAL, MADV_RANDOM, MADV_WILLNEED, MADV_HUGEPAGE, MADV_NOHUGEPAGE,
		MADV_COLLAPSE, MADV_COLD, MADV_PAGEOUT, MADV_POPULATE_READ,
		MADV_POPULATE_WRITE, MADV_MERGEABLE, MADV_UNMERGEABLE, MADV_DONTFORK,
		MADV_DOFORK, MADV_DONTDUMP, MADV_DODUMP,
	};
	char *p = arena + below(ARENA) / 4096 * 4096;

	madvise(p, below(arena + ARENA - p) / 4096 % 1024 * 4096,
		advice[below(sizeof(advice) / sizeof(advice[0]))]);
}

/* Advice that does not: what it is given is filled again. */
static void op_drop(void)
{
	struct span *s = random_span();

	if (!s->p)
		return;
	look_at(s);
	MUST(!madvise(s->p, bytes_of(s), below(2) ? MADV_DONTNEED : MADV_FREE) ||
	     errno == EINVAL);		/* locked */
	refill(s);
}

static void op_lock(void)
{
	struct span *s = random_span();

	if (!s->p)
		return;
	if (below(2))
		mlock(s->p, bytes_of(s));
	else
		munlock(s->p, bytes_of(s));
}

static void op_protect(void)
{
	struct span *s = random_span();

	if (!s->p || mprotect(s->p, bytes_of(s), PROT_READ))
		return;
	look_at(s);
	MUST(!mprotect(s->p, bytes_of(s), PROT_READ | PROT_WRITE));
}

/* Written and read from outside: into a pipe by splicing, by another process's call. */
static void op_remote(void)
{
	struct span *s = random_span();
	struct iovec local, remote;
	uint64_t copy[64];

	if (!s->p)
		return;
	local = (struct iovec){ copy, sizeof(copy) };
	remote = (struct iovec){ s->p, sizeof(copy) };
	MUST(process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == sizeof(copy));
	MUST(copy[0] == word_of(s->seed, 0));
	MUST(process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == sizeof(copy));
}

/* ---- descriptors and processes ------------------------------------------------------ */

static void op_attach(void)
{
	int fd = dev_open(), err;

	if (fd < 0)
		return;
	MUST(attach(fd, arena + ARENA) == -ENOENT);
	err = attach(fd, arena + below(ARENA));
	MUST(!err && attach(fd, arena) == -EBUSY);
	close(heap);
	heap = fd;
}

static void op_map_again(void)
{
	MUST(arena_map(heap, ARENA) == MAP_FAILED && errno == EBUSY);
	MUST(arena_map_at(heap, NULL, ARENA, MAP_SHARED) == MAP_FAILED);
}

/* A child sees what its parent had, may not command its heap, and may spoil its own copy. */
static void child(void)
{
	struct goheap_stats st;
	uint64_t end = now_ms() + below(40);

	do {
		look_at_all();
	} while (now_ms() < end);
	MUST(stats(heap, &st) == -ESTALE);
	switch (below(5)) {
	case 0:
		for (int i = 0; i < SPANS; i++)
			if (spans[i].p)
				memset(spans[i].p, 0xff, bytes_of(&spans[i]));
		break;
	case 1:
		munmap(arena + below(ARENA / 2) / PAGE * PAGE, ARENA / 2);
		break;
	case 2:
		mremap(arena, ARENA / 4, ARENA / 4, MREMAP_MAYMOVE | MREMAP_FIXED,
		       arena + 4 * ARENA);
		break;
	case 3:
		raise(SIGKILL);
	}
	_exit(0);
}

static void op_fork(void)
{
	unsigned int i = below(4);
	int status;

	if (children[i]) {
		MUST(waitpid(children[i], &status, 0) == children[i]);
		MUST(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : !WEXITSTATUS(status));
		children[i] = 0;
		return;
	}
	/* Not inherited, the arena cannot be looked at. */
	madvise(arena, ARENA, MADV_DOFORK);
	children[i] = fork();
	if (!children[i])
		child();
	MUST(children[i] > 0);
}

/* Another process with a heap of its own takes its arena apart, and dies. */
static void vandal(void)
{
	int fd = dev_open();
	char *a = arena_map(fd, 64 * MIB);
	struct goheap_span g;
	struct goheap_scavenge sc;

	for (int i = 0; i < 60 && a != MAP_FAILED; i++) {
		char *p = a + below(64 * MIB) / 4096 * 4096;
		size_t len = below(4 * MIB) / 4096 * 4096;

		switch (below(8)) {
		case 0:
			munmap(p, len);
			break;
		case 1:
			mremap(p, len, len, MREMAP_MAYMOVE | MREMAP_FIXED,
			       a + 64 * MIB + below(64 * MIB) / 4096 * 4096);
			break;
		case 2:
			mprotect(p, len, below(8));
			break;
		case 3:
			mmap(p, len, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
			break;
		case 4:
			scavenge(fd, ALL, &sc);
			break;
		default:
			if (!span_alloc(fd, 1 + below(300), 0, &g)) {
				/* Not by us: the pages may be gone. */
				struct iovec l = { &g, sizeof(g) }, r = { (void *)g.addr, sizeof(g) };

				process_vm_writev(getpid(), &l, 1, &r, 1, 0);
				if (below(2))
					span_free(fd, (void *)g.addr, 0);
			}
		}
	}
	if (below(2))
		raise(SIGKILL);
	_exit(0);
}

static void op_vandal(void)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		vandal();
	MUST(pid > 0 && waitpid(pid, &status, 0) == pid);
	MUST(WIFEXITED(status) || WTERMSIG(status) == SIGKILL);
}

/* ---- the run ------------------------------------------------------------------------- */

static const struct {
	const char *name;
	void (*fn)(void);
	unsigned int weight;
} ops[] = {
	{ "alloc", op_alloc, 40 },
	{ "free", op_free, 30 },
	{ "vector", op_vector, 6 },
	{ "resize", op_resize, 10 },
	{ "bad", op_bad, 3 },
	{ "scavenge", op_scavenge, 6 },
	{ "stats", op_stats, 4 },
	{ "advise", op_advise, 12 },
	{ "drop", op_drop, 4 },
	{ "lock", op_lock, 3 },
	{ "protect", op_protect, 3 },
	{ "remote", op_remote, 4 },
	{ "attach", op_attach, 2 },
	{ "map again", op_map_again, 1 },
	{ "fork", op_fork, 2 },
	{ "vandal", op_vandal, 1 },
};

static void step(void)
{
	unsigned int sum = 0, at, i;

	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		sum += ops[i].weight;
	at = below(sum);
	for (i = 0; at >= ops[i].weight; i++)
		at -= ops[i].weight;
	op = ops[i].name;
	ops[i].fn();
	if (nr_ops++ % 64 == 0)
		look_at_all();
}

/* Its descriptor is the one that it was born with, as in a program with threads. */
static void *releaser(void *arg)
{
	int fd = dup(*(int *)arg);
	struct goheap_scavenge s;

	for (;;) {
		scavenge(fd, ALL, &s);
		sleep_ms(1);
	}
	return NULL;
}

static void life(uint64_t number, int report)
{
	uint64_t end = now_ms() + limit_ms;
	pthread_t t;

	seed += number;
	rng = seed * 2 + 1;
	op = "begin";
	heap = dev_open();
	arena = arena_map(heap, ARENA);
	MUST(arena != MAP_FAILED);
	MUST(!pthread_create(&t, NULL, releaser, &heap));
	while (now_ms() < end)
		step();
	look_at_all();
	for (int i = 0; i < 4; i++)
		if (children[i])
			waitpid(children[i], NULL, 0);
	MUST(write(report, &nr_ops, sizeof(nr_ops)) == sizeof(nr_ops));
	_exit(0);
}

static int run(unsigned int nr_procs)
{
	uint64_t total = 0, nr;
	int up[2], status, bad = 0;

	if (pipe(up))
		return 1;
	for (unsigned int i = 0; i < nr_procs; i++)
		if (!fork())
			life(i, up[1]);
	for (unsigned int i = 0; i < nr_procs; i++) {
		wait(&status);
		bad |= status;
		if (!status && read(up[0], &nr, sizeof(nr)) == sizeof(nr))
			total += nr;
	}
	printf("# seed %llu, %u processes, %llu s: %llu operations\n", (unsigned long long)seed,
	       nr_procs, (unsigned long long)limit_ms / 1000, (unsigned long long)total);
	return bad || total < nr_procs * 100;
}

int main(int argc, char **argv)
{
	char sleep_was[32], *was;
	unsigned int nr_procs = 3;
	int opt, bad;

	limit_ms = 20000;
	seed = now_ms() * 1000003;
	while ((opt = getopt(argc, argv, "t:p:s:")) != -1) {
		if (opt == 't')
			limit_ms = strtoull(optarg, NULL, 0) * 1000;
		else if (opt == 'p')
			nr_procs = strtoul(optarg, NULL, 0);
		else if (opt == 's')
			seed = strtoull(optarg, NULL, 0);
		else
			return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("TAP version 13\n1..1\n");
	was = file_read(KHUGEPAGED "/scan_sleep_millisecs");
	if (was)
		strcpy(sleep_was, was);
	file_write(KHUGEPAGED "/scan_sleep_millisecs", "0");
	bad = run(nr_procs);
	if (was)
		file_write(KHUGEPAGED "/scan_sleep_millisecs", sleep_was);
	printf("%sok 1 every operation is answered as the model says\n", bad ? "not " : "");
	return bad;
}
