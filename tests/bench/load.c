/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the benchmark puts on a tunnel: servers for the far end, loads for the near one.
 *
 *   load serve-echo|serve-bulk|serve-http PORT
 *   load serve-spawn PORT COMMAND…            a process for each connection, as inetd has
 *   load connect HOST PORT COUNT              one after the other, to the echo
 *   load rate HOST PORT CLIENTS SECONDS       as many connections as they can make
 *   load hold HOST PORT COUNT AT-ONCE SECONDS held open; see loads/connect.c
 *   load bulk HOST PORT up|down STREAMS SECONDS
 *   load echo HOST PORT SECONDS PAUSE-MS      single bytes there and back
 *   load http HOST PORT CLIENTS SECONDS SIZE  requests on connections that stay
 *   load page HOST PORT PAGES OBJECTS SIZE CLIENTS
 *
 * HOST is numeric.  A load prints one line of JSON: times in ms, and how many failed.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "loads/common.h"

static int usage(void)
{
	fprintf(stderr, "usage: load serve-echo|serve-bulk|serve-http PORT\n"
		"       load serve-spawn PORT COMMAND...\n"
		"       load connect HOST PORT COUNT\n"
		"       load rate HOST PORT CLIENTS SECONDS\n"
		"       load hold HOST PORT COUNT AT-ONCE SECONDS\n"
		"       load bulk HOST PORT up|down STREAMS SECONDS\n"
		"       load echo HOST PORT SECONDS PAUSE-MS\n"
		"       load http HOST PORT CLIENTS SECONDS SIZE\n"
		"       load page HOST PORT PAGES OBJECTS SIZE CLIENTS\n");
	return 2;
}

static int serve(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[0], "serve-echo") == 0)
		return serve_echo(argv[1]);
	if (argc == 2 && strcmp(argv[0], "serve-bulk") == 0)
		return serve_bulk(argv[1]);
	if (argc == 2 && strcmp(argv[0], "serve-http") == 0)
		return serve_http(argv[1]);
	if (argc > 2 && strcmp(argv[0], "serve-spawn") == 0)
		return serve_spawn(argv[1], argv + 2);
	return usage();
}

/* argv: what follows HOST PORT. */
static int load(const char *verb, const struct target *target, int argc, char **argv)
{
	if (argc == 1 && strcmp(verb, "connect") == 0)
		return load_connect(target, atoi(argv[0]));
	if (argc == 2 && strcmp(verb, "rate") == 0)
		return load_rate(target, atoi(argv[0]), atof(argv[1]));
	if (argc == 3 && strcmp(verb, "hold") == 0)
		return load_hold(target, atoi(argv[0]), atoi(argv[1]), atof(argv[2]));
	if (argc == 3 && strcmp(verb, "bulk") == 0)
		return load_bulk(target, argv[0][0] == 'u', atoi(argv[1]), atof(argv[2]));
	if (argc == 2 && strcmp(verb, "echo") == 0)
		return load_echo(target, atof(argv[0]), atof(argv[1]));
	if (argc == 3 && strcmp(verb, "http") == 0)
		return load_http(target, atoi(argv[0]), atof(argv[1]), (unsigned)atoi(argv[2]));
	if (argc == 4 && strcmp(verb, "page") == 0)
		return load_page(target, atoi(argv[0]), atoi(argv[1]), (unsigned)atoi(argv[2]),
			atoi(argv[3]));
	return usage();
}

int main(int argc, char **argv)
{
	struct rlimit limit;
	struct target target;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	signal(SIGPIPE, SIG_IGN);
	if (argc > 1 && strncmp(argv[1], "serve-", 6) == 0)
		return serve(argc - 1, argv + 1);
	if (argc < 5)
		return usage();
	target = target_parse(argv[2], argv[3]);
	return load(argv[1], &target, argc - 4, argv + 4);
}
