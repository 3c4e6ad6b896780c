/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The reports, from a map and a configuration read for real and a report of
 * the workers made by hand: columns for people, JSON that parses for programs.
 */
#include <ctype.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/reports.h"
#include "map/build.h"

static const char conf_text[] = "[site]\n"
				"name = thursday\n"
				"key = /etc/dvpn/id_ed25519\n"
				"prefixes = 10.7.0.0/16 fd00:7::/48\n"
				"[listen]\n"
				"max_flows = 500\n"
				"[ssh]\n"
				"port = 2022\n"
				"[gateway friday]\n"
				"port = 2200\n"
				"netcat = /bin/nc\n";

static const char map_text[] =
	"10.8.0.1 friday    #! 10.8.0.0/16 friday.example.net 198.51.100.9:22 user=vpn netcat=mapnc\n"
	"10.8.0.2 saturday  #! 10.8.0.0/16 [2001:db8::7]:22 pref=10\n"
	"10.8.0.3 monday    #! 10.8.0.0/16 203.0.113.3\n"
	"fd00:9::1 sunday   #! fd00:9::/48 203.0.113.9 hostkey=SHA256:"
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n";

/* Two of friday's workers, one in trouble with a message made to do harm. */
static struct gateway_report gateways[] = {
	{ .name = "friday", .worker = 0, .links_up = 1, .flows = 2, .channel_cap = 10,
	  .bytes_up = 2048, .bytes_down = 3 << 20 },
	{ .name = "friday", .worker = 1, .links_connecting = 1, .waiting = 1, .channel_cap = 64,
	  .last_error = "refused\033[2J\n\"quoted\"", .last_error_age = 75 },
	{ .name = "sunday", .worker = 0, .channel_cap = 64, .last_error = "timed out",
	  .last_error_age = 3 },
	{ .name = "monday", .worker = 1, .channel_cap = 64 },
};
static struct link_report links[] = {
	{ .gateway = "friday", .worker = 0, .id = 3, .state = "up",
	  .endpoint = "friday.example.net:2200", .address = "203.0.113.8:2200",
	  .ciphers = "aes128-ctr hmac-sha2-256", .channels = 2, .bytes_up = 4096, .age = 61 },
	{ .gateway = "sunday", .worker = 1, .id = 4, .state = "connecting",
	  .endpoint = "203.0.113.9:2022" },
};
static struct flow_report flows[] = {
	{ .gateway = "friday", .worker = 0, .link = 3, .state = "connected",
	  .client = "10.7.0.5:40000", .dest = "10.8.0.5:80", .bytes_up = 100,
	  .bytes_down = 5000, .age = 2 },
	{ .gateway = "friday", .worker = 1, .link = 0, .state = "waiting",
	  .client = "[fd00:7::5]:40001", .dest = "10.8.0.5:443" },
};
static const struct carry_report carry = {
	.gateways = gateways, .links = links, .flows = flows,
	.gateway_count = 4, .link_count = 2, .flow_count = 2,
	.flows_started = 9, .flows_ok = 5, .flows_failed = 2,
	.bytes_up = 1000, .bytes_down = 2000,
};
static const struct carry_report nothing;

static char *man_page;
static struct conf *conf;
static struct routes *routes;
static FILE *stream;
static char *written;
static size_t written_size;

static int read_man_page(void)
{
	FILE *page = fopen("man/dvpnctl.8", "r");
	size_t size = 0;
	ssize_t got;

	if (!page) {
		print_error("man/dvpnctl.8: %s; run this from the top of the source tree\n",
			    strerror(errno));
		return -1;
	}
	got = getdelim(&man_page, &size, '\0', page);
	fclose(page);
	return got > 0 ? 0 : -1;
}

static int setup(void **state)
{
	struct hosts_text text = { "/etc/dvpn/hosts", map_text, sizeof(map_text) - 1, false };
	unsigned bad = 0;

	(void)state;
	if (read_man_page() < 0)
		return -1;
	conf = conf_parse(conf_text, sizeof(conf_text) - 1, "dvpnd.conf", stderr);
	routes = routes_build(&text, 1, 32, stderr, &bad);
	return conf && routes && bad == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	conf_put(conf);
	routes_put(routes);
	free(man_page);
	return 0;
}

static FILE *begin(void)
{
	stream = open_memstream(&written, &written_size);
	assert_non_null(stream);
	return stream;
}

