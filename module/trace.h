/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tracepoints; what their fields mean is in uapi/ABI/trace-goheap.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM goheap

#if !defined(GOHEAP_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define GOHEAP_TRACE_H

#include <linux/tracepoint.h>
#include <linux/types.h>

TRACE_EVENT(goheap_span_alloc,
	TP_PROTO(u32 heap, u64 addr, u64 npages, u32 tag, u32 flags),
	TP_ARGS(heap, addr, npages, tag, flags),
	TP_STRUCT__entry(
		__field(u32, heap)
		__field(u64, addr)
		__field(u64, npages)
		__field(u32, tag)
		__field(u32, flags)
	),
	TP_fast_assign(
		__entry->heap = heap;
		__entry->addr = addr;
		__entry->npages = npages;
		__entry->tag = tag;
		__entry->flags = flags;
	),
	TP_printk("heap=%u addr=0x%llx npages=%llu tag=%u flags=0x%x",
		  __entry->heap, __entry->addr, __entry->npages, __entry->tag, __entry->flags)
);

TRACE_EVENT(goheap_span_free,
	TP_PROTO(u32 heap, u64 addr, u64 npages),
	TP_ARGS(heap, addr, npages),
	TP_STRUCT__entry(
		__field(u32, heap)
		__field(u64, addr)
		__field(u64, npages)
	),
	TP_fast_assign(
		__entry->heap = heap;
		__entry->addr = addr;
		__entry->npages = npages;
	),
	TP_printk("heap=%u addr=0x%llx npages=%llu",
		  __entry->heap, __entry->addr, __entry->npages)
);

TRACE_EVENT(goheap_span_resize,
	TP_PROTO(u32 heap, u64 addr, u64 old_npages, u64 npages),
	TP_ARGS(heap, addr, old_npages, npages),
	TP_STRUCT__entry(
		__field(u32, heap)
		__field(u64, addr)
		__field(u64, old_npages)
		__field(u64, npages)
	),
	TP_fast_assign(
		__entry->heap = heap;
		__entry->addr = addr;
		__entry->old_npages = old_npages;
		__entry->npages = npages;
	),
	TP_printk("heap=%u addr=0x%llx old_npages=%llu npages=%llu",
		  __entry->heap, __entry->addr, __entry->old_npages, __entry->npages)
);

TRACE_EVENT(goheap_grow,
	TP_PROTO(u32 heap, u64 sys_bytes),
	TP_ARGS(heap, sys_bytes),
	TP_STRUCT__entry(
		__field(u32, heap)
		__field(u64, sys_bytes)
	),
	TP_fast_assign(
		__entry->heap = heap;
		__entry->sys_bytes = sys_bytes;
	),
	TP_printk("heap=%u sys_bytes=%llu", __entry->heap, __entry->sys_bytes)
);

TRACE_EVENT(goheap_scavenge,
	TP_PROTO(u32 heap, u32 cause, u64 bytes),
	TP_ARGS(heap, cause, bytes),
	TP_STRUCT__entry(
		__field(u32, heap)
		__field(u32, cause)
		__field(u64, bytes)
	),
	TP_fast_assign(
		__entry->heap = heap;
		__entry->cause = cause;
		__entry->bytes = bytes;
	),
	TP_printk("heap=%u cause=%s bytes=%llu", __entry->heap,
		  __print_symbolic(__entry->cause,
				   { 0, "age" }, { 1, "pressure" }, { 2, "demand" }),
		  __entry->bytes)
);

TRACE_EVENT(goheap_age_pass,
	TP_PROTO(u32 pass, u64 bytes),
	TP_ARGS(pass, bytes),
	TP_STRUCT__entry(
		__field(u32, pass)
		__field(u64, bytes)
	),
	TP_fast_assign(
		__entry->pass = pass;
		__entry->bytes = bytes;
	),
	TP_printk("pass=%u bytes=%llu", __entry->pass, __entry->bytes)
);

TRACE_EVENT(goheap_pressure,
	TP_PROTO(u32 heap, u64 events, u64 wanted_pages),
	TP_ARGS(heap, events, wanted_pages),
	TP_STRUCT__entry(
		__field(u32, heap)
		__field(u64, events)
		__field(u64, wanted_pages)
	),
	TP_fast_assign(
		__entry->heap = heap;
		__entry->events = events;
		__entry->wanted_pages = wanted_pages;
	),
	TP_printk("heap=%u events=%llu wanted_pages=%llu",
		  __entry->heap, __entry->events, __entry->wanted_pages)
);

#endif /* GOHEAP_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
