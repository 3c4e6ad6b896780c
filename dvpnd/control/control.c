/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket's requests: from words to a report.
 *
 * A request that needs the workers' numbers waits for carry_report; `question`
 * keeps what it needs until then and nothing that a reload replaces meanwhile.
 */
#include "control/control.h"

#include <ctype.h>
#include <ifaddrs.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/reports.h"
#include "control/text.h"
#include "daemon.h"
#include "log.h"

struct question;

struct control {
	struct daemon *daemon;
	struct control_hooks hooks;
	struct server *server;
	struct question *questions; /* that wait for carry's report */
};

/* Of explain: an address, or the name of a site. */
struct subject {
	bool named;
	char name[256];
	struct addr addr;
	uint16_t port;
};

typedef int write_answer(struct control *control, const struct question *question,
			 const struct carry_report *carry, FILE *out);

struct question {
	struct question *next, **link;
	struct control *control; /* NULL: stopped meanwhile */
	struct request *request;
	write_answer *write;
	bool json;
	struct subject subject;
};

/* ---- answers ---- */

/* An answer in the making; `text` and `size` are good after answer_send only. */
struct answer {
	FILE *out;
	char *text;
	size_t size;
};

static FILE *answer_begin(struct answer *answer)
{
	*answer = (struct answer){ 0 };
	answer->out = open_memstream(&answer->text, &answer->size);
	return answer->out;
}

static void answer_send(struct answer *answer, struct request *request)
{
	bool failed = ferror(answer->out);

	if (fclose(answer->out) != 0 || failed) {
		free(answer->text);
		answer->text = NULL;
	}
	request_answer(request, answer->text, answer->size);
}

/* ---- questions that wait for carry's report ---- */

static void question_answer(struct question *question, const struct carry_report *carry)
{
	struct answer answer;

	if (!request_wanted(question->request) || !answer_begin(&answer)) {
		request_answer(question->request, NULL, 0);
		return;
	}
	if (question->write(question->control, question, carry, answer.out) < 0) {
		fclose(answer.out);
		free(answer.text);
		request_error(question->request,
			      "%s is no site of the map; where it is a host's name, ask the "
			      "resolver (getent hosts %s) and explain its address",
			      question->subject.name, question->subject.name);
		return;
	}
	answer_send(&answer, question->request);
}

static void question_done(const struct carry_report *carry, void *arg)
{
	struct question *question = arg;

	if (question->control) {
		*question->link = question->next;
		if (question->next)
			question->next->link = question->link;
		question_answer(question, carry);
	} else {
		request_answer(question->request, NULL, 0);
	}
	free(question);
}

static void question_start(struct control *control, struct request *request, bool json,
			   write_answer *write, const struct subject *subject)
{
	static const struct carry_report nothing;
	struct question *question = calloc(1, sizeof(*question));

	if (!question) {
		request_answer(request, NULL, 0);
		return;
	}
	question->control = control;
	question->request = request;
	question->json = json;
	question->write = write;
	if (subject)
		question->subject = *subject;
	question->link = &control->questions;
	question->next = control->questions;
	if (question->next)
		question->next->link = &question->next;
	control->questions = question;
	/* The question may be gone when this returns. */
	if (control->daemon->carry)
		control->hooks.report(control->daemon->carry, question_done, question);
	else
		question_done(&nothing, question);
}

/* ---- status, links, flows ---- */

static int write_status(struct control *control, const struct question *question,
			const struct carry_report *carry, FILE *out)
{
	const struct daemon *daemon = control->daemon;
	double now = ev_now(daemon->loop);
	struct status_facts facts = { .conf = daemon->conf,
				      .carry = carry,
				      .refused = daemon->refused,
				      .map_errors = daemon->map_errors,
				      .uptime = now - daemon->started,
				      .map_age = now - daemon->map_loaded,
				      .pid = getpid(),
				      .draining = daemon->draining };

	if (daemon->listener)
		facts.capture = *control->hooks.counters(daemon->listener);
	routes_sites(daemon->routes, &facts.site_count);
	routes_all(daemon->routes, &facts.route_count);
	facts.map_memory = routes_memory(daemon->routes);
	report_status(out, question->json, &facts);
	return 0;
}

