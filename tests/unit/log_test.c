// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Log lines as they reach stderr: prefixes, levels, escapes, cuts, the journal's
 * form, limits, and that the lines of threads do not mix.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

static int saved_stderr = -1, capture = -1;

/* Everything written since the last call, in a static buffer. */
static const char *logged(void)
{
	static char text[1 << 20];
	ssize_t length = pread(capture, text, sizeof(text) - 1, 0);

	text[length > 0 ? length : 0] = '\0';
	if (ftruncate(capture, 0))
		abort();
	lseek(capture, 0, SEEK_SET);
	return text;
}

static int start_capture(void **state)
{
	(void)state;
	unsetenv("JOURNAL_STREAM");
	saved_stderr = dup(STDERR_FILENO);
	capture = memfd_create("log_test", 0);
	if (saved_stderr < 0 || capture < 0 || fcntl(capture, F_SETFL, O_APPEND))
		return -1;
	log_init(LOG_TO_STDERR, LOG_LEVEL_INFO);
	return dup2(capture, STDERR_FILENO) < 0;
}

static int end_capture(void **state)
{
	(void)state;
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	close(capture);
	return 0;
}

static void test_prefixes(void **state)
{
	(void)state;
	log_init(LOG_TO_STDERR, LOG_LEVEL_DEBUG);
	log_errorx("one %d", 1);
	log_warnx("two %s", "x");
	log_info("three");
	log_debug("four");
	assert_string_equal(logged(), "dvpnd: error: one 1\ndvpnd: warning: two x\n"
				      "dvpnd: info: three\ndvpnd: debug: four\n");
}

static void test_errno(void **state)
{
	(void)state;
	errno = ENOENT;
	log_warn("open %s", "/x");
	assert_int_equal(errno, ENOENT);
	assert_string_equal(logged(), "dvpnd: warning: open /x: No such file or directory\n");
}

/* A line that can't be written: the caller's errno is still its own. */
static void test_errno_kept(void **state)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	close(fd);
	errno = ENOENT;
	log_errorx("lost");
	assert_int_equal(errno, ENOENT);
	assert_string_equal(logged(), "");
}

