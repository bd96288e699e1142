// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The checks that cost too much to be always on: canary, guard, junk, zero, quarantine.
 *
 * The fast paths know nothing of them.  If one is on, no thread gets a cache, so that
 * each malloc() comes to where the window is empty, and here; and spans have no
 * multiplier for dividing, like those of large objects, so that each free() does.
 *
 *   canary      What is behind an object, at least 8 bytes, is filled and compared when
 *               it is freed.  The last 8 bytes tell the size asked for, mixed with
 *               a secret and the address, so malloc_usable_size() is exact and
 *               so is the comparison with the size that a free tells.
 *   guard       A large object has a page behind it that traps.  While it is in the
 *               quarantine all of it does.
 *   junk, zero  What objects are filled with.
 *   quarantine  An object that was freed is put in a table; when that holds too much,
 *               some of it that is picked at random is freed.  If it was filled, it must
 *               still be: else somebody wrote to it.
 *
 *   efence      Each object has pages of its own, which trap when it was freed, for good.
 *   sbrk        What was freed stays as it is, for good.
 *   allocfreetrace  Tells of each allocation and free on stderr.
 *
 * An object in quarantine has a state of its own, so it is neither taken by a sweep nor
 * freed twice, and its span stays; it counts as watched (mcentral.c), since it leaves
 * the way that a watched object does.  The state is changed by compare-and-swap: of
 * two frees at the same instant one is found out.
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include "checked.h"
#include "large.h"
#include "mcentral.h"
#include "options.h"
#include "pagemap.h"
#include "profile.h"
#include "stack.h"

#define TRAILER		sizeof(uint64_t)
#define ROOM_SHIFT	48
#define SLOTS		4096u
/* No more are in use, so that an empty one is soon found. */
#define SLOTS_USED_MAX	(SLOTS / 4 * 3)
/* An object that would push out more than this part of all others does not wait. */
#define LARGEST_PART	4u
/* Of one that takes addresses only, this part counts. */
#define ADDRESS_PART	64u
#define NOT_FILLED	(-1)

struct held {
	struct ghu_mspan *span;
	uint32_t index;
	int fill;		/* what each byte is, or NOT_FILLED */
	bool trapped;		/* nobody can read or write it, and it has no memory */
	size_t bytes;
};

struct ghu_lock ghu_checked_lock;

static uint64_t secret;

/* Under the lock. */
static ghu_table struct held held[SLOTS];
static size_t held_cost;
static unsigned int nr_held;
static uint64_t random_state;

/* Not 0.  The same numbers are never drawn twice in a process that can get random ones. */
static uint64_t draw(void)
{
	uint64_t drawn = ghu_now_ns() ^ (uintptr_t)&drawn;

	ghu_syscall(SYS_getrandom, (long)&drawn, sizeof(drawn), 1 /* GRND_NONBLOCK */, 0, 0, 0);
	return drawn | 1;
}

static ghu_noinline void draw_secret(void)
{
	ghu_lock(&ghu_checked_lock);
	if (!secret)
		__atomic_store_n(&secret, draw(), __ATOMIC_RELAXED);
	ghu_unlock(&ghu_checked_lock);
}

bool ghu_checked_perturb(int value)
{
	if (!ghu_checked_on())
		return false;
	__atomic_store_n(&ghu_options.junk, (unsigned int)value & 255, __ATOMIC_RELAXED);
	return true;
}

/* ---- the canary ---- */

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static uint64_t hash(const void *p, uint64_t room)
{
	if (ghu_unlikely(!__atomic_load_n(&secret, __ATOMIC_RELAXED)))
		draw_secret();
	return mix((uintptr_t)p ^ room << ROOM_SHIFT ^ __atomic_load_n(&secret, __ATOMIC_RELAXED));
}

/* What is between an object and the trailer is filled with; no common value. */
static int fill_of(const void *p)
{
	return (int)(hash(p, 0) & 255) | 129;
}

/*
 * The trailer of an object that has so much room behind it, less than 64 KiB: two bytes
 * tell the room, and come last; the six that are written over first are a hash of
 * that too.
 */
static uint64_t trailer_of(const void *p, uint64_t room)
{
	uint64_t low = ((uint64_t)1 << ROOM_SHIFT) - 1;

	return (hash(p, room) & low) | ((room << ROOM_SHIFT) ^ (hash(p, 0) & ~low));
}

