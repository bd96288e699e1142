// SPDX-License-Identifier: GPL-2.0
/*
 * The commands: one function for each, which checks its argument, calls the
 * core, and fills in the answer.  Only here does the user's view of a heap, in
 * <uapi/linux/goheap.h>, meet the core's.
 *
 * goheap_cmd_run(), at the end, is how ioctl and io_uring come here; it copies
 * the argument, so that the functions find it in kernel memory.  A vector's
 * elements are copied in chunks that fit on the stack, never under the heap
 * mutex, and each is read once.  Elements are carried out in order; the first
 * that fails ends the command, and those before it stay done.
 */
#include <linux/kernel.h>
#include <linux/log2.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "heap.h"
#include "trace.h"

/* Elements of a vector that are copied and carried out at a time. */
#define GOHEAP_CHUNK	32

#define GOHEAP_FEATURES	(GOHEAP_FEAT_SPANS | GOHEAP_FEAT_SCAVENGE | GOHEAP_FEAT_ATTACH | \
			 GOHEAP_FEAT_CTL | GOHEAP_FEAT_STATS | GOHEAP_FEAT_LIMIT | \
			 GOHEAP_FEAT_POLL | GOHEAP_FEAT_POPULATE | GOHEAP_FEAT_MAP | \
			 (IS_ENABLED(CONFIG_IO_URING) ? GOHEAP_FEAT_URING : 0))

/* ---- INFO, ATTACH ----------------------------------------------------------- */

static int goheap_cmd_info(struct goheap_file *gf, union goheap_arg *arg)
{
	struct goheap_info *info = &arg->info;
	struct goheap *heap = goheap_of(gf);

	if (info->flags)
		return -EINVAL;
	if (heap == ERR_PTR(-ESTALE))
		return -ESTALE;
	*info = (struct goheap_info) {
		.size		 = info->size,
		.features	 = GOHEAP_FEATURES,
		.max_arena_bytes = goheap_max_arena_bytes(),
		.page_size	 = GOHEAP_PAGE_SIZE,
		.max_vec	 = GOHEAP_VEC_MAX,
	};
	if (!IS_ERR(heap)) {
		info->heap_id = heap->id;
		info->arena_start = heap->core.arena_start;
		info->arena_bytes = heap->core.arena_pages << GH_PAGE_SHIFT;
	}
	return 0;
}

static int goheap_cmd_attach(struct goheap_file *gf, union goheap_arg *arg)
{
	if (arg->attach.flags)
		return -EINVAL;
	return goheap_attach(gf, arg->attach.addr);
}

/* ---- SPAN_ALLOC ------------------------------------------------------------- */

static int goheap_check_vec(const struct goheap_span_vec *vec, u32 flags)
{
	if (vec->flags & ~flags || vec->done || !vec->nr || vec->nr > GOHEAP_VEC_MAX)
		return -EINVAL;
	return 0;
}

static int goheap_check_align(const struct goheap *heap, u64 align)
{
	u64 max = heap->core.arena_pages << GH_PAGE_SHIFT >> 1;

	if (!align)
		return 0;
	if (!is_power_of_2(align) || align < GOHEAP_PAGE_SIZE || align > max)
		return -EINVAL;
	return 0;
}

/* The core asks for records by -EAGAIN; they are fetched with the heap mutex dropped. */
static int goheap_alloc_run(struct goheap *heap, const struct goheap_span *span,
			    u64 align_pages, struct gh_run *run)
{
	unsigned int flags = span->flags & GOHEAP_SPAN_LARGE ? GH_ALLOC_LARGE : 0;
	u64 now_ns = goheap_now_ns();
	int err;

	for (;;) {
		err = gh_mheap_alloc_locked(&heap->core, span->npages, align_pages,
					    flags, span->tag, now_ns, run);
		if (err != -EAGAIN)
			return err;
		goheap_unlock(heap);
		err = gh_mheap_refill(&heap->core);
		goheap_lock(heap);
		if (err)
			return err;
	}
}

/* @nr_grows: as many as there were before. */
static void goheap_trace_growth(struct goheap *heap, u64 nr_grows)
{
	if (heap->core.stats.nr_grows != nr_grows)
		trace_goheap_grow(heap->id, heap->core.used_pages << GH_PAGE_SHIFT);
}