static char *end(void)
{
	assert_int_equal(ferror(stream), 0);
	fclose(stream);
	for (const char *c = written; *c; c++)
		if ((unsigned char)*c < 0x20 && *c != '\n')
			fail_msg("a control character in: %s", written);
	return written;
}

static void expect(const char *wanted)
{
	assert_string_equal(end(), wanted);
	free(written);
}

/* ---- does it parse? A reader of JSON's grammar, values thrown away ---- */

static const char *read_value(const char *at, unsigned depth);

static const char *read_string(const char *at)
{
	assert_int_equal(*at, '"');
	for (at++; *at != '"'; at++) {
		assert_true((unsigned char)*at >= 0x20);
		if (*at == '\\') {
			at++;
			assert_true(*at && strchr("\"\\/bfnrtu", *at));
			for (unsigned i = 0; *at == 'u' && i < 4; i++)
				assert_true(isxdigit((unsigned char)at[1 + i]));
		}
	}
	return at + 1;
}

/* The names are a contract: each stands in the man page. */
static void expect_documented(const char *key)
{
	int length = (int)strcspn(key + 1, "\"");
	char macro[80];

	snprintf(macro, sizeof(macro), "\n.Cm %.*s", length, key + 1);
	for (const char *at = man_page; (at = strstr(at, macro)); at++)
		if (strchr(" \n", at[strlen(macro)]))
			return;
	fail_msg("dvpnctl(8) does not name '%.*s'", length, key + 1);
}

static const char *read_members(const char *at, char last, unsigned depth)
{
	if (*++at == last)
		return at + 1;
	for (;; at++) {
		if (last == '}') {
			expect_documented(at);
			at = read_string(at);
			assert_int_equal(*at, ':');
			at++;
		}
		at = read_value(at, depth + 1);
		if (*at == last)
			return at + 1;
		assert_int_equal(*at, ',');
	}
}

static const char *read_value(const char *at, unsigned depth)
{
	static const char *const words[] = { "true", "false", "null" };
	char *number_end;

	assert_true(depth < 20);
	if (*at == '"')
		return read_string(at);
	if (*at == '{' || *at == '[')
		return read_members(at, *at == '{' ? '}' : ']', depth);
	for (size_t i = 0; i < 3; i++)
		if (strncmp(at, words[i], strlen(words[i])) == 0)
			return at + strlen(words[i]);
	(void)strtod(at, &number_end);
	assert_true(number_end != at && (isdigit((unsigned char)*at) || *at == '-'));
	return number_end;
}

/* Ends begin(), checks the form, and that all of these are in it. */
static void expect_json(const char *const *parts, size_t count)
{
	const char *rest = read_value(end(), 0);

	assert_string_equal(rest, "\n");
	for (size_t i = 0; i < count; i++)
		if (!strstr(written, parts[i]))
			fail_msg("no %s in %s", parts[i], written);
	free(written);
}
#define EXPECT_JSON(...) \
	do { \
		const char *const parts_[] = { __VA_ARGS__ }; \
		expect_json(parts_, sizeof(parts_) / sizeof(parts_[0])); \
	} while (0)

/* ---- links, flows, routes ---- */

static void test_links(void **state)
{
	(void)state;
	report_links(begin(), false, &carry);
	expect("GATEWAY  WORKER  LINK  STATE       ENDPOINT                 ADDRESS           CHANNELS    UP  DOWN    AGE  CIPHERS\n"
	       "friday        0     3  up          friday.example.net:2200  203.0.113.8:2200         2  4.0K     0  1m01s  aes128-ctr hmac-sha2-256\n"
	       "sunday        1     4  connecting  203.0.113.9:2022         -                        0     0     0   0.0s  -\n");
	report_links(begin(), true, &carry);
	EXPECT_JSON("{\"report\":\"links\",\"links\":[{\"gateway\":\"friday\",\"worker\":0,\"link\":3,"
		    "\"state\":\"up\",\"endpoint\":\"friday.example.net:2200\","
		    "\"address\":\"203.0.113.8:2200\",\"channels\":2,\"bytes_up\":4096,"
		    "\"bytes_down\":0,\"age\":61.000,\"ciphers\":\"aes128-ctr hmac-sha2-256\"}");
}

