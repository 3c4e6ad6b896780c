/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The far netcat's parsers by table: the command that the near side sends, and
 * the allow file that judges it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../../chroot/allow.h"
#include "../../chroot/command.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct {
	const char *line;
	enum command_kind kind;
	const char *host;
	unsigned port;
} lines[] = {
	{ "nc 10.8.0.5 80", COMMAND_CONNECT, "10.8.0.5", 80 },
	{ "nc -v -N 10.8.0.5 80", COMMAND_CONNECT, "10.8.0.5", 80 },
	{ "nc -N -v 10.8.0.5 1", COMMAND_CONNECT, "10.8.0.5", 1 },
	{ "/bin/nc -N 10.8.0.5 65535", COMMAND_CONNECT, "10.8.0.5", 65535 },
	{ "/usr/lib/some-where/net_cat.9 -v fd00:8::5 22", COMMAND_CONNECT, "fd00:8::5", 22 },
	{ " \t nc \t 10.8.0.5\t80  ", COMMAND_CONNECT, "10.8.0.5", 80 },
	{ "nc ::1 80", COMMAND_CONNECT, "::1", 80 },
	{ "nc", COMMAND_BARE, NULL, 0 },
	{ "", COMMAND_BARE, NULL, 0 },
	{ "  ", COMMAND_BARE, NULL, 0 },
	{ "/usr/lib/openssh/sftp-server", COMMAND_BARE, NULL, 0 },
	{ "nc -V", COMMAND_VERSION, NULL, 0 },
	{ "nc --version", COMMAND_VERSION, NULL, 0 },
	{ "nc -T 1", COMMAND_TRUNK, NULL, 0 },
	{ "/bin/nc -T\t1 ", COMMAND_TRUNK, NULL, 0 },

	{ "nc -T", COMMAND_USAGE, NULL, 0 },
	{ "nc -T 2", COMMAND_USAGE, NULL, 0 },
	{ "nc -T 01", COMMAND_USAGE, NULL, 0 },
	{ "nc -T1", COMMAND_USAGE, NULL, 0 },
	{ "nc -T 1 -v", COMMAND_USAGE, NULL, 0 },
	{ "nc -N -T 1", COMMAND_USAGE, NULL, 0 },
	{ "nc -T 1 10.8.0.5 80", COMMAND_USAGE, NULL, 0 },
	{ "nc -V 10.8.0.5 80", COMMAND_USAGE, NULL, 0 },
	{ "nc -vN 10.8.0.5 80", COMMAND_USAGE, NULL, 0 },
	{ "nc -v -v 10.8.0.5 80", COMMAND_USAGE, NULL, 0 },
	{ "nc -N -N 10.8.0.5 80", COMMAND_USAGE, NULL, 0 },
	{ "nc -l 80", COMMAND_USAGE, NULL, 0 },
	{ "nc -e /bin/sh 10.8.0.5 80", COMMAND_USAGE, NULL, 0 },
	{ "nc -- 10.8.0.5 80", COMMAND_USAGE, NULL, 0 },
	{ "nc - 10.8.0.5 80", COMMAND_USAGE, NULL, 0 },
	{ "nc 10.8.0.5 -v 80", COMMAND_USAGE, NULL, 0 },
	{ "nc 10.8.0.5 80 -N", COMMAND_USAGE, NULL, 0 },
	{ "-v 10.8.0.5 80", COMMAND_USAGE, NULL, 0 },
	{ "nc --check-allow", COMMAND_USAGE, NULL, 0 },
	{ "nc 10.8.0.5", COMMAND_USAGE, NULL, 0 },
	{ "nc 10.8.0.5 80 81", COMMAND_USAGE, NULL, 0 },
	{ "nc -v -N 10.8.0.5 80 1 2 3 4 5", COMMAND_USAGE, NULL, 0 },
	{ "nc nas.friday 80", COMMAND_USAGE, NULL, 0 },
	{ "nc localhost 80", COMMAND_USAGE, NULL, 0 },
	{ "nc 10.8.5 80", COMMAND_USAGE, NULL, 0 },
	{ "nc 10.8.0.05 80", COMMAND_USAGE, NULL, 0 },
	{ "nc 0x0a080005 80", COMMAND_USAGE, NULL, 0 },
	{ "nc 168296453 80", COMMAND_USAGE, NULL, 0 },
	{ "nc 10.8.0.256 80", COMMAND_USAGE, NULL, 0 },
	{ "nc ::ffff:10.8.0.5 80", COMMAND_USAGE, NULL, 0 },
	{ "nc ::ffff:a08:5 80", COMMAND_USAGE, NULL, 0 },
	{ "nc 0:0:0:0:0:ffff:10.8.0.5 80", COMMAND_USAGE, NULL, 0 },
	{ "nc fe80::1%eth0 80", COMMAND_USAGE, NULL, 0 },
	{ "nc fe80::1%2 80", COMMAND_USAGE, NULL, 0 },
	{ "nc [fd00:8::5] 80", COMMAND_USAGE, NULL, 0 },
	{ "nc fd00:8::5::1 80", COMMAND_USAGE, NULL, 0 },
	{ "nc 10.8.0.5 0", COMMAND_USAGE, NULL, 0 },
	{ "nc 10.8.0.5 65536", COMMAND_USAGE, NULL, 0 },
	{ "nc 10.8.0.5 4294967376", COMMAND_USAGE, NULL, 0 },
	{ "nc 10.8.0.5 080", COMMAND_USAGE, NULL, 0 },
	{ "nc 10.8.0.5 +80", COMMAND_USAGE, NULL, 0 },
	{ "nc 10.8.0.5 -80", COMMAND_USAGE, NULL, 0 },
	{ "nc 10.8.0.5 80-90", COMMAND_USAGE, NULL, 0 },
	{ "nc 10.8.0.5 http", COMMAND_USAGE, NULL, 0 },
	{ "sh -c id", COMMAND_USAGE, NULL, 0 },
	{ "nc 10.8.0.5 80;id", COMMAND_USAGE, NULL, 0 },
	{ "nc 10.8.0.5 80\nid", COMMAND_USAGE, NULL, 0 },
	{ "nc 10.8.0.5\n80", COMMAND_USAGE, NULL, 0 },
	{ "nc 10.8.0.5 80\r", COMMAND_USAGE, NULL, 0 },
	{ "nc '10.8.0.5' 80", COMMAND_USAGE, NULL, 0 },
	{ "nc \"10.8.0.5\" 80", COMMAND_USAGE, NULL, 0 },
	{ "nc 10.8.0.5 80 # x", COMMAND_USAGE, NULL, 0 },
	{ "nc $HOME 80", COMMAND_USAGE, NULL, 0 },
	{ "`id` 10.8.0.5 80", COMMAND_USAGE, NULL, 0 },
	{ "~/nc 10.8.0.5 80", COMMAND_USAGE, NULL, 0 },
	{ "nc 10.8.0.5 80 \xc3\xa9", COMMAND_USAGE, NULL, 0 },
};

