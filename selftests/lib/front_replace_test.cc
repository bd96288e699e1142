// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * A program may replace some of C++'s operators new and delete only, with functions
 * whose memory is not the library's.  Those that it did not replace must get to them.
 */
#include <cstdio>
#include <cstdlib>
#include <new>

#define POOL_BYTES	65536

alignas(64) static char pool[POOL_BYTES];
static size_t pool_used;
static int pool_live;

static bool is_pool(void *p)
{
	return (char *)p >= pool && (char *)p < pool + POOL_BYTES;
}

static void *pool_get(size_t size, size_t align)
{
	char *p = pool + (pool_used + align - 1) / align * align;

	pool_used = (size_t)(p - pool) + size;
	pool_live++;
	return p;
}

static void pool_put(void *p)
{
	if (!p)
		return;
	if (!is_pool(p))
		abort();
	pool_live--;
}

void *operator new(size_t size)
{
	return pool_get(size, 16);
}

void *operator new(size_t size, std::align_val_t align)
{
	return pool_get(size, (size_t)align);
}

void operator delete(void *p) noexcept
{
	pool_put(p);
}

void operator delete(void *p, std::align_val_t) noexcept
{
	pool_put(p);
}

static int failed, number;

static void ok(bool good, const char *name)
{
	printf("%sok %d %s\n", good ? "" : "not ", ++number, name);
	failed += !good;
}

/* p came from the pool, and what fn does with it brings it back there. */
template <typename F> static void back(const char *name, void *p, F fn)
{
	int live = pool_live;
	bool good = is_pool(p);

	fn(p);
	ok(good && pool_live == live - 1, name);
}

int main()
{
	const std::align_val_t align = std::align_val_t(64);

	puts("TAP version 13\n1..12");
	back("new and delete with a size", operator new(40),
	     [](void *p) { operator delete(p, (size_t)40); });
	back("the same with a size that would be wrong", operator new(40),
	     [](void *p) { operator delete(p, (size_t)4000); });
	back("new[] and delete[]", operator new[](40), [](void *p) { operator delete[](p); });
	back("new[] and delete[] with a size", operator new[](40),
	     [](void *p) { operator delete[](p, (size_t)40); });
	back("new without exceptions", operator new(40, std::nothrow),
	     [](void *p) { operator delete(p, std::nothrow); });
	back("new[] without exceptions", operator new[](40, std::nothrow),
	     [](void *p) { operator delete[](p, std::nothrow); });
	back("aligned new", operator new(40, align),
	     [](void *p) { operator delete(p, (size_t)40, std::align_val_t(64)); });
	back("aligned new[]", operator new[](40, align),
	     [](void *p) { operator delete[](p, std::align_val_t(64)); });
	back("aligned new[], delete[] with a size", operator new[](40, align),
	     [](void *p) { operator delete[](p, (size_t)40, std::align_val_t(64)); });
	back("aligned new without exceptions", operator new(40, align, std::nothrow),
	     [](void *p) { operator delete(p, std::align_val_t(64), std::nothrow); });
	back("aligned new[] without exceptions", operator new[](40, align, std::nothrow),
	     [](void *p) { operator delete[](p, std::align_val_t(64), std::nothrow); });
	ok(pool_live == 0, "nothing is left");
	return failed ? 1 : 0;
}