static void test_flows(void **state)
{
	(void)state;
	report_flows(begin(), false, &carry);
	expect("CLIENT             DESTINATION   GATEWAY  WORKER  LINK  STATE       UP  DOWN   AGE\n"
	       "10.7.0.5:40000     10.8.0.5:80   friday        0     3  connected  100  4.9K  2.0s\n"
	       "[fd00:7::5]:40001  10.8.0.5:443  friday        1     0  waiting      0     0  0.0s\n");
	report_flows(begin(), true, &nothing);
	expect("{\"report\":\"flows\",\"flows\":[]}\n");
	report_flows(begin(), true, &carry);
	EXPECT_JSON("\"client\":\"10.7.0.5:40000\",\"destination\":\"10.8.0.5:80\"",
		    "\"bytes_down\":5000,\"age\":2.000}");
}

static void test_routes(void **state)
{
	const struct route *all;
	size_t count;

	(void)state;
	all = routes_all(routes, &count);
	report_routes(begin(), false, all, count, conf);
	expect("PREFIX       SITE      PREF  ENDPOINTS                                LEARNED  ORIGIN\n"
	       "10.8.0.0/16  saturday    10  [2001:db8::7]:22                         no       /etc/dvpn/hosts:2\n"
	       "10.8.0.0/16  friday       0  friday.example.net:2200,198.51.100.9:22  no       /etc/dvpn/hosts:1\n"
	       "10.8.0.0/16  monday       0  203.0.113.3:2022                         no       /etc/dvpn/hosts:3\n"
	       "fd00:9::/48  sunday       0  203.0.113.9:2022                         no       /etc/dvpn/hosts:4\n");
	report_routes(begin(), true, all, count, conf);
	EXPECT_JSON("{\"prefix\":\"10.8.0.0/16\",\"site\":\"friday\",\"pref\":0,\"endpoints\":["
		    "\"friday.example.net:2200\",\"198.51.100.9:22\"],\"learned\":false,"
		    "\"origin\":\"/etc/dvpn/hosts:1\"}");
}

static void test_reload(void **state)
{
	(void)state;
	report_reload(begin(), false, "");
	expect("reloaded\n");
	report_reload(begin(), false, "hosts:3: bad\033\n\nhosts:4: worse");
	expect("reloaded, but:\nhosts:3: bad\\x1b\nhosts:4: worse\n");
	report_reload(begin(), true, "hosts:3: bad\nhosts:4: \"worse\"\n");
	expect("{\"report\":\"reload\",\"warnings\":[\"hosts:3: bad\",\"hosts:4: \\\"worse\\\"\"]}\n");
}

/* ---- status ---- */

static struct status_facts healthy(void)
{
	return (struct status_facts){ .conf = conf,
				      .carry = &nothing,
				      .capture = { .accepted = 12 },
				      .site_count = 4,
				      .route_count = 2,
				      .map_memory = 2048,
				      .uptime = 192,
				      .map_age = 3,
				      .pid = 77 };
}

static struct status_facts troubled(void)
{
	struct status_facts facts = healthy();

	facts.carry = &carry;
	facts.capture = (struct capture_counters){ 12, 1, 2, 3 };
	facts.refused = (struct refusal_counters){ 4, 5, 6, 7 };
	facts.map_errors = 8;
	facts.draining = true;
	facts.site_count = 0;
	return facts;
}

static void test_status(void **state)
{
	struct status_facts facts = healthy();

	(void)state;
	report_status(begin(), false, &facts);
	expect("WHAT         VALUE\n"
	       "daemon       dvpnd " DVPN_VERSION ", running, up 3m12s, process 77\n"
	       "config       dvpnd.conf\n"
	       "site         thursday\n"
	       "prefix       10.7.0.0/16\n"
	       "prefix       fd00:7::/48\n"
	       "listening    0.0.0.0:7777\n"
	       "listening    [::]:7777\n"
	       "map          4 sites, 2 prefixes, 0 bad lines, in force for 3.0s, 2.0K bytes\n"
	       "map file     /etc/dvpn/hosts\n"
	       "map file     /var/lib/dvpn/hosts\n"
	       "flows        0 now of 500, 0 started, 0 ok, 0 failed\n"
	       "bytes        0 up, 0 down\n"
	       "links        0 up, 0 connecting\n"
	       "captured     12 accepted, 0 pauses\n"
	       "refused      0 direct, 0 unknown, 0 no_route, 0 own, 0 max_flows, 0 draining\n");
	report_status(begin(), true, &facts);
	EXPECT_JSON("\"state\":\"running\",\"uptime\":192.000",
		    "\"site\":{\"name\":\"thursday\",\"prefixes\":[\"10.7.0.0/16\",\"fd00:7::/48\"]}",
		    "\"listen\":{\"port\":7777,\"addresses\":[\"0.0.0.0\",\"::\"]}",
		    "\"gateways\":[],\"hints\":[]");
}

