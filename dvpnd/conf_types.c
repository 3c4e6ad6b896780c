// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Types with one value: numbers, choices and strings are read, checked, printed
 * and freed here; lists are in conf_lists.c.
 *
 * Text that reaches these parsers has no control characters and is not empty;
 * the defaults of the table go through the same parsers.
 */
#include "conf_types.h"

#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

int conf_refuse(char reason[CONF_REASON_SIZE], const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(reason, CONF_REASON_SIZE, fmt, args);
	va_end(args);
	return -1;
}

/* ---- numbers ---- */

/* Digits only: strtoull alone would take "-1", "+1" and " 1". */
static int read_digits(const char *text, const char **end, unsigned long long *number)
{
	char *stop;

	if (!isdigit((unsigned char)*text))
		return -1;
	errno = 0;
	*number = strtoull(text, &stop, 10);
	*end = stop;
	return errno ? -1 : 0;
}

static int read_number(const char *text, unsigned long min, unsigned long max,
		       unsigned long long *number, char *reason)
{
	const char *end;

	if (read_digits(text, &end, number) || *end || *number < min || *number > max)
		return conf_refuse(reason, "\"%.80s\" is not a number from %lu to %lu", text, min,
				   max);
	return 0;
}

static int parse_number(const struct conf_field *field, const char *text, void *value, char *reason)
{
	unsigned long long number;

	if (read_number(text, field->min, field->max, &number, reason))
		return -1;
	*(unsigned *)value = (unsigned)number;
	return 0;
}

static void print_number(const struct conf_field *field, const void *value, FILE *out)
{
	(void)field;
	fprintf(out, "%u", *(const unsigned *)value);
}

const struct conf_type conf_type_number = { parse_number, print_number, NULL };

static int parse_port(const struct conf_field *field, const char *text, void *value, char *reason)
{
	unsigned long long number;

	(void)field;
	if (read_number(text, 1, 65535, &number, reason))
		return -1;
	*(uint16_t *)value = (uint16_t)number;
	return 0;
}

static void print_port(const struct conf_field *field, const void *value, FILE *out)
{
	(void)field;
	fprintf(out, "%u", *(const uint16_t *)value);
}

const struct conf_type conf_type_port = { parse_port, print_port, NULL };

/* The CPUs that this process may run on, which a container or taskset narrows. */
static unsigned usable_cpus(unsigned max)
{
	cpu_set_t set;
	long count;

	if (!sched_getaffinity(0, sizeof(set), &set))
		count = CPU_COUNT(&set);
	else
		count = sysconf(_SC_NPROCESSORS_ONLN);
	if (count < 1)
		return 1;
	return count > (long)max ? max : (unsigned)count;
}

static int parse_workers(const struct conf_field *field, const char *text, void *value,
			 char *reason)
{
	if (!strcmp(text, "auto"))
		text = "0";
	if (parse_number(field, text, value, reason))
		return -1;
	if (!*(unsigned *)value)
		*(unsigned *)value = usable_cpus((unsigned)field->max);
	return 0;
}

const struct conf_type conf_type_workers = { parse_workers, print_number, NULL };

/* So far the windows and credits are the only cap there is. */
static int parse_memory(const struct conf_field *field, const char *text, void *value, char *reason)
{
	(void)field;
	if (strcmp(text, "0") != 0)
		return conf_refuse(reason,
				   "\"%.80s\": a cap is not in this version: write 0, or leave it out",
				   text);
	*(uint64_t *)value = 0;
	return 0;
}

static void print_memory(const struct conf_field *field, const void *value, FILE *out)
{
	(void)field;
	fprintf(out, "%llu", (unsigned long long)*(const uint64_t *)value);
}

const struct conf_type conf_type_memory = { parse_memory, print_memory, NULL };

/* ---- one word out of several ---- */

static int parse_choice(const char *const *names, const char *text, void *value, char *reason)
{
	char all[128] = "";
	size_t length = 0;

	for (unsigned i = 0; names[i]; i++) {
		if (!strcmp(text, names[i])) {
			*(unsigned *)value = i;
			return 0;
		}
		length += (size_t)snprintf(all + length, sizeof(all) - length, "%s%s",
					   i ? ", " : "", names[i]);
	}
	return conf_refuse(reason, "\"%.80s\" is none of %s", text, all);
}

static const char *const log_to_names[] = {
	[LOG_TO_STDERR] = "stderr", [LOG_TO_SYSLOG] = "syslog", NULL
};

static int parse_log_to(const struct conf_field *field, const char *text, void *value, char *reason)
{
	(void)field;
	return parse_choice(log_to_names, text, value, reason);
}

static void print_log_to(const struct conf_field *field, const void *value, FILE *out)
{
	(void)field;
	fputs(log_to_names[*(const unsigned *)value], out);
}

const struct conf_type conf_type_log_to = { parse_log_to, print_log_to, NULL };

static const char *const log_level_names[] = {
	[LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARN] = "warn",
	[LOG_LEVEL_INFO] = "info", [LOG_LEVEL_DEBUG] = "debug", NULL
};

static int parse_log_level(const struct conf_field *field, const char *text, void *value,
			   char *reason)
{
	(void)field;
	return parse_choice(log_level_names, text, value, reason);
}

static void print_log_level(const struct conf_field *field, const void *value, FILE *out)
{
	(void)field;
	fputs(log_level_names[*(const unsigned *)value], out);
}

