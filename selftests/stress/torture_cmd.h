/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Operations of torture_test: the commands, by ioctl and by io_uring, what they
 * refuse, and poll().
 */
#ifndef GOHEAP_TORTURE_CMD_H
#define GOHEAP_TORTURE_CMD_H

#include "torture.h"
#include <poll.h>

static struct io_uring ring;
static bool has_ring;
static volatile struct goheap_ctl *ctl;
static uint64_t told_min, told_max;	/* the generation that poll() told last */

/* ---- by one way or the other ------------------------------------------------------ */

/*
 * io_uring cancels what it wants a worker for, if signals keep interrupting it while it
 * makes the first one.
 */
static bool is_given_up(int err)
{
	return err == -ECANCELED && has_signals;
}

static int any_cmd(unsigned int nr, void *arg)
{
	bool by_ring = has_ring && below(2);
	int err = by_ring ? ring_cmd(&ring, heap, nr, arg) : cmd(heap, nr, arg);

	if (err >= 1000)
		printf("# a request to the ring was lost (%d)\n", err);
	if (by_ring && is_given_up(err))
		return cmd(heap, nr, arg);
	if (by_ring)
		errno = -err;
	return err;
}

static int any_vec(unsigned int nr, struct goheap_span *s, unsigned int n, uint64_t align,
		   unsigned int *done)
{
	struct goheap_span_vec v = vec_of(s, n);
	int err;

	v.align = align;
	if (nr == GOHEAP_SPAN_ALLOC && !below(8))
		v.flags = GOHEAP_VEC_POPULATE;
	err = any_cmd(nr, &v);
	*done = v.done;
	return err;
}

/* A ring like none before, or none. */
static void op_ring(void)
{
	static const unsigned int flags[] = {
		0, 0, 0, IORING_SETUP_SQE128, IORING_SETUP_CQE32, IORING_SETUP_SQPOLL,
	};

	if (has_ring)
		io_uring_queue_exit(&ring);
	has_ring = below(4) && !io_uring_queue_init(64, &ring, flags[below(6)]);
}

/* Many at a time, some of which are for workers, and in any order. */
static void op_flood(void)
{
	struct goheap_scavenge sc[32];
	struct io_uring_sqe *sqe;
	unsigned int nr = 1 + below(32);

	if (!has_ring || ring.flags & IORING_SETUP_SQPOLL)
		return;
	for (unsigned int i = 0; i < nr; i++) {
		sc[i] = (struct goheap_scavenge){ .size = sizeof(sc[i]), .max_bytes = below(MIB) };
		sqe = add(&ring, heap, GOHEAP_SCAVENGE, &sc[i], i);
		MUST(sqe);
		sqe->flags |= below(2) ? IOSQE_ASYNC : 0;
	}
	MUST(io_uring_submit(&ring) == nr);
	for (unsigned int i = 0; i < nr; i++) {
		int err = ring_result(&ring, NULL);

		MUST(!err || is_given_up(err));
	}
}

/* ---- spans -------------------------------------------------------------------------- */

static void op_alloc(void)
{
	uint64_t npages = below(8) ? 1 + below(40) : 1 + below(700);
	uint64_t align = below(4) ? 0 : PAGE << below(9);
	struct span *s = random_span();
	struct goheap_span g = { .npages = npages, .tag = below(256),
		.flags = below(4) ? 0 : GOHEAP_SPAN_LARGE };
	unsigned int tag = g.tag, done;
	int err;

	if (s->p)
		return;
	err = any_vec(GOHEAP_SPAN_ALLOC, &g, 1, align, &done);
	if (err == -ENOMEM) {
		MUST(!done && may_be_full(npages * PAGE, align));
		return;
	}
	MUST(!err && g.npages == npages && g.tag == tag && !(align && g.addr % align));
	must_be_free((char *)g.addr, npages);
	if (!(g.flags & GOHEAP_SPAN_NEEDZERO))
		MUST(is_zero((char *)g.addr, npages * PAGE));
	*s = (struct span){ .p = (char *)g.addr, .npages = npages, .tag = tag };
	refill(s);
}

