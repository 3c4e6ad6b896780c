/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host keys around known_hosts: reading the file and adding to it, fingerprints,
 * and the order in which keys are asked for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <libssh2.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hostkeys_helpers.h"

static bool supported(const char *name, size_t size, const char *const *list, int count)
{
	for (int i = 0; i < count; i++)
		if (strlen(list[i]) == size && !memcmp(list[i], name, size))
			return true;
	return false;
}

/* The bit of a name of the list; RSA has several names for one type. */
static unsigned type_of(const char *name, size_t size)
{
	for (int i = 0; i < KEYS; i++)
		if (strlen(keys[i].type_name) == size && !memcmp(keys[i].type_name, name, size))
			return keys[i].type;
	assert_true(size == 12 && !memcmp(name, "rsa-sha2-", 9));
	return HOSTKEYS_RSA;
}

/* Known types first, strongest first among equals, none left out or named twice. */
static void expect_order(const char *list, unsigned known)
{
	unsigned seen = 0, last = 0;
	bool were_known = true;

	for (const char *name = list, *end; *name; name = end + (*end == ',')) {
		unsigned type;

		end = name + strcspn(name, ",");
		type = type_of(name, (size_t)(end - name));
		if (type == last) {
			assert_int_equal(type, HOSTKEYS_RSA);
			continue;
		}
		assert_false(seen & type);
		if (were_known && !(known & type))
			were_known = false, last = 0;
		assert_true(!(known & type) == !were_known);
		assert_true(type > last);
		seen |= type;
		last = type;
	}
	assert_int_equal(seen, 31);
}

/*
 * The library takes every list, and all that it is asked for it knows: 1.10
 * moves the list over itself with memcpy() to strike out a name that it doesn't.
 */
static void test_preference(void **state)
{
	LIBSSH2_SESSION *session = libssh2_session_init_ex(NULL, NULL, NULL, NULL);
	const char **list;
	int count;

	(void)state;
	assert_non_null(session);
	count = libssh2_session_supported_algs(session, LIBSSH2_METHOD_HOSTKEY, &list);
	assert_true(count > 0);
	for (unsigned known = 0; known < 32; known++) {
		char text[256];
		const char *sha1, *sha2;

		hostkeys_preference(known, text, sizeof(text));
		expect_order(text, known);
		for (const char *name = text; *name; name += strspn(name, ",")) {
			size_t size = strcspn(name, ",");

			if (!supported(name, size, list, count))
				fail_msg("the library does not know %s", name);
			name += size;
		}
		/* the same key, by the better signature first where there is one */
		sha1 = strstr(text, "ssh-rsa");
		sha2 = strstr(text, "rsa-sha2-512,rsa-sha2-256,");
		assert_int_equal(!!sha2, supported("rsa-sha2-512", 12, list, count));
		assert_true(!sha2 || sha2 < sha1);
		assert_int_equal(libssh2_session_method_pref(session, LIBSSH2_METHOD_HOSTKEY, text),
				 0);
	}
	libssh2_free(session, list);
	libssh2_session_free(session);
}

static void test_preference_is_cut(void **state)
{
	char text[256];

	(void)state;
	for (size_t size = 1; size < sizeof(text); size++) {
		memset(text, 'x', sizeof(text));
		hostkeys_preference(HOSTKEYS_RSA, text, size);
		assert_true(strlen(text) < size);
		for (size_t i = size; i < sizeof(text); i++)
			assert_int_equal(text[i], 'x');
	}
}

static void test_fingerprint(void **state)
{
	char said[512], text[HOSTKEYS_FINGERPRINT_SIZE], *word;

	(void)state;
	for (int i = 0; i < KEYS; i++) {
		assert_int_equal(run(said, sizeof(said), "ssh-keygen -lf k%d.pub", i), 0);
		word = strstr(said, "SHA256:");
		assert_non_null(word);
		word[strcspn(word, " ")] = '\0';
		hostkeys_fingerprint(keys[i].blob, keys[i].size, text);
		assert_string_equal(text, word);
	}
}

static int add(const char *path, const char *host, uint16_t port, int key)
{
	const struct hostkeys_host who = { host, port, "site" };

	return hostkeys_add(path, &who, keys[key].blob, keys[key].size);
}

