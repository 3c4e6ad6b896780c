/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The content of the kernel sets: own prefixes taken out, comparison, text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/entries.h"

/* A blank-separated list of prefixes; "!" before one makes it an exception. */
static void entries_from_text(struct entries *entries, const char *text)
{
	char copy[512], *save = NULL;
	struct prefix prefix;
	const char *reason;

	assert_true(strlen(text) < sizeof(copy));
	strcpy(copy, text);
	for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		bool nomatch = word[0] == '!';

		assert_int_equal(prefix_parse(word + nomatch, &prefix, &reason), 0);
		assert_int_equal(entries_add(entries, &prefix, nomatch), 0);
	}
}

static void append(char *text, size_t size, const struct prefix *prefix, bool nomatch)
{
	size_t used = strlen(text);
	char one[PREFIX_TEXT_SIZE];

	snprintf(text + used, size - used, "%s%s%s", used ? " " : "", nomatch ? "!" : "",
		 prefix_format(prefix, one));
}

/* The prefixes of a list, as the functions under test want them. */
static struct prefix *prefixes_of(const struct entries *entries)
{
	struct prefix *prefixes = calloc(entries->count + 1, sizeof(*prefixes));

	assert_non_null(prefixes);
	for (size_t i = 0; i < entries->count; i++)
		prefixes[i] = entries->list[i].prefix;
	return prefixes;
}

static const struct {
	const char *remote, *own, *expected;
} build_cases[] = {
	{ "", "", "" },
	{ "", "10.0.0.0/8", "" },
	{ "10.8.0.0/16 10.7.0.0/16", "", "10.7.0.0/16 10.8.0.0/16" },
	{ "10.8.0.0/16 10.8.0.0/16", "", "10.8.0.0/16" },
	/* apart, equal, own inside remote, remote inside own */
	{ "10.8.0.0/16", "10.1.0.0/16", "10.8.0.0/16" },
	{ "10.8.0.0/16", "10.8.0.0/16", "" },
	{ "10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/8 !10.1.0.0/16" },
	{ "10.8.0.0/16", "10.0.0.0/8", "" },
	/* a remote in our own, in a wider remote: the exception covers it */
	{ "10.0.0.0/8 10.1.2.0/24", "10.1.0.0/16", "10.0.0.0/8 !10.1.0.0/16" },
	/* the same address, other lengths */
	{ "10.0.0.0/8 10.0.0.0/24", "10.0.0.0/16", "10.0.0.0/8 !10.0.0.0/16" },
	/* own ones inside each other; several exceptions in one remote */
	{ "10.0.0.0/8", "10.1.0.0/16 10.1.2.0/24 10.2.0.0/16 10.1.0.0/16",
	  "10.0.0.0/8 !10.1.0.0/16 !10.2.0.0/16" },
	/* the container need not be the nearest in order */
	{ "10.0.0.0/8 10.1.0.0/24", "10.200.0.0/16 10.0.5.0/24",
	  "10.0.0.0/8 !10.0.5.0/24 10.1.0.0/24 !10.200.0.0/16" },
	/* /0 */
	{ "0.0.0.0/0", "", "0.0.0.0/1 128.0.0.0/1" },
	{ "0.0.0.0/0", "192.168.1.0/24", "0.0.0.0/1 128.0.0.0/1 !192.168.1.0/24" },
	{ "0.0.0.0/0 0.0.0.0/1", "128.0.0.0/1", "0.0.0.0/1" },
	{ "10.8.0.0/16 0.0.0.0/0", "0.0.0.0/0", "" },
	{ "::/0", "fd00:1::/48", "::/1 8000::/1 !fd00:1::/48" },
	/* hosts, and the ends of the space */
	{ "10.0.0.0/31", "10.0.0.1/32", "10.0.0.0/31 !10.0.0.1/32" },
	{ "255.255.255.255/32", "255.255.255.254/31", "" },
	/* families don't touch each other */
	{ "10.0.0.0/8 fd00::/8", "fd00:1::/48", "10.0.0.0/8 fd00::/8 !fd00:1::/48" },
	{ "::/8", "0.0.0.0/0", "::/8" },
};

