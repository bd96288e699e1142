// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A small server, for its heap profile: on 127.0.0.1, at the port that it prints, it takes
 * lines `put KEY LENGTH` and `get KEY`, and keeps what was put in a table, for ever; the
 * buffers of a connection only as long as that lasts.  It ends at end of file on stdin.
 *
 *	cc -O2 -g -fno-omit-frame-pointer -o server server.c
 *	GOHEAPDEBUG=profile=server.%n.heap,profilesignal=10 LD_PRELOAD=libgoheap.so.1 ./server
 *	kill -USR1 ...				# a profile, as it is now
 *	google-pprof --text ./server server.0.heap	# which calls have the memory
 *	google-pprof --svg ./server server.0.heap >server.svg
 */
#include <err.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ENTRIES		4096
#define BUFFER_BYTES	(64 * 1024)

struct entry {
	char *key;
	char *value;
	size_t length;
};

static struct entry *table[ENTRIES];

static struct entry **slot(const char *key)
{
	unsigned int h = 5381;

	for (const char *p = key; *p; p++)
		h = h * 33 + (unsigned char)*p;
	return &table[h % ENTRIES];
}

/* The two that allocate what stays: a profile names them. */
static __attribute__((noinline)) char *new_value(size_t length)
{
	char *value = malloc(length);

	if (!value)
		err(1, "malloc");
	return memset(value, 'x', length);
}

static __attribute__((noinline)) struct entry *new_entry(const char *key)
{
	struct entry *e = calloc(1, sizeof(*e));

	if (!e || !(e->key = strdup(key)))
		err(1, "malloc");
	return e;
}

static void put(FILE *out, const char *key, size_t length)
{
	struct entry **e = slot(key);

	if (!*e)
		*e = new_entry(key);
	free((*e)->value);
	(*e)->value = new_value(length);
	(*e)->length = length;
	fputs("ok\n", out);
}

static void get(FILE *out, const char *key)
{
	struct entry *e = *slot(key);

	if (e && !strcmp(e->key, key))
		fprintf(out, "%zu\n", e->length);
	else
		fputs("none\n", out);
}

/* One connection, to its end. */
static void serve(int fd)
{
	FILE *io = fdopen(fd, "r+");
	char *line = malloc(BUFFER_BYTES), key[64];
	size_t length;

	if (!io || !line)
		err(1, "connection");
	while (fgets(line, BUFFER_BYTES, io)) {
		fseek(io, 0, SEEK_CUR);
		if (sscanf(line, "put %63s %zu", key, &length) == 2)
			put(io, key, length);
		else if (sscanf(line, "get %63s", key) == 1)
			get(io, key);
		else
			fputs("error\n", io);
		fflush(io);
	}
	free(line);
	fclose(io);
}

int main(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(a);
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct pollfd fds[] = { { .fd = s, .events = POLLIN }, { .fd = 0, .events = POLLIN } };
	char c;

	if (s < 0 || bind(s, (void *)&a, size) || listen(s, 16) || getsockname(s, (void *)&a, &size))
		err(1, "cannot listen on 127.0.0.1");
	printf("%d\n", ntohs(a.sin_port));
	fflush(stdout);
	for (;;) {
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[1].revents && read(0, &c, 1) <= 0)
			return 0;
		if (fds[0].revents)
			serve(accept(s, NULL, NULL));
	}
}
