// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The module's limits: heaps of a user, records of a heap, length of an arena.
 * Needs root, for the parameters.
 */
#include "dev.h"
#include <kselftest_harness.h>

NEED(is_root, "needs root");

#define ARENA	(256 * MIB)

/* A parameter that has another value during a test. */
FIXTURE(limit) {
	char was[3][32];
};

static const char *const names[] = { "max_heaps_per_user", "max_spans", "max_arena" };

static int param(const char *name, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), PARAMS "/%s", name);
	return file_write(path, value);
}

FIXTURE_SETUP(limit)
{
	char path[128], *was;

	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), PARAMS "/%s", names[i]);
		was = file_read(path);
		ASSERT_NE(NULL, was);
		strcpy(self->was[i], was);
	}
}

FIXTURE_TEARDOWN(limit)
{
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(0, param(names[i], self->was[i]));
}

/* 0 if a user can have three heaps at a time, and has room again after each. */
static int use_up_heaps(void)
{
	int fd[4];
	char *p[4];

	if (setgid(23456) || setuid(23456))
		return 1;
	for (int i = 0; i < 4; i++)
		fd[i] = dev_open();
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 3; i++) {
			p[i] = arena_map(fd[i], ARENA);
			if (p[i] == MAP_FAILED)
				return 2;
		}
		p[3] = arena_map(fd[3], ARENA);
		if (p[3] != MAP_FAILED || errno != EMFILE)
			return 3;
		for (int i = 0; i < 3; i++) {
			munmap(p[i], ARENA);
			close(fd[i]);
			fd[i] = dev_open();
		}
	}
	/* The one that was refused is as good as new. */
	return arena_map(fd[3], ARENA) == MAP_FAILED ? 4 : 0;
}

TEST_F(limit, heaps_of_a_user)
{
	pid_t pid;

	ASSERT_EQ(0, param("max_heaps_per_user", "3"));
	pid = fork();
	if (!pid)
		_exit(use_up_heaps());
	EXPECT_EQ(0, reap(pid));
	/* Those of one that was killed are counted no more. */
	pid = fork();
	if (!pid)
		_exit(use_up_heaps());
	EXPECT_EQ(0, reap(pid));
}

TEST_F(limit, records_of_a_heap)
{
	static char *span[8192];
	struct goheap_stats st;
	struct goheap_span s;
	int fd = dev_open(), n, err = 0;

	ASSERT_EQ(0, param("max_spans", "2000"));
	ASSERT_NE(MAP_FAILED, arena_map(fd, ARENA));
	for (n = 0; n < 8192; n++) {
		err = span_alloc(fd, 1, 0, &s);
		if (err)
			break;
		span[n] = (char *)s.addr;
		fill(span[n], PAGE, n);
	}
	EXPECT_EQ(-ENOSPC, err);
	EXPECT_GE(n, 1000);
	EXPECT_LE(n, 2000);
	ASSERT_EQ(0, stats(fd, &st));
	EXPECT_EQ(n, st.nr_spans);
	for (int i = 0; i < n; i++)
		ASSERT_TRUE(filled(span[i], PAGE, i));
	/* Freeing needs no record, and makes room. */
	for (int i = 0; i < n; i++)
		ASSERT_EQ(0, span_free(fd, span[i], 1));
	EXPECT_EQ(0, span_alloc(fd, 1, 0, &s));
	close(fd);
}

TEST_F(limit, length_of_an_arena)
{
	struct goheap_info i;
	int fd = dev_open();

	/* Down to whole steps of 64 MiB. */
	ASSERT_EQ(0, param("max_arena", "200000000"));
	ASSERT_EQ(0, info(fd, &i));
	EXPECT_EQ(128 * MIB, i.max_arena_bytes);
	EXPECT_EQ(MAP_FAILED, arena_map(fd, 192 * MIB));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_NE(MAP_FAILED, arena_map(fd, 128 * MIB));
	close(fd);
	fd = dev_open();
	/* And no more than any kernel grants. */
	ASSERT_EQ(0, param("max_arena", "18446744073709551615"));
	ASSERT_EQ(0, info(fd, &i));
	EXPECT_EQ(GOHEAP_ARENA_MAX, i.max_arena_bytes);
	close(fd);
}

TEST_HARNESS_MAIN
