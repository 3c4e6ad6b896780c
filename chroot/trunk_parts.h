/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of the trunk's far side, and what they share.
 *
 *	near side -- in --> trunk_in.c --> trunk_stream.c <--> servers
 *	near side <- out -- trunk_out.c <-------'
 *
 * trunk.c owns the loop and the clock, trunk_table.c the streams' places.
 * Rules that hold in all of them:
 * - one thread; nothing is allocated after the start, and nothing waits but the
 *   one epoll_wait;
 * - every descriptor is watched edge-triggered from its first to its last day, so
 *   what epoll said is kept in flags here until a call came back short;
 * - a server sees a clean end only where the near side said EOF, and the near
 *   side EOF only where the server ended cleanly, after every byte before it.
 */
#ifndef CHROOT_TRUNK_PARTS_H
#define CHROOT_TRUNK_PARTS_H

#include <stdbool.h>
#include <sys/epoll.h>

#include "frame.h"
#include "trunk.h"
#include "trunk_pool.h"

#define TRUNK_STREAMS 16384
/* Places for streams that are over for the near side, while a server still takes
 * its last bytes: one for so many streams. */
#define TRUNK_PER_LINGERING 8
#define TRUNK_CREDIT POOL_BLOCK
#define TRUNK_WINDOW (256u << 10)
#define TRUNK_WINDOW_MAX (16u << 20)
#define TRUNK_POOL (256u << 20) /* beyond one block for each stream */

#define TRUNK_IN_SIZE (128u << 10)
/* The least of a notice's, and of GOAWAY's, that is always left. */
#define TRUNK_NOTICE_ROOM 512
#define TRUNK_OUT_SIZE (4 * FRAME_MAX + 3 * TRUNK_NOTICE_ROOM)
#define TRUNK_PING_MAX 64
#define TRUNK_SECOND 1000000u /* of the trunk's clock */

enum stream_state {
	STREAM_FREE,
	STREAM_CONNECTING,
	STREAM_OPEN,
	STREAM_LINGERING, /* both sides said EOF; the server has not taken all yet */
	STREAM_FINISHED,  /* no server any more; a notice is left to be sent */
};

/* What the near side is still to be told of a stream, in this order. */
enum stream_notice {
	NOTICE_OPENED = 1,
	NOTICE_FAILED = 2,
	NOTICE_CREDIT = 4,
	NOTICE_EOF = 8,
	NOTICE_RESET = 16,
};

enum trunk_list {
	LIST_NONE,
	LIST_NOTICES,
	LIST_URGENT, /* readable, credit there: new streams and quiet ones */
	LIST_BULK,
	LIST_CONNECTING, /* these two by deadline */
	LIST_LINGERING,
	LISTS,
};

/* A stream is on at most one list of each kind. */
enum list_kind { KIND_NOTICES, KIND_READING, KIND_DEADLINE, LIST_KINDS };

struct link {
	uint16_t previous, next; /* of a list: last and first; 0 is none */
};

struct stream {
	uint32_t id; /* the near side's */
	int fd;
	uint8_t state;		   /* enum stream_state */
	uint8_t notices;	   /* enum stream_notice */
	uint8_t class;		   /* enum frame_class, of FAILED or RESET */
	uint8_t lists[LIST_KINDS]; /* enum trunk_list */
	struct link links[LIST_KINDS];
	bool readable;	  /* as far as we know */
	bool hung_up;	  /* reading goes on to the end, however short it comes */
	bool broken;	  /* writing failed: what looks like the server's end is none */
	bool down_ended;  /* the server's end was read */
	bool up_ending;	  /* the near side said EOF */
	bool up_ended;	  /* and the server was told */
	int error;	  /* errno, of FAILED or RESET */
	const char *text; /* static; NULL: what `error` says */
	struct queue queue;
	uint32_t window;	/* bytes that may be under way to the server or queued */
	uint32_t up_credit;	/* of them, what the near side may still send */
	uint32_t down_credit;	/* that we may still send */
	uint32_t filled;	/* bytes that came since filling_since */
	uint32_t filling_since; /* us, wraps */
	uint32_t last_read;
	uint64_t up, down;	  /* bytes, in all */
	uint64_t begin, deadline; /* us */
	struct frame_open open;
};

