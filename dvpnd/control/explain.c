/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Explaining: what would become of a connection, and why, told from the map,
 * the configuration and the workers' report alone; nothing is sent.
 */
#include <string.h>
#include <strings.h>

#include "control/reports.h"
#include "control/table.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define REASON_SIZE 400

/* ---- captured or not ---- */

struct verdict {
	const char *name; /* for programs */
	bool captured;
	char reason[REASON_SIZE];
};

/* A map may name us too: the same file can serve all sites. */
static bool names_us(const struct conf *conf, const struct route *route)
{
	for (unsigned i = 0; i < route->candidate_count; i++)
		if (strcasecmp(route->candidates[i].site->name, conf->name) == 0)
			return true;
	return false;
}

/* In the order in which the daemon and its rules decide. */
static void judge(const struct explain_facts *facts, const struct explain_dest *dest,
		  struct verdict *verdict)
{
	char text[PREFIX_TEXT_SIZE];

	verdict->captured = false;
	if (dest->own) {
		verdict->name = "own_prefix";
		snprintf(verdict->reason, REASON_SIZE,
			 "%s is one of this site's own prefixes ([site] prefixes)",
			 prefix_format(dest->own, text));
	} else if (dest->local) {
		verdict->name = "own_address";
		snprintf(verdict->reason, REASON_SIZE,
			 "it is an address of this machine, which dvpn-rules leaves alone");
	} else if (!dest->route) {
		verdict->name = "no_route";
		snprintf(verdict->reason, REASON_SIZE,
			 "no prefix of the map is around it; dvpnctl routes lists them, a line "
			 "in %s and dvpnctl reload add one",
			 facts->conf->map_static);
	} else if (names_us(facts->conf, dest->route)) {
		verdict->name = "own_prefix";
		snprintf(verdict->reason, REASON_SIZE, "the map gives %s to %s, which is this site",
			 prefix_format(&dest->route->prefix, text), facts->conf->name);
	} else if (facts->draining) {
		verdict->name = "draining";
		snprintf(verdict->reason, REASON_SIZE,
			 "dvpnd is stopping and takes no new connections");
	} else {
		verdict->name = "carried";
		verdict->captured = true;
		snprintf(verdict->reason, REASON_SIZE, "%s is the longest prefix around it",
			 prefix_format(&dest->route->prefix, text));
	}
}

/* ---- candidates ---- */

/* One word for how the gateway is reached now, over all workers. */
static const char *link_state(const struct carry_report *carry, const struct site *site)
{
	bool up = false, connecting = false, failed = false, known = false;

	for (size_t i = 0; i < carry->gateway_count; i++) {
		const struct gateway_report *gateway = &carry->gateways[i];

		if (!report_names(gateway->name, site))
			continue;
		known = true;
		up |= gateway->links_up > 0;
		connecting |= gateway->links_connecting > 0;
		failed |= gateway->last_error[0] != '\0';
	}
	if (up)
		return "up";
	if (connecting)
		return "connecting";
	if (failed)
		return "failed";
	return known ? "idle" : "unused";
}

static void order_reason(const struct route *route, unsigned i, char text[REASON_SIZE])
{
	const struct candidate *candidates = route->candidates;

	if (route->candidate_count == 1)
		snprintf(text, REASON_SIZE, "the only owner");
	else if (i == 0 && candidates[0].pref > candidates[1].pref)
		snprintf(text, REASON_SIZE, "highest pref");
	else if (i == 0)
		snprintf(text, REASON_SIZE, "same pref as %s, name sorts before it",
			 candidates[1].site->name);
	else if (candidates[i].pref < candidates[i - 1].pref)
		snprintf(text, REASON_SIZE, "lower pref than %s", candidates[i - 1].site->name);
	else
		snprintf(text, REASON_SIZE, "same pref as %s, name sorts after it",
			 candidates[i - 1].site->name);
}

struct explain_rows {
	const struct explain_facts *facts;
	const struct route *route; /* NULL: site alone */
	const struct site *site;
};

static const struct column candidate_columns[] = {
	{ "RANK", "rank", true },	 { "SITE", "site", false },
	{ "PREF", "pref", true },	 { "LINK", "link", false },
	{ "LEARNED", "learned", false }, { "ORIGIN", "origin", false },
	{ "ORDER", "order", false },
};

