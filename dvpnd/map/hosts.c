/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The grammar of the map files.  Owns what a single line may say.
 *
 * A line is copied into the reader's buffer and cut up there; each step
 * returns 0, or -1 after writing the reason.  Whatever is doubtful is refused:
 * a line that is read otherwise than it was meant sends traffic elsewhere.
 */
#include "map/hosts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALNUM "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

/* Prefixes that no gateway can own.  What is inside one is always refused; what
 * reaches over one (a default route) is for the operator alone to say. */
static const struct reserved {
	struct prefix prefix;
	const char *what;
} reserved[] = {
	{ { { AF_INET, { 0 } }, 8 }, "the unspecified address" },
	{ { { AF_INET, { 127 } }, 8 }, "loopback" },
	{ { { AF_INET, { 169, 254 } }, 16 }, "link-local" },
	{ { { AF_INET, { 224 } }, 4 }, "multicast" },
	{ { { AF_INET, { 255, 255, 255, 255 } }, 32 }, "broadcast" },
	{ { { AF_INET6, { 0 } }, 128 }, "the unspecified address" },
	{ { { AF_INET6, { [15] = 1 } }, 128 }, "loopback" },
	{ { { AF_INET6, { 0xfe, 0x80 } }, 10 }, "link-local" },
	{ { { AF_INET6, { 0xff } }, 8 }, "multicast" },
};

static int __attribute__((format(printf, 2, 3))) refuse(struct hosts_line *line, const char *fmt,
							...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(line->reason, sizeof(line->reason), fmt, args);
	va_end(args);
	return -1;
}

/* Cuts the next blank-separated token off; NULL where there is none. */
static char *next_token(char **rest)
{
	char *token = *rest + strspn(*rest, " \t");
	char *end = token + strcspn(token, " \t");

	if (token == end)
		return NULL;
	*rest = *end ? end + 1 : end;
	*end = '\0';
	return token;
}

static void lower(char *text)
{
	for (; *text; text++)
		if (*text >= 'A' && *text <= 'Z')
			*text = (char)(*text - 'A' + 'a');
}

static int take_names(struct hosts_line *line, char *rest)
{
	struct addr addr;
	char *name;

	while ((name = next_token(&rest))) {
		if (addr_parse(name, &addr) == 0)
			return refuse(line, "%.60s is an address where a host name belongs", name);
		if (!host_name_valid(name))
			return refuse(line, "a host name is not valid: letters, digits, - _ and .");
		if (line->name_count == HOSTS_NAMES_MAX)
			return refuse(line, "more than %d names; put the rest on another line",
				      HOSTS_NAMES_MAX);
		lower(name);
		line->names[line->name_count++] = name;
	}
	return line->name_count ? 0 : refuse(line, "no host name after the address");
}

static int check_prefix(struct hosts_line *line, const struct prefix *prefix, bool learned)
{
	char text[PREFIX_TEXT_SIZE];
	size_t i;

	prefix_format(prefix, text);
	for (i = 0; i < sizeof(reserved) / sizeof(*reserved); i++) {
		const struct prefix *block = &reserved[i].prefix;

		if (!prefix_overlaps(prefix, block))
			continue;
		if (prefix->length >= block->length)
			return refuse(line, "prefix %s is %s: no gateway can own that", text,
				      reserved[i].what);
		if (learned)
			return refuse(line, "prefix %s reaches over %s: only the operator's file "
				      "may say that", text, reserved[i].what);
	}
	return 0;
}

static int take_prefix(struct hosts_line *line, const char *token, bool learned)
{
	char meant[PREFIX_TEXT_SIZE];
	struct prefix prefix;
	const char *reason;

	if (prefix_parse(token, &prefix, &reason)) {
		if (prefix.addr.family)
			return refuse(line, "prefix %.60s: %s; write %s", token, reason,
				      prefix_format(&prefix, meant));
		return refuse(line, "a prefix is not valid: %s", reason);
	}
	if (check_prefix(line, &prefix, learned))
		return -1;
	if (line->prefix_count == HOSTS_PREFIXES_MAX)
		return refuse(line, "more than %d prefixes; put the rest on another line",
			      HOSTS_PREFIXES_MAX);
	line->prefixes[line->prefix_count++] = prefix;
	return 0;
}

static int take_endpoint(struct hosts_line *line, char *token)
{
	struct endpoint endpoint;
	const char *reason;

	if (endpoint_scan(token, &endpoint, &reason))
		return refuse(line, "an endpoint is not valid: %s", reason);
	if (line->endpoint_count == HOSTS_ENDPOINTS_MAX)
		return refuse(line, "more than %d endpoints", HOSTS_ENDPOINTS_MAX);
	line->endpoints[line->endpoint_count++] = endpoint;
	return 0;
}

/* "SHA256:" and 43 characters of base64, as ssh-keygen -l prints it. */
static bool hostkey_valid(const char *value)
{
	if (strncmp(value, "SHA256:", 7) != 0)
		return false;
	return strlen(value + 7) == 43 && strspn(value + 7, ALNUM "+/") == 43;
}

static int take_pref(struct hosts_line *line, const char *value)
{
	size_t digits = strspn(value + (*value == '-'), "0123456789");
	int pref;

	if (line->pref_given)
		return refuse(line, "option pref= is there twice");
	if (digits == 0 || digits > 4 || value[(*value == '-') + digits])
		return refuse(line, "pref= is no number from -%d to %d", HOSTS_PREF_MAX,
			      HOSTS_PREF_MAX);
	pref = atoi(value);
	if (pref < -HOSTS_PREF_MAX || pref > HOSTS_PREF_MAX)
		return refuse(line, "pref= is no number from -%d to %d", HOSTS_PREF_MAX,
			      HOSTS_PREF_MAX);
	line->pref = pref;
	line->pref_given = true;
	return 0;
}

