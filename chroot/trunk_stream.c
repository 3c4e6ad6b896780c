// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A stream's life: connecting, open, lingering perhaps, finished.
 * Bytes go straight from the input buffer to the server, and from the server
 * straight into the output buffer; only what the server refuses is queued.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connect.h"
#include "trunk_parts.h"

/* A server that takes nothing for so long, and whom nobody waits for, has gone. */
#define LINGER_SECONDS 60
/* A stream is new for so many bytes, and quiet when it brings so few at a time. */
#define NEW_BYTES (64u << 10)
#define QUIET_BYTES 2048

static const char *const results[] = {
	[0] = "ok",
	[FRAME_REFUSED] = "refused",
	[FRAME_UNREACHABLE] = "unreachable",
	[FRAME_TIMED_OUT] = "timed out",
	[FRAME_DENIED] = "denied",
	[FRAME_PEER_RESET] = "reset",
	[FRAME_FULL] = "full",
};

static enum frame_class class_of(int error)
{
	switch (error) {
	case ECONNREFUSED:
		return FRAME_REFUSED;
	case ETIMEDOUT:
		return FRAME_TIMED_OUT;
	case ECONNRESET:
		return FRAME_PEER_RESET;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
	case ENOSPC:
		return FRAME_FULL;
	default:
		return FRAME_UNREACHABLE;
	}
}

/* ---- ends ---- */

static void notify(struct trunk *trunk, struct stream *stream, enum stream_notice notice)
{
	stream->notices |= (uint8_t)notice;
	if (stream->lists[KIND_NOTICES] == LIST_NONE)
		list_add(trunk, LIST_NOTICES, stream);
}

/* The server is done with, in whatever way; notices may be left. */
static void stream_finish(struct trunk *trunk, struct stream *stream, enum frame_class class)
{
	const struct linger clean = { 0, 0 };

	if (stream->fd >= 0) {
		if (!class)
			setsockopt(stream->fd, SOL_SOCKET, SO_LINGER, &clean, sizeof(clean));
		close(stream->fd);
		stream->fd = -1;
	}
	audit_stream(trunk, stream, results[class]);
	pool_queue_clear(&trunk->pool, &stream->queue);
	trunk->pool.unpromised += pool_blocks_beyond(stream->window);
	stream->window = 0;
	list_remove(trunk, KIND_READING, stream);
	list_remove(trunk, KIND_DEADLINE, stream);
	stream->state = STREAM_FINISHED;
}

/* Ends what an error has ended; `text` says more than it, or is NULL. */
static void stream_fail(struct trunk *trunk, struct stream *stream, enum frame_class class,
			int error, const char *text)
{
	enum stream_notice notice = stream->state == STREAM_CONNECTING ? NOTICE_FAILED :
									 NOTICE_RESET;

	stream->notices &= NOTICE_OPENED;
	if (stream->state != STREAM_LINGERING) {
		stream->class = (uint8_t) class;
		stream->error = error;
		stream->text = text;
		notify(trunk, stream, notice);
	}
	stream_finish(trunk, stream, class);
	stream_settle(trunk, stream);
}

static void stream_lost(struct trunk *trunk, struct stream *stream, int error)
{
	enum frame_class class;

	/* Writing to it says EPIPE, where reading from it says the other. */
	error = error == EPIPE ? ECONNRESET : error;
	class = class_of(error);
	/* The near side knows these alone once a stream is open. */
	if (stream->state != STREAM_CONNECTING && class != FRAME_TIMED_OUT)
		class = FRAME_PEER_RESET;
	stream_fail(trunk, stream, class, error, NULL);
}

void stream_abort(struct trunk *trunk, struct stream *stream)
{
	stream->notices = 0;
	if (stream->state != STREAM_FINISHED)
		stream_finish(trunk, stream, FRAME_PEER_RESET);
	table_give(trunk, stream);
}

void stream_refuse(struct trunk *trunk, struct stream *stream, int error, const char *text)
{
	stream_fail(trunk, stream, text ? FRAME_DENIED : class_of(error), error, text);
}

/* Moves a stream on that has come to the end of a state. */
void stream_settle(struct trunk *trunk, struct stream *stream)
{
	if (stream->state == STREAM_FREE)
		return;
	if (stream->state != STREAM_FINISHED && stream->down_ended && stream->up_ended)
		stream_finish(trunk, stream, 0);
	if (stream->notices)
		return;
	if (stream->state == STREAM_FINISHED) {
		table_give(trunk, stream);
	} else if (stream->state == STREAM_OPEN && stream->down_ended && stream->up_ending) {
		table_unmap(trunk, stream);
		stream->state = STREAM_LINGERING;
		stream->deadline = trunk->now + LINGER_SECONDS * TRUNK_SECOND;
		list_add(trunk, LIST_LINGERING, stream);
	}
}

