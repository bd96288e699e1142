// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Suspend, as far as the freezer (/sys/power/pm_test): while processes and workers are
 * frozen nothing is released by age, and afterwards it goes on.  Who was frozen cannot
 * look; the tracer tells in which order things were.  Needs root.
 */
#include <module.h>
#include <kselftest_harness.h>

#define ARENA	(64 * MIB)
#define TRACING	"/sys/kernel/tracing"
#define POWER	"/sys/power"
#define DELAY	"/sys/module/suspend/parameters/pm_test_delay"

static bool has_freezer(void)
{
	return is_root() && !access(POWER "/pm_test", W_OK) && !access(POWER "/state", W_OK) &&
	       !access(TRACING "/events/power/suspend_resume/enable", W_OK);
}
NEED(has_freezer, "needs root and a kernel with CONFIG_PM_DEBUG");

static void tracing(const char *on)
{
	file_write(TRACING "/events/power/suspend_resume/enable", on);
	file_write(TRACING "/events/goheap/goheap_age_pass/enable", on);
	file_write(TRACING "/events/goheap/goheap_scavenge/enable", on);
}

FIXTURE(heap) {
	char percent[32], limit[32], delay[32];
	int fd;
	char *arena;
};

FIXTURE_SETUP(heap)
{
	strcpy(self->limit, file_read(PARAMS "/scavenge_limit_ms"));
	strcpy(self->percent, file_read(PARAMS "/scavenge_cpu_percent"));
	ASSERT_EQ(0, file_write(PARAMS "/scavenge_cpu_percent", "100"));
	strcpy(self->delay, file_read(DELAY) ?: "");
	file_write(DELAY, "3");
	ASSERT_EQ(0, file_write(POWER "/pm_test", "freezer"));
	self->fd = dev_open();
	self->arena = arena_map(self->fd, ARENA);
	ASSERT_NE(MAP_FAILED, self->arena);
	close(open(TRACING "/trace", O_WRONLY | O_TRUNC));
	tracing("1");
}

FIXTURE_TEARDOWN(heap)
{
	tracing("0");
	munmap(self->arena, ARENA);
	close(self->fd);
	EXPECT_EQ(0, file_write(POWER "/pm_test", "none"));
	file_write(DELAY, self->delay);
	EXPECT_EQ(0, file_write(PARAMS "/scavenge_limit_ms", self->limit));
	EXPECT_EQ(0, file_write(PARAMS "/scavenge_cpu_percent", self->percent));
	EXPECT_TRUE(no_heap_soon());
}

struct seen {
	unsigned int before, frozen, after, freezes;
};

/* What the module did before, between freezing and thawing, and after. */
static void look(struct seen *s)
{
	FILE *f = fopen(TRACING "/trace", "r");
	char line[512];
	unsigned int *now = &s->before;

	while (f && fgets(line, sizeof(line), f)) {
		if (strstr(line, "suspend_resume: freeze_processes[0] end")) {
			now = &s->frozen;
			s->freezes++;
		} else if (strstr(line, "suspend_resume: thaw_processes[0] begin")) {
			now = &s->after;
		} else if (strstr(line, ": goheap_")) {
			++*now;
		}
	}
	if (f)
		fclose(f);
}

/* Whether the worker makes a pass within a while. */
static bool passes(unsigned int nr)
{
	struct seen s;

	for (int i = 0; i < 1000; i++) {
		s = (struct seen){};
		look(&s);
		if (s.before + s.after >= nr)
			return true;
		sleep_ms(20);
	}
	return false;
}

TEST_F_TIMEOUT(heap, frozen, 120)
{
	const char *state = strstr(file_read(POWER "/state"), "mem") ? "mem" : "freeze";
	struct goheap_stats st;
	struct seen s = {};
	char *p;

	/* A pass twice in each limit: dozens in the time that it is frozen. */
	ASSERT_EQ(0, file_write(PARAMS "/scavenge_limit_ms", "100"));
	ASSERT_TRUE(passes(3));
	p = span_new(self->fd, 1024);
	fill(p, 8 * MIB, 1);
	ASSERT_EQ(0, span_free(self->fd, p, 1024));
	ASSERT_EQ(0, file_write(POWER "/state", state));
	look(&s);
	TH_LOG("%s: %u events before, %u while frozen, %u after", state, s.before, s.frozen,
	       s.after);
	EXPECT_EQ(1, s.freezes);
	EXPECT_EQ(0, s.frozen);
	EXPECT_TRUE(passes(s.before + s.frozen + s.after + 3));
	for (int i = 0; i < 1000; i++) {
		EXPECT_EQ(0, stats(self->fd, &st));
		if (st.scav_age_bytes == 8 * MIB)
			break;
		sleep_ms(20);
	}
	EXPECT_EQ(8 * MIB, st.scav_age_bytes);
}

TEST_HARNESS_MAIN
