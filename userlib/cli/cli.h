/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * What the sub-commands of goheap(1) have in common: the table that they are in, their
 * options, messages, sizes, colour and progress.
 */
#ifndef GOHEAP_CLI_H
#define GOHEAP_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit statuses, of every command. */
enum {
	EXIT_OK = 0,
	EXIT_FAILED = 1,	/* it did not work, or something is wrong */
	EXIT_USAGE = 2,		/* it was not understood */
};

/* One option.  One without arg sets *flag, one with arg makes *value point to its text. */
struct cli_option {
	char letter;		/* 0: none */
	const char *name;
	const char *arg;	/* how the argument is called; NULL: it takes none */
	bool *flag;
	const char **value;
	const char *help;
	bool joins;		/* given again it is added, behind a comma */
};

/*
 * One sub-command.  run() gets what is left when the options are taken out: argv[0] is
 * the first operand.  Its result is the exit status.
 */
struct cli_command {
	const char *name;
	const char *operands;	/* as the synopsis has them */
	const char *does;	/* one line, for the list of commands */
	const char *about;	/* a paragraph, for --help of the command; may be NULL */
	const struct cli_option *options;	/* up to one without name; may be NULL */
	bool has_json;		/* takes --json: see cli.json */
	bool stops;		/* options end at the first operand */
	int min, max;		/* operands; max < 0: any number */
	/* NULL: not built, for want of package. */
	int (*run)(int argc, char **argv);
	const char *package;
};

extern const struct cli_command cmd_run, cmd_list, cmd_stat, cmd_top, cmd_scavenge, cmd_limit,
	cmd_doctor, cmd_map, cmd_trace;

/* What was said by options that every command has, and where output goes. */
extern struct cli {
	const struct cli_command *command;
	const char *sysfs;	/* instead of /sys: --sysfs, or GOHEAP_SYSFS */
	bool json;
	bool colour;		/* of stdout */
	void (*leave_screen)(void);	/* before there is a message; NULL: nothing to leave */
} cli;

#define cli_printf(f, a)	__attribute__((format(printf, f, a)))

/* "goheap COMMAND: " and the message, which says what to do. */
cli_printf(1, 2) void cli_warn(const char *fmt, ...);
/* The same, and the end: EXIT_FAILED, or EXIT_USAGE with a word about --help. */
cli_printf(1, 2) __attribute__((noreturn)) void cli_die(const char *fmt, ...);
cli_printf(1, 2) __attribute__((noreturn)) void cli_usage(const char *fmt, ...);

/* Memory, or the end. */
void *cli_alloc(size_t nr, size_t size);
void *cli_grow(void *p, size_t nr, size_t size);

/* 64 K, 1.5 M: at most 6 characters, in the caller's buffer. */
#define CLI_SIZE_MAX	16
const char *cli_size(char buf[CLI_SIZE_MAX], uint64_t bytes);
/* A number of bytes, with or without K, M, G, T of 1024 (512M, 512MiB); false if it is none. */
bool cli_parse_size(const char *text, uint64_t *bytes);
/* A decimal number in all of text. */
bool cli_parse_u64(const char *text, uint64_t *value);
/* Seconds, with a fraction if need be; EXIT_USAGE if out of min..max. */
double cli_parse_seconds(const char *text, double min, double max);

/* Colours for stdout, "" where there is to be none. */
const char *cli_bold(void);
const char *cli_red(void);
const char *cli_green(void);
const char *cli_yellow(void);
const char *cli_plain(void);

/*
 * Progress of what takes over a second, on stderr if that is a terminal: called with
 * done == 0 at the start, at each step, and with done == total at the end, which wipes it.
 */
void cli_progress(const char *what, size_t done, size_t total);

/* Monotonic, in seconds. */
double cli_now(void);
void cli_sleep(double seconds);

/* The start of a file of /proc or /sys, without the newline; -1 with errno. */
long cli_read_file(const char *path, char *buf, size_t size);

#endif
