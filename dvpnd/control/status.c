/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The status report: how the daemon is, and hints where something is wrong.
 * A hint names what is wrong, then the next thing to look at.
 */
#include <inttypes.h>
#include <stdarg.h>

#include "control/reports.h"
#include "control/text.h"

#define HINT_SIZE 400
#define HINTS_MAX 10

static const struct report_filter everybody;

struct hints {
	char lines[HINTS_MAX][HINT_SIZE];
	unsigned count;
};

/* ---- hints ---- */

static void __attribute__((format(printf, 2, 3)))
hint(struct hints *hints, const char *format, ...)
{
	va_list args;

	if (hints->count == HINTS_MAX)
		return;
	va_start(args, format);
	vsnprintf(hints->lines[hints->count++], HINT_SIZE, format, args);
	va_end(args);
}

static void hint_map(struct hints *hints, const struct status_facts *facts)
{
	if (facts->map_errors)
		hint(hints, "%u bad map lines are left out: dvpnd -t -c %s shows them",
		     facts->map_errors, facts->conf->path);
	if (facts->site_count == 0)
		hint(hints, "the map names no gateway, so nothing is carried: add a line to %s, "
			    "then dvpnctl reload; dvpn-hosts(5) has examples",
		     facts->conf->map_static);
}

static void hint_gateways(struct hints *hints, const struct carry_report *carry)
{
	const char *name = NULL;
	unsigned count = 0;

	for (size_t i = 0; i < carry->gateway_count; i++)
		if (carry->gateways[i].last_error[0] && count++ == 0)
			name = carry->gateways[i].name;
	if (count)
		hint(hints, "the last attempt at %s failed: dvpnctl explain %s says how it is "
			    "reached and with which settings", name, name);
}

static void hint_capture(struct hints *hints, const struct status_facts *facts)
{
	if (facts->capture.direct)
		hint(hints, "%" PRIu64 " connections came straight to port %u, past the rules: "
			    "dvpn-rules check says whether the port is shielded",
		     facts->capture.direct, facts->conf->port);
	if (facts->capture.unknown)
		hint(hints, "%" PRIu64 " connections had no original destination: dvpn-rules "
			    "check; is nf_conntrack loaded?", facts->capture.unknown);
	if (facts->capture.pauses)
		hint(hints, "accepting paused %" PRIu64 " times for want of descriptors or memory: "
			    "raise LimitNOFILE= of the service", facts->capture.pauses);
	if (facts->refused.no_route)
		hint(hints, "%" PRIu64 " connections had no route though the kernel's set has "
			    "their destination: dvpnctl reload fills the set anew",
		     facts->refused.no_route);
	if (facts->refused.max_flows)
		hint(hints, "%" PRIu64 " connections were refused at [listen] max_flows = %u: "
			    "dvpnctl flows shows who has them", facts->refused.max_flows,
		     facts->conf->max_flows);
}

static void hints_collect(struct hints *hints, const struct status_facts *facts)
{
	hints->count = 0;
	if (facts->draining)
		hint(hints, "draining: no new connections are taken; dvpnctl flows shows what is "
			    "being waited for");
	hint_map(hints, facts);
	hint_gateways(hints, facts->carry);
	hint_capture(hints, facts);
}

/* ---- for programs ---- */

static void json_site(struct json *json, const struct conf *conf)
{
	char text[PREFIX_TEXT_SIZE];

	json_object(json, "site");
	json_text(json, "name", conf->name);
	json_array(json, "prefixes");
	for (unsigned i = 0; i < conf->prefix_count; i++)
		json_text(json, NULL, prefix_format(&conf->prefixes[i], text));
	json_array_end(json);
	json_object_end(json);
}

static void json_map(struct json *json, const struct status_facts *facts)
{
	json_object(json, "map");
	json_number(json, "sites", facts->site_count);
	json_number(json, "prefixes", facts->route_count);
	json_number(json, "bad_lines", facts->map_errors);
	json_seconds(json, "age", facts->map_age);
	json_number(json, "memory", facts->map_memory);
	json_array(json, "files");
	json_text(json, NULL, facts->conf->map_static);
	json_text(json, NULL, facts->conf->map_learned);
	json_array_end(json);
	json_object_end(json);
}

static void json_listen(struct json *json, const struct conf *conf)
{
	char text[ADDR_TEXT_SIZE];

	json_object(json, "listen");
	json_number(json, "port", conf->port);
	json_array(json, "addresses");
	for (unsigned i = 0; i < conf->address_count; i++)
		json_text(json, NULL, addr_format(&conf->addresses[i], text));
	json_array_end(json);
	json_object_end(json);
}

static void count_links(const struct carry_report *carry, unsigned *up, unsigned *connecting)
{
	*up = *connecting = 0;
	for (size_t i = 0; i < carry->gateway_count; i++) {
		*up += carry->gateways[i].links_up;
		*connecting += carry->gateways[i].links_connecting;
	}
}

static void json_carried(struct json *json, const struct status_facts *facts)
{
	const struct carry_report *carry = facts->carry;
	unsigned up, connecting;

	json_object(json, "flows");
	json_number(json, "now", carry->flow_count);
	json_number(json, "max", facts->conf->max_flows);
	json_number(json, "started", carry->flows_started);
	json_number(json, "ok", carry->flows_ok);
	json_number(json, "failed", carry->flows_failed);
	json_number(json, "bytes_up", carry->bytes_up);
	json_number(json, "bytes_down", carry->bytes_down);
	json_object_end(json);
	count_links(carry, &up, &connecting);
	json_object(json, "links");
	json_number(json, "up", up);
	json_number(json, "connecting", connecting);
	json_object_end(json);
}