static void test_levels(void **state)
{
	static const struct {
		enum log_level level;
		const char *text;
	} cases[] = {
		{ LOG_LEVEL_ERROR, "dvpnd: error: e\n" },
		{ LOG_LEVEL_WARN, "dvpnd: error: e\ndvpnd: warning: w\n" },
		{ LOG_LEVEL_INFO, "dvpnd: error: e\ndvpnd: warning: w\ndvpnd: info: i\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		log_init(LOG_TO_STDERR, cases[i].level);
		assert_true(log_wants(cases[i].level));
		assert_false(log_wants(cases[i].level + 1));
		log_errorx("e");
		log_warnx("w");
		log_info("i");
		log_debug("d");
		assert_string_equal(logged(), cases[i].text);
	}
}

static void test_escapes(void **state)
{
	(void)state;
	log_info("%s", "a\ndvpnd: error: forged\r\t\033[2J\177\233\xc3\xa4 %s \\");
	assert_string_equal(logged(), "dvpnd: info: a\\x0advpnd: error: forged\\x0d\\x09\\x1b[2J"
				      "\\x7f\\x9b\\xc3\\xa4 %s \\\n");
}

static void test_long_message(void **state)
{
	static char text[8192];
	const char *line;

	(void)state;
	memset(text, 'a', sizeof(text) - 1);
	log_info("%s", text);
	line = logged();
	assert_int_equal(strlen(line), strlen("dvpnd: info: ") + 2047 + 1);
	assert_string_equal(line + strlen(line) - 5, "a...\n");

	memset(text, '\n', sizeof(text) - 1);
	log_info("%s", text);
	line = logged();
	assert_in_range(strlen(line), 4000, 4096);
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
	assert_string_equal(line + strlen(line) - 8, "\\x0a...\n");
}

static void test_journal(void **state)
{
	struct stat st;
	char stream[64];

	(void)state;
	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_init(LOG_TO_STDERR, LOG_LEVEL_DEBUG);
	log_errorx("e");
	log_warnx("w");
	log_info("i");
	log_debug("d");
	assert_string_equal(logged(), "<3>e\n<4>w\n<6>i\n<7>d\n");

	/* inherited from a service, but stderr went elsewhere */
	strcat(stream, "0");
	setenv("JOURNAL_STREAM", stream, 1);
	log_init(LOG_TO_STDERR, LOG_LEVEL_INFO);
	log_info("i");
	assert_string_equal(logged(), "dvpnd: info: i\n");
	unsetenv("JOURNAL_STREAM");
}

static void test_syslog(void **state)
{
	(void)state;
	log_init(LOG_TO_SYSLOG, LOG_LEVEL_INFO);
	log_info("to nobody that is listening here");
	log_init(LOG_TO_STDERR, LOG_LEVEL_INFO);
	assert_string_equal(logged(), "");
	log_info("back");
	assert_string_equal(logged(), "dvpnd: info: back\n");
}

static void test_limit(void **state)
{
	static struct log_limit limit = LOG_LIMIT(2, 3600);
	const char *text;
	unsigned seconds;

	(void)state;
	for (int i = 0; i < 5; i++)
		log_limited(&limit, LOG_LEVEL_WARN, "n %d", i);
	assert_string_equal(logged(), "dvpnd: warning: n 0\ndvpnd: warning: n 1\n");
	limit.window_start -= 3600; /* the window has passed */
	log_limited(&limit, LOG_LEVEL_WARN, "later");
	text = logged();
	assert_int_equal(
		sscanf(text, "dvpnd: warning: 3 more like the next held back in %u seconds",
		       &seconds),
		1);
	assert_in_range(seconds, 3600, 3660);
	assert_string_equal(strchr(text, '\n'), "\ndvpnd: warning: later\n");
	limit.window_start -= 3600; /* nothing held back since: nothing to say */
	log_limited(&limit, LOG_LEVEL_WARN, "last");
	assert_string_equal(logged(), "dvpnd: warning: last\n");
}

/* What is not wanted does not use the limit up. */
static void test_limit_level(void **state)
{
	static struct log_limit limit = LOG_LIMIT(1, 3600);

	(void)state;
	log_limited(&limit, LOG_LEVEL_DEBUG, "quiet");
	log_init(LOG_TO_STDERR, LOG_LEVEL_DEBUG);
	log_limited(&limit, LOG_LEVEL_DEBUG, "heard");
	assert_string_equal(logged(), "dvpnd: debug: heard\n");
	log_init(LOG_TO_STDERR, LOG_LEVEL_INFO);
}

#define THREADS 4
#define LINES 500

static void *log_much(void *arg)
{
	for (int i = 0; i < LINES; i++)
		log_info("%s %080d end", (const char *)arg, i);
	return NULL;
}

static void test_threads(void **state)
{
	static const char *const names[THREADS] = { "a", "b", "c", "d" };
	pthread_t threads[THREADS];
	unsigned count = 0;

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, log_much, (void *)names[i]), 0);
	for (int i = 0; i < LINES; i++)
		log_init(LOG_TO_STDERR, LOG_LEVEL_INFO);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (const char *line = logged(); *line; line = strchr(line, '\n') + 1) {
		assert_int_equal(strcspn(line, "\n"), strlen("dvpnd: info: a ") + 80 + 4);
		count++;
	}
	assert_int_equal(count, THREADS * LINES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_prefixes, start_capture, end_capture),
		cmocka_unit_test_setup_teardown(test_errno, start_capture, end_capture),
		cmocka_unit_test_setup_teardown(test_errno_kept, start_capture, end_capture),
		cmocka_unit_test_setup_teardown(test_levels, start_capture, end_capture),
		cmocka_unit_test_setup_teardown(test_escapes, start_capture, end_capture),
		cmocka_unit_test_setup_teardown(test_long_message, start_capture, end_capture),
		cmocka_unit_test_setup_teardown(test_journal, start_capture, end_capture),
		cmocka_unit_test_setup_teardown(test_syslog, start_capture, end_capture),
		cmocka_unit_test_setup_teardown(test_limit, start_capture, end_capture),
		cmocka_unit_test_setup_teardown(test_limit_level, start_capture, end_capture),
		cmocka_unit_test_setup_teardown(test_threads, start_capture, end_capture),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
