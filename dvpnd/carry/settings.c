/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Settings of a gateway: the merge of map line and configuration. */
#include "carry/settings.h"

#include <stdlib.h>
#include <string.h>

static int copy_endpoints(struct settings *settings, const struct site *site)
{
	settings->endpoints = calloc(site->endpoint_count, sizeof(*settings->endpoints));
	if (!settings->endpoints)
		return -1;
	for (unsigned i = 0; i < site->endpoint_count; i++) {
		struct endpoint *endpoint = &settings->endpoints[i];

		endpoint->host = strdup(site->endpoints[i].host);
		endpoint->port = site->endpoints[i].port;
		if (!endpoint->port)
			endpoint->port = settings->ssh.port;
		if (!endpoint->host)
			return -1;
		settings->endpoint_count++;
	}
	return 0;
}

/* The map line's word where no [gateway NAME] has another. */
static const char *word(const struct conf_gateway *gateway, unsigned bit, const char *from_map,
			const char *from_conf)
{
	return from_map && !(gateway && gateway->overridden & bit) ? from_map : from_conf;
}

struct settings *settings_make(const struct conf *conf, const struct site *site)
{
	const struct conf_gateway *gateway = conf_gateway(conf, site->name);
	const struct conf_ssh *ssh = gateway ? &gateway->ssh : &conf->ssh;
	struct settings *settings = calloc(1, sizeof(*settings));

	if (!settings)
		return NULL;
	settings->references = 1;
	settings->ssh = *ssh;
	settings->ssh.user = strdup(word(gateway, CONF_SSH_USER, site->user, ssh->user));
	settings->ssh.netcat = strdup(word(gateway, CONF_SSH_NETCAT, site->netcat, ssh->netcat));
	settings->ssh.known_hosts = strdup(ssh->known_hosts);
	if (site->mode != SSH_MODE_UNSET && !(gateway && gateway->overridden & CONF_SSH_MODE))
		settings->ssh.mode = site->mode;
	settings->site = strdup(site->name);
	settings->hostkey = site->hostkey ? strdup(site->hostkey) : NULL;
	if (!settings->ssh.user || !settings->ssh.netcat || !settings->ssh.known_hosts ||
	    !settings->site || (site->hostkey && !settings->hostkey) ||
	    copy_endpoints(settings, site) < 0) {
		settings_put(settings);
		return NULL;
	}
	return settings;
}

struct settings *settings_get(struct settings *settings)
{
	settings->references++;
	return settings;
}

void settings_put(struct settings *settings)
{
	if (!settings || --settings->references)
		return;
	for (unsigned i = 0; i < settings->endpoint_count; i++)
		free(settings->endpoints[i].host);
	free(settings->endpoints);
	free(settings->site);
	free(settings->hostkey);
	free(settings->ssh.user);
	free(settings->ssh.netcat);
	free(settings->ssh.known_hosts);
	free(settings);
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

bool settings_same(const struct settings *a, const struct settings *b)
{
	if (a->endpoint_count != b->endpoint_count || !same_text(a->hostkey, b->hostkey) ||
	    !same_text(a->ssh.user, b->ssh.user) || !same_text(a->ssh.netcat, b->ssh.netcat) ||
	    !same_text(a->ssh.known_hosts, b->ssh.known_hosts) ||
	    a->ssh.host_keys != b->ssh.host_keys || a->ssh.mode != b->ssh.mode ||
	    a->ssh.connect_timeout != b->ssh.connect_timeout ||
	    a->ssh.keepalive != b->ssh.keepalive || a->ssh.idle_timeout != b->ssh.idle_timeout ||
	    a->ssh.channels_per_link != b->ssh.channels_per_link)
		return false;
	for (unsigned i = 0; i < a->endpoint_count; i++)
		if (a->endpoints[i].port != b->endpoints[i].port ||
		    strcmp(a->endpoints[i].host, b->endpoints[i].host) != 0)
			return false;
	return true;
}
