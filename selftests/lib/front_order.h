/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Comes before each source of the library that order.awk changed: the ordering of that
 * number is missing, and all others are as they were.
 */
#ifndef FRONT_ORDER_H
#define FRONT_ORDER_H

extern int ghu_order_broken;

#define GHU_ORDER(nr, order)	(ghu_order_broken == (nr) ? __ATOMIC_RELAXED : (order))

#endif
