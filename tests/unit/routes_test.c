/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Snapshots: which lines make a site, who owns a prefix, and the lookup. */
#include "map/build.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define KEY_A "SHA256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define KEY_B "SHA256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static char *errors; /* of the last build */
static unsigned bad_lines;

static struct routes *build_texts(const struct hosts_text *texts, size_t count)
{
	struct routes *routes;
	size_t size;
	FILE *out;

	free(errors);
	errors = NULL;
	out = open_memstream(&errors, &size);
	assert_non_null(out);
	routes = routes_build(texts, count, 32, out, &bad_lines);
	fclose(out);
	assert_non_null(routes);
	return routes;
}

/* The texts are gone when this returns: a snapshot may not point into them. */
static struct routes *build(const char *operator, const char *learned)
{
	struct hosts_text texts[2] = {
		{ .path = strdup("hosts"), .text = strdup(operator), .size = strlen(operator) },
		{ .path = strdup("learned"), .text = strdup(learned), .size = strlen(learned),
		  .learned = true },
	};
	struct routes *routes = build_texts(texts, 2);
	size_t i;

	for (i = 0; i < 2; i++) {
		free((char *)texts[i].path);
		free((char *)texts[i].text);
	}
	return routes;
}

static void print_site(const struct site *site, FILE *out)
{
	char text[300];
	unsigned i;

	fprintf(out, "%s@%s:%u", site->name, site->origin.file, site->origin.line);
	for (i = 0; i < site->endpoint_count; i++)
		fprintf(out, " %s", endpoint_format(&site->endpoints[i], 22, text, sizeof(text)));
	if (site->user)
		fprintf(out, " user=%s", site->user);
	if (site->netcat)
		fprintf(out, " netcat=%s", site->netcat);
	if (site->hostkey)
		fprintf(out, " hostkey=%.10s", site->hostkey);
	if (site->mode)
		fprintf(out, " mode=%s", ssh_mode_name(site->mode));
	fputc('\n', out);
}

static void print_route(const struct route *route, FILE *out)
{
	char text[PREFIX_TEXT_SIZE];
	unsigned i;

	fprintf(out, "%s ->", prefix_format(&route->prefix, text));
	for (i = 0; i < route->candidate_count; i++) {
		const struct candidate *candidate = &route->candidates[i];

		fprintf(out, " %s(%d %s:%u)", candidate->site->name, candidate->pref,
			candidate->origin.file, candidate->origin.line);
		assert_int_equal(candidate->origin.learned,
				 strcmp(candidate->origin.file, "learned") == 0);
	}
	fputc('\n', out);
}

static char *print(const struct routes *routes)
{
	const struct route *all;
	const struct site *sites;
	size_t count, size, i;
	char *text = NULL;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	sites = routes_sites(routes, &count);
	for (i = 0; i < count; i++)
		print_site(&sites[i], out);
	all = routes_all(routes, &count);
	for (i = 0; i < count; i++)
		print_route(&all[i], out);
	fclose(out);
	return text;
}

