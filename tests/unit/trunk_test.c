/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The near end of a trunk: frames in and out, credit, ends, and hostile far ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "trunk_harness.h"

#define CREDIT 16384

/* A client that takes everything and keeps count. */
struct client {
	struct stream *stream;
	char got[65536];
	size_t size;
	bool ended, broken;
	unsigned wakes;
};

static void on_wake(struct stream *stream)
{
	struct client *client = stream->owner;
	ssize_t got;

	client->wakes++;
	while ((got = stream->ops->read(stream, client->got + client->size,
					sizeof(client->got) - client->size)) > 0)
		client->size += (size_t)got;
	client->ended = got == 0;
	client->broken = got < 0 && errno != EAGAIN;
}

static struct client *client_open(struct harness *harness)
{
	struct client *client = calloc(1, sizeof(*client));
	struct addr dest = { AF_INET, { 10, 8, 0, 5 } }, from = { AF_INET, { 10, 7, 0, 5 } };

	client->stream = trunk_open(&harness->link, &dest, 80, &from, 40000);
	assert_non_null(client->stream);
	client->stream->wake = on_wake;
	client->stream->owner = client;
	return client;
}

static void client_close(struct client *client)
{
	client->stream->ops->close(client->stream);
	free(client);
}

static void far_frame(struct harness *harness, enum frame_type type, uint32_t stream,
		      const void *payload, size_t size)
{
	uint8_t frame[FRAME_MAX];

	frame_put_header(frame, type, size, stream);
	if (size)
		memcpy(frame + FRAME_HEADER, payload, size);
	/* in two pieces, cut within the header */
	harness_feed(harness, frame, 3);
	harness_feed(harness, frame + 3, FRAME_HEADER + size - 3);
}

static void far_hello(struct harness *harness)
{
	struct frame_hello hello = { FRAME_VERSION, 1000, CREDIT };
	uint8_t payload[FRAME_HELLO_SIZE];

	frame_put_hello(payload, &hello);
	far_frame(harness, FRAME_HELLO, 0, payload, sizeof(payload));
}

static void far_credit(struct harness *harness, enum frame_type type, uint32_t stream,
		       uint32_t credit)
{
	uint8_t payload[4];

	frame_put_u32(payload, credit);
	far_frame(harness, type, stream, payload, sizeof(payload));
}

/* The first frame of a type that was sent, and its payload; stops the test when
 * there is none. */
static const uint8_t *sent(struct harness *harness, enum frame_type type,
			   struct frame_header *header)
{
	size_t at = 0;

	trunks_step(&harness->link);
	while (at + FRAME_HEADER <= harness->sent_size) {
		assert_int_equal(frame_get_header(harness->sent + at, header), 0);
		at += FRAME_HEADER;
		if (header->type == type)
			return harness->sent + at;
		at += header->length;
	}
	fail_msg("no frame of type %d was sent", type);
	return NULL;
}

static bool was_sent(struct harness *harness, enum frame_type type)
{
	struct frame_header header;
	size_t at = 0;

	trunks_step(&harness->link);
	while (at + FRAME_HEADER <= harness->sent_size) {
		frame_get_header(harness->sent + at, &header);
		if (header.type == type)
			return true;
		at += FRAME_HEADER + header.length;
	}
	return false;
}

