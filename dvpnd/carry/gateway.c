/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which link takes which flow, and when there have to be more links. */
#include "carry/gateway.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "carry/flow.h"
#include "carry/link.h"
#include "carry/worker.h"

/* Logins under way at a time: sshd starts to refuse at ten (MaxStartups). */
#define CONNECTING_MAX 4
/* Seconds until the next attempt after all endpoints failed: doubled each time. */
#define RETRY_FIRST 0.25
#define RETRY_MAX 10.0
/* Flows that wait for one link that is being made, when it will have trunks. */
#define TRUNK_FLOWS 10000
/* Seconds that a learned cap counts: it may have been a passing trouble. */
#define CAP_SECONDS 600.0
/* Seconds until a far netcat without trunk is asked again: it may be new. */
#define TRUNK_AGAIN 300.0
/* Times that a link may be cut off before its login, as a busy sshd does, until
 * the flows that wait are told. */
#define BUSY_ROUNDS 4

static double now(const struct gateway *gateway)
{
	return ev_now(gateway->worker->loop);
}

static void on_retry(struct ev_loop *loop, struct ev_timer *timer, int events)
{
	struct gateway *gateway = timer->data;

	(void)loop;
	(void)events;
	worker_touch(gateway->worker, gateway);
}

static void forget_learned(struct gateway *gateway)
{
	gateway->channel_cap = gateway->settings->ssh.channels_per_link;
	gateway->plain_netcat = false;
	gateway->trunk_again = 0;
	gateway->endpoint = 0;
	gateway->failures = gateway->busy_rounds = 0;
	gateway->retry_at = 0;
}

struct gateway *gateway_new(struct worker *worker, const struct site *site)
{
	struct gateway *gateway = calloc(1, sizeof(*gateway));

	if (!gateway)
		return NULL;
	gateway->worker = worker;
	gateway->settings = settings_make(worker->conf, site);
	if (!gateway->settings) {
		free(gateway);
		return NULL;
	}
	TAILQ_INIT(&gateway->links);
	TAILQ_INIT(&gateway->waiting);
	ev_init(&gateway->retry, on_retry);
	gateway->retry.data = gateway;
	forget_learned(gateway);
	return gateway;
}

void gateway_free(struct gateway *gateway)
{
	ev_timer_stop(gateway->worker->loop, &gateway->retry);
	if (gateway->touched)
		TAILQ_REMOVE(&gateway->worker->touched_gateways, gateway, of_touched);
	settings_put(gateway->settings);
	free(gateway);
}

/* ---- flows and links ---- */

static struct link *link_with_room(const struct gateway *gateway)
{
	struct link *link;

	TAILQ_FOREACH(link, &gateway->links, of_gateway)
		if (link_has_room(link))
			return link;
	return NULL;
}

static void count_links(const struct gateway *gateway, unsigned *connecting, unsigned *up)
{
	struct link *link;

	*connecting = *up = 0;
	TAILQ_FOREACH(link, &gateway->links, of_gateway) {
		if (link->state == LINK_UP)
			*up += !link->draining && !link->ended;
		else if (link->state != LINK_DEAD)
			++*connecting;
	}
}

static struct flow *take_waiting(struct gateway *gateway)
{
	struct flow *flow = TAILQ_FIRST(&gateway->waiting);

	if (flow)
		gateway_withdraw(gateway, flow);
	return flow;
}

static void feed_links(struct gateway *gateway)
{
	struct link *link;

	while (!TAILQ_EMPTY(&gateway->waiting) && (link = link_with_room(gateway)))
		flow_attach(take_waiting(gateway), link);
}

static void start_links(struct gateway *gateway)
{
	unsigned connecting, up;
	unsigned flows_each = gateway_has_trunk(gateway) ? TRUNK_FLOWS : gateway->channel_cap;

	count_links(gateway, &connecting, &up);
	while (gateway->waiting_count > connecting * flows_each &&
	       connecting < CONNECTING_MAX && !gateway->gone) {
		struct link *link =
			link_start(gateway, gateway->settings, gateway->endpoint);

		if (!link)
			return; /* out of memory: the flows' deadlines end it */
		TAILQ_INSERT_TAIL(&gateway->links, link, of_gateway);
		connecting++;
	}
}

/* All endpoints have failed, and it is too early to try again. */
static bool unreachable(const struct gateway *gateway)
{
	unsigned connecting, up;

	count_links(gateway, &connecting, &up);
	return gateway->gone || (now(gateway) < gateway->retry_at && !connecting && !up &&
				 gateway->failures >= gateway->settings->endpoint_count);
}

static void turn_away(struct gateway *gateway)
{
	struct flow *flow;

	while ((flow = take_waiting(gateway)))
		flow_gateway_failed(flow);
}

void gateway_settle(struct gateway *gateway)
{
	bool early = now(gateway) < gateway->retry_at;

	if (now(gateway) >= gateway->cap_until)
		gateway->channel_cap = gateway->settings->ssh.channels_per_link;
	feed_links(gateway);
	if (!early)
		start_links(gateway);
	if (unreachable(gateway))
		turn_away(gateway);
	if (!TAILQ_EMPTY(&gateway->waiting) && early && !ev_is_active(&gateway->retry)) {
		ev_timer_set(&gateway->retry, gateway->retry_at - now(gateway), 0);
		ev_timer_start(gateway->worker->loop, &gateway->retry);
	}
}

