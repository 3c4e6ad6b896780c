/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon: starts the rooms in the order of the data's way, decides about
 * each captured connection, reloads, drains, stops.
 */
#include "daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "carry/readahead.h"
#include "control/control.h"
#include "mapfiles.h"
#include "notify.h"

#define DRAIN_LOOK 0.1 /* seconds */

void daemon_log(const struct daemon *daemon)
{
	/* in the background there is no stderr to log to */
	log_init(daemon->background ? LOG_TO_SYSLOG : daemon->conf->log_to,
		 daemon->verbose ? LOG_LEVEL_DEBUG : daemon->conf->log_level);
}

/* ---- captured connections ---- */

/* A map may name us too: the same file can serve all sites. */
static bool named_ours(const struct daemon *daemon, const struct route *route)
{
	for (unsigned i = 0; i < route->candidate_count; i++)
		if (!strcasecmp(route->candidates[i].site->name, daemon->conf->name))
			return true;
	return false;
}

static bool is_ours(const struct daemon *daemon, const struct route *route,
		    const struct addr *dest)
{
	for (unsigned i = 0; i < daemon->conf->prefix_count; i++)
		if (prefix_contains(&daemon->conf->prefixes[i], dest))
			return true;
	return route && named_ours(daemon, route);
}

static void refuse(const struct captured *captured, uint64_t *counter, const char *why)
{
	static struct log_limit limit = LOG_LIMIT(10, 10);
	char client[ADDR_PORT_TEXT_SIZE], dest[ADDR_PORT_TEXT_SIZE];

	++*counter;
	log_limited(&limit, LOG_LEVEL_WARN, "%s -> %s refused: %s",
		    addr_port_format(&captured->client, captured->client_port, client),
		    addr_port_format(&captured->dest, captured->port, dest), why);
	capture_refuse(captured->fd);
}

static void on_captured(const struct captured *captured, void *arg)
{
	struct daemon *daemon = arg;
	const struct route *route = routes_lookup(daemon->routes, &captured->dest);
	struct flow_request request = { .fd = captured->fd,
					.client = captured->client,
					.client_port = captured->client_port,
					.dest = captured->dest,
					.port = captured->port,
					.route = route };

	if (is_ours(daemon, route, &captured->dest))
		refuse(captured, &daemon->refused.own, "the destination is our own site's");
	else if (!route)
		refuse(captured, &daemon->refused.no_route,
		       "no site in the map owns the destination (dvpnctl routes)");
	else if (carry_flow_count(daemon->carry) >= daemon->conf->max_flows)
		refuse(captured, &daemon->refused.max_flows, "[listen] max_flows is reached");
	else
		carry_flow(daemon->carry, &request);
}

/* ---- kernel state ---- */

/* Our own prefixes: the configured ones, and those that the map gives to our name.
 * To be freed; NULL where memory is out. */
static struct prefix *own_prefixes(const struct daemon *daemon, unsigned *count)
{
	size_t route_count;
	const struct route *routes = routes_all(daemon->routes, &route_count);
	const struct conf *conf = daemon->conf;
	struct prefix *own = calloc(conf->prefix_count + route_count + 1, sizeof(*own));

	*count = 0;
	if (!own)
		return NULL;
	for (unsigned i = 0; i < conf->prefix_count; i++)
		own[(*count)++] = conf->prefixes[i];
	for (size_t i = 0; i < route_count; i++)
		if (named_ours(daemon, &routes[i]))
			own[(*count)++] = routes[i].prefix;
	return own;
}

static void on_sets_done(int result, const struct prefix *gained, size_t count, void *arg)
{
	struct daemon *daemon = arg;
	int flushed;

	if (result < 0 || !count)
		return;
	flushed = conntrack_flush(daemon->conntrack, gained, count);
	if (flushed < 0)
		log_warn("can't flush stale conntrack entries: connections under way to new prefixes "
			 "may hang until they are tried anew");
	else if (flushed)
		log_info("%d stale conntrack entries under new prefixes flushed", flushed);
}

