/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dvpnctl: asks a running dvpnd one thing over its control socket.
 *
 * A program of its own that links nothing of the daemon.  It sends one line of
 * words; the answer's first line is "ok SIZE" or "error TEXT", and the rest is
 * shown as it is, since the daemon has made it safe to show.  The whole answer
 * is read before any of it is written: dvpnd hangs up on a slow reader, and a
 * pager is one.
 */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define DEFAULT_SOCKET "/run/dvpn/control"
#define REQUEST_SIZE 1024
#define PATIENCE 60 /* seconds: dvpnd itself gives up after 10 */

enum { EXIT_REFUSED = 1, EXIT_USAGE = 2 };

static const char usage_text[] =
	"usage: dvpnctl [-s SOCKET] [--json] COMMAND\n"
	"  status               how dvpnd is: map, flows, links, what was refused, hints\n"
	"  routes               which prefix goes to which site, and from which map line\n"
	"  links                the SSH connections to gateways\n"
	"  flows                the connections that are being carried\n"
	"  explain DEST[:PORT]  what would become of a connection; DEST: address or site\n"
	"  reload               read configuration and map again\n"
	"  -s, --socket SOCKET  control socket (" DEFAULT_SOCKET ")\n"
	"  -j, --json           one JSON object instead of columns\n"
	"  -V, --version, -h, --help\n"
	"exit status: 0 done, 1 refused or failed, 2 bad usage; see dvpnctl(8)\n";

static const struct {
	const char *name;
	int args;
} commands[] = { { "status", 0 }, { "routes", 0 },  { "links", 0 },
		 { "flows", 0 },  { "explain", 1 }, { "reload", 0 } };

static int usage(const char *problem, const char *text)
{
	fprintf(stderr, "dvpnctl: %s%s%s; dvpnctl --help shows what there is\n", problem,
		text ? " " : "", text ? text : "");
	return EXIT_USAGE;
}

/* 0, or the exit status of bad usage. */
static int check_command(int count, char **words)
{
	if (count == 0)
		return usage("no command", NULL);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(words[0], commands[i].name) != 0)
			continue;
		if (count - 1 < commands[i].args)
			return usage("what is to be explained? An address or a site must follow",
				     words[0]);
		if (count - 1 > commands[i].args)
			return usage("one word too many:", words[commands[i].args + 1]);
		return 0;
	}
	return usage("unknown command", words[0]);
}

/* The request line; its length, or -1 where a word can't be sent. */
static int make_request(char *line, size_t size, bool json, int count, char **words)
{
	int length = snprintf(line, size, "%s%s%s%s\n", json ? "json " : "", words[0],
			      count > 1 ? " " : "", count > 1 ? words[1] : "");

	if (length >= (int)size)
		return -1;
	if (count > 1 && (!*words[1] || strpbrk(words[1], " \t\r\n")))
		return -1;
	return length;
}

static void explain_connect(const char *path, int error)
{
	const char *remedy = "is the control socket named by -s that of dvpnd.conf?";

	if (error == ENOENT || error == ECONNREFUSED)
		remedy = "dvpnd is not running (systemctl status dvpnd), or uses another "
			 "[control] socket (-s)";
	else if (error == EACCES || error == EPERM)
		remedy = "only root and the user that dvpnd runs as may ask: try sudo dvpnctl";
	else if (error == EAGAIN)
		remedy = "dvpnd is busy with other clients or hangs (systemctl status dvpnd)";
	fprintf(stderr, "dvpnctl: can't connect to %s: %s: %s\n", path, strerror(error), remedy);
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = PATIENCE };
	int fd;

	if (!*path || strlen(path) >= sizeof(address.sun_path)) {
		fprintf(stderr, "dvpnctl: socket path '%s' must have 1 to %zu bytes\n", path,
			sizeof(address.sun_path) - 1);
		return -1;
	}
	memcpy(address.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) == 0 &&
	    connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	explain_connect(path, errno);
	if (fd >= 0)
		close(fd);
	return -1;
}

