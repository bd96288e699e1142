/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR MIT */
/*
 * /dev/goheap: page heaps kept by the kernel.
 *
 * An open of the device is a heap without memory.  The first private mmap() of
 * it at offset 0 becomes the heap's arena and binds the heap to the caller's
 * address space; from then on spans (runs of 8 KiB heap pages) of the arena are
 * allocated and freed by the commands below.  Pages of the arena are ordinary
 * anonymous memory.  The kernel takes back the pages of free spans by age,
 * under memory pressure, and on demand; such a span reads as zeros afterwards.
 *
 * Rules that hold for every command:
 *  - A struct begins with @size, the sizeof() of the caller's header.  A kernel
 *    that knows a shorter struct accepts a longer one whose unknown tail is
 *    zero (else E2BIG); a longer struct is filled up with zeros.  A @size below
 *    the first published layout is refused with EINVAL.
 *  - Unknown bits in @flags and non-zero reserved fields: EINVAL.
 *  - Unknown command: ENOTTY.  Pointer that cannot be read or written: EFAULT.
 *  - From an address space other than the heap's own (a forked child, a program
 *    after exec, a process that was sent the descriptor): ESTALE.  A forked child
 *    must not write to free spans of the arena, which it has a copy of, until it was
 *    told so by ioctl(): the kernel may be releasing their pages, in the copy too.
 *  - Before the arena is mapped: ENXIO (INFO and ATTACH excepted).
 *  - The last two do not hold for MAP of a heap that is named by its id.
 *  - Commands may be issued from any thread, and are serialised per heap.
 *
 * Addresses and lengths are in bytes unless the name says pages; a page here is
 * a heap page of GOHEAP_PAGE_SIZE bytes, whatever the hardware's page size.
 */
#ifndef _UAPI_LINUX_GOHEAP_H
#define _UAPI_LINUX_GOHEAP_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define GOHEAP_PAGE_SHIFT	13
#define GOHEAP_PAGE_SIZE	(1UL << GOHEAP_PAGE_SHIFT)

/* The arena's length is a multiple of this, its address one of 2 MiB. */
#define GOHEAP_ARENA_STEP	(64UL << 20)
/* The largest arena that any kernel grants; the parameter max_arena may say less. */
#define GOHEAP_ARENA_MAX	(512UL << 30)

/* At most this many spans in one vector. */
#define GOHEAP_VEC_MAX		512

/*
 * mmap() offsets of the device.  The arena: MAP_PRIVATE, any protection, once
 * (a second one: EBUSY); a shared, misaligned, or too long one: EINVAL; one more
 * than the parameter max_heaps_per_user allows: EMFILE.  The control page: one
 * hardware page, MAP_SHARED, PROT_READ, after the arena is mapped (before: ENXIO);
 * it holds a struct goheap_ctl.
 */
#define GOHEAP_OFF_ARENA	0ULL
#define GOHEAP_OFF_CTL		(1ULL << 60)

/**
 * struct goheap_ctl - what the kernel tells a heap's owner without a call
 * @pressure_gen: rises by one or more each time that memory pressure reached
 *	this heap; a library that sees a new value returns the empty spans that
 *	it kept.  Read it with a single 64-bit load.  To wait for it: poll().
 * @reserved: zero
 */
struct goheap_ctl {
	__u64 pressure_gen;
	__u64 reserved[7];
};

/* Bits of goheap_info.features. */
#define GOHEAP_FEAT_SPANS	(1ULL << 0)	/* SPAN_ALLOC, SPAN_FREE, SPAN_RESIZE */
#define GOHEAP_FEAT_SCAVENGE	(1ULL << 1)	/* SCAVENGE, age, pressure */
#define GOHEAP_FEAT_ATTACH	(1ULL << 2)	/* ATTACH */
#define GOHEAP_FEAT_CTL		(1ULL << 3)	/* the control page */
#define GOHEAP_FEAT_STATS	(1ULL << 4)	/* STATS */
#define GOHEAP_FEAT_URING	(1ULL << 5)	/* SPAN_ALLOC, SPAN_FREE, SCAVENGE by io_uring */
#define GOHEAP_FEAT_LIMIT	(1ULL << 6)	/* LIMIT */
#define GOHEAP_FEAT_POLL	(1ULL << 7)	/* poll() tells of memory pressure */
#define GOHEAP_FEAT_POPULATE	(1ULL << 8)	/* GOHEAP_VEC_POPULATE */
#define GOHEAP_FEAT_MAP		(1ULL << 9)	/* MAP */

