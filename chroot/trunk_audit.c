// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Who talked to whom: one line when a stream ends, to the system's log where the
 * jail has one, to stderr otherwise.  A log that takes nothing more loses lines,
 * and the next one that it takes says how many.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "address.h"
#include "trunk_parts.h"

#define LOG_SOCKET "/dev/log"
#define LOG_PREFIX "<30>" /* daemon, info */

static struct {
	int fd; /* of the system's log; -1: stderr */
	long pid;
	uint64_t retried; /* us */
	unsigned long lost;
} audit;

static int log_connect(void)
{
	static const struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = LOG_SOCKET };

	return connect(audit.fd, (const struct sockaddr *)&address, sizeof(address));
}

void audit_start(void)
{
	memset(&audit, 0, sizeof(audit));
	audit.pid = (long)getpid();
	audit.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (audit.fd >= 0 && log_connect()) {
		close(audit.fd);
		audit.fd = -1;
	}
	if (audit.fd < 0)
		fcntl(STDERR_FILENO, F_SETFL, fcntl(STDERR_FILENO, F_GETFL) | O_NONBLOCK);
}

void audit_stop(void)
{
	if (audit.fd >= 0)
		close(audit.fd);
	audit.fd = -1;
}

/* Whether it was taken.  A log daemon that was started anew is found again. */
static bool audit_put(uint64_t now, const char *line, size_t length)
{
	size_t prefix = strlen(LOG_PREFIX);

	if (audit.fd < 0)
		return write(STDERR_FILENO, line + prefix, length - prefix) > 0;
	if (send(audit.fd, line, length - 1, MSG_NOSIGNAL) >= 0)
		return true;
	if (errno == EAGAIN || errno == ENOBUFS || now - audit.retried < TRUNK_SECOND)
		return false;
	audit.retried = now;
	return log_connect() == 0 && send(audit.fd, line, length - 1, MSG_NOSIGNAL) >= 0;
}

static void print_address(char text[64], unsigned family, const uint8_t *bytes, unsigned port)
{
	char host[INET6_ADDRSTRLEN];

	if (family != 4 && family != 6) {
		snprintf(text, 64, "unknown");
		return;
	}
	inet_ntop(family == 4 ? AF_INET : AF_INET6, bytes, host, sizeof(host));
	snprintf(text, 64, family == 4 ? "%s:%u" : "[%s]:%u", host, port);
}

void audit_stream(const struct trunk *trunk, const struct stream *stream, const char *result)
{
	const struct frame_open *open = &stream->open;
	uint64_t tenths = (trunk->now - stream->begin) / 100000;
	char client[64], server[64], line[320], number[32] = "", lost[48] = "";
	int length;

	print_address(client, open->client_family, open->client, open->client_port);
	print_address(server, open->family, open->address, open->port);
	if (audit.fd >= 0)
		snprintf(number, sizeof(number), "[%ld]", audit.pid);
	if (audit.lost)
		snprintf(lost, sizeof(lost), " (%lu lines were lost)", audit.lost);
	length = snprintf(line, sizeof(line),
			  LOG_PREFIX "dvpn-nc%s: %s -> %s: %s, %" PRIu64 " up, %" PRIu64
				     " down, %" PRIu64 ".%u s%s\n",
			  number, client, server, result, stream->up, stream->down, tenths / 10,
			  (unsigned)(tenths % 10), lost);
	if (audit_put(trunk->now, line, (size_t)length))
		audit.lost = 0;
	else
		audit.lost++;
}