static void json_counters(struct json *json, const struct status_facts *facts)
{
	json_object(json, "captured");
	json_number(json, "accepted", facts->capture.accepted);
	json_number(json, "pauses", facts->capture.pauses);
	json_object_end(json);
	json_object(json, "refused");
	json_number(json, "direct", facts->capture.direct);
	json_number(json, "unknown", facts->capture.unknown);
	json_number(json, "no_route", facts->refused.no_route);
	json_number(json, "own", facts->refused.own);
	json_number(json, "max_flows", facts->refused.max_flows);
	json_number(json, "draining", facts->refused.draining);
	json_object_end(json);
}

static void status_json(FILE *out, const struct status_facts *facts, const struct hints *hints)
{
	struct json json;

	report_begin(&json, out, "status");
	json_text(&json, "version", DVPN_VERSION);
	json_number(&json, "pid", (uint64_t)facts->pid);
	json_text(&json, "state", facts->draining ? "draining" : "running");
	json_seconds(&json, "uptime", facts->uptime);
	json_text(&json, "config", facts->conf->path);
	json_site(&json, facts->conf);
	json_map(&json, facts);
	json_listen(&json, facts->conf);
	json_carried(&json, facts);
	json_counters(&json, facts);
	report_gateway_table(out, &json, facts->carry, &everybody);
	json_array(&json, "hints");
	for (unsigned i = 0; i < hints->count; i++)
		json_text(&json, NULL, hints->lines[i]);
	json_array_end(&json);
	report_end(&json);
}

/* ---- for people ---- */

static void line_daemon(FILE *out, const struct status_facts *facts)
{
	char age[TEXT_NUMBER_SIZE];

	report_line(out, "daemon", "dvpnd %s, %s, up %s, process %ld", DVPN_VERSION,
		    facts->draining ? "draining" : "running", text_age(facts->uptime, age), facts->pid);
	report_line(out, "config", "%s", facts->conf->path);
}

static void lines_site(FILE *out, const struct status_facts *facts)
{
	const struct conf *conf = facts->conf;
	char text[ADDR_PORT_TEXT_SIZE];

	report_line(out, "site", "%s", conf->name);
	for (unsigned i = 0; i < conf->prefix_count; i++)
		report_line(out, "prefix", "%s", prefix_format(&conf->prefixes[i], text));
	for (unsigned i = 0; i < conf->address_count; i++)
		report_line(out, "listening", "%s",
			    addr_port_format(&conf->addresses[i], conf->port, text));
}

static void lines_map(FILE *out, const struct status_facts *facts)
{
	char age[TEXT_NUMBER_SIZE], bytes[TEXT_NUMBER_SIZE];

	report_line(out, "map", "%zu sites, %zu prefixes, %u bad lines, in force for %s, %s bytes",
		    facts->site_count, facts->route_count, facts->map_errors,
		    text_age(facts->map_age, age), text_bytes(facts->map_memory, bytes));
	report_line(out, "map file", "%s", facts->conf->map_static);
	report_line(out, "map file", "%s", facts->conf->map_learned);
}

static void lines_counters(FILE *out, const struct status_facts *facts)
{
	const struct carry_report *carry = facts->carry;
	char bytes_up[TEXT_NUMBER_SIZE], bytes_down[TEXT_NUMBER_SIZE];
	unsigned up, connecting;

	count_links(carry, &up, &connecting);
	report_line(out, "flows",
		    "%zu now of %u, %" PRIu64 " started, %" PRIu64 " ok, %" PRIu64 " failed",
		    carry->flow_count, facts->conf->max_flows, carry->flows_started,
		    carry->flows_ok, carry->flows_failed);
	report_line(out, "bytes", "%s up, %s down", text_bytes(carry->bytes_up, bytes_up),
		    text_bytes(carry->bytes_down, bytes_down));
	report_line(out, "links", "%u up, %u connecting", up, connecting);
	report_line(out, "captured", "%" PRIu64 " accepted, %" PRIu64 " pauses",
		    facts->capture.accepted, facts->capture.pauses);
	report_line(out, "refused",
		    "%" PRIu64 " direct, %" PRIu64 " unknown, %" PRIu64 " no_route, %" PRIu64
		    " own, %" PRIu64 " max_flows, %" PRIu64 " draining",
		    facts->capture.direct, facts->capture.unknown, facts->refused.no_route,
		    facts->refused.own, facts->refused.max_flows, facts->refused.draining);
}

static void status_people(FILE *out, const struct status_facts *facts, const struct hints *hints)
{
	report_line(out, "WHAT", "VALUE");
	line_daemon(out, facts);
	lines_site(out, facts);
	lines_map(out, facts);
	lines_counters(out, facts);
	for (unsigned i = 0; i < hints->count; i++)
		report_line(out, "hint", "%s", hints->lines[i]);
	if (facts->carry->gateway_count) {
		putc('\n', out);
		report_gateway_table(out, NULL, facts->carry, &everybody);
	}
}

void report_status(FILE *out, bool json, const struct status_facts *facts)
{
	struct hints hints;

	hints_collect(&hints, facts);
	if (json)
		status_json(out, facts, &hints);
	else
		status_people(out, facts, &hints);
}
