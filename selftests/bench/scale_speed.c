// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * How many operations a second NR threads of one process do, with one heap, or NR
 * processes, each with its own; each on a processor of its own, as far as there are
 * so many.  An operation is to get or to give back 64 KiB that nobody writes to:
 *
 *   span	a span by an ioctl of its own
 *   vector	spans by vectors of 32
 *   mmap	mmap() and munmap()
 *
 *	scale_speed threads|processes NR span|vector|mmap MILLISECONDS
 *
 * Prints the number of operations, and the nanoseconds that passed, and that the
 * threads or processes spent on a processor.
 */
#include "device.h"
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/wait.h>

#define MAX_NR	64

/* One worker; they share no cache line. */
struct worker {
	uint64_t operations, cpu_ns;
	unsigned int cpu;
	pthread_t thread;
	pid_t pid;
} __attribute__((aligned(128)));

/* In memory that is shared by the processes too. */
static struct shared {
	struct worker workers[MAX_NR];
	unsigned int ready;
	bool go, stop;
} *shared;

static struct heap heap;
static unsigned int (*work)(void);

/* ---- operations ------------------------------------------------------------------- */

static unsigned int spans(unsigned int n)
{
	struct goheap_span s[VEC];

	for (unsigned int i = 0; i < n; i++)
		s[i] = (struct goheap_span){ .npages = SPAN_BYTES / GOHEAP_PAGE_SIZE };
	span_command(heap.fd, GOHEAP_SPAN_ALLOC, s, n, 0);
	for (unsigned int i = 0; i < n; i++)
		s[i].flags = 0;
	span_command(heap.fd, GOHEAP_SPAN_FREE, s, n, 0);
	return 2 * n;
}

static unsigned int by_span(void)
{
	return spans(1);
}

static unsigned int by_vector(void)
{
	return spans(VEC);
}

static unsigned int by_mmap(void)
{
	void *p = map_memory(SPAN_BYTES);

	if (munmap(p, SPAN_BYTES))
		die("munmap");
	return 2;
}

/* ---- workers ------------------------------------------------------------------------ */

static void pin(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu % sysconf(_SC_NPROCESSORS_ONLN), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void *run(void *arg)
{
	struct worker *w = arg;
	uint64_t before;

	pin(w->cpu);
	work();		/* to warm up */
	__atomic_add_fetch(&shared->ready, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&shared->go, __ATOMIC_ACQUIRE))
		sched_yield();
	before = cpu_ns();
	while (!__atomic_load_n(&shared->stop, __ATOMIC_RELAXED))
		w->operations += work();
	w->cpu_ns = cpu_ns() - before;
	return NULL;
}

static void start(struct worker *w, bool threads)
{
	pid_t pid;

	if (threads) {
		if (pthread_create(&w->thread, NULL, run, w))
			die("thread");
		return;
	}
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid) {
		w->pid = pid;
		return;
	}
	heap = open_heap();
	run(w);
	_exit(0);
}

static void finish(struct worker *w, bool threads)
{
	int status;

	if (threads)
		pthread_join(w->thread, NULL);
	else if (waitpid(w->pid, &status, 0) != w->pid || status)
		die("worker");
}

int main(int argc, char **argv)
{
	unsigned int nr = argc > 4 ? atoi(argv[2]) : 0, i;
	bool threads = argc > 1 && !strcmp(argv[1], "threads");
	uint64_t begin, wall, cpu = 0, operations = 0;

	if (!nr || nr > MAX_NR) {
		fprintf(stderr, "scale_speed threads|processes NR span|vector|mmap MILLISECONDS\n");
		return 2;
	}
	work = *argv[3] == 's' ? by_span : *argv[3] == 'v' ? by_vector : by_mmap;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	if (shared == MAP_FAILED)
		die("mmap");
	if (threads)
		heap = open_heap();
	for (i = 0; i < nr; i++) {
		shared->workers[i].cpu = i;
		start(&shared->workers[i], threads);
	}
	while (__atomic_load_n(&shared->ready, __ATOMIC_ACQUIRE) < nr)
		usleep(1000);
	begin = now_ns();
	__atomic_store_n(&shared->go, true, __ATOMIC_RELEASE);
	usleep(1000 * atoi(argv[4]));
	__atomic_store_n(&shared->stop, true, __ATOMIC_RELEASE);
	wall = now_ns() - begin;
	for (i = 0; i < nr; i++) {
		finish(&shared->workers[i], threads);
		operations += shared->workers[i].operations;
		cpu += shared->workers[i].cpu_ns;
	}
	printf("%llu %llu %llu\n", (unsigned long long)operations, (unsigned long long)wall,
	       (unsigned long long)cpu);
	return 0;
}
