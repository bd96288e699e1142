// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * From page number to span, and where the records come from.
 *
 * The table has two levels.  A leaf covers 2 MiB of addresses.  If one run
 * covers all of a leaf, the leaf names it as its owner, and needs no table of
 * entries: a span of 100 GiB costs 50,000 stores, not 13 million, and the
 * scavenger, which splits at 2 MiB boundaries, needs no memory to do so.  The
 * rule that makes it work: where a run begins or ends inside a leaf, that leaf
 * has a table and no owner.
 *
 * Every page of a span in use leads to its record.  Of other runs only the first
 * and the last page do; what lies between is whatever it was.  A stale entry may
 * name a record that was reused, so whoever looks up a page that need not be an
 * end compares the record's range with the page.  A leaf that one run covers whole has an
 * owner, if only a stale one, or no table: so the run is found by steps over leaves, and
 * from page to page only in the two leaves where it begins and ends.
 *
 * The root grows with the used part of the arena, by doubling.  Tables and
 * records are fetched without the lock by the refill functions, and kept as spare ones
 * until a call under the lock wants them.  Records come in chunks and stay until
 * the heap ends; they are touched when they are first used.  The pages of a chunk whose
 * records are all spare may be given back, if the home can see to it that they can
 * still be read: then they read as zeros, which is a record that is dead.
 */
#include <gh_port.h>
#include "mheap.h"

#define GH_ROOT_MIN	64

/* Spare records that gh_records_refill() leaves, above what the calls' check asks for. */
#define GH_REFILL_EXTRA	8

static u64 leaf_of(const struct gh_spans *sp, u64 page)
{
	return (page >> GH_LEAF_SHIFT) - sp->first_leaf;
}

static u64 leaf_start(const struct gh_spans *sp, u64 leaf)
{
	return (leaf + sp->first_leaf) << GH_LEAF_SHIFT;
}

static bool covers(const struct gh_spans *sp, const struct gh_mspan *s, u64 leaf)
{
	u64 start = leaf_start(sp, leaf);

	return s->start <= start && gh_mspan_end(s) >= start + GH_LEAF_PAGES;
}

struct gh_mspan *gh_spans_get(const struct gh_spans *sp, u64 page)
{
	const struct gh_leaf *leaf = &sp->root[leaf_of(sp, page)];

	if (leaf->owner)
		return leaf->owner;
	return leaf->table ? leaf->table[page & GH_LEAF_MASK] : NULL;
}

/*
 * Where gh_spans_find() looks after @page: one page back in a leaf's table, else
 * before the leaf, since no run that does not cover it begins there.
 */
static u64 page_before(const struct gh_spans *sp, u64 page)
{
	const struct gh_leaf *leaf = &sp->root[leaf_of(sp, page)];

	if (!leaf->owner && leaf->table)
		return page - 1;
	return (page & ~(u64)GH_LEAF_MASK) - 1;
}

/* @steps: from page to page, after which it is NULL. */
static struct gh_mspan *find(const struct gh_spans *sp, u64 page, u64 steps)
{
	u64 first = leaf_start(sp, 0);
	u64 at = page, before;

	for (;;) {
		struct gh_mspan *s = gh_spans_get(sp, at);

		if (s && s->state != GH_SPAN_DEAD &&
		    s->start <= page && page < gh_mspan_end(s))
			return s;
		before = page_before(sp, at);
		if (before == at - 1 && !steps--)
			return NULL;
		at = before;
		if (WARN_ON_ONCE(at + 1 <= first))
			return NULL;
	}
}

struct gh_mspan *gh_spans_find(const struct gh_spans *sp, u64 page)
{
	return find(sp, page, ~0ULL);
}

/* Only the leaf in which a released run begins has stale entries of it in a table. */
struct gh_mspan *gh_spans_find_released(const struct gh_spans *sp, u64 page)
{
	return find(sp, page, GH_LEAF_PAGES);
}

bool gh_spans_room(struct gh_spans *sp, u64 end)
{
	u64 need = leaf_of(sp, end - 1) + 1;

	if (need <= sp->nr_root)
		return true;
	sp->want_root = max(sp->want_root, need);
	return false;
}

unsigned int gh_spans_missing(const struct gh_spans *sp, u64 page)
{
	return (page & GH_LEAF_MASK) && !sp->root[leaf_of(sp, page)].table;
}

/* The one that was allocated first lies next to what is used. */
static struct gh_mspan **take_table(struct gh_spans *sp)
{
	struct gh_mspan **table = sp->spare[0];

	sp->spare[0] = sp->spare[--sp->nr_spare];
	return table;
}

void gh_spans_cut(struct gh_spans *sp, u64 page)
{
	struct gh_leaf *leaf = &sp->root[leaf_of(sp, page)];

	if (!(page & GH_LEAF_MASK))
		return;
	if (!leaf->table)
		leaf->table = take_table(sp);
	leaf->owner = NULL;
}

