/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A link's SSH session: everything of libssh2's transport, used the safe way.
 *
 * - The SEND callback takes all it is given into the out queue, so libssh2 never
 *   holds a half-sent packet.  Whoever produces bulk looks at the queue's length.
 * - The RECV callback hands out what has been read already, and only while the
 *   gate is open.  The gate is open in the handshake, in the login, while one
 *   draining call runs, and for the very first channel.  All other calls
 *   run with the gate shut and can't pull in what belongs to another channel.
 * - libssh2 is never asked to block.
 */
#include <errno.h>
#include <libssh2.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "carry/channel.h"
#include "carry/gateway.h"
#include "carry/hostkeys.h"
#include "carry/identity.h"
#include "carry/link.h"
#include "carry/worker.h"

/* A drain that makes no headway for so many calls is left for the next event. */
#define DRAIN_TURNS 64

const char *session_error(struct link *link)
{
	char *text = NULL;

	libssh2_session_last_error(link->ssh, &text, NULL, 0);
	return text && *text ? text : "unknown error";
}

/* ---- memory ---- */

/*
 * libssh2 queues what it has no reader for, unknown messages for ever: a hostile
 * sshd could fill the machine.  A session may have so much, and as much again as
 * its channels' windows allow.  What it has forgotten to free goes with the
 * session: 1.10.0 loses the old host key at each re-key, and more where a key
 * exchange is cut off.
 */
#define MEMORY_BASE ((size_t)8 << 20)

struct block {
	LIST_ENTRY(block) entry;
	size_t size;
	max_align_t data[];
};

static struct block *block_of(void *memory)
{
	return (struct block *)((char *)memory - offsetof(struct block, data));
}

static void *take(size_t size, void **abstract)
{
	struct link *link = *abstract;
	struct block *block = NULL;

	if (size <= MEMORY_BASE && link->memory + size <= MEMORY_BASE + channels_memory(link))
		block = malloc(sizeof(*block) + size);
	if (!block)
		return NULL;
	block->size = size;
	link->memory += size;
	LIST_INSERT_HEAD(&link->blocks, block, entry);
	return block->data;
}

static void give_back(void *memory, void **abstract)
{
	struct link *link = *abstract;
	struct block *block;

	if (!memory)
		return;
	block = block_of(memory);
	link->memory -= block->size;
	LIST_REMOVE(block, entry);
	free(block);
}

static void *take_other(void *memory, size_t size, void **abstract)
{
	void *other = take(size, abstract);
	size_t before = memory ? block_of(memory)->size : 0;

	if (!other)
		return NULL;
	if (before)
		memcpy(other, memory, before < size ? before : size);
	give_back(memory, abstract);
	return other;
}

static void free_forgotten(struct link *link)
{
	struct block *block;

	while ((block = LIST_FIRST(&link->blocks))) {
		LIST_REMOVE(block, entry);
		free(block);
	}
	link->memory = 0;
}

/* ---- callbacks ---- */

static ssize_t on_send(libssh2_socket_t fd, const void *data, size_t size, int flags,
		       void **abstract)
{
	struct link *link = *abstract;

	(void)fd;
	(void)flags;
	/* An error here is how libssh2 learns that it need not say goodbye. */
	if (link->state == LINK_DEAD)
		return -EPIPE;
	if (queue_append(&link->out, data, size) < 0)
		return -ENOMEM;
	link_touch(link);
	return (ssize_t)size;
}

static ssize_t on_recv(libssh2_socket_t fd, void *data, size_t size, int flags, void **abstract)
{
	struct link *link = *abstract;
	size_t taken;

	(void)fd;
	(void)flags;
	if (link->state == LINK_DEAD)
		return -EPIPE;
	if (!link->gate)
		return -EAGAIN;
	taken = queue_take(&link->in, data, size);
	link->starved = taken == 0;
	return taken ? (ssize_t)taken : -EAGAIN;
}

