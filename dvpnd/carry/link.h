/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A link: one TCP connection with one SSH session to a gateway's sshd.
 *
 * It finds an address, connects, checks the host key, logs in, then carries
 * channels until it is idle, drained or broken.  A link and all on it live in
 * one worker's thread.  link.c holds its life, session.c all that is libssh2's
 * transport, channel.c the channels.
 *
 * Nothing is freed within a call: whatever happens marks the link and puts it
 * on the worker's list of touched links, and link_settle does the rest before
 * the loop sleeps.
 */
#ifndef DVPND_CARRY_LINK_H
#define DVPND_CARRY_LINK_H

#include <ev.h>
#include <stdint.h>
#include <sys/queue.h>

#include "carry/queue.h"
#include "carry/resolve.h"
#include "carry/settings.h"

struct channel;
struct stream;
struct trunk;
struct gateway;
struct worker;

/* A stream takes no more bytes while the link has this many to send. */
#define LINK_OUT_HIGH (256 * 1024)

enum link_state {
	LINK_RESOLVING,
	LINK_CONNECTING, /* TCP */
	LINK_HANDSHAKE,
	LINK_LOGIN,
	LINK_UP,
	LINK_DEAD, /* waits for link_settle to free it */
};

TAILQ_HEAD(channel_list, channel);
TAILQ_HEAD(trunk_list, trunk);

struct link {
	TAILQ_ENTRY(link) of_gateway;
	TAILQ_ENTRY(link) of_touched;
	struct gateway *gateway;
	struct worker *worker;
	struct settings *settings; /* a reference */
	unsigned id;
	enum link_state state;
	bool touched;
	bool draining; /* takes no new streams; closes when the last is gone */
	enum link_state died_in; /* once dead: the state before */
	double started; /* ev_now */
	double connect_started, round_trip; /* of the TCP connect, in seconds */
	char reason[256]; /* why it died; "" when we closed it */

	/* the way to the endpoint */
	unsigned endpoint; /* index into settings */
	struct addr addresses[RESOLVE_MAX];
	size_t address_count, address_next;
	struct resolve_query *query;
	struct ev_timer deadline; /* of connecting and logging in; later: idle */
	struct ev_timer attempt;  /* of one address while others are left; later: a pause */
	struct ev_timer keepalive;

	/* the socket */
	int fd; /* -1: none */
	struct ev_io readable, writable;
	struct queue in, out;
	bool ended; /* the peer has closed: what is queued is read, nothing follows */
	uint64_t bytes_in, bytes_out;

	/* the session */
	struct _LIBSSH2_SESSION *ssh;
	bool gate;    /* the RECV callback may hand out bytes */
	bool starved; /* RECV was asked for more than there was */
	char ciphers[96];
	LIST_HEAD(, block) blocks; /* of memory, that libssh2 holds */
	size_t memory;		   /* bytes in them */

	/* channels: waiting to be opened, in their order, and all others */
	struct channel_list opening, channels;
	struct trunk_list trunks;
	unsigned channel_count; /* both lists; closing ones too: the far side still has them */
	struct _LIBSSH2_CHANNEL *anchor; /* a closed channel, kept to drain an idle session with */
	bool served;	   /* the far gateway has answered an open on it */
	bool writers_wait; /* a stream was told EAGAIN for the length of the out queue */
};

/* Starts towards one endpoint of the settings.  NULL where memory is out. */
struct link *link_start(struct gateway *gateway, struct settings *settings, unsigned endpoint);

/* The session is ready for channels: for session.c. */
void link_up(struct link *link);

/* Room for another stream. */
bool link_has_room(const struct link *link);
/* A stream of the kind that suits the gateway.  NULL where memory is out. */
struct stream *link_open(struct link *link, const struct addr *dest, uint16_t port,
			 const struct addr *client, uint16_t client_port);

/* No new streams for a moment. */
void link_pause(struct link *link);

/* No new streams from now on; ends with the last one. */
void link_drain(struct link *link);

/* Ends the link and fails its streams.  The gateway hears of it when the link
 * settles.  `format` NULL: at our own wish. */
void link_fail(struct link *link, const char *format, ...) LOG_PRINTF(2, 3);

/* To be looked at before the loop sleeps. */
void link_touch(struct link *link);
/* Sends, steps what waits, frees a dead link: for the worker's prepare watcher. */
void link_settle(struct link *link);

/* Frees at once, without a word to the gateway: for a worker that stops. */
void link_free(struct link *link);

const char *link_state_name(enum link_state state);
/* "friday: link 3" for the beginning of a log line. */
const char *link_name(const struct link *link, char text[96]);
const char *link_endpoint(const struct link *link, char *text, size_t size);

/* ---- session.c ---- */

/* The TCP connection is there: starts the handshake.  Marks the link dead where
 * it can't. */
void session_start(struct link *link);
/* The socket has been read into link->in: lets libssh2 have it. */
void session_pump(struct link *link);
void session_keepalive(struct link *link);
/* Says goodbye where that is possible; frees. */
void session_free(struct link *link);
/* The text of libssh2's last error. */
const char *session_error(struct link *link);

#endif
