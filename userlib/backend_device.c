// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The page heap in the kernel.  This file and device_ahead.c are the only ones that
 * know its ABI.
 *
 * The heap is kept alive by its mapping; the descriptor is only the way to speak
 * to it, and programs lose it: they close every descriptor that they do not know
 * (closefrom, daemon, shells), or dup2() a file of their own onto its number.  So
 * it is kept high, out of the way of select() and of small loops, and whenever a
 * call fails, the descriptor is asked who it is; if it is not this heap's, the
 * device is opened again and attached to the arena.  A descriptor that is not
 * ours is never closed: its number is simply forgotten.  The new one takes the
 * old number if that is free, because a vfork child that closed it in its own
 * table shares our memory with a parent in whose table it is still open.
 *
 * A call that succeeds on somebody else's heap, because its descriptor is now
 * at our number, is told by the addresses that it answers, and undone.
 *
 * Two outcomes cannot be repaired here: -ESTALE, the arena was inherited by fork;
 * and -ENOLINK, the device cannot be opened any more (chroot, no descriptors
 * left).  The backend then puts another heap in this one's place.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <linux/goheap.h>
#include "device.h"
#include "options.h"
#include "persistentalloc.h"
#include "spancache.h"

_Static_assert(GOHEAP_PAGE_SIZE == GHU_PAGE_SIZE, "one page size");
_Static_assert(GOHEAP_ARENA_STEP == GHU_ARENA_STEP, "arena lengths are the same");
_Static_assert(GOHEAP_ARENA_MAX == GHU_ARENA_MAX, "arena lengths are the same");
_Static_assert(sizeof(struct goheap_info) == 56, "ABI");
_Static_assert(sizeof(struct goheap_attach) == 16, "ABI");
_Static_assert(sizeof(struct goheap_span) == 24, "ABI");
_Static_assert(sizeof(struct goheap_span_vec) == 32, "ABI");
_Static_assert(sizeof(struct goheap_resize) == 40, "ABI");
_Static_assert(sizeof(struct goheap_scavenge) == 40, "ABI");
_Static_assert(sizeof(struct goheap_stats) == 120, "ABI");
_Static_assert(sizeof(struct goheap_ctl) == 64, "ABI");
_Static_assert(sizeof(struct goheap_uring) == 16, "ABI");
#define ABI_OFFSET(type, field, off) \
	_Static_assert(offsetof(struct type, field) == (off), #type "." #field)
ABI_OFFSET(goheap_info, features, 8);
ABI_OFFSET(goheap_info, heap_id, 16);
ABI_OFFSET(goheap_info, arena_start, 24);
ABI_OFFSET(goheap_info, arena_bytes, 32);
ABI_OFFSET(goheap_info, max_arena_bytes, 40);
ABI_OFFSET(goheap_info, page_size, 48);
ABI_OFFSET(goheap_info, max_vec, 52);
ABI_OFFSET(goheap_attach, addr, 8);
ABI_OFFSET(goheap_span, addr, 0);
ABI_OFFSET(goheap_span, npages, 8);
ABI_OFFSET(goheap_span, flags, 16);
ABI_OFFSET(goheap_span, tag, 20);
ABI_OFFSET(goheap_span_vec, spans, 8);
ABI_OFFSET(goheap_span_vec, nr, 16);
ABI_OFFSET(goheap_span_vec, done, 20);
ABI_OFFSET(goheap_span_vec, align, 24);
ABI_OFFSET(goheap_resize, addr, 8);
ABI_OFFSET(goheap_resize, npages, 16);
ABI_OFFSET(goheap_resize, old_npages, 24);
ABI_OFFSET(goheap_resize, span_flags, 32);
ABI_OFFSET(goheap_scavenge, max_bytes, 8);
ABI_OFFSET(goheap_scavenge, min_age_ns, 16);
ABI_OFFSET(goheap_scavenge, released_bytes, 24);
ABI_OFFSET(goheap_scavenge, waiting_bytes, 32);
ABI_OFFSET(goheap_stats, heap_sys, 8);
ABI_OFFSET(goheap_stats, heap_released, 32);
ABI_OFFSET(goheap_stats, meta_bytes, 112);
ABI_OFFSET(goheap_ctl, pressure_gen, 0);

#define DEVICE	"/dev/goheap"

#define FEATURES \
	(GOHEAP_FEAT_SPANS | GOHEAP_FEAT_SCAVENGE | GOHEAP_FEAT_ATTACH | GOHEAP_FEAT_CTL)

/* What fetching ahead needs. */
#define AHEAD_FEATURES	(GOHEAP_FEAT_URING | GOHEAP_FEAT_POPULATE)

/* Where the descriptor should be; lower if the limit on descriptors is. */
#define HIGH_FD		512
#define LOWEST_FD	3

/* 2 MiB, what release_shared() takes at once. */
#define SHARED_STEP_PAGES	256u

/* How often a descriptor is got back for one call before the heap is given up. */
#define REACH_TRIES	8

static uint64_t device_sys;

static struct device_heap *device(struct ghu_heap *h)
{
	return (struct device_heap *)h;
}

static long dev_ioctl(int fd, unsigned long cmd, void *arg)
{
	return ghu_syscall(SYS_ioctl, fd, (long)cmd, (long)arg, 0, 0, 0);
}

static void close_fd(int fd)
{
	ghu_syscall(SYS_close, fd, 0, 0, 0, 0, 0);
}

/* Moves a descriptor that was just opened to wish or above, else as high as can be. */
static int move_fd(int fd, int wish)
{
	long high;

	while ((high = ghu_syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, wish, 0, 0, 0)) < 0 &&
	       wish > LOWEST_FD)
		wish = wish / 2 > LOWEST_FD ? wish / 2 : LOWEST_FD;
	close_fd(fd);
	return (int)high;
}

