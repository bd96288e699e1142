// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * GOHEAPDEBUG=uring=1: that spans do come ahead with their pages, and that nothing is
 * lost or different when the program closes the ring, puts a file of its own in its
 * place, or another heap in that of the heap, forks, or may not use io_uring.  Skipped
 * on the embedded backend, which has no use for a ring.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <sys/syscall.h>
#include "../../userlib/backend.h"
#include "../../userlib/include/goheap.h"
#include "back_device.h"
#include "back_seccomp.h"

#if __has_include(<liburing.h>)
#define HAS_LIBURING	true
#else
#define HAS_LIBURING	false
#endif

#define OBJECTS	1000
#define BYTES	16384u	/* a span of two pages for each */

static unsigned char *objects[OBJECTS];

/* ---- looks ---- */

/* Mappings of rings, the library's or others. */
static int ring_mappings(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512];
	int nr = 0;

	while (f && fgets(line, sizeof(line), f))
		nr += strstr(line, "anon_inode:[io_uring]") != NULL;
	if (f)
		fclose(f);
	return nr;
}

static bool resident(const void *p)
{
	unsigned char yes = 0;

	return !mincore((void *)((uintptr_t)p & ~4095ul), 1, &yes) && yes & 1;
}

/* Spans in use of the heap that holds p, when none is kept for later nor on its way any more. */
static long long settled(const void *p)
{
	long long nr = -1, last;

	for (int same = 0; same < 3; same = nr == last ? same + 1 : 0) {
		last = nr;
		goheap_flush();
		ghu_backend_scavenge(SIZE_MAX);
		usleep(20000);
		nr = t_spans(t_heap_fd(p));
	}
	return nr;
}

/* ---- use ---- */

/* A span for each of the objects from one to another; how many came with untouched pages. */
static int make_some(int from, int to)
{
	int nr = 0;

	for (int i = from; i < to; i++) {
		/* Of two lengths, so that one may be on its way while another is asked for. */
		objects[i] = malloc(BYTES * (1 + i % 2));
		if (!objects[i])
			return -1;
		nr += resident(objects[i]);
		memset(objects[i], i % 251 + 1, BYTES);
		/* On an emulated or busy CPU workers need some time. */
		if (i % 100 == 0)
			usleep(1000);
	}
	return nr;
}

static int make_all(void)
{
	return make_some(0, OBJECTS);
}

static int check_all(void)
{
	for (int i = 0; i < OBJECTS; i++)
		for (size_t k = 0; k < BYTES; k += 61)
			T_EQ(objects[i][k], i % 251 + 1);
	return T_PASS;
}

static void free_all(void)
{
	for (int i = 0; i < OBJECTS; i++)
		free(objects[i]);
}

static int replace_all(void)
{
	T_SUB(check_all());
	free_all();
	ghu_backend_scavenge(SIZE_MAX);
	T(make_all() >= 0);
	return check_all();
}

#define LIVES	600

static size_t length_of(int i)
{
	return BYTES * (1 + i % 4);
}

/* Objects of four lengths that come and go; NULL, or what is wrong. */
static void *life(void *arg)
{
	unsigned char *p[LIVES];

	for (int round = 0; round < 8; round++) {
		for (int i = 0; i < LIVES; i++) {
			p[i] = malloc(length_of(i));
			if (!p[i])
				return "no memory";
			p[i][0] = p[i][length_of(i) - 1] = i % 251 + 1;
		}
		for (int i = 0; i < LIVES; i++) {
			if (p[i][0] != i % 251 + 1 || p[i][length_of(i) - 1] != i % 251 + 1)
				return "lost";
			free(p[i]);
		}
	}
	return NULL;
}

static unsigned char *more[OBJECTS];

/* Objects of two lengths by turns, which are not touched. */
static int have_more(int from, int to)
{
	for (int i = from; i < to; i++) {
		more[i] = malloc(BYTES * (1 + i % 2));
		T(more[i]);
	}
	return T_PASS;
}

