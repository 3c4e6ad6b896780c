// SPDX-License-Identifier: GPL-2.0-or-later
/* Blocks go round last in, first out, so that few pages stay in caches; beyond
 * WARM_BLOCKS the kernel gets the pages of free ones back. */
#include "trunk_pool.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#define WARM_BLOCKS 256
#define PIECES 16 /* a writev's */

static void *reserve(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

int pool_start(struct pool *pool, uint32_t reserved, uint32_t promisable)
{
	memset(pool, 0, sizeof(*pool));
	pool->count = reserved + promisable + 1;
	pool->touched = 1;
	pool->promisable = pool->unpromised = promisable;
	pool->memory = reserve((size_t)pool->count * POOL_BLOCK);
	pool->next = reserve(pool->count * sizeof(*pool->next));
	if (pool->memory && pool->next)
		return 0;
	pool_stop(pool);
	return -1;
}

void pool_stop(struct pool *pool)
{
	int error = errno;

	if (pool->memory)
		munmap(pool->memory, (size_t)pool->count * POOL_BLOCK);
	if (pool->next)
		munmap(pool->next, pool->count * sizeof(*pool->next));
	pool->memory = NULL;
	pool->next = NULL;
	errno = error;
}

uint32_t pool_blocks_beyond(uint32_t bytes)
{
	return bytes > POOL_BLOCK ? (bytes + POOL_BLOCK - 1) / POOL_BLOCK : 0;
}

bool pool_promise(struct pool *pool, uint32_t blocks)
{
	if (blocks > pool->unpromised / 4)
		return false;
	pool->unpromised -= blocks;
	return true;
}

static uint8_t *block_data(const struct pool *pool, uint16_t block)
{
	return pool->memory + (size_t)block * POOL_BLOCK;
}

static uint16_t list_pop(struct pool *pool, uint16_t *list)
{
	uint16_t block = *list;

	*list = pool->next[block];
	return block;
}

/* 0: there is none. */
static uint16_t block_take(struct pool *pool)
{
	uint16_t block = 0;

	if (pool->warm) {
		block = list_pop(pool, &pool->warm);
		pool->warm_count--;
	} else if (pool->cold) {
		block = list_pop(pool, &pool->cold);
	} else if (pool->touched < pool->count) {
		block = (uint16_t)pool->touched++;
	}
	if (block) {
		pool->next[block] = 0;
		pool->in_use++;
	}
	return block;
}

static void block_give(struct pool *pool, uint16_t block)
{
	uint16_t *list = &pool->warm;

	pool->in_use--;
	if (pool->warm_count < WARM_BLOCKS)
		pool->warm_count++;
	else if (madvise(block_data(pool, block), POOL_BLOCK, MADV_DONTNEED) == 0)
		list = &pool->cold;
	else
		pool->warm_count++;
	pool->next[block] = *list;
	*list = block;
}

static void pool_queue_drop_first(struct pool *pool, struct queue *queue)
{
	uint16_t block = queue->first;

	queue->first = pool->next[block];
	if (!queue->first)
		queue->last = 0;
	block_give(pool, block);
}

/* Bytes that stay within one block are moved to its front, so that they never
 * take a second one. */
static void pool_queue_compact(struct pool *pool, struct queue *queue, size_t size)
{
	uint8_t *data = block_data(pool, queue->first);

	if (queue->first != queue->last || queue->start + queue->bytes + size <= POOL_BLOCK)
		return;
	memmove(data, data + queue->start, queue->bytes);
	queue->start = 0;
}

int pool_queue_append(struct pool *pool, struct queue *queue, const uint8_t *data, size_t size)
{
	if (queue->first)
		pool_queue_compact(pool, queue, size);
	while (size) {
		size_t used = (queue->start + queue->bytes) % POOL_BLOCK;
		size_t part = POOL_BLOCK - used < size ? POOL_BLOCK - used : size;

		if (used == 0) {
			uint16_t block = block_take(pool);

			if (!block)
				return -1;
			if (queue->last)
				pool->next[queue->last] = block;
			else
				queue->first = block;
			queue->last = block;
		}
		memcpy(block_data(pool, queue->last) + used, data, part);
		queue->bytes += (uint32_t)part;
		data += part;
		size -= part;
	}
	return 0;
}

/* The bytes, which are also left in *wanted. */
static int pool_queue_pieces(const struct pool *pool, const struct queue *queue,
			struct iovec pieces[PIECES], size_t *wanted)
{
	size_t left = queue->bytes, offset = queue->start;
	uint16_t block = queue->first;
	int count = 0;

	for (; left && count < PIECES; count++) {
		size_t part = POOL_BLOCK - offset < left ? POOL_BLOCK - offset : left;

		pieces[count].iov_base = block_data(pool, block) + offset;
		pieces[count].iov_len = part;
		left -= part;
		offset = 0;
		block = pool->next[block];
	}
	*wanted = queue->bytes - left;
	return count;
}

static void pool_queue_consume(struct pool *pool, struct queue *queue, size_t size)
{
	size_t end = queue->start + size;

	queue->bytes -= (uint32_t)size;
	for (; end >= POOL_BLOCK; end -= POOL_BLOCK)
		pool_queue_drop_first(pool, queue);
	queue->start = (uint16_t)end;
	if (queue->bytes == 0)
		pool_queue_clear(pool, queue);
}

ssize_t pool_queue_write(struct pool *pool, struct queue *queue, int fd)
{
	struct iovec pieces[PIECES];
	ssize_t put, total = 0;
	size_t wanted;

	/* Up to a write that comes back short: only after that does the kernel
	 * tell of room once more. */
	while (queue->bytes) {
		int count = pool_queue_pieces(pool, queue, pieces, &wanted);

		put = writev(fd, pieces, count);
		if (put < 0)
			return errno == EAGAIN || errno == EINTR ? total : -1;
		pool_queue_consume(pool, queue, (size_t)put);
		total += put;
		if ((size_t)put < wanted)
			break;
	}
	return total;
}

void pool_queue_clear(struct pool *pool, struct queue *queue)
{
	while (queue->first)
		pool_queue_drop_first(pool, queue);
	memset(queue, 0, sizeof(*queue));
}
