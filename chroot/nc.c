// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The far end of a flow: the one program in the jail, both netcat and login
 * shell.  It takes one command of one form, asks the allow file, connects, says
 * on stderr how that went, and moves bytes until both sides have ended.  A trunk,
 * many flows in one, begins in trunk.c.
 *
 * Rules that hold here:
 * - no heap, no name resolution, no file but the allow file, no shell;
 * - one result line on stderr; "end" only after the server's clean end and
 *   after every byte before it; whatever else ends the flow is a reset;
 * - a flow that was cut never looks like a clean end, to either side.
 *
 * sshd passes the server's end on only when stdout and stderr are both closed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "allowfile.h"
#include "command.h"
#include "connect.h"
#include "sandbox.h"
#include "say.h"
#include "trunk.h"

#ifndef DVPN_VERSION
#define DVPN_VERSION "unknown"
#endif

#define BUFFER_SIZE 65536
/* sshd hangs up both directions within microseconds when the near side has
 * dropped the channel; this long after the end of input it has not. */
#define GRACE_MS 30

enum status {
	STATUS_OK = 0,
	STATUS_REFUSED = 1,
	STATUS_UNREACHABLE = 2,
	STATUS_TIMED_OUT = 3,
	STATUS_DENIED = 4,
	STATUS_RESET = 5,
	STATUS_USAGE = 64,
};

enum half_state {
	HALF_OPEN,     /* input may still bring bytes */
	HALF_DRAINING, /* input has ended, its end not passed on yet */
	HALF_ENDED,
};

/* One direction of the flow.  Pending bytes are data[start..end). */
struct half {
	enum half_state state;
	int from, to;
	size_t start, end;
	char *data;
};

struct flow {
	int server;
	struct half up, down;
	long long input_ended; /* ms; when `up` began draining */
	bool server_broken;    /* the server's next end is a reset */
	bool server_hung_up;   /* poll says so, and `down` has no room to look */
	bool near_is_socket;
	pid_t parent; /* sshd; 0 where input is no channel of its making */
};

static char up_data[BUFFER_SIZE], down_data[BUFFER_SIZE];

static long long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static int usage(const char *reason)
{
	say("usage: nc [-v] [-N] HOST PORT | nc -T 1: %s", reason);
	return STATUS_USAGE;
}

/* For the operator, never from a command line that came over SSH:
 * --check-allow [FILE [HOST PORT]] */
static int allow_explain(char *const *words, size_t count)
{
	const char *path = count > 0 ? words[0] : NC_ALLOW;
	struct command command = { 0 };
	struct allow_report report;
	const char *reason;
	bool ask = count == 3;

	if (count != 0 && count != 1 && count != 3)
		return usage("--check-allow takes FILE, or FILE HOST PORT");
	if (ask) {
		command_parse_words(&command, words + 1, 2);
		if (command.kind != COMMAND_CONNECT)
			return usage(command.reason ? command.reason : "HOST PORT is wanted");
	}
	allowfile_load(path);
	reason = allowfile_ask(ask ? &command.address : NULL, command.port, &report);
	if (reason) {
		say("denied%s%s: %s", ask ? " " : "", ask ? command.host : "", reason);
		return STATUS_DENIED;
	}
	if (ask)
		dprintf(STDOUT_FILENO, "allowed by line %u\n", report.line);
	else
		dprintf(STDOUT_FILENO, "%u rules\n", report.rules);
	return STATUS_OK;
}

/* ---- connecting ---- */

static int connect_status(int error)
{
	switch (error) {
	case ECONNREFUSED:
		return STATUS_REFUSED;
	case ETIMEDOUT:
		return STATUS_TIMED_OUT;
	default:
		return STATUS_UNREACHABLE;
	}
}

/* Waits for a connect under way.  0 or its errno; -1: the near side has gone. */
static int connect_wait(int fd)
{
	long long deadline = now_ms() + CONNECT_SECONDS * 1000;
	struct pollfd wait[2] = { { fd, POLLOUT, 0 }, { STDOUT_FILENO, 0, 0 } };

	for (;;) {
		long long left = deadline - now_ms();

		if (left <= 0)
			return ETIMEDOUT;
		if (poll(wait, 2, (int)left) < 0) {
			if (errno != EINTR)
				return errno;
		} else if (wait[1].revents) {
			return -1;
		} else if (wait[0].revents) {
			return connect_error(fd);
		}
	}
}

