/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host keys against ssh's own idea of them: keys, hashed names and removals are
 * made by ssh-keygen, which also has to find what is found here, and only that.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "hostkeys_helpers.h"

static const struct {
	const char *known, *host;
	uint16_t port;
	int shown; /* index of keys */
	enum hostkeys_verdict verdict;
	unsigned line;
} cases[] = {
	{ "", "friday", 22, A, HOSTKEYS_UNKNOWN, 0 },
	{ "\n\n# friday $A\n#friday $A\n", "friday", 22, A, HOSTKEYS_UNKNOWN, 0 },
	{ "#,friday $A\n#friday,friday $A\n", "friday", 22, A, HOSTKEYS_UNKNOWN, 0 },
	{ "friday $A\n", "friday", 22, A, HOSTKEYS_MATCH, 1 },
	{ "friday $A\n", "friday", 22, B, HOSTKEYS_MISMATCH, 1 },
	{ "friday $A\n", "thursday", 22, A, HOSTKEYS_UNKNOWN, 0 },
	{ "friday $A\n", "frida", 22, A, HOSTKEYS_UNKNOWN, 0 },
	{ "friday $A\n", "friday.example", 22, A, HOSTKEYS_UNKNOWN, 0 },
	/* as ssh-keyscan writes them; blanks, comments, ends of line, the end of the file */
	{ "# 10.8.0.1:22 SSH-2.0-OpenSSH_9.2p1\n10.8.0.1 $R\n# again\n10.8.0.1 $A\n",
	  "10.8.0.1", 22, A, HOSTKEYS_MATCH, 4 },
	{ "friday $A", "friday", 22, A, HOSTKEYS_MATCH, 1 },
	{ " \t friday \t $A a comment of $B words\r\n", "friday", 22, A, HOSTKEYS_MATCH, 1 },
	{ "friday $A\r\n", "friday", 22, B, HOSTKEYS_MISMATCH, 1 },
	/* lists and patterns */
	{ "thursday,friday,10.8.0.1 $A\n", "friday", 22, A, HOSTKEYS_MATCH, 1 },
	{ "thursday,friday,10.8.0.1 $A\n", "10.8.0.1", 22, A, HOSTKEYS_MATCH, 1 },
	{ "*.example.net $A\n", "friday.example.net", 22, A, HOSTKEYS_MATCH, 1 },
	{ "*.example.net $A\n", "a.b.example.net", 22, A, HOSTKEYS_MATCH, 1 },
	{ "*.example.net $A\n", "example.net", 22, A, HOSTKEYS_UNKNOWN, 0 },
	{ "10.8.?.* $A\n", "10.8.0.1", 22, A, HOSTKEYS_MATCH, 1 },
	{ "10.8.?.* $A\n", "10.8.10.1", 22, A, HOSTKEYS_UNKNOWN, 0 },
	{ "f?iday*,x $A\n", "friday", 22, A, HOSTKEYS_MATCH, 1 },
	{ "* $A\n", "friday", 22, A, HOSTKEYS_MATCH, 1 },
	/* what a shell would take for a pattern is none to ssh */
	{ "[a-z]riday $A\n", "friday", 22, A, HOSTKEYS_UNKNOWN, 0 },
	{ "fr\\iday $A\n", "friday", 22, A, HOSTKEYS_UNKNOWN, 0 },
	{ "@(friday|x) $A\n", "friday", 22, A, HOSTKEYS_UNKNOWN, 0 },
	/* negation beats every match, wherever it stands */
	{ "!friday,* $A\n", "friday", 22, A, HOSTKEYS_UNKNOWN, 0 },
	{ "*,!friday $A\n", "friday", 22, A, HOSTKEYS_UNKNOWN, 0 },
	{ "*,!fri* $A\n", "friday", 22, A, HOSTKEYS_UNKNOWN, 0 },
	{ "!friday,* $A\n", "thursday", 22, A, HOSTKEYS_MATCH, 1 },
	{ "!friday $A\n", "thursday", 22, A, HOSTKEYS_UNKNOWN, 0 },
	{ "*,!friday $A\nfriday $B\n", "friday", 22, B, HOSTKEYS_MATCH, 2 },
	/* case */
	{ "Friday.Example $A\n", "friday.example", 22, A, HOSTKEYS_MATCH, 1 },
	{ "friday.example $A\n", "FRIDAY.Example", 22, A, HOSTKEYS_MATCH, 1 },
	{ "*,!FRIDAY $A\n", "friday", 22, A, HOSTKEYS_UNKNOWN, 0 },
	{ "FD00:7::A $A\n", "fd00:7::a", 22, A, HOSTKEYS_MATCH, 1 },
	/* ports */
	{ "[friday]:2222 $A\n", "friday", 2222, A, HOSTKEYS_MATCH, 1 },
	{ "[friday]:2222 $A\n", "friday", 2222, B, HOSTKEYS_MISMATCH, 1 },
	{ "[friday]:2222 $A\n", "friday", 22, A, HOSTKEYS_UNKNOWN, 0 },
	{ "[friday]:2222 $A\n", "friday", 2223, A, HOSTKEYS_UNKNOWN, 0 },
	{ "friday $A\n", "friday", 2222, A, HOSTKEYS_UNKNOWN, 0 },
	{ "[friday]:22 $A\n", "friday", 22, A, HOSTKEYS_UNKNOWN, 0 },
	{ "[*]:2222 $A\n", "friday", 2222, A, HOSTKEYS_MATCH, 1 },
	{ "[f*]:* $A\n", "friday", 65535, A, HOSTKEYS_MATCH, 1 },
	{ "friday,[friday]:443 $A\n", "friday", 443, A, HOSTKEYS_MATCH, 1 },
	/* IPv6 */
	{ "fd00:7::1 $A\n", "fd00:7::1", 22, A, HOSTKEYS_MATCH, 1 },
	{ "[fd00:7::1]:2222 $A\n", "fd00:7::1", 2222, A, HOSTKEYS_MATCH, 1 },
	{ "[fd00:7::1]:2222 $A\n", "fd00:7::1", 22, A, HOSTKEYS_UNKNOWN, 0 },
	{ "fd00:7::* $A\n", "fd00:7::1", 22, A, HOSTKEYS_MATCH, 1 },
	{ "[fd00:7::?]:2222 $A\n", "fd00:7::1", 2222, A, HOSTKEYS_MATCH, 1 },
	/* revoked: before, after, for all, for others, with patterns and ports */
	{ "@revoked friday $A\nfriday $A\n", "friday", 22, A, HOSTKEYS_REVOKED, 1 },
	{ "friday $A\n@revoked friday $A\n", "friday", 22, A, HOSTKEYS_REVOKED, 2 },
	{ "friday $B\n\n@revoked * $A\n", "friday", 22, A, HOSTKEYS_REVOKED, 3 },
	{ "friday $A\n@revoked * $B\n", "friday", 22, A, HOSTKEYS_MATCH, 1 },
	{ "friday $A\n@revoked * $B\n", "friday", 22, B, HOSTKEYS_REVOKED, 2 },
	{ "@revoked thursday $A\nfriday $A\n", "friday", 22, A, HOSTKEYS_MATCH, 2 },
	{ "@revoked *,!friday $A\nfriday $A\n", "friday", 22, A, HOSTKEYS_MATCH, 2 },
	{ "[friday]:2222 $A\n@revoked [*]:2222 $A\n", "friday", 2222, A, HOSTKEYS_REVOKED, 2 },
	/* other markers */
	{ "@cert-authority * $A\nfriday $B\n", "friday", 22, B, HOSTKEYS_MATCH, 2 },
	{ "@trusted friday $A\n", "friday", 22, A, HOSTKEYS_UNKNOWN, 0 },
	{ "@revoke friday $A\nfriday $A\n", "friday", 22, A, HOSTKEYS_MATCH, 2 },
	/* lines that make no sense hide none behind them */
	{ "friday\nfriday ssh-ed25519\n@revoked\n@revoked friday\nfriday $A\n", "friday", 22, A,
	  HOSTKEYS_MATCH, 5 },
	{ "friday ssh-ed25519 AAA*\nfriday ssh-ed25519 ====\nfriday ssh-ed25519 AAAA\nfriday $A\n",
	  "friday", 22, A, HOSTKEYS_MATCH, 4 },
	{ "friday ssh-ed25519 $a=\nfriday ssh-ed25519 =$a\nfriday ssh-ed25519 ,$a\nfriday $A\n",
	  "friday", 22, A, HOSTKEYS_MATCH, 4 },
	{ "friday ssh-ed25519 $a====\nfriday ssh-ed25519 $a----\n", "friday", 22, A,
	  HOSTKEYS_UNKNOWN, 0 },
	/* a type that is not the key's own */
	{ "friday ssh-rsa $a\n", "friday", 22, A, HOSTKEYS_UNKNOWN, 0 },
	{ "friday ssh-ed25519 $r\n", "friday", 22, R, HOSTKEYS_UNKNOWN, 0 },
	{ "friday ecdsa-sha2-nistp384 $c\n", "friday", 22, C, HOSTKEYS_UNKNOWN, 0 },
	/* several keys of a host */
	{ "friday $R\nfriday $C\nfriday $A\n", "friday", 22, R, HOSTKEYS_MATCH, 1 },
	{ "friday $R\nfriday $C\nfriday $A\n", "friday", 22, C, HOSTKEYS_MATCH, 2 },
	{ "friday $R\nfriday $C\nfriday $A\n", "friday", 22, A, HOSTKEYS_MATCH, 3 },
	{ "x $B\nfriday $R\nfriday $C\nfriday $A\n", "friday", 22, B, HOSTKEYS_MISMATCH, 2 },
	{ "friday $B\nfriday $A\n", "friday", 22, A, HOSTKEYS_MATCH, 2 },
	{ "friday $A\nfriday $A\n", "friday", 22, A, HOSTKEYS_MATCH, 2 },
	{ "friday $D\nfriday $E\n", "friday", 22, E, HOSTKEYS_MATCH, 2 },
};
#define CASES (sizeof(cases) / sizeof(cases[0]))

