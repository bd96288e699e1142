// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * What the library keeps its own records in: persistentalloc and fixalloc; the
 * page-size checks; messages; and the parsing of options.  The sources are
 * included, so that their static functions and variables can be reached.
 */
#include "../../userlib/sys.c"
#include "../../userlib/persistentalloc.c"
#include "../../userlib/fixalloc.c"
#include "../../userlib/options.c"
#include "back_test.h"

static char err[4096];

/* The child dies of fn with just that text. */
static int dies_with(void (*fn)(void), const char *text)
{
	T_EQ(t_stderr(fn, err, sizeof(err)), 256 + SIGABRT);
	if (strcmp(err, text))
		printf("# said: %s", err);
	T(!strcmp(err, text));
	return T_PASS;
}

/* ---- persistentalloc ---- */

static int persistent_carves(void)
{
	uint64_t stat = 0;
	char *a = ghu_persistentalloc(24, 0, &stat);
	char *b = ghu_persistentalloc(1, 64, NULL);
	char *c = ghu_persistentalloc(100, 8192, &stat);

	T_EQ((uintptr_t)a % 8, 0);
	T_EQ((uintptr_t)b % 64, 0);
	T_EQ((uintptr_t)c % 8192, 0);
	T(b - a >= 24 && b - a < 24 + 64);
	for (int i = 0; i < 100; i++)
		T_EQ(c[i], 0);
	T_EQ(stat, 124);
	T_EQ(ghu_other_sys, GHU_PERSISTENT_CHUNK - 124);
	return T_PASS;
}

static int persistent_chunks(void)
{
	char *a = ghu_persistentalloc(GHU_PERSISTENT_MAX_BLOCK - 1, 0, NULL);

	/* Three more fit into the chunk, the fifth does not. */
	for (int i = 1; i < 4; i++)
		T(ghu_persistentalloc(GHU_PERSISTENT_MAX_BLOCK - 1, 0, NULL) ==
		  a + i * GHU_PERSISTENT_MAX_BLOCK);
	T_EQ(ghu_other_sys, GHU_PERSISTENT_CHUNK);
	ghu_persistentalloc(GHU_PERSISTENT_MAX_BLOCK - 1, 0, NULL);
	T_EQ(ghu_other_sys, 2 * GHU_PERSISTENT_CHUNK);
	return T_PASS;
}

static int persistent_direct(void)
{
	uint64_t stat = 0;
	char *a = ghu_persistentalloc(GHU_PERSISTENT_MAX_BLOCK, 0, &stat);

	T(a);
	T_EQ(ghu_other_sys, 0);
	T_EQ(stat, GHU_PERSISTENT_MAX_BLOCK);
	T(!persistent.base);
	a = ghu_persistentalloc(GHU_PERSISTENT_MAX_BLOCK, 8192, &stat);
	T_EQ((uintptr_t)a % 8192, 0);
	memset(a, 1, GHU_PERSISTENT_MAX_BLOCK);
	return T_PASS;
}

static void persistent_size_0(void) { ghu_persistentalloc(0, 8, NULL); }
static void persistent_align_24(void) { ghu_persistentalloc(8, 24, NULL); }
static void persistent_align_16k(void) { ghu_persistentalloc(8, 16384, NULL); }
static void persistent_no_memory(void) { ghu_persistentalloc((size_t)1 << 50, 0, NULL); }

static int persistent_messages(void)
{
	T_SUB(dies_with(persistent_size_0, "fatal error: persistentalloc: size == 0\n"));
	T_SUB(dies_with(persistent_align_24,
			"fatal error: persistentalloc: align is not a power of 2\n"));
	T_SUB(dies_with(persistent_align_16k,
			"fatal error: persistentalloc: align is too large\n"));
	T_SUB(dies_with(persistent_no_memory,
			"fatal error: runtime: cannot allocate memory\n"));
	T(!ghu_persistentalloc_try((size_t)1 << 50, 0, NULL));
	return T_PASS;
}