static void op_free(void)
{
	struct span *s = random_span();
	struct goheap_span g = { .addr = (uintptr_t)s->p, .npages = below(2) ? s->npages : 0 };
	unsigned int done;

	if (!s->p)
		return;
	look_at(s);
	MUST(!any_vec(GOHEAP_SPAN_FREE, &g, 1, 0, &done) && done == 1);
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
	err = any_vec(GOHEAP_SPAN_ALLOC, g, nr, 0, &done);
	MUST(done <= nr && (err == -ENOMEM ? done < nr : !err && done == nr));
	MUST(!err || may_be_full(g[done].npages * PAGE, 0));
	for (unsigned int i = 0; i < done; i++) {
		must_be_free((char *)g[i].addr, g[i].npages);
		*(volatile char *)g[i].addr = 1;
		g[i].flags = g[i].tag = 0;
	}
	if (done)
		MUST(!any_vec(GOHEAP_SPAN_FREE, g, done, 0, &nr) && nr == done);
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

/* Two threads at once, each with what is its own. */
struct half {
	char *p[40];
	uint64_t rng;
};

static void *allocate(void *arg)
{
	struct half *h = arg;

	for (int i = 0; i < 120; i++) {
		char **p = &h->p[rnd(&h->rng) % 40];

		if (*p) {
			MUST(filled(*p, 2 * PAGE, (uintptr_t)p) && !span_free(heap, *p, 2));
			*p = NULL;
		} else {
			*p = span_new(heap, 2);
			if (*p)
				fill(*p, 2 * PAGE, (uintptr_t)p);
		}
	}
	return NULL;
}

static void op_threads(void)
{
	struct half h[2] = {};
	pthread_t t;

	h[0].rng = below(ALL);
	h[1].rng = below(ALL);
	MUST(!pthread_create(&t, NULL, allocate, &h[1]));
	allocate(&h[0]);
	MUST(!pthread_join(t, NULL));
	for (int i = 0; i < 80; i++) {
		char **p = &h[i / 40].p[i % 40];

		if (!*p)
			continue;
		must_be_free(*p, 2);
		MUST(filled(*p, 2 * PAGE, (uintptr_t)p));
	}
	for (int i = 0; i < 80; i++)
		if (h[i / 40].p[i % 40])
			MUST(!span_free(heap, h[i / 40].p[i % 40], 2));
}

/* ---- limits, releasing, counters -------------------------------------------------------- */

static void op_scavenge(void)
{
	struct goheap_scavenge s = {
		.size = sizeof(s), .max_bytes = below(2) ? ALL : below(8 * MIB),
		.min_age_ns = below(2) ? 0 : below(100000000),
	};

	MUST(!any_cmd(GOHEAP_SCAVENGE, &s));
	MUST(is_shared() || !s.waiting_bytes);
}

static uint64_t max_of(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t held_now(void)
{
	struct goheap_stats st;

	MUST(!stats(heap, &st));
	return st.heap_sys - st.heap_released;
}

static void op_stats(void)
{
	struct goheap_stats st;
	unsigned int nr;
	uint64_t inuse = bytes_in_use(&nr), held;

	MUST(!stats(heap, &st));
	MUST(st.heap_inuse == inuse && st.nr_spans == nr);
	MUST(st.heap_sys == st.heap_inuse + st.heap_idle && st.heap_sys <= ARENA);
	MUST(st.heap_released <= st.heap_idle && st.nr_allocs - st.nr_frees == nr);
	held = st.heap_sys - st.heap_released;
	MUST(held <= most_held);
	/* Above the limit it can only become less. */
	most_held = max_of(held, hard);
}

static uint64_t random_limit(void)
{
	return below(3) ? below(40 * MIB) : ALL;
}

/*
 * Allocations never lead above the hard limit; what was held above it when it was
 * set may stay, as far as it is in use or a child shares the arena.
 */
static void op_limit(void)
{
	uint64_t s = random_limit(), h = random_limit(), is_soft, is_hard;
	int err = limit_set(heap, s, h);
	unsigned int nr;

	if (s != ALL && s / PAGE > h / PAGE && h != ALL) {
		MUST(err == -EINVAL);
	} else {
		MUST(!err);
		soft = s == ALL ? ALL : s / PAGE * PAGE;
		hard = h == ALL ? ALL : h / PAGE * PAGE;
		most_held = held_now();
		/* Another thread may be putting away what it has just released. */
		for (int i = 0; i < 1000 && !is_shared() && held_now() > max_of(hard, bytes_in_use(&nr)); i++)
			sleep_ms(1);
		MUST(held_now() <= max_of(hard, bytes_in_use(&nr)) || is_shared());
		most_held = max_of(most_held, hard);
	}
	MUST(!limit_get(heap, &is_soft, &is_hard) && is_soft == soft && is_hard == hard);
}

/* ---- what is refused -------------------------------------------------------------------- */

/* Addresses that are no spans. */
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
		MUST(span_resize(heap, s->p + PAGE, ALL, &r) == -EINVAL);
		MUST(span_resize(heap, s->p, ALL, &r) == -ENOMEM);
		MUST(span_resize(heap, s->p, 0, &r) == -EINVAL);
	}
	for (size_t i = 0; i < sizeof(random); i++)
		random[i] = below(4) ? 0 : below(256);
	/* A command of random bytes may be a good one only by its size, which is none of these. */
	((uint32_t *)random)[0] = below(8);
	for (unsigned int nr = 0; nr < 16; nr++)
		MUST(cmd(heap, _IOWR(GOHEAP_IOC, nr, char[64]), random) < 0);
	MUST(cmd(heap, _IOWR('g', below(16), char[64]), random) == -ENOTTY);
	if (has_ring)
		MUST(ring_cmd(&ring, heap, GOHEAP_STATS, random) == -EOPNOTSUPP &&
		     ring_cmd(&ring, heap, rnd(&rng) & ~0xff00, random) == -ENOTTY);
}