static void test_check(void **state)
{
	(void)state;
	for (size_t i = 0; i < CASES; i++) {
		char *text = expand(cases[i].known);

		expect(text, cases[i].host, cases[i].port, cases[i].shown, cases[i].verdict,
		       cases[i].line);
		free(text);
	}
}

/* The table above is ssh's, not only ours. */
static void test_ssh_keygen_agrees(void **state)
{
	char said[8192], line[32];

	(void)state;
	for (size_t i = 0; i < CASES; i++) {
		bool wanted = cases[i].verdict != HOSTKEYS_UNKNOWN;
		char *text = expand(cases[i].known);

		write_text(text);
		snprintf(line, sizeof(line), "found: line %u ", cases[i].line);
		if (ssh_finds(cases[i].host, cases[i].port, said, sizeof(said)) != wanted ||
		    (wanted && !strstr(said, line)))
			fail_msg("ssh-keygen says \"%s\" of %s in\n%s", said, cases[i].host, text);
		free(text);
	}
}

/* These name the host, but say nothing of the key that it may show. */
static void test_lines_that_do_not_know_a_host(void **state)
{
	char *text = expand("@cert-authority friday $A\n@revoked friday $B\n"), said[8192];

	(void)state;
	write_text(text);
	assert_true(ssh_finds("friday", 22, said, sizeof(said)));
	expect(text, "friday", 22, A, HOSTKEYS_UNKNOWN, 0);
	expect(text, "friday", 22, C, HOSTKEYS_UNKNOWN, 0);
	free(text);
}

