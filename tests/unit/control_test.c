/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control socket: requests and answers, and clients that do not behave. */
#include "control_fixture.h"

/* ---- the requests ---- */

static void test_requests(void **state)
{
	(void)state;
	start();
	expect_part(body(ask("status\n")), "captured     17 accepted");
	expect_part(body(ask("json status\n")), "\"map\":{\"sites\":2,\"prefixes\":2,");
	expect_part(body(ask("json status\n")), "\"started\":41,");
	expect_part(body(ask(" \troutes \t\n")), "\n10.8.0.0/16  friday");
	expect_part(body(ask("json routes\n")), "{\"prefix\":\"10.8.0.0/16\",\"site\":\"friday\"");
	expect_part(body(ask("json links\n")), "{\"report\":\"links\",\"links\":[]}");
	expect_part(body(ask("json flows\n")), "{\"report\":\"flows\",\"flows\":[]}");
	assert_int_equal(report_count, 5);
}

static void test_explain_requests(void **state)
{
	(void)state;
	start();
	expect_part(body(ask("explain 10.8.0.5:80\n")),
		    "destination  10.8.0.5:80\ncaptured     yes");
	expect_part(body(ask("explain 10.8.0.5\n")), "destination  10.8.0.5\ncaptured     yes");
	expect_part(body(ask("json explain [fd00:8::5]:80\n")),
		    "\"destination\":\"fd00:8::5\",\"port\":80,"
		    "\"captured\":false,\"verdict\":\"no_route\"");
	expect_part(body(ask("json explain fd00:8::5\n")), "\"port\":0");
	expect_part(body(ask("json explain 10.7.1.2\n")), "\"verdict\":\"own_prefix\"");
	expect_part(body(ask("json explain 127.0.0.1\n")), "\"verdict\":\"own_address\"");
	expect_part(body(ask("explain FRIDAY:80\n")),
		    "site         friday\nmap line     /etc/dvpn/hosts:1");
	expect_error(ask("explain nas.friday\n"), "getent hosts nas.friday");
	expect_error(ask("explain 10.8.0.0/16\n"), "like 10.8.0.5:80, [fd00:8::5]:80 or friday");
	expect_error(ask("explain 10.8.0.5:99999\n"), "can't explain '10.8.0.5:99999'");
}

static void test_reload_requests(void **state)
{
	(void)state;
	start();
	assert_string_equal(body(ask("reload\n")), "reloaded\n");
	reload_errors = "/etc/dvpn/hosts:3: bad \033 prefix\n";
	assert_string_equal(body(ask("reload\n")),
			    "reloaded, but:\n/etc/dvpn/hosts:3: bad \\x1b prefix\n");
	reload_result = -1;
	assert_string_equal(ask("json reload\n"),
			    "error the reload failed; the old configuration and map stay in force\n"
			    "/etc/dvpn/hosts:3: bad \\x1b prefix\n");
}

static void test_without_carry_and_listener(void **state)
{
	(void)state;
	gateway.carry = NULL;
	gateway.listener = NULL;
	start();
	expect_part(body(ask("status\n")), "captured     0 accepted");
}

static void test_bad_requests(void **state)
{
	char line[2 * REQUEST_SIZE_MAX];
	int fd;

	(void)state;
	start();
	expect_error(ask("\n"), "empty request");
	expect_error(ask(" \t \n"), "empty request");
	expect_error(ask("json\n"), "unknown request ''");
	expect_error(ask("halt\n"), "unknown request 'halt'");
	expect_error(ask("status now\n"), "status takes 0 arguments, not 1");
	expect_error(ask("explain\n"), "explain takes 1 arguments, not 0");
	expect_error(ask("a b c d e f g h i\n"), "too many words");
	expect_error(ask("sta\033tus\n"), "control character");
	expect_error(ask("status\r\n"), "control character");
	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	expect_error(ask(line), "longer than 1024 bytes");
	line[REQUEST_SIZE_MAX - 1] = '\n'; /* exactly fits */
	line[REQUEST_SIZE_MAX] = '\0';
	expect_error(ask(line), "unknown request 'xxx");
	fd = client();
	assert_int_equal(send(fd, "sta\0tus\n", 8, MSG_NOSIGNAL), 8);
	expect_error(hear(fd), "control character");
	assert_int_equal(report_count, 0);
}

static void test_request_in_pieces(void **state)
{
	int fd;

	(void)state;
	start();
	fd = client();
	say(fd, "json ");
	turn();
	say(fd, "flo");
	turn();
	say(fd, "ws\nignored");
	expect_part(body(hear(fd)), "\"flows\":[]");
	fd = client();
	say(fd, "reload"); /* cut: must not be carried out */
	shutdown(fd, SHUT_WR);
	expect_error(hear(fd), "without a newline");
	fd = client();
	say(fd, "flows\n");
	shutdown(fd, SHUT_WR);
	expect_part(body(hear(fd)), "CLIENT");
}

/* ---- requests that wait ---- */

