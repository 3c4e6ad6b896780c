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

#include <errno.h>
#include <fcntl.h>
#include <libssh2.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "carry/hostkeys.h"

enum { A, B, C, D, E, R, KEYS };

static struct key {
	const char *options; /* for ssh-keygen */
	unsigned type;
	char type_name[32];
	char base64[2048];
	unsigned char blob[1536];
	size_t size;
} keys[KEYS] = {
	[A] = { "-t ed25519", .type = HOSTKEYS_ED25519 },
	[B] = { "-t ed25519", .type = HOSTKEYS_ED25519 },
	[C] = { "-t ecdsa -b 256", .type = HOSTKEYS_ECDSA_256 },
	[D] = { "-t ecdsa -b 384", .type = HOSTKEYS_ECDSA_384 },
	[E] = { "-t ecdsa -b 521", .type = HOSTKEYS_ECDSA_521 },
	[R] = { "-t rsa -b 2048", .type = HOSTKEYS_RSA },
};

static char directory[64];
static char known_hosts[96];

/* A shell command inside the directory: its exit status, its output in text. */
__attribute__((format(printf, 3, 4))) static int run(char *text, size_t size, const char *format,
						     ...)
{
	char command[1024];
	int length = snprintf(command, sizeof(command), "cd %s && ", directory), status;
	size_t got;
	FILE *out;
	va_list args;

	va_start(args, format);
	length += vsnprintf(command + length, sizeof(command) - (size_t)length, format, args);
	va_end(args);
	assert_true(length < (int)sizeof(command));
	out = popen(command, "r");
	assert_non_null(out);
	got = fread(text, 1, size - 1, out);
	text[got] = '\0';
	status = pclose(out);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void must_run(const char *command)
{
	char text[2048];

	if (run(text, sizeof(text), "{ %s; } 2>&1 </dev/null", command) != 0)
		fail_msg("%s: %s", command, text);
}

static void write_file(const char *path, const void *data, size_t size)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

static void write_text(const char *text)
{
	write_file(known_hosts, text, strlen(text));
}

static char *read_text(size_t *size)
{
	char *text = hostkeys_read(known_hosts, size);

	assert_non_null(text);
	assert_int_equal(strlen(text), *size);
	return text;
}

static void make_key(struct key *key, int number)
{
	char command[128], line[2600];
	int size;

	snprintf(command, sizeof(command), "ssh-keygen -q %s -N '' -C comment -f k%d", key->options,
		 number);
	must_run(command);
	assert_int_equal(run(line, sizeof(line), "cat k%d.pub", number), 0);
	assert_int_equal(sscanf(line, "%31s %2047s comment", key->type_name, key->base64), 2);
	size = EVP_DecodeBlock(key->blob, (unsigned char *)key->base64, (int)strlen(key->base64));
	assert_true(size > 40);
	key->size = (size_t)size;
	for (const char *c = strchr(key->base64, '='); c && *c; c++)
		key->size--;
}

static int group_setup(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "%s", "/tmp/hostkeys_test.XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(known_hosts, sizeof(known_hosts), "%s/known_hosts", directory);
	for (int i = 0; i < KEYS; i++)
		make_key(&keys[i], i);
	return 0;
}

static int group_teardown(void **state)
{
	char command[96];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command);
}

/* "$A" becomes "ssh-ed25519 AAAA…", "$a" the second word alone, of keys[A]. */
static char *expand(const char *template)
{
	static const char letters[] = "ABCDERabcder";
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	for (const char *c = template; *c; c++) {
		const char *letter = *c == '$' && c[1] ? strchr(letters, c[1]) : NULL;

		if (!letter) {
			fputc(*c, out);
			continue;
		}
		if (letter - letters < KEYS)
			fprintf(out, "%s ", keys[letter - letters].type_name);
		fputs(keys[(letter - letters) % KEYS].base64, out);
		c++;
	}
	assert_int_equal(fclose(out), 0);
	return text;
}

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

static enum hostkeys_verdict check(const char *text, const struct hostkeys_host *host, int shown,
				   unsigned *line)
{
	return hostkeys_check(text, strlen(text), host, keys[shown].blob, keys[shown].size, line);
}

static void expect(const char *text, const char *host, uint16_t port, int shown,
		   enum hostkeys_verdict verdict, unsigned line)
{
	const struct hostkeys_host who = { host, port, NULL };
	unsigned seen_line = 99;
	enum hostkeys_verdict seen = check(text, &who, shown, &seen_line);

	if (seen != verdict || seen_line != line)
		fail_msg("%s port %u: verdict %d line %u, not %d and %u, in\n%s", host, port, seen,
			 seen_line, verdict, line, text);
}

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

