/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keystream made ahead, the start of it: nothing else of libcrypto changes, and where
 * anything is odd, all stays stock.
 *
 * How a start is refused needs a fresh libcrypto each time: the program runs itself
 * again with a case's name.  The odd things are made by openssl.cnf files, and by
 * libcrypto functions that this program defines over libcrypto's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "readahead_helpers.h"

/* ---- libcrypto, made to fail ---- */

static const char *failing = "";

static void *real(const char *name)
{
	void *function = dlsym(RTLD_NEXT, name);

	if (!function)
		abort();
	return function;
}

int EVP_Cipher(EVP_CIPHER_CTX *context, unsigned char *out, const unsigned char *in,
	       unsigned int size)
{
	static int (*cipher)(EVP_CIPHER_CTX *, unsigned char *, const unsigned char *, unsigned);
	static atomic_bool known;
	static atomic_uint calls;
	int made;

	if (!atomic_load(&known)) {
		*(void **)&cipher = real("EVP_Cipher");
		atomic_store(&known, true);
	}
	made = cipher(context, out, in, size);
	if (!strcmp(failing, "lies") && atomic_fetch_add(&calls, 1) == 1000 && made > 0)
		out[made - 1] ^= 1;
	return made;
}

OSSL_PROVIDER *OSSL_PROVIDER_load(OSSL_LIB_CTX *library, const char *name)
{
	OSSL_PROVIDER *(*load)(OSSL_LIB_CTX *, const char *);

	*(void **)&load = real("OSSL_PROVIDER_load");
	if (!strcmp(failing, "own-stock") && library)
		return NULL;
	if (!strcmp(failing, "ours") && !strcmp(name, READAHEAD_PROVIDER))
		return NULL;
	return load(library, name);
}

EVP_SIGNATURE *EVP_SIGNATURE_fetch(OSSL_LIB_CTX *library, const char *name, const char *properties)
{
	EVP_SIGNATURE *(*fetch)(OSSL_LIB_CTX *, const char *, const char *);

	*(void **)&fetch = real("EVP_SIGNATURE_fetch");
	return strcmp(failing, "signature") ? fetch(library, name, properties) : NULL;
}

unsigned OPENSSL_version_major(void)
{
	return strcmp(failing, "version") ? OPENSSL_VERSION_MAJOR : OPENSSL_VERSION_MAJOR + 1;
}

/* ---- nothing else changes ---- */

static void test_others_untouched(void **state)
{
	EVP_MD *digest = EVP_MD_fetch(NULL, "SHA256", NULL);
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

	(void)state;
	assert_stock(EVP_aes_128_gcm());
	assert_stock(EVP_aes_256_gcm());
	assert_stock(EVP_aes_128_cbc());
	assert_stock(EVP_aes_256_cbc());
	assert_stock(EVP_aes_128_ecb());
	assert_stock(EVP_chacha20());
	assert_stock(EVP_chacha20_poly1305());
	assert_string_equal(OSSL_PROVIDER_get0_name(EVP_MD_get0_provider(digest)), "default");
	assert_string_equal(OSSL_PROVIDER_get0_name(EVP_MAC_get0_provider(mac)), "default");
	assert_non_null(key);
	assert_string_equal(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(key)), "default");
	EVP_MD_free(digest);
	EVP_MAC_free(mac);
	EVP_PKEY_free(key);
}

static void *draw_random(void *arg)
{
	unsigned char bytes[32], more[32];

	return RAND_bytes(bytes, sizeof(bytes)) == 1 && RAND_priv_bytes(more, sizeof(more)) == 1 &&
			       memcmp(bytes, more, sizeof(bytes)) != 0 ?
		       arg :
		       NULL;
}

/* Each thread has generators of its own, made of AES-256-CTR when first asked. */
static void test_random_is_stock(void **state)
{
	unsigned long before = readahead_contexts();
	int token;

	(void)state;
	for (int i = 0; i < 3; i++) {
		pthread_t thread;
		void *result;

		assert_int_equal(pthread_create(&thread, NULL, draw_random, &token), 0);
		assert_int_equal(pthread_join(thread, &result), 0);
		assert_ptr_equal(result, &token);
	}
	assert_int_equal(readahead_contexts(), before);
}

static void test_not_wanted(void **state)
{
	(void)state;
	readahead_stop();
	assert_false(readahead_start(false));
	assert_stock(EVP_aes_128_ctr());
	assert_true(readahead_start(true));
}

/* ---- when it must not start ---- */

#define CNF "openssl_conf = init\n[init]\n"

