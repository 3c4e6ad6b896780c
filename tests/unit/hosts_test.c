/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The grammar of the map files: what one line means, and what is refused. */
#include "map/hosts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define FINGERPRINT "SHA256:abcdefghijklmnopqrstuvwxyzABCDEFGHIJ/+12345"

static struct hosts_reader *reader;

static int setup(void **state)
{
	(void)state;
	reader = malloc(sizeof(*reader));
	return reader ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	free(reader);
	return 0;
}

/* Reads a copy of its exact size, so that a sanitizer sees a byte too far. */
static char *start(const char *text, size_t size, bool learned, unsigned prefix_length)
{
	struct hosts_text source = { .path = "map", .size = size, .learned = learned };
	char *copy = malloc(size ? size : 1);

	assert_non_null(copy);
	memcpy(copy, text, size);
	source.text = copy;
	hosts_reader_init(reader, &source, prefix_length);
	return copy;
}

/* What a line means, in one canonical form. */
static void describe(const struct hosts_line *line, char *text, size_t size)
{
	char part[300];
	unsigned i;
	FILE *out = fmemopen(text, size, "w");

	assert_non_null(out);
	fputs(addr_format(&line->addr, part), out);
	for (i = 0; i < line->name_count; i++)
		fprintf(out, " %s", line->names[i]);
	if (line->gateway)
		fputs(" #!", out);
	for (i = 0; i < line->prefix_count; i++)
		fprintf(out, " %s", prefix_format(&line->prefixes[i], part));
	for (i = 0; i < line->endpoint_count; i++)
		fprintf(out, " %s",
			endpoint_format(&line->endpoints[i], 22, part, sizeof(part)));
	if (line->user)
		fprintf(out, " user=%s", line->user);
	if (line->netcat)
		fprintf(out, " netcat=%s", line->netcat);
	if (line->hostkey)
		fprintf(out, " hostkey=%s", line->hostkey);
	if (line->mode)
		fprintf(out, " mode=%s", ssh_mode_name(line->mode));
	if (line->pref_given)
		fprintf(out, " pref=%d", line->pref);
	fclose(out);
}

static const struct {
	const char *line, *means; /* NULL: nothing on it */
} good[] = {
	{ "", NULL },
	{ "  \t ", NULL },
	{ "# comment", NULL },
	{ "#10.7.0.1 thursday #! 203.0.113.7", NULL },
	{ "\t# indented", NULL },
	{ "10.8.0.5 nas.friday", "10.8.0.5 nas.friday" },
	{ "127.0.0.1 localhost", "127.0.0.1 localhost" },
	{ "ff02::1 ip6-allnodes", "ff02::1 ip6-allnodes" },
	{ "  10.8.0.5\t NAS.Friday \tnas  # the big one", "10.8.0.5 nas.friday nas" },
	{ "10.8.0.5 nas nas", "10.8.0.5 nas nas" },
	{ "10.8.0.5 nas # see #! above", "10.8.0.5 nas" },
	{ "10.8.0.5 nas\r", "10.8.0.5 nas" },
	{ "10.7.0.1 thursday #! 203.0.113.7", "10.7.0.1 thursday #! 10.7.0.0/24 203.0.113.7:22" },
	{ "10.7.0.1 thursday#!203.0.113.7",
	  "10.7.0.1 thursday #! 10.7.0.0/24 203.0.113.7:22" },
	{ "10.7.0.1 thursday #!", "10.7.0.1 thursday #! 10.7.0.0/24" },
	{ "fd00:7::1 thursday #! a", "fd00:7::1 thursday #! fd00:7::1/128 a:22" },
	{ "10.8.0.1 friday friday.dvpn #! 10.8.0.0/16 192.168.42.0/24 Friday.Example.net:2222 "
	  "198.51.100.9 # home",
	  "10.8.0.1 friday friday.dvpn #! 10.8.0.0/16 192.168.42.0/24 friday.example.net:2222 "
	  "198.51.100.9:22" },
	{ "fd00:7::1 thursday #! fd00:7::/48 [2001:db8::7]:22 hostkey=" FINGERPRINT " user=dvpn",
	  "fd00:7::1 thursday #! fd00:7::/48 [2001:db8::7]:22 user=dvpn hostkey=" FINGERPRINT },
	{ "10.1.0.1 a #! netcat=/usr/bin/nc b:1 mode=direct 10.1.0.0/16 pref=-1000",
	  "10.1.0.1 a #! 10.1.0.0/16 b:1 netcat=/usr/bin/nc mode=direct pref=-1000" },
	{ "10.1.0.1 a #! b pref=1000 mode=netcat", "10.1.0.1 a #! 10.1.0.0/24 b:22 mode=netcat "
						   "pref=1000" },
	{ "10.1.0.1 a #! b pref=0", "10.1.0.1 a #! 10.1.0.0/24 b:22 pref=0" },
	{ "10.1.0.1 a #! b 0.0.0.0/0 ::/0", "10.1.0.1 a #! 0.0.0.0/0 ::/0 b:22" },
	{ "::ffff:10.1.0.1 a #! b", "10.1.0.1 a #! 10.1.0.0/24 b:22" },
};

