// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The profile as text, in the format that google-perftools' pprof and jemalloc's jeprof
 * read: counts as they were sampled, the rate, from which they work out what that stands
 * for, and the process's mappings, from which they find names.
 *
 * It is written on demand, when the program ends, and on a signal; without stdio, without
 * memory, and without a lock.  If others allocate meanwhile, each number is as it was at
 * some moment.
 */
#include <errno.h>
#include <fcntl.h>
#include <goheap.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "guarded.h"
#include "init.h"
#include "profile.h"

#define PATH_BYTES	4096u

/* Text on its way to a file; err: the first error, after which nothing is written. */
struct out {
	int fd;
	int err;
	size_t len;
	char buf[2048];
};

static void flush(struct out *o)
{
	size_t done = 0;

	while (done < o->len && !o->err) {
		long ret = ghu_syscall(SYS_write, o->fd, (long)(o->buf + done),
				       (long)(o->len - done), 0, 0, 0);

		if (ret > 0)
			done += (size_t)ret;
		else if (ret != -EINTR)
			o->err = ret ? (int)ret : -EIO;
	}
	o->len = 0;
}

static void put_char(struct out *o, char c)
{
	if (o->len == sizeof(o->buf))
		flush(o);
	o->buf[o->len++] = c;
}

static void put_text(struct out *o, const char *s)
{
	while (*s)
		put_char(o, *s++);
}

static void put_number(struct out *o, uint64_t v, unsigned int base)
{
	char digits[GHU_DIGITS];

	put_text(o, ghu_digits(digits, v, base));
}

/* Of one size and stack, or the sum of them. */
struct counts {
	uint64_t allocs, alloc_bytes;
	uint64_t frees, free_bytes;
};

/* Frees are read first, so that what is in use is never less than nothing. */
static void add_counts(struct counts *c, const struct ghu_profile_bucket *b)
{
	uint64_t frees = __atomic_load_n(&b->frees, __ATOMIC_ACQUIRE);
	uint64_t allocs = __atomic_load_n(&b->allocs, __ATOMIC_RELAXED);

	c->allocs += allocs;
	c->alloc_bytes += allocs * b->size;
	c->frees += frees;
	c->free_bytes += frees * b->size;
}

static void put_counts(struct out *o, const struct counts *c)
{
	put_number(o, c->allocs - c->frees, 10);
	put_text(o, ": ");
	put_number(o, c->alloc_bytes - c->free_bytes, 10);
	put_text(o, " [");
	put_number(o, c->allocs, 10);
	put_text(o, ": ");
	put_number(o, c->alloc_bytes, 10);
	put_text(o, "] @");
}

static void put_bucket(struct out *o, const struct ghu_profile_bucket *b)
{
	struct counts c = { 0 };

	add_counts(&c, b);
	put_counts(o, &c);
	for (uint32_t i = 0; i < b->depth; i++) {
		put_text(o, " 0x");
		put_number(o, b->pcs[i], 16);
	}
	put_char(o, '\n');
}

static void put_header(struct out *o)
{
	unsigned int rate = ghu_profile_rate();
	struct counts sum = { 0 };

	for (const struct ghu_profile_bucket *b = ghu_profile_buckets(); b; b = b->next)
		add_counts(&sum, b);
	put_text(o, "heap profile: ");
	put_counts(o, &sum);
	put_text(o, " heap_v2/");
	put_number(o, rate ? rate : ghu_profile_last_rate, 10);
	put_char(o, '\n');
}

static void put_mappings(struct out *o)
{
	int fd = (int)ghu_syscall(SYS_openat, AT_FDCWD, (long)"/proc/self/maps",
				  O_RDONLY | O_CLOEXEC, 0, 0, 0);
	long got;

	put_text(o, "\nMAPPED_LIBRARIES:\n");
	flush(o);
	if (fd < 0)
		return;
	while ((got = ghu_syscall(SYS_read, fd, (long)o->buf, sizeof(o->buf), 0, 0, 0)) > 0) {
		o->len = (size_t)got;
		flush(o);
	}
	ghu_syscall(SYS_close, fd, 0, 0, 0, 0, 0);
}

int ghu_profile_write(int fd)
{
	struct out o = { .fd = fd };

	put_header(&o);
	for (const struct ghu_profile_bucket *b = ghu_profile_buckets(); b; b = b->next)
		put_bucket(&o, b);
	put_mappings(&o);
	return o.err;
}

/* ---- files ---- */

static unsigned int nr_saved;

/* %p: the process, %n: how many it wrote before.  False: too long. */
static bool expand(struct out *o, const char *path)
{
	unsigned int nr = __atomic_fetch_add(&nr_saved, 1, __ATOMIC_RELAXED);

	for (; *path; path++) {
		if (o->len + 24 > sizeof(o->buf))
			return false;
		if (*path == '%' && path[1] == 'p')
			put_number(o, (uint64_t)ghu_syscall(SYS_getpid, 0, 0, 0, 0, 0, 0), 10);
		else if (*path == '%' && path[1] == 'n')
			put_number(o, nr, 10);
		else
			put_char(o, *path);
		if (*path == '%' && (path[1] == 'p' || path[1] == 'n'))
			path++;
	}
	put_char(o, '\0');
	return true;
}

int ghu_profile_save(const char *path)
{
	struct out name = { .fd = -1 };
	int fd, ret, err;

	if (!expand(&name, path))
		return -ENAMETOOLONG;
	fd = (int)ghu_syscall(SYS_openat, AT_FDCWD, (long)name.buf,
			      O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644, 0, 0);
	if (fd < 0)
		return fd;
	ret = ghu_profile_write(fd);
	err = (int)ghu_syscall(SYS_close, fd, 0, 0, 0, 0, 0);
	return ret ? ret : err;
}

static void save_or_complain(void)
{
	int err = ghu_profile_save(ghu_options.profile);

	if (err)
		ghu_print("goheap: cannot write profile %s: error %d\n", ghu_options.profile, -err);
}

static int errno_of(int err)
{
	if (!err)
		return 0;
	errno = -err;
	return -1;
}

ghu_export int goheap_profile_write(int fd)
{
	return errno_of(ghu_profile_write(fd));
}

ghu_export int goheap_profile_save(const char *path)
{
	ghu_init_options();
	if (!path)
		path = ghu_options.profile;
	return errno_of(*path ? ghu_profile_save(path) : -ENOENT);
}

/* ---- when the program begins and ends, and on a signal ---- */

static void on_signal(int sig)
{
	(void)sig;
	save_or_complain();
}

/* A signal that the program was started to ignore is not taken from it. */
static void catch_signal(int sig)
{
	struct sigaction sa, old;

	if (sigaction(sig, NULL, &old) || old.sa_handler != SIG_DFL)
		return;
	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = on_signal;
	sa.sa_flags = SA_RESTART;
	sigaction(sig, &sa, NULL);
}

void ghu_profile_begin(void)
{
	ghu_init_options();
	if (ghu_profile_rate() || ghu_options.allocfreetrace)
		ghu_stack_prepare();
	if (ghu_options.sample)
		ghu_guarded_begin();
	if (ghu_options.profilesignal)
		catch_signal((int)ghu_options.profilesignal);
}

void ghu_profile_end(void)
{
	if (ghu_options.profile[0])
		save_or_complain();
}
