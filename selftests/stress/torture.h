/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The model of torture_test: what one process knows of its heap.  Each operation
 * does something at random, says with MUST() what has to hold, and tells the model.
 *
 * One thread of each process has the model and the generator of random numbers, so
 * that a seed is a sequence of operations.  Threads that operations start are told
 * all that they need, and are gone when the operation is.
 */
#ifndef GOHEAP_TORTURE_H
#define GOHEAP_TORTURE_H

#include "ring.h"
#include "stranger.h"

#define ARENA		(128 * MIB)
#define SPANS		96
#define CHILDREN	4

struct span {
	char *p;		/* NULL: none */
	uint64_t npages, seed;
	unsigned int tag;
};

static int heap;
static uint64_t heap_id;
static char *arena;
static struct span spans[SPANS];
static uint64_t soft = ALL, hard = ALL;	/* limits */
static uint64_t most_held = ALL;	/* what may be held, see op_limit() */
static pid_t children[CHILDREN];	/* that share the arena */
static bool has_signals;		/* they come, or came, all the time */
static uint64_t rng, seed, nr_ops;
static const char *op;

/* A place to say which operation of which sequence it was. */
#define MUST(cond) do {								\
	if (!(cond)) {								\
		printf("# %s: operation %llu of seed %llu: %s:%d: %s (errno %d)\n",	\
		       op, (unsigned long long)nr_ops, (unsigned long long)seed,	\
		       __FILE__, __LINE__, #cond, errno);			\
		fflush(stdout);							\
		_exit(1);							\
	}									\
} while (0)

static uint64_t below(uint64_t n)
{
	return rnd(&rng) % n;
}

static struct span *random_span(void)
{
	return &spans[below(SPANS)];
}

static uint64_t bytes_of(const struct span *s)
{
	return s->npages * PAGE;
}

static char *random_page(void)
{
	return arena + below(ARENA) / 4096 * 4096;
}

static void look_at(const struct span *s)
{
	if (s->p)
		MUST(filled(s->p, bytes_of(s), s->seed));
}

static void look_at_all(void)
{
	for (int i = 0; i < SPANS; i++)
		look_at(&spans[i]);
}

static void refill(struct span *s)
{
	s->seed = rnd(&rng);
	fill(s->p, bytes_of(s), s->seed);
}

static void must_be_free(const char *p, uint64_t npages)
{
	MUST(p >= arena && p + npages * PAGE <= arena + ARENA);
	for (int i = 0; i < SPANS; i++)
		MUST(!spans[i].p || p + npages * PAGE <= spans[i].p ||
		     spans[i].p + bytes_of(&spans[i]) <= p);
}

static uint64_t bytes_in_use(unsigned int *nr)
{
	uint64_t bytes = 0;

	*nr = 0;
	for (int i = 0; i < SPANS; i++) {
		bytes += spans[i].p ? bytes_of(&spans[i]) : 0;
		*nr += !!spans[i].p;
	}
	return bytes;
}

/* While one shares the arena nothing that is idle can be released. */
static bool is_shared(void)
{
	for (int i = 0; i < CHILDREN; i++)
		if (children[i])
			return true;
	return false;
}

/* Whether there was a reason to say that there is no room. */
static bool may_be_full(uint64_t bytes, uint64_t align)
{
	struct goheap_stats st;

	MUST(!stats(heap, &st));
	return is_shared() || st.heap_inuse + bytes > hard ||
	       st.heap_sys + bytes + align + MIB > ARENA;
}

/* Of a child that is to end well, or to be killed. */
static void must_end(pid_t pid)
{
	int status;

	MUST(pid > 0 && waitpid(pid, &status, 0) == pid);
	MUST(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : !WEXITSTATUS(status));
}

#endif