static void test_good(void **state)
{
	char text[2000], *copy;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(good); i++) {
		enum hosts_result result;

		copy = start(good[i].line, strlen(good[i].line), false, 24);
		result = hosts_next(reader);
		if (result == HOSTS_BAD)
			fail_msg("%s: %s", good[i].line, reader->line.reason);
		assert_int_equal(result, good[i].means ? HOSTS_LINE : HOSTS_END);
		if (good[i].means) {
			describe(&reader->line, text, sizeof(text));
			assert_string_equal(text, good[i].means);
			assert_int_equal(hosts_next(reader), HOSTS_END);
		}
		free(copy);
	}
}

static const struct {
	const char *line, *reason; /* a part of it */
} bad[] = {
	{ "thursday 10.7.0.1", "does not begin with an IPv4 or IPv6 address" },
	{ "10.7.0 thursday", "does not begin with" },
	{ "10.7.0.0/16 thursday", "does not begin with" },
	{ "fe80::1%eth0 thursday", "does not begin with" },
	{ "10.7.0.1", "no host name" },
	{ "10.7.0.1 #! 203.0.113.7", "no host name" },
	{ "#! 203.0.113.7", "before the #!" },
	{ "#!/bin/sh", "before the #!" },
	{ "10.7.0.1 10.7.0.2 #! a", "10.7.0.2 is an address where a host name belongs" },
	{ "10.7.0.1 thurs/day", "host name is not valid" },
	{ "10.7.0.1 thursday bad..name", "host name is not valid" },
	{ "10.7.0.1 \x01", "host name is not valid" },
	{ "10.7.0.1 a\rb", "host name is not valid" },
	{ "10.7.0.1 a #! b #! c", "second #!" },
	{ "10.7.0.1 a #! 10.7.0.1/16 b", "write 10.7.0.0/16" },
	{ "10.7.0.1 a #! 10.7.0.0/33 b", "prefix is not valid" },
	{ "10.7.0.1 a #! 10.7/16 b", "prefix is not valid" },
	{ "10.7.0.1 a #! /16 b", "prefix is not valid" },
	{ "10.7.0.1 a #! b:99999", "port" },
	{ "10.7.0.1 a #! 10.7.0.300", "endpoint is not valid" },
	{ "10.7.0.1 a #! [2001:db8::7", "endpoint is not valid" },
	{ "10.7.0.1 a #! 0.0.0.0", "unspecified" },
	{ "10.7.0.1 a #! b color=red", "unknown option; known are hostkey=" },
	{ "10.7.0.1 a #! b User=dvpn", "unknown option" },
	{ "10.7.0.1 a #! b =dvpn", "unknown option" },
	{ "10.7.0.1 a #! b user=", "user= has no value" },
	{ "10.7.0.1 a #! b user=-oProxyCommand", "user= is not valid" },
	{ "10.7.0.1 a #! b user=a;b", "user= is not valid" },
	{ "10.7.0.1 a #! b user=a user=a", "user= is there twice" },
	{ "10.7.0.1 a #! b netcat=", "netcat= has no value" },
	{ "10.7.0.1 a #! b netcat=nc|sh", "netcat= is not valid" },
	{ "10.7.0.1 a #! b netcat=$(x)", "netcat= is not valid" },
	{ "10.7.0.1 a #! b netcat=a netcat=b", "netcat= is there twice" },
	{ "10.7.0.1 a #! b hostkey=", "hostkey=" },
	{ "10.7.0.1 a #! b hostkey=MD5:aa:bb", "ssh-keygen -l" },
	{ "10.7.0.1 a #! b hostkey=" FINGERPRINT "=", "ssh-keygen -l" },
	{ "10.7.0.1 a #! b hostkey=" FINGERPRINT "x", "ssh-keygen -l" },
	{ "10.7.0.1 a #! b hostkey=" FINGERPRINT " hostkey=" FINGERPRINT, "there twice" },
	{ "10.7.0.1 a #! b mode=tunnel", "mode= is none" },
	{ "10.7.0.1 a #! b mode=", "mode= is none" },
	{ "10.7.0.1 a #! b mode=direct mode=direct", "mode= is there twice" },
	{ "10.7.0.1 a #! b pref=", "pref= is no number" },
	{ "10.7.0.1 a #! b pref=1001", "pref= is no number" },
	{ "10.7.0.1 a #! b pref=-1001", "pref= is no number" },
	{ "10.7.0.1 a #! b pref=+1", "pref= is no number" },
	{ "10.7.0.1 a #! b pref=1x", "pref= is no number" },
	{ "10.7.0.1 a #! b pref=--1", "pref= is no number" },
	{ "10.7.0.1 a #! b pref=99999999999999999999", "pref= is no number" },
	{ "10.7.0.1 a #! b pref=1 pref=1", "pref= is there twice" },
	{ "127.0.0.1 a #! b", "127.0.0.0/24 is loopback" },
	{ "10.7.0.1 a #! b 127.0.0.0/8", "loopback" },
	{ "10.7.0.1 a #! b ::1/128", "loopback" },
	{ "10.7.0.1 a #! b 224.0.0.0/4", "multicast" },
	{ "10.7.0.1 a #! b 239.1.0.0/16", "multicast" },
	{ "10.7.0.1 a #! b ff00::/8", "multicast" },
	{ "10.7.0.1 a #! b 0.0.0.0/8", "unspecified" },
	{ "10.7.0.1 a #! b 0.0.0.0/32", "unspecified" },
	{ "10.7.0.1 a #! b ::/128", "unspecified" },
	{ "10.7.0.1 a #! b 169.254.0.0/16", "link-local" },
	{ "10.7.0.1 a #! b fe80::/64", "link-local" },
	{ "10.7.0.1 a #! b 255.255.255.255/32", "broadcast" },
};