/* Whether ssh-keygen knows a good key of the host in the file; its lines and
 * fingerprints in text. */
static bool ssh_finds(const char *host, uint16_t port, char *text, size_t size)
{
	char name[320];

	if (port == 22)
		snprintf(name, sizeof(name), "%s", host);
	else
		snprintf(name, sizeof(name), "[%s]:%u", host, port);
	return run(text, size, "ssh-keygen -l -F '%s' -f known_hosts 2>/dev/null", name) ==
	       0;
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

static bool supported(const char *name, size_t size, const char *const *list, int count)
{
	for (int i = 0; i < count; i++)
		if (strlen(list[i]) == size && !memcmp(list[i], name, size))
			return true;
	return false;
}

/* The bit of a name of the list; RSA has several names for one type. */
static unsigned type_of(const char *name, size_t size)
{
	for (int i = 0; i < KEYS; i++)
		if (strlen(keys[i].type_name) == size && !memcmp(keys[i].type_name, name, size))
			return keys[i].type;
	assert_true(size == 12 && !memcmp(name, "rsa-sha2-", 9));
	return HOSTKEYS_RSA;
}

/* Known types first, strongest first among equals, none left out or named twice. */
static void expect_order(const char *list, unsigned known)
{
	unsigned seen = 0, last = 0;
	bool were_known = true;

	for (const char *name = list, *end; *name; name = end + (*end == ',')) {
		unsigned type;

		end = name + strcspn(name, ",");
		type = type_of(name, (size_t)(end - name));
		if (type == last) {
			assert_int_equal(type, HOSTKEYS_RSA);
			continue;
		}
		assert_false(seen & type);
		if (were_known && !(known & type))
			were_known = false, last = 0;
		assert_true(!(known & type) == !were_known);
		assert_true(type > last);
		seen |= type;
		last = type;
	}
	assert_int_equal(seen, 31);
}

/*
 * The library takes every list, and all that it is asked for it knows: 1.10
 * moves the list over itself with memcpy() to strike out a name that it doesn't.
 */
static void test_preference(void **state)
{
	LIBSSH2_SESSION *session = libssh2_session_init_ex(NULL, NULL, NULL, NULL);
	const char **list;
	int count;

	(void)state;
	assert_non_null(session);
	count = libssh2_session_supported_algs(session, LIBSSH2_METHOD_HOSTKEY, &list);
	assert_true(count > 0);
	for (unsigned known = 0; known < 32; known++) {
		char text[256];
		const char *sha1, *sha2;

		hostkeys_preference(known, text, sizeof(text));
		expect_order(text, known);
		for (const char *name = text; *name; name += strspn(name, ",")) {
			size_t size = strcspn(name, ",");

			if (!supported(name, size, list, count))
				fail_msg("the library does not know %s", name);
			name += size;
		}
		/* the same key, by the better signature first where there is one */
		sha1 = strstr(text, "ssh-rsa");
		sha2 = strstr(text, "rsa-sha2-512,rsa-sha2-256,");
		assert_int_equal(!!sha2, supported("rsa-sha2-512", 12, list, count));
		assert_true(!sha2 || sha2 < sha1);
		assert_int_equal(libssh2_session_method_pref(session, LIBSSH2_METHOD_HOSTKEY, text),
				 0);
	}
	libssh2_free(session, list);
	libssh2_session_free(session);
}

static void test_preference_is_cut(void **state)
{
	char text[256];

	(void)state;
	for (size_t size = 1; size < sizeof(text); size++) {
		memset(text, 'x', sizeof(text));
		hostkeys_preference(HOSTKEYS_RSA, text, size);
		assert_true(strlen(text) < size);
		for (size_t i = size; i < sizeof(text); i++)
			assert_int_equal(text[i], 'x');
	}
}

static void test_fingerprint(void **state)
{
	char said[512], text[HOSTKEYS_FINGERPRINT_SIZE], *word;

	(void)state;
	for (int i = 0; i < KEYS; i++) {
		assert_int_equal(run(said, sizeof(said), "ssh-keygen -lf k%d.pub", i), 0);
		word = strstr(said, "SHA256:");
		assert_non_null(word);
		word[strcspn(word, " ")] = '\0';
		hostkeys_fingerprint(keys[i].blob, keys[i].size, text);
		assert_string_equal(text, word);
	}
}

static int add(const char *path, const char *host, uint16_t port, int key)
{
	const struct hostkeys_host who = { host, port, "site" };

	return hostkeys_add(path, &who, keys[key].blob, keys[key].size);
}

static void test_add(void **state)
{
	static const struct {
		const char *host;
		uint16_t port;
	} hosts[] = {
		{ "friday", 22 },	   { "friday", 2222 },	 { "friday.example.net", 443 },
		{ "203.0.113.7", 22 },	   { "203.0.113.7", 1 }, { "2001:db8::7", 22 },
		{ "2001:db8::7", 65535 }, { "MiXed.Case", 22 }, { "a-b_c", 22 },
	};
	char said[8192], wanted[HOSTKEYS_FINGERPRINT_SIZE], *text;
	size_t size;

	(void)state;
	unlink(known_hosts); /* the first makes it */
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		int key = (int)(i % KEYS);

		assert_int_equal(add(known_hosts, hosts[i].host, hosts[i].port, key), 0);
		text = read_text(&size);
		assert_int_equal(text[size - 1], '\n');
		expect(text, hosts[i].host, hosts[i].port, key, HOSTKEYS_MATCH, (unsigned)i + 1);
		expect(text, hosts[0].host, hosts[0].port, 0, HOSTKEYS_MATCH, 1);
		free(text);
		assert_true(ssh_finds(hosts[i].host, hosts[i].port, said, sizeof(said)));
		hostkeys_fingerprint(keys[key].blob, keys[key].size, wanted);
		assert_non_null(strstr(said, wanted));
	}
	text = read_text(&size);
	expect(text, "site", 22, A, HOSTKEYS_UNKNOWN, 0);
	free(text);
}

