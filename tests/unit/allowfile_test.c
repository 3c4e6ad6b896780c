/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The allow file as it is kept: what it answers is what its text says, also when it
 * was asked before, changed, or vanished.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char allow_path[64];
#define NC_ALLOW allow_path
#include "../../chroot/allowfile.c"

static void put(const char *text)
{
	char next[80];
	FILE *out;

	snprintf(next, sizeof(next), "%s.new", allow_path);
	out = fopen(next, "w");
	assert_non_null(out);
	fputs(text, out);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(rename(next, allow_path), 0);
}

static int setup(void **state)
{
	(void)state;
	snprintf(allow_path, sizeof(allow_path), "/tmp/allowfile-test.%ld", (long)getpid());
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return unlink(allow_path) && errno != ENOENT;
}

static const char *ask(const char *host, unsigned port, unsigned *line)
{
	struct allow_report report;
	struct address address;
	const char *reason;

	assert_null(address_parse(host, &address));
	reason = allowfile_ask(&address, port, &report);
	*line = report.line;
	return reason;
}

static void answers_are_kept(void **state)
{
	unsigned line, turn;

	(void)state;
	put("10.8.0.0/16 80\n10.8.0.0/16 443\n!10.9.0.1\n10.9.0.0/16\nfd00::/8\n");
	allowfile_load(allow_path);
	for (turn = 0; turn < 2; turn++) {
		assert_null(ask("10.8.0.5", 80, &line));
		assert_int_equal(line, 1);
		assert_null(ask("10.8.0.5", 443, &line));
		assert_int_equal(line, 2);
		assert_string_equal(ask("10.8.0.5", 22, &line), "no rule allows it");
		assert_string_equal(ask("10.9.0.1", 80, &line), "a rule excludes it");
		assert_int_equal(line, 3);
		assert_null(ask("10.9.0.2", 80, &line));
		assert_null(ask("fd00::1", 80, &line));
		assert_string_equal(ask("127.0.0.1", 80, &line),
				    "such an address needs a rule of its own");
	}
}

/* Far more destinations than are kept: who shares a place is not mistaken. */
static void answers_are_not_mixed(void **state)
{
	unsigned i, line, turn;
	char host[32];

	(void)state;
	put("10.8.0.0/17 1-30000\n10.8.128.0/17 30001-65535\n");
	allowfile_load(allow_path);
	for (turn = 0; turn < 2; turn++) {
		for (i = 0; i < 65536; i += 7) {
			snprintf(host, sizeof(host), "10.8.%u.5", (i & 1) << 7);
			assert_int_equal(ask(host, i + 1, &line) == NULL,
					 (i + 1 <= 30000) == !(i & 1));
			snprintf(host, sizeof(host), "10.8.%u.%u", i >> 8, i & 255);
			assert_int_equal(ask(host, 80, &line) == NULL, i < 32768);
		}
	}
}

static void changes_count(void **state)
{
	unsigned line;

	(void)state;
	put("10.8.0.5\n");
	allowfile_refresh();
	assert_null(ask("10.8.0.5", 80, &line));
	assert_string_equal(ask("10.8.0.6", 80, &line), "no rule allows it");
	put("10.8.0.6\n");
	allowfile_refresh();
	assert_string_equal(ask("10.8.0.5", 80, &line), "no rule allows it");
	assert_null(ask("10.8.0.6", 80, &line));
	put("10.8.0.6\nrubbish\n");
	allowfile_refresh();
	assert_non_null(strstr(ask("10.8.0.6", 80, &line), "line 2 is bad"));
	assert_int_equal(unlink(allow_path), 0);
	allowfile_refresh();
	assert_non_null(strstr(ask("10.8.0.6", 80, &line), "can't be read"));
	put("10.8.0.6\n");
	allowfile_refresh();
	assert_null(ask("10.8.0.6", 80, &line));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(answers_are_kept),
		CASE(answers_are_not_mixed),
		CASE(changes_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