/* Three pages: to be written, to be read, and none. */
static char *edge(void)
{
	static char *p;

	if (!p) {
		p = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		MUST(p != MAP_FAILED && !mprotect(p + 2 * 4096, 4096, PROT_NONE));
	}
	return p;
}

static const unsigned long commands[] = {
	GOHEAP_INFO, GOHEAP_ATTACH, GOHEAP_SPAN_ALLOC, GOHEAP_SPAN_FREE, GOHEAP_SPAN_RESIZE,
	GOHEAP_SCAVENGE, GOHEAP_STATS, GOHEAP_LIMIT, GOHEAP_MAP,
};

/* The same struct, by its size, flags, and where it is. */
static void op_bad_args(void)
{
	unsigned long nr = commands[below(sizeof(commands) / sizeof(commands[0]))];
	uint32_t size = _IOC_SIZE(nr), *arg = (uint32_t *)edge();
	char *end = edge() + 2 * 4096;

	memset(edge(), 0, 2 * 4096);
	arg[0] = below(size);
	MUST(cmd(heap, nr, arg) == -EINVAL);
	arg[0] = 4097 + below(100000);
	MUST(cmd(heap, nr, arg) == -E2BIG);
	arg[0] = size + 8 + below(1000);
	((char *)arg)[arg[0] - 1] = 1;
	MUST(cmd(heap, nr, arg) == -E2BIG);
	arg[0] = size;
	arg[1] = 2U << below(31);
	MUST(cmd(heap, nr, arg) == -EINVAL);
	arg[1] = 0;
	MUST(cmd(heap, nr, (void *)below(4096)) == -EFAULT && cmd(heap, nr, end) == -EFAULT);
	/* The struct that is known can be read, what follows it cannot. */
	arg = (uint32_t *)(end - size);
	memset(arg, 0, size);
	arg[0] = size + 64;
	MUST(cmd(heap, nr, arg) == -EFAULT);
	/* None of it, or only its size, can be written. */
	arg[0] = size;
	MUST(!mprotect(end - 4096, 4096, PROT_READ));
	MUST(cmd(heap, nr, arg) == -EFAULT);
	arg = (uint32_t *)(end - 4096 - 8);
	arg[0] = size;
	MUST(cmd(heap, nr, arg) == -EFAULT);
	MUST(!mprotect(end - 4096, 4096, PROT_READ | PROT_WRITE));
}

static void must_refuse_vec(unsigned long nr, struct goheap_span_vec v, int err)
{
	MUST(cmd(heap, nr, &v) == err && !v.done);
}