/* The mapping at p is one that gets no huge pages. */
static bool without_huge_pages(const void *p)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	bool here = false, without = false;
	unsigned long start, end;
	char line[512];

	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = (uintptr_t)p >= start && (uintptr_t)p < end;
		else if (here && !strncmp(line, "VmFlags:", 8))
			without = strstr(line, " nh");
	}
	fclose(f);
	return without;
}

static int no_huge_pages(void)
{
	const void *p = NULL;

	if (access("/sys/kernel/mm/transparent_hugepage", F_OK))
		return T_SKIP;
	for (int i = 0; i < 8; i++)	/* the first chunk is among the variables */
		p = ghu_persistentalloc(GHU_PERSISTENT_MAX_BLOCK - 1, 0, NULL);
	T(without_huge_pages(p));
	T(without_huge_pages(ghu_persistentalloc(4 << 20, 0, NULL)));
	T(without_huge_pages(ghu_sys_reserve(4 << 20)));
	return T_PASS;
}

/* ---- fixalloc ---- */

static int firsts;

static void count_first(void *arg, void *p)
{
	firsts += arg == &firsts && p;
}

static int fix_reuses(void)
{
	struct ghu_fixalloc f;
	uint64_t stat = 0;
	uint64_t *a;

	ghu_fixalloc_init(&f, 40, count_first, &firsts, &stat);
	a = ghu_fixalloc_alloc(&f);
	T_EQ(stat, 40);
	T(ghu_fixalloc_alloc(&f));
	T_EQ(firsts, 2);
	T_EQ(f.inuse_bytes, 80);
	T_EQ(stat, 40 + GHU_FIXALLOC_CHUNK);
	memset(a, 0xff, 40);
	ghu_fixalloc_free(&f, a);
	T_EQ(f.inuse_bytes, 40);
	T_EQ(a[1], ~0ULL);	/* only the first word may change */
	T(ghu_fixalloc_alloc(&f) == a);
	T_EQ(firsts, 2);
	for (int i = 0; i < 5; i++)
		T_EQ(a[i], 0);
	return T_PASS;
}

static int fix_keeps_content(void)
{
	struct ghu_fixalloc f;
	uint64_t *a;

	ghu_fixalloc_init(&f, 16, NULL, NULL, NULL);
	f.zero = false;
	a = ghu_fixalloc_alloc(&f);
	a[1] = 7;
	ghu_fixalloc_free(&f, a);
	T(ghu_fixalloc_alloc(&f) == a);
	T_EQ(a[1], 7);
	return T_PASS;
}

/* After the first one, 16 KiB hold 16 records of 1000 bytes; the rest of the chunk is dropped. */
static int fix_chunks(void)
{
	struct ghu_fixalloc f;
	uint64_t stat = 0;
	char *a;

	ghu_fixalloc_init(&f, 1000, NULL, NULL, &stat);
	T_EQ((uintptr_t)ghu_fixalloc_alloc(&f) % 64, 0);
	T_EQ(stat, 1000);
	a = ghu_fixalloc_alloc(&f);
	T_EQ((uintptr_t)a % 64, 0);
	for (int i = 1; i < 16; i++)
		T(ghu_fixalloc_alloc(&f) == a + 1000 * i);
	T_EQ(stat, 1000 + GHU_FIXALLOC_CHUNK);
	T(ghu_fixalloc_alloc(&f));
	T_EQ(stat, 1000 + 2 * GHU_FIXALLOC_CHUNK);
	return T_PASS;
}

static void fix_uninitialised(void)
{
	static struct ghu_fixalloc f;

	ghu_fixalloc_alloc(&f);
}

static void fix_too_large(void)
{
	struct ghu_fixalloc f;

	ghu_fixalloc_init(&f, GHU_FIXALLOC_CHUNK + 1, NULL, NULL, NULL);
}