static const struct {
	const char *title, *operator, *learned, *expected;
	const char *errors;
	unsigned bad_lines;
} cases[] = {
	{ "empty", "", "", "", "", 0 },
	{ "names only", "10.1.0.1 a\n127.0.0.1 localhost\n", "10.1.0.2 b", "", "", 0 },
	{ "two sites, sorted",
	  "10.8.0.1 friday #! 10.8.0.0/16 f.example:2222 198.51.100.9\n"
	  "10.7.0.1 Thursday #! 203.0.113.7\n", "",
	  "friday@hosts:1 f.example:2222 198.51.100.9:22\n"
	  "thursday@hosts:2 203.0.113.7:22\n"
	  "10.7.0.1/32 -> thursday(0 hosts:2)\n"
	  "10.8.0.0/16 -> friday(0 hosts:1)\n", "", 0 },
	{ "lines of one name are one site",
	  "10.7.0.1 a #! 10.7.0.0/16 one user=u\n"
	  "10.9.0.1 b #! two\n"
	  "fd00:7::1 A #! fd00:7::/48 one three hostkey=" KEY_A "\n", "",
	  "a@hosts:1 one:22 three:22 user=u hostkey=SHA256:aaa\n"
	  "b@hosts:2 two:22\n"
	  "10.7.0.0/16 -> a(0 hosts:1)\n"
	  "10.9.0.1/32 -> b(0 hosts:2)\n"
	  "fd00:7::/48 -> a(0 hosts:3)\n", "", 0 },
	{ "the endpoint may be on a later line",
	  "10.7.0.1 a #! 10.7.0.0/16\n10.7.0.1 a #! 10.6.0.0/16 one\n", "",
	  "a@hosts:1 one:22\n10.6.0.0/16 -> a(0 hosts:2)\n10.7.0.0/16 -> a(0 hosts:1)\n",
	  "", 0 },
	{ "no endpoint anywhere",
	  "10.7.0.1 a #! 10.7.0.0/16\n10.8.0.1 b #! one\n10.6.0.1 a #!\n", "",
	  "b@hosts:2 one:22\n10.8.0.1/32 -> b(0 hosts:2)\n",
	  "hosts:1: no line of this site in this file has an endpoint; add HOST[:PORT] after "
	  "the #!: 10.7.0.1 a #! 10.7.0.0/16\n"
	  "hosts:3: no line of this site in this file has an endpoint; add HOST[:PORT] after "
	  "the #!: 10.6.0.1 a #!\n", 2 },
	{ "contradictions refuse the later line, all of it",
	  "10.1.0.1 a #! one user=x\n10.1.0.2 a #! two user=y\n"
	  "10.1.0.3 a #! three hostkey=" KEY_A "\n10.1.0.4 a #! hostkey=" KEY_B "\n"
	  "10.1.0.5 a #! mode=direct\n10.1.0.6 a #! mode=netcat\n"
	  "10.1.0.7 a #! netcat=nc\n10.1.0.8 a #! netcat=nc2\n10.1.0.9 a #! user=x netcat=nc\n",
	  "",
	  "a@hosts:1 one:22 three:22 user=x netcat=nc hostkey=SHA256:aaa mode=direct\n"
	  "10.1.0.1/32 -> a(0 hosts:1)\n10.1.0.3/32 -> a(0 hosts:3)\n"
	  "10.1.0.5/32 -> a(0 hosts:5)\n10.1.0.7/32 -> a(0 hosts:7)\n"
	  "10.1.0.9/32 -> a(0 hosts:9)\n",
	  "hosts:2: user= contradicts an earlier line of this site: 10.1.0.2 a #! two user=y\n"
	  "hosts:4: hostkey= contradicts an earlier line of this site: "
	  "10.1.0.4 a #! hostkey=" KEY_B "\n"
	  "hosts:6: mode= contradicts an earlier line of this site: 10.1.0.6 a #! mode=netcat\n"
	  "hosts:8: netcat= contradicts an earlier line of this site: "
	  "10.1.0.8 a #! netcat=nc2\n", 4 },
	{ "endpoints of one host differ by port",
	  "10.1.0.1 a #! x:1 x:2 x\n10.1.0.1 a #! x:2 x:3\n", "",
	  "a@hosts:1 x:1 x:2 x:22 x:3\n10.1.0.1/32 -> a(0 hosts:1)\n", "", 0 },
	{ "a line is refused once",
	  "10.1.0.1 a #! user=x\n10.1.0.2 a #! user=y\n", "", "",
	  "hosts:2: user= contradicts an earlier line of this site: 10.1.0.2 a #! user=y\n"
	  "hosts:1: no line of this site in this file has an endpoint; add HOST[:PORT] after "
	  "the #!: 10.1.0.1 a #! user=x\n", 2 },
	{ "owners: pref, then name",
	  "10.1.0.1 c #! 10.0.0.0/8 x\n10.1.0.2 b #! 10.0.0.0/8 x pref=-1\n"
	  "10.1.0.3 a #! 10.0.0.0/8 x\n10.1.0.4 d #! 10.0.0.0/8 x pref=7\n", "",
	  "a@hosts:3 x:22\nb@hosts:2 x:22\nc@hosts:1 x:22\nd@hosts:4 x:22\n"
	  "10.0.0.0/8 -> d(7 hosts:4) a(0 hosts:3) c(0 hosts:1) b(-1 hosts:2)\n", "", 0 },
	{ "a site owns a prefix once, by its best line",
	  "10.1.0.1 a #! 10.0.0.0/8 10.0.0.0/8 x\n10.1.0.2 a #! 10.0.0.0/8 pref=5\n"
	  "10.1.0.3 b #! 10.0.0.0/8 y pref=3\n10.1.0.4 a #! 10.0.0.0/8\n", "",
	  "a@hosts:1 x:22\nb@hosts:3 y:22\n"
	  "10.0.0.0/8 -> a(5 hosts:2) b(3 hosts:3)\n", "", 0 },
	{ "the operator's line wins, whatever the pref",
	  "10.1.0.1 z #! 10.0.0.0/8 x pref=-9\n",
	  "10.2.0.1 a #! 10.0.0.0/8 10.2.0.0/16 y pref=9\n",
	  "a@learned:1 y:22\nz@hosts:1 x:22\n"
	  "10.0.0.0/8 -> z(-9 hosts:1)\n10.2.0.0/16 -> a(9 learned:1)\n", "", 0 },
	{ "learned owners among themselves",
	  "", "10.1.0.1 b #! 10.0.0.0/8 x\n10.1.0.2 a #! 10.0.0.0/8 x\n",
	  "a@learned:2 x:22\nb@learned:1 x:22\n"
	  "10.0.0.0/8 -> a(0 learned:2) b(0 learned:1)\n", "", 0 },
	{ "a site in both files: learned lines add prefixes only",
	  "10.1.0.1 a #! x user=me\n",
	  "10.1.0.2 a #! 10.2.0.0/16 evil user=root hostkey=" KEY_B " mode=direct pref=4\n",
	  "a@hosts:1 x:22 user=me\n"
	  "10.1.0.1/32 -> a(0 hosts:1)\n10.2.0.0/16 -> a(4 learned:1)\n", "", 0 },
	{ "the operator's site without endpoint does not borrow one",
	  "10.1.0.1 a #! 10.1.0.0/16\n", "10.1.0.2 a #! 10.2.0.0/16 x\n",
	  "a@learned:1 x:22\n10.2.0.0/16 -> a(0 learned:1)\n",
	  "hosts:1: no line of this site in this file has an endpoint; add HOST[:PORT] after "
	  "the #!: 10.1.0.1 a #! 10.1.0.0/16\n", 1 },
	{ "a learned line without endpoint, of the operator's site",
	  "10.1.0.1 a #! x\n", "10.1.0.2 a #! 10.2.0.0/16\n",
	  "a@hosts:1 x:22\n10.1.0.1/32 -> a(0 hosts:1)\n10.2.0.0/16 -> a(0 learned:1)\n",
	  "", 0 },
	{ "bad lines in both files, the rest counts",
	  "rubbish\n10.1.0.1 a #! x\n10.1.0.2 b #! y 10.0.0.1/8\n",
	  "10.1.0.3 c #! z\n10.1.0.4 d #! z 0.0.0.0/0\n",
	  "a@hosts:2 x:22\nc@learned:1 z:22\n"
	  "10.1.0.1/32 -> a(0 hosts:2)\n10.1.0.3/32 -> c(0 learned:1)\n",
	  "hosts:1: does not begin with an IPv4 or IPv6 address: rubbish\n"
	  "hosts:3: prefix 10.0.0.1/8: bits are set behind the prefix length; "
	  "write 10.0.0.0/8: 10.1.0.2 b #! y 10.0.0.1/8\n"
	  "learned:2: prefix 0.0.0.0/0 reaches over the unspecified address: only the "
	  "operator's file may say that: 10.1.0.4 d #! z 0.0.0.0/0\n", 3 },
	{ "a refused text is made printable and short",
	  "\x1b[2Jr\xc3\xbc\tx 234567890123456789012345678901234567890123456789012345678901234567890"
	  "123456789012345678901234567890\n", "", "",
	  "hosts:1: does not begin with an IPv4 or IPv6 address: ?[2Jr?? x 23456789012345678901"
	  "2345678901234567890123456789012345678901234567890123456789012345678901...\n", 1 },
};