int ghu_move_fd_high(int fd)
{
	return move_fd(fd, HIGH_FD);
}

static int open_device(int wish)
{
	/* As texts lie apart (layout.ld), and this one is needed always. */
	static const char path[] = DEVICE;
	long fd = ghu_syscall(SYS_openat, AT_FDCWD, (long)path, O_RDWR | O_CLOEXEC, 0, 0, 0);

	return fd < 0 ? (int)fd : move_fd((int)fd, wish);
}

static long get_info(int fd, struct goheap_info *info)
{
	*info = (struct goheap_info){ .size = sizeof(*info) };
	return dev_ioctl(fd, GOHEAP_INFO, info);
}

bool ghu_device_is_settled(struct ghu_heap *h)
{
	struct goheap_info info;

	return get_info(__atomic_load_n(&device(h)->fd, __ATOMIC_RELAXED), &info) == -ESTALE;
}

/* ---- reaching the heap ---- */

/* Whether the descriptor is one of this heap. */
static bool is_ours(const struct device_heap *d, int fd)
{
	struct goheap_info info;

	return !get_info(fd, &info) && info.heap_id == d->id &&
	       info.arena_start == d->heap.arena.start;
}

/* A new descriptor of the heap; -ESTALE, -ENOLINK. */
static int attach(const struct device_heap *d, int wish)
{
	struct goheap_attach at = { .size = sizeof(at), .addr = d->heap.arena.start };
	int fd = open_device(wish);
	long err;

	if (fd < 0)
		return -ENOLINK;
	err = dev_ioctl(fd, GOHEAP_ATTACH, &at);
	if (!err && is_ours(d, fd))
		return fd;
	close_fd(fd);
	return err == -ESTALE ? -ESTALE : -ENOLINK;
}

/* Gets a descriptor for the one that turned out not to be ours.  0, -ESTALE, -ENOLINK. */
static int reach(struct device_heap *d, int lost_fd)
{
	int fd = 0;

	ghu_lock(&d->lock);
	if (d->fd == lost_fd && !is_ours(d, lost_fd)) {
		fd = attach(d, lost_fd);
		if (fd >= 0)
			__atomic_store_n(&d->fd, fd, __ATOMIC_RELAXED);
	}
	ghu_unlock(&d->lock);
	return fd < 0 ? fd : 0;
}

/* Spans that a heap gave, ours or not, are not forgotten by asking again. */
static bool has_spans(unsigned long cmd, const void *arg)
{
	return cmd == GOHEAP_SPAN_ALLOC && ((const struct goheap_span_vec *)arg)->done;
}

/*
 * A command to the heap, with an argument of bytes that is as it was if the
 * command has to be given again.  What the kernel answered, -ESTALE or -ENOLINK;
 * *by is the descriptor that it was given to last.
 */
