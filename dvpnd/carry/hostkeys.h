/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host keys: is the key that a gateway shows the one that we know?
 *
 * libssh2's own known_hosts reader stops at the first line that it doesn't
 * know, and has no wildcards; this one follows sshd(8), "SSH_KNOWN_HOSTS FILE
 * FORMAT": patterns, hashed names, @revoked.  A line that makes no sense is
 * passed over, as ssh does; @cert-authority lines are too, as libssh2 has no
 * host certificates.
 */
#ifndef DVPND_CARRY_HOSTKEYS_H
#define DVPND_CARRY_HOSTKEYS_H

#include <stdint.h>
#include <stddef.h>

enum hostkeys_verdict {
	HOSTKEYS_MATCH,
	HOSTKEYS_UNKNOWN,  /* no line names the host */
	HOSTKEYS_MISMATCH, /* lines name the host, with other keys */
	HOSTKEYS_REVOKED,
};

/* Key types that libssh2 can use, as bits, strongest first in its preference. */
enum {
	HOSTKEYS_ED25519 = 1 << 0,
	HOSTKEYS_ECDSA_256 = 1 << 1,
	HOSTKEYS_ECDSA_384 = 1 << 2,
	HOSTKEYS_ECDSA_521 = 1 << 3,
	HOSTKEYS_RSA = 1 << 4,
};

/* A host goes by its endpoint's name and port, and by its site's name. */
struct hostkeys_host {
	const char *host;
	uint16_t port;
	const char *site; /* may be NULL */
};

#define HOSTKEYS_FINGERPRINT_SIZE 64

/* The file's text, to be freed.  NULL and errno; at most 16 MiB. */
char *hostkeys_read(const char *path, size_t *size);

/* `line` is set to the line that decided, from 1, where there is one. */
enum hostkeys_verdict hostkeys_check(const char *text, size_t size,
				     const struct hostkeys_host *host, const void *key,
				     size_t key_size, unsigned *line);
/* Which types of key the file knows of a host: ask the server for one of those. */
unsigned hostkeys_types(const char *text, size_t size, const struct hostkeys_host *host);
/* A list for LIBSSH2_METHOD_HOSTKEY with the known types first. */
void hostkeys_preference(unsigned types, char *text, size_t size);

/* Appends a line for the endpoint's name, whole or not at all.  0, or -1 with
 * errno: EINVAL for a key of no type above. */
int hostkeys_add(const char *path, const struct hostkeys_host *host, const void *key,
		 size_t key_size);
/* "SHA256:…", as ssh-keygen -l prints it. */
void hostkeys_fingerprint(const void *key, size_t key_size, char text[HOSTKEYS_FINGERPRINT_SIZE]);

#endif
