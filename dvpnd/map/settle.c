/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The last step of building: from claims to routes.  Owns whose claim to a
 * prefix counts, and in which order the owners are tried.
 */
#include <stdlib.h>

#include "map/steps.h"

/* By prefix; then best first.  Sites are numbered in the order of their names. */
static int compare_claims(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;
	int order = prefix_compare(&x->prefix, &y->prefix);

	if (order)
		return order;
	if (x->learned != y->learned)
		return x->learned ? 1 : -1;
	if (x->pref != y->pref)
		return y->pref - x->pref;
	if (x->site != y->site)
		return x->site < y->site ? -1 : 1;
	if (x->source != y->source)
		return x->source < y->source ? -1 : 1;
	return x->line < y->line ? -1 : x->line > y->line;
}

static void remove_dropped(struct build *build)
{
	size_t i, kept = 0;

	for (i = 0; i < build->claims.count; i++)
		if (!claim_at(build, i)->dropped)
			*claim_at(build, kept++) = *claim_at(build, i);
	build->claims.count = kept;
}

/* Drops learned claims to what the operator gave, and a site's second claim to
 * the same prefix.  Returns how many prefixes there are; -1 for memory. */
static long drop_rivals(struct build *build)
{
	long *claimed = calloc(build->sites.count + 1, sizeof(*claimed));
	const struct claim *best = NULL;
	struct claim *claim;
	long prefixes = 0;
	size_t i;

	if (!claimed)
		return -1;
	for (i = 0; i < build->claims.count; i++) {
		claim = claim_at(build, i);
		if (!best || prefix_compare(&best->prefix, &claim->prefix) != 0) {
			best = claim;
			prefixes++;
		}
		claim->dropped = claim->learned != best->learned ||
				 claimed[claim->site] == prefixes;
		claimed[claim->site] = prefixes;
	}
	free(claimed);
	return prefixes;
}

static void fill_routes(const struct build *build, struct routes *routes)
{
	struct route *route = NULL;
	const struct claim *claim;
	uint32_t i;

	for (i = 0; i < routes->candidate_count; i++) {
		claim = claim_at(build, i);
		if (!route || prefix_compare(&route->prefix, &claim->prefix) != 0) {
			route = &routes->routes[routes->count++];
			route->prefix = claim->prefix;
			route->candidates = &routes->candidates[i];
		}
		route->candidate_count++;
		routes->candidates[i] = (struct candidate){
			.site = &routes->sites[claim->site],
			.pref = claim->pref,
			.origin = { string_at(build, build->paths[claim->source]), claim->line,
				    claim->learned },
		};
	}
}

int build_settle(struct build *build, struct routes *routes)
{
	long prefixes;

	remove_dropped(build);
	if (build->claims.count)
		qsort(build->claims.items, build->claims.count, sizeof(struct claim),
		      compare_claims);
	prefixes = drop_rivals(build);
	if (prefixes < 0)
		return -1;
	remove_dropped(build);
	routes->routes = calloc((size_t)prefixes + 1, sizeof(*routes->routes));
	routes->candidates = calloc(build->claims.count + 1, sizeof(*routes->candidates));
	if (!routes->routes || !routes->candidates)
		return -1;
	routes->candidate_count = (uint32_t)build->claims.count;
	fill_routes(build, routes);
	return routes_index(routes);
}
