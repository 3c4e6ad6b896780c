// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the far side of a trunk costs by itself: `nc -T 1` between a near side that
 * does as little as it can and servers in threads, all in a namespace of its own.
 *
 *   trunk_far_bench NC [pipes]
 *
 * Prints bulk each way for 1 and 8 streams, and connections a second with 1, 32 and
 * 256 under way, each with the netcat's own CPU time.
 */
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../chroot/frame.h"

#define BULK (2ull << 30)
#define CONNECTIONS 40000
#define CREDIT (4u << 20)
#define STREAMS 256

enum server { SINK, SOURCE, ECHO_ONCE };

static const char *program;
static bool pipes;
static int from_far, to_far;
static pid_t far_side;
static uint8_t in[1 << 20], out[FRAME_MAX];
static size_t in_end;
static uint16_t port;

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- the place ---- */

static void prepare_namespace(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd;

	if (unshare(CLONE_NEWNS | CLONE_NEWNET) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("bench", "/etc", "tmpfs", 0, NULL) || mkdir("/etc/dvpn", 0755))
		err(1, "a namespace (it needs root)");
	fd = open("/etc/dvpn/allow", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, "127.0.0.0/8\n", 12) != 12)
		err(1, "the allow file");
	close(fd);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request))
		err(1, "the loopback device");
	close(fd);
}

static void start_far_side(void)
{
	int up[2], down[2], null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (pipes ? pipe2(up, O_CLOEXEC) || pipe2(down, O_CLOEXEC) :
		    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, up))
		err(1, "descriptors");
	far_side = fork();
	if (far_side == 0) {
		dup2(up[0], 0);
		dup2(pipes ? down[1] : up[0], 1);
		dup2(null, 2);
		execl(program, program, "-T", "1", (char *)NULL);
		_exit(127);
	}
	close(null);
	close(up[0]);
	to_far = up[1];
	from_far = pipes ? down[0] : up[1];
	if (pipes)
		close(down[1]);
	fcntl(from_far, F_SETFL, O_NONBLOCK);
	fcntl(to_far, F_SETFL, O_NONBLOCK);
	in_end = 0;
}

/* The CPU seconds that it took. */
static double stop_far_side(void)
{
	struct rusage usage;

	close(to_far);
	if (pipes)
		close(from_far);
	if (wait4(far_side, NULL, 0, &usage) < 0)
		err(1, "wait");
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* ---- servers ---- */

static void *serve_bulk(void *argument)
{
	static const uint8_t zeros[1 << 16];
	uint8_t data[1 << 18];
	int fd = (int)(intptr_t)argument >> 1;

	if ((intptr_t)argument & 1) {
		while (send(fd, zeros, sizeof(zeros), MSG_NOSIGNAL) > 0)
			;
	} else {
		while (read(fd, data, sizeof(data)) > 0)
			;
	}
	close(fd);
	return NULL;
}

static void serve_once(int fd)
{
	char data[64];
	ssize_t got = read(fd, data, sizeof(data));

	if (got > 0 && write(fd, data, (size_t)got) < 0)
		warn("answer");
	close(fd);
}

static int listening = -1;

static void *serve(void *argument)
{
	enum server kind = (enum server)(intptr_t)argument;

	for (;;) {
		int fd = accept(listening, NULL, NULL);
		pthread_t thread;

		if (fd < 0)
			return NULL;
		if (kind == ECHO_ONCE)
			serve_once(fd);
		else if (pthread_create(&thread, NULL, serve_bulk,
					(void *)(intptr_t)(fd << 1 | (kind == SOURCE))) == 0)
			pthread_detach(thread);
	}
}

static pthread_t start_server(enum server kind)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t size = sizeof(address);
	pthread_t thread;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listening = socket(AF_INET, SOCK_STREAM, 0);
	if (listening < 0 || bind(listening, (struct sockaddr *)&address, size) ||
	    listen(listening, 4096) || getsockname(listening, (struct sockaddr *)&address, &size) ||
	    pthread_create(&thread, NULL, serve, (void *)(intptr_t)kind))
		err(1, "server");
	port = ntohs(address.sin_port);
	return thread;
}

