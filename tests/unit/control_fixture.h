/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tests of the control socket share: a daemon filled by hand behind a
 * socket in a directory of its own, workers that report when the test says so,
 * and raw clients.
 */
#ifndef TESTS_UNIT_CONTROL_FIXTURE_H
#define TESTS_UNIT_CONTROL_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/control.h"
#include "daemon.h"
#include "map/build.h"

#define PATIENCE 10 /* seconds until a test gives up waiting */

static const char map_text[] = "10.8.0.1 friday #! 10.8.0.0/16 friday.example.net\n"
			       "10.9.0.1 monday #! 10.9.0.0/16 monday.example.net\n";

/* The fixture: one per test. */
static char directory[64], socket_path[96];
static struct daemon gateway;
static struct control *control;

/* What the doubles were asked, and what they answer. */
static carry_report_done *report_done;
static void *report_arg;
static unsigned report_count;
static bool report_at_once;
static int reload_result;
static const char *reload_errors;
static struct flow_report *many_flows;
static size_t many_flow_count;

static inline void finish_report(void)
{
	struct carry_report report = { .flows = many_flows,
				       .flow_count = many_flow_count,
				       .flows_started = 41 };
	carry_report_done *done = report_done;

	assert_non_null(done);
	report_done = NULL;
	done(&report, report_arg);
}

static inline void hook_report(struct carry *carry, carry_report_done *done, void *arg)
{
	(void)carry;
	assert_null(report_done);
	report_done = done;
	report_arg = arg;
	report_count++;
	if (report_at_once)
		finish_report();
}

static inline int hook_reload(struct daemon *daemon, FILE *errors)
{
	assert_ptr_equal(daemon, &gateway);
	fputs(reload_errors, errors);
	return reload_result;
}

static inline const struct capture_counters *hook_counters(const struct listener *listener)
{
	static const struct capture_counters counters = { .accepted = 17 };

	(void)listener;
	return &counters;
}

static const struct control_hooks hooks = { hook_reload, hook_report, hook_counters };

static inline struct conf *make_conf(void)
{
	char text[400];

	snprintf(text, sizeof(text),
		 "[site]\nname = thursday\nkey = /etc/dvpn/id\nprefixes = 10.7.0.0/16\n"
		 "[control]\nsocket = %s\n", socket_path);
	return conf_parse(text, strlen(text), "dvpnd.conf", stderr);
}

static inline int setup(void **state)
{
	struct hosts_text text = { "/etc/dvpn/hosts", map_text, sizeof(map_text) - 1, false };
	static char somewhere;

	(void)state;
	snprintf(directory, sizeof(directory), "/tmp/dvpn-control-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(socket_path, sizeof(socket_path), "%s/run/control", directory);
	gateway = (struct daemon){ .loop = ev_loop_new(0) };
	gateway.conf = make_conf();
	gateway.routes = routes_build(&text, 1, 32, NULL, NULL);
	/* Never looked into: only passed on to the doubles. */
	gateway.carry = (struct carry *)&somewhere;
	gateway.listener = (struct listener *)&somewhere;
	gateway.started = gateway.map_loaded = ev_now(gateway.loop) - 100;
	report_done = NULL;
	report_count = 0;
	report_at_once = true;
	reload_result = 0;
	reload_errors = "";
	many_flows = NULL;
	many_flow_count = 0;
	log_init(LOG_TO_STDERR, LOG_LEVEL_ERROR);
	return gateway.loop && gateway.conf && gateway.routes ? 0 : -1;
}

static inline int teardown(void **state)
{
	(void)state;
	control_stop(control);
	control = NULL;
	ev_loop_destroy(gateway.loop);
	conf_put(gateway.conf);
	routes_put(gateway.routes);
	free(many_flows);
	unlink(socket_path);
	*strrchr(socket_path, '/') = '\0';
	rmdir(socket_path);
	return rmdir(directory);
}

static inline void start_with(struct server_limits limits)
{
	control = control_start_with(&gateway, &hooks, &limits);
	assert_non_null(control);
}

static inline void start(void)
{
	start_with(SERVER_LIMITS);
}

/* ---- clients ---- */

static inline int client(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static inline void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static inline double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Lets the server do what it can now. */
static inline void turn(void)
{
	for (int i = 0; i < 4; i++)
		ev_run(gateway.loop, EVRUN_NOWAIT);
}

static inline void wait_for_report(void)
{
	double end = now() + PATIENCE;

	while (!report_done && now() < end)
		ev_run(gateway.loop, EVRUN_NOWAIT);
	assert_non_null(report_done);
}

/* All that comes until the server closes; closes too.  Freed by the next call. */
static inline const char *hear(int fd)
{
	static char *text;
	static size_t room;
	double end = now() + PATIENCE;
	size_t size = 0;

	for (;;) {
		struct pollfd ready = { .fd = fd, .events = POLLIN };
		ssize_t got;

		assert_true(now() < end);
		ev_run(gateway.loop, EVRUN_NOWAIT);
		poll(&ready, 1, 1);
		if (room < size + 65536) {
			char *more = realloc(text, 2 * (size + 65536));

			assert_non_null(more);
			room = 2 * (size + 65536);
			text = more;
		}
		got = recv(fd, text + size, room - size - 1, 0);
		if (got < 0 && errno == EAGAIN)
			continue;
		assert_true(got >= 0);
		if (got == 0)
			break;
		size += (size_t)got;
	}
	text[size] = '\0';
	close(fd);
	return text;
}

static inline const char *ask(const char *line)
{
	int fd = client();

	say(fd, line);
	return hear(fd);
}

/* An "ok" whose size is true; the rest of it. */
static inline const char *body(const char *answer)
{
	char *end;
	unsigned long long size;

	if (strncmp(answer, "ok ", 3) != 0)
		fail_msg("no ok: %s", answer);
	size = strtoull(answer + 3, &end, 10);
	assert_int_equal(*end, '\n');
	assert_int_equal(size, strlen(end + 1));
	return end + 1;
}

static inline void expect_part(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no '%s' in '%s'", part, text);
}

static inline void expect_error(const char *answer, const char *part)
{
	if (strncmp(answer, "error ", 6) != 0 || answer[strlen(answer) - 1] != '\n')
		fail_msg("no error: %s", answer);
	expect_part(answer, part);
}

static inline int wait_status(pid_t pid)
{
	double end = now() + PATIENCE;
	int status;

	for (;;) {
		pid_t ended = waitpid(pid, &status, WNOHANG);

		assert_true(ended >= 0 && now() < end);
		if (ended == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
		ev_run(gateway.loop, EVRUN_NOWAIT);
		poll(NULL, 0, 1);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
