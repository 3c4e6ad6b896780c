/* SPDX-License-Identifier: GPL-2.0-or-later */
/* c-ares on libev: its sockets become ev_io watchers, its time-outs one timer. */
#include "carry/resolve.h"

#include <ares.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "carry/worker.h"
#include "log.h"

#define RESOLV_CONF "/etc/resolv.conf"
#define SOCKETS_MAX 16 /* ARES_GETSOCK_MAXNUM: more than it opens at a time */

struct resolver {
	struct ev_loop *loop;
	ares_channel channel;
	struct ev_io io[SOCKETS_MAX];
	struct ev_timer timer;
	unsigned queries; /* under way in c-ares */
	struct timespec changed; /* of resolv.conf, when it was read */
	ino_t inode;
};

struct resolve_query {
	struct resolver *resolver;
	resolve_done *done; /* NULL: cancelled */
	void *arg;
	bool asking; /* within ares_getaddrinfo: an answer has to wait */
	struct ev_timer later;
	struct addr addresses[RESOLVE_MAX];
	size_t count;
	int status;
};

/* c-ares changes its time-outs with every packet: ask again after each. */
static void set_timer(struct resolver *resolver)
{
	struct timeval tv, *next = ares_timeout(resolver->channel, NULL, &tv);

	ev_timer_stop(resolver->loop, &resolver->timer);
	if (next) {
		ev_timer_set(&resolver->timer, (double)next->tv_sec + (double)next->tv_usec / 1e6, 0);
		ev_timer_start(resolver->loop, &resolver->timer);
	}
}

static void on_io(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct resolver *resolver = io->data;

	(void)loop;
	ares_process_fd(resolver->channel, events & EV_READ ? io->fd : ARES_SOCKET_BAD,
			events & EV_WRITE ? io->fd : ARES_SOCKET_BAD);
	set_timer(resolver);
}

