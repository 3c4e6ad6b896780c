/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What readahead.c and its test know of the provider beyond OpenSSL's interface. */
#ifndef DVPND_CARRY_READAHEAD_PROVIDER_H
#define DVPND_CARRY_READAHEAD_PROVIDER_H

#include <openssl/opensslv.h>

#if OPENSSL_VERSION_NUMBER >= 0x30000000L
#include <openssl/core.h>

#define READAHEAD_PROVIDER "dvpn"

/* Keystream made at once, and kept for each direction of a link; a multiple of 16. */
#ifndef READAHEAD_SIZE
#define READAHEAD_SIZE 4096
#endif

/* The entry that OSSL_PROVIDER_add_builtin wants. */
int readahead_provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *core,
			    const OSSL_DISPATCH **functions, void **context);

/* Cipher contexts made so far, copies included; any thread may ask. */
unsigned long readahead_contexts(void);
#endif

#endif
