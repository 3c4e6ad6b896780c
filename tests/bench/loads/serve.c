/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The servers: an echo and a small HTTP server in one event loop each, and two
 * that give every connection a process: bulk, and spawn, which runs a command
 * with the connection as its standard input and output.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common.h"

#define CONNECTIONS 65536
#define REQUEST 512
#define CHUNK (256 * 1024)

/* What an HTTP connection still has to get and to give. */
struct client {
	char request[REQUEST];
	size_t got;
	char header[128];
	size_t header_left, header_size;
	size_t body_left;
};

static struct client *clients[CONNECTIONS];
static char chunk[CHUNK];

static void accept_into(int epoll, int listener)
{
	struct epoll_event event = { .events = EPOLLIN };
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		no_delay(fd);
		event.data.fd = fd;
		if (fd >= CONNECTIONS || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
			close(fd);
	}
}

/* Every event of a connection goes to handle; it ends when that says -1. */
static _Noreturn void serve(const char *port, int (*handle)(int epoll, int fd))
{
	struct epoll_event events[256], event = { .events = EPOLLIN };
	int listener = listen_at(port), epoll = epoll_create1(EPOLL_CLOEXEC), n, i;

	event.data.fd = listener;
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event))
		die("epoll");
	/* Else the loop would wait for the next connection. */
	fcntl(listener, F_SETFL, O_NONBLOCK);
	for (;;) {
		n = epoll_wait(epoll, events, 256, -1);
		for (i = 0; i < n; i++) {
			if (events[i].data.fd == listener)
				accept_into(epoll, listener);
			else if (handle(epoll, events[i].data.fd))
				close(events[i].data.fd);
		}
	}
}

/* What is echoed is one byte, or a few: it always fits. */
static int echo(int epoll, int fd)
{
	char bytes[4096];
	ssize_t n = read(fd, bytes, sizeof(bytes));

	(void)epoll;
	if (n < 0)
		return errno == EAGAIN ? 0 : -1;
	return n > 0 && write(fd, bytes, (size_t)n) == n ? 0 : -1;
}

int serve_echo(const char *port)
{
	serve(port, echo);
}

/* ---- HTTP: "GET /N" is answered with N bytes ---- */

static int want(int epoll, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.fd = fd };

	return epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event);
}

/* 1: more to be written when there is room. */
static int http_write(struct client *c, int fd)
{
	ssize_t n;

	while (c->header_left + c->body_left > 0) {
		bool header = c->header_left > 0;
		size_t size = header ? c->header_left : c->body_left < CHUNK ? c->body_left : CHUNK;

		n = send(fd, header ? c->header + c->header_size - c->header_left : chunk, size,
			MSG_NOSIGNAL | (header ? MSG_MORE : 0));
		if (n < 0)
			return errno == EAGAIN ? 1 : -1;
		*(header ? &c->header_left : &c->body_left) -= (size_t)n;
	}
	return 0;
}

static int http_answer(struct client *c)
{
	char *end = memmem(c->request, c->got, "\r\n\r\n", 4);

	if (!end)
		return c->got < REQUEST ? 0 : -1;
	if (c->got < 6 || memcmp(c->request, "GET /", 5) != 0)
		return -1;
	c->body_left = strtoul(c->request + 5, NULL, 10);
	c->header_size = (size_t)snprintf(c->header, sizeof(c->header),
		"HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", c->body_left);
	c->header_left = c->header_size;
	c->got = 0;
	return 0;
}

static int http_events(struct client *c, int epoll, int fd)
{
	bool writing = c->header_left + c->body_left > 0;
	ssize_t n;
	int more;

	if (!writing) {
		n = read(fd, c->request + c->got, REQUEST - c->got);
		if (n <= 0)
			return n < 0 && errno == EAGAIN ? 0 : -1;
		c->got += (size_t)n;
		if (http_answer(c))
			return -1;
	}
	more = http_write(c, fd);
	if (more >= 0 && (more == 1) != writing)
		return want(epoll, fd, more ? EPOLLOUT : EPOLLIN);
	return more < 0 ? -1 : 0;
}

static int http(int epoll, int fd)
{
	struct client *c = clients[fd];

	if (!c) {
		c = clients[fd] = calloc(1, sizeof(*c));
		if (!c)
			return -1;
	}
	if (http_events(c, epoll, fd) == 0)
		return 0;
	free(c);
	clients[fd] = NULL;
	return -1;
}

int serve_http(const char *port)
{
	serve(port, http);
}

/* ---- a process for each connection ---- */

/* Tells how much came in its time, then lets the client end it. */
static void serve_up(int fd, double seconds)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	double left = seconds * 1e3, end = now_ms() + left;
	uint64_t total = 0;
	ssize_t n = 1;

	for (; n > 0 && left > 0; left = end - now_ms()) {
		if (poll(&wait, 1, (int)left + 1) < 1)
			continue;
		n = recv(fd, chunk, sizeof(chunk), 0);
		if (n > 0)
			total += (uint64_t)n;
	}
	if (n > 0 && write_all(fd, &total, sizeof(total)) == 0)
		while (recv(fd, chunk, sizeof(chunk), 0) > 0)
			continue;
}

/* Until the client has had enough. */
static void serve_down(int fd)
{
	while (write_all(fd, chunk, sizeof(chunk)) == 0)
		continue;
}

/* The first byte says which way, the next for how many tenths of seconds. */
static void bulk(int fd)
{
	unsigned char wish[2];

	if (read_all(fd, wish, sizeof(wish)))
		return;
	if (wish[0] == 'u')
		serve_up(fd, wish[1] / 10.0);
	else
		serve_down(fd);
}

static _Noreturn void serve_forking(const char *port, char **command)
{
	int listener = listen_at(port), fd;

	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		no_delay(fd);
		if (fork() == 0) {
			if (command) {
				signal(SIGCHLD, SIG_DFL);
				dup2(fd, 0);
				dup2(fd, 1);
				execvp(command[0], command);
				die(command[0]);
			}
			bulk(fd);
			_exit(0);
		}
		close(fd);
	}
}

int serve_bulk(const char *port)
{
	serve_forking(port, NULL);
}

int serve_spawn(const char *port, char **command)
{
	serve_forking(port, command);
}
