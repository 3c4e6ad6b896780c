/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The far trunk's blocks: queues keep the order of their bytes and take no more
 * blocks than are promised for them, whatever comes and goes; what is free is used
 * again, and the kernel gets pages back.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "../../chroot/trunk_pool.c"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#define RESERVED 8
#define PROMISABLE 1024
#define STEPS 40000

static struct pool pool;
static int ends[2];
static uint8_t data[8 * POOL_BLOCK], got[8 * POOL_BLOCK];

static int setup(void **state)
{
	(void)state;
	return pool_start(&pool, RESERVED, PROMISABLE) ||
	       socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends);
}

static int teardown(void **state)
{
	(void)state;
	close(ends[0]);
	close(ends[1]);
	pool_stop(&pool);
	return 0;
}

static void fill(uint8_t *to, size_t size, uint64_t from)
{
	size_t i;

	for (i = 0; i < size; i++)
		to[i] = (uint8_t)((from + i) * 2654435761u >> 13);
}

/* What one queue of at most `most` bytes takes in blocks, over many random steps. */
static uint32_t play(uint32_t most, unsigned *seed)
{
	uint64_t in = 0, out = 0;
	struct queue queue = { 0 };
	uint32_t blocks = 0;
	int i;

	for (i = 0; i < STEPS; i++) {
		size_t size = (size_t)rand_r(seed) % (rand_r(seed) % 4 ? 200 : most) + 1;
		ssize_t moved;

		if (size > most - queue.bytes)
			size = most - queue.bytes;
		fill(data, size, in);
		assert_int_equal(pool_queue_append(&pool, &queue, data, size), 0);
		in += size;
		blocks = pool.in_use > blocks ? pool.in_use : blocks;
		/* What the socket has no room for stays, in the middle of a block. */
		if (rand_r(seed) % 3 == 0)
			assert_true(pool_queue_write(&pool, &queue, ends[0]) >= 0);
		moved = recv(ends[1], got, (size_t)rand_r(seed) % 9000 + 1, 0);
		fill(data, moved > 0 ? (size_t)moved : 0, out);
		assert_memory_equal(got, data, moved > 0 ? (size_t)moved : 0);
		out += moved > 0 ? (uint64_t)moved : 0;
	}
	pool_queue_clear(&pool, &queue);
	while (recv(ends[1], got, sizeof(got), 0) > 0)
		;
	assert_int_equal(pool.in_use, 0);
	return blocks;
}

static void queue_takes_what_is_promised(void **state)
{
	static const uint32_t sizes[] = { 1000,		  POOL_BLOCK - 1,    POOL_BLOCK,
					  POOL_BLOCK + 1, 2 * POOL_BLOCK,    3 * POOL_BLOCK - 7,
					  4 * POOL_BLOCK, 4 * POOL_BLOCK + 1 };
	unsigned seed = (unsigned)time(NULL), begin = seed;
	int small = 4096;
	size_t i;

	(void)state;
	setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint32_t blocks = play(sizes[i], &seed);

		if (blocks > 1 + pool_blocks_beyond(sizes[i]))
			fail_msg("%u bytes took %u blocks, seed %u", sizes[i], blocks, begin);
	}
}

static void blocks_beyond_are_counted(void **state)
{
	(void)state;
	assert_int_equal(pool_blocks_beyond(0), 0);
	assert_int_equal(pool_blocks_beyond(POOL_BLOCK), 0);
	assert_int_equal(pool_blocks_beyond(POOL_BLOCK + 1), 2);
	assert_int_equal(pool_blocks_beyond(2 * POOL_BLOCK), 2);
	assert_int_equal(pool_blocks_beyond(16 * POOL_BLOCK), 16);
}

