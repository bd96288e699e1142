// SPDX-License-Identifier: MIT OR GPL-2.0
/* Messages, sizes, colour and progress: see cli.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "cli.h"

static void message(const char *fmt, va_list ap)
{
	if (cli.leave_screen)
		cli.leave_screen();
	fflush(stdout);
	fprintf(stderr, "goheap%s%s: ", cli.command ? " " : "",
		cli.command ? cli.command->name : "");
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
}

void cli_warn(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	message(fmt, ap);
	va_end(ap);
}

void cli_die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	message(fmt, ap);
	va_end(ap);
	exit(EXIT_FAILED);
}

void cli_usage(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	message(fmt, ap);
	va_end(ap);
	fprintf(stderr, "Try: goheap%s%s --help\n", cli.command ? " " : "",
		cli.command ? cli.command->name : "");
	exit(EXIT_USAGE);
}

void *cli_grow(void *p, size_t nr, size_t size)
{
	p = reallocarray(p, nr, size);
	if (!p)
		cli_die("out of memory");
	return p;
}

void *cli_alloc(size_t nr, size_t size)
{
	void *p = calloc(nr, size);

	if (!p)
		cli_die("out of memory");
	return p;
}

const char *cli_size(char buf[CLI_SIZE_MAX], uint64_t bytes)
{
	static const char units[] = "BKMGTPE";
	unsigned int u = 0;
	double v = (double)bytes;

	/* 1023.6 would be written as 1024. */
	while (v >= 1023.5 && units[u + 1]) {
		v /= 1024;
		u++;
	}
	snprintf(buf, CLI_SIZE_MAX, v < 9.95 && u ? "%.1f%c" : "%.0f%c", v, units[u]);
	return buf;
}

bool cli_parse_u64(const char *text, uint64_t *value)
{
	uint64_t v = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || __builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*text - '0'), &v))
			return false;
	}
	*value = v;
	return true;
}

/* What stands behind a number: the power of 1024, or -1. */
static int parse_unit(const char *text)
{
	static const char units[] = "KMGT";
	const char *u;

	if (!*text)
		return 0;
	u = strchr(units, *text & ~0x20);
	if (!u || !*u)
		return -1;
	if (text[1] && strcmp(text + 1, "B") && strcmp(text + 1, "iB"))
		return -1;
	return (int)(u - units) + 1;
}

bool cli_parse_size(const char *text, uint64_t *bytes)
{
	size_t digits = strspn(text, "0123456789");
	int unit = parse_unit(text + digits);
	char number[24];

	if (unit < 0 || !digits || digits >= sizeof(number))
		return false;
	memcpy(number, text, digits);
	number[digits] = '\0';
	return cli_parse_u64(number, bytes) &&
	       !__builtin_mul_overflow(*bytes, (uint64_t)1 << (10 * unit), bytes);
}

double cli_parse_seconds(const char *text, double min, double max)
{
	char *end;
	double v = strtod(text, &end);

	if (end == text || *end || !(v >= min && v <= max))
		cli_usage("'%s' is no number of seconds from %g to %g", text, min, max);
	return v;
}

static const char *colour(const char *code)
{
	return cli.colour ? code : "";
}

const char *cli_bold(void)
{
	return colour("\033[1m");
}

const char *cli_red(void)
{
	return colour("\033[31m");
}

const char *cli_green(void)
{
	return colour("\033[32m");
}

const char *cli_yellow(void)
{
	return colour("\033[33m");
}

const char *cli_plain(void)
{
	return colour("\033[0m");
}

double cli_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

void cli_sleep(double seconds)
{
	struct timespec ts = { .tv_sec = (time_t)seconds };

	ts.tv_nsec = (long)((seconds - (double)ts.tv_sec) * 1e9);
	nanosleep(&ts, NULL);
}

void cli_progress(const char *what, size_t done, size_t total)
{
	static double begun, shown;
	double now;

	/* The clock, too, is asked only now and then. */
	if (done % 16 && done != total)
		return;
	now = cli_now();
	if (!done)
		begun = shown = now;
	if (done == total) {
		if (shown > begun)
			fputs("\r\033[K", stderr);
		shown = begun;
	} else if (now - begun > 1 && now - shown > 0.2 && isatty(STDERR_FILENO)) {
		fprintf(stderr, "\r%s: %zu of %zu\033[K", what, done, total);
		shown = now;
	}
}

long cli_read_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err;
	ssize_t n;

	if (fd < 0)
		return -1;
	n = read(fd, buf, size - 1);
	err = errno;
	close(fd);
	errno = err;
	if (n < 0)
		return -1;
	if (n && buf[n - 1] == '\n')
		n--;
	buf[n] = '\0';
	return n;
}
