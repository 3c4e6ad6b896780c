/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loads on connections that are there: bulk one way, and a byte there and back
 * every now and then.
 *
 * Bulk counts what has arrived, from the first connect until the last byte, so neither
 * a slow start nor bytes parked in buffers on the way are counted as speed.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

#define CHUNK (256 * 1024)
#define STREAMS 64

struct stream {
	pthread_t thread;
	const struct target *target;
	bool up;
	double seconds;
	uint64_t bytes; /* arrived */
	bool failed;
};

static char chunk[CHUNK]; /* the server's zeroes, or what is sent: nobody looks */

static int stream_up(struct stream *s, int fd)
{
	double end = now_ms() + s->seconds * 1e3;

	while (now_ms() < end)
		if (write_all(fd, chunk, sizeof(chunk)))
			return -1;
	shutdown(fd, SHUT_WR);
	return read_all(fd, &s->bytes, sizeof(s->bytes));
}

static int stream_down(struct stream *s, int fd)
{
	char *bytes = malloc(CHUNK);
	ssize_t n;

	if (!bytes)
		return -1;
	do {
		n = recv(fd, bytes, CHUNK, 0);
		if (n > 0)
			s->bytes += (uint64_t)n;
	} while (n > 0 && !bytes[n - 1]);
	free(bytes);
	return n > 0 ? 0 : -1; /* the end without the last byte is none */
}

static void *stream_run(void *argument)
{
	struct stream *s = argument;
	unsigned char wish[2] = { s->up ? 'u' : 'd', (unsigned char)(s->seconds * 10) };
	int fd = target_connect_wait(s->target);

	s->failed = fd < 0 || write_all(fd, wish, sizeof(wish)) ||
		(s->up ? stream_up(s, fd) : stream_down(s, fd));
	if (fd >= 0)
		close(fd);
	return NULL;
}

int load_bulk(const struct target *target, bool up, int streams, double seconds)
{
	struct stream all[STREAMS];
	double start = now_ms(), took;
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
	took = now_ms() - start;
	printf("{\"bytes\":%llu,\"seconds\":%.3f,\"mb_per_second\":%.3f,\"failed\":%d}\n",
		(unsigned long long)bytes, took / 1e3, (double)bytes / took / 1e3, failed);
	return 0;
}

/* One connection; the next byte goes so long after the last came back. */
int load_echo(const struct target *target, double seconds, double pause_ms)
{
	struct samples times = { .count = 0 };
	struct timespec rest = { .tv_nsec = (long)(pause_ms * 1e6) };
	double end = now_ms() + seconds * 1e3, start;
	int fd = target_connect_wait(target), failed = fd < 0;
	char byte = 'e';

	while (!failed && now_ms() < end) {
		start = now_ms();
		if (write_all(fd, &byte, 1) || read_all(fd, &byte, 1))
			failed = 1;
		else
			samples_add(&times, now_ms() - start);
		nanosleep(&rest, NULL);
	}
	printf("{\"ok\":%zu,\"failed\":%d,\"p50\":%.4f,\"p99\":%.4f}\n", times.count, failed,
		samples_at(&times, 0.5), samples_at(&times, 0.99));
	return 0;
}