static void stop_server(pthread_t thread)
{
	shutdown(listening, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(listening);
}

/* ---- the near side ---- */

static void wait_for(int fd, short events)
{
	struct pollfd wait = { fd, events, 0 };

	if (poll(&wait, 1, 20000) <= 0)
		errx(1, "the far side stands still");
}

static void put(const uint8_t *data, size_t size)
{
	while (size) {
		ssize_t sent = write(to_far, data, size);

		if (sent > 0) {
			data += sent;
			size -= (size_t)sent;
		} else {
			wait_for(to_far, POLLOUT);
		}
	}
}

static void put_frame(enum frame_type type, uint32_t stream, size_t length)
{
	frame_put_header(out, type, length, stream);
	put(out, FRAME_HEADER + length);
}

static void put_hello(void)
{
	const struct frame_hello hello = { FRAME_VERSION, 65536, 0 };

	frame_put_hello(out + FRAME_HEADER, &hello);
	put_frame(FRAME_HELLO, 0, FRAME_HELLO_SIZE);
}

static void put_open(uint32_t stream, size_t early)
{
	const struct frame_open open = {
		.family = 4,
		.address = { 127, 0, 0, 1 },
		.port = port,
		.credit = CREDIT,
	};

	frame_put_open(out + FRAME_HEADER, &open);
	memset(out + FRAME_HEADER + FRAME_OPEN_SIZE, 'e', early);
	put_frame(FRAME_OPEN, stream, FRAME_OPEN_SIZE + early);
}

static void put_credit(uint32_t stream, uint32_t credit)
{
	frame_put_u32(out + FRAME_HEADER, credit);
	put_frame(FRAME_CREDIT, stream, 4);
}

/* Reads once and gives each frame to `take`.  False: nothing was there. */
static bool get_frames(void (*take)(const struct frame_header *, const uint8_t *))
{
	ssize_t got = read(from_far, in + in_end, sizeof(in) - in_end);
	size_t start = 0;
	struct frame_header header;

	if (got == 0)
		errx(1, "the far side ended");
	if (got < 0)
		return false;
	in_end += (size_t)got;
	while (in_end - start >= FRAME_HEADER) {
		frame_get_header(in + start, &header);
		if (in_end - start < FRAME_HEADER + (size_t)header.length)
			break;
		if (header.type == FRAME_PING) {
			memcpy(out + FRAME_HEADER, in + start + FRAME_HEADER, header.length);
			put_frame(FRAME_PONG, 0, header.length);
		} else {
			take(&header, in + start + FRAME_HEADER);
		}
		start += FRAME_HEADER + (size_t)header.length;
	}
	in_end -= start;
	memmove(in, in + start, in_end);
	return true;
}

/* ---- loads ---- */

static uint32_t credit[STREAMS], eaten[STREAMS];
static uint64_t moved;
static unsigned closed, opened;

static void take_bulk(const struct frame_header *header, const uint8_t *payload)
{
	unsigned slot = header->stream % FRAME_SLOTS;

	if (header->type == FRAME_OPENED || header->type == FRAME_CREDIT) {
		credit[slot] += frame_get_u32(payload);
	} else if (header->type == FRAME_DATA) {
		moved += header->length;
		eaten[slot] += header->length;
		if (eaten[slot] >= CREDIT / 4) {
			put_credit(header->stream, eaten[slot]);
			eaten[slot] = 0;
		}
	} else if (header->type != FRAME_HELLO) {
		errx(1, "an unexpected frame of type %d", header->type);
	}
}

static void push_bulk(unsigned streams)
{
	bool pushed = false;
	unsigned i;

	for (i = 0; i < streams; i++) {
		size_t size = credit[i] < FRAME_PAYLOAD ? credit[i] : FRAME_PAYLOAD;

		if (!size)
			continue;
		put_frame(FRAME_DATA, 1 << 16 | i, size);
		credit[i] -= (uint32_t)size;
		moved += size;
		pushed = true;
	}
	if (!pushed)
		wait_for(from_far, POLLIN);
}

static void bench_bulk(bool up, unsigned streams)
{
	pthread_t thread = start_server(up ? SINK : SOURCE);
	double begin, cpu;
	unsigned i;

	moved = 0;
	memset(credit, 0, sizeof(credit));
	memset(eaten, 0, sizeof(eaten));
	start_far_side();
	put_hello();
	for (i = 0; i < streams; i++) {
		put_open(1 << 16 | i, 0);
		credit[i] = 16384;
	}
	begin = seconds();
	while (moved < BULK) {
		bool got = get_frames(take_bulk);

		if (up)
			push_bulk(streams);
		else if (!got)
			wait_for(from_far, POLLIN);
	}
	begin = seconds() - begin;
	cpu = stop_far_side();
	printf("%s, %u streams: %.0f MB/s, %.2f CPU-s/GB far\n", up ? "up" : "down", streams,
	       (double)moved / 1e6 / begin, cpu / ((double)moved / 1e9));
	stop_server(thread);
}

static void take_connection(const struct frame_header *header, const uint8_t *payload)
{
	uint32_t next = header->stream + (1 << 16);

	(void)payload;
	if (header->type == FRAME_FAILED || header->type == FRAME_RESET)
		errx(1, "a connection failed: %d", payload[0]);
	if (header->type != FRAME_EOF)
		return;
	put_frame(FRAME_EOF, header->stream, 0);
	closed++;
	if (opened < CONNECTIONS) {
		put_open(next >> 16 ? next : next + (1 << 16), 20);
		opened++;
	}
}

static void bench_connections(unsigned at_once)
{
	pthread_t thread = start_server(ECHO_ONCE);
	double begin = seconds(), cpu;

	start_far_side();
	put_hello();
	for (opened = 0, closed = 0; opened < at_once; opened++)
		put_open(1 << 16 | opened, 20);
	while (closed < CONNECTIONS) {
		if (!get_frames(take_connection))
			wait_for(from_far, POLLIN);
	}
	begin = seconds() - begin;
	cpu = stop_far_side();
	printf("connections, %u at once: %.0f a second, %.1f us CPU each far\n", at_once,
	       CONNECTIONS / begin, cpu / CONNECTIONS * 1e6);
	stop_server(thread);
}

int main(int argc, char **argv)
{
	static const unsigned at_once[] = { 1, 32, STREAMS };
	size_t i;

	if (argc < 2)
		errx(2, "usage: trunk_far_bench NC [pipes]");
	program = argv[1];
	pipes = argc > 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	prepare_namespace();
	for (i = 0; i < 4; i++)
		bench_bulk(i % 2 == 0, i < 2 ? 1 : 8);
	for (i = 0; i < sizeof(at_once) / sizeof(at_once[0]); i++)
		bench_connections(at_once[i]);
	return 0;
}
