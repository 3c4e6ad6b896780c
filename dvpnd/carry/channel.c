/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Channels of a link.
 *
 * One open is in flight at a time: libssh2 would continue the first with the
 * arguments of the second, and hand out the wrong channel.  A channel that is
 * being closed counts until the far side has closed it as well, since sshd
 * counts it, too.
 */
#include "carry/channel.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "carry/gateway.h"
#include "carry/worker.h"

/* What the far side may send ahead, as sshd allows us: it bounds a stalled
 * reader's memory, and a download to so much per round trip. */
#define WINDOW (2 * 1024 * 1024)
/* A trunk's streams have credit of their own to bound them. */
#define WINDOW_TRUNK (16 * 1024 * 1024)
/* Channels that are opened ahead in netcat mode. */
#define SPARES 4
/* An open that takes longer holds up the others of its link. */
#define STUCK_SECONDS 1.0
#define PACKET 32768 /* more is not safe with libssh2 */

static const struct stream_ops channel_ops;

/* ---- what kinds call ---- */

void channel_connected(struct channel *channel)
{
	channel->stream.state = STREAM_CONNECTED;
	channel->stream.outcome = STREAM_OK;
	channel->changed = true;
	gateway_link_served(channel->link->gateway, channel->link);
}

void channel_fail(struct channel *channel, enum stream_outcome outcome, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	channel->changed |= stream_fail(&channel->stream, outcome, format, args);
	va_end(args);
}

bool channel_closed(const struct channel *channel)
{
	/* Without I/O behind the gate; an error while there are unread data. */
	return libssh2_channel_wait_closed(channel->ssh) == 0;
}

static uint32_t window_of(const struct channel *channel)
{
	return channel->carrier ? WINDOW_TRUNK : WINDOW;
}

/*
 * Tops the window up before libssh2 would.  When that is refused by a re-key and
 * tried again with another number, libssh2 sends the old one and counts the new
 * one; the far side then sends more than libssh2 takes, and the excess is dropped
 * without a word.  So the number stays until it has been sent, and what is left of
 * the window is always more than libssh2 wants for a read.
 */
static int keep_window(struct channel *channel)
{
	uint32_t left = (uint32_t)libssh2_channel_window_read_ex(channel->ssh, NULL, NULL);
	int error;

	if (!channel->adjust && left < window_of(channel) / 4 * 3 + CHANNEL_READ_MAX)
		channel->adjust = window_of(channel) + CHANNEL_READ_MAX - left;
	if (!channel->adjust)
		return 0;
	error = libssh2_channel_receive_window_adjust2(channel->ssh, channel->adjust, 1, NULL);
	if (!error)
		channel->adjust = 0;
	return error;
}

ssize_t channel_take(struct channel *channel, int stream_id, void *buffer, size_t size)
{
	int error = keep_window(channel);

	if (error)
		return error;
	if (size > CHANNEL_READ_MAX)
		size = CHANNEL_READ_MAX;
	return libssh2_channel_read_ex(channel->ssh, stream_id, buffer, size);
}

/* ---- opening ---- */

static void channel_free(struct channel *channel)
{
	free(channel->request);
	free(channel->reply);
	free(channel);
}

static struct channel *channel_new(struct link *link, const struct channel_kind *kind)
{
	struct channel *channel = calloc(1, sizeof(*channel));

	if (!channel)
		return NULL;
	channel->stream.ops = &channel_ops;
	channel->link = link;
	channel->kind = kind;
	channel->owned = true;
	return channel;
}

/* Lines the channel up to be opened, when its kind could prepare it. */
static struct stream *line_up(struct channel *channel, int error)
{
	struct link *link = channel->link;

	if (error < 0) {
		channel_free(channel);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&link->opening, channel, entry);
	link->channel_count++;
	link_touch(link);
	return &channel->stream;
}

/* A channel that was opened ahead, or is being opened. */
static struct channel *find_spare(struct link *link)
{
	struct channel *channel;