static uint64_t room_of(const void *p, uint64_t trailer)
{
	return (trailer ^ hash(p, 0)) >> ROOM_SHIFT;
}

static bool has_canary(const struct ghu_mspan *s)
{
	return ghu_options.canary && ghu_mspan_class(s) != GHU_ZERO_CLASS;
}

static void write_canary(const struct ghu_mspan *s, char *p, size_t size)
{
	size_t bytes = ghu_raw_bytes(s), room = bytes - size;
	uint64_t trailer = trailer_of(p, room);

	memset(p + size, fill_of(p), room - TRAILER);
	memcpy(p + bytes - TRAILER, &trailer, TRAILER);
}

static bool is_filled(const char *p, size_t bytes, int byte)
{
	return !bytes || ((unsigned char)*p == (unsigned char)byte && !memcmp(p, p + 1, bytes - 1));
}

/* False: it was written to. */
static bool read_canary(const struct ghu_mspan *s, const char *p, size_t *size)
{
	size_t bytes = ghu_raw_bytes(s);
	uint64_t trailer, room;

	memcpy(&trailer, p + bytes - TRAILER, TRAILER);
	room = room_of(p, trailer);
	if (room < TRAILER || room > bytes || trailer != trailer_of(p, room))
		return false;
	*size = bytes - room;
	return is_filled(p + *size, room - TRAILER, fill_of(p));
}

size_t ghu_checked_size(const struct ghu_mspan *s, const void *p)
{
	size_t size;

	if (!has_canary(s))
		return ghu_raw_bytes(s);
	if (!read_canary(s, p, &size))
		ghu_fatal_addr("object was overrun", (uintptr_t)p);
	return size;
}

bool ghu_checked_differs(const struct ghu_mspan *s, const void *p, size_t size)
{
	if (ghu_mspan_class(s) == GHU_ZERO_CLASS)
		return size;
	return has_canary(s) && ghu_checked_size(s, p) != size;
}

/* ---- allocfreetrace ---- */

/* As Go has it.  What is allocated for it, by the unwinder, is not told of. */
static void trace(const char *what, const void *p, size_t size)
{
	static __thread bool busy __attribute__((tls_model("initial-exec")));
	uintptr_t pcs[GHU_STACK_MAX];

	if (busy)
		return;
	busy = true;
	ghu_print("%s(%p, 0x%lx)\n", what, p, size);
	ghu_stack_print(pcs, ghu_stack_walk(pcs, GHU_STACK_MAX, NULL));
	busy = false;
}

/* ---- malloc ---- */

ghu_on_stack_rare void *ghu_checked_alloc(size_t size, size_t align, bool *needzero)
{
	bool is_zero = !size && align <= GHU_ZERO_STRIDE;
	unsigned int junk = __atomic_load_n(&ghu_options.junk, __ATOMIC_RELAXED);
	size_t extra = ghu_options.canary && !is_zero ? TRAILER : 0;
	char *p = ghu_raw_alloc(size + extra, align, needzero);

	if (p && ghu_options.allocfreetrace)
		trace("tracealloc", p, size);
	if (!p || is_zero)
		return p;
	if (junk) {
		memset(p, (int)(junk ^ 255), size);
		*needzero = true;
	}
	if (extra)
		write_canary(ghu_pagemap_get((uintptr_t)p), p, size);
	return p;
}

/* ---- free ---- */

static char *address_of(const struct held *h)
{
	return (char *)h->span->base + (size_t)h->index * h->span->elemsize;
}