static void command_lines(void **state)
{
	struct command command;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(lines); i++) {
		memset(&command, 0, sizeof(command));
		command_parse_line(&command, lines[i].line);
		if (command.kind != lines[i].kind)
			fail_msg("\"%s\" is %d, not %d", lines[i].line, command.kind, lines[i].kind);
		assert_int_equal(command.kind == COMMAND_USAGE, command.reason != NULL);
		if (command.kind != COMMAND_CONNECT)
			continue;
		assert_string_equal(command.host, lines[i].host);
		assert_int_equal(command.port, lines[i].port);
	}
}

static void command_length(void **state)
{
	char line[2 * COMMAND_LENGTH];
	struct command command = { 0 };

	(void)state;
	/* The longest that fits, by a long NETCAT, and one byte more. */
	memset(line, 'n', sizeof(line));
	strcpy(line + COMMAND_LENGTH - 1 - strlen(" 10.8.0.5 80"), " 10.8.0.5 80");
	command_parse_line(&command, line);
	assert_int_equal(command.kind, COMMAND_CONNECT);

	memset(line, 'n', sizeof(line));
	strcpy(line + COMMAND_LENGTH - strlen(" 10.8.0.5 80"), " 10.8.0.5 80");
	command_parse_line(&command, line);
	assert_int_equal(command.kind, COMMAND_USAGE);

	memset(line, 'n', sizeof(line)); /* its end is not looked for */
	command_parse_line(&command, line);
	assert_int_equal(command.kind, COMMAND_USAGE);
}