/* STATUS_OK with *server connected, or how it failed; says which. */
static int server_open(const struct command *command, int *server)
{
	static const char *const words[] = {
		[STATUS_REFUSED] = "refused",
		[STATUS_UNREACHABLE] = "unreachable",
		[STATUS_TIMED_OUT] = "timed out",
	};
	struct allow_report report;
	const char *reason;
	int error;

	allowfile_load(NC_ALLOW);
	reason = allowfile_ask(&command->address, command->port, &report);
	if (reason) {
		say("denied %s %u: %s", command->host, command->port, reason);
		return STATUS_DENIED;
	}
	*server = connect_start(&command->address, command->port);
	error = *server < 0 ? -*server : connect_wait(*server);
	if (error < 0)
		return STATUS_RESET;
	if (error) {
		int status = connect_status(error);

		say("%s %s %u: %s", words[status], command->host, command->port, strerror(error));
		return status;
	}
	say("connected %s %u", command->host, command->port);
	return STATUS_OK;
}

/* ---- moving bytes ---- */

static bool half_has_room(const struct half *half)
{
	return half->state == HALF_OPEN && half->end < BUFFER_SIZE;
}

static bool half_has_bytes(const struct half *half)
{
	return half->start < half->end;
}

/* Once; at the end of input the half goes on draining.  -1: input failed. */
static int half_read(struct half *half)
{
	ssize_t got = read(half->from, half->data + half->end, BUFFER_SIZE - half->end);

	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	if (got == 0)
		half->state = HALF_DRAINING;
	half->end += (size_t)got;
	return 0;
}