static void set_callbacks(struct link *link)
{
#if LIBSSH2_VERSION_NUM >= 0x010b01
	libssh2_session_callback_set2(link->ssh, LIBSSH2_CALLBACK_SEND,
				      (libssh2_cb_generic *)on_send);
	libssh2_session_callback_set2(link->ssh, LIBSSH2_CALLBACK_RECV,
				      (libssh2_cb_generic *)on_recv);
#else
	libssh2_session_callback_set(link->ssh, LIBSSH2_CALLBACK_SEND, (void *)on_send);
	libssh2_session_callback_set(link->ssh, LIBSSH2_CALLBACK_RECV, (void *)on_recv);
#endif
}

/* ---- handshake ---- */

static struct hostkeys_host host_of(const struct link *link)
{
	const struct endpoint *endpoint = &link->settings->endpoints[link->endpoint];

	return (struct hostkeys_host){ endpoint->host, endpoint->port, link->settings->site };
}

/* The types of key that known_hosts has for the host come first: another type
 * would look like another host. */
static void prefer_known_keys(struct link *link)
{
	struct hostkeys_host host = host_of(link);
	char preference[256];
	unsigned types = 0;
	size_t size;
	char *text = hostkeys_read(link->settings->ssh.known_hosts, &size);

	if (text && !link->settings->hostkey)
		types = hostkeys_types(text, size, &host);
	free(text);
	hostkeys_preference(types, preference, sizeof(preference));
	libssh2_session_method_pref(link->ssh, LIBSSH2_METHOD_HOSTKEY, preference);
}

/* These work with every libssh2 and every OpenSSH, and keep clear of the AEAD
 * and encrypt-then-MAC code that has overflows in 1.11.x (CVE-2026-55200). */
static void prefer_methods(struct link *link)
{
	static const char ciphers[] = "aes128-ctr,aes256-ctr,aes192-ctr";
	static const char macs[] = "hmac-sha2-256,hmac-sha2-512";

	libssh2_session_method_pref(link->ssh, LIBSSH2_METHOD_CRYPT_CS, ciphers);
	libssh2_session_method_pref(link->ssh, LIBSSH2_METHOD_CRYPT_SC, ciphers);
	libssh2_session_method_pref(link->ssh, LIBSSH2_METHOD_MAC_CS, macs);
	libssh2_session_method_pref(link->ssh, LIBSSH2_METHOD_MAC_SC, macs);
	prefer_known_keys(link);
}

void session_start(struct link *link)
{
	link->ssh = libssh2_session_init_ex(take, give_back, take_other, link);
	if (!link->ssh) {
		link_fail(link, "out of memory");
		return;
	}
	libssh2_session_set_blocking(link->ssh, 0);
	set_callbacks(link);
	prefer_methods(link);
	/* no reply is wanted: libssh2 would keep every reply for ever */
	libssh2_keepalive_config(link->ssh, 0, link->settings->ssh.keepalive);
	session_pump(link); /* our banner goes out first */
}

/* ---- host key ---- */

static void refuse_pinned(struct link *link, const char *seen)
{
	char endpoint[300];

	link_fail(link,
		  "%s shows host key %s, the map says hostkey=%s: another host answers there, or it was "
		  "reinstalled; ask its operator for the key before you change the map",
		  link_endpoint(link, endpoint, sizeof(endpoint)), seen, link->settings->hostkey);
}

static int accept_new(struct link *link, const struct hostkeys_host *host, const void *key,
		      size_t size, const char *seen)
{
	const char *path = link->settings->ssh.known_hosts;
	char name[96];

	if (hostkeys_add(path, host, key, size) < 0) {
		link_fail(link, "can't write the new host key to %s: %s", path, strerror(errno));
		return -1;
	}
	log_warnx("%s: host key %s of %s is new and was added to %s (host_keys = accept-new)",
		  link_name(link, name), seen, host->host, path);
	return 0;
}

static int refuse_unknown(struct link *link, const struct hostkeys_host *host, const char *seen)
{
	link_fail(link,
		  "unknown host key %s: %s has no line for %s; compare it with the operator's, then: "
		  "ssh-keyscan -p %u %s >> %s",
		  seen, link->settings->ssh.known_hosts, host->host, host->port, host->host,
		  link->settings->ssh.known_hosts);
	return -1;
}

