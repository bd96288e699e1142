// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Every option is one line of the table below.  A text that cannot be understood
 * gets one line on stderr that names the option and what would be accepted, and
 * changes nothing: a program must not die of its environment.
 *
 * The variable is read at the first malloc(), which may be before libc's own
 * initialiser has set environ: when libgoheap is preloaded, the dynamic loader
 * itself calls malloc() between relocation and the first constructor.  In that
 * case environ is NULL, and the environment is found where the kernel put it:
 * behind argv on the initial stack, whose address the loader publishes as
 * __libc_stack_end.  In a statically linked program environ is set before
 * anything can call malloc(), and __libc_stack_end, which is not exact there, is
 * not looked at.  A set-user-ID program takes no options.
 *
 * Later on the program may change those that are looked at each time.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include "options.h"
#include "profile.h"
#include "sample.h"
#include "sys.h"

struct ghu_options ghu_options;
bool ghu_checked;

/* Longer than any option; longer ones are cut off in messages. */
#define TEXT_MAX	64
/* What quarantine is where hardened is on. */
#define HARDENED_KIB	1024u

struct option_def {
	const char *name;
	unsigned int *value;
	unsigned int def, min, max;
	/* The values' names; NULL: they are numbers; a_text: any text. */
	const char *const *words;
	const char *unit;
	const char *doc;
};

static const char *const backend_words[] = { "auto", "device", "embedded", NULL };

static const char *const a_text[] = { NULL };

#ifdef GHU_LIBURING
#define URING_MAX	1
#define URING_UNIT	"0 or 1"
#else
#define URING_MAX	0
#define URING_UNIT	"0, as it was built without liburing"
#endif

static const struct option_def option_table[] = {
	{ "allocfreetrace", &ghu_options.allocfreetrace, 0, 0, 1, NULL,
	  "0 or 1", "print each allocation and each free, with the stack" },
	{ "backend", &ghu_options.backend,
	  GHU_BACKEND_AUTO, GHU_BACKEND_AUTO, GHU_BACKEND_EMBEDDED, backend_words,
	  "auto, device or embedded", "where spans come from" },
	{ "bgscavenge", &ghu_options.bgscavenge, 0, 0, 1u << 24, NULL,
	  "0 to 16777216", "embedded backend: a thread releases what was unused for so many ms; 0: none" },
	{ "canary", &ghu_options.canary, 0, 0, 1, NULL,
	  "0 or 1", "find what was written behind an object when it is freed" },
	{ "efence", &ghu_options.efence, 0, 0, 1, NULL,
	  "0 or 1", "each object on pages of its own that are never used again" },
	{ "gctrace", &ghu_options.gctrace, 0, 0, 1, NULL,
	  "0 or 1", "print a line for each scavenging that released something" },
	{ "guard", &ghu_options.guard, 0, 0, 1, NULL,
	  "0 or 1", "a page that traps behind each large object" },
	{ "hardened", &ghu_options.hardened, 0, 0, 1, NULL,
	  "0 or 1", "canary=1, guard=1, quarantine=1024, and zero=1 unless there is junk" },
	{ "junk", &ghu_options.junk, 0, 0, 255, NULL,
	  "0 to 255", "fill freed objects with this, and new ones with its complement" },
	{ "memprofilerate", &ghu_options.memprofilerate, 0, 0, GHU_SAMPLE_RATE_MAX, NULL,
	  "0 to 117440512", "heap profile: sample an allocation each so many bytes" },
	{ "profile", NULL, 0, 0, 0, a_text,
	  "a path", "write the heap profile there when the program ends" },
	{ "profilesignal", &ghu_options.profilesignal, 0, 0, 64, NULL,
	  "0 to 64", "write the heap profile to profile=PATH on this signal, too" },
	{ "quarantine", &ghu_options.quarantine, 0, 0, 1u << 20, NULL,
	  "0 to 1048576", "KiB of freed objects that wait to be used again, in random order" },
	{ "sample", &ghu_options.sample, 0, 0, 999999999, NULL,
	  "0 to 999999999", "guard one of so many objects by pages that trap" },
	{ "sbrk", &ghu_options.sbrk, 0, 0, 1, NULL,
	  "0 or 1", "never use again what was freed" },
	{ "scavenge", &ghu_options.scavenge, 0, 0, 1, NULL,
	  "0 or 1", "embedded backend: release memory after 20 ms instead of 5 minutes" },
	{ "uring", &ghu_options.uring, 0, 0, URING_MAX, NULL,
	  URING_UNIT, "device backend: fetch spans ahead, with pages, by io_uring" },
	{ "zero", &ghu_options.zero, 0, 0, 1, NULL,
	  "0 or 1", "clear objects when they are freed" },
};

