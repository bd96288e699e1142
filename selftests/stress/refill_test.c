// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Memory that was released stays so, whatever khugepaged does.  It may make a huge
 * page of any 2 MiB of which one page is in use (max_ptes_none = 511, the default),
 * and the rest of that is memory that nobody asked for.
 *
 * 500 MB of spans are touched, and 400 MB of them, four spans of 64 KiB in five,
 * freed and released, while khugepaged runs at full speed.  The spans that are left
 * are touched again and again: khugepaged wants to see some use.  A child has plain
 * memory in the same state, which is filled up again, and so tells that khugepaged
 * was at work.
 *
 *	refill_test [SECONDS]		(default: GOHEAP_SECONDS, else 10)
 *
 * Needs root, and 2 GiB of memory.  The machine's settings are put back.
 */
#include <dev.h>
#include <kselftest_harness.h>

#define DEFAULT_SECONDS	10
#include "seconds.h"

#define THP		"/sys/kernel/mm/transparent_hugepage"
#define KHUGEPAGED	THP "/khugepaged"
#define ARENA		(576 * MIB)
#define TOUCHED		(500 * MIB)
#define SPAN_PAGES	8
#define SPAN_BYTES	(SPAN_PAGES * PAGE)
#define SPANS		(TOUCHED / SPAN_BYTES)
#define PLAIN		(100 * MIB)
#define KEEP_EACH	5


static bool can_set(void)
{
	return is_root() && !access(KHUGEPAGED, W_OK);
}
NEED(can_set, "needs root, and transparent huge pages");

/* ---- khugepaged ------------------------------------------------------------------ */

static const struct setting {
	const char *file, *value;
} settings[] = {
	{ THP "/enabled", "always" },
	{ THP "/defrag", "always" },
	{ KHUGEPAGED "/max_ptes_none", "511" },
	{ KHUGEPAGED "/pages_to_scan", "1000000" },
	{ KHUGEPAGED "/alloc_sleep_millisecs", "0" },
	{ KHUGEPAGED "/scan_sleep_millisecs", "0" },
};
#define SETTINGS	(sizeof(settings) / sizeof(settings[0]))

/* The word in brackets, or all of it. */
static char *setting_get(const char *file)
{
	char *text = file_read(file), *open = text ? strchr(text, '[') : NULL;

	if (open) {
		text = open + 1;
		text[strcspn(text, "]")] = 0;
	}
	return text ? strdup(text) : NULL;
}

FIXTURE(full_speed) {
	char *old[SETTINGS];
	char *allowed;
};

FIXTURE_SETUP(full_speed)
{
	self->allowed = setting_get(ALLOWED);
	for (int i = 0; i < SETTINGS; i++) {
		self->old[i] = setting_get(settings[i].file);
		ASSERT_EQ(0, file_write(settings[i].file, settings[i].value));
	}
}

FIXTURE_TEARDOWN(full_speed)
{
	for (int i = SETTINGS; i-- > 0;)
		file_write(settings[i].file, self->old[i]);
	file_write(ALLOWED, self->allowed);
}

static long long full_scans(void)
{
	return file_number(KHUGEPAGED "/full_scans");
}

/* ---- memory with holes -------------------------------------------------------------- */

/* One byte in each page of a span that is left. */
static void use(char *span)
{
	for (size_t at = 0; at < SPAN_BYTES; at += 4096)
		((volatile char *)span)[at]++;
}