static void candidate_rows(struct table *table, const void *arg)
{
	char origin[ORIGIN_TEXT_SIZE], reason[REASON_SIZE];
	const struct explain_rows *rows = arg;
	unsigned count = rows->route ? rows->route->candidate_count : 0;

	for (unsigned i = 0; i < count; i++) {
		const struct candidate *candidate = &rows->route->candidates[i];

		order_reason(rows->route, i, reason);
		table_number(table, i + 1);
		table_text(table, candidate->site->name);
		table_signed(table, candidate->pref);
		table_text(table, link_state(rows->facts->carry, candidate->site));
		table_bool(table, candidate->origin.learned);
		table_text(table, report_origin(&candidate->origin, origin));
		table_text(table, reason);
	}
}

/* ---- settings ---- */

static const struct column setting_columns[] = {
	{ "SITE", "site", false },
	{ "SETTING", "setting", false },
	{ "VALUE", "value", false },
	{ "FROM", "from", false },
};

/* What the settings of one site are taken from. */
struct sources {
	const struct site *site;
	const struct conf_gateway *gateway; /* NULL: no [gateway NAME] */
	const struct conf_ssh *ssh;	    /* [gateway NAME] complete, or [ssh] */
	char section[300];		    /* "[gateway NAME]" */
};

static void setting_row(struct table *table, const struct sources *sources, const char *name,
			const char *value, const char *from)
{
	table_text(table, sources->site->name);
	table_text(table, name);
	table_text(table, value);
	table_text(table, from);
}

/* As carry/ merges them: the gateway's section beats the map, that beats [ssh]. */
static void word_row(struct table *table, const struct sources *sources, const char *name,
		     uint32_t bit, const char *from_map, const char *from_conf)
{
	bool overridden = sources->gateway && sources->gateway->overridden & bit;

	if (from_map && !overridden)
		setting_row(table, sources, name, from_map, "map");
	else
		setting_row(table, sources, name, from_conf,
			    overridden ? sources->section : "[ssh]");
}

static void number_row(struct table *table, const struct sources *sources, const char *name,
		       uint32_t bit, unsigned value)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", value);
	word_row(table, sources, name, bit, NULL, text);
}

static void endpoint_rows(struct table *table, const struct sources *sources)
{
	char text[300];

	for (unsigned i = 0; i < sources->site->endpoint_count; i++)
		setting_row(table, sources, "endpoint",
			    endpoint_format(&sources->site->endpoints[i], sources->ssh->port, text,
					    sizeof(text)),
			    "map");
}

static void site_rows(struct table *table, const struct conf *conf, const struct site *site)
{
	struct sources sources = { .site = site, .gateway = conf_gateway(conf, site->name) };
	const struct conf_ssh *ssh = report_ssh(conf, site->name);
	const char *mode = site->mode != SSH_MODE_UNSET ? ssh_mode_name(site->mode) : NULL;

	sources.ssh = ssh;
	snprintf(sources.section, sizeof(sources.section), "[gateway %s]", site->name);
	endpoint_rows(table, &sources);
	word_row(table, &sources, "user", CONF_SSH_USER, site->user, ssh->user);
	word_row(table, &sources, "mode", CONF_SSH_MODE, mode, ssh_mode_name(ssh->mode));
	word_row(table, &sources, "netcat", CONF_SSH_NETCAT, site->netcat, ssh->netcat);
	if (site->hostkey)
		setting_row(table, &sources, "hostkey", site->hostkey, "map");
	word_row(table, &sources, "known_hosts", CONF_SSH_KNOWN_HOSTS, NULL, ssh->known_hosts);
	word_row(table, &sources, "host_keys", CONF_SSH_HOST_KEYS, NULL,
		 ssh->host_keys == HOST_KEYS_STRICT ? "strict" : "accept-new");
	number_row(table, &sources, "connect_timeout", CONF_SSH_CONNECT_TIMEOUT,
		   ssh->connect_timeout);
	number_row(table, &sources, "keepalive", CONF_SSH_KEEPALIVE, ssh->keepalive);
	number_row(table, &sources, "idle_timeout", CONF_SSH_IDLE_TIMEOUT, ssh->idle_timeout);
	number_row(table, &sources, "channels_per_link", CONF_SSH_CHANNELS_PER_LINK,
		   ssh->channels_per_link);
}

