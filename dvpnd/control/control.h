/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket: what an operator asks, and is told.
 *
 * A stream socket; one request a line in, one answer out, then closed.  Only
 * root and the daemon's own user may connect (SO_PEERCRED).
 */
#ifndef DVPND_CONTROL_CONTROL_H
#define DVPND_CONTROL_CONTROL_H

#include <stdio.h>

#include "capture/capture.h"
#include "carry/carry.h"
#include "control/server.h"

struct control;
struct daemon;

/* Binds [control] socket, making its directory where that is missing.  NULL and
 * a log line with the cause and the remedy. */
struct control *control_start(struct daemon *daemon);
/* Removes the socket; takes NULL.  Reports that carry still owes may come after. */
void control_stop(struct control *control);

/* What is asked of the rest of the daemon: daemon_reload, carry_report and
 * listener_counters, or what a test puts in their place. */
struct control_hooks {
	int (*reload)(struct daemon *daemon, FILE *errors);
	void (*report)(struct carry *carry, carry_report_done *done, void *arg);
	const struct capture_counters *(*counters)(const struct listener *listener);
};
struct control *control_start_with(struct daemon *daemon, const struct control_hooks *hooks,
				   const struct server_limits *limits);

#endif
