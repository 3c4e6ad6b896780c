/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The listener: accepts what the rules redirect to us, and nothing else.
 *
 * One socket per address, IPv6 ones for IPv6 alone.  A connection that was not
 * redirected is reset: carrying it would make an open proxy or a loop.  Where
 * descriptors or memory run out, accepting pauses, and the kernel's backlog
 * holds the clients meanwhile; it can't spin on a socket that stays readable.
 */
#include "capture/capture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capture/origdst.h"
#include "log.h"

#define ACCEPTS_PER_WAKEUP 64
#define PAUSE_FIRST 0.1 /* seconds; doubles while accepting keeps failing */
#define PAUSE_LONGEST 1.0

struct listener {
	struct ev_loop *loop;
	struct conntrack *conntrack;
	captured_fn *captured;
	void *arg;
	struct capture_counters counters;
	ev_timer resume;
	double pause; /* seconds, the next one */
	unsigned count;
	ev_io sockets[];
};

void capture_refuse(int fd)
{
	struct linger reset = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(fd);
}

/* ---- one connection ---- */

static void refuse_direct(struct listener *listener, const struct captured *captured)
{
	static struct log_limit limit = LOG_LIMIT(5, 60);
	char client[ADDR_PORT_TEXT_SIZE], port[ADDR_PORT_TEXT_SIZE];

	listener->counters.direct++;
	log_limited(&limit, LOG_LEVEL_WARN,
		    "capture: %s connected straight to %s, refused: only redirected connections "
		    "are carried; shield the port with: dvpn-rules up",
		    addr_port_format(&captured->client, captured->client_port, client),
		    addr_port_format(&captured->dest, captured->port, port));
	capture_refuse(captured->fd);
}

static void refuse_unknown(struct listener *listener, const struct captured *captured, int error)
{
	static struct log_limit limit = LOG_LIMIT(5, 60);
	char client[ADDR_PORT_TEXT_SIZE] = "a client that is gone";

	listener->counters.unknown++;
	if (captured->client.family)
		addr_port_format(&captured->client, captured->client_port, client);
	log_limited(&limit, LOG_LEVEL_WARN,
		    "capture: no original destination for %s (%s), refused: it was not redirected, "
		    "or its conntrack entry is lost; look at: dvpn-rules check",
		    client, strerror(error));
	capture_refuse(captured->fd);
}

static void take(struct listener *listener, int fd)
{
	struct captured captured = { .fd = fd };

	listener->counters.accepted++;
	switch (origdst_find(&captured, listener->conntrack)) {
	case ORIGDST_REDIRECTED:
		listener->captured(&captured, listener->arg);
		break;
	case ORIGDST_DIRECT:
		refuse_direct(listener, &captured);
		break;
	case ORIGDST_UNKNOWN:
		refuse_unknown(listener, &captured, errno);
		break;
	}
}

/* ---- accepting, pausing ---- */

static void pause_accepting(struct listener *listener, int error)
{
	static struct log_limit limit = LOG_LIMIT(1, 60);

	listener->counters.pauses++;
	log_limited(&limit, LOG_LEVEL_WARN,
		    "capture: accepting paused: %s; clients wait in the backlog; raise the limit "
		    "(LimitNOFILE=) or lower [listen] max_flows",
		    strerror(error));
	for (unsigned i = 0; i < listener->count; i++)
		ev_io_stop(listener->loop, &listener->sockets[i]);
	ev_timer_set(&listener->resume, listener->pause, 0.);
	ev_timer_start(listener->loop, &listener->resume);
	listener->pause = listener->pause * 2 < PAUSE_LONGEST ? listener->pause * 2 : PAUSE_LONGEST;
}

static void resume_cb(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct listener *listener = timer->data;

	(void)events;
	for (unsigned i = 0; i < listener->count; i++)
		ev_io_start(loop, &listener->sockets[i]);
}

static bool is_gone_client(int error)
{
	/* accept(2): errors that the connection, not the listener, had. */
	switch (error) {
	case EINTR:
	case ECONNABORTED:
	case EPROTO:
	case EPERM:
	case ENETDOWN:
	case ENETUNREACH:
	case EHOSTDOWN:
	case EHOSTUNREACH:
	case ENONET:
	case ENOPROTOOPT:
	case EOPNOTSUPP:
		return true;
	}
	return false;
}

