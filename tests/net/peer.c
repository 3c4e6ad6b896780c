/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One end of a TCP connection that does exactly what it is told, step by step,
 * and fails at the first step that went otherwise.
 *
 *   peer listen ADDRESS PORT [-r READY] [-k] STEP…
 *   peer connect HOST PORT [-n COUNT] STEP…
 *
 *   send=N   N bytes of the pattern        recv=N   exactly the next N bytes of it
 *   both=N   N bytes each way at once      eof      the other side ended cleanly
 *   half     end our side (SHUT_WR)        reset    the other side reset us
 *   abort    reset the other side          echo     send back until it ends
 *   mark=F   make the file F               hold=F   wait until the file F is there
 *   flood    send until we are reset       at_least=N  N bytes, or more, then stop reading
 *
 * -r makes the file READY once the port is open, -k serves every connection in
 * a process of its own, -n runs that many clients at once.  N takes K, M or G.
 * The pattern depends on the place in the stream, so lost, doubled or swapped
 * bytes are all seen.  Every wait ends after 120 seconds.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHUNK (256 * 1024)
#define WAIT_SECONDS 120

struct connection {
	int fd;
	uint64_t sent, received;
};

static unsigned char chunk[CHUNK], wanted[CHUNK];

static _Noreturn void fail(const char *step, const char *what)
{
	fprintf(stderr, "peer: %s: %s\n", step, what);
	_exit(1); /* what is still held is no leak */
}

/* The pattern: an 8-byte word of each place, mixed so that neighbours differ
 * in every byte.  Places need not be aligned. */
static void pattern_fill(unsigned char *to, size_t size, uint64_t place)
{
	size_t done = 0;

	while (done < size) {
		uint64_t word = ((place + done) / 8 + 1) * UINT64_C(0x9e3779b97f4a7c15);
		unsigned from = (place + done) % 8;
		size_t take = 8 - from < size - done ? 8 - from : size - done;

		word ^= word >> 29;
		memcpy(to + done, (unsigned char *)&word + from, take);
		done += take;
	}
}

static uint64_t count_parse(const char *step, const char *text)
{
	char *end;
	uint64_t count = strtoull(text, &end, 10);

	if (*end == 'K')
		count <<= 10;
	else if (*end == 'M')
		count <<= 20;
	else if (*end == 'G')
		count <<= 30;
	if (end == text || (*end && end[1]))
		fail(step, "no count: 1, 64K, 100M, 1G");
	return count;
}

static void wait_ready(const struct connection *c, short events, const char *step)
{
	struct pollfd pollfd = { .fd = c->fd, .events = events };
	int n = poll(&pollfd, 1, WAIT_SECONDS * 1000);

	if (n == 0)
		fail(step, "nothing happened for 120 seconds");
	if (n < 0)
		fail(step, strerror(errno));
}

/* Bytes sent, 0 where the socket takes none now, -1 after a reset. */
static ssize_t send_some(struct connection *c, uint64_t left, const char *step)
{
	size_t want = left < CHUNK ? left : CHUNK;
	ssize_t n;

	pattern_fill(chunk, want, c->sent);
	n = send(c->fd, chunk, want, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0 && (errno == ECONNRESET || errno == EPIPE))
		return -1;
	if (n < 0)
		fail(step, strerror(errno));
	c->sent += (uint64_t)n;
	return n;
}

/* Where in the stream the bytes belong that came at `place`, for the message:
 * how many were lost, or came again. */
static void fail_displaced(const char *step, const unsigned char *came, size_t size,
			   uint64_t place)
{
	const int64_t reach = 16 << 20;
	unsigned char belongs[32];
	char text[128];

	while (size > sizeof(belongs) && *came == (pattern_fill(belongs, 1, place), *belongs)) {
		came++;
		place++;
		size--;
	}
	if (size > sizeof(belongs))
		size = sizeof(belongs);
	for (int64_t i = 1; size >= 16 && i < 2 * reach; i++) {
		int64_t by = i & 1 ? i / 2 + 1 : -(i / 2);

		pattern_fill(belongs, size, place + (uint64_t)by);
		if (by < -(int64_t)place || memcmp(came, belongs, size))
			continue;
		snprintf(text, sizeof(text), "after byte %llu: %lld bytes %s",
			 (unsigned long long)place, (long long)llabs(by),
			 by > 0 ? "are lost" : "came again");
		fail(step, text);
	}
	snprintf(text, sizeof(text), "wrong bytes after byte %llu", (unsigned long long)place);
	fail(step, text);
}

