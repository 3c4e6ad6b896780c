// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * From the near side: cuts the input into frames and does what each says.  Every
 * frame can be taken at once, whatever the state of the output and of servers,
 * so input never waits; what may not be ends the trunk.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "trunk_parts.h"

static int take_hello(struct trunk *trunk, const struct frame_header *header,
		      const uint8_t *payload)
{
	struct frame_hello hello;

	if (trunk->greeted)
		return trunk_break(trunk, "HELLO a second time");
	if (frame_get_hello(payload, header->length, &hello) || hello.version < FRAME_VERSION)
		return trunk_break(trunk, "HELLO of another protocol");
	trunk->greeted = true;
	return 0;
}

static int take_open(struct trunk *trunk, const struct frame_header *header, const uint8_t *payload)
{
	size_t early = header->length - FRAME_OPEN_SIZE; /* where the frame is long enough */
	struct frame_open open;

	if (frame_get_open(payload, header->length, &open))
		return trunk_break(trunk, "OPEN is too short, or of an unknown family");
	if (header->stream < FRAME_SLOTS)
		return trunk_break(trunk, "OPEN of generation 0");
	if (trunk->map[header->stream % FRAME_SLOTS])
		return trunk_break(trunk, "OPEN of a slot that is in use");
	if (trunk->mapped == trunk->most)
		return trunk_break(trunk, "OPEN of more streams than HELLO allows");
	if (open.credit > FRAME_CREDIT_MAX)
		return trunk_break(trunk, "OPEN with more credit than a stream may have");
	if (early > TRUNK_CREDIT)
		return trunk_break(trunk, "OPEN with more early data than HELLO allows");
	return stream_open(trunk, header->stream, &open, payload + FRAME_OPEN_SIZE, early);
}

static int take_data(struct trunk *trunk, const struct frame_header *header, const uint8_t *payload)
{
	struct stream *stream = table_find(trunk, header->stream);

	return stream ? stream_take_data(trunk, stream, payload, header->length) : 0;
}

static int take_credit(struct trunk *trunk, const struct frame_header *header,
		       const uint8_t *payload)
{
	struct stream *stream = table_find(trunk, header->stream);

	if (header->length < 4)
		return trunk_break(trunk, "CREDIT is too short");
	return stream ? stream_take_credit(trunk, stream, frame_get_u32(payload)) : 0;
}

static int take_eof(struct trunk *trunk, const struct frame_header *header, const uint8_t *payload)
{
	struct stream *stream = table_find(trunk, header->stream);

	(void)payload;
	return stream ? stream_take_eof(trunk, stream) : 0;
}

static int take_reset(struct trunk *trunk, const struct frame_header *header,
		      const uint8_t *payload)
{
	struct stream *stream = table_find(trunk, header->stream);

	(void)payload;
	if (stream)
		stream_abort(trunk, stream);
	return 0;
}

/* Of several that wait for room, the last one is answered. */
static int take_ping(struct trunk *trunk, const struct frame_header *header, const uint8_t *payload)
{
	if (header->length > TRUNK_PING_MAX)
		return trunk_break(trunk, "PING is too long");
	memcpy(trunk->pong, payload, header->length);
	trunk->pong_length = header->length;
	trunk->pong_due = true;
	return 0;
}

static int take_pong(struct trunk *trunk, const struct frame_header *header, const uint8_t *payload)
{
	uint64_t sample = trunk->now - trunk->ping_sent;

	if (header->length != 8 || !trunk->ping_out ||
	    frame_get_u32(payload + 4) != (uint32_t)trunk->ping_sent)
		return trunk_break(trunk, "PONG without PING");
	trunk->ping_out = false;
	/* Queues on the way only ever add to it. */
	if (sample < trunk->round_trip)
		trunk->round_trip = sample;
	else
		trunk->round_trip += (sample - trunk->round_trip) / 16;
	return 0;
}

static int take_misplaced(struct trunk *trunk, const struct frame_header *header,
			  const uint8_t *payload)
{
	(void)header;
	(void)payload;
	return trunk_break(trunk, "a frame that only the far side sends");
}

static int (*const takers[])(struct trunk *, const struct frame_header *, const uint8_t *) = {
	[FRAME_HELLO] = take_hello,	 [FRAME_OPEN] = take_open,
	[FRAME_OPENED] = take_misplaced, [FRAME_FAILED] = take_misplaced,
	[FRAME_DATA] = take_data,	 [FRAME_CREDIT] = take_credit,
	[FRAME_EOF] = take_eof,		 [FRAME_RESET] = take_reset,
	[FRAME_PING] = take_ping,	 [FRAME_PONG] = take_pong,
	[FRAME_GOAWAY] = NULL, /* we open none */
};

static int take_frame(struct trunk *trunk, const struct frame_header *header,
		      const uint8_t *payload)
{
	if (header->type >= sizeof(takers) / sizeof(takers[0]) || !takers[header->type])
		return 0;
	return takers[header->type](trunk, header, payload);
}

static int take_frames(struct trunk *trunk)
{
	size_t start = 0;

	while (trunk->in_end - start >= FRAME_HEADER) {
		const uint8_t *data = trunk->in_data + start;
		struct frame_header header;

		if (frame_get_header(data, &header))
			return trunk_break(trunk, "a frame is too long");
		/* Who speaks another protocol need not send a frame's worth of it. */
		if (!trunk->greeted && header.type != FRAME_HELLO)
			return trunk_break(trunk, "no HELLO came first");
		if (trunk->in_end - start < FRAME_HEADER + (size_t)header.length)
			break;
		if (take_frame(trunk, &header, data + FRAME_HEADER))
			return -1;
		start += FRAME_HEADER + (size_t)header.length;
	}
	trunk->in_end -= start;
	memmove(trunk->in_data, trunk->in_data + start, trunk->in_end);
	return 0;
}

int in_read(struct trunk *trunk)
{
	size_t room = TRUNK_IN_SIZE - trunk->in_end;
	ssize_t got = read(trunk->in, trunk->in_data + trunk->in_end, room);

	if (got <= 0) {
		trunk->in_ready = false;
		trunk->in_ended = got == 0 || (errno != EAGAIN && errno != EINTR);
		return 0;
	}
	trunk->in_ready = (size_t)got == room || trunk->in_hung_up;
	trunk->in_end += (size_t)got;
	return take_frames(trunk);
}
