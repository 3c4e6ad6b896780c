/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory for the bytes that servers do not take at once: blocks of one size,
 * mapped at the start and free of cost until used, and queues made of them.
 *
 * A queue of up to one block's bytes takes one block, any other of n blocks' bytes
 * at most n + 1.  Credit is promised accordingly, so a block that is
 * asked for is there: `reserved` of them are one for each stream, the others are
 * promised by pool_promise.
 */
#ifndef CHROOT_TRUNK_POOL_H
#define CHROOT_TRUNK_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define POOL_BLOCK 16384u

struct pool {
	uint32_t unpromised; /* blocks, beyond the reserved ones */
	uint32_t promisable; /* of them at the start */
	uint32_t in_use;
	/* private */
	uint8_t *memory;
	uint16_t *next; /* of each block; 0 ends a list, block 0 is not used */
	uint32_t count, touched;
	uint16_t warm, cold; /* free blocks: with pages, and without */
	uint32_t warm_count;
};

/* All zero is an empty queue, which holds no block. */
struct queue {
	uint32_t bytes;
	uint16_t first, last;
	uint16_t start; /* in the first block */
};

/* 0, or -1 with errno: there is no address space. */
int pool_start(struct pool *pool, uint32_t reserved, uint32_t promisable);
void pool_stop(struct pool *pool);

/* Blocks that a queue of up to so many bytes takes beyond its reserved one. */
uint32_t pool_blocks_beyond(uint32_t bytes);

/* Takes that many out of `unpromised`; false where that leaves too few for
 * others. */
bool pool_promise(struct pool *pool, uint32_t blocks);

/* -1: a promise was not kept, which is a fault of ours. */
int pool_queue_append(struct pool *pool, struct queue *queue, const uint8_t *data, size_t size);

/* Writes what is taken now.  The bytes, or -1 with errno, not EAGAIN. */
ssize_t pool_queue_write(struct pool *pool, struct queue *queue, int fd);

void pool_queue_clear(struct pool *pool, struct queue *queue);

#endif