static void accept_cb(struct ev_loop *loop, ev_io *io, int events)
{
	struct listener *listener = io->data;

	(void)loop, (void)events;
	for (int i = 0; i < ACCEPTS_PER_WAKEUP; i++) {
		int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			listener->pause = PAUSE_FIRST;
			take(listener, fd);
		} else if (errno == EAGAIN || errno == EWOULDBLOCK) {
			return;
		} else if (!is_gone_client(errno)) {
			pause_accepting(listener, errno);
			return;
		}
	}
}

/* ---- start and stop ---- */

static void explain_bind(int error, const char *where, uint16_t port)
{
	switch (error) {
	case EADDRINUSE:
		log_errorx("capture: can't listen on %s: the port is in use, by another dvpnd "
			   "perhaps; see who has it: ss -ltnp 'sport = :%u'", where, port);
		break;
	case EADDRNOTAVAIL:
		log_errorx("capture: can't listen on %s: no interface has this address; see those "
			   "there are: ip address; then correct [listen] addresses", where);
		break;
	case EACCES:
		log_errorx("capture: can't listen on %s: ports below 1024 need root; choose "
			   "another [listen] port", where);
		break;
	default:
		log_errorx("capture: can't listen on %s: %s; check [listen] addresses and port",
			   where, strerror(error));
	}
}

/* A non-blocking listening socket, or -1 with errno. */
static int listen_on(const struct addr *addr, uint16_t port)
{
	struct sockaddr_storage sa;
	socklen_t size = addr_to_sockaddr(addr, port, &sa);
	int on = 1, error;
	int fd = socket(addr->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if ((addr->family == AF_INET6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0) ||
	    bind(fd, (struct sockaddr *)&sa, size) < 0 || listen(fd, SOMAXCONN) < 0) {
		error = errno;
		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

static bool is_wildcard(const struct addr *addr)
{
	static const uint8_t zero[sizeof(addr->bytes)];

	return memcmp(addr->bytes, zero, sizeof(zero)) == 0;
}

static int listener_add(struct listener *listener, const struct addr *addr, uint16_t port)
{
	char where[ADDR_PORT_TEXT_SIZE];
	ev_io *io = &listener->sockets[listener->count];
	int fd = listen_on(addr, port);

	addr_port_format(addr, port, where);
	/* A kernel without IPv6 has none to capture: the default addresses must do. */
	if (fd < 0 && addr->family == AF_INET6 && is_wildcard(addr) &&
	    (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)) {
		log_info("capture: not listening on %s: this kernel has no IPv6", where);
		return 0;
	}
	if (fd < 0) {
		explain_bind(errno, where, port);
		return -1;
	}
	ev_io_init(io, accept_cb, fd, EV_READ);
	io->data = listener;
	ev_io_start(listener->loop, io);
	listener->count++;
	log_debug("capture: listening on %s", where);
	return 0;
}

struct listener *listener_start(struct ev_loop *loop, const struct conf *conf,
				struct conntrack *conntrack, captured_fn *captured, void *arg)
{
	struct listener *listener =
		calloc(1, sizeof(*listener) + conf->address_count * sizeof(listener->sockets[0]));

	if (!listener) {
		log_warn("capture: can't listen");
		return NULL;
	}
	listener->loop = loop;
	listener->conntrack = conntrack;
	listener->captured = captured;
	listener->arg = arg;
	listener->pause = PAUSE_FIRST;
	ev_timer_init(&listener->resume, resume_cb, PAUSE_FIRST, 0.);
	listener->resume.data = listener;

	for (unsigned i = 0; i < conf->address_count; i++)
		if (listener_add(listener, &conf->addresses[i], conf->port) < 0)
			goto fail;
	if (listener->count == 0) {
		log_errorx("capture: no address to listen on; give one in [listen] addresses");
		goto fail;
	}
	return listener;
fail:
	listener_stop(listener);
	return NULL;
}

void listener_stop(struct listener *listener)
{
	if (!listener)
		return;
	ev_timer_stop(listener->loop, &listener->resume);
	for (unsigned i = 0; i < listener->count; i++) {
		ev_io_stop(listener->loop, &listener->sockets[i]);
		close(listener->sockets[i].fd);
	}
	free(listener);
}

const struct capture_counters *listener_counters(const struct listener *listener)
{
	return &listener->counters;
}
