/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What trunk.c and trunk_frames.c share; nobody else includes it. */
#ifndef DVPND_CARRY_TRUNK_PRIVATE_H
#define DVPND_CARRY_TRUNK_PRIVATE_H

#include <ev.h>

#include "carry/link.h"
#include "carry/queue.h"
#include "carry/trunk.h"
#include "chroot/frame.h"

/* Credit of a stream towards us: to start with, and at most. */
#define TRUNK_CREDIT (256u * 1024)
#define TRUNK_CREDIT_MAX (16u * 1024 * 1024)
/* Below this a round trip is mostly the two sshds' and our own turns. */
#define TRUNK_ROUND_TRIP_MIN 0.002
/* Seconds of arriving data that are granted besides: so long a far side may have to
 * wait for its turn. */
#define TRUNK_TURN 0.005
/* Control frames are this long at most; more is skipped over. */
#define TRUNK_CONTROL_MAX 512

enum trunk_state {
	TRUNK_STARTING, /* until the far HELLO */
	TRUNK_UP,
	TRUNK_LEAVING, /* the far side takes no more streams */
	TRUNK_DEAD,    /* waits for trunk_finish */
};

struct trunk_stream {
	struct stream stream; /* first */
	TAILQ_ENTRY(trunk_stream) entry, of_blocked, of_woken;
	struct trunk *trunk; /* NULL once it is out of the tables */
	uint32_t id;	     /* 0: not asked for yet */
	struct queue in;     /* received, not read by the owner yet */
	uint32_t may_send, may_receive;
	uint32_t target;   /* what may_receive is kept at */
	double epoch_start;	/* of measuring what the path holds */
	uint64_t epoch_bytes;
	bool settled; /* the credit has met what the path holds */
	bool owned;
	bool blocked;	/* in trunk->blocked */
	bool woken;	/* in the list of those that a read has given something */
	bool ended;	/* EOF was sent */
	bool far_ended; /* EOF was received */
	struct frame_open open;
};
TAILQ_HEAD(trunk_stream_list, trunk_stream);

struct trunk_slot {
	struct trunk_stream *stream;
	uint32_t next_free; /* number + 1; 0: none */
	uint16_t generation;
};

struct trunk {
	TAILQ_ENTRY(trunk) entry;
	struct link *link; /* NULL when the link went first */
	struct worker *worker;
	struct stream *carrier; /* the channel */
	enum trunk_state state;
	bool had_hello;	  /* once dead: it was up before */
	bool window_full; /* sshd's window, not the link, has held it up */
	char reason[200];
	struct ev_timer hello;
	unsigned silent;   /* PINGs sent since the last PONG */
	double full_until; /* the far side had no room: no streams before */
	bool pong_due;
	uint8_t pong[64];
	size_t pong_size;
	double round_trip; /* least seen, seconds; 0: none yet */

	struct trunk_stream_list streams, blocked;
	unsigned stream_count;
	struct trunk_slot *slots;
	uint32_t slot_count, free_slot; /* free_slot: number + 1; 0: none */
	uint32_t far_streams, far_credit;
	struct queue out; /* frames that the carrier has not taken yet */

	/* the frame that is being read */
	uint8_t head[FRAME_HEADER];
	size_t head_size;
	struct frame_header frame;
	size_t left; /* of its payload */
	uint8_t control[TRUNK_CONTROL_MAX + 1];
	size_t control_size;
};

/* trunk.c */
struct trunk_stream *trunk_find(const struct trunk *trunk, uint32_t id);
void trunk_slot_free(struct trunk *trunk, uint32_t id);
void trunk_stream_wake(struct trunk_stream *stream);
void trunk_stream_fail(struct trunk_stream *stream, enum stream_outcome outcome,
		       const char *format, ...) LOG_PRINTF(3, 4);
void trunk_stream_detach(struct trunk_stream *stream);
void trunk_send(struct trunk *trunk, enum frame_type type, uint32_t id, const void *payload,
		size_t length);
void trunk_up(struct trunk *trunk);
void trunk_ping(struct trunk *trunk);
uint64_t trunk_clock(void); /* microseconds, monotonic */
void trunk_fail(struct trunk *trunk, const char *format, ...) LOG_PRINTF(2, 3);
void trunk_no_hello(struct trunk *trunk, const char *why);

/* A trunk over a stream that will run its far end; takes the stream over, and
 * NULL for it.  NULL where memory is out. */
struct trunk *trunk_start_on(struct link *link, struct stream *carrier);

/* trunk_frames.c: reads all that the carrier has, and wakes who got something. */
void trunk_read(struct trunk *trunk);
/* The same for bytes from anywhere, in any pieces.  The streams that got
 * something are put on the list. */
void trunk_feed(struct trunk *trunk, const uint8_t *data, size_t size,
		struct trunk_stream_list *woken);
void trunk_wake_all(struct trunk_stream_list *woken);

#endif
