// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The size classes: the generated table against the documented one, the lookup of
 * every size, the division by multiplication for every offset of every span, and
 * the sweep of state bytes against a loop.
 */
#include <goheap.h>
#include <malloc.h>
#include "../../userlib/few.h"
#include "../../userlib/mspan.h"
#include "back_test.h"

static const unsigned int sizes[GHU_ZERO_CLASS] = {
	0, 8, 16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256, 288,
	320, 352, 384, 416, 448, 480, 512, 576, 640, 704, 768, 896, 1024, 1152, 1280, 1408,
	1536, 1792, 2048, 2304, 2688, 3072, 3200, 3456, 4096, 4864, 5376, 6144, 6528, 6784,
	6912, 8192, 9472, 9728, 10240, 10880, 12288, 13568, 14336, 16384, 18432, 19072,
	20480, 21760, 24576, 27264, 28672, 32768,
};

static const unsigned int pages[GHU_ZERO_CLASS] = {
	0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2,
	2, 2, 2, 3, 3, 4, 3, 4, 4, 6, 6, 6, 8, 6, 8, 6, 8, 6, 8, 5, 6, 8, 7, 6, 5, 4, 3, 5, 7,
	2, 9, 7, 5, 8, 3, 10, 7, 4,
};

/* class, bytes per object, bytes per span, objects, tail, waste at most in 1/100 % */
static const unsigned int rows[][6] = {
	{ 1, 8, 8192, 1024, 0, 8750 },
	{ 2, 16, 8192, 512, 0, 4375 },
	{ 3, 32, 8192, 256, 0, 4688 },
	{ 4, 48, 8192, 170, 32, 3152 },
	{ 64, 27264, 81920, 3, 128, 1000 },
	{ 65, 28672, 57344, 2, 0, 491 },
	{ 66, 32768, 32768, 1, 0, 1250 },
};

static unsigned int span_bytes(unsigned int c)
{
	return ghu_classes[c].npages * 8192u;
}

/* What an object of the smallest size of the class wastes, with its share of the tail. */
static unsigned int max_waste(unsigned int c)
{
	unsigned int n = ghu_classes[c].nelems, tail = span_bytes(c) - n * ghu_classes[c].size;
	double waste = (double)(ghu_classes[c].size - ghu_classes[c - 1].size - 1) * n + tail;

	return (unsigned int)(waste / span_bytes(c) * 10000 + 0.5);
}

static int test_table(void)
{
	for (unsigned int c = 0; c < GHU_ZERO_CLASS; c++) {
		T_EQ(ghu_classes[c].size, sizes[c]);
		T_EQ(ghu_classes[c].npages, pages[c]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		unsigned int c = rows[i][0];

		T_EQ(ghu_classes[c].size, rows[i][1]);
		T_EQ(span_bytes(c), rows[i][2]);
		T_EQ(ghu_classes[c].nelems, rows[i][3]);
		T_EQ(span_bytes(c) - ghu_classes[c].nelems * ghu_classes[c].size, rows[i][4]);
		T_EQ(max_waste(c), rows[i][5]);
	}
	return T_PASS;
}

static int test_bounds(void)
{
	for (unsigned int c = 1; c < GHU_ZERO_CLASS; c++) {
		const struct ghu_class *k = &ghu_classes[c];

		T_EQ(k->nelems, span_bytes(c) / k->size);
		T_EQ(k->nwindows, (k->nelems + 63) / 64);
		T(k->nelems <= GHU_MAX_OBJECTS);
		T(span_bytes(c) - k->nelems * k->size <= span_bytes(c) / 8);
		/* There is a byte for the index behind the last object, if any address has it. */
		T(k->nelems % 64 || k->nelems * k->size == span_bytes(c));
		/* max_align_t */
		T(k->size == 8 || k->size % 16 == 0);
		/* Objects of up to a page come in some number, if their span is not 64 KiB long. */
		T(k->size > 8192 || k->nelems >= 16 || k->npages + (k->size + 8191) / 8192 * 4 > 8);
		T(ghu_divmul[c] == k->divmul);
	}
	return T_PASS;
}

static int test_lookup(void)
{
	unsigned int c = 1;

	T_EQ(ghu_size_to_class(0), GHU_ZERO_CLASS);
	T_EQ(goheap_good_size(0), 0);
	for (size_t size = 1; size <= GHU_MAX_SMALL_SIZE; size++) {
		while (sizes[c] < size)
			c++;
		T_EQ(ghu_size_to_class(size), c);
		T_EQ(goheap_good_size(size), sizes[c]);
	}
	T_EQ(goheap_good_size(32769), 40960);
	T_EQ(goheap_good_size(40960), 40960);
	T_EQ(goheap_good_size(SIZE_MAX), SIZE_MAX);
	T_EQ(ghu_make_spanclass(3, 0), 6);
	T_EQ(ghu_make_spanclass(3, 1), 7);
	T_EQ(ghu_spanclass_sizeclass(7), 3);
	return T_PASS;
}

static int test_division(void)
{
	for (unsigned int c = 1; c < GHU_ZERO_CLASS; c++) {
		uint32_t size = sizes[c], index;

		for (uint32_t off = 0; off < span_bytes(c); off++) {
			bool exact = ghu_object_index(ghu_classes[c].divmul, off, &index);

			if (index != off / size || exact != (off % size == 0)) {
				printf("# class %u, offset %u: %u, %d\n", c, off, index, exact);
				return T_FAIL;
			}
		}
		/* A parked span: no address passes. */
		T(!ghu_object_index(0, size, &index));
		T(!ghu_object_index(0, 0, &index));
	}
	return T_PASS;
}

static int test_match(void)
{
	uint8_t states[64] __attribute__((aligned(64)));

	for (int round = 0; round < 20000; round++) {
		uint8_t wanted = (uint8_t)t_below(4);
		uint64_t expected = 0;

		for (unsigned int i = 0; i < 64; i++) {
			states[i] = (uint8_t)(round % 2 ? t_below(4) : t_below(256));
			expected |= (uint64_t)(states[i] == wanted) << i;
		}
		T(ghu_match64(states, wanted) == expected);
	}
	return T_PASS;
}

static int test_are_8_free(void)
{
	uint8_t states[64] __attribute__((aligned(64))) = { 0 };

	memset(states + 8, GHU_OBJ_LIVE, sizeof(states) - 8);
	T(ghu_are_8_free(states));
	for (unsigned int i = 0; i < 8; i++) {
		for (unsigned int state = 1; state < 256; state++) {
			states[i] = (uint8_t)state;
			T(!ghu_are_8_free(states));
		}
		states[i] = GHU_OBJ_FREE;
	}
	return T_PASS;
}

static int test_usable(void)
{
	for (size_t size = 0; size <= 100000; size += 1 + size / 64) {
		void *p = malloc(size);

		T(p);
		T_EQ(malloc_usable_size(p), goheap_good_size(size));
		free(p);
	}
	T_EQ(malloc_usable_size(NULL), 0);
	return T_PASS;
}

static const struct t_case cases[] = {
	{ "table: 67 classes as documented", test_table },
	{ "table: every class within its bounds", test_bounds },
	{ "lookup: every size from 0 to 32768", test_lookup },
	{ "division: every offset of every span", test_division },
	{ "sweep: 64 bytes matched as one by one", test_match },
	{ "sweep: the first 8 bytes", test_are_8_free },
	{ "malloc_usable_size is the class's", test_usable },
};

int main(int argc, char **argv)
{
	/* What is allocated is of the class of its size. */
	ghu_few_is_over = true;
	return t_main(argc, argv, cases, ARRAY_SIZE(cases));
}
