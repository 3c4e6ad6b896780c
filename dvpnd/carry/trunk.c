/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The near end of trunks: streams, credit, and when a trunk starts and ends.
 * The frames themselves are read in trunk_frames.c.
 */
#include "carry/trunk.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "carry/channel.h"
#include "carry/gateway.h"
#include "carry/trunk_private.h"
#include "carry/worker.h"

/* A far netcat that has not said HELLO after so long is none of ours. */
#define HELLO_SECONDS 10.0
/* Streams are given no more bytes to send while a trunk holds this many; small
 * pieces may go a little over, so that a keystroke overtakes a bulk transfer. */
#define BACKLOG (2 * FRAME_MAX)
#define SMALL 2048
/* sshd takes 2 MiB a round trip and channel: a link has more than one trunk when
 * there are many streams, or when one has run into that. */
#define TRUNKS_MAX 4
#define STREAMS_FEW 16
/* Streams that wait for a far HELLO, which tells how many it takes. */
#define STREAMS_UNTOLD 1000
/* Frames that the far side does not take: then it does not read at all. */
#define OUT_MAX ((size_t)8 << 20)
/* PINGs without an answer until the far side counts as gone. */
#define SILENT_MAX 3

static const struct stream_ops trunk_ops;

static struct trunk_stream *of(struct stream *stream)
{
	return (struct trunk_stream *)stream; /* its first member */
}

/* ---- streams ---- */

void trunk_stream_wake(struct trunk_stream *stream)
{
	if (stream->owned)
		stream->stream.wake(&stream->stream);
}

void trunk_stream_fail(struct trunk_stream *stream, enum stream_outcome outcome,
		       const char *format, ...)
{
	va_list args;

	va_start(args, format);
	stream_fail(&stream->stream, outcome, format, args);
	va_end(args);
}

/* Out of the trunk's tables: no frame will find it any more. */
void trunk_stream_detach(struct trunk_stream *stream)
{
	struct trunk *trunk = stream->trunk;

	if (!trunk)
		return;
	if (stream->id)
		trunk_slot_free(trunk, stream->id);
	if (stream->blocked)
		TAILQ_REMOVE(&trunk->blocked, stream, of_blocked);
	TAILQ_REMOVE(&trunk->streams, stream, entry);
	trunk->stream_count--;
	stream->blocked = false;
	stream->trunk = NULL;
	if (trunk->link) {
		gateway_link_room(trunk->link->gateway);
		link_touch(trunk->link);
	}
}

/* ---- slots ---- */

struct trunk_stream *trunk_find(const struct trunk *trunk, uint32_t id)
{
	uint32_t slot = id & 0xffff;

	if (slot >= trunk->slot_count || !trunk->slots[slot].stream ||
	    trunk->slots[slot].stream->id != id)
		return NULL;
	return trunk->slots[slot].stream;
}

static int grow_slots(struct trunk *trunk)
{
	uint32_t count = trunk->slot_count ? 2 * trunk->slot_count : 16;
	struct trunk_slot *slots;

	if (count > FRAME_SLOTS)
		return -1;
	slots = reallocarray(trunk->slots, count, sizeof(*slots));
	if (!slots)
		return -1;
	trunk->slots = slots;
	for (uint32_t i = count; i-- > trunk->slot_count;) {
		slots[i] = (struct trunk_slot){ .next_free = trunk->free_slot };
		trunk->free_slot = i + 1;
	}
	trunk->slot_count = count;
	return 0;
}

/* The stream's number: slot and generation.  -1 where memory is out. */
static int slot_take(struct trunk *trunk, struct trunk_stream *stream)
{
	struct trunk_slot *slot;
	uint32_t number;

	if (!trunk->free_slot && grow_slots(trunk) < 0)
		return -1;
	number = trunk->free_slot - 1;
	slot = &trunk->slots[number];
	trunk->free_slot = slot->next_free;
	slot->generation = slot->generation == UINT16_MAX ? 1 : slot->generation + 1;
	slot->stream = stream;
	stream->id = (uint32_t)slot->generation << 16 | number;
	return 0;
}

void trunk_slot_free(struct trunk *trunk, uint32_t id)
{
	struct trunk_slot *slot = &trunk->slots[id & 0xffff];

	slot->stream = NULL;
	slot->next_free = trunk->free_slot;
	trunk->free_slot = (id & 0xffff) + 1;
}

/* ---- sending frames ---- */