static void test_build(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(build_cases) / sizeof(build_cases[0]); i++) {
		struct entries remote = { 0 }, own = { 0 }, built = { 0 };
		struct prefix *remote_list, *own_list;
		char text[512] = "";

		entries_from_text(&remote, build_cases[i].remote);
		entries_from_text(&own, build_cases[i].own);
		remote_list = prefixes_of(&remote);
		own_list = prefixes_of(&own);
		assert_int_equal(entries_build(&built, remote_list, remote.count, own_list,
					       own.count), 0);
		for (size_t j = 0; j < built.count; j++)
			append(text, sizeof(text), &built.list[j].prefix, built.list[j].nomatch);
		assert_string_equal(text, build_cases[i].expected);
		free(remote_list);
		free(own_list);
		entries_free(&remote);
		entries_free(&own);
		entries_free(&built);
	}
}

/* What the kernel does with a set: the longest entry around the address. */
static bool set_matches(const struct entries *entries, const struct addr *addr)
{
	const struct kset_entry *best = NULL;

	for (size_t i = 0; i < entries->count; i++)
		if (prefix_contains(&entries->list[i].prefix, addr) &&
		    (!best || entries->list[i].prefix.length > best->prefix.length))
			best = &entries->list[i];
	return best && !best->nomatch;
}

static bool any_contains(const struct prefix *prefixes, size_t count, const struct addr *addr)
{
	for (size_t i = 0; i < count; i++)
		if (prefix_contains(&prefixes[i], addr))
			return true;
	return false;
}

static unsigned random_next(unsigned *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 16;
}

/* Prefixes in the last byte of one address, so that they collide often. */
static struct prefix random_prefix(unsigned *seed)
{
	struct addr addr = { .family = AF_INET, .bytes = { 10, 0, 0, 0 } };

	addr.bytes[3] = random_next(seed);
	return prefix_around(&addr, 24 + random_next(seed) % 9);
}

/* Captured is what a remote prefix contains and no own one does, address by
 * address, for thousands of small maps. */
static void test_build_means_remote_but_not_own(void **state)
{
	unsigned seed = 1;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		struct prefix remote[8], own[4];
		size_t remote_count = random_next(&seed) % 9, own_count = random_next(&seed) % 5;
		struct addr addr = { .family = AF_INET, .bytes = { 10, 0, 0, 0 } };
		struct entries built = { 0 };

		for (size_t i = 0; i < remote_count; i++)
			remote[i] = random_prefix(&seed);
		for (size_t i = 0; i < own_count; i++)
			own[i] = random_prefix(&seed);
		assert_int_equal(entries_build(&built, remote, remote_count, own, own_count), 0);
		for (int last = 0; last < 256; last++) {
			addr.bytes[3] = last;
			assert_int_equal(set_matches(&built, &addr),
					 any_contains(remote, remote_count, &addr) &&
						 !any_contains(own, own_count, &addr));
		}
		entries_free(&built);
	}
}

static const struct {
	const char *before, *after, *gained;
	bool equal;
} gained_cases[] = {
	{ "", "", "", true },
	{ "", "10.7.0.0/16 fd00:7::/48", "10.7.0.0/16 fd00:7::/48", false },
	{ "10.7.0.0/16", "10.7.0.0/16", "", true },
	{ "10.7.0.0/16", "", "", false },
	{ "10.6.0.0/16 10.8.0.0/16", "10.7.0.0/16 10.8.0.0/16 10.9.0.0/16",
	  "10.7.0.0/16 10.9.0.0/16", false },
	{ "10.0.0.0/8", "10.0.0.0/16", "10.0.0.0/16", false },
	/* an exception that is none any more */
	{ "10.0.0.0/8 !10.1.0.0/16", "10.0.0.0/8", "10.1.0.0/16", false },
	{ "10.0.0.0/8 !10.1.0.0/16", "10.0.0.0/8 10.1.0.0/16", "10.1.0.0/16", false },
	{ "10.0.0.0/8 !10.1.0.0/16", "", "", false },
	{ "10.0.0.0/8 !10.1.2.0/24", "10.0.0.0/8 !10.1.0.0/16", "", false },
	{ "10.0.0.0/8", "10.0.0.0/8 !10.1.0.0/16", "", false },
	{ "10.0.0.0/8 !10.1.0.0/16", "10.0.0.0/8 !10.1.0.0/16", "", true },
};

