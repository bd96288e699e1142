// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * goheap(1): runs programs on the page heap of the kernel, and looks at heaps that others
 * have.
 *
 * Each sub-command is a file cmd_NAME.c with a struct cli_command, which is in the table
 * below; its options are a table too, from which both getopt_long() and --help are fed.
 * Nothing here needs more than sysfs and /proc, and nothing needs root for one's own heaps.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <goheap.h>
#include "cli.h"

struct cli cli = { .sysfs = "/sys" };

static const struct cli_command *const commands[] = {
	&cmd_run,	/* one a line, in the order in which they are listed */
	&cmd_list,
	&cmd_stat,
	&cmd_top,
	&cmd_scavenge,
	&cmd_limit,
	&cmd_doctor,
	&cmd_map,
	&cmd_trace,
};

#define NR_COMMANDS	(sizeof(commands) / sizeof(commands[0]))

static bool wants_help, wants_version;

static const struct cli_option common_options[] = {
	{ 0, "sysfs", "DIR", NULL, &cli.sysfs, "read DIR instead of /sys (or: GOHEAP_SYSFS=DIR)" },
	{ 'h', "help", NULL, &wants_help, NULL, "what you read" },
	{ 'V', "version", NULL, &wants_version, NULL, "the version" },
	{ 0 }
};

static const struct cli_option json_options[] = {
	{ 'j', "json", NULL, &cli.json, NULL, "as JSON" },
	{ 0 }
};

static const struct cli_option no_options[] = { { 0 } };

/* All options that a command takes, in three tables. */
#define NR_TABLES	3
static const struct cli_option *table(const struct cli_command *c, int i)
{
	switch (i) {
	case 0: return c && c->options ? c->options : no_options;
	case 1: return c && c->has_json ? json_options : no_options;
	default: return common_options;
	}
}

/* ---- help ---- */

static void print_options(const struct cli_command *c)
{
	puts("\nOptions:");
	for (int t = 0; t < NR_TABLES; t++)
		for (const struct cli_option *o = table(c, t); o->name; o++) {
			char text[64];

			snprintf(text, sizeof(text), "%c%c%s --%s%s%s", o->letter ? '-' : ' ',
				 o->letter ? o->letter : ' ', o->letter ? "," : " ", o->name,
				 o->arg ? "=" : "", o->arg ? o->arg : "");
			printf("  %-24s %s\n", text, o->help);
		}
}

static void help(const struct cli_command *c)
{
	if (c) {
		printf("Usage: goheap %s [OPTION]...%s%s\n\n%s.\n", c->name,
		       *c->operands ? " " : "", c->operands, c->does);
		if (c->about)
			printf("\n%s\n", c->about);
	} else {
		puts("Usage: goheap COMMAND [OPTION]... [ARGUMENT]...\n\n"
		     "Runs programs on the page heap of the kernel, and looks at heaps.\n\nCommands:");
		for (size_t i = 0; i < NR_COMMANDS; i++)
			printf("  %-10s %s\n", commands[i]->name, commands[i]->does);
		puts("\ngoheap help COMMAND tells more of each, and man goheap.");
	}
	print_options(c);
}

/* ---- options ---- */

#define OPTIONS_MAX	24
/* Of getopt_long(), for options without a letter. */
#define LONG_ONLY	256

static void set_option(const struct cli_option *o)
{
	char *both;

	if (!o->arg)
		*o->flag = true;
	else if (!o->joins || !*o->value)
		*o->value = optarg;
	else if (asprintf(&both, "%s,%s", *o->value, optarg) < 0)
		cli_die("out of memory");
	else
		*o->value = both;
}

/*
 * Says what is wrong with the option where getopt_long() stopped with @got; @o is it, or NULL
 * if there is none of that name.
 */
__attribute__((noreturn))
static void bad_option(const struct cli_option *o, int got, const char *text)
{
	if (!o)
		cli_usage("there is no option %s here", text);
	if (got == ':')
		cli_usage("%s lacks its argument: %s", text, o->arg);
	cli_usage("--%s takes no argument", o->name);
}

