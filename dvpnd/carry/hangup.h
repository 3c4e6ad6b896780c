/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hears of sockets that break while nobody wants to read or write them.
 *
 * A flow that waits for its far side watches nothing, and a level-triggered loop
 * would spin on a socket that has hung up.  Here each socket sits in an epoll
 * set of its own kind, edge-triggered and without events: the kernel reports
 * EPOLLERR and EPOLLHUP all the same (epoll_ctl(2)), once.  Before it is
 * closed a socket has to be removed: a program that main is just starting has a
 * copy of the descriptor, until it runs, and that would keep the socket in the set.
 */
#ifndef DVPND_CARRY_HANGUP_H
#define DVPND_CARRY_HANGUP_H

#include <ev.h>

struct hangup {
	struct ev_io io; /* of the epoll set */
	void (*broke)(void *arg);
};

/* `broke` gets the arg that the socket was added with.  -1 with errno. */
int hangup_start(struct hangup *hangup, struct ev_loop *loop, void (*broke)(void *arg));
void hangup_stop(struct hangup *hangup, struct ev_loop *loop);

/* -1 with errno. */
int hangup_add(struct hangup *hangup, int fd, void *arg);
/* Before fd is closed; nothing is heard of it any more. */
void hangup_remove(struct hangup *hangup, int fd);

#endif
