// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * One stack of runs for each length from 1 to 32 pages, each with its own lock.
 *
 * A miss makes the caller fetch several runs at once: one the first time, then
 * twice as many each time, up to 16 pages in all, so that a small program does not
 * scatter its few spans over the arena and a busy one makes one call of the backend
 * for 16 spans.  Runs fetched ahead are addresses, or idle memory that the page heap
 * had.  They go below the ones that were in use, whose pages are there and perhaps
 * in the processor's caches: a stack holds first the fetched runs, the lowest address on top, then
 * the used ones, the last one used on top.
 *
 * Used runs hold memory that nobody could give back to the system, because to the
 * backend they are in use.  So there are two bounds: 64 runs of one length, and
 * 128 KiB of used runs in all.  Who exceeds one takes half of a stack out, the
 * used ones that lay longest: of the stack that is full, or else of the one
 * that holds most bytes.  Half, so that a loop at the edge does not call the
 * backend each time.
 *
 * Locks: a stack's lock only, never two but in lock_all(), in order of length.
 */
#include <string.h>
#include "spancache.h"

struct stack {
	struct ghu_lock lock;
	uint8_t nr;		/* runs in it */
	uint8_t nr_ahead;	/* the lowest of them: fetched, not used yet */
	uint8_t want;		/* size of the last fetch */
	uintptr_t run[GHU_SPANCACHE_SLOTS];	/* address, bit 0: needzero */
} __attribute__((aligned(64)));

static ghu_placed_table("stacks") struct stack stacks[GHU_SPANCACHE_PAGES + 1];
/* Bytes of used runs: of each length, under its lock, and of all. */
static size_t used_of[GHU_SPANCACHE_PAGES + 1];
static size_t used_bytes;

static size_t run_bytes(size_t npages)
{
	return npages << GHU_PAGE_SHIFT;
}

/* The stack holds so many used runs more, or fewer. */
static void used_add(size_t npages, int nr)
{
	size_t bytes = (size_t)nr * run_bytes(npages);

	__atomic_store_n(&used_of[npages], used_of[npages] + bytes, __ATOMIC_RELAXED);
	ghu_count(&used_bytes, bytes);
}

size_t ghu_spancache_used_bytes(void)
{
	return __atomic_load_n(&used_bytes, __ATOMIC_RELAXED);
}

size_t ghu_spancache_bytes(void)
{
	size_t bytes = 0;

	for (size_t n = 1; n <= GHU_SPANCACHE_PAGES; n++) {
		ghu_lock(&stacks[n].lock);
		bytes += stacks[n].nr * run_bytes(n);
		ghu_unlock(&stacks[n].lock);
	}
	return bytes;
}

static struct ghu_run unpack(uintptr_t word, size_t npages)
{
	return (struct ghu_run){
		.addr = word & ~(uintptr_t)1,
		.npages = npages,
		.needzero = word & 1,
	};
}

static void pop_locked(struct stack *s, size_t npages, struct ghu_run *run)
{
	*run = unpack(s->run[--s->nr], npages);
	if (s->nr < s->nr_ahead)
		s->nr_ahead = s->nr;
	else
		used_add(npages, -1);
}

bool ghu_spancache_get(size_t npages, struct ghu_run *run)
{
	struct stack *s = &stacks[npages];
	bool found;

	ghu_lock(&s->lock);
	found = s->nr;
	if (found)
		pop_locked(s, npages, run);
	ghu_unlock(&s->lock);
	return found;
}

unsigned int ghu_spancache_want(size_t npages)
{
	struct stack *s = &stacks[npages];
	unsigned int want;

	if (npages > GHU_SPANCACHE_AHEAD / 2)
		return 1;
	ghu_lock(&s->lock);
	want = s->want ? s->want * 2u : 1;
	if (want > GHU_SPANCACHE_AHEAD / npages)
		want = GHU_SPANCACHE_AHEAD / (unsigned int)npages;
	s->want = (uint8_t)want;
	ghu_unlock(&s->lock);
	return want;
}

/* Fetched runs go to the bottom, in descending order from there. */
static unsigned int add_locked(struct stack *s, const struct ghu_run *runs, unsigned int nr)
{
	unsigned int room = GHU_SPANCACHE_SLOTS - s->nr;

	if (nr > room)
		nr = room;
	memmove(s->run + nr, s->run, s->nr * sizeof(s->run[0]));
	for (unsigned int i = 0; i < nr; i++)
		s->run[nr - 1 - i] = runs[i].addr | runs[i].needzero;
	s->nr = (uint8_t)(s->nr + nr);
	s->nr_ahead = (uint8_t)(s->nr_ahead + nr);
	return nr;
}