static void test_bad(void **state)
{
	char text[600], *copy;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(bad); i++) {
		/* The line after a bad one must not feel it. */
		snprintf(text, sizeof(text), "%s\n10.1.0.1 next #! b\n", bad[i].line);
		copy = start(text, strlen(text), false, 24);
		if (hosts_next(reader) != HOSTS_BAD)
			fail_msg("accepted: %s", bad[i].line);
		if (!strstr(reader->line.reason, bad[i].reason))
			fail_msg("%s: %s", bad[i].line, reader->line.reason);
		assert_int_equal(reader->line.number, 1);
		assert_int_equal(reader->line.size, strlen(bad[i].line));
		assert_int_equal(hosts_next(reader), HOSTS_LINE);
		assert_int_equal(reader->line.number, 2);
		describe(&reader->line, text, sizeof(text));
		assert_string_equal(text, "10.1.0.1 next #! 10.1.0.0/24 b:22");
		assert_int_equal(hosts_next(reader), HOSTS_END);
		free(copy);
	}
}

/* What the operator may say and the exchange may not. */
static void test_learned(void **state)
{
	static const struct {
		const char *prefix;
		bool learned_may;
	} cases[] = {
		{ "0.0.0.0/0", false },	  { "0.0.0.0/1", false }, { "128.0.0.0/1", false },
		{ "126.0.0.0/7", false }, { "::/0", false },	  { "8000::/1", false },
		{ "10.0.0.0/8", true },	  { "2000::/3", true },	  { "fd00::/8", true },
		{ "192.0.0.0/3", true },
	};
	char text[100], *copy;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		snprintf(text, sizeof(text), "10.7.0.1 a #! b %s", cases[i].prefix);
		copy = start(text, strlen(text), false, 32);
		assert_int_equal(hosts_next(reader), HOSTS_LINE);
		free(copy);
		copy = start(text, strlen(text), true, 32);
		if (hosts_next(reader) != (cases[i].learned_may ? HOSTS_LINE : HOSTS_BAD))
			fail_msg("learned %s", cases[i].prefix);
		free(copy);
	}
}

