/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tests of keystream made ahead share: bytes from a fixed seed, whose cipher
 * a context has, start and stop around a group of tests.
 */
#ifndef TESTS_UNIT_READAHEAD_HELPERS_H
#define TESTS_UNIT_READAHEAD_HELPERS_H

#include <openssl/evp.h>
#include <openssl/provider.h>
#include <stdlib.h>

#include "carry/readahead.h"
#include "carry/readahead_provider.h"

#define BLOCK 16

__attribute__((unused)) static uint64_t seed = 0x9e3779b97f4a7c15;

static inline uint64_t random_of(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state >> 8;
}

static inline void random_bytes(uint64_t *state, unsigned char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] = (unsigned char)random_of(state);
}

static inline const char *provider_of(const EVP_CIPHER_CTX *context)
{
	const EVP_CIPHER *cipher = EVP_CIPHER_CTX_get0_cipher(context);

	return OSSL_PROVIDER_get0_name(EVP_CIPHER_get0_provider(cipher));
}

static inline void assert_stock(const EVP_CIPHER *cipher)
{
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	unsigned char key[64] = { 1 }, iv[BLOCK] = { 2 };

	assert_int_equal(EVP_CipherInit(context, cipher, key, iv, 1), 1);
	assert_string_equal(provider_of(context), "default");
	EVP_CIPHER_CTX_free(context);
}

/* for cmocka_run_group_tests */
static inline int setup(void **state)
{
	(void)state;
	/* The machine's own openssl.cnf is not under test. */
	setenv("OPENSSL_CONF", "/nonexistent", 1);
	return readahead_start(true) ? 0 : -1;
}

static inline int teardown(void **state)
{
	(void)state;
	readahead_stop();
	return 0;
}

#endif