static const struct refusal {
	const char *name;
	const char *cnf;    /* text of openssl.cnf; NULL: there is none */
	const char *reason; /* part of the log line; NULL: it starts */
} refusals[] = {
	{ "plain", CNF, NULL },
	{ "no-cnf", NULL, NULL },
	{ "unrelated", CNF "providers = p\n[p]\ndefault = d\n[d]\nactivate = 1\n", NULL },
	{ "properties", CNF "alg_section = a\n[a]\ndefault_properties = ?provider=x\n",
	  "openssl.cnf sets default properties" },
	{ "fips-mode", CNF "alg_section = a\n[a]\nfips_mode = yes\n", "openssl.cnf sets default" },
	{ "random", CNF "random = r\n[r]\nrandom = HASH-DRBG\ndigest = SHA256\n",
	  "or the random generator" },
	{ "broken", "openssl_conf = init\n[init\n", "openssl.cnf can't be read" },
	{ "base-only", CNF "providers = p\n[p]\nbase = b\n[b]\nactivate = 1\n",
	  "default provider is not in use" },
	{ "fips-api", CNF, "FIPS mode" },
	{ "random-used", CNF, "random generator is at work already" },
	{ "version", CNF, "another OpenSSL" },
	{ "ours", CNF, "does not take the provider" },
	{ "own-stock", CNF, "does not take the provider" },
	{ "lies", CNF, "differs from the stock cipher" },
	{ "signature", CNF, "other algorithms would change" },
};
#define REFUSALS (sizeof(refusals) / sizeof(*refusals))

/* The child: starts, and says by its status whether what it has fits the answer. */
static int run_case(const char *name)
{
	EVP_CIPHER_CTX *context;
	unsigned char key[16] = { 1 }, iv[BLOCK] = { 2 }, byte;
	bool started, ours;

	failing = name;
	log_init(LOG_TO_STDERR, LOG_LEVEL_INFO);
	if (!strcmp(name, "fips-api"))
		EVP_default_properties_enable_fips(NULL, 1);
	if (!strcmp(name, "random-used") && RAND_bytes(&byte, 1) != 1)
		return 3;
	started = readahead_start(true);
	failing = "";
	if (!strcmp(name, "fips-api"))
		EVP_default_properties_enable_fips(NULL, 0);
	context = EVP_CIPHER_CTX_new();
	if (!EVP_CipherInit(context, EVP_aes_128_ctr(), key, iv, 1)) {
		/* the operator's openssl.cnf leaves it without any */
		EVP_CIPHER_CTX_free(context);
		return started || (strcmp(name, "base-only") && strcmp(name, "fips-mode")) ? 3 : 1;
	}
	ours = !strcmp(provider_of(context), READAHEAD_PROVIDER);
	EVP_CIPHER_CTX_free(context);
	if (RAND_bytes(&byte, 1) != 1)
		return 3;
	readahead_stop();
	return started != ours ? 3 : started ? 0 : 1;
}

static void write_cnf(const char *path, const char *text)
{
	FILE *out = fopen(path, "w");

	assert_non_null(out);
	assert_int_not_equal(fputs(text, out), EOF);
	assert_int_equal(fclose(out), 0);
}

/* Runs the case; its exit status, and what it logged. */
static int spawn(const struct refusal *refusal, const char *cnf, char *said, size_t size)
{
	int ends[2], status;
	size_t length = 0;
	ssize_t got;
	pid_t pid;

	assert_int_equal(pipe(ends), 0);
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (!pid) {
		dup2(ends[1], STDERR_FILENO);
		close(ends[0]);
		close(ends[1]);
		setenv("OPENSSL_CONF", cnf, 1);
		execl("/proc/self/exe", "readahead_test", refusal->name, NULL);
		_exit(127);
	}
	close(ends[1]);
	while ((got = read(ends[0], said + length, size - 1 - length)) > 0)
		length += (size_t)got;
	said[length] = '\0';
	close(ends[0]);
	while (waitpid(pid, &status, 0) < 0)
		assert_int_equal(errno, EINTR);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_refusals(void **state)
{
	char directory[] = "/tmp/readahead_test.XXXXXX", cnf[64], said[4096];

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(cnf, sizeof(cnf), "%s/openssl.cnf", directory);
	for (size_t i = 0; i < REFUSALS; i++) {
		const struct refusal *refusal = &refusals[i];
		int status;

		if (refusal->cnf)
			write_cnf(cnf, refusal->cnf);
		status = spawn(refusal, cnf, said, sizeof(said));
		unlink(cnf);
		if (status != (refusal->reason ? 1 : 0))
			fail_msg("%s: status %d, said: %s", refusal->name, status, said);
		if (refusal->reason && !strstr(said, refusal->reason))
			fail_msg("%s: said: %s", refusal->name, said);
		if (!refusal->reason)
			assert_string_equal(said, "");
	}
	assert_int_equal(rmdir(directory), 0);
}

/* ---- */

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_others_untouched),
		cmocka_unit_test(test_random_is_stock),
		cmocka_unit_test(test_not_wanted),
		cmocka_unit_test(test_refusals),
	};

	if (argc > 1)
		return run_case(argv[1]);
	return cmocka_run_group_tests(tests, setup, teardown);
}
