// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * C++ operator new and delete in all their forms, by their mangled names, so that
 * neither a C++ compiler is needed nor a C++ library: what they need of the latter
 * is referred to weakly, and is there in every program that can call them.
 *
 * A new that finds no memory calls the new handler until there is some, or until
 * there is no handler; then it throws std::bad_alloc, or returns NULL if it is a
 * nothrow one.  Handlers may throw: this file is compiled with unwind tables.
 *
 * Sizes are size_t, which is mangled as unsigned long ("m") where this is built for.
 */
#include <stdlib.h>
#include "sys.h"

_Static_assert(sizeof(size_t) == sizeof(unsigned long), "size_t is mangled as m");

#define DEFAULT_ALIGN	16

/* std::get_new_handler() and std::__throw_bad_alloc(). */
__attribute__((weak)) void (*_ZSt15get_new_handlerv(void))(void);
__attribute__((weak, noreturn)) void _ZSt17__throw_bad_allocv(void);

static void *try_alloc(size_t size, size_t align)
{
	void *p = NULL;

	if (align <= DEFAULT_ALIGN)
		return malloc(size);
	return posix_memalign(&p, align, size) ? NULL : p;
}

/* False: there is no handler. */
static bool call_new_handler(void)
{
	void (*handler)(void) = _ZSt15get_new_handlerv ? _ZSt15get_new_handlerv() : NULL;

	if (handler)
		handler();
	return handler;
}

static ghu_noinline void *new_slow(size_t size, size_t align, bool throws)
{
	void *p = NULL;

	while (!p && call_new_handler())
		p = try_alloc(size, align);
	if (p || !throws)
		return p;
	if (_ZSt17__throw_bad_allocv)
		_ZSt17__throw_bad_allocv();
	ghu_fatal("out of memory");
}

static inline void *new(size_t size, size_t align, bool throws)
{
	void *p = try_alloc(size, align);

	return ghu_likely(p) ? p : new_slow(size, align, throws);
}

#define NEW(name)							\
	void *name(size_t size);					\
	ghu_export void *name(size_t size)				\
	{								\
		return new(size, 0, true);				\
	}
#define NEW_NOTHROW(name)						\
	void *name(size_t size, const void *tag);			\
	ghu_export void *name(size_t size, const void *tag)		\
	{								\
		(void)tag;						\
		return new(size, 0, false);				\
	}
#define NEW_ALIGNED(name)						\
	void *name(size_t size, size_t align);				\
	ghu_export void *name(size_t size, size_t align)		\
	{								\
		return new(size, align, true);				\
	}
#define NEW_ALIGNED_NOTHROW(name)					\
	void *name(size_t size, size_t align, const void *tag);		\
	ghu_export void *name(size_t size, size_t align, const void *tag) \
	{								\
		(void)tag;						\
		return new(size, align, false);				\
	}
/* The size, the alignment and the tag tell nothing that the span does not. */
#define DELETE(name)							\
	void name(void *p);						\
	ghu_export void name(void *p)					\
	{								\
		free(p);						\
	}

NEW(_Znwm)
NEW(_Znam)
NEW_NOTHROW(_ZnwmRKSt9nothrow_t)
NEW_NOTHROW(_ZnamRKSt9nothrow_t)
NEW_ALIGNED(_ZnwmSt11align_val_t)
NEW_ALIGNED(_ZnamSt11align_val_t)
NEW_ALIGNED_NOTHROW(_ZnwmSt11align_val_tRKSt9nothrow_t)
NEW_ALIGNED_NOTHROW(_ZnamSt11align_val_tRKSt9nothrow_t)

DELETE(_ZdlPv)
DELETE(_ZdaPv)
DELETE(_ZdlPvm)
DELETE(_ZdaPvm)
DELETE(_ZdlPvRKSt9nothrow_t)
DELETE(_ZdaPvRKSt9nothrow_t)
DELETE(_ZdlPvSt11align_val_t)
DELETE(_ZdaPvSt11align_val_t)
DELETE(_ZdlPvmSt11align_val_t)
DELETE(_ZdaPvmSt11align_val_t)
DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t)
DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t)
