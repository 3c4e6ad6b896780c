/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket's server.
 *
 * A client is READING until its line is complete, HELD until it is answered,
 * and then WRITING; each state has the deadline that ends it.  A client's
 * descriptor and watchers belong to the client alone; a request outlives it
 * where the answer is still to come, and then points nowhere.
 */
#include "control/server.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/endpoint.h"
#include "log.h"

#define ACCEPT_PAUSE 0.5 /* seconds, when there are no descriptors left */
#define ERROR_SIZE_MAX 700
#define STATUS_SIZE_MAX 32

enum client_state { CLIENT_READING, CLIENT_HELD, CLIENT_WRITING };

struct client {
	LIST_ENTRY(client) entry;
	struct server *server;
	enum client_state state;
	int fd;
	ev_io io;
	ev_timer deadline;
	char line[REQUEST_SIZE_MAX + 1];
	size_t length;
	struct request *request; /* while HELD */
	/* while WRITING: the status line, then the text; sent counts through both */
	char status[STATUS_SIZE_MAX];
	char *answer;
	size_t status_size, size, sent;
};

struct request {
	LIST_ENTRY(request) entry;
	struct server *server; /* NULL: stopped */
	struct client *client; /* NULL: gone */
};

struct server {
	struct ev_loop *loop;
	struct server_limits limits;
	server_asked *asked;
	void *arg;
	struct control_endpoint endpoint;
	ev_io accept_io;
	ev_timer resume;
	LIST_HEAD(client_list, client) clients;
	LIST_HEAD(request_list, request) requests;
	unsigned taken; /* of limits.clients */
	size_t buffered;
};

/* ---- clients ---- */

/* Unread bytes would turn the close into a reset, which can overtake an answer. */
static void close_drained(int fd)
{
	char rest[REQUEST_SIZE_MAX];

	while (recv(fd, rest, sizeof(rest), MSG_DONTWAIT) == (ssize_t)sizeof(rest))
		;
	close(fd);
}

static void client_close(struct client *client)
{
	struct server *server = client->server;

	ev_io_stop(server->loop, &client->io);
	ev_timer_stop(server->loop, &client->deadline);
	if (client->request)
		client->request->client = NULL; /* keeps its place among limits.clients */
	else
		server->taken--;
	server->buffered -= client->size;
	LIST_REMOVE(client, entry);
	close_drained(client->fd);
	free(client->answer);
	free(client);
}

static void client_want(struct client *client, int events)
{
	ev_io_stop(client->server->loop, &client->io);
	ev_io_set(&client->io, client->fd, events);
	if (events)
		ev_io_start(client->server->loop, &client->io);
}

