/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a worker tells of itself. */
#include "carry/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "carry/worker.h"

/* Room for one more at the end of an array, zeroed; NULL where memory is out:
 * then the report is short. */
static void *more(void **array, size_t *count, size_t size)
{
	size_t room = *count & (*count - 1) ? 0 : *count ? 2 * *count : 1;
	char *grown = room ? reallocarray(*array, room, size) : *array;

	if (!grown)
		return NULL;
	*array = grown;
	grown += (*count)++ * size;
	memset(grown, 0, size);
	return grown;
}

static void fill_gateway(const struct gateway *gateway, struct gateway_report *to)
{
	double now = ev_now(gateway->worker->loop);
	struct link *link;
	struct flow *flow;

	snprintf(to->name, sizeof(to->name), "%s", gateway->settings->site);
	to->worker = gateway->worker->number;
	TAILQ_FOREACH(link, &gateway->links, of_gateway) {
		if (link->state == LINK_UP)
			to->links_up++;
		else
			to->links_connecting++;
	}
	to->flows = gateway->flow_count;
	to->waiting = gateway->waiting_count;
	to->channel_cap = gateway->channel_cap;
	to->bytes_up = gateway->bytes_up;
	to->bytes_down = gateway->bytes_down;
	TAILQ_FOREACH(flow, &gateway->worker->flows, of_worker) {
		if (flow->gateway != gateway)
			continue;
		to->bytes_up += flow->up.bytes;
		to->bytes_down += flow->down.bytes;
	}
	snprintf(to->last_error, sizeof(to->last_error), "%s", gateway->last_error);
	to->last_error_age = gateway->last_error[0] ? now - gateway->last_error_time : 0;
}

static void fill_link(const struct link *link, struct link_report *to)
{
	const struct endpoint *endpoint = &link->settings->endpoints[link->endpoint];

	snprintf(to->gateway, sizeof(to->gateway), "%s", link->settings->site);
	to->worker = link->worker->number;
	to->id = link->id;
	snprintf(to->state, sizeof(to->state), "%s",
		 link->state == LINK_UP && link->draining ? "draining" : link_state_name(link->state));
	link_endpoint(link, to->endpoint, sizeof(to->endpoint));
	if (link->address_next)
		addr_port_format(&link->addresses[link->address_next - 1], endpoint->port,
				 to->address);
	snprintf(to->ciphers, sizeof(to->ciphers), "%s", link->ciphers);
	to->channels = link->channel_count;
	to->bytes_up = link->bytes_out;
	to->bytes_down = link->bytes_in;
	to->age = ev_now(link->worker->loop) - link->started;
}

static void fill_flow(const struct flow *flow, struct flow_report *to)
{
	snprintf(to->gateway, sizeof(to->gateway), "%s",
		 flow->route->candidates[flow->candidate].site->name);
	to->worker = flow->worker->number;
	to->link = flow->link_id;
	snprintf(to->state, sizeof(to->state), "%s", flow_state_name(flow->state));
	addr_port_format(&flow->client, flow->client_port, to->client);
	addr_port_format(&flow->dest, flow->port, to->dest);
	to->bytes_up = flow->up.bytes;
	to->bytes_down = flow->down.bytes;
	to->age = ev_now(flow->worker->loop) - flow->started;
}

void worker_fill_report(struct worker *worker, struct worker_report *on_its_way)
{
	struct carry_report *report = &on_its_way->report;
	struct gateway_report *gateway_to;
	struct link_report *link_to;
	struct flow_report *flow_to;
	struct gateway *gateway;
	struct link *link;
	struct flow *flow;

	TAILQ_FOREACH(gateway, &worker->gateways, entry) {
		gateway_to = more((void **)&report->gateways, &report->gateway_count,
				  sizeof(*gateway_to));
		if (gateway_to)
			fill_gateway(gateway, gateway_to);
		TAILQ_FOREACH(link, &gateway->links, of_gateway) {
			link_to = more((void **)&report->links, &report->link_count,
				       sizeof(*link_to));
			if (link_to)
				fill_link(link, link_to);
		}
	}
	TAILQ_FOREACH(flow, &worker->flows, of_worker) {
		flow_to = more((void **)&report->flows, &report->flow_count, sizeof(*flow_to));
		if (flow_to)
			fill_flow(flow, flow_to);
		report->bytes_up += flow->up.bytes;
		report->bytes_down += flow->down.bytes;
	}
	report->flows_ok += worker->flows_ok;
	report->flows_failed += worker->flows_failed;
	report->bytes_up += worker->bytes_up;
	report->bytes_down += worker->bytes_down;
	carry_report_pass(on_its_way, worker->number);
}

void report_free(struct worker_report *report)
{
	free(report->report.gateways);
	free(report->report.links);
	free(report->report.flows);
	free(report);
}
