/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The life of a link: endpoint, address, socket, timers, end. */
#include "carry/link.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "carry/channel.h"
#include "carry/gateway.h"
#include "carry/trunk.h"
#include "carry/worker.h"

/* What one address may take while others are left to try. */
#define ATTEMPT_SECONDS 3.0
/* Reading more before libssh2 has taken what is there makes no sense. */
#define IN_MAX (2 * QUEUE_CHUNK)
/* Streams that wait are woken once the out queue is shorter than this. */
#define OUT_LOW (LINK_OUT_HIGH / 2)
/* The kernel takes no more than this ahead of what it can send: what lies there
 * can't be overtaken. */
#define UNSENT_MAX (128 * 1024)
/* Seconds of round trip from which opens are spread over links, so many on each. */
#define LONG_WAY 0.01
#define OPENS_MAX 8
/* Of link_pause. */
#define PAUSE_SECONDS 0.05
/* How long a link that drains waits for the far side to close its channels. */
#define DRAIN_SECONDS 5.0

const char *link_state_name(enum link_state state)
{
	static const char *const names[] = { "resolving", "connecting", "handshake",
					     "login",	  "up",		"dead" };
	return names[state];
}

const char *link_name(const struct link *link, char text[96])
{
	snprintf(text, 96, "%.64s: link %u", link->settings->site, link->id);
	return text;
}

const char *link_endpoint(const struct link *link, char *text, size_t size)
{
	return endpoint_format(&link->settings->endpoints[link->endpoint], 0, text, size);
}

static void set_state(struct link *link, enum link_state state, const char *event)
{
	char name[96];

	log_debug("%s: %s -> %s: %s", link_name(link, name), link_state_name(link->state),
		  link_state_name(state), event);
	link->state = state;
	link_touch(link);
}

void link_touch(struct link *link)
{
	if (link->touched)
		return;
	link->touched = true;
	TAILQ_INSERT_TAIL(&link->worker->touched, link, of_touched);
}

void link_fail(struct link *link, const char *format, ...)
{
	va_list args;

	if (link->state == LINK_DEAD)
		return;
	link->died_in = link->state;
	if (format) {
		va_start(args, format);
		vsnprintf(link->reason, sizeof(link->reason), format, args);
		va_end(args);
	}
	set_state(link, LINK_DEAD, format ? link->reason : "closed by us");
}

static void close_socket(struct link *link)
{
	struct ev_loop *loop = link->worker->loop;

	ev_io_stop(loop, &link->readable);
	ev_io_stop(loop, &link->writable);
	ev_timer_stop(loop, &link->attempt);
	if (link->fd >= 0)
		close(link->fd);
	link->fd = -1;
}

static void try_next_address(struct link *link);

/* ---- TCP ---- */

