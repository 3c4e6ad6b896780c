/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The route snapshot: which site owns which prefix, immutable once built.
 *
 * Built from the lines of both map files, then only read; any thread may hold
 * a counted reference.  A lookup finds the longest prefix around an address
 * and its owners in order of preference.
 */
#ifndef DVPND_MAP_ROUTES_H
#define DVPND_MAP_ROUTES_H

#include "map/addr.h"

enum ssh_mode { SSH_MODE_UNSET, SSH_MODE_TRUNK, SSH_MODE_NETCAT, SSH_MODE_DIRECT };
const char *ssh_mode_name(enum ssh_mode mode);
/* SSH_MODE_UNSET where the text is none of "trunk", "netcat", "direct". */
enum ssh_mode ssh_mode_parse(const char *text);

/* Where a statement of the map was made. */
struct origin {
	const char *file; /* as configured; lives as long as the snapshot */
	unsigned line;	  /* from 1 */
	bool learned;	  /* from the exchange's file, not the operator's */
};

/*
 * A gateway: all `#!` lines of one file that begin with the same name, merged.
 * A site that both files name keeps the operator's endpoints and options; the
 * learned lines add prefixes only.
 */
struct site {
	const char *name; /* lower case */
	struct origin origin;
	struct endpoint *endpoints; /* best first, at least one */
	unsigned endpoint_count;
	enum ssh_mode mode;	/* SSH_MODE_UNSET: as configured */
	const char *user;	/* NULL: as configured */
	const char *netcat;	/* NULL: as configured */
	const char *hostkey;	/* "SHA256:…" or NULL: known_hosts decides */
};

struct candidate {
	const struct site *site;
	int pref; /* higher first */
	struct origin origin;
};

/* One prefix and its owners, best first.  A prefix that the operator's file
 * gives has only owners from that file. */
struct route {
	struct prefix prefix;
	unsigned candidate_count;
	const struct candidate *candidates;
};

struct routes; /* counted */

struct routes *routes_get(struct routes *routes);
void routes_put(struct routes *routes); /* takes NULL */

/* The longest prefix around the address, or NULL.  Lives with the snapshot. */
const struct route *routes_lookup(const struct routes *routes, const struct addr *addr);

/* Every route, sorted by prefix_compare; every site, sorted by name. */
const struct route *routes_all(const struct routes *routes, size_t *count);
const struct site *routes_sites(const struct routes *routes, size_t *count);
const struct site *routes_site(const struct routes *routes, const char *name);
/* Bytes of memory that the snapshot holds. */
size_t routes_memory(const struct routes *routes);

#endif
