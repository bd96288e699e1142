// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The whole interface, as bytes say, against a shadow model.  libFuzzer calls it with
 * bytes that reach new code (make fuzz FUZZ=lib); front_corpus_test with those that
 * did before, which are kept in corpus_api/.
 *
 * Each step is six bytes: what to do, with which of the slots, and three for the size, whose
 * kind is in the first.  The model knows of each slot where its object is, its size and
 * what was written to it: at both ends, and once a page between.  So it finds objects
 * that overlap, contents that are lost, and calloc() that is not zero; what is counted
 * is compared with it, and in the end all is given back.
 *
 * libFuzzer has a malloc of its own: ours is called by other names (FUZZ_NAMES).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <goheap.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void free_sized(void *p, size_t size);
void free_aligned_sized(void *p, size_t align, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SLOTS		64
#define STEP		6
#define ALL_BYTES	((size_t)64 << 20)	/* in use at a time, but for one object */
#define PAGE		4096

#define MUST(cond)	do {							\
	if (!(cond)) {								\
		fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);	\
		abort();							\
	}									\
} while (0)

static struct slot {
	unsigned char *p;
	size_t size, align;	/* align 0: not from aligned_alloc() */
	unsigned char stamp;
	bool resized;		/* not to be freed with a size */
} slots[SLOTS];
static size_t all_bytes;
static unsigned char last_stamp;

/* ---- contents ------------------------------------------------------------------- */

/* Where a stamp is, after offset off; size: at the end. */
static size_t next_stamp(size_t off, size_t size)
{
	if (off < 64 || off + 64 >= size)
		return off + 1;
	return off + PAGE + 64 < size ? off + PAGE : size - 64;
}

static void stamp(struct slot *s)
{
	s->stamp = ++last_stamp;
	for (size_t i = 0; i < s->size; i = next_stamp(i, s->size))
		s->p[i] = s->stamp;
}

/* The first bytes of an object of so many, as they were stamped. */
static bool holds(const struct slot *s, size_t bytes)
{
	for (size_t i = 0; i < s->size && i < bytes; i = next_stamp(i, s->size))
		if (s->p[i] != s->stamp)
			return false;
	return true;
}

static bool is_zero(const unsigned char *p, size_t size)
{
	return !size || (!p[0] && !memcmp(p, p + 1, size - 1));
}

static bool is_apart(const struct slot *s)
{
	for (const struct slot *t = slots; t < slots + SLOTS; t++)
		if (t != s && t->p && t->p < s->p + s->size && s->p < t->p + t->size)
			return false;
	return true;
}

/* ---- one step --------------------------------------------------------------------- */

struct step {
	unsigned int what;
	struct slot *s;
	size_t size;
	unsigned int number;	/* of the size's three bytes */
};

static struct step decode(const uint8_t *d)
{
	unsigned int n = d[3] | d[4] << 8 | d[5] << 16;
	struct step st = { .what = d[0], .s = &slots[d[1] % SLOTS], .number = n };

	switch (d[2] & 7) {
	case 0:
		st.size = SIZE_MAX - n;
		break;
	case 1:
		st.size = n;
		break;
	case 2:
	case 3:
		st.size = n & 0xffff;
		break;
	default:
		st.size = n & 0x3ff;
	}
	return st;
}

/* p is what a call returned for size bytes, or NULL. */
static void got(struct slot *s, void *p, size_t size, size_t align)
{
	if (!p) {
		MUST(size > PTRDIFF_MAX && errno == ENOMEM);
		return;
	}
	MUST(size <= PTRDIFF_MAX);
	*s = (struct slot){ .p = p, .size = size, .align = align };
	MUST((uintptr_t)p % (align ?: size < 16 ? 8 : 16) == 0);
	MUST(malloc_usable_size(p) >= size);
	MUST(is_apart(s));
	all_bytes += size;
}

static size_t an_alignment(unsigned int number)
{
	return (size_t)1 << (4 + number % 10);
}

static void alloc(const struct step *st)
{
	size_t align = an_alignment(st->number >> 4), half = st->size / 2;
	struct slot *s = st->s;
	void *p = NULL;

	errno = 0;
	switch (st->what / 16 % 6) {
	case 0:
		p = calloc(1, st->size);
		MUST(!p || is_zero(p, st->size));
		got(s, p, st->size, 0);
		break;
	case 1:
		got(s, aligned_alloc(align, st->size), st->size, align);
		break;
	case 2:
		errno = posix_memalign(&p, align, st->size);
		got(s, p, st->size, align);
		if (s->p)
			s->resized = true;
		break;
	case 3:
		p = calloc(half, 2);
		MUST(!p || is_zero(p, half * 2));
		got(s, p, half * 2, 0);
		break;
	default:
		got(s, malloc(st->size), st->size, 0);
	}
	if (s->p)
		stamp(s);
}

