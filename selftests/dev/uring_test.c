// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The commands by io_uring: that they do what they do by ioctl, and say what they
 * say there; many at a time, linked, cancelled, from a ring of another process, and
 * with a ring or a process that ends while they are in flight.  SPAN_ALLOC with POPULATE,
 * that it is a worker's and keeps nobody; what it populates is populate_test's.
 *
 * To have requests in flight for as long as a test wants, their argument is put
 * into a page that userfaultfd holds back: a worker that copies it waits.
 */
#include "dev.h"
#include <kselftest_harness.h>

#if !__has_include(<liburing.h>)

static bool has_liburing(void)
{
	return false;
}
NEED(has_liburing, "built without liburing (package liburing-dev)");

TEST(uring)
{
}

#else

#include "hold.h"
#include "ring.h"
#include <dirent.h>
#include <sys/utsname.h>

#define ARENA	(256 * MIB)
#define NR	64
#define ROUNDS	6000
#define SLOW	120	/* seconds, on a debug kernel */
#define FAR	((void *)8)	/* no address of anything */
#define REFCNT	"/sys/module/goheap/refcnt"

static bool has_uring(void)
{
	struct io_uring ring;
	int err = io_uring_queue_init(1, &ring, 0);

	if (!err)
		io_uring_queue_exit(&ring);
	return !err;
}
NEED(has_uring, "the kernel has no io_uring, or refuses it");

static bool has_feature(void)
{
	struct goheap_info i;
	int fd = dev_open();
	bool has = !info(fd, &i) && i.features & GOHEAP_FEAT_URING;

	close(fd);
	return has;
}
NEED(has_feature, "the module was built without io_uring");

static struct goheap_scavenge scav_of(void)
{
	return (struct goheap_scavenge){
		.size = sizeof(struct goheap_scavenge), .max_bytes = ALL,
	};
}

FIXTURE(ring) {
	struct io_uring ring;
	int fd;
	char *arena;
};

FIXTURE_SETUP(ring)
{
	self->fd = dev_open();
	self->arena = arena_map(self->fd, ARENA);
	ASSERT_NE(MAP_FAILED, self->arena);
	ASSERT_EQ(0, io_uring_queue_init(NR, &self->ring, 0));
}

FIXTURE_TEARDOWN(ring)
{
	struct goheap_stats st;

	/* Nothing came that was not waited for, and the heap still works. */
	EXPECT_EQ(0, io_uring_cq_ready(&self->ring));
	EXPECT_EQ(0, stats(self->fd, &st));
	io_uring_queue_exit(&self->ring);
	close(self->fd);
}

/* ---- the same as by ioctl -------------------------------------------------------- */

/* The same commands to two heaps give the same spans, at the same offsets. */
TEST_F(ring, spans_as_by_ioctl)
{
	struct goheap_span a[100] = {}, b[100] = {};
	struct goheap_span_vec va = vec_of(a, 100), vb = vec_of(b, 100);
	struct goheap_stats sa, sb;
	int fd = dev_open();
	char *arena = arena_map(fd, ARENA);

	ASSERT_NE(MAP_FAILED, arena);
	va.align = vb.align = 4 * PAGE;
	for (int i = 0; i < 100; i++) {
		a[i] = (struct goheap_span){ .npages = 1 + i % 9, .tag = i };
		b[i] = a[i];
	}
	ASSERT_EQ(0, ring_cmd(&self->ring, self->fd, GOHEAP_SPAN_ALLOC, &va));
	ASSERT_EQ(0, cmd(fd, GOHEAP_SPAN_ALLOC, &vb));
	EXPECT_EQ(100, va.done);
	for (int i = 0; i < 100; i++) {
		EXPECT_EQ(b[i].addr - (uintptr_t)arena, a[i].addr - (uintptr_t)self->arena);
		EXPECT_EQ(b[i].flags, a[i].flags);
		fill((void *)a[i].addr, a[i].npages * PAGE, i);
	}
	for (int i = 0; i < 100; i++) {
		EXPECT_TRUE(filled((void *)a[i].addr, a[i].npages * PAGE, i));
		a[i].flags = a[i].tag = 0;
		b[i].flags = b[i].tag = 0;
	}
	/* One that cannot be freed ends both vectors at the same place. */
	a[70].addr += PAGE;
	b[70].addr += PAGE;
	va = vec_of(a, 100);
	vb = vec_of(b, 100);
	EXPECT_EQ(-EINVAL, ring_cmd(&self->ring, self->fd, GOHEAP_SPAN_FREE, &va));
	EXPECT_EQ(-EINVAL, cmd(fd, GOHEAP_SPAN_FREE, &vb));
	EXPECT_EQ(70, va.done);
	EXPECT_EQ(vb.done, va.done);
	ASSERT_EQ(0, stats(self->fd, &sa));
	ASSERT_EQ(0, stats(fd, &sb));
	EXPECT_EQ(0, memcmp(&sa, &sb, sizeof(sa)));
	EXPECT_EQ(30, sa.nr_spans);
	close(fd);
}