void trunk_send(struct trunk *trunk, enum frame_type type, uint32_t id, const void *payload,
		size_t length)
{
	uint8_t header[FRAME_HEADER];

	frame_put_header(header, type, length, id);
	if (trunk->out.size > OUT_MAX)
		trunk_fail(trunk, "the far netcat takes no frames");
	else if (queue_append(&trunk->out, header, sizeof(header)) < 0 ||
		 queue_append(&trunk->out, payload, length) < 0)
		trunk_fail(trunk, "out of memory");
	else if (trunk->link)
		link_touch(trunk->link);
}

/* What one write of the carrier takes is one SSH packet. */
static void push(struct trunk *trunk)
{
	while (trunk->out.size && trunk->carrier->state == STREAM_CONNECTED) {
		size_t size;
		const void *data = queue_peek(&trunk->out, &size);
		ssize_t taken = trunk->carrier->ops->write(trunk->carrier, data, size);

		if (taken > 0) {
			trunk->window_full = false;
			queue_consume(&trunk->out, (size_t)taken);
			continue;
		}
		if (errno == EAGAIN)
			trunk->window_full = trunk->link->out.size < LINK_OUT_HIGH;
		else
			trunk_fail(trunk, "%s", trunk->carrier->reason);
		return;
	}
}

/* One answer is owed at a time, however often it is asked for. */
static void send_pong(struct trunk *trunk)
{
	if (!trunk->pong_due || trunk->out.size >= BACKLOG)
		return;
	trunk->pong_due = false;
	trunk_send(trunk, FRAME_PONG, 0, trunk->pong, trunk->pong_size);
}

/* Each blocked stream has a turn; who can't go on lines up again, at the end. */
static void wake_blocked(struct trunk *trunk)
{
	struct trunk_stream *last = TAILQ_LAST(&trunk->blocked, trunk_stream_list), *stream;

	while (last && trunk->out.size < BACKLOG && (stream = TAILQ_FIRST(&trunk->blocked))) {
		bool stop = stream == last;

		TAILQ_REMOVE(&trunk->blocked, stream, of_blocked);
		stream->blocked = false;
		trunk_stream_wake(stream);
		if (stop)
			break;
	}
}

static void send_open(struct trunk_stream *stream)
{
	struct trunk *trunk = stream->trunk;
	uint8_t payload[FRAME_OPEN_SIZE];

	if (slot_take(trunk, stream) < 0) {
		trunk_stream_fail(stream, STREAM_BROKEN, "out of memory");
		return;
	}
	stream->may_send = trunk->far_credit;
	stream->may_receive = stream->target = TRUNK_CREDIT;
	stream->open.credit = TRUNK_CREDIT;
	frame_put_open(payload, &stream->open);
	trunk_send(trunk, FRAME_OPEN, stream->id, payload, sizeof(payload));
	stream->stream.early = true;
}

/* The far end has said HELLO: everybody who waited for that. */
void trunk_up(struct trunk *trunk)
{
	struct trunk_stream *stream, *next;
	uint32_t opened = 0;

	ev_timer_stop(trunk->worker->loop, &trunk->hello);
	trunk->state = TRUNK_UP;
	gateway_link_served(trunk->link->gateway, trunk->link);
	trunk_ping(trunk);
	for (stream = TAILQ_FIRST(&trunk->streams); stream; stream = next) {
		next = TAILQ_NEXT(stream, entry);
		if (opened++ < trunk->far_streams) {
			send_open(stream);
		} else {
			trunk_stream_detach(stream);
			trunk_stream_fail(stream, STREAM_AGAIN, "the trunk is full");
		}
		trunk_stream_wake(stream);
	}
}

uint64_t trunk_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void trunk_ping(struct trunk *trunk)
{
	uint64_t now = trunk_clock();

	if (trunk->state != TRUNK_UP)
		return;
	if (trunk->silent++ >= SILENT_MAX)
		trunk_fail(trunk, "the far netcat does not answer");
	else
		trunk_send(trunk, FRAME_PING, 0, &now, sizeof(now));
}

/* ---- credit for what we receive ---- */

/*
 * How much may be under way to us: half as much again as the path holds at the
 * measured rate, and what arrives in the time of a turn.  While the credit is what
 * limits the rate, that is more than the credit, and it grows; once the path is
 * full, it stays.  More would only make a longer queue somewhere on the way, with
 * everybody's keystrokes in it.  A young stream that uses up what it has doubles it
 * each round trip, as TCP does.
 */
