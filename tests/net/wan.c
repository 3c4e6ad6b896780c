/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A wide area network between two network namespaces, in user space: packets
 * written to one TUN device come out of another one later, or never.
 *
 *   wan [-S SEED] run SOCKET NAMESPACE DEVICE NAMESPACE DEVICE [WORD…]
 *   wan set SOCKET [there|back] WORD…     at any time; WORDs: wire/settings.h
 *   wan show SOCKET                       settings and counters of both directions
 *   wan zero SOCKET                       counters to 0
 *
 * `there` is from the first device to the second.  NAMESPACE is a file, such as
 * /run/netns/NAME.  The devices have no address and are gone when `run` ends, which it
 * does on SIGTERM, SIGINT, or when a device disappears.  SOCKET exists once all is
 * ready.  Without WORDs packets pass at once.
 *
 * One thread: packets that came in get their time (wire/direction.h), a timer
 * waits for the earliest.  GSO packets of up to 64 KiB pass whole where they can,
 * which is what lets one core carry gigabits.  Chance comes from the seed alone: the
 * same packets in the same order meet the same fate.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "wire/device.h"
#include "wire/direction.h"

/* Packets read from one device before the others get their turn. */
#define READ_BURST 32
#define REPLY_SIZE 2048

enum source { FROM_FIRST, FROM_SECOND, FROM_TIMER, FROM_CONTROL, FROM_SIGNAL, SOURCES };

static struct direction directions[2]; /* there, back */
static int sources[SOURCES];
static const char *const direction_names[2] = { "there", "back" };

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "wan: %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct sockaddr_un socket_address(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(address.sun_path)) {
		fprintf(stderr, "wan: %s: the path is too long for a socket\n", path);
		exit(2);
	}
	strcpy(address.sun_path, path);
	return address;
}

/* ---- the wire ---- */

/* A small packet moves to a small buffer: the large ones are few. */
static struct packet *packet_fit(struct packet *packet)
{
	struct packet *fit = packet->length <= PACKET_SMALL ? packet_get(packet->length) : NULL;

	if (!fit)
		return packet;
	memcpy(fit->bytes, packet->bytes, packet->length);
	fit->length = packet->length;
	packet_put(packet);
	return fit;
}

/* Where every buffer is on the wire the packet is read into this, and lost. */
static void read_and_lose(int fd, struct direction *d)
{
	static unsigned char waste[PACKET_LARGE];

	if (read(fd, waste, sizeof(waste)) > 0) {
		d->counters.entered++;
		d->counters.overrun++;
	}
}

/* false: the device is gone. */
static bool read_packets(int fd, struct direction *d)
{
	struct packet *packet;
	ssize_t n;
	int i;

	for (i = 0; i < READ_BURST; i++) {
		packet = packet_get(PACKET_LARGE);
		if (!packet) {
			read_and_lose(fd, d);
			return true;
		}
		n = read(fd, packet->bytes, PACKET_LARGE);
		if (n <= (ssize_t)sizeof(struct virtio_net_hdr)) {
			packet_put(packet);
			return n >= 0 || errno == EAGAIN || errno == EINTR;
		}
		packet->length = (uint32_t)n;
		direction_take(d, packet_fit(packet), now_ns());
	}
	return true;
}

static void deliver_and_arm(void)
{
	static uint64_t armed;
	uint64_t next;
	int i;

	for (i = 0; i < 2; i++)
		direction_deliver(&directions[i], now_ns());
	next = direction_next(&directions[0]);
	if (direction_next(&directions[1]) < next)
		next = direction_next(&directions[1]);
	if (next == armed || next == UINT64_MAX)
		return;
	struct itimerspec at = { .it_value = { .tv_sec = (time_t)(next / 1000000000u),
				.tv_nsec = (long)(next % 1000000000u) } };
	if (timerfd_settime(sources[FROM_TIMER], TFD_TIMER_ABSTIME, &at, NULL))
		fail("timer");
	armed = next;
}

/* ---- control ---- */

static void show(char *reply, size_t size)
{
	char words[256];
	size_t used = 0;
	int i;

	for (i = 0; i < 2; i++) {
		const struct counters *c = &directions[i].counters;

		settings_print(&directions[i].settings, words, sizeof(words));
		used += (size_t)snprintf(reply + used, size - used, "%s %s\n%s entered=%llu delivered=%llu "
			"bytes=%llu lost=%llu queue_full=%llu cut=%llu held=%llu overrun=%llu "
			"late_us=%.0f late_most_us=%.0f\n", direction_names[i], words, direction_names[i],
			(unsigned long long)c->entered, (unsigned long long)c->delivered,
			(unsigned long long)c->bytes, (unsigned long long)c->lost,
			(unsigned long long)c->queue_full, (unsigned long long)c->cut,
			(unsigned long long)c->held, (unsigned long long)c->overrun,
			c->late_count ? (double)c->late_total / (double)c->late_count / 1e3 : 0.0,
			(double)c->late_most / 1e3);
	}
}

/* 0, or -1 with the reason in error. */
static int apply(const char *words, char *error, size_t size)
{
	struct settings both[2] = { directions[0].settings, directions[1].settings };
	int i;

	if (settings_apply(both, words, error, size))
		return -1;
	for (i = 0; i < 2; i++)
		direction_set(&directions[i], &both[i]);
	return 0;
}

