/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An epoll set within the loop's own. */
#include "carry/hangup.h"

#include <sys/epoll.h>
#include <unistd.h>

static void on_events(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct hangup *hangup = io->data;
	struct epoll_event event;

	(void)loop;
	(void)events;
	/* one at a time: what is done for the first may free the second */
	while (epoll_wait(io->fd, &event, 1, 0) == 1)
		hangup->broke(event.data.ptr);
}

int hangup_start(struct hangup *hangup, struct ev_loop *loop, void (*broke)(void *arg))
{
	int fd = epoll_create1(EPOLL_CLOEXEC);

	if (fd < 0)
		return -1;
	hangup->broke = broke;
	ev_io_init(&hangup->io, on_events, fd, EV_READ);
	hangup->io.data = hangup;
	ev_io_start(loop, &hangup->io);
	return 0;
}

void hangup_stop(struct hangup *hangup, struct ev_loop *loop)
{
	if (!hangup->broke)
		return;
	ev_io_stop(loop, &hangup->io);
	close(hangup->io.fd);
}

int hangup_add(struct hangup *hangup, int fd, void *arg)
{
	struct epoll_event event = { .events = EPOLLET, .data.ptr = arg };

	return epoll_ctl(hangup->io.fd, EPOLL_CTL_ADD, fd, &event);
}

void hangup_remove(struct hangup *hangup, int fd)
{
	struct epoll_event unused = { 0 };

	epoll_ctl(hangup->io.fd, EPOLL_CTL_DEL, fd, &unused);
}