static void test_meaning(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		struct routes *routes = build(cases[i].operator, cases[i].learned);
		char *text = print(routes);

		if (strcmp(text, cases[i].expected) != 0 || strcmp(errors, cases[i].errors) != 0)
			fail_msg("%s: got\n%s%s", cases[i].title, text, errors);
		assert_int_equal(bad_lines, cases[i].bad_lines);
		free(text);
		routes_put(routes);
	}
}

/* However the lines are ordered, the same sites own the same prefixes. */
static void test_every_order(void **state)
{
	static const char *const lines[] = {
		"10.1.0.1 a #! 10.0.0.0/8 x pref=1\n", "10.1.0.1 a #! 10.1.0.0/16 10.0.0.0/8 x\n",
		"10.1.0.2 b #! 10.0.0.0/8 x\n",	       "10.1.0.3 c #! 10.0.0.0/8 x pref=2\n",
		"10.1.0.3 c #! ::/0\n",
	};
	unsigned order[5], code, i, k, tried = 0;
	char text[500];

	(void)state;
	for (code = 0; code < 5 * 5 * 5 * 5 * 5; code++) {
		bool used[5] = { false };
		const struct route *all;
		struct routes *routes;
		size_t count;

		for (i = 0, k = code; i < 5; i++, k /= 5)
			used[order[i] = k % 5] = true;
		if (!(used[0] && used[1] && used[2] && used[3] && used[4]))
			continue;
		tried++;
		text[0] = '\0';
		for (i = 0; i < 5; i++)
			strcat(text, lines[order[i]]);
		routes = build(text, "");
		all = routes_all(routes, &count);
		assert_int_equal(count, 3);
		assert_int_equal(all[0].candidate_count, 3);
		assert_string_equal(all[0].candidates[0].site->name, "c");
		assert_string_equal(all[0].candidates[1].site->name, "a");
		assert_int_equal(all[0].candidates[1].pref, 1);
		assert_string_equal(all[0].candidates[2].site->name, "b");
		assert_int_equal(bad_lines, 0);
		routes_put(routes);
	}
	assert_int_equal(tried, 120);
}