static int goheap_alloc_one(struct goheap *heap, struct goheap_span *span, u64 align_pages)
{
	u64 nr_grows = heap->core.stats.nr_grows;
	struct gh_run run;
	int err;

	if (span->flags & ~GOHEAP_SPAN_LARGE || span->tag > U8_MAX || !span->npages)
		return -EINVAL;
	if (span->npages > heap->core.arena_pages)
		return -ENOMEM;
	err = goheap_alloc_run(heap, span, align_pages, &run);
	if (err)
		return err;
	span->addr = run.addr;
	if (run.needzero)
		span->flags |= GOHEAP_SPAN_NEEDZERO;
	trace_goheap_span_alloc(heap->id, run.addr, run.npages, span->tag, span->flags);
	goheap_trace_growth(heap, nr_grows);
	return 0;
}

/* Returns how many were allocated; *err says why not all. */
static unsigned int goheap_alloc_chunk(struct goheap *heap, struct goheap_span *spans,
				       unsigned int nr, u64 align_pages, int *err)
{
	unsigned int i;

	goheap_lock(heap);
	for (i = 0; i < nr; i++) {
		*err = goheap_alloc_one(heap, &spans[i], align_pages);
		if (*err)
			break;
	}
	goheap_check_soft_locked(heap);
	goheap_unlock(heap);
	return i;
}

/*
 * Idle runs that have pages do not merge with such that have none, so memory may be
 * there that would do if all were released.  True: that was done.
 */
static bool goheap_release_for(struct goheap *heap, u64 npages)
{
	struct goheap_scav scav = { .max_bytes = U64_MAX };
	const struct gh_mheap *h = &heap->core;
	bool enough;

	goheap_lock(heap);
	enough = npages <= h->stats.idle_pages + h->arena_pages - h->used_pages &&
		 h->stats.inuse_pages + npages <= h->max_held_pages;
	goheap_unlock(heap);
	return enough && !goheap_scavenge(heap, &scav) && scav.released_bytes;
}

/* The caller cannot be told where they are. */
static void goheap_unalloc_chunk(struct goheap *heap, const struct goheap_span *spans,
				 unsigned int nr)
{
	unsigned int i;

	goheap_lock(heap);
	for (i = 0; i < nr; i++)
		gh_mheap_free_locked(&heap->core, spans[i].addr, spans[i].npages,
				     goheap_now_ns());
	goheap_check_soft_locked(heap);
	goheap_unlock(heap);
}

/* After an allocation of @npages failed with @err.  0: it may be tried again. */
static int goheap_try_again(struct goheap *heap, u64 npages, int err, bool *released)
{
	if (err == -EDQUOT)
		return goheap_make_room(heap, npages);
	if (err != -ENOMEM || *released)
		return err;
	*released = goheap_release_for(heap, npages);
	return *released ? 0 : err;
}

/* False as goheap_populate() says it. */
static bool goheap_populate_chunk(struct goheap *heap, const struct goheap_span *spans,
				  unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (!goheap_populate(heap, spans[i].addr, spans[i].npages << GH_PAGE_SHIFT))
			return false;
	return true;
}

static int goheap_cmd_span_alloc(struct goheap_file *gf, union goheap_arg *arg)
{
	struct goheap_span_vec *vec = &arg->vec;
	struct goheap_span __user *user = u64_to_user_ptr(vec->spans);
	struct goheap *heap = goheap_of(gf);
	struct goheap_span spans[GOHEAP_CHUNK];
	bool populate = vec->flags & GOHEAP_VEC_POPULATE, released = false;
	unsigned int nr, want;
	int err;

	if (IS_ERR(heap))
		return PTR_ERR(heap);
	err = goheap_check_vec(vec, GOHEAP_VEC_POPULATE);
	if (!err)
		err = goheap_check_align(heap, vec->align);
	while (!err && vec->done < vec->nr) {
		want = min_t(unsigned int, vec->nr - vec->done, GOHEAP_CHUNK);
		if (copy_from_user(spans, user + vec->done, want * sizeof(*spans)))
			return -EFAULT;
		nr = goheap_alloc_chunk(heap, spans, want,
					vec->align ? vec->align >> GH_PAGE_SHIFT : 1, &err);
		if (copy_to_user(user + vec->done, spans, nr * sizeof(*spans))) {
			goheap_unalloc_chunk(heap, spans, nr);
			return -EFAULT;
		}
		vec->done += nr;
		populate = populate && goheap_populate_chunk(heap, spans, nr);
		if (err)
			err = goheap_try_again(heap, spans[nr].npages, err, &released);
	}
	return err;
}

/* ---- SPAN_FREE -------------------------------------------------------------- */

static int goheap_free_one(struct goheap *heap, const struct goheap_span *span, u64 now_ns)
{
	int err;

	if (span->flags || span->tag)
		return -EINVAL;
	err = gh_mheap_free_locked(&heap->core, span->addr, span->npages, now_ns);
	if (!err)
		trace_goheap_span_free(heap->id, span->addr, span->npages);
	return err;
}

