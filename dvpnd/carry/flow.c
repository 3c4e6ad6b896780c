/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Flows: the splice of a client socket and a stream.
 *
 * Both directions are one piece of code, half_move, used twice with source and
 * sink exchanged.  flow_step is the only place that decides: every event leads
 * there, and it sets the wanted events from the state it leaves behind.
 */
#include "carry/flow.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capture/capture.h"
#include "carry/gateway.h"
#include "carry/link.h"
#include "carry/worker.h"

/* Two full frames of a trunk, which are an SSH packet each: no small third one. */
#define READ_MAX (2 * 32692)
/* What one client may send before the others get their turn. */
#define TURN_MAX (4 * READ_MAX)
/* Streams that a flow tries: a link that closes, a trunk that is full. */
#define TRIES_MAX 20
/* Of silence, until the kernel asks whether a client is still there. */
#define KEEPALIVE_SECONDS 300

enum { MOVE_BROKEN = -1, MOVE_OK = 0 };

const char *flow_state_name(enum flow_state state)
{
	static const char *const names[] = { "waiting", "opening", "connected" };
	return names[state];
}

/* ---- the two sides ---- */

/* Calls as read(2), write(2), shutdown(2): at -1 errno is EAGAIN, or anything
 * else when the side is broken. */
struct side {
	ssize_t (*read)(struct flow *flow, void *buffer, size_t size);
	ssize_t (*write)(struct flow *flow, const void *data, size_t size);
	int (*shutdown)(struct flow *flow);
};

static ssize_t client_read(struct flow *flow, void *buffer, size_t size)
{
	ssize_t got;

	/* A stream's wake says nothing of the client: its own watcher does. */
	if (!flow->client_ready)
		return errno = EAGAIN, -1;
	size = size < READ_MAX ? size : READ_MAX;
	got = recv(flow->fd, buffer, size, MSG_DONTWAIT);
	flow->client_ready = got == (ssize_t)size || got == 0;
	return got;
}

