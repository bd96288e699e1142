/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* What goheap doctor is made of: checks that each fill in one finding. */
#ifndef GOHEAP_CLI_DOCTOR_H
#define GOHEAP_CLI_DOCTOR_H

#include <stdbool.h>
#include "cli.h"

enum finding_state {
	FINDING_OK,
	FINDING_NOTE,		/* worth knowing, or it could not be looked at */
	FINDING_WRONG,
};

struct finding {
	enum finding_state state;
	char found[512];
	char mend[512];		/* lines for a shell; "" where there is nothing to do */
};

/* Fill in one. */
cli_printf(2, 3) void doctor_ok(struct finding *f, const char *fmt, ...);
cli_printf(2, 3) void doctor_note(struct finding *f, const char *fmt, ...);
cli_printf(2, 3) void doctor_wrong(struct finding *f, const char *fmt, ...);
cli_printf(2, 3) void doctor_mend(struct finding *f, const char *fmt, ...);

/* Whether this is a container, where other things can be mended than outside. */
bool doctor_in_container(void);
/* What the running kernel calls itself. */
const char *doctor_release(void);

/* Of the module and the device: doctor_module.c, doctor_device.c. */
void doctor_check_module(struct finding *f);
void doctor_check_device(struct finding *f);
void doctor_check_library(struct finding *f);

/* Whether the module is loaded, and its version ("" if it has none). */
bool doctor_module_loaded(void);
const char *doctor_module_version(void);
/* Whether the device was found to work. */
extern bool doctor_device_works;
/* The library that is looked at; NULL: the one that goheap run would take. */
extern const char *doctor_library;

#endif
