/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connecting to a server, without waiting for it. */
#ifndef CHROOT_CONNECT_H
#define CHROOT_CONNECT_H

#include "address.h"

#define CONNECT_SECONDS 10

/*
 * A non-blocking socket on its way to address:port, or -errno.  It is writable
 * once that has been decided; connect_error says how.
 */
int connect_start(const struct address *address, unsigned port);

/* 0: connected, or the errno of what failed. */
int connect_error(int fd);

/* Closes the hard way: the server sees RST, never a clean end. */
void connect_reset(int fd);

#endif