static void command_words(void **state)
{
	char *good[] = { "-v", "-N", "fd00:8::5", "443" };
	char *blank[] = { "10.8.0.5 80" };
	struct command command = { 0 };

	(void)state;
	command_parse_words(&command, good, COUNT(good));
	assert_int_equal(command.kind, COMMAND_CONNECT);
	assert_int_equal(command.address.family, AF_INET6);
	assert_int_equal(command.address.bytes[0], 0xfd);
	assert_int_equal(command.address.bytes[15], 5);
	command_parse_words(&command, blank, COUNT(blank));
	assert_int_equal(command.kind, COMMAND_USAGE);
	command_parse_words(&command, good, 0);
	assert_int_equal(command.kind, COMMAND_BARE);
}

static const struct {
	const char *text;
	const char *host;
	unsigned port;
	enum allow_verdict verdict;
	unsigned line;
} rules[] = {
	{ "", "10.8.0.5", 80, ALLOW_NO, 0 },
	{ "# nothing\n\n  \n", "10.8.0.5", 80, ALLOW_NO, 0 },
	{ "10.8.0.0/16", "10.8.0.5", 80, ALLOW_YES, 1 },
	{ "10.8.0.0/16\n", "10.9.0.5", 80, ALLOW_NO, 0 },
	{ "\n# lan\n\t10.8.0.0/16\t# all of it\n", "10.8.255.255", 1, ALLOW_YES, 3 },
	{ "10.8.0.5\n", "10.8.0.5", 80, ALLOW_YES, 1 },
	{ "10.8.0.5\n", "10.8.0.4", 80, ALLOW_NO, 0 },
	{ "10.8.0.0/15\n", "10.9.255.1", 80, ALLOW_YES, 1 },
	{ "10.8.0.0/15\n", "10.10.0.0", 80, ALLOW_NO, 0 },
	{ "10.8.0.4/30\n", "10.8.0.7", 80, ALLOW_YES, 1 },
	{ "10.8.0.4/30\n", "10.8.0.8", 80, ALLOW_NO, 0 },
	{ "10.8.0.5/32\n", "10.8.0.5", 80, ALLOW_YES, 1 },
	{ "0.0.0.0/0\n", "198.51.100.9", 80, ALLOW_YES, 1 },
	{ "fd00:8::/48\n", "fd00:8:0:ffff::1", 80, ALLOW_YES, 1 },
	{ "fd00:8::/48\n", "fd00:8:1::1", 80, ALLOW_NO, 0 },
	{ "fd00:8::5\n", "fd00:8:0::5", 80, ALLOW_YES, 1 },
	{ "::/0\n", "10.8.0.5", 80, ALLOW_NO, 0 },
	{ "0.0.0.0/0\n", "fd00:8::5", 80, ALLOW_NO, 0 },
	/* ports */
	{ "10.8.0.5 80,443,8000-8010\n", "10.8.0.5", 80, ALLOW_YES, 1 },
	{ "10.8.0.5 80,443,8000-8010\n", "10.8.0.5", 443, ALLOW_YES, 1 },
	{ "10.8.0.5 80,443,8000-8010\n", "10.8.0.5", 8000, ALLOW_YES, 1 },
	{ "10.8.0.5 80,443,8000-8010\n", "10.8.0.5", 8010, ALLOW_YES, 1 },
	{ "10.8.0.5 80,443,8000-8010\n", "10.8.0.5", 8011, ALLOW_NO, 0 },
	{ "10.8.0.5 80,443,8000-8010\n", "10.8.0.5", 81, ALLOW_NO, 0 },
	{ "10.8.0.5 1-65535\n", "10.8.0.5", 65535, ALLOW_YES, 1 },
	{ "10.8.0.5 80-80\n", "10.8.0.5", 80, ALLOW_YES, 1 },
	/* the first match decides */
	{ "!10.8.0.1 7777\n10.8.0.0/16\n", "10.8.0.1", 7777, ALLOW_NO, 1 },
	{ "!10.8.0.1 7777\n10.8.0.0/16\n", "10.8.0.1", 80, ALLOW_YES, 2 },
	{ "10.8.0.0/16\n!10.8.0.1 7777\n", "10.8.0.1", 7777, ALLOW_YES, 1 },
	{ "!10.8.0.0/16\n10.8.0.5\n", "10.8.0.5", 80, ALLOW_NO, 1 },
	/* ranges that need a rule of their own */
	{ "0.0.0.0/0\n", "127.0.0.1", 80, ALLOW_NO, 0 },
	{ "127.0.0.0/8\n", "127.0.0.1", 80, ALLOW_YES, 1 },
	{ "127.0.0.1 80\n", "127.0.0.1", 80, ALLOW_YES, 1 },
	{ "126.0.0.0/7\n", "127.0.0.1", 80, ALLOW_NO, 0 },
	{ "0.0.0.0/0\n127.0.0.1\n", "127.0.0.1", 80, ALLOW_YES, 2 },
	{ "0.0.0.0/0\n", "0.0.0.0", 80, ALLOW_NO, 0 },
	{ "0.0.0.0\n", "0.0.0.0", 80, ALLOW_YES, 1 },
	{ "0.0.0.0/0\n", "169.254.169.254", 80, ALLOW_NO, 0 },
	{ "169.254.0.0/16\n", "169.254.169.254", 80, ALLOW_YES, 1 },
	{ "0.0.0.0/0\n", "224.0.0.251", 80, ALLOW_NO, 0 },
	{ "0.0.0.0/0\n", "255.255.255.255", 80, ALLOW_NO, 0 },
	{ "::/0\n", "::1", 80, ALLOW_NO, 0 },
	{ "::1\n", "::1", 80, ALLOW_YES, 1 },
	{ "::/0\n", "::", 80, ALLOW_NO, 0 },
	{ "::/0\n", "fe80::1", 80, ALLOW_NO, 0 },
	{ "::/0\n", "febf::1", 80, ALLOW_NO, 0 },
	{ "::/0\n", "fec0::1", 80, ALLOW_YES, 1 },
	{ "fe80::/10\n", "fe80::1", 80, ALLOW_YES, 1 },
	{ "::/0\n", "ff02::1", 80, ALLOW_NO, 0 },
	/* one bad line and nothing is allowed, wherever it stands */
	{ "10.8.0.0/16\nnonsense\n", "10.8.0.5", 80, ALLOW_BAD_FILE, 2 },
	{ "nonsense\n10.8.0.0/16\n", "10.8.0.5", 80, ALLOW_BAD_FILE, 1 },
	{ "10.8.0.1/16\n", "10.8.0.5", 80, ALLOW_BAD_FILE, 1 },
	{ "fd00:8::1/48\n", "10.8.0.5", 80, ALLOW_BAD_FILE, 1 },
	{ "10.8.0.0/33\n", "10.8.0.5", 80, ALLOW_BAD_FILE, 1 },
	{ "fd00::/129\n", "10.8.0.5", 80, ALLOW_BAD_FILE, 1 },
	{ "10.8.0.0/\n", "10.8.0.5", 80, ALLOW_BAD_FILE, 1 },
	{ "10.8.0.0/016\n", "10.8.0.5", 80, ALLOW_BAD_FILE, 1 },
	{ "10.8.0.0/255.255.0.0\n", "10.8.0.5", 80, ALLOW_BAD_FILE, 1 },
	{ "::ffff:10.8.0.0/112\n", "10.8.0.5", 80, ALLOW_BAD_FILE, 1 },
	{ "! 10.8.0.1\n", "10.8.0.5", 80, ALLOW_BAD_FILE, 1 },
	{ "!!10.8.0.1\n", "10.8.0.5", 80, ALLOW_BAD_FILE, 1 },
	{ "!\n", "10.8.0.5", 80, ALLOW_BAD_FILE, 1 },
	{ "nas.friday\n", "10.8.0.5", 80, ALLOW_BAD_FILE, 1 },
	{ "10.8.0.5 80 443\n", "10.8.0.5", 80, ALLOW_BAD_FILE, 1 },
	{ "10.8.0.5 80,\n", "10.8.0.5", 80, ALLOW_BAD_FILE, 1 },
	{ "10.8.0.5 ,80\n", "10.8.0.5", 80, ALLOW_BAD_FILE, 1 },
	{ "10.8.0.5 0\n", "10.8.0.5", 80, ALLOW_BAD_FILE, 1 },
	{ "10.8.0.5 65536\n", "10.8.0.5", 80, ALLOW_BAD_FILE, 1 },
	{ "10.8.0.5 90-80\n", "10.8.0.5", 80, ALLOW_BAD_FILE, 1 },
	{ "10.8.0.5 80-\n", "10.8.0.5", 80, ALLOW_BAD_FILE, 1 },
	{ "10.8.0.5 -80\n", "10.8.0.5", 80, ALLOW_BAD_FILE, 1 },
	{ "10.8.0.5 80-90-100\n", "10.8.0.5", 80, ALLOW_BAD_FILE, 1 },
	{ "10.8.0.5 80-81,82-83\n", "10.8.0.5", 83, ALLOW_YES, 1 },
	{ "10.8.0.5 http\n", "10.8.0.5", 80, ALLOW_BAD_FILE, 1 },
	{ "10.8.0.0/16\r\n", "10.8.0.5", 80, ALLOW_BAD_FILE, 1 },
	{ "10.8.0.0/16\n\xff\n", "10.8.0.5", 80, ALLOW_BAD_FILE, 2 },
};

