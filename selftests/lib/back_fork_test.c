// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * fork() under the allocator, linked with libgoheap.a: whatever a parent and its
 * children do to their heaps, none loses a byte of its data, and every process can
 * go on allocating.  The same on both backends; on the device the children free
 * what they inherited into a page heap of their own, and open a new one.
 */
#include <goheap.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include "../../userlib/backend.h"
#include "back_test.h"

#define OBJECTS	800

/* A child that finds a lock held waits for ever, unless it is killed. */
#define CHILD_SECONDS	40

struct object {
	unsigned char *p;
	size_t size;
	unsigned char seed;
};

static struct object objects[OBJECTS];

static size_t random_size(void)
{
	switch (t_below(100)) {
	case 0:
		return 1 + t_below(1 << 20);
	case 1 ... 10:
		return 1 + t_below(60000);
	default:
		return 1 + t_below(2000);
	}
}

static void fill(struct object *o)
{
	memset(o->p, o->seed, o->size);
}

static bool intact(const struct object *o)
{
	for (size_t i = 0; i < o->size; i++)
		if (o->p[i] != o->seed)
			return false;
	return true;
}

static int make(struct object *o)
{
	*o = (struct object){ .size = random_size(), .seed = (unsigned char)(1 + t_below(255)) };
	o->p = malloc(o->size);
	T(o->p);
	fill(o);
	return T_PASS;
}

static int make_all(void)
{
	for (int i = 0; i < OBJECTS; i++)
		T_SUB(make(&objects[i]));
	return T_PASS;
}

static int check_all(void)
{
	for (int i = 0; i < OBJECTS; i++)
		T(intact(&objects[i]));
	return T_PASS;
}

/* Replaces objects at random, so that spans come and go. */
static int churn(int steps)
{
	while (steps--) {
		struct object *o = &objects[t_below(OBJECTS)];

		T(intact(o));
		if (t_below(8)) {
			free(o->p);
			T_SUB(make(o));
		} else {
			size_t size = random_size();

			o->p = realloc(o->p, size);
			T(o->p);
			o->size = size;
			fill(o);
		}
	}
	return T_PASS;
}

static void free_all(void)
{
	for (int i = 0; i < OBJECTS; i++)
		free(objects[i].p);
}

/* Objects that are allocated, hold nothing, and are free again: idle pages in the parent. */
static int make_idle(void)
{
	char *p[16];

	for (int i = 0; i < 16; i++) {
		p[i] = malloc(1 << 20);
		T(p[i]);
		memset(p[i], 0xee, 1 << 20);
	}
	for (int i = 0; i < 16; i++)
		free(p[i]);
	return T_PASS;
}

/* What a child of the tests below does, all of it or a part, and then what its exit status is. */
static int child_life(int parts)
{
	t_state ^= (uint64_t)getpid() << 32;
	T_SUB(check_all());
	if (parts > 0)
		T_SUB(churn(500));
	if (parts > 1) {
		free_all();
		T_SUB(make_all());
		goheap_scavenge(SIZE_MAX);
	}
	return check_all();
}

static int reap(int nr)
{
	while (nr--) {
		int status;

		T(wait(&status) > 0);
		T(WIFEXITED(status));
		T_EQ(WEXITSTATUS(status), 0);
	}
	return T_PASS;
}

static pid_t start(int (*life)(int), int arg)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		int ret;

		alarm(CHILD_SECONDS);
		ret = life(arg);
		fflush(stdout);
		_exit(ret);
	}
	return pid;
}

static int children(void)
{
	T_SUB(make_all());
	for (int i = 0; i < 9; i++)
		T(start(child_life, i % 3) > 0);
	T_SUB(churn(1000));
	T_SUB(reap(9));
	return check_all();
}

/* A parent that gives its idle memory back as fast as it can, while children read theirs. */
static int parent_scavenges(void)
{
	T_SUB(make_all());
	for (int i = 0; i < 40; i++) {
		T_SUB(make_idle());
		T(start(child_life, 0) > 0);
		for (int k = 0; k < 5; k++)
			goheap_scavenge(SIZE_MAX);
		if (i % 10 == 9)
			T_SUB(reap(10));
	}
	return check_all();
}

/* The same, with data that the parent has freed and the child still has. */
static int parent_frees(void)
{
	T_SUB(make_all());
	for (int i = 0; i < 4; i++) {
		T(start(child_life, 1) > 0);
		free_all();
		goheap_scavenge(SIZE_MAX);
		T_SUB(make_all());
	}
	T_SUB(reap(4));
	return check_all();
}

#define BLOCKS	64

static unsigned char *blocks[BLOCKS];

/* Waits for a byte, then looks whether everything is still there. */
static int wait_and_check(int fd)
{
	unsigned char byte;

	T_EQ(read(fd, &byte, 1), 1);
	for (int i = 0; i < BLOCKS; i++)
		for (size_t k = 0; k < 1 << 20; k += 512)
			T_EQ(blocks[i][k], i + 1);
	return T_PASS;
}