static unsigned int goheap_free_chunk(struct goheap *heap, const struct goheap_span *spans,
				      unsigned int nr, int *err)
{
	u64 now_ns = goheap_now_ns();
	unsigned int i;

	goheap_lock(heap);
	for (i = 0; i < nr; i++) {
		*err = goheap_free_one(heap, &spans[i], now_ns);
		if (*err)
			break;
	}
	goheap_check_soft_locked(heap);
	goheap_unlock(heap);
	return i;
}

static int goheap_cmd_span_free(struct goheap_file *gf, union goheap_arg *arg)
{
	struct goheap_span_vec *vec = &arg->vec;
	struct goheap_span __user *user = u64_to_user_ptr(vec->spans);
	struct goheap *heap = goheap_of(gf);
	struct goheap_span spans[GOHEAP_CHUNK];
	unsigned int want;
	int err;

	if (IS_ERR(heap))
		return PTR_ERR(heap);
	err = goheap_check_vec(vec, 0);
	if (!err && vec->align)
		err = -EINVAL;
	while (!err && vec->done < vec->nr) {
		want = min_t(unsigned int, vec->nr - vec->done, GOHEAP_CHUNK);
		if (copy_from_user(spans, user + vec->done, want * sizeof(*spans)))
			return -EFAULT;
		vec->done += goheap_free_chunk(heap, spans, want, &err);
	}
	return err;
}

/* ---- SPAN_RESIZE ------------------------------------------------------------ */

static int goheap_resize_run(struct goheap *heap, const struct goheap_resize *r,
			     struct gh_run *old, struct gh_run *added)
{
	u64 now_ns = goheap_now_ns();
	int err;

	for (;;) {
		err = gh_mheap_resize_locked(&heap->core, r->addr, r->npages, now_ns,
					     old, added);
		if (err != -EAGAIN)
			return err;
		goheap_unlock(heap);
		err = gh_mheap_refill(&heap->core);
		goheap_lock(heap);
		if (err)
			return err;
	}
}

static int goheap_resize_one(struct goheap *heap, const struct goheap_resize *r,
			     struct gh_run *old, struct gh_run *added)
{
	u64 nr_grows;
	int err;

	goheap_lock(heap);
	nr_grows = heap->core.stats.nr_grows;
	if (r->npages <= heap->core.arena_pages)
		err = goheap_resize_run(heap, r, old, added);
	else	/* cannot be, but a bad address is told first */
		err = gh_mheap_lookup_locked(&heap->core, r->addr, old) ||
		      old->addr != r->addr ? -EINVAL : -ENOMEM;
	if (!err) {
		trace_goheap_span_resize(heap->id, r->addr, old->npages, r->npages);
		goheap_trace_growth(heap, nr_grows);
	}
	goheap_check_soft_locked(heap);
	goheap_unlock(heap);
	return err;
}

static int goheap_cmd_span_resize(struct goheap_file *gf, union goheap_arg *arg)
{
	struct goheap_resize *r = &arg->resize;
	struct gh_run old = {}, added = {};
	struct goheap *heap = goheap_of(gf);
	int err;

	if (IS_ERR(heap))
		return PTR_ERR(heap);
	if (r->flags || r->reserved || !r->npages)
		return -EINVAL;
	while ((err = goheap_resize_one(heap, r, &old, &added)) == -EDQUOT) {
		err = goheap_make_room(heap, r->npages - old.npages);
		if (err)
			break;
	}
	if (err)
		return err;
	r->old_npages = old.npages;
	r->span_flags = r->npages > old.npages && added.needzero ? GOHEAP_SPAN_NEEDZERO : 0;
	return 0;
}

/* ---- SCAVENGE, LIMIT, STATS ------------------------------------------------- */

static int goheap_cmd_scavenge(struct goheap_file *gf, union goheap_arg *arg)
{
	struct goheap_scavenge *s = &arg->scavenge;
	struct goheap_scav scav = {
		.min_age_ns = s->min_age_ns,
		.max_bytes = s->max_bytes,
	};
	struct goheap *heap = goheap_of(gf);
	int err;

	if (IS_ERR(heap))
		return PTR_ERR(heap);
	if (s->flags)
		return -EINVAL;
	err = goheap_scavenge(heap, &scav);
	s->released_bytes = scav.released_bytes;
	s->waiting_bytes = 0;
	if (err != -EBUSY)
		return err;
	/* A forked child is no error: it is told by what waits. */
	s->waiting_bytes = gh_idle_resident_pages(&heap->core) << GH_PAGE_SHIFT;
	return 0;
}

