// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The table of keys, and which known name a mistyped one is nearest to.
 *
 * A new key is one line here and one member in conf.h; the man page and the
 * example are held to this table by the unit test.
 */
#include "conf_fields.h"

#include <limits.h>
#include <string.h>

#include "conf_types.h"


#define FIELD(section_, member, type_, ...)                                           \
	{ .section = section_, .type = &type_, .offset = offsetof(struct conf, member),       \
	  __VA_ARGS__ }
#define SSH_FIELD(member, type_, bit, ...)                                            \
	{ .section = "ssh", .key = #member, .type = &type_, .ssh_bit = bit,           \
	  .offset = offsetof(struct conf_ssh, member), __VA_ARGS__ }

static const struct conf_field fields[] = {
	FIELD("site", name, conf_type_name, .key = "name",
	      .hint = "give this site's name in the map"),
	FIELD("site", key, conf_type_path, .key = "key",
	      .hint = "give the whole path of an ed25519 private key"),
	FIELD("site", prefixes, conf_type_prefixes, .key = "prefixes",
	      .hint = "give prefixes such as 10.7.0.0/16 fd00:7::/48"),
	FIELD("site", endpoints, conf_type_endpoints, .key = "endpoints",
	      .hint = "give host or host:port, such as thursday.example.net:2222"),

	FIELD("listen", port, conf_type_port, .key = "port", .fallback = "7777", .restart = true),
	FIELD("listen", addresses, conf_type_addresses, .key = "addresses",
	      .fallback = "0.0.0.0 ::", .restart = true),
	FIELD("listen", max_flows, conf_type_number, .key = "max_flows", .fallback = "10000",
	      .min = 1, .max = 1000000),

	FIELD("map", map_static, conf_type_path, .key = "static",
	      .fallback = DVPN_SYSCONFDIR "/dvpn/hosts"),
	FIELD("map", map_learned, conf_type_path, .key = "learned",
	      .fallback = "/var/lib/dvpn/hosts"),
	FIELD("map", prefix_length, conf_type_number, .key = "prefix_length", .fallback = "32",
	      .min = 1, .max = 32),

	SSH_FIELD(user, conf_type_user, CONF_SSH_USER, .fallback = "dvpn"),
	SSH_FIELD(port, conf_type_port, CONF_SSH_PORT, .fallback = "22"),
	SSH_FIELD(known_hosts, conf_type_path, CONF_SSH_KNOWN_HOSTS,
		  .fallback = DVPN_SYSCONFDIR "/dvpn/known_hosts"),
	SSH_FIELD(host_keys, conf_type_host_keys, CONF_SSH_HOST_KEYS, .fallback = "strict"),
	SSH_FIELD(netcat, conf_type_netcat, CONF_SSH_NETCAT, .fallback = "nc"),
	SSH_FIELD(mode, conf_type_mode, CONF_SSH_MODE, .fallback = "trunk"),
	SSH_FIELD(connect_timeout, conf_type_number, CONF_SSH_CONNECT_TIMEOUT, .fallback = "10",
		  .min = 1, .max = 300),
	SSH_FIELD(keepalive, conf_type_number, CONF_SSH_KEEPALIVE, .fallback = "15",
		  .min = 1, .max = 3600),
	SSH_FIELD(idle_timeout, conf_type_number, CONF_SSH_IDLE_TIMEOUT, .fallback = "300",
		  .max = 86400),
	SSH_FIELD(channels_per_link, conf_type_number, CONF_SSH_CHANNELS_PER_LINK,
		  .fallback = "64", .min = 1, .max = 1000),
	FIELD("ssh", crypto, conf_type_crypto, .key = "crypto", .fallback = "readahead",
	      .restart = true),

	FIELD("carry", workers, conf_type_workers, .key = "workers", .fallback = "auto",
	      .max = 256, .restart = true),
	FIELD("carry", open_timeout, conf_type_number, .key = "open_timeout", .fallback = "60",
	      .min = 1, .max = 600),
	FIELD("carry", drain_timeout, conf_type_number, .key = "drain_timeout", .fallback = "30",
	      .max = 3600),
	FIELD("carry", memory, conf_type_memory, .key = "memory", .fallback = "0"),

	FIELD("control", socket, conf_type_socket, .key = "socket",
	      .fallback = "/run/dvpn/control", .restart = true),

	FIELD("log", log_to, conf_type_log_to, .key = "to", .fallback = "stderr"),
	FIELD("log", log_level, conf_type_log_level, .key = "level", .fallback = "info"),
};
#define FIELD_COUNT (sizeof(fields) / sizeof(*fields))