/* -1: unmarked it could be captured by our own rules, and go round and round. */
static int set_socket_options(const struct link *link)
{
	const int one = 1, mark = SOCKET_MARK, unsent = UNSENT_MAX;
	/* With a keepalive each interval, a dead peer shows within three. */
	const unsigned user_timeout = 2000 * link->settings->ssh.keepalive;

	setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(link->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(link->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
	setsockopt(link->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout, sizeof(user_timeout));
	return setsockopt(link->fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
}

static void watch(struct link *link, bool readable, bool writable)
{
	struct ev_loop *loop = link->worker->loop;

	if (readable)
		ev_io_start(loop, &link->readable);
	else
		ev_io_stop(loop, &link->readable);
	if (writable)
		ev_io_start(loop, &link->writable);
	else
		ev_io_stop(loop, &link->writable);
}

static const char *address_text(const struct link *link, char text[ADDR_PORT_TEXT_SIZE])
{
	return addr_port_format(&link->addresses[link->address_next - 1],
				link->settings->endpoints[link->endpoint].port, text);
}

/* What to look at, at two in the morning. */
static const char *hint(int error)
{
	switch (error) {
	case ECONNREFUSED:
		return "; is sshd running there, on that port?";
	case ETIMEDOUT:
		return "; is the host up, and does its firewall let us in?";
	case ENETUNREACH:
	case EHOSTUNREACH:
		return "; has this gateway a route there? see: ip route get";
	default:
		return "";
	}
}

/* One address did not work: the next, or the end. */
static void address_failed(struct link *link, int error)
{
	char endpoint[300], address[ADDR_PORT_TEXT_SIZE];

	close_socket(link);
	link_endpoint(link, endpoint, sizeof(endpoint));
	address_text(link, address);
	if (link->address_next < link->address_count) {
		log_debug("%s: %s: %s", link->settings->site, address, strerror(error));
		try_next_address(link);
	} else if (!strcmp(endpoint, address)) {
		link_fail(link, "can't connect to %s: %s%s", endpoint, strerror(error), hint(error));
	} else {
		link_fail(link, "can't connect to %s (%s): %s%s", endpoint, address, strerror(error),
			  hint(error));
	}
}

static void connected(struct link *link)
{
	ev_timer_stop(link->worker->loop, &link->attempt);
	link->round_trip = ev_time() - link->connect_started;
	watch(link, true, false);
	set_state(link, LINK_HANDSHAKE, "connected");
	session_start(link);
}

static void on_connect(struct link *link)
{
	int error = 0;
	socklen_t size = sizeof(error);

	if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		error = errno;
	if (error)
		address_failed(link, error);
	else
		connected(link);
}

static void try_next_address(struct link *link)
{
	const struct addr *addr = &link->addresses[link->address_next++];
	struct sockaddr_storage sa;
	socklen_t size =
		addr_to_sockaddr(addr, link->settings->endpoints[link->endpoint].port, &sa);

	link->fd = socket(addr->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (link->fd < 0) {
		address_failed(link, errno);
		return;
	}
	if (set_socket_options(link) < 0) {
		link_fail(link, "can't mark a socket: %s; dvpnd needs CAP_NET_ADMIN", strerror(errno));
		return;
	}
	ev_io_set(&link->readable, link->fd, EV_READ);
	ev_io_set(&link->writable, link->fd, EV_WRITE);
	link->connect_started = ev_time();
	if (connect(link->fd, (struct sockaddr *)&sa, size) < 0 && errno != EINPROGRESS) {
		address_failed(link, errno);
		return;
	}
	watch(link, false, true);
	if (link->address_next < link->address_count) {
		ev_timer_set(&link->attempt, ATTEMPT_SECONDS, 0);
		ev_timer_start(link->worker->loop, &link->attempt);
	}
}

static void on_attempt(struct ev_loop *loop, struct ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	struct link *link = timer->data;

	if (link->state == LINK_UP)
		worker_touch(link->worker, link->gateway);
	else
		address_failed(link, ETIMEDOUT);
}

/* ---- names ---- */

static void on_resolved(const struct addr *addresses, size_t count, const char *reason, void *arg)
{
	struct link *link = arg;

	link->query = NULL;
	if (link->state == LINK_DEAD)
		return;
	if (!count) {
		link_fail(link, "can't resolve %s: %s; check the name, or /etc/resolv.conf here",
			  link->settings->endpoints[link->endpoint].host, reason);
		return;
	}
	memcpy(link->addresses, addresses, count * sizeof(*addresses));
	link->address_count = count;
	set_state(link, LINK_CONNECTING, "resolved");
	try_next_address(link);
}

static void find_addresses(struct link *link)
{
	const char *host = link->settings->endpoints[link->endpoint].host;

	if (addr_parse(host, &link->addresses[0]) == 0) {
		link->address_count = 1;
		set_state(link, LINK_CONNECTING, "numeric endpoint");
		try_next_address(link);
		return;
	}
	link->query = resolver_ask(link->worker->resolver, host, on_resolved, link);
	if (!link->query)
		link_fail(link, "out of memory");
}

/* ---- the socket once it is connected ---- */

static void on_writable(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct link *link = io->data;

	(void)loop;
	(void)events;
	if (link->state == LINK_CONNECTING)
		on_connect(link);
	link_touch(link);
}

static void on_readable(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct link *link = io->data;
	size_t room;
	void *to = queue_reserve(&link->in, &room);
	ssize_t got;

	(void)loop;
	(void)events;
	if (!to) {
		link_fail(link, "out of memory");
		return;
	}
	got = recv(link->fd, to, room, MSG_DONTWAIT);
	queue_commit(&link->in, got > 0 ? (size_t)got : 0);
	if (got > 0) {
		link->bytes_in += (uint64_t)got;
	} else if (got == 0) {
		link->ended = true;
	} else if (errno != EAGAIN && errno != EINTR) {
		link_fail(link, "connection lost: %s", strerror(errno));
		return;
	}
	session_pump(link);
	link_touch(link);
}

static void on_deadline(struct ev_loop *loop, struct ev_timer *timer, int events)
{
	struct link *link = timer->data;
	char endpoint[300];

	(void)loop;
	(void)events;
	if (link->state == LINK_UP) {
		link_fail(link, NULL);
		return;
	}
	link_fail(link, "no answer from %s in %u s (%s)",
		  link_endpoint(link, endpoint, sizeof(endpoint)),
		  link->settings->ssh.connect_timeout, link_state_name(link->state));
}

static void on_keepalive(struct ev_loop *loop, struct ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	session_keepalive(timer->data);
	trunks_ping(timer->data);
}

/* ---- start and end ---- */

struct link *link_start(struct gateway *gateway, struct settings *settings, unsigned endpoint)
{
	struct link *link = calloc(1, sizeof(*link));
	struct worker *worker = gateway->worker;

	if (!link)
		return NULL;
	link->gateway = gateway;
	link->worker = worker;
	link->settings = settings_get(settings);
	link->endpoint = endpoint;
	link->id = ++worker->last_link_id;
	link->started = ev_now(worker->loop);
	link->fd = -1;
	link->state = LINK_RESOLVING;
	TAILQ_INIT(&link->opening);
	TAILQ_INIT(&link->channels);
	TAILQ_INIT(&link->trunks);
	queue_init(&link->in, &worker->pool);
	queue_init(&link->out, &worker->pool);
	ev_init(&link->readable, on_readable);
	ev_init(&link->writable, on_writable);
	ev_init(&link->attempt, on_attempt);
	ev_init(&link->deadline, on_deadline);
	ev_init(&link->keepalive, on_keepalive);
	link->readable.data = link->writable.data = link;
	link->attempt.data = link->deadline.data = link->keepalive.data = link;
	ev_timer_set(&link->deadline, settings->ssh.connect_timeout, 0);
	ev_timer_start(worker->loop, &link->deadline);
	find_addresses(link);
	return link;
}

void link_up(struct link *link)
{
	struct ev_loop *loop = link->worker->loop;
	double interval = link->settings->ssh.keepalive;
	char endpoint[300], name[96];

	ev_timer_stop(loop, &link->deadline);
	ev_timer_set(&link->keepalive, interval, interval);
	ev_timer_start(loop, &link->keepalive);
	set_state(link, LINK_UP, "logged in");
	log_info("%s: up: %s as %s, %s, %.0f ms", link_name(link, name),
		 link_endpoint(link, endpoint, sizeof(endpoint)), link->settings->ssh.user,
		 link->ciphers, 1000 * (ev_time() - link->started));
	worker_touch(link->worker, link->gateway);
}

bool link_has_room(const struct link *link)
{
	if (link->state != LINK_UP || link->draining || link->ended || channels_stuck(link) ||
	    ev_is_active(&link->attempt))
		return false;
	if (gateway_has_trunk(link->gateway))
		return trunks_room(link);
	/* opens go one after the other, a round trip each: other links share them */
	return channels_used(link) < link->gateway->channel_cap &&
	       (link->round_trip < LONG_WAY || channels_opening(link) < OPENS_MAX);
}

struct stream *link_open(struct link *link, const struct addr *dest, uint16_t port,
			 const struct addr *client, uint16_t client_port)
{
	return gateway_has_trunk(link->gateway) ?
		       trunk_open(link, dest, port, client, client_port) :
		       channel_open(link, dest, port, client, client_port);
}

static bool busy(const struct link *link)
{
	return channels_busy(link) || trunks_busy(link);
}

void link_pause(struct link *link)
{
	ev_timer_stop(link->worker->loop, &link->attempt);
	ev_timer_set(&link->attempt, PAUSE_SECONDS, 0);
	ev_timer_start(link->worker->loop, &link->attempt);
}

void link_drain(struct link *link)
{
	if (link->state != LINK_UP) {
		link_fail(link, NULL);
		return;
	}
	link->draining = true;
	ev_timer_stop(link->worker->loop, &link->deadline);
	link_touch(link);
}

void link_free(struct link *link)
{
	struct ev_loop *loop = link->worker->loop;

	resolver_cancel(link->query);
	channels_free(link);
	session_free(link);
	close_socket(link);
	ev_timer_stop(loop, &link->deadline);
	ev_timer_stop(loop, &link->keepalive);
	queue_clear(&link->in);
	queue_clear(&link->out);
	if (link->touched)
		TAILQ_REMOVE(&link->worker->touched, link, of_touched);
	settings_put(link->settings);
	free(link);
}

static void flush(struct link *link)
{
	ssize_t sent;

	if (link->fd < 0 || link->state < LINK_HANDSHAKE)
		return;
	sent = queue_send(&link->out, link->fd);
	if (sent < 0) {
		/* What the peer said before it went may still be read: go by reading. */
		queue_clear(&link->out);
		if (errno != EPIPE && errno != ECONNRESET)
			link_fail(link, "connection lost: %s", strerror(errno));
		return;
	}
	link->bytes_out += (uint64_t)sent;
	if (link->writers_wait && link->out.size < OUT_LOW) {
		link->writers_wait = false;
		channels_wake(link);
	}
}

/* With no stream left the deadline timer runs; channels that are still closing,
 * behind a far netcat that lingers, don't keep a link. */
static void set_idle_timer(struct link *link)
{
	struct ev_loop *loop = link->worker->loop;
	double idle = link->draining ? DRAIN_SECONDS : link->settings->ssh.idle_timeout;

	if (busy(link) || idle <= 0) {
		ev_timer_stop(loop, &link->deadline);
	} else if (!ev_is_active(&link->deadline)) {
		ev_timer_set(&link->deadline, idle, 0);
		ev_timer_start(loop, &link->deadline);
	}
}

static void settle_up(struct link *link)
{
	channels_step(link);
	trunks_step(link);
	if (link->draining)
		trunks_close(link);
	if (link->ended)
		channels_ended(link);
	if (link->state == LINK_DEAD)
		return;
	/* Only streams that still have queued bytes to read keep an ended link. */
	if (link->ended && !busy(link))
		link_fail(link, "connection closed by the far sshd");
	else if (link->draining && !link->channel_count && !link->out.size)
		link_fail(link, NULL);
	else
		set_idle_timer(link);
}

void link_settle(struct link *link)
{
	struct gateway *gateway = link->gateway;

	TAILQ_REMOVE(&link->worker->touched, link, of_touched);
	link->touched = false;
	if (link->state == LINK_UP)
		settle_up(link);
	if (link->state != LINK_DEAD)
		flush(link);
	if (link->state == LINK_DEAD) {
		gateway_link_gone(gateway, link);
		link_free(link);
		worker_touch(gateway->worker, gateway);
		return;
	}
	if (link->state >= LINK_HANDSHAKE)
		watch(link, !link->ended && link->in.size < IN_MAX, link->out.size > 0);
}
