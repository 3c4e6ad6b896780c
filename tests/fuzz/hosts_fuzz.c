/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes as a map: the first byte says which file and which prefix length,
 * the rest is its text.  Checked besides crashes: every lookup of a route's own
 * address finds a route around it, and every site is sound.
 */
#include <stdlib.h>
#include <string.h>

#include "map/build.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_route(const struct routes *routes, const struct route *route)
{
	const struct route *found = routes_lookup(routes, &route->prefix.addr);
	unsigned i;

	if (!found || !prefix_contains(&route->prefix, &found->prefix.addr) ||
	    found->prefix.length < route->prefix.length)
		abort();
	if (route->candidate_count == 0)
		abort();
	for (i = 1; i < route->candidate_count; i++)
		if (route->candidates[i].pref > route->candidates[i - 1].pref ||
		    route->candidates[i].site == route->candidates[i - 1].site)
			abort();
}

static void check_site(const struct routes *routes, const struct site *site)
{
	char text[300];
	unsigned i;

	if (routes_site(routes, site->name) != site || !host_name_valid(site->name))
		abort();
	if (site->endpoint_count == 0)
		abort();
	for (i = 0; i < site->endpoint_count; i++)
		endpoint_format(&site->endpoints[i], 22, text, sizeof(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static FILE *nowhere;
	/* The same text twice: operator and learned must get along. */
	struct hosts_text texts[2] = { { .path = "a" }, { .path = "b" } };
	const struct route *all;
	const struct site *sites;
	struct routes *routes;
	size_t count, i;

	if (!nowhere)
		nowhere = fopen("/dev/null", "w");
	if (size == 0)
		return 0;
	for (i = 0; i < 2; i++) {
		texts[i].text = (const char *)data + 1;
		texts[i].size = size - 1;
		texts[i].learned = i == 1 || data[0] & 1;
	}
	routes = routes_build(texts, data[0] & 2 ? 2 : 1, data[0] >> 2, nowhere, NULL);
	if (!routes)
		return 0;
	all = routes_all(routes, &count);
	for (i = 0; i < count; i++)
		check_route(routes, &all[i]);
	sites = routes_sites(routes, &count);
	for (i = 0; i < count; i++)
		check_site(routes, &sites[i]);
	routes_put(routes);
	return 0;
}