static long command_by(struct device_heap *d, int *by, unsigned long cmd, void *arg, size_t bytes)
{
	unsigned char saved[sizeof(struct goheap_stats)];
	long ret = -ENOLINK;

	memcpy(saved, arg, bytes);
	for (int tries = 0; tries < REACH_TRIES; tries++) {
		int fd = __atomic_load_n(&d->fd, __ATOMIC_RELAXED);

		*by = fd;
		ret = dev_ioctl(fd, cmd, arg);
		if (ghu_likely(!ret) || has_spans(cmd, arg) || is_ours(d, fd))
			return ret;
		ret = reach(d, fd);
		if (ret)
			return ret;
		memcpy(arg, saved, bytes);
	}
	return -ENOLINK;
}

static long command(struct device_heap *d, unsigned long cmd, void *arg, size_t bytes)
{
	int by;

	return command_by(d, &by, cmd, arg, bytes);
}

/* ---- spans ---- */

/* Whether the kernel was told to refuse what is too much: then another heap is no way out. */
static bool is_limited(struct device_heap *d)
{
	struct goheap_limit l = { .size = sizeof(l) };

	return !command(d, GOHEAP_LIMIT, &l, sizeof(l)) && l.hard_bytes != ~(uint64_t)0;
}

static int why_none(struct device_heap *d, long err)
{
	if (err == -ESTALE || err == -ENOLINK)
		return (int)err;
	return is_limited(d) ? -ENOMEM : -ENOSPC;
}

int ghu_device_wrong_heap(struct device_heap *d, int fd, struct goheap_span_vec *v)
{
	struct goheap_span *spans = (struct goheap_span *)(uintptr_t)v->spans;

	for (unsigned int i = 0; i < v->done; i++) {
		spans[i].flags = 0;
		spans[i].tag = 0;
	}
	v->flags = 0;
	v->nr = v->done;
	v->done = 0;
	v->align = 0;
	dev_ioctl(fd, GOHEAP_SPAN_FREE, v);
	return reach(d, fd);
}

struct goheap_span_vec ghu_device_vec(const struct ghu_request *req, struct goheap_span *spans,
				      unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		spans[i] = (struct goheap_span){
			.npages = req->npages,
			.flags = req->flags & GHU_SPAN_LARGE ? GOHEAP_SPAN_LARGE : 0,
			.tag = req->tag,
		};
	return (struct goheap_span_vec){
		.size = sizeof(struct goheap_span_vec), .spans = (uintptr_t)spans, .nr = nr,
		.align = req->align,
	};
}

void ghu_device_runs(const struct goheap_span *spans, unsigned int nr, struct ghu_run *runs)
{
	for (unsigned int i = 0; i < nr; i++)
		runs[i] = (struct ghu_run){
			.addr = spans[i].addr,
			.npages = spans[i].npages,
			.needzero = spans[i].flags & GOHEAP_SPAN_NEEDZERO,
		};
}

static int fetch(struct device_heap *d, const struct ghu_request *req, struct ghu_run *runs,
		 unsigned int nr)
{
	struct goheap_span spans[GHU_SPANCACHE_BATCH];
	struct goheap_span_vec v = ghu_device_vec(req, spans, nr);
	int fd;
	long ret = command_by(d, &fd, GOHEAP_SPAN_ALLOC, &v, sizeof(v));

	if (!v.done)
		return why_none(d, ret);
	if (!ghu_arena_has(&d->heap.arena, spans[0].addr)) {
		ret = ghu_device_wrong_heap(d, fd, &v);
		return ret ? (int)ret : fetch(d, req, runs, nr);
	}
	ghu_device_runs(spans, v.done, runs);
	return (int)v.done;
}

static int device_alloc(struct ghu_heap *h, const struct ghu_request *req,
			struct ghu_run *runs, unsigned int nr)
{
	unsigned int got = 0;

	if (device(h)->ahead && ghu_spancache_keeps(req->npages, req->align))
		got = ghu_ahead_get(device(h), req, runs, nr);
	return got ? (int)got : fetch(device(h), req, runs, nr);
}