/* Index of the first operand. */
static int parse_options(const struct cli_command *c, int argc, char **argv)
{
	struct option longs[OPTIONS_MAX + 1] = { { 0 } };
	const struct cli_option *by_index[OPTIONS_MAX];
	char shorts[2 * OPTIONS_MAX + 4], *s = shorts;
	int nr = 0, got, code;

	/* Before the commands there is nothing but options. */
	if (!c || c->stops)
		*s++ = '+';
	/* What lacks its argument is told from what is unknown. */
	*s++ = ':';
	for (int t = 0; t < NR_TABLES; t++)
		for (const struct cli_option *o = table(c, t); o->name && nr < OPTIONS_MAX; o++) {
			longs[nr] = (struct option){ o->name, o->arg ? required_argument : no_argument,
						     NULL, LONG_ONLY + nr };
			by_index[nr++] = o;
			if (o->letter)
				s = stpcpy(s, (char[]){ o->letter, o->arg ? ':' : '\0', '\0' });
		}
	*s = '\0';
	/* 0, not 1: the second call begins anew. */
	optind = 0;
	opterr = 0;
	while ((got = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		const struct cli_option *o = NULL;
		bool bad = got == '?' || got == ':';

		code = bad ? optopt : got;
		for (int i = 0; i < nr; i++)
			if (code && (code == LONG_ONLY + i || code == by_index[i]->letter))
				o = by_index[i];
		if (bad)	/* a letter may be one among several */
			bad_option(o, got, code && code < LONG_ONLY ?
				   (char[]){ '-', (char)code, '\0' } : argv[optind - 1]);
		set_option(o);
	}
	return optind;
}

/* What the options say that every command has; true: there is nothing more to do. */
static bool handle_common(const struct cli_command *c)
{
	if (wants_help)
		help(c);
	else if (wants_version)
		puts("goheap " GOHEAP_VERSION);
	return wants_help || wants_version;
}

static const struct cli_command *find_command(const char *name)
{
	char names[128];
	size_t to = 0;

	for (size_t i = 0; i < NR_COMMANDS; i++)
		if (!strcmp(commands[i]->name, name))
			return commands[i];
	for (size_t i = 0; i < NR_COMMANDS; i++)
		to += (size_t)snprintf(names + to, sizeof(names) - to, "%s%s", i ? ", " : "",
				       commands[i]->name);
	cli_usage("there is no command '%s': there are %s", name, names);
}

/* goheap help, and goheap help COMMAND. */
static int help_on(int argc, char **argv)
{
	if (argc > 1)
		cli_usage("'%s' is one too many", argv[1]);
	help(argc ? find_command(argv[0]) : NULL);
	return EXIT_OK;
}

/* What was written may not have arrived. */
static int finish(int status)
{
	if (fflush(stdout) || ferror(stdout)) {
		cli_warn("cannot write to standard output");
		return EXIT_FAILED;
	}
	return status;
}

static int run(const struct cli_command *c, int argc, char **argv)
{
	if (argc < c->min)
		cli_usage("what is missing: %s", c->operands);
	if (c->max >= 0 && argc > c->max)
		cli_usage("'%s' is one too many", argv[c->max]);
	if (!c->run)
		cli_die("this goheap was built without it: install the package %s and build again",
			c->package);
	return c->run(argc, argv);
}

int main(int argc, char **argv)
{
	const char *no_color = getenv("NO_COLOR"), *sysfs = getenv("GOHEAP_SYSFS");
	int first;

	if (sysfs && *sysfs)
		cli.sysfs = sysfs;
	cli.colour = isatty(STDOUT_FILENO) && !(no_color && *no_color);
	first = parse_options(NULL, argc, argv);
	if (handle_common(NULL))
		return finish(EXIT_OK);
	if (first == argc)
		cli_usage("which command?");
	argv += first;
	argc -= first;
	if (!strcmp(argv[0], "help"))
		return finish(help_on(argc - 1, argv + 1));
	cli.command = find_command(argv[0]);
	first = parse_options(cli.command, argc, argv);
	if (handle_common(cli.command))
		return finish(EXIT_OK);
	return finish(run(cli.command, argc - first, argv + first));
}
