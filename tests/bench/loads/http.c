/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HTTP/1.1 clients that keep their connections: as many requests as there is time
 * for, or a page with its objects as a browser fetches it.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common.h"

#define CLIENTS 256

struct client {
	int fd; /* 0: not connected */
	bool waiting; /* for an answer */
	char header[256];
	size_t got;    /* of the header, as long as it is not whole */
	size_t left;   /* of the body */
	bool in_body;
	double start;
};

struct fetch {
	struct client clients[CLIENTS];
	int count, epoll;
	long to_send;  /* requests; negative: no end */
	long waiting;
	double until;  /* no request starts after this */
	char request[64];
	struct samples times;
	int failed;
};

static void fetch_init(struct fetch *f, int clients)
{
	memset(f, 0, sizeof(*f));
	f->count = clients < CLIENTS ? clients : CLIENTS;
	f->epoll = epoll_create1(EPOLL_CLOEXEC);
}

static void client_drop(struct fetch *f, struct client *c)
{
	close(c->fd);
	f->waiting -= c->waiting;
	*c = (struct client){ .fd = 0 };
}

static void client_fail(struct fetch *f, struct client *c)
{
	f->failed++;
	client_drop(f, c);
}

static void fetch_end(struct fetch *f)
{
	int i;

	for (i = 0; i < f->count; i++)
		if (f->clients[i].fd)
			client_drop(f, &f->clients[i]);
	close(f->epoll);
	free(f->times.values);
}

static bool may_send(const struct fetch *f, double now)
{
	return f->to_send != 0 && now < f->until;
}

static int client_watch(struct fetch *f, struct client *c, uint32_t events, int operation)
{
	struct epoll_event event = { .events = events, .data.u32 = (uint32_t)(c - f->clients) };

	return epoll_ctl(f->epoll, operation, c->fd, &event);
}

/* The clock of a request runs from the connect on, where it needs one. */
static void client_next(struct fetch *f, struct client *c, const struct target *target)
{
	size_t size = strlen(f->request);

	c->start = now_ms();
	if (!may_send(f, c->start))
		return;
	f->to_send--;
	f->waiting++;
	c->waiting = true;
	c->got = 0;
	if (c->fd == 0) {
		c->fd = target_connect(target);
		if (c->fd < 0 || client_watch(f, c, EPOLLOUT, EPOLL_CTL_ADD))
			client_fail(f, c);
	} else if (send(c->fd, f->request, size, MSG_NOSIGNAL) != (ssize_t)size) {
		client_fail(f, c);
	}
}

/* Finds out where the body begins and how long it is; the rest is its first part. */
static int header_parse(struct client *c)
{
	char *end = memmem(c->header, c->got, "\r\n\r\n", 4), *length;
	size_t body;

	if (!end)
		return c->got < sizeof(c->header) ? 0 : -1;
	length = memmem(c->header, (size_t)(end - c->header), "Length: ", 8);
	if (!length || memcmp(c->header, "HTTP/1.1 200", 12) != 0)
		return -1;
	body = strtoul(length + 8, NULL, 10);
	c->left = body - (c->got - (size_t)(end + 4 - c->header));
	c->in_body = true;
	return 0;
}

/* 1: the answer is whole. */
static int client_read(struct client *c)
{
	static char waste[65536];
	ssize_t n;

	for (;;) {
		if (c->in_body && c->left == 0)
			return 1;
		if (c->in_body)
			n = recv(c->fd, waste, c->left < sizeof(waste) ? c->left : sizeof(waste), 0);
		else
			n = recv(c->fd, c->header + c->got, sizeof(c->header) - c->got, 0);
		if (n <= 0)
			return n < 0 && errno == EAGAIN ? 0 : -1;
		if (c->in_body)
			c->left -= (size_t)n;
		else if (c->got += (size_t)n, header_parse(c))
			return -1;
	}
}

static void client_event(struct fetch *f, struct client *c, uint32_t events,
	const struct target *target)
{
	size_t size = strlen(f->request);
	int whole;

	if (events & EPOLLOUT) {
		if (send(c->fd, f->request, size, MSG_NOSIGNAL) != (ssize_t)size ||
			client_watch(f, c, EPOLLIN, EPOLL_CTL_MOD))
			client_fail(f, c);
		return;
	}
	whole = client_read(c);
	if (whole == 0)
		return;
	if (whole < 0 || !c->waiting) {
		client_fail(f, c);
		return;
	}
	samples_add(&f->times, now_ms() - c->start);
	c->waiting = c->in_body = false;
	f->waiting--;
	client_next(f, c, target);
}

/* Until every request is answered or failed. */
static void fetch_run(struct fetch *f, const struct target *target)
{
	struct epoll_event events[CLIENTS];
	int n, i;

	for (i = 0; i < f->count; i++)
		if (!f->clients[i].waiting)
			client_next(f, &f->clients[i], target);
	while (f->waiting > 0) {
		n = epoll_wait(f->epoll, events, CLIENTS, (int)PATIENCE_MS);
		if (n == 0) {
			f->failed += (int)f->waiting;
			return;
		}
		for (i = 0; i < n; i++)
			client_event(f, &f->clients[events[i].data.u32], events[i].events, target);
	}
}

int load_http(const struct target *target, int clients, double seconds, unsigned size)
{
	static struct fetch f;
	double start = now_ms();

	fetch_init(&f, clients);
	f.to_send = -1;
	f.until = start + seconds * 1e3;
	snprintf(f.request, sizeof(f.request), "GET /%u HTTP/1.1\r\nHost: far\r\n\r\n", size);
	fetch_run(&f, target);
	printf("{\"ok\":%zu,\"failed\":%d,\"per_second\":%.2f,\"p50\":%.4f,\"p99\":%.4f}\n",
		f.times.count, f.failed, (double)f.times.count * 1e3 / (now_ms() - start),
		samples_at(&f.times, 0.5), samples_at(&f.times, 0.99));
	fetch_end(&f);
	return 0;
}

/* The page on one connection, then its objects on that and some more; -1: failed. */
static double page_time(const struct target *target, int objects, unsigned size, int clients)
{
	static struct fetch f;
	double start = now_ms(), took = -1;

	fetch_init(&f, 1);
	f.to_send = 1;
	f.until = start + PATIENCE_MS;
	snprintf(f.request, sizeof(f.request), "GET /%u HTTP/1.1\r\nHost: far\r\n\r\n", size);
	fetch_run(&f, target);
	if (!f.failed) {
		f.count = clients < CLIENTS ? clients : CLIENTS;
		f.to_send = objects;
		fetch_run(&f, target);
		took = f.failed ? -1 : now_ms() - start;
	}
	fetch_end(&f);
	return took;
}

int load_page(const struct target *target, int pages, int objects, unsigned size, int clients)
{
	struct samples times = { .count = 0 };
	int failed = 0, i;
	double took;

	for (i = 0; i < pages; i++) {
		took = page_time(target, objects, size, clients);
		if (took < 0)
			failed++;
		else
			samples_add(&times, took);
	}
	printf("{\"ok\":%zu,\"failed\":%d,\"p50\":%.3f}\n", times.count, failed,
		samples_at(&times, 0.5));
	free(times.values);
	return 0;
}
