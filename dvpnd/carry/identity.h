/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The site's identity: the private key file's text, read once by main and shared
 * by all workers, so that a login opens no file.  Counted by atomics; wiped when
 * freed.
 */
#ifndef DVPND_CARRY_IDENTITY_H
#define DVPND_CARRY_IDENTITY_H

#include <stdatomic.h>
#include <stddef.h>

struct identity {
	atomic_uint references;
	char *path;
	char *key; /* the file's text */
	size_t size;
};

/* NULL and a log line that says what to do. */
struct identity *identity_load(const char *path);
struct identity *identity_get(struct identity *identity);
void identity_put(struct identity *identity); /* takes NULL */

#endif