/**
 * struct goheap_info - what this kernel and this heap are (GOHEAP_INFO)
 * @size: in: sizeof(struct goheap_info)
 * @flags: in: 0
 * @features: out: GOHEAP_FEAT_* bits; choose by these, never by a version
 * @heap_id: out: name of the heap's sysfs directory, which is there from the first
 *	command on, this one or another; 0 before the arena exists
 * @arena_start: out: first address of the arena, 0 before it exists
 * @arena_bytes: out: its length
 * @max_arena_bytes: out: the longest arena that would be granted
 * @page_size: out: GOHEAP_PAGE_SIZE of the kernel
 * @max_vec: out: GOHEAP_VEC_MAX of the kernel
 */
struct goheap_info {
	__u32 size;
	__u32 flags;
	__u64 features;
	__u64 heap_id;
	__u64 arena_start;
	__u64 arena_bytes;
	__u64 max_arena_bytes;
	__u32 page_size;
	__u32 max_vec;
};

/**
 * struct goheap_attach - make a fresh open a handle of an existing heap (GOHEAP_ATTACH)
 * @size: in: sizeof(struct goheap_attach)
 * @flags: in: 0
 * @addr: in: any address inside the arena, in the caller's own address space
 *
 * For a program that closed, or lost by dup2(), the descriptor of its heap: the
 * mapping keeps the heap alive.  EBUSY: this open already has a heap.  ENOENT:
 * no arena of this device at @addr.  ESTALE: the arena was inherited by fork.
 */
struct goheap_attach {
	__u32 size;
	__u32 flags;
	__u64 addr;
};

/* goheap_span.flags */
#define GOHEAP_SPAN_LARGE	(1U << 0)	/* in: holds one large object: keep it on the busy lists */
#define GOHEAP_SPAN_NEEDZERO	(1U << 1)	/* out: may hold old data of this process; clear: reads as zeros */

/**
 * struct goheap_span - one element of a vector
 * @addr: SPAN_ALLOC: out, first address.  SPAN_FREE: in, first address.
 * @npages: length in heap pages.  SPAN_ALLOC: in, 1 or more.  SPAN_FREE: in, the
 *	span's length, or 0 not to have it compared.
 * @flags: GOHEAP_SPAN_*; SPAN_FREE ignores none: it must be 0 there
 * @tag: SPAN_ALLOC: in, 0..255, the caller's class of span, shown in statistics
 *	only.  SPAN_FREE: in, 0.
 */
struct goheap_span {
	__u64 addr;
	__u64 npages;
	__u32 flags;
	__u32 tag;
};

/* goheap_span_vec.flags */
#define GOHEAP_VEC_POPULATE	(1U << 0)	/* SPAN_ALLOC: fault the spans' pages in */

/**
 * struct goheap_span_vec - allocate or free up to GOHEAP_VEC_MAX spans
 * (GOHEAP_SPAN_ALLOC, GOHEAP_SPAN_FREE)
 * @size: in: sizeof(struct goheap_span_vec)
 * @flags: in: SPAN_ALLOC: GOHEAP_VEC_POPULATE or 0.  SPAN_FREE: 0
 * @spans: in: address of an array of @nr struct goheap_span
 * @nr: in: 1 .. GOHEAP_VEC_MAX, else EINVAL
 * @done: in: 0; out, also on error: how many elements, from the first on, were
 *	carried out; the others are untouched
 * @align: SPAN_ALLOC: in: alignment of every span in bytes, a power of two from
 *	GOHEAP_PAGE_SIZE to half the arena, or 0 for GOHEAP_PAGE_SIZE.
 *	SPAN_FREE: in: 0.
 *
 * SPAN_ALLOC: ENOMEM: no such run is left in the arena, or the heap's hard limit
 * (see LIMIT) does not allow it, or no kernel memory for its record.  ENOSPC: the
 * heap has as many spans as the parameter max_spans allows.  SPAN_FREE: EINVAL:
 * @addr is not the first address of a span in use, or @npages is not its length;
 * the heap is as it was.
 *
 * GOHEAP_VEC_POPULATE, where GOHEAP_FEAT_POPULATE is set: before the command returns,
 * the spans are made resident, as if each of their pages had been written to without a
 * change: fresh pages are zero, and huge where the system would give huge ones;
 * pages that are resident keep their contents, of which GOHEAP_SPAN_NEEDZERO tells as
 * ever.  It is an attempt, and never an error: pieces of the arena that are not
 * mapped, or not for writing, are left out, and the first fault that fails, or a fatal
 * signal, ends it; the spans are allocated all the same.  What faults do happens here
 * too, to the same process: they are charged to its cgroup, which may go into reclaim
 * or run out of memory, and they wait for a userfaultfd.
 */
struct goheap_span_vec {
	__u32 size;
	__u32 flags;
	__u64 spans;
	__u32 nr;
	__u32 done;
	__u64 align;
};

