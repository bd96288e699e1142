/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * What the library needs of the system, without libc: raw system calls (no
 * errno, no cancellation, no interposers), a lock, and the way out.
 */
#ifndef GHU_SYS_H
#define GHU_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The thread sanitizer, which wants to see every access that is one of many threads'. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define GHU_TSAN
#endif
#endif
#ifdef __SANITIZE_THREAD__
#define GHU_TSAN
#endif

#define ghu_likely(x)	__builtin_expect(!!(x), 1)
#define ghu_unlikely(x)	__builtin_expect(!!(x), 0)
#define ghu_noinline	__attribute__((noinline, cold))
#define ghu_export	__attribute__((visibility("default")))
/* So that it is as fast as it is, whatever the code before it: lines of the cache matter here. */
#define ghu_hot		__attribute__((aligned(64)))

/*
 * For tables of which a small program touches little: they come behind all other variables,
 * so that those lie together in a few pages.
 */
#define ghu_table	__attribute__((section(".sbss.tables")))
/* One that layout.ld has a place for. */
#define ghu_placed_table(name)	__attribute__((section(".sbss.tables." name)))

/*
 * Whether the process has one thread, as far as the C library knows: then nothing needs
 * a locked instruction.  It changes to false in pthread_create(), never while the only
 * thread is in here.  Who makes threads behind the C library's back must not allocate
 * in them, which holds for its own malloc() too.
 */
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
static inline bool ghu_is_alone(void)
{
	return __libc_single_threaded;
}
#else
static inline bool ghu_is_alone(void)
{
	return false;
}
#endif

/* Adds to a counter that others may add to as well; what is added may be negative. */
static inline void ghu_count(size_t *n, size_t k)
{
	if (ghu_is_alone())
		__atomic_store_n(n, *n + k, __ATOMIC_RELAXED);
	else
		__atomic_fetch_add(n, k, __ATOMIC_RELAXED);
}

/* What was there. */
static inline uint8_t ghu_exchange8(uint8_t *p, uint8_t new)
{
	uint8_t old;

	if (!ghu_is_alone())
		return __atomic_exchange_n(p, new, __ATOMIC_ACQ_REL);
	old = __atomic_load_n(p, __ATOMIC_RELAXED);
	__atomic_store_n(p, new, __ATOMIC_RELAXED);
	return old;
}

/* True: it was old, and is new. */
static inline bool ghu_replace8(uint8_t *p, uint8_t old, uint8_t new)
{
	if (!ghu_is_alone())
		return __atomic_compare_exchange_n(p, &old, new, false, __ATOMIC_ACQ_REL,
						   __ATOMIC_RELAXED);
	if (__atomic_load_n(p, __ATOMIC_RELAXED) != old)
		return false;
	__atomic_store_n(p, new, __ATOMIC_RELAXED);
	return true;
}

/*
 * Adds to what only this thread writes, and others may read.  In one instruction, which GCC
 * makes of no atomic access.
 */
static inline void ghu_add_own(uint64_t *n, uint64_t k)
{
#ifdef GHU_TSAN
	__atomic_store_n(n, *n + k, __ATOMIC_RELAXED);
#else
	*n += k;
#endif
}

/*
 * A lock of four bytes: 0 free, 1 held, 2 held with waiters.  Spins briefly,
 * then sleeps on a futex.  All-zero bytes are a free lock.  Not recursive.
 */
struct ghu_lock {
	uint32_t word;
};
void ghu_lock_slow(struct ghu_lock *l);
void ghu_unlock_slow(struct ghu_lock *l);

static inline void ghu_lock(struct ghu_lock *l)
{
	uint32_t free = 0;

	if (ghu_is_alone() && !__atomic_load_n(&l->word, __ATOMIC_RELAXED))
		__atomic_store_n(&l->word, 1, __ATOMIC_RELAXED);
	else if (!__atomic_compare_exchange_n(&l->word, &free, 1, false,
					 __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		ghu_lock_slow(l);
}

static inline void ghu_unlock(struct ghu_lock *l)
{
	if (ghu_is_alone())
		__atomic_store_n(&l->word, 0, __ATOMIC_RELAXED);
	else if (__atomic_exchange_n(&l->word, 0, __ATOMIC_RELEASE) == 2)
		ghu_unlock_slow(l);
}

/*
 * The system call nr with up to six arguments; a negative errno on failure.
 * Unused arguments may hold anything.
 */
long ghu_syscall(long nr, long a, long b, long c, long d, long e, long f);

/* mmap(), munmap(), mprotect(), madvise(): the address, or 0, or a negative errno. */
long ghu_mmap(uintptr_t hint, size_t bytes, int prot, int flags, int fd, uint64_t off);
long ghu_munmap(uintptr_t addr, size_t bytes);
long ghu_mprotect(uintptr_t addr, size_t bytes, int prot);
long ghu_madvise(uintptr_t addr, size_t bytes, int advice);
/* What ghu_mmap() returned is an error number, not an address. */
static inline bool ghu_is_err(long ret)
{
	return (unsigned long)ret >= (unsigned long)-4095L;
}

/*
 * Anonymous private zeroed memory for metadata, never returned, and never in huge
 * pages; NULL if there is none.
 */
void *ghu_sys_alloc(size_t bytes);
/* The same, without commitment (MAP_NORESERVE): for tables used sparsely. */
void *ghu_sys_reserve(size_t bytes);
/* Bytes of addresses that the process may have (RLIMIT_AS); SIZE_MAX: no limit. */
size_t ghu_address_limit(void);

/* The smallest page that any supported machine has. */
#define GHU_MIN_PHYS_PAGE	4096u
/* The hardware's page size, checked; fatal if it makes no sense. */
size_t ghu_phys_page_size(void);

/*
 * Writes "fatal error: WHAT\n" or "fatal error: WHAT: 0xADDR\n" to stderr and aborts.
 * Allocates nothing.
 */
void ghu_fatal(const char *what) __attribute__((noreturn));
void ghu_fatal_addr(const char *what, uintptr_t addr) __attribute__((noreturn));
/* A number in base 10 to 16 as text, somewhere in buf. */
#define GHU_DIGITS	21	/* 2^64 - 1 in base 10, and the end */
const char *ghu_digits(char buf[GHU_DIGITS], uint64_t v, unsigned int base);
/*
 * Formats %s %d %u %lu %zu %lx %p %% into a small buffer and writes it to fd 2.
 * Allocates nothing.
 */
void ghu_print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* CLOCK_MONOTONIC. */
uint64_t ghu_now_ns(void);

#endif
