// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The treap against an array: best fit, then lowest address, whatever was
 * inserted and removed before; order of traversal; and depth.
 */
#include "testlib.h"

#define NR	512

static struct gh_treap treap;
static struct gh_mspan span[NR];
static bool in[NR];

static void toggle(unsigned int i)
{
	if (in[i]) {
		gh_treap_remove(&treap, &span[i]);
	} else {
		span[i].start = i * 10000;
		span[i].npages = 128 + t_below(t_below(2) ? 4 : 5000);
		span[i].state = GH_SPAN_FREE;
		gh_treap_insert(&treap, &span[i]);
	}
	in[i] = !in[i];
}

static const struct gh_mspan *best(u64 npages)
{
	const struct gh_mspan *s = NULL;
	unsigned int i;

	for (i = 0; i < NR; i++)
		if (in[i] && span[i].npages >= npages && (!s || span[i].npages < s->npages))
			s = &span[i];
	return s;
}

static unsigned int nr_in(void)
{
	unsigned int i, nr = 0;

	for (i = 0; i < NR; i++)
		nr += in[i];
	return nr;
}

static int best_fit(void)
{
	unsigned int i;
	u64 nr;

	gh_treap_init(&treap);
	for (i = 0; i < t_steps; i++) {
		u64 npages = t_below(2) ? 126 + t_below(8) : t_below(5200);

		toggle(t_below(NR));
		T(gh_treap_find(&treap, npages) == best(npages));
		nr = 0;
		T_EQ(check_treap(&treap, false, &nr), 0);
		T_EQ(nr, nr_in());
	}
	for (i = 0; i < NR; i++)
		if (in[i])
			toggle(i);
	T(!treap.root && !gh_treap_find(&treap, 0));
	return 0;
}

static unsigned int depth(const struct gh_mspan *s)
{
	unsigned int d = 0;

	for (; s; s = s->parent)
		d++;
	return d;
}

/* Sorted insertion is what ruins a plain tree. */
static int stays_shallow(void)
{
	enum { MANY = 100000 };
	struct gh_mspan *many = calloc(MANY, sizeof(*many));
	unsigned int i, deepest = 0;
	u64 sum = 0;

	T(many);
	gh_treap_init(&treap);
	for (i = 0; i < MANY; i++) {
		many[i].start = i * 1000;
		many[i].npages = 128 + i / 100;
		gh_treap_insert(&treap, &many[i]);
	}
	for (i = 0; i < MANY; i++) {
		deepest = max(deepest, depth(&many[i]));
		sum += depth(&many[i]);
	}
	printf("# %u runs: deepest %u, mean %u\n", MANY, deepest, (unsigned int)(sum / MANY));
	T(deepest < 64 && sum / MANY < 34);
	free(many);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		{ "treap: best fit, lowest address, in order", best_fit },
		{ "treap: shallow after sorted insertion", stays_shallow },
	};

	t_steps = 5000;
	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