static void setting_rows(struct table *table, const void *arg)
{
	const struct explain_rows *rows = arg;

	if (rows->site)
		site_rows(table, rows->facts->conf, rows->site);
	for (unsigned i = 0; rows->route && i < rows->route->candidate_count; i++)
		site_rows(table, rows->facts->conf, rows->route->candidates[i].site);
}

/* ---- the whole ---- */

/* A blank line between tables, for people. */
static void gap(FILE *out, struct json *json)
{
	if (!json)
		putc('\n', out);
}

/* Settings, gateways and links of the candidates, or of the site. */
static void write_gateways(FILE *out, struct json *json, const struct explain_rows *rows)
{
	struct report_filter filter = { rows->site, rows->route };

	gap(out, json);
	table_write(out, json, "settings", setting_columns, COUNT(setting_columns), setting_rows,
		    rows);
	gap(out, json);
	report_gateway_table(out, json, rows->facts->carry, &filter);
	gap(out, json);
	report_link_table(out, json, rows->facts->carry, &filter);
}

static void dest_json(struct json *json, const struct explain_dest *dest,
		      const struct verdict *verdict)
{
	const struct prefix *own = dest->own;
	char text[PREFIX_TEXT_SIZE];

	if (!own && dest->route && strcmp(verdict->name, "own_prefix") == 0)
		own = &dest->route->prefix;
	json_text(json, "destination", addr_format(&dest->addr, text));
	json_number(json, "port", dest->port);
	json_bool(json, "captured", verdict->captured);
	json_text(json, "verdict", verdict->name);
	json_text(json, "reason", verdict->reason);
	json_text(json, "prefix", dest->route ? prefix_format(&dest->route->prefix, text) : NULL);
	json_text(json, "own_prefix", own ? prefix_format(own, text) : NULL);
}

static void dest_people(FILE *out, const struct explain_dest *dest, const struct verdict *verdict)
{
	char text[ADDR_PORT_TEXT_SIZE];

	report_line(out, "WHAT", "VALUE");
	report_line(out, "destination", "%s",
		    dest->port ? addr_port_format(&dest->addr, dest->port, text) :
				 addr_format(&dest->addr, text));
	report_line(out, "captured", "%s", verdict->captured ? "yes" : "no");
	report_line(out, "why", "%s", verdict->reason);
}

void report_explain(FILE *out, bool as_json, const struct explain_facts *facts,
		    const struct explain_dest *dest)
{
	struct explain_rows rows = { facts, dest->route, NULL };
	struct verdict verdict;
	struct json json;

	judge(facts, dest, &verdict);
	if (as_json) {
		report_begin(&json, out, "explain");
		dest_json(&json, dest, &verdict);
	} else {
		dest_people(out, dest, &verdict);
	}
	if (dest->route && dest->route->candidate_count) {
		gap(out, as_json ? &json : NULL);
		table_write(out, as_json ? &json : NULL, "candidates", candidate_columns,
			    COUNT(candidate_columns), candidate_rows, &rows);
		write_gateways(out, as_json ? &json : NULL, &rows);
	}
	if (as_json)
		report_end(&json);
}

void report_explain_site(FILE *out, bool as_json, const struct explain_facts *facts,
			 const struct site *site, const struct route *routes, size_t count)
{
	struct explain_rows rows = { facts, NULL, site };
	const char *state = link_state(facts->carry, site);
	char origin[ORIGIN_TEXT_SIZE];
	struct json json;

	report_origin(&site->origin, origin);
	if (as_json) {
		report_begin(&json, out, "explain");
		json_text(&json, "site", site->name);
		json_text(&json, "link", state);
		json_bool(&json, "learned", site->origin.learned);
		json_text(&json, "origin", origin);
	} else {
		report_line(out, "WHAT", "VALUE");
		report_line(out, "site", "%s", site->name);
		report_line(out, "map line", "%s", origin);
		report_line(out, "link", "%s", state);
	}
	gap(out, as_json ? &json : NULL);
	report_route_table(out, as_json ? &json : NULL, routes, count, facts->conf, site);
	write_gateways(out, as_json ? &json : NULL, &rows);
	if (as_json)
		report_end(&json);
}
