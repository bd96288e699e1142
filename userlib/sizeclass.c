// SPDX-License-Identifier: MIT OR GPL-2.0
/* The tables of sizeclass.h, which mksizeclasses.c computes when the library is built. */
#include "sizeclass.h"
#include "sizeclasses.h"
