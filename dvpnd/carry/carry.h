/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Carrying: the worker threads, their links and flows, as main sees them.
 *
 * main hands over an accepted socket with the route it looked up; a worker
 * carries it and closes it.  All functions are for the main thread.
 */
#ifndef DVPND_CARRY_CARRY_H
#define DVPND_CARRY_CARRY_H

#include <ev.h>

#include "conf.h"
#include "map/routes.h"

struct carry;

/* An accepted connection that wants to go to dest:port. */
struct flow_request {
	int fd; /* non-blocking; owned by carry from here on */
	struct addr client;
	uint16_t client_port;
	struct addr dest;
	uint16_t port;
	const struct route *route; /* in the snapshot given last to carry_start or carry_update */
};

/* Starts the workers; takes references of its own.  NULL where threads or the
 * site's key can't be had, with a line in the log that says why. */
struct carry *carry_start(struct ev_loop *main_loop, struct conf *conf, struct routes *routes);

void carry_flow(struct carry *carry, const struct flow_request *request);

/* New settings and map: flows live on, links of sites that are gone finish
 * what they carry.  -1 and a log line where the new key can't be read: then
 * nothing has changed. */
int carry_update(struct carry *carry, struct conf *conf, struct routes *routes);

/* Flows at work now, waiting ones included.  Cheap. */
unsigned carry_flow_count(const struct carry *carry);

/* Ends every flow and link, joins the threads, frees all. */
void carry_stop(struct carry *carry);

/* ---- what an operator may see ---- */

struct gateway_report {
	char name[64];
	unsigned worker;
	unsigned links_up, links_connecting;
	unsigned flows, waiting;
	unsigned channel_cap; /* per link: configured, or learned from a refusal */
	uint64_t bytes_up, bytes_down;
	char last_error[256]; /* "" where the last attempt worked */
	double last_error_age; /* seconds */
};

struct link_report {
	char gateway[64];
	unsigned worker, id;
	char state[16];	    /* resolving connecting handshake login up draining */
	char endpoint[128]; /* host:port */
	char address[ADDR_PORT_TEXT_SIZE];
	char ciphers[96]; /* "aes128-ctr hmac-sha2-256", "" before the handshake */
	unsigned channels;
	uint64_t bytes_up, bytes_down; /* SSH bytes on the wire */
	double age;		       /* seconds */
};

struct flow_report {
	char gateway[64];
	unsigned worker, link; /* link id; 0 while waiting */
	char state[16];	       /* waiting opening connected */
	char client[ADDR_PORT_TEXT_SIZE];
	char dest[ADDR_PORT_TEXT_SIZE];
	uint64_t bytes_up, bytes_down;
	double age; /* seconds */
};

struct carry_report {
	struct gateway_report *gateways;
	struct link_report *links;
	struct flow_report *flows;
	size_t gateway_count, link_count, flow_count;
	/* since start */
	uint64_t flows_started, flows_ok, flows_failed;
	uint64_t bytes_up, bytes_down;
};

/* Asks every worker; `done` is called later in the main thread, once, and the
 * report is freed after it returns. */
typedef void carry_report_done(const struct carry_report *report, void *arg);
void carry_report(struct carry *carry, carry_report_done *done, void *arg);

#endif
