// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Towards the near side: notices, then what servers sent, a frame from each in
 * turn.  The buffer is short on purpose: what is in it, a keystroke has to wait
 * for.  Notices are bits of their streams and so need no queue.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "trunk_parts.h"

/* So many quiet streams go first, then a busy one all the same. */
#define URGENT_IN_A_ROW 8

uint8_t *out_payload(struct trunk *trunk)
{
	return trunk->out_data + trunk->out_end + FRAME_HEADER;
}

uint8_t *out_frame(struct trunk *trunk, enum frame_type type, uint32_t stream, size_t length)
{
	uint8_t *payload = out_payload(trunk);

	frame_put_header(payload - FRAME_HEADER, type, length, stream);
	trunk->out_end += FRAME_HEADER + length;
	return payload;
}

bool out_has_room(const struct trunk *trunk, size_t size)
{
	return trunk->out_end + size + TRUNK_NOTICE_ROOM <= TRUNK_OUT_SIZE;
}

/* ---- notices ---- */

static void put_credit(struct trunk *trunk, struct stream *stream, enum frame_type type)
{
	frame_put_u32(out_frame(trunk, type, stream->id, 4), stream_grant(stream));
}

static void put_reason(struct trunk *trunk, struct stream *stream)
{
	const char *text = stream->text ? stream->text : strerror(stream->error);
	size_t length = strnlen(text, FRAME_TEXT_MAX);
	uint8_t *payload;

	if (stream->notices & NOTICE_FAILED) {
		payload = out_frame(trunk, FRAME_FAILED, stream->id, 4 + length);
		payload[1] = 0;
		frame_put_u16(payload + 2, (uint16_t)stream->error);
		memcpy(payload + 4, text, length);
	} else {
		payload = out_frame(trunk, FRAME_RESET, stream->id, 1 + length);
		memcpy(payload + 1, text, length);
	}
	payload[0] = stream->class;
}

/* Answered at once, it says how long a window must last; only where windows are used. */
static void put_ping(struct trunk *trunk)
{
	uint8_t *payload;

	if (trunk->ping_out || trunk->now - trunk->ping_sent < TRUNK_SECOND)
		return;
	payload = out_frame(trunk, FRAME_PING, 0, 8);
	trunk->ping_out = true;
	trunk->ping_sent = trunk->now;
	frame_put_u32(payload, (uint32_t)(trunk->now >> 32));
	frame_put_u32(payload + 4, (uint32_t)trunk->now);
}

static void put_notices(struct trunk *trunk, struct stream *stream)
{
	uint8_t notices = stream->notices;

	if (notices & NOTICE_OPENED)
		put_credit(trunk, stream, FRAME_OPENED);
	if (notices & NOTICE_CREDIT) {
		put_credit(trunk, stream, FRAME_CREDIT);
		put_ping(trunk);
	}
	if (notices & NOTICE_EOF)
		out_frame(trunk, FRAME_EOF, stream->id, 0);
	if (notices & (NOTICE_FAILED | NOTICE_RESET))
		put_reason(trunk, stream);
	stream->notices = 0;
	stream_settle(trunk, stream);
}

static void fill_notices(struct trunk *trunk)
{
	struct stream *stream;

	if (trunk->pong_due && out_has_room(trunk, TRUNK_NOTICE_ROOM)) {
		memcpy(out_frame(trunk, FRAME_PONG, 0, trunk->pong_length), trunk->pong,
		       trunk->pong_length);
		trunk->pong_due = false;
	}
	while (out_has_room(trunk, TRUNK_NOTICE_ROOM) &&
	       (stream = list_first(trunk, LIST_NOTICES))) {
		list_remove(trunk, KIND_NOTICES, stream);
		put_notices(trunk, stream);
	}
}

/* ---- bytes ---- */

void out_fill(struct trunk *trunk)
{
	unsigned urgent = 0;

	for (;;) {
		struct stream *stream, *bulk;

		fill_notices(trunk);
		if (!out_has_room(trunk, FRAME_MAX + TRUNK_NOTICE_ROOM))
			return;
		stream = list_first(trunk, LIST_URGENT);
		bulk = list_first(trunk, LIST_BULK);
		if (!stream || (bulk && urgent == URGENT_IN_A_ROW)) {
			stream = bulk;
			urgent = 0;
		} else {
			urgent++;
		}
		if (!stream)
			return;
		list_remove(trunk, KIND_READING, stream);
		stream_read(trunk, stream);
	}
}

void out_write(struct trunk *trunk)
{
	ssize_t put;

	if (trunk->out_end == 0 || trunk->out_blocked || trunk->out_broken)
		return;
	put = write(trunk->out, trunk->out_data, trunk->out_end);
	if (put < 0) {
		trunk->out_broken = errno != EAGAIN && errno != EINTR;
		put = 0;
	}
	trunk->out_blocked = (size_t)put < trunk->out_end;
	trunk->out_end -= (size_t)put;
	memmove(trunk->out_data, trunk->out_data + put, trunk->out_end);
}