/* As much as is taken now.  -1: output failed. */
static int half_write(struct half *half)
{
	ssize_t put;

	if (!half_has_bytes(half))
		return 0;
	put = write(half->to, half->data + half->start, half->end - half->start);
	if (put < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	half->start += (size_t)put;
	if (half->start == half->end)
		half->start = half->end = 0;
	return 0;
}

static bool half_is_drained(const struct half *half)
{
	return half->state == HALF_DRAINING && !half_has_bytes(half);
}

/* Ends the flow the hard way: the server sees RST, never a clean end. */
static int flow_reset(struct flow *flow)
{
	connect_reset(flow->server);
	say("reset");
	return STATUS_RESET;
}

/*
 * Whether the near side has dropped the channel, asked when its input has ended.
 * While stdout is open, that no longer takes bytes; an empty send() asks a
 * socket so without a trace.  When stdout is closed, what is left to see is that
 * sshd itself has gone, as it does when the link broke.
 */
static bool near_is_gone(const struct flow *flow)
{
	struct pollfd out = { STDOUT_FILENO, 0, 0 };

	if (flow->down.state == HALF_ENDED)
		return flow->parent && getppid() != flow->parent;
	if (poll(&out, 1, 0) > 0)
		return true;
	return flow->near_is_socket && send(STDOUT_FILENO, "", 0, MSG_DONTWAIT) < 0 &&
	       errno == EPIPE;
}

/* stdin to server.  -1: reset. */
static int flow_move_up(struct flow *flow, short ready)
{
	struct half *up = &flow->up;

	if (ready && half_has_room(up)) {
		if (half_read(up))
			return -1;
		if (up->state == HALF_DRAINING)
			flow->input_ended = now_ms();
	}
	/* What the server sent before it broke still goes down. */
	if (half_write(up)) {
		flow->server_broken = true;
		shutdown(flow->server, SHUT_RD);
		up->start = up->end = 0;
		up->state = HALF_ENDED;
	}
	if (half_is_drained(up) && now_ms() - flow->input_ended >= GRACE_MS) {
		if (near_is_gone(flow))
			return -1;
		if (shutdown(flow->server, SHUT_WR))
			flow->server_broken = true;
		up->state = HALF_ENDED;
	}
	return 0;
}

static void stdout_end(void)
{
	say("end");
	say_end();
	/* stdin may be the same socket, so closing alone would not show. */
	shutdown(STDOUT_FILENO, SHUT_WR);
	close(STDOUT_FILENO);
}

/* server to stdout.  -1: reset. */
static int flow_move_down(struct flow *flow, short ready)
{
	struct half *down = &flow->down;

	if (ready & (POLLHUP | POLLERR))
		flow->server_hung_up = true;
	if (ready && half_has_room(down)) {
		/* A write that failed has used up the socket's error: after that
		 * a plain end is what read() gives for a reset. */
		if (half_read(down)) {
			flow->server_broken = true;
			down->state = HALF_DRAINING;
		}
	} else if (ready & (POLLHUP | POLLERR) && down->state != HALF_OPEN) {
		flow->server_broken = true;
	}
	if (half_write(down))
		return -1;
	if (down->state == HALF_ENDED || half_is_drained(down)) {
		if (flow->server_broken)
			return -1;
		if (down->state != HALF_ENDED)
			stdout_end();
		down->state = HALF_ENDED;
	}
	return 0;
}

static void watch(struct pollfd *slot, int fd, bool wanted, short events)
{
	slot->fd = wanted ? fd : -1;
	slot->events = events;
	slot->revents = 0;
}

/* Only what can be acted on now: poll reports hang-ups unasked, for ever. */
static void flow_watch(const struct flow *flow, struct pollfd slots[3])
{
	const struct half *up = &flow->up, *down = &flow->down;
	short events = (half_has_room(down) ? POLLIN : 0) | (half_has_bytes(up) ? POLLOUT : 0);
	bool both_ended = up->state == HALF_ENDED && down->state != HALF_OPEN;
	bool nothing_new = flow->server_hung_up && !half_has_room(down);

	watch(&slots[0], STDIN_FILENO, half_has_room(up), POLLIN);
	watch(&slots[1], STDOUT_FILENO, down->state != HALF_ENDED,
	      half_has_bytes(down) ? POLLOUT : 0);
	watch(&slots[2], flow->server, !both_ended && !nothing_new, events);
}

static int flow_timeout(const struct flow *flow)
{
	long long left;

	if (!half_is_drained(&flow->up))
		return -1;
	left = flow->input_ended + GRACE_MS - now_ms();
	return left > 0 ? (int)left : 0;
}

/* The near side has dropped the channel.  What it had sent before goes out
 * first, as far as the server takes it at once: a reset is no excuse to swallow
 * a message that came right ahead of it. */
static int flow_drop(struct flow *flow)
{
	struct half *up = &flow->up;

	while (half_write(up) == 0 && !half_has_bytes(up) && half_has_room(up))
		if (half_read(up) || !half_has_bytes(up))
			break;
	return flow_reset(flow);
}

static int flow_run(struct flow *flow)
{
	struct pollfd slots[3];

	while (flow->up.state != HALF_ENDED || flow->down.state != HALF_ENDED) {
		flow_watch(flow, slots);
		if (poll(slots, 3, flow_timeout(flow)) < 0) {
			if (errno == EINTR)
				continue;
			return flow_reset(flow);
		}
		if (slots[1].revents & (POLLHUP | POLLERR | POLLNVAL))
			return flow_drop(flow);
		if (flow_move_up(flow, slots[0].revents) ||
		    flow_move_down(flow, slots[2].revents))
			return flow_reset(flow);
	}
	return STATUS_OK;
}

static int carry(const struct command *command)
{
	struct flow flow = {
		.up = { .from = STDIN_FILENO, .data = up_data },
		.down = { .to = STDOUT_FILENO, .data = down_data },
	};
	struct stat status;
	int result = server_open(command, &flow.server);

	if (result)
		return result;
	flow.up.to = flow.down.from = flow.server;
	flow.near_is_socket = fstat(STDOUT_FILENO, &status) == 0 && S_ISSOCK(status.st_mode);
	if (fstat(STDIN_FILENO, &status) == 0 &&
	    (S_ISSOCK(status.st_mode) || S_ISFIFO(status.st_mode)))
		flow.parent = getppid();
	fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
	fcntl(STDOUT_FILENO, F_SETFL, fcntl(STDOUT_FILENO, F_GETFL) | O_NONBLOCK);
	sandbox_seal();
	return flow_run(&flow);
}

/* ---- the forms of the command ---- */

/*
 * As login shell "-c LINE", or directly "nc WORDS".  A bare NETCAT is either a
 * forced command, and then sshd keeps what the near side asked for in the
 * environment, or somebody who wants a shell.  A forced command with a
 * destination of its own keeps that one.
 */
static void command_find(struct command *command, int argc, char **argv)
{
	const char *original = getenv("SSH_ORIGINAL_COMMAND");

	if (argc == 3 && !strcmp(argv[1], "-c"))
		command_parse_line(command, argv[2]);
	else
		command_parse_words(command, argv + 1, argc > 0 ? (size_t)argc - 1 : 0);
	if (command->kind == COMMAND_BARE && original)
		command_parse_line(command, original);
}

int main(int argc, char **argv)
{
	static struct command command;

	signal(SIGPIPE, SIG_IGN);
	if (fcntl(STDIN_FILENO, F_GETFD) < 0 || fcntl(STDOUT_FILENO, F_GETFD) < 0 ||
	    fcntl(STDERR_FILENO, F_GETFD) < 0)
		return STATUS_USAGE;
	sandbox_enter();
	if (argc > 1 && !strcmp(argv[1], "--check-allow"))
		return allow_explain(argv + 2, (size_t)argc - 2);
	command_find(&command, argc, argv);
	switch (command.kind) {
	case COMMAND_CONNECT:
		return carry(&command);
	case COMMAND_TRUNK:
		return trunk_serve(STDIN_FILENO, STDOUT_FILENO);
	case COMMAND_VERSION:
		dprintf(STDOUT_FILENO, "dvpn-nc %s\n", DVPN_VERSION);
		return STATUS_OK;
	case COMMAND_BARE:
		return usage("this account carries connections, there is no shell to log in to");
	default:
		return usage(command.reason);
	}
}
