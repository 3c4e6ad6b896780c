/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses, prefixes, endpoints and names: tables of text and what it means. */
#include "map/addr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static struct addr addr_of(const char *text)
{
	struct addr addr;

	if (addr_parse(text, &addr))
		fail_msg("%s is no address", text);
	return addr;
}

static struct prefix prefix_of(const char *text)
{
	const char *reason = "";
	struct prefix prefix;

	if (prefix_parse(text, &prefix, &reason))
		fail_msg("%s: %s", text, reason);
	return prefix;
}

static void test_addr_text(void **state)
{
	static const struct {
		const char *text, *printed; /* NULL: no address */
	} cases[] = {
		{ "10.7.0.1", "10.7.0.1" },
		{ "0.0.0.0", "0.0.0.0" },
		{ "255.255.255.255", "255.255.255.255" },
		{ "FD00:7:0:0::1", "fd00:7::1" },
		{ "::", "::" },
		{ "::ffff:10.7.0.1", "10.7.0.1" },
		{ "::ffff:a07:1", "10.7.0.1" },
		{ "::10.7.0.1", "::10.7.0.1" },
		{ "10.7.0", NULL },
		{ "10.7.0.256", NULL },
		{ "010.7.0.1", NULL },
		{ "10.7.0.1 ", NULL },
		{ " 10.7.0.1", NULL },
		{ "10.7.0.1/32", NULL },
		{ "fe80::1%lo", NULL },
		{ "[::1]", NULL },
		{ "1:2:3", NULL },
		{ "", NULL },
		{ "localhost", NULL },
	};
	char text[ADDR_TEXT_SIZE];
	struct addr addr;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		int result = addr_parse(cases[i].text, &addr);

		if ((result == 0) != (cases[i].printed != NULL))
			fail_msg("%s: got %d", cases[i].text, result);
		if (result == 0)
			assert_string_equal(addr_format(&addr, text), cases[i].printed);
	}
}

static void test_addr_order(void **state)
{
	static const char *const order[] = {
		"0.0.0.0", "10.0.0.0", "10.0.0.1", "127.255.0.0", "128.0.0.0", "255.0.0.0",
		"::", "::1", "7f00::", "8000::", "fd00::", "fd00::1",
	};
	size_t i, k;

	(void)state;
	for (i = 0; i < COUNT(order); i++)
		for (k = 0; k < COUNT(order); k++) {
			struct addr a = addr_of(order[i]), b = addr_of(order[k]);
			int got = addr_compare(&a, &b);

			assert_int_equal((got > 0) - (got < 0), (i > k) - (i < k));
		}
}

static void test_sockaddr(void **state)
{
	static const char *const texts[] = { "10.7.0.1", "fd00:7::1" };
	struct sockaddr_in6 mapped = { .sin6_family = AF_INET6, .sin6_port = htons(80) };
	struct sockaddr_storage sa;
	struct addr addr, back;
	uint16_t port = 0;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(texts); i++) {
		addr = addr_of(texts[i]);
		assert_int_equal(addr_to_sockaddr(&addr, 2222, &sa),
				 i ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
		assert_int_equal(addr_from_sockaddr((struct sockaddr *)&sa, &back, &port), 0);
		assert_memory_equal(&addr, &back, sizeof(addr));
		assert_int_equal(port, 2222);
	}
	inet_pton(AF_INET6, "::ffff:192.0.2.9", &mapped.sin6_addr);
	addr = addr_of("192.0.2.9");
	assert_int_equal(addr_from_sockaddr((struct sockaddr *)&mapped, &back, &port), 0);
	assert_memory_equal(&addr, &back, sizeof(addr));
	assert_int_equal(port, 80);
	sa.ss_family = AF_UNIX;
	assert_int_equal(addr_from_sockaddr((struct sockaddr *)&sa, &back, &port), -1);
}

static void test_addr_port(void **state)
{
	char text[ADDR_PORT_TEXT_SIZE];
	struct addr v4 = addr_of("10.8.0.5"), v6 = addr_of("fd00:8::5");
	struct addr longest = addr_of("1111:2222:3333:4444:5555:6666:7777:8888");

	(void)state;
	assert_string_equal(addr_port_format(&v4, 80, text), "10.8.0.5:80");
	assert_string_equal(addr_port_format(&v6, 65535, text), "[fd00:8::5]:65535");
	assert_string_equal(addr_port_format(&longest, 65535, text),
			    "[1111:2222:3333:4444:5555:6666:7777:8888]:65535");
	assert_int_equal(addr_bits(&v4), 32);
	assert_int_equal(addr_bits(&v6), 128);
}

