// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The shared library as it gets into programs that were not built with it: preloaded,
 * and with dlopen().  This one is linked with libc alone.
 */
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include "back_test.h"

static void *(*volatile vmalloc)(size_t) = malloc;
static void (*volatile vfree)(void *) = free;

static void *thread(void *arg)
{
	char *p = arg;

	vfree(p);
	p = vmalloc(200);
	return p && malloc_usable_size(p) == 208 ? p : NULL;
}

/* What the preloaded program does: exits with 42 if malloc() is ours and all is well. */
static int preloaded(void)
{
	const char *(*version)(void) = (const char *(*)(void))dlsym(RTLD_DEFAULT, "goheap_version");
	char *p = vmalloc(100), *line = NULL;
	size_t n = 0;
	pthread_t t;
	void *q;
	FILE *f;

	/* 112 is a size class of ours, and libc would say 104. */
	if (!version || malloc_usable_size(p) != 112)
		return 1;
	if (pthread_create(&t, NULL, thread, p) || pthread_join(t, &q) || !q)
		return 2;
	vfree(q);
	/* libc allocates for itself, and hands the caller something to free. */
	f = popen("echo $LD_PRELOAD", "r");
	if (!f || getline(&line, &n, f) < 3 || !strstr(line, "libgoheap"))
		return 3;
	vfree(line);
	return pclose(f) ? 4 : 42;
}

static int run_preloaded(const char *preload)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		setenv("LD_PRELOAD", preload, 1);
		execl("/proc/self/exe", "preloaded", "--preloaded", (char *)NULL);
		_exit(127);
	}
	status = t_wait(pid);
	printf("# exit status %d\n", status);
	return status;
}

static int test_preload(void)
{
	T_EQ(run_preloaded(LIBGOHEAP_SO), 42);
	/* And the test would notice if it were not there. */
	T_EQ(run_preloaded(""), 1);
	return T_PASS;
}

static void *(*dl_malloc)(size_t);
static void (*dl_free)(void *);

static void *dl_thread(void *arg)
{
	void *p[100];

	dl_free(arg);
	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = dl_malloc(i * 100);
	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		dl_free(p[i]);
	return dl_malloc(10);
}

/* It stays when it is closed: threads that used it have yet to end. */
static int test_dlopen(void)
{
	void *lib = dlopen(LIBGOHEAP_SO, RTLD_NOW | RTLD_LOCAL), *p;
	size_t (*dl_usable)(void *);
	pthread_t t;

	if (!lib)
		printf("# %s\n", dlerror());
	T(lib);
	dl_malloc = (void *(*)(size_t))dlsym(lib, "malloc");
	dl_free = (void (*)(void *))dlsym(lib, "free");
	dl_usable = (size_t (*)(void *))dlsym(lib, "malloc_usable_size");
	T(dl_malloc && dl_free && dl_usable && dl_malloc != malloc);
	p = dl_malloc(100);
	T_EQ(dl_usable(p), 112);
	T(!pthread_create(&t, NULL, dl_thread, p));
	dlclose(lib);
	pthread_join(t, &p);
	T_EQ(dl_usable(p), 16);
	dl_free(p);
	return T_PASS;
}

/* Over and over: it stays, and takes nothing more. */
static int test_dlopen_again(void)
{
	void *first = NULL;

	for (int i = 0; i < 1000; i++) {
		void *lib = dlopen(LIBGOHEAP_SO, RTLD_NOW | RTLD_LOCAL);

		T(lib && (!first || lib == first));
		first = lib;
		dl_malloc = (void *(*)(size_t))dlsym(lib, "malloc");
		dl_free = (void (*)(void *))dlsym(lib, "free");
		dl_free(dl_malloc(100));
		T(!dlclose(lib));
	}
	return T_PASS;
}

/* A copy under another name is another library. */
static void *load_copy(const char *dir, int nr)
{
	char command[512], path[256];
	void *lib;

	snprintf(path, sizeof(path), "%s/%d.so", dir, nr);
	snprintf(command, sizeof(command), "cp %s %s", FRONT_TLS_SO, path);
	if (system(command))
		return NULL;
	lib = dlopen(path, RTLD_NOW);
	unlink(path);
	return lib;
}

/*
 * The C library keeps some room for thread-local data of libraries that come late, which
 * ours must have.  Where there is none left it cannot be loaded, and the program goes on.
 */
static int test_static_tls(void)
{
	char dir[] = "/tmp/goheap-front-load-XXXXXX";
	const char *why;
	pthread_t t;
	int nr = 0;
	void *q;

	T(mkdtemp(dir));
	while (nr < 2000 && load_copy(dir, nr))
		nr++;
	rmdir(dir);
	why = dlerror();
	printf("# %d libraries, then: %s\n", nr, why);
	T(nr > 10 && nr < 2000 && why && strstr(why, "static TLS"));
	T(!dlopen(LIBGOHEAP_SO, RTLD_NOW | RTLD_LOCAL));
	why = dlerror();
	printf("# %s\n", why);
	T(why && strstr(why, "static TLS"));
	dl_malloc = malloc;
	dl_free = free;
	T(!pthread_create(&t, NULL, dl_thread, malloc(100)));
	pthread_join(t, &q);
	free(q);
	return T_PASS;
}

static const struct t_case cases[] = {
	{ "LD_PRELOAD", test_preload },
	{ "dlopen, and dlclose in use", test_dlopen },
	{ "dlopen and dlclose, a thousand times", test_dlopen_again },
	{ "dlopen where no static TLS is left", test_static_tls },
};

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--preloaded"))
		return preloaded();
	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