static void test_status_in_trouble(void **state)
{
	static const char *const parts[] = {
		", draining, ", "flows        2 now of 500, 9 started, 5 ok, 2 failed\n",
		"links        1 up, 1 connecting\n",
		"refused      1 direct, 2 unknown, 4 no_route, 5 own, 6 max_flows, 7 draining\n",
		"\nhint         draining", "\nhint         8 bad map lines are left out: dvpnd -t",
		"names no gateway", "dvpnctl explain friday", "1 connections came straight to port 7777",
		"2 connections had no original", "paused 3 times", "4 connections had no route",
		"6 connections were refused at [listen] max_flows = 500",
		"1m15s  refused\\x1b[2J\\x0a\"quoted\"\n",
	};
	struct status_facts facts = troubled();

	(void)state;
	report_status(begin(), false, &facts);
	end();
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (!strstr(written, parts[i]))
			fail_msg("no '%s' in\n%s", parts[i], written);
	free(written);
	report_status(begin(), true, &facts);
	EXPECT_JSON("\"state\":\"draining\"", "\"bad_lines\":8", "\"links\":{\"up\":1,\"connecting\":1}",
		    "\"refused\":{\"direct\":1,\"unknown\":2,\"no_route\":4,\"own\":5,"
		    "\"max_flows\":6,\"draining\":7}",
		    "\"last_error_age\":null,\"last_error\":null",
		    "\"last_error\":\"refused\\u001b[2J\\n\\\"quoted\\\"\"");
}

/* ---- explain ---- */

static struct explain_dest dest_of(const char *text, uint16_t port)
{
	struct explain_dest dest = { .port = port };

	assert_int_equal(addr_parse(text, &dest.addr), 0);
	dest.route = routes_lookup(routes, &dest.addr);
	return dest;
}

static void test_explain_carried(void **state)
{
	struct explain_facts facts = { conf, &carry, false };
	struct explain_dest dest = dest_of("10.8.0.5", 80);

	(void)state;
	report_explain(begin(), false, &facts, &dest);
	end();
	assert_non_null(strstr(written,
		"WHAT         VALUE\n"
		"destination  10.8.0.5:80\n"
		"captured     yes\n"
		"why          10.8.0.0/16 is the longest prefix around it\n"
		"\n"
		"RANK  SITE      PREF  LINK    LEARNED  ORIGIN             ORDER\n"
		"   1  saturday    10  unused  no       /etc/dvpn/hosts:2  highest pref\n"
		"   2  friday       0  up      no       /etc/dvpn/hosts:1  lower pref than saturday\n"
		"   3  monday       0  idle    no       /etc/dvpn/hosts:3  same pref as friday, name sorts after it\n"
		"\n"
		"SITE      SETTING            VALUE                    FROM\n"
		"saturday  endpoint           [2001:db8::7]:22         map\n"
		"saturday  user               dvpn                     [ssh]\n"));
	assert_non_null(strstr(written,
		"friday    endpoint           friday.example.net:2200  map\n"
		"friday    endpoint           198.51.100.9:22          map\n"
		"friday    user               vpn                      map\n"
		"friday    mode               trunk                    [ssh]\n"
		"friday    netcat             /bin/nc                  [gateway friday]\n"));
	assert_non_null(strstr(written, "\nfriday        0     3  up"));
	assert_null(strstr(written, "sunday"));
	free(written);
	report_explain(begin(), true, &facts, &dest);
	EXPECT_JSON("{\"report\":\"explain\",\"destination\":\"10.8.0.5\",\"port\":80,"
		    "\"captured\":true,\"verdict\":\"carried\"",
		    "\"prefix\":\"10.8.0.0/16\",\"own_prefix\":null",
		    "{\"rank\":2,\"site\":\"friday\",\"pref\":0,\"link\":\"up\",\"learned\":false,"
		    "\"origin\":\"/etc/dvpn/hosts:1\",\"order\":\"lower pref than saturday\"}",
		    "{\"site\":\"friday\",\"setting\":\"user\",\"value\":\"vpn\",\"from\":\"map\"}");
}

