/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The provider: AES-CTR out of keystream that the stock AES-CTR has made ahead.
 *
 * - All cryptography is libcrypto's, fetched in a library context of our own: the
 *   default one would hand us back to ourselves.  Key and counter are nowhere but in
 *   that stock context.  What is added here is an XOR.
 * - `ahead` is zero but for its unused keystream: bytes are zeroed as they are used,
 *   so a refill only has to encrypt the buffer in place.  A counter block is thus
 *   used once, and what was used can't be found again.
 * - Unused keystream is always that just before the stock context's counter, and the
 *   stock context is always at the start of a block.
 * - CTR mode deciphers as it enciphers, so there is one way only.
 */
#include "carry/readahead_provider.h"

#if OPENSSL_VERSION_NUMBER >= 0x30000000L
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/proverr.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define BLOCK 16

/* From so many bytes on, a call of its own to the stock cipher is cheaper than a
 * detour through the buffer. */
#define STRAIGHT_MIN 512
/* The stock interface counts in int. */
#define STRAIGHT_MAX ((size_t)1 << 30)

_Static_assert(READAHEAD_SIZE % BLOCK == 0 && READAHEAD_SIZE >= BLOCK, "whole blocks");

enum { AES_128, AES_192, AES_256, SIZES };

static const char *const names[SIZES] = { "AES-128-CTR", "AES-192-CTR", "AES-256-CTR" };
static const size_t key_sizes[SIZES] = { 16, 24, 32 };

struct provider {
	OSSL_LIB_CTX *library;
	OSSL_PROVIDER *stock;
	EVP_CIPHER *ciphers[SIZES];
};

struct cipher {
	EVP_CIPHER_CTX *stock;
	size_t key_size;
	bool key_set;
	unsigned char first_iv[BLOCK]; /* as last given, for who asks */
	size_t used;		       /* of ahead; READAHEAD_SIZE: there is none */
	unsigned char ahead[READAHEAD_SIZE];
};

/* A block of bytes at any address, of any type. */
typedef uint64_t block __attribute__((vector_size(BLOCK), aligned(1), may_alias));

static atomic_ulong contexts;

unsigned long readahead_contexts(void)
{
	return atomic_load(&contexts);
}

/* ---- bytes ---- */

static void forget_ahead(struct cipher *cipher)
{
	OPENSSL_cleanse(cipher->ahead, sizeof(cipher->ahead));
	cipher->used = READAHEAD_SIZE;
}

/* XORs with keystream that is there; `out` may be `in`. */
static inline void take(struct cipher *cipher, unsigned char *out, const unsigned char *in,
			size_t size)
{
	unsigned char *ahead = cipher->ahead + cipher->used;

	cipher->used += size;
	for (; size >= BLOCK; size -= BLOCK, in += BLOCK, out += BLOCK, ahead += BLOCK) {
		*(block *)out = *(const block *)in ^ *(block *)ahead;
		*(block *)ahead = (block){ 0 };
	}
	for (; size; size--) {
		*out++ = *in++ ^ *ahead;
		*ahead++ = 0;
	}
}

static bool refill(struct cipher *cipher)
{
	int made = 0;

	if (!EVP_EncryptUpdate(cipher->stock, cipher->ahead, &made, cipher->ahead,
			       READAHEAD_SIZE) ||
	    made != READAHEAD_SIZE) {
		forget_ahead(cipher);
		return false;
	}
	cipher->used = 0;
	return true;
}

static bool straight(struct cipher *cipher, unsigned char *out, const unsigned char *in,
		     size_t size)
{
	while (size) {
		size_t part = size < STRAIGHT_MAX ? size : STRAIGHT_MAX;
		int made = 0;

		if (!EVP_EncryptUpdate(cipher->stock, out, &made, in, (int)part) ||
		    (size_t)made != part)
			return false;
		in += part;
		out += part;
		size -= part;
	}
	return true;
}