	TAILQ_FOREACH(channel, &link->channels, entry)
		if (channel->state == CHANNEL_SPARE)
			return channel;
	TAILQ_FOREACH(channel, &link->opening, entry)
		if (channel->spare)
			return channel;
	return NULL;
}

/* Saves the connection the round trip of an open. */
static struct stream *use_spare(struct channel *channel, const struct addr *dest, uint16_t port)
{
	if (netcat_prepare(channel, dest, port) < 0)
		return NULL;
	channel->spare = false;
	channel->owned = true;
	if (channel->state == CHANNEL_SPARE)
		channel->state = CHANNEL_STARTING;
	link_touch(channel->link);
	return &channel->stream;
}

struct stream *channel_open(struct link *link, const struct addr *dest, uint16_t port,
			    const struct addr *client, uint16_t client_port)
{
	bool direct = link->settings->ssh.mode == SSH_MODE_DIRECT;
	struct channel *channel = direct ? NULL : find_spare(link);

	if (channel)
		return use_spare(channel, dest, port);
	channel = channel_new(link, direct ? &channel_direct : &channel_netcat);
	if (!channel)
		return NULL;
	return line_up(channel, direct ? direct_prepare(channel, dest, port, client, client_port) :
					 netcat_prepare(channel, dest, port));
}

/* In netcat mode some channels are kept open ahead, once a connection has shown
 * that the mode works there. */
static void keep_spares(struct link *link)
{
	const struct gateway *gateway = link->gateway;
	unsigned wanted = SPARES, used = channels_used(link);
	struct channel *channel;

	if (link->state != LINK_UP || link->draining || link->ended || !link->served ||
	    link->settings->ssh.mode == SSH_MODE_DIRECT || gateway_has_trunk(gateway) || !used)
		return;
	if (used + wanted > gateway->channel_cap)
		wanted = gateway->channel_cap > used ? gateway->channel_cap - used : 0;
	while (link->channel_count - used < wanted) {
		channel = channel_new(link, &channel_netcat);
		if (!channel)
			return;
		channel->owned = false;
		channel->spare = true;
		line_up(channel, 0);
	}
}

struct stream *channel_open_trunk(struct link *link)
{
	struct channel *channel = channel_new(link, &channel_trunk);

	if (!channel)
		return NULL;
	channel->carrier = true;
	return line_up(channel, netcat_prepare_trunk(channel));
}

/* Out of the opening list, without an SSH channel. */
static void open_failed(struct channel *channel)
{
	struct link *link = channel->link;

	TAILQ_REMOVE(&link->opening, channel, entry);
	link->channel_count--;
	if (!channel->owned) {
		channel_free(channel);
		return;
	}
	channel->state = CHANNEL_FAILED;
	TAILQ_INSERT_TAIL(&link->channels, channel, entry);
}

static void opened(struct channel *channel, LIBSSH2_CHANNEL *ssh)
{
	struct link *link = channel->link;

	TAILQ_REMOVE(&link->opening, channel, entry);
	TAILQ_INSERT_TAIL(&link->channels, channel, entry);
	channel->ssh = ssh;
	channel->state = channel->owned ? CHANNEL_STARTING :
			 channel->spare ? CHANNEL_SPARE :
					  CHANNEL_CLOSING;
	gateway_link_room(link->gateway);
}

static void open_refused(struct channel *channel)
{
	struct link *link = channel->link;
	int error = libssh2_session_last_errno(link->ssh);

	if (error == LIBSSH2_ERROR_CHANNEL_FAILURE) {
		channel->kind->refused(channel, session_error(link));
	} else if (error == LIBSSH2_ERROR_TIMEOUT) {
		/* A late answer would leave a channel over there that nobody knows. */
		channel_fail(channel, STREAM_AGAIN, "the far sshd did not answer");
		link_drain(link);
	} else {
		link_fail(link, "connection lost: %s", session_error(link));
		return;
	}
	open_failed(channel);
}