static void expect_verdict(const struct explain_facts *facts, const struct explain_dest *dest,
			   const char *verdict)
{
	char wanted[80];

	snprintf(wanted, sizeof(wanted), "\"captured\":false,\"verdict\":\"%s\"", verdict);
	report_explain(begin(), true, facts, dest);
	EXPECT_JSON(wanted);
	report_explain(begin(), false, facts, dest);
	assert_non_null(strstr(end(), "captured     no\nwhy          "));
	free(written);
}

static void test_explain_refused(void **state)
{
	struct explain_facts facts = { conf, &nothing, false };
	struct explain_dest dest = dest_of("10.9.0.5", 0);

	(void)state;
	expect_verdict(&facts, &dest, "no_route");
	dest = dest_of("10.8.0.5", 0);
	dest.local = true;
	expect_verdict(&facts, &dest, "own_address");
	dest.own = &conf->prefixes[0];
	expect_verdict(&facts, &dest, "own_prefix");
	/* The map names us: another conf's name, so as not to lose the routes. */
	dest = dest_of("10.8.0.5", 0);
	free(conf->name);
	conf->name = strdup("Friday");
	expect_verdict(&facts, &dest, "own_prefix");
	report_explain(begin(), true, &facts, &dest);
	EXPECT_JSON("\"reason\":\"the map gives 10.8.0.0/16 to Friday, which is this site\"",
		    "\"own_prefix\":\"10.8.0.0/16\"");
	free(conf->name);
	conf->name = strdup("thursday");
	dest = dest_of("fd00:9::5", 22);
	facts.draining = true;
	expect_verdict(&facts, &dest, "draining");
}

/* Every order of two owners has its reason. */
static void test_explain_order(void **state)
{
	struct site sites[] = { { .name = "a" }, { .name = "b" } };
	struct candidate candidates[] = { { &sites[0], 5, { "hosts", 1, true } },
					  { &sites[1], 5, { "hosts", 2, true } } };
	struct route route = { .candidates = candidates, .candidate_count = 2 };
	struct explain_facts facts = { conf, &nothing, false };
	struct explain_dest dest = dest_of("10.8.0.5", 0);

	(void)state;
	assert_int_equal(prefix_parse("10.8.0.0/16", &route.prefix, &(const char *){ NULL }), 0);
	dest.route = &route;
	report_explain(begin(), true, &facts, &dest);
	EXPECT_JSON("\"learned\":true,\"origin\":\"hosts:1\",\"order\":\"same pref as b, name sorts before it\"",
		    "\"order\":\"same pref as a, name sorts after it\"");
	route.candidate_count = 1;
	report_explain(begin(), true, &facts, &dest);
	EXPECT_JSON("\"order\":\"the only owner\"");
}

static void test_explain_site(void **state)
{
	struct explain_facts facts = { conf, &carry, false };
	const struct site *sunday = routes_site(routes, "sunday");
	const struct route *all;
	size_t count;

	(void)state;
	assert_non_null(sunday);
	all = routes_all(routes, &count);
	report_explain_site(begin(), false, &facts, sunday, all, count);
	end();
	assert_non_null(strstr(written, "site         sunday\n"
					"map line     /etc/dvpn/hosts:4\n"
					"link         failed\n"
					"\n"
					"PREFIX       SITE    PREF"));
	assert_non_null(strstr(written, "sunday  hostkey            SHA256:AAAA"));
	assert_non_null(strstr(written, "3.0s  timed out\n"));
	assert_null(strstr(written, "friday"));
	free(written);
	report_explain_site(begin(), true, &facts, sunday, all, count);
	EXPECT_JSON("\"site\":\"sunday\",\"link\":\"failed\",\"learned\":false,"
		    "\"origin\":\"/etc/dvpn/hosts:4\",\"routes\":[{\"prefix\":\"fd00:9::/48\"",
		    "\"links\":[{\"gateway\":\"sunday\",\"worker\":1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_links),
		cmocka_unit_test(test_flows),
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_status_in_trouble),
		cmocka_unit_test(test_explain_carried),
		cmocka_unit_test(test_explain_refused),
		cmocka_unit_test(test_explain_order),
		cmocka_unit_test(test_explain_site),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
