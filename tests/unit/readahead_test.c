/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keystream made ahead: whatever is asked of a context, it answers as a stock one in
 * the same state does.  Every test moves both through the same calls.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "readahead_helpers.h"

#define MOST 20000 /* several buffers */

/* Mostly what libssh2 asks for; else anything, edges of the buffer included. */
static size_t random_size(uint64_t *state)
{
	static const size_t edges[] = { 0, 1, 15, 17, 511, 512, 513, READAHEAD_SIZE - 1,
					READAHEAD_SIZE, READAHEAD_SIZE + 1, MOST };

	switch (random_of(state) % 4) {
	case 0:
		return random_of(state) % 3000;
	case 1:
		return edges[random_of(state) % (sizeof(edges) / sizeof(*edges))];
	default:
		return BLOCK;
	}
}

/* ---- pairs of contexts: ours as libssh2 gets it, and stock ---- */

struct pair {
	EVP_CIPHER_CTX *ours, *stock;
	int encrypt;
};

static const EVP_CIPHER *(*const asked[])(void) = { EVP_aes_128_ctr, EVP_aes_192_ctr,
						    EVP_aes_256_ctr };
#define SIZES 3
static EVP_CIPHER *stock_of[SIZES];

static struct pair pair_new(int size, const unsigned char *key, const unsigned char *iv,
			    int encrypt)
{
	struct pair pair = { EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_new(), encrypt };

	assert_non_null(pair.ours);
	assert_non_null(pair.stock);
	assert_int_equal(EVP_CipherInit(pair.ours, asked[size](), key, iv, encrypt), 1);
	assert_int_equal(EVP_CipherInit(pair.stock, stock_of[size], key, iv, encrypt), 1);
	assert_string_equal(provider_of(pair.ours), READAHEAD_PROVIDER);
	assert_string_equal(provider_of(pair.stock), "default");
	return pair;
}

static struct pair pair_random(int size, int encrypt, uint64_t *state)
{
	unsigned char key[32], iv[BLOCK];

	random_bytes(state, key, sizeof(key));
	random_bytes(state, iv, sizeof(iv));
	return pair_new(size, key, iv, encrypt);
}

static void pair_free(struct pair *pair)
{
	EVP_CIPHER_CTX_free(pair->ours);
	EVP_CIPHER_CTX_free(pair->stock);
}

/* New key or IV, where not NULL, for both. */
static void pair_init(struct pair *pair, const unsigned char *key, const unsigned char *iv)
{
	assert_int_equal(EVP_CipherInit_ex(pair->ours, NULL, NULL, key, iv, pair->encrypt), 1);
	assert_int_equal(EVP_CipherInit_ex(pair->stock, NULL, NULL, key, iv, pair->encrypt), 1);
}

/* All that can be asked about where a context is. */
static void assert_same_place(const struct pair *pair)
{
	unsigned char ours[BLOCK], stock[BLOCK];

	assert_int_equal(EVP_CIPHER_CTX_get_updated_iv(pair->ours, ours, BLOCK), 1);
	assert_int_equal(EVP_CIPHER_CTX_get_updated_iv(pair->stock, stock, BLOCK), 1);
	assert_memory_equal(ours, stock, BLOCK);
	assert_int_equal(EVP_CIPHER_CTX_get_original_iv(pair->ours, ours, BLOCK), 1);
	assert_int_equal(EVP_CIPHER_CTX_get_original_iv(pair->stock, stock, BLOCK), 1);
	assert_memory_equal(ours, stock, BLOCK);
	assert_int_equal(EVP_CIPHER_CTX_get_num(pair->ours), EVP_CIPHER_CTX_get_num(pair->stock));
}

/* `size` bytes through both, by a call and in a place chosen at random. */
static void pair_pass(const struct pair *pair, size_t size, uint64_t *state)
{
	unsigned char from[MOST], ours[MOST + 2], stock[MOST];
	unsigned char *to = random_of(state) % 2 ? ours : ours + 1; /* aligned or not */
	bool in_place = random_of(state) % 2;
	int made = -1;

	random_bytes(state, from, size);
	assert_int_equal(EVP_Cipher(pair->stock, stock, from, (unsigned)size), size);
	if (in_place)
		memcpy(to, from, size);
	else
		memset(to, 0xee, size);
	to[size] = 0xa5;
	if (random_of(state) % 2)
		made = EVP_Cipher(pair->ours, to, in_place ? to : from, (unsigned)size);
	else
		assert_int_equal(EVP_CipherUpdate(pair->ours, to, &made, in_place ? to : from,
						  (int)size), 1);
	assert_int_equal(made, size);
	if (memcmp(to, stock, size) != 0)
		fail_msg("%zu bytes differ from the stock cipher's", size);
	assert_int_equal(to[size], 0xa5);
}