/* ---- from the server ---- */

static void schedule(struct trunk *trunk, struct stream *stream)
{
	enum trunk_list list = LIST_NONE;

	if (stream->state == STREAM_OPEN && stream->readable && stream->down_credit &&
	    !stream->down_ended)
		list = stream->down < NEW_BYTES || stream->last_read < QUIET_BYTES ? LIST_URGENT :
										     LIST_BULK;
	if (list == LIST_NONE)
		list_remove(trunk, KIND_READING, stream);
	else if (stream->lists[KIND_READING] != list)
		list_add(trunk, list, stream);
}

static void server_ended(struct trunk *trunk, struct stream *stream)
{
	if (stream->broken) {
		stream_lost(trunk, stream, stream->error);
		return;
	}
	stream->down_ended = true;
	list_remove(trunk, KIND_READING, stream);
	notify(trunk, stream, NOTICE_EOF);
	stream_settle(trunk, stream);
}

void stream_read(struct trunk *trunk, struct stream *stream)
{
	size_t size = stream->down_credit < FRAME_PAYLOAD ? stream->down_credit : FRAME_PAYLOAD;
	ssize_t got = read(stream->fd, out_payload(trunk), size);

	if (got == 0) {
		server_ended(trunk, stream);
		return;
	}
	if (got < 0 && errno != EAGAIN && errno != EINTR) {
		stream_lost(trunk, stream, errno);
		return;
	}
	if (got > 0) {
		out_frame(trunk, FRAME_DATA, stream->id, (size_t)got);
		stream->down_credit -= (uint32_t)got;
		stream->down += (uint64_t)got;
		stream->last_read = (uint32_t)got;
	}
	stream->readable = got == (ssize_t)size || (got > 0 && stream->hung_up);
	schedule(trunk, stream);
}

int stream_take_credit(struct trunk *trunk, struct stream *stream, uint32_t credit)
{
	if (credit > FRAME_CREDIT_MAX - stream->down_credit)
		return trunk_break(trunk, "CREDIT beyond what a stream may have");
	stream->down_credit += credit;
	schedule(trunk, stream);
	return 0;
}

/* ---- to the server ---- */

static void widen(struct trunk *trunk, struct stream *stream, uint32_t window)
{
	uint32_t more = pool_blocks_beyond(window) - pool_blocks_beyond(stream->window);

	if (window <= TRUNK_WINDOW_MAX && pool_promise(&trunk->pool, more))
		stream->window = window;
}

/* What to begin with, the less the more is promised already. */
static uint32_t first_window(const struct pool *pool)
{
	if (pool->unpromised >= pool->promisable / 2)
		return TRUNK_WINDOW;
	return pool->unpromised >= pool->promisable / 4 ? TRUNK_WINDOW / 4 : TRUNK_CREDIT;
}

/* A window that is brought within two round trips is what holds the near side up. */
static void measure(struct trunk *trunk, struct stream *stream, size_t length)
{
	uint32_t now = (uint32_t)trunk->now;

	stream->filled += (uint32_t)length;
	if (stream->filled < stream->window)
		return;
	if (now - stream->filling_since <= 2 * trunk->round_trip)
		widen(trunk, stream, 2 * stream->window);
	stream->filled = 0;
	stream->filling_since = now;
}

static uint32_t grantable(const struct stream *stream)
{
	return stream->window - stream->up_credit - stream->queue.bytes;
}

uint32_t stream_grant(struct stream *stream)
{
	uint32_t more = stream->state == STREAM_OPEN ? grantable(stream) : 0;

	stream->up_credit += more;
	return more;
}

/* The server takes no more: what it sent before is still to be read. */
static void write_failed(struct trunk *trunk, struct stream *stream, int error)
{
	if (stream->down_ended || stream->state == STREAM_LINGERING) {
		stream_lost(trunk, stream, error);
		return;
	}
	pool_queue_clear(&trunk->pool, &stream->queue);
	stream->broken = stream->readable = stream->hung_up = true;
	stream->error = error;
	schedule(trunk, stream);
}

/* After bytes went out, or may go out no more. */
static void written(struct trunk *trunk, struct stream *stream, uint64_t size)
{
	stream->up += size;
	if (stream->broken)
		return;
	if (!stream->up_ending) {
		/* OPENED grants all there is. */
		if (grantable(stream) >= stream->window / 4 && !(stream->notices & NOTICE_OPENED))
			notify(trunk, stream, NOTICE_CREDIT);
	} else if (!stream->queue.bytes) {
		/* close() says so too, where nothing else is left to do. */
		if (!stream->down_ended && shutdown(stream->fd, SHUT_WR)) {
			write_failed(trunk, stream, errno);
			return;
		}
		stream->up_ended = true;
		stream_settle(trunk, stream);
	}
}

