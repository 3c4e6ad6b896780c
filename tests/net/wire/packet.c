/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Buffers on two free lists, last used first, so that a quiet wire stays in a
 * few warm pages; and cutting segments out of a GSO packet: the headers are
 * copied, then all that depends on place and length is put right.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "packet.h"

#define LARGE_COUNT 8192u
#define SMALL_COUNT 131072u
#define VIRTIO sizeof(struct virtio_net_hdr)

struct pool {
	unsigned char *memory;
	size_t slot, count, used; /* slots from used on were never touched */
	struct packet *free;
};

static struct pool large, small;

static void pool_init(struct pool *pool, size_t bytes, size_t count)
{
	pool->slot = (sizeof(struct packet) + bytes + 63) & ~(size_t)63;
	pool->count = count;
	pool->memory = mmap(NULL, pool->slot * count, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (pool->memory == MAP_FAILED) {
		perror("wan: address space for packets");
		exit(1);
	}
}

void packets_init(void)
{
	pool_init(&large, PACKET_LARGE, LARGE_COUNT);
	pool_init(&small, PACKET_SMALL, SMALL_COUNT);
}

struct packet *packet_get(size_t size)
{
	struct pool *pool = size <= PACKET_SMALL ? &small : &large;
	struct packet *packet = pool->free;

	if (size > PACKET_LARGE)
		return NULL;
	if (packet) {
		pool->free = packet->next;
	} else if (pool->used < pool->count) {
		packet = (struct packet *)(pool->memory + pool->slot * pool->used++);
		packet->small = pool == &small;
	}
	return packet;
}

void packet_put(struct packet *packet)
{
	struct pool *pool;

	if (!packet)
		return;
	pool = packet->small ? &small : &large;
	packet->next = pool->free;
	pool->free = packet;
}

static bool gso_is_tcp(const struct virtio_net_hdr *header)
{
	unsigned type = header->gso_type & ~(unsigned)VIRTIO_NET_HDR_GSO_ECN;

	return (type == VIRTIO_NET_HDR_GSO_TCPV4 || type == VIRTIO_NET_HDR_GSO_TCPV6) &&
		header->gso_size && (header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM);
}

struct shape packet_shape(const struct packet *packet)
{
	struct shape shape = { .segments = 1 };
	struct virtio_net_hdr header;
	const unsigned char *ip = packet->bytes + VIRTIO;
	uint32_t length = packet->length - (uint32_t)VIRTIO;

	memcpy(&header, packet->bytes, sizeof(header));
	if (!gso_is_tcp(&header) || header.csum_start + sizeof(struct tcphdr) > length)
		return shape;
	shape.v6 = ip[0] >> 4 == 6;
	shape.tcp = header.csum_start;
	shape.headers = shape.tcp + (uint32_t)(ip[shape.tcp + 12] >> 4) * 4;
	if (shape.headers >= length)
		return (struct shape){ .segments = 1 };
	shape.size = header.gso_size;
	shape.payload = length - shape.headers;
	shape.segments = (shape.payload + shape.size - 1) / shape.size;
	return shape;
}

uint64_t packet_wire_bytes(const struct packet *packet, const struct shape *shape)
{
	uint64_t length = packet->length - VIRTIO;

	return length + (uint64_t)(packet->segments - 1) * shape->headers;
}

/* The Internet checksum's sum, not yet complemented. */
static uint32_t sum_words(const unsigned char *bytes, size_t size, uint32_t sum)
{
	size_t i;

	for (i = 0; i + 1 < size; i += 2)
		sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static void put16(unsigned char *to, uint32_t value)
{
	to[0] = (unsigned char)(value >> 8);
	to[1] = (unsigned char)value;
}

static void header_v4(unsigned char *ip, uint32_t length, uint32_t first)
{
	uint32_t id = (uint32_t)ip[4] << 8 | ip[5];

	put16(ip + 2, length);
	put16(ip + 4, id + first);
	put16(ip + 10, 0);
	put16(ip + 10, ~sum_words(ip, (size_t)(ip[0] & 15) * 4, 0));
}

/* The kernel wants the pseudo header's sum in the checksum's place, and adds
 * the rest when the packet leaves for a wire. */
static void header_tcp(unsigned char *ip, const struct shape *shape, uint32_t length, uint32_t first,
	bool last)
{
	unsigned char *tcp = ip + shape->tcp;
	uint32_t sequence;

	memcpy(&sequence, tcp + 4, sizeof(sequence));
	sequence = htonl(ntohl(sequence) + first * shape->size);
	memcpy(tcp + 4, &sequence, sizeof(sequence));
	if (!last)
		tcp[13] &= (unsigned char)~(TH_FIN | TH_PUSH);
	if (first > 0)
		tcp[13] &= 0x7f; /* CWR goes with the first alone */
	put16(tcp + 16, sum_words(shape->v6 ? ip + 8 : ip + 12, shape->v6 ? 32 : 8,
		IPPROTO_TCP + length - shape->tcp));
}

struct packet *packet_cut(const struct packet *packet, const struct shape *shape, uint32_t first,
	uint32_t count)
{
	uint32_t from = first * shape->size, size = count * shape->size, length;
	bool last = first + count == shape->segments;
	struct virtio_net_hdr header;
	struct packet *piece;
	unsigned char *ip;

	if (last)
		size = shape->payload - from;
	length = shape->headers + size;
	piece = packet_get(VIRTIO + length);
	if (!piece)
		return NULL;
	piece->length = (uint32_t)VIRTIO + length;
	piece->segments = count;
	ip = piece->bytes + VIRTIO;
	memcpy(&header, packet->bytes, sizeof(header));
	if (count == 1) {
		header.gso_type = VIRTIO_NET_HDR_GSO_NONE;
		header.gso_size = 0;
	}
	memcpy(piece->bytes, &header, sizeof(header));
	memcpy(ip, packet->bytes + VIRTIO, shape->headers);
	memcpy(ip + shape->headers, packet->bytes + VIRTIO + shape->headers + from, size);
	if (shape->v6)
		put16(ip + 4, length - sizeof(struct ip6_hdr));
	else
		header_v4(ip, length, first);
	header_tcp(ip, shape, length, first, last);
	return piece;
}
