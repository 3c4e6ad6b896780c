/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Trunks: many streams in one SSH channel, with our netcat at the far end.
 *
 * A trunk runs `NETCAT -T 1` in a session channel of a link and speaks the
 * frames of dvpn-trunk(7) with it.  Each stream has credit of its own in each
 * direction, so that one stalled client holds up nobody else.  A netcat that
 * knows no trunk ends without a HELLO: the gateway remembers it, and its flows
 * go one channel each.
 */
#ifndef DVPND_CARRY_TRUNK_H
#define DVPND_CARRY_TRUNK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "carry/stream.h"
#include "map/addr.h"

struct link;

/* A stream in one of the link's trunks; starts a trunk where there is none, or
 * none with room.  NULL where memory is out. */
struct stream *trunk_open(struct link *link, const struct addr *dest, uint16_t port,
			  const struct addr *client, uint16_t client_port);

/* Whether trunk_open could find a place on the link. */
bool trunks_room(const struct link *link);

/* ---- for the link ---- */

/* Whether any stream is in any trunk of the link. */
bool trunks_busy(const struct link *link);
unsigned trunks_streams(const struct link *link);
/* Sends what waits, as far as the channels take it. */
void trunks_step(struct link *link);
/* Measures the round trips. */
void trunks_ping(struct link *link);
/* Ends trunks that carry nothing: the link drains. */
void trunks_close(struct link *link);

#endif
