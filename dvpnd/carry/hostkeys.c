/* SPDX-License-Identifier: GPL-2.0-or-later */
/* known_hosts: one pass over the lines, the names of a host against each. */
#include "carry/hostkeys.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX ((size_t)16 << 20)
#define KEY_MAX 8192 /* bytes of one decoded key; RSA with 16,384 bits has 2 KiB */
#define NAME_SIZE 300

static const struct {
	const char *name;
	unsigned bit;
} key_types[] = {
	{ "ssh-ed25519", HOSTKEYS_ED25519 },
	{ "ecdsa-sha2-nistp256", HOSTKEYS_ECDSA_256 },
	{ "ecdsa-sha2-nistp384", HOSTKEYS_ECDSA_384 },
	{ "ecdsa-sha2-nistp521", HOSTKEYS_ECDSA_521 },
	{ "ssh-rsa", HOSTKEYS_RSA },
};
#define KEY_TYPES (sizeof(key_types) / sizeof(key_types[0]))

char *hostkeys_read(const char *path, size_t *size)
{
	struct stat st;
	char *text = NULL;
	size_t got = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) < 0)
		goto out;
	if (!S_ISREG(st.st_mode) || (size_t)st.st_size > FILE_MAX) {
		errno = S_ISREG(st.st_mode) ? EFBIG : EINVAL;
		goto out;
	}
	text = malloc((size_t)st.st_size + 1);
	while (text && got < (size_t)st.st_size) {
		ssize_t part = read(fd, text + got, (size_t)st.st_size - got);

		if (part < 0) {
			free(text);
			text = NULL;
			break;
		}
		if (part == 0)
			break;
		got += (size_t)part;
	}
	if (text)
		text[got] = '\0';
	*size = got;
out:
	close(fd);
	return text;
}

/* "|1|salt|hash" against a name: HMAC-SHA1 with the salt as key. */
static bool hashed_match(const char *entry, const char *name)
{
	unsigned char salt[64], hash[64], wanted[EVP_MAX_MD_SIZE];
	char salt_text[40], hash_text[40];
	unsigned length = 0;

	if (sscanf(entry, "|1|%32[A-Za-z0-9+/=]|%32[A-Za-z0-9+/=]", salt_text, hash_text) != 2 ||
	    strlen(salt_text) != 28 || strlen(hash_text) != 28)
		return false;
	if (EVP_DecodeBlock(salt, (unsigned char *)salt_text, 28) != 21 ||
	    EVP_DecodeBlock(hash, (unsigned char *)hash_text, 28) != 21)
		return false;
	/* 28 characters with one '=' are 20 bytes, and EVP counts the padding. */
	return HMAC(EVP_sha1(), salt, 20, (const unsigned char *)name, strlen(name), wanted,
		    &length) &&
	       length == 20 && !memcmp(hash, wanted, 20);
}

/* One pattern of a list.  A bracket is literal to ssh, but not to fnmatch. */
static bool pattern_match(const char *pattern, const char *name)
{
	char escaped[2 * NAME_SIZE];
	size_t at = 0;

	if (pattern[0] == '|')
		return hashed_match(pattern, name);
	for (; *pattern && at < sizeof(escaped) - 2; pattern++) {
		if (*pattern == '[' || *pattern == '\\')
			escaped[at++] = '\\';
		escaped[at++] = *pattern;
	}
	escaped[at] = '\0';
	return !*pattern && fnmatch(escaped, name, FNM_CASEFOLD) == 0;
}

static bool list_match(char *list, const char *name)
{
	bool found = false;
	char *rest = NULL;

	for (char *pattern = strtok_r(list, ",", &rest); pattern;
	     pattern = strtok_r(NULL, ",", &rest)) {
		if (pattern[0] == '!' && pattern_match(pattern + 1, name))
			return false;
		if (pattern[0] != '!' && pattern_match(pattern, name))
			found = true;
	}
	return found;
}

/* The name as ssh writes it: lower case, with the port where that isn't 22. */
static void known_name(const struct hostkeys_host *host, char name[NAME_SIZE])
{
	if (host->port == 22)
		snprintf(name, NAME_SIZE, "%s", host->host);
	else
		snprintf(name, NAME_SIZE, "[%s]:%u", host->host, host->port);
	for (char *c = name; *c; c++)
		*c = (char)tolower((unsigned char)*c);
}

static bool host_match(const char *list, const struct hostkeys_host *host)
{
	char copy[1024], name[NAME_SIZE];

	if (strlen(list) >= sizeof(copy))
		return false;
	known_name(host, name);
	if (list_match(strcpy(copy, list), name))
		return true;
	return host->site && list_match(strcpy(copy, list), host->site);
}

struct known_line {
	bool revoked;
	unsigned type; /* bit */
	unsigned char key[KEY_MAX];
	size_t key_size;
};

static bool parse_key(const char *type, const char *text, struct known_line *line)
{
	size_t length = strlen(text);
	int size;

	line->type = 0;
	for (size_t i = 0; i < KEY_TYPES; i++)
		if (!strcmp(type, key_types[i].name))
			line->type = key_types[i].bit;
	if (!line->type || !length || length % 4 || length / 4 * 3 > KEY_MAX)
		return false;
	size = EVP_DecodeBlock(line->key, (const unsigned char *)text, (int)length);
	if (size < 4)
		return false;
	line->key_size = (size_t)size - (text[length - 1] == '=') - (text[length - 2] == '=');
	return true;
}