/* The option is for the first malloc(), and huge pages would be there for all. */
static int begin(void)
{
	if (strcmp(ghu_backend_name(), "device"))
		return T_SKIP;
	T_EQ(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), 0);
	return T_PASS;
}

static int begin_with_ring(void)
{
	T_SUB(begin());
	T(make_all() >= 0);
	return t_ring_fd() < 0 ? T_SKIP : T_PASS;
}

/* ---- cases ---- */

static int come_ahead(void)
{
	int nr;

	T_SUB(begin());
	nr = make_all();
	T(nr >= 0);
	if (t_ring_fd() < 0)
		return T_SKIP;
	printf("# %d of %d objects had pages\n", nr, OBJECTS);
	T(nr >= OBJECTS / 20);
	return check_all();
}

/* A program that needs a span now and then has nothing of it. */
static int not_for_few(void)
{
	T_SUB(begin());
	for (int i = 0; i < 20; i++) {
		objects[i] = malloc(8192 * (1 + i % 3));
		T(objects[i]);
		usleep(1000);
	}
	T_EQ(t_ring_fd(), -1);
	return T_PASS;
}

static int zeroed(void)
{
	T_SUB(begin());
	for (int i = 0; i < OBJECTS; i++) {
		objects[i] = calloc(1, BYTES);
		T(objects[i]);
		for (unsigned int k = 0; k < BYTES; k++)
			T_EQ(objects[i][k], 0);
		memset(objects[i], 255, BYTES);
		if (i % 3 == 0) {
			free(objects[i]);
			objects[i] = NULL;
		}
	}
	return T_PASS;
}

/* Spans that are there at pages are not for who wants them at more. */
static int aligned(void)
{
	/* Volatile, or the compiler takes for granted what is declared of memalign(). */
	volatile uintptr_t at;

	T_SUB(begin_with_ring());
	for (int i = 0; i < 30; i++) {
		T_SUB(have_more(0, 100));
		usleep(5000);
		at = (uintptr_t)memalign(256 * BYTES, BYTES * (1 + i % 2));
		T(at);
		T_EQ(at % (256 * BYTES), 0);
	}
	return T_PASS;
}

static int placed_high(void)
{
	T_SUB(begin_with_ring());
	return t_placed_high(t_ring_fd());
}

/* Nothing is in use in the end but what the program has. */
static int none_lost(void)
{
	void *p;

	T_SUB(begin_with_ring());
	p = objects[OBJECTS - 1];
	T_EQ(settled(p), OBJECTS);
	for (int i = 0; i < 5; i++)
		T_SUB(replace_all());
	free_all();
	T_EQ(settled(p), 0);
	return T_PASS;
}

/* All descriptors; and the ring alone, with requests on their way. */
static int closes(bool all)
{
	void *p;
	int fd;

	T_SUB(begin_with_ring());
	p = objects[OBJECTS - 1];
	for (int i = 0; i < 5; i++) {
		T_SUB(replace_all());
		fd = t_ring_fd();
		T_EQ(syscall(SYS_close_range, all ? 3 : fd, all ? ~0U : fd, 0), 0);
		T_SUB(replace_all());
		if (t_ring_fd() < 0)
			break;
	}
	/* Given up, and no other was made. */
	T_EQ(t_ring_fd(), -1);
	T_SUB(replace_all());
	T_EQ(t_ring_fd(), -1);
	free_all();
	T_EQ(settled(p), 0);
	return T_PASS;
}

static int closes_all(void)
{
	return closes(true);
}

static int closes_ring(void)
{
	return closes(false);
}

