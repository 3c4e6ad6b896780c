/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzes the far side of a trunk as a whole.  The input is a play for the near side,
 * the servers and the clock; it is acted out, a step at a time, where the trunk would
 * wait.  Servers are socket pairs.  Beside crashes it looks for what the near side
 * may rely on: frames that are whole, in order, for streams that are there, within
 * the credit; one line in the log for each stream; no descriptor left.
 *
 * trunk.c, where the loop is, is compiled in here, on a clock and a wait of the
 * play's own; its other parts are linked.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../../chroot/connect.h"
#include "../../chroot/sandbox.h"

static int play_wait(int epoll, struct epoll_event *events, int most, int timeout);
static int play_clock(clockid_t id, struct timespec *time);
static int play_poll(struct pollfd *fds, nfds_t count, int timeout);
static int play_limit(int resource, struct rlimit *limit);

/* How many descriptors there are is the play's to say, and the fuzzer stays free. */
#define sandbox_seal_trunk() ((void)0)
#define epoll_wait play_wait
#define clock_gettime play_clock
#define poll(fds, count, timeout) play_poll(fds, count, timeout)
#define getrlimit play_limit
#define setrlimit(resource, limit) ((void)(limit))
#include "../../chroot/trunk.c"
#undef epoll_wait

#define SLOTS 16   /* that the play knows */
#define SERVERS 64 /* whose other ends are held */
#define PLACES 20  /* of the trunk, lingering streams included */
#define LAST_STEPS 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the near side knows of a slot. */
struct view {
	uint32_t id; /* 0: none */
	bool opened, ended, sent_end;
	uint64_t credit; /* that the far side has left */
};

static struct {
	const uint8_t *data;
	size_t size;
	int near; /* our end of the trunk's in and out */
	int servers[SERVERS];
	unsigned server_count;
	uint64_t now; /* ms */
	unsigned last_steps;
	struct view views[SLOTS];
	long opens, lines;
	bool greeted, wild; /* HELLO came; what was sent can't be followed any more */
	uint8_t got[4 * FRAME_MAX];
	size_t got_end;
} play;

static void must(bool holds)
{
	if (!holds)
		abort();
}

static unsigned draw(void)
{
	if (!play.size)
		return 0;
	play.size--;
	return *play.data++;
}

/* ---- what the trunk stands on ---- */

void say(const char *format, ...)
{
	(void)format;
}

void allowfile_load(const char *path)
{
	(void)path;
}

void allowfile_refresh(void)
{
}

const char *allowfile_ask(const struct address *address, unsigned port, struct allow_report *report)
{
	(void)address;
	(void)report;
	return port % 16 == 15 ? "the port is odd" : NULL;
}

void audit_start(void)
{
}

void audit_stop(void)
{
}

void audit_stream(const struct trunk *trunk, const struct stream *stream, const char *result)
{
	must(result && stream->state != STREAM_FREE && stream->state != STREAM_FINISHED);
	must(stream->down_credit <= FRAME_CREDIT_MAX && trunk->mapped <= trunk->most);
	play.lines++;
}

int connect_start(const struct address *address, unsigned port)
{
	static const int errors[] = { ECONNREFUSED, ENETUNREACH, EMFILE };
	int ends[2], small = 4096;

	(void)address;
	if (port % 16 < 3)
		return -errors[port % 16];
	if (play.server_count == SERVERS ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends))
		return -ENFILE;
	if (port % 16 == 4)
		setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	if (port % 16 == 3)
		shutdown(ends[1], SHUT_RDWR);
	play.servers[play.server_count++] = ends[1];
	return ends[0];
}

int connect_error(int fd)
{
	static const int errors[] = { 0, ECONNREFUSED, ECONNRESET, ETIMEDOUT };

	(void)fd;
	return errors[draw() % 4];
}

static int play_clock(clockid_t id, struct timespec *time)
{
	(void)id;
	time->tv_sec = (time_t)(play.now / 1000);
	time->tv_nsec = (long)(play.now % 1000) * 1000000;
	return 0;
}

static int play_limit(int resource, struct rlimit *limit)
{
	(void)resource;
	limit->rlim_cur = limit->rlim_max = PLACES + DESCRIPTORS_KEPT;
	return 0;
}

