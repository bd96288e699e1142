/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * libgoheap: a malloc whose page heap is the kernel's (/dev/goheap), so that idle
 * memory goes back when the machine needs it, or, where that device is missing, the
 * same page heap inside the library.
 *
 * Programs need nothing from this header: linked with -lgoheap, or started with
 * LD_PRELOAD=libgoheap.so, they use malloc(), free() and the rest of that family, or
 * C++ new and delete, as ever.  What is declared here are the few things that those
 * interfaces cannot say.
 *
 * All functions may be called by any thread at any time, but not by a signal
 * handler that may have interrupted one of the library's own.  They may be called in a
 * forked child, also of a process with threads: no lock is left held there.  None
 * needs memory from the heap, and unless it says so, none changes errno.
 *
 * Counts are 64 bits wide, and lengths are in bytes.
 */
#ifndef GOHEAP_H
#define GOHEAP_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GOHEAP_VERSION_MAJOR	0
#define GOHEAP_VERSION_MINOR	1
#define GOHEAP_VERSION		"0.1"

/* The version of the library that is loaded, as GOHEAP_VERSION is that of this header. */
const char *goheap_version(void);

/*
 * Where memory comes from: "device" or "embedded".  Chosen when the process first
 * allocates, by the environment variable GOHEAPDEBUG=backend=device or
 * backend=embedded if it is set, else the device if it can be used.
 */
const char *goheap_backend(void);

/*
 * How many bytes a block for a request of size bytes would have: what
 * malloc_usable_size() will say of it.  The first few of a size may have more, less than
 * twice as many.
 */
size_t goheap_good_size(size_t size);

/* Bytes of heap pages that hold objects, or are kept to serve the next ones without delay. */
size_t goheap_inuse_bytes(void);

/*
 * Gives the page heap what the calling thread keeps for its next allocations, and
 * looks through the whole heap for pages without objects.  Other threads keep what
 * they have.
 */
void goheap_flush(void);

/*
 * Gives memory of idle pages back to the system, at most about max_bytes, and
 * returns how much.  goheap_flush() first makes more of it idle.
 */
size_t goheap_scavenge(size_t max_bytes);

/* ---- statistics ---- */

/*
 * malloc() and free() count nothing for these: they are made when they are asked
 * for, by a look at every span of pages.  That takes time (for 1 GiB of objects of 64
 * bytes about 3 ms), but holds the heap's locks for a few spans at a time only.
 * What is in use is exact if no other thread allocates or frees meanwhile; else each
 * span is as it was at some moment of the look.
 *
 * Of mallocs, frees and total_alloc a part is not seen: objects that a thread frees and
 * allocates again while it stands on the same 64 neighbours; of classes with up to 8
 * objects in a span, on the same two spans; and what it has allocated of those it stands
 * on.  The numbers are never more than the truth, never fall, and mallocs - frees is
 * heap_objects.  Large objects (above 32 KiB) are all counted.
 */

/*
 * Go's runtime.MemStats, as far as it is about what this library has: there is no
 * collector here, and there are no stacks.
 */
struct goheap_memstats {
	uint64_t alloc;			/* in objects in use, as long as their class is */
	uint64_t total_alloc;		/* the same of all objects ever allocated */
	uint64_t sys;			/* all the sys below: addresses, not all with memory */
	uint64_t mallocs;		/* objects ever allocated */
	uint64_t frees;			/* and freed */

	uint64_t heap_alloc;		/* as alloc */
	uint64_t heap_sys;		/* heap pages ever used: heap_inuse + heap_idle */
	uint64_t heap_idle;		/* in free spans */
	uint64_t heap_inuse;		/* in spans with objects, or kept by a thread for its next ones */
	uint64_t heap_released;		/* part of heap_idle: given back to the system, or never touched */
	uint64_t heap_objects;		/* objects in use */

	uint64_t mspan_inuse;		/* records of spans, with the states of their objects */
	uint64_t mspan_sys;
	uint64_t mcache_inuse;		/* caches of threads */
	uint64_t mcache_sys;
	uint64_t other_sys;		/* page map, records of the page heap, and the rest */

