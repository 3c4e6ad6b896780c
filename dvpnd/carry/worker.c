/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Worker threads: the inbox, the gateways by name, settling. */
#include "carry/worker.h"

#include <search.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "capture/capture.h"
#include "carry/report.h"
#include "carry/resolve.h"

/* ---- gateways ---- */

static int compare_names(const void *a, const void *b)
{
	const struct gateway *const *left = a, *const *right = b;

	return strcmp((*left)->settings->site, (*right)->settings->site);
}

/* tsearch keeps pointers to what it is given: here to pointers to gateways,
 * which the gateways themselves hold. */
static struct gateway *find_gateway(struct worker *worker, const char *name)
{
	struct settings settings = { .site = (char *)name };
	struct gateway key = { .settings = &settings }, *keyp = &key;
	struct gateway ***found = tfind(&keyp, &worker->gateways_by_name, compare_names);

	return found ? **found : NULL;
}

struct gateway *worker_gateway(struct worker *worker, const struct site *site)
{
	struct gateway *gateway = find_gateway(worker, site->name);

	if (gateway)
		return gateway;
	gateway = gateway_new(worker, site);
	if (!gateway)
		return NULL;
	gateway->self = gateway;
	if (!tsearch(&gateway->self, &worker->gateways_by_name, compare_names)) {
		gateway_free(gateway);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&worker->gateways, gateway, entry);
	return gateway;
}

static void remove_gateway(struct worker *worker, struct gateway *gateway)
{
	tdelete(&gateway->self, &worker->gateways_by_name, compare_names);
	TAILQ_REMOVE(&worker->gateways, gateway, entry);
	gateway_free(gateway);
}

void worker_touch(struct worker *worker, struct gateway *gateway)
{
	if (gateway->touched)
		return;
	gateway->touched = true;
	TAILQ_INSERT_TAIL(&worker->touched_gateways, gateway, of_touched);
}

void worker_flow_ended(struct worker *worker, bool failed, uint64_t up, uint64_t down)
{
	atomic_fetch_sub(worker->flow_count, 1);
	worker->flows_ok += !failed;
	worker->flows_failed += failed;
	worker->bytes_up += up;
	worker->bytes_down += down;
}

/* ---- settling ---- */

static void settle_gateways(struct worker *worker)
{
	struct gateway *gateway;

	while ((gateway = TAILQ_FIRST(&worker->touched_gateways))) {
		TAILQ_REMOVE(&worker->touched_gateways, gateway, of_touched);
		gateway->touched = false;
		gateway_settle(gateway);
		if (gateway->gone && !gateway->flow_count && TAILQ_EMPTY(&gateway->links))
			remove_gateway(worker, gateway);
	}
}

/* One round.  What is touched anew by it has its turn after the next look at
 * the sockets, so that one busy link can't keep all others waiting. */
static void on_settle(struct ev_loop *loop, struct ev_prepare *prepare, int events)
{
	struct worker *worker = prepare->data;
	struct link *last = TAILQ_LAST(&worker->touched, link_list), *link;

	(void)events;
	settle_gateways(worker);
	while (last && (link = TAILQ_FIRST(&worker->touched))) {
		bool stop = link == last;

		link_settle(link);
		if (stop)
			break;
	}
	settle_gateways(worker);
	if (TAILQ_EMPTY(&worker->touched))
		ev_idle_stop(loop, &worker->more);
	else
		ev_idle_start(loop, &worker->more);
}

static void on_more(struct ev_loop *loop, struct ev_idle *idle, int events)
{
	(void)loop;
	(void)idle;
	(void)events;
}

/* ---- messages ---- */

static void update(struct worker *worker, struct message *message)
{
	struct gateway *gateway;

	conf_put(worker->conf);
	routes_put(worker->routes);
	identity_put(worker->identity);
	worker->conf = message->conf;
	worker->routes = message->routes;
	worker->identity = message->identity;
	TAILQ_FOREACH(gateway, &worker->gateways, entry) {
		gateway_update(gateway, routes_site(worker->routes, gateway->settings->site));
		worker_touch(worker, gateway);
	}
}

static void stop(struct worker *worker)
{
	struct flow *flow;
	struct gateway *gateway;
	struct link *link;

	while ((flow = TAILQ_FIRST(&worker->flows)))
		flow_abort(flow, "dvpnd stops");
	while ((gateway = TAILQ_FIRST(&worker->gateways))) {
		while ((link = TAILQ_FIRST(&gateway->links))) {
			TAILQ_REMOVE(&gateway->links, link, of_gateway);
			link_fail(link, NULL);
			link_free(link);
		}
		remove_gateway(worker, gateway);
	}
	worker->stopped = true;
	ev_break(worker->loop, EVBREAK_ALL);
}