TEST_F(ring, scavenge_as_by_ioctl)
{
	struct goheap_scavenge sc = scav_of();
	char *p = span_new(self->fd, 1024);

	memset(p, 1, 1024 * PAGE);
	ASSERT_EQ(0, span_free(self->fd, p, 1024));
	sc.max_bytes = 1;
	ASSERT_EQ(0, ring_cmd(&self->ring, self->fd, GOHEAP_SCAVENGE, &sc));
	EXPECT_GT(sc.released_bytes, 0);
	EXPECT_LE(sc.released_bytes, 4 * MIB);
	sc = scav_of();
	sc.min_age_ns = 3600 * 1000000000ULL;
	ASSERT_EQ(0, ring_cmd(&self->ring, self->fd, GOHEAP_SCAVENGE, &sc));
	EXPECT_EQ(0, sc.released_bytes);
	sc = scav_of();
	ASSERT_EQ(0, ring_cmd(&self->ring, self->fd, GOHEAP_SCAVENGE, &sc));
	EXPECT_GE(sc.released_bytes, 4 * MIB);
	EXPECT_EQ(0, *p);
}

/* Gives @arg by ioctl and by ring; @want is what both must say, and write. */
#define BOTH(want, nr, arg)							\
do {										\
	char byi_[sizeof(*(arg))], before_[sizeof(*(arg))];			\
	memcpy(before_, (arg), sizeof(before_));				\
	EXPECT_EQ(want, cmd(self->fd, nr, (arg)));				\
	memcpy(byi_, (arg), sizeof(byi_));					\
	memcpy((arg), before_, sizeof(before_));				\
	EXPECT_EQ(want, ring_cmd(&self->ring, self->fd, nr, (arg)));		\
	EXPECT_EQ(0, memcmp(byi_, (arg), sizeof(byi_)));			\
} while (0)

TEST_F(ring, errors_as_by_ioctl)
{
	static const unsigned int nrs[] = { GOHEAP_SPAN_ALLOC, GOHEAP_SPAN_FREE };
	struct goheap_span s = { .npages = 1 };
	struct { struct goheap_span_vec v; char more[5000]; } big = {};
	struct goheap_span_vec v;

	for (int i = 0; i < 2; i++) {
		v = vec_of(&s, 1);
		v.size--;
		BOTH(-EINVAL, nrs[i], &v);
		v = vec_of(&s, 1);
		v.flags = i ? GOHEAP_VEC_POPULATE : 2;
		BOTH(-EINVAL, nrs[i], &v);
		v = vec_of(&s, 0);
		BOTH(-EINVAL, nrs[i], &v);
		v = vec_of(&s, GOHEAP_VEC_MAX + 1);
		BOTH(-EINVAL, nrs[i], &v);
		v = vec_of(&s, 1);
		v.align = 3;
		BOTH(-EINVAL, nrs[i], &v);
		v = vec_of(FAR, 1);
		BOTH(-EFAULT, nrs[i], &v);
		big.v = vec_of(&s, 1);
		big.v.size = sizeof(big.v) + 8;
		big.more[7] = 1;
		BOTH(-E2BIG, nrs[i], &big);
		big.v.size = 4097;
		BOTH(-E2BIG, nrs[i], &big);
		v = vec_of(&s, 1);
		s.npages = ARENA / PAGE + 1;
		s.addr = 1;
		BOTH(i ? -EINVAL : -ENOMEM, nrs[i], &v);
		s.npages = 1;
		EXPECT_EQ(-EFAULT, cmd(self->fd, nrs[i], FAR));
		EXPECT_EQ(-EFAULT, ring_cmd(&self->ring, self->fd, nrs[i], FAR));
	}
}

TEST_F(ring, errors_of_scavenge_as_by_ioctl)
{
	struct goheap_scavenge sc = scav_of();

	sc.flags = 1;
	BOTH(-EINVAL, GOHEAP_SCAVENGE, &sc);
	sc = scav_of();
	sc.size = 8;
	BOTH(-EINVAL, GOHEAP_SCAVENGE, &sc);
	EXPECT_EQ(-EFAULT, cmd(self->fd, GOHEAP_SCAVENGE, FAR));
	EXPECT_EQ(-EFAULT, ring_cmd(&self->ring, self->fd, GOHEAP_SCAVENGE, FAR));
}

/* What is told cannot be told: nothing has happened. */
TEST_F(ring, an_argument_that_cannot_be_written)
{
	struct goheap_span s = { .npages = 1 };
	struct goheap_span_vec *v = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct goheap_stats st;

	*v = vec_of(&s, 1);
	ASSERT_EQ(0, mprotect(v, 4096, PROT_READ));
	EXPECT_EQ(-EFAULT, ring_cmd(&self->ring, self->fd, GOHEAP_SPAN_ALLOC, v));
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(0, st.nr_allocs);
}

