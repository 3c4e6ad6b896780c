/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a netcat says on stderr: the connect result, and how it ended.
 *
 * Ours says so in a form of its own, OpenBSD's in words; anything else is kept
 * as the reason for a failure that the exit status shows.  Pure: bytes in,
 * decisions out.
 */
#ifndef DVPND_CARRY_NCREPLY_H
#define DVPND_CARRY_NCREPLY_H

#include <stdbool.h>
#include <stddef.h>

#include "carry/stream.h"

struct ncreply {
	enum stream_outcome outcome; /* STREAM_PENDING until a line told it */
	bool ours;		     /* it is our own netcat: it also tells the end */
	bool ended;		     /* ours: the far host has ended its side cleanly */
	bool reset;		     /* ours: the far host has reset the connection */
	char text[160];		     /* the line with the result, or the last one; printable */
	/* private */
	char line[256];
	size_t length;
};

/* Feeds bytes of stderr; lines may come in pieces. */
void ncreply_feed(struct ncreply *reply, const void *data, size_t size);
/* stderr has ended: a last line without newline counts. */
void ncreply_finish(struct ncreply *reply);

#endif
