/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One direction of the wire: decides each packet's fate when it enters, and
 * keeps it until it is due.  No I/O but the write into the far device.
 *
 * Packets leave in the order in which they came, whatever the jitter, except the
 * ones that reorder picks: those are held a quarter of the delay longer, and at
 * least a millisecond.  A rate is a queue in front of the wire: what would have to
 * wait longer than `queue` is dropped.  Cutting the wire loses what is on it, and
 * what comes until it is up again; neither end is told.
 */
#ifndef TESTS_NET_WIRE_DIRECTION_H
#define TESTS_NET_WIRE_DIRECTION_H

#include <stdint.h>

#include "packet.h"
#include "settings.h"

/* All in packets as they would be on a wire, but bytes. */
struct counters {
	uint64_t entered, delivered, bytes; /* bytes of what was delivered */
	uint64_t lost, queue_full, cut, held;
	uint64_t overrun; /* no buffer left, or the far device refused: our own fault */
	uint64_t late_total, late_most, late_count; /* ns after due, per write */
};

struct direction {
	int to; /* TUN device */
	struct settings settings;
	struct counters counters;
	/* private: */
	struct packet **heap; /* by due, then order */
	uint32_t count, room;
	uint64_t random, order, wire_free, last_due;
};

/* Exits when there is no memory. */
void direction_init(struct direction *direction, int to, uint64_t seed);

/* Takes the settings over; a cut throws away what is on the wire. */
void direction_set(struct direction *direction, const struct settings *settings);

/* A packet enters at `now`; its length is set, the rest is found out here. */
void direction_take(struct direction *direction, struct packet *packet, uint64_t now);

/* Writes what is due. */
void direction_deliver(struct direction *direction, uint64_t now);

/* When the next packet is due; UINT64_MAX: none is on the wire. */
uint64_t direction_next(const struct direction *direction);

#endif
