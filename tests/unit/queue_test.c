/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Queues of bytes: order across chunks, chunks that come back, sockets that take little. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "carry/queue.h"

/* As many spare chunks as a pool may keep. */
#define SPARE_MAX 32
/* What dvpnd's sockets are. */
#define TYPE (SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK)

struct fixture {
	struct queue_pool pool;
	struct queue queue;
	size_t written, seen; /* positions in the sequence of bytes */
};

/* A sequence that no shift by a chunk or a power of two leaves the same. */
static unsigned char sequence(size_t at)
{
	return (unsigned char)((at * 7 + at / 251 + at / 65521) & 0xff);
}

static void fill(unsigned char *to, size_t size, size_t at)
{
	for (size_t i = 0; i < size; i++)
		to[i] = sequence(at + i);
}

static void append(struct fixture *fixture, size_t size)
{
	unsigned char *data = malloc(size + 1);

	assert_non_null(data);
	fill(data, size, fixture->written);
	assert_int_equal(queue_append(&fixture->queue, data, size), 0);
	fixture->written += size;
	free(data);
}

static void see(struct fixture *fixture, const unsigned char *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (data[i] != sequence(fixture->seen + i))
			fail_msg("byte %zu is %u", fixture->seen + i, data[i]);
	fixture->seen += size;
}

static void take(struct fixture *fixture, size_t size, size_t expected)
{
	unsigned char *data = malloc(size + 1);

	assert_non_null(data);
	assert_int_equal(queue_take(&fixture->queue, data, size), expected);
	see(fixture, data, expected);
	free(data);
}

static void assert_holds(const struct fixture *fixture, size_t size, size_t chunks)
{
	assert_int_equal(fixture->queue.size, size);
	assert_int_equal(fixture->written - fixture->seen, size);
	assert_int_equal(fixture->pool.in_use, chunks);
}

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	if (!fixture)
		return -1;
	queue_init(&fixture->queue, &fixture->pool);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;
	size_t kept;

	queue_clear(&fixture->queue);
	kept = fixture->pool.in_use;
	queue_pool_free(&fixture->pool);
	free(fixture);
	return kept ? -1 : 0;
}

static void test_empty(void **state)
{
	struct fixture *fixture = *state;
	size_t size = 1;

	assert_null(queue_peek(&fixture->queue, &size));
	assert_int_equal(size, 0);
	take(fixture, 10, 0);
	append(fixture, 0);
	queue_consume(&fixture->queue, 0);
	queue_clear(&fixture->queue);
	assert_int_equal(queue_send(&fixture->queue, -1), 0);
	assert_holds(fixture, 0, 0);
	assert_null(fixture->queue.head);
	assert_null(fixture->queue.tail);
}

/* Sizes around the boundary, in one piece and out in one. */
static void test_chunk_boundaries(void **state)
{
	static const struct {
		size_t size, chunks;
	} cases[] = {
		{ 1, 1 },
		{ QUEUE_CHUNK - 1, 1 },
		{ QUEUE_CHUNK, 1 },
		{ QUEUE_CHUNK + 1, 2 },
		{ 2 * QUEUE_CHUNK - 1, 2 },
		{ 2 * QUEUE_CHUNK, 2 },
		{ 2 * QUEUE_CHUNK + 1, 3 },
		{ 20 * QUEUE_CHUNK + 5, 21 },
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		append(fixture, cases[i].size);
		assert_holds(fixture, cases[i].size, cases[i].chunks);
		take(fixture, cases[i].size + 1, cases[i].size);
		assert_holds(fixture, 0, 0);
	}
}

static void test_append_fills_the_last_chunk(void **state)
{
	struct fixture *fixture = *state;

	append(fixture, QUEUE_CHUNK - 10);
	append(fixture, 10);
	assert_holds(fixture, QUEUE_CHUNK, 1);
	append(fixture, 1);
	assert_holds(fixture, QUEUE_CHUNK + 1, 2);
	append(fixture, QUEUE_CHUNK);
	assert_holds(fixture, 2 * QUEUE_CHUNK + 1, 3);
	take(fixture, 3 * QUEUE_CHUNK, 2 * QUEUE_CHUNK + 1);
}