static ssize_t client_write(struct flow *flow, const void *data, size_t size)
{
	return send(flow->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static int client_shutdown(struct flow *flow)
{
	return shutdown(flow->fd, SHUT_WR);
}

static ssize_t far_read(struct flow *flow, void *buffer, size_t size)
{
	return flow->stream->ops->read(flow->stream, buffer, size);
}

static ssize_t far_write(struct flow *flow, const void *data, size_t size)
{
	ssize_t taken = flow->stream->ops->write(flow->stream, data, size);

	if (taken > 0 && flow->stream->state == STREAM_OPENING &&
	    queue_append(&flow->early, data, (size_t)taken) < 0)
		return -1; /* errno is ENOMEM */
	return taken;
}

static int far_shutdown(struct flow *flow)
{
	return flow->stream->ops->shutdown(flow->stream);
}

static const struct side client_side = { client_read, client_write, client_shutdown };
static const struct side far_side = { far_read, far_write, far_shutdown };

/* ---- moving ---- */

static bool must_wait(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

/* Into the empty queue.  1 read or ended, 0 nothing now, -1 broken. */
static int half_fill(struct flow *flow, struct half *half, const struct side *source)
{
	size_t room;
	void *to = queue_reserve(&half->queue, &room);
	ssize_t got;

	if (!to)
		return MOVE_BROKEN;
	got = source->read(flow, to, room);
	queue_commit(&half->queue, got > 0 ? (size_t)got : 0);
	if (got < 0)
		return must_wait() ? 0 : MOVE_BROKEN;
	if (got == 0)
		half->state = HALF_ENDING;
	return 1;
}

/* Out of the queue.  1 emptied, 0 the sink takes no more now, -1 broken. */
static int half_drain(struct flow *flow, struct half *half, const struct side *sink)
{
	while (half->queue.size) {
		size_t size;
		const void *from = queue_peek(&half->queue, &size);
		ssize_t taken = sink->write(flow, from, size);

		if (taken < 0)
			return must_wait() ? 0 : MOVE_BROKEN;
		queue_consume(&half->queue, (size_t)taken);
		half->bytes += (uint64_t)taken;
	}
	return 1;
}

static int half_move(struct flow *flow, struct half *half, const struct side *source,
		     const struct side *sink, uint64_t budget)
{
	uint64_t start = half->bytes;

	while (half->state != HALF_DONE) {
		int result = half_drain(flow, half, sink);

		if (result <= 0)
			return result;
		if (half->state == HALF_ENDING) {
			if (sink->shutdown(flow) < 0)
				return must_wait() ? MOVE_OK : MOVE_BROKEN;
			half->state = HALF_DONE;
			break;
		}
		if (half->bytes - start >= budget)
			break; /* the event comes again */
		result = half_fill(flow, half, source);
		if (result <= 0)
			return result;
	}
	return MOVE_OK;
}

/* ---- the end ---- */

static void let_go(struct flow *flow)
{
	if (flow->stream)
		flow->stream->ops->close(flow->stream);
	flow->stream = NULL;
	if (!flow->gateway)
		return;
	if (flow->state == FLOW_WAITING)
		gateway_withdraw(flow->gateway, flow);
	gateway_leave(flow->gateway, flow->up.bytes, flow->down.bytes);
	flow->gateway = NULL;
}

/* "10.7.0.10:40100 -> 10.8.0.5:80 via friday link 3: ok, 120 B up, 4096 B down, 0.35 s" */
static void log_end(const struct flow *flow, const char *how)
{
	char client[ADDR_PORT_TEXT_SIZE], dest[ADDR_PORT_TEXT_SIZE], link[24] = "";

	if (flow->link_id)
		snprintf(link, sizeof(link), " link %u", flow->link_id);
	log_info("%s -> %s via %s%s: %s, %llu B up, %llu B down, %.2f s",
		 addr_port_format(&flow->client, flow->client_port, client),
		 addr_port_format(&flow->dest, flow->port, dest),
		 flow->route->candidates[flow->candidate].site->name, link, how,
		 (unsigned long long)flow->up.bytes, (unsigned long long)flow->down.bytes,
		 ev_now(flow->worker->loop) - flow->started);
}

/* The last thing that is done with a flow. */
static void flow_free(struct flow *flow, bool reset)
{
	struct worker *worker = flow->worker;
	const struct linger now = { .l_onoff = 1, .l_linger = 0 };

	let_go(flow);
	ev_io_stop(worker->loop, &flow->readable);
	ev_io_stop(worker->loop, &flow->writable);
	ev_timer_stop(worker->loop, &flow->deadline);
	if (reset)
		setsockopt(flow->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	hangup_remove(&worker->hangup, flow->fd);
	close(flow->fd);
	queue_clear(&flow->up.queue);
	queue_clear(&flow->early);
	queue_clear(&flow->down.queue);
	TAILQ_REMOVE(&worker->flows, flow, of_worker);
	routes_put(flow->routes);
	worker_flow_ended(worker, reset, flow->up.bytes, flow->down.bytes);
	free(flow);
}

/* Broken: the client sees a reset, never a clean end. */
static void flow_break(struct flow *flow, const char *how)
{
	log_end(flow, how);
	flow_free(flow, true);
}

static void flow_finish(struct flow *flow)
{
	log_end(flow, "ok");
	flow_free(flow, false);
}

void flow_abort(struct flow *flow, const char *why)
{
	flow_break(flow, why);
}

/* ---- ways to the far host ---- */

static void set_watcher(struct flow *flow, struct ev_io *io, bool wanted)
{
	if (wanted)
		ev_io_start(flow->worker->loop, io);
	else
		ev_io_stop(flow->worker->loop, io);
}

static void try_candidates(struct flow *flow)
{
	for (; flow->candidate < flow->route->candidate_count; flow->candidate++) {
		const struct site *site = flow->route->candidates[flow->candidate].site;
		struct gateway *gateway = worker_gateway(flow->worker, site);

		if (gateway && gateway_submit(gateway, flow) == 0) {
			flow->gateway = gateway;
			return;
		}
		snprintf(flow->trouble, sizeof(flow->trouble), "%.240s",
			 gateway ? gateway->last_error : "out of memory");
	}
	flow->candidate = flow->route->candidate_count - 1;
	flow_break(flow, flow->trouble[0] ? flow->trouble : "its gateway is not in the map any more");
}

void flow_gateway_failed(struct flow *flow)
{
	/* the gateway has taken it off its list already */
	struct gateway *gateway = flow->gateway;

	snprintf(flow->trouble, sizeof(flow->trouble), "%.240s", gateway->last_error);
	gateway_leave(gateway, 0, 0);
	flow->gateway = NULL;
	flow->candidate++;
	try_candidates(flow);
}

/* The next stream has to be told all that this one was.  -1: out of memory, and
 * bytes are gone. */
static int take_back(struct flow *flow)
{
	const void *data;
	size_t size;

	while ((data = queue_peek(&flow->up.queue, &size))) {
		if (queue_append(&flow->early, data, size) < 0)
			return -1;
		queue_consume(&flow->up.queue, size);
	}
	flow->up.queue = flow->early;
	queue_init(&flow->early, &flow->worker->pool);
	flow->up.bytes = 0;
	if (flow->up.state == HALF_DONE)
		flow->up.state = HALF_ENDING;
	return 0;
}

/* The stream that was tried came to nothing, and nothing has reached the far host. */
static void try_again(struct flow *flow)
{
	flow->link_id = 0;
	let_go(flow);
	flow->state = FLOW_WAITING;
	set_watcher(flow, &flow->readable, false);
	if (take_back(flow) < 0)
		flow_break(flow, "out of memory");
	else
		try_candidates(flow);
}

/* ---- events ---- */

/* Read the client while what it sends can go on; write when something is left
 * over.  A stream needs no watcher: it wakes us. */
static void set_watchers(struct flow *flow)
{
	set_watcher(flow, &flow->readable,
		    (flow->state == FLOW_CONNECTED || (flow->stream && flow->stream->early)) &&
			    flow->up.state == HALF_FLOWING && !flow->up.queue.size);
	set_watcher(flow, &flow->writable, flow->down.queue.size > 0);
}

static void stream_failed(struct flow *flow)
{
	const struct stream *stream = flow->stream;
	char how[256];

	if (stream->outcome == STREAM_AGAIN && flow->tries++ < TRIES_MAX) {
		try_again(flow);
		return;
	}
	snprintf(how, sizeof(how), "%s: %s",
		 stream->outcome == STREAM_AGAIN ? "no way through" :
						   stream_outcome_name(stream->outcome),
		 stream->reason);
	flow_break(flow, how);
}

/* The stream has done its part when only the client has still to be served. */
static void release_stream(struct flow *flow)
{
	if (flow->stream && flow->up.state == HALF_DONE && flow->down.state != HALF_FLOWING) {
		flow->stream->ops->close(flow->stream);
		flow->stream = NULL;
	}
}

static void move_both(struct flow *flow)
{
	int down = half_move(flow, &flow->down, &far_side, &client_side, UINT64_MAX);
	int up = down < 0 ? 0 : half_move(flow, &flow->up, &client_side, &far_side, TURN_MAX);

	release_stream(flow);
	if (flow->stream && flow->stream->state == STREAM_FAILED)
		stream_failed(flow);
	else if (down < 0 || up < 0)
		flow_break(flow, "reset by the client");
	else if (flow->up.state == HALF_DONE && flow->down.state == HALF_DONE)
		flow_finish(flow);
	else
		set_watchers(flow);
}

static void flow_step(struct flow *flow)
{
	if (flow->state == FLOW_OPENING && flow->stream->state == STREAM_CONNECTED) {
		flow->state = FLOW_CONNECTED;
		queue_clear(&flow->early);
		ev_timer_stop(flow->worker->loop, &flow->deadline);
	}
	if (flow->state == FLOW_CONNECTED || (flow->stream && flow->stream->early))
		move_both(flow);
	else if (flow->stream && flow->stream->state == STREAM_FAILED)
		stream_failed(flow);
}

static void on_client(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct flow *flow = io->data;

	(void)loop;
	flow->client_ready |= (events & EV_READ) != 0;
	flow_step(flow);
}

static void on_wake(struct stream *stream)
{
	flow_step(stream->owner);
}

static void on_deadline(struct ev_loop *loop, struct ev_timer *timer, int events)
{
	struct flow *flow = timer->data;
	char how[300];

	(void)loop;
	(void)events;
	snprintf(how, sizeof(how), "timed out while %s%s%s", flow_state_name(flow->state),
		 flow->gateway && flow->gateway->last_error[0] ? ": " : "",
		 flow->gateway ? flow->gateway->last_error : "");
	flow_break(flow, how);
}

/* Where a watcher is active the error is found in its turn, behind the bytes that
 * came before it. */
void flow_client_broke(void *arg)
{
	struct flow *flow = arg;
	int error = 0;
	socklen_t size = sizeof(error);

	if (ev_is_active(&flow->readable) || ev_is_active(&flow->writable))
		return;
	if (getsockopt(flow->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error)
		flow_break(flow, "reset by the client");
}

void flow_attach(struct flow *flow, struct link *link)
{
	flow->state = FLOW_OPENING;
	flow->link_id = link->id;
	flow->stream = link_open(link, &flow->dest, flow->port, &flow->client, flow->client_port);
	if (!flow->stream) {
		flow_break(flow, "out of memory");
		return;
	}
	flow->stream->wake = on_wake;
	flow->stream->owner = flow;
	if (flow->stream->early)
		set_watchers(flow);
}

/* A client that has vanished shows by its silence, one that resets at once. */
static void watch_client(struct flow *flow)
{
	const int one = 1, idle = KEEPALIVE_SECONDS;

	setsockopt(flow->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(flow->fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(flow->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (hangup_add(&flow->worker->hangup, flow->fd, flow) < 0)
		log_warn("can't watch a client for its end"); /* it is found by writing, later */
}

void flow_start(struct worker *worker, const struct flow_request *request, struct routes *routes)
{
	struct flow *flow = calloc(1, sizeof(*flow));

	if (!flow) {
		log_errorx("out of memory: a client was reset");
		capture_refuse(request->fd);
		routes_put(routes);
		worker_flow_ended(worker, true, 0, 0);
		return;
	}
	flow->worker = worker;
	flow->routes = routes;
	flow->route = request->route;
	flow->client = request->client;
	flow->client_port = request->client_port;
	flow->dest = request->dest;
	flow->port = request->port;
	flow->fd = request->fd;
	flow->started = ev_now(worker->loop);
	queue_init(&flow->up.queue, &worker->pool);
	queue_init(&flow->early, &worker->pool);
	queue_init(&flow->down.queue, &worker->pool);
	ev_io_init(&flow->readable, on_client, flow->fd, EV_READ);
	ev_io_init(&flow->writable, on_client, flow->fd, EV_WRITE);
	ev_timer_init(&flow->deadline, on_deadline, worker->conf->open_timeout, 0);
	flow->readable.data = flow->writable.data = flow->deadline.data = flow;
	ev_timer_start(worker->loop, &flow->deadline);
	TAILQ_INSERT_TAIL(&worker->flows, flow, of_worker);
	watch_client(flow);
	try_candidates(flow);
}