/**
 * struct goheap_resize - shrink or grow a span in place (GOHEAP_SPAN_RESIZE)
 * @size: in: sizeof(struct goheap_resize)
 * @flags: in: 0
 * @addr: in: first address of a span in use, else EINVAL
 * @npages: in: new length in heap pages, 1 or more
 * @old_npages: out: length before
 * @span_flags: out: GOHEAP_SPAN_NEEDZERO if pages were added that may hold old data
 * @reserved: 0
 *
 * ENOMEM: what follows the span is not free, or the heap's hard limit (see LIMIT)
 * does not allow it, or the kernel has no memory for a record; ENOSPC: the heap has
 * as many records as it may.  The span is as it was.
 */
struct goheap_resize {
	__u32 size;
	__u32 flags;
	__u64 addr;
	__u64 npages;
	__u64 old_npages;
	__u32 span_flags;
	__u32 reserved;
};

/**
 * struct goheap_scavenge - give the pages of idle spans back (GOHEAP_SCAVENGE)
 * @size: in: sizeof(struct goheap_scavenge)
 * @flags: in: 0
 * @max_bytes: in: stop after this many bytes (rounded up to one step of 2 MiB);
 *	~0 for all
 * @min_age_ns: in: only spans unused for longer than this; 0 for all
 * @released_bytes: out: how much was released
 * @waiting_bytes: out: how much is idle and resident but could not be released
 *	because a forked child still shares the arena
 *
 * EINTR: a fatal signal stopped it; what was released stays released.
 */
struct goheap_scavenge {
	__u32 size;
	__u32 flags;
	__u64 max_bytes;
	__u64 min_age_ns;
	__u64 released_bytes;
	__u64 waiting_bytes;
};

/**
 * struct goheap_stats - counters of the heap (GOHEAP_STATS)
 * @size: in: sizeof(struct goheap_stats)
 * @flags: in: 0
 * @heap_sys: out: bytes of the arena in use or idle; = inuse + idle
 * @heap_inuse: out: bytes of spans in use
 * @heap_idle: out: bytes of free spans, resident and released
 * @heap_released: out: bytes of free spans without pages: given back or never touched
 * @nr_spans: out: spans in use
 * @nr_allocs: out: spans ever allocated
 * @nr_frees: out: spans ever freed
 * @nr_grows: out: times that the heap grew
 * @scav_age_bytes: out: bytes ever released because of their age
 * @scav_pressure_bytes: out: bytes ever released under memory pressure
 * @scav_demand_bytes: out: bytes ever released by SCAVENGE or sysfs, or for a limit
 * @scav_skipped: out: times that releasing was put off because of a forked child
 * @pressure_events: out: times that memory pressure reached the heap
 * @meta_bytes: out: kernel memory held for the heap's records
 */
struct goheap_stats {
	__u32 size;
	__u32 flags;
	__u64 heap_sys;
	__u64 heap_inuse;
	__u64 heap_idle;
	__u64 heap_released;
	__u64 nr_spans;
	__u64 nr_allocs;
	__u64 nr_frees;
	__u64 nr_grows;
	__u64 scav_age_bytes;
	__u64 scav_pressure_bytes;
	__u64 scav_demand_bytes;
	__u64 scav_skipped;
	__u64 pressure_events;
	__u64 meta_bytes;
};

/**
 * struct goheap_uring - a command by io_uring, with IORING_OP_URING_CMD
 * @arg: address of the struct that ioctl() would be given
 * @reserved: 0, else EINVAL
 *
 * Where GOHEAP_FEAT_URING is set.  The request's cmd_op is the command's number,
 * and the first 16 bytes of its cmd[] are this struct.  The structs that @arg and
 * they point to must stay until the request has completed; its result is 0 or a
 * negative errno, that of ioctl().
 *
 * SPAN_ALLOC and SPAN_FREE are carried out while they are submitted; SCAVENGE, and
 * SPAN_ALLOC with GOHEAP_VEC_POPULATE, by one of the ring's workers while the
 * process goes on (on Linux 6.10 to 6.13 only with IOSQE_ASYNC).  Any
 * other command: EOPNOTSUPP; unknown: ENOTTY.  It is the address space of the
 * process that submits that must be the heap's own, else ESTALE.
 */
struct goheap_uring {
	__u64 arg;
	__u64 reserved;
};

/* goheap_limit.flags */
#define GOHEAP_LIMIT_SET	(1U << 0)	/* in: set both; clear: only read them */