static void update_sets(struct daemon *daemon)
{
	unsigned count;
	struct prefix *own = own_prefixes(daemon, &count);

	if (own)
		kset_update(daemon->kset, daemon->routes, own, count, on_sets_done, daemon);
	else
		log_errorx("out of memory: the kernel sets were not updated");
	free(own);
}

/* ---- reload ---- */

static void log_lines(const char *text)
{
	while (*text) {
		size_t length = strcspn(text, "\n");

		log_warnx("%.*s", (int)length, text);
		text += length + (text[length] == '\n');
	}
}

/* Puts a config and a snapshot in force; takes the references over, or lets go
 * of them.  The step that can fail comes first. */
static int put_in_force(struct daemon *daemon, struct conf *conf, struct routes *routes)
{
	if (carry_update(daemon->carry, conf, routes) < 0) {
		conf_put(conf);
		routes_put(routes);
		return -1;
	}
	conf_put(daemon->conf);
	routes_put(daemon->routes);
	daemon->conf = conf;
	daemon->routes = routes;
	daemon->map_loaded = ev_time();
	update_sets(daemon);
	return 0;
}

static void log_map(const struct daemon *daemon)
{
	size_t sites, routes;

	routes_sites(daemon->routes, &sites);
	routes_all(daemon->routes, &routes);
	log_info("map: %zu sites, %zu prefixes, %u bad lines", sites, routes, daemon->map_errors);
}

static struct conf *load_conf(const struct daemon *daemon, FILE *errors)
{
	struct conf *conf = conf_load(daemon->conf->path, errors);

	if (conf && conf_check_key(conf, errors) == 0 && conf_check_files(conf, errors) == 0)
		return conf;
	conf_put(conf);
	return NULL;
}

static int reload(struct daemon *daemon, bool with_conf, FILE *errors)
{
	struct conf *conf = with_conf ? load_conf(daemon, errors) : conf_get(daemon->conf);
	struct routes *routes = NULL;
	unsigned bad_lines = 0;
	char restart[512];

	if (conf)
		routes = mapfiles_load(daemon->mapfiles, conf, errors, &bad_lines);
	if (!routes) {
		conf_put(conf);
		return -1;
	}
	conf_restart_needed(daemon->conf, conf, restart, sizeof(restart));
	if (restart[0])
		fprintf(errors, "%s: %s: changed, takes effect after a restart of dvpnd\n", conf->path,
			restart);
	conf_get(conf);
	if (put_in_force(daemon, conf, routes) < 0) {
		fprintf(errors, "%s: the site's key can't be used; see the log\n", conf->key);
		conf_put(conf);
		return -1;
	}
	daemon->map_errors = bad_lines;
	daemon_log(daemon);
	mapfiles_update(daemon->mapfiles, conf);
	conf_put(conf);
	return 0;
}

static int reload_and_tell(struct daemon *daemon, bool with_conf, FILE *errors)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int result;

	if (!out)
		return -1;
	result = reload(daemon, with_conf, out);
	fclose(out);
	if (text)
		log_lines(text);
	if (text && errors)
		fputs(text, errors);
	free(text);
	if (result == 0)
		log_map(daemon);
	else
		log_errorx("reload failed: all stays as it was");
	return result;
}

int daemon_reload(struct daemon *daemon, FILE *errors)
{
	return reload_and_tell(daemon, true, errors);
}

static void on_map_changed(void *arg)
{
	struct daemon *daemon = arg;

	log_info("a map file has changed");
	reload_and_tell(daemon, false, NULL);
}

/* ---- signals ---- */

static void on_hangup(struct ev_loop *loop, struct ev_signal *signal, int events)
{
	struct daemon *daemon = signal->data;

	(void)loop;
	(void)events;
	if (daemon->draining)
		return;
	notify_reloading();
	daemon_reload(daemon, NULL);
	notify_ready("carrying");
}

static void on_interrupt(struct ev_loop *loop, struct ev_signal *signal, int events)
{
	(void)signal;
	(void)events;
	log_info("stopping at once");
	ev_break(loop, EVBREAK_ALL);
}

