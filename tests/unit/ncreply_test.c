/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What netcats say on stderr.  The texts of others than ours are what the named
 * programs really printed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "carry/ncreply.h"

#define SAME NULL /* the kept text is the only line */

static const struct {
	const char *said;
	enum stream_outcome outcome;
	bool ours, ended, reset;
	const char *text;
} cases[] = {
	{ "", STREAM_PENDING, .text = "" },
	{ "\n\r\n\n", STREAM_PENDING, .text = "" },

	/* ours */
	{ "dvpn-nc: connected 10.8.0.5 80\n", STREAM_OK, true, .text = SAME },
	{ "dvpn-nc: connected fd00:8::5 80\ndvpn-nc: end\n", STREAM_OK, true, true,
	  .text = "dvpn-nc: connected fd00:8::5 80" },
	{ "dvpn-nc: connected 10.8.0.5 80\ndvpn-nc: reset\n", STREAM_OK, true, false, true,
	  .text = "dvpn-nc: connected 10.8.0.5 80" },
	{ "dvpn-nc: refused 10.8.0.5 80: Connection refused\n", STREAM_REFUSED, true,
	  .text = SAME },
	{ "dvpn-nc: unreachable 10.8.0.5 80: No route to host\n", STREAM_UNREACHABLE, true,
	  .text = SAME },
	/* its first word counts, not those of the system behind it */
	{ "dvpn-nc: unreachable 10.8.0.5 80: Permission denied\n", STREAM_UNREACHABLE, true,
	  .text = SAME },
	{ "dvpn-nc: timed out 10.8.0.5 80: Connection timed out\n", STREAM_TIMED_OUT, true,
	  .text = SAME },
	{ "dvpn-nc: denied 10.9.0.5 80: no rule allows this destination\n", STREAM_DENIED, true,
	  .text = SAME },
	{ "dvpn-nc: denied 10.9.0.5 80: the allow file /etc/dvpn/allow can't be read, so nothing "
	  "is allowed: No such file or directory\n", STREAM_DENIED, true, .text = SAME },
	{ "dvpn-nc: usage: nc [-v] [-N] HOST PORT: an option is unknown or given twice\n",
	  STREAM_BROKEN, true, .text = SAME },
	/* a later kind of ours may say more */
	{ "dvpn-nc: something new\n", STREAM_PENDING, true, .text = SAME },
	{ "dvpn-nc: something new\ndvpn-nc: connected 10.8.0.5 80\n", STREAM_OK, true,
	  .text = "dvpn-nc: connected 10.8.0.5 80" },
	/* the end is a word of its own, and of ours alone */
	{ "dvpn-nc: endless\ndvpn-nc: end \ndvpn-nc: resetting\n", STREAM_PENDING, true,
	  .text = "dvpn-nc: resetting" },
	{ "end\nreset\n nc: end\ndvpn-nc:end\nx dvpn-nc: reset\n", STREAM_PENDING,
	  .text = "x dvpn-nc: reset" },
	{ "dvpn-nc: end\n", STREAM_PENDING, true, true, .text = "" },
	{ "dvpn-nc: reset\n", STREAM_PENDING, true, false, true, .text = "" },

	/* OpenBSD netcat 1.219 */
	{ "Connection to 10.8.0.5 8080 port [tcp/http-alt] succeeded!\n", STREAM_OK, .text = SAME },
	{ "nc: connect to 10.8.0.5 port 1 (tcp) failed: Connection refused\n", STREAM_REFUSED,
	  .text = SAME },
	{ "nc: connect to 10.8.0.5 port 80 (tcp) failed: No route to host\n", STREAM_UNREACHABLE,
	  .text = SAME },
	{ "nc: connect to fd00::5 port 80 (tcp) failed: Network is unreachable\n",
	  STREAM_UNREACHABLE, .text = SAME },
	/* a prohibited and a blackhole route, a firewall's DROP on the way out */
	{ "nc: connect to 10.8.0.5 port 80 (tcp) failed: Permission denied\n", STREAM_UNREACHABLE,
	  .text = SAME },
	{ "nc: connect to 10.8.0.5 port 80 (tcp) failed: Invalid argument\n", STREAM_UNREACHABLE,
	  .text = SAME },
	{ "nc: connect to 10.8.0.5 port 80 (tcp) failed: Operation not permitted\n",
	  STREAM_UNREACHABLE, .text = SAME },
	{ "nc: connect to 10.8.0.5 port 80 (tcp) failed: Connection timed out\n", STREAM_TIMED_OUT,
	  .text = SAME },
	{ "nc: connect to 10.8.0.5 port 80 (tcp) timed out: Operation now in progress\n",
	  STREAM_TIMED_OUT, .text = SAME },
	{ "nc: invalid option -- 'Q'\n"
	  "usage: nc [-46CDdFhklNnrStUuvZz] [-I length] [-i interval] [-M ttl]\n"
	  "\t  [-m minttl] [-O length] [-P proxy_username] [-p source_port]\n",
	  STREAM_BROKEN, .text = "nc: invalid option -- 'Q'" },
	{ "usage: nc [-46CDdFhklNnrStUuvZz] [-I length] [-i interval] [-M ttl]\n", STREAM_BROKEN,
	  .text = SAME },
	/* and 1.228 */
	{ "Connection to 10.8.0.5 (10.8.0.5) 8080 port [tcp/http-alt] succeeded!\n", STREAM_OK,
	  .text = SAME },

	/* busybox 1.35 */
	{ "nc: can't connect to remote host (10.8.0.5): Connection refused\n", STREAM_REFUSED,
	  .text = SAME },
	{ "nc: can't connect to remote host: Connection refused\n", STREAM_REFUSED, .text = SAME },
	{ "nc: can't connect to remote host (10.8.0.5): No route to host\n", STREAM_UNREACHABLE,
	  .text = SAME },
	{ "nc: can't connect to remote host: Network is unreachable\n", STREAM_UNREACHABLE,
	  .text = SAME },
	{ "nc: can't connect to remote host (10.8.0.5): Permission denied\n", STREAM_UNREACHABLE,
	  .text = SAME },
	{ "nc: can't connect to remote host (10.8.0.5): Invalid argument\n", STREAM_UNREACHABLE,
	  .text = SAME },
	{ "nc: timed out\n", STREAM_TIMED_OUT, .text = SAME },
	{ "nc: invalid option -- 'v'\n"
	  "BusyBox v1.35.0 (Debian 1:1.35.0-4+deb12u1+b1) multi-call binary.\n\n"
	  "Usage: nc [-iN] [-wN] [-l] [-p PORT] [-f FILE|IPADDR PORT] [-e PROG]\n\n"
	  "Open a pipe to IP:PORT or FILE\n",
	  STREAM_BROKEN, .text = "nc: invalid option -- 'v'" },

	/* traditional netcat 1.10 */
	{ "localhost [127.0.0.1] 8080 (http-alt) open\n", STREAM_OK, .text = SAME },
	{ "(UNKNOWN) [10.8.0.5] 1 (tcpmux) : Connection refused\n", STREAM_REFUSED, .text = SAME },
	{ "(UNKNOWN) [10.8.0.5] 80 (http) : Network is unreachable\n", STREAM_UNREACHABLE,
	  .text = SAME },
	{ "(UNKNOWN) [10.8.0.5] 80 (http) : No route to host\n", STREAM_UNREACHABLE, .text = SAME },
	{ "(UNKNOWN) [10.8.0.5] 80 (http) : Connection timed out\n", STREAM_TIMED_OUT,
	  .text = SAME },
	{ "nc: invalid option -- 'N'\nnc -h for help\n", STREAM_BROKEN,
	  .text = "nc: invalid option -- 'N'" },

	/* no netcat at all: dash, bash, busybox ash */
	{ "sh: 1: nc: not found\n", STREAM_BROKEN, .text = SAME },
	{ "sh: 0: cannot open nc: No such file\n", STREAM_BROKEN, .text = SAME },
	{ "bash: line 1: nc: command not found\n", STREAM_BROKEN, .text = SAME },
	{ "bash: line 1: /opt/nc: No such file or directory\n", STREAM_BROKEN, .text = SAME },
	{ "bash: line 1: /opt/nc: Permission denied\n", STREAM_BROKEN, .text = SAME },
	{ "ash: nc: not found\n", STREAM_BROKEN, .text = SAME },
	{ "timeout: failed to run command 'nc': No such file or directory\n", STREAM_BROKEN,
	  .text = SAME },
	{ "/bin/sh: No such file or directory\n", STREAM_BROKEN, .text = SAME },

	/* what sshd and shells complain of while all is well */
	{ "Could not chdir to home directory /home/dvpn: No such file or directory\n",
	  STREAM_PENDING, .text = SAME },
	{ "Could not chdir to home directory /home/dvpn: Permission denied\n"
	  "dvpn-nc: connected 10.8.0.5 80\n",
	  STREAM_OK, true, .text = "dvpn-nc: connected 10.8.0.5 80" },
	{ "bash: warning: setlocale: LC_ALL: cannot change locale (xx_XX.UTF-8): No such file or "
	  "directory\nConnection to 10.8.0.5 80 port [tcp/http] succeeded!\n",
	  STREAM_OK, .text = "Connection to 10.8.0.5 80 port [tcp/http] succeeded!" },
	{ "sh: 0: getcwd() failed: No such file or directory\n"
	  "nc: connect to 10.8.0.5 port 1 (tcp) failed: Connection refused\n",
	  STREAM_REFUSED,
	  .text = "nc: connect to 10.8.0.5 port 1 (tcp) failed: Connection refused" },
	{ "shell-init: error retrieving current directory: getcwd: cannot access parent "
	  "directories: No such file or directory\n", STREAM_PENDING, .text = SAME },

	/* words of success count at the end of a line only */
	{ "nc: it has succeeded! or so\n", STREAM_PENDING, .text = SAME },
	{ "nc: 12 open files\n", STREAM_PENDING, .text = SAME },
	{ "open\n", STREAM_PENDING, .text = SAME },

	/* the first result stays, whatever comes behind it */
	{ "dvpn-nc: connected 10.8.0.5 80\ndvpn-nc: refused 10.8.0.5 80: x\n", STREAM_OK, true,
	  .text = "dvpn-nc: connected 10.8.0.5 80" },
	{ "dvpn-nc: denied 10.8.0.5 80: x\ndvpn-nc: connected 10.8.0.5 80\n", STREAM_DENIED, true,
	  .text = "dvpn-nc: denied 10.8.0.5 80: x" },
	{ "nc: timed out\nConnection to 10.8.0.5 80 port [tcp/http] succeeded!\nmore\n",
	  STREAM_TIMED_OUT, .text = "nc: timed out" },
	{ "Connection to 10.8.0.5 80 port [tcp/http] succeeded!\nnc: Connection refused\n",
	  STREAM_OK, .text = "Connection to 10.8.0.5 80 port [tcp/http] succeeded!" },
	{ "ssh_banner\nanother\nlast words\n", STREAM_PENDING, .text = "last words" },

	/* line ends */
	{ "dvpn-nc: connected 10.8.0.5 80\r\ndvpn-nc: end\r\n", STREAM_OK, true, true,
	  .text = "dvpn-nc: connected 10.8.0.5 80" },
	{ "dvpn-nc: connected 10.8.0.5 80\ndvpn-nc: end", STREAM_OK, true, true,
	  .text = "dvpn-nc: connected 10.8.0.5 80" },
	{ "(UNKNOWN) [10.8.0.5] 80 (http) open\r\n", STREAM_OK,
	  .text = "(UNKNOWN) [10.8.0.5] 80 (http) open" },
	{ "nc: timed out\r", STREAM_TIMED_OUT, .text = "nc: timed out" },
	/* no terminal is told what a far host likes to tell it */
	{ "nc: \033[2Jtimed out\a\n", STREAM_TIMED_OUT, .text = "nc: ?[2Jtimed out?" },
	{ "nc: \xff\x80 caf\xc3\xa9\n", STREAM_PENDING, .text = "nc: ?? caf??" },
};
#define CASES (sizeof(cases) / sizeof(cases[0]))

