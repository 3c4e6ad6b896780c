/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A trunk without SSH: its carrier is a pair of buffers in memory.  For the unit
 * test and the fuzzer of the near end.
 */
#ifndef TESTS_UNIT_TRUNK_HARNESS_H
#define TESTS_UNIT_TRUNK_HARNESS_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "carry/channel.h"
#include "carry/gateway.h"
#include "carry/trunk_private.h"
#include "carry/worker.h"

struct harness {
	struct worker worker;
	struct gateway gateway;
	struct settings settings;
	struct conf conf;
	struct link link;
	struct trunk *trunk;
	/* the carrier */
	struct stream carrier;
	uint8_t sent[1 << 20]; /* what the trunk wrote */
	size_t sent_size;
	bool closed;
};

static ssize_t harness_write(struct stream *carrier, const void *data, size_t size)
{
	struct harness *harness = (struct harness *)((char *)carrier - offsetof(struct harness, carrier));

	if (harness->sent_size + size > sizeof(harness->sent))
		harness->sent_size = 0; /* nobody looks that far back */
	memcpy(harness->sent + harness->sent_size, data, size);
	harness->sent_size += size;
	return (ssize_t)size;
}

static ssize_t harness_read(struct stream *carrier, void *data, size_t size)
{
	(void)carrier;
	(void)data;
	(void)size;
	errno = EAGAIN;
	return -1;
}

static void harness_close(struct stream *carrier)
{
	struct harness *harness = (struct harness *)((char *)carrier - offsetof(struct harness, carrier));

	harness->closed = true;
}

static const struct stream_ops harness_ops = {
	.read = harness_read,
	.write = harness_write,
	.close = harness_close,
};

static inline struct harness *harness_start(void)
{
	struct harness *harness = calloc(1, sizeof(*harness));

	if (!harness)
		abort();
	harness->worker.loop = ev_loop_new(EVFLAG_AUTO);
	harness->worker.conf = &harness->conf;
	harness->conf.name = (char *)"thursday";
	harness->settings.site = (char *)"friday";
	harness->settings.ssh.mode = SSH_MODE_TRUNK;
	harness->gateway.worker = harness->link.worker = &harness->worker;
	harness->gateway.settings = harness->link.settings = &harness->settings;
	harness->gateway.channel_cap = 1;
	harness->link.gateway = &harness->gateway;
	harness->link.state = LINK_UP;
	harness->link.channel_count = 1;
	TAILQ_INIT(&harness->worker.touched);
	TAILQ_INIT(&harness->worker.touched_gateways);
	TAILQ_INIT(&harness->gateway.waiting);
	TAILQ_INIT(&harness->link.opening);
	TAILQ_INIT(&harness->link.channels);
	TAILQ_INIT(&harness->link.trunks);
	harness->carrier.ops = &harness_ops;
	harness->carrier.state = STREAM_CONNECTED;
	harness->trunk = trunk_start_on(&harness->link, &harness->carrier);
	return harness;
}

/* Bytes from the far end; then what a settling link does. */
static inline void harness_feed(struct harness *harness, const void *data, size_t size)
{
	struct trunk_stream_list woken = TAILQ_HEAD_INITIALIZER(woken);

	if (harness->closed)
		return;
	trunk_feed(harness->trunk, data, size, &woken);
	trunk_wake_all(&woken);
	trunks_step(&harness->link);
}

static inline void harness_stop(struct harness *harness)
{
	if (!harness->closed)
		trunk_fail(harness->trunk, "the test ends");
	trunks_step(&harness->link);
	queue_pool_free(&harness->worker.pool);
	ev_loop_destroy(harness->worker.loop);
	free(harness);
}

#endif
