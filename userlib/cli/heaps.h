/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * The heaps of the kernel as sysfs shows them, for reading and for what can be written.
 * Heaps come and go at any time: one that goes while it is read is as if it had never
 * been there.
 */
#ifndef GOHEAP_CLI_HEAPS_H
#define GOHEAP_CLI_HEAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Files with one number: those of totals too, then those of a heap only. */
enum heap_value {
	HV_SYS,
	HV_INUSE,
	HV_IDLE,
	HV_RELEASED,
	HV_SPANS,
	HV_ALLOCS,
	HV_FREES,
	HV_GROWS,
	HV_SCAV_AGE,
	HV_SCAV_PRESSURE,
	HV_SCAV_DEMAND,
	HV_SCAV_SKIPPED,
	HV_PRESSURE_EVENTS,
	HV_META,
	HV_NR_TOTALS,
	HV_LIMIT_SOFT = HV_NR_TOTALS,	/* HEAP_NO_LIMIT: "max" */
	HV_LIMIT_HARD,
	HV_NR,
};

#define HEAP_NO_LIMIT	UINT64_MAX

/* What is to be read, as a set of bits: 1u << HV_..., and these. */
#define HEAP_PID	(1u << HV_NR)
#define HEAP_COMM	(1u << (HV_NR + 1))
#define HEAP_ARENA	(1u << (HV_NR + 2))
#define HEAP_TOTALS	((1u << HV_NR_TOTALS) - 1)
#define HEAP_ALL	((1u << (HV_NR + 3)) - 1)

struct heap_value_def {
	const char *name;	/* of the file */
	const char *help;
	bool counter;		/* only rises */
};
extern const struct heap_value_def heap_values[HV_NR];

struct heap {
	unsigned int id;
	pid_t pid;
	char comm[32];		/* "" when the process has ended and the heap has not */
	uint64_t arena_start, arena_end;
	uint64_t value[HV_NR];
};

struct heaps {
	struct heap *heap;	/* in order of id */
	size_t nr;
	size_t hidden;		/* of others, so that they could not be read */
};

/*
 * All heaps that can be read, with what is in the set want; HEAP_PID is always read.
 * Ends the program if there is no module.
 */
void heaps_read(struct heaps *all, unsigned int want);
/* Their ids only, also of hidden ones. */
void heaps_list(struct heaps *all);
void heaps_free(struct heaps *all);

/* Reads more of a heap, or again; 0, or -ENOENT when it has gone, -EACCES when it is hidden. */
int heap_read(struct heap *heap, unsigned int want);

/* The sums that the module keeps, of all heaps, also hidden ones; and how many there are. */
void heaps_totals(uint64_t value[HV_NR_TOTALS], uint64_t *nr);

/*
 * Those that are meant by PID, by ID, or by id:ID: a number is a process if it has a
 * heap that can be read, else a heap.  Ends the program if there are none.
 */
void heaps_select(struct heaps *all, const char *who, unsigned int want);

/* The same in two parts: false if there are none; and the end of the program for that. */
bool heaps_try_select(struct heaps *all, const char *who, unsigned int want);
void heaps_complain(const char *who) __attribute__((noreturn));

/* Writes text to a file of a heap, or of all where heap is NULL; 0 or -errno. */
int heap_write(const struct heap *heap, const char *file, const char *text);

/* Its name, for a terminal: nothing but what can be printed. */
const char *heap_name(const struct heap *heap);

/* A limit as a size, or "none"; in the caller's buffer of CLI_SIZE_MAX. */
const char *heap_limit_text(char *buf, uint64_t limit);

/* What was read of a heap, as an object of JSON: whose it is, and what is in want. */
void heap_json(const struct heap *heap, unsigned int want);
/* Parts of such an object: whose heap it is, and one value. */
void heap_json_process(const struct heap *heap);
void heap_json_value(const struct heap *heap, int i);

/* Says on stderr how many heaps were hidden, if any, and who sees them. */
void heaps_warn_hidden(const struct heaps *all);

/* resident: what is idle and has pages */
static inline uint64_t heap_resident_idle(const struct heap *heap)
{
	return heap->value[HV_IDLE] - heap->value[HV_RELEASED];
}

/* Of all three causes. */
static inline uint64_t heap_scavenged(const struct heap *heap)
{
	return heap->value[HV_SCAV_AGE] + heap->value[HV_SCAV_PRESSURE] +
	       heap->value[HV_SCAV_DEMAND];
}

#endif
