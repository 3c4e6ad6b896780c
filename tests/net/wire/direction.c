/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A packet's fate and its time.  A GSO packet is walked segment by segment; runs
 * of segments with the same fate go on as one piece.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "direction.h"

/* Longest time that one piece may take of a rated wire: what is behind it would
 * see a whole GSO packet as a stall of many milliseconds otherwise. */
#define PIECE_NS 500000u
#define HELD_LEAST_NS 1000000u
#define NS 1000000000u

enum fate { FATE_PASS, FATE_LOSE, FATE_HOLD };

void direction_init(struct direction *d, int to, uint64_t seed)
{
	*d = (struct direction){ .to = to, .random = seed, .room = 1u << 18 };
	settings_clear(&d->settings);
	d->heap = calloc(d->room, sizeof(*d->heap));
	if (!d->heap) {
		perror("wan");
		exit(1);
	}
}

/* splitmix64, as a share from 0 to just below 1. */
static double chance(struct direction *d)
{
	uint64_t z = d->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	z ^= z >> 31;
	return (double)(z >> 11) / (double)(UINT64_C(1) << 53);
}

static enum fate draw_fate(struct direction *d)
{
	if (d->settings.loss > 0 && chance(d) < d->settings.loss)
		return FATE_LOSE;
	if (d->settings.reorder > 0 && chance(d) < d->settings.reorder)
		return FATE_HOLD;
	return FATE_PASS;
}

static bool sooner(const struct packet *a, const struct packet *b)
{
	return a->due != b->due ? a->due < b->due : a->order < b->order;
}

static void heap_push(struct direction *d, struct packet *packet)
{
	uint32_t i = d->count++, up;

	for (; i > 0 && sooner(packet, d->heap[up = (i - 1) / 2]); i = up)
		d->heap[i] = d->heap[up];
	d->heap[i] = packet;
}

static struct packet *heap_pop(struct direction *d)
{
	struct packet *first = d->heap[0], *last = d->heap[--d->count];
	uint32_t i = 0, down;

	for (; (down = 2 * i + 1) < d->count; i = down) {
		if (down + 1 < d->count && sooner(d->heap[down + 1], d->heap[down]))
			down++;
		if (!sooner(d->heap[down], last))
			break;
		d->heap[i] = d->heap[down];
	}
	d->heap[i] = last;
	return first;
}

/* When the last bit has left the near end; 0: the queue in front is full. */
static uint64_t wire_pass(struct direction *d, uint64_t bytes, uint64_t now)
{
	uint64_t start = d->wire_free > now ? d->wire_free : now;

	if (!d->settings.rate)
		return now;
	if (start - now > d->settings.queue)
		return 0;
	d->wire_free = start + bytes * 8 * NS / d->settings.rate;
	return d->wire_free;
}

static uint64_t travel_time(struct direction *d)
{
	const struct settings *s = &d->settings;
	double jitter = s->jitter ? (chance(d) * 2 - 1) * (double)s->jitter : 0;

	return (uint64_t)((double)s->delay + jitter);
}

/* One piece, all of it with the same fate. */
static void piece_enter(struct direction *d, struct packet *piece, const struct shape *shape,
	uint64_t now, enum fate fate)
{
	uint64_t left = wire_pass(d, packet_wire_bytes(piece, shape), now);

	if (!left || d->count == d->room) {
		*(left ? &d->counters.overrun : &d->counters.queue_full) += piece->segments;
		packet_put(piece);
		return;
	}
	piece->due = left + travel_time(d);
	piece->order = d->order++;
	if (fate == FATE_HOLD) {
		uint64_t extra = d->settings.delay / 4;

		piece->due += extra > HELD_LEAST_NS ? extra : HELD_LEAST_NS;
		d->counters.held += piece->segments;
	} else {
		if (piece->due < d->last_due)
			piece->due = d->last_due;
		d->last_due = piece->due;
	}
	heap_push(d, piece);
}

/* Segments of one packet, from first on. */
static void run_enter(struct direction *d, struct packet *packet, const struct shape *shape,
	uint32_t first, uint32_t count, uint64_t now, enum fate fate)
{
	struct packet *piece;

	if (fate == FATE_LOSE) {
		d->counters.lost += count;
		return;
	}
	piece = packet_cut(packet, shape, first, count);
	if (piece)
		piece_enter(d, piece, shape, now, fate);
	else
		d->counters.overrun += count;
}

/* Most segments that may go as one piece. */
static uint32_t run_limit(const struct direction *d, const struct shape *shape)
{
	uint64_t bytes = d->settings.rate / 8 * PIECE_NS / NS, limit;

	if (!d->settings.rate)
		return shape->segments;
	limit = bytes / (shape->headers + shape->size);
	return limit < 1 ? 1 : limit > shape->segments ? shape->segments : (uint32_t)limit;
}

static void take_segments(struct direction *d, struct packet *packet, const struct shape *shape,
	uint64_t now)
{
	uint32_t limit = run_limit(d, shape), first = 0, i;
	enum fate fate = draw_fate(d), next;

	for (i = 1; i < shape->segments; i++) {
		next = draw_fate(d);
		if (next == fate && i - first < limit)
			continue;
		run_enter(d, packet, shape, first, i - first, now, fate);
		first = i;
		fate = next;
	}
	if (first == 0 && fate != FATE_LOSE) { /* still whole: no copy */
		packet->segments = shape->segments;
		piece_enter(d, packet, shape, now, fate);
		return;
	}
	run_enter(d, packet, shape, first, shape->segments - first, now, fate);
	packet_put(packet);
}

void direction_take(struct direction *d, struct packet *packet, uint64_t now)
{
	struct shape shape = packet_shape(packet);
	enum fate fate;

	d->counters.entered += shape.segments;
	if (d->settings.cut) {
		d->counters.cut += shape.segments;
		packet_put(packet);
	} else if (shape.segments > 1) {
		take_segments(d, packet, &shape, now);
	} else if ((fate = draw_fate(d)) == FATE_LOSE) {
		d->counters.lost++;
		packet_put(packet);
	} else {
		packet->segments = 1;
		piece_enter(d, packet, &shape, now, fate);
	}
}

static void deliver_one(struct direction *d, struct packet *packet, uint64_t now)
{
	struct counters *c = &d->counters;
	uint64_t late = now - packet->due;

	if (write(d->to, packet->bytes, packet->length) == (ssize_t)packet->length) {
		c->delivered += packet->segments;
		c->bytes += packet->length - sizeof(struct virtio_net_hdr);
	} else {
		c->overrun += packet->segments;
	}
	c->late_count++;
	c->late_total += late;
	if (late > c->late_most)
		c->late_most = late;
	packet_put(packet);
}

void direction_deliver(struct direction *d, uint64_t now)
{
	while (d->count > 0 && d->heap[0]->due <= now)
		deliver_one(d, heap_pop(d), now);
}

uint64_t direction_next(const struct direction *d)
{
	return d->count > 0 ? d->heap[0]->due : UINT64_MAX;
}

void direction_set(struct direction *d, const struct settings *settings)
{
	struct packet *packet;

	if (settings->reseed)
		d->random = settings->seed;
	d->settings = *settings;
	d->settings.reseed = false;
	d->wire_free = 0;
	/* A shorter delay must not wait for what was sent under a longer one. */
	d->last_due = 0;
	while (settings->cut && d->count > 0) {
		packet = heap_pop(d);
		d->counters.cut += packet->segments;
		packet_put(packet);
	}
}