static void write_queued(struct trunk *trunk, struct stream *stream)
{
	ssize_t put = pool_queue_write(&trunk->pool, &stream->queue, stream->fd);

	if (put < 0) {
		write_failed(trunk, stream, errno);
		return;
	}
	if (put && stream->state == STREAM_LINGERING) {
		stream->deadline = trunk->now + LINGER_SECONDS * TRUNK_SECOND;
		list_add(trunk, LIST_LINGERING, stream);
	}
	written(trunk, stream, (uint64_t)put);
}

int stream_take_data(struct trunk *trunk, struct stream *stream, const uint8_t *data, size_t length)
{
	ssize_t put = 0;

	if (stream->state == STREAM_FINISHED)
		return 0;
	if (stream->up_ending)
		return trunk_break(trunk, "DATA after EOF");
	if (length > stream->up_credit)
		return trunk_break(trunk, "DATA beyond the credit");
	stream->up_credit -= (uint32_t)length;
	if (stream->broken)
		return 0;
	if (stream->state == STREAM_OPEN)
		measure(trunk, stream, length);
	if (stream->state == STREAM_OPEN && !stream->queue.bytes) {
		put = send(stream->fd, data, length, MSG_NOSIGNAL);
		if (put < 0 && errno != EAGAIN && errno != EINTR) {
			write_failed(trunk, stream, errno);
			return 0;
		}
		put = put < 0 ? 0 : put;
	}
	if (pool_queue_append(&trunk->pool, &stream->queue, data + put, length - (size_t)put))
		return trunk_break(trunk, "no block is left for what was promised");
	if (stream->state == STREAM_OPEN)
		written(trunk, stream, (uint64_t)put);
	return 0;
}

int stream_take_eof(struct trunk *trunk, struct stream *stream)
{
	if (stream->state == STREAM_FINISHED)
		return 0;
	if (stream->up_ending)
		return trunk_break(trunk, "EOF a second time");
	stream->up_ending = true;
	stream->notices &= (uint8_t)~NOTICE_CREDIT;
	if (stream->state == STREAM_OPEN) {
		written(trunk, stream, 0);
		stream_settle(trunk, stream);
	}
	return 0;
}

/* ---- connecting ---- */

/* The connection stands, or failed. */
static void decided(struct trunk *trunk, struct stream *stream, uint32_t events)
{
	int error = 0;

	if (events & (EPOLLERR | EPOLLHUP))
		error = connect_error(stream->fd);
	else if (!(events & EPOLLOUT))
		return;
	/* Reset already, and so it was connected. */
	if (error && error != ECONNRESET && error != EPIPE) {
		stream_lost(trunk, stream, error);
		return;
	}
	list_remove(trunk, KIND_DEADLINE, stream);
	stream->state = STREAM_OPEN;
	stream->filling_since = (uint32_t)trunk->now;
	notify(trunk, stream, NOTICE_OPENED);
	if (error) {
		write_failed(trunk, stream, error);
		return;
	}
	widen(trunk, stream, first_window(&trunk->pool));
	write_queued(trunk, stream);
}

/* ---- what epoll says ---- */

void stream_event(struct trunk *trunk, struct stream *stream, uint32_t events)
{
	const uint32_t ends = EPOLLRDHUP | EPOLLHUP | EPOLLERR;

	if (stream->state == STREAM_CONNECTING)
		decided(trunk, stream, events);
	else if (stream->queue.bytes && events & EPOLLOUT)
		write_queued(trunk, stream);
	if (stream->state != STREAM_OPEN && stream->state != STREAM_LINGERING)
		return;
	if (stream->down_ended) {
		if (events & (EPOLLHUP | EPOLLERR))
			stream_lost(trunk, stream, ECONNRESET);
		return;
	}
	if (events & ends)
		stream->hung_up = true;
	if (events & (EPOLLIN | ends))
		stream->readable = true;
	schedule(trunk, stream);
}

int stream_expire(struct trunk *trunk)
{
	uint64_t next = UINT64_MAX;
	struct stream *stream;

	while ((stream = list_first(trunk, LIST_CONNECTING)) && stream->deadline <= trunk->now)
		stream_lost(trunk, stream, ETIMEDOUT);
	if (stream)
		next = stream->deadline;
	while ((stream = list_first(trunk, LIST_LINGERING)) && stream->deadline <= trunk->now)
		stream_abort(trunk, stream);
	if (stream && stream->deadline < next)
		next = stream->deadline;
	return next == UINT64_MAX ? -1 : (int)((next - trunk->now) / 1000 + 1);
}
