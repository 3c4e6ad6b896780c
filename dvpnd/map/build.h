/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Building a route snapshot out of the texts of the map files.
 */
#ifndef DVPND_MAP_BUILD_H
#define DVPND_MAP_BUILD_H

#include <stdio.h>

#include "map/hosts.h"

/* At most so many lines about one file are written; all are counted. */
#define ROUTES_ERRORS_SHOWN 1000

/*
 * Reads the texts (at most 65,535, of at most 1 GiB together) and decides which
 * site owns what.  A bad line is refused with "FILE:LINE: reason: text" on
 * `errors` (may be NULL) and counted in *bad_lines (may be NULL); the rest
 * counts.  The caller owns one reference.  NULL, with a line on `errors`, only
 * where memory is short.  The texts are not needed afterwards.
 */
struct routes *routes_build(const struct hosts_text *texts, size_t count, unsigned prefix_length,
			    FILE *errors, unsigned *bad_lines);

#endif