static void test_request_is_held(void **state)
{
	int fd;

	(void)state;
	report_at_once = false;
	start();
	fd = client();
	say(fd, "flows\n");
	wait_for_report();
	shutdown(fd, SHUT_WR); /* half-closed: still there */
	turn();
	assert_int_equal(recv(fd, &(char){ 0 }, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
	finish_report();
	expect_part(body(hear(fd)), "CLIENT");
}

static void test_client_leaves_while_held(void **state)
{
	struct server_limits limits = SERVER_LIMITS;
	int fd;

	(void)state;
	report_at_once = false;
	limits.clients = 1;
	start_with(limits);
	fd = client();
	say(fd, "flows\n");
	wait_for_report();
	close(fd);
	turn();
	/* It has its place until the workers have answered. */
	expect_error(ask("routes\n"), "too many clients");
	finish_report();
	expect_part(body(ask("routes\n")), "friday");
}

static void test_stop_while_held(void **state)
{
	int fd;

	(void)state;
	report_at_once = false;
	start();
	fd = client();
	say(fd, "flows\n");
	wait_for_report();
	control_stop(control);
	control = NULL;
	assert_string_equal(hear(fd), "");
	finish_report();
}

static void test_held_too_long(void **state)
{
	struct server_limits limits = SERVER_LIMITS;
	int fd;

	(void)state;
	report_at_once = false;
	limits.deadline = 0.05;
	limits.clients = 1;
	start_with(limits);
	fd = client();
	say(fd, "flows\n");
	wait_for_report();
	expect_error(hear(fd), "a worker is busy or stuck");
	expect_error(ask("routes\n"), "too many clients");
	finish_report();
	expect_part(body(ask("routes\n")), "friday");
}

/* ---- clients that don't behave ---- */

static void test_silent_client(void **state)
{
	struct server_limits limits = SERVER_LIMITS;
	int fd;

	(void)state;
	limits.deadline = 0.05;
	start_with(limits);
	fd = client();
	expect_error(hear(fd), "no request came");
	fd = client();
	say(fd, "stat"); /* one that trickles has no more time */
	expect_error(hear(fd), "no request came");
}

static void fill_flows(size_t count)
{
	many_flows = calloc(count, sizeof(*many_flows));
	assert_non_null(many_flows);
	many_flow_count = count;
	for (size_t i = 0; i < count; i++)
		snprintf(many_flows[i].client, sizeof(many_flows[i].client), "10.7.0.5:%zu", i);
}

static void test_large_answer(void **state)
{
	const char *last;
	int fd;

	(void)state;
	fill_flows(20000);
	start();
	fd = client();
	say(fd, "flows\n");
	turn(); /* the socket's buffer is full, and others are served */
	expect_part(body(ask("routes\n")), "friday");
	last = body(hear(fd));
	expect_part(last, "10.7.0.5:19999 ");
}

static void test_slow_reader(void **state)
{
	struct server_limits limits = SERVER_LIMITS;
	const char *text = "";
	double end;
	int fd;

	(void)state;
	fill_flows(20000);
	limits.deadline = 0.05;
	limits.clients = 1;
	start_with(limits);
	fd = client();
	say(fd, "flows\n");
	/* Its place is free again when its time is over. */
	for (end = now() + PATIENCE; now() < end; ev_run(gateway.loop, EVRUN_NOWAIT)) {
		text = ask("routes\n");
		if (strncmp(text, "ok ", 3) == 0)
			break;
	}
	body(text);
	text = hear(fd);
	/* It breaks off, and can't be taken for whole. */
	assert_true(strtoull(text + 3, NULL, 10) > strlen(text));
}

static void test_buffer_cap(void **state)
{
	struct server_limits limits = SERVER_LIMITS;

	(void)state;
	fill_flows(2000);
	limits.buffered = 100000;
	start_with(limits);
	expect_error(ask("flows\n"), "too large to keep");
	many_flow_count = 1000;
	expect_part(body(ask("flows\n")), "10.7.0.5:999 ");
	many_flow_count = 1000; /* what was taken is not counted any more */
	expect_part(body(ask("flows\n")), "10.7.0.5:999 ");
}

static void test_too_many_clients(void **state)
{
	int fds[32];

	(void)state;
	start();
	for (int i = 0; i < 32; i++)
		fds[i] = client(), turn();
	expect_error(ask("routes\n"), "too many clients");
	close(fds[7]);
	turn();
	expect_part(body(ask("routes\n")), "friday");
	say(fds[8], "routes\n");
	expect_part(body(hear(fds[8])), "friday");
	for (int i = 0; i < 32; i++)
		if (i != 7 && i != 8)
			close(fds[i]);
}

static void test_out_of_descriptors(void **state)
{
	struct rlimit before, none;
	int fd;

	(void)state;
	start();
	turn();
	fd = client();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){ (rlim_t)fd + 1, before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	turn();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	say(fd, "routes\n");
	expect_part(body(hear(fd)), "friday");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_requests),
		TEST(test_explain_requests),
		TEST(test_reload_requests),
		TEST(test_without_carry_and_listener),
		TEST(test_bad_requests),
		TEST(test_request_in_pieces),
		TEST(test_request_is_held),
		TEST(test_client_leaves_while_held),
		TEST(test_stop_while_held),
		TEST(test_held_too_long),
		TEST(test_silent_client),
		TEST(test_large_answer),
		TEST(test_slow_reader),
		TEST(test_buffer_cap),
		TEST(test_too_many_clients),
		TEST(test_out_of_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