static void test_gained(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(gained_cases) / sizeof(gained_cases[0]); i++) {
		struct entries before = { 0 }, after = { 0 };
		struct prefix *gained;
		char text[512] = "";
		size_t count;

		entries_from_text(&before, gained_cases[i].before);
		entries_from_text(&after, gained_cases[i].after);
		entries_sort(&before);
		entries_sort(&after);
		assert_int_equal(entries_gained(&before, &after, &gained, &count), 0);
		for (size_t j = 0; j < count; j++)
			append(text, sizeof(text), &gained[j], false);
		assert_string_equal(text, gained_cases[i].gained);
		assert_int_equal(entries_equal(&before, &after, AF_INET) &&
					 entries_equal(&before, &after, AF_INET6),
				 gained_cases[i].equal);
		free(gained);
		entries_free(&before);
		entries_free(&after);
	}
}

static void test_equal_is_per_family(void **state)
{
	struct entries a = { 0 }, b = { 0 };

	(void)state;
	entries_from_text(&a, "10.7.0.0/16 fd00:7::/48");
	entries_from_text(&b, "10.7.0.0/16 fd00:8::/48");
	assert_true(entries_equal(&a, &b, AF_INET));
	assert_false(entries_equal(&a, &b, AF_INET6));
	entries_free(&a);
	entries_free(&b);
}

static void test_text(void **state)
{
	static const char *const lines[] = {
		"add dvpn4 10.8.0.0/16\n",
		"add dvpn4 10.8.1.0/24 nomatch\n",
		"add dvpn6 fd00:7::/48\n",
		"add dvpn4 10.7.0.1/32\n",
	};
	char text[ENTRY_TEXT_SIZE], line[ENTRY_TEXT_SIZE];
	struct kset_entry entry;

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		strcpy(line, lines[i]);
		*strchr(line, '\n') = '\0';
		assert_int_equal(entry_parse(line, &entry), 0);
		assert_int_equal(entry_format(&entry, i == 2 ? "dvpn6" : "dvpn4", text),
				 strlen(lines[i]));
		assert_string_equal(text, lines[i]);
	}
	/* ipset writes a single address without its length */
	assert_int_equal(entry_parse("add dvpn4 10.7.0.1", &entry), 0);
	assert_int_equal(entry.prefix.length, 32);
	assert_int_equal(entry_parse("add dvpn6 fd00::1 nomatch", &entry), 0);
	assert_int_equal(entry.prefix.length, 128);
	assert_true(entry.nomatch);
}

static void test_text_of_other_kinds(void **state)
{
	static const char *const lines[] = {
		"", "add", "add dvpn4", "add dvpn4 thursday", "add dvpn4 10.8.0.0/33",
		"create dvpn4 hash:net family inet hashsize 1024 maxelem 1048576", "del dvpn4 10.8.0.0/16",
		"add dvpn6 1111:2222:3333:4444:5555:6666:7777:8888:9999:1111:2222:3333/48",
	};
	struct kset_entry entry;

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		assert_int_equal(entry_parse(lines[i], &entry), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_build),
		cmocka_unit_test(test_build_means_remote_but_not_own),
		cmocka_unit_test(test_gained),
		cmocka_unit_test(test_equal_is_per_family),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_text_of_other_kinds),
	};

	return cmocka_run_group_tests_name("kset", tests, NULL, NULL);
}