/* More than is there: the rest of it, whole blocks without a detour, a new buffer. */
static bool take_more(struct cipher *cipher, unsigned char *out, const unsigned char *in,
		      size_t size)
{
	while (size) {
		size_t part = READAHEAD_SIZE - cipher->used;

		if (part) {
			part = size < part ? size : part;
			take(cipher, out, in, part);
		} else if (size >= STRAIGHT_MIN) {
			part = size - size % BLOCK;
			if (!straight(cipher, out, in, part))
				return false;
		} else if (!refill(cipher)) {
			return false;
		}
		in += part;
		out += part;
		size -= part;
	}
	return true;
}

__attribute__((noinline)) static int update_more(struct cipher *cipher, unsigned char *out,
						 size_t *made, size_t room,
						 const unsigned char *in, size_t size)
{
	if (!cipher->key_set) {
		ERR_raise(ERR_LIB_PROV, PROV_R_NO_KEY_SET);
		return 0;
	}
	if (size > room) {
		ERR_raise(ERR_LIB_PROV, PROV_R_OUTPUT_BUFFER_TOO_SMALL);
		return 0;
	}
	if (!take_more(cipher, out, in, size))
		return 0;
	*made = size;
	return 1;
}

/* Serves both forms that there are, update and one-shot.  Of libssh2's calls 255 in
 * 256 end here at once: so this has no frame and no local of its own. */
static int cipher_update(void *context, unsigned char *out, size_t *made, size_t room,
			 const unsigned char *in, size_t size)
{
	struct cipher *cipher = context;

	if (size > READAHEAD_SIZE - cipher->used || size > room)
		return update_more(cipher, out, made, room, in, size);
	take(cipher, out, in, size);
	*made = size;
	return 1;
}

/* A stream has no last block. */
static int cipher_final(void *context, unsigned char *out, size_t *made, size_t room)
{
	(void)context;
	(void)out;
	(void)room;
	*made = 0;
	return 1;
}

/* ---- where the counter is ---- */

/* The counter of the block that the next byte belongs to or, as the stock cipher
 * counts it, of the one behind where that has been begun. */
static bool counter_now(const struct cipher *cipher, unsigned char counter[BLOCK])
{
	size_t back = (READAHEAD_SIZE - cipher->used) / BLOCK;

	if (!EVP_CIPHER_CTX_get_updated_iv(cipher->stock, counter, BLOCK))
		return false;
	for (int i = BLOCK - 1; i >= 0 && back; i--) {
		size_t digit = back & 0xff;

		back = (back >> 8) + (counter[i] < digit);
		counter[i] = (unsigned char)(counter[i] - digit);
	}
	return true;
}

/* ---- keys ---- */

/* Padding means nothing to a stream.  A place within a block can't be set: refused,
 * since a stream that is quietly at another place is a broken one. */
static int set_context_params(void *context, const OSSL_PARAM params[])
{
	const struct cipher *cipher = context;
	const OSSL_PARAM *number = params ? OSSL_PARAM_locate_const(params, OSSL_CIPHER_PARAM_NUM) :
					    NULL;
	const OSSL_PARAM *size = params ? OSSL_PARAM_locate_const(params, OSSL_CIPHER_PARAM_KEYLEN) :
					  NULL;
	unsigned place;
	size_t key_size;

	if (number && (!OSSL_PARAM_get_uint(number, &place) || place != cipher->used % BLOCK)) {
		ERR_raise(ERR_LIB_PROV, PROV_R_FAILED_TO_SET_PARAMETER);
		return 0;
	}
	if (size && (!OSSL_PARAM_get_size_t(size, &key_size) || key_size != cipher->key_size)) {
		ERR_raise(ERR_LIB_PROV, PROV_R_INVALID_KEY_LENGTH);
		return 0;
	}
	return 1;
}