/* Bytes received and right, 0 where there are none now.  An end that comes
 * too early is a failure of the step. */
static ssize_t receive_some(struct connection *c, uint64_t left, const char *step)
{
	size_t want = left < CHUNK ? left : CHUNK;
	ssize_t n = recv(c->fd, chunk, want, MSG_DONTWAIT);
	char text[96];

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0)
		fail(step, strerror(errno));
	if (n == 0) {
		snprintf(text, sizeof(text), "clean end after %llu bytes",
			 (unsigned long long)c->received);
		fail(step, text);
	}
	pattern_fill(wanted, (size_t)n, c->received);
	if (memcmp(chunk, wanted, (size_t)n))
		fail_displaced(step, chunk, (size_t)n, c->received);
	c->received += (uint64_t)n;
	return n;
}

static void step_both(struct connection *c, uint64_t to_send, uint64_t to_receive,
		      const char *step)
{
	while (to_send || to_receive) {
		ssize_t out = to_send ? send_some(c, to_send, step) : 0;
		ssize_t in = to_receive ? receive_some(c, to_receive, step) : 0;

		if (out < 0)
			fail(step, "reset while sending");
		to_send -= (uint64_t)out;
		to_receive -= (uint64_t)in;
		if (!out && !in)
			wait_ready(c, (short)((to_send ? POLLOUT : 0) | (to_receive ? POLLIN : 0)),
				   step);
	}
}

static void step_at_least(struct connection *c, uint64_t least, const char *step)
{
	uint64_t end = c->received + least;

	while (c->received < end) {
		if (!receive_some(c, CHUNK, step))
			wait_ready(c, POLLIN, step);
	}
}

/* What recv says at the end: 0 for a clean one, else errno. */
static int end_of(struct connection *c, const char *step)
{
	char byte;
	ssize_t n;

	wait_ready(c, POLLIN, step);
	n = recv(c->fd, &byte, 1, 0);
	if (n > 0)
		fail(step, "more bytes than expected");
	return n < 0 ? errno : 0;
}

static void step_eof(struct connection *c, const char *step)
{
	int error = end_of(c, step);

	if (error)
		fail(step, strerror(error));
}

static void step_reset(struct connection *c, const char *step)
{
	int error = end_of(c, step);

	if (!error)
		fail(step, "a clean end instead of a reset");
	if (error != ECONNRESET)
		fail(step, strerror(error));
}

static void step_flood(struct connection *c, const char *step)
{
	ssize_t n;

	while ((n = send_some(c, CHUNK, step)) >= 0) {
		if (!n)
			wait_ready(c, POLLOUT, step);
	}
}

static void step_echo(struct connection *c, const char *step)
{
	ssize_t n;

	while ((n = recv(c->fd, chunk, sizeof(chunk), 0)) > 0) {
		for (ssize_t done = 0, m; done < n; done += m) {
			m = send(c->fd, chunk + done, (size_t)(n - done), MSG_NOSIGNAL);
			if (m < 0)
				fail(step, strerror(errno));
		}
	}
	if (n < 0)
		fail(step, strerror(errno));
}

static void step_abort(struct connection *c)
{
	struct linger linger = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(c->fd);
	c->fd = -1;
}

static void file_make(const char *path, const char *step)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);

	if (fd < 0)
		fail(step, strerror(errno));
	close(fd);
}

static void file_await(const char *path, const char *step)
{
	for (int i = 0; i < WAIT_SECONDS * 20; i++) {
		if (!access(path, F_OK))
			return;
		poll(NULL, 0, 50);
	}
	fail(step, "the file did not come in 120 seconds");
}