/* Plain memory; what is left of it is used for ever. */
static void be_plain(void)
{
	char *p = mmap(NULL, PLAIN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		_exit(1);
	memset(p, 1, PLAIN);
	for (size_t i = 0; i < PLAIN / SPAN_BYTES; i++)
		if (i % KEEP_EACH)
			madvise(p + i * SPAN_BYTES, SPAN_BYTES, MADV_DONTNEED);
	for (;; sleep_ms(100))
		for (size_t i = 0; i < PLAIN / SPAN_BYTES; i += KEEP_EACH)
			use(p + i * SPAN_BYTES);
}

/* A child that waits for a byte in @go: made before there is an arena to inherit. */
static pid_t make_plain(int *go)
{
	int fd[2];
	pid_t pid;

	if (pipe(fd))
		return -1;
	pid = fork();
	if (!pid) {
		char c;

		close(fd[1]);
		if (read(fd[0], &c, 1) == 1)
			be_plain();
		_exit(1);
	}
	close(fd[0]);
	*go = fd[1];
	return pid;
}

static bool alloc_all(int heap, struct goheap_span *spans)
{
	for (size_t i = 0; i < SPANS; i++) {
		if (span_alloc(heap, SPAN_PAGES, 0, &spans[i]))
			return false;
		memset((void *)spans[i].addr, 1, SPAN_BYTES);
	}
	return true;
}

static bool free_most(int heap, struct goheap_span *spans)
{
	for (size_t i = 0; i < SPANS; i++)
		if (i % KEEP_EACH && span_free(heap, (void *)spans[i].addr, SPAN_PAGES))
			return false;
	return true;
}

/* In MiB. */
struct refill {
	long full, huge;		/* all touched */
	long released, most, end;	/* after the release, at most, at the end */
	long plain_end;
	long long scans;
};

static long rss_mib(pid_t pid)
{
	return rss_kib(pid) / 1024;
}

/* Until the time is over, and khugepaged has been everywhere. */
static void let_khugepaged_work(struct goheap_span *spans, pid_t plain, struct refill *r)
{
	uint64_t end = now_ms() + seconds * 1000ULL, give_up = end + 120000, now;
	long long scans = full_scans();

	do {
		for (size_t i = 0; i < SPANS; i += KEEP_EACH)
			use((char *)spans[i].addr);
		sleep_ms(200);
		r->end = rss_mib(getpid());
		r->most = r->end > r->most ? r->end : r->most;
		r->plain_end = rss_mib(plain);
		r->scans = full_scans() - scans;
		now = now_ms();
	} while (now < end || (now < give_up && (r->scans < 3 ||
						 r->plain_end < PLAIN / MIB * 9 / 10)));
}

/* 0, or what did not work. */
static int refill(struct refill *r)
{
	struct goheap_span *spans = calloc(SPANS, sizeof(*spans));
	struct goheap_scavenge sc;
	int go, heap;
	pid_t plain = make_plain(&go);

	heap = dev_open();
	if (plain < 0 || arena_map(heap, ARENA) == MAP_FAILED || !alloc_all(heap, spans))
		return 1;
	r->full = rss_mib(getpid());
	r->huge = file_field("/proc/self/smaps_rollup", "AnonHugePages") / 1024;
	if (write(go, "", 1) != 1 || !free_most(heap, spans) || scavenge(heap, ALL, &sc))
		return 2;
	r->released = rss_mib(getpid());
	let_khugepaged_work(spans, plain, r);
	kill(plain, SIGKILL);
	reap(plain);
	close(heap);
	return 0;
}

static void show(struct __test_metadata *_metadata, const char *who, const struct refill *r)
{
	TH_LOG("%s: %ld MiB touched, %ld of them huge pages; released: %ld; then at most %ld, at the end %ld",
	       who, r->full, r->huge, r->released, r->most, r->end);
	TH_LOG("plain memory %ld of %ld MiB filled again, %lld full scans", r->plain_end,
	       (long)(PLAIN / MIB), r->scans);
}

TEST_F_TIMEOUT(full_speed, released_memory_stays_released, 1200)
{
	struct refill r = {};

	ASSERT_EQ(0, file_write(ALLOWED, "0"));
	ASSERT_EQ(0, refill(&r));
	show(_metadata, "arena", &r);
	EXPECT_GE(r.huge, (long)(TOUCHED / MIB * 9 / 10));
	EXPECT_LE(r.released, (long)(TOUCHED / MIB / KEEP_EACH * 11 / 10));
	EXPECT_LE(r.most, r.released * 11 / 10);
	/* And khugepaged did work. */
	EXPECT_GE(r.scans, 3);
	EXPECT_GE(r.plain_end, (long)(PLAIN / MIB * 9 / 10));
}

/* The parameter does what it says. */
TEST_F_TIMEOUT(full_speed, unless_khugepaged_is_allowed, 1200)
{
	struct refill r = {};

	ASSERT_EQ(0, file_write(ALLOWED, "1"));
	ASSERT_EQ(0, refill(&r));
	show(_metadata, "arena that khugepaged may have", &r);
	EXPECT_GT(r.end, r.released * 3 / 2);
}

TEST_HARNESS_MAIN
