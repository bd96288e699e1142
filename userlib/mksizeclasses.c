// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Prints sizeclasses.h: the size classes, how many pages a span of each has, and
 * the tables that turn a size into its class.
 *
 * The rule.  Sizes rise by an alignment that grows with them, so that rounding up
 * wastes at most an eighth: 8, from 16 on 16, from 128 on an eighth of the power
 * of two below, from 2048 on 256.  A span has as few pages as leave at most an
 * eighth of it unused behind the last object.  Where two successive sizes would
 * give spans of as many pages with as many objects, only the larger one is a
 * class; and in the end each size is raised to what the span has room for.
 *
 * Then spans become longer.  With the pages that the rule gives, spans of objects from 576
 * to 8192 bytes hold 1 to 14 of them, and to get the next span would be what malloc() mostly
 * does.  They get as many times the pages as it takes for 16 objects, up to 64 KiB.
 *
 * Class 0 stands for objects with a span of their own.  Behind the others comes that of
 * objects of size 0: they lie ZERO_STRIDE bytes apart and have none.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define PAGE_SIZE	8192u
#define MAX_SMALL_SIZE	32768u
#define SMALL_SIZE_DIV	8u
#define SMALL_SIZE_MAX	1024u
#define LARGE_SIZE_DIV	128u
#define ENOUGH_OBJECTS	16u
#define LONG_PAGES	8u
#define MAX_CLASSES	67u
#define ZERO_CLASS	MAX_CLASSES
#define ZERO_STRIDE	16u

struct class {
	unsigned int size;
	unsigned int npages;
};

static struct class classes[MAX_CLASSES + 1];
static unsigned int nr_classes = 1;

static unsigned int align_for(unsigned int size, unsigned int align)
{
	if (size & (size - 1))
		return align;
	if (size >= 2048)
		return 256;
	if (size >= 128)
		return size / 8;
	return size >= 16 ? 16 : align;
}

static unsigned int pages_for(unsigned int size)
{
	unsigned int bytes = PAGE_SIZE;

	while (bytes % size > bytes / 8)
		bytes += PAGE_SIZE;
	return bytes / PAGE_SIZE;
}

static unsigned int objects(const struct class *c)
{
	return c->npages * PAGE_SIZE / c->size;
}

static void add_class(unsigned int size)
{
	struct class c = { .size = size, .npages = pages_for(size) };
	struct class *last = &classes[nr_classes - 1];

	if (nr_classes > 1 && last->npages == c.npages && objects(last) == objects(&c)) {
		*last = c;
		return;
	}
	if (nr_classes == MAX_CLASSES) {
		fprintf(stderr, "mksizeclasses: more than %u classes\n", MAX_CLASSES);
		exit(1);
	}
	classes[nr_classes++] = c;
}

static void make_classes(void)
{
	unsigned int align = 8;

	for (unsigned int size = align; size <= MAX_SMALL_SIZE; size += align) {
		align = align_for(size, align);
		add_class(size);
	}
	for (unsigned int i = 1; i < nr_classes; i++) {
		struct class *c = &classes[i];
		unsigned int room = c->npages * PAGE_SIZE / objects(c) & ~(LARGE_SIZE_DIV - 1);

		if (room > c->size)
			c->size = room;
	}
	if (nr_classes != MAX_CLASSES) {
		fprintf(stderr, "mksizeclasses: %u classes\n", nr_classes);
		exit(1);
	}
}

static void lengthen_spans(void)
{
	for (unsigned int i = 1; i < nr_classes && classes[i].size <= PAGE_SIZE; i++) {
		struct class *c = &classes[i], longer = *c;
		unsigned int npages = c->npages;

		for (; objects(c) < ENOUGH_OBJECTS; *c = longer) {
			longer.npages += npages;
			if (longer.npages > LONG_PAGES)
				break;
		}
	}
}

/*
 * floor(offset * divmul / 2^32) is the object that an offset into the span lies
 * in, and the remainder is below divmul exactly when it is the object's start.
 */
static uint32_t divmul(unsigned int size)
{
	return (uint32_t)((1ull << 32) / size) + 1;
}

static void print_class(unsigned int i, const struct class *c, unsigned int stride)
{
	unsigned int bytes = c->npages * PAGE_SIZE, n = bytes / stride;

	printf("\t[%2u] = { .size = %5u, .divmul = %10uu, .nelems = %4u, .npages = %2u,",
	       i, c->size, divmul(stride), n, c->npages);
	printf(" .nwindows = %2u, .large_npages = %u },\t/* %6u %5u */\n", (n + 63) / 64,
	       n == 1 && c->npages > 1 ? c->npages : 0, bytes, bytes - n * stride);
}

static void print_classes(void)
{
	const struct class zero = { .size = 0, .npages = 1 };

	printf("const struct ghu_class ghu_classes[GHU_NUM_CLASSES] = {\n");
	printf("\t/* class, bytes per span, unused at its end */\n");
	for (unsigned int i = 1; i < nr_classes; i++)
		print_class(i, &classes[i], classes[i].size);
	print_class(ZERO_CLASS, &zero, ZERO_STRIDE);
	printf("};\n\n");
}

static void print_divmuls(void)
{
	printf("const uint64_t ghu_divmul[GHU_NUM_CLASSES] = {\n\t0,");
	for (unsigned int i = 1; i < nr_classes; i++)
		printf("%s%uu,", i % 6 ? " " : "\n\t", divmul(classes[i].size));
	printf(" %uu,\n};\n\n", divmul(ZERO_STRIDE));
}

/* Entry i: the class of size first + i * step, times so much. */
static void print_lookup(const char *type, const char *name, unsigned int first,
			 unsigned int step, unsigned int last, unsigned int times)
{
	unsigned int class = 1, n = 0;

	printf("const %s %s[%u] = {", type, name, (last - first) / step + 1);
	for (unsigned int size = first; size <= last; size += step) {
		while (classes[class].size < size)
			class++;
		printf("%s%u,", n++ % 16 ? " " : "\n\t", (size ? class : ZERO_CLASS) * times);
	}
	printf("\n};\n\n");
}

int main(void)
{
	make_classes();
	lengthen_spans();
	printf("/* SPDX-License-Identifier: MIT OR GPL-2.0 */\n");
	printf("/* Written by mksizeclasses; included by sizeclass.c alone. */\n\n");
	print_classes();
	print_divmuls();
	print_lookup("uint8_t", "ghu_size_to_class8", 0, SMALL_SIZE_DIV, SMALL_SIZE_MAX, 1);
	print_lookup("uint8_t", "ghu_size_to_class128", SMALL_SIZE_MAX, LARGE_SIZE_DIV,
		     MAX_SMALL_SIZE, 1);
	print_lookup("uint16_t", "ghu_size_to_cached8", 0, SMALL_SIZE_DIV, SMALL_SIZE_MAX, 64);
	return 0;
}
