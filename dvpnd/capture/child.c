/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A child program with its three standard streams on the loop.
 *
 * It is over when it was reaped and both its outputs ended, in any order.  Its
 * input is a socket pair and not a pipe, so that writing to a child that is
 * gone gives EPIPE without a signal, whatever the process does with SIGPIPE.
 * It gets a fixed PATH, the C locale and default signals.
 */
#include "capture/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OURS, THEIRS };

static void close_watched(struct child *child, ev_io *io)
{
	if (io->fd < 0)
		return;
	ev_io_stop(child->loop, io);
	close(io->fd);
	io->fd = -1;
}

static const char *describe_end(struct child *child)
{
	char *newline;

	if (WIFEXITED(child->status) && WEXITSTATUS(child->status) == 0)
		return NULL;
	child->error[child->error_size] = '\0';
	newline = strchr(child->error, '\n');
	if (newline)
		*newline = '\0';
	if (child->killed)
		snprintf(child->error, sizeof(child->error), "no end after %.0f seconds, killed",
			 child->timeout);
	else if (!child->error[0] && WIFSIGNALED(child->status))
		snprintf(child->error, sizeof(child->error), "killed by signal %d",
			 WTERMSIG(child->status));
	else if (!child->error[0])
		snprintf(child->error, sizeof(child->error), "exit status %d",
			 WEXITSTATUS(child->status));
	return child->error;
}

static void finish_if_over(struct child *child)
{
	if (child->running || child->out.fd >= 0 || child->err.fd >= 0)
		return;
	close_watched(child, &child->in);
	ev_timer_stop(child->loop, &child->deadline);
	child->done(describe_end(child), child->arg);
}

/* ---- the streams ---- */

static void in_cb(struct ev_loop *loop, ev_io *io, int events)
{
	struct child *child = io->data;
	ssize_t sent;

	(void)loop, (void)events;
	if (child->input_start == child->input_end) {
		child->input_start = 0;
		child->input_end = child->fill(child->input, sizeof(child->input), child->arg);
	}
	if (child->input_end == 0) {
		close_watched(child, io);
		return;
	}
	sent = send(io->fd, child->input + child->input_start,
		    child->input_end - child->input_start, MSG_NOSIGNAL);
	if (sent >= 0)
		child->input_start += sent;
	else if (errno != EAGAIN && errno != EINTR)
		close_watched(child, io); /* it reads no more; its exit tells why */
}

static void take_lines(struct child *child)
{
	char *start = child->output, *end = child->output + child->output_size, *newline;

	while ((newline = memchr(start, '\n', end - start))) {
		*newline = '\0';
		child->line(start, child->arg);
		start = newline + 1;
	}
	child->output_size = end - start;
	memmove(child->output, start, child->output_size);
	/* No line of ours is that long: make room rather than stand still. */
	if (child->output_size == sizeof(child->output))
		child->output_size = 0;
}

static void out_cb(struct ev_loop *loop, ev_io *io, int events)
{
	struct child *child = io->data;
	ssize_t got = read(io->fd, child->output + child->output_size,
			   sizeof(child->output) - child->output_size);

	(void)loop, (void)events;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got > 0) {
		child->output_size += got;
		take_lines(child);
		return;
	}
	close_watched(child, io);
	finish_if_over(child);
}

static void err_cb(struct ev_loop *loop, ev_io *io, int events)
{
	struct child *child = io->data;
	char buffer[256];
	ssize_t got = read(io->fd, buffer, sizeof(buffer));
	size_t room = sizeof(child->error) - 1 - child->error_size;

	(void)loop, (void)events;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got > 0) {
		if ((size_t)got < room)
			room = got;
		memcpy(child->error + child->error_size, buffer, room);
		child->error_size += room;
		return;
	}
	close_watched(child, io);
	finish_if_over(child);
}

static void exited_cb(struct ev_loop *loop, ev_child *watcher, int events)
{
	struct child *child = watcher->data;

	(void)events;
	ev_child_stop(loop, watcher);
	child->status = watcher->rstatus;
	child->running = false;
	finish_if_over(child);
}

