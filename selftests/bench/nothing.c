// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A library without anything in it: what preloading costs that does not depend on
 * what is preloaded.
 */
