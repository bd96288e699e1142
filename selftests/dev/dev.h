/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What the tests of the device share: the commands as functions that return 0 or
 * a negative errno, and a few looks into /proc and /sys.  A program that includes
 * this file skips everything where there is no device.
 */
#ifndef GOHEAP_TEST_DEV_H
#define GOHEAP_TEST_DEV_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/goheap.h>

#define MIB		(1UL << 20)
#define GIB		(1UL << 30)
#define PAGE		GOHEAP_PAGE_SIZE
#define ALL		(~0ULL)
#define SYSFS		"/sys/class/misc/goheap"
#define PARAMS		"/sys/module/goheap/parameters"
/* Not 0: khugepaged may have the arenas of opens made from then on. */
#define ALLOWED		PARAMS "/khugepaged"

/* ---- before main ------------------------------------------------------------ */

/* The whole program: the harness cannot skip a test in its fixture's setup. */
static inline void skip_program(const char *why)
{
	printf("TAP version 13\n1..0 # SKIP %s\n", why);
	fflush(stdout);
	_exit(4);
}

static __attribute__((constructor(101))) void need_device(void)
{
	if (access("/dev/goheap", R_OK | W_OK) && !getenv("GOHEAP_TEST_EXEC_FD"))
		skip_program("no /dev/goheap");
}

/*
 * The harness gives each case its time with alarm().  TEST_TIMEOUT_FACTOR is how
 * much slower than usual the machine is.
 */
static inline unsigned int alarm_slowly(unsigned int seconds)
{
	const char *factor = getenv("TEST_TIMEOUT_FACTOR");

	return alarm(factor ? seconds * atoi(factor) : seconds);
}
#define alarm(seconds)	alarm_slowly(seconds)

/* For programs that need more. */
#define NEED(what, why)							\
	static __attribute__((constructor(102))) void need_##what(void)	\
	{								\
		if (!what())						\
			skip_program(why);				\
	}								\
	struct need_semicolon

/* ---- commands ---------------------------------------------------------------- */

static inline int dev_open(void)
{
	return open("/dev/goheap", O_RDWR | O_CLOEXEC);
}

static inline int cmd(int fd, unsigned long nr, void *arg)
{
	return ioctl(fd, nr, arg) ? -errno : 0;
}

static inline void *arena_map_at(int fd, void *at, size_t bytes, int flags)
{
	return mmap(at, bytes, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_NORESERVE | flags, fd, GOHEAP_OFF_ARENA);
}

static inline char *arena_map(int fd, size_t bytes)
{
	return arena_map_at(fd, NULL, bytes, 0);
}

static inline volatile struct goheap_ctl *ctl_map(int fd)
{
	return mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, GOHEAP_OFF_CTL);
}

static inline int info(int fd, struct goheap_info *i)
{
	*i = (struct goheap_info){ .size = sizeof(*i) };
	return cmd(fd, GOHEAP_INFO, i);
}

static inline int attach(int fd, const void *addr)
{
	struct goheap_attach a = { .size = sizeof(a), .addr = (uintptr_t)addr };

	return cmd(fd, GOHEAP_ATTACH, &a);
}

/* *done may be NULL. */
static inline int vec(int fd, unsigned long nr, struct goheap_span *s, unsigned int n,
		      uint64_t align, unsigned int *done)
{
	struct goheap_span_vec v = {
		.size = sizeof(v), .spans = (uintptr_t)s, .nr = n, .align = align,
	};
	int err = cmd(fd, nr, &v);

	if (done)
		*done = v.done;
	return err;
}

static inline int span_alloc(int fd, uint64_t npages, uint64_t align, struct goheap_span *s)
{
	*s = (struct goheap_span){ .npages = npages };
	return vec(fd, GOHEAP_SPAN_ALLOC, s, 1, align, NULL);
}

/* NULL if there is none. */
static inline char *span_new(int fd, uint64_t npages)
{
	struct goheap_span s;

	return span_alloc(fd, npages, 0, &s) ? NULL : (char *)s.addr;
}

static inline int span_free(int fd, const void *addr, uint64_t npages)
{
	struct goheap_span s = { .addr = (uintptr_t)addr, .npages = npages };

	return vec(fd, GOHEAP_SPAN_FREE, &s, 1, 0, NULL);
}

static inline int span_resize(int fd, const void *addr, uint64_t npages,
			      struct goheap_resize *r)
{
	*r = (struct goheap_resize){
		.size = sizeof(*r), .addr = (uintptr_t)addr, .npages = npages,
	};
	return cmd(fd, GOHEAP_SPAN_RESIZE, r);
}

