/* SPDX-License-Identifier: GPL-2.0-or-later */
/* known_hosts: one pass over the lines, the names of a host against each. */
#include "carry/hostkeys.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <libssh2.h> /* for its version alone */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX ((size_t)16 << 20)
#define KEY_MAX 8192 /* bytes of one decoded key; RSA with 16,384 bits has 2 KiB */
#define NAME_SIZE 300
#define BLANKS " \t\r"

/* A piece of the text; nothing ends it but its size. */
struct span {
	const char *text;
	size_t size;
};

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
		errno = S_ISREG(st.st_mode) ? EFBIG : S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
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

/* Cuts off what is before the first of some characters, and that one with it. */
static struct span cut(struct span *rest, const char *at)
{
	struct span part = { rest->text, 0 };

	while (part.size < rest->size && !memchr(at, part.text[part.size], strlen(at)))
		part.size++;
	rest->text += part.size + (part.size < rest->size);
	rest->size -= part.size + (part.size < rest->size);
	return part;
}

/* The next word, of size 0 where there is none. */
static struct span cut_word(struct span *rest)
{
	struct span word;

	do
		word = cut(rest, BLANKS);
	while (!word.size && rest->size);
	return word;
}

static bool same(struct span span, const char *text)
{
	return span.size == strlen(text) && !memcmp(span.text, text, span.size);
}

/* Base64 of at most `limit` bytes; EVP takes more for it than there should be. */
static bool decode(struct span text, unsigned char *to, size_t limit, size_t *size)
{
	size_t padding = 0;

	if (!text.size || text.size % 4 || text.size / 4 * 3 > limit)
		return false;
	while (padding < 2 && text.text[text.size - 1 - padding] == '=')
		padding++;
	for (size_t i = 0; i < text.size - padding; i++)
		if (!isalnum((unsigned char)text.text[i]) && text.text[i] != '+' &&
		    text.text[i] != '/')
			return false;
	if (EVP_DecodeBlock(to, (const unsigned char *)text.text, (int)text.size) < 0)
		return false;
	*size = text.size / 4 * 3 - padding;
	return true;
}

/* "|1|salt|hash" against a name: HMAC-SHA1 with the salt as key. */
static bool hashed_match(struct span entry, const char *name)
{
	unsigned char salt[24], hash[24], wanted[EVP_MAX_MD_SIZE];
	size_t salt_size, hash_size;
	unsigned length = 0;

	if (cut(&entry, "|").size || !same(cut(&entry, "|"), "1") ||
	    !decode(cut(&entry, "|"), salt, sizeof(salt), &salt_size) ||
	    !decode(entry, hash, sizeof(hash), &hash_size) || salt_size != 20 || hash_size != 20)
		return false;
	return HMAC(EVP_sha1(), salt, 20, (const unsigned char *)name, strlen(name), wanted,
		    &length) &&
	       length == 20 && !memcmp(hash, wanted, 20);
}

/* One pattern of a list.  A bracket is literal to ssh, but not to fnmatch. */
static bool pattern_match(struct span pattern, const char *name)
{
	char escaped[2 * NAME_SIZE];
	size_t at = 0;

	if (pattern.size && pattern.text[0] == '|')
		return hashed_match(pattern, name);
	for (size_t i = 0; i < pattern.size; i++) {
		if (at >= sizeof(escaped) - 2 || !pattern.text[i])
			return false;
		if (pattern.text[i] == '[' || pattern.text[i] == '\\')
			escaped[at++] = '\\';
		escaped[at++] = pattern.text[i];
	}
	escaped[at] = '\0';
	return fnmatch(escaped, name, FNM_CASEFOLD) == 0;
}

