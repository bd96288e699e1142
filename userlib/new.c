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
 * A program may replace some of the operators only, so those that the standard
 * defines by others call these, as the C++ library's do: arrays the operator for one
 * object, and delete with a size the one without.  new without exceptions cannot catch
 * those of a new that was replaced.
 *
 * A delete that is told a size or an alignment compares it with the object: new is
 * never followed by realloc(), so the class must be that of the size.  What free() would
 * complain about is left to it.
 *
 * Sizes are size_t, which is mangled as unsigned long ("m") where this is built for.
 */
#include <stdlib.h>
#include "few.h"
#include "mcache.h"
#include "misuse.h"
#include "mspan.h"
#include "pagemap.h"
#include "stack.h"

_Static_assert(sizeof(size_t) == sizeof(unsigned long), "size_t is mangled as m");

#define DEFAULT_ALIGN	16

/* std::get_new_handler() and std::__throw_bad_alloc(). */
__attribute__((weak)) void (*_ZSt15get_new_handlerv(void))(void);
__attribute__((weak, noreturn)) void _ZSt17__throw_bad_allocv(void);

static void *try_alloc(size_t size, size_t align)
{
	void *p = NULL;

	ghu_few_end();
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

static ghu_on_stack ghu_noinline void *new_slow(size_t size, size_t align, bool throws)
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

#define DECLARE(type, name, ...)					\
	type name(__VA_ARGS__);						\
	ghu_export type name(__VA_ARGS__)

/* The name's own function here, whatever the name stands for in the program. */
#define OWN(own, type, name, ...)					\
	static type own(__VA_ARGS__) __attribute__((alias(name)))

/* Whether the program has an operator of its own; the compiler must not know the answer. */
#define IS_REPLACED(name, own) __extension__ ({				\
	__typeof__(&(name)) in_use = (name);				\
	__asm__("" : "+r" (in_use));					\
	in_use != (own);						\
})

/* ---- new ---- */

ghu_on_stack DECLARE(void *, _Znwm, size_t size)
{
	return new(size, 0, true);
}

OWN(own_new, void *, "_Znwm", size_t size);

DECLARE(void *, _ZnwmSt11align_val_t, size_t size, size_t align)
{
	return new(size, align, true);
}

OWN(own_new_aligned, void *, "_ZnwmSt11align_val_t", size_t size, size_t align);

DECLARE(void *, _ZnwmRKSt9nothrow_t, size_t size, const void *tag)
{
	(void)tag;
	if (ghu_unlikely(IS_REPLACED(_Znwm, own_new)))
		return _Znwm(size);
	return new(size, 0, false);
}

DECLARE(void *, _ZnwmSt11align_val_tRKSt9nothrow_t, size_t size, size_t align, const void *tag)
{
	(void)tag;
	if (ghu_unlikely(IS_REPLACED(_ZnwmSt11align_val_t, own_new_aligned)))
		return _ZnwmSt11align_val_t(size, align);
	return new(size, align, false);
}

DECLARE(void *, _Znam, size_t size)
{
	return _Znwm(size);
}

DECLARE(void *, _ZnamSt11align_val_t, size_t size, size_t align)
{
	return _ZnwmSt11align_val_t(size, align);
}

DECLARE(void *, _ZnamRKSt9nothrow_t, size_t size, const void *tag)
{
	return _ZnwmRKSt9nothrow_t(size, tag);
}

DECLARE(void *, _ZnamSt11align_val_tRKSt9nothrow_t, size_t size, size_t align, const void *tag)
{
	return _ZnwmSt11align_val_tRKSt9nothrow_t(size, align, tag);
}

/* ---- delete ---- */

DECLARE(void, _ZdlPv, void *p)
{
	free(p);
}

OWN(own_delete, void, "_ZdlPv", void *p);

DECLARE(void, _ZdaPv, void *p)
{
	_ZdlPv(p);
}

OWN(own_delete_array, void, "_ZdaPv", void *p);

