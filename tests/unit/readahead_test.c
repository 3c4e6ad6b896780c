/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keystream made ahead: whatever is asked of a context, it answers as the stock one
 * does; nothing else of libcrypto changes; used keystream is gone; and where the
 * start finds something odd, all stays stock.
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
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "carry/readahead.h"
#include "carry/readahead_provider.h"
#include "log.h"

#define BLOCK 16
#define MOST 20000 /* several buffers */

static uint64_t seed = 0x9e3779b97f4a7c15;

static uint64_t random_of(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state >> 8;
}

static void random_bytes(uint64_t *state, unsigned char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] = (unsigned char)random_of(state);
}

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

/* ---- pairs of contexts: ours as libssh2 gets it, and stock ---- */

struct pair {
	EVP_CIPHER_CTX *ours, *stock;
	int encrypt;
};

static const EVP_CIPHER *(*const asked[])(void) = { EVP_aes_128_ctr, EVP_aes_192_ctr,
						    EVP_aes_256_ctr };
#define SIZES 3
static EVP_CIPHER *stock_of[SIZES];

static const char *provider_of(const EVP_CIPHER_CTX *context)
{
	const EVP_CIPHER *cipher = EVP_CIPHER_CTX_get0_cipher(context);

	return OSSL_PROVIDER_get0_name(EVP_CIPHER_get0_provider(cipher));
}

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

/* ---- nothing else changes ---- */

static void assert_stock(const EVP_CIPHER *cipher)
{
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	unsigned char key[64] = { 1 }, iv[BLOCK] = { 2 };

	assert_int_equal(EVP_CipherInit(context, cipher, key, iv, 1), 1);
	assert_string_equal(provider_of(context), "default");
	EVP_CIPHER_CTX_free(context);
}

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

/* ---- what is left in memory ---- */

static void test_keystream_is_wiped(void **state)
{
	unsigned char key[16], iv[BLOCK], stream[READAHEAD_SIZE], zeros[READAHEAD_SIZE] = { 0 };
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new(), *stock = EVP_CIPHER_CTX_new();
	unsigned char out[BLOCK];
	const size_t used = 40 * BLOCK + 5;

	(void)state;
	random_bytes(&seed, key, sizeof(key));
	random_bytes(&seed, iv, sizeof(iv));
	assert_int_equal(EVP_CipherInit(stock, stock_of[0], key, iv, 1), 1);
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

static int setup(void **state)
{
	static const char *const names[SIZES] = { "AES-128-CTR", "AES-192-CTR", "AES-256-CTR" };

	(void)state;
	/* The machine's own openssl.cnf is not under test. */
	setenv("OPENSSL_CONF", "/nonexistent", 1);
	if (!readahead_start(true))
		return -1;
	for (int i = 0; i < SIZES; i++)
		if (!(stock_of[i] = EVP_CIPHER_fetch(NULL, names[i], "provider=default")))
			return -1;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (int i = 0; i < SIZES; i++)
		EVP_CIPHER_free(stock_of[i]);
	readahead_stop();
	return 0;
}

int main(int argc, char **argv)
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
		cmocka_unit_test(test_others_untouched),
		cmocka_unit_test(test_random_is_stock),
		cmocka_unit_test(test_keystream_is_wiped),
		cmocka_unit_test(test_out_of_memory),
		cmocka_unit_test(test_stop_and_start_again),
		cmocka_unit_test(test_not_wanted),
		cmocka_unit_test(test_refusals),
	};

	if (!CRYPTO_set_mem_functions(watched_malloc, watched_realloc, watched_free))
		return 2;
	if (argc > 1)
		return run_case(argv[1]);
	return cmocka_run_group_tests(tests, setup, teardown);
}