static void test_add(void **state)
{
	static const struct {
		const char *host;
		uint16_t port;
	} hosts[] = {
		{ "friday", 22 },	   { "friday", 2222 },	 { "friday.example.net", 443 },
		{ "203.0.113.7", 22 },	   { "203.0.113.7", 1 }, { "2001:db8::7", 22 },
		{ "2001:db8::7", 65535 }, { "MiXed.Case", 22 }, { "a-b_c", 22 },
	};
	char said[8192], wanted[HOSTKEYS_FINGERPRINT_SIZE], *text;
	size_t size;

	(void)state;
	unlink(known_hosts); /* the first makes it */
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		int key = (int)(i % KEYS);

		assert_int_equal(add(known_hosts, hosts[i].host, hosts[i].port, key), 0);
		text = read_text(&size);
		assert_int_equal(text[size - 1], '\n');
		expect(text, hosts[i].host, hosts[i].port, key, HOSTKEYS_MATCH, (unsigned)i + 1);
		expect(text, hosts[0].host, hosts[0].port, 0, HOSTKEYS_MATCH, 1);
		free(text);
		assert_true(ssh_finds(hosts[i].host, hosts[i].port, said, sizeof(said)));
		hostkeys_fingerprint(keys[key].blob, keys[key].size, wanted);
		assert_non_null(strstr(said, wanted));
	}
	text = read_text(&size);
	expect(text, "site", 22, A, HOSTKEYS_UNKNOWN, 0);
	free(text);
}

/* An editor may have left the last line open: both lines must stay whole. */
static void test_add_behind_an_open_line(void **state)
{
	char *text = expand("thursday $B");
	size_t size;

	(void)state;
	write_text(text);
	free(text);
	assert_int_equal(add(known_hosts, "friday", 22, A), 0);
	assert_int_equal(add(known_hosts, "saturday", 22, C), 0);
	text = read_text(&size);
	expect(text, "thursday", 22, B, HOSTKEYS_MATCH, 1);
	expect(text, "friday", 22, A, HOSTKEYS_MATCH, 2);
	expect(text, "saturday", 22, C, HOSTKEYS_MATCH, 3);
	free(text);
}

#define ADDERS 4
#define HOSTS_EACH 50

/* NULL, or the argument where something failed: cmocka is for the main thread. */
static void *add_many(void *number)
{
	char host[32];

	for (int i = 0; i < HOSTS_EACH; i++) {
		snprintf(host, sizeof(host), "host%d.%d", *(int *)number, i);
		if (add(known_hosts, host, 22, i % KEYS) < 0)
			return number;
	}
	return NULL;
}

