/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The map at 65,536 gateways: seconds to load, bytes per prefix, lookups per
 * second.  Two maps: one IPv4 prefix per gateway, and an IPv6 one beside it.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "map/build.h"

#define GATEWAYS 65536
#define LOOKUPS 2000000
#define ROUNDS 5 /* the median counts */

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values)
{
	qsort(values, ROUNDS, sizeof(*values), compare_doubles);
	return values[ROUNDS / 2];
}

/* In a scattered order, as a learned file may come. */
static char *make_map(bool v6, size_t *size)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, size);
	unsigned i, n;

	if (!out)
		exit(1);
	for (i = 0; i < GATEWAYS; i++) {
		n = i * 40503u % GATEWAYS;
		fprintf(out, "10.%u.%u.1 site%u #! 10.%u.%u.0/24", n >> 8, n & 255, n, n >> 8,
			n & 255);
		if (v6)
			fprintf(out, " fd00:%x::/32", n);
		fprintf(out, " 198.51.%u.%u\n", n >> 8, n & 255);
	}
	fclose(out);
	return text;
}

static struct routes *load(const char *text, size_t size)
{
	struct hosts_text source = { .path = "bench", .text = text, .size = size };
	struct routes *routes = NULL;
	double seconds[ROUNDS];
	unsigned i, bad;
	size_t count;

	for (i = 0; i < ROUNDS; i++) {
		double begin = now();

		routes_put(routes);
		routes = routes_build(&source, 1, 32, stderr, &bad);
		seconds[i] = now() - begin;
		if (!routes || bad)
			exit(1);
	}
	routes_all(routes, &count);
	printf("gateways %d prefixes %zu\n", GATEWAYS, count);
	printf("load %.3f s\n", median(seconds));
	printf("memory %.1f bytes a prefix, %zu in all (the text has %zu)\n",
	       (double)routes_memory(routes) / (double)count, routes_memory(routes), size);
	return routes;
}

static struct addr random_addr(uint32_t *seed, bool v6, bool hit)
{
	struct addr addr = { .family = v6 ? AF_INET6 : AF_INET };
	uint32_t random = *seed = *seed * 1664525u + 1013904223u;

	if (v6) {
		addr.bytes[0] = hit ? 0xfd : 0xfc;
		addr.bytes[2] = (uint8_t)(random >> 24);
		addr.bytes[3] = (uint8_t)(random >> 16);
		addr.bytes[15] = (uint8_t)(random >> 8);
	} else {
		addr.bytes[0] = hit ? 10 : (uint8_t)(11 + (random & 63));
		addr.bytes[1] = (uint8_t)(random >> 24);
		addr.bytes[2] = (uint8_t)(random >> 16);
		addr.bytes[3] = (uint8_t)(random >> 8);
	}
	return addr;
}

/* Half hits and half misses, in no order; the addresses are made beforehand. */
static void look_up(const struct routes *routes, bool v6)
{
	struct addr *addrs = calloc(LOOKUPS, sizeof(*addrs));
	double rates[ROUNDS];
	unsigned round, i, hits = 0, wanted = 0;
	uint32_t seed = 1;

	if (!addrs)
		exit(1);
	for (i = 0; i < LOOKUPS; i++) {
		bool hit = seed >> 31;

		wanted += hit;
		addrs[i] = random_addr(&seed, v6, hit);
	}
	for (round = 0; round < ROUNDS; round++) {
		double begin = now();

		hits = 0;
		for (i = 0; i < LOOKUPS; i++)
			hits += routes_lookup(routes, &addrs[i]) != NULL;
		rates[round] = LOOKUPS / (now() - begin);
	}
	if (hits != wanted)
		exit(1);
	printf("lookups IPv%d %.1f million a second, %u %% hits\n", v6 ? 6 : 4,
	       median(rates) / 1e6, (unsigned)(100ull * hits / LOOKUPS));
	free(addrs);
}

int main(void)
{
	struct routes *routes;
	unsigned v6;
	size_t size;
	char *text;

	for (v6 = 0; v6 < 2; v6++) {
		text = make_map(v6, &size);
		routes = load(text, size);
		free(text);
		look_up(routes, false);
		if (v6)
			look_up(routes, true);
		routes_put(routes);
	}
	return 0;
}