/* ---- what the near side gets ---- */

static void send_frame(enum frame_type type, uint32_t stream, const uint8_t *payload, size_t length)
{
	uint8_t header[FRAME_HEADER];

	frame_put_header(header, type, length, stream);
	if (send(play.near, header, sizeof(header), MSG_DONTWAIT | MSG_NOSIGNAL) !=
		    (ssize_t)sizeof(header) ||
	    (length &&
	     send(play.near, payload, length, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)length))
		play.wild = true; /* half a frame */
}

static void check_stream_frame(const struct frame_header *header, const uint8_t *payload)
{
	struct view *view = &play.views[header->stream % SLOTS];

	must(header->stream % FRAME_SLOTS < SLOTS);
	/* Both ends have crossed it on the way. */
	if (view->id != header->stream) {
		must(header->type == FRAME_CREDIT || header->type == FRAME_RESET);
		return;
	}
	must((header->type == FRAME_OPENED || header->type == FRAME_FAILED) != view->opened ||
	     header->type == FRAME_RESET);
	must(!view->ended || header->type == FRAME_CREDIT || header->type == FRAME_RESET);
	switch (header->type) {
	case FRAME_OPENED:
	case FRAME_CREDIT:
		must(header->length == 4 && frame_get_u32(payload) <= TRUNK_WINDOW_MAX);
		view->opened = true;
		break;
	case FRAME_DATA:
		must(header->length > 0 && header->length <= view->credit);
		view->credit -= header->length;
		break;
	case FRAME_EOF:
		must(header->length == 0);
		view->ended = true;
		if (view->sent_end)
			view->id = 0;
		break;
	case FRAME_FAILED:
	case FRAME_RESET:
		must(payload[0] >= FRAME_REFUSED && payload[0] <= FRAME_FULL);
		view->id = 0;
		break;
	default:
		must(false);
	}
}

static void check_frame(const struct frame_header *header, const uint8_t *payload)
{
	must(play.greeted == (header->type != FRAME_HELLO));
	play.greeted = true;
	if (header->type == FRAME_PING)
		send_frame(FRAME_PONG, 0, payload, header->length);
	if (header->type == FRAME_HELLO || header->type == FRAME_GOAWAY ||
	    header->type == FRAME_PING || header->type == FRAME_PONG)
		must(header->stream == 0);
	else if (!play.wild)
		check_stream_frame(header, payload);
}

static void take_output(size_t limit)
{
	struct frame_header header;
	size_t start = 0;
	ssize_t got;

	if (limit > sizeof(play.got) - play.got_end)
		limit = sizeof(play.got) - play.got_end;
	got = recv(play.near, play.got + play.got_end, limit, MSG_DONTWAIT);
	play.got_end += got > 0 ? (size_t)got : 0;
	while (play.got_end - start >= FRAME_HEADER) {
		must(frame_get_header(play.got + start, &header) == 0);
		if (play.got_end - start < FRAME_HEADER + (size_t)header.length)
			break;
		check_frame(&header, play.got + start + FRAME_HEADER);
		start += FRAME_HEADER + (size_t)header.length;
	}
	play.got_end -= start;
	memmove(play.got, play.got + start, play.got_end);
}

/* ---- what the near side does ---- */

static void send_hello(void)
{
	const struct frame_hello hello = { FRAME_VERSION, FRAME_SLOTS, 0 };
	uint8_t payload[FRAME_HELLO_SIZE];

	frame_put_hello(payload, &hello);
	send_frame(FRAME_HELLO, 0, payload, sizeof(payload));
}

static void send_open(struct view *view, unsigned slot)
{
	static uint16_t generation;
	uint8_t payload[FRAME_OPEN_SIZE + 256] = { 0 };
	struct frame_open open = { .family = draw() % 8 ? 4 : 6, .client_family = draw() % 8 };
	size_t early = draw();

	/* What the far side still says of the stream before would be lost on us. */
	if (view->id)
		return;
	generation = generation == UINT16_MAX ? 1 : generation + 1;
	open.port = (uint16_t)draw();
	open.credit = draw() * 40;
	frame_put_open(payload, &open);
	memset(view, 0, sizeof(*view));
	view->id = (uint32_t)generation << 16 | slot;
	view->credit = open.credit;
	play.opens++;
	send_frame(FRAME_OPEN, view->id, payload, FRAME_OPEN_SIZE + early);
}

