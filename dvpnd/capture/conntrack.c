/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's connection table, through one netlink handle.
 *
 * Two questions are asked of it: where a redirected connection was going, and
 * which half-open connections began before a prefix came into the kernel set.
 * NAT is decided once for an entry, by its first packet: a SYN that is sent
 * again belongs to the entry and never meets the REDIRECT rule.
 *
 * Queries block for as long as the kernel works on them, which for a dump is in
 * proportion to the table.
 */
#include "capture/capture.h"

#include <errno.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack_tcp.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

/* Entries that are remembered in one pass; what is left takes another. */
#define FLUSH_BATCH 4096
#define FLUSH_PASSES 64

/* One direction of an entry, in network order. */
struct tuple {
	uint8_t family;
	struct in6_addr source, dest; /* IPv4: the first four bytes */
	uint16_t source_port, dest_port;
};

/* One flush at work. */
struct flush {
	const struct prefix *sorted; /* by prefix_compare */
	size_t count;
	uint8_t lengths[129]; /* whether some prefix has this length */
	struct tuple found[FLUSH_BATCH];
	size_t found_count;
	bool full;
};

struct conntrack {
	struct nfct_handle *handle;
	/* What the callback works for now: at most one of them is set. */
	struct flush *flush;
	struct nf_conntrack *answer;
	bool answered;
};

static size_t addr_size(int family)
{
	return family == AF_INET6 ? 16 : 4;
}

/* ---- flush: which entries ---- */

static int compare_prefixes(const void *a, const void *b)
{
	return prefix_compare(a, b);
}

static bool flush_covers(const struct flush *flush, const struct addr *addr)
{
	for (unsigned length = 0; length <= addr_bits(addr); length++) {
		struct prefix around;

		if (!flush->lengths[length])
			continue;
		around = prefix_around(addr, length);
		if (bsearch(&around, flush->sorted, flush->count, sizeof(around), compare_prefixes))
			return true;
	}
	return false;
}

/*
 * A connection that lives is left: deleted, it might be picked up in mid-stream
 * from its far end, and then pass for an answer.  With its entry in place the
 * rules see it as what it is and end it with a reset; and the daemon's own SSH
 * connections, marked, go on.
 */
static bool is_live(uint8_t state)
{
	return state >= TCP_CONNTRACK_ESTABLISHED && state <= TCP_CONNTRACK_LAST_ACK;
}

static void flush_consider(struct flush *flush, const struct nf_conntrack *entry)
{
	struct tuple tuple = { .family = nfct_get_attr_u8(entry, ATTR_ORIG_L3PROTO) };
	bool v6 = tuple.family == AF_INET6;
	const void *source, *dest;
	struct addr addr = { .family = tuple.family };

	if (nfct_get_attr_u8(entry, ATTR_ORIG_L4PROTO) != IPPROTO_TCP ||
	    nfct_get_attr_u32(entry, ATTR_STATUS) & IPS_DST_NAT ||
	    is_live(nfct_get_attr_u8(entry, ATTR_TCP_STATE)))
		return;
	source = nfct_get_attr(entry, v6 ? ATTR_ORIG_IPV6_SRC : ATTR_ORIG_IPV4_SRC);
	dest = nfct_get_attr(entry, v6 ? ATTR_ORIG_IPV6_DST : ATTR_ORIG_IPV4_DST);
	if (!source || !dest)
		return;
	memcpy(addr.bytes, dest, addr_size(tuple.family));
	if (!flush_covers(flush, &addr))
		return;
	if (flush->found_count == FLUSH_BATCH) {
		flush->full = true;
		return;
	}
	memcpy(&tuple.source, source, addr_size(tuple.family));
	memcpy(&tuple.dest, dest, addr_size(tuple.family));
	tuple.source_port = nfct_get_attr_u16(entry, ATTR_ORIG_PORT_SRC);
	tuple.dest_port = nfct_get_attr_u16(entry, ATTR_ORIG_PORT_DST);
	flush->found[flush->found_count++] = tuple;
}

