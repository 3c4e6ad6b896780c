/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * AES-CTR with its keystream made ahead, for libssh2.
 *
 * libssh2 encrypts 16 bytes a call, so the way to the cipher costs far more than
 * the cipher.  This puts a provider of our own in front of libcrypto's: it has the
 * stock AES-CTR make a few KiB of keystream at once and serves small calls from
 * that.  The bytes are the same; a self-test at start compares them.
 *
 * Where anything is not as expected (another OpenSSL, FIPS, default properties of
 * the operator's, a self-test that fails), libcrypto stays as it was.
 */
#ifndef DVPND_CARRY_READAHEAD_H
#define DVPND_CARRY_READAHEAD_H

#include <stdbool.h>

/*
 * Once, before the first thread and before libcrypto is used for anything random;
 * `wanted` is what the configuration says.  True where AES-CTR is read ahead from
 * here on.  False, and where it was wanted a line in the log that says why, where
 * the stock ciphers are used: never an error.
 */
bool readahead_start(bool wanted);

/* New contexts are stock ones again; those that live stay good until they are
 * freed.  No other thread may be in libcrypto.  Harmless without a start. */
void readahead_stop(void);

#endif
