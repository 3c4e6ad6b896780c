// SPDX-License-Identifier: GPL-2.0-or-later
/* How a stream begins: its place, the allow file's word, a socket on its way. */
#include <errno.h>
#include <sys/socket.h>

#include "allowfile.h"
#include "connect.h"
#include "trunk_parts.h"

static const char *refusal(const struct frame_open *open, struct address *address)
{
	struct allow_report report;

	address->family = open->family == 4 ? AF_INET : AF_INET6;
	memset(address->bytes, 0, sizeof(address->bytes));
	memcpy(address->bytes, open->address, open->family == 4 ? 4 : 16);
	if (address_is_mapped(address))
		return "an IPv4 address inside IPv6 is not accepted";
	if (!open->port)
		return "there is no port 0";
	return allowfile_ask(address, open->port, &report);
}

/* 0, or the errno of what stands in the way. */
static int start_connecting(struct trunk *trunk, struct stream *stream,
			    const struct address *address)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET };
	const struct linger hard = { 1, 0 };

	stream->fd = connect_start(address, stream->open.port);
	if (stream->fd < 0)
		return -stream->fd;
	/* Whatever ends this process, a kill too, is no clean end to the server. */
	setsockopt(stream->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	event.data.u32 = table_index(trunk, stream);
	if (epoll_ctl(trunk->epoll, EPOLL_CTL_ADD, stream->fd, &event))
		return errno;
	stream->deadline = trunk->now + CONNECT_SECONDS * TRUNK_SECOND;
	list_add(trunk, LIST_CONNECTING, stream);
	return 0;
}

static struct stream *take_place(struct trunk *trunk, uint32_t id)
{
	struct stream *stream = table_take(trunk, id);

	if (!stream) {
		stream_abort(trunk, list_first(trunk, LIST_LINGERING));
		stream = table_take(trunk, id);
	}
	return stream;
}

int stream_open(struct trunk *trunk, uint32_t id, const struct frame_open *open,
		const uint8_t *early, size_t length)
{
	struct stream *stream = take_place(trunk, id);
	struct address address;
	const char *text;
	int error;

	stream->fd = -1;
	stream->state = STREAM_CONNECTING;
	stream->open = *open;
	stream->begin = trunk->now;
	stream->window = stream->up_credit = TRUNK_CREDIT;
	stream->down_credit = open->credit;
	allowfile_refresh();
	text = refusal(open, &address);
	error = text ? EACCES : start_connecting(trunk, stream, &address);
	if (!error)
		return stream_take_data(trunk, stream, early, length);
	stream_refuse(trunk, stream, error, text);
	return 0;
}
