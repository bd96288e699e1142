// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * goheap doctor: whether this user, here, can open the device; and whether the library can
 * use it, which is for the library to say.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <goheap.h>
#include <linux/goheap.h>
#include "doctor.h"
#include "library.h"

#define DEVICE	"/dev/goheap"

bool doctor_device_works;
const char *doctor_library;

/* ---- the device ---- */

/* "10 124", from sysfs: what mknod(1) wants. */
static void device_numbers(char buf[32])
{
	char path[4096];
	char *colon;

	snprintf(path, sizeof(path), "%s/class/misc/goheap/dev", cli.sysfs);
	if (cli_read_file(path, buf, 32) < 0)
		strcpy(buf, "10 MINOR");
	colon = strchr(buf, ':');
	if (colon)
		*colon = ' ';
}

static void mend_node(struct finding *f, const char *first)
{
	char numbers[32];

	device_numbers(numbers);
	if (doctor_in_container())
		doctor_mend(f, "docker run --device=" DEVICE " ...    # podman the same; systemd-nspawn: --bind=" DEVICE
			       " --property=DeviceAllow=" DEVICE);
	else
		doctor_mend(f, "%smknod -m 666 " DEVICE " c %s", first, numbers);
}

/* Names, or numbers where there are none; each in a buffer of its own. */
static const char *user_name(char buf[64], uid_t uid)
{
	const struct passwd *user = getpwuid(uid);

	if (user)
		snprintf(buf, 64, "%s", user->pw_name);
	else
		snprintf(buf, 64, "user %u", uid);
	return buf;
}

static const char *group_name(char buf[64], gid_t gid)
{
	const struct group *group = getgrgid(gid);

	if (group)
		snprintf(buf, 64, "%s", group->gr_name);
	else
		snprintf(buf, 64, "group %u", gid);
	return buf;
}

static void no_permission(struct finding *f)
{
	char owner[64], group[64], me[64];
	struct statvfs fs;
	struct stat st;

	if (!statvfs(DEVICE, &fs) && fs.f_flag & ST_NODEV) {
		doctor_wrong(f, DEVICE " is on a file system that is mounted nodev");
		mend_node(f, "mount -o remount,dev /dev; ");
	} else if (!stat(DEVICE, &st)) {
		doctor_wrong(f, DEVICE " is %s:%s with mode %04o: %s may not open it",
			     user_name(owner, st.st_uid), group_name(group, st.st_gid),
			     st.st_mode & 07777, user_name(me, geteuid()));
		doctor_mend(f, "chmod 666 " DEVICE "    # a heap reaches its opener's memory only");
	} else {
		doctor_wrong(f, DEVICE ": %s", strerror(EACCES));
		doctor_mend(f, "chmod 755 /dev");
	}
}

static void cannot_open(struct finding *f, int err)
{
	switch (err) {
	case ENOENT:
		doctor_wrong(f, "there is no " DEVICE "%s",
			     doctor_in_container() ? " in this container" : "");
		mend_node(f, "");
		break;
	case EACCES:
		no_permission(f);
		break;
	case EPERM:
		doctor_wrong(f, DEVICE " is there, but this cgroup may not use it");
		mend_node(f, "");
		break;
	case ENXIO:
	case ENODEV:
		doctor_wrong(f, DEVICE " is the node of another device");
		mend_node(f, "rm " DEVICE " && ");
		break;
	default:
		doctor_wrong(f, DEVICE ": %s", strerror(err));
	}
}

static void ask_device(struct finding *f, int fd)
{
	struct goheap_info info = { .size = sizeof(info) };

	if (!ioctl(fd, GOHEAP_INFO, &info)) {
		doctor_device_works = true;
		doctor_ok(f, DEVICE ", features 0x%llx, arenas of up to %llu GiB",
			  (unsigned long long)info.features,
			  (unsigned long long)(info.max_arena_bytes >> 30));
	} else if (errno == ENOTTY) {
		doctor_wrong(f, DEVICE " is no device of the module's");
		mend_node(f, "rm " DEVICE " && ");
	} else {
		doctor_wrong(f, DEVICE " does not tell what it is: %s", strerror(errno));
		doctor_mend(f, "rmmod goheap && modprobe goheap    # when no heap is left");
	}
}

void doctor_check_device(struct finding *f)
{
	int fd;

	if (!doctor_module_loaded()) {
		doctor_note(f, "not looked at: there is no module behind it");
		return;
	}
	fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		cannot_open(f, errno);
		return;
	}
	ask_device(f, fd);
	close(fd);
}

/* ---- the library ---- */

/* Versions are numbers with points between. */
static bool is_older(const char *version, const char *than)
{
	return strverscmp(version, than) < 0;
}

static void mend_library(struct finding *f, const char *path)
{
	if (!strncmp(path, "/usr/lib", 8) || !strncmp(path, "/lib", 4))
		doctor_mend(f, "apt-get install libgoheap1    # of the module's version");
	else
		doctor_mend(f, "make install-lib    # in goheap's source, of the module's version");
}

/* What the module is, or else this command, which came with it. */
static const char *wanted_version(void)
{
	return *doctor_module_version() ? doctor_module_version() : GOHEAP_VERSION;
}

static void check_backend(struct finding *f, const char *path, const struct library_answer *a)
{
	char why[256] = "";

	if (strcmp(a->backend, "device") && doctor_device_works)
		library_ask_why(path, why, sizeof(why));
	if (!strcmp(a->backend, "device") || !doctor_device_works) {
		doctor_ok(f, "%s, version %s, backend %s", path, a->version, a->backend);
	} else if (!*why) {
		doctor_wrong(f, "GOHEAPDEBUG=%s keeps programs off the device", getenv("GOHEAPDEBUG"));
		doctor_mend(f, "unset GOHEAPDEBUG");
	} else if (strstr(why, "no arena")) {
		doctor_wrong(f, "%s: %s: no addresses, or too many heaps of this user", path, why);
		doctor_mend(f, "echo 65536 >/sys/module/goheap/parameters/max_heaps_per_user");
	} else {
		doctor_wrong(f, "%s, version %s: %s", path, a->version, why);
		mend_library(f, path);
	}
}

void doctor_check_library(struct finding *f)
{
	char path[LIBRARY_PATH_MAX];
	struct library_answer a;

	if (doctor_library)
		snprintf(path, sizeof(path), "%s", doctor_library);
	else
		library_find(path);
	library_ask(path, NULL, &a);
	if (a.failed) {
		doctor_wrong(f, "cannot be loaded: %s", a.said);
		mend_library(f, path);
	} else if (*a.version && is_older(a.version, wanted_version())) {
		doctor_wrong(f, "%s is version %s, older than the module, which is %s", path,
			     a.version, wanted_version());
		mend_library(f, path);
	} else if (*a.backend) {
		check_backend(f, path, &a);
	} else {
		doctor_wrong(f, "%s: no heap can be made: %s", path, a.said);
		doctor_mend(f, "unset GOHEAPDEBUG");
	}
}