static void on_drain(struct ev_loop *loop, struct ev_timer *timer, int events)
{
	struct daemon *daemon = timer->data;
	unsigned flows = carry_flow_count(daemon->carry);

	(void)events;
	if (flows && ev_now(loop) < daemon->drain_until)
		return;
	if (flows)
		log_warnx("drain_timeout is over: %u flows are reset", flows);
	ev_break(loop, EVBREAK_ALL);
}

static void on_terminate(struct ev_loop *loop, struct ev_signal *signal, int events)
{
	struct daemon *daemon = signal->data;

	(void)events;
	if (daemon->draining)
		return;
	daemon->draining = true;
	notify_stopping();
	listener_stop(daemon->listener);
	daemon->listener = NULL;
	daemon->drain_until = ev_now(loop) + daemon->conf->drain_timeout;
	log_info("draining: %u flows have %u s to finish", carry_flow_count(daemon->carry),
		 daemon->conf->drain_timeout);
	ev_timer_start(loop, &daemon->drain);
}

static void watch_signals(struct daemon *daemon)
{
	signal(SIGPIPE, SIG_IGN);
	ev_signal_init(&daemon->hangup, on_hangup, SIGHUP);
	ev_signal_init(&daemon->terminate, on_terminate, SIGTERM);
	ev_signal_init(&daemon->interrupt, on_interrupt, SIGINT);
	ev_timer_init(&daemon->drain, on_drain, 0, DRAIN_LOOK);
	daemon->hangup.data = daemon->terminate.data = daemon->interrupt.data = daemon;
	daemon->drain.data = daemon;
	ev_signal_start(daemon->loop, &daemon->hangup);
	ev_signal_start(daemon->loop, &daemon->terminate);
	ev_signal_start(daemon->loop, &daemon->interrupt);
}

/* ---- start and stop ---- */

static int load_map(struct daemon *daemon)
{
	char *text = NULL;
	size_t size;
	FILE *errors = open_memstream(&text, &size);

	if (!errors)
		return -1;
	daemon->routes = mapfiles_load(daemon->mapfiles, daemon->conf, errors, &daemon->map_errors);
	fclose(errors);
	if (text)
		log_lines(text);
	free(text);
	daemon->map_loaded = ev_time();
	if (!daemon->routes)
		log_errorx("out of memory for the map");
	return daemon->routes ? 0 : -1;
}

int daemon_start(struct daemon *daemon)
{
	struct ev_loop *loop = daemon->loop = ev_default_loop(EVFLAG_AUTO);

	if (!loop) {
		log_errorx("can't make an event loop");
		return -1;
	}
	daemon->started = ev_time();
	watch_signals(daemon);
	daemon->mapfiles = mapfiles_start(loop, daemon->conf, on_map_changed, daemon);
	if (!daemon->mapfiles || load_map(daemon) < 0)
		return -1;
	/* before any thread: a worker's first link already needs it */
	readahead_start(daemon->conf->crypto == CRYPTO_READAHEAD);
	if (!(daemon->conntrack = conntrack_open()) || !(daemon->kset = kset_start(loop)) ||
	    !(daemon->carry = carry_start(loop, daemon->conf, daemon->routes)) ||
	    !(daemon->control = control_start(daemon)) ||
	    !(daemon->listener = listener_start(loop, daemon->conf, daemon->conntrack, on_captured,
						daemon)))
		return -1;
	update_sets(daemon);
	log_map(daemon);
	return 0;
}

void daemon_stop(struct daemon *daemon)
{
	listener_stop(daemon->listener);
	carry_stop(daemon->carry);
	control_stop(daemon->control);
	kset_stop(daemon->kset);
	conntrack_close(daemon->conntrack);
	mapfiles_stop(daemon->mapfiles);
	routes_put(daemon->routes);
	conf_put(daemon->conf);
	readahead_stop();
	if (daemon->loop)
		ev_loop_destroy(daemon->loop);
}
