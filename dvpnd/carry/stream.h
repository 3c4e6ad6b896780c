/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A stream: two directions of bytes to one far host and port, whatever carries
 * them.  A flow holds one and never knows its kind.
 *
 * A stream belongs to one link and to that link's thread.  Its owner gets one
 * call, `wake`, whenever something may have changed: state, bytes to read, room
 * to write; it then looks for itself.  wake never comes from within a call that
 * the owner makes.
 */
#ifndef DVPND_CARRY_STREAM_H
#define DVPND_CARRY_STREAM_H

#include <stdarg.h>
#include <stdbool.h>
#include <sys/types.h>

enum stream_state {
	STREAM_OPENING,	  /* nothing to read yet, and nothing to write but early data */
	STREAM_CONNECTED, /* the far host has accepted, as far as the kind can tell */
	STREAM_FAILED,	  /* see outcome and reason; only stream_close is left */
};

enum stream_outcome {
	STREAM_PENDING,
	STREAM_OK,
	STREAM_REFUSED,	    /* the far host refused */
	STREAM_UNREACHABLE, /* no way from the far gateway to the far host */
	STREAM_TIMED_OUT,   /* no answer from the far host */
	STREAM_DENIED,	    /* the far gateway does not allow the destination */
	STREAM_RESET,	    /* the far host reset the connection */
	STREAM_BROKEN,	    /* the far gateway could not do what was asked */
	STREAM_AGAIN,	    /* no channel to be had on this link, or a changed way to open: retry */
	STREAM_LOST,	    /* the link went away */
};

struct stream;

struct stream_ops {
	/* Bytes read; 0 at the end; -1: EAGAIN, or ECONNRESET when the stream
	 * broke, and state and outcome say how. */
	ssize_t (*read)(struct stream *stream, void *buffer, size_t size);
	/* Bytes taken, at least 1; -1: EAGAIN, then offer the same bytes at the
	 * same place again after a wake; or ECONNRESET as above. */
	ssize_t (*write)(struct stream *stream, const void *data, size_t size);
	/* No more will be written.  0; -1: EAGAIN (again after a wake) or ECONNRESET. */
	int (*shutdown)(struct stream *stream);
	/* The owner lets go.  A stream whose both directions have not ended is
	 * reset, as far as its kind can tell the far side. */
	void (*close)(struct stream *stream);
};

struct stream {
	const struct stream_ops *ops;
	void (*wake)(struct stream *stream);
	void *owner;
	enum stream_state state;
	bool early; /* bytes may be written while it is still being opened */
	enum stream_outcome outcome;
	char reason[160]; /* for people; set with a failed outcome */
};

const char *stream_outcome_name(enum stream_outcome outcome);

/* For the kinds: the first failure counts.  False where there was one before. */
bool stream_fail(struct stream *stream, enum stream_outcome outcome, const char *format,
		 va_list args) __attribute__((format(printf, 3, 0)));

#endif
