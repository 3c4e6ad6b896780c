/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Endpoints and host names.  Owns what is a valid name, and how a name or an
 * address is written together with a port.
 */
#include "map/addr.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_LENGTH 253
#define LABEL_MAX_LENGTH 63

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_label_char(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
	       c == '_';
}

static bool label_valid(const char *label, size_t length)
{
	if (length == 0 || length > LABEL_MAX_LENGTH)
		return false;
	return label[0] != '-' && label[length - 1] != '-';
}

bool host_name_valid(const char *name)
{
	size_t start = 0, i;

	for (i = 0; name[i]; i++) {
		if (i >= NAME_MAX_LENGTH)
			return false;
		if (name[i] == '.') {
			if (!label_valid(name + start, i - start))
				return false;
			start = i + 1;
		} else if (!is_label_char(name[i])) {
			return false;
		}
	}
	return label_valid(name + start, i - start);
}

/* "10.7.0" or "300.1.1.1": resolvers take such text for an address of their own guess. */
static bool looks_numeric(const char *host)
{
	const char *last = strrchr(host, '.');

	last = last ? last + 1 : host;
	return last[strspn(last, "0123456789")] == '\0';
}

static int port_parse(const char *text, uint16_t *port)
{
	unsigned value = 0;
	size_t i;

	for (i = 0; i < 5 && is_digit(text[i]); i++)
		value = value * 10 + (unsigned)(text[i] - '0');
	if (i == 0 || text[i] != '\0' || value == 0 || value > 65535)
		return -1;
	*port = (uint16_t)value;
	return 0;
}

static const char *host_check(const char *host, bool bracketed)
{
	static const struct addr any4 = { .family = AF_INET }, any6 = { .family = AF_INET6 };
	struct addr addr;

	if (addr_parse(host, &addr) == 0) {
		if (bracketed && !strchr(host, ':'))
			return "brackets are for IPv6 addresses only";
		if (addr_compare(&addr, &any4) == 0 || addr_compare(&addr, &any6) == 0)
			return "the unspecified address can't be connected to";
		if (addr.family == AF_INET ? addr.bytes[0] >= 224 : addr.bytes[0] == 0xff)
			return "a multicast or reserved address can't be connected to";
		return NULL;
	}
	if (bracketed || strchr(host, ':'))
		return "not a valid IPv6 address";
	if (!host_name_valid(host))
		return "not a valid host name or address";
	return looks_numeric(host) ? "not a valid IPv4 address" : NULL;
}

int endpoint_scan(char *text, struct endpoint *endpoint, const char **reason)
{
	char *host = text, *colon = strchr(text, ':'), *port = NULL, *close = NULL, *c;

	if (*text == '[') {
		host = text + 1;
		close = strchr(host, ']');
		if (!close || (close[1] != '\0' && close[1] != ':')) {
			*reason = "not of the form [ADDRESS] or [ADDRESS]:PORT";
			return -1;
		}
		*close = '\0';
		port = close[1] ? close + 2 : NULL;
	} else if (colon && colon == strrchr(text, ':')) {
		*colon = '\0';
		port = colon + 1;
	}
	endpoint->host = host;
	endpoint->port = 0;
	if (port && port_parse(port, &endpoint->port)) {
		*reason = "the port is no number from 1 to 65535";
		return -1;
	}
	for (c = host; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	*reason = host_check(host, close != NULL);
	return *reason ? -1 : 0;
}

int endpoint_parse(const char *text, struct endpoint *endpoint, const char **reason)
{
	char *copy = strdup(text);

	if (!copy) {
		*reason = "out of memory";
		return -1;
	}
	if (endpoint_scan(copy, endpoint, reason)) {
		free(copy);
		endpoint->host = NULL;
		return -1;
	}
	if (endpoint->host != copy)
		memmove(copy, endpoint->host, strlen(endpoint->host) + 1);
	endpoint->host = copy;
	return 0;
}

const char *endpoint_format(const struct endpoint *endpoint, uint16_t default_port, char *text,
			    size_t size)
{
	snprintf(text, size, strchr(endpoint->host, ':') ? "[%s]:%u" : "%s:%u", endpoint->host,
		 endpoint->port ? endpoint->port : default_port);
	return text;
}
