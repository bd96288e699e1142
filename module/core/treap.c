// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A treap: a binary search tree over (length, address) that is at the same time
 * a heap over random priorities, which keeps its expected depth within a small
 * factor of log2 of the number of runs.  There are at most as many runs here as the
 * arena has MiB.  Links are in the records.  Nothing recurses.
 *
 * The tie between runs of equal length is broken by the address of the memory,
 * never by that of the record, and a search that turns right has already noted
 * the best run seen, so that the result is the best fit at the lowest address
 * and does not depend on the priorities.
 */
#include <gh_port.h>
#include "treap.h"

void gh_treap_init(struct gh_treap *t)
{
	t->root = NULL;
	t->random = 2463534242U;
}

/* Marsaglia's xorshift. */
static u32 next_random(struct gh_treap *t)
{
	t->random ^= t->random << 13;
	t->random ^= t->random >> 17;
	t->random ^= t->random << 5;
	return t->random;
}

static bool before(const struct gh_mspan *a, const struct gh_mspan *b)
{
	if (a->npages != b->npages)
		return a->npages < b->npages;
	return a->start < b->start;
}

/* The link that leads to @s. */
static struct gh_mspan **link_to(struct gh_treap *t, struct gh_mspan *s)
{
	if (!s->parent)
		return &t->root;
	return s->parent->left == s ? &s->parent->left : &s->parent->right;
}

/* Lifts @s over its parent; order is kept. */
static void rotate_up(struct gh_treap *t, struct gh_mspan *s)
{
	struct gh_mspan *p = s->parent;
	struct gh_mspan *moved;

	*link_to(t, p) = s;
	s->parent = p->parent;
	if (p->left == s) {
		moved = s->right;
		s->right = p;
		p->left = moved;
	} else {
		moved = s->left;
		s->left = p;
		p->right = moved;
	}
	p->parent = s;
	if (moved)
		moved->parent = p;
}

void gh_treap_insert(struct gh_treap *t, struct gh_mspan *s)
{
	struct gh_mspan **link = &t->root;

	s->left = NULL;
	s->right = NULL;
	s->parent = NULL;
	s->priority = next_random(t);
	while (*link) {
		s->parent = *link;
		link = before(s, *link) ? &(*link)->left : &(*link)->right;
	}
	*link = s;
	while (s->parent && s->priority < s->parent->priority)
		rotate_up(t, s);
}

/* The child that may be lifted over @s: the one of lower priority. */
static struct gh_mspan *upper_child(const struct gh_mspan *s)
{
	if (!s->left)
		return s->right;
	if (!s->right)
		return s->left;
	return s->left->priority < s->right->priority ? s->left : s->right;
}

void gh_treap_remove(struct gh_treap *t, struct gh_mspan *s)
{
	struct gh_mspan *child;

	while ((child = upper_child(s)))
		rotate_up(t, child);
	*link_to(t, s) = NULL;
	s->parent = NULL;
}

struct gh_mspan *gh_treap_find(const struct gh_treap *t, u64 npages)
{
	struct gh_mspan *s = t->root;
	struct gh_mspan *best = NULL;

	while (s) {
		if (s->npages >= npages) {
			best = s;
			s = s->left;
		} else {
			s = s->right;
		}
	}
	return best;
}

struct gh_mspan *gh_treap_next(const struct gh_mspan *s)
{
	struct gh_mspan *n = s->right;

	if (n) {
		while (n->left)
			n = n->left;
		return n;
	}
	for (n = s->parent; n && n->right == s; n = n->parent)
		s = n;
	return n;
}