static void test_take_stops_where_asked(void **state)
{
	struct fixture *fixture = *state;

	append(fixture, 2 * QUEUE_CHUNK);
	take(fixture, 0, 0);
	take(fixture, 1, 1);
	assert_holds(fixture, 2 * QUEUE_CHUNK - 1, 2);
	take(fixture, QUEUE_CHUNK - 2, QUEUE_CHUNK - 2);
	assert_holds(fixture, QUEUE_CHUNK + 1, 2);
	take(fixture, 2, 2); /* one byte of each chunk */
	assert_holds(fixture, QUEUE_CHUNK - 1, 1);
	take(fixture, QUEUE_CHUNK - 1, QUEUE_CHUNK - 1);
	assert_holds(fixture, 0, 0);
}

/* libssh2 is offered the same bytes at the same place again. */
static void test_head_stays_where_it_is(void **state)
{
	struct fixture *fixture = *state;
	const unsigned char *head;
	size_t size;

	append(fixture, 100);
	head = queue_peek(&fixture->queue, &size);
	assert_int_equal(size, 100);
	append(fixture, 3 * QUEUE_CHUNK);
	assert_ptr_equal(queue_peek(&fixture->queue, &size), head);
	assert_int_equal(size, QUEUE_CHUNK);
	queue_consume(&fixture->queue, 10);
	assert_ptr_equal(queue_peek(&fixture->queue, &size), head + 10);
	assert_int_equal(size, QUEUE_CHUNK - 10);
	see(fixture, head, 10);
	take(fixture, 4 * QUEUE_CHUNK, 3 * QUEUE_CHUNK + 90);
}

static void test_peek_and_consume(void **state)
{
	struct fixture *fixture = *state;
	const unsigned char *head;
	size_t size;

	append(fixture, 3 * QUEUE_CHUNK);
	/* more than the head at once: across one whole chunk */
	head = queue_peek(&fixture->queue, &size);
	see(fixture, head, QUEUE_CHUNK);
	fixture->seen += QUEUE_CHUNK + 5;
	queue_consume(&fixture->queue, 2 * QUEUE_CHUNK + 5);
	assert_holds(fixture, QUEUE_CHUNK - 5, 1);
	head = queue_peek(&fixture->queue, &size);
	assert_int_equal(size, QUEUE_CHUNK - 5);
	see(fixture, head, size);
	queue_consume(&fixture->queue, size);
	assert_holds(fixture, 0, 0);
	assert_null(queue_peek(&fixture->queue, &size));
}

static void test_reserve_and_commit(void **state)
{
	struct fixture *fixture = *state;
	size_t room;
	unsigned char *to = queue_reserve(&fixture->queue, &room);

	assert_non_null(to);
	assert_int_equal(room, QUEUE_CHUNK);
	queue_commit(&fixture->queue, 0);
	assert_holds(fixture, 0, 0); /* nothing came of it: the chunk is back */

	to = queue_reserve(&fixture->queue, &room);
	fill(to, 7, 0);
	queue_commit(&fixture->queue, 7);
	to = queue_reserve(&fixture->queue, &room);
	assert_int_equal(room, QUEUE_CHUNK - 7);
	fill(to, room, 7);
	queue_commit(&fixture->queue, room);
	fixture->written = QUEUE_CHUNK;
	assert_holds(fixture, QUEUE_CHUNK, 1);
	take(fixture, QUEUE_CHUNK, QUEUE_CHUNK);
	assert_holds(fixture, 0, 0);
}

/* Behind full chunks a reservation takes another one, which must not be lost,
 * nor be in the way, when nothing is committed. */
