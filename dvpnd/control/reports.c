/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reports: status, routes, links, flows.  Each table's columns are written once
 * for people and programs, so that the two can't tell different stories.
 */
#include "control/reports.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "control/table.h"
#include "control/text.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

void report_begin(struct json *json, FILE *out, const char *name)
{
	json_init(json, out);
	json_object(json, NULL);
	json_text(json, "report", name);
}

void report_end(struct json *json)
{
	json_object_end(json);
	putc('\n', json->out);
}

const char *report_origin(const struct origin *origin, char text[ORIGIN_TEXT_SIZE])
{
	snprintf(text, ORIGIN_TEXT_SIZE, "%s:%u", origin->file, origin->line);
	return text;
}

void report_line(FILE *out, const char *name, const char *format, ...)
{
	va_list args;
	char *text;
	int length;

	va_start(args, format);
	length = vasprintf(&text, format, args);
	va_end(args);
	if (length < 0)
		return;
	fprintf(out, "%-11s  ", name);
	text_print(out, text);
	putc('\n', out);
	free(text);
}

const struct conf_ssh *report_ssh(const struct conf *conf, const char *name)
{
	const struct conf_gateway *gateway = conf_gateway(conf, name);

	return gateway ? &gateway->ssh : &conf->ssh;
}

/* ---- gateways and links ---- */

struct carry_rows {
	const struct carry_report *carry;
	struct report_filter filter;
};

bool report_names(const char *name, const struct site *site)
{
	/* Site names may have 253 bytes. */
	return strncmp(name, site->name, sizeof(((struct gateway_report *)0)->name) - 1) == 0;
}

static bool chosen(const struct carry_rows *rows, const char *name)
{
	const struct route *route = rows->filter.route;

	if (rows->filter.site)
		return report_names(name, rows->filter.site);
	for (unsigned i = 0; route && i < route->candidate_count; i++)
		if (report_names(name, route->candidates[i].site))
			return true;
	return !route;
}

static const struct column gateway_columns[] = {
	{ "GATEWAY", "gateway", false },
	{ "WORKER", "worker", true },
	{ "LINKS", "links_up", true },
	{ "CONNECTING", "links_connecting", true },
	{ "FLOWS", "flows", true },
	{ "WAITING", "waiting", true },
	{ "CAP", "channel_cap", true },
	{ "UP", "bytes_up", true },
	{ "DOWN", "bytes_down", true },
	{ "AGE", "last_error_age", true },
	{ "LAST ERROR", "last_error", false },
};

static void gateway_rows(struct table *table, const void *arg)
{
	const struct carry_rows *rows = arg;

	for (size_t i = 0; i < rows->carry->gateway_count; i++) {
		const struct gateway_report *gateway = &rows->carry->gateways[i];

		if (!chosen(rows, gateway->name))
			continue;
		table_text(table, gateway->name);
		table_number(table, gateway->worker);
		table_number(table, gateway->links_up);
		table_number(table, gateway->links_connecting);
		table_number(table, gateway->flows);
		table_number(table, gateway->waiting);
		table_number(table, gateway->channel_cap);
		table_bytes(table, gateway->bytes_up);
		table_bytes(table, gateway->bytes_down);
		table_age_or_none(table, gateway->last_error_age, gateway->last_error[0] != '\0');
		table_text(table, gateway->last_error[0] ? gateway->last_error : NULL);
	}
}

void report_gateway_table(FILE *out, struct json *json, const struct carry_report *carry,
			  const struct report_filter *filter)
{
	struct carry_rows rows = { carry, *filter };

	table_write(out, json, "gateways", gateway_columns, COUNT(gateway_columns), gateway_rows,
		    &rows);
}

static const struct column link_columns[] = {
	{ "GATEWAY", "gateway", false },
	{ "WORKER", "worker", true },
	{ "LINK", "link", true },
	{ "STATE", "state", false },
	{ "ENDPOINT", "endpoint", false },
	{ "ADDRESS", "address", false },
	{ "CHANNELS", "channels", true },
	{ "UP", "bytes_up", true },
	{ "DOWN", "bytes_down", true },
	{ "AGE", "age", true },
	{ "CIPHERS", "ciphers", false },
};

static void link_rows(struct table *table, const void *arg)
{
	const struct carry_rows *rows = arg;

	for (size_t i = 0; i < rows->carry->link_count; i++) {
		const struct link_report *link = &rows->carry->links[i];

		if (!chosen(rows, link->gateway))
			continue;
		table_text(table, link->gateway);
		table_number(table, link->worker);
		table_number(table, link->id);
		table_text(table, link->state);
		table_text(table, link->endpoint);
		table_text(table, link->address);
		table_number(table, link->channels);
		table_bytes(table, link->bytes_up);
		table_bytes(table, link->bytes_down);
		table_age(table, link->age);
		table_text(table, link->ciphers);
	}
}

void report_link_table(FILE *out, struct json *json, const struct carry_report *carry,
		       const struct report_filter *filter)
{
	struct carry_rows rows = { carry, *filter };

	table_write(out, json, "links", link_columns, COUNT(link_columns), link_rows, &rows);
}

