/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading a trunk: bytes to frames, frames to streams.
 *
 * Payload of DATA goes to its stream in the pieces that it comes in; all other
 * frames are short and are collected first.  What a far side may not do ends
 * the trunk with a reason; what concerns a stream that is gone is passed over,
 * since it may have been on its way.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "carry/trunk_private.h"
#include "carry/worker.h"

/* No new streams for so long, when the far side had no room for one. */
#define FULL_SECONDS 1.0

static const struct {
	enum frame_class class;
	enum stream_outcome outcome;
	const char *text;
} classes[] = {
	{ FRAME_REFUSED, STREAM_REFUSED, "refused" },
	{ FRAME_UNREACHABLE, STREAM_UNREACHABLE, "unreachable" },
	{ FRAME_TIMED_OUT, STREAM_TIMED_OUT, "timed out" },
	{ FRAME_DENIED, STREAM_DENIED, "denied" },
	{ FRAME_PEER_RESET, STREAM_RESET, "the far host reset the connection" },
	{ FRAME_FULL, STREAM_AGAIN, "the far gateway has no room" },
};

static void fail_by_class(struct trunk_stream *stream, unsigned class, const char *text)
{
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
		if (classes[i].class == class) {
			trunk_stream_fail(stream, classes[i].outcome, "%.150s",
					  *text ? text : classes[i].text);
			return;
		}
	}
	trunk_stream_fail(stream, STREAM_BROKEN, "%.150s", *text ? text : "failed");
}

static void mark_woken(struct trunk_stream *stream, struct trunk_stream_list *woken)
{
	if (stream->woken)
		return;
	stream->woken = true;
	TAILQ_INSERT_TAIL(woken, stream, of_woken);
}