static void test_lines(void **state)
{
	static const char text[] = "\n# one\r\n10.1.0.1 a\r\n\r\n10.1.0.2 b\0c\n10.1.0.3 d";
	char *copy = start(text, sizeof(text) - 1, false, 32);

	(void)state;
	assert_int_equal(hosts_next(reader), HOSTS_LINE);
	assert_int_equal(reader->line.number, 3);
	assert_int_equal(hosts_next(reader), HOSTS_BAD);
	assert_int_equal(reader->line.number, 5);
	assert_non_null(strstr(reader->line.reason, "zero byte"));
	assert_int_equal(hosts_next(reader), HOSTS_LINE);
	assert_int_equal(reader->line.number, 6);
	assert_string_equal(reader->line.names[0], "d");
	assert_int_equal(hosts_next(reader), HOSTS_END);
	assert_int_equal(hosts_next(reader), HOSTS_END);
	free(copy);
}

/* "10.1.0.1 a #!" and then `count` times `token`, padded with blanks to `size`. */
static char *long_line(const char *head, const char *token, unsigned count, size_t size)
{
	size_t length = strlen(head) + count * (strlen(token) + 1);
	size_t whole = size > length ? size : length, i;
	char *text = malloc(whole + 1), *at;

	assert_non_null(text);
	at = text + sprintf(text, "%s", head);
	for (i = 0; i < count; i++)
		at += sprintf(at, " %s", token);
	memset(at, ' ', whole - (size_t)(at - text));
	text[whole] = '\0';
	return text;
}

static void test_bounds(void **state)
{
	static const struct {
		const char *head, *token;
		unsigned count;
		size_t size;
		const char *reason; /* NULL: accepted */
	} cases[] = {
		{ "10.1.0.1 a #! b", "", 0, HOSTS_LINE_MAX, NULL },
		{ "10.1.0.1 a #! b", "", 0, HOSTS_LINE_MAX + 1, "longer than 65536" },
		{ "10.1.0.1 a #! b", "10.0.0.0/8", HOSTS_PREFIXES_MAX, 0, NULL },
		{ "10.1.0.1 a #! b", "10.0.0.0/8", HOSTS_PREFIXES_MAX + 1, 0, "1024 prefixes" },
		{ "10.1.0.1 a #!", "b", HOSTS_ENDPOINTS_MAX, 0, NULL },
		{ "10.1.0.1 a #!", "b", HOSTS_ENDPOINTS_MAX + 1, 0, "16 endpoints" },
		{ "10.1.0.1", "a", HOSTS_NAMES_MAX, 0, NULL },
		{ "10.1.0.1", "a", HOSTS_NAMES_MAX + 1, 0, "256 names" },
	};
	char *text, *copy;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		text = long_line(cases[i].head, cases[i].token, cases[i].count, cases[i].size);
		copy = start(text, strlen(text), false, 32);
		assert_int_equal(hosts_next(reader), cases[i].reason ? HOSTS_BAD : HOSTS_LINE);
		if (cases[i].reason && !strstr(reader->line.reason, cases[i].reason))
			fail_msg("%s", reader->line.reason);
		assert_int_equal(hosts_next(reader), HOSTS_END);
		free(copy);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),	cmocka_unit_test(test_bad),
		cmocka_unit_test(test_learned), cmocka_unit_test(test_lines),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests_name("hosts", tests, setup, teardown);
}
