/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes as known_hosts: the first byte chooses the host that is asked for.
 * Checked besides crashes: verdict and line go together, a file that knows a
 * key of the host never calls it unknown, and a line that is put in front
 * decides as it must, whatever follows.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "carry/hostkeys.h"

/* The key of the corpus, and its line. */
#define KEY64 "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
static const unsigned char key[51] = {
	"\0\0\0\x0bssh-ed25519\0\0\0\x20"
	"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"
	"\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f"
};

static const struct hostkeys_host hosts[] = {
	{ "friday", 22, NULL },	      { "friday", 2222, NULL }, { "fd00:7::1", 22, "thursday" },
	{ "fd00:7::1", 443, "site" }, { "10.8.0.1", 22, NULL }, { "friday.example.net", 22, "x" },
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static unsigned lines(const char *text, size_t size)
{
	unsigned count = 1;

	for (size_t i = 0; i < size; i++)
		count += text[i] == '\n';
	return count;
}

/* The verdict with a line in front. */
static enum hostkeys_verdict behind(const char *front, const char *text, size_t size,
				    const struct hostkeys_host *host, unsigned *line)
{
	size_t length = strlen(front);
	char *both = malloc(length + size);
	enum hostkeys_verdict verdict;

	if (!both)
		abort();
	memcpy(both, front, length);
	if (size)
		memcpy(both + length, text, size);
	verdict = hostkeys_check(both, length + size, host, key, sizeof(key), line);
	free(both);
	return verdict;
}

static void check(const char *text, size_t size, const struct hostkeys_host *host)
{
	unsigned line = 0, front_line = 0;
	unsigned types = hostkeys_types(text, size, host);
	enum hostkeys_verdict front, verdict = hostkeys_check(text, size, host, key, sizeof(key),
							      &line);
	char list[256];

	must(types < 32);
	must((verdict == HOSTKEYS_UNKNOWN) == (line == 0));
	must(line <= lines(text, size));
	must(verdict != HOSTKEYS_UNKNOWN || types == 0);
	must(verdict != HOSTKEYS_MATCH || types & HOSTKEYS_ED25519);
	must(verdict != HOSTKEYS_MISMATCH || types);
	hostkeys_preference(types, list, sizeof(list));
	must(strstr(list, "ssh-ed25519") != NULL);

	front = behind("* ssh-ed25519 " KEY64 "\n", text, size, host, &front_line);
	must(front == (verdict == HOSTKEYS_REVOKED ? HOSTKEYS_REVOKED : HOSTKEYS_MATCH));
	must(verdict != HOSTKEYS_REVOKED || front_line == line + 1);
	front = behind("@revoked * ssh-ed25519 " KEY64 "\n", text, size, host, &front_line);
	must(front == HOSTKEYS_REVOKED && front_line == 1);
	front = behind("#\n", text, size, host, &front_line);
	must(front == verdict && front_line == line + (line != 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (size == 0)
		return 0;
	/* a copy of its own size, so that a read beyond its end is seen */
	text = malloc(size > 1 ? size - 1 : 1);
	if (!text)
		return 0;
	memcpy(text, data + 1, size - 1);
	check(text, size - 1, &hosts[data[0] % (sizeof(hosts) / sizeof(hosts[0]))]);
	free(text);
	return 0;
}