static int write_links(struct control *control, const struct question *question,
		       const struct carry_report *carry, FILE *out)
{
	(void)control;
	report_links(out, question->json, carry);
	return 0;
}

static int write_flows(struct control *control, const struct question *question,
		       const struct carry_report *carry, FILE *out)
{
	(void)control;
	report_flows(out, question->json, carry);
	return 0;
}

static void ask_status(struct control *control, struct request *request, bool json, const char *arg)
{
	(void)arg;
	question_start(control, request, json, write_status, NULL);
}

static void ask_links(struct control *control, struct request *request, bool json, const char *arg)
{
	(void)arg;
	question_start(control, request, json, write_links, NULL);
}

static void ask_flows(struct control *control, struct request *request, bool json, const char *arg)
{
	(void)arg;
	question_start(control, request, json, write_flows, NULL);
}

/* ---- routes ---- */

static void ask_routes(struct control *control, struct request *request, bool json, const char *arg)
{
	const struct daemon *daemon = control->daemon;
	const struct route *routes;
	struct answer answer;
	size_t count;

	(void)arg;
	if (!answer_begin(&answer)) {
		request_answer(request, NULL, 0);
		return;
	}
	routes = routes_all(daemon->routes, &count);
	report_routes(answer.out, json, routes, count, daemon->conf);
	answer_send(&answer, request);
}

/* ---- explain ---- */

static bool address_is_local(const struct addr *addr)
{
	struct ifaddrs *interfaces, *interface;
	bool found = false;
	struct addr local;
	uint16_t port;

	if (getifaddrs(&interfaces) < 0)
		return false;
	for (interface = interfaces; interface && !found; interface = interface->ifa_next)
		found = interface->ifa_addr &&
			addr_from_sockaddr(interface->ifa_addr, &local, &port) == 0 &&
			addr_compare(&local, addr) == 0;
	freeifaddrs(interfaces);
	return found;
}

static const struct prefix *own_prefix(const struct conf *conf, const struct addr *addr)
{
	for (unsigned i = 0; i < conf->prefix_count; i++)
		if (prefix_contains(&conf->prefixes[i], addr))
			return &conf->prefixes[i];
	return NULL;
}

static int write_explain(struct control *control, const struct question *question,
			 const struct carry_report *carry, FILE *out)
{
	const struct daemon *daemon = control->daemon;
	const struct subject *subject = &question->subject;
	struct explain_facts facts = { daemon->conf, carry, daemon->draining };
	struct explain_dest dest = { .addr = subject->addr, .port = subject->port };
	const struct route *routes;
	const struct site *site;
	size_t count;

	if (!subject->named) {
		dest.own = own_prefix(daemon->conf, &dest.addr);
		dest.local = address_is_local(&dest.addr);
		dest.route = routes_lookup(daemon->routes, &dest.addr);
		report_explain(out, question->json, &facts, &dest);
		return 0;
	}
	site = routes_site(daemon->routes, subject->name);
	if (!site)
		return -1;
	routes = routes_all(daemon->routes, &count);
	report_explain_site(out, question->json, &facts, site, routes, count);
	return 0;
}

/* "10.8.0.5", "10.8.0.5:80", "[fd00:8::5]:80", "friday". */
static int parse_subject(const char *text, struct subject *subject, const char **reason)
{
	struct endpoint endpoint;

	if (endpoint_parse(text, &endpoint, reason) < 0)
		return -1;
	*subject = (struct subject){ .port = endpoint.port };
	if (addr_parse(endpoint.host, &subject->addr) < 0) {
		subject->named = true;
		/* A valid name is shorter than the buffer. */
		for (size_t i = 0; i + 1 < sizeof(subject->name) && endpoint.host[i]; i++)
			subject->name[i] = (char)tolower((unsigned char)endpoint.host[i]);
	}
	free(endpoint.host);
	return 0;
}

