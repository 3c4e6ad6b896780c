/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dvpnctl as a program, against the real socket and against bad ones. */
#include "control_fixture.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_dvpnctl_asks),
		TEST(test_dvpnctl_can_not_connect),
		TEST(test_dvpnctl_bad_answers),
		TEST(test_dvpnctl_usage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