static int device_free(struct ghu_heap *h, const struct ghu_run *runs, unsigned int nr,
		       unsigned int *done)
{
	struct goheap_span spans[GHU_SPANCACHE_BATCH];
	struct goheap_span_vec v = { .size = sizeof(v), .spans = (uintptr_t)spans, .nr = nr };
	long ret;

	for (unsigned int i = 0; i < nr; i++)
		spans[i] = (struct goheap_span){ .addr = runs[i].addr, .npages = runs[i].npages };
	ret = command(device(h), GOHEAP_SPAN_FREE, &v, sizeof(v));
	*done = v.done;
	return (int)ret;
}

static int device_resize(struct ghu_heap *h, uintptr_t addr, size_t old_npages, size_t npages,
			 bool *needzero)
{
	struct goheap_resize r = { .size = sizeof(r), .addr = addr, .npages = npages };
	long ret = command(device(h), GOHEAP_SPAN_RESIZE, &r, sizeof(r));

	(void)old_npages;
	if (ret)
		return ret == -ESTALE || ret == -ENOLINK ? (int)ret : -ENOMEM;
	*needzero = r.span_flags & GOHEAP_SPAN_NEEDZERO;
	return 0;
}

/* ---- release ---- */

/* Spans that were taken so that nobody else gets them. */
struct taken {
	struct goheap_span *spans;
	size_t nr, max;
	size_t bytes;		/* of those whose pages were dropped */
};

/* Takes up to nr spans of npages.  True if all were had and had pages: there may be more. */
static bool take_some(struct device_heap *d, struct taken *t, uint64_t npages, unsigned int nr)
{
	struct goheap_span_vec v = { .size = sizeof(v), .nr = nr,
				     .spans = (uintptr_t)(t->spans + t->nr) };
	bool more;

	for (unsigned int i = 0; i < nr; i++)
		t->spans[t->nr + i] = (struct goheap_span){ .npages = npages };
	more = !command(d, GOHEAP_SPAN_ALLOC, &v, sizeof(v));
	for (unsigned int i = 0; i < v.done; i++) {
		struct goheap_span *s = &t->spans[t->nr++];
		bool dirty = s->flags & GOHEAP_SPAN_NEEDZERO;

		s->flags = 0;
		more = more && dirty;
		if (dirty && ghu_arena_has(&d->heap.arena, s->addr) &&
		    !ghu_madvise(s->addr, npages << GHU_PAGE_SHIFT, MADV_DONTNEED))
			t->bytes += npages << GHU_PAGE_SHIFT;
	}
	return more;
}

static void give_back(struct device_heap *d, const struct taken *t)
{
	for (size_t n = 0; n < t->nr; n += GHU_SPANCACHE_BATCH) {
		size_t left = t->nr - n;
		struct goheap_span_vec v = {
			.size = sizeof(v),
			.spans = (uintptr_t)(t->spans + n),
			.nr = left < GHU_SPANCACHE_BATCH ? left : GHU_SPANCACHE_BATCH,
		};

		command(d, GOHEAP_SPAN_FREE, &v, sizeof(v));
	}
}

/*
 * While a forked child shares the arena the kernel cannot release idle runs: it
 * would take the child's pages too.  We can: a run that was allocated is ours
 * alone, madvise() acts on this process alone, and then it is freed again.  The
 * kernel gives runs with pages first, so the first one without says that there
 * are no more of that length; 2 MiB at a time, then halves of that.  In its books
 * the runs stay resident, until it comes to release them itself.
 */
static size_t release_shared(struct device_heap *d, size_t max_bytes)
{
	size_t max = (max_bytes >> GHU_PAGE_SHIFT) + 16 * GHU_SPANCACHE_BATCH;
	size_t list_bytes = max * sizeof(struct goheap_span);
	struct taken t = { .spans = ghu_sys_reserve(list_bytes), .max = max };

	if (!t.spans)
		return 0;
	for (uint64_t npages = SHARED_STEP_PAGES; npages; npages /= 2) {
		unsigned int nr = SHARED_STEP_PAGES / npages;

		if (nr > GHU_SPANCACHE_BATCH)
			nr = GHU_SPANCACHE_BATCH;
		while (t.bytes < max_bytes && t.nr + nr <= t.max && take_some(d, &t, npages, nr))
			;
	}
	give_back(d, &t);
	ghu_munmap((uintptr_t)t.spans, list_bytes);
	return t.bytes;
}

