/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether AES-CTR is read ahead: what must hold for it, the self-test, and the way
 * back to stock.
 *
 * libssh2 asks for EVP_aes_128_ctr(), which libcrypto fetches with the default
 * properties of the default context; "?provider=dvpn" there prefers ours where we
 * have an algorithm and changes nothing where we have none.
 */
#include "carry/readahead.h"

#include "carry/readahead_provider.h"
#include "log.h"

#if OPENSSL_VERSION_NUMBER >= 0x30000000L
#include <openssl/conf.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define STOCK "default"
#define BLOCK 16

/* The self-test: so many streams of each key size and direction, each of so many bytes,
 * which is several buffers, in calls of up to so many. */
#define TEST_STREAMS 4
#define TEST_BYTES (3 * READAHEAD_SIZE + 5 * BLOCK)
#define TEST_CALL_MAX 700

static struct {
	OSSL_PROVIDER *ours;
	/* for the rest of the process */
	OSSL_PROVIDER *stock;
	bool registered, random_bound;
} loaded;

/* ---- what must hold ---- */

static bool from_provider(const OSSL_PROVIDER *provider, const char *name)
{
	return provider && !strcmp(OSSL_PROVIDER_get0_name(provider), name);
}

/* Has the operator's openssl.cnf settings that ours would replace? */
static bool configured(const CONF *file)
{
	const char *start = NCONF_get_string(file, NULL, "openssl_conf");
	const char *algorithms;

	if (!start)
		return false;
	algorithms = NCONF_get_string(file, start, "alg_section");
	return NCONF_get_string(file, start, "random") ||
	       (algorithms && (NCONF_get_string(file, algorithms, "default_properties") ||
			       NCONF_get_string(file, algorithms, "fips_mode")));
}

static const char *check_openssl_cnf(void)
{
	char *path = CONF_get1_default_config_file();
	CONF *file = NCONF_new(NULL);
	const char *why = NULL;
	long line = 0;

	if (!path || !file)
		why = "out of memory";
	else if (access(path, F_OK) < 0)
		why = NULL; /* libcrypto does without, too */
	else if (NCONF_load(file, path, &line) <= 0)
		why = "openssl.cnf can't be read";
	else if (configured(file))
		why = "openssl.cnf sets default properties or the random generator";
	NCONF_free(file);
	OPENSSL_free(path);
	return why;
}

/* NULL, or why the stock ciphers are better left alone. */
static const char *check_stock(void)
{
	EVP_CIPHER *cipher;
	const char *why;

	if (OPENSSL_version_major() != OPENSSL_VERSION_MAJOR)
		return "another OpenSSL than the one it was built with";
	why = check_openssl_cnf();
	if (why)
		return why;
	if (EVP_default_properties_is_fips_enabled(NULL))
		return "OpenSSL is in FIPS mode";
	if (!OSSL_PROVIDER_available(NULL, STOCK))
		return "OpenSSL's default provider is not in use";
	cipher = EVP_CIPHER_fetch(NULL, "AES-128-CTR", NULL);
	if (!cipher || !from_provider(EVP_CIPHER_get0_provider(cipher), STOCK))
		why = "AES-CTR is not that of OpenSSL's default provider";
	EVP_CIPHER_free(cipher);
	return why;
}

/* ---- the self-test ---- */

/* Bytes that need not be secret, only unlike each other. */
static uint64_t noise(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void make_noise(uint64_t *state, unsigned char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] = (unsigned char)(noise(state) >> 32);
}

/* One stream as libssh2 does it, cut into calls at random, against stock in one. */
static bool same_stream(EVP_CIPHER_CTX *ours, EVP_CIPHER_CTX *stock, uint64_t *state)
{
	static unsigned char from[TEST_BYTES], expected[TEST_BYTES], seen[TEST_BYTES];
	size_t at = 0;

	make_noise(state, from, sizeof(from));
	if (EVP_Cipher(stock, expected, from, sizeof(from)) != sizeof(from))
		return false;
	while (at < sizeof(from)) {
		size_t size = noise(state) % 4 ? BLOCK : noise(state) % TEST_CALL_MAX + 1;

		if (size > sizeof(from) - at)
			size = sizeof(from) - at;
		if (EVP_Cipher(ours, seen + at, from + at, (unsigned)size) != (int)size)
			return false;
		at += size;
	}
	return !memcmp(seen, expected, sizeof(seen));
}

/* Streams of one key size in one direction; the contexts get a new key for each. */
static bool same_cipher(const EVP_CIPHER *asked, const EVP_CIPHER *stock_cipher, int encrypt,
			uint64_t *state)
{
	EVP_CIPHER_CTX *ours = EVP_CIPHER_CTX_new(), *stock = EVP_CIPHER_CTX_new();
	bool same = ours && stock;

	for (int i = 0; same && i < TEST_STREAMS; i++) {
		unsigned char key[32], iv[BLOCK];

		make_noise(state, key, sizeof(key));
		make_noise(state, iv, sizeof(iv));
		memset(iv + BLOCK - i, 0xff, (size_t)i); /* some counters wrap */
		same = EVP_CipherInit(ours, asked, key, iv, encrypt) &&
		       EVP_CipherInit(stock, stock_cipher, key, iv, encrypt) &&
		       from_provider(EVP_CIPHER_get0_provider(EVP_CIPHER_CTX_get0_cipher(ours)),
				     READAHEAD_PROVIDER) &&
		       same_stream(ours, stock, state);
	}
	EVP_CIPHER_CTX_free(ours);
	EVP_CIPHER_CTX_free(stock);
	return same;
}