static void expect(size_t i, const struct ncreply *reply)
{
	char only[160];
	const char *text = cases[i].text;

	if (!text) {
		size_t size = strcspn(cases[i].said, "\n");

		size = size < sizeof(only) - 1 ? size : sizeof(only) - 1;
		memcpy(only, cases[i].said, size);
		only[size] = '\0';
		text = only;
	}
	if (reply->outcome != cases[i].outcome || reply->ours != cases[i].ours ||
	    reply->ended != cases[i].ended || reply->reset != cases[i].reset ||
	    strcmp(reply->text, text) != 0)
		fail_msg("%s\n: outcome %d, not %d; ours %d, ended %d, reset %d, text \"%s\"",
			 cases[i].said, reply->outcome, cases[i].outcome, reply->ours, reply->ended,
			 reply->reset, reply->text);
}

/* In pieces of `piece` bytes; 0: all at once. */
static void say(struct ncreply *reply, const char *text, size_t size, size_t piece)
{
	for (size_t at = 0; at < size; at += piece) {
		if (!piece || piece > size - at)
			piece = size - at;
		ncreply_feed(reply, text + at, piece);
	}
	ncreply_finish(reply);
}

static void test_lines(void **state)
{
	(void)state;
	for (size_t i = 0; i < CASES; i++) {
		struct ncreply reply = { 0 };

		say(&reply, cases[i].said, strlen(cases[i].said), 0);
		expect(i, &reply);
	}
}