static int fix_messages(void)
{
	T_SUB(dies_with(fix_uninitialised,
			"runtime: use of FixAlloc_Alloc before FixAlloc_Init\n"
			"fatal error: runtime: internal error\n"));
	T_SUB(dies_with(fix_too_large, "fatal error: runtime: fixalloc size too large\n"));
	return T_PASS;
}

/* ---- the system ---- */

static void page_0(void) { check_phys_page_size(0); }
static void page_2048(void) { check_phys_page_size(2048); }
static void page_5000(void) { check_phys_page_size(5000); }

static int page_size(void)
{
	T_EQ(ghu_phys_page_size(), sysconf(_SC_PAGESIZE));
	T_SUB(dies_with(page_0, "fatal error: failed to get system page size\n"));
	T_SUB(dies_with(page_2048,
			"system page size (2048) is smaller than minimum page size (4096)\n"
			"fatal error: bad system page size\n"));
	T_SUB(dies_with(page_5000, "system page size (5000) must be a power of 2\n"
			"fatal error: bad system page size\n"));
	return T_PASS;
}

static void print_all(void)
{
	ghu_print("%s|%d|%u|%lu|%zu|%lx|%p|%%|%d\n", "text", -2147483647 - 1, 4294967295u,
		  ~0UL, (size_t)0, 0xabcUL, (void *)0xc000000000, 7);
}

static void print_long(void)
{
	char text[2000];

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	ghu_print("%s", text);
}

static void fatal_addr(void) { ghu_fatal_addr("double free", 0xc000012000); }

static int printing(void)
{
	T_EQ(t_stderr(print_all, err, sizeof(err)), 0);
	T(!strcmp(err, "text|-2147483648|4294967295|18446744073709551615|0|abc|"
		       "0xc000000000|%|7\n"));
	T_EQ(t_stderr(print_long, err, sizeof(err)), 0);
	T_EQ(strlen(err), 512);
	T_SUB(dies_with(fatal_addr, "fatal error: double free: 0xc000012000\n"));
	return T_PASS;
}