/* Holds back the pages of an arena that were never used: who populates them waits. */
static int hold_pages(const void *p)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct goheap_info info = { .size = sizeof(info) };
	struct goheap_stats st = { .size = sizeof(st) };
	int heap = t_heap_fd(p), fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || ioctl(heap, GOHEAP_INFO, &info) || ioctl(heap, GOHEAP_STATS, &st))
		return -1;
	reg.range.start = info.arena_start + st.heap_sys;
	reg.range.len = 64 << 20;
	return ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg) ? -1 : fd;
}

/* The next page that somebody waits for, or 0 when nobody comes any more. */
static uint64_t awaited(int uffd)
{
	struct pollfd p = { .fd = uffd, .events = POLLIN };
	struct uffd_msg msg;

	if (poll(&p, 1, 200) != 1 || read(uffd, &msg, sizeof(msg)) != sizeof(msg))
		return 0;
	return msg.arg.pagefault.address & ~4095ul;
}

/* One length asks, and finds the ring closed, while what the other asked for is on its way. */
static int closes_meanwhile(void)
{
	uint64_t page = 0, other = 0;
	int uffd, nr;

	T_SUB(begin_with_ring());
	uffd = hold_pages(objects[0]);
	if (uffd < 0)
		return T_SKIP;
	for (nr = 0; nr < OBJECTS - 200 && !other; nr += 50) {
		T_SUB(have_more(nr, nr + 50));
		if (!page)
			page = awaited(uffd);
		if (page)
			other = awaited(uffd);
		/* Who waits may be disturbed, and wait again. */
		if (other == page)
			other = 0;
	}
	T(other);
	T_EQ(close(t_ring_fd()), 0);
	/* All but the other go on. */
	for (; page; page = awaited(uffd)) {
		struct uffdio_range range = { page, 4096 };

		if (page != other)
			T_EQ(ioctl(uffd, UFFDIO_UNREGISTER, &range), 0);
	}
	T_SUB(have_more(nr, nr + 200));
	close(uffd);
	for (int i = 0; i < nr + 200; i++)
		free(more[i]);
	free_all();
	T_EQ(settled(objects[0]), 0);
	return T_PASS;
}

static int open_file(void)
{
	return open("/dev/null", O_RDWR);
}

#define QUEUED	8

/* How many of the requests that the program queued were taken by the kernel. */
static const unsigned int *taken;

/* A ring of the program's own, with requests to do nothing, which it has not handed in yet. */
static int open_ring(void)
{
	struct io_uring_params params = {};
	unsigned int *slots, *tail;
	int fd = (int)syscall(SYS_io_uring_setup, QUEUED, &params);
	char *sq;

	if (fd < 0)
		return fd;
	/* Entries that are zero are such requests. */
	sq = mmap(NULL, params.sq_off.array + QUEUED * sizeof(*slots), PROT_READ | PROT_WRITE,
		  MAP_SHARED, fd, IORING_OFF_SQ_RING);
	if (sq == MAP_FAILED)
		return -1;
	slots = (unsigned int *)(sq + params.sq_off.array);
	for (unsigned int i = 0; i < QUEUED; i++)
		slots[i] = i;
	tail = (unsigned int *)(sq + params.sq_off.tail);
	__atomic_store_n(tail, QUEUED, __ATOMIC_RELEASE);
	taken = (unsigned int *)(sq + params.sq_off.head);
	return fd;
}

/* The number leads to something else; it must stay open, and be left alone. */
static int replaced_by(int (*open_one)(void))
{
	int fd, mine;

	T_SUB(begin_with_ring());
	fd = t_ring_fd();
	mine = open_one();
	T(mine >= 0);
	T_EQ(dup2(mine, fd), fd);
	for (int i = 0; i < 3; i++)
		T_SUB(replace_all());
	T(!life(NULL));
	T(fcntl(fd, F_GETFD) >= 0);
	return T_PASS;
}

static int replaced_by_file(void)
{
	return replaced_by(open_file);
}

/* That it is another's shows in the answer to the first request, and there is no second. */
static int replaced_by_ring(void)
{
	T_SUB(replaced_by(open_ring));
	T(__atomic_load_n(taken, __ATOMIC_ACQUIRE) <= 1);
	return T_PASS;
}

