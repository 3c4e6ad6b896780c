/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon as a whole: what main owns, and what the control socket shows.
 */
#ifndef DVPND_DAEMON_H
#define DVPND_DAEMON_H

#include <ev.h>
#include <stdio.h>

#include "capture/capture.h"
#include "carry/carry.h"
#include "conf.h"
#include "map/routes.h"

struct control;
struct mapfiles;

/* Connections that were captured and then refused, since start. */
struct refusal_counters {
	uint64_t no_route;  /* no site owns the destination */
	uint64_t own;	    /* the destination is one of our own prefixes or addresses */
	uint64_t max_flows;
	uint64_t draining;
};

struct daemon {
	struct ev_loop *loop; /* the default loop */
	struct conf *conf;
	struct routes *routes;
	struct carry *carry;
	struct listener *listener;
	struct conntrack *conntrack;
	struct kset *kset;
	struct control *control;
	struct mapfiles *mapfiles;
	struct refusal_counters refused;
	struct ev_signal hangup, terminate, interrupt;
	struct ev_timer drain;
	double drain_until;
	bool draining, verbose, background;
	double started, map_loaded; /* ev_now of start, and of the last map that took effect */
	unsigned map_errors;	    /* bad lines in the maps that are in force */
};

/* Starts everything that a loaded config asks for.  -1 after a log line; what had
 * been started is for daemon_stop. */
int daemon_start(struct daemon *daemon);
void daemon_stop(struct daemon *daemon);

/* Logs as options and config say. */
void daemon_log(const struct daemon *daemon);

/* Reads config and maps again and puts them in force, all or nothing.  What is
 * wrong is logged and, one line each, written to `errors` (may be NULL).  0, or
 * -1 where the old state stays in force. */
int daemon_reload(struct daemon *daemon, FILE *errors);

#endif