static void step_run(struct connection *c, const char *step)
{
	size_t length = strcspn(step, "=");
	const char *arg = step[length] ? step + length + 1 : "";
	bool known = false;
#define STEP(name) (!known && length == strlen(name) && !strncmp(step, name, length) && \
		    (known = true))

	if (STEP("send"))
		step_both(c, count_parse(step, arg), 0, step);
	if (STEP("recv"))
		step_both(c, 0, count_parse(step, arg), step);
	if (STEP("both"))
		step_both(c, count_parse(step, arg), count_parse(step, arg), step);
	if (STEP("at_least"))
		step_at_least(c, count_parse(step, arg), step);
	if (STEP("eof"))
		step_eof(c, step);
	if (STEP("reset"))
		step_reset(c, step);
	if (STEP("flood"))
		step_flood(c, step);
	if (STEP("echo"))
		step_echo(c, step);
	if (STEP("abort"))
		step_abort(c);
	if (STEP("half") && shutdown(c->fd, SHUT_WR))
		fail(step, strerror(errno));
	if (STEP("mark"))
		file_make(arg, step);
	if (STEP("hold"))
		file_await(arg, step);
	if (!known)
		fail(step, "no such step");
}

static int steps_run(int fd, char **steps)
{
	struct connection c = { .fd = fd };
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	for (; *steps; steps++)
		step_run(&c, *steps);
	if (c.fd >= 0)
		close(c.fd);
	return 0;
}

static struct addrinfo *resolve(const char *host, const char *port, int flags)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = flags };
	struct addrinfo *found;
	int error = getaddrinfo(host, port, &hints, &found);

	if (error)
		fail(host, gai_strerror(error));
	return found;
}

static int serve(int listener, bool every, char **steps)
{
	signal(SIGCHLD, every ? SIG_IGN : SIG_DFL);
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			fail("accept", strerror(errno));
		if (!every)
			return steps_run(fd, steps);
		if (!fork()) {
			close(listener);
			_exit(steps_run(fd, steps));
		}
		close(fd);
	}
}

static int listen_main(char **argv)
{
	struct addrinfo *at = resolve(argv[0], argv[1], AI_PASSIVE | AI_NUMERICHOST);
	int listener = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	const char *ready = NULL;
	bool every = false;

	for (argv += 2; *argv && **argv == '-'; argv++) {
		if (!strcmp(*argv, "-k"))
			every = true;
		else if (!strcmp(*argv, "-r") && argv[1])
			ready = *++argv;
		else
			fail(*argv, "no such option");
	}
	if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(listener, at->ai_addr, at->ai_addrlen) || listen(listener, SOMAXCONN))
		fail("listen", strerror(errno));
	freeaddrinfo(at);
	if (ready)
		file_make(ready, "-r");
	return serve(listener, every, argv);
}

static int connect_one(const struct addrinfo *to, char **steps)
{
	int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, to->ai_addr, to->ai_addrlen)) {
		/* A refusal that comes before the connection stands is as good a
		 * reset as one that comes after it. */
		if (errno == ECONNREFUSED && steps[0] && !strcmp(steps[0], "reset"))
			return 0;
		fail("connect", strerror(errno));
	}
	return steps_run(fd, steps);
}

/* `count` clients in processes of their own; how many failed. */
static unsigned connect_many(const struct addrinfo *to, unsigned count, char **steps)
{
	unsigned failed = 0;

	for (unsigned i = 0; i < count; i++) {
		pid_t child = fork();

		if (child < 0)
			fail("fork", strerror(errno));
		if (!child)
			_exit(connect_one(to, steps));
	}
	for (int status; wait(&status) > 0;)
		failed += status != 0;
	if (failed)
		fprintf(stderr, "peer: %u of %u clients failed\n", failed, count);
	return failed;
}

static int connect_main(char **argv)
{
	struct addrinfo *to = resolve(argv[0], argv[1], 0);
	int failed;

	argv += 2;
	if (*argv && !strcmp(*argv, "-n") && argv[1])
		failed = connect_many(to, (unsigned)count_parse("-n", argv[1]), argv + 2) != 0;
	else
		failed = connect_one(to, argv);
	freeaddrinfo(to);
	return failed;
}

int main(int argc, char **argv)
{
	if (argc >= 4 && !strcmp(argv[1], "listen"))
		return listen_main(argv + 2);
	if (argc >= 4 && !strcmp(argv[1], "connect"))
		return connect_main(argv + 2);
	fprintf(stderr, "usage: peer listen ADDRESS PORT [-r READY] [-k] STEP...\n"
			"       peer connect HOST PORT [-n COUNT] STEP...\n");
	return 2;
}
