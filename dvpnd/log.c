// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Where log lines go, and that each is one line.
 *
 * A message may hold text that a peer or a client chose, so whatever is not
 * printable ASCII is escaped: nobody can forge a line or drive a terminal.  A
 * line is formatted on the stack and leaves in one write(2) of at most PIPE_BUF
 * bytes: lines of several threads never mix, and no lock is held.
 */
#include "log.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_SIZE 2048
#define LINE_SIZE 4096
_Static_assert(LINE_SIZE <= PIPE_BUF, "a line is one atomic write to a pipe");

static atomic_int log_target = LOG_TO_STDERR;
static atomic_int log_threshold = LOG_LEVEL_INFO;
/* stderr is the journal: it wants syslog's priorities, and adds the name itself. */
static atomic_bool log_journal;

static const struct {
	const char *name;
	int priority;
} levels[] = {
	[LOG_LEVEL_ERROR] = { "error", LOG_ERR },
	[LOG_LEVEL_WARN] = { "warning", LOG_WARNING },
	[LOG_LEVEL_INFO] = { "info", LOG_INFO },
	[LOG_LEVEL_DEBUG] = { "debug", LOG_DEBUG },
};

/* systemd.exec(5): the variable is inherited by programs whose stderr is a
 * terminal again, so the device and inode that it names must be those of stderr. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;
	char *end;

	if (!stream)
		return false;
	device = strtoull(stream, &end, 10);
	if (*end != ':')
		return false;
	inode = strtoull(end + 1, &end, 10);
	return !*end && !fstat(STDERR_FILENO, &st) && st.st_dev == device && st.st_ino == inode;
}

void log_init(enum log_to to, enum log_level level)
{
	if (to == LOG_TO_SYSLOG)
		openlog("dvpnd", LOG_PID | LOG_NDELAY, LOG_DAEMON);
	atomic_store(&log_journal, stderr_is_journal());
	atomic_store(&log_threshold, level);
	atomic_store(&log_target, to);
}

bool log_wants(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&log_threshold, memory_order_relaxed);
}

/* Appends text with what is not printable as \xNN; what does not fit is cut, and
 * "..." shows it.  Returns the new length; `size` leaves room for the newline. */
static size_t append_escaped(char *line, size_t length, size_t size, const char *text)
{
	static const char hex[] = "0123456789abcdef";
	size_t room = size - sizeof("...\n");

	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		bool printable = *c >= 0x20 && *c < 0x7f;

		if (length + (printable ? 1 : 4) > room) {
			memcpy(line + length, "...", 3);
			return length + 3;
		}
		if (printable) {
			line[length++] = (char)*c;
			continue;
		}
		line[length++] = '\\';
		line[length++] = 'x';
		line[length++] = hex[*c >> 4];
		line[length++] = hex[*c & 15];
	}
	return length;
}

/* A log that can't be written must not stop the daemon: a full non-blocking
 * pipe loses the line. */
static void write_line(const char *line, size_t length)
{
	ssize_t written;

	do
		written = write(STDERR_FILENO, line, length);
	while (written < 0 && errno == EINTR);
}

static void log_line(enum log_level level, const char *message)
{
	char line[LINE_SIZE];
	size_t length = 0;

	if (atomic_load(&log_target) == LOG_TO_SYSLOG) {
		line[append_escaped(line, 0, sizeof(line), message)] = '\0';
		syslog(levels[level].priority, "%s", line);
		return;
	}
	if (atomic_load(&log_journal))
		length = (size_t)snprintf(line, sizeof(line), "<%d>", levels[level].priority);
	else
		length = (size_t)snprintf(line, sizeof(line), "dvpnd: %s: ", levels[level].name);
	length = append_escaped(line, length, sizeof(line), message);
	line[length++] = '\n';
	write_line(line, length);
}

/* Leaves errno alone, so that a caller may log before it returns -1. */
static void LOG_PRINTF(3, 0)
log_message(enum log_level level, int error, const char *fmt, va_list args)
{
	int saved = errno;
	char message[MESSAGE_SIZE];
	char reason[128];
	int length;

	length = vsnprintf(message, sizeof(message), fmt, args);
	if (length < 0)
		length = snprintf(message, sizeof(message), "(unprintable) %s", fmt);
	if ((size_t)length >= sizeof(message)) {
		length = sizeof(message) - 1;
		memcpy(message + length - 3, "...", 3);
	}
	if (error)
		snprintf(message + length, sizeof(message) - (size_t)length, ": %s",
			 strerror_r(error, reason, sizeof(reason)));
	log_line(level, message);
	errno = saved;
}

#define LOG_FORWARD(level, error)                           \
	do {                                                \
		va_list args;                               \
                                                            \
		if (!log_wants(level))                      \
			return;                             \
		va_start(args, fmt);                        \
		log_message(level, (error), fmt, args);     \
		va_end(args);                               \
	} while (0)

void log_errorx(const char *fmt, ...)
{
	LOG_FORWARD(LOG_LEVEL_ERROR, 0);
}

void log_warn(const char *fmt, ...)
{
	LOG_FORWARD(LOG_LEVEL_WARN, errno);
}

void log_warnx(const char *fmt, ...)
{
	LOG_FORWARD(LOG_LEVEL_WARN, 0);
}

void log_info(const char *fmt, ...)
{
	LOG_FORWARD(LOG_LEVEL_INFO, 0);
}

void log_debug(const char *fmt, ...)
{
	LOG_FORWARD(LOG_LEVEL_DEBUG, 0);
}

static long long monotonic_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

static void log_held_back(const struct log_limit *limit, enum log_level level, long long seconds)
{
	char message[128];
	int saved = errno;

	snprintf(message, sizeof(message), "%u more like the next held back in %lld seconds",
		 limit->held_back, seconds);
	log_line(level, message);
	errno = saved;
}

void log_limited(struct log_limit *limit, enum log_level level, const char *fmt, ...)
{
	long long now = monotonic_seconds();
	va_list args;

	if (!log_wants(level))
		return;
	/* The first call opens a window too: the clock counts from boot, not from 0. */
	if (!limit->said || now - limit->window_start >= (long long)limit->seconds) {
		if (limit->held_back)
			log_held_back(limit, level, now - limit->window_start);
		limit->window_start = now;
		limit->said = limit->held_back = 0;
	}
	if (limit->said >= limit->burst) {
		limit->held_back++;
		return;
	}
	limit->said++;
	va_start(args, fmt);
	log_message(level, 0, fmt, args);
	va_end(args);
}
