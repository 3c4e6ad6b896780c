/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A stream through sshd itself: a direct-tcpip channel, for accounts without a
 * netcat.  sshd needs AllowTcpForwarding there.
 *
 * What it costs: opens wait for each other, since libssh2 has one in flight and
 * sshd answers after the far connect only, so that one slow host holds up the
 * link; and SSH has no word for a reset, so one reaches the far host, and us, as
 * an end.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "carry/channel.h"
#include "carry/gateway.h"

static unsigned char *put_u32(unsigned char *to, uint32_t value)
{
	value = htonl(value);
	memcpy(to, &value, sizeof(value));
	return to + sizeof(value);
}

static unsigned char *put_text(unsigned char *to, const char *text)
{
	size_t length = strlen(text);

	to = put_u32(to, (uint32_t)length);
	memcpy(to, text, length);
	return to + length;
}

/* RFC 4254, 7.2: host, port, originator's host, originator's port.  libssh2's
 * own call for this has a fixed window. */
int direct_prepare(struct channel *channel, const struct addr *dest, uint16_t port,
		   const struct addr *client, uint16_t client_port)
{
	char text[ADDR_TEXT_SIZE];
	unsigned char *at = malloc(2 * ADDR_TEXT_SIZE + 16);

	channel->request = (char *)at;
	if (!at)
		return -1;
	at = put_text(at, addr_format(dest, text));
	at = put_u32(at, port);
	at = put_text(at, addr_format(client, text));
	at = put_u32(at, client_port);
	channel->request_size = (size_t)(at - (unsigned char *)channel->request);
	return 0;
}

static int direct_start(struct channel *channel)
{
	channel_connected(channel);
	return 1;
}

static void direct_refused(struct channel *channel, const char *error)
{
	if (strstr(error, "prohibited"))
		channel_fail(channel, STREAM_DENIED,
			     "the far sshd allows no such forwarding (AllowTcpForwarding, PermitOpen)");
	else if (strstr(error, "connect failed"))
		channel_fail(channel, STREAM_REFUSED, "the far sshd could not connect");
	else
		channel_fail(channel, STREAM_BROKEN, "%s", error);
}

static int direct_end(struct channel *channel)
{
	(void)channel;
	return 1;
}

const struct channel_kind channel_direct = {
	.type = "direct-tcpip",
	.start = direct_start,
	.refused = direct_refused,
	.end = direct_end,
};