/* False: the object is not live.  A sampled one is forgotten by who claimed it. */
static bool claim(struct ghu_mspan *s, uint32_t index)
{
	uint8_t *state = &ghu_states(s)[index], old = ghu_state(state);

	do {
		if (!ghu_is_live(old))
			return false;
	} while (!__atomic_compare_exchange_n(state, &old, GHU_OBJ_HELD, false,
					      __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	if (old == GHU_OBJ_SAMPLED)
		ghu_profile_free(s->base + (uintptr_t)index * s->elemsize);
	return true;
}

/* Where there may be no more mappings it goes without. */
static void protect(const struct held *h)
{
	uintptr_t addr = (uintptr_t)address_of(h);

	ghu_madvise(addr, h->bytes, MADV_DONTNEED);
	ghu_mprotect(addr, h->bytes, PROT_NONE);
}

/* False, for the same reason: its addresses are lost. */
static bool unprotect(const struct held *h)
{
	return !ghu_mprotect((uintptr_t)address_of(h), h->bytes, PROT_READ | PROT_WRITE);
}

static void fill(struct held *h)
{
	unsigned int junk = __atomic_load_n(&ghu_options.junk, __ATOMIC_RELAXED);

	h->fill = NOT_FILLED;
	if (!h->bytes)
		return;
	if (h->trapped) {
		protect(h);
	} else if (junk || ghu_options.zero) {
		h->fill = (int)junk;
		memset(address_of(h), h->fill, h->bytes);
	}
}

/* For good. */
static void release(const struct held *h)
{
	struct ghu_mspan *s = h->span;

	if (h->trapped && !unprotect(h))
		return;
	if (h->fill != NOT_FILLED && !is_filled(address_of(h), h->bytes, h->fill))
		ghu_fatal_addr("object was written to after free", (uintptr_t)address_of(h));
	if (ghu_mspan_class(s))
		ghu_mcentral_free_watched(s, h->index, GHU_OBJ_HELD);
	else
		ghu_large_free(s, GHU_OBJ_HELD);
}

/* The first slot that is in use, or is not, around from a random one; there is one. */
static struct held *random_slot(bool in_use)
{
	struct held *h;

	if (!random_state)
		random_state = draw();
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	h = &held[random_state % SLOTS];
	while (!h->span == in_use)
		h = h == held + SLOTS - 1 ? held : h + 1;
	return h;
}

static size_t limit(void)
{
	return (size_t)ghu_options.quarantine << 10;
}

static size_t cost(const struct held *h)
{
	return h->trapped ? h->bytes / ADDRESS_PART : h->bytes;
}

static bool is_too_much(void)
{
	return nr_held > SLOTS_USED_MAX || held_cost > limit();
}

/* False: as many threads as there are slots to spare are about to take one. */
static bool put_held(const struct held *h)
{
	bool room;

	ghu_lock(&ghu_checked_lock);
	room = nr_held < SLOTS;
	if (room) {
		*random_slot(false) = *h;
		held_cost += cost(h);
		nr_held++;
	}
	ghu_unlock(&ghu_checked_lock);
	return room;
}

/* What is to be released so that it is not too much.  False: nothing. */
static bool take_surplus(struct held *h)
{
	struct held *slot;
	bool too_much;

	ghu_lock(&ghu_checked_lock);
	too_much = is_too_much();
	if (too_much) {
		slot = random_slot(true);
		*h = *slot;
		slot->span = NULL;
		held_cost -= cost(h);
		nr_held--;
	}
	ghu_unlock(&ghu_checked_lock);
	return too_much;
}

static void hold(struct held *h)
{
	if (!put_held(h))
		release(h);
	while (take_surplus(h))
		release(h);
}

/* Whether it will never be released. */
static bool is_for_good(const struct held *h)
{
	if (ghu_options.efence && h->bytes)
		protect(h);
	return ghu_options.efence || ghu_options.sbrk;
}

ghu_on_stack_rare void ghu_checked_free(uintptr_t addr)
{
	struct held h = { .span = ghu_pagemap_lookup(addr) };
	bool may_wait;
	size_t size;

	if (!h.span || !ghu_find_object(h.span, addr, &h.index))
		ghu_bad_free(addr);
	if (!claim(h.span, h.index))
		ghu_bad_free(addr);
	size = ghu_checked_size(h.span, (void *)addr);
	if (ghu_options.allocfreetrace)
		trace("tracefree", (void *)addr, size);
	h.bytes = ghu_raw_bytes(h.span);
	if (is_for_good(&h))
		return;
	h.trapped = ghu_options.quarantine && h.span->guarded;
	may_wait = h.bytes && cost(&h) <= limit() / LARGEST_PART;
	h.trapped &= may_wait;
	fill(&h);
	if (may_wait) {
		hold(&h);
	} else {
		h.fill = NOT_FILLED;
		release(&h);
	}
}
