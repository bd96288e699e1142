// SPDX-License-Identifier: MIT OR GPL-2.0
/* Making, setting up and removing an instance: see tracefs.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli.h"
#include "tracefs.h"

#define PATH_SIZE	256
/* What the kernel keeps for each CPU while we write. */
#define BUFFER_KIB	"4096"

static char instance[PATH_SIZE + 32];	/* "": there is none */
static FILE *event_pipe;

static bool write_file(const char *dir, const char *name, const char *text)
{
	char path[3 * PATH_SIZE];
	int fd;
	bool ok;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0)
		return false;
	ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return ok;
}

static void remove_instance(void)
{
	if (event_pipe)
		fclose(event_pipe);
	event_pipe = NULL;
	if (*instance && rmdir(instance))
		cli_warn("%s cannot be removed: %s", instance, strerror(errno));
	*instance = '\0';
}

/* Those whose process is no more; an instance in use cannot be removed. */
static void remove_stale(const char *instances)
{
	DIR *dir = opendir(instances);
	struct dirent *e;
	char path[3 * PATH_SIZE];
	uint64_t pid;

	while (dir && (e = readdir(dir))) {
		if (strncmp(e->d_name, "goheap-", 7) || !cli_parse_u64(e->d_name + 7, &pid))
			continue;
		snprintf(path, sizeof(path), "%s/%s", instances, e->d_name);
		if (kill((pid_t)pid, 0) && errno == ESRCH)
			rmdir(path);
	}
	if (dir)
		closedir(dir);
}

void tracefs_make(void)
{
	char path[PATH_SIZE];

	if (geteuid() != 0)
		cli_die("only root may trace: sudo goheap trace");
	snprintf(path, sizeof(path), "%s/kernel/tracing/events/goheap", cli.sysfs);
	if (access(path, F_OK)) {
		snprintf(path, sizeof(path), "%s/kernel/tracing/instances", cli.sysfs);
		if (access(path, F_OK))
			cli_die("%s is not there: mount -t tracefs tracefs %s/kernel/tracing", path,
				cli.sysfs);
		cli_die("the kernel has no events of goheap: the module is not loaded: modprobe goheap");
	}
	snprintf(path, sizeof(path), "%s/kernel/tracing/instances", cli.sysfs);
	remove_stale(path);
	snprintf(instance, sizeof(instance), "%s/goheap-%d", path, getpid());
	if (mkdir(instance, 0700)) {
		int err = errno;
		char name[sizeof(instance)];

		strcpy(name, instance);
		*instance = '\0';
		cli_die("%s: %s: tracing may be locked down, or not allowed in a container", name,
			strerror(err));
	}
	atexit(remove_instance);
}

static void set(const char *name, const char *text)
{
	if (!write_file(instance, name, text))
		cli_die("%s/%s: cannot be set: %s", instance, name, strerror(errno));
}

FILE *tracefs_open(void)
{
	char path[3 * PATH_SIZE];
	int fd;

	set("trace_clock", "mono");
	set("buffer_size_kb", BUFFER_KIB);
	/* Or reading waits until the buffer is half full. */
	set("buffer_percent", "0");
	snprintf(path, sizeof(path), "%s/trace_pipe", instance);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	event_pipe = fd < 0 ? NULL : fdopen(fd, "r");
	if (!event_pipe)
		cli_die("%s: %s", path, strerror(errno));
	return event_pipe;
}

void tracefs_enable(const char *event, const char *filter)
{
	char name[64];

	if (*filter) {
		snprintf(name, sizeof(name), "events/goheap/" TRACEFS_PREFIX "%s/filter", event);
		set(name, filter);
	}
	snprintf(name, sizeof(name), "events/goheap/" TRACEFS_PREFIX "%s/enable", event);
	set(name, "1");
}
