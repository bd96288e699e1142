// SPDX-License-Identifier: GPL-2.0
/*
 * Tables for whoever debugs a heap, in /sys/kernel/debug/goheap/, for root only:
 *
 *	arenas	every span of every heap in address order: heap, address, pages,
 *		state, tag, and for how many milliseconds it has been unused
 *	spans	for every heap and tag: spans in use, and their bytes
 *	ages	for every heap: idle runs that have pages, by how long they have been unused
 *	latency	how long it took from memory pressure until a heap released something
 *
 * A heap is walked in bounded steps, and is in use meanwhile: a table is no
 * snapshot.  Histograms have a line for each power of two that anything is in: from
 * there up to the next one.
 */
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "heap.h"

/* Spans visited between dropping the heap mutex and taking it again. */
#define GOHEAP_WALK_STEP	256

static struct dentry *goheap_debugfs;

/* ---- arenas --------------------------------------------------------------- */

/* Where a reader is: at the element that the last search found, or, if none, at the end. */
struct goheap_map_iter {
	struct goheap *heap;	/* referenced */
	u32 id;
	u64 cursor;
	bool at_end;		/* of this heap */
	bool found;
	loff_t nr;		/* of searches, also the one that found the end */
	struct gh_span_view view;
};

static int goheap_map_take(const struct gh_span_view *view, void *arg)
{
	struct goheap_map_iter *it = arg;

	it->view = *view;
	it->found = true;
	return 0;
}

static void goheap_map_leave(struct goheap_map_iter *it)
{
	if (it->heap)
		goheap_put(it->heap);
	it->heap = NULL;
	it->cursor = 0;
	it->at_end = false;
}

/* On to the next span, in this heap or the next one that has any. */
static bool goheap_map_advance(struct goheap_map_iter *it)
{
	it->nr++;
	it->found = false;
	while (!it->found) {
		if (it->at_end)
			goheap_map_leave(it);
		if (!it->heap)
			it->heap = goheap_next(&it->id);
		if (!it->heap)
			return false;
		goheap_lock(it->heap);
		it->at_end = !gh_mheap_walk_locked(&it->heap->core, &it->cursor, 1,
						   goheap_map_take, it);
		goheap_unlock(it->heap);
	}
	return true;
}

static void *goheap_map_start(struct seq_file *m, loff_t *pos)
{
	struct goheap_map_iter *it = m->private;

	/* At first, and after a seek backwards, also one from the end. */
	if (!*pos || *pos + 1 < it->nr) {
		goheap_map_leave(it);
		it->id = 0;
		it->nr = 0;
	}
	while (it->nr <= *pos)
		if ((it->nr && !it->found) || !goheap_map_advance(it))
			return NULL;
	return it->found ? it : NULL;
}

static void *goheap_map_next(struct seq_file *m, void *v, loff_t *pos)
{
	struct goheap_map_iter *it = m->private;

	++*pos;
	return goheap_map_advance(it) ? it : NULL;
}

static void goheap_map_stop(struct seq_file *m, void *v)
{
}

static const char *const goheap_state_names[] = {
	[GOHEAP_MAP_INUSE]	= "inuse",
	[GOHEAP_MAP_IDLE]	= "idle",
	[GOHEAP_MAP_RELEASED]	= "released",
	[GOHEAP_MAP_SCAVENGING]	= "scavenging",
};

static int goheap_map_show(struct seq_file *m, void *v)
{
	const struct goheap_map_iter *it = v;
	const struct gh_span_view *s = &it->view;
	u64 age_ns = s->unusedsince_ns ? goheap_now_ns() - s->unusedsince_ns : 0;

	seq_printf(m, "%u 0x%llx %llu %s %u %llu\n", it->heap->id, s->addr, s->npages,
		   goheap_state_names[goheap_map_state(s)], s->tag, div_u64(age_ns, NSEC_PER_MSEC));
	return 0;
}

static const struct seq_operations goheap_map_ops = {
	.start	= goheap_map_start,
	.next	= goheap_map_next,
	.stop	= goheap_map_stop,
	.show	= goheap_map_show,
};

static int goheap_map_open(struct inode *inode, struct file *file)
{
	return seq_open_private(file, &goheap_map_ops, sizeof(struct goheap_map_iter));
}

static int goheap_map_release(struct inode *inode, struct file *file)
{
	struct seq_file *m = file->private_data;

	goheap_map_leave(m->private);
	return seq_release_private(inode, file);
}

static const struct file_operations goheap_map_fops = {
	.owner	 = THIS_MODULE,
	.open	 = goheap_map_open,
	.read	 = seq_read,
	.llseek	 = seq_lseek,
	.release = goheap_map_release,
};

/* ---- one heap at a time ------------------------------------------------------ */

/* A file shows heaps by id, and its position is the id of the one before. */
static void *goheap_heap_start(struct seq_file *m, loff_t *pos)
{
	u32 id = *pos;

	return *pos > U32_MAX ? NULL : goheap_next(&id);
}

