/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The second step of building: from lines to sites.  Owns what makes several
 * lines one site, and when they can't be one.
 */
#include <stdlib.h>
#include <string.h>

#include "map/steps.h"

#define SITE_ENDPOINTS_MAX 64 /* they are searched one by one */

/* By name; then the operator's before learned ones; then as they were read. */
static int compare_entries(const void *a, const void *b, void *arg)
{
	const struct entry *x = a, *y = b;
	int order = strcmp(string_at(arg, x->name), string_at(arg, y->name));

	if (order)
		return order;
	if (x->learned != y->learned)
		return x->learned ? 1 : -1;
	if (x->source != y->source)
		return x->source < y->source ? -1 : 1;
	return x->line < y->line ? -1 : 1;
}

static void refuse_entry(struct build *build, struct entry *entry, const char *reason)
{
	uint32_t i;

	if (entry->refused)
		return;
	entry->refused = true;
	for (i = 0; i < entry->claim_count; i++)
		claim_at(build, entry->first_claim + i)->dropped = true;
	build_report(build, entry->source, entry->line, reason,
	       build->texts[entry->source].text + entry->offset, entry->size);
}

static bool differs(const struct build *build, uint32_t a, uint32_t b)
{
	return a && b && strcmp(string_at(build, a), string_at(build, b)) != 0;
}

/* NULL, or why a line can't be the same site as what was merged so far. */
static const char *contradiction(const struct build *build, const struct entry *merged,
				 const struct entry *entry)
{
	if (differs(build, merged->user, entry->user))
		return "user= contradicts an earlier line of this site";
	if (differs(build, merged->netcat, entry->netcat))
		return "netcat= contradicts an earlier line of this site";
	if (differs(build, merged->hostkey, entry->hostkey))
		return "hostkey= contradicts an earlier line of this site";
	if (merged->mode && entry->mode && merged->mode != entry->mode)
		return "mode= contradicts an earlier line of this site";
	return NULL;
}

static void merge_options(struct entry *merged, const struct entry *entry)
{
	merged->user = merged->user ? merged->user : entry->user;
	merged->netcat = merged->netcat ? merged->netcat : entry->netcat;
	merged->hostkey = merged->hostkey ? merged->hostkey : entry->hostkey;
	merged->mode = merged->mode ? merged->mode : entry->mode;
}

/* Appends one, unless it is there since `first`. */
static int merge_endpoint(struct build *build, size_t first, const struct place *place)
{
	struct endpoint *have = build->endpoints.items, *room;
	const char *host = string_at(build, place->host);
	size_t i;

	for (i = first; i < build->endpoints.count; i++)
		if (have[i].port == place->port && strcmp(have[i].host, host) == 0)
			return 0;
	room = array_extend(&build->endpoints, 1);
	if (!room)
		return -1;
	room->host = (char *)build->pool.items + place->host;
	room->port = place->port;
	return 0;
}

/* One line into the site whose endpoints begin at `first`. */
static int merge_entry(struct build *build, struct entry *merged, size_t first,
		       struct entry *entry)
{
	const char *reason = contradiction(build, merged, entry);
	const struct place *places = build->places.items;
	size_t before = build->endpoints.count;
	uint32_t i;

	for (i = 0; i < entry->endpoint_count && !reason; i++) {
		if (merge_endpoint(build, first, places + entry->first_endpoint + i))
			return -1;
		if (build->endpoints.count - first > SITE_ENDPOINTS_MAX)
			reason = "the site has more than 64 endpoints";
	}
	if (reason) {
		build->endpoints.count = before;
		refuse_entry(build, entry, reason);
	} else {
		merge_options(merged, entry);
	}
	return 0;
}

static const char *option_text(const struct build *build, uint32_t offset)
{
	return offset ? string_at(build, offset) : NULL;
}

/* Site number `site` owns what these lines claim. */
static void own_claims(struct build *build, size_t from, size_t to, uint32_t site)
{
	const struct entry *entry;
	uint32_t k;

	for (; from < to; from++) {
		entry = entry_at(build, from);
		for (k = 0; k < entry->claim_count; k++)
			claim_at(build, entry->first_claim + k)->site = site;
	}
}

/* Makes one site of the entries from..to, which have one name and one kind of
 * file.  *made says whether that went; if not, its lines are refused. */
static int merge_site(struct build *build, size_t from, size_t to, bool *made)
{
	size_t first = build->endpoints.count, i;
	const struct entry *head = entry_at(build, from);
	struct entry merged = { 0 };
	struct site *site;

	*made = false;
	for (i = from; i < to; i++)
		if (merge_entry(build, &merged, first, entry_at(build, i)))
			return -1;
	if (build->endpoints.count == first) {
		for (i = from; i < to; i++)
			refuse_entry(build, entry_at(build, i), "no line of this site in this "
				     "file has an endpoint; add HOST[:PORT] after the #!");
		return 0;
	}
	own_claims(build, from, to, (uint32_t)build->sites.count);
	site = array_extend(&build->sites, 1);
	if (!site)
		return -1;
	*site = (struct site){
		.name = string_at(build, head->name),
		.origin = { string_at(build, build->paths[head->source]), head->line,
			    head->learned },
		.endpoint_count = (unsigned)(build->endpoints.count - first),
		.mode = merged.mode,
		.user = option_text(build, merged.user),
		.netcat = option_text(build, merged.netcat),
		.hostkey = option_text(build, merged.hostkey),
	};
	*made = true;
	return 0;
}

/* All lines of one name: the operator's first, and if those make a site, the
 * learned ones add their prefixes to it and nothing else. */
static int merge_name(struct build *build, size_t from, size_t to)
{
	size_t learned = from;
	bool made = false;

	while (learned < to && !entry_at(build, learned)->learned)
		learned++;
	if (learned > from && merge_site(build, from, learned, &made))
		return -1;
	if (learned == to)
		return 0;
	if (!made)
		return merge_site(build, learned, to, &made);
	own_claims(build, learned, to, (uint32_t)build->sites.count - 1);
	return 0;
}

int build_merge(struct build *build)
{
	size_t count = build->entries.count, from, to;

	array_shrink(&build->pool);
	if (count)
		qsort_r(build->entries.items, count, sizeof(struct entry), compare_entries, build);
	for (from = 0; from < count; from = to) {
		for (to = from + 1; to < count; to++)
			if (strcmp(string_at(build, entry_at(build, from)->name),
				   string_at(build, entry_at(build, to)->name)) != 0)
				break;
		if (merge_name(build, from, to))
			return -1;
	}
	return 0;
}
