/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The frames of a trunk: many connections in one SSH channel, see dvpn-trunk(7).
 *
 * Both ends include this file: dvpnd on the near side, nc -T on the far side.
 * Pure: encodes and decodes, and owns no memory.
 *
 * A frame is a header of eight bytes and a payload.  Numbers are big-endian.
 *
 *     type (1)  flags (1)  payload length (2)  stream (4)
 *
 * A stream's number is its slot in the low 16 bits, and in the high ones a
 * generation, from 1, that changes each time the slot is used anew, so that a
 * late frame never meets another connection.  Stream 0 is the trunk itself.
 * Flags are zero and not looked at.  A frame of unknown type is skipped.
 */
#ifndef CHROOT_FRAME_H
#define CHROOT_FRAME_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FRAME_VERSION 1
#define FRAME_HEADER 8
/* A full frame fills one SSH packet of libssh2's, 32,700 bytes. */
#define FRAME_MAX 32700
#define FRAME_PAYLOAD (FRAME_MAX - FRAME_HEADER)
#define FRAME_TEXT_MAX 200
#define FRAME_SLOTS 65536
#define FRAME_CREDIT_MAX (1u << 30) /* outstanding at a time, for any stream */

enum frame_type {
	/* both, first of all: magic "dvpn", version (2), zero (2), streams that the
	 * sender takes at a time (4), credit that every stream towards it starts with
	 * (4), name of the sender's site, to the end */
	FRAME_HELLO = 1,
	/* near: see struct frame_open; early data follows, within the credit */
	FRAME_OPEN = 2,
	/* far: connected; credit (4) on top of the first */
	FRAME_OPENED = 3,
	/* far, in place of OPENED: class (1), zero (1), errno (2), text; the stream is gone */
	FRAME_FAILED = 4,
	/* both: bytes, at most the credit left; not after EOF */
	FRAME_DATA = 5,
	/* both: the other side may send so many more bytes (4) */
	FRAME_CREDIT = 6,
	/* both: no more data from this side; when both have said so the stream is gone */
	FRAME_EOF = 7,
	/* both: class (1), text; the stream is gone at once */
	FRAME_RESET = 8,
	/* both: answered by PONG with the same payload, up to 64 bytes */
	FRAME_PING = 9,
	FRAME_PONG = 10,
	/* both: no OPEN is taken any more; text; the streams there are go on */
	FRAME_GOAWAY = 11,
};

/* Of FAILED and RESET. */
enum frame_class {
	FRAME_REFUSED = 1,
	FRAME_UNREACHABLE = 2,
	FRAME_TIMED_OUT = 3,
	FRAME_DENIED = 4,
	FRAME_PEER_RESET = 5, /* the connection was reset by its far or near host */
	FRAME_FULL = 6,	      /* no slot, descriptor or memory left: try another trunk */
};

struct frame_header {
	uint8_t type;
	uint16_t length; /* of the payload */
	uint32_t stream;
};

/* Payload of HELLO before the name. */
#define FRAME_HELLO_SIZE 16
struct frame_hello {
	uint16_t version;
	uint32_t streams;
	uint32_t credit;
};

/* Payload of OPEN before the early data; addresses are 16 bytes, IPv4 first
 * and zeros behind; family 4 or 6. */
#define FRAME_OPEN_SIZE 44
struct frame_open {
	uint8_t family;
	uint8_t address[16];
	uint16_t port;
	uint32_t credit; /* that the far side may send at first */
	uint8_t client_family; /* for the far side's log */
	uint8_t client[16];
	uint16_t client_port;
};

static inline void frame_put_u16(uint8_t *to, uint16_t value)
{
	to[0] = (uint8_t)(value >> 8);
	to[1] = (uint8_t)value;
}

static inline void frame_put_u32(uint8_t *to, uint32_t value)
{
	frame_put_u16(to, (uint16_t)(value >> 16));
	frame_put_u16(to + 2, (uint16_t)value);
}

static inline uint16_t frame_get_u16(const uint8_t *from)
{
	return (uint16_t)(from[0] << 8 | from[1]);
}

static inline uint32_t frame_get_u32(const uint8_t *from)
{
	return (uint32_t)frame_get_u16(from) << 16 | frame_get_u16(from + 2);
}

static inline void frame_put_header(uint8_t to[FRAME_HEADER], enum frame_type type, size_t length,
				    uint32_t stream)
{
	to[0] = (uint8_t)type;
	to[1] = 0;
	frame_put_u16(to + 2, (uint16_t)length);
	frame_put_u32(to + 4, stream);
}

/* -1 where the length is more than a frame may have. */
static inline int frame_get_header(const uint8_t from[FRAME_HEADER], struct frame_header *header)
{
	header->type = from[0];
	header->length = frame_get_u16(from + 2);
	header->stream = frame_get_u32(from + 4);
	return header->length > FRAME_PAYLOAD ? -1 : 0;
}

static inline void frame_put_hello(uint8_t to[FRAME_HELLO_SIZE], const struct frame_hello *hello)
{
	memcpy(to, "dvpn", 4);
	frame_put_u16(to + 4, hello->version);
	frame_put_u16(to + 6, 0);
	frame_put_u32(to + 8, hello->streams);
	frame_put_u32(to + 12, hello->credit);
}

/* -1 where it is none. */
static inline int frame_get_hello(const uint8_t *from, size_t length, struct frame_hello *hello)
{
	if (length < FRAME_HELLO_SIZE || memcmp(from, "dvpn", 4) != 0)
		return -1;
	hello->version = frame_get_u16(from + 4);
	hello->streams = frame_get_u32(from + 8);
	hello->credit = frame_get_u32(from + 12);
	return 0;
}

static inline void frame_put_open(uint8_t to[FRAME_OPEN_SIZE], const struct frame_open *open)
{
	to[0] = open->family;
	to[1] = open->client_family;
	frame_put_u16(to + 2, open->port);
	memcpy(to + 4, open->address, 16);
	frame_put_u32(to + 20, open->credit);
	memcpy(to + 24, open->client, 16);
	frame_put_u16(to + 40, open->client_port);
	frame_put_u16(to + 42, 0);
}

/* -1 where it is too short or of no known family. */
static inline int frame_get_open(const uint8_t *from, size_t length, struct frame_open *open)
{
	if (length < FRAME_OPEN_SIZE || (from[0] != 4 && from[0] != 6))
		return -1;
	open->family = from[0];
	open->client_family = from[1];
	open->port = frame_get_u16(from + 2);
	memcpy(open->address, from + 4, 16);
	open->credit = frame_get_u32(from + 20);
	memcpy(open->client, from + 24, 16);
	open->client_port = frame_get_u16(from + 40);
	return 0;
}

#endif