/* ssh knows a marker before a blank only: here a tab is as good, to be safe. */
static void test_revoked_before_a_tab(void **state)
{
	char *text = expand("friday $A\n@revoked\t*\t$A\n");

	(void)state;
	expect(text, "friday", 22, A, HOSTKEYS_REVOKED, 2);
	free(text);
}

static void test_site_is_a_name_too(void **state)
{
	static const struct {
		const char *known, *host;
		uint16_t port;
		enum hostkeys_verdict verdict;
	} rows[] = {
		{ "friday $A\n", "203.0.113.7", 22, HOSTKEYS_MATCH },
		{ "friday $A\n", "203.0.113.7", 2222, HOSTKEYS_MATCH },
		{ "friday $B\n", "203.0.113.7", 2222, HOSTKEYS_MISMATCH },
		{ "[friday]:2222 $A\n", "203.0.113.7", 2222, HOSTKEYS_UNKNOWN },
		{ "FRI* $A\n", "203.0.113.7", 22, HOSTKEYS_MATCH },
		{ "friday $A\n203.0.113.7 $B\n", "203.0.113.7", 22, HOSTKEYS_MATCH },
		{ "203.0.113.7 $A\n@revoked friday $A\n", "203.0.113.7", 22, HOSTKEYS_REVOKED },
		{ "*,!203.0.113.7 $A\n", "203.0.113.7", 22, HOSTKEYS_MATCH }, /* by its site */
		{ "thursday $A\n", "203.0.113.7", 22, HOSTKEYS_UNKNOWN },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct hostkeys_host host = { rows[i].host, rows[i].port, "friday" };
		char *text = expand(rows[i].known);
		unsigned line = 0;

		if (check(text, &host, A, &line) != rows[i].verdict)
			fail_msg("case %zu: %s", i, rows[i].known);
		free(text);
	}
}

