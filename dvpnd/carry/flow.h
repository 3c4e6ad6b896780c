/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A flow: one client connection, spliced to one stream.
 *
 * It waits for a link, opens a stream, moves bytes both ways, each way with an
 * end of its own, and closes with one line in the log.  Each direction holds at
 * most one chunk: what the sink does not take stops the reading of the source.
 */
#ifndef DVPND_CARRY_FLOW_H
#define DVPND_CARRY_FLOW_H

#include <ev.h>
#include <sys/queue.h>

#include "carry/carry.h"
#include "carry/queue.h"
#include "carry/stream.h"

struct gateway;
struct link;
struct worker;

enum flow_state {
	FLOW_WAITING, /* for a link */
	FLOW_OPENING, /* has a stream that is not connected yet */
	FLOW_CONNECTED,
};

enum half_state {
	HALF_FLOWING,
	HALF_ENDING, /* the source has ended; the sink hasn't been told yet */
	HALF_DONE,
};

/* One direction. */
struct half {
	enum half_state state;
	struct queue queue;
	uint64_t bytes; /* that the sink has taken */
};

struct flow {
	TAILQ_ENTRY(flow) of_worker, of_gateway;
	struct worker *worker;
	struct gateway *gateway; /* the candidate being tried; NULL between two */
	struct stream *stream;	 /* NULL: none yet, or done with */
	unsigned link_id;
	enum flow_state state;
	struct routes *routes; /* a reference, for the route */
	const struct route *route;
	unsigned candidate; /* index into the route's */
	struct addr client, dest;
	uint16_t client_port, port;
	int fd;
	struct ev_io readable, writable;
	bool client_ready; /* its watcher has said so, and not all was read since */
	struct ev_timer deadline; /* of waiting and opening */
	struct half up, down;	  /* client to far host, and back */
	struct queue early;	  /* sent before the far host had accepted: kept for another try */
	unsigned tries;		  /* streams that came to nothing */
	double started;		  /* ev_now */
	char trouble[256];	  /* why the candidates before this one failed */
};

/* Takes over the request's socket and a reference to the snapshot.  Never fails
 * visibly: a flow that can't be had resets its client. */
void flow_start(struct worker *worker, const struct flow_request *request, struct routes *routes);

/* A link has room: opens the stream there. */
void flow_attach(struct flow *flow, struct link *link);
/* The gateway can't be reached: the next candidate, or the end. */
void flow_gateway_failed(struct flow *flow);
/* The client's socket has an error or is shut both ways. */
void flow_client_broke(void *flow);
/* Ends it with a reset: the daemon stops. */
void flow_abort(struct flow *flow, const char *why);

const char *flow_state_name(enum flow_state state);

#endif