static void deadline_cb(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct child *child = timer->data;

	(void)loop, (void)events;
	if (child->running) {
		child->killed = true;
		kill(child->exited.pid, SIGKILL);
		return;
	}
	/* It is gone, but something that it started holds its outputs open. */
	close_watched(child, &child->out);
	close_watched(child, &child->err);
	finish_if_over(child);
}

/* ---- start and stop ---- */

static void close_streams(int streams[3][2], int count, int side)
{
	for (int i = 0; i < count; i++)
		close(streams[i][side]);
}

/* Three pairs {ours, theirs}.  0, or -1 with errno and nothing left open. */
static int make_streams(int streams[3][2])
{
	for (int i = 0; i < 3; i++) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, streams[i]) < 0) {
			int error = errno;

			close_streams(streams, i, OURS);
			close_streams(streams, i, THEIRS);
			errno = error;
			return -1;
		}
		/* Ours alone: the program expects streams that block. */
		fcntl(streams[i][OURS], F_SETFL, O_NONBLOCK);
	}
	return 0;
}

/* The pid, or -1 with errno. */
static pid_t spawn(const char *path, char *const arguments[], int streams[3][2])
{
	char *environment[] = { "PATH=/usr/sbin:/sbin:/usr/bin:/bin", "LC_ALL=C", NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, all;
	pid_t pid = -1;

	sigemptyset(&none);
	sigfillset(&all);
	errno = posix_spawn_file_actions_init(&actions);
	if (errno)
		return -1;
	errno = posix_spawnattr_init(&attributes);
	if (errno)
		goto out_actions;
	for (int i = 0; i < 3 && !errno; i++)
		errno = posix_spawn_file_actions_adddup2(&actions, streams[i][THEIRS], i);
	if (errno)
		goto out;
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	errno = posix_spawn(&pid, path, &actions, &attributes, arguments, environment);
	if (errno)
		pid = -1;
out:
	posix_spawnattr_destroy(&attributes);
out_actions:
	posix_spawn_file_actions_destroy(&actions);
	return pid;
}

static void watch(struct child *child, pid_t pid, int streams[3][2])
{
	ev_io_init(&child->in, in_cb, streams[0][OURS], EV_WRITE);
	ev_io_init(&child->out, out_cb, streams[1][OURS], EV_READ);
	ev_io_init(&child->err, err_cb, streams[2][OURS], EV_READ);
	ev_child_init(&child->exited, exited_cb, pid, 0);
	/* Then every second, should its outputs stay open after it was killed. */
	ev_timer_init(&child->deadline, deadline_cb, child->timeout, 1.);
	child->in.data = child->out.data = child->err.data = child;
	child->exited.data = child->deadline.data = child;
	ev_io_start(child->loop, &child->in);
	ev_io_start(child->loop, &child->out);
	ev_io_start(child->loop, &child->err);
	ev_child_start(child->loop, &child->exited);
	ev_timer_start(child->loop, &child->deadline);
}

int child_start(struct child *child, struct ev_loop *loop, const char *path,
		char *const arguments[])
{
	int streams[3][2], error;
	pid_t pid;

	if (make_streams(streams) < 0)
		return -1;
	pid = spawn(path, arguments, streams);
	error = errno;
	close_streams(streams, 3, THEIRS);
	if (pid < 0) {
		close_streams(streams, 3, OURS);
		errno = error;
		return -1;
	}
	child->loop = loop;
	child->input_start = child->input_end = 0;
	child->output_size = child->error_size = 0;
	child->status = 0;
	child->running = true;
	child->killed = false;
	watch(child, pid, streams);
	return 0;
}

void child_stop(struct child *child)
{
	ev_timer_stop(child->loop, &child->deadline);
	ev_child_stop(child->loop, &child->exited);
	close_watched(child, &child->in);
	close_watched(child, &child->out);
	close_watched(child, &child->err);
	if (child->running) {
		kill(child->exited.pid, SIGKILL);
		while (waitpid(child->exited.pid, NULL, 0) < 0 && errno == EINTR)
			;
		child->running = false;
	}
}
