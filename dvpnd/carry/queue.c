/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Queues of bytes: a singly linked list of chunks, and the pool of spare ones. */
#include "carry/queue.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* Kept for the next burst; more goes back to malloc. */
#define POOL_SPARE_MAX 32
/* Chunks in one sendmsg: half a megabyte, as much as a socket takes at once. */
#define SEND_CHUNKS 8

struct queue_chunk {
	struct queue_chunk *next;
	uint32_t start, end;
	unsigned char data[QUEUE_CHUNK];
};

static struct queue_chunk *chunk_get(struct queue_pool *pool)
{
	struct queue_chunk *chunk = pool->spare;

	if (chunk) {
		pool->spare = chunk->next;
		pool->spare_count--;
	} else {
		chunk = malloc(sizeof(*chunk));
		if (!chunk)
			return NULL;
	}
	chunk->next = NULL;
	chunk->start = chunk->end = 0;
	pool->in_use++;
	return chunk;
}

static void chunk_put(struct queue_pool *pool, struct queue_chunk *chunk)
{
	pool->in_use--;
	if (pool->spare_count >= POOL_SPARE_MAX) {
		free(chunk);
		return;
	}
	chunk->next = pool->spare;
	pool->spare = chunk;
	pool->spare_count++;
}

void queue_pool_free(struct queue_pool *pool)
{
	while (pool->spare) {
		struct queue_chunk *chunk = pool->spare;

		pool->spare = chunk->next;
		free(chunk);
	}
	pool->spare_count = 0;
}

void queue_init(struct queue *queue, struct queue_pool *pool)
{
	*queue = (struct queue){ .pool = pool };
}

static void drop_head(struct queue *queue)
{
	struct queue_chunk *chunk = queue->head;

	queue->head = chunk->next;
	if (!queue->head)
		queue->tail = NULL;
	chunk_put(queue->pool, chunk);
}

void queue_clear(struct queue *queue)
{
	while (queue->head)
		drop_head(queue);
	queue->size = 0;
}

void *queue_reserve(struct queue *queue, size_t *room)
{
	struct queue_chunk *tail = queue->tail;

	if (!tail || tail->end == QUEUE_CHUNK) {
		struct queue_chunk *chunk = chunk_get(queue->pool);

		if (!chunk)
			return NULL;
		if (tail)
			tail->next = chunk;
		else
			queue->head = chunk;
		queue->tail = tail = chunk;
	}
	*room = QUEUE_CHUNK - tail->end;
	return tail->data + tail->end;
}

void queue_commit(struct queue *queue, size_t size)
{
	queue->tail->end += (uint32_t)size;
	queue->size += size;
	/* A reservation that nothing came of must not keep its chunk. */
	if (!queue->size)
		queue_clear(queue);
}

int queue_append(struct queue *queue, const void *data, size_t size)
{
	const unsigned char *from = data;

	while (size) {
		size_t room, part;
		void *to = queue_reserve(queue, &room);

		if (!to)
			return -1;
		part = size < room ? size : room;
		memcpy(to, from, part);
		queue_commit(queue, part);
		from += part;
		size -= part;
	}
	return 0;
}

const void *queue_peek(const struct queue *queue, size_t *size)
{
	if (!queue->size) {
		*size = 0;
		return NULL;
	}
	*size = queue->head->end - queue->head->start;
	return queue->head->data + queue->head->start;
}

void queue_consume(struct queue *queue, size_t size)
{
	queue->size -= size;
	while (queue->head) {
		struct queue_chunk *head = queue->head;
		size_t part = head->end - head->start;

		if (size < part) {
			head->start += (uint32_t)size;
			return;
		}
		size -= part;
		drop_head(queue);
	}
}

size_t queue_take(struct queue *queue, void *data, size_t size)
{
	unsigned char *to = data;
	size_t taken = 0;

	while (taken < size && queue->size) {
		size_t part;
		const void *from = queue_peek(queue, &part);

		if (part > size - taken)
			part = size - taken;
		memcpy(to + taken, from, part);
		queue_consume(queue, part);
		taken += part;
	}
	return taken;
}

ssize_t queue_send(struct queue *queue, int fd)
{
	ssize_t total = 0;

	while (queue->size) {
		struct iovec iov[SEND_CHUNKS];
		struct msghdr message = { .msg_iov = iov };
		size_t wanted = 0;
		ssize_t sent;

		for (struct queue_chunk *chunk = queue->head;
		     chunk && message.msg_iovlen < SEND_CHUNKS; chunk = chunk->next) {
			iov[message.msg_iovlen].iov_base = chunk->data + chunk->start;
			iov[message.msg_iovlen].iov_len = chunk->end - chunk->start;
			wanted += iov[message.msg_iovlen++].iov_len;
		}
		sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0) {
			if (errno == EINTR)
				continue;
			return errno == EAGAIN || errno == EWOULDBLOCK ? total : -1;
		}
		queue_consume(queue, (size_t)sent);
		total += sent;
		if ((size_t)sent < wanted)
			break;
	}
	return total;
}
