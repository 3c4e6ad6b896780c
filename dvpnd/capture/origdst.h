/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a redirected connection was really going.
 */
#ifndef DVPND_CAPTURE_ORIGDST_H
#define DVPND_CAPTURE_ORIGDST_H

#include "capture/capture.h"

enum origdst {
	ORIGDST_REDIRECTED, /* all fields of the captured connection are filled in */
	ORIGDST_DIRECT,	    /* made straight to our port; only client and dest are */
	ORIGDST_UNKNOWN,    /* the kernel doesn't say; errno tells why */
};

/* For captured->fd, an accepted TCP socket.  `conntrack` is asked where the
 * socket option can't say; it may be NULL. */
enum origdst origdst_find(struct captured *captured, struct conntrack *conntrack);

#endif
