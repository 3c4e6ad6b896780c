// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The far side of a trunk: the loop.  A turn waits, takes what epoll says of
 * servers, reads the near side once, fills the output and writes it once.
 */
#include "trunk.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "allowfile.h"
#include "sandbox.h"
#include "say.h"
#include "trunk_parts.h"

#define EVENTS 128
/* What epoll calls the near side; every other number is a stream's place. */
#define EVENT_IN 0
#define EVENT_OUT UINT32_MAX
#define HELLO_SECONDS 30
#define GOODBYE_MS 1000
#define ROUND_TRIP 50000 /* us, until it is known */
/* Of the machine's memory, what may be promised at most: one part in so many. */
#define MEMORY_PART 8
/* Of the descriptors, what is not for servers. */
#define DESCRIPTORS_KEPT 16
/* Reads of what the near side sent before it went away. */
#define LAST_READS 64

int trunk_break(struct trunk *trunk, const char *reason)
{
	trunk->reason = reason;
	trunk->status = trunk->greeted ? TRUNK_BROKEN : TRUNK_NO_HELLO;
	return -1;
}

static uint64_t clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * TRUNK_SECOND + (uint64_t)now.tv_nsec / 1000;
}

/* ---- start ---- */

static uint32_t raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return 1024 - DESCRIPTORS_KEPT;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur > UINT16_MAX)
		return UINT16_MAX;
	return limit.rlim_cur > 2 * DESCRIPTORS_KEPT ? (uint32_t)limit.rlim_cur - DESCRIPTORS_KEPT :
						       DESCRIPTORS_KEPT;
}

/* Less where the machine is small, and half as often as there is no room. */
static int start_memory(struct trunk *trunk)
{
	uint64_t promisable = TRUNK_POOL;
	struct sysinfo machine;

	if (table_start(trunk, raise_descriptors()))
		return -1;
	if (sysinfo(&machine) == 0 &&
	    (uint64_t)machine.totalram * machine.mem_unit / MEMORY_PART < promisable)
		promisable = (uint64_t)machine.totalram * machine.mem_unit / MEMORY_PART;
	return pool_start(&trunk->pool, trunk->places, (uint32_t)(promisable / POOL_BLOCK));
}

static int watch(struct trunk *trunk, int fd, uint32_t events, uint32_t name)
{
	struct epoll_event event = { .events = events | EPOLLET, .data.u32 = name };
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		return -1;
	return epoll_ctl(trunk->epoll, EPOLL_CTL_ADD, fd, &event);
}

static int trunk_start(struct trunk *trunk)
{
	struct frame_hello hello = { .version = FRAME_VERSION, .credit = TRUNK_CREDIT };

	if (start_memory(trunk))
		return -1;
	trunk->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (trunk->epoll < 0 || watch(trunk, trunk->in, EPOLLIN | EPOLLRDHUP, EVENT_IN) ||
	    watch(trunk, trunk->out, EPOLLOUT, EVENT_OUT))
		return -1;
	trunk->in_ready = true;
	trunk->round_trip = ROUND_TRIP;
	trunk->now = clock_us();
	hello.streams = trunk->most;
	frame_put_hello(out_frame(trunk, FRAME_HELLO, 0, FRAME_HELLO_SIZE), &hello);
	allowfile_load(NC_ALLOW);
	audit_start();
	sandbox_seal_trunk();
	return 0;
}

/* ---- the loop ---- */

static void take_event(struct trunk *trunk, const struct epoll_event *event)
{
	if (event->data.u32 == EVENT_IN) {
		trunk->in_ready = true;
		trunk->in_hung_up |= (event->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
	} else if (event->data.u32 == EVENT_OUT) {
		trunk->out_blocked = false;
		trunk->out_broken |= (event->events & (EPOLLHUP | EPOLLERR)) != 0;
	} else {
		stream_event(trunk, &trunk->streams[event->data.u32], event->events);
	}
}

static bool has_work(struct trunk *trunk)
{
	return trunk->in_ready ||
	       (!trunk->out_blocked &&
		(trunk->out_end || list_first(trunk, LIST_NOTICES) ||
		 list_first(trunk, LIST_URGENT) || list_first(trunk, LIST_BULK)));
}

static int patience(struct trunk *trunk, uint64_t begin)
{
	int wait = stream_expire(trunk);

	if (!trunk->greeted)
		wait = (int)((begin + HELLO_SECONDS * TRUNK_SECOND - trunk->now) / 1000 + 1);
	return has_work(trunk) ? 0 : wait;
}

static int trunk_turn(struct trunk *trunk, uint64_t begin)
{
	struct epoll_event events[EVENTS];
	int count = epoll_wait(trunk->epoll, events, EVENTS, patience(trunk, begin));
	int i;

	trunk->now = clock_us();
	for (i = 0; i < count; i++)
		take_event(trunk, &events[i]);
	if (trunk->in_ready && in_read(trunk))
		return -1;
	if (!trunk->greeted && trunk->now - begin >= HELLO_SECONDS * TRUNK_SECOND)
		return trunk_break(trunk, "no HELLO came");
	out_fill(trunk);
	out_write(trunk);
	return 0;
}

/* ---- the end ---- */

static void reset_all(struct trunk *trunk)
{
	uint32_t i;

	for (i = 1; i < trunk->fresh; i++) {
		if (trunk->streams[i].state != STREAM_FREE)
			stream_abort(trunk, &trunk->streams[i]);
	}
}

/* A reset is no excuse to swallow a message that came right ahead of it. */
static void take_last(struct trunk *trunk)
{
	int i;

	for (i = 0; i < LAST_READS && !trunk->in_ended && !in_read(trunk) && trunk->in_ready; i++)
		;
}

static void say_goodbye(struct trunk *trunk)
{
	struct pollfd wait = { trunk->out, POLLOUT, 0 };
	uint64_t end = clock_us() + GOODBYE_MS * 1000;
	size_t length = strnlen(trunk->reason, FRAME_TEXT_MAX);

	say("trunk: %s", trunk->reason);
	memcpy(out_frame(trunk, FRAME_GOAWAY, 0, length), trunk->reason, length);
	while (trunk->out_end && !trunk->out_broken && clock_us() < end) {
		poll(&wait, 1, GOODBYE_MS / 10);
		trunk->out_blocked = false;
		out_write(trunk);
	}
}

static void trunk_stop(struct trunk *trunk)
{
	audit_stop();
	if (trunk->epoll >= 0)
		close(trunk->epoll);
	pool_stop(&trunk->pool);
	table_stop(trunk);
}

enum trunk_status trunk_serve(int in, int out)
{
	static struct trunk trunk;
	uint64_t begin;

	memset(&trunk, 0, offsetof(struct trunk, map));
	trunk.in = in;
	trunk.out = out;
	trunk.epoll = -1;
	if (trunk_start(&trunk)) {
		say("trunk: it can't start here: %s; it is started by sshd", strerror(errno));
		trunk_stop(&trunk);
		return TRUNK_FAILED;
	}
	begin = trunk.now;
	while (!trunk.in_ended && !trunk.out_broken) {
		if (trunk_turn(&trunk, begin))
			break;
	}
	if (!trunk.reason)
		take_last(&trunk);
	reset_all(&trunk);
	if (trunk.reason)
		say_goodbye(&trunk);
	trunk_stop(&trunk);
	return trunk.status;
}