static void on_timer(struct ev_loop *loop, struct ev_timer *timer, int events)
{
	struct resolver *resolver = timer->data;

	(void)loop;
	(void)events;
	ares_process_fd(resolver->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	set_timer(resolver);
}

static struct ev_io *find_io(struct resolver *resolver, int fd)
{
	for (size_t i = 0; i < SOCKETS_MAX; i++)
		if (resolver->io[i].fd == fd)
			return &resolver->io[i];
	return NULL;
}

static void on_socket_state(void *data, ares_socket_t fd, int readable, int writable)
{
	struct resolver *resolver = data;
	struct ev_io *io = find_io(resolver, fd);
	int events = (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0);

	if (!io)
		io = find_io(resolver, -1);
	if (!io) /* not watched: the timer ends the query */
		return;
	ev_io_stop(resolver->loop, io);
	ev_io_set(io, events ? fd : -1, events);
	if (events)
		ev_io_start(resolver->loop, io);
}

/* A map may cover the name server's address. */
static int on_socket(ares_socket_t fd, int type, void *data)
{
	const int mark = SOCKET_MARK;

	(void)type;
	(void)data;
	return setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
}

/* c-ares reads resolv.conf once; a laptop, or a boot before the network, needs
 * it read again. */
static void note_time(struct resolver *resolver)
{
	struct stat st;

	if (stat(RESOLV_CONF, &st) < 0)
		memset(&st, 0, sizeof(st));
	resolver->changed = st.st_mtim;
	resolver->inode = st.st_ino;
}

static int open_channel(struct resolver *resolver)
{
	struct ares_options options = { .sock_state_cb = on_socket_state,
					.sock_state_cb_data = resolver,
					.timeout = 2000,
					.tries = 3 };
	int status;

	note_time(resolver);
	status = ares_init_options(&resolver->channel, &options,
				   ARES_OPT_SOCK_STATE_CB | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES);
	if (status != ARES_SUCCESS) {
		log_errorx("can't start the resolver: %s", ares_strerror(status));
		resolver->channel = NULL;
		return -1;
	}
	ares_set_socket_configure_callback(resolver->channel, on_socket, NULL);
	return 0;
}

static void renew_channel(struct resolver *resolver)
{
	struct timespec changed = resolver->changed;
	ino_t inode = resolver->inode;

	note_time(resolver);
	if (resolver->queries || (changed.tv_sec == resolver->changed.tv_sec &&
				  changed.tv_nsec == resolver->changed.tv_nsec &&
				  inode == resolver->inode && resolver->channel)) {
		/* not now: it is as new as it was */
		resolver->changed = changed;
		resolver->inode = inode;
		return;
	}
	if (resolver->channel)
		ares_destroy(resolver->channel);
	open_channel(resolver);
}

struct resolver *resolver_start(struct ev_loop *loop)
{
	struct resolver *resolver = calloc(1, sizeof(*resolver));

	if (!resolver)
		return NULL;
	resolver->loop = loop;
	for (size_t i = 0; i < SOCKETS_MAX; i++) {
		ev_io_init(&resolver->io[i], on_io, -1, 0);
		resolver->io[i].data = resolver;
	}
	ev_timer_init(&resolver->timer, on_timer, 0, 0);
	resolver->timer.data = resolver;
	if (open_channel(resolver) < 0) {
		free(resolver);
		return NULL;
	}
	return resolver;
}

void resolver_stop(struct resolver *resolver)
{
	if (!resolver)
		return;
	if (resolver->channel)
		ares_destroy(resolver->channel); /* answers every query with ARES_EDESTRUCTION */
	ev_timer_stop(resolver->loop, &resolver->timer);
	for (size_t i = 0; i < SOCKETS_MAX; i++)
		ev_io_stop(resolver->loop, &resolver->io[i]);
	free(resolver);
}

static void finish(struct resolve_query *query)
{
	if (query->done)
		query->done(query->addresses, query->count,
			    query->count ? NULL : ares_strerror(query->status), query->arg);
	free(query);
}

static void on_later(struct ev_loop *loop, struct ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	finish(timer->data);
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
	struct resolve_query *query = arg;

	(void)timeouts;
	query->resolver->queries--;
	query->status = status == ARES_SUCCESS ? ARES_ENODATA : status;
	for (struct ares_addrinfo_node *node = info ? info->nodes : NULL;
	     node && query->count < RESOLVE_MAX; node = node->ai_next) {
		uint16_t port;

		if (addr_from_sockaddr(node->ai_addr, &query->addresses[query->count], &port) == 0)
			query->count++;
	}
	if (info)
		ares_freeaddrinfo(info);
	if (status == ARES_EDESTRUCTION)
		free(query);
	else if (query->asking) /* known at once, from /etc/hosts: the caller is not ready yet */
		ev_timer_start(query->resolver->loop, &query->later);
	else
		finish(query);
}

struct resolve_query *resolver_ask(struct resolver *resolver, const char *host,
				   resolve_done *done, void *arg)
{
	struct resolve_query *query = calloc(1, sizeof(*query));
	struct ares_addrinfo_hints hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };

	if (!query)
		return NULL;
	query->resolver = resolver;
	query->done = done;
	query->arg = arg;
	ev_timer_init(&query->later, on_later, 0, 0);
	query->later.data = query;
	renew_channel(resolver);
	if (!resolver->channel) {
		free(query);
		return NULL;
	}
	query->asking = true;
	resolver->queries++;
	ares_getaddrinfo(resolver->channel, host, NULL, &hints, on_answer, query);
	query->asking = false;
	set_timer(resolver);
	return query;
}

void resolver_cancel(struct resolve_query *query)
{
	if (!query)
		return;
	query->done = NULL;
	if (ev_is_active(&query->later) || ev_is_pending(&query->later)) {
		ev_timer_stop(query->resolver->loop, &query->later);
		free(query);
	}
}
