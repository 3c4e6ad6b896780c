/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What all loads share: clock, samples, addresses, sockets.  Times are milliseconds
 * as doubles.  Whatever can't be set up ends the program with a message and
 * status 1: a benchmark that goes on with less would lie.
 */
#ifndef TESTS_BENCH_LOADS_COMMON_H
#define TESTS_BENCH_LOADS_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

/* A connection that has no answer by then has failed; it is never tried again. */
#define PATIENCE_MS 10000.0

struct target {
	struct sockaddr_storage address;
	socklen_t length;
};

struct samples {
	double *values;
	size_t count, room;
};

_Noreturn void die(const char *what);
double now_ms(void);

struct target target_parse(const char *host, const char *port);
/* A connect under way, non-blocking, without Nagle's delay; -1: refused at once. */
int target_connect(const struct target *target);
/* Connected and blocking, every wait of which ends after PATIENCE_MS; -1: failed. */
int target_connect_wait(const struct target *target);
int listen_at(const char *port);
void no_delay(int fd);

/* Whole buffers on blocking sockets: 0, or -1. */
int write_all(int fd, const void *bytes, size_t size);
int read_all(int fd, void *bytes, size_t size);

void samples_add(struct samples *samples, double value);
/* The share-th (0 to 1) of the sorted values; -1 without any.  Sorts. */
double samples_at(struct samples *samples, double share);

/* The loads: each prints one line of JSON. */
int serve_echo(const char *port);
int serve_bulk(const char *port);
int serve_http(const char *port);
int serve_spawn(const char *port, char **command);
int load_connect(const struct target *target, int count);
int load_rate(const struct target *target, int clients, double seconds);
int load_hold(const struct target *target, int count, int at_once, double seconds);
int load_bulk(const struct target *target, bool up, int streams, double seconds);
int load_echo(const struct target *target, double seconds, double pause_ms);
int load_http(const struct target *target, int clients, double seconds, unsigned size);
int load_page(const struct target *target, int pages, int objects, unsigned size, int clients);

#endif