/* True where the line names the host and holds a key that we can use. */
static bool parse_line(char *text, const struct hostkeys_host *host, struct known_line *line)
{
	char *rest = NULL, *hosts, *type, *key;

	hosts = strtok_r(text, " \t\r", &rest);
	line->revoked = false;
	if (!hosts || hosts[0] == '#')
		return false;
	if (hosts[0] == '@') {
		if (strcmp(hosts, "@revoked") != 0)
			return false;
		line->revoked = true;
		hosts = strtok_r(NULL, " \t\r", &rest);
	}
	type = strtok_r(NULL, " \t\r", &rest);
	key = strtok_r(NULL, " \t\r", &rest);
	return hosts && type && key && host_match(hosts, host) && parse_key(type, key, line);
}

/* Calls `see` for each line that names the host, until it says false. */
static void each_line(const char *text, size_t size, const struct hostkeys_host *host,
		      bool (*see)(const struct known_line *line, unsigned number, void *arg),
		      void *arg)
{
	struct known_line *line = malloc(sizeof(*line));
	char *copy = malloc(size + 1);
	char *rest = copy;

	if (!line || !copy)
		goto out; /* no line seen: the host is unknown, and refused */
	memcpy(copy, text, size);
	copy[size] = '\0';
	for (unsigned number = 1; rest; number++) {
		char *start = strsep(&rest, "\n");

		if (parse_line(start, host, line) && !see(line, number, arg))
			break;
	}
out:
	free(copy);
	free(line);
}

struct check {
	const void *key;
	size_t key_size;
	enum hostkeys_verdict verdict;
	unsigned line;
};

static bool see_key(const struct known_line *line, unsigned number, void *arg)
{
	struct check *check = arg;
	bool same = line->key_size == check->key_size &&
		    !memcmp(line->key, check->key, line->key_size);

	if (line->revoked) {
		if (!same)
			return true;
		check->verdict = HOSTKEYS_REVOKED;
		check->line = number;
		return false;
	}
	if (same) {
		/* read on: a later line may revoke it */
		check->verdict = HOSTKEYS_MATCH;
		check->line = number;
	} else if (check->verdict == HOSTKEYS_UNKNOWN) {
		check->verdict = HOSTKEYS_MISMATCH;
		check->line = number;
	}
	return true;
}

enum hostkeys_verdict hostkeys_check(const char *text, size_t size,
				     const struct hostkeys_host *host, const void *key,
				     size_t key_size, unsigned *line)
{
	struct check check = { .key = key, .key_size = key_size, .verdict = HOSTKEYS_UNKNOWN };

	each_line(text, size, host, see_key, &check);
	*line = check.line;
	return check.verdict;
}

static bool see_type(const struct known_line *line, unsigned number, void *arg)
{
	(void)number;
	if (!line->revoked)
		*(unsigned *)arg |= line->type;
	return true;
}

unsigned hostkeys_types(const char *text, size_t size, const struct hostkeys_host *host)
{
	unsigned types = 0;

	each_line(text, size, host, see_type, &types);
	return types;
}

void hostkeys_preference(unsigned types, char *text, size_t size)
{
	size_t at = 0;

	text[0] = '\0';
	for (int known = 1; known >= 0; known--) {
		for (size_t i = 0; i < KEY_TYPES && at < size; i++) {
			if (!!(types & key_types[i].bit) != known)
				continue;
			at += (size_t)snprintf(text + at, size - at, "%s%s", at ? "," : "",
					       key_types[i].name);
			/* the same key, with a better signature than SHA-1 */
			if (key_types[i].bit == HOSTKEYS_RSA && at < size)
				at += (size_t)snprintf(text + at, size - at,
						       ",rsa-sha2-512,rsa-sha2-256");
		}
	}
}

int hostkeys_add(const char *path, const struct hostkeys_host *host, const void *key,
		 size_t key_size)
{
	const unsigned char *bytes = key;
	char encoded[KEY_MAX * 4 / 3 + 8], name[NAME_SIZE], line[sizeof(encoded) + NAME_SIZE + 72];
	size_t type_size;
	int fd, length;
	ssize_t written;

	if (key_size < 4 || key_size > KEY_MAX)
		return errno = EINVAL, -1;
	type_size = (size_t)bytes[2] << 8 | bytes[3];
	if (bytes[0] || bytes[1] || type_size > 64 || type_size + 4 > key_size)
		return errno = EINVAL, -1;
	EVP_EncodeBlock((unsigned char *)encoded, key, (int)key_size);
	known_name(host, name);
	length = snprintf(line, sizeof(line), "%s %.*s %s\n", name, (int)type_size, bytes + 4,
			  encoded);
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return -1;
	/* one write: a reader sees the whole line or none of it */
	written = write(fd, line, (size_t)length);
	if (close(fd) < 0 || written != length)
		return -1;
	return 0;
}

void hostkeys_fingerprint(const void *key, size_t key_size, char text[HOSTKEYS_FINGERPRINT_SIZE])
{
	unsigned char digest[SHA256_DIGEST_LENGTH];
	char *encoded = stpcpy(text, "SHA256:");

	SHA256(key, key_size, digest);
	EVP_EncodeBlock((unsigned char *)encoded, digest, sizeof(digest));
	encoded[strcspn(encoded, "=")] = '\0';
}