static bool same_as_stock(const EVP_CIPHER *asked, uint64_t *state)
{
	EVP_CIPHER *stock = EVP_CIPHER_fetch(NULL, EVP_CIPHER_get0_name(asked), "provider=" STOCK);
	bool same = stock && same_cipher(asked, stock, 1, state) &&
		    same_cipher(asked, stock, 0, state);

	EVP_CIPHER_free(stock);
	return same;
}

/* What else libssh2 and dvpnd need must not have moved. */
static bool others_are_stock(void)
{
	EVP_CIPHER *gcm = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
	EVP_MD *digest = EVP_MD_fetch(NULL, "SHA256", NULL);
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_RAND *random = EVP_RAND_fetch(NULL, "CTR-DRBG", NULL);
	EVP_SIGNATURE *signature = EVP_SIGNATURE_fetch(NULL, "ED25519", NULL);
	EVP_KEYEXCH *exchange = EVP_KEYEXCH_fetch(NULL, "X25519", NULL);
	bool stock = gcm && from_provider(EVP_CIPHER_get0_provider(gcm), STOCK) &&
		     digest && from_provider(EVP_MD_get0_provider(digest), STOCK) &&
		     mac && from_provider(EVP_MAC_get0_provider(mac), STOCK) &&
		     random && from_provider(EVP_RAND_get0_provider(random), STOCK) &&
		     signature && from_provider(EVP_SIGNATURE_get0_provider(signature), STOCK) &&
		     exchange && from_provider(EVP_KEYEXCH_get0_provider(exchange), STOCK);

	EVP_CIPHER_free(gcm);
	EVP_MD_free(digest);
	EVP_MAC_free(mac);
	EVP_RAND_free(random);
	EVP_SIGNATURE_free(signature);
	EVP_KEYEXCH_free(exchange);
	return stock;
}

static const char *self_test(void)
{
	uint64_t state = (uint64_t)(uintptr_t)&state ^ (uint64_t)getpid() << 40 ^ 0x9e3779b97f4a7c15;

	if (!same_as_stock(EVP_aes_128_ctr(), &state) ||
	    !same_as_stock(EVP_aes_192_ctr(), &state) || !same_as_stock(EVP_aes_256_ctr(), &state))
		return "the self-test failed: it differs from the stock cipher";
	return others_are_stock() ? NULL : "the self-test failed: other algorithms would change";
}

/* ---- start and stop ---- */

/* The random generator is made of AES-256-CTR, in each thread anew.  It has a key for
 * every few bytes and must not keep output ahead, so it is bound to the stock cipher;
 * once it is at work that can't be done any more. */
static bool bind_random(void)
{
	if (!loaded.random_bound)
		loaded.random_bound = RAND_set_DRBG_type(NULL, "CTR-DRBG", "provider=" STOCK,
							 "AES-256-CTR", NULL) == 1;
	return loaded.random_bound;
}

/* With a provider of ours in it, libcrypto no longer loads its own by itself: that
 * one is loaded by name, and for good. */
static const char *load(void)
{
	if (!loaded.stock)
		loaded.stock = OSSL_PROVIDER_load(NULL, STOCK);
	if (!loaded.stock)
		return "OpenSSL's default provider can't be loaded";
	if (!bind_random())
		return "the random generator is at work already";
	if (!loaded.registered)
		loaded.registered = OSSL_PROVIDER_add_builtin(NULL, READAHEAD_PROVIDER,
							      readahead_provider_init) == 1;
	if (loaded.registered)
		loaded.ours = OSSL_PROVIDER_load(NULL, READAHEAD_PROVIDER);
	if (!loaded.ours || !EVP_set_default_properties(NULL, "?provider=" READAHEAD_PROVIDER))
		return "OpenSSL does not take the provider";
	return self_test();
}

void readahead_stop(void)
{
	if (loaded.ours) {
		EVP_set_default_properties(NULL, "");
		OSSL_PROVIDER_unload(loaded.ours);
	}
	loaded.ours = NULL;
}

bool readahead_start(bool wanted)
{
	const char *why;

	if (!wanted)
		return false;
	why = check_stock();
	if (!why)
		why = load();
	if (why) {
		readahead_stop();
		ERR_clear_error();
		log_info("crypto = readahead: %s; links use the stock ciphers, which cost more CPU time",
			 why);
		return false;
	}
	log_debug("AES-CTR keystream is made ahead, %u bytes at a time, with %s", READAHEAD_SIZE,
		  OpenSSL_version(OPENSSL_VERSION));
	return true;
}
#else
bool readahead_start(bool wanted)
{
	if (wanted)
		log_info("crypto = readahead: OpenSSL 3 is needed; links use the stock ciphers, which cost "
			 "more CPU time");
	return false;
}

void readahead_stop(void)
{
}
#endif
