/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket for real, in a directory of its own: a daemon filled by
 * hand, workers that report when the test says so, raw clients, and dvpnctl.
 */
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

static void finish_report(void)
{
	struct carry_report report = { .flows = many_flows,
				       .flow_count = many_flow_count,
				       .flows_started = 41 };
	carry_report_done *done = report_done;

	assert_non_null(done);
	report_done = NULL;
	done(&report, report_arg);
}

static void hook_report(struct carry *carry, carry_report_done *done, void *arg)
{
	(void)carry;
	assert_null(report_done);
	report_done = done;
	report_arg = arg;
	report_count++;
	if (report_at_once)
		finish_report();
}

static int hook_reload(struct daemon *daemon, FILE *errors)
{
	assert_ptr_equal(daemon, &gateway);
	fputs(reload_errors, errors);
	return reload_result;
}

static const struct capture_counters *hook_counters(const struct listener *listener)
{
	static const struct capture_counters counters = { .accepted = 17 };

	(void)listener;
	return &counters;
}

static const struct control_hooks hooks = { hook_reload, hook_report, hook_counters };

static struct conf *make_conf(void)
{
	char text[400];

	snprintf(text, sizeof(text),
		 "[site]\nname = thursday\nkey = /etc/dvpn/id\nprefixes = 10.7.0.0/16\n"
		 "[control]\nsocket = %s\n", socket_path);
	return conf_parse(text, strlen(text), "dvpnd.conf", stderr);
}

static int setup(void **state)
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

static int teardown(void **state)
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

static void start_with(struct server_limits limits)
{
	control = control_start_with(&gateway, &hooks, &limits);
	assert_non_null(control);
}

static void start(void)
{
	start_with(SERVER_LIMITS);
}

/* ---- clients ---- */

static int client(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Lets the server do what it can now. */
static void turn(void)
{
	for (int i = 0; i < 4; i++)
		ev_run(gateway.loop, EVRUN_NOWAIT);
}

static void wait_for_report(void)
{
	double end = now() + PATIENCE;

	while (!report_done && now() < end)
		ev_run(gateway.loop, EVRUN_NOWAIT);
	assert_non_null(report_done);
}

/* All that comes until the server closes; closes too.  Freed by the next call. */
static const char *hear(int fd)
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

static const char *ask(const char *line)
{
	int fd = client();

	say(fd, line);
	return hear(fd);
}

/* An "ok" whose size is true; the rest of it. */
static const char *body(const char *answer)
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

static void expect_part(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no '%s' in '%s'", part, text);
}

static void expect_error(const char *answer, const char *part)
{
	if (strncmp(answer, "error ", 6) != 0 || answer[strlen(answer) - 1] != '\n')
		fail_msg("no error: %s", answer);
	expect_part(answer, part);
}

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
	expect_part(body(ask("explain 10.8.0.5:80\n")), "destination  10.8.0.5:80\ncaptured     yes");
	expect_part(body(ask("explain 10.8.0.5\n")), "destination  10.8.0.5\ncaptured     yes");
	expect_part(body(ask("json explain [fd00:8::5]:80\n")), "\"destination\":\"fd00:8::5\",\"port\":80,"
								"\"captured\":false,\"verdict\":\"no_route\"");
	expect_part(body(ask("json explain fd00:8::5\n")), "\"port\":0");
	expect_part(body(ask("json explain 10.7.1.2\n")), "\"verdict\":\"own_prefix\"");
	expect_part(body(ask("json explain 127.0.0.1\n")), "\"verdict\":\"own_address\"");
	expect_part(body(ask("explain FRIDAY:80\n")), "site         friday\nmap line     /etc/dvpn/hosts:1");
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
	assert_string_equal(body(ask("reload\n")), "reloaded, but:\n/etc/dvpn/hosts:3: bad \\x1b prefix\n");
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

static pid_t run_as_nobody(int write_end)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char text[256];
	ssize_t got;
	pid_t pid = fork();
	int fd;

	if (pid != 0)
		return pid;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (setgid(65534) || setuid(65534))
		_exit(2);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		_exit(errno == EACCES ? 13 : 3);
	got = recv(fd, text, sizeof(text), 0);
	_exit(got > 0 && write(write_end, text, (size_t)got) == got ? 0 : 4);
}

static int wait_status(pid_t pid)
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

/* The mode keeps others out; where it is opened, credentials still do. */
static void test_other_users(void **state)
{
	char text[256] = "";
	int ends[2];

	(void)state;
	assert_int_equal(geteuid(), 0); /* a test that proves nothing must not pass */
	start();
	assert_int_equal(chmod(directory, 0755), 0);
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(wait_status(run_as_nobody(ends[1])), 13);
	assert_int_equal(chmod(socket_path, 0666), 0);
	assert_int_equal(wait_status(run_as_nobody(ends[1])), 0);
	assert_true(read(ends[0], text, sizeof(text) - 1) > 0);
	expect_error(text, "only root and the user that dvpnd runs as");
	close(ends[0]);
	close(ends[1]);
}