/* Names hashed by ssh-keygen -H, and lines removed by -R. */
static void test_hashed(void **state)
{
	static const struct {
		const char *host;
		uint16_t port;
		int shown;
		enum hostkeys_verdict verdict;
		unsigned line;
	} rows[] = {
		{ "friday", 22, A, HOSTKEYS_MATCH, 1 },
		{ "FRIDAY", 22, A, HOSTKEYS_MATCH, 1 },
		{ "friday", 22, B, HOSTKEYS_MISMATCH, 1 },
		{ "10.8.0.1", 22, A, HOSTKEYS_MATCH, 2 },
		{ "friday", 2222, B, HOSTKEYS_MATCH, 3 },
		{ "fd00:7::1", 22, C, HOSTKEYS_MATCH, 4 },
		{ "fd00:7::1", 443, R, HOSTKEYS_REVOKED, 5 },
		{ "fd00:7::1", 443, D, HOSTKEYS_UNKNOWN, 0 },
		{ "saturday", 22, A, HOSTKEYS_UNKNOWN, 0 },
	};
	size_t size;
	char *text = expand("friday,10.8.0.1 $A\n[friday]:2222 $B\nfd00:7::1 $C\n"
			    "@revoked [fd00:7::1]:443 $R\n");

	(void)state;
	write_text(text);
	free(text);
	/* it leaves lines with a marker as they are */
	must_run("ssh-keygen -H -f known_hosts && ! grep -E '^(fri|10|.fri|fd)' known_hosts");
	text = read_text(&size);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		expect(text, rows[i].host, rows[i].port, rows[i].shown, rows[i].verdict,
		       rows[i].line);
	free(text);

	must_run("ssh-keygen -R '[friday]:2222' -f known_hosts");
	text = read_text(&size);
	expect(text, "friday", 2222, B, HOSTKEYS_UNKNOWN, 0);
	expect(text, "friday", 22, A, HOSTKEYS_MATCH, 1);
	expect(text, "fd00:7::1", 22, C, HOSTKEYS_MATCH, 3);
	free(text);
}

/* Each way to spoil a hashed name: nothing is found, nothing breaks. */
static void test_spoilt_hashes(void **state)
{
	char *text, *copy;
	size_t size, end;

	(void)state;
	text = expand("friday $A\n");
	write_text(text);
	free(text);
	must_run("ssh-keygen -H -f known_hosts");
	text = read_text(&size);
	end = strcspn(text, " ");
	expect(text, "friday", 22, A, HOSTKEYS_MATCH, 1);
	for (size_t i = 0; i < end; i++) {
		copy = strdup(text);
		assert_non_null(copy);
		/* an '=' less is a byte more */
		copy[i] = copy[i] == '=' ? 'A' : '.';
		expect(copy, "friday", 22, A, HOSTKEYS_UNKNOWN, 0);
		memmove(copy + i, copy + i + 1, strlen(copy + i));
		expect(copy, "friday", 22, A, HOSTKEYS_UNKNOWN, 0);
		free(copy);
	}
	free(text);
}

/* Bytes that the decoder would take for zeros, or let go at the end. */
static void test_spoilt_keys(void **state)
{
	char *text = expand("friday $A\n"), *key = strstr(text, "AAAA");

	(void)state;
	expect(text, "friday", 22, A, HOSTKEYS_MATCH, 1);
	for (char *c = key; *c != '\n'; c++) {
		char before = *c;

		for (const char *wrong = "=-.\1\x80"; *wrong; wrong++) {
			*c = *wrong;
			expect(text, "friday", 22, A, HOSTKEYS_UNKNOWN, 0);
		}
		*c = before;
	}
	free(text);
}

/* A line has no length that would hide its end, or the lines behind it. */
static void test_overlong_lines(void **state)
{
	char *names = calloc(1, 400000), *template = calloc(1, 1000000), *text;
	size_t used = 0;

	(void)state;
	assert_non_null(names);
	assert_non_null(template);
	for (unsigned i = 0; i < 20000; i++)
		used += (size_t)snprintf(names + used, 400000 - used, "host%u.example,", i);
	snprintf(template, 1000000, "%s $B\n@revoked %sfriday $A\nfriday $A\n", names, names);
	text = expand(template);
	expect(text, "friday", 22, A, HOSTKEYS_REVOKED, 2);
	expect(text, "host19999.example", 22, B, HOSTKEYS_MATCH, 1);
	free(text);

	memset(names, 'A', 399996); /* a key of 300 kB */
	names[399996] = '\0';
	snprintf(template, 1000000, "friday ssh-ed25519 %s\nfriday $A\n", names);
	text = expand(template);
	expect(text, "friday", 22, A, HOSTKEYS_MATCH, 2);
	free(text);

	memset(names, 'f', 5000); /* a name longer than names are */
	strcpy(names + 5000, "*");
	snprintf(template, 1000000, "%s,!%s,friday $A\n%s $B\n", names, names, names);
	text = expand(template);
	expect(text, "friday", 22, A, HOSTKEYS_MATCH, 1);
	free(text);
	free(names);
	free(template);
}