	/* Not Go's.  Of large objects: how many, and bytes of pages. */
	uint64_t large_objects;
	uint64_t large_inuse;
	uint64_t large_mallocs;
	uint64_t large_frees;
	uint64_t large_alloc_bytes;	/* ever; with what realloc() made them grow by */
	uint64_t large_free_bytes;	/* = large_alloc_bytes - large_inuse */

	uint64_t cached_spans;		/* part of heap_idle: kept to be used again at once */
	uint64_t kernel_bytes;		/* memory of the kernel for the heap's records; not in sys */
	uint64_t sweeps;		/* times that a look for empty spans began */

	uint64_t buck_hash_sys;		/* Go's: records of the heap profile; see below */
	uint64_t profile_lost;		/* not Go's: samples for which there was no room */
};

/*
 * Fills *st.  size is sizeof(*st): members that this library does not know yet
 * are zero.
 */
void goheap_memstats(struct goheap_memstats *st, size_t size);

/*
 * One class of size.  The first one, with size 0, is of large objects; the last one of
 * objects of size 0, which have no memory.
 */
struct goheap_class {
	uint64_t size;			/* of an object; 0: each has its own */
	uint64_t objects;		/* in a span */
	uint64_t spans;			/* in use */
	uint64_t bytes;			/* of those spans */
	uint64_t live;			/* objects in use */
	uint64_t mallocs;		/* as above */
	uint64_t frees;
};

/* Fills up to nr entries of table, in order of size, and returns how many classes there are. */
size_t goheap_by_size(struct goheap_class *table, size_t nr);

/*
 * Writes the statistics as one line of JSON: an object with the names of Go's MemStats,
 * and in its member "Goheap" what Go has not.  Like snprintf(): never more than size
 * bytes with a terminating NUL, and the length returned is that of the whole text without
 * NUL.  GOHEAP_JSON_MAX bytes are always enough.
 */
#define GOHEAP_JSON_MAX		32768
size_t goheap_json(char *buf, size_t size);

/* ---- the heap, object by object ---- */

/*
 * A span: neighbouring pages cut into objects of one size, or one large object.  Those
 * of size 0 lie 16 bytes apart; they cannot be read or written.
 */
struct goheap_area {
	void *start;
	size_t bytes;
	size_t object_bytes;		/* object i begins at start + i * object_bytes; 0: see below */
	size_t objects;			/* that it has room for */
	size_t live;			/* that are in use */
};

/*
 * Called for each span with object NULL, then for each of its objects in use.  Not 0:
 * goheap_walk() ends, and returns this.
 */
typedef int (*goheap_walk_fn)(const struct goheap_area *area, void *object, void *arg);

/*
 * Walks over the heap, in no particular order.  0, or what fn returned.
 *
 * fn is called with no lock held, and may call whatever it likes, malloc() and free()
 * too.  What it is told of one span was so at one moment; if other threads, or fn, allocate
 * and free, an object may be gone when it is shown, and spans that come or go during
 * the walk may be left out.  So fn must not read objects, unless it knows them
 * to be in use.
 */
int goheap_walk(goheap_walk_fn fn, void *arg);

/* ---- bounds ---- */

/*
 * Ends the program, with a message that begins with what, if p lies in an object of the
 * heap and [p, p + size) does not: for whoever copies to addresses that he does not trust.
 * Of memory elsewhere, and of size 0, nothing is said; nor whether the object is in use.  The
 * end is that of the size class, as malloc_usable_size() tells it without canary=1.  A few
 * nanoseconds, but for an address inside of a large object: one for each 8 KiB before it.
 *
 * libgoheap_memcpy.so, preloaded before libgoheap.so, does so in memcpy(), memmove(),
 * memset(), strcpy() and their kin.
 */
void goheap_check_range(const char *what, const void *p, size_t size);

/* ---- the heap profile ---- */