static int goheap_cmd_limit(struct goheap_file *gf, union goheap_arg *arg)
{
	struct goheap_limit *l = &arg->limit;
	struct goheap *heap = goheap_of(gf);
	int err = 0;

	if (IS_ERR(heap))
		return PTR_ERR(heap);
	if (l->flags & ~GOHEAP_LIMIT_SET)
		return -EINVAL;
	if (l->flags & GOHEAP_LIMIT_SET)
		err = goheap_limit_set(heap, &l->soft_bytes, &l->hard_bytes);
	if (!err)
		goheap_limit_get(heap, &l->soft_bytes, &l->hard_bytes);
	return err;
}

/* All but size and flags. */
void goheap_read_stats(struct goheap *heap, struct goheap_stats *stats)
{
	const struct gh_mheap_stats *s = &heap->core.stats;

	goheap_lock(heap);
	*stats = (struct goheap_stats) {
		.heap_sys	= (s->inuse_pages + s->idle_pages) << GH_PAGE_SHIFT,
		.heap_inuse	= s->inuse_pages << GH_PAGE_SHIFT,
		.heap_idle	= s->idle_pages << GH_PAGE_SHIFT,
		.heap_released	= (s->inuse_pages + s->idle_pages -
				   gh_mheap_held_pages(&heap->core)) << GH_PAGE_SHIFT,
		.nr_spans	= s->nr_spans,
		.nr_allocs	= s->nr_allocs,
		.nr_frees	= s->nr_frees,
		.nr_grows	= s->nr_grows,
		.meta_bytes	= s->meta_bytes,
	};
	goheap_unlock(heap);
	stats->scav_age_bytes = READ_ONCE(heap->scav_bytes[GOHEAP_CAUSE_AGE]);
	stats->scav_pressure_bytes = READ_ONCE(heap->scav_bytes[GOHEAP_CAUSE_PRESSURE]);
	stats->scav_demand_bytes = READ_ONCE(heap->scav_bytes[GOHEAP_CAUSE_DEMAND]);
	stats->scav_skipped = atomic64_read(&heap->scav_skipped);
	stats->pressure_events = goheap_pressure_events(heap);
}

/* Every counter is a u64, from heap_sys to the end. */
void goheap_add_stats(struct goheap_stats *total, const struct goheap_stats *stats)
{
	const u64 *from = &stats->heap_sys;
	u64 *to = &total->heap_sys;
	size_t nr = (sizeof(*stats) - offsetof(struct goheap_stats, heap_sys)) / sizeof(u64);

	while (nr--)
		*to++ += *from++;
}

static int goheap_cmd_stats(struct goheap_file *gf, union goheap_arg *arg)
{
	struct goheap *heap = goheap_of(gf);
	u32 size = arg->size;

	if (IS_ERR(heap))
		return PTR_ERR(heap);
	if (arg->stats.flags)
		return -EINVAL;
	goheap_read_stats(heap, &arg->stats);
	arg->stats.size = size;
	return 0;
}

/* ---- the table -------------------------------------------------------------- */