TEST_F(ring, before_the_arena)
{
	struct goheap_span s = { .npages = 1 };
	struct goheap_span_vec v = vec_of(&s, 1);
	struct goheap_scavenge sc = scav_of();
	int fd = dev_open();

	EXPECT_EQ(-ENXIO, ring_cmd(&self->ring, fd, GOHEAP_SPAN_ALLOC, &v));
	EXPECT_EQ(-ENXIO, ring_cmd(&self->ring, fd, GOHEAP_SPAN_FREE, &v));
	EXPECT_EQ(-ENXIO, ring_cmd(&self->ring, fd, GOHEAP_SCAVENGE, &sc));
	close(fd);
}

TEST_F(ring, other_commands)
{
	struct goheap_stats st = { .size = sizeof(st) };
	char room[256] = {};

	EXPECT_EQ(-ENOTTY, ring_cmd(&self->ring, self->fd, _IO(GOHEAP_IOC, 77), room));
	EXPECT_EQ(-ENOTTY, ring_cmd(&self->ring, self->fd, 0, room));
	EXPECT_EQ(-ENOTTY, ring_cmd(&self->ring, self->fd, ~0U, room));
	EXPECT_EQ(-ENOTTY, ring_cmd(&self->ring, self->fd,
				    _IOWR('g', 2, struct goheap_span_vec), room));
	EXPECT_EQ(-EOPNOTSUPP, ring_cmd(&self->ring, self->fd, GOHEAP_STATS, &st));
	EXPECT_EQ(0, st.meta_bytes);
	EXPECT_EQ(-EOPNOTSUPP, ring_cmd(&self->ring, self->fd, GOHEAP_INFO, room));
	EXPECT_EQ(-EOPNOTSUPP, ring_cmd(&self->ring, self->fd, GOHEAP_ATTACH, room));
	EXPECT_EQ(-EOPNOTSUPP, ring_cmd(&self->ring, self->fd, GOHEAP_SPAN_RESIZE, room));
}

TEST_F(ring, reserved_must_be_zero)
{
	static const unsigned int nrs[] = {
		GOHEAP_SPAN_ALLOC, GOHEAP_SPAN_FREE, GOHEAP_SCAVENGE,
	};
	struct goheap_scavenge sc = scav_of();
	struct goheap_span s = { .npages = 1 };
	struct goheap_span_vec v = vec_of(&s, 1);
	struct goheap_stats st;

	for (int i = 0; i < 3; i++) {
		struct goheap_uring u = {
			.arg = i < 2 ? (uintptr_t)&v : (uintptr_t)&sc,
			.reserved = 1ULL << 63 >> i * 31,
		};

		prep_payload(io_uring_get_sqe(&self->ring), self->fd, nrs[i], &u, 0);
		ASSERT_EQ(1, io_uring_submit(&self->ring));
		EXPECT_EQ(-EINVAL, ring_result(&self->ring, NULL));
	}
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(0, st.nr_allocs);
}

/*
 * From 6.10 to 6.13 a worker finds the payload of a request only if it was meant
 * for one from the first, so that the module hands none on.
 */
static bool hands_on(void)
{
	struct utsname u;
	int major, minor;

	uname(&u);
	return sscanf(u.release, "%d.%d", &major, &minor) == 2 &&
	       (major != 6 || minor < 10 || minor > 13);
}

/* ---- where it is carried out ------------------------------------------------------ */

/* Workers of this process's rings, which live on for seconds. */
static int workers(void)
{
	char path[300];
	struct dirent *d;
	int n = 0;
	DIR *dir = opendir("/proc/self/task");

	while (dir && (d = readdir(dir))) {
		char *name;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", d->d_name);
		name = file_read(path);
		n += name && !strncmp(name, "iou-wrk", 7);
	}
	if (dir)
		closedir(dir);
	return n;
}

TEST_F(ring, spans_at_once_and_scavenge_by_a_worker)
{
	struct goheap_scavenge sc = scav_of();
	struct goheap_span s = { .npages = 64 };
	struct goheap_span_vec v = vec_of(&s, 1);
	struct io_uring_cqe *cqe;

	add(&self->ring, self->fd, GOHEAP_SPAN_ALLOC, &v, 0);
	ASSERT_EQ(1, io_uring_submit(&self->ring));
	/* Nobody waited. */
	ASSERT_EQ(0, io_uring_peek_cqe(&self->ring, &cqe));
	EXPECT_EQ(0, cqe->res);
	io_uring_cqe_seen(&self->ring, cqe);
	memset((void *)s.addr, 1, 64 * PAGE);
	v.done = 0;
	EXPECT_EQ(0, ring_cmd(&self->ring, self->fd, GOHEAP_SPAN_FREE, &v));
	EXPECT_EQ(-EFAULT, ring_cmd(&self->ring, self->fd, GOHEAP_SPAN_FREE, FAR));
	EXPECT_EQ(0, workers());

	EXPECT_EQ(0, ring_cmd(&self->ring, self->fd, GOHEAP_SCAVENGE, &sc));
	EXPECT_EQ(64 * PAGE, sc.released_bytes);
	EXPECT_EQ(hands_on(), workers() > 0);
}