static size_t device_scavenge(struct ghu_heap *h, size_t max_bytes)
{
	struct goheap_scavenge s = { .size = sizeof(s), .max_bytes = max_bytes };
	size_t left;

	if (command(device(h), GOHEAP_SCAVENGE, &s, sizeof(s)))
		return s.released_bytes;
	left = s.released_bytes < max_bytes ? max_bytes - s.released_bytes : 0;
	if (left > s.waiting_bytes)
		left = s.waiting_bytes;
	return s.released_bytes + (left ? release_shared(device(h), left) : 0);
}

/* ---- statistics ---- */

/* A kernel that does not know the command is like one that does not answer. */
static int device_stats(struct ghu_heap *h, struct ghu_heap_stats *st)
{
	struct goheap_stats s = { .size = sizeof(s) };
	long ret = command(device(h), GOHEAP_STATS, &s, sizeof(s));

	st->sys = s.heap_sys;
	st->released = s.heap_released;
	st->meta_bytes = sizeof(struct device_heap);
	st->kernel_bytes = s.meta_bytes;
	return (int)ret;
}

static const struct ghu_heap_ops device_ops = {
	.alloc = device_alloc,
	.free = device_free,
	.resize = device_resize,
	.scavenge = device_scavenge,
	.stats = device_stats,
};

/* ---- making one ---- */

static const char *why_not_open(int err)
{
	switch (err) {
	case -ENOENT:
	case -ENXIO:
	case -ENODEV:
		return "backend=device: there is no " DEVICE " (is the module loaded?)";
	case -EACCES:
	case -EPERM:
		return "backend=device: no permission to open " DEVICE;
	case -EMFILE:
	case -ENFILE:
		return "backend=device: " DEVICE ": too many open files";
	default:
		return "backend=device: " DEVICE " cannot be opened";
	}
}

/* The control page; a heap without one is told of no pressure. */
static const uint64_t *map_pressure(int fd)
{
	static const uint64_t none;
	long p = ghu_mmap(0, ghu_phys_page_size(), PROT_READ, MAP_SHARED, fd, GOHEAP_OFF_CTL);

	return ghu_is_err(p) ? &none : (const uint64_t *)&((struct goheap_ctl *)p)->pressure_gen;
}

/* Reserves the arena, and so makes the heap.  NULL or why not. */
static const char *make_heap(struct device_heap *d, int fd, size_t min_bytes)
{
	struct goheap_info info;
	struct ghu_arena arena;

	if (get_info(fd, &info) || (info.features & FEATURES) != FEATURES ||
	    info.page_size != GHU_PAGE_SIZE || info.max_vec < GHU_SPANCACHE_BATCH)
		return "backend=device: this kernel's module is not one that the library can use";
	if (ghu_arena_reserve(&arena, fd, min_bytes,
			      info.max_arena_bytes & ~(uint64_t)(GHU_ARENA_STEP - 1)))
		return "backend=device: no arena could be mapped";
	if (get_info(fd, &info)) {
		ghu_munmap(arena.start, arena.bytes);
		return "backend=device: the heap does not answer";
	}
	*d = (struct device_heap){
		.heap = {
			.ops = &device_ops,
			.arena = arena,
			.pressure = map_pressure(fd),
			.kernel = true,
		},
		.fd = fd,
		.id = info.heap_id,
		.ahead = ghu_options.uring && !(~info.features & AHEAD_FEATURES),
	};
	return NULL;
}

static struct ghu_heap *keep_heap(const struct device_heap *made)
{
	struct device_heap *d = ghu_persistentalloc_try(sizeof(*d), 64, &device_sys);

	if (!d) {
		ghu_munmap(made->heap.arena.start, made->heap.arena.bytes);
		return NULL;
	}
	*d = *made;
	return &d->heap;
}

struct ghu_heap *ghu_device_create(size_t min_bytes, const char **why)
{
	int fd = open_device(HIGH_FD);
	struct device_heap made;
	struct ghu_heap *h;

	*why = why_not_open(fd);
	if (fd < 0)
		return NULL;
	*why = make_heap(&made, fd, min_bytes);
	h = *why ? NULL : keep_heap(&made);
	if (!h)
		close_fd(fd);
	return h;
}