/* A heap of the program's own, where the library's was: it answers, and gets its spans back. */
static int heap_replaced(void)
{
	int fd, mine;

	T_SUB(begin_with_ring());
	mine = t_own_heap();
	T(mine >= 0);
	for (int i = 0; i < 10; i++) {
		free_all();
		T(make_some(0, OBJECTS / 2) >= 0);
		/* What was asked of ours may be on its way; the next goes to the other. */
		fd = t_heap_fd(objects[0]);
		T(fd >= 0);
		T_EQ(dup2(mine, fd), fd);
		T(make_some(OBJECTS / 2, OBJECTS) >= 0);
		T_SUB(check_all());
	}
	free_all();
	settled(objects[0]);
	T_EQ(t_spans(mine), 0);
	return T_PASS;
}

/* Both go on, and neither has the other's spans. */
static int forks(void)
{
	int status = -1;
	pid_t pid;

	T_SUB(begin_with_ring());
	for (int i = 0; i < 5; i++) {
		fflush(stdout);
		pid = fork();
		if (!pid)
			_exit(ring_mappings() || replace_all() || replace_all());
		T_SUB(replace_all());
		T_EQ(waitpid(pid, &status, 0), pid);
		T_EQ(status, 0);
		T_SUB(check_all());
	}
	return T_PASS;
}

static int refused(void)
{
	T_SUB(begin());
	T_SUB(t_forbid(SYS_io_uring_setup, SECCOMP_RET_ERRNO | EPERM));
	T(make_all() >= 0);
	T_EQ(t_ring_fd(), -1);
	return replace_all();
}

static int refused_later(void)
{
	T_SUB(begin_with_ring());
	T_SUB(t_forbid(SYS_io_uring_enter, SECCOMP_RET_ERRNO | ENOSYS));
	for (int i = 0; i < 3; i++)
		T_SUB(replace_all());
	return T_PASS;
}

/* Threads that end while what they asked for is on its way. */
static int threads(void)
{
	pthread_t t[8];
	void *why;

	T_SUB(begin_with_ring());
	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < 8; i++)
			T_EQ(pthread_create(&t[i], NULL, life, NULL), 0);
		for (int i = 0; i < 8; i++) {
			T_EQ(pthread_join(t[i], &why), 0);
			T(!why);
		}
	}
	return check_all();
}

static const struct t_case cases[] = {
	{ "spans come ahead, with pages", come_ahead },
	{ "no ring for a few spans", not_for_few },
	{ "what is to be zero is zero", zeroed },
	{ "what is to be aligned is aligned", aligned },
	{ "the descriptor is high and close-on-exec", placed_high },
	{ "no span is lost", none_lost },
	{ "all descriptors closed", closes_all },
	{ "the ring closed", closes_ring },
	{ "the ring closed while spans come", closes_meanwhile },
	{ "a file on the ring's descriptor", replaced_by_file },
	{ "another ring on the ring's descriptor", replaced_by_ring },
	{ "another heap on the heap's descriptor", heap_replaced },
	{ "forked children", forks },
	{ "io_uring refused", refused },
	{ "io_uring refused later", refused_later },
	{ "threads that end", threads },
};

/* The option must be there before the first malloc(). */
static void with_option(char **argv)
{
	const char *had = getenv("GOHEAPDEBUG");
	char text[256];

	if (had && strstr(had, "uring="))
		return;
	snprintf(text, sizeof(text), "%s%suring=1", had ? had : "", had && *had ? "," : "");
	setenv("GOHEAPDEBUG", text, 1);
	execv("/proc/self/exe", argv);
}

int main(int argc, char **argv)
{
	if (!HAS_LIBURING) {
		printf("1..0 # SKIP built without liburing (package liburing-dev)\n");
		return T_SKIP;
	}
	with_option(argv);
	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
