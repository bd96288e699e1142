// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * goheap doctor: looks at everything that a heap of the kernel needs, or is better with,
 * and says for each what is wrong and the line that mends it.
 *
 * What can be tried is tried: the device is opened, io_uring is set up, the library makes
 * a heap.  Only the rest is read from /proc and /sys.
 */
#include <errno.h>
#include <linux/io_uring.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "doctor.h"
#include "json.h"

/* The oldest kernel that the module is built for. */
#define KERNEL_MAJOR	6
#define KERNEL_MINOR	1

/* How lines are added to the kernel's command line on Debian. */
#define GRUB(word)	"sed -i 's/^GRUB_CMDLINE_LINUX=\"/&" word " /' /etc/default/grub && update-grub && reboot"

static void fill(struct finding *f, enum finding_state state, const char *fmt, va_list ap)
{
	f->state = state;
	vsnprintf(f->found, sizeof(f->found), fmt, ap);
}

#define FILL(function, state)				\
void function(struct finding *f, const char *fmt, ...)	\
{							\
	va_list ap;					\
							\
	va_start(ap, fmt);				\
	fill(f, state, fmt, ap);			\
	va_end(ap);					\
}
FILL(doctor_ok, FINDING_OK)
FILL(doctor_note, FINDING_NOTE)
FILL(doctor_wrong, FINDING_WRONG)

void doctor_mend(struct finding *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->mend, sizeof(f->mend), fmt, ap);
	va_end(ap);
}

/* ---- where this is ---- */

/* The first namespaces have these names on every kernel, and containers have others. */
bool doctor_in_container(void)
{
	static const char *const first[][2] = {
		{ "/proc/self/ns/pid", "pid:[4026531836]" },
		{ "/proc/self/ns/user", "user:[4026531837]" },
		{ "/proc/self/ns/cgroup", "cgroup:[4026531835]" },
	};
	char ns[64];

	for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++) {
		ssize_t n = readlink(first[i][0], ns, sizeof(ns) - 1);

		ns[n < 0 ? 0 : n] = '\0';
		if (n > 0 && strcmp(ns, first[i][1]))
			return true;
	}
	return false;
}

const char *doctor_release(void)
{
	static struct utsname u;

	if (!*u.release)
		uname(&u);
	return u.release;
}

/* ---- checks ---- */

static void check_kernel(struct finding *f)
{
	unsigned int major = 0, minor = 0;

	sscanf(doctor_release(), "%u.%u", &major, &minor);
	if (major > KERNEL_MAJOR || (major == KERNEL_MAJOR && minor >= KERNEL_MINOR)) {
		doctor_ok(f, "%s", doctor_release());
	} else {
		doctor_wrong(f, "%s: the module is for %d.%d and later", doctor_release(),
			     KERNEL_MAJOR, KERNEL_MINOR);
		doctor_mend(f, "apt-get install linux-image-amd64 && reboot");
	}
}

static void check_thp(struct finding *f)
{
	char path[4096], text[128];

	snprintf(path, sizeof(path), "%s/kernel/mm/transparent_hugepage/enabled", cli.sysfs);
	if (cli_read_file(path, text, sizeof(text)) < 0) {
		doctor_note(f, "%s: %s: is the kernel built without huge pages?", path,
			    strerror(errno));
	} else if (strstr(text, "[always]")) {
		doctor_ok(f, "always");
	} else if (strstr(text, "[madvise]")) {
		doctor_note(f, "madvise: for programs that ask only, which the heap does not; always is faster");
		doctor_mend(f, "echo always >%s", path);
	} else {
		doctor_wrong(f, "off (%s): heaps have small pages only, and are slower", text);
		doctor_mend(f, "echo always >%s", path);
	}
}

static bool is_cgroup2(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && fs.f_type == CGROUP2_SUPER_MAGIC;
}

/* Another version has the controller, so that the second cannot. */
static bool memory_is_v1(void)
{
	char text[4096];
	const char *line;
	int hierarchy;

	if (cli_read_file("/proc/cgroups", text, sizeof(text)) < 0)
		return false;
	line = strstr(text, "\nmemory\t");
	return line && sscanf(line, " memory %d", &hierarchy) == 1 && hierarchy;
}

static void check_cgroup(struct finding *f)
{
	char root[4096], path[4200], text[1024];

	snprintf(root, sizeof(root), "%s/fs/cgroup", cli.sysfs);
	snprintf(path, sizeof(path), "%s/cgroup.controllers", root);
	if (!is_cgroup2(root)) {
		doctor_wrong(f, "no cgroup2 at %s: pressure in one memory cgroup is not known to heaps there",
			     root);
		if (memory_is_v1())
			doctor_mend(f, GRUB("systemd.unified_cgroup_hierarchy=1"));
		else
			doctor_mend(f, "mount -t cgroup2 cgroup2 %s", root);
	} else if (cli_read_file(path, text, sizeof(text)) < 0) {
		/* In a container it is there, whose root that may not be. */
		doctor_note(f, "cgroup2, but %s: %s", path, strerror(errno));
	} else if (!strstr(text, "memory")) {
		doctor_wrong(f, "cgroup2 without the memory controller");
		doctor_mend(f, memory_is_v1() ? GRUB("systemd.unified_cgroup_hierarchy=1")
					      : GRUB("cgroup_enable=memory"));
	} else {
		doctor_ok(f, "cgroup2, with memory");
	}
}