static void test_prefix_text(void **state)
{
	static const struct {
		const char *text, *meant; /* NULL: nothing can be meant */
		bool valid;
	} cases[] = {
		{ "10.8.0.0/16", "10.8.0.0/16", true },
		{ "0.0.0.0/0", "0.0.0.0/0", true },
		{ "10.8.0.1/32", "10.8.0.1/32", true },
		{ "::/0", "::/0", true },
		{ "fd00:7::/48", "fd00:7::/48", true },
		{ "fd00:7::1/128", "fd00:7::1/128", true },
		{ "10.8.0.0/016", "10.8.0.0/16", true },
		{ "10.8.0.1/16", "10.8.0.0/16", false },
		{ "10.8.255.0/17", "10.8.128.0/17", false },
		{ "fd00:7::1/127", "fd00:7::/127", false },
		{ "1.0.0.0/0", "0.0.0.0/0", false },
		{ "10.8.0.0", NULL, false },
		{ "10.8.0.0/", NULL, false },
		{ "10.8.0.0/33", NULL, false },
		{ "10.8.0.0/-1", NULL, false },
		{ "10.8.0.0/+8", NULL, false },
		{ "10.8.0.0/8x", NULL, false },
		{ "10.8.0.0/4294967304", NULL, false },
		{ "10.8.0.0/16/16", NULL, false },
		{ "10.8/16", NULL, false },
		{ "/16", NULL, false },
		{ "fd00::/129", NULL, false },
		{ "::ffff:10.0.0.0/104", NULL, false },
		{ "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc/8", NULL, false },
		{ "", NULL, false },
	};
	char text[PREFIX_TEXT_SIZE];
	struct prefix prefix;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		const char *reason = NULL;
		int result = prefix_parse(cases[i].text, &prefix, &reason);

		if ((result == 0) != cases[i].valid)
			fail_msg("%s: got %d", cases[i].text, result);
		assert_true(result == 0 || (reason && *reason));
		assert_int_equal(prefix.addr.family != 0, cases[i].meant != NULL);
		if (cases[i].meant)
			assert_string_equal(prefix_format(&prefix, text), cases[i].meant);
	}
}

static void test_prefix_contains(void **state)
{
	static const struct {
		const char *prefix, *addr;
		bool inside;
	} cases[] = {
		{ "10.8.0.0/16", "10.8.255.255", true },
		{ "10.8.0.0/16", "10.9.0.0", false },
		{ "10.8.0.0/16", "10.7.255.255", false },
		{ "10.8.0.0/15", "10.9.255.255", true },
		{ "10.8.0.0/15", "10.10.0.0", false },
		{ "10.8.0.1/32", "10.8.0.1", true },
		{ "10.8.0.1/32", "10.8.0.2", false },
		{ "0.0.0.0/0", "255.255.255.255", true },
		{ "0.0.0.0/0", "::", false },
		{ "::/0", "0.0.0.0", false },
		{ "::/0", "ffff::", true },
		{ "fd00:7::/33", "fd00:7:7fff::", true },
		{ "fd00:7::/33", "fd00:7:8000::", false },
		{ "fd00:7::1/128", "fd00:7::1", true },
		{ "fd00:7::1/128", "fd00:7::", false },
	};
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		struct prefix prefix = prefix_of(cases[i].prefix);
		struct addr addr = addr_of(cases[i].addr);

		if (prefix_contains(&prefix, &addr) != cases[i].inside)
			fail_msg("%s in %s", cases[i].addr, cases[i].prefix);
	}
}

static void test_prefix_pairs(void **state)
{
	/* Sorted; the numbers say which earlier ones overlap. */
	static const char *const texts[] = { "0.0.0.0/0",   "10.0.0.0/8", "10.8.0.0/16",
					     "10.8.0.0/24", "10.9.0.0/16", "::/0",
					     "fd00::/8",    "fd00::/16" };
	static const bool overlaps[8][8] = {
		[1][0] = true, [2][0] = true, [2][1] = true, [3][0] = true, [3][1] = true,
		[3][2] = true, [4][0] = true, [4][1] = true, [6][5] = true, [7][5] = true,
		[7][6] = true,
	};
	size_t i, k;

	(void)state;
	for (i = 0; i < COUNT(texts); i++)
		for (k = 0; k < COUNT(texts); k++) {
			struct prefix a = prefix_of(texts[i]), b = prefix_of(texts[k]);
			int order = prefix_compare(&a, &b);

			assert_int_equal((order > 0) - (order < 0), (i > k) - (i < k));
			assert_int_equal(prefix_overlaps(&a, &b),
					 i == k || overlaps[i][k] || overlaps[k][i]);
		}
}

static void test_prefix_around(void **state)
{
	struct addr v4 = addr_of("10.255.255.255"), v6 = addr_of("fd00:ffff::ffff");
	char text[PREFIX_TEXT_SIZE];
	struct prefix prefix;

	(void)state;
	prefix = prefix_around(&v4, 13);
	assert_string_equal(prefix_format(&prefix, text), "10.248.0.0/13");
	prefix = prefix_around(&v4, 0);
	assert_string_equal(prefix_format(&prefix, text), "0.0.0.0/0");
	prefix = prefix_around(&v4, 128);
	assert_string_equal(prefix_format(&prefix, text), "10.255.255.255/32");
	prefix = prefix_around(&v6, 20);
	assert_string_equal(prefix_format(&prefix, text), "fd00:f000::/20");
	prefix = prefix_around(&v6, 128);
	assert_string_equal(prefix_format(&prefix, text), "fd00:ffff::ffff/128");
}