static void measure_rate(struct trunk_stream *stream, size_t size)
{
	const struct trunk *trunk = stream->trunk;
	double now = ev_now(trunk->worker->loop), took = now - stream->epoch_start, wanted;
	double round_trip = trunk->round_trip > TRUNK_ROUND_TRIP_MIN ? trunk->round_trip :
								       TRUNK_ROUND_TRIP_MIN;

	stream->epoch_bytes += size;
	if (took < (stream->settled ? 2 : 1) * round_trip)
		return;
	if (!stream->settled && (double)stream->epoch_bytes / took * round_trip < 0.6 * stream->target)
		stream->settled = true;
	wanted = stream->settled ?
			 (double)stream->epoch_bytes / took * (1.5 * round_trip + TRUNK_TURN) :
			 2.0 * stream->target;
	stream->target = wanted < TRUNK_CREDIT	   ? TRUNK_CREDIT :
			 wanted > TRUNK_CREDIT_MAX ? TRUNK_CREDIT_MAX :
						     (uint32_t)wanted;
	stream->epoch_start = now;
	stream->epoch_bytes = 0;
}

/* Fills the credit up, not for every few bytes. */
static void give_credit(struct trunk_stream *stream, size_t size)
{
	size_t under_way;
	uint8_t payload[4];
	uint32_t more;

	if (stream->far_ended)
		return;
	measure_rate(stream, size);
	under_way = stream->may_receive + stream->in.size;
	if (under_way + stream->target / 4 > stream->target)
		return;
	more = stream->target - (uint32_t)under_way;
	stream->may_receive += more;
	frame_put_u32(payload, more);
	trunk_send(stream->trunk, FRAME_CREDIT, stream->id, payload, sizeof(payload));
}

/* ---- the stream's operations ---- */

static ssize_t fails_with(int error)
{
	errno = error;
	return -1;
}

static ssize_t stream_read(struct stream *base, void *buffer, size_t size)
{
	struct trunk_stream *stream = of(base);
	size_t taken = queue_take(&stream->in, buffer, size);

	if (taken) {
		if (stream->trunk)
			give_credit(stream, taken);
		return (ssize_t)taken;
	}
	if (stream->far_ended)
		return 0;
	return fails_with(base->state == STREAM_FAILED ? ECONNRESET : EAGAIN);
}

static ssize_t stream_write(struct stream *base, const void *data, size_t size)
{
	struct trunk_stream *stream = of(base);
	struct trunk *trunk = stream->trunk;
	size_t allowed = BACKLOG + (size <= SMALL ? BACKLOG : 0);

	if (base->state == STREAM_FAILED || !trunk)
		return fails_with(ECONNRESET);
	if (!stream->id || !stream->may_send)
		return fails_with(EAGAIN);
	if (trunk->out.size >= allowed) {
		if (!stream->blocked)
			TAILQ_INSERT_TAIL(&trunk->blocked, stream, of_blocked);
		stream->blocked = true;
		return fails_with(EAGAIN);
	}
	if (size > FRAME_PAYLOAD)
		size = FRAME_PAYLOAD;
	if (size > stream->may_send)
		size = stream->may_send;
	stream->may_send -= (uint32_t)size;
	trunk_send(trunk, FRAME_DATA, stream->id, data, size);
	return (ssize_t)size;
}

static int stream_shutdown(struct stream *base)
{
	struct trunk_stream *stream = of(base);

	if (base->state == STREAM_FAILED || !stream->trunk)
		return (int)fails_with(ECONNRESET);
	if (!stream->id)
		return (int)fails_with(EAGAIN);
	if (!stream->ended)
		trunk_send(stream->trunk, FRAME_EOF, stream->id, NULL, 0);
	stream->ended = true;
	return 0;
}

static void stream_close(struct stream *base)
{
	struct trunk_stream *stream = of(base);
	const uint8_t class = FRAME_PEER_RESET;

	if (stream->trunk && stream->id && base->state != STREAM_FAILED &&
	    !(stream->ended && stream->far_ended))
		trunk_send(stream->trunk, FRAME_RESET, stream->id, &class, sizeof(class));
	stream->owned = false;
	trunk_stream_detach(stream);
	queue_clear(&stream->in);
	free(stream);
}

static const struct stream_ops trunk_ops = {
	.read = stream_read,
	.write = stream_write,
	.shutdown = stream_shutdown,
	.close = stream_close,
};