/* Bytes of it that are resident. */
static size_t resident(const char *p, size_t bytes)
{
	unsigned char yes;
	size_t n = 0;

	for (size_t i = 0; i < bytes; i += 4096)
		n += !mincore((void *)(p + i), 4096, &yes) && yes & 1 ? 4096 : 0;
	return n;
}

TEST_F(ring, populated_by_a_worker)
{
	struct goheap_span s[40];
	struct goheap_span_vec v = vec_of(s, 40);

	for (int i = 0; i < 40; i++)
		s[i] = (struct goheap_span){ .npages = 1 + i % 3 };
	v.flags = GOHEAP_VEC_POPULATE;
	EXPECT_EQ(0, ring_cmd(&self->ring, self->fd, GOHEAP_SPAN_ALLOC, &v));
	EXPECT_EQ(40, v.done);
	EXPECT_EQ(GOHEAP_VEC_POPULATE, v.flags);
	for (int i = 0; i < 40; i++) {
		EXPECT_EQ(s[i].npages * PAGE, resident((char *)s[i].addr, s[i].npages * PAGE));
		EXPECT_TRUE(is_zero((char *)s[i].addr, s[i].npages * PAGE));
	}
	EXPECT_EQ(hands_on(), workers() > 0);
	/* It is the flag of SPAN_ALLOC only. */
	v = vec_of(s, 1);
	v.flags = GOHEAP_VEC_POPULATE;
	s[0].flags = 0;
	EXPECT_EQ(-EINVAL, ring_cmd(&self->ring, self->fd, GOHEAP_SPAN_FREE, &v));
	EXPECT_EQ(-EFAULT, ring_cmd(&self->ring, self->fd, GOHEAP_SPAN_ALLOC, FAR));
}

/* The entry of the queue is the process's again as soon as it was submitted. */
TEST_F(ring, the_payload_was_copied)
{
	struct goheap_scavenge sc[NR];
	struct io_uring_sqe *sqes[NR];

	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < NR; i++) {
			sc[i] = scav_of();
			sqes[i] = add(&self->ring, self->fd, GOHEAP_SCAVENGE, &sc[i], i);
			sqes[i]->flags |= round % 2 ? IOSQE_ASYNC : 0;
		}
		ASSERT_EQ(NR, io_uring_submit(&self->ring));
		for (int i = 0; i < NR; i++)
			memset(sqes[i], 0xff, sizeof(*sqes[i]));
		for (int i = 0; i < NR; i++)
			ASSERT_EQ(0, ring_result(&self->ring, NULL));
	}
}

/* Rings that differ in their entries, or in who submits them. */
TEST_F(ring, other_rings)
{
	static const unsigned int flags[] = {
		IORING_SETUP_SQE128, IORING_SETUP_CQE32, IORING_SETUP_SQPOLL,
		IORING_SETUP_SQE128 | IORING_SETUP_SQPOLL,
	};
	struct goheap_span s[4];

	for (int i = 0; i < 4; i++) {
		struct goheap_scavenge sc = scav_of();
		struct goheap_span_vec v = vec_of(s, 4);
		struct io_uring ring;

		ASSERT_EQ(0, io_uring_queue_init(4, &ring, flags[i]));
		for (int n = 0; n < 20; n++) {
			for (int k = 0; k < 4; k++)
				s[k] = (struct goheap_span){ .npages = 1 };
			v.done = 0;
			ASSERT_EQ(0, ring_cmd(&ring, self->fd, GOHEAP_SPAN_ALLOC, &v));
			for (int k = 0; k < 4; k++) {
				*(char *)s[k].addr = 1;
				s[k].flags = 0;
			}
			v.done = 0;
			ASSERT_EQ(0, ring_cmd(&ring, self->fd, GOHEAP_SPAN_FREE, &v));
			ASSERT_EQ(0, ring_cmd(&ring, self->fd, GOHEAP_SCAVENGE, &sc));
			EXPECT_EQ(4 * PAGE, sc.released_bytes);
		}
		io_uring_queue_exit(&ring);
	}
}

/* Newer kernels do without polling what cannot be polled for. */
TEST_F(ring, a_ring_that_polls)
{
	struct goheap_span s = { .npages = 1 };
	struct goheap_span_vec v = vec_of(&s, 1);
	struct goheap_stats st;
	struct io_uring ring;
	int res;

	ASSERT_EQ(0, io_uring_queue_init(4, &ring, IORING_SETUP_IOPOLL));
	res = ring_cmd(&ring, self->fd, GOHEAP_SPAN_ALLOC, &v);
	EXPECT_TRUE(res == -EOPNOTSUPP || res == 0);
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(res == 0, st.nr_allocs);
	io_uring_queue_exit(&ring);
}

