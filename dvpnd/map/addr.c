/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Addresses and prefixes as values.  Owns their text forms and their order.
 */
#include "map/addr.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static const uint8_t mapped_lead[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

static struct addr addr_from_bytes(int family, const void *bytes)
{
	const uint8_t *from = bytes;
	struct addr addr = { .family = (uint8_t)family };

	/* One host must have one form, or it would have two sets of routes. */
	if (family == AF_INET6 && memcmp(from, mapped_lead, sizeof(mapped_lead)) == 0) {
		addr.family = AF_INET;
		from += sizeof(mapped_lead);
	}
	memcpy(addr.bytes, from, addr.family == AF_INET ? 4 : 16);
	return addr;
}

int addr_parse(const char *text, struct addr *addr)
{
	uint8_t bytes[16];

	if (inet_pton(AF_INET, text, bytes) == 1)
		*addr = addr_from_bytes(AF_INET, bytes);
	else if (inet_pton(AF_INET6, text, bytes) == 1)
		*addr = addr_from_bytes(AF_INET6, bytes);
	else
		return -1;
	return 0;
}

const char *addr_format(const struct addr *addr, char text[ADDR_TEXT_SIZE])
{
	if (!inet_ntop(addr->family, addr->bytes, text, ADDR_TEXT_SIZE))
		snprintf(text, ADDR_TEXT_SIZE, "?");
	return text;
}

const char *addr_port_format(const struct addr *addr, uint16_t port,
			     char text[ADDR_PORT_TEXT_SIZE])
{
	char host[ADDR_TEXT_SIZE];

	snprintf(text, ADDR_PORT_TEXT_SIZE, addr->family == AF_INET6 ? "[%s]:%u" : "%s:%u",
		 addr_format(addr, host), port);
	return text;
}

int addr_compare(const struct addr *a, const struct addr *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

unsigned addr_bits(const struct addr *addr)
{
	return addr->family == AF_INET ? 32 : 128;
}

int addr_from_sockaddr(const struct sockaddr *sa, struct addr *addr, uint16_t *port)
{
	/* Copied, since what the caller holds may be aligned for a sockaddr only. */
	if (sa->sa_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, sa, sizeof(in));
		*addr = addr_from_bytes(AF_INET, &in.sin_addr);
		*port = ntohs(in.sin_port);
		return 0;
	}
	if (sa->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, sa, sizeof(in6));
		*addr = addr_from_bytes(AF_INET6, &in6.sin6_addr);
		*port = ntohs(in6.sin6_port);
		return 0;
	}
	return -1;
}

socklen_t addr_to_sockaddr(const struct addr *addr, uint16_t port, struct sockaddr_storage *sa)
{
	memset(sa, 0, sizeof(*sa));
	if (addr->family == AF_INET) {
		struct sockaddr_in *in = (struct sockaddr_in *)sa;

		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, addr->bytes, sizeof(in->sin_addr));
		return sizeof(*in);
	} else {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)sa;

		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(port);
		memcpy(&in6->sin6_addr, addr->bytes, sizeof(in6->sin6_addr));
		return sizeof(*in6);
	}
}

/* Up to three digits and nothing else; -1 otherwise. */
static int length_parse(const char *text)
{
	int value = 0;
	size_t i;

	for (i = 0; i < 3 && text[i] >= '0' && text[i] <= '9'; i++)
		value = value * 10 + (text[i] - '0');
	return i == 0 || text[i] != '\0' ? -1 : value;
}

int prefix_parse(const char *text, struct prefix *prefix, const char **reason)
{
	char host[ADDR_TEXT_SIZE];
	const char *slash = strchr(text, '/');
	struct addr addr;
	int length;

	memset(prefix, 0, sizeof(*prefix));
	if (!slash || (size_t)(slash - text) >= sizeof(host)) {
		*reason = "not of the form ADDRESS/LENGTH";
		return -1;
	}
	memcpy(host, text, (size_t)(slash - text));
	host[slash - text] = '\0';
	if (addr_parse(host, &addr)) {
		*reason = "no IPv4 or IPv6 address before the slash";
		return -1;
	}
	if (addr.family == AF_INET && strchr(host, ':')) {
		*reason = "IPv4 inside IPv6: write it as an IPv4 prefix";
		return -1;
	}
	length = length_parse(slash + 1);
	if (length < 0 || (unsigned)length > addr_bits(&addr)) {
		*reason = addr.family == AF_INET ? "the length is no number from 0 to 32" :
						   "the length is no number from 0 to 128";
		return -1;
	}
	*prefix = prefix_around(&addr, (unsigned)length);
	if (addr_compare(&prefix->addr, &addr) != 0) {
		*reason = "bits are set behind the prefix length";
		return -1;
	}
	return 0;
}

const char *prefix_format(const struct prefix *prefix, char text[PREFIX_TEXT_SIZE])
{
	char host[ADDR_TEXT_SIZE];

	snprintf(text, PREFIX_TEXT_SIZE, "%s/%u", addr_format(&prefix->addr, host),
		 prefix->length);
	return text;
}

int prefix_compare(const struct prefix *a, const struct prefix *b)
{
	int order = addr_compare(&a->addr, &b->addr);

	return order ? order : (int)a->length - (int)b->length;
}

bool prefix_contains(const struct prefix *prefix, const struct addr *addr)
{
	unsigned whole = prefix->length / 8, rest = prefix->length % 8;

	if (prefix->addr.family != addr->family)
		return false;
	if (memcmp(prefix->addr.bytes, addr->bytes, whole) != 0)
		return false;
	return rest == 0 || (prefix->addr.bytes[whole] ^ addr->bytes[whole]) >> (8 - rest) == 0;
}

bool prefix_overlaps(const struct prefix *a, const struct prefix *b)
{
	return a->length <= b->length ? prefix_contains(a, &b->addr) :
					prefix_contains(b, &a->addr);
}

struct prefix prefix_around(const struct addr *addr, unsigned length)
{
	struct prefix prefix = { .addr = *addr };
	unsigned bits = addr_bits(addr), i;

	prefix.length = (uint8_t)(length > bits ? bits : length);
	for (i = 0; i < bits / 8; i++) {
		if (i * 8 >= prefix.length)
			prefix.addr.bytes[i] = 0;
		else if (prefix.length - i * 8 < 8)
			prefix.addr.bytes[i] &= (uint8_t)(0xff00 >> (prefix.length - i * 8));
	}
	return prefix;
}
