/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loads that are about connections: made one after the other, many at a time, or
 * held open.  A connection counts as made when a byte has gone to the echo and back:
 * something near may accept it long before the far side knows.
 */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common.h"

enum state { STATE_FREE, STATE_CONNECTING, STATE_ASKED, STATE_HELD, STATE_FAILED };

struct connection {
	int fd;
	enum state state;
	double start;
};

struct tally {
	struct samples times;
	int failed, timed_out;
};

int load_connect(const struct target *target, int count)
{
	struct tally tally = { .failed = 0 };
	double start;
	char byte = 'x';
	int i, fd;

	for (i = 0; i < count; i++) {
		start = now_ms();
		fd = target_connect_wait(target);
		if (fd >= 0 && write_all(fd, &byte, 1) == 0 && read_all(fd, &byte, 1) == 0)
			samples_add(&tally.times, now_ms() - start);
		else
			tally.failed++;
		if (fd >= 0)
			close(fd);
	}
	printf("{\"ok\":%zu,\"failed\":%d,\"p50\":%.4f,\"p99\":%.4f}\n", tally.times.count,
		tally.failed, samples_at(&tally.times, 0.5), samples_at(&tally.times, 0.99));
	free(tally.times.values);
	return 0;
}

/* false: failed at once */
static bool connection_start(struct connection *c, uint32_t number, int epoll,
	const struct target *target)
{
	struct epoll_event event = { .events = EPOLLOUT, .data.u32 = number };

	c->start = now_ms();
	c->fd = target_connect(target);
	if (c->fd < 0)
		return false;
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event))
		die("epoll");
	c->state = STATE_CONNECTING;
	return true;
}

/* 1: the byte is back, 0: not yet, -1: failed. */
static int connection_step(struct connection *c, uint32_t number, int epoll)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = number };
	char byte = 'x';
	ssize_t n;

	if (c->state == STATE_CONNECTING) {
		if (send(c->fd, &byte, 1, MSG_NOSIGNAL) != 1)
			return -1;
		c->state = STATE_ASKED;
		return epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event) ? -1 : 0;
	}
	n = read(c->fd, &byte, 1);
	return n == 1 ? 1 : n < 0 && errno == EAGAIN ? 0 : -1;
}

static struct connection *connections_make(int count)
{
	struct connection *all = calloc((size_t)count, sizeof(*all));

	if (!all)
		die("connections");
	return all;
}

static bool is_open(const struct connection *c)
{
	return c->state == STATE_CONNECTING || c->state == STATE_ASKED;
}

static void connection_end(struct connection *c, enum state state)
{
	close(c->fd);
	c->state = state;
}

/* Ends those that have waited too long; how many they were. */
static int connections_expire(struct connection *all, int count, double now)
{
	int expired = 0, i;

	for (i = 0; i < count; i++)
		if (is_open(&all[i]) && now - all[i].start > PATIENCE_MS) {
			connection_end(&all[i], STATE_FAILED);
			expired++;
		}
	return expired;
}

/* Keeps every client busy until the end; how many are busy. */
static int clients_start(struct connection *all, int clients, int epoll,
	const struct target *target, bool go_on, struct tally *tally)
{
	int busy = 0, i;

	for (i = 0; i < clients; i++) {
		if (!is_open(&all[i]) && go_on &&
			!connection_start(&all[i], (uint32_t)i, epoll, target))
			tally->failed++;
		busy += is_open(&all[i]);
	}
	return busy;
}

static void rate_event(struct connection *c, uint32_t number, int epoll, struct tally *tally)
{
	int step = connection_step(c, number, epoll);

	if (step == 0)
		return;
	if (step > 0)
		samples_add(&tally->times, now_ms() - c->start);
	else
		tally->failed++;
	connection_end(c, STATE_FREE);
}

int load_rate(const struct target *target, int clients, double seconds)
{
	struct connection *all = connections_make(clients);
	struct epoll_event events[256];
	struct tally tally = { .failed = 0 };
	double start = now_ms(), end = start + seconds * 1e3, last = start;
	int epoll = epoll_create1(EPOLL_CLOEXEC), n, i;

	while (clients_start(all, clients, epoll, target, now_ms() < end, &tally) > 0) {
		n = epoll_wait(epoll, events, 256, 100);
		for (i = 0; i < n; i++)
			rate_event(&all[events[i].data.u32], events[i].data.u32, epoll, &tally);
		tally.timed_out += connections_expire(all, clients, now_ms());
		if (n > 0)
			last = now_ms();
	}
	if (last < end)
		last = end;
	printf("{\"ok\":%zu,\"failed\":%d,\"timed_out\":%d,\"per_second\":%.2f,\"p50\":%.4f,"
	       "\"p99\":%.4f}\n", tally.times.count, tally.failed, tally.timed_out,
		(double)tally.times.count * 1e3 / (last - start), samples_at(&tally.times, 0.5),
		samples_at(&tally.times, 0.99));
	free(tally.times.values);
	free(all);
	return 0;
}

/* Opens them, so many at a time; how many are held. */
static int hold_open(struct connection *all, int count, int at_once, double seconds,
	const struct target *target)
{
	struct epoll_event events[256];
	int epoll = epoll_create1(EPOLL_CLOEXEC), next = 0, busy = 0, held = 0, step, n, i;
	double end = now_ms() + seconds * 1e3;

	while ((next < count || busy > 0) && now_ms() < end) {
		for (; busy < at_once && next < count; next++)
			busy += connection_start(&all[next], (uint32_t)next, epoll, target);
		n = epoll_wait(epoll, events, 256, 100);
		for (i = 0; i < n; i++) {
			struct connection *c = &all[events[i].data.u32];

			step = connection_step(c, events[i].data.u32, epoll);
			if (step == 0)
				continue;
			busy--;
			held += step > 0;
			if (step > 0) {
				epoll_ctl(epoll, EPOLL_CTL_DEL, c->fd, NULL);
				c->state = STATE_HELD;
			} else {
				connection_end(c, STATE_FAILED);
			}
		}
		busy -= connections_expire(all, next, now_ms());
	}
	close(epoll);
	return held;
}

/* How many still echo. */
static int hold_check(struct connection *all, int count)
{
	double end = now_ms() + PATIENCE_MS;
	char byte = 'y';
	int alive = 0, i;

	for (i = 0; i < count; i++)
		if (all[i].state == STATE_HELD && send(all[i].fd, &byte, 1, MSG_NOSIGNAL) != 1)
			connection_end(&all[i], STATE_FAILED);
	for (i = 0; i < count; i++) {
		struct pollfd wait = { .fd = all[i].fd, .events = POLLIN };
		double left = end - now_ms();

		if (all[i].state == STATE_HELD && poll(&wait, 1, left > 0 ? (int)left : 0) == 1 &&
			read(all[i].fd, &byte, 1) == 1)
			alive++;
	}
	return alive;
}

/* Prints when all are open; looks again at each line of standard input, until that ends. */
int load_hold(const struct target *target, int count, int at_once, double seconds)
{
	struct connection *all = connections_make(count);
	double start = now_ms();
	int held = hold_open(all, count, at_once, seconds, target);
	char line[16];

	printf("{\"held\":%d,\"seconds\":%.3f}\n", held, (now_ms() - start) / 1e3);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		printf("{\"alive\":%d}\n", hold_check(all, count));
		fflush(stdout);
	}
	free(all);
	return 0;
}