/* As texts lie apart (layout.ld), and this one is needed always. */
static const char variable[] = "GOHEAPDEBUG";

#define NR_OPTIONS	(sizeof(option_table) / sizeof(option_table[0]))

static const struct option_def *find_option(const char *name, size_t len)
{
	for (size_t i = 0; i < NR_OPTIONS; i++) {
		const struct option_def *o = &option_table[i];

		if (strlen(o->name) == len && !memcmp(o->name, name, len))
			return o;
	}
	return NULL;
}

/* Copies the first len bytes of text into buf, for a message. */
static const char *cut(char buf[TEXT_MAX], const char *text, size_t len)
{
	if (len > TEXT_MAX - 1)
		len = TEXT_MAX - 1;
	memcpy(buf, text, len);
	buf[len] = '\0';
	return buf;
}

/* The names of all options. */
static void list_options(char *buf, size_t size)
{
	size_t len = 0;

	for (size_t i = 0; i < NR_OPTIONS; i++) {
		const char *parts[] = { i ? ", " : "", option_table[i].name };

		for (size_t k = 0; k < 2; k++) {
			size_t n = strlen(parts[k]);

			if (len + n >= size)
				return;
			memcpy(buf + len, parts[k], n + 1);
			len += n;
		}
	}
}

static void complain_name(const char *name, size_t len)
{
	char buf[TEXT_MAX], known[NR_OPTIONS * TEXT_MAX];

	list_options(known, sizeof(known));
	ghu_print("goheap: GOHEAPDEBUG: unknown option '%s' ignored; known are %s\n",
		  cut(buf, name, len), known);
}

static void complain_value(const struct option_def *o, const char *value, size_t len)
{
	char buf[TEXT_MAX];

	ghu_print("goheap: GOHEAPDEBUG: %s=%s ignored; %s takes %s (%s)\n",
		  o->name, cut(buf, value, len), o->name, o->unit, o->doc);
}

static bool parse_word(const struct option_def *o, const char *text, size_t len, unsigned int *v)
{
	for (*v = 0; o->words[*v]; ++*v)
		if (strlen(o->words[*v]) == len && !memcmp(o->words[*v], text, len))
			return true;
	return false;
}

static bool parse_number(const struct option_def *o, const char *text, size_t len, unsigned int *v)
{
	if (!len || len > 9)
		return false;
	*v = 0;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		*v = *v * 10 + (unsigned int)(text[i] - '0');
	}
	return *v >= o->min && *v <= o->max;
}

/* Where the value is, if it is a text: there is but one. */
static char *text_of(const struct option_def *o)
{
	return o->words == a_text ? ghu_options.profile : NULL;
}

static void set_text(const struct option_def *o, const char *text, size_t len)
{
	memcpy(text_of(o), text, len);
	text_of(o)[len] = '\0';
}

static bool parse_value(const struct option_def *o, const char *text, size_t len, unsigned int *v)
{
	if (text_of(o))
		return len < GHU_OPTION_TEXT_MAX;
	return o->words ? parse_word(o, text, len, v) : parse_number(o, text, len, v);
}