/* The text at the end of a frame, made safe for a log. */
static const char *text_at(struct trunk *trunk, size_t offset)
{
	if (offset > trunk->control_size)
		return "";
	trunk->control[trunk->control_size] = '\0';
	for (uint8_t *c = trunk->control + offset; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	return (const char *)trunk->control + offset;
}

/* ---- frames of the trunk itself ---- */

static void hello_frame(struct trunk *trunk)
{
	struct frame_hello hello;

	if (frame_get_hello(trunk->control, trunk->control_size, &hello) < 0 || hello.version < 1) {
		trunk_no_hello(trunk, "it says something else");
		return;
	}
	trunk->far_streams = hello.streams < FRAME_SLOTS ? hello.streams : FRAME_SLOTS;
	trunk->far_credit = hello.credit < FRAME_CREDIT_MAX ? hello.credit : FRAME_CREDIT_MAX;
	trunk_up(trunk);
}

static void pong_frame(struct trunk *trunk)
{
	uint64_t then;
	double took;

	if (trunk->control_size != sizeof(then))
		return;
	memcpy(&then, trunk->control, sizeof(then));
	trunk->silent = 0;
	took = ((double)trunk_clock() - (double)then) / 1e6;
	if (took > 0 && (!trunk->round_trip || took < trunk->round_trip))
		trunk->round_trip = took;
}

static void trunk_frame(struct trunk *trunk)
{
	switch (trunk->frame.type) {
	case FRAME_HELLO:
		trunk_fail(trunk, "the far netcat said hello twice");
		break;
	case FRAME_PING:
		trunk->pong_due = true;
		trunk->pong_size = trunk->control_size < 64 ? trunk->control_size : 64;
		memcpy(trunk->pong, trunk->control, trunk->pong_size);
		break;
	case FRAME_PONG:
		pong_frame(trunk);
		break;
	case FRAME_GOAWAY:
		if (trunk->state == TRUNK_LEAVING)
			break;
		log_info("%s: the far netcat takes no more streams: %s", trunk->link->settings->site,
			 text_at(trunk, 0));
		trunk->state = TRUNK_LEAVING;
		break;
	default:
		break;
	}
}

/* ---- frames of a stream ---- */

static void credit_frame(struct trunk *trunk, struct trunk_stream *stream, size_t offset)
{
	uint32_t credit;

	if (trunk->control_size < offset + 4)
		return;
	credit = frame_get_u32(trunk->control + offset);
	if (credit > FRAME_CREDIT_MAX - stream->may_send)
		credit = FRAME_CREDIT_MAX - stream->may_send;
	stream->may_send += credit;
}

/* Gone on the far side: FAILED or RESET. */
static void stream_over(struct trunk *trunk, struct trunk_stream *stream, size_t text)
{
	unsigned class = trunk->control_size ? trunk->control[0] : 0;

	if (class == FRAME_FULL)
		trunk->full_until = ev_now(trunk->worker->loop) + FULL_SECONDS;
	trunk_stream_detach(stream);
	fail_by_class(stream, class, text_at(trunk, text));
}

static void stream_frame(struct trunk *trunk, struct trunk_stream *stream)
{
	switch (trunk->frame.type) {
	case FRAME_OPENED:
		stream->stream.state = STREAM_CONNECTED;
		stream->stream.outcome = STREAM_OK;
		credit_frame(trunk, stream, 0);
		break;
	case FRAME_FAILED:
		stream_over(trunk, stream, 4);
		break;
	case FRAME_CREDIT:
		credit_frame(trunk, stream, 0);
		break;
	case FRAME_EOF:
		stream->far_ended = true;
		break;
	case FRAME_RESET:
		stream_over(trunk, stream, 1);
		break;
	default:
		break;
	}
}

static void frame_done(struct trunk *trunk, struct trunk_stream_list *woken)
{
	struct trunk_stream *stream;

	if (trunk->state == TRUNK_STARTING) {
		hello_frame(trunk);
		return;
	}
	if (!trunk->frame.stream) {
		trunk_frame(trunk);
		return;
	}
	stream = trunk_find(trunk, trunk->frame.stream);
	if (!stream || trunk->frame.type == FRAME_DATA)
		return;
	if (stream->stream.state == STREAM_OPENING && trunk->frame.type == FRAME_EOF)
		trunk_fail(trunk, "the far netcat ends what it has not opened");
	else
		stream_frame(trunk, stream);
	mark_woken(stream, woken);
}

/* ---- bytes ---- */

static void data_bytes(struct trunk *trunk, const uint8_t *data, size_t size,
		       struct trunk_stream_list *woken)
{
	struct trunk_stream *stream = trunk_find(trunk, trunk->frame.stream);

	if (!stream)
		return;
	if (size > stream->may_receive || stream->far_ended ||
	    stream->stream.state != STREAM_CONNECTED) {
		trunk_fail(trunk, "the far netcat sends more than it may");
		return;
	}
	stream->may_receive -= (uint32_t)size;
	if (queue_append(&stream->in, data, size) < 0)
		trunk_fail(trunk, "out of memory");
	mark_woken(stream, woken);
}

static void payload_bytes(struct trunk *trunk, const uint8_t *data, size_t size,
			  struct trunk_stream_list *woken)
{
	size_t room = TRUNK_CONTROL_MAX - trunk->control_size;

	if (trunk->frame.type == FRAME_DATA && trunk->state != TRUNK_STARTING) {
		data_bytes(trunk, data, size, woken);
		return;
	}
	if (size < room)
		room = size;
	memcpy(trunk->control + trunk->control_size, data, room);
	trunk->control_size += room;
}

/* Takes a part of a header.  -1: it is no trunk's. */
static int head_bytes(struct trunk *trunk, const uint8_t *data, size_t size)
{
	memcpy(trunk->head + trunk->head_size, data, size);
	trunk->head_size += size;
	if (trunk->head_size < FRAME_HEADER)
		return 0;
	if (frame_get_header(trunk->head, &trunk->frame) < 0 && trunk->state != TRUNK_STARTING) {
		trunk_fail(trunk, "the far netcat sent a frame that is too long");
		return -1;
	}
	if (trunk->state == TRUNK_STARTING && (trunk->frame.type != FRAME_HELLO ||
					       trunk->frame.length > TRUNK_CONTROL_MAX)) {
		trunk_no_hello(trunk, "it says something else");
		return -1;
	}
	trunk->left = trunk->frame.length;
	trunk->control_size = 0;
	return 0;
}

void trunk_feed(struct trunk *trunk, const uint8_t *data, size_t size,
		struct trunk_stream_list *woken)
{
	while (size && trunk->state != TRUNK_DEAD) {
		size_t part;

		if (trunk->head_size < FRAME_HEADER) {
			part = FRAME_HEADER - trunk->head_size;
			part = part < size ? part : size;
			if (head_bytes(trunk, data, part) < 0)
				return;
		} else {
			part = trunk->left < size ? trunk->left : size;
			payload_bytes(trunk, data, part, woken);
			trunk->left -= part;
		}
		data += part;
		size -= part;
		if (trunk->head_size == FRAME_HEADER && !trunk->left &&
		    trunk->state != TRUNK_DEAD) {
			trunk->head_size = 0;
			frame_done(trunk, woken);
		}
	}
}

void trunk_wake_all(struct trunk_stream_list *woken)
{
	struct trunk_stream *stream;

	while ((stream = TAILQ_FIRST(woken))) {
		TAILQ_REMOVE(woken, stream, of_woken);
		stream->woken = false;
		trunk_stream_wake(stream);
	}
}

void trunk_read(struct trunk *trunk)
{
	struct trunk_stream_list woken = TAILQ_HEAD_INITIALIZER(woken);
	uint8_t *buffer = trunk->worker->buffer;

	while (trunk->state != TRUNK_DEAD) {
		ssize_t got = trunk->carrier->ops->read(trunk->carrier, buffer, WORKER_BUFFER);

		if (got > 0) {
			trunk_feed(trunk, buffer, (size_t)got, &woken);
			trunk_wake_all(&woken);
			continue;
		}
		if (got < 0 && errno == EAGAIN)
			break;
		if (trunk->state == TRUNK_STARTING && trunk->carrier->outcome != STREAM_LOST)
			trunk_no_hello(trunk, trunk->carrier->reason[0] ? trunk->carrier->reason :
									   "it ended");
		else
			trunk_fail(trunk, "%s",
				   got ? trunk->carrier->reason : "the far netcat ended");
	}
}
