/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The invariant walker, for tests and debug builds of the homes.
 */
#ifndef GH_CHECK_H
#define GH_CHECK_H

#include <gh_port.h>
#include "mheap.h"

/* 0, or -EUCLEAN after a WARN_ON_ONCE.  Visits every record and every page. */
int gh_mheap_check_locked(struct gh_mheap *h);

#endif /* GH_CHECK_H */
