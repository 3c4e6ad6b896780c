/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The route snapshot as its readers see it.  Owns the lookup and the count of
 * references; what is in it was decided in build.c.
 */
#include "map/routes.h"

#include <stdlib.h>
#include <string.h>

#include "map/snapshot.h"

static const char *const mode_names[] = {
	[SSH_MODE_UNSET] = "unset",
	[SSH_MODE_TRUNK] = "trunk",
	[SSH_MODE_NETCAT] = "netcat",
	[SSH_MODE_DIRECT] = "direct",
};

const char *ssh_mode_name(enum ssh_mode mode)
{
	return mode_names[mode];
}

enum ssh_mode ssh_mode_parse(const char *text)
{
	enum ssh_mode mode;

	for (mode = SSH_MODE_TRUNK; mode <= SSH_MODE_DIRECT; mode++)
		if (strcmp(text, mode_names[mode]) == 0)
			return mode;
	return SSH_MODE_UNSET;
}

struct routes *routes_new(void)
{
	struct routes *routes = calloc(1, sizeof(*routes));

	if (routes)
		atomic_init(&routes->references, 1);
	return routes;
}

struct routes *routes_get(struct routes *routes)
{
	atomic_fetch_add_explicit(&routes->references, 1, memory_order_relaxed);
	return routes;
}

void routes_put(struct routes *routes)
{
	/* Release what this thread read before; acquire what the others did before the free. */
	if (!routes ||
	    atomic_fetch_sub_explicit(&routes->references, 1, memory_order_acq_rel) != 1)
		return;
	free(routes->routes);
	free(routes->keys4);
	free(routes->parents);
	free(routes->candidates);
	free(routes->sites);
	free(routes->endpoints);
	free(routes->strings);
	free(routes);
}

static uint32_t key4(const struct addr *addr)
{
	return (uint32_t)addr->bytes[0] << 24 | (uint32_t)addr->bytes[1] << 16 |
	       (uint32_t)addr->bytes[2] << 8 | addr->bytes[3];
}

int routes_index(struct routes *routes)
{
	uint32_t i, parent;

	while (routes->count4 < routes->count &&
	       routes->routes[routes->count4].prefix.addr.family == AF_INET)
		routes->count4++;
	routes->keys4 = calloc(routes->count4 + 1, sizeof(*routes->keys4));
	routes->parents = calloc(routes->count + 1, sizeof(*routes->parents));
	if (!routes->keys4 || !routes->parents)
		return -1;
	for (i = 0; i < routes->count; i++) {
		if (i < routes->count4)
			routes->keys4[i] = key4(&routes->routes[i].prefix.addr);
		/* Sorted, so what is around this prefix is its neighbour or around that. */
		parent = i ? i - 1 : ROUTES_NO_PARENT;
		while (parent != ROUTES_NO_PARENT &&
		       !prefix_contains(&routes->routes[parent].prefix,
					&routes->routes[i].prefix.addr))
			parent = routes->parents[parent];
		routes->parents[i] = parent;
	}
	return 0;
}

/* How many IPv4 routes start at or before the address. */
static uint32_t search4(const struct routes *routes, uint32_t key)
{
	const uint32_t *base = routes->keys4;
	uint32_t left = routes->count4, half;

	if (left == 0)
		return 0;
	/* Without a branch to mispredict; the sum is a conditional move. */
	for (; left > 1; left -= half) {
		half = left / 2;
		base += base[half - 1] <= key ? half : 0;
	}
	return (uint32_t)(base - routes->keys4) + (*base <= key);
}

/* The same for IPv6, counted from the first route of all. */
static uint32_t search6(const struct routes *routes, const struct addr *addr)
{
	uint32_t low = routes->count4, high = routes->count, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (addr_compare(&routes->routes[middle].prefix.addr, addr) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct route *routes_lookup(const struct routes *routes, const struct addr *addr)
{
	uint32_t i;

	i = addr->family == AF_INET ? search4(routes, key4(addr)) : search6(routes, addr);
	if (i == 0)
		return NULL;
	for (i--; i != ROUTES_NO_PARENT; i = routes->parents[i])
		if (prefix_contains(&routes->routes[i].prefix, addr))
			return &routes->routes[i];
	return NULL;
}

const struct route *routes_all(const struct routes *routes, size_t *count)
{
	*count = routes->count;
	return routes->routes;
}

const struct site *routes_sites(const struct routes *routes, size_t *count)
{
	*count = routes->site_count;
	return routes->sites;
}

static int compare_site_name(const void *name, const void *site)
{
	return strcmp(name, ((const struct site *)site)->name);
}

const struct site *routes_site(const struct routes *routes, const char *name)
{
	if (routes->site_count == 0)
		return NULL;
	return bsearch(name, routes->sites, routes->site_count, sizeof(*routes->sites),
		       compare_site_name);
}

size_t routes_memory(const struct routes *routes)
{
	return sizeof(*routes) + routes->count * sizeof(*routes->routes) +
	       (routes->count4 + 1) * sizeof(*routes->keys4) +
	       (routes->count + 1) * sizeof(*routes->parents) +
	       routes->candidate_count * sizeof(*routes->candidates) +
	       routes->site_count * sizeof(*routes->sites) +
	       routes->endpoint_count * sizeof(*routes->endpoints) + routes->strings_size;
}
