// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * libgoheap_memcpy.so: the C library's functions that copy and fill memory, which ask
 * libgoheap first whether they stay within the objects of the heap that they are given.
 * It is preloaded before libgoheap:
 *
 *	LD_PRELOAD="libgoheap_memcpy.so.1 libgoheap.so.1" program
 *
 * A library of its own, since a program that binds memcpy() to another one than the C
 * library's pays for it, whether or not there is something to check.
 *
 * The C library's own are looked up when this one is loaded; who copies before that,
 * as dlsym() itself may, is served by loops.  With overlapping arguments memcpy() does
 * as memmove(): old programs, which are bound to a version that did, get this one too.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <goheap.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define export	__attribute__((visibility("default")))

/* Where another malloc is in use there is nothing to check. */
#pragma weak goheap_check_range

static void *(*next_memmove)(void *, const void *, size_t);
static void *(*next_memset)(void *, int, size_t);

static __attribute__((constructor)) void find_next(void)
{
	*(void **)&next_memset = dlsym(RTLD_NEXT, "memset");
	*(void **)&next_memmove = dlsym(RTLD_NEXT, "memmove");
}

/* ---- without checks ---- */

static void *move(void *to, const void *from, size_t n)
{
	const volatile char *f = from;
	volatile char *t = to;

	if (next_memmove)
		return next_memmove(to, from, n);
	if ((uintptr_t)to - (uintptr_t)from >= n) {
		for (size_t i = 0; i < n; i++)
			t[i] = f[i];
	} else {
		while (n--)
			t[n] = f[n];
	}
	return to;
}

static void *set(void *to, int c, size_t n)
{
	volatile char *t = to;

	if (next_memset)
		return next_memset(to, c, n);
	while (n--)
		*t++ = (char)c;
	return to;
}

/* ---- with them ---- */

static void check(const char *what, const void *p, size_t n)
{
	if (goheap_check_range)
		goheap_check_range(what, p, n);
}

static void *checked_move(const char *what, void *to, const void *from, size_t n)
{
	check(what, to, n);
	check(what, from, n);
	return move(to, from, n);
}

static void *checked_set(const char *what, void *to, int c, size_t n)
{
	check(what, to, n);
	return set(to, c, n);
}

/* Copies the string with its end, and returns where that is. */
static char *checked_string(const char *what, char *to, const char *from, size_t len)
{
	check(what, to, len + 1);
	move(to, from, len);
	to[len] = '\0';
	return to + len;
}

/* Up to n bytes of the string, and zeros for the rest of n; returns where those begin. */
static char *checked_field(const char *what, char *to, const char *from, size_t n)
{
	size_t len = strnlen(from, n);

	check(what, to, n);
	move(to, from, len);
	set(to + len, 0, n - len);
	return to + len;
}

export void *memcpy(void *to, const void *from, size_t n)
{
	return checked_move("memcpy", to, from, n);
}

export void *memmove(void *to, const void *from, size_t n)
{
	return checked_move("memmove", to, from, n);
}

export void *mempcpy(void *to, const void *from, size_t n)
{
	return (char *)checked_move("mempcpy", to, from, n) + n;
}

export void *memset(void *to, int c, size_t n)
{
	return checked_set("memset", to, c, n);
}

export char *strcpy(char *to, const char *from)
{
	checked_string("strcpy", to, from, strlen(from));
	return to;
}

export char *stpcpy(char *to, const char *from)
{
	return checked_string("stpcpy", to, from, strlen(from));
}

export char *strcat(char *to, const char *from)
{
	checked_string("strcat", to + strlen(to), from, strlen(from));
	return to;
}

export char *strncat(char *to, const char *from, size_t n)
{
	checked_string("strncat", to + strlen(to), from, strnlen(from, n));
	return to;
}

export char *strncpy(char *to, const char *from, size_t n)
{
	checked_field("strncpy", to, from, n);
	return to;
}

export char *stpncpy(char *to, const char *from, size_t n)
{
	return checked_field("stpncpy", to, from, n);
}

/* ---- what programs call that were compiled with _FORTIFY_SOURCE ---- */

void __chk_fail(void) __attribute__((noreturn));

static size_t at_most(size_t n, size_t room)
{
	if (n > room)
		__chk_fail();
	return n;
}

export void *__memcpy_chk(void *to, const void *from, size_t n, size_t room);
export void *__memmove_chk(void *to, const void *from, size_t n, size_t room);
export void *__mempcpy_chk(void *to, const void *from, size_t n, size_t room);
export void *__memset_chk(void *to, int c, size_t n, size_t room);
export char *__strcpy_chk(char *to, const char *from, size_t room);
export char *__stpcpy_chk(char *to, const char *from, size_t room);
export char *__strcat_chk(char *to, const char *from, size_t room);
export char *__strncat_chk(char *to, const char *from, size_t n, size_t room);
export char *__strncpy_chk(char *to, const char *from, size_t n, size_t room);
export char *__stpncpy_chk(char *to, const char *from, size_t n, size_t room);

void *__memcpy_chk(void *to, const void *from, size_t n, size_t room)
{
	return checked_move("memcpy", to, from, at_most(n, room));
}

void *__memmove_chk(void *to, const void *from, size_t n, size_t room)
{
	return checked_move("memmove", to, from, at_most(n, room));
}

void *__mempcpy_chk(void *to, const void *from, size_t n, size_t room)
{
	return (char *)checked_move("mempcpy", to, from, at_most(n, room)) + n;
}

void *__memset_chk(void *to, int c, size_t n, size_t room)
{
	return checked_set("memset", to, c, at_most(n, room));
}

char *__strcpy_chk(char *to, const char *from, size_t room)
{
	size_t len = strlen(from);

	at_most(len + 1, room);
	checked_string("strcpy", to, from, len);
	return to;
}

char *__stpcpy_chk(char *to, const char *from, size_t room)
{
	size_t len = strlen(from);

	at_most(len + 1, room);
	return checked_string("stpcpy", to, from, len);
}

char *__strcat_chk(char *to, const char *from, size_t room)
{
	size_t have = strlen(to), len = strlen(from);

	at_most(have + len + 1, room);
	checked_string("strcat", to + have, from, len);
	return to;
}

char *__strncat_chk(char *to, const char *from, size_t n, size_t room)
{
	size_t have = strlen(to), len = strnlen(from, n);

	at_most(have + len + 1, room);
	checked_string("strncat", to + have, from, len);
	return to;
}

char *__strncpy_chk(char *to, const char *from, size_t n, size_t room)
{
	checked_field("strncpy", to, from, at_most(n, room));
	return to;
}

char *__stpncpy_chk(char *to, const char *from, size_t n, size_t room)
{
	return checked_field("stpncpy", to, from, at_most(n, room));
}