const struct conf_field *conf_fields(size_t *count)
{
	*count = FIELD_COUNT;
	return fields;
}

const struct conf_field *conf_field_find(const char *section, const char *key)
{
	for (size_t i = 0; i < FIELD_COUNT; i++)
		if (!strcmp(fields[i].section, section) && !strcmp(fields[i].key, key))
			return &fields[i];
	return NULL;
}

bool conf_section_known(const char *section)
{
	for (size_t i = 0; i < FIELD_COUNT; i++)
		if (!strcmp(fields[i].section, section))
			return true;
	return false;
}

/* How many letters have to be put in, left out, changed or swapped with the
 * next to make one name of the other; only the first 31 of each are looked at. */
static unsigned distance(const char *a, const char *b)
{
	enum { MOST = 31 };
	unsigned cost[MOST + 1][MOST + 1];
	unsigned a_length = (unsigned)strnlen(a, MOST), b_length = (unsigned)strnlen(b, MOST);

	for (unsigned i = 0; i <= a_length; i++)
		cost[i][0] = i;
	for (unsigned j = 0; j <= b_length; j++)
		cost[0][j] = j;
	for (unsigned i = 1; i <= a_length; i++) {
		for (unsigned j = 1; j <= b_length; j++) {
			unsigned best = cost[i - 1][j - 1] + (a[i - 1] != b[j - 1]);

			if (cost[i - 1][j] + 1 < best)
				best = cost[i - 1][j] + 1;
			if (cost[i][j - 1] + 1 < best)
				best = cost[i][j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    cost[i - 2][j - 2] + 1 < best)
				best = cost[i - 2][j - 2] + 1;
			cost[i][j] = best;
		}
	}
	return cost[a_length][b_length];
}

const char *conf_nearest_section(const char *name)
{
	const char *nearest = "gateway NAME";
	unsigned best = UINT_MAX;
	char first[32];

	/* "gatway friday" is a mistyped "gateway" with the name behind it. */
	snprintf(first, sizeof(first), "%.*s", (int)strcspn(name, " "), name);
	best = distance(first, "gateway");
	for (size_t i = 0; i < FIELD_COUNT; i++) {
		unsigned d = distance(name, fields[i].section);

		if (d < best) {
			best = d;
			nearest = fields[i].section;
		}
	}
	return nearest;
}

const char *conf_nearest_key(const char *section, const char *key)
{
	const char *nearest = NULL;
	unsigned best = UINT_MAX;

	for (size_t i = 0; i < FIELD_COUNT; i++) {
		unsigned d;

		if (strcmp(fields[i].section, section))
			continue;
		d = distance(key, fields[i].key);
		if (d < best) {
			best = d;
			nearest = fields[i].key;
		}
	}
	return nearest;
}

const char *conf_other_section(const char *section, const char *key)
{
	for (size_t i = 0; i < FIELD_COUNT; i++)
		if (strcmp(fields[i].section, section) && !strcmp(fields[i].key, key))
			return fields[i].section;
	return NULL;
}

void *conf_field_value(const struct conf_field *field, struct conf *conf, struct conf_ssh *ssh)
{
	return (field->ssh_bit ? (char *)ssh : (char *)conf) + field->offset;
}