static void test_open(void **state)
{
	struct harness *harness = harness_start();
	struct client *client = client_open(harness);
	struct frame_header header;
	struct frame_open open;
	const uint8_t *payload;

	(void)state;
	assert_false(was_sent(harness, FRAME_OPEN)); /* nobody has answered yet */
	far_hello(harness);
	assert_true(client->stream->early);
	payload = sent(harness, FRAME_OPEN, &header);
	assert_int_equal(frame_get_open(payload, header.length, &open), 0);
	assert_int_equal(open.family, 4);
	assert_int_equal(open.port, 80);
	assert_int_equal(open.client_port, 40000);
	assert_memory_equal(open.address, "\x0a\x08\x00\x05\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	far_credit(harness, FRAME_OPENED, header.stream, 0);
	assert_int_equal(client->stream->state, STREAM_CONNECTED);
	far_frame(harness, FRAME_DATA, header.stream, "hello", 5);
	assert_int_equal(client->size, 5);
	assert_memory_equal(client->got, "hello", 5);
	far_frame(harness, FRAME_EOF, header.stream, NULL, 0);
	assert_true(client->ended);
	assert_int_equal(client->stream->ops->shutdown(client->stream), 0);
	sent(harness, FRAME_EOF, &header);
	client_close(client);
	assert_false(was_sent(harness, FRAME_RESET)); /* both have ended: nothing to reset */
	assert_false(trunks_busy(&harness->link));
	harness_stop(harness);
}

static void test_credit_is_kept(void **state)
{
	struct harness *harness = harness_start();
	struct client *client = client_open(harness);
	static char data[CREDIT + 1];
	struct frame_header header;

	(void)state;
	far_hello(harness);
	assert_int_equal(client->stream->ops->write(client->stream, data, sizeof(data)), CREDIT);
	assert_int_equal(client->stream->ops->write(client->stream, data, 1), -1);
	assert_int_equal(errno, EAGAIN);
	sent(harness, FRAME_OPEN, &header);
	far_credit(harness, FRAME_CREDIT, header.stream, 7);
	assert_int_equal(client->stream->ops->write(client->stream, data, 100), 7);
	client_close(client);
	sent(harness, FRAME_RESET, &header);
	harness_stop(harness);
}

/* What was read is granted back, and no more than that while the path is short. */
static void test_credit_is_granted(void **state)
{
	struct harness *harness = harness_start();
	struct client *client = client_open(harness);
	static char data[FRAME_PAYLOAD];
	struct frame_header header;
	uint32_t stream;

	(void)state;
	far_hello(harness);
	sent(harness, FRAME_OPEN, &header);
	stream = header.stream;
	far_credit(harness, FRAME_OPENED, stream, 0);
	far_frame(harness, FRAME_DATA, stream, data, sizeof(data));
	assert_false(was_sent(harness, FRAME_CREDIT)); /* not for each frame */
	client->size = 0;
	for (int i = 0; i < 2; i++) {
		far_frame(harness, FRAME_DATA, stream, data, sizeof(data));
		client->size = 0;
	}
	assert_true(frame_get_u32(sent(harness, FRAME_CREDIT, &header)) >= TRUNK_CREDIT / 4);
	client_close(client);
	harness_stop(harness);
}

static const struct {
	unsigned class;
	const char *text;
	enum stream_outcome outcome;
} failures[] = {
	{ FRAME_REFUSED, "Connection refused", STREAM_REFUSED },
	{ FRAME_UNREACHABLE, "No route to host", STREAM_UNREACHABLE },
	{ FRAME_TIMED_OUT, "Connection timed out", STREAM_TIMED_OUT },
	{ FRAME_DENIED, "not in the allow list", STREAM_DENIED },
	{ FRAME_FULL, "no descriptor", STREAM_AGAIN },
	{ 99, "new", STREAM_BROKEN },
};

static void test_failed(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
		struct harness *harness = harness_start();
		struct client *client = client_open(harness);
		struct frame_header header;
		char payload[64] = { (char)failures[i].class };
		size_t length = strlen(failures[i].text);

		far_hello(harness);
		sent(harness, FRAME_OPEN, &header);
		memcpy(payload + 4, failures[i].text, length);
		far_frame(harness, FRAME_FAILED, header.stream, payload, 4 + length);
		assert_int_equal(client->stream->state, STREAM_FAILED);
		assert_int_equal(client->stream->outcome, failures[i].outcome);
		assert_string_equal(client->stream->reason, failures[i].text);
		client_close(client);
		assert_false(was_sent(harness, FRAME_RESET));
		harness_stop(harness);
	}
}

static void test_reset(void **state)
{
	struct harness *harness = harness_start();
	struct client *client = client_open(harness);
	struct frame_header header;
	const uint8_t class = FRAME_PEER_RESET;

	(void)state;
	far_hello(harness);
	sent(harness, FRAME_OPEN, &header);
	far_credit(harness, FRAME_OPENED, header.stream, 0);
	far_frame(harness, FRAME_RESET, header.stream, &class, 1);
	assert_true(client->broken);
	assert_int_equal(client->stream->outcome, STREAM_RESET);
	/* late frames of it find nobody */
	far_frame(harness, FRAME_DATA, header.stream, "late", 4);
	assert_int_equal(client->size, 0);
	client_close(client);
	harness_stop(harness);
}

/* A late frame never reaches the next user of a slot. */
static void test_generations(void **state)
{
	struct harness *harness = harness_start();
	struct client *client, *other;
	struct frame_header header;
	uint32_t first;

	(void)state;
	far_hello(harness);
	client = client_open(harness);
	sent(harness, FRAME_OPEN, &header);
	first = header.stream;
	far_credit(harness, FRAME_OPENED, first, 0);
	client_close(client);
	trunks_step(&harness->link);
	harness->sent_size = 0;
	other = client_open(harness);
	sent(harness, FRAME_OPEN, &header);
	assert_int_equal(header.stream & 0xffff, first & 0xffff);
	assert_int_not_equal(header.stream, first);
	far_credit(harness, FRAME_OPENED, header.stream, 0);
	far_frame(harness, FRAME_DATA, first, "for the first", 13);
	assert_int_equal(other->size, 0);
	far_frame(harness, FRAME_DATA, header.stream, "x", 1);
	assert_int_equal(other->size, 1);
	client_close(other);
	harness_stop(harness);
}

