// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The files around dvpnd.conf: the file itself, the key and known_hosts that it
 * names; and that the example and the man page hold every key of the table.
 * Runs from the top of the source tree, with ssh-keygen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf_fields.h"
#include "conf_helpers.h"
#include "conf_text.h"

/* ---- files ---- */

static char directory[] = "/tmp/conf_files_test.XXXXXX";

static const char *in_directory(const char *name)
{
	static char path[2][128];
	static unsigned next;

	next = !next;
	snprintf(path[next], sizeof(path[next]), "%s/%s", directory, name);
	return path[next];
}

static const char *write_file(const char *name, const char *text, size_t size, mode_t mode)
{
	const char *path = in_directory(name);
	FILE *out;

	unlink(path);
	out = fopen(path, "w");
	assert_non_null(out);
	assert_int_equal(fwrite(text, 1, size, out), size);
	fclose(out);
	assert_int_equal(chmod(path, mode), 0);
	return path;
}

static struct conf *load(const char *path)
{
	FILE *errors = fmemopen(errors_text, sizeof(errors_text), "w");
	struct conf *conf;

	memset(errors_text, 0, sizeof(errors_text));
	conf = conf_load(path, errors);
	fclose(errors);
	return conf;
}

static void test_load(void **state)
{
	static char big[CONF_FILE_MAX + 1];
	const char *path = write_file("good", SITE, strlen(SITE), 0600);
	struct conf *conf = load(path);

	(void)state;
	assert_non_null(conf);
	assert_string_equal(conf->path, path);
	conf_put(conf);

	assert_null(load(in_directory("none")));
	assert_non_null(strstr(errors_text,
			       "/none: can't be read: No such file or directory; copy"));
	assert_null(load(directory));
	assert_non_null(strstr(errors_text, "no regular file"));
	assert_int_equal(mkfifo(in_directory("fifo"), 0600), 0);
	assert_null(load(in_directory("fifo")));
	assert_non_null(strstr(errors_text, "no regular file"));
	unlink(in_directory("fifo"));

	memset(big, '\n', sizeof(big));
	memcpy(big, SITE, strlen(SITE));
	conf = load(write_file("big", big, sizeof(big) - 1, 0600));
	assert_non_null(conf);
	conf_put(conf);
	assert_null(load(write_file("big", big, sizeof(big), 0600)));
	assert_non_null(strstr(errors_text, "over 1 MiB"));
	unlink(in_directory("big"));
	unlink(in_directory("good"));
}

static int check(int (*function)(const struct conf *, FILE *), const char *text)
{
	struct conf *conf = parse_good(text);
	FILE *errors = fmemopen(errors_text, sizeof(errors_text), "w");
	int result;

	memset(errors_text, 0, sizeof(errors_text));
	result = function(conf, errors);
	fclose(errors);
	conf_put(conf);
	return result;
}

/* Checks a key of this text, which must give an error with `what`; NULL: none. */
static void assert_key(const char *text, mode_t mode, const char *what)
{
	char site[256];
	const char *path = write_file("key", text, strlen(text), mode);
	int result;

	snprintf(site, sizeof(site), "\n[site]\nkey = %s\n", path);
	result = check(conf_check_key, site);
	unlink(path);
	if (!what) {
		assert_string_equal(errors_text, "");
		assert_int_equal(result, 0);
		return;
	}
	assert_int_equal(result, -1);
	if (!strstr(errors_text, what))
		fail_msg("no \"%s\" in \"%s\"", what, errors_text);
	assert_int_equal(strncmp(errors_text, PATH ":3: [site] key: /", 24), 0);
	assert_ptr_equal(strchr(errors_text, '\n'), errors_text + strlen(errors_text) - 1);
	assert_non_null(strchr(errors_text, ';'));
}

/* What ssh-keygen makes with these arguments; to be freed. */
static char *make_key(const char *arguments)
{
	const char *path = in_directory("made");
	char command[256], *text = calloc(1, 8192);
	FILE *in;

	assert_non_null(text);
	snprintf(command, sizeof(command), "ssh-keygen -q -C test %s -f %s", arguments, path);
	assert_int_equal(system(command), 0);
	in = fopen(path, "r");
	assert_non_null(in);
	assert_true(fread(text, 1, 8191, in) > 0);
	fclose(in);
	unlink(path);
	unlink(in_directory("made.pub"));
	return text;
}