static int entry_cb(enum nf_conntrack_msg_type type, struct nf_conntrack *entry, void *arg)
{
	struct conntrack *conntrack = arg;

	(void)type;
	if (conntrack->flush) {
		flush_consider(conntrack->flush, entry);
	} else if (conntrack->answer) {
		nfct_copy(conntrack->answer, entry, NFCT_CP_OVERRIDE);
		conntrack->answered = true;
	}
	return NFCT_CB_CONTINUE;
}

/* ---- questions about one entry ---- */

/* What a query finds the entry by, or NULL where memory is short. */
static struct nf_conntrack *tuple_entry(const struct tuple *tuple)
{
	bool v6 = tuple->family == AF_INET6;
	struct nf_conntrack *entry = nfct_new();

	if (!entry)
		return NULL;
	nfct_set_attr_u8(entry, ATTR_ORIG_L3PROTO, tuple->family);
	nfct_set_attr_u8(entry, ATTR_ORIG_L4PROTO, IPPROTO_TCP);
	nfct_set_attr(entry, v6 ? ATTR_ORIG_IPV6_SRC : ATTR_ORIG_IPV4_SRC, &tuple->source);
	nfct_set_attr(entry, v6 ? ATTR_ORIG_IPV6_DST : ATTR_ORIG_IPV4_DST, &tuple->dest);
	nfct_set_attr_u16(entry, ATTR_ORIG_PORT_SRC, tuple->source_port);
	nfct_set_attr_u16(entry, ATTR_ORIG_PORT_DST, tuple->dest_port);
	return entry;
}

/* 1 where it was deleted, 0 where it had gone by itself, -1 with errno. */
static int delete_entry(struct conntrack *conntrack, const struct tuple *tuple)
{
	struct nf_conntrack *entry = tuple_entry(tuple);
	int result;

	if (!entry)
		return -1;
	result = nfct_query(conntrack->handle, NFCT_Q_DESTROY, entry);
	nfct_destroy(entry);
	return result == 0 ? 1 : errno == ENOENT ? 0 : -1;
}

/* One dump of one family, then the deletions: the handle can't be used for
 * another query while it dumps.  How many were deleted, or -1 with errno. */
static int flush_pass(struct conntrack *conntrack, struct flush *flush, uint32_t family)
{
	int result, deleted = 0;

	flush->found_count = 0;
	flush->full = false;
	conntrack->flush = flush;
	result = nfct_query(conntrack->handle, NFCT_Q_DUMP, &family);
	conntrack->flush = NULL;
	if (result < 0)
		return -1;
	for (size_t i = 0; i < flush->found_count; i++) {
		result = delete_entry(conntrack, &flush->found[i]);
		if (result < 0)
			return -1;
		deleted += result;
	}
	return deleted;
}

static int flush_family(struct conntrack *conntrack, struct flush *flush, uint32_t family)
{
	int deleted = 0;

	for (int pass = 0; pass < FLUSH_PASSES; pass++) {
		int result = flush_pass(conntrack, flush, family);

		if (result < 0)
			return -1;
		deleted += result;
		if (!flush->full)
			break;
	}
	return deleted;
}

int conntrack_flush(struct conntrack *conntrack, const struct prefix *prefixes, size_t count)
{
	struct flush *flush;
	struct prefix *sorted;
	int v4, v6 = -1, error;

	if (count == 0)
		return 0;
	flush = calloc(1, sizeof(*flush));
	sorted = calloc(count, sizeof(*sorted));
	if (!flush || !sorted) {
		free(flush);
		free(sorted);
		errno = ENOMEM;
		return -1;
	}
	memcpy(sorted, prefixes, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), compare_prefixes);
	flush->sorted = sorted;
	flush->count = count;
	for (size_t i = 0; i < count; i++)
		flush->lengths[sorted[i].length] = 1;

	v4 = flush_family(conntrack, flush, AF_INET);
	if (v4 >= 0)
		v6 = flush_family(conntrack, flush, AF_INET6);
	error = errno;
	free(flush);
	free(sorted);
	errno = error;
	return v6 < 0 ? -1 : v4 + v6;
}

