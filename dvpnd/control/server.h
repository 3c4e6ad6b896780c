/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket's server: clients, their one request each, and answers.
 *
 * It knows nothing of what is asked.  A request is a line of words; the asked
 * function answers it at once or keeps the handle and answers later.  Every
 * request must be answered exactly once, even when its client has gone or the
 * server was stopped meanwhile: the handle lives until then.
 *
 * On the wire an answer begins with a status line: "ok SIZE", and so many bytes
 * follow, or "error TEXT", which more lines may follow.  An answer that breaks
 * off can thus not look whole.
 */
#ifndef DVPND_CONTROL_SERVER_H
#define DVPND_CONTROL_SERVER_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define REQUEST_SIZE_MAX 1024 /* bytes of a request line, its newline included */
#define REQUEST_WORDS_MAX 8

struct server;
struct request;

struct server_limits {
	unsigned clients;  /* at once, requests whose client has gone included */
	double deadline;   /* seconds: to send the request, to be answered, to take more */
	size_t buffered;   /* bytes of answers not yet taken, over all clients */
};
#define SERVER_LIMITS ((const struct server_limits){ 32, 10, 64 << 20 })

/* `words` live during the call only. */
typedef void server_asked(struct request *request, char *const *words, unsigned count, void *arg);

/*
 * Listens on a socket that only the owner may connect to, in place of the
 * socket of a dead daemon; a missing directory is made.  NULL and a log line
 * with cause and remedy where that fails, or a live daemon has the socket.
 */
struct server *server_start(struct ev_loop *loop, const char *path,
			    const struct server_limits *limits, server_asked *asked, void *arg);
/* Closes every client and removes the socket; takes NULL. */
void server_stop(struct server *server);

/* Is somebody there still to be answered? */
bool request_wanted(const struct request *request);

/* Each frees the request.  `text` is from malloc and owned by the server from
 * here on; NULL stands for a lack of memory. */
void request_answer(struct request *request, char *text, size_t size); /* without status line */
void request_refuse(struct request *request, char *text, size_t size); /* "error …\n" and more */
/* One status line that tells of an error; give no newline at the end. */
void request_error(struct request *request, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