static void test_lines_in_pieces(void **state)
{
	(void)state;
	for (size_t piece = 1; piece < 40; piece++) {
		for (size_t i = 0; i < CASES; i++) {
			struct ncreply reply = { 0 };

			say(&reply, cases[i].said, strlen(cases[i].said), piece);
			expect(i, &reply);
		}
	}
}

/* A result is one when its line has ended, not before. */
static void test_half_a_line_says_nothing(void **state)
{
	static const char said[] = "dvpn-nc: connected 10.8.0.5 80";
	struct ncreply reply = { 0 };

	(void)state;
	ncreply_feed(&reply, said, strlen(said));
	assert_int_equal(reply.outcome, STREAM_PENDING);
	assert_false(reply.ours);
	ncreply_feed(&reply, said, 0);
	assert_int_equal(reply.outcome, STREAM_PENDING);
	ncreply_feed(&reply, "\n", 1);
	assert_int_equal(reply.outcome, STREAM_OK);
	assert_true(reply.ours);
	ncreply_feed(&reply, "dvpn-nc: end", 12);
	assert_false(reply.ended);
	ncreply_finish(&reply);
	assert_true(reply.ended);
	ncreply_finish(&reply);
	assert_string_equal(reply.text, said);
}

/* Beginnings are judged, ends are let go, and the next line is whole again. */
static void test_overlong_lines(void **state)
{
	static const char begins[] = "dvpn-nc: refused ";
	char long_line[5000];

	(void)state;
	for (size_t size = 100; size < sizeof(long_line); size += size < 300 ? 1 : 997) {
		struct ncreply reply = { 0 };

		memset(long_line, 'x', size);
		memcpy(long_line, begins, strlen(begins));
		ncreply_feed(&reply, long_line, size);
		ncreply_feed(&reply, "\ndvpn-nc: end\n", 14);
		assert_int_equal(reply.outcome, STREAM_REFUSED);
		assert_true(reply.ended);
		assert_int_equal(strlen(reply.text),
				 size < sizeof(reply.text) ? size : sizeof(reply.text) - 1);
		assert_memory_equal(reply.text, long_line, strlen(reply.text));
	}
}