static void test_lookup(void **state)
{
	static const struct {
		const char *addr, *prefix; /* NULL: none */
	} wanted[] = {
		{ "9.255.255.255", NULL },
		{ "10.0.0.0", "10.0.0.0/8" },
		{ "10.255.255.255", "10.0.0.0/8" },
		{ "11.0.0.0", NULL },
		{ "10.8.0.0", "10.8.0.0/24" },
		{ "10.8.0.255", "10.8.0.0/24" },
		{ "10.8.1.0", "10.8.0.0/16" },
		{ "10.8.255.255", "10.8.0.0/16" },
		{ "10.9.0.0", "10.0.0.0/8" },
		{ "10.8.0.7", "10.8.0.7/32" },
		{ "10.8.0.8", "10.8.0.0/24" },
		{ "192.168.0.1", NULL },
		{ "0.0.0.0", NULL },
		{ "255.255.255.255", NULL },
		{ "::", "::/0" },
		{ "fd00:7::1", "fd00:7::/48" },
		{ "fd00:7:1::", "fd00::/8" },
		{ "fd00:7:0:ffff:ffff:ffff:ffff:ffff", "fd00:7::/48" },
		{ "fe00::", "::/0" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0" },
	};
	struct routes *routes = build("10.8.0.7 a #! x\n"
				      "10.1.0.1 a #! 10.8.0.0/24 10.0.0.0/8 10.8.0.0/16\n"
				      "10.1.0.1 a #! fd00:7::/48 ::/0 fd00::/8\n", "");
	char text[PREFIX_TEXT_SIZE];
	struct addr addr;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(wanted); i++) {
		const struct route *route;

		assert_int_equal(addr_parse(wanted[i].addr, &addr), 0);
		route = routes_lookup(routes, &addr);
		if ((route != NULL) != (wanted[i].prefix != NULL))
			fail_msg("%s", wanted[i].addr);
		if (route)
			assert_string_equal(prefix_format(&route->prefix, text),
					    wanted[i].prefix);
	}
	routes_put(routes);
}

