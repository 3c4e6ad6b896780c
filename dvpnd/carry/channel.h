/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Channels: streams that are an SSH channel each.
 *
 * channel.c opens them one after the other, as libssh2 must, moves bytes and
 * ends them; the kinds differ in what is asked of the far side and in how its
 * answers are read: netcat.c runs a netcat in a session channel, direct.c asks
 * sshd for a direct-tcpip channel.
 */
#ifndef DVPND_CARRY_CHANNEL_H
#define DVPND_CARRY_CHANNEL_H

#include <libssh2.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "carry/link.h"
#include "carry/ncreply.h"
#include "carry/stream.h"

enum channel_state {
	CHANNEL_WAITING,  /* in link->opening, for its turn */
	CHANNEL_OPENING,  /* in link->opening, first: the open is in flight */
	CHANNEL_SPARE,	  /* open, for the next connection; has no owner */
	CHANNEL_STARTING, /* open; the kind's own request is in flight */
	CHANNEL_RUNNING,
	CHANNEL_FAILED,  /* has no SSH channel; waits for its owner to close it */
	CHANNEL_CLOSING, /* has no owner; waits for the far side's close */
};

struct channel;

#define CHANNEL_READ_MAX 65536

struct channel_kind {
	const char *type; /* of SSH's channel open */
	/* After the open: 1 started, 0 in flight, -1 failed (channel_fail was called). */
	int (*start)(struct channel *channel);
	/* The open was refused, with libssh2's words for it: calls channel_fail. */
	void (*refused)(struct channel *channel, const char *error);
	/* Looks at what came in beside the data: may call channel_connected or
	 * channel_fail.  May be NULL. */
	void (*poll)(struct channel *channel);
	/* All data has been read and the far side has ended it: 1 a clean end, 0
	 * not known yet, -1 broken (channel_fail was called). */
	int (*end)(struct channel *channel);
};

struct channel {
	struct stream stream;
	TAILQ_ENTRY(channel) entry;
	struct link *link; /* NULL once the link is gone */
	const struct channel_kind *kind;
	enum channel_state state;
	LIBSSH2_CHANNEL *ssh;
	bool owned;	   /* a flow, or a trunk, holds the stream */
	bool spare;	   /* opened ahead, nobody has asked for it yet */
	bool carrier;	   /* a trunk: no reason to keep the link */
	bool changed;	   /* the owner has to be woken */
	bool read_ended;   /* a clean end was handed to the owner */
	bool write_ended;  /* EOF was sent */
	double opening_since; /* ev_now */
	uint32_t adjust;      /* a window adjustment that libssh2 could not send yet */
	char *request;	   /* the kind's: command line, or body of the open message */
	size_t request_size;
	struct ncreply *reply; /* netcat only */
	bool plain;	       /* netcat only: run without options */
};

/* Queues a channel of the settings' kind on a link that is up.  NULL where
 * memory is out. */
struct stream *channel_open(struct link *link, const struct addr *dest, uint16_t port,
			    const struct addr *client, uint16_t client_port);

/* Queues a channel that is to run the far end of a trunk. */
struct stream *channel_open_trunk(struct link *link);

/* ---- for the kinds ---- */

extern const struct channel_kind channel_netcat, channel_direct, channel_trunk;
/* Build channel->request.  -1 where memory is out. */
int netcat_prepare(struct channel *channel, const struct addr *dest, uint16_t port);
int netcat_prepare_trunk(struct channel *channel);
int direct_prepare(struct channel *channel, const struct addr *dest, uint16_t port,
		   const struct addr *client, uint16_t client_port);

void channel_connected(struct channel *channel);
void channel_fail(struct channel *channel, enum stream_outcome outcome, const char *format, ...)
	LOG_PRINTF(3, 4);
/* As libssh2_channel_read_ex, at most CHANNEL_READ_MAX bytes, with the window
 * topped up by us. */
ssize_t channel_take(struct channel *channel, int stream_id, void *buffer, size_t size);
/* Whether the far side has closed the channel, all its data read. */
bool channel_closed(const struct channel *channel);

/* ---- for the link ---- */

/* Any SSH channel of the link, or NULL. */
LIBSSH2_CHANNEL *channels_any(const struct link *link);
/* Channels that are or will be in use: all but spare ones. */
unsigned channels_used(const struct link *link);
/* Channels that have not been opened yet. */
unsigned channels_opening(const struct link *link);
/* How many SSH channels the far sshd holds for the link. */
unsigned channels_open(const struct link *link);
/* What libssh2 may have to queue for the link's channels at most. */
size_t channels_memory(const struct link *link);
/* Whether any stream is still held by a flow. */
bool channels_busy(const struct link *link);
/* Opens, starts and closes what waits for that; the gate is shut. */
void channels_step(struct link *link);
/* Whether the first open has been waiting for its answer for long. */
bool channels_stuck(const struct link *link);
/* The far side has closed the connection: fails what can come to nothing more. */
void channels_ended(struct link *link);
/* Lets every flow look at its stream. */
void channels_wake(struct link *link);
/* The link is gone: fails all streams. */
void channels_free(struct link *link);

#endif
