/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control socket's file: who may connect, what it replaces and leaves alone. */
#include "control_fixture.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_socket_file),
		TEST(test_directory_mode),
		TEST(test_stale_socket_is_replaced),
		TEST(test_live_socket_is_left_alone),
		TEST(test_foreign_socket_is_not_removed),
		TEST(test_unusable_paths),
		TEST(test_other_users),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