/* ---- same as stock ---- */

static void test_random_lengths(void **state)
{
	(void)state;
	for (int round = 0; round < 60; round++) {
		struct pair pair = pair_random(round % SIZES, round % 2, &seed);

		for (int i = 0; i < 200; i++) {
			pair_pass(&pair, random_size(&seed), &seed);
			assert_same_place(&pair);
		}
		pair_free(&pair);
	}
}

/* As libssh2 does it, through a local buffer; and its call after the last block. */
static void test_as_libssh2(void **state)
{
	struct pair pair = pair_random(0, 1, &seed);

	(void)state;
	for (int i = 0; i < 5 * READAHEAD_SIZE / BLOCK; i++) {
		unsigned char block[BLOCK], ours[EVP_MAX_BLOCK_LENGTH], stock[BLOCK];

		random_bytes(&seed, block, BLOCK);
		assert_int_equal(EVP_Cipher(pair.ours, ours, block, BLOCK), BLOCK);
		assert_int_equal(EVP_Cipher(pair.stock, stock, block, BLOCK), BLOCK);
		assert_memory_equal(ours, stock, BLOCK);
		assert_int_equal(EVP_Cipher(pair.ours, NULL, NULL, 0), 0);
		assert_int_equal(EVP_Cipher(pair.stock, NULL, NULL, 0), 0);
	}
	pair_free(&pair);
}

static void test_iv_and_key_anew(void **state)
{
	(void)state;
	for (int round = 0; round < 40; round++) {
		struct pair pair = pair_random(round % SIZES, round % 2, &seed);

		for (int i = 0; i < 40; i++) {
			unsigned char key[32], iv[BLOCK];
			unsigned what = (unsigned)(random_of(&seed) % 4);

			random_bytes(&seed, key, sizeof(key));
			random_bytes(&seed, iv, sizeof(iv));
			pair_init(&pair, what & 1 ? key : NULL, what & 2 ? iv : NULL);
			assert_same_place(&pair);
			for (size_t calls = random_of(&seed) % 30; calls; calls--)
				pair_pass(&pair, random_size(&seed), &seed);
			assert_same_place(&pair);
		}
		pair_free(&pair);
	}
}

/* First the cipher, then the key, then the IV, each by a call of its own. */
static void test_in_steps(void **state)
{
	unsigned char key[32], iv[BLOCK];
	struct pair pair = pair_new(2, NULL, NULL, 1);

	(void)state;
	random_bytes(&seed, key, sizeof(key));
	random_bytes(&seed, iv, sizeof(iv));
	pair_init(&pair, key, NULL);
	pair_pass(&pair, 100, &seed);
	pair_init(&pair, NULL, iv);
	pair_pass(&pair, 100, &seed);
	assert_same_place(&pair);
	assert_int_equal(EVP_CIPHER_CTX_reset(pair.ours), 1);
	assert_int_equal(EVP_CIPHER_CTX_reset(pair.stock), 1);
	assert_int_equal(EVP_CipherInit(pair.ours, EVP_aes_128_ctr(), key, iv, 0), 1);
	assert_int_equal(EVP_CipherInit(pair.stock, stock_of[0], key, iv, 0), 1);
	pair_pass(&pair, 100, &seed);
	pair_free(&pair);
}

/* The low 8, 16, 32, 64 and 128 bits run over, in small calls and in large ones,
 * and the counter is counted back over the edge when it is asked for. */