static void handle(struct worker *worker, struct message *message)
{
	switch (message->kind) {
	case MESSAGE_FLOW:
		flow_start(worker, &message->request, message->routes);
		break;
	case MESSAGE_UPDATE:
		update(worker, message);
		break;
	case MESSAGE_REPORT:
		worker_fill_report(worker, message->report);
		break;
	case MESSAGE_STOP:
		stop(worker);
		return;
	}
	free(message);
}

/* What came after the message to stop. */
static void discard(struct worker *worker, struct message *message)
{
	if (message->kind == MESSAGE_FLOW)
		capture_refuse(message->request.fd);
	if (message->kind == MESSAGE_REPORT)
		carry_report_pass(message->report, worker->number);
	conf_put(message->conf);
	routes_put(message->routes);
	identity_put(message->identity);
	free(message);
}

static void on_mail(struct ev_loop *loop, struct ev_async *mail, int events)
{
	struct worker *worker = mail->data;
	struct message *message;

	(void)loop;
	(void)events;
	pthread_mutex_lock(&worker->lock);
	message = worker->inbox;
	worker->inbox = NULL;
	worker->inbox_tail = &worker->inbox;
	pthread_mutex_unlock(&worker->lock);
	while (message) {
		struct message *next = message->next;

		if (worker->stopped)
			discard(worker, message);
		else
			handle(worker, message);
		message = next;
	}
}

void worker_send(struct worker *worker, struct message *message)
{
	message->next = NULL;
	pthread_mutex_lock(&worker->lock);
	*worker->inbox_tail = message;
	worker->inbox_tail = &message->next;
	pthread_mutex_unlock(&worker->lock);
	ev_async_send(worker->loop, &worker->mail);
}

/* ---- the thread ---- */

static void *run(void *arg)
{
	struct worker *worker = arg;

	ev_run(worker->loop, 0);
	return NULL;
}

static int start_thread(struct worker *worker)
{
	sigset_t all, before;
	int error;

	/* signals are main's */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&worker->thread, NULL, run, worker);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error)
		log_errorx("can't start a thread: %s", strerror(error));
	return error ? -1 : 0;
}

static void worker_free(struct worker *worker)
{
	while (worker->inbox) {
		struct message *message = worker->inbox;

		worker->inbox = message->next;
		discard(worker, message);
	}
	resolver_stop(worker->resolver);
	if (worker->loop)
		hangup_stop(&worker->hangup, worker->loop);
	conf_put(worker->conf);
	routes_put(worker->routes);
	identity_put(worker->identity);
	queue_pool_free(&worker->pool);
	if (worker->loop)
		ev_loop_destroy(worker->loop);
	pthread_mutex_destroy(&worker->lock);
}

int worker_start(struct worker *worker, unsigned number, struct conf *conf,
		 struct routes *routes, struct identity *identity, atomic_uint *flow_count)
{
	worker->number = number;
	worker->flow_count = flow_count;
	worker->conf = conf_get(conf);
	worker->routes = routes_get(routes);
	worker->identity = identity_get(identity);
	worker->inbox_tail = &worker->inbox;
	pthread_mutex_init(&worker->lock, NULL);
	TAILQ_INIT(&worker->gateways);
	TAILQ_INIT(&worker->touched_gateways);
	TAILQ_INIT(&worker->touched);
	TAILQ_INIT(&worker->flows);
	worker->loop = ev_loop_new(EVFLAG_AUTO);
	if (!worker->loop) {
		log_errorx("can't make an event loop: out of descriptors or memory");
		goto fail;
	}
	worker->resolver = resolver_start(worker->loop);
	if (!worker->resolver)
		goto fail;
	if (hangup_start(&worker->hangup, worker->loop, flow_client_broke) < 0) {
		log_warn("can't make an epoll set");
		goto fail;
	}
	ev_async_init(&worker->mail, on_mail);
	ev_prepare_init(&worker->settle, on_settle);
	ev_idle_init(&worker->more, on_more);
	worker->mail.data = worker->settle.data = worker->more.data = worker;
	ev_async_start(worker->loop, &worker->mail);
	ev_prepare_start(worker->loop, &worker->settle);
	if (start_thread(worker) == 0)
		return 0;
fail:
	worker_free(worker);
	return -1;
}

void worker_stop(struct worker *worker)
{
	worker->farewell.kind = MESSAGE_STOP;
	worker_send(worker, &worker->farewell);
}

void worker_join(struct worker *worker)
{
	pthread_join(worker->thread, NULL);
	worker_free(worker);
}