/* A success whose line was cut is not seen, nor is one made by the cut. */
static void test_overlong_success(void **state)
{
	struct ncreply reply = { 0 };
	char line[400];

	(void)state;
	memset(line, 'x', sizeof(line));
	memcpy(line + 255 - 5, " open", 5); /* where the kept part of it ends */
	say(&reply, line, sizeof(line), 0);
	assert_int_equal(reply.outcome, STREAM_PENDING);

	reply = (struct ncreply){ 0 };
	memcpy(line + 254 - 5, " open", 5);
	say(&reply, line, 254, 0);
	assert_int_equal(reply.outcome, STREAM_OK);
}

static void test_nul_bytes(void **state)
{
	static const char said[] = "nc: \0timed out\0\n\0dvpn-nc: end\n\0\n\0";
	struct ncreply reply = { 0 };

	(void)state;
	say(&reply, said, sizeof(said) - 1, 0);
	assert_int_equal(reply.outcome, STREAM_TIMED_OUT);
	assert_string_equal(reply.text, "nc: ?timed out?");
	assert_false(reply.ours);
	assert_false(reply.ended);
}

static void test_every_byte(void **state)
{
	(void)state;
	for (int byte = 0; byte < 256; byte++) {
		struct ncreply reply = { 0 };
		char said[] = "a?b\n";

		said[1] = (char)byte;
		say(&reply, said, 4, 0);
		assert_int_equal(reply.outcome, STREAM_PENDING);
		if (byte == '\n')
			assert_string_equal(reply.text, "b");
		else
			assert_int_equal(strlen(reply.text), 3);
		for (const char *c = reply.text; *c; c++)
			assert_in_range(*c, ' ', '~');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_lines_in_pieces),
		cmocka_unit_test(test_half_a_line_says_nothing),
		cmocka_unit_test(test_overlong_lines),
		cmocka_unit_test(test_overlong_success),
		cmocka_unit_test(test_nul_bytes),
		cmocka_unit_test(test_every_byte),
	};

	return cmocka_run_group_tests_name("ncreply", tests, NULL, NULL);
}
