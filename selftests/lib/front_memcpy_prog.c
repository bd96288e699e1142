// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * One call of a function that copies or fills, for front_memcpy_test.sh: with argument
 * "fits FUNCTION" it ends with its object, with "over FUNCTION" one byte behind it.
 * Some other cases by name.  Compiled without optimization, and without the compiler's
 * knowledge of these functions.
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *__memcpy_chk(void *to, const void *from, size_t n, size_t room);
void *__memmove_chk(void *to, const void *from, size_t n, size_t room);
void *__mempcpy_chk(void *to, const void *from, size_t n, size_t room);
void *__memset_chk(void *to, int c, size_t n, size_t room);
char *__strcpy_chk(char *to, const char *from, size_t room);
char *__stpcpy_chk(char *to, const char *from, size_t room);
char *__strcat_chk(char *to, const char *from, size_t room);
char *__strncat_chk(char *to, const char *from, size_t n, size_t room);
char *__strncpy_chk(char *to, const char *from, size_t n, size_t room);
char *__stpncpy_chk(char *to, const char *from, size_t n, size_t room);

#define MIB	((size_t)1 << 20)

/* Not of the heap: longer than all objects here, and a string of as many as are asked for. */
static char other[4 * MIB];

static char *string(size_t len)
{
	other[len] = '\0';
	return other;
}

/* Writes the last n bytes of the object and, if more, those behind it. */
static int call(const char *func, char *to, size_t n)
{
#define CALL(name, ...)	if (!strcmp(func, #name)) return name(__VA_ARGS__), 0
	CALL(memcpy, to, other, n);
	CALL(memmove, to, other, n);
	CALL(mempcpy, to, other, n);
	CALL(memset, to, 1, n);
	CALL(strcpy, to, string(n - 1));
	CALL(stpcpy, to, string(n - 1));
	CALL(strncpy, to, string(3), n);
	CALL(stpncpy, to, string(3), n);
	CALL(__memcpy_chk, to, other, n, -1);
	CALL(__memmove_chk, to, other, n, -1);
	CALL(__mempcpy_chk, to, other, n, -1);
	CALL(__memset_chk, to, 1, n, -1);
	CALL(__strcpy_chk, to, string(n - 1), -1);
	CALL(__stpcpy_chk, to, string(n - 1), -1);
	CALL(__strncpy_chk, to, string(3), n, -1);
	CALL(__stpncpy_chk, to, string(3), n, -1);
	to[0] = 'a';
	to[1] = '\0';
	CALL(strcat, to, string(n - 2));
	CALL(strncat, to, string(n + 5), n - 2);
	CALL(__strcat_chk, to, string(n - 2), -1);
	CALL(__strncat_chk, to, string(n + 5), n - 2, -1);
	return 2;
}

static int by_function(const char *func, size_t over)
{
	char *p = malloc(100);
	size_t n = malloc_usable_size(p) - 10;

	memset(other, 'x', sizeof(other));
	return call(func, p + 10, n + over);
}

static int other_case(const char *name)
{
	char *small = malloc(100), *large = malloc(3 * MIB), *end;
	volatile size_t room = 100;	/* the compiler's own warning is not asked for */
	size_t n = malloc_usable_size(small);
	static char data[200];

	end = large + malloc_usable_size(large);
	if (!strcmp(name, "read")) {
		memcpy(data, small, n + 1);
	} else if (!strcmp(name, "large-start")) {
		memset(large, 1, (size_t)(end - large) + 1);
	} else if (!strcmp(name, "large-inside")) {
		memset(large + 2 * MIB, 1, (size_t)(end - large) - 2 * MIB + 1);
	} else if (!strcmp(name, "large-fits")) {
		memset(large + 2 * MIB, 1, (size_t)(end - large) - 2 * MIB);
	} else if (!strcmp(name, "overlap")) {
		memcpy(strcpy(small, "abcdefgh") + 1, small, 8);
		return memcmp(small, "aabcdefgh", 9) != 0;
	} else if (!strcmp(name, "none")) {
		memcpy(small + n, data, 0);
	} else if (!strcmp(name, "room")) {
		__memcpy_chk(data, other, room + 1, room);
	} else {
		return 2;
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "fits"))
		return by_function(argv[2], 0);
	if (argc == 3 && !strcmp(argv[1], "over"))
		return by_function(argv[2], 1);
	return argc == 2 ? other_case(argv[1]) : 2;
}
