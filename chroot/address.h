/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The words that both the command and the allow file are made of: splitting a
 * line, numbers, numeric addresses.  Pure: bytes in, values out; no I/O, no
 * heap, no locale.  The netcat is one static file, so these are inline here.
 */
#ifndef CHROOT_ADDRESS_H
#define CHROOT_ADDRESS_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes in network order; those behind an IPv4 address are zero. */
struct address {
	int family; /* AF_INET or AF_INET6 */
	uint8_t bytes[16];
};

static inline unsigned address_bits(const struct address *address)
{
	return address->family == AF_INET ? 32 : 128;
}

/* The kernel would take it for the IPv4 address inside, past every IPv6 rule. */
static inline bool address_is_mapped(const struct address *address)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	return address->family == AF_INET6 && !memcmp(address->bytes, mapped, sizeof(mapped));
}

/*
 * Numeric text only, without zone and not IPv4-mapped.
 * NULL, or a static text that says what is wrong.
 */
static inline const char *address_parse(const char *text, struct address *address)
{
	memset(address, 0, sizeof(*address));
	address->family = strchr(text, ':') ? AF_INET6 : AF_INET;
	if (strchr(text, '%'))
		return "an address with a zone is not accepted";
	if (inet_pton(address->family, text, address->bytes) != 1)
		return "the address must be numeric";
	if (address_is_mapped(address))
		return "write an IPv4 address as such, not inside IPv6";
	return NULL;
}

/* Whether the first `length` bits of both are the same; both of one family. */
static inline bool address_within(const struct address *address, const struct address *prefix,
				  unsigned length)
{
	unsigned whole = length / 8;
	unsigned mask = 0xff00u >> (length % 8);

	if (address->family != prefix->family || memcmp(address->bytes, prefix->bytes, whole))
		return false;
	return length % 8 == 0 || !((address->bytes[whole] ^ prefix->bytes[whole]) & mask & 0xff);
}

/* Plain decimal of at most five digits, no sign, no leading zero.
 * 0 and *number, or -1 when it is none or not between low and high. */
static inline int number_parse(const char *text, unsigned low, unsigned high, unsigned *number)
{
	unsigned value = 0;
	size_t i;

	for (i = 0; text[i]; i++) {
		if (text[i] < '0' || text[i] > '9' || i == 5 || (i == 1 && text[0] == '0'))
			return -1;
		value = value * 10 + (unsigned)(text[i] - '0');
	}
	if (i == 0 || value < low || value > high)
		return -1;
	*number = value;
	return 0;
}

/* Cuts `line` at blanks, in place.  The number of words; limit + 1 when there
 * are more than `limit`. */
static inline size_t words_split(char *line, char **words, size_t limit)
{
	size_t count = 0;

	for (;;) {
		line += strspn(line, " \t");
		if (!*line || count == limit)
			return *line ? limit + 1 : count;
		words[count++] = line;
		line += strcspn(line, " \t");
		if (*line)
			*line++ = '\0';
	}
}

#endif
