/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Logging: one line an event, to stderr or syslog, from any thread.
 *
 * The plain names add nothing to the message; log_warn and log_fatal add the
 * text of errno, so call them straight after what failed.  A message says what
 * failed, the likely cause, and what to do; it never holds a secret.
 */
#ifndef DVPND_LOG_H
#define DVPND_LOG_H

#include <stdbool.h>

enum log_to { LOG_TO_STDERR, LOG_TO_SYSLOG };
enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

#define LOG_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* May be called again at any time, on reload for instance. */
void log_init(enum log_to to, enum log_level level);
bool log_wants(enum log_level level);

void log_errorx(const char *fmt, ...) LOG_PRINTF(1, 2);
void log_warn(const char *fmt, ...) LOG_PRINTF(1, 2); /* adds ": " strerror(errno) */
void log_warnx(const char *fmt, ...) LOG_PRINTF(1, 2);
void log_info(const char *fmt, ...) LOG_PRINTF(1, 2);
void log_debug(const char *fmt, ...) LOG_PRINTF(1, 2);

/*
 * A message that a client or peer can cause at will: at most `burst` lines in
 * `seconds`, then one line that says how many were held back.  One static
 * struct per call site, used by one thread.
 */
struct log_limit {
	unsigned burst;
	unsigned seconds;
	/* private */
	long long window_start;
	unsigned said;
	unsigned held_back;
};
#define LOG_LIMIT(burst, seconds) { (burst), (seconds), 0, 0, 0 }
void log_limited(struct log_limit *limit, enum log_level level, const char *fmt, ...)
	LOG_PRINTF(3, 4);

#endif