DECLARE(void, _ZdlPvSt11align_val_t, void *p, size_t align)
{
	if (ghu_unlikely(!ghu_is_aligned(p, align)))
		ghu_fatal_addr("delete: wrong alignment", (uintptr_t)p);
	free(p);
}

OWN(own_delete_aligned, void, "_ZdlPvSt11align_val_t", void *p, size_t align);

DECLARE(void, _ZdaPvSt11align_val_t, void *p, size_t align)
{
	_ZdlPvSt11align_val_t(p, align);
}

OWN(own_delete_array_aligned, void, "_ZdaPvSt11align_val_t", void *p, size_t align);

/* ---- delete, with the size that new was called with ---- */

/* 0: it has none. */
static inline size_t class_of(size_t size)
{
	if (ghu_likely(size <= GHU_SMALL_SIZE_MAX))
		return ghu_size_to_class(size);
	return size <= GHU_MAX_SMALL_SIZE ? ghu_size_to_class(size) : 0;
}

/* Null, or large, or wrong in some way. */
static ghu_noinline void delete_slow(void *p, size_t size)
{
	if (!ghu_is_object(p, size))
		ghu_fatal_addr("delete: wrong size", (uintptr_t)p);
	free(p);
}

/* As free(), where the class that the span has is the size's too. */
static inline void delete_sized(void *p, size_t size)
{
	ghu_pagemap_t e = ghu_pagemap_entry((uintptr_t)p);

	if (ghu_unlikely(ghu_entry_class(e) != class_of(size) ||
			 !ghu_mcache_free(e, (uintptr_t)p)))
		delete_slow(p, size);
}

static void delete_aligned_sized(void *p, size_t size, size_t align)
{
	if (!ghu_is_aligned(p, align))
		ghu_fatal_addr("delete: wrong alignment", (uintptr_t)p);
	if (!(align <= DEFAULT_ALIGN ? ghu_is_object(p, size)
				     : ghu_is_aligned_object(p, align, size)))
		ghu_fatal_addr("delete: wrong size", (uintptr_t)p);
	free(p);
}

DECLARE(void, _ZdlPvm, void *p, size_t size)
{
	if (ghu_unlikely(IS_REPLACED(_ZdlPv, own_delete)))
		_ZdlPv(p);
	else
		delete_sized(p, size);
}

DECLARE(void, _ZdaPvm, void *p, size_t size)
{
	if (ghu_unlikely(IS_REPLACED(_ZdaPv, own_delete_array) ||
			 IS_REPLACED(_ZdlPv, own_delete)))
		_ZdaPv(p);
	else
		delete_sized(p, size);
}

DECLARE(void, _ZdlPvmSt11align_val_t, void *p, size_t size, size_t align)
{
	if (IS_REPLACED(_ZdlPvSt11align_val_t, own_delete_aligned))
		_ZdlPvSt11align_val_t(p, align);
	else
		delete_aligned_sized(p, size, align);
}

DECLARE(void, _ZdaPvmSt11align_val_t, void *p, size_t size, size_t align)
{
	if (IS_REPLACED(_ZdaPvSt11align_val_t, own_delete_array_aligned) ||
	    IS_REPLACED(_ZdlPvSt11align_val_t, own_delete_aligned))
		_ZdaPvSt11align_val_t(p, align);
	else
		delete_aligned_sized(p, size, align);
}

/* ---- delete, of what a nothrow new made whose constructor threw ---- */

DECLARE(void, _ZdlPvRKSt9nothrow_t, void *p, const void *tag)
{
	(void)tag;
	_ZdlPv(p);
}

DECLARE(void, _ZdaPvRKSt9nothrow_t, void *p, const void *tag)
{
	(void)tag;
	_ZdaPv(p);
}

DECLARE(void, _ZdlPvSt11align_val_tRKSt9nothrow_t, void *p, size_t align, const void *tag)
{
	(void)tag;
	_ZdlPvSt11align_val_t(p, align);
}

DECLARE(void, _ZdaPvSt11align_val_tRKSt9nothrow_t, void *p, size_t align, const void *tag)
{
	(void)tag;
	_ZdaPvSt11align_val_t(p, align);
}