int gateway_submit(struct gateway *gateway, struct flow *flow)
{
	if (unreachable(gateway))
		return -1;
	TAILQ_INSERT_TAIL(&gateway->waiting, flow, of_gateway);
	gateway->waiting_count++;
	gateway->flow_count++;
	worker_touch(gateway->worker, gateway);
	return 0;
}

void gateway_leave(struct gateway *gateway, uint64_t bytes_up, uint64_t bytes_down)
{
	gateway->flow_count--;
	gateway->bytes_up += bytes_up;
	gateway->bytes_down += bytes_down;
	if (gateway->gone)
		worker_touch(gateway->worker, gateway);
}

void gateway_withdraw(struct gateway *gateway, struct flow *flow)
{
	TAILQ_REMOVE(&gateway->waiting, flow, of_gateway);
	gateway->waiting_count--;
}

/* ---- what links tell ---- */

void gateway_link_served(struct gateway *gateway, struct link *link)
{
	if (link->served)
		return;
	link->served = true;
	if (link->settings != gateway->settings)
		return; /* it tells of endpoints that were */
	worker_touch(gateway->worker, gateway);
	gateway->failures = gateway->busy_rounds = 0;
	gateway->retry_at = 0;
	gateway->endpoint = link->endpoint;
	gateway->last_error[0] = '\0';
}

/* Some of a second up to ten, with jitter so that sites don't retry in step. */
static double retry_delay(const struct gateway *gateway)
{
	unsigned round = gateway->failures / gateway->settings->endpoint_count;
	double delay = RETRY_FIRST * (1 << (round < 6 ? round : 6));

	if (delay > RETRY_MAX)
		delay = RETRY_MAX;
	return delay * (0.75 + 0.5 * (double)random() / RAND_MAX);
}

static void endpoint_failed(struct gateway *gateway, const struct link *link)
{
	/* of several links to one endpoint the first to fail speaks for all */
	if (link->settings != gateway->settings || link->endpoint != gateway->endpoint)
		return;
	if (link->died_in == LINK_HANDSHAKE && gateway->busy_rounds++ < BUSY_ROUNDS) {
		gateway->retry_at = now(gateway) + retry_delay(gateway);
		return;
	}
	gateway->failures++;
	gateway->endpoint = (gateway->endpoint + 1) % gateway->settings->endpoint_count;
	if (gateway->failures % gateway->settings->endpoint_count == 0)
		gateway->retry_at = now(gateway) + retry_delay(gateway);
}

void gateway_link_gone(struct gateway *gateway, struct link *link)
{
	char name[96];

	TAILQ_REMOVE(&gateway->links, link, of_gateway);
	if (!link->reason[0]) {
		log_info("%s: closed, %.0f s, %llu bytes out, %llu in", link_name(link, name),
			 now(gateway) - link->started, (unsigned long long)link->bytes_out,
			 (unsigned long long)link->bytes_in);
		return;
	}
	log_warnx("%s: %s", link_name(link, name), link->reason);
	snprintf(gateway->last_error, sizeof(gateway->last_error), "%s", link->reason);
	gateway->last_error_time = now(gateway);
	if (!link->served)
		endpoint_failed(gateway, link);
}

void gateway_link_refused(struct gateway *gateway, struct link *link, unsigned in_use)
{
	char name[96];

	if (link->settings != gateway->settings || in_use >= gateway->channel_cap)
		return;
	log_info("%s: the far sshd gives %u sessions a connection (MaxSessions): using more links",
		 link_name(link, name), in_use);
	gateway->channel_cap = in_use;
	gateway->cap_until = now(gateway) + CAP_SECONDS;
}

void gateway_no_trunk(struct gateway *gateway, const char *why)
{
	log_info("%s: netcat there has no trunk (%s): one channel per connection for now",
		 gateway->settings->site, why);
	gateway->trunk_again = now(gateway) + TRUNK_AGAIN;
}

bool gateway_has_trunk(const struct gateway *gateway)
{
	return gateway->settings->ssh.mode == SSH_MODE_TRUNK &&
	       now(gateway) >= gateway->trunk_again;
}

void gateway_link_room(struct gateway *gateway)
{
	if (!TAILQ_EMPTY(&gateway->waiting))
		worker_touch(gateway->worker, gateway);
}

void gateway_update(struct gateway *gateway, const struct site *site)
{
	struct settings *settings = site ? settings_make(gateway->worker->conf, site) : NULL;
	struct link *link;

	gateway->gone = !site;
	if (settings && settings_same(settings, gateway->settings)) {
		settings_put(settings);
		return;
	}
	TAILQ_FOREACH(link, &gateway->links, of_gateway)
		link_drain(link);
	if (settings) {
		settings_put(gateway->settings);
		gateway->settings = settings;
		forget_learned(gateway);
	}
	worker_touch(gateway->worker, gateway);
}