struct known {
	enum hostkeys_verdict verdict;
	unsigned line;
};

/* What known_hosts says; a missing file says nothing.  -1 where it can't be read. */
static int look_up(struct link *link, const void *key, size_t size, struct known *known)
{
	const char *path = link->settings->ssh.known_hosts;
	struct hostkeys_host host = host_of(link);
	size_t text_size;
	char *text = hostkeys_read(path, &text_size);

	*known = (struct known){ .verdict = HOSTKEYS_UNKNOWN };
	if (!text && errno != ENOENT) {
		link_fail(link, "can't read %s: %s", path, strerror(errno));
		return -1;
	}
	if (text)
		known->verdict = hostkeys_check(text, text_size, &host, key, size, &known->line);
	free(text);
	return 0;
}

static int refuse_revoked(struct link *link, const char *seen, unsigned line)
{
	link_fail(link, "host key %s is revoked by %s:%u", seen, link->settings->ssh.known_hosts,
		  line);
	return -1;
}

static int refuse_mismatch(struct link *link, const struct hostkeys_host *host, const char *seen,
			   unsigned line)
{
	const char *path = link->settings->ssh.known_hosts;

	link_fail(link,
		  "host key %s is not the one in %s:%u: someone may be in between, or the host was "
		  "reinstalled; ask its operator, then: ssh-keygen -R '%s' -f %s",
		  seen, path, line, host->host, path);
	return -1;
}

static int check_known(struct link *link, const void *key, size_t size, const char *seen)
{
	struct hostkeys_host host = host_of(link);
	struct known known;

	if (look_up(link, key, size, &known) < 0)
		return -1;
	switch (known.verdict) {
	case HOSTKEYS_MATCH:
		return 0;
	case HOSTKEYS_REVOKED:
		return refuse_revoked(link, seen, known.line);
	case HOSTKEYS_MISMATCH:
		return refuse_mismatch(link, &host, seen, known.line);
	case HOSTKEYS_UNKNOWN:
		break;
	}
	if (link->settings->ssh.host_keys == HOST_KEYS_ACCEPT_NEW)
		return accept_new(link, &host, key, size, seen);
	return refuse_unknown(link, &host, seen);
}

/* The operator's @revoked beats a pin, which may have been learned. */
static int check_revoked(struct link *link, const void *key, size_t size, const char *seen)
{
	struct known known;

	if (look_up(link, key, size, &known) < 0)
		return -1;
	return known.verdict == HOSTKEYS_REVOKED ? refuse_revoked(link, seen, known.line) : 0;
}

static int check_host_key(struct link *link)
{
	char seen[HOSTKEYS_FINGERPRINT_SIZE];
	size_t size;
	int type;
	const char *key = libssh2_session_hostkey(link->ssh, &size, &type);

	if (!key) {
		link_fail(link, "the far sshd shows no host key");
		return -1;
	}
	hostkeys_fingerprint(key, size, seen);
	if (!link->settings->hostkey)
		return check_known(link, key, size, seen);
	if (check_revoked(link, key, size, seen) < 0)
		return -1;
	if (strcmp(link->settings->hostkey, seen) != 0) {
		refuse_pinned(link, seen);
		return -1;
	}
	return 0;
}

/* ---- login ---- */

static int login(struct link *link)
{
	const struct identity *identity = link->worker->identity;
	const char *user = link->settings->ssh.user;

	return libssh2_userauth_publickey_frommemory(link->ssh, user, strlen(user), NULL, 0,
						     identity->key, identity->size, NULL);
}

