// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The module is unloaded and loaded all the time while processes open, map, use and
 * close the device, read and write every file of it, and memory is reclaimed.  Each
 * unloading is refused or clean; each use finds no device, or works to its end.
 * Needs root, and nobody else who uses the device.
 */
#include <module.h>
#include <kselftest_harness.h>
#include <dirent.h>
#include <sys/socket.h>

#define ARENA	(64 * MIB)
#define SECONDS	4

/* No device (ENOENT, ENODEV, ENXIO: it is coming or going), or all of it works. */
static void use_device(void)
{
	int fd = dev_open();
	struct goheap_scavenge sc;
	char *arena, *p;

	if (fd < 0) {
		if (errno != ENOENT && errno != ENODEV && errno != ENXIO)
			_exit(2);
		return;
	}
	arena = arena_map(fd, ARENA);
	if (arena == MAP_FAILED)
		_exit(3);
	p = span_new(fd, 10);
	if (!p)
		_exit(4);
	fill(p, 10 * PAGE, 1);
	if (!filled(p, 10 * PAGE, 1) || span_free(fd, p, 10) || scavenge(fd, ALL, &sc) ||
	    sc.released_bytes > 10 * PAGE)	/* others release, too */
		_exit(5);
	close(fd);
	munmap(arena, ARENA);
}

/* Whatever the files answer: they may go at any moment. */
static void use_files(void)
{
	static const char *const dirs[] = { SYSFS, PARAMS, "/sys/kernel/debug/goheap" };
	char path[400], text[4096];
	struct dirent *e;

	for (int i = 0; i < 3; i++) {
		DIR *d = opendir(dirs[i]);

		while (d && (e = readdir(d))) {
			int fd;

			snprintf(path, sizeof(path), "%s/%s", dirs[i], e->d_name);
			fd = open(path, O_RDONLY);
			while (fd >= 0 && read(fd, text, sizeof(text)) > 0)
				;
			if (fd >= 0)
				close(fd);
		}
		if (d)
			closedir(d);
	}
	file_write(SYSFS "/scavenge", "all");
	file_write(PARAMS "/scavenge_limit_ms", "20");
}

static void use_reclaim(void)
{
	file_write("/proc/sys/vm/drop_caches", "2");
	sleep_ms(5);
}

/*
 * Until nobody uses the module, or it is gone: else there would be no such moment, as
 * a heap goes some time after its last use.
 */
static void rest(void)
{
	for (int i = 0; i < 1000 && file_number(REFCNT) > 0; i++)
		sleep_ms(5);
}

/* Returns the pid of a process that does it again and again. */
static pid_t begin(void (*fn)(void), const int *go)
{
	pid_t pid = fork();
	char c;

	if (pid)
		return pid;
	close(go[1]);
	/* The other end is closed when it is time to go. */
	while (recv(go[0], &c, 1, MSG_DONTWAIT) != 0) {
		fn();
		rest();
	}
	_exit(0);
}

FIXTURE(loaded) {
	int unused;
};

FIXTURE_SETUP(loaded)
{
	ASSERT_EQ(0, access("/dev/goheap", R_OK | W_OK));
}

/* Nothing was left behind by any of them. */
FIXTURE_TEARDOWN(loaded)
{
	EXPECT_TRUE(no_heap_soon());
	ASSERT_EQ(0, module_unload());
	EXPECT_FALSE(anything_left());
	ASSERT_EQ(0, module_load(-1));
}

TEST_F_TIMEOUT(loaded, races, 200)
{
	void (*const fns[])(void) = { use_device, use_device, use_files, use_reclaim };
	unsigned int gone = 0, refused = 0;
	uint64_t end;
	pid_t pids[4];
	int go[2], err;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, go));
	for (int i = 0; i < 4; i++) {
		pids[i] = begin(fns[i], go);
		ASSERT_LT(0, pids[i]);
	}
	end = now_ms() + SECONDS * 1000;
	/* Both must have been seen, however slow the machine is. */
	while (now_ms() < end || ((!gone || !refused) && now_ms() < end + 60000)) {
		err = module_unload();
		if (err == -EWOULDBLOCK) {
			refused++;
			sleep_ms(1);
			continue;
		}
		ASSERT_EQ(0, err);
		ASSERT_EQ(0, module_load(-1));
		gone++;
	}
	close(go[1]);
	for (int i = 0; i < 4; i++)
		EXPECT_EQ(0, reap(pids[i]));
	TH_LOG("unloaded %u times, refused %u times", gone, refused);
	EXPECT_LT(0, gone);
	EXPECT_LT(0, refused);
}

TEST_HARNESS_MAIN
