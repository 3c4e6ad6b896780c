/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From texts to a snapshot.  Owns the course of the steps, the first of them,
 * which is reading, and what is said about refused lines.
 */
#include "map/build.h"

#include <stdlib.h>
#include <string.h>

#include "map/steps.h"

#define SHOWN_TEXT 100 /* bytes of a refused line in its message */

void *array_extend(struct array *array, size_t count)
{
	size_t capacity = array->capacity ? array->capacity : 64;
	void *items;

	while (capacity < array->count + count)
		capacity *= 2;
	if (capacity != array->capacity) {
		items = realloc(array->items, capacity * array->item);
		if (!items)
			return NULL;
		array->items = items;
		array->capacity = capacity;
	}
	items = (char *)array->items + array->count * array->item;
	array->count += count;
	return items;
}

void array_shrink(struct array *array)
{
	void *items = array->count ? realloc(array->items, array->count * array->item) : NULL;

	if (items) {
		array->items = items;
		array->capacity = array->count;
	}
}

/* Hands the items over to the snapshot. */
static void *array_take(struct array *array)
{
	void *items = array->items;

	array->items = NULL;
	return items;
}

/* Puts a string into the pool, unless it is the one at `last`: the lines of a
 * site are neighbours as a rule and say much the same. */
static int put_string(struct build *build, const char *text, uint32_t last, uint32_t *offset)
{
	size_t size = strlen(text) + 1;
	char *place;

	*offset = last;
	if (last && strcmp(string_at(build, last), text) == 0)
		return 0;
	place = array_extend(&build->pool, size);
	if (!place)
		return -1;
	memcpy(place, text, size);
	*offset = (uint32_t)(place - (char *)build->pool.items);
	return 0;
}

static int put_option(struct build *build, const char *text, uint32_t last, uint32_t *offset)
{
	*offset = 0;
	return text ? put_string(build, text, last, offset) : 0;
}

void build_report(struct build *build, uint32_t source, unsigned line, const char *reason,
		   const char *text, size_t size)
{
	const char *path = build->texts[source].path;
	size_t i;

	build->bad_lines++;
	if (!build->errors || build->shown[source] > ROUTES_ERRORS_SHOWN)
		return;
	if (build->shown[source]++ == ROUTES_ERRORS_SHOWN) {
		fprintf(build->errors, "%s:%u: this line and more after it are refused too; "
			"is this a map file? See dvpn-hosts(5)\n", path, line);
		return;
	}
	fprintf(build->errors, "%s:%u: %s: ", path, line, reason);
	for (i = 0; i < size && i < SHOWN_TEXT; i++)
		fputc(text[i] == '\t' ? ' ' : text[i] < ' ' || text[i] > '~' ? '?' : text[i],
		      build->errors);
	fputs(size > SHOWN_TEXT ? "...\n" : "\n", build->errors);
}

static int put_places(struct build *build, struct entry *entry, const struct hosts_line *line)
{
	struct place *places = array_extend(&build->places, line->endpoint_count);
	uint32_t last;
	unsigned i;

	if (!places)
		return -1;
	entry->first_endpoint = (uint32_t)(build->places.count - line->endpoint_count);
	entry->endpoint_count = (uint16_t)line->endpoint_count;
	last = entry->first_endpoint ? places[-1].host : 0;
	for (i = 0; i < line->endpoint_count; i++) {
		places[i].port = line->endpoints[i].port;
		if (put_string(build, line->endpoints[i].host, last, &places[i].host))
			return -1;
		last = places[i].host;
	}
	return 0;
}

static int put_claims(struct build *build, struct entry *entry, const struct hosts_line *line)
{
	struct claim *claims = array_extend(&build->claims, line->prefix_count);
	unsigned i;

	if (!claims)
		return -1;
	entry->first_claim = (uint32_t)(build->claims.count - line->prefix_count);
	entry->claim_count = (uint16_t)line->prefix_count;
	for (i = 0; i < line->prefix_count; i++)
		claims[i] = (struct claim){
			.prefix = line->prefixes[i],
			.learned = entry->learned,
			.pref = (int16_t)line->pref,
			.source = (uint16_t)entry->source,
			.line = line->number,
		};
	return 0;
}