unsigned int ghu_spancache_add(const struct ghu_run *runs, unsigned int nr)
{
	struct stack *s;
	unsigned int kept;

	if (!nr)
		return 0;
	s = &stacks[runs[0].npages];
	ghu_lock(&s->lock);
	kept = add_locked(s, runs, nr);
	ghu_unlock(&s->lock);
	return kept;
}

/* Takes nr runs out, beginning with run number from. */
static void take_locked(struct stack *s, size_t npages, unsigned int from, unsigned int nr,
			struct ghu_run *out)
{
	for (unsigned int i = 0; i < nr; i++)
		out[i] = unpack(s->run[from + i], npages);
	s->nr = (uint8_t)(s->nr - nr);
	memmove(s->run + from, s->run + from + nr, (s->nr - from) * sizeof(s->run[0]));
}

/* Half of the used runs, those that lay longest. */
static unsigned int take_used_locked(struct stack *s, size_t npages, struct ghu_run *out)
{
	unsigned int nr = (s->nr - s->nr_ahead + 1u) / 2;

	if (nr > GHU_SPANCACHE_BATCH)
		nr = GHU_SPANCACHE_BATCH;
	take_locked(s, npages, s->nr_ahead, nr, out);
	used_add(npages, -(int)nr);
	return nr;
}

/* Half of the fetched runs, those that would be used last. */
static unsigned int take_ahead_locked(struct stack *s, size_t npages, struct ghu_run *out)
{
	unsigned int nr = (s->nr_ahead + 1u) / 2;

	take_locked(s, npages, 0, nr, out);
	s->nr_ahead = (uint8_t)(s->nr_ahead - nr);
	return nr;
}

/* The length whose used runs hold most; a guess, it may have changed already. */
static size_t fullest(void)
{
	size_t best = 1, best_bytes = 0;

	for (size_t n = 1; n <= GHU_SPANCACHE_PAGES; n++) {
		size_t bytes = __atomic_load_n(&used_of[n], __ATOMIC_RELAXED);

		if (bytes > best_bytes) {
			best_bytes = bytes;
			best = n;
		}
	}
	return best;
}

static unsigned int take_fullest(struct ghu_run *out)
{
	size_t npages = fullest();
	struct stack *s = &stacks[npages];
	unsigned int nr;

	ghu_lock(&s->lock);
	nr = take_used_locked(s, npages, out);
	ghu_unlock(&s->lock);
	return nr;
}

/* Makes room in a full stack, at the expense of runs that nobody has used yet. */
static unsigned int make_room_locked(struct stack *s, size_t npages, struct ghu_run *out)
{
	if (s->nr < GHU_SPANCACHE_SLOTS)
		return 0;
	return s->nr_ahead ? take_ahead_locked(s, npages, out)
			   : take_used_locked(s, npages, out);
}

unsigned int ghu_spancache_put(uintptr_t addr, size_t npages, struct ghu_run *out)
{
	struct stack *s = &stacks[npages];
	unsigned int nr;

	ghu_lock(&s->lock);
	nr = make_room_locked(s, npages, out);
	s->run[s->nr++] = addr | 1;
	used_add(npages, 1);
	ghu_unlock(&s->lock);
	if (!nr && ghu_spancache_used_bytes() > GHU_SPANCACHE_BYTES + run_bytes(npages))
		nr = take_fullest(out);
	return nr;
}

unsigned int ghu_spancache_drain(struct ghu_run *out)
{
	unsigned int nr = 0;

	for (size_t n = 1; n <= GHU_SPANCACHE_PAGES && nr < GHU_SPANCACHE_BATCH; n++) {
		struct stack *s = &stacks[n];

		ghu_lock(&s->lock);
		s->want = 0;
		while (s->nr && nr < GHU_SPANCACHE_BATCH)
			pop_locked(s, n, &out[nr++]);
		ghu_unlock(&s->lock);
	}
	return nr;
}

void ghu_spancache_forget(void)
{
	memset(stacks, 0, sizeof(stacks));
	memset(used_of, 0, sizeof(used_of));
	used_bytes = 0;
}

/* Under all of them. */
static bool all_locked;

/* Who is alone need not touch them. */
void ghu_spancache_lock_all(void)
{
	if (ghu_is_alone())
		return;
	for (size_t n = 1; n <= GHU_SPANCACHE_PAGES; n++)
		ghu_lock(&stacks[n].lock);
	all_locked = true;
}

void ghu_spancache_unlock_all(void)
{
	if (!all_locked)
		return;
	all_locked = false;
	for (size_t n = 1; n <= GHU_SPANCACHE_PAGES; n++)
		ghu_unlock(&stacks[n].lock);
}