static void ask_explain(struct control *control, struct request *request, bool json,
			const char *arg)
{
	const char *reason = "";
	struct subject subject;

	if (parse_subject(arg, &subject, &reason) < 0)
		request_error(request, "can't explain '%s': %s; give an address or a site's name, "
				       "like 10.8.0.5:80, [fd00:8::5]:80 or friday",
			      arg, reason);
	else
		question_start(control, request, json, write_explain, &subject);
}

/* ---- reload ---- */

/* Errors begin on the line after the status line, each as it was logged. */
static char *reload_refused(const char *errors, size_t *size)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, size);
	const char *line = errors;

	if (!out)
		return NULL;
	fputs("error the reload failed; the old configuration and map stay in force\n", out);
	while (*line) {
		size_t length = strcspn(line, "\n");
		char *copy = strndup(line, length);

		if (copy)
			text_print(out, copy);
		putc('\n', out);
		free(copy);
		line += length + (line[length] == '\n');
	}
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

static void ask_reload(struct control *control, struct request *request, bool json, const char *arg)
{
	struct answer answer;
	char *errors = NULL, *text;
	size_t size = 0;
	FILE *stream = open_memstream(&errors, &size);
	int result;

	(void)arg;
	if (!stream) {
		request_answer(request, NULL, 0);
		return;
	}
	result = control->hooks.reload(control->daemon, stream);
	if (fclose(stream) != 0) {
		request_answer(request, NULL, 0);
	} else if (result < 0) {
		text = reload_refused(errors, &size);
		request_refuse(request, text, size);
	} else if (!answer_begin(&answer)) {
		request_answer(request, NULL, 0);
	} else {
		report_reload(answer.out, json, errors);
		answer_send(&answer, request);
	}
	free(errors);
}

/* ---- requests ---- */

static const struct command {
	const char *name;
	unsigned args;
	void (*ask)(struct control *control, struct request *request, bool json, const char *arg);
} commands[] = {
	{ "status", 0, ask_status }, { "routes", 0, ask_routes },   { "links", 0, ask_links },
	{ "flows", 0, ask_flows },   { "explain", 1, ask_explain }, { "reload", 0, ask_reload },
};

static void asked(struct request *request, char *const *words, unsigned count, void *arg)
{
	bool json = strcmp(words[0], "json") == 0;
	struct control *control = arg;

	if (json) {
		words++;
		count--;
	}
	for (size_t i = 0; count && i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(words[0], commands[i].name) != 0)
			continue;
		if (count - 1 != commands[i].args)
			request_error(request, "%s takes %u arguments, not %u", words[0],
				      commands[i].args, count - 1);
		else
			commands[i].ask(control, request, json, count > 1 ? words[1] : NULL);
		return;
	}
	request_error(request, "unknown request '%s'; are dvpnctl and dvpnd of the same version?",
		      count ? words[0] : "");
}

struct control *control_start_with(struct daemon *daemon, const struct control_hooks *hooks,
				   const struct server_limits *limits)
{
	struct control *control = calloc(1, sizeof(*control));

	if (!control) {
		log_errorx("control: can't start: out of memory");
		return NULL;
	}
	control->daemon = daemon;
	control->hooks = *hooks;
	control->server = server_start(daemon->loop, daemon->conf->socket, limits, asked, control);
	if (!control->server) {
		free(control);
		return NULL;
	}
	return control;
}

struct control *control_start(struct daemon *daemon)
{
	static const struct control_hooks hooks = { daemon_reload, carry_report,
						    listener_counters };

	return control_start_with(daemon, &hooks, &SERVER_LIMITS);
}

void control_stop(struct control *control)
{
	if (!control)
		return;
	server_stop(control->server);
	for (struct question *question = control->questions; question; question = question->next)
		question->control = NULL;
	free(control);
}