/* Whether a filter of system calls is on this process. */
static bool is_filtered(void)
{
	char text[4096];

	return cli_read_file("/proc/self/status", text, sizeof(text)) > 0 &&
	       strstr(text, "\nSeccomp:\t2");
}

static void mend_uring(struct finding *f, int err)
{
	char text[16];

	if (cli_read_file("/proc/sys/kernel/io_uring_disabled", text, sizeof(text)) > 0 &&
	    *text != '0')
		doctor_mend(f, "sysctl -w kernel.io_uring_disabled=0");
	else if (is_filtered() && doctor_in_container())
		doctor_mend(f, "docker run --security-opt seccomp=unconfined ...    # or a profile with io_uring");
	else if (is_filtered())
		doctor_mend(f, "systemctl edit UNIT    # SystemCallFilter=@io-event io_uring_setup io_uring_enter io_uring_register");
	else if (err == ENOSYS)
		doctor_mend(f, "apt-get install linux-image-amd64 && reboot    # a kernel with CONFIG_IO_URING");
}

static void check_uring(struct finding *f)
{
	struct io_uring_params p = { 0 };
	long fd = syscall(SYS_io_uring_setup, 1, &p);
	int err = errno;

	if (fd >= 0) {
		close((int)fd);
		doctor_ok(f, "works");
	} else {
		doctor_wrong(f, "off (%s): the library's option uring does nothing", strerror(err));
		mend_uring(f, err);
	}
}

static void check_address_space(struct finding *f)
{
	struct rlimit r;
	char buf[CLI_SIZE_MAX];

	getrlimit(RLIMIT_AS, &r);
	if (r.rlim_cur == RLIM_INFINITY) {
		doctor_ok(f, "unlimited");
	} else {
		doctor_wrong(f, "ulimit -v is %s: a heap reserves addresses, up to 512G, and gets by with smaller arenas",
			     cli_size(buf, r.rlim_cur));
		if (r.rlim_max == RLIM_INFINITY)
			doctor_mend(f, "ulimit -v unlimited");
		else
			doctor_mend(f, "prlimit --as=unlimited --pid $$    # as root; for good: /etc/security/limits.conf");
	}
}

static void check_overcommit(struct finding *f)
{
	char text[16];

	if (cli_read_file("/proc/sys/vm/overcommit_memory", text, sizeof(text)) < 0) {
		doctor_note(f, "/proc/sys/vm/overcommit_memory: %s", strerror(errno));
	} else if (*text != '2') {
		doctor_ok(f, "vm.overcommit_memory is %s", text);
	} else {
		doctor_wrong(f, "vm.overcommit_memory is 2: addresses count as memory, also those never used");
		doctor_mend(f, "sysctl -w vm.overcommit_memory=0");
	}
}

/* ---- the report ---- */

static const struct check {
	const char *name;
	void (*look)(struct finding *f);
} checks[] = {
	{ "kernel", check_kernel },
	{ "module", doctor_check_module },
	{ "device", doctor_check_device },
	{ "library", doctor_check_library },
	{ "huge pages", check_thp },
	{ "cgroup", check_cgroup },
	{ "io_uring", check_uring },
	{ "address space", check_address_space },
	{ "overcommit", check_overcommit },
};

#define NR_CHECKS	(sizeof(checks) / sizeof(checks[0]))

static const struct cli_option options[] = {
	{ 'l', "library", "FILE", NULL, &doctor_library, "look at this library instead of the one installed" },
	{ 0 }
};

static void print(const char *name, const struct finding *f)
{
	static const char *const words[] = { "ok", "note", "WRONG" };
	const char *colours[] = { cli_green(), cli_yellow(), cli_red() };

	printf("%s%-6s%s %-14s %s\n", colours[f->state], words[f->state], cli_plain(), name,
	       f->found);
	if (*f->mend)
		printf("%21s %s%s%s\n", "mend:", cli_bold(), f->mend, cli_plain());
}

static void print_json(const char *name, const struct finding *f)
{
	static const char *const words[] = { "ok", "note", "wrong" };

	json_open(NULL, '{');
	json_text("name", name);
	json_text("state", words[f->state]);
	json_text("found", f->found);
	json_text("mend", *f->mend ? f->mend : NULL);
	json_close();
}

static int run(int argc, char **argv)
{
	size_t wrong = 0;

	if (cli.json) {
		json_open(NULL, '{');
		json_open("checks", '[');
	}
	for (size_t i = 0; i < NR_CHECKS; i++) {
		struct finding f = { 0 };

		checks[i].look(&f);
		(cli.json ? print_json : print)(checks[i].name, &f);
		wrong += f.state == FINDING_WRONG;
	}
	if (cli.json) {
		json_close();
		json_u64("wrong", wrong);
		json_close();
	} else if (wrong) {
		printf("\n%zu of %zu wrong%s\n", wrong, NR_CHECKS,
		       geteuid() ? "; mend it as root, with sudo" : "");
	} else {
		puts("\nnothing is wrong");
	}
	return wrong ? EXIT_FAILED : EXIT_OK;
}

const struct cli_command cmd_doctor = {
	.name = "doctor",
	.operands = "",
	.does = "Finds out what is wrong, and says how to mend it",
	.about = "Looks at what programs that are started from here would have.  The exit status is 1 if\n"
		 "something is wrong.",
	.options = options,
	.has_json = true,
	.run = run,
};
