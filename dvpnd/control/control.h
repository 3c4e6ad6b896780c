/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket: what an operator asks, and is told.
 *
 * A stream socket; one request a line in, one answer out, then closed.  Only
 * root and the daemon's own user may connect (SO_PEERCRED).
 */
#ifndef DVPND_CONTROL_CONTROL_H
#define DVPND_CONTROL_CONTROL_H

struct control;
struct daemon;

/* Binds [control] socket, making its directory where that is missing.  NULL and
 * a log line with the cause and the remedy. */
struct control *control_start(struct daemon *daemon);
void control_stop(struct control *control); /* removes the socket; takes NULL */

#endif
