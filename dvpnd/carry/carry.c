/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Carrying, seen from main: which worker gets what. */
#include "carry/carry.h"

#include <errno.h>
#include <libssh2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "capture/capture.h"
#include "carry/report.h"
#include "carry/worker.h"

struct carry {
	struct ev_loop *loop; /* main's */
	struct conf *conf;
	struct routes *routes;
	struct identity *identity;
	atomic_uint flow_count;
	uint64_t flows_started;

	/* reports that have come back from the workers */
	struct ev_async answered;
	pthread_mutex_t lock;
	struct worker_report *answers;

	unsigned worker_count;
	struct worker workers[];
};

/* A gateway has a home worker, so that few connections make few SSH sessions. */
static struct worker *home_worker(struct carry *carry, const char *name)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	while (*name)
		hash = (hash ^ (unsigned char)*name++) * 16777619u;
	return &carry->workers[hash % carry->worker_count];
}

static struct message *message_new(enum message_kind kind)
{
	struct message *message = calloc(1, sizeof(*message));

	if (message)
		message->kind = kind;
	return message;
}

/* ---- reports ---- */

static void answer(struct carry *carry)
{
	struct worker_report *report;

	pthread_mutex_lock(&carry->lock);
	report = carry->answers;
	carry->answers = NULL;
	pthread_mutex_unlock(&carry->lock);
	while (report) {
		struct worker_report *next = report->next;

		report->report.flows_started = carry->flows_started;
		report->done(&report->report, report->arg);
		report_free(report);
		report = next;
	}
}

static void on_answered(struct ev_loop *loop, struct ev_async *answered, int events)
{
	(void)loop;
	(void)events;
	answer(answered->data);
}

static void send_report(struct worker_report *report, unsigned number)
{
	struct carry *carry = report->carry;
	struct message *message = number < carry->worker_count ? message_new(MESSAGE_REPORT) : NULL;

	if (message) {
		message->report = report;
		worker_send(&carry->workers[number], message);
		return;
	}
	pthread_mutex_lock(&carry->lock);
	report->next = carry->answers;
	carry->answers = report;
	pthread_mutex_unlock(&carry->lock);
	ev_async_send(carry->loop, &carry->answered);
}

void carry_report_pass(struct worker_report *report, unsigned from_worker)
{
	send_report(report, from_worker + 1);
}

void carry_report(struct carry *carry, carry_report_done *done, void *arg)
{
	struct worker_report *report = calloc(1, sizeof(*report));
	static const struct carry_report nothing;

	if (!report) {
		done(&nothing, arg);
		return;
	}
	report->carry = carry;
	report->done = done;
	report->arg = arg;
	send_report(report, 0);
}

/* ---- flows ---- */

unsigned carry_flow_count(const struct carry *carry)
{
	return atomic_load(&carry->flow_count);
}

void carry_flow(struct carry *carry, const struct flow_request *request)
{
	struct message *message = message_new(MESSAGE_FLOW);

	if (!message) {
		log_errorx("out of memory: a client was dropped");
		capture_refuse(request->fd);
		return;
	}
	message->request = *request;
	message->routes = routes_get(carry->routes);
	atomic_fetch_add(&carry->flow_count, 1);
	carry->flows_started++;
	worker_send(home_worker(carry, request->route->candidates[0].site->name), message);
}

/* ---- start, change, stop ---- */

static void free_messages(struct message *messages)
{
	while (messages) {
		struct message *next = messages->next;

		free(messages);
		messages = next;
	}
}

int carry_update(struct carry *carry, struct conf *conf, struct routes *routes)
{
	struct identity *identity = identity_load(conf->key);
	struct message *messages = NULL;

	if (!identity)
		return -1;
	/* all of them first: no worker may have the new map while another can't */
	for (unsigned i = 0; i < carry->worker_count; i++) {
		struct message *message = message_new(MESSAGE_UPDATE);

		if (!message) {
			free_messages(messages);
			identity_put(identity);
			return -1;
		}
		message->next = messages;
		messages = message;
	}
	for (unsigned i = 0; i < carry->worker_count; i++) {
		struct message *message = messages;

		messages = message->next;
		message->conf = conf_get(conf);
		message->routes = routes_get(routes);
		message->identity = identity_get(identity);
		worker_send(&carry->workers[i], message);
	}
	conf_put(carry->conf);
	routes_put(carry->routes);
	identity_put(carry->identity);
	carry->conf = conf_get(conf);
	carry->routes = routes_get(routes);
	carry->identity = identity;
	return 0;
}

static void carry_free(struct carry *carry)
{
	ev_async_stop(carry->loop, &carry->answered);
	answer(carry); /* who asked is owed it, also now */
	pthread_mutex_destroy(&carry->lock);
	conf_put(carry->conf);
	routes_put(carry->routes);
	identity_put(carry->identity);
	free(carry);
	libssh2_exit();
}

/* Or all sites would retry in step. */
static void seed_jitter(void)
{
	unsigned seed = 0;

	if (getrandom(&seed, sizeof(seed), 0) == sizeof(seed))
		srandom(seed);
}

struct carry *carry_start(struct ev_loop *main_loop, struct conf *conf, struct routes *routes)
{
	struct identity *identity = identity_load(conf->key);
	struct carry *carry;

	if (!identity)
		return NULL;
	if (!strcmp(libssh2_version(0), "1.11.0")) {
		log_errorx("libssh2 1.11.0 corrupts sessions under load: use 1.10, or 1.11.1 and later");
		identity_put(identity);
		return NULL;
	}
	carry = calloc(1, sizeof(*carry) + conf->workers * sizeof(struct worker));
	if (!carry || libssh2_init(0)) {
		log_errorx("can't start: out of memory, or libssh2 can't be had");
		identity_put(identity);
		free(carry);
		return NULL;
	}
	seed_jitter();
	carry->loop = main_loop;
	carry->conf = conf_get(conf);
	carry->routes = routes_get(routes);
	carry->identity = identity;
	pthread_mutex_init(&carry->lock, NULL);
	ev_async_init(&carry->answered, on_answered);
	carry->answered.data = carry;
	ev_async_start(main_loop, &carry->answered);
	for (; carry->worker_count < conf->workers; carry->worker_count++) {
		if (worker_start(&carry->workers[carry->worker_count], carry->worker_count, conf,
				 routes, identity, &carry->flow_count) < 0) {
			carry_stop(carry);
			return NULL;
		}
	}
	return carry;
}

void carry_stop(struct carry *carry)
{
	if (!carry)
		return;
	for (unsigned i = 0; i < carry->worker_count; i++)
		worker_stop(&carry->workers[i]);
	for (unsigned i = 0; i < carry->worker_count; i++)
		worker_join(&carry->workers[i]);
	carry_free(carry);
}