static void release(struct slot *s, unsigned int how)
{
	all_bytes -= s->size;
	MUST(holds(s, s->size));
	if (!how || s->resized)
		free(s->p);
	else if (s->align)
		free_aligned_sized(s->p, s->align, s->size);
	else
		free_sized(s->p, s->size);
	s->p = NULL;
}

static void resize(const struct step *st)
{
	struct slot *s = st->s, was = *s;
	size_t size = st->size ?: 1;
	void *p;

	MUST(holds(s, s->size));
	errno = 0;
	p = st->what / 16 % 2 ? reallocarray(s->p, 1, size) : realloc(s->p, size);
	if (!p) {
		MUST(size > PTRDIFF_MAX && errno == ENOMEM && holds(s, s->size));
		return;
	}
	all_bytes -= s->size;
	s->p = NULL;
	got(s, p, size, 0);
	/* The old stamps: they were where the old size says. */
	was.p = p;
	MUST(holds(&was, size));
	s->resized = true;
	stamp(s);
}

static void *free_there(void *arg)
{
	struct slot extra = { .p = malloc(100), .size = 100 };

	MUST(extra.p);
	stamp(&extra);
	release(arg, 0);
	MUST(holds(&extra, 100));
	free(extra.p);
	return NULL;
}

static void by_another_thread(struct slot *s)
{
	pthread_t t;

	MUST(!pthread_create(&t, NULL, free_there, s));
	pthread_join(t, NULL);
}

/* ---- looks at the whole ------------------------------------------------------------ */

static size_t found, found_live;

static int look(const struct goheap_area *area, void *object, void *arg)
{
	(void)area;
	(void)arg;
	if (!object)
		return 0;
	found_live++;
	for (int i = 0; i < SLOTS; i++)
		found += slots[i].p == object;
	return 0;
}

static size_t nr_live(void)
{
	size_t n = 0;

	for (int i = 0; i < SLOTS; i++)
		n += slots[i].p != NULL;
	return n;
}

/* What there was before the first step belongs to whoever called malloc() by its name. */
static size_t others;

static size_t counted(void)
{
	struct goheap_memstats m;

	goheap_memstats(&m, sizeof(m));
	MUST(m.mallocs - m.frees == m.heap_objects);
	MUST(m.heap_inuse <= m.heap_sys && m.heap_released <= m.heap_idle);
	return m.heap_objects;
}

static void look_at_all(void)
{
	found = found_live = 0;
	MUST(!goheap_walk(look, NULL));
	MUST(found == nr_live());
	MUST(counted() == others + nr_live());
}

static void check_range(const struct slot *s)
{
	goheap_check_range("fuzz", s->p, s->size);
	goheap_check_range("fuzz", s->p + s->size / 2, s->size - s->size / 2);
}

static void whole(const struct step *st)
{
	switch (st->what / 16 % 6) {
	case 0:
		goheap_flush();
		break;
	case 1:
		goheap_scavenge(st->size);
		break;
	case 2:
		malloc_trim(0);
		break;
	case 3:
		goheap_option_set("memprofilerate", st->number % 2 ? "4096" : "0");
		break;
	default:
		look_at_all();
	}
}

static void step(const struct step *st)
{
	struct slot *s = st->s;

	if (st->what % 16 == 0) {
		whole(st);
	} else if (!s->p) {
		if (all_bytes < ALL_BYTES)
			alloc(st);
	} else if (st->what % 16 == 1) {
		by_another_thread(s);
	} else if (st->what % 16 < 6) {
		if (all_bytes < ALL_BYTES)
			resize(st);
	} else if (st->what % 16 == 6) {
		MUST(malloc_usable_size(s->p) >= s->size && holds(s, s->size));
		check_range(s);
	} else {
		release(s, st->what / 16 % 2);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool begun;

	if (!begun)
		others = counted();
	begun = true;
	for (; size >= STEP; data += STEP, size -= STEP) {
		struct step st = decode(data);

		step(&st);
	}
	for (int i = 0; i < SLOTS; i++)
		if (slots[i].p)
			release(&slots[i], 0);
	goheap_option_set("memprofilerate", "0");
	MUST(counted() == others);
	return 0;
}
