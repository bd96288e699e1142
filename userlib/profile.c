// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * What is remembered of sampled objects: for each stack and size a bucket that counts what
 * was allocated and freed, and for each object in use a record that tells its bucket.
 *
 * Nobody pays for it who is not sampled.  A thread's window is cut off where the next
 * sample is due (mcache_sample.c), so that the malloc() of a sampled object finds it
 * empty; and the object's state is SAMPLED instead of LIVE, so that free() takes the way
 * that it has for watched objects.  Its record is found by its address.
 *
 * Memory comes from the bump allocator and is bounded: when there is no more, samples are
 * lost, and counted.  Buckets never go away, and are put on the list when they are
 * complete; so a profile is written without a lock, even by a signal handler that
 * interrupted what is here.
 */
#include <string.h>
#include "mspan.h"
#include "pagemap.h"
#include "persistentalloc.h"
#include "profile.h"

#define BUCKET_HEADS	((size_t)1 << 14)
#define RECORD_HEADS	((size_t)1 << 16)

/* A sampled object in use. */
struct record {
	struct record *next;
	uintptr_t addr;
	struct ghu_profile_bucket *bucket;
};

unsigned int ghu_profile_last_rate;
uint64_t ghu_profile_sys, ghu_profile_lost;
uint64_t ghu_profile_sys_max = (uint64_t)64 << 20;
struct ghu_lock ghu_profile_lock;

/* All under the lock. */
static struct ghu_profile_bucket *newest;
static struct ghu_profile_bucket **buckets;
static struct record **records;
static struct record *free_records;

/* The unwinder may allocate. */
static __thread bool busy __attribute__((tls_model("initial-exec")));

struct ghu_profile_bucket *ghu_profile_buckets(void)
{
	return __atomic_load_n(&newest, __ATOMIC_ACQUIRE);
}

/* NULL: there is no memory, or there is enough of it in use. */
static void *alloc_some(size_t bytes)
{
	if (__atomic_load_n(&ghu_profile_sys, __ATOMIC_RELAXED) + bytes > ghu_profile_sys_max)
		return NULL;
	return ghu_persistentalloc_try(bytes, 0, &ghu_profile_sys);
}

static bool make_tables(void)
{
	if (!buckets)
		buckets = alloc_some(BUCKET_HEADS * sizeof(buckets[0]));
	if (!records)
		records = alloc_some(RECORD_HEADS * sizeof(records[0]));
	return buckets && records;
}

/* ---- buckets ---- */

static uint64_t mix(uint64_t h, uint64_t x)
{
	h = (h ^ x) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 29;
}

static uint64_t hash_of(size_t size, const uintptr_t *pcs, unsigned int depth)
{
	uint64_t h = size;

	for (unsigned int i = 0; i < depth; i++)
		h = mix(h, pcs[i]);
	return h;
}

static bool is_of(const struct ghu_profile_bucket *b, uint64_t hash, size_t size,
		  const uintptr_t *pcs, unsigned int depth)
{
	return b->hash == hash && b->size == size && b->depth == depth &&
	       !memcmp(b->pcs, pcs, depth * sizeof(pcs[0]));
}

static struct ghu_profile_bucket *make_bucket(uint64_t hash, size_t size, const uintptr_t *pcs,
					      unsigned int depth)
{
	struct ghu_profile_bucket **head = &buckets[hash % BUCKET_HEADS];
	struct ghu_profile_bucket *b = alloc_some(sizeof(*b) + depth * sizeof(pcs[0]));

	if (!b)
		return NULL;
	b->hash = hash;
	b->size = size;
	b->depth = depth;
	memcpy(b->pcs, pcs, depth * sizeof(pcs[0]));
	b->next_hash = *head;
	*head = b;
	b->next = newest;
	__atomic_store_n(&newest, b, __ATOMIC_RELEASE);
	return b;
}

static struct ghu_profile_bucket *get_bucket(size_t size, const uintptr_t *pcs, unsigned int depth)
{
	uint64_t hash = hash_of(size, pcs, depth);
	struct ghu_profile_bucket *b = buckets[hash % BUCKET_HEADS];

	while (b && !is_of(b, hash, size, pcs, depth))
		b = b->next_hash;
	return b ? b : make_bucket(hash, size, pcs, depth);
}

static void count(uint64_t *n, uint64_t k)
{
	__atomic_store_n(n, *n + k, __ATOMIC_RELEASE);
}

/* ---- records ---- */

static struct record **head_of(uintptr_t addr)
{
	return &records[mix(0, addr) % RECORD_HEADS];
}

static struct record *get_record(void)
{
	struct record *r = free_records;

	if (!r)
		return alloc_some(sizeof(*r));
	free_records = r->next;
	return r;
}

static bool remember_locked(uintptr_t addr, size_t size, const uintptr_t *pcs, unsigned int depth)
{
	struct ghu_profile_bucket *b;
	struct record *r;

	if (!make_tables())
		return false;
	b = get_bucket(size, pcs, depth);
	r = b ? get_record() : NULL;
	if (!r)
		return false;
	*r = (struct record){ *head_of(addr), addr, b };
	*head_of(addr) = r;
	count(&b->allocs, 1);
	ghu_profile_last_rate = ghu_profile_rate();
	return true;
}

static bool forget_locked(uintptr_t addr)
{
	struct record **link = records ? head_of(addr) : NULL, *r;

	while (link && *link && (*link)->addr != addr)
		link = &(*link)->next;
	if (!link || !*link)
		return false;
	r = *link;
	*link = r->next;
	count(&r->bucket->frees, 1);
	r->next = free_records;
	free_records = r;
	return true;
}

/* ---- sampled objects ---- */

static void mark(uintptr_t addr)
{
	struct ghu_mspan *s = ghu_pagemap_get(addr);
	uint32_t index;

	ghu_find_object(s, addr, &index);
	__atomic_store_n(&ghu_states(s)[index], GHU_OBJ_SAMPLED, __ATOMIC_RELEASE);
}

static void remember(uintptr_t addr, size_t size, const uintptr_t *pcs, unsigned int depth)
{
	bool done;

	ghu_lock(&ghu_profile_lock);
	done = remember_locked(addr, size, pcs, depth);
	if (!done)
		count(&ghu_profile_lost, 1);
	ghu_unlock(&ghu_profile_lock);
	if (done)
		mark(addr);
}

ghu_on_stack_rare void ghu_profile_alloc(void *p, size_t size, const uintptr_t *frame)
{
	uintptr_t pcs[GHU_STACK_MAX];

	if (busy)
		return;
	busy = true;
	remember((uintptr_t)p, size, pcs, ghu_stack_walk(pcs, GHU_STACK_MAX, frame));
	busy = false;
}

bool ghu_profile_free(uintptr_t addr)
{
	bool found;

	ghu_lock(&ghu_profile_lock);
	found = forget_locked(addr);
	ghu_unlock(&ghu_profile_lock);
	return found;
}

/* ---- the program's begin and end; here, or a static one would not have them ---- */

static __attribute__((constructor)) void begin(void)
{
	ghu_profile_begin();
}

static __attribute__((destructor)) void end(void)
{
	ghu_profile_end();
}
