/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The inside of a route snapshot, for build.c that fills it and routes.c that
 * reads it.
 *
 * A handful of exact-size arrays and no allocation per line: at 65,536
 * gateways that is what keeps a prefix below 200 bytes and freeing instant.
 */
#ifndef DVPND_MAP_SNAPSHOT_H
#define DVPND_MAP_SNAPSHOT_H

#include <stdatomic.h>

#include "map/routes.h"

#define ROUTES_NO_PARENT UINT32_MAX

struct routes {
	atomic_uint references;
	struct route *routes; /* by prefix_compare: all of IPv4, then all of IPv6 */
	uint32_t count, count4;
	uint32_t *keys4;   /* first addresses of the IPv4 routes, host order: what a search touches */
	uint32_t *parents; /* of each route: the next shorter one around it */
	struct candidate *candidates;
	uint32_t candidate_count;
	struct site *sites; /* by name */
	uint32_t site_count;
	struct endpoint *endpoints;
	uint32_t endpoint_count;
	char *strings;
	size_t strings_size;
};

/* An empty snapshot with one reference; NULL where memory is short. */
struct routes *routes_new(void);
/* Fills keys4, parents and count4 from the sorted routes.  0, or -1 for memory. */
int routes_index(struct routes *routes);

#endif
