// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * A writer only: what goheap(1) says is made of a few objects and numbers, for which a
 * library would be one more package to build with.  Numbers above 2^53 are written as they
 * are: who reads them with more than a double has them exactly.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "json.h"

#define DEPTH_MAX	8

static char closing[DEPTH_MAX];
static unsigned int depth;
static bool follows;		/* another value, at this depth */

/* The length of the UTF-8 sequence at p, 0 if it is none. */
static size_t utf8_length(const unsigned char *p)
{
	size_t n = *p < 0x80 ? 1 : *p >= 0xc2 && *p < 0xe0 ? 2 :
		   *p >= 0xe0 && *p < 0xf0 ? 3 : *p >= 0xf0 && *p < 0xf5 ? 4 : 0;

	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	/* Longer than need be, surrogates, and above U+10FFFF. */
	if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) ||
	    (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

static void put_quoted(const char *text)
{
	const unsigned char *p = (const unsigned char *)text;

	putchar('"');
	while (*p) {
		size_t n = utf8_length(p);

		if (!n)
			fputs("\\ufffd", stdout);
		else if (*p == '"' || *p == '\\')
			printf("\\%c", *p);
		else if (*p < ' ' || *p == 0x7f)
			printf("\\u%04x", *p);
		else
			fwrite(p, 1, n, stdout);
		p += n ? n : 1;
	}
	putchar('"');
}

static void put_line(void)
{
	printf("\n%*s", (int)depth * 2, "");
}

/* What comes before each value. */
static void begin(const char *name)
{
	if (follows)
		putchar(',');
	if (depth)
		put_line();
	if (name) {
		put_quoted(name);
		fputs(": ", stdout);
	}
	follows = true;
}

void json_open(const char *name, char bracket)
{
	begin(name);
	putchar(bracket);
	assert(depth < DEPTH_MAX);
	closing[depth++] = bracket == '{' ? '}' : ']';
	follows = false;
}

void json_close(void)
{
	char bracket = closing[--depth];

	if (follows)
		put_line();
	putchar(bracket);
	follows = true;
	if (!depth) {
		putchar('\n');
		follows = false;
	}
}

void json_u64(const char *name, uint64_t value)
{
	begin(name);
	printf("%llu", (unsigned long long)value);
}

void json_double(const char *name, double value)
{
	begin(name);
	printf("%.3f", value);
}

void json_bool(const char *name, bool value)
{
	begin(name);
	fputs(value ? "true" : "false", stdout);
}

void json_null(const char *name)
{
	begin(name);
	fputs("null", stdout);
}

void json_text(const char *name, const char *text)
{
	if (!text) {
		json_null(name);
		return;
	}
	begin(name);
	put_quoted(text);
}