/* ---- trunks ---- */

static void trunk_free(struct trunk *trunk)
{
	if (trunk->link)
		TAILQ_REMOVE(&trunk->link->trunks, trunk, entry);
	ev_timer_stop(trunk->worker->loop, &trunk->hello);
	trunk->carrier->ops->close(trunk->carrier);
	queue_clear(&trunk->out);
	free(trunk->slots);
	free(trunk);
}

/* Marks only: trunk_finish does the rest, when nobody is within the trunk. */
void trunk_fail(struct trunk *trunk, const char *format, ...)
{
	va_list args;

	if (trunk->state == TRUNK_DEAD)
		return;
	trunk->had_hello = trunk->state != TRUNK_STARTING;
	trunk->state = TRUNK_DEAD;
	va_start(args, format);
	vsnprintf(trunk->reason, sizeof(trunk->reason), format, args);
	va_end(args);
	link_touch(trunk->link);
}

/* Without a HELLO nothing was sent: the flows go another way. */
static void trunk_finish(struct trunk *trunk)
{
	enum stream_outcome outcome = trunk->had_hello ? STREAM_LOST : STREAM_AGAIN;
	struct trunk_stream *stream;
	char name[96];

	if (trunk->link && trunk->stream_count)
		log_warnx("%s: the trunk ended: %s", link_name(trunk->link, name), trunk->reason);
	while ((stream = TAILQ_FIRST(&trunk->streams))) {
		trunk_stream_detach(stream);
		trunk_stream_fail(stream, outcome, "%.150s", trunk->reason);
		trunk_stream_wake(stream);
	}
	trunk_free(trunk);
}

/* The link is about to go, or the channel could not be had. */
static void carrier_failed(struct trunk *trunk)
{
	struct link *link = trunk->link;

	if (trunk->carrier->outcome == STREAM_BROKEN && trunk->state == TRUNK_STARTING)
		gateway_no_trunk(link->gateway, trunk->carrier->reason);
	trunk_fail(trunk, "%s", trunk->carrier->reason);
	if (link->state == LINK_DEAD) {
		/* there is no settling any more: now, and without the link */
		TAILQ_REMOVE(&link->trunks, trunk, entry);
		trunk->link = NULL;
		trunk_finish(trunk);
	}
}

static void on_carrier(struct stream *carrier)
{
	struct trunk *trunk = carrier->owner;

	if (trunk->state == TRUNK_DEAD && trunk->link->state != LINK_DEAD)
		return;
	if (carrier->state == STREAM_FAILED) {
		carrier_failed(trunk);
		return;
	}
	if (carrier->state == STREAM_CONNECTED) {
		trunk_read(trunk);
		link_touch(trunk->link);
	}
}

static void on_no_hello(struct ev_loop *loop, struct ev_timer *timer, int events)
{
	struct trunk *trunk = timer->data;

	(void)loop;
	(void)events;
	trunk_no_hello(trunk, "it does not answer");
}

void trunk_no_hello(struct trunk *trunk, const char *why)
{
	const struct trunk *other;
	bool known = false;

	TAILQ_FOREACH(other, &trunk->link->trunks, entry)
		known |= other->state == TRUNK_UP;
	if (!known)
		gateway_no_trunk(trunk->link->gateway, why);
	trunk_fail(trunk, "netcat there has no trunk: %s", why);
}

static void send_hello(struct trunk *trunk)
{
	/* no credit here: each OPEN brings its own */
	const struct frame_hello hello = { FRAME_VERSION, FRAME_SLOTS, 0 };
	const char *site = trunk->worker->conf->name;
	uint8_t payload[FRAME_HELLO_SIZE + 64];
	size_t length = strnlen(site, 64);

	frame_put_hello(payload, &hello);
	memcpy(payload + FRAME_HELLO_SIZE, site, length);
	trunk_send(trunk, FRAME_HELLO, 0, payload, FRAME_HELLO_SIZE + length);
}

struct trunk *trunk_start_on(struct link *link, struct stream *carrier)
{
	struct trunk *trunk = carrier ? calloc(1, sizeof(*trunk)) : NULL;

