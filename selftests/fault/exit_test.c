// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A process that exits, or executes another program, while its idle spans are released:
 * by its own threads, and by others through sysfs, by age and under pressure.  The
 * releaser then holds the last of its memory, or finds it gone.  Nothing of the heap is
 * left afterwards.
 */
#include <module.h>
#include <kselftest_harness.h>

#define ARENA	(64 * MIB)
#define ROUNDS	16

static int victim_fd;

/* Makes idle memory and releases it, for ever. */
static void *releaser(void *arg)
{
	struct goheap_scavenge sc;

	for (;;) {
		char *p = span_new(victim_fd, 256);

		if (p) {
			fill(p, 2 * MIB, 1);
			span_free(victim_fd, p, 256);
		}
		scavenge(victim_fd, MIB, &sc);
	}
	return NULL;
}

static void idle(void)
{
	char *p[24];

	for (int i = 0; i < 24; i++) {
		p[i] = span_new(victim_fd, 256);
		fill(p[i], 2 * MIB, i);
	}
	for (int i = 0; i < 24; i++)
		span_free(victim_fd, p[i], 256);
}

/* Ends in the way that @round says. */
static void victim(unsigned int round)
{
	uint64_t state = round;
	char *arena;
	pthread_t t;

	victim_fd = dev_open();
	arena = arena_map(victim_fd, ARENA);
	if (arena == MAP_FAILED)
		_exit(1);
	idle();
	if (round % 2 && pthread_create(&t, NULL, releaser, NULL))
		_exit(2);
	sleep_ms(rnd(&state) % 30);
	switch (round / 2 % 4) {
	case 0:
		_exit(0);
	case 1:
		execl("/bin/true", "true", NULL);
		_exit(3);
	case 2:
		/* The mapping or the file goes first; the thread needs the mapping. */
		if (round % 2)
			close(victim_fd);
		else
			munmap(arena, ARENA);
		_exit(0);
	default:
		kill(getpid(), SIGKILL);
	}
}

static volatile bool done;

static void *release_all(void *arg)
{
	while (!done)
		file_write(SYSFS "/scavenge", "all");
	return NULL;
}

static void *reclaim(void *arg)
{
	while (!done) {
		file_write("/proc/sys/vm/drop_caches", "2");
		sleep_ms(2);
	}
	return NULL;
}

static long long released(void)
{
	return file_number(SYSFS "/scav_demand_bytes") + file_number(SYSFS "/scav_age_bytes") +
	       file_number(SYSFS "/scav_pressure_bytes");
}

FIXTURE(releasers) {
	char percent[32], limit[32];
	pthread_t t[2];
	long long released;
};

FIXTURE_SETUP(releasers)
{
	strcpy(self->limit, file_read(PARAMS "/scavenge_limit_ms"));
	strcpy(self->percent, file_read(PARAMS "/scavenge_cpu_percent"));
	ASSERT_EQ(0, file_write(PARAMS "/scavenge_cpu_percent", "100"));
	ASSERT_EQ(0, file_write(PARAMS "/scavenge_limit_ms", "10"));
	self->released = released();
	ASSERT_EQ(0, pthread_create(&self->t[0], NULL, release_all, NULL));
	ASSERT_EQ(0, pthread_create(&self->t[1], NULL, reclaim, NULL));
}

FIXTURE_TEARDOWN(releasers)
{
	done = true;
	pthread_join(self->t[0], NULL);
	pthread_join(self->t[1], NULL);
	EXPECT_EQ(0, file_write(PARAMS "/scavenge_limit_ms", self->limit));
	EXPECT_EQ(0, file_write(PARAMS "/scavenge_cpu_percent", self->percent));
	EXPECT_TRUE(no_heap_soon());
}

TEST_F_TIMEOUT(releasers, exit_and_exec, 200)
{
	for (unsigned int round = 0; round < ROUNDS; round++) {
		pid_t pid = fork();

		ASSERT_LE(0, pid);
		if (!pid)
			victim(round);
		ASSERT_EQ(round / 2 % 4 == 3 ? 128 + SIGKILL : 0, reap(pid)) {
			TH_LOG("round %u", round);
		}
	}
	/* They did meet. */
	TH_LOG("%lld MiB released", (released() - self->released) >> 20);
	EXPECT_LT(self->released, released());
}

TEST_HARNESS_MAIN