static const struct route *lookup_slowly(const struct routes *routes, const struct addr *addr)
{
	const struct route *best = NULL, *all;
	size_t count, i;

	all = routes_all(routes, &count);
	for (i = 0; i < count; i++)
		if (prefix_contains(&all[i].prefix, addr) &&
		    (!best || all[i].prefix.length > best->prefix.length))
			best = &all[i];
	return best;
}

/* Few significant bits, so that prefixes nest and addresses hit. */
static struct addr random_addr(unsigned *seed, bool v6)
{
	struct addr addr = { .family = v6 ? AF_INET6 : AF_INET };
	unsigned i;

	addr.bytes[0] = v6 ? 0x20 : 10;
	for (i = 1; i < (v6 ? 16 : 4); i++)
		addr.bytes[i] = (uint8_t)(rand_r(seed) % 4 << (rand_r(seed) % 2 * 6));
	return addr;
}

static struct routes *random_routes(unsigned *seed, unsigned prefixes)
{
	char *text = NULL, part[PREFIX_TEXT_SIZE];
	struct prefix prefix;
	struct routes *routes;
	struct addr addr;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	fputs("10.1.0.1 a #! x\n", out);
	while (prefixes--) {
		addr = random_addr(seed, rand_r(seed) % 2);
		prefix = prefix_around(&addr, 8 + (unsigned)rand_r(seed) %
						      (addr_bits(&addr) - 7));
		fprintf(out, "10.1.0.1 a #! %s\n", prefix_format(&prefix, part));
	}
	fclose(out);
	routes = build(text, "");
	free(text);
	return routes;
}

static void test_lookup_random(void **state)
{
	unsigned seed, round, i;

	(void)state;
	for (round = 0; round < 200; round++) {
		struct routes *routes;

		seed = round;
		routes = random_routes(&seed, round % 100);
		assert_string_equal(errors, "");
		for (i = 0; i < 200; i++) {
			struct addr addr = random_addr(&seed, i % 2);

			if (routes_lookup(routes, &addr) != lookup_slowly(routes, &addr))
				fail_msg("seed %u, address %u", round, i);
		}
		routes_put(routes);
	}
}

static void test_sites(void **state)
{
	struct routes *routes = build("10.1.0.3 c #! x\n10.1.0.1 a #! x\n10.1.0.2 b #! x\n", "");
	struct routes *empty = build("", "");
	const struct site *sites;
	size_t count;

	(void)state;
	sites = routes_sites(routes, &count);
	assert_int_equal(count, 3);
	assert_ptr_equal(routes_site(routes, "b"), &sites[1]);
	assert_null(routes_site(routes, "d"));
	assert_null(routes_site(empty, "a"));
	routes_all(empty, &count);
	assert_int_equal(count, 0);
	assert_true(routes_memory(empty) > 0);
	assert_true(routes_memory(routes) > routes_memory(empty));
	routes_put(empty);
	routes_put(routes);
	routes_put(NULL);
}