static void hostile_too_much(struct harness *harness, uint32_t stream)
{
	static char data[FRAME_PAYLOAD];

	/* nobody reads */
	((struct trunk_stream *)harness->trunk->streams.tqh_first)->owned = false;
	for (size_t i = 0; i <= TRUNK_CREDIT / sizeof(data) && !harness->closed; i++)
		far_frame(harness, FRAME_DATA, stream, data, sizeof(data));
	if (!harness->closed)
		fail_msg("it was let");
}

static void hostile_unopened_data(struct harness *harness, uint32_t stream)
{
	harness->trunk->streams.tqh_first->stream.state = STREAM_OPENING;
	far_frame(harness, FRAME_DATA, stream, "x", 1);
}

static void hostile_unopened_end(struct harness *harness, uint32_t stream)
{
	harness->trunk->streams.tqh_first->stream.state = STREAM_OPENING;
	far_frame(harness, FRAME_EOF, stream, NULL, 0);
}

static void hostile_data_after_end(struct harness *harness, uint32_t stream)
{
	far_frame(harness, FRAME_EOF, stream, NULL, 0);
	far_frame(harness, FRAME_DATA, stream, "x", 1);
}

static void hostile_hello(struct harness *harness, uint32_t stream)
{
	(void)stream;
	far_hello(harness);
}

static void hostile_length(struct harness *harness, uint32_t stream)
{
	uint8_t header[FRAME_HEADER];

	frame_put_header(header, FRAME_DATA, FRAME_PAYLOAD + 1, stream);
	harness_feed(harness, header, sizeof(header));
}

static void test_hostile(void **state)
{
	static void (*const attacks[])(struct harness *, uint32_t) = {
		hostile_too_much,	hostile_unopened_data, hostile_unopened_end,
		hostile_data_after_end, hostile_hello,	       hostile_length,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
		struct harness *harness = harness_start();
		struct client *client = client_open(harness);
		struct frame_header header;

		far_hello(harness);
		sent(harness, FRAME_OPEN, &header);
		far_credit(harness, FRAME_OPENED, header.stream, 0);
		attacks[i](harness, header.stream);
		assert_true(harness->closed); /* the whole trunk */
		assert_int_equal(client->stream->state, STREAM_FAILED);
		assert_int_equal(client->stream->outcome, STREAM_LOST);
		client_close(client);
		harness_stop(harness);
	}
}

/* Something else than a trunk answers: the flows go another way. */
static void test_no_trunk(void **state)
{
	static const char *const answers[] = { "SSH-2.0-what", "\1\0\0\20\0\0\0\0what is this, then",
					       "\5\0\0\1\0\0\0\0x" };

	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		struct harness *harness = harness_start();
		struct client *client = client_open(harness);

		assert_true(gateway_has_trunk(&harness->gateway));
		harness_feed(harness, answers[i], i ? 24 - 15 * (i == 2) : strlen(answers[i]));
		assert_true(harness->closed);
		assert_int_equal(client->stream->outcome, STREAM_AGAIN);
		assert_false(gateway_has_trunk(&harness->gateway));
		client_close(client);
		harness_stop(harness);
	}
}

static void test_unknown_type_and_ping(void **state)
{
	struct harness *harness = harness_start();
	struct client *client = client_open(harness);
	struct frame_header header;
	static char junk[FRAME_PAYLOAD];

	(void)state;
	far_hello(harness);
	sent(harness, FRAME_OPEN, &header);
	far_frame(harness, 200, header.stream, junk, sizeof(junk));
	far_frame(harness, 201, 0, junk, 3);
	far_credit(harness, FRAME_OPENED, header.stream, 0);
	assert_int_equal(client->stream->state, STREAM_CONNECTED);
	far_frame(harness, FRAME_PING, 0, "12345678", 8);
	assert_memory_equal(sent(harness, FRAME_PONG, &header), "12345678", 8);
	client_close(client);
	harness_stop(harness);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open),
		cmocka_unit_test(test_credit_is_kept),
		cmocka_unit_test(test_credit_is_granted),
		cmocka_unit_test(test_failed),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_generations),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_no_trunk),
		cmocka_unit_test(test_unknown_type_and_ping),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
