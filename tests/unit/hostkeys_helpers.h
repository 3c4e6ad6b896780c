/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tests of host keys share: keys that ssh-keygen made, a directory with
 * a known_hosts, and what both ssh-keygen and we find in it.  Include it behind
 * cmocka.h.
 */
#ifndef TESTS_UNIT_HOSTKEYS_HELPERS_H
#define TESTS_UNIT_HOSTKEYS_HELPERS_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

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

#endif