static void send_on_stream(unsigned what)
{
	static const uint8_t zeros[FRAME_PAYLOAD];
	unsigned slot = draw() % SLOTS, amount = draw();
	struct view *view = &play.views[slot];
	uint8_t credit[4];

	switch (what) {
	case 0:
		send_open(view, slot);
		break;
	case 1:
		if (!view->sent_end)
			send_frame(FRAME_DATA, view->id, zeros, amount * 128);
		break;
	case 2:
		frame_put_u32(credit, amount * 100);
		view->credit += amount * 100;
		send_frame(FRAME_CREDIT, view->id, credit, sizeof(credit));
		break;
	case 3:
		if (view->id && !view->sent_end)
			send_frame(FRAME_EOF, view->id, NULL, 0);
		view->sent_end = true;
		if (view->ended)
			view->id = 0;
		break;
	default:
		/* Until all that was under way is there, nothing is known of it. */
		send_frame(FRAME_RESET, view->id, zeros, 1);
		play.wild |= view->id != 0;
		break;
	}
}

/* Anything at all. */
static void send_raw(void)
{
	size_t length = draw();

	length = length < play.size ? length : play.size;
	play.wild = true;
	if (send(play.near, play.data, length, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		length = 0;
	play.data += length;
	play.size -= length;
}

static void act_as_server(void)
{
	static uint8_t data[1 << 15];
	unsigned number = draw(), what = draw();
	int *server;

	if (!play.server_count)
		return;
	server = &play.servers[number % play.server_count];
	if (*server < 0)
		return;
	if (what < 100)
		what = send(*server, data, what * 300, MSG_DONTWAIT | MSG_NOSIGNAL) > 0;
	else if (what < 200)
		what = recv(*server, data, (what - 100) * 300, MSG_DONTWAIT) > 0;
	else if (what < 225)
		shutdown(*server, what % 2 ? SHUT_WR : SHUT_RDWR);
	else {
		close(*server);
		*server = -1;
	}
}

static void step(void)
{
	unsigned what = draw();

	if (!play.size) {
		/* All of it is read once more; then the near side goes away. */
		take_output(sizeof(play.got));
		if (++play.last_steps >= LAST_STEPS)
			shutdown(play.near, SHUT_RDWR);
	} else if (what < 128) {
		send_on_stream(what % 5);
	} else if (what < 180) {
		act_as_server();
	} else if (what < 220) {
		take_output((draw() + 1) * 512);
	} else if (what < 240) {
		play.now += 1u << draw() % 17;
	} else if (what < 250) {
		send_frame(FRAME_PING, 0, play.data, play.size < 64 ? play.size : 64);
	} else {
		send_raw();
	}
}

static int play_wait(int epoll, struct epoll_event *events, int most, int timeout)
{
	int count;

	(void)timeout;
	step();
	count = epoll_wait(epoll, events, most, 0);
	play.now++;
	return count;
}

static int play_poll(struct pollfd *fds, nfds_t count, int timeout)
{
	take_output(sizeof(play.got));
	fds->revents = POLLOUT;
	play.now += (uint64_t)timeout;
	return (int)count;
}

/* ---- one play ---- */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int ends[2], spare = dup(0), after, other;
	enum trunk_status status;
	unsigned i;

	signal(SIGPIPE, SIG_IGN);
	memset(&play, 0, sizeof(play));
	play.data = data;
	play.size = size;
	play.now = 1000;
	if (spare < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
		abort();
	play.near = ends[0];
	if (draw() % 16)
		send_hello();
	else
		play.wild = true;
	other = dup(ends[1]);
	status = trunk_serve(ends[1], other);
	must(status == TRUNK_DONE || status == TRUNK_BROKEN || status == TRUNK_NO_HELLO);
	must(play.wild || play.lines <= play.opens);
	for (i = 0; i < play.server_count; i++) {
		if (play.servers[i] >= 0)
			close(play.servers[i]);
	}
	close(ends[0]);
	close(ends[1]);
	close(other);
	close(spare);
	after = dup(0);
	must(after == spare);
	close(after);
	return 0;
}