static bool may_open(const struct channel *channel)
{
	const struct link *link = channel->link;

	return (channel->owned || channel->spare) && !link->draining &&
	       channels_open(link) < link->gateway->channel_cap;
}

/* One step of the first open.  False when there is nothing more to do now. */
static bool step_open(struct link *link)
{
	struct channel *channel = TAILQ_FIRST(&link->opening);
	const char *type, *message;
	size_t message_size;
	LIBSSH2_CHANNEL *ssh;

	if (!channel || link->state != LINK_UP)
		return false;
	if (link->ended || (channel->state == CHANNEL_WAITING && !may_open(channel))) {
		channel_fail(channel, STREAM_AGAIN, "the link is closing, or full");
		open_failed(channel);
		return true;
	}
	if (channel->state == CHANNEL_WAITING)
		channel->opening_since = ev_now(link->worker->loop);
	channel->state = CHANNEL_OPENING;
	type = channel->kind->type;
	message = channel->kind == &channel_direct ? channel->request : NULL;
	message_size = message ? channel->request_size : 0;
	/* Only with no channel at all may the open read for itself. */
	link->gate = channels_any(link) == NULL;
	ssh = libssh2_channel_open_ex(link->ssh, type, (unsigned)strlen(type),
				      window_of(channel), PACKET,
				      message, (unsigned)message_size);
	link->gate = false;
	if (ssh)
		opened(channel, ssh);
	else if (libssh2_session_last_errno(link->ssh) == LIBSSH2_ERROR_EAGAIN)
		return false;
	else
		open_refused(channel);
	return true;
}

static void step_start(struct channel *channel)
{
	int started = channel->kind->start(channel);

	if (started > 0)
		channel->state = CHANNEL_RUNNING;
}

/* ---- closing ---- */

LIBSSH2_CHANNEL *channels_any(const struct link *link)
{
	struct channel *channel;

	TAILQ_FOREACH(channel, &link->channels, entry)
		if (channel->ssh)
			return channel->ssh;
	return link->anchor;
}

size_t channels_memory(const struct link *link)
{
	const struct channel *channel;
	size_t size = 0;

	/* a packet of one byte costs a hundred */
	TAILQ_FOREACH(channel, &link->channels, entry)
		size += channel->ssh ? 2 * (size_t)window_of(channel) : 0;
	return size;
}

unsigned channels_used(const struct link *link)
{
	const struct channel *channel;
	unsigned spares = 0;

	TAILQ_FOREACH(channel, &link->opening, entry)
		spares += channel->spare;
	TAILQ_FOREACH(channel, &link->channels, entry)
		spares += channel->spare;
	return link->channel_count - spares;
}

unsigned channels_opening(const struct link *link)
{
	const struct channel *channel;
	unsigned count = 0;

	TAILQ_FOREACH(channel, &link->opening, entry)
		count += channel->owned;
	return count;
}

unsigned channels_open(const struct link *link)
{
	const struct channel *channel;
	unsigned count = 0;

	TAILQ_FOREACH(channel, &link->channels, entry)
		count += channel->ssh != NULL;
	return count;
}

/* The last channel stays as the link's anchor: a session without any channel
 * could not be drained. */
static void step_close(struct channel *channel)
{
	struct link *link = channel->link;

	if (libssh2_channel_close(channel->ssh) == LIBSSH2_ERROR_EAGAIN)
		return;
	if (channels_open(link) == 1 && !link->anchor)
		link->anchor = channel->ssh;
	else if (libssh2_channel_free(channel->ssh) == LIBSSH2_ERROR_EAGAIN)
		return;
	TAILQ_REMOVE(&link->channels, channel, entry);
	link->channel_count--;
	channel_free(channel);
	gateway_link_room(link->gateway);
}