/* A ring that has the heap's file keeps the heap when its descriptor is closed. */
TEST_F(ring, a_registered_file)
{
	struct goheap_span s = { .npages = 1 };
	struct goheap_span_vec v = vec_of(&s, 1);
	struct io_uring_sqe *sqe;
	int fd = dev_open();

	ASSERT_NE(MAP_FAILED, arena_map(fd, ARENA));
	ASSERT_EQ(0, io_uring_register_files(&self->ring, &fd, 1));
	close(fd);
	sqe = add(&self->ring, 0, GOHEAP_SPAN_ALLOC, &v, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	ASSERT_EQ(1, io_uring_submit(&self->ring));
	EXPECT_EQ(0, ring_result(&self->ring, NULL));
	memset((void *)s.addr, 1, PAGE);
}

/* ---- many, and in order -------------------------------------------------------------- */

struct slot {
	struct goheap_span s[3];
	struct goheap_span_vec v;
	struct goheap_scavenge sc;
	unsigned int nr;		/* what is in flight */
	bool has;			/* spans */
};

/* The next request of one slot: it allocates, frees what it has, or releases. */
static void next_request(struct slot *sl, uint64_t *seed, struct io_uring *ring, int fd,
			 uint64_t data)
{
	struct io_uring_sqe *sqe;
	void *arg = &sl->v;

	sl->v = vec_of(sl->s, 3);
	if (rnd(seed) % 8 == 0) {
		sl->nr = GOHEAP_SCAVENGE;
		sl->sc = scav_of();
		arg = &sl->sc;
	} else if (sl->has) {
		sl->nr = GOHEAP_SPAN_FREE;
		for (int i = 0; i < 3; i++)
			sl->s[i].flags = 0;
	} else {
		sl->nr = GOHEAP_SPAN_ALLOC;
		for (int i = 0; i < 3; i++)
			sl->s[i] = (struct goheap_span){ .npages = 1 + rnd(seed) % 4 };
		sl->v.flags = rnd(seed) % 2 ? GOHEAP_VEC_POPULATE : 0;
	}
	sqe = add(ring, fd, sl->nr, arg, data);
	if (rnd(seed) % 2)
		sqe->flags |= IOSQE_ASYNC;
}

/* Whether a slot's request did what it should. */
static bool finish_request(struct slot *sl, uint64_t data)
{
	if (sl->nr == GOHEAP_SCAVENGE)
		return true;
	for (int i = 0; i < 3; i++) {
		if (sl->nr == GOHEAP_SPAN_ALLOC)
			fill((void *)sl->s[i].addr, sl->s[i].npages * PAGE, data);
	}
	sl->has = sl->nr == GOHEAP_SPAN_ALLOC;
	return sl->v.done == 3;
}

static bool intact(const struct slot *sl, uint64_t data)
{
	for (int i = 0; sl->has && i < 3; i++)
		if (!filled((void *)sl->s[i].addr, sl->s[i].npages * PAGE, data))
			return false;
	return true;
}

/* Half of them by workers, at the same time as those of the submitter. */
TEST_F_TIMEOUT(ring, sixty_four_in_flight, SLOW)
{
	static struct slot slots[NR];
	struct goheap_stats st;
	uint64_t seed = 1, data;
	unsigned int spans = 0;

	for (int i = 0; i < NR; i++)
		next_request(&slots[i], &seed, &self->ring, self->fd, i);
	ASSERT_EQ(NR, io_uring_submit(&self->ring));
	for (int n = 0; n < ROUNDS; n++) {
		ASSERT_EQ(0, ring_result(&self->ring, &data));
		ASSERT_LT(data, NR);
		ASSERT_TRUE(finish_request(&slots[data], data));
		ASSERT_TRUE(intact(&slots[data], data));
		if (n < ROUNDS - NR) {
			next_request(&slots[data], &seed, &self->ring, self->fd, data);
			ASSERT_EQ(1, io_uring_submit(&self->ring));
		}
	}
	for (int i = 0; i < NR; i++) {
		EXPECT_TRUE(intact(&slots[i], i));
		spans += slots[i].has * 3;
	}
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(spans, st.nr_spans);
	EXPECT_GT(st.nr_frees, 1000);
}

/* A result that is not 0 breaks a link: none does, by the submitter or a worker. */
TEST_F(ring, linked_requests)
{
	struct goheap_span s = { .npages = 64 }, t = { .npages = 64 };
	struct goheap_span_vec v = vec_of(&s, 1), w = vec_of(&s, 1), x = vec_of(&t, 1);
	struct goheap_scavenge sc = scav_of();
	struct goheap_stats st;
	uint64_t data;

	/* Allocates, frees what it got, releases that, and allocates. */
	add(&self->ring, self->fd, GOHEAP_SPAN_ALLOC, &v, 0)->flags |= IOSQE_IO_LINK;
	add(&self->ring, self->fd, GOHEAP_SPAN_FREE, &w, 1)->flags |= IOSQE_IO_LINK;
	add(&self->ring, self->fd, GOHEAP_SCAVENGE, &sc, 2)->flags |= IOSQE_IO_LINK;
	add(&self->ring, self->fd, GOHEAP_SPAN_ALLOC, &x, 3);
	ASSERT_EQ(4, io_uring_submit(&self->ring));
	for (int i = 0; i < 4; i++) {
		EXPECT_EQ(0, ring_result(&self->ring, &data));
		EXPECT_EQ(i, data);
	}
	/* The same pages, and released: the order was kept. */
	EXPECT_EQ(s.addr, t.addr);
	EXPECT_EQ(64 * PAGE, sc.released_bytes);
	EXPECT_EQ(0, t.flags);
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(2, st.nr_allocs);
	EXPECT_EQ(1, st.nr_spans);
}

TEST_F(ring, a_link_that_fails)
{
	struct goheap_span s = { .npages = 1 };
	struct goheap_span_vec v = vec_of(&s, 1), bad = vec_of(&s, 0);
	struct goheap_scavenge sc = scav_of();
	struct goheap_stats st;
	uint64_t data;

	sc.flags = 1;
	for (int round = 0; round < 2; round++) {
		if (round)
			add(&self->ring, self->fd, GOHEAP_SCAVENGE, &sc, 0)->flags |= IOSQE_IO_LINK;
		else
			add(&self->ring, self->fd, GOHEAP_SPAN_ALLOC, &bad, 0)->flags |= IOSQE_IO_LINK;
		add(&self->ring, self->fd, GOHEAP_SPAN_ALLOC, &v, 1);
		ASSERT_EQ(2, io_uring_submit(&self->ring));
		for (int i = 0; i < 2; i++)
			EXPECT_EQ(i ? -ECANCELED : -EINVAL, ring_result(&self->ring, &data));
	}
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(0, st.nr_allocs);
}

/* ---- another process ------------------------------------------------------------------- */

static int all_stale(struct io_uring *ring, int fd)
{
	struct goheap_span s = { .npages = 1 };
	struct goheap_span_vec v = vec_of(&s, 1);
	struct goheap_scavenge sc = scav_of();

	if (cmd(fd, GOHEAP_SPAN_ALLOC, &v) != -ESTALE)
		return 1;
	if (ring_cmd(ring, fd, GOHEAP_SPAN_ALLOC, &v) != -ESTALE)
		return 2;
	if (ring_cmd(ring, fd, GOHEAP_SPAN_FREE, &v) != -ESTALE)
		return 3;
	if (ring_cmd(ring, fd, GOHEAP_SCAVENGE, &sc) != -ESTALE)
		return 4;
	return 0;
}

TEST_F(ring, a_ring_of_a_forked_child)
{
	struct goheap_stats st;
	pid_t pid = fork();

	if (!pid) {
		struct io_uring ring;

		_exit(io_uring_queue_init(4, &ring, 0) ? 99 : all_stale(&ring, self->fd));
	}
	EXPECT_EQ(0, reap(pid));
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(0, st.nr_allocs);
}

/* It is who submits that counts, not who made the ring. */
TEST_F(ring, an_inherited_ring)
{
	struct goheap_stats st;
	struct io_uring ring;
	pid_t pid;

	ASSERT_EQ(0, io_uring_queue_init(4, &ring, 0));
	pid = fork();
	if (!pid)
		_exit(all_stale(&ring, self->fd));
	EXPECT_EQ(0, reap(pid));
	ASSERT_EQ(0, stats(self->fd, &st));
	EXPECT_EQ(0, st.nr_allocs);
	io_uring_queue_exit(&ring);
}

/* SCAVENGE tells of what waits for a child, here as there. */
TEST_F(ring, a_child_that_shares)
{
	struct goheap_scavenge sc = scav_of();
	char *p = span_new(self->fd, 64);
	int go[2];
	pid_t pid;
	char c;

	memset(p, 1, 64 * PAGE);
	ASSERT_EQ(0, span_free(self->fd, p, 64));
	ASSERT_EQ(0, pipe(go));
	pid = fork();
	if (!pid) {
		close(go[1]);
		_exit(read(go[0], &c, 1) != 0);
	}
	EXPECT_EQ(0, ring_cmd(&self->ring, self->fd, GOHEAP_SCAVENGE, &sc));
	EXPECT_EQ(0, sc.released_bytes);
	EXPECT_EQ(64 * PAGE, sc.waiting_bytes);
	close(go[1]);
	EXPECT_EQ(0, reap(pid));
}

/* ---- in flight --------------------------------------------------------------------------- */

/* A page of arguments that is held back until it is given. */
struct held {
	int uffd;
	struct goheap_scavenge *sc;	/* 64 of them */
};

static bool hold_arguments(struct held *h)
{
	h->sc = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	h->uffd = h->sc == MAP_FAILED ? -1 : hold(h->sc, 4096);
	return h->uffd >= 0;
}

static void give(struct held *h)
{
	static struct goheap_scavenge page[102] __attribute__((aligned(4096)));
	struct uffdio_copy copy = { .dst = (uintptr_t)h->sc, .src = (uintptr_t)page, .len = 4096 };

	for (int i = 0; i < NR; i++)
		page[i] = scav_of();
	ioctl(h->uffd, UFFDIO_COPY, &copy);
}

/* Of spans whose pages are held back: who submits goes on, and the worker waits. */
static bool submit_populate(struct io_uring *ring, int fd, struct goheap_span *s,
			    struct goheap_span_vec *v, int held)
{
	struct io_uring_sqe *sqe;
	struct uffd_msg msg;

	*s = (struct goheap_span){ .npages = 64 };
	*v = vec_of(s, 1);
	v->flags = GOHEAP_VEC_POPULATE;
	sqe = add(ring, fd, GOHEAP_SPAN_ALLOC, v, 5);
	sqe->flags |= hands_on() ? 0 : IOSQE_ASYNC;
	return io_uring_submit(ring) == 1 && read(held, &msg, sizeof(msg)) == sizeof(msg);
}

TEST_F(ring, the_process_goes_on_while_pages_come)
{
	struct uffdio_range range = { .len = 64 * PAGE };
	int held = hold(self->arena, 64 * PAGE);
	struct goheap_span_vec v;
	struct goheap_span s;
	uint64_t data = 0;
	char *p;

	if (held < 0)
		SKIP(return, "no userfaultfd for the kernel's accesses (needs root)");
	ASSERT_TRUE(submit_populate(&self->ring, self->fd, &s, &v, held));
	EXPECT_EQ(0, io_uring_cq_ready(&self->ring));
	/* The span is allocated, and the heap is not kept. */
	p = span_new(self->fd, 1);
	EXPECT_EQ(self->arena + 64 * PAGE, p);
	range.start = (uintptr_t)self->arena;
	ASSERT_EQ(0, ioctl(held, UFFDIO_UNREGISTER, &range));
	EXPECT_EQ(0, ring_result(&self->ring, &data));
	EXPECT_EQ(5, data);
	EXPECT_EQ((uintptr_t)self->arena, s.addr);
	EXPECT_EQ(64 * PAGE, resident(self->arena, 64 * PAGE));
	close(held);
}

static bool submit_held(struct io_uring *ring, int fd, struct held *h)
{
	struct io_uring_sqe *sqe;
	struct uffd_msg msg;

	for (int i = 0; i < NR; i++) {
		sqe = add(ring, fd, GOHEAP_SCAVENGE, &h->sc[i], i);
		if (!sqe)
			return false;
		sqe->flags |= IOSQE_ASYNC;
	}
	/* Until the first of them waits. */
	return io_uring_submit(ring) == NR &&
	       read(h->uffd, &msg, sizeof(msg)) == sizeof(msg);
}

/* Whether it is back to what it was; a ring ends some time after its process. */
static bool refs_become(long long want)
{
	for (int i = 0; i < 200; i++) {
		if (file_number(REFCNT) == want)
			return true;
		sleep_ms(50);
	}
	return false;
}

#define NEED_HOLD(h)								\
do {										\
	if (!hold_arguments(h))								\
		SKIP(return, "no userfaultfd for the kernel's accesses (needs root)"); \
} while (0)

TEST_F_TIMEOUT(ring, in_flight_and_cancelled, SLOW)
{
	bool seen[NR] = {};
	struct io_uring_sqe *sqe;
	int cancelled = 0, res;
	struct held h;
	uint64_t data;

	NEED_HOLD(&h);
	/* Of 64, two can run. */
	ASSERT_EQ(0, io_uring_register_iowq_max_workers(&self->ring, (unsigned int[2]){ 2, 2 }));
	ASSERT_TRUE(submit_held(&self->ring, self->fd, &h));
	EXPECT_EQ(0, io_uring_cq_ready(&self->ring));
	/* The second half, which waits for a worker. */
	for (int i = NR / 2; i < NR; i++) {
		sqe = io_uring_get_sqe(&self->ring);
		io_uring_prep_cancel64(sqe, i, 0);
		sqe->user_data = 1000 + i;
	}
	ASSERT_EQ(NR / 2, io_uring_submit(&self->ring));
	for (int i = 0; i < NR; i++) {
		res = ring_result(&self->ring, &data);
		if (data >= 1000) {
			EXPECT_EQ(0, res);
			continue;
		}
		EXPECT_EQ(-ECANCELED, res);
		ASSERT_LT(data, NR);
		EXPECT_GE(data, NR / 2);
		EXPECT_FALSE(seen[data]);
		seen[data] = true;
		cancelled++;
	}
	EXPECT_EQ(NR / 2, cancelled);
	EXPECT_EQ(0, io_uring_cq_ready(&self->ring));
	/* One that runs is not cancelled.  Until its worker says what it runs, it is not found. */
	for (int i = 0; i < 100; i++) {
		io_uring_prep_cancel64(io_uring_get_sqe(&self->ring), 0, 0);
		ASSERT_EQ(1, io_uring_submit(&self->ring));
		res = ring_result(&self->ring, NULL);
		if (res != -ENOENT)
			break;
		sleep_ms(10);
	}
	EXPECT_EQ(-EALREADY, res);
	give(&h);
	for (int i = 0; i < NR / 2; i++) {
		EXPECT_EQ(0, ring_result(&self->ring, &data));
		EXPECT_LT(data, NR / 2);
		EXPECT_FALSE(seen[data]);
		seen[data] = true;
	}
	close(h.uffd);
}

TEST_F_TIMEOUT(ring, a_ring_closed_with_requests_in_flight, SLOW)
{
	struct io_uring ring;
	long long refs;
	struct held h;
	char *arena;
	int fd;

	NEED_HOLD(&h);
	refs = file_number(REFCNT);
	ASSERT_GT(refs, 0);
	fd = dev_open();
	arena = arena_map(fd, ARENA);
	ASSERT_NE(MAP_FAILED, arena);
	ASSERT_EQ(0, io_uring_queue_init(NR, &ring, 0));
	ASSERT_TRUE(submit_held(&ring, fd, &h));
	io_uring_queue_exit(&ring);
	close(fd);
	munmap(arena, ARENA);
	/* Only requests have it now. */
	sleep_ms(100);
	EXPECT_EQ(refs + 1, file_number(REFCNT));
	give(&h);
	EXPECT_TRUE(refs_become(refs));
	close(h.uffd);
}

enum how { EXIT, KILLED, EXEC, HOWS };

/* Never returns. */
static void end_in_flight(enum how how, bool held, unsigned int after_us)
{
	static struct slot slots[NR];
	struct io_uring ring;
	uint64_t seed = after_us;
	struct held h;
	int fd = dev_open();

	if (arena_map(fd, ARENA) == MAP_FAILED || io_uring_queue_init(NR, &ring, 0))
		_exit(90);
	memset(span_new(fd, 1024), 1, 1024 * PAGE);
	if (held && (!hold_arguments(&h) || !submit_held(&ring, fd, &h)))
		_exit(91);
	if (!held) {
		for (int i = 0; i < NR; i++)
			next_request(&slots[i], &seed, &ring, fd, i);
		if (io_uring_submit(&ring) != NR)
			_exit(92);
		usleep(after_us);
	}
	if (how == EXEC)
		execl("/bin/true", "true", NULL);
	if (how == KILLED)
		raise(SIGKILL);
	_exit(how == EXEC ? 93 : 0);
}

static int reap_end(enum how how, bool held, unsigned int after_us)
{
	pid_t pid = fork();

	if (!pid)
		end_in_flight(how, held, after_us);
	return reap(pid);
}

TEST_F_TIMEOUT(ring, a_process_that_ends_in_mid_flight, SLOW)
{
	long long refs = file_number(REFCNT);

	ASSERT_GT(refs, 0);
	for (int i = 0; i < 60; i++) {
		enum how how = i % HOWS;

		ASSERT_EQ(how == KILLED ? 128 + SIGKILL : 0, reap_end(how, false, i * 20));
	}
	EXPECT_TRUE(refs_become(refs));
}

/* Never returns. */
static void end_populating(bool killed)
{
	struct goheap_span_vec v;
	struct goheap_span s;
	struct io_uring ring;
	int fd = dev_open();
	char *arena = arena_map(fd, ARENA);
	int held = hold(arena, 64 * PAGE);

	if (held < 0 || io_uring_queue_init(NR, &ring, 0) ||
	    !submit_populate(&ring, fd, &s, &v, held))
		_exit(91);
	if (killed)
		raise(SIGKILL);
	_exit(0);
}

TEST_F_TIMEOUT(ring, a_process_that_ends_while_pages_come, SLOW)
{
	long long refs = file_number(REFCNT);
	struct held h;

	NEED_HOLD(&h);
	for (int killed = 0; killed < 2; killed++) {
		pid_t pid = fork();

		if (!pid)
			end_populating(killed);
		ASSERT_EQ(killed ? 128 + SIGKILL : 0, reap(pid));
	}
	EXPECT_TRUE(refs_become(refs));
	close(h.uffd);
}

/* Its workers wait for what will never come: they must give up. */
TEST_F_TIMEOUT(ring, a_process_that_ends_while_workers_wait, SLOW)
{
	long long refs = file_number(REFCNT);
	struct held h;

	NEED_HOLD(&h);
	ASSERT_EQ(0, reap_end(EXIT, true, 0));
	ASSERT_EQ(128 + SIGKILL, reap_end(KILLED, true, 0));
	EXPECT_TRUE(refs_become(refs));
	close(h.uffd);
}

#endif

TEST_HARNESS_MAIN
