// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Loads, uses and unloads the module a hundred times; it must refuse to go while
 * it is used, and leave nothing when it went.  Needs root, nobody else who uses the
 * device, and the module: GOHEAP_KO, else goheap.ko in the current folder.
 */
#include <module.h>
#include <kselftest_harness.h>

#define TIMES	100
#define ARENA	(64 * MIB)

struct user {
	int fd;
	char *arena;
	void *ctl;
};

/* Does a little of everything, and keeps the heap. */
static int begin(struct user *u)
{
	struct goheap_scavenge sc;
	char *p;

	u->fd = dev_open();
	u->arena = arena_map(u->fd, ARENA);
	if (u->arena == MAP_FAILED)
		return -1;
	u->ctl = (void *)ctl_map(u->fd);
	p = span_new(u->fd, 100);
	if (u->ctl == MAP_FAILED || !p)
		return -2;
	fill(p, 100 * PAGE, 1);
	if (span_free(u->fd, p, 100) || scavenge(u->fd, ALL, &sc) || !sc.released_bytes)
		return -3;
	file_write("/proc/sys/vm/drop_caches", "2");
	return file_number(SYSFS "/heaps") == 1 ? 0 : -4;
}

static void end(struct user *u)
{
	munmap(u->arena, ARENA);
	munmap(u->ctl, 4096);
	close(u->fd);
}

/* Memory of the kernel's own that is no cache, in KiB. */
static long kernel_kib(void)
{
	static const char *const kinds[] = {
		"SUnreclaim", "VmallocUsed", "Percpu", "KernelStack",
	};
	long sum = 0;

	file_write("/proc/sys/vm/drop_caches", "3");
	for (int i = 0; i < 4; i++)
		sum += file_field("/proc/meminfo", kinds[i]);
	return sum;
}

FIXTURE(unloaded) {
	long kib;
};

FIXTURE_SETUP(unloaded)
{
	ASSERT_EQ(0, module_unload());
	ASSERT_FALSE(anything_left());
	self->kib = kernel_kib();
}

/*
 * The rest of the system has its ups and downs; objects of ours would be seen by
 * name.  A kernel with KASAN holds on to what was freed: kmemleak, which is there
 * then, tells better.
 */
FIXTURE_TEARDOWN(unloaded)
{
	long kib;

	EXPECT_FALSE(anything_left());
	kib = kernel_kib();
	TH_LOG("kernel memory: %ld KiB, then %ld KiB", self->kib, kib);
	if (access("/sys/kernel/debug/kmemleak", F_OK)) {
		EXPECT_LT(kib - self->kib, TIMES * 32);
	}
	ASSERT_EQ(0, module_load(-1));
	EXPECT_EQ(0, access("/dev/goheap", R_OK | W_OK));
}

TEST_F_TIMEOUT(unloaded, a_hundred_times, 280)
{
	struct user u;

	for (int i = 0; i < TIMES; i++) {
		ASSERT_EQ(0, module_load(-1));
		ASSERT_EQ(0, begin(&u)) TH_LOG("round %d", i);
		ASSERT_EQ(-EWOULDBLOCK, module_unload());
		end(&u);
		ASSERT_EQ(0, module_unload()) TH_LOG("round %d", i);
		ASSERT_FALSE(anything_seen());
	}
}

/* Each of the things that keep a heap keeps the module too. */
TEST_F(unloaded, refused_while_anything_is_held)
{
	struct user u;
	int fd;

	ASSERT_EQ(0, module_load(-1));
	fd = dev_open();
	EXPECT_EQ(-EWOULDBLOCK, module_unload());
	close(fd);
	ASSERT_EQ(0, begin(&u));
	close(u.fd);
	EXPECT_EQ(-EWOULDBLOCK, module_unload());
	munmap(u.ctl, 4096);
	EXPECT_EQ(-EWOULDBLOCK, module_unload());
	munmap(u.arena + MIB, ARENA - MIB);
	EXPECT_EQ(-EWOULDBLOCK, module_unload());
	munmap(u.arena, MIB);
	EXPECT_EQ(0, module_unload());
}

TEST_F_TIMEOUT(unloaded, users_that_are_killed, 120)
{
	for (int i = 0; i < 20; i++) {
		int up[2];
		char c;
		pid_t pid;

		ASSERT_EQ(0, module_load(-1));
		ASSERT_EQ(0, pipe(up));
		pid = fork();
		if (!pid) {
			struct user u;

			if (begin(&u) || write(up[1], "x", 1) != 1)
				_exit(1);
			pause();
		}
		ASSERT_EQ(1, read(up[0], &c, 1));
		EXPECT_EQ(-EWOULDBLOCK, module_unload());
		kill(pid, SIGKILL);
		ASSERT_EQ(128 + SIGKILL, reap(pid));
		ASSERT_EQ(0, module_unload());
		ASSERT_FALSE(anything_seen());
		close(up[0]);
		close(up[1]);
	}
}

TEST_HARNESS_MAIN