/* As with the stock cipher, without an IV the counter goes on at the next block. */
static int cipher_init(void *context, const unsigned char *key, size_t key_size,
		       const unsigned char *iv, size_t iv_size, const OSSL_PARAM params[])
{
	struct cipher *cipher = context;
	unsigned char counter[BLOCK];
	int done;

	if (key && key_size != cipher->key_size) {
		ERR_raise(ERR_LIB_PROV, PROV_R_INVALID_KEY_LENGTH);
		return 0;
	}
	if (iv && iv_size != BLOCK) {
		ERR_raise(ERR_LIB_PROV, PROV_R_INVALID_IV_LENGTH);
		return 0;
	}
	if (iv)
		memcpy(counter, iv, BLOCK);
	else if (!counter_now(cipher, counter))
		return 0;
	forget_ahead(cipher);
	done = EVP_EncryptInit_ex2(cipher->stock, NULL, key, counter, NULL);
	OPENSSL_cleanse(counter, sizeof(counter));
	if (!done) {
		cipher->key_set = false;
		return 0;
	}
	if (key)
		cipher->key_set = true;
	if (iv)
		memcpy(cipher->first_iv, iv, BLOCK);
	return set_context_params(cipher, params);
}

/* ---- contexts ---- */

static void cipher_free(void *context)
{
	struct cipher *cipher = context;

	if (!cipher)
		return;
	EVP_CIPHER_CTX_free(cipher->stock);
	OPENSSL_clear_free(cipher, sizeof(*cipher));
}

static struct cipher *cipher_new(void)
{
	struct cipher *cipher = OPENSSL_zalloc(sizeof(*cipher));

	if (!cipher)
		return NULL;
	cipher->used = READAHEAD_SIZE;
	cipher->stock = EVP_CIPHER_CTX_new();
	if (!cipher->stock) {
		cipher_free(cipher);
		return NULL;
	}
	atomic_fetch_add(&contexts, 1);
	return cipher;
}

static void *cipher_new_of(const struct provider *provider, int size)
{
	struct cipher *cipher = cipher_new();

	if (!cipher)
		return NULL;
	cipher->key_size = key_sizes[size];
	if (!EVP_EncryptInit_ex2(cipher->stock, provider->ciphers[size], NULL, NULL, NULL)) {
		cipher_free(cipher);
		return NULL;
	}
	return cipher;
}

static void *cipher_duplicate(void *context)
{
	const struct cipher *from = context;
	struct cipher *to = cipher_new();
	EVP_CIPHER_CTX *stock;

	if (!to)
		return NULL;
	stock = to->stock;
	if (!EVP_CIPHER_CTX_copy(stock, from->stock)) {
		cipher_free(to);
		return NULL;
	}
	*to = *from;
	to->stock = stock;
	return to;
}

/* ---- what may be asked ---- */

static int set_size(OSSL_PARAM params[], const char *name, size_t value)
{
	OSSL_PARAM *param = OSSL_PARAM_locate(params, name);

	return !param || OSSL_PARAM_set_size_t(param, value);
}

static int get_params(OSSL_PARAM params[], int size)
{
	OSSL_PARAM *mode = OSSL_PARAM_locate(params, OSSL_CIPHER_PARAM_MODE);
	static const char *const never[] = {
		OSSL_CIPHER_PARAM_AEAD, OSSL_CIPHER_PARAM_CUSTOM_IV, OSSL_CIPHER_PARAM_CTS,
		OSSL_CIPHER_PARAM_TLS1_MULTIBLOCK, OSSL_CIPHER_PARAM_HAS_RAND_KEY,
	};

	for (size_t i = 0; i < sizeof(never) / sizeof(*never); i++) {
		OSSL_PARAM *param = OSSL_PARAM_locate(params, never[i]);

		if (param && !OSSL_PARAM_set_int(param, 0))
			return 0;
	}
	return (!mode || OSSL_PARAM_set_uint(mode, EVP_CIPH_CTR_MODE)) &&
	       set_size(params, OSSL_CIPHER_PARAM_KEYLEN, key_sizes[size]) &&
	       set_size(params, OSSL_CIPHER_PARAM_IVLEN, BLOCK) &&
	       set_size(params, OSSL_CIPHER_PARAM_BLOCK_SIZE, 1);
}

