/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A stream through a netcat: `NETCAT -v -N HOST PORT` in a session channel.
 *
 * The connect result comes on stderr.  A netcat that doesn't know the options
 * says so at once; it is run without them from then on, and taken for connected
 * as soon as it runs.
 *
 * OpenSSH holds a channel's EOF back until stderr is closed, too.  So at EOF all
 * that netcat had to say has been said: ours has told a clean end, or it has
 * died; any other has exited, and its status follows.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "carry/channel.h"
#include "carry/gateway.h"

static void netcat_poll(struct channel *channel);

/* `length` is asprintf's result. */
static int prepared(struct channel *channel, int length)
{
	if (length < 0) {
		channel->request = NULL;
		return -1;
	}
	channel->request_size = (size_t)length;
	channel->reply = calloc(1, sizeof(*channel->reply));
	return channel->reply ? 0 : -1;
}

int netcat_prepare(struct channel *channel, const struct addr *dest, uint16_t port)
{
	char host[ADDR_TEXT_SIZE];

	channel->plain = channel->link->gateway->plain_netcat;
	return prepared(channel, asprintf(&channel->request, "%s%s %s %u",
					  channel->link->settings->ssh.netcat,
					  channel->plain ? "" : " -v -N", addr_format(dest, host),
					  port));
}

int netcat_prepare_trunk(struct channel *channel)
{
	return prepared(channel, asprintf(&channel->request, "%s -T 1",
					  channel->link->settings->ssh.netcat));
}

/* 1 it runs, or was refused; 0 not known yet; -1 the link broke. */
static int run(struct channel *channel)
{
	int error = libssh2_channel_process_startup(channel->ssh, "exec", 4, channel->request,
						    (unsigned)channel->request_size);

	if (error == LIBSSH2_ERROR_EAGAIN)
		return 0;
	if (error == LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED) {
		channel_fail(channel, STREAM_BROKEN, "the far sshd does not let us run netcat");
		return 1;
	}
	if (error == LIBSSH2_ERROR_TIMEOUT) {
		/* a full line, not a broken one: the others go on */
		channel_fail(channel, STREAM_AGAIN, "the far sshd did not answer");
		link_drain(channel->link);
		return 1;
	}
	if (error) {
		link_fail(channel->link, "connection lost: %s", session_error(channel->link));
		return -1;
	}
	return 1;
}

static int netcat_start(struct channel *channel)
{
	int running = run(channel);

	if (running <= 0 || channel->stream.state == STREAM_FAILED)
		return running;
	if (channel->plain)
		channel_connected(channel);
	else
		netcat_poll(channel);
	return 1;
}

static void netcat_refused(struct channel *channel, const char *error)
{
	struct link *link = channel->link;

	/* sshd: the session channels of this connection are all in use (MaxSessions) */
	if (channels_open(link) && strstr(error, "connect failed")) {
		gateway_link_refused(link->gateway, link, channels_open(link));
		channel_fail(channel, STREAM_AGAIN, "%s", error);
	} else if (link->served) {
		/* sshd frees a session a little later than its channel */
		link_pause(link);
		channel_fail(channel, STREAM_AGAIN, "%s", error);
	} else {
		channel_fail(channel, STREAM_BROKEN,
			     "the far sshd gives no session: %s; is MaxSessions 0 there?", error);
	}
}

static bool wrong_options(const struct ncreply *reply)
{
	return !reply->ours && (strstr(reply->text, "nvalid option") ||
				strstr(reply->text, "nknown option") ||
				strstr(reply->text, "nrecognized option"));
}

/* It has failed before it was connected. */
static void tell_failure(struct channel *channel, enum stream_outcome outcome)
{
	const struct ncreply *reply = channel->reply;

	gateway_link_served(channel->link->gateway, channel->link);
	if (!channel->plain && wrong_options(reply)) {
		channel->link->gateway->plain_netcat = true;
		channel_fail(channel, STREAM_AGAIN, "netcat there takes no options");
	} else if (outcome == STREAM_BROKEN) {
		channel_fail(channel, outcome, "far netcat: %s (see chroot/mkjail check there)",
			     reply->text[0] ? reply->text : "ended without a word");
	} else {
		channel_fail(channel, outcome, "%s", reply->text);
	}
}

static void read_errors(struct channel *channel)
{
	char buffer[1024];
	ssize_t got;

	while ((got = channel_take(channel, SSH_EXTENDED_DATA_STDERR, buffer, sizeof(buffer))) > 0)
		ncreply_feed(channel->reply, buffer, (size_t)got);
	if (libssh2_channel_eof(channel->ssh))
		ncreply_finish(channel->reply);
}

static bool killed(const struct channel *channel)
{
	char *signal = NULL;

	libssh2_channel_get_exit_signal(channel->ssh, &signal, NULL, NULL, NULL, NULL, NULL);
	if (!signal)
		return false;
	libssh2_free(channel->link->ssh, signal);
	return true;
}

static void poll_result(struct channel *channel)
{
	const struct ncreply *reply = channel->reply;
	int status;

	if (reply->outcome == STREAM_OK || libssh2_poll_channel_read(channel->ssh, 0) > 0) {
		channel_connected(channel);
	} else if (reply->outcome != STREAM_PENDING) {
		tell_failure(channel, reply->outcome);
	} else if (libssh2_channel_eof(channel->ssh) && channel_closed(channel)) {
		status = libssh2_channel_get_exit_status(channel->ssh);
		if (status == 0 && !killed(channel) && !reply->ours)
			channel_connected(channel); /* and ended already */
		else
			tell_failure(channel, STREAM_BROKEN);
	}
}

static void netcat_poll(struct channel *channel)
{
	read_errors(channel);
	if (channel->stream.state == STREAM_OPENING)
		poll_result(channel);
	else if (channel->read_ended && channel_closed(channel) &&
		 (killed(channel) || libssh2_channel_get_exit_status(channel->ssh) != 0))
		channel_fail(channel, STREAM_RESET, "the far host reset the connection");
}

static int netcat_end(struct channel *channel)
{
	const struct ncreply *reply = channel->reply;

	if (reply->ended)
		return 1;
	if (reply->reset) {
		channel_fail(channel, STREAM_RESET, "the far host reset the connection");
		return -1;
	}
	if (!reply->ours && !channel_closed(channel))
		return 0;
	if (!reply->ours && libssh2_channel_get_exit_status(channel->ssh) == 0 && !killed(channel))
		return 1;
	if (channel->plain && reply->outcome != STREAM_PENDING && reply->outcome != STREAM_OK)
		tell_failure(channel, reply->outcome);
	else
		channel_fail(channel, STREAM_RESET, "far netcat died");
	return -1;
}

const struct channel_kind channel_netcat = {
	.type = "session",
	.start = netcat_start,
	.refused = netcat_refused,
	.poll = netcat_poll,
	.end = netcat_end,
};

/* ---- the far end of a trunk ---- */

static int trunk_start(struct channel *channel)
{
	int running = run(channel);

	if (running > 0 && channel->stream.state != STREAM_FAILED)
		channel_connected(channel);
	return running;
}

/* A trunk has no other end than by us. */
static int trunk_end(struct channel *channel)
{
	read_errors(channel);
	channel_fail(channel, STREAM_BROKEN, "%s",
		     channel->reply->text[0] ? channel->reply->text : "the far netcat ended");
	return -1;
}

const struct channel_kind channel_trunk = {
	.type = "session",
	.start = trunk_start,
	.refused = netcat_refused,
	.poll = read_errors,
	.end = trunk_end,
};