static void test_check_key(void **state)
{
	char *good = make_key("-t ed25519 -N ''");
	char *passphrase = make_key("-t ed25519 -N secret");
	char *rsa = make_key("-t rsa -b 2048 -N ''");
	char *ecdsa = make_key("-t ecdsa -N secret");

	(void)state;
	assert_key(good, 0600, NULL);
	assert_key(good, 0400, NULL);
	assert_key(good, 0640, "(mode 0640); chmod 600 /");
	assert_key(good, 0604, "(mode 0604); chmod 600 /");
	assert_key(good, 0620, "(mode 0620); chmod 600 /");
	assert_key(passphrase, 0600, "has a passphrase, which nobody is there to type; take");
	assert_key(rsa, 0600, "is an ssh-rsa key, but must be ssh-ed25519; name another");
	assert_key(ecdsa, 0600, "is an ecdsa-sha2-nistp256 key, but must be ssh-ed25519");
	assert_key("ssh-ed25519 AAAA x\n", 0600, "is the public half");
	assert_key("-----BEGIN RSA PRIVATE KEY-----\n", 0600, "of another form than OpenSSH's");
	assert_key("", 0600, "is no OpenSSH private key");
	assert_key("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
		   0600, "is a damaged private key");
	assert_key("-----BEGIN OPENSSH PRIVATE KEY-----\n%%%%\n-----END OPENSSH PRIVATE KEY-----\n",
		   0600, "is a damaged private key");
	*strstr(good, "-----END") = '\0';
	assert_key(good, 0600, "is cut short");
	free(good);
	free(passphrase);
	free(rsa);
	free(ecdsa);
}

static void test_check_key_file(void **state)
{
	char site[256];

	(void)state;
	snprintf(site, sizeof(site), "[site]\nkey = %s\n", in_directory("nokey"));
	assert_int_equal(check(conf_check_key, site), -1);
	assert_non_null(strstr(errors_text, "can't be opened: No such file or directory; make one: "
					    "ssh-keygen -t ed25519 -N '' -f /"));
	snprintf(site, sizeof(site), "[site]\nkey = %s\n", directory);
	assert_int_equal(check(conf_check_key, site), -1);
	assert_non_null(strstr(errors_text, "is no regular file"));
}

static void test_check_files(void **state)
{
	const char *good = write_file("kh", "", 0, 0644);
	char text[512];

	(void)state;
	snprintf(text, sizeof(text), SITE "[ssh]\nknown_hosts = %s\n", good);
	assert_int_equal(check(conf_check_files, text), 0);
	assert_string_equal(errors_text, "");

	snprintf(text, sizeof(text), SITE "[ssh]\nport=2222\nknown_hosts = %s/x\n", directory);
	assert_int_equal(check(conf_check_files, text), -1);
	assert_int_equal(strncmp(errors_text, PATH ":5: [ssh] known_hosts: /", 27), 0);
	assert_non_null(strstr(errors_text, "; ssh-keyscan -p 2222 HOST >> /"));

	strcat(text, "host_keys = accept-new\n");
	assert_int_equal(check(conf_check_files, text), 0);
	assert_non_null(strstr(errors_text, "accept-new will make it"));

	snprintf(text, sizeof(text), SITE "[ssh]\nknown_hosts = %s\n[gateway a]\nport=1\n"
		 "[gateway b]\nknown_hosts = %s\n", good, directory);
	assert_int_equal(check(conf_check_files, text), -1);
	assert_int_equal(strncmp(errors_text, PATH ":7: [gateway b] known_hosts: /", 32), 0);
	unlink(good);
}

static int make_directory(void **state)
{
	(void)state;
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
	(void)state;
	return rmdir(directory);
}

/* ---- the example and the man page ---- */

static char *read_source(const char *path)
{
	FILE *in = fopen(path, "r");
	char *text = calloc(1, 65536);

	if (!in)
		print_error("%s: %s; run this from the top of the source tree\n", path,
			    strerror(errno));
	assert_non_null(in);
	assert_non_null(text);
	assert_true(fread(text, 1, 65535, in) > 0);
	fclose(in);
	return text;
}