/* A daemon that refuses does so before it has read: its answer is still there,
 * so a failure to send shows when there is none. */
static void send_request(int fd, const char *line, size_t length)
{
	while (length > 0) {
		ssize_t sent = send(fd, line, length, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return;
		line += sent;
		length -= (size_t)sent;
	}
}

/* All that comes until the daemon closes.  -1, errno set, and what came by then
 * where that fails: a daemon that refuses may reset what was sent to it. */
static int read_answer(int fd, char **text, size_t *size)
{
	size_t room = 0;

	*text = NULL;
	*size = 0;
	for (;;) {
		ssize_t got;

		if (*size == room) {
			char *more = realloc(*text, room ? 2 * room : 65536);

			if (!more)
				return -1;
			*text = more;
			room = room ? 2 * room : 65536;
		}
		got = recv(fd, *text + *size, room - *size, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return (int)got;
		*size += (size_t)got;
	}
}

static int write_out(const char *text, size_t size)
{
	if (fwrite(text, 1, size, stdout) == size && fflush(stdout) == 0)
		return EXIT_SUCCESS;
	fprintf(stderr, "dvpnctl: can't write the answer: %s\n", strerror(errno));
	return EXIT_REFUSED;
}

/* `failed`: reading ended with this errno; 0: with the daemon's close. */
static int show_answer(const char *text, size_t size, int failed)
{
	const char *end = size ? memchr(text, '\n', size) : NULL;
	size_t rest = end ? size - (size_t)(end + 1 - text) : 0;

	if (end && size > 6 && strncmp(text, "error ", 6) == 0)
		fprintf(stderr, "dvpnctl: %.*s", (int)(size - 6), text + 6);
	else if (end && strncmp(text, "ok ", 3) == 0 && strtoull(text + 3, NULL, 10) == rest)
		return write_out(end + 1, rest);
	else if (failed == EAGAIN)
		fprintf(stderr, "dvpnctl: no answer in %d seconds: dvpnd hangs "
				"(systemctl status dvpnd)\n", PATIENCE);
	else if (size == 0 || (end && strncmp(text, "ok ", 3) == 0))
		fprintf(stderr, "dvpnctl: the answer breaks off%s%s: dvpnd stopped "
				"(systemctl status dvpnd)\n",
			failed ? ": " : "", failed ? strerror(failed) : "");
	else
		fprintf(stderr, "dvpnctl: what answers is no dvpnd; is -s right?\n");
	return EXIT_REFUSED;
}

static int ask(const char *path, const char *line, size_t length)
{
	int fd = connect_to(path), result, failed = 0;
	char *text;
	size_t size;

	if (fd < 0)
		return EXIT_REFUSED;
	send_request(fd, line, length);
	if (read_answer(fd, &text, &size) < 0)
		failed = errno;
	result = show_answer(text, size, failed);
	free(text);
	close(fd);
	return result;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "socket", required_argument, NULL, 's' },
						 { "json", no_argument, NULL, 'j' },
						 { "version", no_argument, NULL, 'V' },
						 { "help", no_argument, NULL, 'h' },
						 { NULL, 0, NULL, 0 } };
	const char *path = DEFAULT_SOCKET;
	char line[REQUEST_SIZE];
	bool json = false;
	int option, result, length;

	while ((option = getopt_long(argc, argv, "s:jVh", options, NULL)) != -1) {
		if (option == 's')
			path = optarg;
		else if (option == 'j')
			json = true;
		else if (option == 'V')
			return printf("dvpnctl %s\n", DVPN_VERSION) < 0;
		else if (option == 'h')
			return fputs(usage_text, stdout) < 0;
		else
			return usage("bad option", NULL);
	}
	argc -= optind;
	argv += optind;
	result = check_command(argc, argv);
	if (result)
		return result;
	length = make_request(line, sizeof(line), json, argc, argv);
	if (length < 0)
		return usage("no address and no site's name:", argc > 1 ? argv[1] : argv[0]);
	return ask(path, line, (size_t)length);
}
