/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reports: what is shown of the daemon, as columns for people or as one JSON
 * object.  Pure: facts in, text out, nothing asked of anybody.
 *
 * The names in the JSON are a contract; dvpnctl(8) lists them.  Errors stay in
 * the stream: ask ferror(out) at the end.
 */
#ifndef DVPND_CONTROL_REPORTS_H
#define DVPND_CONTROL_REPORTS_H

#include <stdbool.h>
#include <stdio.h>

#include "capture/capture.h"
#include "carry/carry.h"
#include "conf.h"
#include "control/json.h"
#include "daemon.h"
#include "map/routes.h"

struct status_facts {
	const struct conf *conf;
	const struct carry_report *carry;
	struct capture_counters capture;
	struct refusal_counters refused;
	size_t site_count, route_count, map_memory; /* memory in bytes */
	unsigned map_errors;
	double uptime, map_age; /* seconds */
	long pid;
	bool draining;
};
void report_status(FILE *out, bool json, const struct status_facts *facts); /* status.c */

/* `conf` has the ports of endpoints that name none. */
void report_routes(FILE *out, bool json, const struct route *routes, size_t count,
		   const struct conf *conf);
void report_links(FILE *out, bool json, const struct carry_report *carry);
void report_flows(FILE *out, bool json, const struct carry_report *carry);

/* `warnings`: lines on what is wrong but did not stop the reload; may be "". */
void report_reload(FILE *out, bool json, const char *warnings);

/* ---- explain.c ---- */

struct explain_facts {
	const struct conf *conf;
	const struct carry_report *carry;
	bool draining;
};

/* What would become of a connection to this address; port 0: any port. */
struct explain_dest {
	struct addr addr;
	uint16_t port;
	const struct prefix *own; /* our prefix around it, or NULL */
	bool local;		  /* an address of this machine */
	const struct route *route; /* or NULL */
};
void report_explain(FILE *out, bool json, const struct explain_facts *facts,
		    const struct explain_dest *dest);

/* What belongs to a site: its routes (of all that there are), settings, links. */
void report_explain_site(FILE *out, bool json, const struct explain_facts *facts,
			 const struct site *site, const struct route *routes, size_t count);

/* ---- for the reports among themselves ---- */

void report_begin(struct json *json, FILE *out, const char *name);
void report_end(struct json *json);

/* "NAME  VALUE", for people; a first line "WHAT  VALUE" heads them. */
void report_line(FILE *out, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Does this name of a report, cut to fit there, stand for the site? */
bool report_names(const char *name, const struct site *site);

/* Whose gateways and links a table shows; both NULL: everybody's. */
struct report_filter {
	const struct site *site;
	const struct route *route; /* its owners' */
};
void report_gateway_table(FILE *out, struct json *json, const struct carry_report *carry,
			  const struct report_filter *filter);
void report_link_table(FILE *out, struct json *json, const struct carry_report *carry,
		       const struct report_filter *filter);
/* The routes that have this site among their owners; NULL: all. */
void report_route_table(FILE *out, struct json *json, const struct route *routes, size_t count,
			const struct conf *conf, const struct site *site);

/* What is in force for the site: [gateway NAME], or [ssh]; the map's line is
 * still to be laid over it. */
const struct conf_ssh *report_ssh(const struct conf *conf, const char *name);

/* "FILE:LINE" */
#define ORIGIN_TEXT_SIZE 512
const char *report_origin(const struct origin *origin, char text[ORIGIN_TEXT_SIZE]);

#endif