/* ---- the socket's file ---- */

static void test_socket_file(void **state)
{
	struct stat status;
	mode_t mask = umask(0);

	(void)state;
	start();
	umask(mask);
	assert_int_equal(lstat(socket_path, &status), 0);
	assert_true(S_ISSOCK(status.st_mode));
	assert_int_equal(status.st_mode & 07777, 0600);
	control_stop(control);
	control = NULL;
	assert_int_equal(lstat(socket_path, &status), -1);
}

static void test_directory_mode(void **state)
{
	char path[96];
	struct stat status;
	mode_t mask = umask(077);

	(void)state;
	start();
	umask(mask);
	snprintf(path, sizeof(path), "%s/run", directory);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0755);
}

/* Runs control_start_with with stderr in a file; what was logged. */
static struct control *start_logged(char *text, size_t size)
{
	FILE *file = tmpfile();
	struct control *started;
	int saved = dup(STDERR_FILENO);

	assert_non_null(file);
	dup2(fileno(file), STDERR_FILENO);
	started = control_start_with(&gateway, &hooks, &SERVER_LIMITS);
	dup2(saved, STDERR_FILENO);
	close(saved);
	rewind(file);
	text[fread(text, 1, size - 1, file)] = '\0';
	fclose(file);
	return started;
}

static void test_stale_socket_is_replaced(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)state;
	start();
	control_stop(control);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd); /* its file stays */
	start();
	expect_part(body(ask("routes\n")), "friday");
}

static void test_live_socket_is_left_alone(void **state)
{
	char text[1024], pid[32];

	(void)state;
	start();
	assert_null(start_logged(text, sizeof(text)));
	snprintf(pid, sizeof(pid), "(process %ld)", (long)getpid());
	expect_part(text, pid);
	expect_part(text, "already answers on");
	expect_part(body(ask("routes\n")), "friday");
}

/* Another daemon's socket must survive the end of the one it replaced. */
static void test_foreign_socket_is_not_removed(void **state)
{
	struct control *first;
	struct stat status;

	(void)state;
	start();
	first = control;
	assert_int_equal(unlink(socket_path), 0);
	start();
	control_stop(first);
	assert_int_equal(lstat(socket_path, &status), 0);
	expect_part(body(ask("routes\n")), "friday");
}

static void test_unusable_paths(void **state)
{
	char text[1024], *path = gateway.conf->socket;
	char deep[] = "/nonexistent/deeper/control";
	char longest[] = "/0123456789012345678901234567890123456789012345678901234"
			 "567890123456789012345678901234567890123456789012345678";
	struct control *started[2];
	int fd;

	(void)state;
	start();
	control_stop(control);
	control = NULL;
	fd = open(socket_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_null(start_logged(text, sizeof(text)));
	expect_part(text, "is no socket; remove it");
	assert_int_equal(access(socket_path, F_OK), 0);

	/* Put back before a check can leave: teardown frees it. */
	gateway.conf->socket = deep;
	started[0] = start_logged(text, sizeof(text));
	gateway.conf->socket = longest;
	started[1] = start_logged(text + strlen(text), sizeof(text) - strlen(text));
	gateway.conf->socket = path;
	assert_null(started[0]);
	assert_null(started[1]);
	expect_part(text, "can't make the directory /nonexistent/deeper");
	expect_part(text, "must have 1 to 107 bytes");
}

/* ---- dvpnctl ---- */

struct run {
	int status;
	char out[4096], err[4096];
};

static void slurp(FILE *file, char *text, size_t size)
{
	rewind(file);
	text[fread(text, 1, size - 1, file)] = '\0';
	fclose(file);
}

/* The program that was built beside this test. */
static const char *program_path(void)
{
	static char path[4096];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 64);

	assert_true(length > 0);
	path[length] = '\0';
	for (int i = 0; i < 3; i++)
		*strrchr(path, '/') = '\0';
	strcat(path, "/dvpnd/dvpnctl");
	return path;
}

static void run_in(struct run *run, char *const *words)
{
	FILE *out = tmpfile(), *err = tmpfile();
	const char *path = program_path();
	pid_t pid;

	assert_true(out && err);
	pid = fork();
	if (pid == 0) {
		dup2(fileno(out), STDOUT_FILENO);
		dup2(fileno(err), STDERR_FILENO);
		execv(path, words);
		_exit(127);
	}
	run->status = wait_status(pid);
	slurp(out, run->out, sizeof(run->out));
	slurp(err, run->err, sizeof(run->err));
}

#define RUN(run, ...) run_in(run, (char *const[]){ (char *)"dvpnctl", __VA_ARGS__, NULL })
#define WORD(text) ((char *)(text))

