/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes as what a far netcat says in a trunk with four streams.  Checked
 * besides crashes: no stream ever holds more than the credit that was granted.
 */
#include <stdint.h>

#include "../unit/trunk_harness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_wake(struct stream *stream)
{
	struct trunk_stream *of = (struct trunk_stream *)stream;
	char buffer[1000];

	if (of->in.size > TRUNK_CREDIT_MAX)
		abort();
	/* every other one reads */
	if (of->id & 1)
		while (stream->ops->read(stream, buffer, sizeof(buffer)) > 0)
			;
	if (stream->early)
		stream->ops->write(stream, "x", 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t hello[] = { 1, 0, 0, 16, 0, 0, 0, 0, 'd', 'v', 'p', 'n',
					 0, 1, 0, 0, 0, 0, 4, 0, 0, 0, 64, 0 };
	struct addr addr = { AF_INET, { 10, 8, 0, 5 } };
	struct harness *harness = harness_start();
	struct stream *streams[4];

	log_init(LOG_TO_STDERR, LOG_LEVEL_ERROR);
	for (int i = 0; i < 4; i++) {
		streams[i] = trunk_open(&harness->link, &addr, 80, &addr, 1);
		streams[i]->wake = on_wake;
	}
	if (size && data[0] != 'H')
		harness_feed(harness, hello, sizeof(hello));
	for (size_t at = size > 0; at < size;) {
		size_t part = 1 + data[at] % 97;

		part = part < size - at ? part : size - at;
		harness_feed(harness, data + at, part);
		at += part;
	}
	for (int i = 0; i < 4; i++)
		streams[i]->ops->close(streams[i]);
	harness_stop(harness);
	return 0;
}
