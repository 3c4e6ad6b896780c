/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loads on connections that are there: bulk one way, and single bytes there and
 * back.
 *
 * Bulk counts what has arrived at its end within so many seconds of the connection's
 * beginning there: bytes parked in buffers on the way are no speed, and TCP's start is part
 * of it.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common.h"

#define CHUNK (256 * 1024)
#define STREAMS 64
#define ECHO_BYTES 100000

struct stream {
	pthread_t thread;
	const struct target *target;
	bool up;
	double seconds;
	uint64_t bytes; /* arrived */
	bool failed;
};

static char chunk[CHUNK]; /* the server's zeroes, or what is sent: nobody looks */

/* The server counts, and says when its time is up; until then we send. */
static int stream_up(struct stream *s, int fd)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN | POLLOUT };
	double end = now_ms() + s->seconds * 1e3 + PATIENCE_MS;

	while (now_ms() < end && poll(&wait, 1, (int)PATIENCE_MS) > 0) {
		if (wait.revents & POLLIN)
			return read_all(fd, &s->bytes, sizeof(s->bytes));
		if (send(fd, chunk, sizeof(chunk), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
			errno != EAGAIN)
			return -1;
	}
	return -1;
}

static int stream_down(struct stream *s, int fd)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	double left = s->seconds * 1e3, end = now_ms() + left;
	char *bytes = malloc(CHUNK);
	ssize_t n = 1;

	if (!bytes)
		return -1;
	for (; n > 0 && left > 0; left = end - now_ms()) {
		if (poll(&wait, 1, (int)left + 1) < 1)
			continue;
		n = recv(fd, bytes, CHUNK, 0);
		if (n > 0)
			s->bytes += (uint64_t)n;
	}
	free(bytes);
	return n > 0 ? 0 : -1;
}

static void *stream_run(void *argument)
{
	struct stream *s = argument;
	/* What is still under way is thrown away, not waited for. */
	struct linger drop = { .l_onoff = 1 };
	unsigned char wish[2] = { s->up ? 'u' : 'd', (unsigned char)(s->seconds * 10) };
	int fd = target_connect_wait(s->target);

	s->failed = fd < 0 || write_all(fd, wish, sizeof(wish)) ||
		(s->up ? stream_up(s, fd) : stream_down(s, fd));
	if (fd >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &drop, sizeof(drop));
		close(fd);
	}
	return NULL;
}

int load_bulk(const struct target *target, bool up, int streams, double seconds)
{
	struct stream all[STREAMS];
	uint64_t bytes = 0;
	int failed = 0, i;

	for (i = 0; i < streams && i < STREAMS; i++) {
		all[i] = (struct stream){ .target = target, .up = up, .seconds = seconds };
		if (pthread_create(&all[i].thread, NULL, stream_run, &all[i]))
			die("thread");
	}
	for (i = 0; i < streams && i < STREAMS; i++) {
		pthread_join(all[i].thread, NULL);
		failed += all[i].failed;
		bytes += all[i].bytes;
	}
	printf("{\"bytes\":%llu,\"mb_per_second\":%.3f,\"failed\":%d}\n",
		(unsigned long long)bytes, (double)bytes / seconds / 1e6, failed);
	return 0;
}

/* Bytes on their way, in the order of their sending. */
struct flight {
	double sent[ECHO_BYTES];
	size_t first, next;
};

static int echo_send(struct flight *f, int fd)
{
	char byte = 'e';

	if (f->next == ECHO_BYTES)
		return 0;
	f->sent[f->next] = now_ms();
	if (send(fd, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1)
		return -1;
	f->next++;
	return 0;
}

static int echo_receive(struct flight *f, int fd, struct samples *times)
{
	char bytes[256];
	ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (n <= 0)
		return n < 0 && errno == EAGAIN ? 0 : -1;
	for (; n > 0 && f->first < f->next; n--)
		samples_add(times, now_ms() - f->sent[f->first++]);
	return 0;
}

/* A byte each so many ms whether or not the last is back: whoever waits for that
 * asks least often just when it takes longest.  Ends when all are back. */
static int echo_run(struct flight *f, int fd, double seconds, double pause_ms, struct samples *times)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	double now = now_ms(), next = now, stop = now + seconds * 1e3, end = stop + PATIENCE_MS;

	for (; now < end && (now < stop || f->first < f->next); now = now_ms()) {
		if (now >= next && now < stop) {
			if (echo_send(f, fd))
				return -1;
			next += pause_ms;
		}
		if (poll(&wait, 1, next > now && now < stop ? (int)(next - now) + 1 : 1) > 0 &&
			echo_receive(f, fd, times))
			return -1;
	}
	return f->first < f->next ? -1 : 0;
}

int load_echo(const struct target *target, double seconds, double pause_ms)
{
	static struct flight flight;
	struct samples times = { .count = 0 };
	int fd = target_connect_wait(target);
	bool failed = fd < 0 || echo_run(&flight, fd, seconds, pause_ms, &times);

	printf("{\"ok\":%zu,\"failed\":%d,\"p50\":%.4f,\"p99\":%.4f}\n", times.count, failed,
		samples_at(&times, 0.5), samples_at(&times, 0.99));
	free(times.values);
	if (fd >= 0)
		close(fd);
	return 0;
}