/* Vectors: their bounds, their elements, and where these are. */
static void op_bad_vec(void)
{
	unsigned long nr = below(2) ? GOHEAP_SPAN_ALLOC : GOHEAP_SPAN_FREE;
	struct goheap_span *g = (struct goheap_span *)(edge() + 2 * 4096) - 40, s;
	struct goheap_span_vec v = vec_of(&s, 1);
	unsigned int done;
	int err;

	s = (struct goheap_span){ .npages = 1 };
	must_refuse_vec(nr, vec_of(&s, 0), -EINVAL);
	must_refuse_vec(nr, vec_of(&s, GOHEAP_VEC_MAX + 1 + below(100)), -EINVAL);
	must_refuse_vec(nr, vec_of((void *)8, 1 + below(64)), -EFAULT);
	v.align = below(2) ? 3 << below(20) : nr == GOHEAP_SPAN_ALLOC ? ARENA << below(8) : PAGE;
	must_refuse_vec(nr, v, -EINVAL);
	s.tag = 256 + below(1000);
	must_refuse_vec(nr, vec_of(&s, 1), -EINVAL);
	s = (struct goheap_span){ .flags = 2U << below(31), .npages = 1 };
	must_refuse_vec(nr, vec_of(&s, 1), -EINVAL);
	s = (struct goheap_span){};
	must_refuse_vec(nr, vec_of(&s, 1), -EINVAL);
	s.npages = ARENA / PAGE + 1 + below(1000);
	must_refuse_vec(nr, vec_of(&s, 1), nr == GOHEAP_SPAN_ALLOC ? -ENOMEM : -EINVAL);

	/*
	 * 40 elements can be read: the first chunk, and a part of the second.  Where room had
	 * to be made for one, a chunk begins with it.
	 */
	for (int i = 0; i < 40; i++)
		g[i] = (struct goheap_span){ .npages = 1 };
	err = vec(heap, GOHEAP_SPAN_ALLOC, g, 64, 0, &done);
	if (err == -EFAULT)
		MUST(done == 32 || (done > 40 - 32 && done <= 40 && hard != ALL));
	else
		MUST(err == -ENOMEM && may_be_full(PAGE, 0));
	for (unsigned int i = 0; i < done; i++)
		MUST(!span_free(heap, (void *)g[i].addr, 1));
	/* Where they are cannot be told. */
	MUST(!mprotect(edge() + 4096, 4096, PROT_READ));
	for (int i = 0; i < 2; i++) {
		err = vec(heap, GOHEAP_SPAN_ALLOC, &g[32], 8, 0, &done);
		MUST(!done && (err == -EFAULT || (err == -ENOMEM && may_be_full(PAGE, 0))));
	}
	MUST(!mprotect(edge() + 4096, 4096, PROT_READ | PROT_WRITE));
}

/* ---- descriptors -------------------------------------------------------------------------- */

static uint64_t pressure_gen(void)
{
	return *(volatile const __u64 *)&ctl->pressure_gen;
}

static void must_not_be_shared(int fd)
{
	MUST(mmap(NULL, 64 * MIB, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EINVAL);
}

/* An open without an arena can do nothing else than get one. */
static void must_be_fresh(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLPRI };
	struct goheap_stats st;
	struct goheap_info i;

	MUST(stats(fd, &st) == -ENXIO && limit_set(fd, ALL, ALL) == -ENXIO);
	MUST(poll(&p, 1, 0) == 1 && p.revents & POLLERR);
	MUST(!info(fd, &i) && !i.heap_id && !i.arena_start);
	MUST(ctl_map(fd) == MAP_FAILED && errno == ENXIO);
	must_not_be_shared(fd);
	MUST(arena_map(fd, 65 * MIB) == MAP_FAILED && errno == EINVAL);
	MUST(arena_map_at(fd, arena + ARENA + 4096, 64 * MIB, MAP_FIXED_NOREPLACE) == MAP_FAILED);
	MUST(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 4096) == MAP_FAILED);
}

static void op_attach(void)
{
	int fd = dev_open(), err;
	char *other = (char *)edge();

	if (fd < 0)
		return;
	if (!below(4))
		must_be_fresh(fd);
	MUST(attach(fd, other) == -ENOENT && attach(fd, (void *)ALL) == -ENOENT);
	MUST(attach(fd, (char *)ctl) == -ENOENT);
	told_min = pressure_gen();
	err = attach(fd, arena + below(ARENA));
	told_max = pressure_gen();
	MUST(!err && attach(fd, arena) == -EBUSY);
	close(heap);
	heap = fd;
}

static void op_map_again(void)
{
	void *p;

	MUST(arena_map(heap, ARENA) == MAP_FAILED && errno == EBUSY);
	must_not_be_shared(heap);
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, heap, GOHEAP_OFF_CTL);
	MUST(p == MAP_FAILED && errno == EINVAL);
	p = (void *)ctl_map(heap);
	MUST(p != MAP_FAILED && mprotect(p, 4096, PROT_READ | PROT_WRITE) && errno == EACCES);
	MUST(!munmap(p, 4096));
}

/* The generation only rises, and each rise is told once. */
static void op_poll(void)
{
	struct pollfd p = { .fd = heap, .events = below(4) ? POLLPRI : POLLIN | POLLOUT };
	uint64_t gen = pressure_gen(), later;
	int n = poll(&p, 1, below(8) ? 0 : below(5));

	later = pressure_gen();
	if (n < 0) {
		MUST(errno == EINTR);
		return;
	}
	MUST(later >= gen && gen >= told_min);
	if (!(p.events & POLLPRI)) {
		MUST(!n);
	} else if (n) {
		MUST(p.revents == POLLPRI && later > told_min);
		told_min = gen > told_min ? gen : told_min;
		told_max = later;
	} else {
		MUST(gen <= told_max);
	}
}

#endif