	if (!trunk) {
		if (carrier)
			carrier->ops->close(carrier);
		return NULL;
	}
	trunk->carrier = carrier;
	trunk->carrier->wake = on_carrier;
	trunk->carrier->owner = trunk;
	trunk->link = link;
	trunk->worker = link->worker;
	trunk->far_streams = STREAMS_UNTOLD;
	TAILQ_INIT(&trunk->streams);
	TAILQ_INIT(&trunk->blocked);
	queue_init(&trunk->out, &link->worker->pool);
	ev_timer_init(&trunk->hello, on_no_hello, HELLO_SECONDS, 0);
	trunk->hello.data = trunk;
	ev_timer_start(link->worker->loop, &trunk->hello);
	TAILQ_INSERT_TAIL(&link->trunks, trunk, entry);
	send_hello(trunk);
	return trunk;
}

static bool has_room(const struct trunk *trunk)
{
	return trunk->state <= TRUNK_UP && trunk->stream_count < trunk->far_streams &&
	       trunk->silent <= 1 && ev_now(trunk->worker->loop) >= trunk->full_until;
}

bool trunks_room(const struct link *link)
{
	const struct trunk *trunk;
	unsigned count = 0;

	TAILQ_FOREACH(trunk, &link->trunks, entry) {
		count++;
		if (has_room(trunk))
			return true;
	}
	return count < TRUNKS_MAX && link->channel_count < link->gateway->channel_cap;
}

/* The one with the fewest streams; a new one where that is no longer few. */
static struct trunk *choose(struct link *link)
{
	struct trunk *trunk, *best = NULL;
	unsigned count = 0;

	TAILQ_FOREACH(trunk, &link->trunks, entry) {
		count++;
		if (has_room(trunk) && (!best || trunk->stream_count < best->stream_count))
			best = trunk;
	}
	if (best && (count >= TRUNKS_MAX ||
		     (best->stream_count < STREAMS_FEW && !best->window_full) ||
		     link->channel_count >= link->gateway->channel_cap))
		return best;
	trunk = trunk_start_on(link, channel_open_trunk(link));
	return trunk ? trunk : best;
}

struct stream *trunk_open(struct link *link, const struct addr *dest, uint16_t port,
			  const struct addr *client, uint16_t client_port)
{
	struct trunk_stream *stream = calloc(1, sizeof(*stream));
	struct trunk *trunk = stream ? choose(link) : NULL;

	if (!trunk) {
		free(stream);
		return NULL;
	}
	stream->stream.ops = &trunk_ops;
	stream->owned = true;
	stream->trunk = trunk;
	stream->open.family = dest->family == AF_INET ? 4 : 6;
	stream->open.port = port;
	stream->open.client_family = client->family == AF_INET ? 4 : 6;
	stream->open.client_port = client_port;
	memcpy(stream->open.address, dest->bytes, 16);
	memcpy(stream->open.client, client->bytes, 16);
	stream->epoch_start = ev_now(link->worker->loop);
	queue_init(&stream->in, &link->worker->pool);
	TAILQ_INSERT_TAIL(&trunk->streams, stream, entry);
	trunk->stream_count++;
	if (trunk->state == TRUNK_UP)
		send_open(stream);
	link_touch(link);
	return &stream->stream;
}

/* ---- for the link ---- */

unsigned trunks_streams(const struct link *link)
{
	const struct trunk *trunk;
	unsigned count = 0;

	TAILQ_FOREACH(trunk, &link->trunks, entry)
		count += trunk->stream_count;
	return count;
}

bool trunks_busy(const struct link *link)
{
	return trunks_streams(link) > 0;
}

void trunks_step(struct link *link)
{
	struct trunk *trunk, *next;

	for (trunk = TAILQ_FIRST(&link->trunks); trunk; trunk = next) {
		next = TAILQ_NEXT(trunk, entry);
		if (trunk->state == TRUNK_LEAVING && !trunk->stream_count)
			trunk_fail(trunk, "the far netcat left");
		if (trunk->state != TRUNK_DEAD) {
			send_pong(trunk);
			push(trunk);
		}
		if (trunk->state != TRUNK_DEAD)
			wake_blocked(trunk);
		if (trunk->state == TRUNK_DEAD)
			trunk_finish(trunk);
	}
}

void trunks_ping(struct link *link)
{
	struct trunk *trunk;

	TAILQ_FOREACH(trunk, &link->trunks, entry)
		trunk_ping(trunk);
}

void trunks_close(struct link *link)
{
	struct trunk *trunk, *next;

	for (trunk = TAILQ_FIRST(&link->trunks); trunk; trunk = next) {
		next = TAILQ_NEXT(trunk, entry);
		if (!trunk->stream_count)
			trunk_free(trunk);
	}
}