struct trunk {
	int in, out, epoll;
	enum trunk_status status;
	const char *reason; /* static; why it breaks */
	uint64_t now;	    /* us, as of the last wait */
	bool in_ready, in_hung_up, in_ended, out_blocked, out_broken;
	bool greeted; /* the near side's HELLO came */
	bool pong_due, ping_out;
	uint8_t pong[TRUNK_PING_MAX];
	size_t pong_length;
	uint64_t ping_sent;
	uint64_t round_trip; /* us, smoothed downwards at once and upwards slowly */
	struct pool pool;
	/* The table; streams[0] is no stream. */
	uint32_t most, places; /* streams at a time, with and without lingering ones */
	uint32_t mapped, fresh;
	uint16_t unused;
	struct stream *streams;
	struct link lists[LISTS];
	size_t in_end, out_end;
	uint16_t map[FRAME_SLOTS]; /* from slots to places; this and what follows begins as it is */
	uint8_t in_data[TRUNK_IN_SIZE];
	uint8_t out_data[TRUNK_OUT_SIZE];
};

/* trunk.c.  Always -1: the near side broke the rules; reason is static. */
int trunk_break(struct trunk *trunk, const char *reason);

/* trunk_table.c */
int table_start(struct trunk *trunk, uint32_t descriptors);
void table_stop(struct trunk *trunk);
/* The stream of that id, or NULL where there is none, or a later one. */
struct stream *table_find(struct trunk *trunk, uint32_t id);
/* A free place that the near side knows by `id`, or NULL; all zero otherwise. */
struct stream *table_take(struct trunk *trunk, uint32_t id);
/* The near side may use the slot anew; the place stays. */
void table_unmap(struct trunk *trunk, struct stream *stream);
void table_give(struct trunk *trunk, struct stream *stream);
uint16_t table_index(const struct trunk *trunk, const struct stream *stream);
/* At the end of the list, and off the one of its kind that it is on. */
void list_add(struct trunk *trunk, enum trunk_list list, struct stream *stream);
void list_remove(struct trunk *trunk, enum list_kind kind, struct stream *stream);
struct stream *list_first(struct trunk *trunk, enum trunk_list list);

/* trunk_in.c */
/* Reads once, and does what the frames say; -1: it broke. */
int in_read(struct trunk *trunk);

/* trunk_out.c */
/* A frame's payload, to be filled in; there must be room. */
uint8_t *out_frame(struct trunk *trunk, enum frame_type type, uint32_t stream, size_t length);
/* Where the payload of the next frame will be, for whoever reads into it. */
uint8_t *out_payload(struct trunk *trunk);
bool out_has_room(const struct trunk *trunk, size_t size);
/* Notices first, then what servers sent, as far as there is room. */
void out_fill(struct trunk *trunk);
/* One write; notes a blocked or broken output. */
void out_write(struct trunk *trunk);

/* trunk_open.c */
int stream_open(struct trunk *trunk, uint32_t id, const struct frame_open *open,
		const uint8_t *early, size_t length);

/* trunk_stream.c */
/* FAILED before it began: denied, where there is a text, or for that errno. */
void stream_refuse(struct trunk *trunk, struct stream *stream, int error, const char *text);
int stream_take_data(struct trunk *trunk, struct stream *stream, const uint8_t *data,
		     size_t length);
int stream_take_credit(struct trunk *trunk, struct stream *stream, uint32_t credit);
int stream_take_eof(struct trunk *trunk, struct stream *stream);
/* The near side's RESET, or its going away: the server sees a reset. */
void stream_abort(struct trunk *trunk, struct stream *stream);
void stream_event(struct trunk *trunk, struct stream *stream, uint32_t events);
/* One read from the server, into the output. */
void stream_read(struct trunk *trunk, struct stream *stream);
/* Credit that the window has room for; it counts as given. */
uint32_t stream_grant(struct stream *stream);
/* After its notices went out. */
void stream_settle(struct trunk *trunk, struct stream *stream);
/* Ends what has waited too long.  Milliseconds until the next does, or -1. */
int stream_expire(struct trunk *trunk);

/* trunk_audit.c */
void audit_start(void);
/* One line for a stream that ends; never waits. */
void audit_stream(const struct trunk *trunk, const struct stream *stream, const char *result);
void audit_stop(void);

#endif
