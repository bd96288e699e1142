// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * A program for back_env_test.sh: uses malloc() as programs do, from threads and
 * children too, says "fine" if all its data was there at the end, and which
 * allocator it runs on.  With an argument it does other things, see main().
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/goheap.h>

#define OBJECTS	2000

static size_t size_of(int i)
{
	return (size_t)(i % 50 ? i * 37 % 5000 + 1 : 100000 + i * 100);
}

static int use(void)
{
	unsigned char **p = calloc(OBJECTS, sizeof(*p));
	int bad = !p;

	for (int round = 0; !bad && round < 3; round++) {
		for (int i = 0; i < OBJECTS; i++) {
			p[i] = malloc(size_of(i));
			if (p[i])
				memset(p[i], i & 255, size_of(i));
		}
		for (int i = 0; i < OBJECTS; i++) {
			bad |= !p[i] || p[i][size_of(i) - 1] != (i & 255);
			free(p[i]);
		}
	}
	free(p);
	return bad;
}

static void *thread(void *arg)
{
	*(int *)arg = use();
	return NULL;
}

static int use_threads(void)
{
	int bad[4] = { 1, 1, 1, 1 };
	pthread_t t[4];

	for (int i = 0; i < 4; i++)
		if (pthread_create(&t[i], NULL, thread, &bad[i]))
			return 1;
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	return bad[0] | bad[1] | bad[2] | bad[3];
}

static int use_child(void)
{
	pid_t pid = fork();
	int status = 1;

	if (!pid)
		_exit(use());
	waitpid(pid, &status, 0);
	return status;
}

/* There if the program was linked with libgoheap, or it was preloaded. */
const char *goheap_backend(void) __attribute__((weak));

static const char *backend(void)
{
	return goheap_backend ? goheap_backend() : "libc";
}

/* 100 MB of live data, and a death that leaves a core. */
static char *volatile live;

static int dump(void)
{
	live = malloc(100 << 20);
	if (!live)
		return 1;
	memset(live, 'L', 100 << 20);
	strcpy(live, "the live data begins here");
	for (int i = 0; i < 1000; i++)
		free(malloc(60000));
	abort();
}

/* Takes memory in pieces of 64 KiB until there is no more, and says how many MiB. */
static int fill(void)
{
	unsigned long n = 0;
	char *p;

	while ((p = malloc(65536))) {
		memset(p, 1, 65536);
		n++;
	}
	free(malloc(100));
	printf("%lu MiB, errno %d\n", n / 16, errno);
	return use();
}

/* The same, but its heap may hold so many MiB at most. */
static int fill_limited(unsigned long mib)
{
	struct goheap_attach at = { .size = sizeof(at), .addr = (uintptr_t)malloc(1 << 20) };
	struct goheap_limit limit = {
		.size = sizeof(limit), .flags = GOHEAP_LIMIT_SET,
		.soft_bytes = ~0ull, .hard_bytes = mib << 20,
	};
	int fd = open("/dev/goheap", O_RDWR | O_CLOEXEC);

	return ioctl(fd, GOHEAP_ATTACH, &at) || ioctl(fd, GOHEAP_LIMIT, &limit) || fill();
}

/* Locks everything that is mapped from now on. */
static int lock_all(void)
{
	return mlockall(MCL_FUTURE) || use();
}

/* "RssAnon:" and such of the process, in KiB, without malloc(). */
static long status_kb(const char *name)
{
	static char buf[4096];
	int fd = open("/proc/self/status", O_RDONLY);
	ssize_t len = read(fd, buf, sizeof(buf) - 1);
	char *line;

	close(fd);
	buf[len < 0 ? 0 : len] = '\0';
	line = strstr(buf, name);
	return line ? strtol(line + strlen(name) + 1, NULL, 10) : -1;
}

#define IDLE_BYTES	(200u << 20)
#define LIVE_BYTES	(8u << 20)

static size_t idle_size;
static unsigned int idle_threads;

/* Allocates its share and frees it again, then sleeps for ever. */
static void *idle_thread(void *arg)
{
	size_t n = IDLE_BYTES / idle_threads / idle_size;
	char **p = malloc(n * sizeof(*p));

	for (size_t i = 0; i < n; i++) {
		p[i] = malloc(idle_size);
		memset(p[i], 1, idle_size);
	}
	for (size_t i = 0; i < n; i++)
		free(p[i]);
	free(p);
	pthread_barrier_wait(arg);
	for (;;)
		pause();
	return NULL;
}

/* The end: with 0 if the live data is as it was. */
static void look(int sig)
{
	(void)sig;
	for (size_t i = 0; i < LIVE_BYTES; i++)
		if (live[i] != 'L')
			_exit(1);
	_exit(0);
}

/* 8 MiB live, 200 MiB in blocks of a size just freed by some threads, all of them asleep. */
static int idle(size_t size, unsigned int nr_threads)
{
	long before = status_kb("RssAnon:");
	pthread_barrier_t barrier;
	pthread_t t;

	idle_size = size;
	idle_threads = nr_threads;
	live = malloc(LIVE_BYTES);
	memset(live, 'L', LIVE_BYTES);
	signal(SIGUSR1, look);
	pthread_barrier_init(&barrier, NULL, nr_threads + 1);
	for (unsigned int i = 0; i < nr_threads; i++)
		if (pthread_create(&t, NULL, idle_thread, &barrier))
			return 1;
	pthread_barrier_wait(&barrier);
	/* What it would have if nothing were idle, and what it has, in KiB. */
	printf("%ld %ld\n", before + (long)(LIVE_BYTES >> 10), status_kb("RssAnon:"));
	fflush(stdout);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int bad;

	if (!strcmp(what, "dump"))
		return dump();
	if (!strcmp(what, "idle") && argc > 3)
		return idle(strtoul(argv[2], NULL, 10), (unsigned int)strtoul(argv[3], NULL, 10));
	if (!strcmp(what, "fill"))
		return argc > 2 ? fill_limited(strtoul(argv[2], NULL, 10)) : fill();
	if (!strcmp(what, "mlock"))
		bad = lock_all();
	else if (!strcmp(what, "huge"))
		bad = malloc((size_t)512 << 30) || errno != ENOMEM;
	else
		bad = use() | use_threads() | use_child();
	printf("%s %s\n", bad ? "bad" : "fine", backend());
	return bad;
}