static void *goheap_heap_next(struct seq_file *m, void *v, loff_t *pos)
{
	struct goheap *heap = v;
	u32 id = heap->id;

	*pos = id;
	goheap_put(heap);
	return goheap_next(&id);
}

static void goheap_heap_stop(struct seq_file *m, void *v)
{
	if (v)
		goheap_put(v);
}

#define GOHEAP_HEAP_TABLE(name)						\
	static const struct seq_operations name##_sops = {		\
		.start	= goheap_heap_start,				\
		.next	= goheap_heap_next,				\
		.stop	= goheap_heap_stop,				\
		.show	= name##_show,					\
	};								\
	DEFINE_SEQ_ATTRIBUTE(name)

static void goheap_walk(struct goheap *heap,
			int (*fn)(const struct gh_span_view *view, void *arg), void *arg)
{
	u64 cursor = 0;
	int more;

	do {
		goheap_lock(heap);
		more = gh_mheap_walk_locked(&heap->core, &cursor, GOHEAP_WALK_STEP, fn, arg);
		goheap_unlock(heap);
		cond_resched();
	} while (more);
}

/* ---- spans by tag ----------------------------------------------------------- */

struct goheap_tag_table {
	u64 nr[U8_MAX + 1];
	u64 pages[U8_MAX + 1];
};

static int goheap_tag_count(const struct gh_span_view *view, void *arg)
{
	struct goheap_tag_table *table = arg;

	if (view->state == GH_SPAN_INUSE) {
		table->nr[view->tag]++;
		table->pages[view->tag] += view->npages;
	}
	return 0;
}

static int spans_show(struct seq_file *m, void *v)
{
	struct goheap_tag_table *table = kzalloc(sizeof(*table), GFP_KERNEL);
	struct goheap *heap = v;
	unsigned int tag;

	if (!table)
		return -ENOMEM;
	goheap_walk(heap, goheap_tag_count, table);
	for (tag = 0; tag <= U8_MAX; tag++)
		if (table->nr[tag])
			seq_printf(m, "%u %u %llu %llu\n", heap->id, tag, table->nr[tag],
				   table->pages[tag] << GH_PAGE_SHIFT);
	kfree(table);
	return 0;
}
GOHEAP_HEAP_TABLE(spans);

/* ---- idle runs by age --------------------------------------------------------- */

struct goheap_age_table {
	u64 now_ns;
	u64 nr[GOHEAP_HIST_SLOTS];
	u64 pages[GOHEAP_HIST_SLOTS];
};

static int goheap_age_count(const struct gh_span_view *view, void *arg)
{
	struct goheap_age_table *table = arg;
	u64 age_ns = 0;
	unsigned int slot;

	if (view->state == GH_SPAN_INUSE || view->released)
		return 0;
	/* It may have become unused since the walk began. */
	if (view->unusedsince_ns < table->now_ns)
		age_ns = table->now_ns - view->unusedsince_ns;
	slot = goheap_hist_slot(div_u64(age_ns, NSEC_PER_MSEC));
	table->nr[slot]++;
	table->pages[slot] += view->npages;
	return 0;
}

static int ages_show(struct seq_file *m, void *v)
{
	struct goheap_age_table table = { .now_ns = goheap_now_ns() };
	struct goheap *heap = v;
	unsigned int i;

	goheap_walk(heap, goheap_age_count, &table);
	for (i = 0; i < GOHEAP_HIST_SLOTS; i++)
		if (table.nr[i])
			seq_printf(m, "%u %llu %llu %llu\n", heap->id, goheap_hist_from(i),
				   table.nr[i], table.pages[i] << GH_PAGE_SHIFT);
	return 0;
}
GOHEAP_HEAP_TABLE(ages);

/* ---- pressure to release -------------------------------------------------------- */

static int latency_show(struct seq_file *m, void *v)
{
	unsigned int i;
	u64 nr;

	for (i = 0; i < GOHEAP_HIST_SLOTS; i++) {
		nr = goheap_latency_count(i);
		if (nr)
			seq_printf(m, "%llu %llu\n", goheap_hist_from(i), nr);
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(latency);

/* ---- init and exit ------------------------------------------------------------ */

/* Without debugfs, or room in it, there are no tables. */
void goheap_debugfs_init(void)
{
	goheap_debugfs = debugfs_create_dir("goheap", NULL);
	debugfs_create_file("arenas", 0400, goheap_debugfs, NULL, &goheap_map_fops);
	debugfs_create_file("spans", 0400, goheap_debugfs, NULL, &spans_fops);
	debugfs_create_file("ages", 0400, goheap_debugfs, NULL, &ages_fops);
	debugfs_create_file("latency", 0400, goheap_debugfs, NULL, &latency_fops);
}

void goheap_debugfs_exit(void)
{
	debugfs_remove_recursive(goheap_debugfs);
}