static void control(void)
{
	struct sockaddr_un from;
	socklen_t length = sizeof(from);
	char request[512], reply[REPLY_SIZE] = "ok\n", error[256];
	ssize_t n = recvfrom(sources[FROM_CONTROL], request, sizeof(request) - 1, 0,
		(struct sockaddr *)&from, &length);

	if (n < 0)
		return;
	request[n] = '\0';
	if (strcmp(request, "show") == 0) {
		show(reply, sizeof(reply));
	} else if (strcmp(request, "zero") == 0) {
		memset(&directions[0].counters, 0, sizeof(struct counters));
		memset(&directions[1].counters, 0, sizeof(struct counters));
	} else if (strncmp(request, "set ", 4) == 0 && apply(request + 4, error, sizeof(error))) {
		snprintf(reply, sizeof(reply), "error: %s\n", error);
	}
	/* Whoever asked may be gone. */
	(void)!sendto(sources[FROM_CONTROL], reply, strlen(reply), MSG_DONTWAIT,
		(struct sockaddr *)&from, length);
}

static int control_open(const char *path)
{
	struct sockaddr_un address = socket_address(path);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)))
		fail(path);
	return fd;
}

/* ---- run ---- */

static int signals_open(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* false: time to end. */
static bool handle(enum source source)
{
	uint64_t expirations;

	switch (source) {
	case FROM_FIRST:
		return read_packets(sources[source], &directions[0]);
	case FROM_SECOND:
		return read_packets(sources[source], &directions[1]);
	case FROM_TIMER:
		(void)!read(sources[source], &expirations, sizeof(expirations));
		return true;
	case FROM_CONTROL:
		control();
		return true;
	default:
		return false;
	}
}

static void loop(int epoll)
{
	struct epoll_event events[SOURCES];
	bool go_on = true;
	int n, i;

	while (go_on) {
		n = epoll_wait(epoll, events, SOURCES, -1);
		for (i = 0; i < n; i++)
			if (!handle((enum source)events[i].data.u32))
				go_on = false;
		deliver_and_arm();
	}
}

static int run(const char *path, char **argv, uint64_t seed)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC), i;
	char error[256], words[512] = "";

	/* A wire does not wait for programs: it goes before them where that is allowed. */
	(void)!setpriority(PRIO_PROCESS, 0, -15);
	packets_init();
	sources[FROM_SIGNAL] = signals_open();
	for (i = 0; i < 2; i++)
		sources[FROM_FIRST + i] = device_open(argv[2 * i], argv[2 * i + 1]);
	direction_init(&directions[0], sources[FROM_SECOND], seed);
	direction_init(&directions[1], sources[FROM_FIRST], ~seed);
	for (i = 4; argv[i]; i++)
		snprintf(words + strlen(words), sizeof(words) - strlen(words), "%s ", argv[i]);
	if (apply(words, error, sizeof(error))) {
		fprintf(stderr, "wan: %s\n", error);
		return 2;
	}
	sources[FROM_TIMER] = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	sources[FROM_CONTROL] = control_open(path);
	for (i = 0; i < SOURCES; i++) {
		struct epoll_event event = { .events = EPOLLIN, .data.u32 = (uint32_t)i };

		if (sources[i] < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, sources[i], &event))
			fail("epoll");
	}
	printf("wan: ready, seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	loop(epoll);
	unlink(path);
	return 0;
}

/* One request, its answer printed. */
static int ask(const char *path, char **words)
{
	struct sockaddr_un address = socket_address(path), own = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = 5 };
	char request[512] = "", reply[REPLY_SIZE];
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ssize_t n;

	for (; *words; words++)
		snprintf(request + strlen(request), sizeof(request) - strlen(request), "%s%s",
			*request ? " " : "", *words);
	/* Bound to no name, the kernel picks one for the answer. */
	if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof(own.sun_family)) ||
		connect(fd, (struct sockaddr *)&address, sizeof(address)) ||
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) ||
		send(fd, request, strlen(request), 0) < 0)
		fail(path);
	n = recv(fd, reply, sizeof(reply) - 1, 0);
	if (n < 0)
		fail(path);
	reply[n] = '\0';
	if (strcmp(reply, "ok\n") != 0)
		fputs(reply, strncmp(reply, "error", 5) == 0 ? stderr : stdout);
	return strncmp(reply, "error", 5) == 0 ? 2 : 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: wan [-S SEED] run SOCKET NAMESPACE DEVICE NAMESPACE DEVICE [WORD...]\n"
		"       wan set SOCKET [there|back] WORD...\n       wan show|zero SOCKET\n");
	return 2;
}

int main(int argc, char **argv)
{
	uint64_t seed = 1;
	const char *verb, *path;
	int option;

	while ((option = getopt(argc, argv, "+S:")) != -1) {
		if (option != 'S')
			return usage();
		seed = strtoull(optarg, NULL, 10);
	}
	if (argc - optind < 2)
		return usage();
	verb = argv[optind];
	path = argv[optind + 1];
	argv += optind + 1; /* the path's place is the verb's from here on */
	argc -= optind + 1;
	if (strcmp(verb, "run") == 0 && argc >= 5)
		return run(path, argv + 1, seed);
	argv[0] = (char *)verb;
	if ((strcmp(verb, "set") == 0 && argc >= 2) ||
		((strcmp(verb, "show") == 0 || strcmp(verb, "zero") == 0) && argc == 1))
		return ask(path, argv);
	return usage();
}
