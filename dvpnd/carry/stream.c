/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all kinds of stream have in common: their outcome, and words for it. */
#include "carry/stream.h"

#include <stdio.h>

const char *stream_outcome_name(enum stream_outcome outcome)
{
	static const char *const names[] = { "pending", "ok",	  "refused", "unreachable", "timed out",
					     "denied",	"reset", "broken",  "try again",   "link lost" };
	return names[outcome];
}

bool stream_fail(struct stream *stream, enum stream_outcome outcome, const char *format,
		 va_list args)
{
	if (stream->state == STREAM_FAILED)
		return false;
	vsnprintf(stream->reason, sizeof(stream->reason), format, args);
	stream->state = STREAM_FAILED;
	stream->outcome = outcome;
	return true;
}