static bool list_match(struct span list, const char *name)
{
	bool found = false;

	while (list.size) {
		struct span pattern = cut(&list, ",");

		if (pattern.size && pattern.text[0] == '!') {
			pattern.text++;
			pattern.size--;
			if (pattern_match(pattern, name))
				return false;
		} else if (pattern_match(pattern, name)) {
			found = true;
		}
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

static bool host_match(struct span list, const struct hostkeys_host *host)
{
	char name[NAME_SIZE];

	known_name(host, name);
	return list_match(list, name) || (host->site && list_match(list, host->site));
}

/* Takes one of the strings that a key is made of.  Its size, or -1. */
static ssize_t take_string(const unsigned char **at, size_t *left)
{
	size_t size;

	if (*left < 4)
		return -1;
	size = (size_t)(*at)[0] << 24 | (size_t)(*at)[1] << 16 | (size_t)(*at)[2] << 8 | (*at)[3];
	if (size > *left - 4)
		return -1;
	*at += 4 + size;
	*left -= 4 + size;
	return (ssize_t)size;
}

/* Which of key_types a key is; KEY_TYPES: none of them, or no whole key. */
static size_t key_type(const unsigned char *key, size_t size)
{
	const unsigned char *at = key;
	ssize_t name_size = take_string(&at, &size);
	size_t type = 0;

	if (name_size < 0 || !size)
		return KEY_TYPES;
	while (type < KEY_TYPES && (strlen(key_types[type].name) != (size_t)name_size ||
				    memcmp(key_types[type].name, key + 4, (size_t)name_size) != 0))
		type++;
	while (size)
		if (take_string(&at, &size) < 0)
			return KEY_TYPES;
	return type;
}

struct known_line {
	bool revoked;
	unsigned type; /* bit */
	unsigned char key[KEY_MAX + 3];
	size_t key_size;
};

static bool parse_key(struct span type_name, struct span text, struct known_line *line)
{
	size_t type;

	if (!decode(text, line->key, sizeof(line->key), &line->key_size))
		return false;
	type = key_type(line->key, line->key_size);
	if (type == KEY_TYPES || !same(type_name, key_types[type].name))
		return false;
	line->type = key_types[type].bit;
	return true;
}

/* True where the line names the host and holds a key that we can use. */
static bool parse_line(struct span text, const struct hostkeys_host *host, struct known_line *line)
{
	struct span hosts = cut_word(&text), type;

	line->revoked = false;
	if (!hosts.size || hosts.text[0] == '#')
		return false;
	if (hosts.text[0] == '@') {
		if (!same(hosts, "@revoked"))
			return false;
		line->revoked = true;
		hosts = cut_word(&text);
	}
	type = cut_word(&text);
	return host_match(hosts, host) && parse_key(type, cut_word(&text), line);
}

/* Calls `see` for each line that names the host, until it says false.  Takes no
 * memory: a want of it must not make a known host an unknown one. */
static void each_line(const char *text, size_t size, const struct hostkeys_host *host,
		      bool (*see)(const struct known_line *line, unsigned number, void *arg),
		      void *arg)
{
	struct span rest = { text, size };
	struct known_line line;

	for (unsigned number = 1; rest.size; number++) {
		struct span one = cut(&rest, "\n");

		if (parse_line(one, host, &line) && !see(&line, number, arg))
			return;
	}
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
	bool equal = line->key_size == check->key_size &&
		     !memcmp(line->key, check->key, line->key_size);

	if (line->revoked) {
		if (!equal)
			return true;
		check->verdict = HOSTKEYS_REVOKED;
		check->line = number;
		return false;
	}
	if (equal) {
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

/*
 * A name that libssh2 doesn't know must not be in the list: 1.10 strikes it out
 * with a memcpy of the list over itself.  RSA with SHA-2 came with 1.11.
 */
static const char *method_names(const char *type)
{
#if LIBSSH2_VERSION_NUM >= 0x010b00
	if (!strcmp(type, "ssh-rsa"))
		return "rsa-sha2-512,rsa-sha2-256,ssh-rsa";
#endif
	return type;
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
					       method_names(key_types[i].name));
		}
	}
}

/* One worker at a time.  A lock on the file would let whoever may read it hold
 * a worker up. */
static pthread_mutex_t add_mutex = PTHREAD_MUTEX_INITIALIZER;

/* Writes a line whole or not at all, behind a whole one. */
static int append_line(int fd, const char *line, size_t size)
{
	struct stat st;
	char last = '\n', *text;
	ssize_t written;
	bool open_end;

	if (fstat(fd, &st) < 0 || (st.st_size && pread(fd, &last, 1, st.st_size - 1) < 0))
		return -1;
	open_end = last != '\n';
	if (asprintf(&text, "%s%s", open_end ? "\n" : "", line) < 0)
		return errno = ENOMEM, -1;
	size += open_end;
	/* one write: a reader sees the whole line or none of it */
	written = write(fd, text, size);
	free(text);
	if (written == (ssize_t)size)
		return 0;
	if (written >= 0)
		errno = ftruncate(fd, st.st_size) < 0 ? errno : ENOSPC;
	return -1;
}

int hostkeys_add(const char *path, const struct hostkeys_host *host, const void *key,
		 size_t key_size)
{
	char encoded[(KEY_MAX + 2) / 3 * 4 + 1], name[NAME_SIZE];
	char line[sizeof(encoded) + NAME_SIZE + 32];
	size_t type = key_size <= KEY_MAX ? key_type(key, key_size) : KEY_TYPES;
	int fd, length, result, error;

	if (type == KEY_TYPES)
		return errno = EINVAL, -1;
	EVP_EncodeBlock((unsigned char *)encoded, key, (int)key_size);
	known_name(host, name);
	length = snprintf(line, sizeof(line), "%s %s %s\n", name, key_types[type].name, encoded);
	fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return -1;
	pthread_mutex_lock(&add_mutex);
	result = append_line(fd, line, (size_t)length);
	error = errno;
	pthread_mutex_unlock(&add_mutex);
	if (close(fd) < 0)
		return -1;
	errno = error;
	return result;
}

void hostkeys_fingerprint(const void *key, size_t key_size, char text[HOSTKEYS_FINGERPRINT_SIZE])
{
	unsigned char digest[SHA256_DIGEST_LENGTH];
	char *encoded = stpcpy(text, "SHA256:");

	SHA256(key, key_size, digest);
	EVP_EncodeBlock((unsigned char *)encoded, digest, sizeof(digest));
	encoded[strcspn(encoded, "=")] = '\0';
}