static void test_dvpnctl_asks(void **state)
{
	struct run run;

	(void)state;
	start();
	RUN(&run, WORD("-s"), socket_path, WORD("routes"));
	assert_int_equal(run.status, 0);
	expect_part(run.out, "PREFIX       SITE    PREF");
	assert_string_equal(run.err, "");
	RUN(&run, WORD("--json"), WORD("--socket"), socket_path, WORD("explain"), WORD("friday"));
	assert_int_equal(run.status, 0);
	expect_part(run.out, "{\"report\":\"explain\",\"site\":\"friday\"");
	reload_result = -1;
	reload_errors = "dvpnd.conf:3: unknown key\n";
	RUN(&run, WORD("-s"), socket_path, WORD("reload"));
	assert_int_equal(run.status, 1);
	assert_string_equal(run.out, "");
	assert_string_equal(run.err, "dvpnctl: the reload failed; the old configuration and map "
				     "stay in force\ndvpnd.conf:3: unknown key\n");
}

static void test_dvpnctl_can_not_connect(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct run run;
	int fd;

	(void)state;
	RUN(&run, WORD("-s"), WORD("/nonexistent/control"), WORD("status"));
	assert_int_equal(run.status, 1);
	assert_string_equal(run.err,
			    "dvpnctl: can't connect to /nonexistent/control: No such file or "
			    "directory: dvpnd is not running (systemctl status dvpnd), or uses "
			    "another [control] socket (-s)\n");
	RUN(&run, WORD("-s"), WORD(""), WORD("status"));
	assert_int_equal(run.status, 1);
	expect_part(run.err, "must have 1 to 107 bytes");
	/* A listener that hangs up without a word. */
	start();
	control_stop(control);
	control = NULL;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	RUN(&run, WORD("-s"), socket_path, WORD("status"));
	assert_int_equal(run.status, 1);
	expect_part(run.err, "Connection refused: dvpnd is not running");
}

/* What a server that is none of ours, or dies, makes dvpnctl say. */
static void answer_once(const char *text, struct run *run)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), client_fd;
	char request[64];
	pid_t pid;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
	unlink(socket_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 1), 0);
	pid = fork();
	if (pid == 0) {
		client_fd = accept(fd, NULL, NULL);
		if (recv(client_fd, request, sizeof(request), 0) != 7)
			_exit(1);
		_exit(write(client_fd, text, strlen(text)) != (ssize_t)strlen(text));
	}
	close(fd);
	RUN(run, WORD("-s"), socket_path, WORD("status"));
	assert_int_equal(wait_status(pid), 0);
}

static void test_dvpnctl_bad_answers(void **state)
{
	static const struct {
		const char *answer, *message;
	} cases[] = {
		{ "", "the answer breaks off" },
		{ "ok 100\nonly this", "the answer breaks off" },
		{ "ok 3\ntoo much", "the answer breaks off" },
		{ "ok 3", "is no dvpnd" },
		{ "HTTP/1.0 400 Bad Request\r\n", "is no dvpnd" },
		{ "error", "is no dvpnd" },
	};
	struct run run;

	(void)state;
	start();
	control_stop(control);
	control = NULL;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		answer_once(cases[i].answer, &run);
		assert_int_equal(run.status, 1);
		assert_string_equal(run.out, "");
		expect_part(run.err, cases[i].message);
	}
	answer_once("ok 6\nwhole\n", &run);
	assert_int_equal(run.status, 0);
	assert_string_equal(run.out, "whole\n");
}

static void test_dvpnctl_usage(void **state)
{
	static const struct {
		const char *words[3], *message;
	} cases[] = {
		{ { NULL }, "no command" },
		{ { "halt" }, "unknown command halt" },
		{ { "explain" }, "what is to be explained?" },
		{ { "explain", "a", "b" }, "one word too many: b" },
		{ { "status", "x" }, "one word too many: x" },
		{ { "explain", "a b" }, "no address and no site's name: a b" },
		{ { "explain", "" }, "no address and no site's name:" },
		{ { "-q" }, "bad option" },
	};
	struct run run;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *const words[] = { WORD("dvpnctl"), WORD(cases[i].words[0]),
					WORD(cases[i].words[1]), WORD(cases[i].words[2]), NULL };

		run_in(&run, words);
		assert_int_equal(run.status, 2);
		expect_part(run.err, cases[i].message);
	}
	RUN(&run, WORD("--help"));
	assert_int_equal(run.status, 0);
	expect_part(run.out, "usage: dvpnctl");
	RUN(&run, WORD("--version"));
	assert_int_equal(run.status, 0);
	assert_string_equal(run.out, "dvpnctl " DVPN_VERSION "\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

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
		TEST(test_other_users),
		TEST(test_socket_file),
		TEST(test_directory_mode),
		TEST(test_stale_socket_is_replaced),
		TEST(test_live_socket_is_left_alone),
		TEST(test_foreign_socket_is_not_removed),
		TEST(test_unusable_paths),
		TEST(test_dvpnctl_asks),
		TEST(test_dvpnctl_can_not_connect),
		TEST(test_dvpnctl_bad_answers),
		TEST(test_dvpnctl_usage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