static void parse_option(const char *text, size_t len)
{
	const char *eq = memchr(text, '=', len);
	size_t name_len = eq ? (size_t)(eq - text) : len;
	const char *value = eq ? eq + 1 : "";
	size_t value_len = eq ? len - name_len - 1 : 0;
	const struct option_def *o = find_option(text, name_len);
	unsigned int v;

	if (!o)
		complain_name(text, name_len);
	else if (!parse_value(o, value, value_len, &v) || (text_of(o) && !eq))
		complain_value(o, value, value_len);
	else if (text_of(o))
		set_text(o, value, value_len);
	else
		*o->value = v;
}

void ghu_options_parse(const char *text)
{
	while (*text) {
		size_t len = strcspn(text, ",");

		if (len)
			parse_option(text, len);
		text += len;
		if (*text == ',')
			text++;
	}
}

const char *ghu_option_name(unsigned int i)
{
	return i < NR_OPTIONS ? option_table[i].name : NULL;
}

long ghu_option_get(const char *name, char *value, size_t size)
{
	const struct option_def *o = find_option(name, strlen(name));
	unsigned int v;

	if (!o)
		return -ENOENT;
	if (text_of(o))
		return snprintf(value, size, "%s", text_of(o));
	v = __atomic_load_n(o->value, __ATOMIC_RELAXED);
	return o->words ? snprintf(value, size, "%s", o->words[v])
			: snprintf(value, size, "%u", v);
}

/* Looked at when the heap is made and never again. */
static bool is_fixed(const struct option_def *o)
{
	return o->value != &ghu_options.gctrace && o->value != &ghu_options.scavenge &&
	       o->value != &ghu_options.memprofilerate;
}

int ghu_option_set(const char *name, const char *value)
{
	const struct option_def *o = find_option(name, strlen(name));
	unsigned int v;

	if (!o)
		return -ENOENT;
	if (!parse_value(o, value, strlen(value), &v))
		return -EINVAL;
	if (text_of(o))
		return strcmp(text_of(o), value) ? -EBUSY : 0;
	if (is_fixed(o) && v != *o->value)
		return -EBUSY;
	__atomic_store_n(o->value, v, __ATOMIC_RELAXED);
	return 0;
}

extern char **__environ __attribute__((weak));
extern void *__libc_stack_end __attribute__((weak));

/* argc, argv[0..argc-1], NULL, envp[], NULL: as the kernel left it. */
static char **initial_environ(void)
{
	char **stack = &__libc_stack_end ? __libc_stack_end : NULL;
	unsigned long argc;

	if (!stack)
		return NULL;
	argc = (unsigned long)stack[0];
	if (argc > 1UL << 20 || stack[1 + argc])
		return NULL;
	return stack + 1 + argc + 1;
}

static const char *find_variable(char **env, const char *name)
{
	size_t len = strlen(name);

	for (; env && *env; env++)
		if (!strncmp(*env, name, len) && (*env)[len] == '=')
			return *env + len + 1;
	return NULL;
}

static void set_if_unset(unsigned int *option, unsigned int value)
{
	if (!*option)
		*option = value;
}

/* What follows from others. */
static void conclude(struct ghu_options *o)
{
	if (o->hardened) {
		set_if_unset(&o->canary, 1);
		set_if_unset(&o->guard, 1);
		set_if_unset(&o->quarantine, HARDENED_KIB);
		if (!o->junk)
			set_if_unset(&o->zero, 1);
	}
	if (o->profile[0])
		set_if_unset(&o->memprofilerate, GHU_PROFILE_RATE);
	if (o->efence)
		set_if_unset(&o->guard, 1);
	ghu_checked = o->canary || o->guard || o->junk || o->zero || o->quarantine || o->sbrk ||
		      o->allocfreetrace;
	/* Objects that are checked are not guarded too. */
	if (ghu_checked)
		o->sample = 0;
}

void ghu_options_init(void)
{
	char **env = &__environ ? __environ : NULL;
	const char *text;

	for (size_t i = 0; i < NR_OPTIONS; i++)
		if (option_table[i].value)
			*option_table[i].value = option_table[i].def;
	if (getauxval(AT_SECURE))
		return;
	text = find_variable(env ? env : initial_environ(), variable);
	if (text)
		ghu_options_parse(text);
	conclude(&ghu_options);
}