/* An editor may have left the last line open: both lines must stay whole. */
static void test_add_behind_an_open_line(void **state)
{
	char *text = expand("thursday $B");
	size_t size;

	(void)state;
	write_text(text);
	free(text);
	assert_int_equal(add(known_hosts, "friday", 22, A), 0);
	assert_int_equal(add(known_hosts, "saturday", 22, C), 0);
	text = read_text(&size);
	expect(text, "thursday", 22, B, HOSTKEYS_MATCH, 1);
	expect(text, "friday", 22, A, HOSTKEYS_MATCH, 2);
	expect(text, "saturday", 22, C, HOSTKEYS_MATCH, 3);
	free(text);
}

#define ADDERS 4
#define HOSTS_EACH 50

/* NULL, or the argument where something failed: cmocka is for the main thread. */
static void *add_many(void *number)
{
	char host[32];

	for (int i = 0; i < HOSTS_EACH; i++) {
		snprintf(host, sizeof(host), "host%d.%d", *(int *)number, i);
		if (add(known_hosts, host, 22, i % KEYS) < 0)
			return number;
	}
	return NULL;
}

static void test_add_from_many_threads(void **state)
{
	pthread_t threads[ADDERS];
	int numbers[ADDERS];
	char host[32], *text;
	unsigned line, lines = 0;
	void *failed;
	size_t size;

	(void)state;
	write_text("# no end");
	for (int i = 0; i < ADDERS; i++) {
		numbers[i] = i;
		assert_int_equal(pthread_create(&threads[i], NULL, add_many, &numbers[i]), 0);
	}
	for (int i = 0; i < ADDERS; i++) {
		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
	text = read_text(&size);
	for (int i = 0; i < ADDERS * HOSTS_EACH; i++) {
		struct hostkeys_host who = { host, 22, NULL };

		snprintf(host, sizeof(host), "host%d.%d", i / HOSTS_EACH, i % HOSTS_EACH);
		assert_int_equal(check(text, &who, i % HOSTS_EACH % KEYS, &line), HOSTKEYS_MATCH);
	}
	for (const char *c = text; *c; c++)
		lines += *c == '\n';
	assert_int_equal(lines, ADDERS * HOSTS_EACH + 1);
	free(text);
}

static void test_add_fails(void **state)
{
	char path[160];

	(void)state;
	assert_int_equal(add(directory, "friday", 22, A), -1);
	assert_int_equal(errno, EISDIR);
	snprintf(path, sizeof(path), "%s/missing/known_hosts", directory);
	assert_int_equal(add(path, "friday", 22, A), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(add("/dev/full", "friday", 22, A), -1);
	assert_int_equal(errno, ENOSPC);
}

/* On a disk that fills up in the middle of a line nothing of it may stay. */
static void test_add_to_a_full_disk(void **state)
{
	struct rlimit none, before;
	char *text = expand("thursday $B\n"), *after;
	size_t size = strlen(text), after_size;
	int result;

	(void)state;
	write_text(text);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	signal(SIGXFSZ, SIG_IGN);
	none = before;
	none.rlim_cur = size + 30;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	errno = 0;
	result = add(known_hosts, "friday", 22, A);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(result, -1);
	assert_true(errno == ENOSPC || errno == EFBIG);
	after = read_text(&after_size);
	assert_string_equal(after, text);
	free(after);
	free(text);
}

/* A key of RSA's form, of any size. */
static unsigned char *large_key(size_t size)
{
	static const unsigned char begins[] = "\0\0\0\x07ssh-rsa\0\0\0\x03\1\0\1\0\0";
	unsigned char *key = calloc(1, size);
	size_t rest = size - (sizeof(begins) - 1) - 2;

	assert_non_null(key);
	memcpy(key, begins, sizeof(begins) - 1);
	key[sizeof(begins) - 1] = (unsigned char)(rest >> 8);
	key[sizeof(begins)] = (unsigned char)rest;
	return key;
}

static void test_add_the_largest_key(void **state)
{
	const struct hostkeys_host host = { "friday", 22, NULL };
	size_t text_size;

	(void)state;
	for (size_t size = 8188; size <= 8194; size++) {
		unsigned char *key = large_key(size);
		unsigned line;
		char *text;

		write_text("");
		assert_int_equal(hostkeys_add(known_hosts, &host, key, size), size > 8192 ? -1 : 0);
		text = read_text(&text_size);
		assert_int_equal(hostkeys_check(text, text_size, &host, key, size, &line),
				 size > 8192 ? HOSTKEYS_UNKNOWN : HOSTKEYS_MATCH);
		free(text);
		free(key);
	}
}

static void test_add_refuses_what_is_no_key(void **state)
{
	static const struct {
		const char *blob;
		size_t size;
	} rows[] = {
		{ "", 0 },
		{ "\0\0\0", 3 },
		{ "\0\0\0\0", 4 },
		{ "\0\0\0\x0bssh-ed25519", 15 },	       /* nothing but its name */
		{ "\0\0\0\x0bssh-ed25519\0\0\0\x20key", 22 },  /* cut short */
		{ "\0\0\0\x0bssh-ed25519\0\0\0\1kk", 21 },     /* something behind it */
		{ "\0\0\0\x0bssh-\ned2551\0\0\0\1k", 20 },     /* would make two lines */
		{ "\0\0\0\x07ssh-dss\0\0\0\1k", 16 },	       /* a type that we can't use */
		{ "\0\0\0\x0bssh-ed2551", 14 },
		{ "\xff\xff\xff\xffssh-ed25519\0\0\0\1k", 20 },
		{ "\0\0\0\x0bssh-ed25519\xff\xff\xff\xfek", 20 },
	};
	const struct hostkeys_host host = { "friday", 22, NULL };
	size_t size;

	(void)state;
	write_text("");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned char *blob = malloc(rows[i].size ? rows[i].size : 1);

		assert_non_null(blob);
		memcpy(blob, rows[i].blob, rows[i].size);
		errno = 0;
		assert_int_equal(hostkeys_add(known_hosts, &host, blob, rows[i].size), -1);
		assert_int_equal(errno, EINVAL);
		free(blob);
	}
	free(read_text(&size));
	assert_int_equal(size, 0);
}

static void assert_unreadable(const char *path, int error)
{
	size_t size;

	errno = 0;
	assert_null(hostkeys_read(path, &size));
	assert_int_equal(errno, error);
}

static void test_read(void **state)
{
	char path[160];
	size_t size = 1;
	char *text;

	(void)state;
	write_text("");
	text = read_text(&size);
	assert_string_equal(text, "");
	free(text);
	assert_int_equal(truncate(known_hosts, 16 << 20), 0);
	text = hostkeys_read(known_hosts, &size);
	assert_non_null(text);
	assert_int_equal(size, 16 << 20);
	free(text);
	assert_int_equal(truncate(known_hosts, (16 << 20) + 1), 0);
	assert_unreadable(known_hosts, EFBIG);
	assert_unreadable(directory, EISDIR);
	assert_unreadable("/dev/zero", EINVAL);
	snprintf(path, sizeof(path), "%s/missing", directory);
	assert_unreadable(path, ENOENT);
	assert_int_equal(mkfifo(path, 0600), 0); /* which nobody writes: no waiting */
	assert_unreadable(path, EINVAL);
	unlink(path);
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
		cmocka_unit_test(test_preference),
		cmocka_unit_test(test_preference_is_cut),
		cmocka_unit_test(test_fingerprint),
		cmocka_unit_test(test_add),
		cmocka_unit_test(test_add_behind_an_open_line),
		cmocka_unit_test(test_add_from_many_threads),
		cmocka_unit_test(test_add_fails),
		cmocka_unit_test(test_add_to_a_full_disk),
		cmocka_unit_test(test_add_the_largest_key),
		cmocka_unit_test(test_add_refuses_what_is_no_key),
		cmocka_unit_test(test_read),
	};

	return cmocka_run_group_tests_name("hostkeys", tests, group_setup, group_teardown);
}