static const OSSL_PARAM *gettable_params(void *context)
{
	static const OSSL_PARAM known[] = {
		OSSL_PARAM_uint(OSSL_CIPHER_PARAM_MODE, NULL),
		OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_KEYLEN, NULL),
		OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_IVLEN, NULL),
		OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_BLOCK_SIZE, NULL),
		OSSL_PARAM_int(OSSL_CIPHER_PARAM_AEAD, NULL),
		OSSL_PARAM_int(OSSL_CIPHER_PARAM_CUSTOM_IV, NULL),
		OSSL_PARAM_int(OSSL_CIPHER_PARAM_CTS, NULL),
		OSSL_PARAM_int(OSSL_CIPHER_PARAM_TLS1_MULTIBLOCK, NULL),
		OSSL_PARAM_int(OSSL_CIPHER_PARAM_HAS_RAND_KEY, NULL),
		OSSL_PARAM_END
	};

	(void)context;
	return known;
}

static int set_iv(OSSL_PARAM *param, const unsigned char iv[BLOCK])
{
	if (!param)
		return 1;
	return param->data_type == OSSL_PARAM_OCTET_PTR ?
		       OSSL_PARAM_set_octet_ptr(param, iv, BLOCK) :
		       OSSL_PARAM_set_octet_string(param, iv, BLOCK);
}

static int get_context_params(void *context, OSSL_PARAM params[])
{
	struct cipher *cipher = context;
	OSSL_PARAM *number = OSSL_PARAM_locate(params, OSSL_CIPHER_PARAM_NUM);
	OSSL_PARAM *padding = OSSL_PARAM_locate(params, OSSL_CIPHER_PARAM_PADDING);
	OSSL_PARAM *updated = OSSL_PARAM_locate(params, OSSL_CIPHER_PARAM_UPDATED_IV);
	unsigned char counter[BLOCK];

	if (updated && (!counter_now(cipher, counter) ||
			!OSSL_PARAM_set_octet_string(updated, counter, BLOCK)))
		return 0;
	return set_size(params, OSSL_CIPHER_PARAM_KEYLEN, cipher->key_size) &&
	       set_size(params, OSSL_CIPHER_PARAM_IVLEN, BLOCK) &&
	       set_iv(OSSL_PARAM_locate(params, OSSL_CIPHER_PARAM_IV), cipher->first_iv) &&
	       (!number || OSSL_PARAM_set_uint(number, cipher->used % BLOCK)) &&
	       (!padding || OSSL_PARAM_set_uint(padding, 1));
}

static const OSSL_PARAM *gettable_context_params(void *context, void *provider)
{
	static const OSSL_PARAM known[] = {
		OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_KEYLEN, NULL),
		OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_IVLEN, NULL),
		OSSL_PARAM_uint(OSSL_CIPHER_PARAM_PADDING, NULL),
		OSSL_PARAM_uint(OSSL_CIPHER_PARAM_NUM, NULL),
		OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_IV, NULL, 0),
		OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_UPDATED_IV, NULL, 0),
		OSSL_PARAM_END
	};

	(void)context;
	(void)provider;
	return known;
}

static const OSSL_PARAM *settable_context_params(void *context, void *provider)
{
	static const OSSL_PARAM known[] = {
		OSSL_PARAM_uint(OSSL_CIPHER_PARAM_PADDING, NULL),
		OSSL_PARAM_uint(OSSL_CIPHER_PARAM_NUM, NULL),
		OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_KEYLEN, NULL),
		OSSL_PARAM_END
	};

	(void)context;
	(void)provider;
	return known;
}

/* ---- the tables ---- */

#define ENTRY(number, function) { number, (void (*)(void))(function) }