/**
 * struct goheap_limit - bound what the heap holds in memory (GOHEAP_LIMIT)
 * @size: in: sizeof(struct goheap_limit)
 * @flags: in: GOHEAP_LIMIT_SET or 0
 * @soft_bytes: in, with GOHEAP_LIMIT_SET; out: the value in force
 * @hard_bytes: the same
 *
 * What is held is heap_sys - heap_released of struct goheap_stats: spans in use,
 * and idle ones that have pages.  ~0 is no limit, which both are to begin with;
 * any other value is rounded down to GOHEAP_PAGE_SIZE.  EINVAL: a soft limit that
 * is above the hard one; both are then as they were.
 *
 * The hard limit is never exceeded by an allocation.  A span that takes over the
 * pages of idle ones adds nothing to what is held; for one that does not, SPAN_ALLOC
 * and SPAN_RESIZE first release so much that is idle.  They fail with ENOMEM when
 * what is in use and the new span are more than the limit; or when what is
 * idle cannot be released because a forked child shares the arena.  A limit below
 * what is in use can be set: it takes nothing away, and nothing can be added; what
 * is freed from then on is released within a moment, until less is held.
 *
 * When more is held than the soft limit, spans that are idle are released, without
 * regard to their age, until an eighth less is held: within a moment, by the
 * kernel, while the program goes on.  Nothing fails.
 *
 * Setting limits releases at once what is idle and above them.  Each release may
 * be up to 4 MiB more than is needed, and counts as on demand.
 */
struct goheap_limit {
	__u32 size;
	__u32 flags;
	__u64 soft_bytes;
	__u64 hard_bytes;
};

/* goheap_map_span.state */
#define GOHEAP_MAP_INUSE	1U	/* allocated */
#define GOHEAP_MAP_IDLE		2U	/* free, and may have pages */
#define GOHEAP_MAP_RELEASED	3U	/* free, without pages: given back or never touched */
#define GOHEAP_MAP_SCAVENGING	4U	/* free, its pages being released */

/**
 * struct goheap_map_span - a span as MAP tells of it
 * @addr: first address
 * @npages: length in heap pages
 * @unused_ns: how long it has been free, as exact as a tick of the kernel's clock;
 *	0 in use
 * @state: GOHEAP_MAP_*
 * @tag: in use: what it was allocated with; else 0
 */
struct goheap_map_span {
	__u64 addr;
	__u64 npages;
	__u64 unused_ns;
	__u32 state;
	__u32 tag;
};

/**
 * struct goheap_map - the spans of an arena, in use or free, by address (GOHEAP_MAP)
 * @size: in: sizeof(struct goheap_map)
 * @flags: in: 0
 * @spans: in: address of an array of @nr struct goheap_map_span
 * @nr: in: 1 .. GOHEAP_VEC_MAX, else EINVAL
 * @done: in: 0; out: how many elements were written
 * @cursor: in: 0 to begin, or as the call before left it; out: where to go on, 0
 *	when all has been told
 * @heap_id: in: which heap: the name of its directory in sysfs; 0: that of this open
 *
 * Where GOHEAP_FEAT_MAP is set.  It tells of the part of the arena that was ever used:
 * its spans cover that without a gap.  The heap is in use meanwhile: one call is no
 * snapshot, and several are less so.
 *
 * With a @heap_id, any open will do, in any process.  Who may open the heap's files in
 * sysfs and read them may know its map, and no one else: its user, and root.  ESRCH:
 * there is no such heap, or the caller's pid namespace does not have its process; EACCES:
 * it is another user's, or its process may be traced by root only (PR_SET_DUMPABLE).
 */
struct goheap_map {
	__u32 size;
	__u32 flags;
	__u64 spans;
	__u32 nr;
	__u32 done;
	__u64 cursor;
	__u64 heap_id;
};

#define GOHEAP_IOC		0xB4

#define GOHEAP_INFO		_IOWR(GOHEAP_IOC, 0x00, struct goheap_info)
#define GOHEAP_ATTACH		_IOWR(GOHEAP_IOC, 0x01, struct goheap_attach)
#define GOHEAP_SPAN_ALLOC	_IOWR(GOHEAP_IOC, 0x02, struct goheap_span_vec)
#define GOHEAP_SPAN_FREE	_IOWR(GOHEAP_IOC, 0x03, struct goheap_span_vec)
#define GOHEAP_SPAN_RESIZE	_IOWR(GOHEAP_IOC, 0x04, struct goheap_resize)
#define GOHEAP_SCAVENGE		_IOWR(GOHEAP_IOC, 0x05, struct goheap_scavenge)
#define GOHEAP_STATS		_IOWR(GOHEAP_IOC, 0x06, struct goheap_stats)
#define GOHEAP_LIMIT		_IOWR(GOHEAP_IOC, 0x07, struct goheap_limit)
#define GOHEAP_MAP		_IOWR(GOHEAP_IOC, 0x08, struct goheap_map)

#endif /* _UAPI_LINUX_GOHEAP_H */
