/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The packets that are on the emulated wire: buffers of two fixed sizes, and
 * the segments of the big ones.
 *
 * The kernel hands over what TCP sends as one packet of up to 64 KiB with the
 * word to cut it into segments later (GSO).  It stays in one piece as long as
 * every segment has the same fate, and is cut where fates differ, so loss, order
 * and rate count packets as a real wire would see them.
 */
#ifndef TESTS_NET_WIRE_PACKET_H
#define TESTS_NET_WIRE_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/virtio_net.h>

/* A GSO packet, and the virtio header in front of it. */
#define PACKET_LARGE (68u * 1024u)
#define PACKET_SMALL 2048u

struct packet {
	struct packet *next;
	uint64_t due;   /* when it arrives, monotonic nanoseconds */
	uint64_t order; /* among packets due at the same time */
	uint32_t length; /* of bytes */
	uint32_t segments;
	bool small;
	/* A struct virtio_net_hdr, then the IP packet. */
	unsigned char bytes[];
};

/* The headers of a packet, and how it falls into segments. */
struct shape {
	uint32_t headers;  /* bytes of IP and TCP header, each segment has them; 0: not GSO */
	uint32_t tcp;      /* offset of the TCP header in the IP packet */
	uint32_t size;     /* payload of a whole segment */
	uint32_t payload;  /* of all of them */
	uint32_t segments; /* at least 1 */
	bool v6;
};

/* The buffers' address space; what was never used takes no memory.  Exits when
 * there is none. */
void packets_init(void);

/* A buffer for up to size bytes, or NULL when all of that kind are on the wire. */
struct packet *packet_get(size_t size);
void packet_put(struct packet *packet);

/* What the packet is made of.  Anything but a well-formed TCP GSO packet counts as
 * one segment. */
struct shape packet_shape(const struct packet *packet);

/* Bytes of IP packets that the segments are on a wire. */
uint64_t packet_wire_bytes(const struct packet *packet, const struct shape *shape);

/* The segments from first on, count of them, as a packet of their own; NULL when
 * there is no buffer.  The packet itself stays as it is. */
struct packet *packet_cut(const struct packet *packet, const struct shape *shape, uint32_t first,
	uint32_t count);

#endif