static void fill_leaf(struct gh_spans *sp, struct gh_mspan *s, u64 nr)
{
	struct gh_leaf *leaf = &sp->root[nr];
	u64 page, end;

	if (covers(sp, s, nr)) {
		leaf->owner = s;
		return;
	}
	page = max(s->start, leaf_start(sp, nr));
	end = min(gh_mspan_end(s), leaf_start(sp, nr + 1));
	for (; page < end; page++)
		leaf->table[page & GH_LEAF_MASK] = s;
}

void gh_spans_fill(struct gh_spans *sp, struct gh_mspan *s, u64 from, u64 to)
{
	u64 leaf;

	for (leaf = leaf_of(sp, from); leaf <= leaf_of(sp, to - 1); leaf++)
		fill_leaf(sp, s, leaf);
}

static void set_page(struct gh_spans *sp, struct gh_mspan *s, u64 page)
{
	u64 nr = leaf_of(sp, page);

	if (covers(sp, s, nr))
		sp->root[nr].owner = s;
	else
		sp->root[nr].table[page & GH_LEAF_MASK] = s;
}

void gh_spans_own(struct gh_spans *sp, struct gh_mspan *s, u64 page)
{
	u64 nr = leaf_of(sp, page);

	if (covers(sp, s, nr))
		sp->root[nr].owner = s;
}

bool gh_spans_are_owned(const struct gh_spans *sp, const struct gh_mspan *s)
{
	u64 nr;

	for (nr = leaf_of(sp, s->start); nr <= leaf_of(sp, gh_mspan_end(s) - 1); nr++)
		if (covers(sp, s, nr) && !sp->root[nr].owner && sp->root[nr].table)
			return false;
	return true;
}

void gh_spans_set_ends(struct gh_spans *sp, struct gh_mspan *s)
{
	set_page(sp, s, s->start);
	set_page(sp, s, gh_mspan_end(s) - 1);
}

static struct gh_mspan_chunk *chunk_of(struct gh_mspan *s)
{
	return container_of(s - s->index, struct gh_mspan_chunk, spans[0]);
}

static struct gh_mspan *carve_record(struct gh_records *r)
{
	struct gh_mspan_chunk *chunk = r->fresh;
	struct gh_mspan *s = &chunk->spans[chunk->nr_carved];

	s->index = chunk->nr_carved++;
	if (chunk->nr_carved == GH_CHUNK_SPANS)
		r->fresh = chunk->next_fresh;
	return s;
}

struct gh_mspan *gh_mspan_new(struct gh_mheap *h, u64 start, u64 npages)
{
	struct gh_records *r = &h->records;
	struct gh_mspan *s = r->spare.first;

	if (s)
		gh_list_remove(&r->spare, s);
	else
		s = carve_record(r);
	r->nr_spare--;
	chunk_of(s)->nr_used++;
	*s = (struct gh_mspan){ .start = start, .npages = npages, .index = s->index };
	return s;
}

void gh_mspan_release(struct gh_mheap *h, struct gh_mspan *s)
{
	chunk_of(s)->nr_used--;
	s->state = GH_SPAN_DEAD;
	gh_list_insert(&h->records.spare, s);
	h->records.nr_spare++;
}

static bool records_wanted(struct gh_mheap *h)
{
	bool wanted;

	mutex_lock(&h->lock);
	wanted = h->records.nr_spare < gh_records_floor(h) + GH_REFILL_EXTRA;
	mutex_unlock(&h->lock);
	return wanted;
}

static void add_fresh(struct gh_records *r, struct gh_mspan_chunk *chunk)
{
	chunk->next_fresh = r->fresh;
	r->fresh = chunk;
}

static int add_chunk(struct gh_mheap *h, struct gh_mspan_chunk *chunk)
{
	struct gh_records *r = &h->records;

	lockdep_assert_held(&h->lock);
	if (h->max_records && h->stats.nr_records + GH_CHUNK_SPANS > h->max_records)
		return -ENOSPC;
	chunk->next = r->chunks;
	r->chunks = chunk;
	add_fresh(r, chunk);
	r->nr_spare += GH_CHUNK_SPANS;
	h->stats.nr_records += GH_CHUNK_SPANS;
	h->stats.meta_bytes += GH_CHUNK_BYTES;
	return 0;
}

int gh_records_refill(struct gh_mheap *h)
{
	while (records_wanted(h)) {
		struct gh_mspan_chunk *chunk = gh_meta_alloc(GH_CHUNK_BYTES);
		int err;

		if (!chunk)
			return -ENOMEM;
		mutex_lock(&h->lock);
		err = add_chunk(h, chunk);
		mutex_unlock(&h->lock);
		if (err) {
			gh_meta_free(chunk, GH_CHUNK_BYTES);
			return err;
		}
	}
	return 0;
}

