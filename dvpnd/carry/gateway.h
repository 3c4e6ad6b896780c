/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A gateway, as one worker sees it: its links, the flows that wait for one, and
 * what was learned about it.
 *
 * Flows are given to links that have room; as many links are started as the
 * waiting flows need, few at a time.  Where all endpoints fail, waiting flows
 * are handed back, and new ones are turned away at once for a few seconds.
 */
#ifndef DVPND_CARRY_GATEWAY_H
#define DVPND_CARRY_GATEWAY_H

#include <ev.h>
#include <sys/queue.h>

#include "carry/settings.h"

struct flow;
struct link;
struct worker;

TAILQ_HEAD(flow_list, flow);
TAILQ_HEAD(link_list, link);

struct gateway {
	TAILQ_ENTRY(gateway) entry, of_touched;
	struct gateway *self; /* what the worker's tree of names points to */
	struct worker *worker;
	struct settings *settings;
	struct link_list links;
	struct flow_list waiting;
	unsigned waiting_count;
	unsigned flow_count;  /* waiting ones included */
	unsigned channel_cap; /* per link: the setting, or what a refusal taught */
	double cap_until;     /* when what a refusal taught is forgotten */
	bool plain_netcat;    /* netcat there takes no options */
	double trunk_again;   /* it knows no trunk: don't ask again before; 0: not known */
	bool gone;	      /* no longer in the map: freed when flows and links are gone */
	bool touched;
	unsigned endpoint;    /* the one to try next; stays while it works */
	unsigned failures;    /* of endpoints, since one worked */
	unsigned busy_rounds; /* links cut off before the login, since one worked */
	double retry_at;      /* no link is started before */
	struct ev_timer retry;
	uint64_t bytes_up, bytes_down; /* of flows that have ended */
	char last_error[256];
	double last_error_time;
};

/* NULL where memory is out. */
struct gateway *gateway_new(struct worker *worker, const struct site *site);
void gateway_free(struct gateway *gateway); /* when no flow and no link is left */

/* Takes a flow in, to wait for a link.  -1 where the gateway can't be reached at
 * the moment: last_error says why. */
int gateway_submit(struct gateway *gateway, struct flow *flow);
/* A flow that was taken in, and doesn't wait any more, is done with the gateway. */
void gateway_leave(struct gateway *gateway, uint64_t bytes_up, uint64_t bytes_down);
/* A flow that waits stops waiting. */
void gateway_withdraw(struct gateway *gateway, struct flow *flow);

/* The map has changed: `site` NULL where it no longer has this one. */
void gateway_update(struct gateway *gateway, const struct site *site);

/* ---- from links ---- */

/* The link has proved of use: a login alone does not say so. */
void gateway_link_served(struct gateway *gateway, struct link *link);
/* The link is about to be freed; link->reason says why. */
void gateway_link_gone(struct gateway *gateway, struct link *link);
/* The far sshd gave no further session channel on this link, which has so many. */
void gateway_link_refused(struct gateway *gateway, struct link *link, unsigned in_use);
/* A trunk could not be had. */
void gateway_no_trunk(struct gateway *gateway, const char *why);
/* Whether streams go through trunks. */
bool gateway_has_trunk(const struct gateway *gateway);
/* A channel has become free on a link. */
void gateway_link_room(struct gateway *gateway);

/* Gives waiting flows to links, starts links: after anything above happened. */
void gateway_settle(struct gateway *gateway);

#endif