static inline int scavenge(int fd, uint64_t max_bytes, struct goheap_scavenge *s)
{
	*s = (struct goheap_scavenge){ .size = sizeof(*s), .max_bytes = max_bytes };
	return cmd(fd, GOHEAP_SCAVENGE, s);
}

static inline int limit_get(int fd, uint64_t *soft, uint64_t *hard)
{
	struct goheap_limit l = { .size = sizeof(l) };
	int err = cmd(fd, GOHEAP_LIMIT, &l);

	*soft = l.soft_bytes;
	*hard = l.hard_bytes;
	return err;
}

static inline int limit_set(int fd, uint64_t soft, uint64_t hard)
{
	struct goheap_limit l = {
		.size = sizeof(l), .flags = GOHEAP_LIMIT_SET,
		.soft_bytes = soft, .hard_bytes = hard,
	};

	return cmd(fd, GOHEAP_LIMIT, &l);
}

/* Of a heap by its id, 0: that of fd; *cursor as the call has it, *done what was told. */
static inline int map_read(int fd, uint64_t heap_id, uint64_t *cursor,
			   struct goheap_map_span *s, unsigned int n, unsigned int *done)
{
	struct goheap_map m = {
		.size = sizeof(m), .spans = (uintptr_t)s, .nr = n, .cursor = *cursor,
		.heap_id = heap_id,
	};
	int err = cmd(fd, GOHEAP_MAP, &m);

	*cursor = m.cursor;
	*done = m.done;
	return err;
}

static inline int stats(int fd, struct goheap_stats *s)
{
	*s = (struct goheap_stats){ .size = sizeof(*s) };
	return cmd(fd, GOHEAP_STATS, s);
}

/* ---- memory ------------------------------------------------------------------ */

/* A pattern that tells one word from another, and one seed from another. */
static inline uint64_t word_of(uint64_t seed, size_t i)
{
	return (seed + 1) * 0x9e3779b97f4a7c15ULL + i;
}

static inline void fill(void *p, size_t bytes, uint64_t seed)
{
	uint64_t *w = p;

	for (size_t i = 0; i < bytes / 8; i += 64)
		w[i] = word_of(seed, i);
}

static inline bool filled(const void *p, size_t bytes, uint64_t seed)
{
	const volatile uint64_t *w = p;

	for (size_t i = 0; i < bytes / 8; i += 64)
		if (w[i] != word_of(seed, i))
			return false;
	return true;
}

static inline bool is_zero(const void *p, size_t bytes)
{
	const volatile uint64_t *w = p;

	for (size_t i = 0; i < bytes / 8; i++)
		if (w[i])
			return false;
	return true;
}

/* ---- looks from outside --------------------------------------------------------- */

static inline long file_field(const char *path, const char *key)
{
	char line[512];
	long v = -1;
	FILE *f = fopen(path, "r");

	while (f && v < 0 && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			v = atol(line + strcspn(line, "0123456789"));
	if (f)
		fclose(f);
	return v;
}

/* Resident anonymous memory of a process, in KiB. */
static inline long rss_kib(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	return file_field(path, "RssAnon");
}

/* VMAs of the device, the control page's not counted. */
static inline int arena_vmas(void)
{
	char line[512];
	int n = 0;
	FILE *f = fopen("/proc/self/maps", "r");

	while (f && fgets(line, sizeof(line), f))
		n += strstr(line, "/dev/goheap") && !strstr(line, "r--s");
	if (f)
		fclose(f);
	return n;
}

/* 0 or a negative errno. */
static inline int file_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

/* What the file holds, without the newline, or NULL and errno. */
static inline char *file_read(const char *path)
{
	static char text[256];
	int fd = open(path, O_RDONLY), e;
	ssize_t n;

	if (fd < 0)
		return NULL;
	n = read(fd, text, sizeof(text) - 1);
	e = errno;
	close(fd);
	errno = e;
	if (n < 0)
		return NULL;
	text[n] = 0;
	text[strcspn(text, "\n")] = 0;
	return text;
}

static inline long long file_number(const char *path)
{
	char *text = file_read(path);

	return text ? atoll(text) : -1;
}

static inline long long heap_file_number(uint64_t id, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), SYSFS "/%llu/%s", (unsigned long long)id, name);
	return file_number(path);
}

/* Kernels for real time have no huge pages, nor the advice about them. */
static inline bool has_huge_pages(void)
{
	return !access("/sys/kernel/mm/transparent_hugepage", F_OK);
}

static inline bool is_root(void)
{
	return geteuid() == 0;
}

static inline uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ULL + t.tv_nsec / 1000000;
}

static inline void sleep_ms(unsigned int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&t, NULL);
}

/* Exit status of a child, or 128 + signal. */
static inline int reap(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* A small generator: one state for each user. */
static inline uint32_t rnd(uint64_t *state)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return *state >> 33;
}

#endif