static void test_counter_wraps(void **state)
{
	static const int bytes[] = { 1, 2, 4, 8, 16 };

	(void)state;
	for (size_t i = 0; i < 5 * 2 * 4; i++) {
		unsigned char key[32], iv[BLOCK];
		struct pair pair;
		size_t wide = (size_t)bytes[i % 5];

		random_bytes(&seed, key, sizeof(key));
		random_bytes(&seed, iv, sizeof(iv));
		memset(iv + BLOCK - wide, 0xff, wide);
		iv[BLOCK - 1] = (unsigned char)(0xff - i);
		pair = pair_new((int)(i % SIZES), key, iv, 1);
		for (size_t done = 0; done < 2 * READAHEAD_SIZE;) {
			size_t size = i / 5 % 2 ? 3000 : BLOCK;

			pair_pass(&pair, size, &seed);
			assert_same_place(&pair);
			done += size;
		}
		pair_init(&pair, key, NULL);
		assert_same_place(&pair);
		pair_pass(&pair, 100, &seed);
		pair_free(&pair);
	}
}

static void test_copies(void **state)
{
	(void)state;
	for (int round = 0; round < 40; round++) {
		struct pair pair = pair_random(round % SIZES, 1, &seed), copy;

		pair_pass(&pair, random_size(&seed), &seed);
		pair_pass(&pair, random_of(&seed) % 40, &seed);
		copy = (struct pair){ EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_new(), 1 };
		assert_int_equal(EVP_CIPHER_CTX_copy(copy.ours, pair.ours), 1);
		assert_int_equal(EVP_CIPHER_CTX_copy(copy.stock, pair.stock), 1);
		for (int i = 0; i < 30; i++) {
			pair_pass(&pair, random_size(&seed), &seed);
			pair_pass(&copy, random_size(&seed), &seed);
		}
		assert_same_place(&pair);
		assert_same_place(&copy);
		pair_free(&pair);
		pair_pass(&copy, READAHEAD_SIZE, &seed); /* it shares nothing with the first */
		pair_free(&copy);
	}
}

/* The two directions of a link: own keys, turn by turn, one read by the other end. */
static void test_both_directions(void **state)
{
	unsigned char key[16], iv[BLOCK], from[300], wire[300], back[300];
	EVP_CIPHER_CTX *out = EVP_CIPHER_CTX_new(), *in = EVP_CIPHER_CTX_new();
	struct pair other = pair_random(0, 0, &seed);

	(void)state;
	random_bytes(&seed, key, sizeof(key));
	random_bytes(&seed, iv, sizeof(iv));
	assert_int_equal(EVP_CipherInit(out, EVP_aes_128_ctr(), key, iv, 1), 1);
	assert_int_equal(EVP_CipherInit(in, EVP_aes_128_ctr(), key, iv, 0), 1);
	for (int i = 0; i < 300; i++) {
		size_t size = random_of(&seed) % sizeof(from);

		random_bytes(&seed, from, sizeof(from));
		assert_int_equal(EVP_Cipher(out, wire, from, (unsigned)size), size);
		pair_pass(&other, random_size(&seed), &seed);
		assert_int_equal(EVP_Cipher(in, back, wire, (unsigned)size), size);
		assert_memory_equal(back, from, size);
	}
	EVP_CIPHER_CTX_free(out);
	EVP_CIPHER_CTX_free(in);
	pair_free(&other);
}

#define THREADS 8

/* Contexts made, used and freed in many threads at once; cmocka can't fail there. */
static void *use_in_thread(void *arg)
{
	uint64_t state = (uint64_t)(uintptr_t)arg * 0x9e3779b97f4a7c15;
	bool same = true;

	for (int round = 0; round < 30 && same; round++) {
		unsigned char key[32], iv[BLOCK], bytes[64];
		unsigned char ours[sizeof(bytes)], stock[sizeof(bytes)];
		EVP_CIPHER_CTX *mine = EVP_CIPHER_CTX_new(), *other = EVP_CIPHER_CTX_new();

		random_bytes(&state, key, sizeof(key));
		random_bytes(&state, iv, sizeof(iv));
		same = EVP_CipherInit(mine, EVP_aes_128_ctr(), key, iv, 1) &&
		       EVP_CipherInit(other, stock_of[0], key, iv, 1);
		for (int i = 0; i < 500 && same; i++) {
			unsigned size = (unsigned)(random_of(&state) % sizeof(bytes));

			random_bytes(&state, bytes, sizeof(bytes));
			same = EVP_Cipher(mine, ours, bytes, size) == (int)size &&
			       EVP_Cipher(other, stock, bytes, size) == (int)size &&
			       !memcmp(ours, stock, size);
		}
		EVP_CIPHER_CTX_free(mine);
		EVP_CIPHER_CTX_free(other);
	}
	return same ? arg : NULL;
}