static int put_entry(struct build *build, uint32_t source, const struct hosts_line *line)
{
	static const struct entry none;
	const struct entry *last = build->entries.count ?
					   entry_at(build, build->entries.count - 1) : &none;
	struct entry entry = {
		.source = source,
		.line = line->number,
		.offset = (uint32_t)(line->text - build->texts[source].text),
		.size = (uint32_t)line->size,
		.mode = (uint8_t)line->mode,
		.learned = build->texts[source].learned,
	};
	struct entry *room;

	if (put_string(build, line->names[0], last->name, &entry.name) ||
	    put_option(build, line->user, last->user, &entry.user) ||
	    put_option(build, line->netcat, last->netcat, &entry.netcat) ||
	    put_option(build, line->hostkey, last->hostkey, &entry.hostkey) ||
	    put_places(build, &entry, line) || put_claims(build, &entry, line))
		return -1;
	room = array_extend(&build->entries, 1);
	if (!room)
		return -1;
	*room = entry;
	return 0;
}

static int read_text(struct build *build, uint32_t source, unsigned prefix_length)
{
	struct hosts_reader *reader = build->reader;
	const struct hosts_line *line = &reader->line;
	enum hosts_result result;

	if (put_string(build, build->texts[source].path, 0, &build->paths[source]))
		return -1;
	hosts_reader_init(reader, &build->texts[source], prefix_length);
	while ((result = hosts_next(reader)) != HOSTS_END) {
		if (result == HOSTS_BAD)
			build_report(build, source, line->number, line->reason, line->text, line->size);
		else if (line->gateway && put_entry(build, source, line))
			return -1;
	}
	return 0;
}

/* The sites' endpoints stand one after another in the order of the sites. */
static void take_sites(struct build *build, struct routes *routes)
{
	struct endpoint *endpoint;
	uint32_t i;

	array_shrink(&build->sites);
	array_shrink(&build->endpoints);
	routes->site_count = (uint32_t)build->sites.count;
	routes->endpoint_count = (uint32_t)build->endpoints.count;
	routes->sites = array_take(&build->sites);
	routes->endpoints = endpoint = array_take(&build->endpoints);
	for (i = 0; i < routes->site_count; i++) {
		routes->sites[i].endpoints = endpoint;
		endpoint += routes->sites[i].endpoint_count;
	}
}

static int build_all(struct build *build, size_t count, unsigned prefix_length,
		     struct routes *routes)
{
	uint32_t i;

	if (!array_extend(&build->pool, 1)) /* so that offset 0 is no string */
		return -1;
	*(char *)build->pool.items = '\0';
	for (i = 0; i < count; i++)
		if (read_text(build, i, prefix_length))
			return -1;
	if (build_merge(build))
		return -1;
	take_sites(build, routes);
	if (build_settle(build, routes))
		return -1;
	routes->strings_size = build->pool.count;
	routes->strings = array_take(&build->pool);
	return 0;
}

struct routes *routes_build(const struct hosts_text *texts, size_t count, unsigned prefix_length,
			    FILE *errors, unsigned *bad_lines)
{
	struct build build = {
		.texts = texts,
		.errors = errors,
		.pool.item = 1,
		.entries.item = sizeof(struct entry),
		.places.item = sizeof(struct place),
		.claims.item = sizeof(struct claim),
		.sites.item = sizeof(struct site),
		.endpoints.item = sizeof(struct endpoint),
	};
	struct routes *routes = routes_new();

	build.reader = malloc(sizeof(*build.reader));
	build.paths = calloc(count + 1, sizeof(*build.paths));
	build.shown = calloc(count + 1, sizeof(*build.shown));
	if (!routes || !build.reader || !build.paths || !build.shown ||
	    build_all(&build, count, prefix_length, routes)) {
		if (errors)
			fprintf(errors, "out of memory while reading the map\n");
		routes_put(routes);
		routes = NULL;
	}
	if (bad_lines)
		*bad_lines = build.bad_lines;
	free(build.reader);
	free(build.paths);
	free(build.shown);
	free(build.pool.items);
	free(build.entries.items);
	free(build.places.items);
	free(build.claims.items);
	free(build.sites.items);
	free(build.endpoints.items);
	return routes;
}