void channels_step(struct link *link)
{
	struct channel *channel, *next;

	keep_spares(link);
	while (step_open(link))
		;
	for (channel = TAILQ_FIRST(&link->channels); channel && link->state == LINK_UP;
	     channel = next) {
		next = TAILQ_NEXT(channel, entry);
		if (channel->state == CHANNEL_STARTING)
			step_start(channel);
		if (channel->state == CHANNEL_SPARE && link->draining)
			channel->state = CHANNEL_CLOSING;
		if (channel->state == CHANNEL_CLOSING) {
			step_close(channel);
			continue;
		}
		if (channel->changed && channel->owned) {
			channel->changed = false;
			channel->stream.wake(&channel->stream);
		}
	}
}

static void poll_channel(struct channel *channel)
{
	if (channel->state == CHANNEL_RUNNING && channel->kind->poll &&
	    channel->stream.state != STREAM_FAILED)
		channel->kind->poll(channel);
}

void channels_wake(struct link *link)
{
	struct channel *channel, *next;

	for (channel = TAILQ_FIRST(&link->channels); channel && link->state == LINK_UP;
	     channel = next) {
		next = TAILQ_NEXT(channel, entry);
		if (!channel->owned || channel->state == CHANNEL_STARTING)
			continue;
		poll_channel(channel);
		channel->changed = false;
		channel->stream.wake(&channel->stream);
	}
}

static ssize_t broken(void)
{
	errno = ECONNRESET;
	return -1;
}

static ssize_t lost(struct channel *channel)
{
	channel_fail(channel, STREAM_LOST, "the far sshd closed the link");
	return broken();
}

bool channels_stuck(const struct link *link)
{
	const struct channel *channel = TAILQ_FIRST(&link->opening);

	return channel && channel->state == CHANNEL_OPENING &&
	       (!channel->owned ||
		ev_now(link->worker->loop) - channel->opening_since > STUCK_SECONDS);
}

/* Data that is queued is still there to be read, and its reader finds the end. */
void channels_ended(struct link *link)
{
	struct channel *channel, *next;

	for (channel = TAILQ_FIRST(&link->channels); channel; channel = next) {
		next = TAILQ_NEXT(channel, entry);
		if (!channel->owned || channel->stream.state == STREAM_FAILED)
			continue;
		poll_channel(channel);
		if (channel->stream.state == STREAM_OPENING)
			channel_fail(channel, STREAM_AGAIN, "the far sshd closed the link");
		else if (channel->read_ended)
			lost(channel);
		else
			continue;
		channel->changed = false;
		channel->stream.wake(&channel->stream);
	}
}

bool channels_busy(const struct link *link)
{
	const struct channel *channel;

	TAILQ_FOREACH(channel, &link->opening, entry)
		if (channel->owned && !channel->carrier)
			return true;
	TAILQ_FOREACH(channel, &link->channels, entry)
		if (channel->owned && !channel->carrier)
			return true;
	return false;
}

static void lose(struct channel *channel)
{
	struct link *link = channel->link;
	bool retry = channel->stream.state == STREAM_OPENING;

	TAILQ_REMOVE(channel->state <= CHANNEL_OPENING ? &link->opening : &link->channels, channel,
		     entry);
	channel->link = NULL;
	channel->ssh = NULL; /* freed with the session */
	channel->state = CHANNEL_FAILED;
	if (!channel->owned) {
		channel_free(channel);
		return;
	}
	/* nothing was sent yet: it may go another way */
	channel_fail(channel, retry ? STREAM_AGAIN : STREAM_LOST, "%.150s",
		     link->reason[0] ? link->reason : "the link was closed");
	channel->stream.wake(&channel->stream);
}

void channels_free(struct link *link)
{
	struct channel *channel;

	while ((channel = TAILQ_FIRST(&link->opening)))
		lose(channel);
	while ((channel = TAILQ_FIRST(&link->channels)))
		lose(channel);
}

