/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The cipher by itself: AES-CTR in calls of one size, stock beside keystream made
 * ahead, turn by turn in one run.  Calls of 16 bytes are what libssh2 does, through a
 * local buffer and back, as it does.  MB/s, medians; a MB is a million bytes.
 *
 *   readahead_bench [STREAMS]   contexts used in turns (1): more fill the caches
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "carry/readahead.h"
#include "carry/readahead_provider.h"
#include "log.h"

#define ROUNDS 9	     /* the median counts */
#define BYTES (32 * 1000000) /* of one measurement */
#define CALL_MAX 32768
#define TURN 32768 /* bytes of one stream before the next has its turn: an SSH packet */
#define STREAMS_MAX 4096

static unsigned char packet[CALL_MAX], local[CALL_MAX];

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values)
{
	qsort(values, ROUNDS, sizeof(*values), compare_doubles);
	return values[ROUNDS / 2];
}

static EVP_CIPHER_CTX **make_streams(const EVP_CIPHER *cipher, unsigned count)
{
	EVP_CIPHER_CTX **streams = calloc(count, sizeof(*streams));
	unsigned char key[32] = { 1 }, iv[16] = { 2 };

	for (unsigned i = 0; streams && i < count; i++) {
		streams[i] = EVP_CIPHER_CTX_new();
		if (!streams[i] || !EVP_CipherInit(streams[i], cipher, key, iv, 1))
			exit(1);
	}
	return streams ? streams : (exit(1), NULL);
}

static void free_streams(EVP_CIPHER_CTX **streams, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		EVP_CIPHER_CTX_free(streams[i]);
	free(streams);
}

static double measure(EVP_CIPHER_CTX **streams, unsigned count, unsigned size)
{
	double begin = now();

	for (size_t done = 0, turn = 0; done < BYTES; done += TURN, turn++) {
		for (unsigned at = 0; at < TURN; at += size) {
			if (EVP_Cipher(streams[turn % count], local, packet, size) < 0)
				exit(1);
			memcpy(packet, local, size);
		}
	}
	return BYTES / (now() - begin) / 1e6;
}

static void compare(EVP_CIPHER_CTX **stock, EVP_CIPHER_CTX **ours, unsigned count, unsigned size)
{
	double stock_rates[ROUNDS], our_rates[ROUNDS], a, b;

	for (int i = 0; i < ROUNDS; i++) {
		stock_rates[i] = measure(stock, count, size);
		our_rates[i] = measure(ours, count, size);
	}
	a = median(stock_rates);
	b = median(our_rates);
	printf("%5u  %8.0f  %9.0f  %5.2f\n", size, a, b, b / a);
}

int main(int argc, char **argv)
{
	static const unsigned sizes[] = { 16, 32, 64, 256, 1024, 4096, 32768 };
	unsigned count = argc > 1 ? (unsigned)atoi(argv[1]) : 1;
	EVP_CIPHER_CTX **stock, **ours;
	EVP_CIPHER *stock_cipher;

	if (count < 1 || count > STREAMS_MAX) {
		fprintf(stderr, "usage: readahead_bench [STREAMS], 1 to %d\n", STREAMS_MAX);
		return 2;
	}
	log_init(LOG_TO_STDERR, LOG_LEVEL_INFO);
	if (!readahead_start(true))
		return 1;
	stock_cipher = EVP_CIPHER_fetch(NULL, "AES-128-CTR", "provider=default");
	stock = make_streams(stock_cipher, count);
	ours = make_streams(EVP_aes_128_ctr(), count);
	printf("aes-128-ctr, %u bytes ahead, %u streams, CPU time of one thread\n", READAHEAD_SIZE,
	       count);
	printf(" call     stock  readahead  ratio\n");
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		compare(stock, ours, count, sizes[i]);
	free_streams(stock, count);
	free_streams(ours, count);
	EVP_CIPHER_free(stock_cipher);
	readahead_stop();
	return 0;
}
