/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The site's private key, in memory. */
#include "carry/identity.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "carry/hostkeys.h"
#include "log.h"

struct identity *identity_load(const char *path)
{
	struct identity *identity = calloc(1, sizeof(*identity));
	struct stat st;

	if (!identity)
		return NULL;
	atomic_init(&identity->references, 1);
	identity->path = strdup(path);
	if (stat(path, &st) == 0 && st.st_mode & 077) {
		log_errorx("%s: the private key may be read by others; run: chmod 600 %s", path, path);
	} else if ((identity->key = hostkeys_read(path, &identity->size)) == NULL) {
		log_warn("can't read the private key %s; make one with: ssh-keygen -t ed25519 -N '' -f %s",
			 path, path);
	}
	if (!identity->path || !identity->key) {
		identity_put(identity);
		return NULL;
	}
	return identity;
}

struct identity *identity_get(struct identity *identity)
{
	atomic_fetch_add(&identity->references, 1);
	return identity;
}

void identity_put(struct identity *identity)
{
	if (!identity || atomic_fetch_sub(&identity->references, 1) != 1)
		return;
	if (identity->key)
		OPENSSL_cleanse(identity->key, identity->size);
	free(identity->key);
	free(identity->path);
	free(identity);
}