static void login_failed(struct link *link, int error)
{
	const char *user = link->settings->ssh.user;
	const char *path = link->worker->identity->path;

	if (error == LIBSSH2_ERROR_AUTHENTICATION_FAILED ||
	    error == LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED)
		link_fail(link,
			  "login as %s refused: is %s.pub in the authorized_keys of %s there? "
			  "try: ssh -i %s %s@%s (%s)",
			  user, path, user, path, user,
			  link->settings->endpoints[link->endpoint].host, session_error(link));
	else if (error == LIBSSH2_ERROR_FILE)
		link_fail(link, "the private key %s can't be used: %s; it must be ed25519, in OpenSSH's "
				"format, without a passphrase",
			  path, session_error(link));
	else
		link_fail(link, "login failed: %s", session_error(link));
}

/* One step of handshake or login.  False when there is nothing more to do now. */
static bool step_start(struct link *link)
{
	int error;

	if (link->state == LINK_HANDSHAKE) {
		error = libssh2_session_handshake(link->ssh, link->fd);
		if (error == LIBSSH2_ERROR_EAGAIN)
			return false;
		if (error) {
			link_fail(link, "SSH handshake failed: %s (sshd may be busy: MaxStartups)",
				  session_error(link));
			return false;
		}
		snprintf(link->ciphers, sizeof(link->ciphers), "%s %s",
			 libssh2_session_methods(link->ssh, LIBSSH2_METHOD_CRYPT_SC),
			 libssh2_session_methods(link->ssh, LIBSSH2_METHOD_MAC_SC));
		link->state = LINK_LOGIN;
		return check_host_key(link) == 0;
	}
	error = login(link);
	if (error == LIBSSH2_ERROR_EAGAIN)
		return false;
	if (error)
		login_failed(link, error);
	else
		link_up(link);
	return false;
}

static void pump_start(struct link *link)
{
	link->gate = true;
	while (link->state == LINK_HANDSHAKE || link->state == LINK_LOGIN)
		if (!step_start(link))
			break;
	link->gate = false;
	if (link->ended && !link->in.size && link->state < LINK_UP)
		link_fail(link, "closed by the far side in %s (sshd may be busy, see MaxStartups, or refuse "
				"this address)",
			  link_state_name(link->state));
}

/* ---- the session at work ---- */

/* Lets libssh2 take all that is there.  Any channel serves, also a closed one;
 * a read of zero bytes drains the transport and takes nothing from the channel. */
static void drain(struct link *link)
{
	LIBSSH2_CHANNEL *channel = channels_any(link);
	size_t before;
	ssize_t error = LIBSSH2_ERROR_EAGAIN;
	char nothing;
	int turns = 0;

	if (!channel)
		return; /* before the first channel: its open call drains, see channels_step */
	link->gate = true;
	do {
		before = link->in.size;
		link->starved = false;
		error = libssh2_channel_read_ex(channel, 0, &nothing, 0);
		turns = link->in.size < before ? 0 : turns + 1;
	} while (!link->starved && turns < DRAIN_TURNS &&
		 (error >= 0 || error == LIBSSH2_ERROR_EAGAIN));
	link->gate = false;
	if (error < 0 && error != LIBSSH2_ERROR_EAGAIN)
		link_fail(link, "connection lost: %s", session_error(link));
}

void session_pump(struct link *link)
{
	if (link->state == LINK_HANDSHAKE || link->state == LINK_LOGIN)
		pump_start(link);
	if (link->state != LINK_UP)
		return;
	drain(link);
	channels_step(link);
	channels_wake(link);
}

void session_keepalive(struct link *link)
{
	int next;

	if (link->state == LINK_UP && libssh2_keepalive_send(link->ssh, &next) < 0)
		link_fail(link, "connection lost: %s", session_error(link));
}

void session_free(struct link *link)
{
	if (!link->ssh)
		return;
	if (link->fd >= 0 && link->state == LINK_DEAD && !link->reason[0]) {
		link->state = LINK_UP; /* for the SEND callback: one last packet */
		libssh2_session_disconnect(link->ssh, "closed by dvpnd");
		queue_send(&link->out, link->fd);
	}
	link->state = LINK_DEAD;
	libssh2_session_free(link->ssh);
	link->ssh = NULL;
	free_forgotten(link);
}