/* A NUL byte spoils its line and no other. */
static void test_nul_bytes(void **state)
{
	const struct hostkeys_host host = { "friday", 22, NULL };
	char *text = expand("friday~ $B\n~\n~friday $B\nfriday $A\n@revoked * $A\n");
	size_t size = strlen(text);
	unsigned line = 0;

	(void)state;
	for (char *c = strchr(text, '~'); c; c = strchr(c, '~'))
		*c++ = '\0';
	assert_int_equal(hostkeys_check(text, size, &host, keys[A].blob, keys[A].size, &line),
			 HOSTKEYS_REVOKED);
	assert_int_equal(line, 5);
	assert_int_equal(hostkeys_types(text, size, &host), HOSTKEYS_ED25519);
	assert_int_equal(hostkeys_check(text, size, &host, keys[B].blob, keys[B].size, &line),
			 HOSTKEYS_MISMATCH);
	assert_int_equal(line, 4);
	free(text);
}

/* Every beginning of a file, without a NUL behind it: no read beyond its end. */
static void test_cut_off_anywhere(void **state)
{
	const struct hostkeys_host host = { "friday", 22, "x" };
	char *text = expand("x,friday $A\n@revoked x $B\n");
	size_t whole = strlen(text) - 1, first = strcspn(text, "\n");
	unsigned line;

	(void)state;
	for (size_t size = 0; size <= whole; size++) {
		char *copy = malloc(size ? size : 1);
		enum hostkeys_verdict verdict;

		assert_non_null(copy);
		memcpy(copy, text, size);
		verdict = hostkeys_check(copy, size, &host, keys[B].blob, keys[B].size, &line);
		assert_int_equal(verdict, size < first	 ? HOSTKEYS_UNKNOWN :
					  size < whole ? HOSTKEYS_MISMATCH :
							   HOSTKEYS_REVOKED);
		free(copy);
	}
	free(text);
}

static void test_types(void **state)
{
	static const struct {
		const char *known;
		unsigned types;
	} rows[] = {
		{ "", 0 },
		{ "friday $A\n", HOSTKEYS_ED25519 },
		{ "friday $C\n", HOSTKEYS_ECDSA_256 },
		{ "friday $D\nthursday $A\n", HOSTKEYS_ECDSA_384 },
		{ "friday $E\nfriday $R\n", HOSTKEYS_ECDSA_521 | HOSTKEYS_RSA },
		{ "* $A\nfri* $C\n!friday,!site,* $R\nfriday $E\n",
		  HOSTKEYS_ED25519 | HOSTKEYS_ECDSA_256 | HOSTKEYS_ECDSA_521 },
		{ "@revoked friday $A\nfriday $C\n", HOSTKEYS_ECDSA_256 },
		{ "@cert-authority friday $A\n", 0 },
		{ "friday ssh-rsa $a\n", 0 },
		{ "site $R\n", HOSTKEYS_RSA },
	};
	const struct hostkeys_host host = { "friday", 22, "site" };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *text = expand(rows[i].known);

		assert_int_equal(hostkeys_types(text, strlen(text), &host), rows[i].types);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_ssh_keygen_agrees),
		cmocka_unit_test(test_lines_that_do_not_know_a_host),
		cmocka_unit_test(test_revoked_before_a_tab),
		cmocka_unit_test(test_site_is_a_name_too),
		cmocka_unit_test(test_hashed),
		cmocka_unit_test(test_spoilt_hashes),
		cmocka_unit_test(test_spoilt_keys),
		cmocka_unit_test(test_overlong_lines),
		cmocka_unit_test(test_nul_bytes),
		cmocka_unit_test(test_cut_off_anywhere),
		cmocka_unit_test(test_types),
	};

	return cmocka_run_group_tests_name("hostkeys", tests, group_setup, group_teardown);
}
