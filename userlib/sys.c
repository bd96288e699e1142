// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The library's way to the system, without libc where libc could call back into
 * malloc, set errno, be interposed, or not be initialised yet: system calls are
 * made here by hand, numbers are formatted here, and the lock is four bytes and
 * a futex.
 *
 * The lock's word is 0 when free, 1 when held, and 2 when held and somebody
 * sleeps on it (or did a moment ago).  A waiter that gets the lock leaves the
 * word at 2, because it cannot know whether others still sleep; the price is at
 * most one needless wake-up.  Waiters spin first: most of the library's critical
 * sections are shorter than a trip into the kernel.
 *
 * The way out is one write() to descriptor 2 and abort(): stdio may hold its own
 * lock, or be waiting for the very lock that is held here.
 */
#include <errno.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "sys.h"

#define GHU_LOCK_SPINS		100

#if defined(__x86_64__)
long ghu_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}
#elif defined(__aarch64__)
long ghu_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
}
#else
long ghu_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	int saved = errno;
	long ret = syscall(nr, a, b, c, d, e, f);

	if (ret == -1)
		ret = -errno;
	errno = saved;
	return ret;
}
#endif

long ghu_mmap(uintptr_t hint, size_t bytes, int prot, int flags, int fd, uint64_t off)
{
	return ghu_syscall(SYS_mmap, (long)hint, (long)bytes, prot, flags, fd, (long)off);
}

long ghu_munmap(uintptr_t addr, size_t bytes)
{
	return ghu_syscall(SYS_munmap, (long)addr, (long)bytes, 0, 0, 0, 0);
}

long ghu_mprotect(uintptr_t addr, size_t bytes, int prot)
{
	return ghu_syscall(SYS_mprotect, (long)addr, (long)bytes, prot, 0, 0, 0);
}

long ghu_madvise(uintptr_t addr, size_t bytes, int advice)
{
	return ghu_syscall(SYS_madvise, (long)addr, (long)bytes, advice, 0, 0, 0);
}

static inline void cpu_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield" ::: "memory");
#endif
}