static int take_mode(struct hosts_line *line, const char *value)
{
	if (line->mode != SSH_MODE_UNSET)
		return refuse(line, "option mode= is there twice");
	line->mode = ssh_mode_parse(value);
	return line->mode ? 0 : refuse(line, "mode= is none of trunk, netcat, direct");
}

/* These end up in a command or a log of another machine: word characters only. */
static int take_word(struct hosts_line *line, const char *key, const char *value, size_t most,
		     const char *allowed, const char **field)
{
	if (*field)
		return refuse(line, "option %s= is there twice", key);
	if (!*value)
		return refuse(line, "option %s= has no value", key);
	if (*value == '-' || value[strspn(value, allowed)] || strlen(value) > most)
		return refuse(line, "%s= is not valid: letters, digits and %s, at most %zu", key,
			      allowed + strlen(ALNUM), most);
	*field = value;
	return 0;
}

static int take_hostkey(struct hosts_line *line, const char *value)
{
	if (line->hostkey)
		return refuse(line, "option hostkey= is there twice");
	if (!hostkey_valid(value))
		return refuse(line, "hostkey= is no SHA256:... fingerprint; "
			      "ssh-keygen -l -f KEY.pub prints it");
	line->hostkey = value;
	return 0;
}

static int take_option(struct hosts_line *line, char *key, char *value)
{
	*value++ = '\0'; /* the "=" */
	if (strcmp(key, "hostkey") == 0)
		return take_hostkey(line, value);
	if (strcmp(key, "user") == 0)
		return take_word(line, key, value, 32, ALNUM "._-", &line->user);
	if (strcmp(key, "mode") == 0)
		return take_mode(line, value);
	if (strcmp(key, "pref") == 0)
		return take_pref(line, value);
	if (strcmp(key, "netcat") == 0)
		return take_word(line, key, value, 255, ALNUM "/._+-", &line->netcat);
	return refuse(line, "unknown option; known are hostkey= user= mode= pref= netcat=");
}

static int take_gateway(struct hosts_line *line, char *rest, const struct hosts_reader *reader)
{
	bool learned = reader->source.learned;
	char *token, *equals;
	int result = 0;

	line->gateway = true;
	while (result == 0 && (token = next_token(&rest))) {
		/* First "=", since fingerprints and paths may hold a slash. */
		equals = strchr(token, '=');
		if (equals)
			result = take_option(line, token, equals);
		else if (strchr(token, '/'))
			result = take_prefix(line, token, learned);
		else
			result = take_endpoint(line, token);
	}
	if (result || line->prefix_count)
		return result;
	line->prefixes[0] = prefix_around(&line->addr, line->addr.family == AF_INET ?
						       reader->prefix_length : 128);
	line->prefix_count = 1;
	return check_prefix(line, &line->prefixes[0], learned);
}

/* Splits at the first "#".  HOSTS_END: there is nothing on this line. */
static enum hosts_result take_line(struct hosts_reader *reader, char *text)
{
	struct hosts_line *line = &reader->line;
	char *hash = strchr(text, '#'), *gateway = NULL, *addr;

	if (hash) {
		gateway = hash[1] == '!' ? hash + 2 : NULL;
		*hash = '\0';
	}
	if (gateway && (hash = strchr(gateway, '#'))) {
		if (hash[1] == '!') {
			refuse(line, "a second #! on one line; give each gateway its own line");
			return HOSTS_BAD;
		}
		*hash = '\0';
	}
	addr = next_token(&text);
	if (!addr && !gateway)
		return HOSTS_END;
	if (!addr)
		refuse(line, "no address and name before the #!");
	else if (addr_parse(addr, &line->addr))
		refuse(line, "does not begin with an IPv4 or IPv6 address");
	else if (take_names(line, text) == 0 &&
		 (!gateway || take_gateway(line, gateway, reader) == 0))
		return HOSTS_LINE;
	return HOSTS_BAD;
}

void hosts_reader_init(struct hosts_reader *reader, const struct hosts_text *source,
		       unsigned prefix_length)
{
	reader->source = *source;
	reader->prefix_length = prefix_length;
	reader->next = 0;
	reader->line.number = 0;
}

/* Forgets the line before: counts and options, not the arrays. */
static void line_clear(struct hosts_line *line)
{
	line->name_count = line->prefix_count = line->endpoint_count = 0;
	line->user = line->netcat = line->hostkey = NULL;
	line->mode = SSH_MODE_UNSET;
	line->pref = 0;
	line->gateway = line->pref_given = false;
	line->reason[0] = '\0';
}

static enum hosts_result read_line(struct hosts_reader *reader)
{
	struct hosts_line *line = &reader->line;
	size_t left = reader->source.size - reader->next, size;
	const char *newline;

	line_clear(line);
	line->number++;
	line->text = reader->source.text + reader->next;
	newline = memchr(line->text, '\n', left);
	size = newline ? (size_t)(newline - line->text) : left;
	reader->next += size + (newline != NULL);
	if (size && line->text[size - 1] == '\r')
		size--;
	line->size = size;
	if (size > HOSTS_LINE_MAX)
		refuse(line, "the line is longer than %d bytes", HOSTS_LINE_MAX);
	else if (memchr(line->text, '\0', size))
		refuse(line, "a zero byte: this is no text");
	if (line->reason[0])
		return HOSTS_BAD;
	memcpy(reader->buffer, line->text, size);
	reader->buffer[size] = '\0';
	return take_line(reader, reader->buffer);
}

enum hosts_result hosts_next(struct hosts_reader *reader)
{
	enum hosts_result result = HOSTS_END;

	while (result == HOSTS_END && reader->next < reader->source.size)
		result = read_line(reader);
	return result;
}
