/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket in the file system: made, taken over from a dead daemon,
 * guarded, removed.
 */
#ifndef DVPND_CONTROL_ENDPOINT_H
#define DVPND_CONTROL_ENDPOINT_H

#include <stdbool.h>
#include <sys/types.h>

struct control_endpoint {
	int fd; /* listening, non-blocking */
	/* private */
	char *path;
	dev_t device; /* of the socket file: it may be another daemon's when we stop */
	ino_t inode;
};

/* 0, or -1 after a log line with the cause and the remedy. */
int control_endpoint_open(struct control_endpoint *endpoint, const char *path);
/* Closes, and removes the file where it is still ours. */
void control_endpoint_close(struct control_endpoint *endpoint);

/* Is the peer of this accepted connection root, or our own user? */
bool control_endpoint_allows(int fd);

#endif