/* The next chunk of which all records were used, and none is in use. */
static struct gh_mspan_chunk *next_idle_chunk(struct gh_records *r)
{
	struct gh_mspan_chunk *chunk = r->seen ? r->seen->next : r->chunks;

	while (chunk && (chunk->nr_used || chunk->nr_carved < GH_CHUNK_SPANS))
		chunk = chunk->next;
	r->seen = chunk;
	return chunk;
}

bool gh_records_drop_locked(struct gh_mheap *h, void (*drop)(void *p, size_t bytes))
{
	struct gh_mspan_chunk *chunk;
	unsigned int i;

	lockdep_assert_held(&h->lock);
	chunk = next_idle_chunk(&h->records);
	if (!chunk)
		return false;
	for (i = 0; i < GH_CHUNK_SPANS; i++)
		gh_list_remove(&h->records.spare, &chunk->spans[i]);
	drop(chunk->spans, GH_CHUNK_BYTES - sizeof(*chunk));
	chunk->nr_carved = 0;
	add_fresh(&h->records, chunk);
	return true;
}

void gh_records_destroy(struct gh_mheap *h)
{
	while (h->records.chunks) {
		struct gh_mspan_chunk *chunk = h->records.chunks;

		h->records.chunks = chunk->next;
		gh_meta_free(chunk, GH_CHUNK_BYTES);
	}
}

static u64 root_bytes(u64 nr)
{
	return nr * sizeof(struct gh_leaf);
}

/* The size that the root should have, or 0 if it has it. */
static u64 root_wanted(struct gh_mheap *h)
{
	struct gh_spans *sp = &h->spans;
	u64 nr = 0;

	mutex_lock(&h->lock);
	if (sp->want_root > sp->nr_root)
		for (nr = GH_ROOT_MIN; nr < sp->want_root; nr *= 2)
			;
	mutex_unlock(&h->lock);
	return nr;
}

/* Returns the root that is not needed any more: the old one, or @root if it came too late. */
static struct gh_leaf *swap_root(struct gh_mheap *h, struct gh_leaf *root, u64 *nr)
{
	struct gh_spans *sp = &h->spans;
	struct gh_leaf *old = sp->root;
	u64 old_nr = sp->nr_root;

	lockdep_assert_held(&h->lock);
	if (*nr <= old_nr)
		return root;
	if (old)
		memcpy(root, old, root_bytes(old_nr));
	h->stats.meta_bytes += root_bytes(*nr - old_nr);
	sp->root = root;
	sp->nr_root = *nr;
	*nr = old_nr;
	return old;
}

static int refill_root(struct gh_mheap *h)
{
	u64 nr = root_wanted(h);
	struct gh_leaf *root;

	if (!nr)
		return 0;
	root = gh_meta_alloc(root_bytes(nr));
	if (!root)
		return -ENOMEM;
	mutex_lock(&h->lock);
	root = swap_root(h, root, &nr);
	mutex_unlock(&h->lock);
	if (root)
		gh_meta_free(root, root_bytes(nr));
	return 0;
}

static bool tables_wanted(struct gh_mheap *h)
{
	bool wanted;

	mutex_lock(&h->lock);
	wanted = h->spans.nr_spare < GH_SPARE_TABLES;
	mutex_unlock(&h->lock);
	return wanted;
}

static size_t table_bytes(void)
{
	return GH_LEAF_PAGES * sizeof(struct gh_mspan *);
}

/* False: others were faster, and there are enough. */
static bool add_table(struct gh_mheap *h, struct gh_mspan **table)
{
	struct gh_spans *sp = &h->spans;

	lockdep_assert_held(&h->lock);
	if (sp->nr_spare == GH_MAX_TABLES)
		return false;
	sp->spare[sp->nr_spare++] = table;
	h->stats.meta_bytes += table_bytes();
	return true;
}

int gh_spans_refill(struct gh_mheap *h)
{
	int err = refill_root(h);

	if (err)
		return err;
	while (tables_wanted(h)) {
		struct gh_mspan **table = gh_meta_alloc(table_bytes());
		bool added;

		if (!table)
			return -ENOMEM;
		mutex_lock(&h->lock);
		added = add_table(h, table);
		mutex_unlock(&h->lock);
		if (!added)
			gh_meta_free(table, table_bytes());
	}
	return 0;
}

void gh_spans_destroy(struct gh_mheap *h)
{
	struct gh_spans *sp = &h->spans;
	u64 i;

	while (sp->nr_spare)
		gh_meta_free(sp->spare[--sp->nr_spare], table_bytes());
	for (i = 0; i < sp->nr_root; i++)
		if (sp->root[i].table)
			gh_meta_free(sp->root[i].table, table_bytes());
	if (sp->root)
		gh_meta_free(sp->root, root_bytes(sp->nr_root));
}
