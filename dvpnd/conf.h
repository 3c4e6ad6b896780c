/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The configuration: dvpnd.conf(5) read into one immutable, counted struct.
 *
 * One table of fields in conf.c drives parsing, checking, printing and
 * comparing; every key that the man page names is in it and no other.
 */
#ifndef DVPND_CONF_H
#define DVPND_CONF_H

#include <stdio.h>

#include "log.h"
#include "map/addr.h"
#include "map/routes.h"

#define CONF_DEFAULT_PATH DVPN_SYSCONFDIR "/dvpn/dvpnd.conf"

enum host_key_policy { HOST_KEYS_STRICT, HOST_KEYS_ACCEPT_NEW };
enum crypto { CRYPTO_READAHEAD, CRYPTO_STOCK };

/* How to reach a gateway: [ssh], and [gateway NAME] with what it overrides. */
struct conf_ssh {
	char *user;
	uint16_t port;
	char *known_hosts; /* path */
	enum host_key_policy host_keys;
	char *netcat; /* program name or path on the far side */
	enum ssh_mode mode;
	unsigned connect_timeout; /* seconds: TCP, handshake and login of one endpoint */
	unsigned keepalive;	  /* seconds */
	unsigned idle_timeout;	  /* seconds; 0: never */
	unsigned channels_per_link;
};

/* [gateway NAME]: an unset field leaves the map line or [ssh] in force. */
struct conf_gateway {
	char *name;	     /* lower case */
	struct conf_ssh ssh; /* complete: [ssh] with the overrides applied */
	uint32_t overridden; /* CONF_SSH_* bits: which fields this section gives */
	unsigned line;	     /* of its heading, for messages */
};
enum {
	CONF_SSH_USER = 1 << 0,
	CONF_SSH_PORT = 1 << 1,
	CONF_SSH_KNOWN_HOSTS = 1 << 2,
	CONF_SSH_HOST_KEYS = 1 << 3,
	CONF_SSH_NETCAT = 1 << 4,
	CONF_SSH_MODE = 1 << 5,
	CONF_SSH_CONNECT_TIMEOUT = 1 << 6,
	CONF_SSH_KEEPALIVE = 1 << 7,
	CONF_SSH_IDLE_TIMEOUT = 1 << 8,
	CONF_SSH_CHANNELS_PER_LINK = 1 << 9,
};

struct conf {
	char *path;

	/* [site] */
	char *name;		 /* default: the host name up to its first dot */
	char *key;		 /* path of an ed25519 private key; required */
	struct prefix *prefixes; /* what is behind us: never carried, never captured */
	unsigned prefix_count;
	struct endpoint *endpoints; /* how others reach us */
	unsigned endpoint_count;

	/* [listen] */
	uint16_t port;
	struct addr *addresses; /* default 0.0.0.0 and :: */
	unsigned address_count;
	unsigned max_flows;

	/* [map] */
	char *map_static;
	char *map_learned;
	unsigned prefix_length; /* for IPv4 addresses of lines without prefix */

	struct conf_ssh ssh;
	enum crypto crypto; /* of [ssh] too, but the same for all gateways */

	/* [carry] */
	unsigned workers;	/* threads; 0 in the file means one per CPU, resolved here */
	unsigned open_timeout;	/* seconds a client waits for its connection to be made */
	unsigned drain_timeout; /* seconds */
	uint64_t memory;	/* bytes; 0: no cap beyond the windows */

	/* [control] */
	char *socket;

	/* [log] */
	enum log_to log_to;
	enum log_level log_level;

	struct conf_gateway *gateways; /* sorted by name */
	unsigned gateway_count;

	/* Where these two were given, for messages; 0: not given. */
	unsigned key_line, known_hosts_line;

	unsigned references; /* private: conf_get and conf_put */
};

/*
 * Reads and checks a file.  NULL, and lines on `errors` otherwise, each
 * "FILE:LINE: what is wrong; what to do"; all that is wrong is named, not only
 * the first thing.  The caller owns one reference.
 */
struct conf *conf_load(const char *path, FILE *errors);
/* The same for text in memory, for tests; `path` is only for messages. */
struct conf *conf_parse(const char *text, size_t size, const char *path, FILE *errors);

/* Counted by atomics: any thread may hold a reference. */
struct conf *conf_get(struct conf *conf);
void conf_put(struct conf *conf); /* takes NULL */

/* The configuration as a file that conf_load reads back the same. */
void conf_print(const struct conf *conf, FILE *out);

/* The [gateway NAME] of a site, or NULL where there is none. */
const struct conf_gateway *conf_gateway(const struct conf *conf, const char *name);

/*
 * Names, separated by ", ", of the keys that differ and that a running daemon
 * can't take over (listen, workers, control socket, …); "" where there are none.
 */
const char *conf_restart_needed(const struct conf *before, const struct conf *after, char *text,
				size_t size);

/*
 * What the configuration names must be there and be fit for use; a line on
 * `errors`, like those of conf_load, for all that is not.
 *
 * conf_check_key: -1 unless the site's key is a regular file that only its owner
 * may read, with an ed25519 private key of OpenSSH's form and no passphrase.
 * conf_check_files: -1 where a known_hosts that `host_keys = strict` needs can't
 * be read; with accept-new a missing one is said and 0 returned.
 */
int conf_check_key(const struct conf *conf, FILE *errors);
int conf_check_files(const struct conf *conf, FILE *errors);

#endif
