/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What the page heap in module/core needs of its home, in user space.  The
 * module has a header of the same name; -I chooses.  Both offer the same
 * functions and macros under the kernel's names, and the core includes nothing
 * else: a change here needs its counterpart in module/port/gh_port.h.
 *
 * Nothing here allocates or changes errno.  A pthread mutex serves as the lock
 * because it works before libc is initialised, is known to ThreadSanitizer, and
 * all-zero bytes are a free one.  It remembers its owner, so that, built with
 * GH_PORT_DEBUG, lockdep_assert_held() checks what the kernel's checks only
 * under PROVE_LOCKING.
 */
#ifndef GH_PORT_H
#define GH_PORT_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define likely(x)	__builtin_expect(!!(x), 1)
#define unlikely(x)	__builtin_expect(!!(x), 0)

#define READ_ONCE(x)		(*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v)	(*(volatile __typeof__(x) *)&(x) = (v))

#define min(a, b) ({			\
	__typeof__(a) min_a = (a);	\
	__typeof__(b) min_b = (b);	\
	min_a < min_b ? min_a : min_b; })
#define max(a, b) ({			\
	__typeof__(a) max_a = (a);	\
	__typeof__(b) max_b = (b);	\
	max_a > max_b ? max_a : max_b; })

#define ALIGN(x, a)	(((x) + ((__typeof__(x))(a) - 1)) & ~((__typeof__(x))(a) - 1))
#define ALIGN_DOWN(x, a)	((x) & ~((__typeof__(x))(a) - 1))
#define IS_ALIGNED(x, a)	(((x) & ((__typeof__(x))(a) - 1)) == 0)

#define container_of(p, type, member)	((type *)((char *)(p) - offsetof(type, member)))

/*
 * How records of spans are asked for.  So long that little is left of a chunk when its
 * pages are given back, which is the first one; and so short that it is no mapping of
 * its own.
 */
#ifndef GH_CHUNK_BYTES
#define GH_CHUNK_BYTES	(60 << 10)
#endif

static inline bool is_power_of_2(unsigned long n)
{
	return n && !(n & (n - 1));
}

/* Bits */

#define BITS_PER_LONG	(8 * sizeof(unsigned long))
#define DECLARE_BITMAP(name, bits) \
	unsigned long name[((bits) + BITS_PER_LONG - 1) / BITS_PER_LONG]

static inline void __set_bit(unsigned long nr, unsigned long *map)
{
	map[nr / BITS_PER_LONG] |= 1UL << (nr % BITS_PER_LONG);
}

static inline void __clear_bit(unsigned long nr, unsigned long *map)
{
	map[nr / BITS_PER_LONG] &= ~(1UL << (nr % BITS_PER_LONG));
}

static inline bool test_bit(unsigned long nr, const unsigned long *map)
{
	return map[nr / BITS_PER_LONG] >> (nr % BITS_PER_LONG) & 1;
}

/* The first bit that is set in [from, size), or size. */
static inline unsigned long find_next_bit(const unsigned long *map,
					  unsigned long size, unsigned long from)
{
	while (from < size) {
		unsigned long word = map[from / BITS_PER_LONG] >> (from % BITS_PER_LONG);

		if (word)
			return min(from + __builtin_ctzl(word), size);
		from = (from / BITS_PER_LONG + 1) * BITS_PER_LONG;
	}
	return size;
}

/* Warnings */

static inline void gh_port_say(const char *what, const char *where)
{
	ssize_t done;

	done = write(STDERR_FILENO, what, strlen(what));
	done += write(STDERR_FILENO, where, strlen(where));
	done += write(STDERR_FILENO, "\n", 1);
	(void)done;
}

#define GH_PORT_STR1(x)	#x
#define GH_PORT_STR(x)	GH_PORT_STR1(x)
#define GH_PORT_HERE	__FILE__ ":" GH_PORT_STR(__LINE__)

#ifdef GH_PORT_DEBUG
#define WARN_ON_ONCE(cond) ({						\
	bool warn_cond = !!(cond);					\
									\
	if (unlikely(warn_cond)) {					\
		gh_port_say("WARNING: " #cond " at ", GH_PORT_HERE);	\
		abort();						\
	}								\
	warn_cond; })
#else
#define WARN_ON_ONCE(cond)	unlikely(!!(cond))
#endif

/* The lock */

struct mutex {
	pthread_mutex_t mutex;
	pthread_t owner;
	bool held;
};

static inline void mutex_init(struct mutex *lock)
{
	memset(lock, 0, sizeof(*lock));
}

static inline void mutex_lock(struct mutex *lock)
{
	pthread_mutex_lock(&lock->mutex);
	WRITE_ONCE(lock->owner, pthread_self());
	WRITE_ONCE(lock->held, true);
}

static inline int mutex_trylock(struct mutex *lock)
{
	if (pthread_mutex_trylock(&lock->mutex))
		return 0;
	WRITE_ONCE(lock->owner, pthread_self());
	WRITE_ONCE(lock->held, true);
	return 1;
}

static inline void mutex_unlock(struct mutex *lock)
{
	WRITE_ONCE(lock->held, false);
	pthread_mutex_unlock(&lock->mutex);
}

#ifdef GH_PORT_DEBUG
static inline void gh_port_assert_held(const struct mutex *lock, const char *where)
{
	if (lock->held && pthread_equal(lock->owner, pthread_self()))
		return;
	gh_port_say("lock not held at ", where);
	abort();
}
#define lockdep_assert_held(lock)	gh_port_assert_held(lock, GH_PORT_HERE)
#else
#define lockdep_assert_held(lock)	((void)(lock))
#endif

/*
 * Zeroed memory for metadata.  May sleep, and is never called with a lock held.
 * Defined by whoever links the core.
 */
void *gh_meta_alloc(size_t bytes);
void gh_meta_free(void *p, size_t bytes);

#endif /* GH_PORT_H */
