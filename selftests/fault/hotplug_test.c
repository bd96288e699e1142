// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A CPU goes and comes back while spans are allocated, filled and freed on all of them,
 * and idle ones are released by age, under pressure and on demand.  The age worker goes
 * on when there is one CPU.  Needs root and a second CPU that can be unplugged.
 */
#include <module.h>
#include <kselftest_harness.h>

#define ARENA	(128 * MIB)
#define ROUNDS	2
#define ONLINE	"/sys/devices/system/cpu/cpu1/online"

static bool has_hotplug(void)
{
	return is_root() && !access(ONLINE, W_OK);
}
NEED(has_hotplug, "needs root, and a second CPU that can be unplugged");

static int fd;
static volatile bool done;
static volatile int broken;

/* What a span holds is its own as long as it is in use. */
static void *user(void *arg)
{
	uint64_t state = (uintptr_t)arg;

	while (!done) {
		uint64_t npages = 1 + rnd(&state) % 100;
		char *p = span_new(fd, npages);

		if (!p) {
			broken = 1;
			break;
		}
		fill(p, npages * PAGE, state);
		sched_yield();
		if (!filled(p, npages * PAGE, state) || span_free(fd, p, npages))
			broken = 2;
		/* What is free is left alone for long enough, now and then. */
		sleep_ms(rnd(&state) % 8 ? 1 : 40);
	}
	return NULL;
}

static void *pressure(void *arg)
{
	struct goheap_scavenge sc;

	while (!done) {
		file_write("/proc/sys/vm/drop_caches", "2");
		scavenge(fd, 4 * MIB, &sc);
		sleep_ms(300);
	}
	return NULL;
}

FIXTURE(cpu) {
	char percent[32], limit[32];
	char *arena;
	pthread_t t[3];
};

FIXTURE_SETUP(cpu)
{
	strcpy(self->limit, file_read(PARAMS "/scavenge_limit_ms"));
	strcpy(self->percent, file_read(PARAMS "/scavenge_cpu_percent"));
	ASSERT_EQ(0, file_write(PARAMS "/scavenge_cpu_percent", "100"));
	ASSERT_EQ(0, file_write(PARAMS "/scavenge_limit_ms", "10"));
	fd = dev_open();
	self->arena = arena_map(fd, ARENA);
	ASSERT_NE(MAP_FAILED, self->arena);
	for (uintptr_t i = 0; i < 3; i++)
		ASSERT_EQ(0, pthread_create(&self->t[i], NULL, i < 2 ? user : pressure,
					    (void *)i));
}

FIXTURE_TEARDOWN(cpu)
{
	struct goheap_stats st;

	done = true;
	for (int i = 0; i < 3; i++)
		pthread_join(self->t[i], NULL);
	EXPECT_EQ(0, broken);
	EXPECT_EQ(0, stats(fd, &st));
	EXPECT_EQ(0, st.nr_spans);
	EXPECT_EQ(0, st.heap_inuse);
	munmap(self->arena, ARENA);
	close(fd);
	EXPECT_EQ(0, file_write(ONLINE, "1"));
	EXPECT_EQ(0, file_write(PARAMS "/scavenge_limit_ms", self->limit));
	EXPECT_EQ(0, file_write(PARAMS "/scavenge_cpu_percent", self->percent));
	EXPECT_TRUE(no_heap_soon());
}

/* Whether age releases something within a while. */
static bool age_releases(void)
{
	long long was = file_number(SYSFS "/scav_age_bytes");

	for (int i = 0; i < 2000; i++) {
		if (file_number(SYSFS "/scav_age_bytes") > was)
			return true;
		sleep_ms(10);
	}
	return false;
}

TEST_F_TIMEOUT(cpu, unplugged, 200)
{
	for (int i = 0; i < ROUNDS; i++) {
		ASSERT_EQ(0, file_write(ONLINE, "0"));
		EXPECT_EQ(1, sysconf(_SC_NPROCESSORS_ONLN));
		EXPECT_TRUE(age_releases());
		ASSERT_EQ(0, file_write(ONLINE, "1"));
		EXPECT_TRUE(age_releases());
	}
}

TEST_HARNESS_MAIN