static void test_reservation_behind_bytes(void **state)
{
	struct fixture *fixture = *state;
	size_t room;

	append(fixture, QUEUE_CHUNK);
	assert_non_null(queue_reserve(&fixture->queue, &room));
	assert_int_equal(room, QUEUE_CHUNK);
	queue_commit(&fixture->queue, 0);
	assert_int_equal(fixture->queue.size, QUEUE_CHUNK);
	append(fixture, 3);
	assert_holds(fixture, QUEUE_CHUNK + 3, 2);
	assert_non_null(queue_reserve(&fixture->queue, &room));
	assert_int_equal(room, QUEUE_CHUNK - 3);
	queue_commit(&fixture->queue, 0);
	take(fixture, QUEUE_CHUNK, QUEUE_CHUNK);
	take(fixture, QUEUE_CHUNK, 3);
	assert_holds(fixture, 0, 0);

	append(fixture, QUEUE_CHUNK);
	assert_non_null(queue_reserve(&fixture->queue, &room));
	queue_commit(&fixture->queue, 0);
	take(fixture, QUEUE_CHUNK, QUEUE_CHUNK);
	assert_holds(fixture, 0, 0);
}

static void test_clear(void **state)
{
	struct fixture *fixture = *state;

	append(fixture, 5 * QUEUE_CHUNK + 1);
	take(fixture, 1, 1);
	queue_clear(&fixture->queue);
	fixture->seen = fixture->written;
	assert_holds(fixture, 0, 0);
	append(fixture, 10);
	assert_holds(fixture, 10, 1);
	take(fixture, 10, 10);
}

static void test_pool_keeps_a_few(void **state)
{
	struct fixture *fixture = *state;

	append(fixture, (SPARE_MAX + 8) * (size_t)QUEUE_CHUNK);
	assert_int_equal(fixture->pool.spare_count, 0);
	assert_int_equal(fixture->pool.in_use, SPARE_MAX + 8);
	take(fixture, 5 * QUEUE_CHUNK, 5 * QUEUE_CHUNK);
	assert_int_equal(fixture->pool.spare_count, 5);
	queue_clear(&fixture->queue);
	fixture->seen = fixture->written;
	assert_int_equal(fixture->pool.spare_count, SPARE_MAX);
	assert_holds(fixture, 0, 0);
	/* spare ones are used before new ones */
	append(fixture, 3 * QUEUE_CHUNK);
	assert_int_equal(fixture->pool.spare_count, SPARE_MAX - 3);
	take(fixture, 3 * QUEUE_CHUNK, 3 * QUEUE_CHUNK);
	queue_pool_free(&fixture->pool);
	assert_int_equal(fixture->pool.spare_count, 0);
	assert_null(fixture->pool.spare);
}

static void test_queues_share_a_pool(void **state)
{
	struct fixture *fixture = *state;
	struct queue other;

	queue_init(&other, &fixture->pool);
	append(fixture, 10);
	assert_int_equal(queue_append(&other, "other", 5), 0);
	assert_int_equal(fixture->pool.in_use, 2);
	queue_clear(&other);
	assert_int_equal(fixture->pool.in_use, 1);
	take(fixture, 10, 10);
	assert_holds(fixture, 0, 0);
}

/* Bytes in and out by pieces of all sizes, from a fixed seed. */
static void test_any_pieces(void **state)
{
	struct fixture *fixture = *state;
	uint32_t seed = 20031;

	for (int i = 0; i < 3000; i++) {
		size_t size, most, fewest;

		seed = seed * 1664525 + 1013904223;
		size = (seed >> 8) % (i % 3 ? 1000 : 2 * QUEUE_CHUNK);
		if (seed & 0x80000000)
			append(fixture, size);
		else
			take(fixture, size,
			     size < fixture->queue.size ? size : fixture->queue.size);
		assert_int_equal(fixture->written - fixture->seen, fixture->queue.size);
		fewest = (fixture->queue.size + QUEUE_CHUNK - 1) / QUEUE_CHUNK;
		most = fixture->queue.size ? fixture->queue.size / QUEUE_CHUNK + 2 : 0;
		assert_in_range(fixture->pool.in_use, fewest, most);
	}
	assert_true(fixture->written > (size_t)40 * QUEUE_CHUNK);
}

