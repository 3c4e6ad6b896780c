/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A child program that is fed and read without blocking the loop.
 */
#ifndef DVPND_CAPTURE_CHILD_H
#define DVPND_CAPTURE_CHILD_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>

#define CHILD_BUFFER_SIZE 16384

struct child {
	/* the caller provides */
	/* Writes up to `size` bytes of input; 0 where there is no more. */
	size_t (*fill)(char *buffer, size_t size, void *arg);
	/* A line of output, without its newline. */
	void (*line)(const char *line, void *arg);
	/* Once, when the child is gone and its output read.  NULL where it ended
	 * well; what it said on stderr, or how it ended, otherwise. */
	void (*done)(const char *error, void *arg);
	void *arg;
	double timeout; /* seconds until it is killed */

	/* private */
	struct ev_loop *loop;
	ev_child exited;
	ev_io in, out, err;
	ev_timer deadline;
	char input[CHILD_BUFFER_SIZE];
	size_t input_start, input_end;
	char output[CHILD_BUFFER_SIZE];
	size_t output_size;
	char error[256];
	size_t error_size;
	int status;
	bool running, killed;
};

/* Starts `path` with these arguments, the first being its name; on the default
 * loop only.  0, or -1 with errno; then `done` is not called. */
int child_start(struct child *child, struct ev_loop *loop, const char *path,
		char *const arguments[]);

/* Kills it where it still runs, and waits for it; `done` is not called. */
void child_stop(struct child *child);

#endif