#define CMD(name, type, fn)						\
	[_IOC_NR(GOHEAP_##name)] = { GOHEAP_##name, sizeof(struct type), fn }

static const struct goheap_cmd goheap_cmds[] = {
	CMD(INFO, goheap_info, goheap_cmd_info),
	CMD(ATTACH, goheap_attach, goheap_cmd_attach),
	CMD(SPAN_ALLOC, goheap_span_vec, goheap_cmd_span_alloc),
	CMD(SPAN_FREE, goheap_span_vec, goheap_cmd_span_free),
	CMD(SPAN_RESIZE, goheap_resize, goheap_cmd_span_resize),
	CMD(SCAVENGE, goheap_scavenge, goheap_cmd_scavenge),
	CMD(STATS, goheap_stats, goheap_cmd_stats),
	CMD(LIMIT, goheap_limit, goheap_cmd_limit),
	CMD(MAP, goheap_map, goheap_cmd_map),
};

/* The size in a command's number is its caller's, and may be another than ours. */
const struct goheap_cmd *goheap_cmd_find(unsigned int nr)
{
	const unsigned int same = ~(_IOC_SIZEMASK << _IOC_SIZESHIFT);
	const struct goheap_cmd *cmd;

	if (_IOC_NR(nr) >= ARRAY_SIZE(goheap_cmds))
		return NULL;
	cmd = &goheap_cmds[_IOC_NR(nr)];
	return (nr & same) == (cmd->nr & same) ? cmd : NULL;
}

/* ---- the argument ------------------------------------------------------------ */

/* What a newer caller knows and we do not must be nothing. */
static int goheap_check_tail(const char __user *uptr, size_t known, size_t size)
{
	int zeroed;

	if (size > PAGE_SIZE)
		return -E2BIG;
	zeroed = check_zeroed_user(uptr + known, size - known);
	if (zeroed < 0)
		return zeroed;
	return zeroed ? 0 : -E2BIG;
}

/* The heap of this open, if it has one that the caller may use, is found in sysfs from now on. */
static int goheap_list(struct goheap_file *gf)
{
	struct goheap *heap = goheap_of(gf);

	/* The acquire pairs with the release in goheap_sysfs_add(). */
	if (IS_ERR(heap) || likely(smp_load_acquire(&heap->listed)))
		return 0;
	return goheap_sysfs_add(heap);
}

/*
 * Carries out one command, @nr, with the argument at @uptr; returns 0 or an error,
 * and nothing else.  The argument is touched for writing before the command is
 * carried out, so that one that cannot be written later is refused while nothing
 * has happened.
 */
int goheap_cmd_run(struct goheap_file *gf, unsigned int nr, void __user *uptr)
{
	const struct goheap_cmd *cmd = goheap_cmd_find(nr);
	union goheap_arg arg;
	int err;

	if (!cmd)
		return -ENOTTY;
	if (copy_from_user(&arg, uptr, cmd->size))
		return -EFAULT;
	if (arg.size < cmd->size)
		return -EINVAL;
	if (arg.size > cmd->size) {
		err = goheap_check_tail(uptr, cmd->size, arg.size);
		if (err)
			return err;
	}
	if (put_user(arg.size, (u32 __user *)uptr))
		return -EFAULT;
	err = goheap_list(gf) ?: cmd->run(gf, &arg);
	if (copy_to_user(uptr, &arg, cmd->size))
		return -EFAULT;
	return err;
}

/* ---- the layout, for ever --------------------------------------------------- */

#define AT(type, field, offset)	static_assert(offsetof(struct type, field) == (offset))
#define SIZE(type, bytes)	static_assert(sizeof(struct type) == (bytes))

SIZE(goheap_ctl, 64);
AT(goheap_ctl, pressure_gen, 0);
SIZE(goheap_info, 56);
AT(goheap_info, features, 8);
AT(goheap_info, heap_id, 16);
AT(goheap_info, arena_start, 24);
AT(goheap_info, arena_bytes, 32);
AT(goheap_info, max_arena_bytes, 40);
AT(goheap_info, page_size, 48);
AT(goheap_info, max_vec, 52);
SIZE(goheap_attach, 16);
AT(goheap_attach, addr, 8);
SIZE(goheap_span, 24);
AT(goheap_span, addr, 0);
AT(goheap_span, npages, 8);
AT(goheap_span, flags, 16);
AT(goheap_span, tag, 20);
SIZE(goheap_span_vec, 32);
AT(goheap_span_vec, spans, 8);
AT(goheap_span_vec, nr, 16);
AT(goheap_span_vec, done, 20);
AT(goheap_span_vec, align, 24);
SIZE(goheap_resize, 40);
AT(goheap_resize, addr, 8);
AT(goheap_resize, npages, 16);
AT(goheap_resize, old_npages, 24);
AT(goheap_resize, span_flags, 32);
AT(goheap_resize, reserved, 36);
SIZE(goheap_scavenge, 40);
AT(goheap_scavenge, max_bytes, 8);
AT(goheap_scavenge, min_age_ns, 16);
AT(goheap_scavenge, released_bytes, 24);
AT(goheap_scavenge, waiting_bytes, 32);
SIZE(goheap_stats, 120);
AT(goheap_stats, heap_sys, 8);
AT(goheap_stats, nr_spans, 40);
AT(goheap_stats, scav_age_bytes, 72);
AT(goheap_stats, meta_bytes, 112);
SIZE(goheap_uring, 16);
AT(goheap_uring, arg, 0);
AT(goheap_uring, reserved, 8);
SIZE(goheap_limit, 24);
AT(goheap_limit, soft_bytes, 8);
AT(goheap_limit, hard_bytes, 16);
SIZE(goheap_map_span, 32);
AT(goheap_map_span, unused_ns, 16);
AT(goheap_map_span, state, 24);
AT(goheap_map_span, tag, 28);
SIZE(goheap_map, 40);
AT(goheap_map, spans, 8);
AT(goheap_map, nr, 16);
AT(goheap_map, done, 20);
AT(goheap_map, cursor, 24);
AT(goheap_map, heap_id, 32);
static_assert(GOHEAP_PAGE_SIZE == GH_PAGE_SIZE);