/* What the parent frees is released in the parent, though a child has it still. */
static int parent_releases(void)
{
	size_t before, after;
	int fd[2];

	T_EQ(pipe(fd), 0);
	for (int i = 0; i < BLOCKS; i++) {
		blocks[i] = malloc(1 << 20);
		T(blocks[i]);
		memset(blocks[i], i + 1, 1 << 20);
	}
	T(start(wait_and_check, fd[0]) > 0);
	before = t_rss();
	for (int i = 0; i < BLOCKS; i++)
		free(blocks[i]);
	goheap_scavenge(SIZE_MAX);
	after = t_rss();
	printf("# RSS of the parent %zu MiB, then %zu MiB\n", before >> 20, after >> 20);
	T(after + ((size_t)(BLOCKS - 4) << 20) < before);
	for (int i = 0; i < BLOCKS; i++) {
		blocks[i] = calloc(1, 1 << 20);
		T(blocks[i]);
		for (size_t k = 0; k < 1 << 20; k += 512)
			T_EQ(blocks[i][k], 0);
		memset(blocks[i], 0xff, 1 << 20);
	}
	T_EQ(write(fd[1], "x", 1), 1);
	return reap(1);
}

static int generation(int left)
{
	T_SUB(child_life(2));
	if (!left)
		return T_PASS;
	T_SUB(make_idle());
	T(start(generation, left - 1) > 0);
	T(start(generation, left - 1) > 0);
	T_SUB(churn(500));
	T_SUB(reap(2));
	return check_all();
}

static int grandchildren(void)
{
	T_SUB(make_all());
	return generation(2);
}

/* A child whose parent is gone goes on. */
static int orphan(int fd)
{
	char byte = 1;

	while (getppid() != 1 && kill(getppid(), 0) == 0 && byte++ < 100)
		usleep(10000);
	T_SUB(child_life(2));
	byte = 0;
	T(write(fd, &byte, 1) == 1);
	return T_PASS;
}

static int orphan_parent(int fd)
{
	T(start(orphan, fd) > 0);
	return T_PASS;
}

static int orphans(void)
{
	char byte = 1;
	int fd[2];

	T_SUB(make_all());
	T_EQ(pipe(fd), 0);
	T(start(orphan_parent, fd[1]) > 0);
	T_SUB(reap(1));
	close(fd[1]);
	T_EQ(read(fd[0], &byte, 1), 1);
	T_EQ(byte, 0);
	return T_PASS;
}

/* ---- threads ---- */

static volatile bool stop;

static void *allocate(void *arg)
{
	uint64_t x = (uintptr_t)arg | 1;
	void *mine[64] = { 0 };

	while (!stop) {
		void **slot = &mine[x % 64];

		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		free(*slot);
		*slot = malloc((x >> 33) % 20000 + 1);
		if (*slot)
			*(volatile char *)*slot = 1;
	}
	for (int i = 0; i < 64; i++)
		free(mine[i]);
	return NULL;
}

static int run_threads(void *(*fn)(void *), int (*life)(int), int children)
{
	pthread_t t[3];

	for (uintptr_t i = 0; i < 3; i++)
		T_EQ(pthread_create(&t[i], NULL, fn, (void *)(i * 77)), 0);
	for (int i = 0; i < children; i++) {
		T(start(life, i % 2) > 0);
		if (i % 4 == 3)
			T_SUB(reap(4));
	}
	stop = true;
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	return check_all();
}

static int threads_fork(void)
{
	T_SUB(make_all());
	return run_threads(allocate, child_life, 24);
}

/* Nothing but spans: somebody is always inside the page heap. */
static void *hammer(void *arg)
{
	size_t n = (uintptr_t)arg;

	while (!stop) {
		struct ghu_run a, b;

		n++;
		if (ghu_span_alloc(40 + n % 50, 0, 0, 0, &a) || ghu_span_alloc(9, 0, 0, 0, &b))
			abort();
		ghu_span_free(a.addr, a.npages);
		ghu_span_free(b.addr, b.npages);
		if (n % 64 == 0)
			goheap_scavenge(SIZE_MAX);
	}
	return NULL;
}

static int short_life(int arg)
{
	for (int i = 0; i < 20; i++) {
		struct object o;

		T_SUB(make(&o));
		free(o.p);
		free(malloc(500000));
		free(objects[i].p);
		T_SUB(make(&objects[i]));
	}
	goheap_scavenge(arg ? SIZE_MAX : 0);
	return T_PASS;
}

static int hammered_fork(void)
{
	T_SUB(make_all());
	return run_threads(hammer, short_life, 60);
}

#define CHILD_THREADS	6

static pthread_barrier_t barrier;

/*
 * A child's threads, all at once, free what it inherited, long objects first, and
 * take spans for themselves meanwhile, which nobody else may have or clear.
 */