static ssize_t client_send(struct client *client)
{
	const char *from = client->status + client->sent;
	size_t length = client->status_size - client->sent;

	if (client->sent >= client->status_size) {
		from = client->answer + (client->sent - client->status_size);
		length = client->status_size + client->size - client->sent;
	}
	return send(client->fd, from, length, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void client_write(struct client *client)
{
	while (client->sent < client->status_size + client->size) {
		ssize_t sent = client_send(client);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (sent < 0)
			break;
		client->sent += (size_t)sent;
		ev_timer_again(client->server->loop, &client->deadline);
	}
	client_close(client);
}

static char *copy_text(const char *text, size_t *size)
{
	char *copy = strdup(text);

	*size = copy ? strlen(copy) : 0;
	return copy;
}

/* Takes the text, which begins with its own status line where `ok` is false.
 * Written from the loop, not here: the caller may be inside the client's own
 * read callback. */
static void client_answer(struct client *client, bool ok, char *text, size_t size)
{
	struct server *server = client->server;

	if (text && (size > server->limits.buffered ||
		     server->buffered > server->limits.buffered - size)) {
		free(text);
		text = copy_text("error the answer is too large to keep for slow readers; "
				 "try again when fewer are being read\n", &size);
		ok = false;
	}
	if (!text) {
		text = copy_text("error out of memory\n", &size);
		ok = false;
	}
	if (ok)
		client->status_size = (size_t)snprintf(client->status, sizeof(client->status),
						       "ok %zu\n", size);
	client->request = NULL;
	client->state = CLIENT_WRITING;
	client->answer = text;
	client->size = size;
	server->buffered += size;
	client_want(client, EV_WRITE);
	ev_timer_again(server->loop, &client->deadline);
}

static char *__attribute__((format(printf, 1, 0)))
error_text(const char *format, va_list args)
{
	char text[ERROR_SIZE_MAX], *line = NULL;

	vsnprintf(text, sizeof(text), format, args);
	if (asprintf(&line, "error %s\n", text) < 0)
		return NULL;
	return line;
}

static void __attribute__((format(printf, 2, 3)))
client_error(struct client *client, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = error_text(format, args);
	va_end(args);
	client_answer(client, false, text, text ? strlen(text) : 0);
}

/* ---- requests ---- */

bool request_wanted(const struct request *request)
{
	return request->client != NULL;
}

static void request_end(struct request *request, bool ok, char *text, size_t size)
{
	if (request->server)
		LIST_REMOVE(request, entry);
	if (request->client) {
		client_answer(request->client, ok, text, size);
	} else {
		if (request->server)
			request->server->taken--;
		free(text);
	}
	free(request);
}

void request_answer(struct request *request, char *text, size_t size)
{
	request_end(request, true, text, size);
}

void request_refuse(struct request *request, char *text, size_t size)
{
	request_end(request, false, text, size);
}

void request_error(struct request *request, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = error_text(format, args);
	va_end(args);
	request_end(request, false, text, text ? strlen(text) : 0);
}

/* NULL where there are too many. */
static char **split_words(char *line, char **words, unsigned *count)
{
	char *rest = line, *word;

	*count = 0;
	while ((word = strtok_r(rest, " \t", &rest))) {
		if (*count == REQUEST_WORDS_MAX)
			return NULL;
		words[(*count)++] = word;
	}
	return words;
}

static bool printable(const char *line, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (((unsigned char)line[i] < 0x20 && line[i] != '\t') || line[i] == 0x7f)
			return false;
	return true;
}

static void client_ask(struct client *client, size_t length)
{
	struct server *server = client->server;
	char *words[REQUEST_WORDS_MAX];
	struct request *request;
	unsigned count;

	if (!printable(client->line, length)) {
		client_error(client, "the request holds a control character");
		return;
	}
	client->line[length] = '\0';
	if (!split_words(client->line, words, &count) || count == 0) {
		client_error(client, count ? "the request has too many words" : "empty request");
		return;
	}
	request = calloc(1, sizeof(*request));
	if (!request) {
		client_answer(client, false, NULL, 0);
		return;
	}
	request->server = server;
	request->client = client;
	LIST_INSERT_HEAD(&server->requests, request, entry);
	client->request = request;
	client->state = CLIENT_HELD;
	ev_timer_again(server->loop, &client->deadline);
	/* Last: this may answer, and leaves the client and the request unknown. */
	server->asked(request, words, count, server->arg);
}

/* ---- events ---- */

/* More than a line was sent, or the sending side was closed, or all of it. */
static void held_event(struct client *client)
{
	struct pollfd both = { .fd = client->fd };
	char rest[REQUEST_SIZE_MAX];
	ssize_t got = recv(client->fd, rest, sizeof(rest), MSG_DONTWAIT);

	if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	/* A half-closed client still waits for its answer; POLLHUP says both ways. */
	if (got < 0 || poll(&both, 1, 0) != 0)
		client_close(client);
	else
		client_want(client, 0);
}

static void client_read(struct client *client)
{
	ssize_t got = recv(client->fd, client->line + client->length,
			   REQUEST_SIZE_MAX - client->length, MSG_DONTWAIT);
	char *end;

	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
		return;
	if (got <= 0) {
		if (got == 0 && client->length > 0)
			client_error(client, "the request ends without a newline");
		else
			client_close(client);
		return;
	}
	client->length += (size_t)got;
	end = memchr(client->line, '\n', client->length);
	if (end)
		client_ask(client, (size_t)(end - client->line));
	else if (client->length == REQUEST_SIZE_MAX)
		client_error(client, "the request is longer than %d bytes", REQUEST_SIZE_MAX);
}

static void client_event(struct ev_loop *loop, ev_io *io, int events)
{
	struct client *client = io->data;

	(void)loop;
	(void)events;
	if (client->state == CLIENT_READING)
		client_read(client);
	else if (client->state == CLIENT_HELD)
		held_event(client);
	else
		client_write(client);
}

static void client_late(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct client *client = timer->data;
	double seconds = client->server->limits.deadline;

	(void)loop;
	(void)events;
	if (client->state == CLIENT_WRITING) {
		client_close(client);
	} else if (client->state == CLIENT_READING) {
		client_error(client, "no request came in %.0f seconds", seconds);
	} else {
		struct request *request = client->request;

		client_error(client, "no answer in %.0f seconds: a worker is busy or stuck; "
				     "try again, then look at the log (journalctl -u dvpnd)",
			     seconds);
		/* The place that the client has now; the request keeps its own. */
		request->client = NULL;
		client->server->taken++;
	}
}

static void refuse(int fd, const char *text)
{
	/* A fresh socket has room for a line; should it not, then without. */
	if (send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		log_debug("control: a client was gone before it was refused");
	close_drained(fd);
}

static void client_start(struct server *server, int fd)
{
	struct client *client;

	if (server->taken >= server->limits.clients) {
		refuse(fd, "error too many clients at once; try again\n");
		return;
	}
	client = calloc(1, sizeof(*client));
	if (!client) {
		refuse(fd, "error out of memory\n");
		return;
	}
	client->server = server;
	client->fd = fd;
	client->state = CLIENT_READING;
	ev_io_init(&client->io, client_event, fd, EV_READ);
	ev_init(&client->deadline, client_late);
	/* When we were held up ourselves, what came meanwhile was in time. */
	ev_set_priority(&client->io, ev_priority(&client->deadline) + 1);
	client->io.data = client->deadline.data = client;
	client->deadline.repeat = server->limits.deadline;
	ev_io_start(server->loop, &client->io);
	ev_timer_again(server->loop, &client->deadline);
	LIST_INSERT_HEAD(&server->clients, client, entry);
	server->taken++;
}

static void pause_accept(struct server *server, int error)
{
	static struct log_limit limit = LOG_LIMIT(1, 60);

	log_limited(&limit, LOG_LEVEL_WARN,
		    "control: can't accept a client: %s: out of descriptors or memory; "
		    "raise LimitNOFILE= of the service, or lower [listen] max_flows",
		    strerror(error));
	ev_io_stop(server->loop, &server->accept_io);
	ev_timer_again(server->loop, &server->resume);
}

static void accept_event(struct ev_loop *loop, ev_io *io, int events)
{
	struct server *server = io->data;
	int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)loop;
	(void)events;
	if (fd >= 0) {
		if (control_endpoint_allows(fd))
			client_start(server, fd);
		else
			refuse(fd, "error only root and the user that dvpnd runs as may ask; "
				   "try sudo dvpnctl\n");
	} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
		pause_accept(server, errno);
	}
	/* Anything else is the client's own end: a connection that was given up. */
}

static void resume_event(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct server *server = timer->data;

	(void)events;
	ev_timer_stop(loop, timer);
	ev_io_start(loop, &server->accept_io);
}

/* ---- start and stop ---- */

struct server *server_start(struct ev_loop *loop, const char *path,
			    const struct server_limits *limits, server_asked *asked, void *arg)
{
	struct server *server = calloc(1, sizeof(*server));

	if (!server) {
		log_errorx("control: can't start: out of memory");
		return NULL;
	}
	if (control_endpoint_open(&server->endpoint, path) < 0) {
		free(server);
		return NULL;
	}
	server->loop = loop;
	server->limits = *limits;
	server->asked = asked;
	server->arg = arg;
	LIST_INIT(&server->clients);
	LIST_INIT(&server->requests);
	ev_io_init(&server->accept_io, accept_event, server->endpoint.fd, EV_READ);
	ev_init(&server->resume, resume_event);
	server->accept_io.data = server->resume.data = server;
	server->resume.repeat = ACCEPT_PAUSE;
	ev_io_start(loop, &server->accept_io);
	return server;
}

void server_stop(struct server *server)
{
	struct request *request;

	if (!server)
		return;
	ev_io_stop(server->loop, &server->accept_io);
	ev_timer_stop(server->loop, &server->resume);
	while (!LIST_EMPTY(&server->clients))
		client_close(LIST_FIRST(&server->clients));
	while ((request = LIST_FIRST(&server->requests))) {
		LIST_REMOVE(request, entry);
		request->server = NULL;
	}
	control_endpoint_close(&server->endpoint);
	free(server);
}
