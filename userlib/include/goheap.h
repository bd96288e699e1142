/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * libgoheap: a malloc whose page heap is the kernel's (/dev/goheap), so that idle
 * memory goes back when the machine needs it, or, where that device is missing, the
 * same page heap inside the library.
 *
 * Programs need nothing from this header: linked with -lgoheap, or started with
 * LD_PRELOAD=libgoheap.so, they use malloc(), free() and the rest of that family, or
 * C++ new and delete, as ever.  What is declared here are the few things that those
 * interfaces cannot say.
 *
 * All functions may be called by any thread at any time, but not by a signal
 * handler that may have interrupted one of the library's own.
 */
#ifndef GOHEAP_H
#define GOHEAP_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GOHEAP_VERSION_MAJOR	0
#define GOHEAP_VERSION_MINOR	1
#define GOHEAP_VERSION		"0.1"

/* The version of the library that is loaded, as GOHEAP_VERSION is that of this header. */
const char *goheap_version(void);

/*
 * Where memory comes from: "device" or "embedded".  Chosen when the process first
 * allocates, by the environment variable GOHEAPDEBUG=backend=device or
 * backend=embedded if it is set, else the device if it can be used.
 */
const char *goheap_backend(void);

/*
 * How many bytes a block for a request of size bytes would have: what
 * malloc_usable_size() will say of it.
 */
size_t goheap_good_size(size_t size);

/* Bytes of heap pages that hold objects, or are kept to serve the next ones without delay. */
size_t goheap_inuse_bytes(void);

/*
 * Gives the page heap what the calling thread keeps for its next allocations, and
 * looks through the whole heap for pages without objects.  Other threads keep what
 * they have.
 */
void goheap_flush(void);

/*
 * Gives memory of idle pages back to the system, at most about max_bytes, and
 * returns how much.  goheap_flush() first makes more of it idle.
 */
size_t goheap_scavenge(size_t max_bytes);

#ifdef __cplusplus
}
#endif

#endif