static bool lock_spin(struct ghu_lock *l)
{
	for (int i = 0; i < GHU_LOCK_SPINS; i++) {
		uint32_t free = 0;

		if (!__atomic_load_n(&l->word, __ATOMIC_RELAXED) &&
		    __atomic_compare_exchange_n(&l->word, &free, 1, false,
						__ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return true;
		cpu_relax();
	}
	return false;
}

ghu_noinline void ghu_lock_slow(struct ghu_lock *l)
{
	if (lock_spin(l))
		return;
	while (__atomic_exchange_n(&l->word, 2, __ATOMIC_ACQUIRE))
		ghu_syscall(SYS_futex, (long)&l->word, FUTEX_WAIT_PRIVATE, 2, 0, 0, 0);
}

ghu_noinline void ghu_unlock_slow(struct ghu_lock *l)
{
	ghu_syscall(SYS_futex, (long)&l->word, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
}

static void *sys_map(size_t bytes, int flags)
{
	long ret = ghu_mmap(0, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	if (ghu_is_err(ret))
		return NULL;
	/*
	 * Records are used a page at a time: a huge page would hold more than is used.
	 * Some kernels have no huge pages, which is as well.
	 */
	ghu_madvise((uintptr_t)ret, bytes, MADV_NOHUGEPAGE);
	return (void *)ret;
}

void *ghu_sys_alloc(size_t bytes)
{
	return sys_map(bytes, 0);
}

void *ghu_sys_reserve(size_t bytes)
{
	return sys_map(bytes, MAP_NORESERVE);
}

size_t ghu_address_limit(void)
{
	struct rlimit rl = { RLIM_INFINITY, RLIM_INFINITY };

	ghu_syscall(SYS_prlimit64, 0, RLIMIT_AS, 0, (long)&rl, 0, 0);
	return rl.rlim_cur == RLIM_INFINITY ? SIZE_MAX : rl.rlim_cur;
}

static size_t check_phys_page_size(size_t bytes)
{
	if (!bytes)
		ghu_fatal("failed to get system page size");
	if (bytes < GHU_MIN_PHYS_PAGE) {
		ghu_print("system page size (%zu) is smaller than minimum page size (%u)\n",
			  bytes, GHU_MIN_PHYS_PAGE);
		ghu_fatal("bad system page size");
	}
	if (bytes & (bytes - 1)) {
		ghu_print("system page size (%zu) must be a power of 2\n", bytes);
		ghu_fatal("bad system page size");
	}
	return bytes;
}

size_t ghu_phys_page_size(void)
{
	static size_t checked;
	size_t bytes = __atomic_load_n(&checked, __ATOMIC_RELAXED);

	if (!bytes) {
		bytes = check_phys_page_size(getauxval(AT_PAGESZ));
		__atomic_store_n(&checked, bytes, __ATOMIC_RELAXED);
	}
	return bytes;
}

const char *ghu_digits(char buf[GHU_DIGITS], uint64_t v, unsigned int base)
{
	char *p = buf + GHU_DIGITS - 1;

	*p = '\0';
	do {
		*--p = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	return p;
}

/* A message under construction; what does not fit is cut off. */
struct out {
	size_t len;
	char buf[512];
};

static void out_char(struct out *o, char c)
{
	if (o->len < sizeof(o->buf))
		o->buf[o->len++] = c;
}

static void out_str(struct out *o, const char *s)
{
	while (*s)
		out_char(o, *s++);
}

static void out_num(struct out *o, unsigned long v, unsigned int base)
{
	char digits[GHU_DIGITS];

	out_str(o, ghu_digits(digits, v, base));
}

static void out_int(struct out *o, int v)
{
	if (v < 0)
		out_char(o, '-');
	out_num(o, v < 0 ? -(unsigned long)v : (unsigned long)v, 10);
}

/* The conversion at *fmt, which is the one after a '%'; returns its last character. */
static const char *out_conv(struct out *o, const char *fmt, va_list *ap)
{
	bool wide = *fmt == 'l' || *fmt == 'z';

	if (wide)
		fmt++;
	switch (*fmt) {
	case 's':
		out_str(o, va_arg(*ap, const char *));
		break;
	case 'd':
		out_int(o, va_arg(*ap, int));
		break;
	case 'u':
		out_num(o, wide ? va_arg(*ap, unsigned long) : va_arg(*ap, unsigned int), 10);
		break;
	case 'x':
		out_num(o, va_arg(*ap, unsigned long), 16);
		break;
	case 'p':
		out_str(o, "0x");
		out_num(o, (unsigned long)va_arg(*ap, void *), 16);
		break;
	default:
		out_char(o, *fmt);
	}
	return fmt;
}

static void out_write(const struct out *o)
{
	size_t done = 0;

	while (done < o->len) {
		long ret = ghu_syscall(SYS_write, 2, (long)(o->buf + done),
				       (long)(o->len - done), 0, 0, 0);

		if (ret == -EINTR)
			continue;
		if (ret <= 0)
			return;
		done += (size_t)ret;
	}
}

void ghu_print(const char *fmt, ...)
{
	struct out o = { .len = 0 };
	va_list ap;

	va_start(ap, fmt);
	for (; *fmt; fmt++) {
		if (*fmt == '%' && fmt[1])
			fmt = out_conv(&o, fmt + 1, &ap);
		else
			out_char(&o, *fmt);
	}
	va_end(ap);
	out_write(&o);
}

void ghu_fatal(const char *what)
{
	ghu_print("fatal error: %s\n", what);
	abort();
}

void ghu_fatal_addr(const char *what, uintptr_t addr)
{
	ghu_print("fatal error: %s: %p\n", what, (void *)addr);
	abort();
}

uint64_t ghu_now_ns(void)
{
	struct timespec ts = { 0, 0 };

	ghu_syscall(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&ts, 0, 0, 0, 0);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}
