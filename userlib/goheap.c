// SPDX-License-Identifier: MIT OR GPL-2.0
/* The functions of goheap.h, but for statistics (memstats.c, json.c) and the walk (walk.c). */
#include <errno.h>
#include <goheap.h>
#include <string.h>
#include "empty.h"
#include "mcache.h"
#include "options.h"
#include "stack.h"
#include "sweep.h"

ghu_export const char *goheap_version(void)
{
	return GOHEAP_VERSION;
}

ghu_export const char *goheap_backend(void)
{
	return ghu_backend_name();
}

ghu_export size_t goheap_good_size(size_t size)
{
	if (size <= GHU_MAX_SMALL_SIZE)
		return ghu_classes[ghu_size_to_class(size)].size;
	if (size > SIZE_MAX - GHU_PAGE_SIZE)
		return size;
	return ghu_pages_for(size) << GHU_PAGE_SHIFT;
}

ghu_export size_t goheap_inuse_bytes(void)
{
	return __atomic_load_n(&ghu_spans.pages_inuse, __ATOMIC_RELAXED) << GHU_PAGE_SHIFT;
}

ghu_export void goheap_flush(void)
{
	ghu_mcache_flush();
	ghu_sweep_start();
	ghu_sweep_finish();
	ghu_empty_flush();
}

ghu_export size_t goheap_scavenge(size_t max_bytes)
{
	ghu_empty_flush();
	return ghu_backend_scavenge(max_bytes);
}

/* ---- options: the environment is read first, if it was not yet ---- */

ghu_export const char *goheap_option_name(unsigned int i)
{
	return ghu_option_name(i);
}

static int errno_or(long ret)
{
	if (ret >= 0)
		return (int)ret;
	errno = (int)-ret;
	return -1;
}

ghu_export int goheap_option_get(const char *name, char *value, size_t size)
{
	ghu_backend_pressure();
	return errno_or(ghu_option_get(name, value, size));
}

ghu_export int goheap_option_set(const char *name, const char *value)
{
	int ret;

	ghu_backend_pressure();
	if (!strcmp(name, "memprofilerate"))
		ghu_stack_prepare();
	ret = ghu_option_set(name, value);
	ghu_mcache_resample();
	return errno_or(ret);
}