static void test_add_from_many_threads(void **state)
{
	pthread_t threads[ADDERS];
	int numbers[ADDERS];
	char host[32], *text;
	unsigned line, lines = 0;
	void *failed;
	size_t size;

	(void)state;
	write_text("# no end");
	for (int i = 0; i < ADDERS; i++) {
		numbers[i] = i;
		assert_int_equal(pthread_create(&threads[i], NULL, add_many, &numbers[i]), 0);
	}
	for (int i = 0; i < ADDERS; i++) {
		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
	text = read_text(&size);
	for (int i = 0; i < ADDERS * HOSTS_EACH; i++) {
		struct hostkeys_host who = { host, 22, NULL };

		snprintf(host, sizeof(host), "host%d.%d", i / HOSTS_EACH, i % HOSTS_EACH);
		assert_int_equal(check(text, &who, i % HOSTS_EACH % KEYS, &line), HOSTKEYS_MATCH);
	}
	for (const char *c = text; *c; c++)
		lines += *c == '\n';
	assert_int_equal(lines, ADDERS * HOSTS_EACH + 1);
	free(text);
}

static void test_add_fails(void **state)
{
	char path[160];

	(void)state;
	assert_int_equal(add(directory, "friday", 22, A), -1);
	assert_int_equal(errno, EISDIR);
	snprintf(path, sizeof(path), "%s/missing/known_hosts", directory);
	assert_int_equal(add(path, "friday", 22, A), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(add("/dev/full", "friday", 22, A), -1);
	assert_int_equal(errno, ENOSPC);
}

/* On a disk that fills up in the middle of a line nothing of it may stay. */
static void test_add_to_a_full_disk(void **state)
{
	struct rlimit none, before;
	char *text = expand("thursday $B\n"), *after;
	size_t size = strlen(text), after_size;
	int result;

	(void)state;
	write_text(text);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	signal(SIGXFSZ, SIG_IGN);
	none = before;
	none.rlim_cur = size + 30;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	errno = 0;
	result = add(known_hosts, "friday", 22, A);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(result, -1);
	assert_true(errno == ENOSPC || errno == EFBIG);
	after = read_text(&after_size);
	assert_string_equal(after, text);
	free(after);
	free(text);
}

/* A key of RSA's form, of any size. */
static unsigned char *large_key(size_t size)
{
	static const unsigned char begins[] = "\0\0\0\x07ssh-rsa\0\0\0\x03\1\0\1\0\0";
	unsigned char *key = calloc(1, size);
	size_t rest = size - (sizeof(begins) - 1) - 2;

	assert_non_null(key);
	memcpy(key, begins, sizeof(begins) - 1);
	key[sizeof(begins) - 1] = (unsigned char)(rest >> 8);
	key[sizeof(begins)] = (unsigned char)rest;
	return key;
}

static void test_add_the_largest_key(void **state)
{
	const struct hostkeys_host host = { "friday", 22, NULL };
	size_t text_size;

	(void)state;
	for (size_t size = 8188; size <= 8194; size++) {
		unsigned char *key = large_key(size);
		unsigned line;
		char *text;

		write_text("");
		assert_int_equal(hostkeys_add(known_hosts, &host, key, size), size > 8192 ? -1 : 0);
		text = read_text(&text_size);
		assert_int_equal(hostkeys_check(text, text_size, &host, key, size, &line),
				 size > 8192 ? HOSTKEYS_UNKNOWN : HOSTKEYS_MATCH);
		free(text);
		free(key);
	}
}

static void test_add_refuses_what_is_no_key(void **state)
{
	static const struct {
		const char *blob;
		size_t size;
	} rows[] = {
		{ "", 0 },
		{ "\0\0\0", 3 },
		{ "\0\0\0\0", 4 },
		{ "\0\0\0\x0bssh-ed25519", 15 },	       /* nothing but its name */
		{ "\0\0\0\x0bssh-ed25519\0\0\0\x20key", 22 },  /* cut short */
		{ "\0\0\0\x0bssh-ed25519\0\0\0\1kk", 21 },     /* something behind it */
		{ "\0\0\0\x0bssh-\ned2551\0\0\0\1k", 20 },     /* would make two lines */
		{ "\0\0\0\x07ssh-dss\0\0\0\1k", 16 },	       /* a type that we can't use */
		{ "\0\0\0\x0bssh-ed2551", 14 },
		{ "\xff\xff\xff\xffssh-ed25519\0\0\0\1k", 20 },
		{ "\0\0\0\x0bssh-ed25519\xff\xff\xff\xfek", 20 },
	};
	const struct hostkeys_host host = { "friday", 22, NULL };
	size_t size;

	(void)state;
	write_text("");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned char *blob = malloc(rows[i].size ? rows[i].size : 1);

		assert_non_null(blob);
		memcpy(blob, rows[i].blob, rows[i].size);
		errno = 0;
		assert_int_equal(hostkeys_add(known_hosts, &host, blob, rows[i].size), -1);
		assert_int_equal(errno, EINVAL);
		free(blob);
	}
	free(read_text(&size));
	assert_int_equal(size, 0);
}

static void assert_unreadable(const char *path, int error)
{
	size_t size;

	errno = 0;
	assert_null(hostkeys_read(path, &size));
	assert_int_equal(errno, error);
}

static void test_read(void **state)
{
	char path[160];
	size_t size = 1;
	char *text;

	(void)state;
	write_text("");
	text = read_text(&size);
	assert_string_equal(text, "");
	free(text);
	assert_int_equal(truncate(known_hosts, 16 << 20), 0);
	text = hostkeys_read(known_hosts, &size);
	assert_non_null(text);
	assert_int_equal(size, 16 << 20);
	free(text);
	assert_int_equal(truncate(known_hosts, (16 << 20) + 1), 0);
	assert_unreadable(known_hosts, EFBIG);
	assert_unreadable(directory, EISDIR);
	assert_unreadable("/dev/zero", EINVAL);
	snprintf(path, sizeof(path), "%s/missing", directory);
	assert_unreadable(path, ENOENT);
	assert_int_equal(mkfifo(path, 0600), 0); /* which nobody writes: no waiting */
	assert_unreadable(path, EINVAL);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_preference),
		cmocka_unit_test(test_preference_is_cut),
		cmocka_unit_test(test_fingerprint),
		cmocka_unit_test(test_add),
		cmocka_unit_test(test_add_behind_an_open_line),
		cmocka_unit_test(test_add_from_many_threads),
		cmocka_unit_test(test_add_fails),
		cmocka_unit_test(test_add_to_a_full_disk),
		cmocka_unit_test(test_add_the_largest_key),
		cmocka_unit_test(test_add_refuses_what_is_no_key),
		cmocka_unit_test(test_read),
	};

	return cmocka_run_group_tests_name("hostkeys files", tests, group_setup, group_teardown);
}
