/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Clock, samples and sockets of the loads. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

void die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

struct target target_parse(const char *host, const char *port)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM };
	struct addrinfo *found;
	struct target target = { .length = 0 };
	int error = getaddrinfo(host, port, &hints, &found);

	if (error) {
		fprintf(stderr, "load: %s port %s: %s\n", host, port, gai_strerror(error));
		exit(2);
	}
	memcpy(&target.address, found->ai_addr, found->ai_addrlen);
	target.length = found->ai_addrlen;
	freeaddrinfo(found);
	return target;
}

void no_delay(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

int target_connect(const struct target *target)
{
	int fd = socket(target->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	no_delay(fd);
	if (connect(fd, (const struct sockaddr *)&target->address, target->length) == 0 ||
		errno == EINPROGRESS)
		return fd;
	close(fd);
	return -1;
}

int target_connect_wait(const struct target *target)
{
	int fd = target_connect(target), error = 0;
	struct pollfd wait = { .fd = fd, .events = POLLOUT };
	socklen_t size = sizeof(error);
	struct timeval patience = { .tv_sec = (time_t)(PATIENCE_MS / 1e3) };

	if (fd < 0)
		return -1;
	if (poll(&wait, 1, (int)PATIENCE_MS) != 1 ||
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) || error) {
		close(fd);
		return -1;
	}
	fcntl(fd, F_SETFL, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	return fd;
}

int listen_at(const char *port)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6,
		.sin6_port = htons((unsigned short)atoi(port)) };
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
		bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 4096))
		die(port);
	return fd;
}

int write_all(int fd, const void *bytes, size_t size)
{
	const char *at = bytes;
	ssize_t n;

	for (; size > 0; at += n, size -= (size_t)n) {
		n = send(fd, at, size, MSG_NOSIGNAL);
		if (n <= 0)
			return -1;
	}
	return 0;
}

int read_all(int fd, void *bytes, size_t size)
{
	char *at = bytes;
	ssize_t n;

	for (; size > 0; at += n, size -= (size_t)n) {
		n = recv(fd, at, size, 0);
		if (n <= 0)
			return -1;
	}
	return 0;
}

void samples_add(struct samples *samples, double value)
{
	if (samples->count == samples->room) {
		samples->room = samples->room ? samples->room * 2 : 1024;
		samples->values = realloc(samples->values, samples->room * sizeof(double));
		if (!samples->values)
			die("samples");
	}
	samples->values[samples->count++] = value;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double samples_at(struct samples *samples, double share)
{
	size_t i = (size_t)(share * (double)samples->count);

	if (samples->count == 0)
		return -1;
	qsort(samples->values, samples->count, sizeof(double), compare);
	return samples->values[i < samples->count ? i : samples->count - 1];
}
