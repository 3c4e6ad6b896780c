/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Addresses, prefixes and endpoints as values: parse, print, compare.
 * No I/O, no allocation but where it says so.
 */
#ifndef DVPND_MAP_ADDR_H
#define DVPND_MAP_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* An IPv4 or IPv6 address; bytes in network order, those behind an IPv4
 * address are zero, so that memcmp compares two of the same family. */
struct addr {
	uint8_t family; /* AF_INET or AF_INET6 */
	uint8_t bytes[16];
};

/* Host bits are always zero: prefix_parse refuses a prefix that has some. */
struct prefix {
	struct addr addr;
	uint8_t length; /* bits, 0 to 32 or 128 */
};

#define ADDR_TEXT_SIZE INET6_ADDRSTRLEN
#define PREFIX_TEXT_SIZE (INET6_ADDRSTRLEN + 4)
#define ADDR_PORT_TEXT_SIZE (INET6_ADDRSTRLEN + 8)

/* Numeric text only; 0, or -1 where it is no address.  IPv4-mapped IPv6
 * addresses become the IPv4 address that they are. */
int addr_parse(const char *text, struct addr *addr);
const char *addr_format(const struct addr *addr, char text[ADDR_TEXT_SIZE]);
/* "10.8.0.5:80", "[fd00:8::5]:80" */
const char *addr_port_format(const struct addr *addr, uint16_t port,
			     char text[ADDR_PORT_TEXT_SIZE]);
int addr_compare(const struct addr *a, const struct addr *b); /* by family, then bytes */
unsigned addr_bits(const struct addr *addr);		       /* 32 or 128 */

/* -1 for another family than AF_INET and AF_INET6.  IPv4-mapped as above. */
int addr_from_sockaddr(const struct sockaddr *sa, struct addr *addr, uint16_t *port);
socklen_t addr_to_sockaddr(const struct addr *addr, uint16_t port, struct sockaddr_storage *sa);

/* "10.8.0.0/16".  0; -1 and a static reason text otherwise.  Where nothing but
 * host bits is wrong, *prefix is what was probably meant; else it is all zero. */
int prefix_parse(const char *text, struct prefix *prefix, const char **reason);
const char *prefix_format(const struct prefix *prefix, char text[PREFIX_TEXT_SIZE]);
int prefix_compare(const struct prefix *a, const struct prefix *b); /* by address, then length */
bool prefix_contains(const struct prefix *prefix, const struct addr *addr);
bool prefix_overlaps(const struct prefix *a, const struct prefix *b);
/* The prefix of that length around an address: host bits cleared. */
struct prefix prefix_around(const struct addr *addr, unsigned length);

/* Where a site's sshd listens.  `host` is a name or a numeric address, without
 * brackets; port 0: the default of [ssh] port. */
struct endpoint {
	char *host; /* owned by whoever holds the endpoint */
	uint16_t port;
};

/* "host", "host:port", "v6", "[v6]", "[v6]:port".  Allocates host.
 * 0; -1 and a static reason text otherwise. */
int endpoint_parse(const char *text, struct endpoint *endpoint, const char **reason);
/* The same without allocating: cuts the text up, and host points into it.
 * Both turn the host into lower case. */
int endpoint_scan(char *text, struct endpoint *endpoint, const char **reason);
/* "host:port", "[v6]:port" with the default port filled in; cut at size. */
const char *endpoint_format(const struct endpoint *endpoint, uint16_t default_port, char *text,
			    size_t size);
/* RFC 1123 host name, underscore allowed, at most 253 characters. */
bool host_name_valid(const char *name);

#endif