#define CIPHER(bits)                                                                       \
	static void *new_##bits(void *provider)                                            \
	{                                                                                  \
		return cipher_new_of(provider, AES_##bits);                                \
	}                                                                                  \
	static int get_params_##bits(OSSL_PARAM params[])                                  \
	{                                                                                  \
		return get_params(params, AES_##bits);                                     \
	}                                                                                  \
	static const OSSL_DISPATCH functions_##bits[] = {                                  \
		ENTRY(OSSL_FUNC_CIPHER_NEWCTX, new_##bits),                                \
		ENTRY(OSSL_FUNC_CIPHER_FREECTX, cipher_free),                              \
		ENTRY(OSSL_FUNC_CIPHER_DUPCTX, cipher_duplicate),                          \
		ENTRY(OSSL_FUNC_CIPHER_ENCRYPT_INIT, cipher_init),                         \
		ENTRY(OSSL_FUNC_CIPHER_DECRYPT_INIT, cipher_init),                         \
		ENTRY(OSSL_FUNC_CIPHER_UPDATE, cipher_update),                             \
		ENTRY(OSSL_FUNC_CIPHER_FINAL, cipher_final),                               \
		ENTRY(OSSL_FUNC_CIPHER_CIPHER, cipher_update),                             \
		ENTRY(OSSL_FUNC_CIPHER_GET_PARAMS, get_params_##bits),                     \
		ENTRY(OSSL_FUNC_CIPHER_GETTABLE_PARAMS, gettable_params),                  \
		ENTRY(OSSL_FUNC_CIPHER_GET_CTX_PARAMS, get_context_params),                \
		ENTRY(OSSL_FUNC_CIPHER_GETTABLE_CTX_PARAMS, gettable_context_params),      \
		ENTRY(OSSL_FUNC_CIPHER_SET_CTX_PARAMS, set_context_params),                \
		ENTRY(OSSL_FUNC_CIPHER_SETTABLE_CTX_PARAMS, settable_context_params),      \
		{ 0, NULL }                                                                \
	};

CIPHER(128)
CIPHER(192)
CIPHER(256)

static const OSSL_ALGORITHM *query(void *context, int operation, int *no_cache)
{
	static const char property[] = "provider=" READAHEAD_PROVIDER;
	static const OSSL_ALGORITHM ciphers[] = {
		{ "AES-128-CTR", property, functions_128, NULL },
		{ "AES-192-CTR", property, functions_192, NULL },
		{ "AES-256-CTR", property, functions_256, NULL },
		{ NULL, NULL, NULL, NULL }
	};

	(void)context;
	*no_cache = 0;
	return operation == OSSL_OP_CIPHER ? ciphers : NULL;
}

static void teardown(void *context)
{
	struct provider *provider = context;

	if (!provider)
		return;
	for (int i = 0; i < SIZES; i++)
		EVP_CIPHER_free(provider->ciphers[i]);
	if (provider->stock)
		OSSL_PROVIDER_unload(provider->stock);
	OSSL_LIB_CTX_free(provider->library);
	OPENSSL_free(provider);
}

static bool fetch_stock(struct provider *provider)
{
	provider->library = OSSL_LIB_CTX_new();
	if (!provider->library)
		return false;
	provider->stock = OSSL_PROVIDER_load(provider->library, "default");
	if (!provider->stock)
		return false;
	for (int i = 0; i < SIZES; i++) {
		provider->ciphers[i] = EVP_CIPHER_fetch(provider->library, names[i],
							"provider=default");
		if (!provider->ciphers[i])
			return false;
	}
	return true;
}

int readahead_provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *core,
			    const OSSL_DISPATCH **functions, void **context)
{
	static const OSSL_DISPATCH table[] = {
		ENTRY(OSSL_FUNC_PROVIDER_QUERY_OPERATION, query),
		ENTRY(OSSL_FUNC_PROVIDER_TEARDOWN, teardown),
		{ 0, NULL }
	};
	struct provider *provider = OPENSSL_zalloc(sizeof(*provider));

	(void)handle;
	(void)core;
	if (!provider)
		return 0;
	if (!fetch_stock(provider)) {
		teardown(provider);
		return 0;
	}
	*functions = table;
	*context = provider;
	return 1;
}
#else
/* An older libcrypto has no providers: readahead.c leaves it as it is. */
typedef int readahead_provider_unused;
#endif