static void test_too_many_endpoints(void **state)
{
	struct hosts_text source = { .path = "hosts" };
	const struct site *site;
	struct routes *routes;
	char *text = NULL;
	FILE *out = open_memstream(&text, &source.size);
	unsigned i;

	(void)state;
	for (i = 0; i < 66; i++)
		fprintf(out, "10.1.0.%u a #! h%u h0\n", i, i);
	fclose(out);
	source.text = text;
	routes = build_texts(&source, 1);
	site = routes_site(routes, "a");
	assert_int_equal(site->endpoint_count, 64);
	assert_string_equal(site->endpoints[63].host, "h63");
	assert_int_equal(bad_lines, 2);
	assert_non_null(strstr(errors, "hosts:65: the site has more than 64 endpoints: "));
	routes_put(routes);
	free(text);
}

/* A file that is no map at all must not fill a log. */
static void test_many_errors(void **state)
{
	struct hosts_text source = { .path = "hosts", .size = 10000 };
	char *text = malloc(source.size), *c;
	unsigned lines = 0;
	size_t i;

	(void)state;
	for (i = 0; i < source.size; i++)
		text[i] = i % 2 ? '\n' : 'x';
	source.text = text;
	routes_put(build_texts(&source, 1));
	for (c = errors; (c = strchr(c, '\n')); c++)
		lines++;
	assert_int_equal(lines, ROUTES_ERRORS_SHOWN + 1);
	assert_int_equal(bad_lines, 5000);
	routes_put(routes_build(&source, 1, 32, NULL, NULL));
	free(text);
}

static void *use_and_put(void *arg)
{
	struct addr addr = { .family = AF_INET, .bytes = { 10, 1, 0, 1 } };
	struct routes *routes = arg;
	unsigned i;

	for (i = 0; i < 1000; i++) {
		const struct route *route = routes_lookup(routes_get(routes), &addr);

		if (!route || strcmp(route->candidates[0].site->name, "a") != 0)
			abort();
		routes_put(routes);
	}
	routes_put(routes);
	return NULL;
}

/* The last of several threads frees it: leak and race checkers watch this. */
static void test_references(void **state)
{
	struct routes *routes = build("10.1.0.1 a #! x\n", "");
	pthread_t threads[4];
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, use_and_put,
						routes_get(routes)), 0);
	routes_put(routes);
	for (i = 0; i < COUNT(threads); i++)
		pthread_join(threads[i], NULL);
}

static void test_modes(void **state)
{
	(void)state;
	assert_int_equal(ssh_mode_parse("netcat"), SSH_MODE_NETCAT);
	assert_int_equal(ssh_mode_parse("direct"), SSH_MODE_DIRECT);
	assert_int_equal(ssh_mode_parse("trunk"), SSH_MODE_TRUNK);
	assert_int_equal(ssh_mode_parse("unset"), SSH_MODE_UNSET);
	assert_int_equal(ssh_mode_parse("Netcat"), SSH_MODE_UNSET);
	assert_string_equal(ssh_mode_name(SSH_MODE_DIRECT), "direct");
}

static int teardown(void **state)
{
	(void)state;
	free(errors);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_meaning),	    cmocka_unit_test(test_every_order),
		cmocka_unit_test(test_lookup),	    cmocka_unit_test(test_lookup_random),
		cmocka_unit_test(test_sites),	    cmocka_unit_test(test_too_many_endpoints),
		cmocka_unit_test(test_many_errors), cmocka_unit_test(test_references),
		cmocka_unit_test(test_modes),
	};

	return cmocka_run_group_tests_name("routes", tests, NULL, teardown);
}
