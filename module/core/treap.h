/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Free runs of GH_MAX_LIST pages and more, ordered by length, then by address.
 * Private to the core; needs the heap's lock.
 */
#ifndef GH_TREAP_H
#define GH_TREAP_H

#include <gh_port.h>
#include "spans.h"

struct gh_treap {
	struct gh_mspan *root;
	u32 random;		/* state of the generator of priorities, never 0 */
};

void gh_treap_init(struct gh_treap *t);
void gh_treap_insert(struct gh_treap *t, struct gh_mspan *s);
void gh_treap_remove(struct gh_treap *t, struct gh_mspan *s);
/* The shortest run of at least @npages, of those the one at the lowest address; or NULL. */
struct gh_mspan *gh_treap_find(const struct gh_treap *t, u64 npages);
/* The next one in order, or NULL. */
struct gh_mspan *gh_treap_next(const struct gh_mspan *s);

#endif /* GH_TREAP_H */
