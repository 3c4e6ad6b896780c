/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The capture modules on their own, and a client to be captured.
 *
 *   capture_probe serve [-p PORT] [-o OWN]… [-a ADDRESS]… [-k] [-n] MAP
 *     Listens, keeps the kernel sets as the map says and flushes what is gained.
 *     Answers each captured connection with the address that it was going to,
 *     and with what conntrack says that was.  -k keeps them open, -n flushes
 *     nothing.  HUP reads the map again, USR1 prints the counters, USR2 closes
 *     what is kept, TERM ends.
 *   capture_probe connect [-m MARK] ADDRESS PORT
 *     Prints the line that it is answered, or the name of the error.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capture/capture.h"
#include "log.h"
#include "map/build.h"

#define KEPT_MAX 256
#define OWN_MAX 16

static struct {
	struct conf conf;
	struct addr addresses[OWN_MAX];
	struct prefix own[OWN_MAX];
	unsigned own_count;
	const char *map;
	bool keep, no_flush;
	struct conntrack *conntrack;
	struct listener *listener;
	struct kset *kset;
	int kept[KEPT_MAX];
	unsigned kept_count;
	double began, longest, last; /* seconds: the update, and the longest turn of the loop in it */
} probe;

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "capture_probe: %s\n", what);
	exit(2);
}

/* ---- serve ---- */

static void captured(const struct captured *captured, void *arg)
{
	struct sockaddr_storage peer, local;
	socklen_t peer_size = sizeof(peer), local_size = sizeof(local);
	char client[ADDR_PORT_TEXT_SIZE], dest[ADDR_PORT_TEXT_SIZE], other[ADDR_PORT_TEXT_SIZE] = "?";
	struct addr addr;
	uint16_t port;

	(void)arg;
	addr_port_format(&captured->client, captured->client_port, client);
	addr_port_format(&captured->dest, captured->port, dest);
	if (getpeername(captured->fd, (struct sockaddr *)&peer, &peer_size) == 0 &&
	    getsockname(captured->fd, (struct sockaddr *)&local, &local_size) == 0 &&
	    conntrack_original(probe.conntrack, (struct sockaddr *)&peer,
			       (struct sockaddr *)&local, &addr, &port) == 0)
		addr_port_format(&addr, port, other);
	printf("captured %s to %s conntrack %s\n", client, dest, other);
	dprintf(captured->fd, "%s %s\n", dest, other);
	if (probe.keep && probe.kept_count < KEPT_MAX)
		probe.kept[probe.kept_count++] = captured->fd;
	else
		close(captured->fd);
}

static void updated(int result, const struct prefix *gained, size_t count, void *arg)
{
	int flushed = probe.no_flush ? 0 : conntrack_flush(probe.conntrack, gained, count);
	char text[PREFIX_TEXT_SIZE];

	(void)arg;
	printf("updated %d gained %zu", result, count);
	for (size_t i = 0; i < count && i < 8; i++)
		printf(" %s", prefix_format(&gained[i], text));
	printf(" flushed %d; %.0f ms, longest turn %.0f ms\n", flushed,
	       (ev_time() - probe.began) * 1e3, probe.longest * 1e3);
}

static struct routes *map_read(const char *path)
{
	static char text[8 << 20];
	FILE *file = fopen(path, "r");
	struct hosts_text source = { .path = path, .text = text };

	if (!file)
		die("can't read the map");
	source.size = fread(text, 1, sizeof(text), file);
	fclose(file);
	return routes_build(&source, 1, 32, stderr, NULL);
}

static void update(void)
{
	struct routes *routes = map_read(probe.map);

	if (!routes)
		die("no memory for the map");
	probe.began = probe.last = ev_time();
	probe.longest = 0;
	if (kset_update(probe.kset, routes, probe.own, probe.own_count, updated, NULL) < 0)
		printf("update refused\n");
	/* A snapshot may go as soon as the call is over. */
	routes_put(routes);
}

static void signal_cb(struct ev_loop *loop, ev_signal *watcher, int events)
{
	const struct capture_counters *counters = listener_counters(probe.listener);

	(void)events;
	switch (watcher->signum) {
	case SIGHUP:
		update();
		break;
	case SIGUSR1:
		printf("accepted %lu direct %lu unknown %lu pauses %lu\n",
		       (unsigned long)counters->accepted, (unsigned long)counters->direct,
		       (unsigned long)counters->unknown, (unsigned long)counters->pauses);
		break;
	case SIGUSR2:
		while (probe.kept_count > 0)
			close(probe.kept[--probe.kept_count]);
		break;
	default:
		ev_break(loop, EVBREAK_ALL);
	}
}

