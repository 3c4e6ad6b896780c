/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket's file.  Its mode is set before it has a name, so there
 * is no moment at which others could connect.
 */
#include "control/endpoint.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"

#define BACKLOG 16

static int new_socket(const char *path)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		log_errorx("control: can't make a socket for %s: %s", path, strerror(errno));
	return fd;
}

static int fill_address(struct sockaddr_un *address, const char *path)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (!*path || strlen(path) >= sizeof(address->sun_path)) {
		log_errorx("control: socket path '%s' must have 1 to %zu bytes; "
			   "set [control] socket to a shorter one",
			   path, sizeof(address->sun_path) - 1);
		return -1;
	}
	memcpy(address->sun_path, path, strlen(path));
	return 0;
}

/* Only the last directory: what is above it is not ours to invent. */
static int make_directory(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *directory;
	int result = 0;

	if (!slash || slash == path)
		return 0;
	directory = strndup(path, (size_t)(slash - path));
	if (!directory) {
		log_errorx("control: can't start: %s", strerror(errno));
		return -1;
	}
	/* The umask may take more away than it should. */
	if (mkdir(directory, 0755) == 0)
		result = chmod(directory, 0755);
	else if (errno != EEXIST)
		result = -1;
	if (result < 0)
		log_errorx("control: can't make the directory %s of [control] socket: %s; make it "
			   "by hand for the user that dvpnd runs as, or choose another socket",
			   directory, strerror(errno));
	free(directory);
	return result;
}

static void log_live(const char *path, int fd)
{
	struct ucred owner = { 0 };
	socklen_t size = sizeof(owner);
	char pid[32] = "";

	/* The credentials are those of who called listen(). */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &owner, &size) == 0 && owner.pid > 0)
		snprintf(pid, sizeof(pid), " (process %ld)", (long)owner.pid);
	log_errorx("control: a daemon%s already answers on %s; stop it (systemctl stop dvpnd), or "
		   "set [control] socket to another path",
		   pid, path);
}

/* 0 where nobody listens there; -1 and a log line where somebody does, or
 * where that can't be told. */
static int check_dead(const struct sockaddr_un *address)
{
	const char *path = address->sun_path;
	int fd = new_socket(path), result = -1;

	if (fd < 0)
		return -1;
	/* EAGAIN: its queue is full, so there is one. */
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN)
		log_live(path, fd);
	else if (errno == ECONNREFUSED || errno == ENOENT)
		result = 0;
	else
		log_errorx("control: can't tell whether another daemon uses %s: %s; "
			   "look with ss -xlp src %s",
			   path, strerror(errno), path);
	close(fd);
	return result;
}

static int remove_stale(const struct sockaddr_un *address)
{
	const char *path = address->sun_path;
	struct stat status;

	if (lstat(path, &status) < 0) {
		if (errno == ENOENT)
			return 0;
		log_errorx("control: can't look at %s: %s; set [control] socket to another path",
			   path, strerror(errno));
		return -1;
	}
	if (!S_ISSOCK(status.st_mode)) {
		log_errorx("control: %s is there and is no socket; remove it, or set [control] "
			   "socket to another path",
			   path);
		return -1;
	}
	if (check_dead(address) < 0)
		return -1;
	if (unlink(path) < 0 && errno != ENOENT) {
		log_errorx("control: can't remove the socket %s that a dead daemon left: %s; "
			   "remove it by hand",
			   path, strerror(errno));
		return -1;
	}
	return 0;
}

static int bind_socket(int fd, const struct sockaddr_un *address)
{
	/* Linux gives the file the mode of the unbound socket, less the umask. */
	if (fchmod(fd, 0600) == 0 &&
	    bind(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 &&
	    listen(fd, BACKLOG) == 0)
		return 0;
	log_errorx("control: can't listen on %s: %s; may the user that dvpnd runs as write to its "
		   "directory?",
		   address->sun_path, strerror(errno));
	return -1;
}

int control_endpoint_open(struct control_endpoint *endpoint, const char *path)
{
	struct sockaddr_un address;
	struct stat status;

	*endpoint = (struct control_endpoint){ .fd = -1 };
	if (fill_address(&address, path) < 0 || make_directory(path) < 0 ||
	    remove_stale(&address) < 0)
		return -1;
	endpoint->path = strdup(path);
	endpoint->fd = new_socket(path);
	if (!endpoint->path || endpoint->fd < 0 || bind_socket(endpoint->fd, &address) < 0) {
		if (endpoint->fd >= 0)
			close(endpoint->fd);
		free(endpoint->path);
		*endpoint = (struct control_endpoint){ .fd = -1 };
		return -1;
	}
	if (lstat(path, &status) == 0) {
		endpoint->device = status.st_dev;
		endpoint->inode = status.st_ino;
	}
	return 0;
}

void control_endpoint_close(struct control_endpoint *endpoint)
{
	struct stat status;

	/* A user that may not remove it leaves it: the next start takes it over. */
	if (lstat(endpoint->path, &status) == 0 && status.st_dev == endpoint->device &&
	    status.st_ino == endpoint->inode && unlink(endpoint->path) < 0)
		log_debug("control: %s stays behind: %s", endpoint->path, strerror(errno));
	close(endpoint->fd);
	free(endpoint->path);
}

bool control_endpoint_allows(int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return false;
	return peer.uid == 0 || peer.uid == geteuid();
}
