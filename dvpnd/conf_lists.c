// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Types that are lists: words with blanks or commas between them, each to be
 * given once.  A list is a pointer and its count right behind it.
 */
#include <stdlib.h>
#include <string.h>

#include "conf_types.h"

struct list {
	void *items;
	unsigned count;
};
#define ASSERT_LIST(items_, count_)                                                   \
	_Static_assert(offsetof(struct conf, count_) ==                               \
			       offsetof(struct conf, items_) + offsetof(struct list, count), \
		       #count_ " lies right behind " #items_)
ASSERT_LIST(prefixes, prefix_count);
ASSERT_LIST(endpoints, endpoint_count);
ASSERT_LIST(addresses, address_count);

/* Reads one item; the list has room for it.  0, or -1 and a reason. */
typedef int parse_item_fn(const char *text, struct list *list, char *reason);

/* Every item is a word or more of at least one byte, so their number is bounded
 * by the length of the line. */
static int parse_list(const char *text, struct list *list, size_t item_size,
		      parse_item_fn *parse_item, char *reason)
{
	char *copy = strdup(text), *rest = copy;
	int result = 0;

	list->items = calloc(strlen(text) / 2 + 1, item_size);
	list->count = 0;
	if (!copy || !list->items)
		result = conf_refuse(reason, "out of memory");
	while (!result) {
		const char *word = strtok_r(rest, " \t,", &rest);

		if (!word)
			break;
		result = parse_item(word, list, reason);
		if (!result)
			list->count++;
	}
	if (!result && !list->count)
		result = conf_refuse(reason, "\"%.80s\" has nothing in it", text);
	free(copy);
	return result;
}

static void clear_list(void *value)
{
	struct list *list = value;

	free(list->items);
	list->items = NULL;
	list->count = 0;
}

static int parse_prefix(const char *text, struct list *list, char *reason)
{
	struct prefix *prefixes = list->items, *last = &prefixes[list->count];
	const char *why = "";

	if (prefix_parse(text, last, &why))
		return conf_refuse(reason, "\"%.80s\" is not a prefix: %s", text, why);
	for (unsigned i = 0; i < list->count; i++)
		if (!prefix_compare(&prefixes[i], last))
			return conf_refuse(reason, "\"%.80s\" is in it twice", text);
	return 0;
}

static int parse_prefixes(const struct conf_field *field, const char *text, void *value,
			  char *reason)
{
	(void)field;
	return parse_list(text, value, sizeof(struct prefix), parse_prefix, reason);
}

static void print_prefixes(const struct conf_field *field, const void *value, FILE *out)
{
	const struct list *list = value;
	const struct prefix *prefixes = list->items;
	char text[PREFIX_TEXT_SIZE];

	(void)field;
	for (unsigned i = 0; i < list->count; i++)
		fprintf(out, "%s%s", i ? " " : "", prefix_format(&prefixes[i], text));
}

const struct conf_type conf_type_prefixes = { parse_prefixes, print_prefixes, clear_list };

static int parse_address(const char *text, struct list *list, char *reason)
{
	struct addr *addresses = list->items, *last = &addresses[list->count];

	if (addr_parse(text, last))
		return conf_refuse(reason, "\"%.80s\" is not an IPv4 or IPv6 address", text);
	for (unsigned i = 0; i < list->count; i++)
		if (!addr_compare(&addresses[i], last))
			return conf_refuse(reason, "\"%.80s\" is in it twice", text);
	return 0;
}

static int parse_addresses(const struct conf_field *field, const char *text, void *value,
			   char *reason)
{
	(void)field;
	return parse_list(text, value, sizeof(struct addr), parse_address, reason);
}

static void print_addresses(const struct conf_field *field, const void *value, FILE *out)
{
	const struct list *list = value;
	const struct addr *addresses = list->items;
	char text[ADDR_TEXT_SIZE];

	(void)field;
	for (unsigned i = 0; i < list->count; i++)
		fprintf(out, "%s%s", i ? " " : "", addr_format(&addresses[i], text));
}

const struct conf_type conf_type_addresses = { parse_addresses, print_addresses, clear_list };

static int parse_endpoint(const char *text, struct list *list, char *reason)
{
	struct endpoint *endpoints = list->items, *last = &endpoints[list->count];
	const char *why = "";

	if (endpoint_parse(text, last, &why)) {
		last->host = NULL;
		return conf_refuse(reason, "\"%.80s\" is not an endpoint: %s", text, why);
	}
	for (unsigned i = 0; i < list->count; i++) {
		if (strcasecmp(endpoints[i].host, last->host) || endpoints[i].port != last->port)
			continue;
		free(last->host);
		last->host = NULL;
		return conf_refuse(reason, "\"%.80s\" is in it twice", text);
	}
	return 0;
}

static int parse_endpoints(const struct conf_field *field, const char *text, void *value,
			   char *reason)
{
	(void)field;
	return parse_list(text, value, sizeof(struct endpoint), parse_endpoint, reason);
}

static void print_endpoints(const struct conf_field *field, const void *value, FILE *out)
{
	const struct list *list = value;
	const struct endpoint *endpoints = list->items;
	char text[300];

	(void)field;
	for (unsigned i = 0; i < list->count; i++) {
		const char *shown = endpoints[i].host; /* no port: the default stays the default */

		if (endpoints[i].port)
			shown = endpoint_format(&endpoints[i], 0, text, sizeof(text));
		fprintf(out, "%s%s", i ? " " : "", shown);
	}
}

static void clear_endpoints(void *value)
{
	struct list *list = value;
	struct endpoint *endpoints = list->items;

	for (unsigned i = 0; i < list->count; i++)
		free(endpoints[i].host);
	clear_list(value);
}

const struct conf_type conf_type_endpoints = { parse_endpoints, print_endpoints, clear_endpoints };