static void *free_share(void *arg)
{
	unsigned char *mine[40];
	uintptr_t id = (uintptr_t)arg;
	bool bad = false;

	pthread_barrier_wait(&barrier);
	for (uintptr_t i = id; i < BLOCKS; i += CHILD_THREADS)
		free(blocks[i]);
	for (int i = 0; i < 40; i++) {
		mine[i] = malloc(50000);
		if (mine[i])
			memset(mine[i], (int)(id + 1), 50000);
		free(objects[(id + CHILD_THREADS * i) % OBJECTS].p);
		objects[(id + CHILD_THREADS * i) % OBJECTS].p = NULL;
	}
	for (int i = 0; i < 40; i++) {
		for (size_t k = 0; mine[i] && k < 50000; k += 64)
			bad |= mine[i][k] != id + 1;
		free(mine[i]);
	}
	return (void *)(uintptr_t)bad;
}

static int child_threads(int arg)
{
	pthread_t t[CHILD_THREADS];
	void *bad;

	(void)arg;
	T_SUB(check_all());
	pthread_barrier_init(&barrier, NULL, CHILD_THREADS);
	for (uintptr_t i = 0; i < CHILD_THREADS; i++)
		T_EQ(pthread_create(&t[i], NULL, free_share, (void *)i), 0);
	for (int i = 0; i < CHILD_THREADS; i++) {
		pthread_join(t[i], &bad);
		T(!bad);
	}
	for (int i = 0; i < OBJECTS; i++) {
		free(objects[i].p);
		T_SUB(make(&objects[i]));
	}
	return check_all();
}

static int children_with_threads(void)
{
	for (int i = 0; i < BLOCKS; i++) {
		blocks[i] = malloc(300000);
		T(blocks[i]);
		memset(blocks[i], 1, 300000);
	}
	T_SUB(make_all());
	for (int i = 0; i < 4; i++) {
		T(start(child_threads, 0) > 0);
		T_SUB(churn(50));
		T_SUB(reap(1));
	}
	return check_all();
}

/* ---- children that no handler knows of ---- */

static int raw_child(int parts)
{
	pid_t pid;

	T_SUB(make_all());
	for (int i = 0; i < 4; i++) {
		T_SUB(make_idle());
		fflush(stdout);
		pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
		if (!pid) {
			int ret = child_life(parts);

			fflush(stdout);
			_exit(ret);
		}
		T(pid > 0);
		goheap_scavenge(SIZE_MAX);
		T_SUB(churn(200));
		T_EQ(t_wait(pid), 0);
	}
	return check_all();
}

static int raw_clone(void)
{
	return raw_child(2);
}

static int vfork_shares(void)
{
	static char *made;
	uint64_t gen;
	pid_t pid;

	T_SUB(make_all());
	gen = ghu_backend_pressure();
	pid = vfork();
	if (!pid) {
		made = malloc(100000);
		free(objects[0].p);
		objects[0].p = malloc(objects[0].size);
		_exit(0);
	}
	T_EQ(t_wait(pid), 0);
	T_EQ(ghu_backend_pressure(), gen);	/* nothing was set up anew */
	fill(&objects[0]);
	memset(made, 1, 100000);
	free(made);
	T_SUB(churn(2000));
	return check_all();
}

/* Descriptors closed by a vfork child in its own table do not harm the parent. */
static int vfork_closes(void)
{
	pid_t pid;

	T_SUB(make_all());
	pid = vfork();
	if (!pid) {
		syscall(SYS_close_range, 3, ~0U, 0);
		for (int i = 0; i < 100; i++)
			free(malloc(300000));
		_exit(0);
	}
	T_EQ(t_wait(pid), 0);
	T_SUB(churn(2000));
	return check_all();
}

/* A new heap in the child is of the same kind as the parent's. */
static int same_backend(int arg)
{
	const char *name = (const char *[]){ "embedded", "device" }[arg];

	T_SUB(make_all());
	if (strcmp(ghu_backend_name(), name))
		printf("# is %s\n", ghu_backend_name());
	T(!strcmp(ghu_backend_name(), name));
	return T_PASS;
}

static int child_backend(void)
{
	int device = !strcmp(ghu_backend_name(), "device");

	T_SUB(make_all());
	T(start(same_backend, device) > 0);
	T_SUB(reap(1));
	return T_PASS;
}

static const struct t_case cases[] = {
	{ "children check, churn, free and allocate", children },
	{ "parent scavenges while children check", parent_scavenges },
	{ "parent frees what children have", parent_frees },
	{ "parent releases what children have", parent_releases },
	{ "grandchildren", grandchildren },
	{ "children without parent", orphans },
	{ "a process with allocating threads forks", threads_fork },
	{ "a process with threads in the page heap forks", hammered_fork },
	{ "children with threads free what they inherited", children_with_threads },
	{ "children of clone, without handlers", raw_clone },
	{ "a vfork child shares the heap", vfork_shares },
	{ "a vfork child that closes descriptors", vfork_closes },
	{ "children have the parent's backend", child_backend },
};

int main(int argc, char **argv)
{
	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
