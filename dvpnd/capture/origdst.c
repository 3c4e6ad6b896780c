/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The original destination of an accepted socket.
 *
 * The socket option is asked first: one system call, no netlink.  It says
 * ENOENT where no conntrack entry matches and ENOPROTOOPT where the module that
 * answers it is not loaded; netlink may still know then.  An entry that was
 * never translated gives the socket's own local address: that is how a
 * connection made straight to the port is told from a redirected one.
 */
#include "capture/origdst.h"

#include <errno.h>
#include <linux/netfilter_ipv4.h>

/* The same number as SO_ORIGINAL_DST; linux/netfilter_ipv6/ip6_tables.h, which
 * has it, can't be included beside netinet/in.h. */
#define IP6_SO_ORIGINAL_DST 80

static int ask_socket(int fd, int family, struct addr *dest, uint16_t *port)
{
	int level = family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
	int option = family == AF_INET6 ? IP6_SO_ORIGINAL_DST : SO_ORIGINAL_DST;
	struct sockaddr_storage original = { 0 };
	socklen_t size = family == AF_INET6 ? sizeof(struct sockaddr_in6)
					    : sizeof(struct sockaddr_in);

	if (getsockopt(fd, level, option, &original, &size) < 0)
		return -1;
	return addr_from_sockaddr((struct sockaddr *)&original, dest, port);
}

enum origdst origdst_find(struct captured *captured, struct conntrack *conntrack)
{
	struct sockaddr_storage client = { 0 }, local = { 0 };
	socklen_t client_size = sizeof(client), local_size = sizeof(local);
	struct addr local_addr;
	uint16_t local_port;

	if (getpeername(captured->fd, (struct sockaddr *)&client, &client_size) < 0 ||
	    getsockname(captured->fd, (struct sockaddr *)&local, &local_size) < 0 ||
	    addr_from_sockaddr((struct sockaddr *)&client, &captured->client,
			       &captured->client_port) < 0 ||
	    addr_from_sockaddr((struct sockaddr *)&local, &local_addr, &local_port) < 0)
		return ORIGDST_UNKNOWN;

	if (ask_socket(captured->fd, local.ss_family, &captured->dest, &captured->port) < 0 &&
	    (!conntrack || conntrack_original(conntrack, (struct sockaddr *)&client,
					      (struct sockaddr *)&local, &captured->dest,
					      &captured->port) < 0))
		return ORIGDST_UNKNOWN;

	if (captured->port == local_port && addr_compare(&captured->dest, &local_addr) == 0)
		return ORIGDST_DIRECT;
	return ORIGDST_REDIRECTED;
}
