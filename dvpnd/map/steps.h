/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The steps of building a snapshot, and what they hand to each other.
 *
 * Reading (build.c) gives one entry per `#!` line, and one claim per prefix on
 * it.  Merging (merge.c) sorts the entries by name, so that a site's lines
 * stand side by side, and makes the sites.  Settling (settle.c) sorts the
 * claims by prefix, so that the rivals for one stand side by side, best first,
 * and makes the routes.  Sorting rather than hashing: names come from
 * strangers, who could pick ones that collide.
 */
#ifndef DVPND_MAP_STEPS_H
#define DVPND_MAP_STEPS_H

#include "map/build.h"
#include "map/snapshot.h"

/* A growing array; `item` is the size of one. */
struct array {
	void *items;
	size_t count, capacity, item;
};

/* Strings are offsets into the pool, which moves while it grows; 0 is "not given". */
struct entry {
	uint32_t name, user, netcat, hostkey;
	uint32_t source, line;
	uint32_t offset, size; /* of the line, in the source's text */
	uint32_t first_endpoint, first_claim;
	uint16_t endpoint_count, claim_count;
	uint8_t mode;
	bool learned, refused;
};

struct place {
	uint32_t host;
	uint16_t port;
};

struct claim {
	struct prefix prefix;
	bool learned, dropped;
	int16_t pref;
	uint16_t source;
	uint32_t site, line;
};

struct build {
	const struct hosts_text *texts;
	FILE *errors;
	struct hosts_reader *reader;
	struct array pool, entries, places, claims;
	struct array sites, endpoints; /* of the snapshot */
	uint32_t *paths;	       /* of the texts, in the pool */
	unsigned *shown;	       /* error lines of each text */
	unsigned bad_lines;
};

/* Room for `count` more items; NULL where memory is short. */
void *array_extend(struct array *array, size_t count);
/* Gives the spare room back; the items may move. */
void array_shrink(struct array *array);

static inline struct entry *entry_at(const struct build *build, size_t i)
{
	return (struct entry *)build->entries.items + i;
}

static inline struct claim *claim_at(const struct build *build, size_t i)
{
	return (struct claim *)build->claims.items + i;
}

static inline const char *string_at(const struct build *build, uint32_t offset)
{
	return (const char *)build->pool.items + offset;
}

/* Counts a refused line, and says so on build->errors. */
void build_report(struct build *build, uint32_t source, unsigned line, const char *reason,
		  const char *text, size_t size);

/* Both 0, or -1 where memory is short.  After merging, the pool stands still:
 * sites point into it. */
int build_merge(struct build *build);
int build_settle(struct build *build, struct routes *routes);

#endif
