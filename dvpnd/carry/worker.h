/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A worker: a thread with a loop of its own, which owns gateways, links and
 * flows.  Nothing of it is touched from outside; main sends messages.
 *
 * Links and gateways that something happened to are put on lists, and settled
 * before the loop sleeps: that is where bytes are sent, flows are given to
 * links, and dead things are freed.
 */
#ifndef DVPND_CARRY_WORKER_H
#define DVPND_CARRY_WORKER_H

#include <ev.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "carry/carry.h"
#include "carry/flow.h"
#include "carry/gateway.h"
#include "carry/hangup.h"
#include "carry/identity.h"
#include "carry/link.h"

struct worker_report;

/* All sockets of dvpnd's own carry this mark (SO_MARK), so that no rule captures
 * or rejects them: see dvpn-rules(8). */
#define SOCKET_MARK 0x6476

enum message_kind { MESSAGE_FLOW, MESSAGE_UPDATE, MESSAGE_REPORT, MESSAGE_STOP };

/* One message to a worker; freed by it, but for MESSAGE_STOP. */
struct message {
	struct message *next;
	enum message_kind kind;
	struct flow_request request;
	struct conf *conf;	   /* MESSAGE_UPDATE: references, handed over */
	struct routes *routes;	   /* and the one that MESSAGE_FLOW's route is in */
	struct identity *identity;
	struct worker_report *report; /* MESSAGE_REPORT */
};

TAILQ_HEAD(gateway_list, gateway);

#define WORKER_BUFFER 65536

struct worker {
	unsigned number;
	bool stopped;
	pthread_t thread;
	struct ev_loop *loop;
	struct ev_async mail;
	struct ev_prepare settle;
	struct ev_idle more; /* keeps the loop from sleeping while something is touched */
	pthread_mutex_t lock; /* of the inbox */
	struct message *inbox, **inbox_tail;
	struct message farewell; /* MESSAGE_STOP must not fail for want of memory */

	struct conf *conf;
	struct routes *routes;
	struct identity *identity;
	struct resolver *resolver;
	struct queue_pool pool;
	uint8_t buffer[WORKER_BUFFER]; /* for what is taken apart at once */

	struct gateway_list gateways, touched_gateways;
	struct link_list touched;
	struct flow_list flows;
	struct hangup hangup; /* of flows' clients */
	void *gateways_by_name; /* tsearch(3) */
	unsigned last_link_id;

	atomic_uint *flow_count; /* of the daemon: main counts up, workers down */
	uint64_t flows_ok, flows_failed, bytes_up, bytes_down;
};

/* Takes references of its own.  -1 and a log line where it can't start. */
int worker_start(struct worker *worker, unsigned number, struct conf *conf,
		 struct routes *routes, struct identity *identity, atomic_uint *flow_count);
/* Hands a message over; it belongs to the worker from then on. */
void worker_send(struct worker *worker, struct message *message);
/* Ends all flows and links, waits for the thread, frees what it had.  Ask all
 * workers to stop before the first is joined. */
void worker_stop(struct worker *worker);
void worker_join(struct worker *worker);

/* ---- within the thread ---- */

/* The gateway of a site, made when there is none.  NULL where memory is out. */
struct gateway *worker_gateway(struct worker *worker, const struct site *site);
void worker_touch(struct worker *worker, struct gateway *gateway);
void worker_flow_ended(struct worker *worker, bool failed, uint64_t up, uint64_t down);

/* report.c: adds what this worker has, then passes the report on. */
void worker_fill_report(struct worker *worker, struct worker_report *report);

#endif
