/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keystream made ahead, in memory: what was used is gone, what is left is wiped, and
 * without memory there is an error.  libcrypto allocates through this program, which
 * notes what may hold a buffer and looks into it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "readahead_helpers.h"

/* ---- memory that is watched ---- */

#define BLOCKS_MAX 4096

static struct {
	pthread_mutex_t lock;
	struct block {
		unsigned char *at;
		size_t size;
	} blocks[BLOCKS_MAX];
	long fail_after; /* allocations; below 0: none fails */
	unsigned dirty;	 /* blocks of the size of a context that were freed with something in them */
	unsigned clean;
} memory = { .lock = PTHREAD_MUTEX_INITIALIZER, .fail_after = -1 };

/* Only what may hold a buffer is noted. */
static bool is_noted(size_t size)
{
	return size >= READAHEAD_SIZE && size < READAHEAD_SIZE + 512;
}

static void note(void *at, size_t size)
{
	if (!at || !is_noted(size))
		return;
	pthread_mutex_lock(&memory.lock);
	for (struct block *block = memory.blocks; block < memory.blocks + BLOCKS_MAX; block++) {
		if (!block->at) {
			*block = (struct block){ at, size };
			break;
		}
	}
	pthread_mutex_unlock(&memory.lock);
}

static void unnote(void *at)
{
	unsigned char all = 0;

	pthread_mutex_lock(&memory.lock);
	for (struct block *block = memory.blocks; block < memory.blocks + BLOCKS_MAX; block++) {
		if (at && block->at == at) {
			for (size_t i = 0; i < block->size; i++)
				all |= block->at[i];
			all ? memory.dirty++ : memory.clean++;
			block->at = NULL;
		}
	}
	pthread_mutex_unlock(&memory.lock);
}

static bool fails(void)
{
	bool now;

	pthread_mutex_lock(&memory.lock);
	now = memory.fail_after == 0;
	if (memory.fail_after > 0)
		memory.fail_after--;
	pthread_mutex_unlock(&memory.lock);
	return now;
}

static void *watched_malloc(size_t size, const char *file, int line)
{
	void *at = fails() ? NULL : malloc(size);

	(void)file;
	(void)line;
	note(at, size);
	return at;
}

static void *watched_realloc(void *from, size_t size, const char *file, int line)
{
	void *at = fails() ? NULL : realloc(from, size);

	(void)file;
	(void)line;
	return at;
}

static void watched_free(void *at, const char *file, int line)
{
	(void)file;
	(void)line;
	unnote(at);
	free(at);
}

static bool found_in_memory(const unsigned char *bytes, size_t size)
{
	bool found = false;

	pthread_mutex_lock(&memory.lock);
	for (struct block *block = memory.blocks; block < memory.blocks + BLOCKS_MAX; block++)
		found |= block->at && memmem(block->at, block->size, bytes, size);
	pthread_mutex_unlock(&memory.lock);
	return found;
}

/* ---- what is left in memory ---- */

static void test_keystream_is_wiped(void **state)
{
	unsigned char key[16], iv[BLOCK], stream[READAHEAD_SIZE], zeros[READAHEAD_SIZE] = { 0 };
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new(), *stock = EVP_CIPHER_CTX_new();
	EVP_CIPHER *stock_cipher = EVP_CIPHER_fetch(NULL, "AES-128-CTR", "provider=default");
	unsigned char out[BLOCK];
	const size_t used = 40 * BLOCK + 5;

	(void)state;
	random_bytes(&seed, key, sizeof(key));
	random_bytes(&seed, iv, sizeof(iv));
	assert_int_equal(EVP_CipherInit(stock, stock_cipher, key, iv, 1), 1);
	assert_int_equal(EVP_Cipher(stock, stream, zeros, sizeof(stream)), sizeof(stream));
	assert_int_equal(EVP_CipherInit(context, EVP_aes_128_ctr(), key, iv, 1), 1);
	for (size_t at = 0; at < used; at += BLOCK)
		assert_true(EVP_Cipher(context, out, zeros,
				       (unsigned)(used - at < BLOCK ? used - at : BLOCK)) > 0);
	/* so the search works */
	assert_true(found_in_memory(stream + used, 8));
	for (size_t at = 0; at + 8 <= used; at++)
		assert_false(found_in_memory(stream + at, 8));
	memory.clean = memory.dirty = 0;
	/* a new IV: what was ahead is for nobody any more */
	assert_int_equal(EVP_CipherInit_ex(context, NULL, NULL, NULL, iv, 1), 1);
	assert_false(found_in_memory(stream + used, 8));
	assert_true(EVP_Cipher(context, out, zeros, 7) > 0);
	EVP_CIPHER_CTX_free(context);
	assert_int_equal(memory.clean, 1);
	assert_int_equal(memory.dirty, 0);
	EVP_CIPHER_CTX_free(stock);
	EVP_CIPHER_free(stock_cipher);
}

/* Every allocation of a context's making fails once: an error, and nothing leaks. */
static void test_out_of_memory(void **state)
{
	unsigned char key[16] = { 1 }, iv[BLOCK] = { 2 };
	EVP_CIPHER *ours = EVP_CIPHER_fetch(NULL, "AES-128-CTR", NULL);
	int failed = 0, worked = 0;

	(void)state;
	for (long after = 0; !worked && after < 50; after++) {
		EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new(), *copy = EVP_CIPHER_CTX_new();
		int done;

		memory.fail_after = after;
		done = EVP_CipherInit_ex2(context, ours, key, iv, 1, NULL) &&
		       EVP_CIPHER_CTX_copy(copy, context);
		memory.fail_after = -1;
		done ? worked++ : failed++;
		EVP_CIPHER_CTX_free(context);
		EVP_CIPHER_CTX_free(copy);
	}
	assert_int_equal(worked, 1);
	assert_true(failed >= 4); /* a struct and a stock context each, and what these need */
	EVP_CIPHER_free(ours);
}

/* ---- */

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keystream_is_wiped),
		cmocka_unit_test(test_out_of_memory),
	};

	if (!CRYPTO_set_mem_functions(watched_malloc, watched_realloc, watched_free))
		return 2;
	return cmocka_run_group_tests(tests, setup, teardown);
}