static int syscall_errors(void)
{
	errno = 77;
	T_EQ(ghu_munmap(1, 4096), -EINVAL);
	T(ghu_is_err(ghu_mmap(0, 0, 0, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
	T_EQ(errno, 77);
	T(!ghu_sys_alloc((size_t)1 << 60));
	return T_PASS;
}

/* ---- options ---- */

static const char *option_text;

static void parse(void)
{
	struct ghu_options o;

	ghu_options_parse(option_text);
	o = ghu_options;
	_exit((int)(o.backend << 4 | o.gctrace << 1 | o.scavenge));
}

/* The text sets these options, and says that. */
static int parses(const char *text, unsigned int backend, unsigned int gctrace,
		  unsigned int scavenge, const char *says)
{
	option_text = text;
	T_EQ(t_stderr(parse, err, sizeof(err)), backend << 4 | gctrace << 1 | scavenge);
	if (strcmp(err, says))
		printf("# said: %s", err);
	T(!strcmp(err, says));
	return T_PASS;
}

static int options_good(void)
{
	T_SUB(parses("", 0, 0, 0, ""));
	T_SUB(parses("gctrace=1", 0, 1, 0, ""));
	T_SUB(parses("backend=embedded,gctrace=1,scavenge=1", 2, 1, 1, ""));
	T_SUB(parses("backend=device", 1, 0, 0, ""));
	T_SUB(parses(",,gctrace=1,,gctrace=0,scavenge=1,", 0, 0, 1, ""));
	T_SUB(parses("backend=device,backend=auto", 0, 0, 0, ""));
	return T_PASS;
}

#define UNKNOWN(name) "goheap: GOHEAPDEBUG: unknown option '" name \
	"' ignored; known are allocfreetrace, backend, bgscavenge, canary, efence, gctrace, guard, " \
	"hardened, junk, memprofilerate, profile, profilesignal, quarantine, sample, sbrk, " \
	"scavenge, uring, zero\n"
#define FLAG(name, value, doc) "goheap: GOHEAPDEBUG: " name "=" value " ignored; " \
	name " takes 0 or 1 (" doc ")\n"
#define TRACE(value) FLAG("gctrace", value, \
	"print a line for each scavenging that released something")

static int options_bad(void)
{
	T_SUB(parses("gotrace=1,scavenge=1", 0, 0, 1, UNKNOWN("gotrace")));
	T_SUB(parses("=1,gc", 0, 0, 0, UNKNOWN("") UNKNOWN("gc")));
	T_SUB(parses("gctrace=2", 0, 0, 0, TRACE("2")));
	T_SUB(parses("gctrace=", 0, 0, 0, TRACE("")));
	T_SUB(parses("gctrace", 0, 0, 0, TRACE("")));
	T_SUB(parses("gctrace=1x", 0, 0, 0, TRACE("1x")));
	T_SUB(parses("gctrace=-1", 0, 0, 0, TRACE("-1")));
	T_SUB(parses("gctrace=4294967297", 0, 0, 0, TRACE("4294967297")));
	T_SUB(parses("backend=kernel", 0, 0, 0,
		     "goheap: GOHEAPDEBUG: backend=kernel ignored; backend takes "
		     "auto, device or embedded (where spans come from)\n"));
	T_SUB(parses("profile=", 0, 0, 0, ""));
	T_SUB(parses("profile", 0, 0, 0, "goheap: GOHEAPDEBUG: profile= ignored; profile takes "
		     "a path (write the heap profile there when the program ends)\n"));
	/* As this test is built. */
	T_SUB(parses("uring=0,gctrace=1", 0, 1, 0, ""));
	T_SUB(parses("uring=1,gctrace=1", 0, 1, 0,
		     "goheap: GOHEAPDEBUG: uring=1 ignored; uring takes 0, as it was built without "
		     "liburing (device backend: fetch spans ahead, with pages, by io_uring)\n"));
	return T_PASS;
}

/* A name much longer than any buffer is cut off in the message, and nothing else. */
static int options_long(void)
{
	static char text[4000];

	memset(text, 'y', sizeof(text) - 1);
	option_text = text;
	T_EQ(t_stderr(parse, err, sizeof(err)), 0);
	T(strstr(err, "unknown option 'yyyyyyyy"));
	T(strstr(err, "y' ignored; known are allocfreetrace"));
	return T_PASS;
}

/* Before libc has set it, environ is found on the initial stack. */
static int options_early(void)
{
	char **env = initial_environ();

	T(env);
	T(find_variable(env, "PATH"));
	T(!strcmp(find_variable(env, "PATH"), getenv("PATH")));
	T(!find_variable(env, "PAT"));
	T(!find_variable(NULL, "PATH"));
	return T_PASS;
}

static const struct t_case cases[] = {
	{ "persistentalloc aligns, clears and counts", persistent_carves },
	{ "persistentalloc begins a new chunk when one is full", persistent_chunks },
	{ "persistentalloc maps blocks of 64 KiB themselves", persistent_direct },
	{ "persistentalloc says what is wrong", persistent_messages },
	{ "records are in no huge pages", no_huge_pages },
	{ "fixalloc reuses records, cleared", fix_reuses },
	{ "fixalloc can leave records as they are", fix_keeps_content },
	{ "fixalloc drops the rest of a chunk", fix_chunks },
	{ "fixalloc says what is wrong", fix_messages },
	{ "page size of the hardware is checked", page_size },
	{ "messages", printing },
	{ "system calls leave errno alone", syscall_errors },
	{ "options that are understood", options_good },
	{ "options that are not are named and ignored", options_bad },
	{ "options longer than any buffer", options_long },
	{ "environment before libc has it", options_early },
};

int main(int argc, char **argv)
{
	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