static void test_threads(void **state)
{
	pthread_t threads[THREADS];
	void *result;

	(void)state;
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, use_in_thread, (void *)(i + 1)), 0);
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], &result), 0);
		assert_non_null(result);
	}
}

/* ---- what can be asked ---- */

static void test_asked(void **state)
{
	(void)state;
	for (int size = 0; size < SIZES; size++) {
		struct pair pair = pair_random(size, 1, &seed);
		const EVP_CIPHER *ours = EVP_CIPHER_CTX_get0_cipher(pair.ours);
		const EVP_CIPHER *stock = EVP_CIPHER_CTX_get0_cipher(pair.stock);

		assert_int_equal(EVP_CIPHER_get_mode(ours), EVP_CIPHER_get_mode(stock));
		assert_int_equal(EVP_CIPHER_get_flags(ours), EVP_CIPHER_get_flags(stock));
		assert_int_equal(EVP_CIPHER_get_nid(ours), EVP_CIPHER_get_nid(stock));
		assert_int_equal(EVP_CIPHER_get_block_size(ours), 1);
		assert_int_equal(EVP_CIPHER_get_key_length(ours), 16 + 8 * size);
		assert_int_equal(EVP_CIPHER_get_iv_length(ours), BLOCK);
		assert_int_equal(EVP_CIPHER_CTX_get_key_length(pair.ours), 16 + 8 * size);
		assert_int_equal(EVP_CIPHER_CTX_get_iv_length(pair.ours), BLOCK);
		assert_int_equal(EVP_CIPHER_CTX_set_padding(pair.ours, 0), 1);
		pair_free(&pair);
	}
}

/* Refused, and the stream goes on as if nothing had been asked. */
static void test_refused(void **state)
{
	struct pair pair = pair_random(0, 1, &seed);
	EVP_CIPHER_CTX *bare = EVP_CIPHER_CTX_new();
	unsigned char bytes[BLOCK] = { 0 };

	(void)state;
	pair_pass(&pair, 21, &seed);
	assert_int_equal(EVP_CIPHER_CTX_set_num(pair.ours, 5), 1); /* where it is */
	assert_true(EVP_CIPHER_CTX_set_num(pair.ours, 6) <= 0);
	assert_true(EVP_CIPHER_CTX_set_key_length(pair.ours, 32) <= 0);
	assert_int_equal(EVP_CIPHER_CTX_set_key_length(pair.ours, 16), 1);
	pair_pass(&pair, 21, &seed);
	assert_same_place(&pair);
	pair_free(&pair);

	assert_int_equal(EVP_CipherInit(bare, EVP_aes_128_ctr(), NULL, NULL, 1), 1);
	assert_int_equal(EVP_Cipher(bare, bytes, bytes, BLOCK), -1);
	EVP_CIPHER_CTX_free(bare);
}

/* ---- start and stop ---- */

static void test_stop_and_start_again(void **state)
{
	struct pair pair = pair_random(0, 1, &seed);

	(void)state;
	for (int i = 0; i < 3; i++) {
		readahead_stop();
		readahead_stop();
		assert_stock(EVP_aes_128_ctr());
		pair_pass(&pair, random_size(&seed), &seed);
		assert_true(readahead_start(true));
		pair_pass(&pair, random_size(&seed), &seed);
		pair_free(&pair);
		pair = pair_random(0, 1, &seed);
	}
	pair_free(&pair);
}

/* ---- */

static int setup_stock(void **state)
{
	static const char *const names[SIZES] = { "AES-128-CTR", "AES-192-CTR", "AES-256-CTR" };

	if (setup(state) < 0)
		return -1;
	for (int i = 0; i < SIZES; i++)
		if (!(stock_of[i] = EVP_CIPHER_fetch(NULL, names[i], "provider=default")))
			return -1;
	return 0;
}

static int teardown_stock(void **state)
{
	for (int i = 0; i < SIZES; i++)
		EVP_CIPHER_free(stock_of[i]);
	return teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_lengths),
		cmocka_unit_test(test_as_libssh2),
		cmocka_unit_test(test_iv_and_key_anew),
		cmocka_unit_test(test_in_steps),
		cmocka_unit_test(test_counter_wraps),
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_both_directions),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_asked),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_stop_and_start_again),
	};

	return cmocka_run_group_tests(tests, setup_stock, teardown_stock);
}