void report_links(FILE *out, bool as_json, const struct carry_report *carry)
{
	static const struct report_filter everybody;
	struct json json;

	if (as_json)
		report_begin(&json, out, "links");
	report_link_table(out, as_json ? &json : NULL, carry, &everybody);
	if (as_json)
		report_end(&json);
}

/* ---- flows ---- */

static const struct column flow_columns[] = {
	{ "CLIENT", "client", false },
	{ "DESTINATION", "destination", false },
	{ "GATEWAY", "gateway", false },
	{ "WORKER", "worker", true },
	{ "LINK", "link", true },
	{ "STATE", "state", false },
	{ "UP", "bytes_up", true },
	{ "DOWN", "bytes_down", true },
	{ "AGE", "age", true },
};

static void flow_rows(struct table *table, const void *arg)
{
	const struct carry_report *carry = arg;

	for (size_t i = 0; i < carry->flow_count; i++) {
		const struct flow_report *flow = &carry->flows[i];

		table_text(table, flow->client);
		table_text(table, flow->dest);
		table_text(table, flow->gateway);
		table_number(table, flow->worker);
		table_number(table, flow->link);
		table_text(table, flow->state);
		table_bytes(table, flow->bytes_up);
		table_bytes(table, flow->bytes_down);
		table_age(table, flow->age);
	}
}

void report_flows(FILE *out, bool as_json, const struct carry_report *carry)
{
	struct json json;

	if (as_json)
		report_begin(&json, out, "flows");
	table_write(out, as_json ? &json : NULL, "flows", flow_columns, COUNT(flow_columns),
		    flow_rows, carry);
	if (as_json)
		report_end(&json);
}

/* ---- routes ---- */

struct route_rows {
	const struct route *routes;
	size_t count;
	const struct conf *conf;
	const struct site *site;
};

static const struct column route_columns[] = {
	{ "PREFIX", "prefix", false },	 { "SITE", "site", false },
	{ "PREF", "pref", true },	 { "ENDPOINTS", "endpoints", false },
	{ "LEARNED", "learned", false }, { "ORIGIN", "origin", false },
};

static void candidate_row(struct table *table, const struct route *route,
			  const struct candidate *candidate, uint16_t port)
{
	char prefix[PREFIX_TEXT_SIZE], endpoint[300], origin[ORIGIN_TEXT_SIZE];
	const struct site *site = candidate->site;

	table_text(table, prefix_format(&route->prefix, prefix));
	table_text(table, site->name);
	table_signed(table, candidate->pref);
	table_list(table);
	for (unsigned i = 0; i < site->endpoint_count; i++)
		table_list_item(table, endpoint_format(&site->endpoints[i], port, endpoint,
						       sizeof(endpoint)));
	table_list_end(table);
	table_bool(table, candidate->origin.learned);
	table_text(table, report_origin(&candidate->origin, origin));
}

static bool route_of(const struct route *route, const struct site *site)
{
	for (unsigned i = 0; i < route->candidate_count; i++)
		if (route->candidates[i].site == site)
			return true;
	return false;
}

static void route_rows(struct table *table, const void *arg)
{
	const struct route_rows *rows = arg;

	for (size_t i = 0; i < rows->count; i++) {
		const struct route *route = &rows->routes[i];

		if (rows->site && !route_of(route, rows->site))
			continue;
		for (unsigned j = 0; j < route->candidate_count; j++) {
			const struct candidate *candidate = &route->candidates[j];

			candidate_row(table, route, candidate,
				      report_ssh(rows->conf, candidate->site->name)->port);
		}
	}
}

void report_route_table(FILE *out, struct json *json, const struct route *routes, size_t count,
			const struct conf *conf, const struct site *site)
{
	struct route_rows rows = { routes, count, conf, site };

	table_write(out, json, "routes", route_columns, COUNT(route_columns), route_rows, &rows);
}

void report_routes(FILE *out, bool as_json, const struct route *routes, size_t count,
		   const struct conf *conf)
{
	struct json json;

	if (as_json)
		report_begin(&json, out, "routes");
	report_route_table(out, as_json ? &json : NULL, routes, count, conf, NULL);
	if (as_json)
		report_end(&json);
}

/* ---- reload ---- */

/* One line of many; the writers want strings. */
static void reload_line(FILE *out, struct json *json, const char *line, size_t length)
{
	char *text = strndup(line, length);

	if (!text)
		return;
	if (json) {
		json_text(json, NULL, text);
	} else {
		text_print(out, text);
		putc('\n', out);
	}
	free(text);
}

void report_reload(FILE *out, bool as_json, const char *warnings)
{
	struct json json;

	if (as_json) {
		report_begin(&json, out, "reload");
		json_array(&json, "warnings");
	} else {
		fprintf(out, "reloaded%s\n", *warnings ? ", but:" : "");
	}
	while (*warnings) {
		size_t length = strcspn(warnings, "\n");

		if (length)
			reload_line(out, as_json ? &json : NULL, warnings, length);
		warnings += length + (warnings[length] == '\n');
	}
	if (as_json) {
		json_array_end(&json);
		report_end(&json);
	}
}
