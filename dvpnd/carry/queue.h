/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A queue of bytes in chunks from a pool.
 *
 * An empty queue holds no memory, so a connection that is idle costs none; what
 * lies at the head never moves while it is there, which libssh2 asks of data
 * that it wants to be offered again.  A pool belongs to one thread.
 */
#ifndef DVPND_CARRY_QUEUE_H
#define DVPND_CARRY_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Payload of a chunk; with its header it is 64 KiB. */
#define QUEUE_CHUNK (65536 - 32)

struct queue_chunk;

struct queue_pool {
	struct queue_chunk *spare;
	size_t spare_count;
	size_t in_use; /* chunks in queues now */
};

struct queue {
	struct queue_pool *pool;
	struct queue_chunk *head, *tail;
	size_t size; /* bytes */
};

void queue_pool_free(struct queue_pool *pool); /* when no queue holds a chunk */

void queue_init(struct queue *queue, struct queue_pool *pool);
void queue_clear(struct queue *queue);

/* Room at the tail, at least one byte: write there, then commit what was
 * written.  NULL where memory is out. */
void *queue_reserve(struct queue *queue, size_t *room);
void queue_commit(struct queue *queue, size_t size);

/* Copies in, across chunks.  0, or -1 where memory is out: then a part may have
 * been taken and the owner has to give up. */
int queue_append(struct queue *queue, const void *data, size_t size);

/* The head, contiguous, for reading; size 0 when empty. */
const void *queue_peek(const struct queue *queue, size_t *size);
void queue_consume(struct queue *queue, size_t size);
/* Copies out and consumes; how much there was, at most size. */
size_t queue_take(struct queue *queue, void *data, size_t size);

/* Sends what the socket takes.  Bytes sent, or -1 with errno (not EAGAIN). */
ssize_t queue_send(struct queue *queue, int fd);

#endif