/* How long the loop works between two waits. */
static void check_cb(struct ev_loop *loop, ev_check *watcher, int events)
{
	(void)loop, (void)watcher, (void)events;
	probe.last = ev_time();
}

static void prepare_cb(struct ev_loop *loop, ev_prepare *watcher, int events)
{
	(void)loop, (void)watcher, (void)events;
	if (ev_time() - probe.last > probe.longest)
		probe.longest = ev_time() - probe.last;
}

static void serve_options(int argc, char **argv)
{
	const char *reason;
	int option;

	probe.conf.port = 7777;
	probe.conf.addresses = probe.addresses;
	while ((option = getopt(argc, argv, "p:o:a:kn")) != -1) {
		switch (option) {
		case 'p':
			probe.conf.port = atoi(optarg);
			break;
		case 'o':
			if (probe.own_count == OWN_MAX ||
			    prefix_parse(optarg, &probe.own[probe.own_count++], &reason) < 0)
				die("bad -o");
			break;
		case 'a':
			if (probe.conf.address_count == OWN_MAX ||
			    addr_parse(optarg, &probe.addresses[probe.conf.address_count++]) < 0)
				die("bad -a");
			break;
		case 'k':
			probe.keep = true;
			break;
		case 'n':
			probe.no_flush = true;
			break;
		default:
			die("bad option");
		}
	}
	if (optind != argc - 1)
		die("serve needs a map");
	probe.map = argv[optind];
	if (probe.conf.address_count == 0) {
		addr_parse("0.0.0.0", &probe.addresses[0]);
		addr_parse("::", &probe.addresses[1]);
		probe.conf.address_count = 2;
	}
}

static int serve(int argc, char **argv)
{
	static const int signals[] = { SIGHUP, SIGUSR1, SIGUSR2, SIGTERM };
	struct ev_loop *loop = ev_default_loop(0);
	ev_signal watchers[4];
	ev_prepare prepare;
	ev_check check;
	int status = 1;

	serve_options(argc, argv);
	setvbuf(stdout, NULL, _IOLBF, 0);
	log_init(LOG_TO_STDERR, LOG_LEVEL_DEBUG);
	for (int i = 0; i < 4; i++) {
		ev_signal_init(&watchers[i], signal_cb, signals[i]);
		ev_signal_start(loop, &watchers[i]);
	}
	ev_prepare_init(&prepare, prepare_cb);
	ev_prepare_start(loop, &prepare);
	ev_check_init(&check, check_cb);
	ev_set_priority(&check, EV_MAXPRI);
	ev_check_start(loop, &check);
	probe.conntrack = conntrack_open();
	probe.kset = kset_start(loop);
	if (probe.conntrack && probe.kset)
		probe.listener = listener_start(loop, &probe.conf, probe.conntrack, captured, NULL);
	if (probe.listener) {
		update();
		ev_run(loop, 0);
		status = 0;
	}
	listener_stop(probe.listener);
	kset_stop(probe.kset);
	conntrack_close(probe.conntrack);
	while (probe.kept_count > 0)
		close(probe.kept[--probe.kept_count]);
	ev_default_destroy();
	return status;
}

/* ---- connect ---- */

static int say_error(void)
{
	printf("%s\n", strerrorname_np(errno));
	return 1;
}

static int connect_and_read(int argc, char **argv)
{
	struct timeval patience = { .tv_sec = 20 };
	struct sockaddr_storage sa;
	struct addr addr;
	socklen_t size;
	unsigned mark = 0;
	char line[256];
	ssize_t got;
	int fd, option;

	while ((option = getopt(argc, argv, "m:")) != -1) {
		if (option != 'm')
			die("bad option");
		mark = strtoul(optarg, NULL, 0);
	}
	if (optind != argc - 2 || addr_parse(argv[optind], &addr) < 0)
		die("connect needs an address and a port");
	size = addr_to_sockaddr(&addr, atoi(argv[optind + 1]), &sa);
	fd = socket(addr.family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0 ||
	    (mark && setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) < 0))
		return say_error();
	if (connect(fd, (struct sockaddr *)&sa, size) < 0)
		return say_error();
	got = read(fd, line, sizeof(line));
	if (got < 0)
		return say_error();
	printf("%.*s", (int)got, got ? line : "");
	return got == 0;
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "serve") == 0)
		return serve(argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "connect") == 0)
		return connect_and_read(argc - 1, argv + 1);
	die("say serve or connect");
}