/* Takes the "#" off every "#key = value" and "#[section]". */
static void uncomment(char *text)
{
	char *out = text;

	for (const char *in = text; *in;) {
		size_t length = strcspn(in, "\n") + 1;

		if (*in == '#' && strchr("abcdefghijklmnopqrstuvwxyz[", in[1])) {
			in++;
			length--;
		}
		memmove(out, in, length);
		out += length;
		in += length;
	}
	*out = '\0';
}

/* Prints a conf without what has no default; a gateway goes as a whole. */
static char *print_defaults(struct conf *conf)
{
	unsigned gateways = conf->gateway_count, prefixes = conf->prefix_count;
	unsigned endpoints = conf->endpoint_count;
	struct prefix *kept_prefixes = conf->prefixes;
	struct endpoint *kept_endpoints = conf->endpoints;
	char *name = conf->name, *key = conf->key, *text;

	conf->gateway_count = conf->prefix_count = conf->endpoint_count = 0;
	conf->prefixes = NULL;
	conf->endpoints = NULL;
	conf->name = conf->key = NULL;
	text = print(conf);
	conf->gateway_count = gateways;
	conf->prefix_count = prefixes;
	conf->endpoint_count = endpoints;
	conf->prefixes = kept_prefixes;
	conf->endpoints = kept_endpoints;
	conf->name = name;
	conf->key = key;
	return text;
}

static void test_example(void **state)
{
	char *text = read_source("dvpnd.conf.example");
	struct conf *plain = parse_good(text), *full, *empty = parse_good(SITE);
	char *full_text, *empty_text;

	(void)state;
	uncomment(text);
	full = parse_good(text);
	full_text = print_defaults(full);
	empty_text = print_defaults(empty);
	if (!strcmp(DVPN_SYSCONFDIR, "/etc")) /* the file is written for it */
		assert_string_equal(full_text, empty_text);
	assert_true(full->prefix_count && full->endpoint_count);
	assert_int_equal(full->gateway_count, 1);
	assert_int_equal(full->gateways[0].overridden, 0x3ff);
	assert_int_equal(plain->gateway_count, 0);
	conf_put(plain);
	conf_put(full);
	conf_put(empty);
	free(full_text);
	free(empty_text);
	free(text);
}

static void test_example_has_every_key(void **state)
{
	char *text = read_source("dvpnd.conf.example");
	FILE *nowhere = fopen("/dev/null", "w");
	struct conf_text entries;
	size_t count;
	const struct conf_field *fields = conf_fields(&count);

	(void)state;
	uncomment(text);
	assert_int_equal(conf_text_parse(&entries, text, strlen(text), "example", nowhere), 0);
	for (size_t i = 0; i < count; i++) {
		if (!conf_text_find(&entries, fields[i].section, fields[i].key))
			fail_msg("no [%s] %s", fields[i].section, fields[i].key);
		if (fields[i].ssh_bit && !conf_text_find(&entries, "gateway friday", fields[i].key))
			fail_msg("no [gateway friday] %s", fields[i].key);
	}
	conf_text_clear(&entries);
	fclose(nowhere);
	free(text);
}

static void test_man_page_has_every_key(void **state)
{
	char *text = read_source("man/dvpnd.conf.5");
	size_t count;
	const struct conf_field *fields = conf_fields(&count);

	(void)state;
	for (size_t i = 0; i < count; i++) {
		char heading[64], item[64];
		const char *section, *end, *key;

		snprintf(heading, sizeof(heading), "\n.Ss Section %s\n", fields[i].section);
		snprintf(item, sizeof(item), "\n.It Cm %s\n", fields[i].key);
		section = strstr(text, heading);
		assert_non_null(section);
		end = strstr(section + 1, "\n.Ss ");
		key = strstr(section, item);
		if (!key || key > end)
			fail_msg("no [%s] %s", fields[i].section, fields[i].key);
		end = strstr(key + 1, "\n.It ");
		key = strstr(key, fields[i].fallback ? fields[i].fallback : "Default: ");
		if (strcmp(fields[i].key, "key") && !strcmp(DVPN_SYSCONFDIR, "/etc") &&
		    (!key || (end && key > end)))
			fail_msg("[%s] %s: not its default", fields[i].section, fields[i].key);
	}
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_load),
		cmocka_unit_test(test_check_key),
		cmocka_unit_test(test_check_key_file),
		cmocka_unit_test(test_check_files),
		cmocka_unit_test(test_example),
		cmocka_unit_test(test_example_has_every_key),
		cmocka_unit_test(test_man_page_has_every_key),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
