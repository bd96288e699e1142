/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Options, from the environment variable GOHEAPDEBUG: name=value,name=value.
 */
#ifndef GHU_OPTIONS_H
#define GHU_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ghu_option_backend {
	GHU_BACKEND_AUTO,
	GHU_BACKEND_DEVICE,
	GHU_BACKEND_EMBEDDED,
};

/* Room for an option that is a text. */
#define GHU_OPTION_TEXT_MAX	256u

struct ghu_options {
	unsigned int backend;	/* enum ghu_option_backend */
	unsigned int bgscavenge;
	unsigned int gctrace;
	unsigned int scavenge;
	unsigned int uring;
	union {
		struct {
			unsigned int sample;		/* guarded.c */
			unsigned int memprofilerate;	/* profile.c, profile_write.c */
		};
		uint64_t sampling;	/* both at once: whether any allocations are */
	};
	unsigned int profilesignal;
	char profile[GHU_OPTION_TEXT_MAX];
	/* checked.c */
	unsigned int allocfreetrace;
	unsigned int canary;
	unsigned int efence;
	unsigned int guard;
	unsigned int hardened;
	unsigned int junk;
	unsigned int quarantine;
	unsigned int sbrk;
	unsigned int zero;
};

extern struct ghu_options ghu_options;
/* One of those that checked.c is for is on.  Never changes once they were read. */
extern bool ghu_checked;

/* Reads the environment once; complains about what it does not understand, and goes on. */
void ghu_options_init(void);
/* The same for a given text. */
void ghu_options_parse(const char *text);

/* The names, from 0 on; NULL behind the last. */
const char *ghu_option_name(unsigned int i);
/* Writes the value as goheap_option_set() would take it.  Its length, or -ENOENT. */
long ghu_option_get(const char *name, char *value, size_t size);
/* 0; -ENOENT: no such option; -EINVAL: no such value; -EBUSY: it is too late to change it. */
int ghu_option_set(const char *name, const char *value);

#endif