/*
 * Which calls allocated what is in use, and what was allocated since the beginning, found by
 * samples: with the option memprofilerate=N, of all bytes allocated each is sampled with a
 * chance of 1 in N, and an object one of whose bytes is sampled is remembered with its size
 * and the stack of its malloc().  0: none; 1: all objects; 524288 is what Go takes, and
 * costs less than a hundredth of most programs' time; more where objects of a large heap
 * are replaced at random, since threads keep nothing of what they free meanwhile.  With the
 * option profile=PATH it is that, and the profile is written to PATH when the program ends,
 * by exit() or by returning from main(); with profilesignal=NUMBER on that signal, too.  In
 * PATH, %p stands for the process and %n for how many profiles it wrote before.
 *
 * A program may set memprofilerate.  Another thread heeds that when it next needs memory
 * other than what it just freed, so it is best done at the beginning.
 *
 * Records of samples take at most 64 MiB (buck_hash_sys); samples beyond are lost, and
 * counted (profile_lost).  Objects of size 0 are not sampled.  An object that realloc()
 * makes larger where it is counts as freed and allocated.
 */

/*
 * Writes the profile as it is now, in the text format "heap_v2" of google-perftools and
 * jemalloc: `google-pprof --text PROGRAM FILE`, with --alloc_space for all that was ever
 * allocated.  Counts are of samples: pprof works out what they stand for.  A signal handler
 * may call these, whatever it interrupted.  0, or -1 and errno.  path NULL: that of the option, and
 * errno ENOENT if there is none.
 */
int goheap_profile_write(int fd);
int goheap_profile_save(const char *path);

/* ---- options ---- */

/*
 * backend, bgscavenge, gctrace, scavenge and uring are about where memory comes from and
 * goes, and memprofilerate, profile and profilesignal about the heap profile.
 *
 *   sample=N		one in N objects of up to 8 KiB has pages of its own between pages that
 *			trap, as long as there are not more than 768 such: an access beyond it, or
 *			after it was freed, is a fault, and the library's handler of SIGSEGV tells
 *			on stderr which object that was, who accessed, allocated and freed it.
 *			Then, and for all other faults, it calls the program's handler, or
 *			does what is done without.  Statistics and goheap_walk() do not know
 *			these objects
 *
 * The others make malloc() and free() find more than they always do, and slower:
 *
 *   efence=1		each object has pages of its own, which trap when it was freed and are never
 *			used again; implies guard=1
 *   sbrk=1		what was freed is never used again
 *   allocfreetrace=1	each allocation and free is printed to stderr, with its stack
 *   canary=1		what is behind an object is filled, and compared when it is freed;
 *			malloc_usable_size() is what was asked for
 *   guard=1		behind a large object there is a page that traps
 *   quarantine=KIB	so much of what was freed waits before it is used again, in random
 *			order; if it was filled it must still be, and with guard=1 large
 *			objects trap while they wait
 *   zero=1		objects are cleared when they are freed
 *   junk=BYTE		or filled with this, and new ones with its complement; while any of
 *			these is on, mallopt(M_PERTURB) changes it
 *   hardened=1		canary=1, guard=1, quarantine=1024, and zero=1 unless there is junk
 */

/* The name of option number i, from 0 on; NULL: there are no more. */
const char *goheap_option_name(unsigned int i);

/*
 * Writes the value of an option as GOHEAPDEBUG would have it.  Like snprintf(): never
 * more than size bytes with a terminating NUL; the length returned is that of the value.
 * -1 with errno ENOENT: no such option.
 */
int goheap_option_get(const char *name, char *value, size_t size);

/*
 * Sets an option for the whole process, from the next time on that it matters.
 * 0, or -1 and errno ENOENT: no such option; EINVAL: it takes no such value; EBUSY: it
 * can be set by GOHEAPDEBUG only (all but gctrace, memprofilerate and scavenge).
 */
int goheap_option_set(const char *name, const char *value);

#ifdef __cplusplus
}
#endif

#endif