static void test_endpoint(void **state)
{
	static const struct {
		const char *text, *printed; /* with default port 22; NULL: refused */
	} cases[] = {
		{ "203.0.113.7", "203.0.113.7:22" },
		{ "203.0.113.7:2222", "203.0.113.7:2222" },
		{ "Friday.Example.Net:443", "friday.example.net:443" },
		{ "friday", "friday:22" },
		{ "f_1", "f_1:22" },
		{ "2001:DB8::7", "[2001:db8::7]:22" },
		{ "[2001:db8::7]", "[2001:db8::7]:22" },
		{ "[2001:db8::7]:65535", "[2001:db8::7]:65535" },
		{ "127.0.0.1:1", "127.0.0.1:1" },
		{ "friday:0", NULL },
		{ "friday:65536", NULL },
		{ "friday:", NULL },
		{ "friday:22x", NULL },
		{ "friday:-1", NULL },
		{ "friday:+1", NULL },
		{ "friday:0000022", NULL },
		{ ":22", NULL },
		{ "", NULL },
		{ "[2001:db8::7", NULL },
		{ "[2001:db8::7]22", NULL },
		{ "[2001:db8::7]:", NULL },
		{ "[10.0.0.1]:22", NULL },
		{ "[friday]:22", NULL },
		{ "[]", NULL },
		{ "2001:db8:::7", NULL },
		{ "300.1.1.1", NULL },
		{ "10.7.0", NULL },
		{ "123", NULL },
		{ "-friday", NULL },
		{ "fri/day", NULL },
		{ "fri day", NULL },
		{ "0.0.0.0", NULL },
		{ "[::]:22", NULL },
		{ "224.0.0.1", NULL },
		{ "255.255.255.255", NULL },
		{ "ff02::1", NULL },
	};
	struct endpoint endpoint;
	const char *reason;
	char text[300];
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		int result = endpoint_parse(cases[i].text, &endpoint, &reason);

		if ((result == 0) != (cases[i].printed != NULL))
			fail_msg("%s: got %d", cases[i].text, result);
		if (result) {
			assert_true(*reason);
			continue;
		}
		endpoint_format(&endpoint, 22, text, sizeof(text));
		assert_string_equal(text, cases[i].printed);
		free(endpoint.host);
	}
}

static void test_endpoint_cut(void **state)
{
	struct endpoint endpoint = { .host = (char *)"friday.example.net", .port = 0 };
	char text[8];

	(void)state;
	assert_string_equal(endpoint_format(&endpoint, 22, text, sizeof(text)), "friday.");
}

static void test_host_name(void **state)
{
	char label[65], name[300];
	size_t i;
	static const char *const good[] = { "a", "friday", "nas.friday", "a-b.c_d", "7.example",
					    "xn--bcher-kva", "_ssh._tcp", "2026" };
	static const char *const bad[] = { "",	  ".",	   "a.",   ".a",  "a..b", "-a",
					   "a-",  "a-.b",  "a b",  "a/b", "a:b",  "a\tb",
					   "a#b", "b\xc3\xbc", "a\n", "a=b" };

	(void)state;
	for (i = 0; i < COUNT(good); i++)
		if (!host_name_valid(good[i]))
			fail_msg("%s", good[i]);
	for (i = 0; i < COUNT(bad); i++)
		if (host_name_valid(bad[i]))
			fail_msg("%s", bad[i]);

	memset(label, 'a', sizeof(label));
	label[63] = '\0';
	assert_true(host_name_valid(label));
	label[63] = 'a';
	label[64] = '\0';
	assert_false(host_name_valid(label));

	for (i = 0; i < sizeof(name); i++)
		name[i] = i % 2 ? '.' : 'a';
	name[253] = '\0';
	assert_true(host_name_valid(name));
	memmove(name + 1, name, 254);
	assert_int_equal(strlen(name), 254);
	assert_false(host_name_valid(name));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addr_text),     cmocka_unit_test(test_addr_order),
		cmocka_unit_test(test_sockaddr),      cmocka_unit_test(test_addr_port),
		cmocka_unit_test(test_prefix_text),   cmocka_unit_test(test_prefix_contains),
		cmocka_unit_test(test_prefix_pairs),  cmocka_unit_test(test_prefix_around),
		cmocka_unit_test(test_endpoint),      cmocka_unit_test(test_endpoint_cut),
		cmocka_unit_test(test_host_name),
	};

	return cmocka_run_group_tests_name("addr", tests, NULL, NULL);
}
