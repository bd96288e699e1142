// SPDX-License-Identifier: MIT OR GPL-2.0
/* C++ operator new and delete, every form, from the library, and out of memory. */
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>
#include <thread>
#include <vector>
#include <goheap.h>
#include <malloc.h>

static int nr, failed;

static void report(bool ok, const char *name)
{
	std::printf("%sok %d %s\n", ok ? "" : "not ", ++nr, name);
	failed |= !ok;
}

/* Whether a block is the library's, and as it should be. */
static bool is_ours(void *p, std::size_t size, std::size_t align)
{
	return p && malloc_usable_size(p) >= goheap_good_size(size) &&
	       reinterpret_cast<std::uintptr_t>(p) % align == 0;
}

static volatile std::size_t size = 100;
static const std::align_val_t align{256};
static const std::size_t impossible = static_cast<std::size_t>(1) << 60;

static void test_plain()
{
	void *p = ::operator new(size), *q = ::operator new[](size);
	bool ok = is_ours(p, size, 16) && is_ours(q, size, 16) && p != q;

	::operator delete(p);
	::operator delete[](q);
	p = ::operator new(size);
	q = ::operator new[](size);
	::operator delete(p, size);
	::operator delete[](q, size);
	report(ok, "new, new[], delete, sized delete");
}

static void test_nothrow()
{
	void *p = ::operator new(size, std::nothrow), *q = ::operator new[](size, std::nothrow);
	bool ok = is_ours(p, size, 16) && is_ours(q, size, 16);

	::operator delete(p, std::nothrow);
	::operator delete[](q, std::nothrow);
	report(ok, "nothrow new and delete");
}

static void test_aligned()
{
	void *p = ::operator new(size, align), *q = ::operator new[](size, align);
	void *r = ::operator new(size, align, std::nothrow);
	void *s = ::operator new[](size, align, std::nothrow);
	bool ok = is_ours(p, size, 256) && is_ours(q, size, 256) &&
		  is_ours(r, size, 256) && is_ours(s, size, 256);

	::operator delete(p, align);
	::operator delete[](q, align);
	::operator delete(r, align, std::nothrow);
	::operator delete[](s, align, std::nothrow);
	p = ::operator new(size, align);
	q = ::operator new[](size, align);
	::operator delete(p, size, align);
	::operator delete[](q, size, align);
	report(ok, "aligned new and delete, sized and nothrow");
}

static void test_throws()
{
	int caught = 0;
	volatile std::size_t big = impossible;

	try {
		report(!::operator new(big), "not reached");
	} catch (const std::bad_alloc &) {
		caught++;
	}
	try {
		report(!::operator new[](big, align), "not reached");
	} catch (const std::bad_alloc &) {
		caught++;
	}
	report(caught == 2, "new throws std::bad_alloc");
	report(!::operator new(big, std::nothrow) && !::operator new[](big, std::nothrow) &&
	       !::operator new(big, align, std::nothrow), "nothrow new returns a null pointer");
}

static int handled;

static void handler()
{
	if (++handled == 3)
		std::set_new_handler(nullptr);
}

struct refusal {};

static void refuse()
{
	throw refusal();
}

static void test_handler()
{
	volatile std::size_t big = impossible;
	bool refused = false;

	std::set_new_handler(handler);
	bool ok = !::operator new(big, std::nothrow) && handled == 3;

	std::set_new_handler(refuse);
	try {
		report(!::operator new(big), "not reached");
	} catch (const refusal &) {
		refused = true;
	}
	std::set_new_handler(nullptr);
	report(ok, "the new handler is called until there is none");
	report(refused, "the new handler may throw");
}

static void test_library()
{
	std::vector<std::string> v;
	bool ok = true;

	for (int i = 0; i < 20000; i++)
		v.push_back(std::string(static_cast<std::size_t>(i % 300), 'x'));
	std::thread([&v] { v.erase(v.begin(), v.begin() + 10000); }).join();
	for (int i = 0; i < 10000; i++)
		ok &= v.at(i).size() == static_cast<std::size_t>((i + 10000) % 300);
	report(ok && is_ours(v.data(), v.size() * sizeof(v[0]), 16), "strings and vectors");
}

int main()
{
	std::printf("TAP version 13\n1..8\n");
	test_plain();
	test_nothrow();
	test_aligned();
	test_throws();
	test_handler();
	test_library();
	return failed;
}