static void promises_leave_some_for_others(void **state)
{
	(void)state;
	assert_true(pool_promise(&pool, 0));
	assert_false(pool_promise(&pool, PROMISABLE / 4 + 1));
	assert_int_equal(pool.unpromised, PROMISABLE);
	assert_true(pool_promise(&pool, PROMISABLE / 4));
	assert_int_equal(pool.unpromised, PROMISABLE - PROMISABLE / 4);
	assert_false(pool_promise(&pool, PROMISABLE / 4));
}

static void empty_queue_holds_nothing(void **state)
{
	struct queue queue = { 0 };

	(void)state;
	assert_int_equal(pool_queue_append(&pool, &queue, data, 0), 0);
	assert_int_equal(pool.in_use, 0);
	assert_int_equal(pool_queue_write(&pool, &queue, ends[0]), 0);
	assert_int_equal(pool_queue_append(&pool, &queue, data, 2 * POOL_BLOCK), 0);
	assert_int_equal(pool.in_use, 2);
	assert_int_equal(pool_queue_write(&pool, &queue, ends[0]), 2 * POOL_BLOCK);
	assert_int_equal(pool.in_use, 0);
	assert_int_equal(queue.first, 0);
}

/* More than one writev takes is written all the same, up to where it is refused. */
static void queue_write_goes_on(void **state)
{
	struct queue queue = { 0 };
	int fds[2], i;

	(void)state;
	assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
	assert_int_equal(fcntl(fds[1], F_SETPIPE_SZ, 64 * POOL_BLOCK), 64 * POOL_BLOCK);
	for (i = 0; i < 200; i++)
		assert_int_equal(pool_queue_append(&pool, &queue, data, POOL_BLOCK), 0);
	assert_int_equal(pool_queue_write(&pool, &queue, fds[1]), 64 * POOL_BLOCK);
	assert_int_equal(queue.bytes, 136 * POOL_BLOCK);
	assert_int_equal(pool_queue_write(&pool, &queue, fds[1]), 0);
	close(fds[0]);
	assert_int_equal(pool_queue_write(&pool, &queue, fds[1]), -1);
	pool_queue_clear(&pool, &queue);
	assert_int_equal(pool.in_use, 0);
	close(fds[1]);
}

static void pool_comes_to_its_end(void **state)
{
	struct queue queue = { 0 };
	int i, turn;

	(void)state;
	for (turn = 0; turn < 3; turn++) {
		for (i = 0; i < RESERVED + PROMISABLE; i++)
			assert_int_equal(pool_queue_append(&pool, &queue, data, POOL_BLOCK), 0);
		assert_int_equal(pool.in_use, RESERVED + PROMISABLE);
		assert_int_equal(pool_queue_append(&pool, &queue, data, 1), -1);
		pool_queue_clear(&pool, &queue);
		assert_int_equal(pool.in_use, 0);
	}
}

static size_t resident_pages(void)
{
	static unsigned char pages[(size_t)(RESERVED + PROMISABLE + 1) * POOL_BLOCK / 4096];
	size_t i, count = 0;

	assert_int_equal(mincore(pool.memory, (size_t)pool.count * POOL_BLOCK, pages), 0);
	for (i = 0; i < sizeof(pages); i++)
		count += pages[i] & 1;
	return count;
}

static void pages_go_back(void **state)
{
	struct queue queue = { 0 };
	int i;

	(void)state;
	assert_int_equal(resident_pages(), 0);
	for (i = 0; i < PROMISABLE; i++)
		assert_int_equal(pool_queue_append(&pool, &queue, data, POOL_BLOCK), 0);
	assert_true(resident_pages() >= PROMISABLE * (POOL_BLOCK / 4096));
	pool_queue_clear(&pool, &queue);
	assert_true(resident_pages() <= WARM_BLOCKS * (POOL_BLOCK / 4096));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(blocks_beyond_are_counted),    CASE(promises_leave_some_for_others),
		CASE(empty_queue_holds_nothing),    CASE(queue_write_goes_on),
		CASE(pool_comes_to_its_end),	    CASE(pages_go_back),
		CASE(queue_takes_what_is_promised),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
