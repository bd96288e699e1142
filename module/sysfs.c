// SPDX-License-Identifier: GPL-2.0
/*
 * What heaps tell in sysfs: totals in /sys/class/misc/goheap/, and a directory
 * there for each heap, named by its id.  One value in each file.
 *
 * A heap's files belong to the user whose heap it is and are read by nobody else
 * but root.  Beyond that, they answer only to readers whose pid namespace has the
 * heap's process: a container, root or not, learns nothing of another.  Nor does its
 * user, where the process may not be traced, as one that was started set-group-ID.
 *
 * No show or store here holds a lock that is held around kobject_del(), which
 * waits for them.
 */
#include <linux/capability.h>
#include <linux/device.h>
#include <linux/kstrtox.h>
#include <linux/module.h>
#include <linux/pid_namespace.h>
#include <linux/sysfs.h>
#include <linux/wait.h>

#include "compat.h"
#include "heap.h"

/* Heaps that have a kobject: the module cannot go before they have. */
static atomic_t goheap_nr_kobjs = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(goheap_kobjs_gone);

/* One directory is made at a time. */
static DEFINE_MUTEX(goheap_add_lock);

/* The word for what has no bound, or a number of bytes in C notation. */
static int goheap_parse_bytes(const char *buf, const char *word, u64 *bytes)
{
	if (!sysfs_streq(buf, word))
		return kstrtou64(buf, 0, bytes);
	*bytes = U64_MAX;
	return 0;
}

/* ---- one heap ----------------------------------------------------------------- */

struct goheap_attr {
	struct attribute attr;
	ssize_t (*show)(struct goheap *heap, const struct goheap_attr *attr, char *buf);
	ssize_t (*store)(struct goheap *heap, const char *buf, size_t len);
	size_t offset;		/* in struct goheap_stats */
};

/* The process's id as the reader knows it, 0 if not at all. */
static pid_t goheap_pid_seen(struct goheap *heap)
{
	return pid_nr_ns(heap->pid, task_active_pid_ns(current));
}

/*
 * Whether the caller may look into a heap that is his, and change it: 0, -ESRCH if he
 * cannot see its process, or -EACCES.
 */
int goheap_may_look(struct goheap *heap)
{
	struct task_struct *task;
	bool dumpable;

	if (!goheap_pid_seen(heap))
		return -ESRCH;
	if (heap->mm == current->mm)
		return 0;
	task = get_pid_task(heap->pid, PIDTYPE_TGID);
	dumpable = task && goheap_is_dumpable(task, heap->mm);
	if (task)
		put_task_struct(task);
	return dumpable || capable(CAP_SYS_PTRACE) ? 0 : -EACCES;
}

static ssize_t pid_show(struct goheap *heap, const struct goheap_attr *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", goheap_pid_seen(heap));
}

static ssize_t comm_show(struct goheap *heap, const struct goheap_attr *attr, char *buf)
{
	struct task_struct *task = get_pid_task(heap->pid, PIDTYPE_TGID);
	char comm[TASK_COMM_LEN];

	if (!task)
		return -ESRCH;
	get_task_comm(comm, task);
	put_task_struct(task);
	return sysfs_emit(buf, "%s\n", comm);
}

static ssize_t arena_show(struct goheap *heap, const struct goheap_attr *attr, char *buf)
{
	u64 start = heap->core.arena_start;

	return sysfs_emit(buf, "0x%llx-0x%llx\n", start,
			  start + (heap->core.arena_pages << GH_PAGE_SHIFT));
}

static ssize_t stat_show(struct goheap *heap, const struct goheap_attr *attr, char *buf)
{
	struct goheap_stats stats;

	goheap_read_stats(heap, &stats);
	return sysfs_emit(buf, "%llu\n", *(u64 *)((char *)&stats + attr->offset));
}

static ssize_t limit_emit(char *buf, u64 bytes)
{
	return bytes == U64_MAX ? sysfs_emit(buf, "max\n") : sysfs_emit(buf, "%llu\n", bytes);
}

static ssize_t limit_soft_show(struct goheap *heap, const struct goheap_attr *attr, char *buf)
{
	u64 soft, hard;

	goheap_limit_get(heap, &soft, &hard);
	return limit_emit(buf, soft);
}

static ssize_t limit_hard_show(struct goheap *heap, const struct goheap_attr *attr, char *buf)
{
	u64 soft, hard;

	goheap_limit_get(heap, &soft, &hard);
	return limit_emit(buf, hard);
}