const struct conf_type conf_type_log_level = { parse_log_level, print_log_level, NULL };

static const char *const host_keys_names[] = {
	[HOST_KEYS_STRICT] = "strict", [HOST_KEYS_ACCEPT_NEW] = "accept-new", NULL
};

static int parse_host_keys(const struct conf_field *field, const char *text, void *value,
			   char *reason)
{
	(void)field;
	return parse_choice(host_keys_names, text, value, reason);
}

static void print_host_keys(const struct conf_field *field, const void *value, FILE *out)
{
	(void)field;
	fputs(host_keys_names[*(const unsigned *)value], out);
}

const struct conf_type conf_type_host_keys = { parse_host_keys, print_host_keys, NULL };

static const char *const crypto_names[] = {
	[CRYPTO_READAHEAD] = "readahead", [CRYPTO_STOCK] = "stock", NULL
};

static int parse_crypto(const struct conf_field *field, const char *text, void *value, char *reason)
{
	(void)field;
	return parse_choice(crypto_names, text, value, reason);
}

static void print_crypto(const struct conf_field *field, const void *value, FILE *out)
{
	(void)field;
	fputs(crypto_names[*(const unsigned *)value], out);
}

const struct conf_type conf_type_crypto = { parse_crypto, print_crypto, NULL };

static int parse_mode(const struct conf_field *field, const char *text, void *value, char *reason)
{
	enum ssh_mode mode = ssh_mode_parse(text);

	(void)field;
	if (mode == SSH_MODE_UNSET)
		return conf_refuse(reason, "\"%.80s\" is none of trunk, netcat, direct", text);
	*(enum ssh_mode *)value = mode;
	return 0;
}

static void print_mode(const struct conf_field *field, const void *value, FILE *out)
{
	(void)field;
	fputs(ssh_mode_name(*(const enum ssh_mode *)value), out);
}

const struct conf_type conf_type_mode = { parse_mode, print_mode, NULL };

/* ---- strings ---- */

static int set_string(const char *text, void *value, char *reason)
{
	char *copy = strdup(text);

	if (!copy)
		return conf_refuse(reason, "out of memory");
	*(char **)value = copy;
	return 0;
}

/* A value is only quoted where it would not be read back the same without; the
 * quote that it was given in is then not part of it. */
static void print_string(const struct conf_field *field, const void *value, FILE *out)
{
	const char *text = *(char *const *)value;
	const char *quote = "";

	(void)field;
	if (!text)
		return;
	if (strpbrk(text, "#;") || strchr(" \t\"'", *text) ||
	    strchr(" \t", text[strlen(text) - 1]))
		quote = strchr(text, '"') ? "'" : "\"";
	fprintf(out, "%s%s%s", quote, text, quote);
}

static void clear_string(void *value)
{
	free(*(char **)value);
	*(char **)value = NULL;
}

static int parse_name(const struct conf_field *field, const char *text, void *value, char *reason)
{
	char *name;

	(void)field;
	if (!host_name_valid(text))
		return conf_refuse(reason, "\"%.80s\" is not a host name", text);
	if (set_string(text, value, reason))
		return -1;
	for (name = *(char **)value; *name; name++)
		*name = (char)tolower((unsigned char)*name);
	return 0;
}

const struct conf_type conf_type_name = { parse_name, print_string, clear_string };

/* A word that a far shell takes as it is, and no program as an option. */
static int parse_word(const char *allowed, const char *which, const char *text, void *value,
		      char *reason)
{
	if (*text == '-' || strlen(text) > 255 || text[strspn(text, allowed)])
		return conf_refuse(reason,
				   "\"%.80s\" has more than the letters, digits and %s that it may "
				   "have, or begins with \"-\"", text, which);
	return set_string(text, value, reason);
}

static int parse_user(const struct conf_field *field, const char *text, void *value, char *reason)
{
	(void)field;
	return parse_word(LETTERS DIGITS "._-", "\"._-\"", text, value, reason);
}

const struct conf_type conf_type_user = { parse_user, print_string, clear_string };

static int parse_netcat(const struct conf_field *field, const char *text, void *value, char *reason)
{
	(void)field;
	return parse_word(LETTERS DIGITS "/._+-", "\"/._+-\"", text, value, reason);
}

const struct conf_type conf_type_netcat = { parse_netcat, print_string, clear_string };

/* Absolute, since the daemon changes its directory and user. */
static int parse_path(const struct conf_field *field, const char *text, void *value, char *reason)
{
	(void)field;
	if (*text != '/')
		return conf_refuse(reason,
				   "\"%.80s\" is not a whole path: it must begin with \"/\"", text);
	if (text[strlen(text) - 1] == '/')
		return conf_refuse(reason, "\"%.80s\" is a directory: name the file", text);
	return set_string(text, value, reason);
}

const struct conf_type conf_type_path = { parse_path, print_string, clear_string };

static int parse_socket(const struct conf_field *field, const char *text, void *value, char *reason)
{
	const size_t most = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;

	if (strlen(text) > most)
		return conf_refuse(reason,
				   "\"%.80s\" is longer than the %zu bytes that the path of a socket "
				   "may have", text, most);
	return parse_path(field, text, value, reason);
}

const struct conf_type conf_type_socket = { parse_socket, print_string, clear_string };