/* ---- the stream ---- */

static struct channel *of(struct stream *stream)
{
	return (struct channel *)stream; /* its first member */
}

static ssize_t wait(void)
{
	errno = EAGAIN;
	return -1;
}

static bool usable(const struct channel *channel)
{
	return channel->link && channel->link->state == LINK_UP &&
	       channel->stream.state == STREAM_CONNECTED;
}

/* An error of the session is the end of the link, and of all on it. */
static ssize_t transport_failed(struct channel *channel)
{
	link_fail(channel->link, "connection lost: %s", session_error(channel->link));
	channel_fail(channel, STREAM_LOST, "the link to the far gateway broke");
	return broken();
}

static ssize_t at_end(struct channel *channel)
{
	int end;

	poll_channel(channel);
	if (channel->stream.state == STREAM_FAILED)
		return broken();
	end = channel->kind->end(channel);
	if (end < 0)
		return broken();
	if (end == 0)
		return wait();
	channel->read_ended = true;
	return 0;
}

static ssize_t channel_read(struct stream *stream, void *buffer, size_t size)
{
	struct channel *channel = of(stream);
	ssize_t got;

	if (channel->read_ended)
		return 0;
	if (!usable(channel))
		return stream->state == STREAM_FAILED ? broken() : wait();
	link_touch(channel->link); /* a window adjustment may have to be sent */
	got = channel_take(channel, 0, buffer, size);
	if (got > 0)
		return got;
	if (got == 0)
		return at_end(channel);
	if (got != LIBSSH2_ERROR_EAGAIN)
		return transport_failed(channel);
	return channel->link->ended ? lost(channel) : wait();
}

static ssize_t channel_write(struct stream *stream, const void *data, size_t size)
{
	struct channel *channel = of(stream);
	ssize_t taken;

	if (!usable(channel))
		return stream->state == STREAM_FAILED ? broken() : wait();
	if (channel->link->ended)
		return lost(channel);
	if (channel->read_ended && channel_closed(channel)) {
		/* what a host that has closed answers to more data */
		channel_fail(channel, STREAM_RESET, "the far host had closed the connection");
		return broken();
	}
	if (channel->link->out.size >= LINK_OUT_HIGH) {
		channel->link->writers_wait = true;
		return wait();
	}
	if (!libssh2_channel_window_write_ex(channel->ssh, NULL))
		return wait();
	taken = libssh2_channel_write_ex(channel->ssh, 0, data, size);
	if (taken > 0)
		return taken;
	return taken == 0 || taken == LIBSSH2_ERROR_EAGAIN ? wait() : transport_failed(channel);
}

static int channel_shutdown(struct stream *stream)
{
	struct channel *channel = of(stream);
	int error;

	if (channel->write_ended)
		return 0;
	if (!usable(channel))
		return (int)(stream->state == STREAM_FAILED ? broken() : wait());
	if (channel->link->ended)
		return (int)lost(channel);
	error = libssh2_channel_send_eof(channel->ssh);
	if (error == LIBSSH2_ERROR_EAGAIN)
		return (int)wait();
	if (error)
		return (int)transport_failed(channel);
	channel->write_ended = true;
	return 0;
}

static void channel_close(struct stream *stream)
{
	struct channel *channel = of(stream);

	channel->owned = false;
	if (!channel->link) {
		channel_free(channel);
		return;
	}
	link_touch(channel->link);
	if (channel->state == CHANNEL_FAILED) {
		TAILQ_REMOVE(&channel->link->channels, channel, entry);
		channel_free(channel);
	} else if (channel->state >= CHANNEL_STARTING) {
		channel->state = CHANNEL_CLOSING;
	}
	/* one that waits or is being opened is dealt with by step_open */
}

static const struct stream_ops channel_ops = {
	.read = channel_read,
	.write = channel_write,
	.shutdown = channel_shutdown,
	.close = channel_close,
};