/* ---- the original destination ---- */

static int original_of(const struct nf_conntrack *entry, int family, struct addr *dest,
		       uint16_t *port)
{
	const void *bytes = nfct_get_attr(entry, family == AF_INET6 ? ATTR_ORIG_IPV6_DST
								    : ATTR_ORIG_IPV4_DST);

	if (!bytes) {
		errno = ENOENT;
		return -1;
	}
	*dest = (struct addr){ .family = family };
	memcpy(dest->bytes, bytes, addr_size(family));
	*port = ntohs(nfct_get_attr_u16(entry, ATTR_ORIG_PORT_DST));
	return 0;
}

int conntrack_original(struct conntrack *conntrack, const struct sockaddr *client,
		       const struct sockaddr *local, struct addr *dest, uint16_t *port)
{
	struct addr client_addr, local_addr;
	uint16_t client_port, local_port;
	struct tuple reply;
	struct nf_conntrack *question, *answer;
	int result = -1, error;

	if (addr_from_sockaddr(client, &client_addr, &client_port) < 0 ||
	    addr_from_sockaddr(local, &local_addr, &local_port) < 0 ||
	    client_addr.family != local_addr.family) {
		errno = EAFNOSUPPORT;
		return -1;
	}
	/*
	 * The direction of what we send, before NAT gives it the source that the
	 * client knows.  It is the entry's reply direction, but must be asked for as
	 * an original one: the library writes an empty original tuple beside a reply
	 * tuple, and the kernel then looks for that.  It searches both directions.
	 */
	reply = (struct tuple){ .family = local_addr.family,
				.source_port = htons(local_port), .dest_port = htons(client_port) };
	memcpy(&reply.source, local_addr.bytes, sizeof(local_addr.bytes));
	memcpy(&reply.dest, client_addr.bytes, sizeof(client_addr.bytes));
	question = tuple_entry(&reply);
	answer = nfct_new();
	if (question && answer) {
		conntrack->answer = answer;
		conntrack->answered = false;
		result = nfct_query(conntrack->handle, NFCT_Q_GET, question);
		conntrack->answer = NULL;
		if (result == 0 && !conntrack->answered) {
			errno = ENOENT;
			result = -1;
		}
	}
	if (result == 0)
		result = original_of(answer, client_addr.family, dest, port);
	error = errno;
	if (question)
		nfct_destroy(question);
	if (answer)
		nfct_destroy(answer);
	errno = error;
	return result;
}

/* ---- the handle ---- */

static int conntrack_probe(struct conntrack *conntrack)
{
	struct in_addr nowhere = { 0 };
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr = nowhere };
	struct addr dest;
	uint16_t port;

	/* The socket opens without a privilege; the first question tells. */
	if (conntrack_original(conntrack, (struct sockaddr *)&sa, (struct sockaddr *)&sa, &dest,
			       &port) == 0 || errno == ENOENT)
		return 0;
	return -1;
}

struct conntrack *conntrack_open(void)
{
	struct conntrack *conntrack = calloc(1, sizeof(*conntrack));
	int error;

	if (!conntrack) {
		log_warn("conntrack: can't open");
		return NULL;
	}
	conntrack->handle = nfct_open(CONNTRACK, 0);
	if (conntrack->handle &&
	    nfct_callback_register(conntrack->handle, NFCT_T_ALL, entry_cb, conntrack) == 0 &&
	    conntrack_probe(conntrack) == 0)
		return conntrack;
	error = errno;
	if (error == EPERM)
		log_errorx("conntrack: can't read the connection table: not permitted; run dvpnd as "
			   "root, or give it CAP_NET_ADMIN");
	else
		log_errorx("conntrack: can't read the connection table: %s; is the module there? "
			   "try: modprobe nf_conntrack_netlink", strerror(error));
	conntrack_close(conntrack);
	errno = error;
	return NULL;
}

void conntrack_close(struct conntrack *conntrack)
{
	if (!conntrack)
		return;
	if (conntrack->handle)
		nfct_close(conntrack->handle);
	free(conntrack);
}
