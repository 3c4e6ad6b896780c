/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The far side of a trunk: `nc -T 1`.  What it speaks is in dvpn-trunk(7). */
#ifndef CHROOT_TRUNK_H
#define CHROOT_TRUNK_H

enum trunk_status {
	TRUNK_DONE = 0,	     /* the near side has gone */
	TRUNK_NO_HELLO = 64, /* what came is no trunk */
	TRUNK_BROKEN = 65,   /* a frame that must not be */
	TRUNK_FAILED = 71,   /* it could not start here */
};

/*
 * Carries connections until the near side goes away or breaks the rules; then
 * every server that is still connected sees a reset.  `in` and `out` become
 * non-blocking, and may be one socket.  Says on stderr what went wrong.
 */
enum trunk_status trunk_serve(int in, int out);

#endif