static void allow_rules(void **state)
{
	struct allow_report report;
	struct address address;
	enum allow_verdict verdict;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(rules); i++) {
		assert_null(address_parse(rules[i].host, &address));
		verdict = allow_decide(rules[i].text, strlen(rules[i].text), &address,
				       rules[i].port, &report);
		if (verdict != rules[i].verdict || report.line != rules[i].line)
			fail_msg("%s %u by \"%s\": %d, line %u", rules[i].host, rules[i].port,
				 rules[i].text, verdict, report.line);
		assert_int_equal(verdict == ALLOW_YES, report.reason == NULL);
	}
}

/* A rule that follows something unreadable must not count. */
static void allow_binary_and_long(void **state)
{
	static const char binary[] = "10.8.0.0/16\n10.8\0.0.0/16\n";
	static char text[2 * ALLOW_LINE_LENGTH];
	struct allow_report report;
	struct address address;

	(void)state;
	assert_null(address_parse("10.8.0.5", &address));
	assert_int_equal(allow_decide(binary, sizeof(binary) - 1, &address, 80, &report),
			 ALLOW_BAD_FILE);
	assert_int_equal(report.line, 2);

	memset(text, ' ', sizeof(text));
	memcpy(text, "10.8.0.5", 8);
	text[ALLOW_LINE_LENGTH - 1] = '\n';
	assert_int_equal(allow_decide(text, ALLOW_LINE_LENGTH, &address, 80, &report), ALLOW_YES);
	text[ALLOW_LINE_LENGTH - 1] = ' ';
	text[ALLOW_LINE_LENGTH] = '\n';
	assert_int_equal(allow_decide(text, ALLOW_LINE_LENGTH + 1, &address, 80, &report),
			 ALLOW_BAD_FILE);
}

static void allow_counts_rules(void **state)
{
	static const char text[] = "# two\n10.8.0.0/16\n\n!10.8.0.1\n";
	struct allow_report report;

	(void)state;
	assert_int_equal(allow_decide(text, strlen(text), NULL, 0, &report), ALLOW_NO);
	assert_int_equal(report.rules, 2);
	assert_int_equal(report.line, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(command_lines),
		cmocka_unit_test(command_length),
		cmocka_unit_test(command_words),
		cmocka_unit_test(allow_rules),
		cmocka_unit_test(allow_binary_and_long),
		cmocka_unit_test(allow_counts_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