/* A pair whose sending side holds a few kilobytes only. */
static void small_pair(int fds[2])
{
	int size = 1;

	assert_int_equal(socketpair(AF_UNIX, TYPE, 0, fds), 0);
	assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
}

static void receive(struct fixture *fixture, int fd)
{
	unsigned char data[4096];
	ssize_t got;

	while ((got = read(fd, data, sizeof(data))) > 0)
		see(fixture, data, (size_t)got);
	assert_int_equal(got, -1);
	assert_int_equal(errno, EAGAIN);
}

/* Each call sends all that the socket takes; how many calls it took. */
static size_t send_all(struct fixture *fixture, int fds[2])
{
	size_t turns = 0;

	while (fixture->queue.size && turns++ < 10000) {
		size_t before = fixture->queue.size;
		ssize_t part = queue_send(&fixture->queue, fds[0]);

		assert_true(part > 0);
		assert_int_equal(before - fixture->queue.size, part);
		if (fixture->queue.size) {
			assert_int_equal(queue_send(&fixture->queue, fds[0]), 0);
			assert_int_equal(fixture->queue.size, before - (size_t)part);
		}
		receive(fixture, fds[1]);
	}
	assert_holds(fixture, 0, 0);
	return turns;
}

static void test_send_by_pieces(void **state)
{
	struct fixture *fixture = *state;
	int fds[2];

	small_pair(fds);
	append(fixture, 10 * QUEUE_CHUNK + 17);
	assert_true(send_all(fixture, fds) > 10); /* it was small indeed */
	close(fds[0]);
	close(fds[1]);
}

/* More chunks than one call to the kernel takes, from the middle of the first. */
static void test_send_many_chunks(void **state)
{
	struct fixture *fixture = *state;
	int fds[2], size = 1 << 20;

	assert_int_equal(socketpair(AF_UNIX, TYPE, 0, fds), 0);
	/* Only root gets beyond the system's limit; without, it takes more turns. */
	if (setsockopt(fds[0], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
		assert_int_equal(errno, EPERM);
	append(fixture, 12 * QUEUE_CHUNK);
	take(fixture, 3, 3);
	assert_in_range(send_all(fixture, fds), 1, 100);
	close(fds[0]);
	close(fds[1]);
}

static void test_send_to_nobody(void **state)
{
	struct fixture *fixture = *state;
	int fds[2];

	small_pair(fds);
	close(fds[1]);
	append(fixture, 10);
	errno = 0;
	assert_int_equal(queue_send(&fixture->queue, fds[0]), -1); /* and no SIGPIPE */
	assert_int_equal(errno, EPIPE);
	assert_int_equal(fixture->queue.size, 10);
	close(fds[0]);
	assert_int_equal(queue_send(&fixture->queue, fds[0]), -1);
	assert_int_equal(errno, EBADF);
	take(fixture, 10, 10);
}

/* The descriptor need not be non-blocking for the call not to block. */
static void test_send_never_blocks(void **state)
{
	struct fixture *fixture = *state;
	int fds[2];

	small_pair(fds);
	assert_int_equal(fcntl(fds[0], F_SETFL, 0), 0);
	append(fixture, 4 * QUEUE_CHUNK);
	alarm(20); /* ends a test that would hang */
	assert_in_range(queue_send(&fixture->queue, fds[0]), 1, 4 * QUEUE_CHUNK - 1);
	alarm(0);
	receive(fixture, fds[1]);
	close(fds[0]);
	close(fds[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_empty),
		TEST(test_chunk_boundaries),
		TEST(test_append_fills_the_last_chunk),
		TEST(test_take_stops_where_asked),
		TEST(test_head_stays_where_it_is),
		TEST(test_peek_and_consume),
		TEST(test_reserve_and_commit),
		TEST(test_reservation_behind_bytes),
		TEST(test_clear),
		TEST(test_pool_keeps_a_few),
		TEST(test_queues_share_a_pool),
		TEST(test_any_pieces),
		TEST(test_send_by_pieces),
		TEST(test_send_many_chunks),
		TEST(test_send_to_nobody),
		TEST(test_send_never_blocks),
	};

	return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
