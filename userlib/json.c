// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Statistics as JSON: Go's MemStats as its encoding/json writes it, as far as there
 * is such a thing here, so that what reads those reads these; and behind them, in an
 * object of their own, what Go has not.  BySize[0] is of large objects.
 */
#include <goheap.h>
#include <stdarg.h>
#include <stdio.h>
#include "stats.h"
#include "sys.h"

/* Where text goes; len is what it would be if there were room. */
struct text {
	char *buf;
	size_t size;
	size_t len;
};

struct field {
	const char *name;
	size_t offset;		/* in struct goheap_memstats */
};

#define FIELD(name, member)	{ name, offsetof(struct goheap_memstats, member) }
static const struct field go_fields[] = {
	FIELD("Alloc", alloc),
	FIELD("TotalAlloc", total_alloc),
	FIELD("Sys", sys),
	FIELD("Mallocs", mallocs),
	FIELD("Frees", frees),
	FIELD("HeapAlloc", heap_alloc),
	FIELD("HeapSys", heap_sys),
	FIELD("HeapIdle", heap_idle),
	FIELD("HeapInuse", heap_inuse),
	FIELD("HeapReleased", heap_released),
	FIELD("HeapObjects", heap_objects),
	FIELD("MSpanInuse", mspan_inuse),
	FIELD("MSpanSys", mspan_sys),
	FIELD("MCacheInuse", mcache_inuse),
	FIELD("MCacheSys", mcache_sys),
	FIELD("BuckHashSys", buck_hash_sys),
	FIELD("OtherSys", other_sys),
};

static const struct field own_fields[] = {
	FIELD("LargeObjects", large_objects),
	FIELD("LargeInuse", large_inuse),
	FIELD("LargeMallocs", large_mallocs),
	FIELD("LargeFrees", large_frees),
	FIELD("LargeAllocBytes", large_alloc_bytes),
	FIELD("LargeFreeBytes", large_free_bytes),
	FIELD("CachedSpans", cached_spans),
	FIELD("KernelBytes", kernel_bytes),
	FIELD("Sweeps", sweeps),
	FIELD("ProfileLost", profile_lost),
};

static __attribute__((format(printf, 2, 3))) void put(struct text *t, const char *fmt, ...)
{
	size_t used = t->len < t->size ? t->len : t->size;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->buf + used, t->size - used, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->len += (size_t)n;
}

static void put_fields(struct text *t, const struct goheap_memstats *st,
		       const struct field *fields, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		const uint64_t *v = (const void *)((const char *)st + fields[i].offset);

		put(t, "\"%s\":%llu,", fields[i].name, (unsigned long long)*v);
	}
}

static void put_class(struct text *t, const struct goheap_class *c)
{
	put(t, "{\"Size\":%llu,\"Mallocs\":%llu,\"Frees\":%llu,",
	    (unsigned long long)c->size, (unsigned long long)c->mallocs,
	    (unsigned long long)c->frees);
	put(t, "\"Objects\":%llu,\"Spans\":%llu,\"SpanBytes\":%llu}",
	    (unsigned long long)c->live, (unsigned long long)c->spans,
	    (unsigned long long)c->bytes);
}

static void put_classes(struct text *t, const struct ghu_stats *st)
{
	for (size_t i = 0; i < GHU_NUM_CLASSES; i++) {
		struct goheap_class c;

		ghu_stats_class(st, i, &c);
		put(t, "%s", i ? "," : "");
		put_class(t, &c);
	}
}

ghu_export size_t goheap_json(char *buf, size_t size)
{
	struct text t = { .buf = buf, .size = size };
	struct goheap_memstats ms;
	struct ghu_stats st;

	ghu_stats_collect(&st);
	ghu_stats_memstats(&st, &ms);
	put(&t, "{");
	put_fields(&t, &ms, go_fields, sizeof(go_fields) / sizeof(go_fields[0]));
	put(&t, "\"BySize\":[");
	put_classes(&t, &st);
	put(&t, "],\"Goheap\":{");
	put_fields(&t, &ms, own_fields, sizeof(own_fields) / sizeof(own_fields[0]));
	put(&t, "\"Backend\":\"%s\",\"Version\":\"%s\"}}\n", goheap_backend(), goheap_version());
	return t.len;
}
