// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * goheap doctor: whether the module is loaded and, if not, why: it is there for this
 * kernel, or for another one, or not at all.  Which kernel a module was built for is in
 * itself (vermagic), wherever it was put.
 */
#include <ctype.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <goheap.h>
#include "doctor.h"

#define PATH_SIZE	4096
#define RELEASE_SIZE	128
#define MODULES		"/lib/modules"

/* A file that is the module. */
struct module_file {
	char path[PATH_SIZE];
	char release[RELEASE_SIZE];	/* what it was built for */
};

bool doctor_module_loaded(void)
{
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), "%s/module/goheap", cli.sysfs);
	return !access(path, F_OK);
}

const char *doctor_module_version(void)
{
	static char version[32];
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), "%s/module/goheap/version", cli.sysfs);
	if (cli_read_file(path, version, sizeof(version)) < 0)
		version[0] = '\0';
	return version;
}

/* ---- the files ---- */

/* The word behind "vermagic=", which one that is compressed does not show. */
static bool read_vermagic(const char *path, char release[RELEASE_SIZE])
{
	static const char key[] = "vermagic=";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	const char *file = MAP_FAILED, *at = NULL;
	size_t len = 0;

	if (fd >= 0 && !fstat(fd, &st) && st.st_size)
		file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (fd >= 0)
		close(fd);
	if (file == MAP_FAILED)
		return false;
	at = memmem(file, (size_t)st.st_size, key, strlen(key));
	if (at) {
		at += strlen(key);
		while (at + len < file + st.st_size && len < RELEASE_SIZE - 1 &&
		       isgraph((unsigned char)at[len]))
			len++;
		memcpy(release, at, len);
		release[len] = '\0';
	}
	munmap((void *)file, (size_t)st.st_size);
	return at != NULL;
}

/* The release that the folder is for, where the file does not say. */
static void release_of_path(struct module_file *m)
{
	const char *from = m->path + strlen(MODULES "/");

	snprintf(m->release, sizeof(m->release), "%.*s", (int)strcspn(from, "/"), from);
}

/*
 * The first one for a release, "*" for any.  What is not the kernel's own is near the top:
 * in updates, updates/dkms, extra.
 */
static bool find_for(const char *release, struct module_file *m)
{
	static const char *const depths[] = { "", "*/", "*/*/" };
	bool found = false;

	for (size_t i = 0; i < sizeof(depths) / sizeof(depths[0]) && !found; i++) {
		char pattern[PATH_SIZE];
		glob_t g;

		snprintf(pattern, sizeof(pattern), MODULES "/%s/%sgoheap.ko*", release, depths[i]);
		if (glob(pattern, 0, NULL, &g))
			continue;
		snprintf(m->path, sizeof(m->path), "%s", g.gl_pathv[0]);
		globfree(&g);
		if (!read_vermagic(m->path, m->release))
			release_of_path(m);
		found = true;
	}
	return found;
}

/* Of this kernel, else of another one. */
static bool find_installed(struct module_file *m)
{
	return find_for(doctor_release(), m) || find_for("*", m);
}

/* In the tree that this command was built in. */
static bool find_in_tree(struct module_file *m)
{
	char self[PATH_SIZE - 16];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[n < 0 ? 0 : n] = '\0';
	for (int up = 0; up < 2; up++) {
		slash = strrchr(self, '/');
		if (!slash)
			return false;
		*slash = '\0';
	}
	snprintf(m->path, sizeof(m->path), "%s/goheap.ko", self);
	return read_vermagic(m->path, m->release);
}

/* ---- what to do ---- */

static bool exists(const char *pattern)
{
	glob_t g;
	bool found = !glob(pattern, 0, NULL, &g);

	if (found)
		globfree(&g);
	return found;
}

/* How a module for this kernel is made, where it was installed by way of DKMS or otherwise. */
static void mend_by_building(struct finding *f)
{
	const char *rel = doctor_release();
	char headers[PATH_SIZE], first[256] = "";

	snprintf(headers, sizeof(headers), MODULES "/%s/build", rel);
	if (access(headers, F_OK))
		snprintf(first, sizeof(first), "apt-get install linux-headers-%s && ", rel);
	if (exists("/usr/src/goheap-*/dkms.conf"))
		doctor_mend(f, "%sdkms install goheap/" GOHEAP_VERSION " -k %s && modprobe goheap",
			    first, rel);
	else
		doctor_mend(f, "%smake install-module KDIR=%s && modprobe goheap    # in goheap's source",
			    first, headers);
}

/* Which modules the kernel takes, where it is choosy. */
static bool takes_signed_only(void)
{
	char text[64], path[PATH_SIZE];

	snprintf(path, sizeof(path), "%s/kernel/security/lockdown", cli.sysfs);
	if (cli_read_file(path, text, sizeof(text)) > 0 && !strstr(text, "[none]"))
		return true;
	snprintf(path, sizeof(path), "%s/module/module/parameters/sig_enforce", cli.sysfs);
	return cli_read_file(path, text, sizeof(text)) > 0 && *text == 'Y';
}

static void not_loaded(struct finding *f)
{
	struct module_file m;
	bool installed = find_installed(&m);

	if (!installed && !find_in_tree(&m)) {
		doctor_wrong(f, "not loaded, and not installed for any kernel");
		mend_by_building(f);
	} else if (strcmp(m.release, doctor_release())) {
		doctor_wrong(f, "not loaded: %s is for the kernel %s, and %s is running", m.path,
			     m.release, doctor_release());
		mend_by_building(f);
	} else {
		doctor_wrong(f, "not loaded: %s is there%s", m.path,
			     takes_signed_only() ? ", but this kernel takes signed modules only" : "");
		if (takes_signed_only())
			doctor_mend(f, "mokutil --import /var/lib/dkms/mok.pub && reboot    # if DKMS signed it");
		else if (installed)
			doctor_mend(f, "depmod -a && modprobe goheap");
		else
			doctor_mend(f, "insmod %s", m.path);
	}
}

void doctor_check_module(struct finding *f)
{
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), "%s/class/misc/goheap", cli.sysfs);
	if (!access(path, F_OK)) {
		doctor_ok(f, "loaded%s%s", *doctor_module_version() ? ", version " : "",
			  doctor_module_version());
	} else if (doctor_module_loaded()) {
		doctor_wrong(f, "loaded, but %s is not there: statistics cannot be read", path);
		doctor_mend(f, "mount -t sysfs sysfs %s", cli.sysfs);
	} else if (doctor_in_container()) {
		doctor_wrong(f, "not loaded in the kernel that this container runs on");
		doctor_mend(f, "modprobe goheap    # on the host, where goheap doctor tells more");
	} else {
		not_loaded(f);
	}
}