static ssize_t limit_soft_store(struct goheap *heap, const char *buf, size_t len)
{
	u64 soft;
	int err;

	if (goheap_parse_bytes(buf, "max", &soft))
		return -EINVAL;
	err = goheap_limit_set(heap, &soft, NULL);
	return err ? err : len;
}

static ssize_t limit_hard_store(struct goheap *heap, const char *buf, size_t len)
{
	u64 hard;
	int err;

	if (goheap_parse_bytes(buf, "max", &hard))
		return -EINVAL;
	err = goheap_limit_set(heap, NULL, &hard);
	return err ? err : len;
}

static ssize_t scavenge_store(struct goheap *heap, const char *buf, size_t len)
{
	struct goheap_scav scav = {};
	int err = goheap_parse_bytes(buf, "all", &scav.max_bytes);

	if (!err)
		err = goheap_scavenge(heap, &scav);
	return err ? err : len;
}

#define HEAP_ATTR(name)	\
	static const struct goheap_attr goheap_attr_##name = \
		{ .attr = { #name, 0400 }, .show = name##_show }
#define HEAP_LIMIT(name)	\
	static const struct goheap_attr goheap_attr_##name = \
		{ .attr = { #name, 0600 }, .show = name##_show, .store = name##_store }
#define HEAP_STAT(name)	\
	static const struct goheap_attr goheap_attr_##name = \
		{ .attr = { #name, 0400 }, .show = stat_show, \
		  .offset = offsetof(struct goheap_stats, name) }

HEAP_ATTR(pid);
HEAP_ATTR(comm);
HEAP_ATTR(arena);
HEAP_LIMIT(limit_soft);
HEAP_LIMIT(limit_hard);
HEAP_STAT(heap_sys);
HEAP_STAT(heap_inuse);
HEAP_STAT(heap_idle);
HEAP_STAT(heap_released);
HEAP_STAT(nr_spans);
HEAP_STAT(nr_allocs);
HEAP_STAT(nr_frees);
HEAP_STAT(nr_grows);
HEAP_STAT(scav_age_bytes);
HEAP_STAT(scav_pressure_bytes);
HEAP_STAT(scav_demand_bytes);
HEAP_STAT(scav_skipped);
HEAP_STAT(pressure_events);
HEAP_STAT(meta_bytes);
static const struct goheap_attr goheap_attr_scavenge = {
	.attr = { "scavenge", 0200 }, .store = scavenge_store
};

#define A(name)	((struct attribute *)&goheap_attr_##name.attr)

static struct attribute *goheap_attrs[] = {
	A(pid), A(comm), A(arena), A(limit_soft), A(limit_hard),
	A(heap_sys), A(heap_inuse), A(heap_idle), A(heap_released),
	A(nr_spans), A(nr_allocs), A(nr_frees), A(nr_grows),
	A(scav_age_bytes), A(scav_pressure_bytes), A(scav_demand_bytes),
	A(scav_skipped), A(pressure_events), A(meta_bytes), A(scavenge),
	NULL
};
ATTRIBUTE_GROUPS(goheap);

static ssize_t goheap_attr_show(struct kobject *kobj, struct attribute *attr, char *buf)
{
	struct goheap_attr *a = container_of(attr, struct goheap_attr, attr);
	struct goheap *heap = container_of(kobj, struct goheap, kobj);

	if (!a->show)
		return -EIO;
	return goheap_may_look(heap) ?: a->show(heap, a, buf);
}

static ssize_t goheap_attr_store(struct kobject *kobj, struct attribute *attr,
				 const char *buf, size_t len)
{
	struct goheap_attr *a = container_of(attr, struct goheap_attr, attr);
	struct goheap *heap = container_of(kobj, struct goheap, kobj);

	if (!a->store)
		return -EIO;
	return goheap_may_look(heap) ?: a->store(heap, buf, len);
}

static const struct sysfs_ops goheap_sysfs_ops = {
	.show	= goheap_attr_show,
	.store	= goheap_attr_store,
};

static void goheap_get_ownership(GOHEAP_KOBJ_CONST struct kobject *kobj,
				 kuid_t *uid, kgid_t *gid)
{
	const struct goheap *heap = container_of(kobj, struct goheap, kobj);

	*uid = heap->uid;
	*gid = heap->gid;
}

static void goheap_kobj_release(struct kobject *kobj)
{
	goheap_heap_free(container_of(kobj, struct goheap, kobj));
	if (atomic_dec_and_test(&goheap_nr_kobjs))
		wake_up(&goheap_kobjs_gone);
}

static struct kobj_type goheap_ktype = {
	.release	= goheap_kobj_release,
	.sysfs_ops	= &goheap_sysfs_ops,
	.default_groups	= goheap_groups,
	.get_ownership	= goheap_get_ownership,
};

/* From here on the heap's memory goes with the last kobject_put(). */
void goheap_sysfs_init(struct goheap *heap)
{
	atomic_inc(&goheap_nr_kobjs);
	kobject_init(&heap->kobj, &goheap_ktype);
}

/*
 * The heap's directory, if it has none yet.  With the first command, not within mmap():
 * since 6.15 who lists a directory keeps the lock that this needs while its own memory
 * is written to, for which it may wait for the mmap lock.
 *
 * misc_open() and misc_register() share a lock: whoever has a file sees this_device.
 */
int goheap_sysfs_add(struct goheap *heap)
{
	int err = 0;

	mutex_lock(&goheap_add_lock);
	if (!heap->listed)
		err = kobject_add(&heap->kobj, &goheap_misc.this_device->kobj, "%u", heap->id);
	if (!err)
		smp_store_release(&heap->listed, true);	/* pairs with goheap_list() */
	mutex_unlock(&goheap_add_lock);
	return err;
}

/* When there are no more commands. */
void goheap_sysfs_del(struct goheap *heap)
{
	if (heap->listed)
		kobject_del(&heap->kobj);
}

/* Waits for the memory of all heaps to be on its way to be freed. */
void goheap_sysfs_wait(void)
{
	wait_event(goheap_kobjs_gone, !atomic_read(&goheap_nr_kobjs));
}

/* ---- totals -------------------------------------------------------------------- */

struct goheap_total_attr {
	struct device_attribute attr;
	size_t offset;		/* in struct goheap_stats */
};

static ssize_t heaps_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct goheap_stats total;

	return sysfs_emit(buf, "%u\n", goheap_total_stats(&total));
}
static DEVICE_ATTR_RO(heaps);

static ssize_t total_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	const struct goheap_total_attr *a = container_of(attr, struct goheap_total_attr, attr);
	struct goheap_stats total;

	goheap_total_stats(&total);
	return sysfs_emit(buf, "%llu\n", *(u64 *)((char *)&total + a->offset));
}

/* Root's: no heap is hidden from it here. */
static ssize_t scavenge_total_store(struct device *dev, struct device_attribute *attr,
				    const char *buf, size_t len)
{
	struct goheap_scav scav = {};
	int err = goheap_parse_bytes(buf, "all", &scav.max_bytes);

	if (!err)
		err = goheap_scavenge_all(&scav);
	return err ? err : len;
}
static struct device_attribute dev_attr_scavenge =
	__ATTR(scavenge, 0200, NULL, scavenge_total_store);

#define TOTAL_STAT(name)	\
	static struct goheap_total_attr goheap_total_##name = \
		{ .attr = __ATTR(name, 0444, total_show, NULL), \
		  .offset = offsetof(struct goheap_stats, name) }

TOTAL_STAT(heap_sys);
TOTAL_STAT(heap_inuse);
TOTAL_STAT(heap_idle);
TOTAL_STAT(heap_released);
TOTAL_STAT(nr_spans);
TOTAL_STAT(nr_allocs);
TOTAL_STAT(nr_frees);
TOTAL_STAT(nr_grows);
TOTAL_STAT(scav_age_bytes);
TOTAL_STAT(scav_pressure_bytes);
TOTAL_STAT(scav_demand_bytes);
TOTAL_STAT(scav_skipped);
TOTAL_STAT(pressure_events);
TOTAL_STAT(meta_bytes);

#define T(name)	(&goheap_total_##name.attr.attr)

static struct attribute *goheap_total_attrs[] = {
	&dev_attr_heaps.attr,
	T(heap_sys), T(heap_inuse), T(heap_idle), T(heap_released),
	T(nr_spans), T(nr_allocs), T(nr_frees), T(nr_grows),
	T(scav_age_bytes), T(scav_pressure_bytes), T(scav_demand_bytes),
	T(scav_skipped), T(pressure_events), T(meta_bytes),
	&dev_attr_scavenge.attr,
	NULL
};

static const struct attribute_group goheap_total_group = {
	.attrs = goheap_total_attrs,
};

const struct attribute_group *goheap_total_groups[] = {
	&goheap_total_group,
	NULL
};
