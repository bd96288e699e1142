/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * JSON on stdout, one value after the other: commas, quotes and indentation are seen to
 * here.  A name is NULL in an array and at the top.
 */
#ifndef GOHEAP_CLI_JSON_H
#define GOHEAP_CLI_JSON_H

#include <stdbool.h>
#include <stdint.h>

void json_open(const char *name, char bracket);	/* '{' or '[' */
void json_close(void);				/* what was opened last */
void json_u64(const char *name, uint64_t value);
void json_double(const char *name, double value);
void json_bool(const char *name, bool value);
void json_null(const char *name);
/* Bytes that are no UTF-8 become U+FFFD; NULL becomes null. */
void json_text(const char *name, const char *text);

#endif
